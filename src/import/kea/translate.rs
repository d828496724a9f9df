//! Translates test expressions into conditions that `match` can express.

use std::net::Ipv4Addr;

use super::expression::{Code, Field, Test, Text};
use crate::import::comparison::{option_fits, part_equals};
use crate::import::condition::Condition;
use crate::import::field::Pattern;
use crate::types::from_hex;

/// Looks up the code of an option by Kea's name for it, standard or defined in the file.
pub(super) type CodeOf<'c> = &'c dyn Fn(&str) -> Option<u8>;

/// Names of classes that lanboot has itself.
pub(super) const BUILT_IN: [&str; 6] = ["known", "unknown", "pxe", "http", "ipxe", "bootp"];

/// Returns the name of Kea's class here: names that lanboot gives to its own classes are changed.
pub(super) fn class_name(name: &str) -> String {
    if BUILT_IN.contains(&name) { format!("kea-{name}") } else { name.to_owned() }
}

/// Translates `test`. An error is the reason why `match` cannot express it.
pub(super) fn condition(test: &Test, code_of: CodeOf<'_>) -> Result<Condition, String> {
    Ok(match test {
        Test::Not(inner) => condition(inner, code_of)?.negated(),
        Test::And(left, right) => Condition::all([condition(left, code_of)?, condition(right, code_of)?]),
        Test::Or(left, right) => Condition::any([condition(left, code_of)?, condition(right, code_of)?]),
        Test::Member(name) => member(name)?,
        Test::Match => return Err("`match` has no regular expressions".to_owned()),
        // The enterprise number stands first in option 125.
        Test::Exists(Field::Vendor(Some(enterprise), None)) => {
            Condition::Field("option.125".to_owned(), Pattern::prefix(&enterprise.to_be_bytes()))
        }
        Test::Exists(field) => Condition::exists(&key(field, code_of)?),
        Test::Equal(left, right) => {
            let (value, literal) = match (literal(left), literal(right)) {
                (Some(one), Some(two)) => {
                    return Ok(if one == two { Condition::Always } else { Condition::Never });
                }
                (None, Some(bytes)) => (left, bytes),
                (Some(bytes), None) => (right, bytes),
                (None, None) => {
                    return Err("`match` cannot compare two fields of a message".to_owned());
                }
            };
            equal(value, &literal, code_of)?
        }
    })
}

/// Returns the condition of a member of class `name`.
pub(super) fn member(name: &str) -> Result<Condition, String> {
    let built_in = |name: &str| Condition::Class(name.to_owned());
    Ok(match name {
        "ALL" => Condition::Always,
        "KNOWN" => built_in("known"),
        "UNKNOWN" => built_in("unknown"),
        "BOOTP" => built_in("bootp"),
        _ if name.starts_with("HA_") => {
            return Err(format!("class {name} belongs to the HA hook library, which lanboot does not have"));
        }
        _ => match name.strip_prefix("VENDOR_CLASS_") {
            Some(vendor) => Condition::Field("vendor_class".to_owned(), Pattern::exactly(vendor.as_bytes())),
            None => Condition::Class(class_name(name)),
        },
    })
}

fn literal(text: &Text) -> Option<Vec<u8>> {
    match text {
        Text::Bytes(bytes) => Some(bytes.clone()),
        Text::Number(number) => Some(number.to_be_bytes().to_vec()),
        _ => None,
    }
}

/// Returns the condition that `value` equals `literal`.
fn equal(value: &Text, literal: &[u8], code_of: CodeOf<'_>) -> Result<Condition, String> {
    match value {
        Text::Field(field) => field_equals(field, literal, code_of),
        Text::Substring(inner, start, length) => match &**inner {
            Text::Field(field) => {
                part_equals((*start, *length), literal, &|pattern| fits(field, pattern, code_of))
            }
            Text::Hex(inner, separator) => match (&**inner, start, length) {
                (Text::Field(field), 0, Some(length)) if usize::try_from(*length) == Ok(literal.len()) => {
                    let bytes = digits(literal, separator)?;
                    fits(field, Pattern::prefix(&bytes), code_of)
                }
                _ => Err("`match` cannot compare this part of `hexstring`".to_owned()),
            },
            _ => Err("`match` cannot compare a part of a computed text".to_owned()),
        },
        Text::IfElse(test, yes, no) => {
            let test = condition(test, code_of)?;
            let of = |text: &Text| match self::literal(text) {
                Some(bytes) if bytes == literal => Ok(Condition::Always),
                Some(_) => Ok(Condition::Never),
                None => equal(text, literal, code_of),
            };
            let (yes, no) = (of(yes)?, of(no)?);
            Ok(Condition::any([Condition::all([test.clone(), yes]), Condition::all([test.negated(), no])]))
        }
        Text::Hex(inner, separator) => match &**inner {
            Text::Field(field) => field_equals(field, &digits(literal, separator)?, code_of),
            _ => Err("`match` cannot compare a computed text".to_owned()),
        },
        Text::Other(function) => Err(format!("`match` has nothing like `{function}`")),
        Text::Bytes(_) | Text::Number(_) => Err("`match` compares a field of the message".to_owned()),
    }
}

