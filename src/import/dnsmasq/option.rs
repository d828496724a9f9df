//! Reads `dhcp-option` and `dhcp-match`: the option, its tags, and its value as bytes (`parse_dhcp_opt` in `option.c`).

use std::net::Ipv4Addr;

use super::lines::unhide;
use super::option_table::{Form, by_code, by_name};
use super::values::{Hex, Tag, address, leading_number, seconds, set_name, split, tag_prefix};

/// The number that dnsmasq uses for the address of the next server (`option:server-ip-address`).
pub(super) const NEXT_SERVER: u32 = 255;

/// The place of an option in the message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Wrap {
    /// An option by itself.
    None,
    /// A suboption of option 43, for clients whose option 60 contains this text.
    Vendor(String),
    /// A suboption of another option.
    Inside(u32),
    /// A suboption of option 125 of this enterprise; in a match, the data of this enterprise in option 124.
    Enterprise(u32),
}

/// The value of an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// No value. It removes an option that dnsmasq would add itself.
    None,
    /// Addresses, of which 0.0.0.0 is that of the server.
    Addresses(Vec<Ipv4Addr>),
    Text(String),
    /// Hexadecimal bytes, which may have wildcards in a match.
    Hex(Hex),
    /// The bytes of any other value.
    Bytes(Vec<u8>),
}

impl Value {
    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Value::None => Vec::new(),
            Value::Addresses(all) => all.iter().flat_map(Ipv4Addr::octets).collect(),
            Value::Text(text) => text.as_bytes().to_vec(),
            Value::Hex(hex) => hex.plain(),
            Value::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// One `dhcp-option` or `dhcp-match`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct OptionText {
    pub code: u32,
    pub tags: Vec<Tag>,
    pub wrap: Wrap,
    pub value: Value,
    /// Whether this is an option of DHCPv6.
    pub is_ipv6: bool,
}

/// Reads an option. `is_match` is true for `dhcp-match`.
///
/// # Errors
/// dnsmasq refuses the text.
pub(super) fn read(text: &str, is_match: bool) -> Result<OptionText, String> {
    let mut option =
        OptionText { code: 0, tags: Vec::new(), wrap: Wrap::None, value: Value::None, is_ipv6: false };
    let mut rest = Some(text);
    let mut form = None;
    let value = loop {
        let Some(text) = rest else {
            return Err("bad dhcp-option: expected the number or the name of an option".to_owned());
        };
        let (field, next) = split(text);
        if let Some(found) = code(field, is_match, &mut option)? {
            form = found;
            break next;
        }
        if prefix(field, is_match, &mut option)? {
            break next;
        }
        rest = next;
    };
    if option.is_ipv6 {
        return Ok(option);
    }
    if form.is_none() && option.wrap == Wrap::None {
        form = by_code(option.code).map(|row| row.form);
    }
    if let Some(value) = value {
        option.value = self::value(value, form.unwrap_or(Form::Any), &option, is_match)?;
    }
    let most = match option.wrap {
        Wrap::None => 255,
        Wrap::Vendor(_) | Wrap::Inside(_) => 253,
        Wrap::Enterprise(_) => 250,
    };
    if option.value.bytes().len() > most {
        return Err(format!("dhcp-option too long: expected at most {most} bytes"));
    }
    if is_match && (option.tags.len() != 1 || matches!(option.wrap, Wrap::Vendor(_) | Wrap::Inside(_))) {
        return Err("illegal dhcp-match: expected one tag and an option".to_owned());
    }
    Ok(option)
}

/// Reads the number or name of the option. Returns the form that its name gives it.
fn code(field: &str, is_match: bool, option: &mut OptionText) -> Result<Option<Option<Form>>, String> {
    if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
        option.code = leading_number(field);
        return Ok(Some(None));
    }
    if field.starts_with("option6:") {
        option.is_ipv6 = true;
        return Ok(Some(None));
    }
    let Some(name) = field.strip_prefix("option:") else { return Ok(None) };
    let name = unhide(name);
    match by_name(&name) {
        Some(row) if is_match || !row.is_internal => {
            option.code = row.code;
            Ok(Some(Some(row.form)))
        }
        Some(_) => Err(format!("bad dhcp-option: {name} cannot be set by its name")),
        None => {
            Err(format!("bad dhcp-option: unknown option {name:?}; `dnsmasq --help dhcp` lists the names"))
        }
    }
}

