//! Reads `options:`: maps option names to codes, and encodes values by the type that the option table registers.

use std::net::Ipv4Addr;

use crate::config::sections::option_names::{code_by_other_name, unknown_name_hint};
use crate::config::syntax::keys::Section;
use crate::config::syntax::reader::{Reader, describe, duration, one_or_more};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::option_space::{DEFAULT_DATAGRAM, MAX_DATAGRAM, smallest_datagram};
use crate::dhcp::options::OptionSet;
use crate::types::Ipv4Network;
use crate::wire::option::{Kind, by_code, by_name};

/// Options that cannot be configured, because lanboot writes them itself or only clients and relay agents send them.
/// The text says how to get the effect instead.
const NOT_CONFIGURABLE: &[(u8, &str)] = &[
    (0, "0 is padding, not an option"),
    (1, "the mask is that of the subnet's `network:`"),
    (13, "lanboot writes the size of the boot file"),
    (43, "lanboot writes it for PXE clients, from `boot:`"),
    (50, "only clients send it; a machine's address is set by `machines[].address`"),
    (51, "lease times are set by `lease:` of the subnet"),
    (52, "lanboot never writes options into `file` and `sname`"),
    (53, "lanboot writes it"),
    (54, "lanboot writes the address that the request came to"),
    (55, "only clients send it"),
    (56, "lanboot writes it when it refuses an address"),
    (57, "only clients send it"),
    (58, "lanboot derives it from `lease:` of the subnet"),
    (59, "lanboot derives it from `lease:` of the subnet"),
    (60, "lanboot writes it for PXE and HTTP clients"),
    (61, "only clients send it; lanboot echoes it"),
    (66, "lanboot writes its own address; boot files are set by `boot:`"),
    (67, "boot files are set by `boot:`, or by `boot` of a machine"),
    (77, "only clients send it"),
    (80, "lanboot decides about rapid commit"),
    (81, "lanboot answers it itself"),
    (82, "only relay agents send it; lanboot echoes it"),
    (93, "only clients send it"),
    (94, "only clients send it"),
    (97, "only clients send it; lanboot echoes it"),
    (118, "only clients send it"),
    (175, "lanboot writes it for iPXE"),
    (255, "255 is the end mark, not an option"),
];

/// Reads a mapping of options. Entries with a problem are omitted.
pub(in crate::config) fn options(reader: &mut Reader, node: &Node) -> OptionSet {
    let mut set = OptionSet::new();
    for (key, value) in reader.entries(node) {
        let Some((code, kind)) = option_named(reader, key.id, &key.value) else { continue };
        let Some(bytes) = encode(reader, value, kind) else { continue };
        if let Some(note) = length_note(code, &bytes) {
            reader.note(key.id, note);
        }
        if set.insert(code, bytes).is_some() {
            reader.problem(key.id, format!("option {code} is set twice, under two names"));
        }
    }
    set
}

/// Note about an option that is too long for the replies to some clients, or to all. Those replies omit it.
fn length_note(code: u8, value: &[u8]) -> Option<String> {
    let (len, needed) = (value.len(), smallest_datagram(code, value));
    let over = |most| needed.checked_sub(most).filter(|bytes| *bytes > 0);
    if let Some(bytes) = over(MAX_DATAGRAM) {
        return Some(format!("a value of {len} bytes reaches no client: it must be shorter by {bytes}"));
    }
    let bytes = over(DEFAULT_DATAGRAM)?;
    Some(format!(
        "a value of {len} bytes reaches only clients that take messages of {needed} bytes (option 57): it must be \
         shorter by {bytes} for the others"
    ))
}

/// Code and kind of the option with this name or number. The kind is `None` if the code is not registered.
fn option_named(reader: &mut Reader, id: u32, name: &str) -> Option<(u8, Option<Kind>)> {
    let code = name.parse::<u8>().ok().or_else(|| by_name(name).map(|row| row.code));
    let meant = code.or_else(|| code_by_other_name(name));
    if let Some((code, instead)) = NOT_CONFIGURABLE.iter().find(|(code, _)| Some(*code) == meant) {
        reader.problem(id, format!("option {code} is not set here: {instead}"));
        return None;
    }
    let Some(code) = code else {
        reader.problem(id, format!("unknown option `{name}`{}", unknown_name_hint(name)));
        return None;
    };
    Some((code, by_code(code).map(|row| row.kind)))
}

