//! Splits a `dhcpd.conf` into tokens, like ISC's `common/conflex.c`.

use crate::import::position::{Fault, Position};

/// The maximum number of bytes of a word or text. The longest in real files are keys of DNS servers.
const MAX_TOKEN: usize = 64 * 1024;

/// A token with its position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub at: Position,
    pub kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Letters, digits, `-` and `_`.
    Word(Box<str>),
    /// A text in quotes, with its escapes resolved.
    Text(Box<[u8]>),
    Sign(u8),
}

impl Token {
    pub fn is_sign(&self, sign: u8) -> bool {
        self.kind == Kind::Sign(sign)
    }

    /// Returns the word in lower case; keywords are the same in any case.
    pub fn keyword(&self) -> Option<String> {
        match &self.kind {
            Kind::Word(word) => Some(word.to_ascii_lowercase()),
            _ => None,
        }
    }

    pub fn is(&self, keyword: &str) -> bool {
        matches!(&self.kind, Kind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Returns the token as it was written, for messages.
    pub fn shown(&self) -> String {
        match &self.kind {
            Kind::Word(word) => format!("`{}`", word.chars().take(60).collect::<String>()),
            Kind::Text(text) => {
                format!("{:?}", String::from_utf8_lossy(text).chars().take(60).collect::<String>())
            }
            Kind::Sign(sign) => format!("`{}`", char::from(*sign)),
        }
    }
}

/// Reads tokens from the text of one file.
pub(super) struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    here: Position,
}

impl<'t> Lexer<'t> {
    pub fn new(file: u32, text: &'t str) -> Lexer<'t> {
        Lexer { text: text.as_bytes(), at: 0, here: Position::start(file) }
    }

    /// The position of the next byte.
    pub fn here(&self) -> Position {
        self.here
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.here.step(byte);
        Some(byte)
    }

    /// Returns the next token, or `None` at the end of the file.
    pub fn next(&mut self) -> Result<Option<Token>, Fault> {
        loop {
            match self.peek() {
                None => return Ok(None),
                Some(b'#') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.bump();
                    }
                }
                Some(byte) if byte.is_ascii_whitespace() => {
                    self.bump();
                }
                Some(_) => break,
            }
        }
        let at = self.here;
        let Some(byte) = self.bump() else { return Ok(None) };
        let kind = match byte {
            b'"' => Kind::Text(self.text(at)?.into()),
            _ if is_letter(byte) => {
                let start = self.at - 1;
                while self.peek().is_some_and(|byte| is_letter(byte) || byte == b'-') {
                    self.bump();
                }
                let bytes = self.text.get(start..self.at).unwrap_or_default();
                if bytes.len() > MAX_TOKEN {
                    return Err(at.fault("this word is too long"));
                }
                Kind::Word(String::from_utf8_lossy(bytes).into())
            }
            _ if byte.is_ascii_graphic() => Kind::Sign(byte),
            _ => return Err(at.fault("expected a statement, found a letter that is not ASCII")),
        };
        Ok(Some(Token { at, kind }))
    }

    /// Reads a text after its first quote.
    fn text(&mut self, start: Position) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        loop {
            let Some(byte) = self.bump() else {
                return Err(start.fault("this text has no closing quote"));
            };
            match byte {
                b'"' => return Ok(bytes),
                b'\\' => {
                    let escaped = self.escape(start)?;
                    bytes.push(escaped);
                }
                _ => bytes.push(byte),
            }
            if bytes.len() > MAX_TOKEN {
                return Err(start.fault("this text is too long, or has no closing quote"));
            }
        }
    }

    /// Reads what follows a backslash: a letter, up to three octal digits, or `x` and up to two hexadecimal digits.
    fn escape(&mut self, start: Position) -> Result<u8, Fault> {
        let Some(byte) = self.bump() else { return Err(start.fault("this text has no closing quote")) };
        let mut digits = |mut value: u8, mut left: u8, base: u8| {
            while left > 0
                && let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(base.into()))
            {
                value = value.wrapping_mul(base).wrapping_add(u8::try_from(digit).unwrap_or(0));
                left -= 1;
                self.bump();
            }
            value
        };
        Ok(match byte {
            b't' => b'\t',
            b'r' => b'\r',
            b'n' => b'\n',
            b'b' => 8,
            b'0'..=b'3' => digits(byte - b'0', 2, 8),
            b'x' => digits(0, 2, 16),
            other => other,
        })
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<String>, String> {
        let mut lexer = Lexer::new(0, text);
        let mut all = Vec::new();
        loop {
            match lexer.next() {
                Ok(Some(token)) => all.push(token.shown()),
                Ok(None) => return Ok(all),
                Err(fault) => {
                    return Err(format!(
                        "{}:{}: {}",
                        fault.position.line, fault.position.column, fault.message
                    ));
                }
            }
        }
    }

    #[test]
    fn words_texts_and_signs_are_tokens() {
        let all = tokens("option a.b 0c:29; # x\n\"\\001\\x41\\\"\"{}").unwrap();
        let expected =
            ["`option`", "`a`", "`.`", "`b`", "`0c`", "`:`", "`29`", "`;`", "\"\\u{1}A\\\"\"", "`{`", "`}`"];
        assert_eq!(all, expected);
    }

    #[test]
    fn faults_have_their_position() {
        assert_eq!(tokens("a\n \"b").unwrap_err(), "2:2: this text has no closing quote");
        assert!(tokens(&format!("\"{}", "x".repeat(200_000))).unwrap_err().contains("too long"));
        assert!(tokens("a é").unwrap_err().contains("not ASCII"));
    }
}
