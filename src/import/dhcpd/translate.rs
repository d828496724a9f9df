//! Translates dhcpd's expressions into conditions that `match` can express.

use std::net::Ipv4Addr;

use super::class_name::class_name;
use super::expression::{Data, Test};
use super::literal::{Literal, literal};
use super::options::Definitions;
use crate::import::comparison::{option_fits, part_equals};
use crate::import::condition::Condition;
use crate::import::field::Pattern;

/// The hardware type of Ethernet, which stands before the address in `hardware`.
const ETHERNET: u8 = 1;

/// Translates `test`. An error is the reason why `match` cannot express it.
pub(super) fn condition(test: &Test, definitions: &Definitions) -> Result<Condition, String> {
    Ok(match test {
        Test::Not(inner) => condition(inner, definitions)?.negated(),
        Test::And(left, right) => {
            Condition::all([condition(left, definitions)?, condition(right, definitions)?])
        }
        Test::Or(left, right) => {
            Condition::any([condition(left, definitions)?, condition(right, definitions)?])
        }
        Test::Known => Condition::Class("known".to_owned()),
        Test::Check(name) => Condition::Class(class_name(name)),
        Test::Constant(true) => Condition::Always,
        Test::Constant(false) => Condition::Never,
        Test::Other(what) => return Err(format!("`match` has nothing like {what}")),
        Test::Exists(name) => match field(name, definitions)? {
            Field::Option(code) => option_fits(code, Pattern::anything()),
            Field::Key(key) => Condition::exists(&key),
        },
        Test::Equal(left, right) => match (literal(left), literal(right)) {
            (Some(one), Some(two)) if one == two => Condition::Always,
            (Some(_), Some(_)) => Condition::Never,
            (None, Some(value)) => equal(left, &value, definitions)?,
            (Some(value), None) => equal(right, &value, definitions)?,
            (None, None) => return Err("`match` cannot compare two fields of a message".to_owned()),
        },
    })
}

/// A part of the client's message that `match` knows.
enum Field {
    Option(u8),
    Key(String),
}

fn field(name: &str, definitions: &Definitions) -> Result<Field, String> {
    if let Some((space, inner)) = name.split_once('.') {
        return match (space, inner) {
            ("agent" | "relay-agent-information", "circuit-id") => Ok(Field::Key("relay.1".to_owned())),
            ("agent" | "relay-agent-information", "remote-id") => Ok(Field::Key("relay.2".to_owned())),
            ("agent" | "relay-agent-information", "DOCSIS-device-class") => {
                Ok(Field::Key("relay.4".to_owned()))
            }
            ("agent" | "relay-agent-information", "link-selection") => Ok(Field::Key("relay.5".to_owned())),
            ("agent" | "relay-agent-information", other) => {
                let code = definitions.inner("agent", other);
                let number = || other.strip_prefix("unknown-")?.parse().ok();
                let code = code.or_else(number);
                code.map(|code: u8| Field::Key(format!("relay.{code}")))
                    .ok_or_else(|| format!("unknown suboption {other} of option 82"))
            }
            _ => Err(format!("`match` does not know suboptions such as {name}")),
        };
    }
    let code = definitions.code_of(name).ok_or_else(|| format!("option {name} is not defined"))?;
    Ok(Field::Option(code))
}