/// Reads a word before the option. Returns true if the value follows, because a match of an enterprise has no option.
fn prefix(field: &str, is_match: bool, option: &mut OptionText) -> Result<bool, String> {
    if let Some(vendor) = field.strip_prefix("vendor:") {
        if is_match || matches!(option.wrap, Wrap::Inside(_)) {
            return Err("inappropriate vendor:".to_owned());
        }
        option.wrap = Wrap::Vendor(unhide(vendor));
    } else if let Some(outer) = field.strip_prefix("encap:") {
        if is_match || matches!(option.wrap, Wrap::Vendor(_)) {
            return Err("inappropriate encap:".to_owned());
        }
        option.wrap = Wrap::Inside(leading_number(outer));
    } else if let Some(enterprise) = field.strip_prefix("vi-encap:") {
        option.wrap = Wrap::Enterprise(leading_number(enterprise));
        return Ok(is_match);
    } else {
        option.tags.push(match tag_prefix(field) {
            Some(name) => Tag::read(name),
            None => Tag::read(&set_name(field)),
        });
    }
    Ok(false)
}

/// Properties of the text of a value, from which dnsmasq guesses its type.
struct Shape {
    is_address: bool,
    is_hex: bool,
    is_number: bool,
    /// The letter of the size after a number: b, s or i.
    size: Option<char>,
    has_digit: bool,
    dots: usize,
    groups: usize,
}

fn shape(text: &str, is_match: bool) -> Shape {
    let mut shape = Shape {
        is_address: true,
        is_hex: true,
        is_number: true,
        size: None,
        has_digit: false,
        dots: 0,
        groups: 1,
    };
    let last = text.chars().count().saturating_sub(1);
    for (at, letter) in text.chars().enumerate() {
        match letter {
            ',' | ' ' => (shape.is_number, shape.is_hex) = (false, false),
            ':' => {
                shape.groups += 1;
                (shape.is_number, shape.is_address) = (false, false);
            }
            '/' => {
                (shape.is_number, shape.is_hex) = (false, false);
                // A leading / means a path.
                shape.is_address &= at > 0;
            }
            '.' => {
                (shape.is_number, shape.is_hex) = (false, false);
                shape.dots += 1;
            }
            '-' => (shape.is_hex, shape.is_address) = (false, false),
            '0'..='9' => shape.has_digit = true,
            letter => {
                shape.is_address = false;
                if at == last && shape.is_number && matches!(letter, 'b' | 's' | 'i') {
                    shape.size = Some(letter);
                } else {
                    shape.is_number = false;
                }
                shape.is_hex &= letter.is_ascii_hexdigit() || letter == '*' && is_match;
            }
        }
    }
    shape.is_number &= shape.has_digit;
    shape.is_address &= shape.has_digit;
    shape
}

fn value(text: &str, form: Form, option: &OptionText, is_match: bool) -> Result<Value, String> {
    let mut shape = shape(text, is_match);
    match form {
        Form::Addresses => {
            (shape.is_number, shape.is_hex) = (false, false);
            if !shape.is_address || shape.dots == 0 {
                return Err(format!("bad IP address {:?}", unhide(text)));
            }
        }
        Form::Name | Form::Names => {
            (shape.is_address, shape.is_number, shape.is_hex) = (false, false, false);
        }
        _ => {}
    }
    if form == Form::Time && shape.has_digit {
        return Ok(Value::Bytes(
            seconds(text).unwrap_or_else(|| leading_number(text)).to_be_bytes().to_vec(),
        ));
    }
    if shape.is_hex && shape.groups > 1 {
        let hex = Hex::read(text, shape.groups, false).ok_or("bad hex constant")?;
        return Ok(Value::Hex(hex));
    }
    if shape.is_number {
        return number(text, form, shape.size).map(Value::Bytes);
    }
    let is_plain = option.wrap == Wrap::None;
    if shape.is_address {
        return addresses(text, is_plain && option.code == 120);
    }
    if is_plain && matches!(option.code, 119 | 120) {
        let names = names(text)?;
        return Ok(Value::Bytes(if option.code == 120 { [vec![0], names].concat() } else { names }));
    }
    Ok(Value::Text(unhide(text)))
}

/// A number: one byte, except for options whose length is known, and large numbers.
fn number(text: &str, form: Form, size: Option<char>) -> Result<Vec<u8>, String> {
    let signed = text.trim_end_matches(char::is_alphabetic);
    let negative = signed.starts_with('-');
    let digits = leading_number(signed.trim_start_matches('-'));
    let number = if negative { digits.wrapping_neg() } else { digits };
    let len = match (size, form) {
        (Some('b'), _) => 1,
        (Some('s'), _) => 2,
        (Some(_), _) => 4,
        (None, Form::Number(len)) => len,
        (None, Form::Internal) => return Err("dhcp-option too long".to_owned()),
        (None, _) if number > 0xffff => 4,
        (None, _) if number > 0xff => 2,
        (None, _) => 1,
    };
    Ok(number.to_be_bytes().get(4usize.saturating_sub(len)..).unwrap_or_default().to_vec())
}

