//! Reads `match` of a class: conditions on what clients send.

use crate::config::sections::class_names::class_refs;
use crate::config::sections::option_names::unknown_name_hint;
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{At, Reader, one_or_more, suggestion};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::classes::Condition;
use crate::dhcp::pattern::Pattern;
use crate::types::{Arch, HostOrNetwork, Ipv4Network, Uuid};
use crate::wire::option::by_name;
use crate::wire::relay;

/// Reads a mapping, of which all keys must match, or a list of mappings, of which one must.
pub(in crate::config) fn alternatives(reader: &mut Reader, node: &Node) -> Vec<Vec<Condition>> {
    match &node.data {
        Data::List(items) if !items.is_empty() => items.iter().map(|item| conditions(reader, item)).collect(),
        _ => vec![conditions(reader, node)],
    }
}

fn conditions(reader: &mut Reader, node: &Node) -> Vec<Condition> {
    let entries = reader.entries(node);
    if entries.is_empty() && matches!(node.data, Data::Map(_) | Data::Null) {
        reader.problem(
            node.id,
            "expected at least one key, like {vendor_class: acme}; `dhcp.options` are for every client",
        );
    }
    entries.into_iter().filter_map(|(key, value)| condition(reader, &key, value)).collect()
}

fn condition(reader: &mut Reader, key: &At<String>, node: &Node) -> Option<Condition> {
    let condition = match key.value.as_str() {
        // Firmware and phones append their model and version to the vendor's name.
        "vendor_class" => Condition::VendorClass(patterns(reader, node, Pattern::text_or_prefix)),
        "user_class" => Condition::UserClass(patterns(reader, node, Pattern::text)),
        "hostname" => Condition::Hostname(each(reader, node, hostname)),
        "arch" => Condition::Arch(each(reader, node, |reader, node| {
            Some(reader.parse::<Arch>(node, "a client architecture like bios, uefi-x64 or 7")?.value)
        })),
        "mac" => Condition::Mac(each(reader, node, mac)),
        "uuid" => Condition::Uuid(each(reader, node, |reader, node| Some(uuid(reader, node)?.value))),
        "client_id" => {
            let patterns = patterns(reader, node, Pattern::text).into_iter();
            Condition::Option(
                crate::wire::option::code::CLIENT_IDENTIFIER,
                patterns.map(Pattern::with_nuls).collect(),
            )
        }
        "circuit_id" => Condition::RelayOption(relay::CIRCUIT_ID, patterns(reader, node, Pattern::text)),
        "remote_id" => Condition::RelayOption(relay::REMOTE_ID, patterns(reader, node, Pattern::text)),
        "relay" => Condition::Relay(each(reader, node, |reader, node| {
            Some(reader.parse::<HostOrNetwork>(node, "the address or network of relay agents")?.value.0)
        })),
        "subnet" => Condition::Subnet(each(reader, node, |reader, node| {
            Some(reader.parse::<Ipv4Network>(node, "")?.value)
        })),
        "class" => Condition::Class(class_refs(reader, node)),
        "not" => Condition::Not(alternatives(reader, node)),
        other => return numbered(reader, key.id, other, node),
    };
    Some(condition)
}

/// Reads a key with a number: `option.N`, `relay.N`, `vendor.ENTERPRISE` or `vendor.ENTERPRISE.N`.
fn numbered(reader: &mut Reader, id: u32, key: &str, node: &Node) -> Option<Condition> {
    if let Some(name) = key.strip_prefix("option.") {
        let code = option_code(reader, id, name)?;
        return Some(Condition::Option(code, patterns(reader, node, Pattern::text)));
    }
    if let Some(number) = key.strip_prefix("relay.") {
        let Some(number) = number.parse::<u8>().ok().filter(|number| *number > 0) else {
            reader.problem(id, format!("expected `relay.` and a suboption from 1 to 255, found `{key}`"));
            return None;
        };
        return Some(Condition::RelayOption(number, patterns(reader, node, Pattern::text)));
    }
    if let Some(numbers) = key.strip_prefix("vendor.") {
        let (enterprise, suboption) = match numbers.split_once('.') {
            Some((enterprise, suboption)) => (enterprise, Some(suboption)),
            None => (numbers, None),
        };
        let suboption = suboption.map(str::parse::<u8>).transpose();
        let (Ok(enterprise), Ok(suboption)) = (enterprise.parse::<u32>(), suboption) else {
            reader.problem(
                id,
                format!("expected `vendor.` and an enterprise number, as in vendor.4491 or vendor.4491.1, found `{key}`"),
            );
            return None;
        };
        let patterns = patterns(reader, node, Pattern::text);
        return Some(match suboption {
            Some(suboption) => Condition::VendorOption(enterprise, suboption, patterns),
            None => Condition::VendorData(enterprise, patterns),
        });
    }
    let keys: Vec<&str> = Section::Match.keys().iter().map(|key| key.name).collect();
    let hint = suggestion(key, keys.iter().copied()).unwrap_or_else(|| {
        format!("; the keys here are {}", keys.join(", ").replace(", option", " and option"))
    });
    reader.problem(id, format!("unknown key `{key}`{hint}"));
    None
}

