//! Encodes the values of options by the type that the option table registers. `options.rs` calls it for each entry of
//! `options:`.

use std::net::Ipv4Addr;

use crate::boot::fetch::SERVER;
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{Reader, describe, duration, one_or_more};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::options::OptionValue;
use crate::types::{Ipv4Network, from_hex};
use crate::wire::names;
use crate::wire::option::Kind;

/// An encoded value. Our address is written into the four bytes at each offset in `places` when a client is answered.
#[derive(Debug, Default)]
pub(in crate::config) struct Encoded {
    pub(in crate::config) bytes: Vec<u8>,
    pub(in crate::config) places: Vec<usize>,
}

impl Encoded {
    fn append(&mut self, part: Encoded) {
        let start = self.bytes.len();
        self.places.extend(part.places.into_iter().map(|place| place.saturating_add(start)));
        self.bytes.extend(part.bytes);
    }
}

impl From<Vec<u8>> for Encoded {
    fn from(bytes: Vec<u8>) -> Encoded {
        Encoded { bytes, places: Vec::new() }
    }
}

impl From<Encoded> for OptionValue {
    fn from(Encoded { bytes, places }: Encoded) -> OptionValue {
        if places.is_empty() { OptionValue::Bytes(bytes) } else { OptionValue::WithServer { bytes, places } }
    }
}

/// Encodes a value by `kind`. Values with the prefix `hex:` or `text:` are copied unchanged if their length fits the
/// kind.
pub(in crate::config) fn encode(reader: &mut Reader, node: &Node, kind: Option<Kind>) -> Option<Encoded> {
    let raw = match &node.data {
        Data::Text(text) => match (text.strip_prefix("hex:"), text.strip_prefix("text:")) {
            (Some(digits), _) => {
                let Some(bytes) = hex(digits) else {
                    reader.expected(node, "hex: and pairs of hexadecimal digits, like hex:0a0b");
                    return None;
                };
                Some(bytes)
            }
            (_, Some(text)) => Some(text.as_bytes().to_vec()),
            _ => None,
        },
        _ => None,
    };
    let encoded = match (raw, kind) {
        (Some(bytes), _) => Encoded::from(bytes),
        (None, Some(kind)) => by_kind(reader, node, kind)?,
        (None, None) => {
            reader.expected(node, "hex:… or text:…, because the option has no registered type");
            return None;
        }
    };
    // Firmware parses options without checking lengths, so raw values must have a valid length too.
    let bytes = &encoded.bytes;
    if !kind.map_or(!bytes.is_empty(), |kind| kind.fits(bytes)) {
        let what = kind.map_or("at least one byte", length_of);
        reader.problem(node.id, format!("expected {what}, found {} bytes", bytes.len()));
        return None;
    }
    Some(encoded)
}

/// The valid lengths of a kind, for messages. See [`Kind::fits`].
fn length_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Ip | Kind::U32 | Kind::I32 => "4 bytes",
        Kind::Ips | Kind::IpsOrNone => "4 bytes for each address",
        Kind::IpPairs => "8 bytes for each pair",
        Kind::Bool | Kind::U8 => "1 byte",
        Kind::U16 => "2 bytes",
        Kind::U16s => "2 bytes for each number",
        Kind::Text | Kind::Bytes | Kind::U8s => "at least one byte",
        Kind::Names | Kind::SearchList => "whole domain names",
        Kind::Routes => "whole routes",
        Kind::Empty => "no bytes",
    }
}

fn by_kind(reader: &mut Reader, node: &Node, kind: Kind) -> Option<Encoded> {
    let bytes = match kind {
        Kind::Ip => return address(reader, node),
        Kind::Ips => return each(reader, node, host),
        Kind::IpsOrNone if matches!(&node.data, Data::List(items) if items.is_empty()) => Vec::new(),
        Kind::IpsOrNone => return each(reader, node, host),
        Kind::IpPairs => return each(reader, node, pair),
        Kind::Routes => return each(reader, node, route),
        Kind::Bool => vec![u8::from(flag(reader, node)?)],
        Kind::U8 => vec![reader.number(node, 0..=u8::MAX)?],
        Kind::U16 => reader.number(node, 0..=u16::MAX)?.to_be_bytes().to_vec(),
        Kind::U8s => {
            return each(reader, node, |reader, item| Some(vec![reader.number(item, 0..=u8::MAX)?].into()));
        }
        Kind::U16s => {
            return each(reader, node, |reader, item| {
                Some(reader.number(item, 0..=u16::MAX)?.to_be_bytes().to_vec().into())
            });
        }
        Kind::U32 => match seconds(node) {
            Some(seconds) => seconds.to_be_bytes().to_vec(),
            None => reader.number(node, 0..=u32::MAX)?.to_be_bytes().to_vec(),
        },
        Kind::I32 => reader.number(node, i32::MIN..=i32::MAX)?.to_be_bytes().to_vec(),
        Kind::Text => reader.text(node, "text")?.as_bytes().to_vec(),
        Kind::Names => return each(reader, node, name),
        Kind::SearchList => names::compressed(&each(reader, node, name)?.bytes),
        Kind::Bytes => {
            reader.expected(node, "hex:… or text:…");
            return None;
        }
        Kind::Empty => {
            reader.bool(node)?.then_some(())?;
            Vec::new()
        }
    };
    Some(bytes.into())
}