/// Encodes a value by `kind`. Values with the prefix `hex:` or `text:` are copied unchanged if their length fits the
/// kind.
fn encode(reader: &mut Reader, node: &Node, kind: Option<Kind>) -> Option<Vec<u8>> {
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
    let bytes = match (raw, kind) {
        (Some(bytes), _) => bytes,
        (None, Some(kind)) => by_kind(reader, node, kind)?,
        (None, None) => {
            reader.expected(node, "hex:… or text:…, because the option has no registered type");
            return None;
        }
    };
    // Firmware parses options without checking lengths, so raw values must have a valid length too.
    if kind.is_some_and(|kind| !kind.fits(&bytes)) || bytes.is_empty() {
        let what = kind.map_or("at least one byte", length_of);
        reader.problem(node.id, format!("expected {what}, found {} bytes", bytes.len()));
        return None;
    }
    Some(bytes)
}

/// The valid lengths of a kind, for messages. See [`Kind::fits`].
fn length_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Ip | Kind::U32 | Kind::I32 => "4 bytes",
        Kind::Ips => "4 bytes for each address",
        Kind::IpPairs => "8 bytes for each pair",
        Kind::Bool | Kind::U8 => "1 byte",
        Kind::U16 => "2 bytes",
        Kind::U16s => "2 bytes for each number",
        Kind::Text | Kind::Bytes | Kind::U8s => "at least one byte",
        Kind::Names => "whole domain names",
        Kind::Routes => "whole routes",
        Kind::Empty => "no bytes",
    }
}

fn by_kind(reader: &mut Reader, node: &Node, kind: Kind) -> Option<Vec<u8>> {
    match kind {
        Kind::Ip => Some(address(reader, node)?.octets().to_vec()),
        Kind::Ips => each(reader, node, |reader, item| Some(address(reader, item)?.octets().to_vec())),
        Kind::IpPairs => each(reader, node, pair),
        Kind::Bool => Some(vec![u8::from(reader.bool(node)?)]),
        Kind::U8 => Some(vec![reader.number(node, 0..=u8::MAX)?]),
        Kind::U16 => Some(reader.number(node, 0..=u16::MAX)?.to_be_bytes().to_vec()),
        Kind::U8s => each(reader, node, |reader, item| Some(vec![reader.number(item, 0..=u8::MAX)?])),
        Kind::U16s => {
            each(reader, node, |reader, item| Some(reader.number(item, 0..=u16::MAX)?.to_be_bytes().to_vec()))
        }
        Kind::U32 => Some(match seconds(node) {
            Some(seconds) => seconds.to_be_bytes().to_vec(),
            None => reader.number(node, 0..=u32::MAX)?.to_be_bytes().to_vec(),
        }),
        Kind::I32 => Some(reader.number(node, i32::MIN..=i32::MAX)?.to_be_bytes().to_vec()),
        Kind::Text => Some(reader.text(node, "text")?.as_bytes().to_vec()),
        Kind::Names => each(reader, node, name),
        Kind::Routes => each(reader, node, route),
        Kind::Bytes => {
            reader.expected(node, "hex:… or text:…");
            None
        }
        Kind::Empty => reader.bool(node)?.then(Vec::new),
    }
}

/// Encodes one value, or concatenates the encodings of a list of at least one value.
fn each(
    reader: &mut Reader,
    node: &Node,
    mut encode: impl FnMut(&mut Reader, &Node) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let items = one_or_more(node);
    if items.is_empty() {
        reader.problem(node.id, format!("expected one value or a list of them, found {}", none(node)));
        return None;
    }
    let encoded: Vec<Option<Vec<u8>>> = items.iter().map(|item| encode(reader, item)).collect();
    encoded.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.concat())
}

fn none(node: &Node) -> String {
    if matches!(node.data, Data::List(_)) { "an empty list".to_owned() } else { describe(node) }
}

fn address(reader: &mut Reader, node: &Node) -> Option<Ipv4Addr> {
    reader.parse(node, "an IPv4 address like 192.168.77.1").map(|at| at.value)
}

