//! dhcpd's definitions of options and option spaces, and the values of options in bytes.

use std::collections::BTreeMap;

use super::expression::number;
use super::lexer::{Kind, Token};
use super::literal::{Literal, literal};
use super::tree::name;
use crate::import::standard::{self, Atom, Format, encode, suboptions};

/// The space of the options of DHCP itself.
const DHCP: &str = "dhcp";

/// A definition: `option SPACE.NAME code CODE = TYPE`.
#[derive(Clone, Debug)]
struct Definition {
    code: u32,
    format: Format,
    /// The space whose options are the value.
    encapsulates: Option<String>,
}

/// All definitions of the files.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    options: BTreeMap<(String, String), Definition>,
    /// The spaces with codes and lengths of one byte.
    spaces: BTreeMap<String, bool>,
}

/// The value of one option.
pub(super) struct Value {
    pub space: String,
    pub code: u32,
    pub bytes: Vec<u8>,
}

impl Definitions {
    /// Reads `option space NAME [code width N] [length width N]`.
    pub fn space(&mut self, tokens: &[Token]) -> Result<(), String> {
        let Some(space) = tokens.get(2).and_then(name) else {
            return Err("expected the name of a space".to_owned());
        };
        let is_wide = tokens.windows(2).any(|pair| match pair {
            [word, width] => {
                let width = name(width).unwrap_or_default();
                word.is("width") && width != "1"
            }
            _ => false,
        });
        self.spaces.insert(space.clone(), !is_wide);
        if is_wide {
            Err(format!("space {space}: lanboot writes codes and lengths of one byte"))
        } else {
            Ok(())
        }
    }

    /// Reads `option NAME code CODE = TYPE`.
    pub fn define(&mut self, tokens: &[Token]) -> Result<(), String> {
        let (space, option, used) = full_name(tokens.get(1..).unwrap_or_default())
            .ok_or_else(|| "expected the name of an option".to_owned())?;
        let rest = tokens.get(1 + used..).unwrap_or_default();
        let [code_word, code, equals, kind @ ..] = rest else {
            return Err("expected `code NUMBER = TYPE`".to_owned());
        };
        let code = name(code).and_then(|word| number(&word)).and_then(|code| u32::try_from(code).ok());
        let (Some(code), true, true) = (code, code_word.is("code"), equals.is_sign(b'=')) else {
            return Err("expected `code NUMBER = TYPE`".to_owned());
        };
        let (format, encapsulates) = form(kind)?;
        self.options.insert((space, option), Definition { code, format, encapsulates });
        Ok(())
    }

    /// Returns the code of an option of the main space.
    pub fn code_of(&self, option: &str) -> Option<u8> {
        let (code, _) = self.find(DHCP, option)?;
        u8::try_from(code).ok()
    }

    /// Returns the code of an option in another space.
    pub fn inner(&self, space: &str, option: &str) -> Option<u8> {
        let found = self.options.get(&(space.to_owned(), option.to_owned()))?;
        u8::try_from(found.code).ok()
    }

    fn find(&self, space: &str, option: &str) -> Option<(u32, Format)> {
        if let Some(found) = self.options.get(&(space.to_owned(), option.to_owned())) {
            return Some((found.code, found.format.clone()));
        }
        if space == DHCP
            && let Some((code, format)) = standard::isc(option)
        {
            // The value may be written in bytes instead of suboptions.
            let is_empty = format.atoms.as_slice() == [Atom::Empty];
            let format = if is_empty { Format::one(Atom::Binary) } else { format };
            return Some((code.into(), format));
        }
        // dhcpd gives these names to codes without a definition.
        let code = option.strip_prefix("unknown-")?;
        let code = code.strip_prefix("option-").unwrap_or(code).parse().ok()?;
        Some((code, Format { atoms: vec![Atom::Binary], repeat: None }))
    }

    /// Returns the bytes of a number for an option of a numeric type.
    pub fn number(&self, option: &str, value: i64) -> Option<Vec<u8>> {
        let (_, format) = self.find(DHCP, option)?;
        encode(format.atom(0)?, &value.to_string()).ok()
    }