/// Returns the condition that `data` equals `value`.
pub(super) fn equal(data: &Data, value: &Literal, definitions: &Definitions) -> Result<Condition, String> {
    let bytes = match (value, data) {
        (Literal::Bytes(bytes), _) => bytes.clone(),
        (Literal::Number(number), Data::Option(name)) => {
            definitions.number(name, *number).ok_or_else(|| format!("option {name} is no number"))?
        }
        (Literal::Number(number), Data::ExtractInt(inner, width)) => {
            let count = usize::try_from(width / 8).unwrap_or(0).min(8);
            let bytes = number.to_be_bytes();
            let bytes = bytes.get(8 - count..).unwrap_or_default();
            return part_equals((0, Some(width / 8)), bytes, &|pattern| fits(inner, pattern, definitions));
        }
        (Literal::Number(_), _) => return Err("`match` cannot compare this with a number".to_owned()),
    };
    match data {
        Data::Option(_) if bytes.is_empty() => {
            Ok(fits(data, Pattern::longer_than(0), definitions)?.negated())
        }
        Data::Option(_) | Data::Hardware => fits(data, Pattern::exactly(&bytes), definitions),
        Data::Substring(inner, start, length) => match &**inner {
            Data::Option(_) | Data::Hardware if *start >= 0 && *length >= 0 => {
                part_equals((*start, Some(*length)), &bytes, &|pattern| fits(inner, pattern, definitions))
            }
            _ => Err("`match` cannot compare a part of a computed text".to_owned()),
        },
        Data::Suffix(inner, length) if *length >= 0 => {
            let count = usize::try_from(*length).unwrap_or(0);
            match bytes.len() {
                len if len == count => fits(inner, Pattern::before_end(&bytes, 0), definitions),
                len if len < count => fits(inner, Pattern::exactly(&bytes), definitions),
                _ => Ok(Condition::Never),
            }
        }
        Data::PickFirst(list) => {
            let mut conditions = Vec::new();
            let mut missing = Vec::new();
            for data in list {
                let mut all = missing.clone();
                all.push(equal(data, &Literal::Bytes(bytes.clone()), definitions)?);
                conditions.push(Condition::all(all));
                missing.push(fits(data, Pattern::anything(), definitions)?.negated());
            }
            Ok(Condition::any(conditions))
        }
        Data::Case(inner) if **inner == Data::Option("host-name".to_owned()) => {
            // The key ignores case.
            Ok(Condition::Field("hostname".to_owned(), Pattern::exactly(&bytes)))
        }
        Data::Packet(24, 4) => relay(&bytes),
        Data::Ascii(base, 8, separator, inner) => ascii(*base, separator, inner, &bytes, definitions),
        Data::Case(_) => Err("`match` does not ignore upper and lower case".to_owned()),
        Data::Packet(..) => Err("`match` has nothing like `packet`".to_owned()),
        Data::Concat(_) => Err("`match` has nothing like `concat`".to_owned()),
        Data::Ascii(..) => Err("`match` has nothing like this `binary-to-ascii`".to_owned()),
        Data::Other(name) => Err(format!("`match` has nothing like `{name}`")),
        _ => Err("`match` cannot compare this".to_owned()),
    }
}

fn relay(bytes: &[u8]) -> Result<Condition, String> {
    let octets: [u8; 4] = bytes.try_into().map_err(|_| "giaddr has four bytes".to_owned())?;
    Ok(match octets {
        [0, 0, 0, 0] => Condition::Relay(Ipv4Addr::UNSPECIFIED, 0).negated(),
        octets => Condition::Relay(Ipv4Addr::from(octets), 32),
    })
}

/// Returns the condition that the bytes of `data`, written as numbers, equal `text`.
fn ascii(
    base: i64,
    separator: &[u8],
    data: &Data,
    text: &[u8],
    definitions: &Definitions,
) -> Result<Condition, String> {
    let wrong = || "`match` has nothing like this `binary-to-ascii`".to_owned();
    let radix = u32::try_from(base).ok().filter(|radix| [8, 10, 16].contains(radix)).ok_or_else(wrong)?;
    let (text, separator) = (String::from_utf8_lossy(text), String::from_utf8_lossy(separator));
    if separator.is_empty() {
        return Err(wrong());
    }
    let bytes: Option<Vec<u8>> = text
        .split(&*separator)
        .map(|part| {
            u8::from_str_radix(part, radix).ok().filter(|_| part.len() == 1 || !part.starts_with('0'))
        })
        .collect();
    // dhcpd writes no leading zeros, so a text that has them is never equal.
    match bytes {
        Some(bytes) => equal(data, &Literal::Bytes(bytes), definitions),
        None => Ok(Condition::Never),
    }
}