/// Decodes the digits of a `hexstring`. Half a byte at the end is an error.
fn digits(text: &[u8], separator: &[u8]) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(text).into_owned();
    let separator = String::from_utf8_lossy(separator).into_owned();
    let joined = if separator.is_empty() { text.clone() } else { text.replace(&separator, "") };
    from_hex(&joined)
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| format!("expected pairs of digits, found '{text}'"))
}

fn field_equals(field: &Field, literal: &[u8], code_of: CodeOf<'_>) -> Result<Condition, String> {
    match field {
        Field::Packet(name) if name == "giaddr" => return relay(literal),
        // Kea compares hardware type, address length and enterprise as numbers of four bytes.
        Field::Enterprise(is_class) if literal.len() == 4 => {
            let code = if *is_class { 124 } else { 125 };
            return Ok(Condition::Field(format!("option.{code}"), Pattern::prefix(literal)));
        }
        Field::Packet(name) if name == "msgtype" => {
            let kind = literal.last().copied().unwrap_or_default();
            return Ok(Condition::Field("option.53".to_owned(), Pattern::exactly(&[kind])));
        }
        Field::Packet(name) if (name == "htype" || name == "hlen") && literal.last() == Some(&1) => {
            return Err(format!("`match` has nothing like pkt4.{name}"));
        }
        _ => {}
    }
    if literal.is_empty() {
        // A field that is not there is an empty text.
        return Ok(fits(field, Pattern::longer_than(0), code_of)?.negated());
    }
    fits(field, Pattern::exactly(literal), code_of)
}

fn relay(literal: &[u8]) -> Result<Condition, String> {
    let octets: [u8; 4] = literal.try_into().map_err(|_| "giaddr has four bytes".to_owned())?;
    Ok(if octets == [0; 4] {
        Condition::Relay(Ipv4Addr::UNSPECIFIED, 0).negated()
    } else {
        Condition::Relay(Ipv4Addr::from(octets), 32)
    })
}

/// Returns the condition that `field` fits `pattern`.
fn fits(field: &Field, pattern: Pattern, code_of: CodeOf<'_>) -> Result<Condition, String> {
    let key = key(field, code_of)?;
    let code = match field {
        Field::Option(..) => key.strip_prefix("option.").and_then(|code| code.parse().ok()),
        _ => None,
    };
    if let Some(code) = code {
        return Ok(option_fits(code, pattern));
    }
    Ok(Condition::Field(key, pattern))
}

/// Returns the key of `match` for a field.
fn key(field: &Field, code_of: CodeOf<'_>) -> Result<String, String> {
    let number = |code: &Code| match code {
        Code::Number(number) => Ok(*number),
        Code::Name(name) => code_of(name).map(u32::from).ok_or_else(|| format!("unknown option `{name}`")),
    };
    Ok(match field {
        Field::Option(code, is_text) => match number(code)? {
            60 => "vendor_class".to_owned(),
            61 => "client_id".to_owned(),
            code if !(1..=254).contains(&code) => return Err(format!("there is no option {code}")),
            code if *is_text && !is_text_option(code) => {
                return Err(format!("`match` compares bytes: write option[{code}].hex"));
            }
            code => format!("option.{code}"),
        },
        Field::SubOption(outer, inner) => match number(outer)? {
            82 => format!("relay.{}", relay_code(inner)?),
            outer => return Err(format!("`match` has no suboptions of option {outer}")),
        },
        Field::Relay(code) => format!("relay.{}", relay_code(code)?),
        Field::Packet(name) if name == "mac" => "mac".to_owned(),
        Field::Packet(name) => return Err(format!("`match` has nothing like pkt4.{name}")),
        Field::Vendor(Some(enterprise), Some(Code::Number(code))) => format!("vendor.{enterprise}.{code}"),
        Field::Vendor(None, None) => "option.125".to_owned(),
        Field::Vendor(Some(_), Some(Code::Name(name))) => {
            return Err(format!("unknown vendor option `{name}`: write its number"));
        }
        Field::Vendor(..) => return Err("`match` needs the enterprise number and the suboption".to_owned()),
        Field::VendorClass(None, 0) => "option.124".to_owned(),
        Field::VendorClass(Some(enterprise), 0) => format!("vendor.{enterprise}"),
        Field::VendorClass(..) => return Err("`match` compares the first data of option 124".to_owned()),
        Field::Enterprise(_) => return Err("an enterprise number has four bytes".to_owned()),
    })
}