    /// Reads `NAME VALUE, …` after the word `option`.
    pub fn value(&self, tokens: &[Token]) -> Result<Value, String> {
        let (space, option, used) =
            full_name(tokens).ok_or_else(|| "expected the name of an option".to_owned())?;
        let shown = if space == DHCP { option.clone() } else { format!("{space}.{option}") };
        let (code, format) = self
            .find(&space, &option)
            .ok_or_else(|| format!("option {shown} is not taken: it is not defined"))?;
        let values = tokens.get(used..).unwrap_or_default();
        if values.first().is_some_and(|token| token.is_sign(b'=')) {
            return self.computed(&space, code, &shown, values.get(1..).unwrap_or_default(), &format);
        }
        let bytes =
            values_of(&format, values).map_err(|why| format!("option {shown} is not taken: {why}"))?;
        Ok(Value { space, code, bytes })
    }

    /// Reads `NAME = EXPRESSION`, if the expression is the same for all clients.
    fn computed(
        &self,
        space: &str,
        code: u32,
        shown: &str,
        tokens: &[Token],
        format: &Format,
    ) -> Result<Value, String> {
        let data = super::expression::data(tokens)
            .map_err(|(_, why)| format!("option {shown} is not taken: {why}"))?;
        let bytes = match literal(&data) {
            Some(Literal::Bytes(bytes)) => Some(bytes),
            Some(Literal::Number(number)) => {
                format.atom(0).and_then(|atom| encode(atom, &number.to_string()).ok())
            }
            None => None,
        };
        let bytes = bytes.ok_or_else(|| {
            format!("option {shown} is not taken: lanboot computes no options, its value must be fixed")
        })?;
        Ok(Value { space: space.to_owned(), code, bytes })
    }

    /// Returns the options of the main space that encapsulate `space`: their codes, and the enterprise number for an
    /// option in the space of option 125.
    pub fn outer(&self, space: &str) -> Vec<(u8, Option<u32>)> {
        let wraps = |row: &&Definition| row.encapsulates.as_deref() == Some(space);
        let rows = self.options.iter().filter(|(_, row)| wraps(row));
        rows.filter_map(|((outer, _), row)| match outer.as_str() {
            DHCP => Some((u8::try_from(row.code).ok()?, None)),
            "vendor" | "vivso" => Some((125, Some(row.code))),
            _ => None,
        })
        .collect()
    }
}

/// Returns the bytes of the options of a space, and for option 125 the enterprise number before them.
pub(super) fn encapsulated(options: &BTreeMap<u32, Vec<u8>>, enterprise: Option<u32>) -> Option<Vec<u8>> {
    let narrow: Option<Vec<(u8, &[u8])>> =
        options.iter().map(|(code, value)| Some((u8::try_from(*code).ok()?, value.as_slice()))).collect();
    let inside = suboptions(narrow?)?;
    match enterprise {
        None => Some(inside),
        Some(number) => {
            let length = u8::try_from(inside.len()).ok()?;
            Some([&number.to_be_bytes()[..], &[length], &inside].concat())
        }
    }
}

/// Returns the space and the name, and the number of tokens: 1 for `NAME`, 3 for `SPACE.NAME`.
fn full_name(tokens: &[Token]) -> Option<(String, String, usize)> {
    let Kind::Word(first) = &tokens.first()?.kind else { return None };
    match tokens.get(1..3) {
        Some([dot, second]) if dot.is_sign(b'.') => {
            let Kind::Word(second) = &second.kind else { return None };
            Some((first.to_string(), second.to_string(), 3))
        }
        _ => Some((DHCP.to_owned(), first.to_string(), 1)),
    }
}