/// Returns the condition that `data` fits `pattern`.
fn fits(data: &Data, pattern: Pattern, definitions: &Definitions) -> Result<Condition, String> {
    match data {
        Data::Option(name) => Ok(match field(name, definitions)? {
            Field::Option(code) => option_fits(code, pattern),
            Field::Key(key) => Condition::Field(key, pattern),
        }),
        Data::Hardware => pattern
            .without_first(ETHERNET)
            .map(|pattern| Condition::Field("mac".to_owned(), pattern))
            .ok_or_else(|| "`match` knows hardware addresses of Ethernet only".to_owned()),
        _ => Err("`match` cannot compare a computed text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression::test;
    use super::*;
    use crate::config::document::Map;
    use crate::config::document::write;
    use crate::import::dhcpd::lexer::{Lexer, Token};

    fn tokens(text: &str) -> Vec<Token> {
        let mut lexer = Lexer::new(0, text);
        std::iter::from_fn(|| lexer.next().unwrap()).collect()
    }

    fn shown(text: &str) -> String {
        let mut definitions = Definitions::default();
        definitions.define(&tokens("option arch code 93 = unsigned integer 16")).unwrap();
        match condition(&test(&tokens(text)).unwrap(), &definitions) {
            Ok(condition) => match condition.to_match() {
                Some(value) => write(&Map::new().with("m", value)).trim_end().to_owned(),
                None => format!("{condition:?}"),
            },
            Err(why) => why,
        }
    }

    #[test]
    fn tests_become_match() {
        for (text, expected) in [
            ("option arch = 00:07", "m: {option.93: hex:0007}"),
            ("option arch = 7", "m: {option.93: hex:0007}"),
            ("extract-int(option arch, 16) = 11", "m: {option.93: hex:000b*}"),
            ("exists user-class and option user-class = \"iPXE\"", "m: {user_class: iPXE}"),
            (
                "substring(option vendor-class-identifier, 0, 9) = \"PXEClient\"",
                "m: {vendor_class: PXEClient}",
            ),
            (
                "substring(option vendor-class-identifier, 15, 5) = \"00007\"",
                "m: {vendor_class: ???????????????00007*}",
            ),
            ("option vendor-class-identifier = \"snom\"", "m: {vendor_class: {is: snom}}"),
            ("substring(hardware, 1, 3) = 00:0c:29", "m: {mac: '00:0c:29'}"),
            ("substring(hardware, 0, 4) = 01:00:0c:29", "m: {mac: '00:0c:29'}"),
            ("hardware = 01:00:0c:29:aa:bb:cc", "m: {mac: 00:0c:29:aa:bb:cc}"),
            ("binary-to-ascii(16, 8, \":\", substring(hardware, 1, 3)) = \"0:c:29\"", "m: {mac: '00:0c:29'}"),
            ("option agent.circuit-id = \"ge-0/0/1\"", "m: {relay.1: ge-0/0/1}"),
            ("exists agent.remote-id", "m: {relay.2: '*'}"),
            ("not known", "m: {not: {class: known}}"),
            ("check \"phones\"", "m: {class: phones}"),
            ("packet(24, 4) = 0a:00:00:01", "m: {relay: 10.0.0.1}"),
            ("lcase(option host-name) = \"pc\"", "m: {hostname: pc}"),
            ("suffix(option host-name, 2) = \"pc\"", "m: {option.12: '*pc'}"),
            ("option nothing = \"1\"", "option nothing is not defined"),
            ("option host-name ~= \"a\"", "`match` has nothing like a regular expression"),
        ] {
            assert_eq!(shown(text).replace('\'', ""), expected.replace('\'', ""), "{text}");
        }
    }
}