/// Addresses, or networks in the form of option 121: `10.0.0.0/8,10.0.0.1`.
fn addresses(text: &str, is_sip: bool) -> Result<Value, String> {
    let mut all = Vec::new();
    let mut bytes = Vec::new();
    let mut has_network = is_sip;
    // RFC 3361: addresses follow an encoding byte of 1.
    bytes.extend(is_sip.then_some(1));
    for field in super::values::fields(text) {
        let (text, prefix) = match field.split_once('/') {
            Some((text, prefix)) => (text.trim_end_matches(' '), Some(prefix.trim_start_matches(' '))),
            None => (field, None),
        };
        let address = address(text).ok_or_else(|| format!("bad IPv4 address {text:?}"))?;
        let Some(prefix) = prefix else {
            bytes.extend(address.octets());
            all.push(address);
            continue;
        };
        has_network = true;
        let prefix = leading_number(prefix);
        bytes.push(u8::try_from(prefix).map_err(|_| format!("bad prefix length {prefix}"))?);
        let significant = usize::try_from(prefix.div_ceil(8)).unwrap_or(4).min(4);
        bytes.extend(address.octets().iter().take(significant));
    }
    Ok(if has_network { Value::Bytes(bytes) } else { Value::Addresses(all) })
}

/// Domain names (RFC 1035 section 3.1), without compression.
fn names(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for name in super::values::fields(text).into_iter().map(unhide) {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            let len = u8::try_from(label.len()).ok().filter(|len| *len <= 63);
            bytes.push(len.ok_or_else(|| format!("bad domain {name:?} in dhcp-option"))?);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        read(text, false).unwrap().value.bytes()
    }

    #[test]
    fn values_have_the_type_that_dnsmasq_guesses() {
        assert_eq!(bytes("3,10.0.0.1, 10.0.0.2"), [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(bytes("option:mtu,1400"), [5, 120]);
        assert_eq!(bytes("23,64"), [64]);
        assert_eq!(bytes("224,300"), [1, 44]);
        assert_eq!(bytes("224,5i"), [0, 0, 0, 5]);
        assert_eq!(bytes("2,-3600"), [255, 255, 241, 240]);
        assert_eq!(bytes("224,01:02:ff"), [1, 2, 255]);
        // In quotes, an address is text.
        let quoted: String = "10.0.0.9".chars().map(super::super::lines::hide).collect();
        assert_eq!(bytes(&format!("66,{quoted}")), b"10.0.0.9");
        assert_eq!(bytes("67,pxelinux.0"), b"pxelinux.0");
        assert_eq!(bytes("119,a.b,c"), b"\x01a\x01b\0\x01c\0");
        assert_eq!(bytes("121,10.0.0.0/8,10.0.0.1,0.0.0.0/0,10.0.0.2"), [8, 10, 10, 0, 0, 1, 0, 10, 0, 0, 2]);
        assert_eq!(bytes("58,5m"), [0, 0, 1, 44]);
        assert_eq!(bytes("120,10.0.0.1"), [1, 10, 0, 0, 1]);
        assert!(bytes("3").is_empty());
    }

    #[test]
    fn prefixes_come_before_the_option() {
        let option = read("tag:a, !b,vendor:MSFT,2,1i", false).unwrap();
        assert_eq!((option.wrap, option.code), (Wrap::Vendor("MSFT".to_owned()), 2));
        assert_eq!(option.value.bytes(), [0, 0, 0, 1]);
        assert!(option.tags[1].is_negated);
        assert_eq!(read("vi-encap:3561,4,x", false).unwrap().wrap, Wrap::Enterprise(3561));
        assert!(read("option6:dns-server,[::]", false).unwrap().is_ipv6);
    }

    #[test]
    fn matches_have_one_tag() {
        let found = read("set:efi,option:client-arch,7", true).unwrap();
        assert_eq!((found.code, found.value.bytes(), found.tags[0].name.as_str()), (93, vec![0, 7], "efi"));
        assert!(matches!(read("set:x,97,00:*", true).unwrap().value, Value::Hex(hex) if hex.has_wildcard()));
        assert!(read("93,7", true).is_err() && read("set:a,set:b,93,7", true).is_err());
    }

    #[test]
    fn texts_that_dnsmasq_refuses_are_errors() {
        for text in ["", "option:nothing,1", "3,x", "tag:a", "option:hostname,x", "encap:1,vendor:x,1"] {
            assert!(read(text, false).is_err(), "{text}");
        }
    }
}
