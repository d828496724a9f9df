//! Reads `dhcp.classes`: the conditions of each class, and the options and boot files for clients that match.

use crate::config::sections::boot_file;
use crate::config::sections::option_names::unknown_name_hint;
use crate::config::sections::options::{hex, options};
use crate::config::syntax::keys::Section;
use crate::config::syntax::reader::{At, Reader, one_or_more, suggestion};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::classes::{Class, Condition, Glob, Value};
use crate::dhcp::options::OptionSet;
use crate::types::{Arch, Uuid};
use crate::wire::option::by_name;

/// Reads one entry of `dhcp.classes`. Parts with a problem are omitted.
pub(in crate::config) fn class(reader: &mut Reader, node: &Node) -> Class {
    let fields = reader.fields(node, Section::Class);
    let conditions = match fields.get("match") {
        Some(node) => conditions(reader, node),
        None => {
            let message = "`match` must be given, like {vendor_class: acme}";
            if matches!(node.data, Data::Map(_) | Data::Null) {
                reader.problem(node.id, message);
            }
            Vec::new()
        }
    };
    Class {
        conditions,
        options: fields.get("options").map_or(OptionSet::new(), |node| options(reader, node)),
        boot: fields.get("boot").and_then(|node| boot_file::machine_boot(reader, node)),
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
        "vendor_class" => Condition::VendorClass(each(reader, node, |reader, node| {
            let text = text(reader, node)?;
            // Firmware and phones append their model and version to the vendor's name.
            Some(Glob(if text.contains(['*', '?']) { text.to_owned() } else { format!("{text}*") }))
        })),
        "user_class" => Condition::UserClass(each(reader, node, glob)),
        "hostname" => Condition::Hostname(each(reader, node, |reader, node| {
            Some(Glob(text(reader, node)?.to_ascii_lowercase()))
        })),
        "arch" => Condition::Arch(each(reader, node, |reader, node| {
            Some(reader.parse::<Arch>(node, "a client architecture like bios, uefi-x64 or 7")?.value)
        })),
        "mac" => Condition::Mac(each(reader, node, mac)),
        "uuid" => Condition::Uuid(each(reader, node, |reader, node| Some(uuid(reader, node)?.value))),
        "circuit_id" => Condition::CircuitId(each(reader, node, value)),
        "remote_id" => Condition::RemoteId(each(reader, node, value)),
        other => Condition::Option(option_code(reader, key.id, other)?, each(reader, node, value)),
    };
    Some(condition)
}

/// The option code in the key `option.N` or `option.NAME`.
fn option_code(reader: &mut Reader, id: u32, key: &str) -> Option<u8> {
    let Some(name) = key.strip_prefix("option.") else {
        let keys: Vec<&str> = Section::Match.keys().iter().map(|key| key.name).collect();
        let hint = suggestion(key, keys.iter().copied()).unwrap_or_else(|| {
            format!("; the keys here are {}", keys.join(", ").replace(", option", " and option"))
        });
        reader.problem(id, format!("unknown key `{key}`{hint}"));
        return None;
    };
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

fn text<'n>(reader: &mut Reader, node: &'n Node) -> Option<&'n str> {
    reader.text(node, "text; * stands for any letters, ? for one")
}

fn glob(reader: &mut Reader, node: &Node) -> Option<Glob> {
    text(reader, node).map(|text| Glob(text.to_owned()))
}

/// Reads `hex:…` as bytes and other text as a pattern.
fn value(reader: &mut Reader, node: &Node) -> Option<Value> {
    let text = reader.text(node, "hex:…, or text in which * stands for any letters and ? for one")?;
    let Some(digits) = text.strip_prefix("hex:") else {
        return Some(Value::Text(Glob(text.strip_prefix("text:").unwrap_or(text).to_owned())));
    };
    let bytes = hex(digits);
    if bytes.is_none() {
        reader.expected(node, "hex: and pairs of hexadecimal digits, like hex:0a0b");
    }
    bytes.map(Value::Bytes)
}

/// Reads a MAC address, a prefix of one, or a pattern with `*` and `?`, in any common notation. The result has digits
/// without separators.
fn mac(reader: &mut Reader, node: &Node) -> Option<Glob> {
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
    Some(Glob(if pattern.contains('*') { pattern } else { format!("{pattern}*") }))
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