/// Reads a type, and the space of `encapsulate`.
fn form(tokens: &[Token]) -> Result<(Format, Option<String>), String> {
    let Some(first) = tokens.first() else { return Err("expected a type".to_owned()) };
    let rest = tokens.get(1..).unwrap_or_default();
    if first.is("array") {
        let inner = rest.get(1..).filter(|_| rest.first().is_some_and(|word| word.is("of")));
        let (mut format, _) = form(inner.unwrap_or_default())?;
        format.repeat = Some(0);
        return Ok((format, None));
    }
    if first.is("encapsulate") {
        let space = rest.first().and_then(name).ok_or_else(|| "expected the name of a space".to_owned())?;
        return Ok((Format { atoms: vec![Atom::Binary], repeat: None }, Some(space)));
    }
    if first.is_sign(b'{') {
        let inside = rest.split_last().map(|(_, inside)| inside).unwrap_or_default();
        let mut whole = Format::default();
        for field in inside.split(|token| token.is_sign(b',')) {
            let (format, _) = form(field)?;
            if format.repeat.is_some() {
                whole.repeat = Some(whole.atoms.len());
            }
            whole.atoms.extend(format.atoms);
        }
        return Ok((whole, None));
    }
    let words: Vec<String> = tokens.iter().filter_map(Token::keyword).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let atom = match words.as_slice() {
        ["boolean"] => Atom::Bool,
        ["unsigned", "integer", "8"] => Atom::U8,
        ["unsigned", "integer", "16"] => Atom::U16,
        ["unsigned", "integer", "32"] => Atom::U32,
        ["signed", "integer", "8"] | ["integer", "8"] => Atom::I8,
        ["signed", "integer", "16"] | ["integer", "16"] => Atom::I16,
        ["signed", "integer", "32"] | ["integer", "32"] => Atom::I32,
        ["ip-address"] => Atom::Ip,
        ["ip6-address"] => Atom::Ip6,
        ["text"] => Atom::Text,
        ["string"] => Atom::Binary,
        ["domain-name", ..] => Atom::Name,
        ["domain-list", ..] => Atom::Names,
        ["zerolength"] => Atom::Empty,
        _ => return Err(format!("unknown type {}", first.shown())),
    };
    Ok((Format { atoms: vec![atom], repeat: None }, None))
}

/// Encodes values: those of a group stand in a row, and groups are separated by commas.
fn values_of(format: &Format, tokens: &[Token]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let (mut at, mut index) = (0, 0);
    while let Some(token) = tokens.get(at) {
        let is_separator = [b',', b'{', b'}'].iter().any(|sign| token.is_sign(*sign));
        if is_separator && (index > 0 || !token.is_sign(b',')) {
            at += 1;
            continue;
        }
        // Lists of names may go on.
        let more = format.atoms.first().filter(|_| format.atoms.as_slice() == [Atom::Names]);
        let Some(atom) = format.atom(index).or(more.copied()) else {
            return Err(format!("expected `;`, found {}", token.shown()));
        };
        let rest = tokens.get(at..).unwrap_or_default();
        let (value, used) = one(atom, rest)?;
        bytes.extend(value);
        at += used;
        index += 1;
    }
    if index == 0 && !format.atoms.is_empty() && format.atom(0) != Some(Atom::Empty) {
        return Err("expected a value".to_owned());
    }
    Ok(bytes)
}

/// Encodes the first value of `tokens`. Returns the number of tokens too.
fn one(atom: Atom, tokens: &[Token]) -> Result<(Vec<u8>, usize), String> {
    let Some(first) = tokens.first() else { return Err("expected a value".to_owned()) };
    let expected = |what: &str| format!("expected {what}, found {}", first.shown());
    match (atom, &first.kind) {
        (Atom::Text | Atom::Binary, Kind::Text(text)) => Ok((text.to_vec(), 1)),
        (Atom::Name, Kind::Text(text)) => {
            let text = String::from_utf8_lossy(text);
            Ok((standard::name(&text).ok_or_else(|| expected("a domain name"))?, 1))
        }
        (Atom::Names, Kind::Text(text)) => {
            let text = String::from_utf8_lossy(text).into_owned();
            Ok((encode(Atom::Names, &text).map_err(expected)?, 1))
        }
        (Atom::Text | Atom::Binary, _) => {
            let (bytes, used) =
                hex(tokens).ok_or_else(|| expected("a text in quotes or bytes like 0a:0b"))?;
            Ok((bytes, used))
        }
        (Atom::Ip | Atom::Ip6 | Atom::Name, _) => {
            let (text, used) = dotted(tokens);
            match encode(atom, &text) {
                Ok(bytes) => Ok((bytes, used)),
                Err(_) if atom == Atom::Ip && text.contains(|letter: char| letter.is_alphabetic()) => {
                    Err(format!("lanboot looks up no host names, write the address of {text}"))
                }
                Err(what) => Err(expected(what)),
            }
        }
        (_, Kind::Sign(b'-')) => {
            let word = tokens.get(1).and_then(name).unwrap_or_default();
            Ok((encode(atom, &format!("-{word}")).map_err(expected)?, 2))
        }
        (_, Kind::Word(word)) => Ok((encode(atom, word).map_err(expected)?, 1)),
        (_, Kind::Text(_) | Kind::Sign(_)) => Err(expected("a value")),
    }
}

