//! Parses the test expressions of Kea's client classes (`parser.yy` and `lexer.ll` in Kea's `src/lib/eval`).

mod functions;
mod parser;
mod syntax;

pub(super) use syntax::{Code, Field, Test, Text};

use parser::Parser;
use syntax::{Parsed, Token};

use crate::types::from_hex;

/// Parses an expression. An error is the reason, with the offset in bytes.
pub(super) fn parse(text: &str) -> Result<Test, (usize, String)> {
    let tokens = tokens(text)?;
    Parser::new(tokens, text.len()).whole()
}

fn tokens(text: &str) -> Parsed<Vec<(usize, Token)>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        if let Some(sign) =
            ["==", "(", ")", "[", "]", ".", ",", "+", "*"].iter().find(|it| rest.starts_with(**it))
        {
            tokens.push((at, Token::Sign(sign)));
            rest = rest.get(sign.len()..).unwrap_or_default();
            continue;
        }
        if first == '\'' {
            let inside = rest.get(1..).unwrap_or_default();
            let Some((inside, after)) = inside.split_once('\'') else {
                return Err((at, "expected `'` at the end of the text".to_owned()));
            };
            tokens.push((at, Token::Text(inside.to_owned())));
            rest = after;
            continue;
        }
        let is_number = first.is_ascii_digit() || first == '-';
        let belongs = |letter: char| {
            letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' || is_number && letter == '.'
        };
        let length = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let token = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
            _ if word.is_empty() => None,
            Some(digits) => hex(digits).map(Token::Hex),
            None if is_number => number(word),
            None => Some(Token::Word(word.to_owned())),
        };
        let shown: String = if word.is_empty() { first.to_string() } else { word.chars().take(40).collect() };
        tokens.push((at, token.ok_or_else(|| (at, format!("unknown word `{shown}`")))?));
        rest = after;
    }
}

/// Decodes digits. An odd number of them begins with half a byte, as in Kea.
fn hex(digits: &str) -> Option<Vec<u8>> {
    let padded = if digits.len().is_multiple_of(2) { digits.to_owned() } else { format!("0{digits}") };
    from_hex(&padded)
}

fn number(word: &str) -> Option<Token> {
    if let Ok(number) = word.parse() {
        return Some(Token::Number(number));
    }
    word.parse::<std::net::Ipv4Addr>().ok().map(|address| Token::Address(address.octets()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_language_is_parsed() {
        for text in [
            "option[60].hex == 'x'",
            "substring(option[60].hex,0,9) == 'PXEClient' and option[93].hex == 0x0007",
            "not (option[61].exists) or (member('KNOWN') and not member('HA_server1'))",
            "option[host-name].text == 'a b' or relay4[1].hex == 0x0102",
            "(option[82].option[1].hex == 'x')",
            "(substring(option[60].hex, -3, all)) == 'abc'",
            "pkt4.mac == 0x001122334455 and pkt4.giaddr == 10.0.0.1 and pkt.iface == 'eth0'",
            "vendor[4491].exists or vendor[*].option[1].exists or vendor[4491].option[2].hex == 1",
            "vendor-class[4491].data == 'x' or vendor-class[*].data[1] == 'y' or vendor-class.enterprise == 9",
            "vendor.enterprise == 4491 and vendor-class[3].exists",
            "hexstring(pkt4.mac, ':') == '00:11:22:33:44:55'",
            "ifelse(option[1].exists, 'a', 'b') == 'a'",
            "concat(option[1].hex, 'a') + 'c' == lcase('abc')",
            "match('^a.*$', option[60].text)",
            "uint32totext(pkt4.transid) == '7' and split(option[60].hex, ':', 2) == 'Arch'",
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn and_binds_more_than_or() {
        let Ok(Test::Or(left, _)) = parse("member('a') and member('b') or member('c')") else { panic!() };
        assert!(matches!(*left, Test::And(..)));
        let Ok(Test::And(left, _)) = parse("not member('a') and member('b')") else { panic!() };
        assert!(matches!(*left, Test::Not(_)));
    }

    #[test]
    fn faults_have_their_offset() {
        for (text, at, message) in [
            ("option[60].hex = 'x'", 15, "unknown word `=`"),
            ("option[60].hexa == 'x'", 11, "expected `hex`, `text` or `exists`, found `hexa`"),
            ("option[60].hex == 'x", 18, "expected `'` at the end of the text"),
            ("member(a)", 7, "expected 'CLASS', found `a`"),
            ("option[60].hex == 'x' 'y'", 22, "expected `and`, `or` or the end, found 'y'"),
            ("", 0, "expected a field, a function or a text in single quotes, found the end"),
            ("relay6[0].peeraddr == 1", 0, "expected a part of a DHCPv4 message, found `relay6`"),
        ] {
            assert_eq!(parse(text), Err((at, message.to_owned())), "{text}");
        }
        for deep in ["(".repeat(50_000), "not ".repeat(50_000), "substring(".repeat(50_000)] {
            assert!(parse(&deep).is_err());
        }
    }

    #[test]
    fn parentheses_do_not_take_exponential_time() {
        let text = format!("{}option[1].hex{} == 'a'", "(".repeat(40), ")".repeat(40));
        assert!(parse(&text).is_ok());
        assert!(parse(&"(ifelse(".repeat(30)).is_err());
    }
}