/// Reads two addresses: `"10.0.0.1 192.168.77.254"`.
fn pair(reader: &mut Reader, node: &Node) -> Option<Vec<u8>> {
    if let Data::Text(text) = &node.data {
        let mut parts = text.split_ascii_whitespace().map(str::parse::<Ipv4Addr>);
        if let (Some(Ok(one)), Some(Ok(two)), None) = (parts.next(), parts.next(), parts.next()) {
            return Some([one.octets(), two.octets()].concat());
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

/// Encodes a DNS name as in RFC 1035 section 3.1, uncompressed, as RFC 3397 requires.
fn name(reader: &mut Reader, node: &Node) -> Option<Vec<u8>> {
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
    Some(bytes)
}

/// Encodes `{to: 10.0.0.0/8, via: 192.168.77.254}` as in RFC 3442: prefix length, significant octets, router.
fn route(reader: &mut Reader, node: &Node) -> Option<Vec<u8>> {
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
    bytes.extend(via.octets());
    Some(bytes)
}

/// Decodes pairs of hexadecimal digits. Spaces, `:` and `-` are allowed between them.
pub(in crate::config) fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits: String = digits.chars().filter(|c| !matches!(c, ' ' | ':' | '-')).collect();
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::syntax::tree::parse;

    /// Hexadecimal bytes of each option in `text`.
    fn encoded(text: &str) -> Vec<(u8, String)> {
        let mut reader = Reader::default();
        let set = options(&mut reader, &parse(text).unwrap());
        let problems: Vec<_> = reader.problems.iter().map(|problem| &problem.message).collect();
        assert!(problems.is_empty(), "{text}: {problems:?}");
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        set.into_iter().map(|(code, bytes)| (code, hex(bytes))).collect()
    }

    #[track_caller]
    fn one(text: &str, code: u8, hex: &str) {
        assert_eq!(encoded(text), [(code, hex.to_owned())], "{text}");
    }

    #[test]
    fn values_are_encoded_by_the_kind_of_the_option() {
        one("router: 192.168.77.1", 3, "c0a84d01");
        one("dns: [192.168.77.1, 1.1.1.1]", 6, "c0a84d0101010101");
        one("6: 1.1.1.1", 6, "01010101");
        one("0x06: 1.1.1.1", 6, "01010101");
        one(
            "domain-search: [lab.example, a.b.]",
            119,
            "036c6162076578616d706c6500016101620 0".replace(' ', "").as_str(),
        );
        one("time_offset: -3600", 2, "fffff1f0");
        one("arp_cache_timeout: 1m", 35, "0000003c");
        one("arp_cache_timeout: 60", 35, "0000003c");
        one("ip_forwarding: off", 19, "00");
        one("interface_mtu: 1400", 26, "0578");
        one("path_mtu_plateau_table: [68, 1492]", 25, "004405d4");
        one("static_routes: 10.0.0.1 192.168.77.254", 33, "0a000001c0a84dfe");
        one("hostname: node1", 12, "6e6f646531");
        one("224: 'hex:0a:0B 0c'", 224, "0a0b0c");
        one("224: text:é", 224, "c3a9");
    }

    #[test]
    fn rfc3442_routes_carry_only_the_significant_octets() {
        // The examples of RFC 3442, page 4, and the default route.
        one("classless_routes: [{to: 0.0.0.0/0, via: 10.0.0.1}]", 121, "000a000001");
        one("classless_routes: {to: 10.0.0.0/8, via: 10.0.0.1}", 121, "080a0a000001");
        one("classless_routes: [{to: 10.17.0.0/16, via: 10.0.0.1}]", 121, "100a110a000001");
        one("classless_routes: [{to: 10.229.0.128/25, via: 10.0.0.1}]", 121, "190ae500800a000001");
        one("classless_routes: [{to: 10.198.122.47/32, via: 10.0.0.1}]", 121, "200ac67a2f0a000001");
    }

    #[test]
    fn raw_values_may_be_long_but_must_fit_the_kind() {
        let long = encoded(&format!("224: text:{}", "x".repeat(300)));
        assert_eq!(long[0].1.len(), 600);
        let mut reader = Reader::default();
        assert!(options(&mut reader, &parse("dns: hex:010203").unwrap()).is_empty());
        assert_eq!(reader.problems[0].message, "expected 4 bytes for each address, found 3 bytes");
    }
}