fn relay_code(code: &Code) -> Result<u32, String> {
    const NAMES: &[(&str, u32)] = &[
        ("circuit-id", 1),
        ("agent-circuit-id", 1),
        ("remote-id", 2),
        ("agent-remote-id", 2),
        ("link-selection", 5),
        ("subscriber-id", 6),
        ("relay-id", 12),
        ("server-id-override", 11),
    ];
    match code {
        Code::Number(number @ 1..=254) => Ok(*number),
        Code::Number(number) => Err(format!("option 82 has no suboption {number}")),
        Code::Name(name) => {
            let row = NAMES.iter().find(|(known, _)| known == name);
            row.map(|(_, code)| *code).ok_or_else(|| format!("unknown suboption `{name}`: write its number"))
        }
    }
}

/// Whether Kea's text form of the option is its bytes.
fn is_text_option(code: u32) -> bool {
    use crate::wire::option::{Kind, by_code};
    u8::try_from(code).ok().and_then(by_code).is_some_and(|row| row.kind == Kind::Text)
}

#[cfg(test)]
mod tests {
    use super::super::expression::parse;
    use super::*;
    use crate::config::document::Map;
    use crate::config::document::write;

    fn shown(text: &str) -> String {
        let code_of = |name: &str| (name == "host-name").then_some(12);
        match condition(&parse(text).unwrap(), &code_of) {
            Ok(condition) => match condition.to_match() {
                Some(value) => write(&Map::new().with("m", value)).trim_end().to_owned(),
                None => format!("{condition:?}"),
            },
            Err(why) => why,
        }
    }

    #[test]
    fn tests_become_match() {
        for (test, expected) in [
            ("option[60].hex == 'snom'", "m: {vendor_class: {is: snom}}"),
            ("substring(option[60].hex,0,9) == 'PXEClient'", "m: {vendor_class: PXEClient}"),
            (
                "substring(option[60].hex,0,20) == 'PXEClient:Arch:00007'",
                "m: {vendor_class: PXEClient:Arch:00007}",
            ),
            ("substring(option[60].hex,15,5) == '00007'", "m: {vendor_class: ???????????????00007*}"),
            ("substring(option[60].hex,0,all) == 'x'", "m: {vendor_class: {is: x}}"),
            ("substring(option[60].hex,0,9) == 'PXE'", "m: {vendor_class: {is: PXE}}"),
            ("substring(option[12].hex,-3,all) == 'abc'", "m: {option.12: '*abc'}"),
            ("option[93].hex == 0x0007", "m: {option.93: hex:0007}"),
            ("option[93].hex == 0x000b", "m: {arch: uefi-arm64}"),
            ("option[77].hex == 'iPXE'", "m: {user_class: iPXE}"),
            ("option[host-name].text == 'pc'", "m: {option.12: pc}"),
            ("option[61].exists", "m: {client_id: '*'}"),
            ("not option[43].exists", "m: {not: {option.43: '*'}}"),
            ("option[77].hex == ''", "m: {not: {user_class: '?*'}}"),
            ("relay4[1].hex == 0x0102", "m: {relay.1: hex:0102}"),
            ("option[82].option[agent-remote-id].hex == 'sw1'", "m: {relay.2: sw1}"),
            ("pkt4.mac == 0x001122334455", "m: {mac: '00:11:22:33:44:55'}"),
            ("substring(pkt4.mac,0,3) == 0x001122", "m: {mac: '00:11:22'}"),
            ("hexstring(pkt4.mac, ':') == '00:11:22:33:44:55'", "m: {mac: '00:11:22:33:44:55'}"),
            ("substring(hexstring(pkt4.mac,':'),0,8) == '00:11:22'", "m: {mac: '00:11:22'}"),
            ("pkt4.giaddr == 10.0.0.1", "m: {relay: 10.0.0.1}"),
            ("pkt4.giaddr == 0.0.0.0", "m: {not: {relay: 0.0.0.0/0}}"),
            ("vendor[4491].option[1].hex == 0x02", "m: {vendor.4491.1: hex:02}"),
            ("vendor-class[4491].data == 'docsis3'", "m: {vendor.4491: docsis3}"),
            ("vendor[4491].exists", "m: {option.125: hex:0000118b*}"),
            ("vendor.enterprise == 4491", "m: {option.125: hex:0000118b*}"),
            ("member('KNOWN') and not member('phones')", "m: {class: known, not: {class: phones}}"),
            ("member('VENDOR_CLASS_eRouter1.0')", "m: {vendor_class: {is: eRouter1.0}}"),
            ("ifelse(option[60].exists, 'a', 'b') == 'b'", "m: {not: {vendor_class: '*'}}"),
            ("member('ALL')", "Always"),
            ("option[93].text == '7'", "`match` compares bytes: write option[93].hex"),
            (
                "member('HA_server1')",
                "class HA_server1 belongs to the HA hook library, which lanboot does not have",
            ),
            ("concat(option[1].hex, 'a') == 'b'", "`match` has nothing like `concat`"),
        ] {
            // Quotes are a matter of the YAML writer.
            assert_eq!(shown(test).replace('\'', ""), expected.replace('\'', ""), "{test}");
        }
    }
}