/// The code of the option in the key `option.N` or `option.NAME`.
fn option_code(reader: &mut Reader, id: u32, name: &str) -> Option<u8> {
    let code = name.parse::<u8>().ok().filter(|code| (1..=254).contains(code));
    let code = code.or_else(|| by_name(name).map(|row| row.code));
    if code.is_none() {
        reader.problem(id, format!("unknown option `{name}`{}", unknown_name_hint(name)));
    }
    code
}

/// Reads one value or a list of at least one value.
fn each<T>(
    reader: &mut Reader,
    node: &Node,
    mut read: impl FnMut(&mut Reader, &Node) -> Option<T>,
) -> Vec<T> {
    let items = one_or_more(node);
    if items.is_empty() {
        let none = if matches!(node.data, Data::List(_)) { "an empty list" } else { "nothing" };
        reader.problem(node.id, format!("expected one value or a list of them, found {none}"));
    }
    items.iter().filter_map(|item| read(reader, item)).collect()
}

/// Reads one pattern or a list of them. `plain` makes the pattern of text without a prefix.
fn patterns(reader: &mut Reader, node: &Node, plain: fn(&str) -> Pattern) -> Vec<Pattern> {
    each(reader, node, |reader, node| pattern(reader, node, plain))
}

/// Reads `{is: text}` as exactly that text, `hex:…` as a pattern of bytes, and other text by `plain`.
fn pattern(reader: &mut Reader, node: &Node, plain: impl Fn(&str) -> Pattern) -> Option<Pattern> {
    if matches!(node.data, Data::Map(_)) {
        return exact(reader, node).map(Pattern::exact);
    }
    let text =
        reader.text(node, "text in which * stands for any letters and ? for one, hex:…, or {is: text}")?;
    let Some(digits) = text.strip_prefix("hex:") else {
        return Some(plain(text.strip_prefix("text:").unwrap_or(text)));
    };
    let pattern = Pattern::hex(digits);
    if pattern.is_none() {
        reader.expected(node, "hex: and pairs of hexadecimal digits, like hex:0a0b, or with ? and *");
    }
    pattern
}

fn exact<'n>(reader: &mut Reader, node: &'n Node) -> Option<&'n str> {
    let fields = reader.fields(node, Section::Exact);
    let text = fields.get("is").map(|node| reader.text(node, "text"));
    if text.is_none() {
        reader.problem(node.id, "`is` must be given, like {is: snom}");
    }
    text.flatten()
}

fn hostname(reader: &mut Reader, node: &Node) -> Option<Pattern> {
    if matches!(node.data, Data::Map(_)) {
        return exact(reader, node).map(|text| Pattern::exact(&text.to_ascii_lowercase()));
    }
    pattern(reader, node, |text| Pattern::text(&text.to_ascii_lowercase()))
}

/// Reads a MAC address, a prefix of one, or a pattern with `*` and `?`, in any common notation. The pattern has digits
/// without separators.
fn mac(reader: &mut Reader, node: &Node) -> Option<Pattern> {
    const WHAT: &str = "a MAC address, its beginning like 52:54:00, or one with * and ? like 52:54:00:*:01";
    let number = match &node.data {
        Data::Int(number) => number.to_string(),
        _ => String::new(),
    };
    let text = if number.is_empty() { reader.text(node, WHAT)? } else { &number };
    // `2:0:0` means 02:00:00, but in 0200.0000 the dot does not separate octets.
    let octets = text.contains([':', '-']);
    let parts = text.split([':', '-', '.']).map(|part| {
        let digit = part.len() == 1 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if octets && digit { format!("0{part}") } else { part.to_ascii_lowercase() }
    });
    let pattern = parts.collect::<String>().to_ascii_lowercase();
    let digits = pattern.bytes().filter(|byte| *byte != b'*').count();
    let fits = pattern.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'?'));
    if !fits || digits == 0 || digits > 12 {
        reader.expected(node, WHAT);
        return None;
    }
    Some(Pattern::text(&if pattern.contains('*') { pattern } else { format!("{pattern}*") }))
}

/// Reads the UUID of one machine. UUIDs that many boards share are a problem.
pub(in crate::config) fn uuid(reader: &mut Reader, node: &Node) -> Option<At<Uuid>> {
    let uuid = reader.parse::<Uuid>(node, "")?;
    if uuid.value.is_junk() {
        let message = "expected the UUID of one machine; this one is shared by many boards";
        reader.problem(node.id, message);
        return None;
    }
    Some(uuid)
}