/// Reads `0a:0b:…`, or one number of one byte.
pub(super) fn hex(tokens: &[Token]) -> Option<(Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    let mut at = 0;
    loop {
        let word = tokens.get(at).and_then(Token::keyword)?;
        let digits = word.strip_prefix("0x").unwrap_or(&word);
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() <= 2)?);
        at += 1;
        if !tokens.get(at).is_some_and(|token| token.is_sign(b':')) {
            return Some((bytes, at));
        }
        at += 1;
    }
}

/// Reads words and numbers joined by `.` or `:`, such as an address or a host name. Returns the number of tokens too.
pub(super) fn dotted(tokens: &[Token]) -> (String, usize) {
    let mut text = String::new();
    let mut at = 0;
    let mut wants_word = true;
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Word(word) if wants_word => {
                text.push_str(word);
                wants_word = false;
            }
            Kind::Sign(sign @ (b'.' | b':')) => {
                text.push(char::from(*sign));
                wants_word = true;
            }
            _ => break,
        }
        at += 1;
    }
    (text, at.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::dhcpd::lexer::Lexer;

    fn tokens(text: &str) -> Vec<Token> {
        let mut lexer = Lexer::new(0, text);
        std::iter::from_fn(|| lexer.next().unwrap()).collect()
    }

    fn read(definitions: &[&str], option: &str) -> Result<(u32, Vec<u8>), String> {
        let mut all = Definitions::default();
        for text in definitions {
            all.define(&tokens(text)).unwrap();
        }
        all.value(&tokens(option)).map(|value| (value.code, value.bytes))
    }

    #[track_caller]
    fn one(definitions: &[&str], option: &str, code: u32, bytes: &[u8]) {
        assert_eq!(read(definitions, option), Ok((code, bytes.to_vec())), "{option}");
    }

    #[test]
    fn standard_options_are_encoded_by_their_type() {
        one(&[], "routers 10.0.0.1, 10.0.0.2", 3, &[10, 0, 0, 1, 10, 0, 0, 2]);
        one(&[], "domain-name \"lab.example\"", 15, b"lab.example");
        one(&[], "domain-search \"a.b\", \"c\"", 119, b"\x01a\x01b\0\x01c\0");
        one(
            &[],
            "static-routes 10.0.0.0 10.0.0.1, 10.1.0.0 10.0.0.1",
            33,
            &[10, 0, 0, 0, 10, 0, 0, 1, 10, 1, 0, 0, 10, 0, 0, 1],
        );
        one(&[], "time-offset -3600", 2, &[255, 255, 241, 240]);
        one(&[], "ip-forwarding off", 19, &[0]);
        one(&[], "interface-mtu 1400", 26, &[5, 120]);
        one(&[], "vendor-encapsulated-options 06:01:08", 43, &[6, 1, 8]);
        one(&[], "bootfile-name \"x\"", 67, b"x");
        one(&[], "unknown-224 0a:0b", 224, &[10, 11]);
    }

    #[test]
    fn definitions_give_other_options_a_type() {
        one(&["option arch code 93 = unsigned integer 16"], "arch 7", 93, &[0, 7]);
        one(
            &["option r code 222 = { unsigned integer 8, ip-address, text }"],
            "r 7 10.0.0.1 \"x\"",
            222,
            &[7, 10, 0, 0, 1, b'x'],
        );
        let routes = "option rfc3442 code 121 = array of unsigned integer 8";
        one(&[routes], "rfc3442 8, 10, 10, 0, 0, 1", 121, &[8, 10, 10, 0, 0, 1]);
        one(
            &["option pairs code 223 = array of { integer 8, ip-address }"],
            "pairs 1 10.0.0.1, 2 10.0.0.2",
            223,
            &[1, 10, 0, 0, 1, 2, 10, 0, 0, 2],
        );
        one(&["option PXE.mtftp-ip code 1 = ip-address"], "PXE.mtftp-ip 0.0.0.0", 1, &[0, 0, 0, 0]);
        one(&["option x code 240 = string"], "x = concat(\"a\", \"b\")", 240, b"ab");
    }

    #[test]
    fn values_that_are_not_taken_are_named() {
        for (option, why) in [
            ("nothing 1", "option nothing is not taken: it is not defined"),
            (
                "routers gateway.lab.example",
                "lanboot looks up no host names, write the address of gateway.lab.example",
            ),
            ("routers", "expected a value"),
            ("time-offset \"x\"", "expected a value, found \"x\""),
            ("host-name = concat(\"a\", option agent.circuit-id)", "lanboot computes no options"),
        ] {
            assert!(read(&[], option).unwrap_err().contains(why), "{:?}", read(&[], option));
        }
    }
}
