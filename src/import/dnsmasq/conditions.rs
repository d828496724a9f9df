//! The conditions that statements test before they set a tag.

use super::model::Test;
use super::option::{OptionText, Value, Wrap};
use super::values::Hex;
use crate::import::condition::Condition;
use crate::import::field::Pattern;
use crate::import::patterns::Part;

/// Elements of an array in which `dhcp-match` looks for a value of several bytes.
const ELEMENTS: usize = 4;
/// Option 93, the architecture of the client.
const ARCH: u32 = 93;

/// The condition that a statement tests.
pub(super) fn condition_of(test: &Test) -> Condition {
    let contains =
        |text: &str| Pattern::of(vec![Part::AnyBytes, Part::Bytes(text.as_bytes().to_vec()), Part::AnyBytes]);
    match test {
        Test::VendorClass(text) => Condition::Field("vendor_class".to_owned(), contains(text)),
        Test::UserClass(text) => Condition::Field("user_class".to_owned(), contains(text)),
        Test::Mac(mac) => mac_condition(mac),
        Test::HostName { name, is_prefix } => host_name(name, *is_prefix),
        Test::Relay(suboption, bytes) => {
            let field = match suboption {
                1 => "circuit_id".to_owned(),
                2 => "remote_id".to_owned(),
                other => format!("relay.{other}"),
            };
            Condition::Field(field, Pattern::exactly(bytes))
        }
        Test::Option(option) => option_condition(option),
    }
}

/// The condition on a host name, which is compared without regard to case.
pub(super) fn host_name(name: &str, is_prefix: bool) -> Condition {
    let name = name.to_ascii_lowercase();
    let pattern =
        if is_prefix { Pattern::prefix(name.as_bytes()) } else { Pattern::exactly(name.as_bytes()) };
    Condition::Field("hostname".to_owned(), pattern)
}

/// The condition on a hardware address.
pub(super) fn mac_condition(mac: &Hex) -> Condition {
    let mut parts = parts(mac);
    // A pattern that ends in unknown octets is the beginning of an address.
    let mut is_prefix = false;
    while mac.bytes.len() == 6 && parts.len() > 1 && parts.last() == Some(&Part::AnyByte) {
        parts.pop();
        is_prefix = true;
    }
    parts.extend(is_prefix.then_some(Part::AnyBytes));
    Condition::Field("mac".to_owned(), Pattern::of(parts))
}

/// The bytes with their wildcards.
fn parts(hex: &Hex) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for byte in &hex.bytes {
        match (byte, parts.last_mut()) {
            (Some(byte), Some(Part::Bytes(bytes))) => bytes.push(*byte),
            (Some(byte), _) => parts.push(Part::Bytes(vec![*byte])),
            (None, _) => parts.push(Part::AnyByte),
        }
    }
    parts
}

/// The condition of a `dhcp-match`. Text may stand anywhere in the option, hexadecimal bytes at its beginning, and any
/// other value is an element of an array (`match_bytes` in `dhcp-common.c`).
fn option_condition(option: &OptionText) -> Condition {
    let field = match option.wrap {
        Wrap::Enterprise(enterprise) => format!("vendor.{enterprise}"),
        _ => format!("option.{}", option.code),
    };
    let bytes = option.value.bytes();
    let with = |parts: Vec<Part>| Condition::Field(field.clone(), Pattern::of(parts));
    match &option.value {
        _ if bytes.is_empty() => Condition::exists(&field),
        Value::Hex(hex) => {
            let mut parts = parts(hex);
            parts.push(Part::AnyBytes);
            with(parts)
        }
        Value::Text(_) => with(vec![Part::AnyBytes, Part::Bytes(bytes), Part::AnyBytes]),
        _ if option.wrap == Wrap::None && option.code == ARCH && bytes.len() == 2 => {
            // 9 is the other number of x64.
            let number = if bytes == [0, 9] { vec![0, 7] } else { bytes };
            Condition::Field("arch".to_owned(), Pattern::exactly(&number))
        }
        _ if bytes.len() == 1 => with(vec![Part::AnyBytes, Part::Bytes(bytes), Part::AnyBytes]),
        _ => {
            let element = |skipped: usize| {
                let mut parts = vec![Part::AnyByte; skipped * bytes.len()];
                parts.extend([Part::Bytes(bytes.clone()), Part::AnyBytes]);
                with(parts)
            };
            Condition::any((0..ELEMENTS).map(element))
        }
    }
}