/// Reads `true`, `false`, 1 or 0.
fn flag(reader: &mut Reader, node: &Node) -> Option<bool> {
    match &node.data {
        Data::Int(0) => Some(false),
        Data::Int(1) => Some(true),
        _ => reader.bool(node),
    }
}

/// Encodes one value, or concatenates the encodings of a list of at least one value.
fn each(
    reader: &mut Reader,
    node: &Node,
    mut encode: impl FnMut(&mut Reader, &Node) -> Option<Encoded>,
) -> Option<Encoded> {
    let items = one_or_more(node);
    if items.is_empty() {
        reader.problem(node.id, format!("expected one value or a list of them, found {}", none(node)));
        return None;
    }
    // Every item is read, so that one run reports the problems of all.
    let encoded: Vec<Option<Encoded>> = items.iter().map(|item| encode(reader, item)).collect();
    encoded.into_iter().collect::<Option<Vec<_>>>().map(|parts| {
        parts.into_iter().fold(Encoded::default(), |mut all, part| {
            all.append(part);
            all
        })
    })
}

fn none(node: &Node) -> String {
    if matches!(node.data, Data::List(_)) { "an empty list".to_owned() } else { describe(node) }
}

/// Reads an address, or `{server}` for our address.
fn address(reader: &mut Reader, node: &Node) -> Option<Encoded> {
    if matches!(&node.data, Data::Text(text) if text == SERVER) {
        return Some(Encoded { bytes: vec![0; 4], places: vec![0] });
    }
    let at = reader.parse::<Ipv4Addr>(node, "an IPv4 address like 192.168.77.1, or \"{server}\"")?;
    Some(at.value.octets().to_vec().into())
}

/// Reads the address of a host, as [`address`].
fn host(reader: &mut Reader, node: &Node) -> Option<Encoded> {
    let found = address(reader, node)?;
    let is_none = found.places.is_empty() && (found.bytes == [0; 4] || found.bytes == [255; 4]);
    if is_none {
        reader.expected(node, "the address of a host, or \"{server}\" for the address of this server");
        return None;
    }
    Some(found)
}

/// Reads two addresses: `"10.0.0.1 192.168.77.254"`.
fn pair(reader: &mut Reader, node: &Node) -> Option<Encoded> {
    if let Data::Text(text) = &node.data {
        let part = |text: &str| match text == SERVER {
            true => Some(Encoded { bytes: vec![0; 4], places: vec![0] }),
            false => text.parse::<Ipv4Addr>().ok().map(|address| address.octets().to_vec().into()),
        };
        let mut parts = text.split_ascii_whitespace().map(part);
        if let (Some(Some(mut one)), Some(Some(two)), None) = (parts.next(), parts.next(), parts.next()) {
            one.append(two);
            return Some(one);
        }
    }
    reader.expected(node, "two IPv4 addresses in one text, like \"10.0.0.1 192.168.77.254\"");
    None
}

/// Whole seconds of a value that is written as a duration.
fn seconds(node: &Node) -> Option<u32> {
    let Data::Text(text) = &node.data else { return None };
    let duration = duration(text).filter(|duration| duration.subsec_nanos() == 0)?;
    u32::try_from(duration.as_secs()).ok()
}

/// Reads a domain name and returns it as written.
pub(in crate::config) fn domain_name<'n>(reader: &mut Reader, node: &'n Node) -> Option<&'n str> {
    name(reader, node)?;
    if let Data::Text(text) = &node.data { Some(text) } else { None }
}

/// Encodes a DNS name as in RFC 1035 section 3.1, uncompressed.
fn name(reader: &mut Reader, node: &Node) -> Option<Encoded> {
    const WHAT: &str = "a domain name like lab.example";
    let text = reader.text(node, WHAT)?;
    let mut bytes = Vec::with_capacity(text.len() + 2);
    for label in text.strip_suffix('.').unwrap_or(text).split('.') {
        let fits = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match u8::try_from(label.len()) {
            Ok(len @ 1..=63) if fits => bytes.push(len),
            _ => {
                reader.expected(node, WHAT);
                return None;
            }
        }
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    if bytes.len() > 255 {
        reader.problem(node.id, "expected a domain name of at most 253 letters");
        return None;
    }
    Some(bytes.into())
}

/// Encodes `{to: 10.0.0.0/8, via: 192.168.77.254}` as in RFC 3442: prefix length, significant octets, router.
fn route(reader: &mut Reader, node: &Node) -> Option<Encoded> {
    if !matches!(node.data, Data::Map(_)) {
        reader.expected(node, "a route like {to: 0.0.0.0/0, via: 192.168.77.254}");
        return None;
    }
    let fields = reader.fields(node, Section::Route);
    let (Some(to), Some(via)) = (fields.get("to"), fields.get("via")) else {
        reader.problem(node.id, "expected both `to` and `via`, like {to: 0.0.0.0/0, via: 192.168.77.254}");
        return None;
    };
    let (to, via) = (reader.parse::<Ipv4Network>(to, ""), address(reader, via));
    let (to, via) = (to?.value, via?);
    let significant = usize::from(to.prefix().div_ceil(8));
    let mut bytes = vec![to.prefix()];
    bytes.extend(to.address().octets().iter().take(significant));
    let mut encoded = Encoded::from(bytes);
    encoded.append(via);
    Some(encoded)
}

/// Decodes pairs of hexadecimal digits. Spaces, `:` and `-` are allowed between them.
pub(in crate::config) fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits: String = digits.chars().filter(|c| !matches!(c, ' ' | ':' | '-')).collect();
    from_hex(&digits)
}
