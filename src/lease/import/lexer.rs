//! Splits a `dhcpd.leases` into tokens, like ISC's `common/conflex.c`.

use crate::lease::import::place::Place;

/// The number of bytes kept of a token: a client identifier of 255 bytes has 764 in hexadecimal.
const MAX_TOKEN: usize = 1024;

/// The kind of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Anything else.
    Word,
    /// A quoted string, with its escapes resolved.
    Text,
    /// `{`
    Open,
    /// `}`
    Close,
    /// `;`
    End,
}

/// A problem in a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    None,
    /// The token is longer than [`MAX_TOKEN`] and was cut.
    TooLong,
    /// The closing quote is not on the same line.
    Unterminated,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub place: Place,
    pub bytes: Vec<u8>,
    pub flaw: Flaw,
}

/// The state of the lexer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Between,
    Comment,
    Word,
    Text,
    /// After a backslash.
    Escape,
    /// In an octal escape such as `\17`: its value so far, and the number of digits.
    Octal(u8, u8),
    /// In a hexadecimal escape such as `\x1f`: the same.
    Hex(u8, u8),
}

/// Splits a file into tokens.
#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    here: Place,
    token: Token,
}

impl Default for Lexer {
    fn default() -> Lexer {
        let here = Place { line: 1, column: 1 };
        let token = Token { kind: Kind::Word, place: here, bytes: Vec::new(), flaw: Flaw::None };
        Lexer { state: State::Between, here, token }
    }
}

impl Lexer {
    /// Reads the next byte, and passes each token that it completes to `each`.
    pub fn read(&mut self, byte: u8, each: &mut dyn FnMut(Token)) {
        match self.state {
            State::Between => self.between(byte, each),
            State::Comment if byte == b'\n' => self.state = State::Between,
            State::Comment => {}
            State::Word if ends_word(byte) => {
                self.finish(each);
                self.between(byte, each);
            }
            State::Word => self.keep(byte),
            State::Text => self.in_text(byte, each),
            State::Escape => self.escaped(byte, each),
            State::Octal(value, digits) => match byte {
                b'0'..=b'7' if digits < 3 => {
                    self.state = State::Octal(value.wrapping_mul(8).wrapping_add(byte - b'0'), digits + 1);
                }
                _ => self.code(value, byte, each),
            },
            State::Hex(value, digits) => match char::from(byte).to_digit(16) {
                Some(digit) if digits < 2 => {
                    let digit = u8::try_from(digit).unwrap_or(0);
                    self.state = State::Hex(value.wrapping_mul(16).wrapping_add(digit), digits + 1);
                }
                _ => self.code(value, byte, each),
            },
        }
        match byte {
            b'\n' => self.here = Place { line: self.here.line.saturating_add(1), column: 1 },
            _ => self.here.column = self.here.column.saturating_add(1),
        }
    }

    /// Ends the file. Returns the place of its end.
    pub fn end(mut self, each: &mut dyn FnMut(Token)) -> Place {
        match self.state {
            State::Between | State::Comment => {}
            State::Word => self.finish(each),
            State::Text | State::Escape | State::Octal(..) | State::Hex(..) => self.break_off(each),
        }
        self.here
    }

    fn between(&mut self, byte: u8, each: &mut dyn FnMut(Token)) {
        self.state = State::Between;
        let mut begin = |kind, state| {
            self.token = Token { kind, place: self.here, bytes: Vec::new(), flaw: Flaw::None };
            self.state = state;
        };
        match byte {
            b'#' => self.state = State::Comment,
            b'"' => begin(Kind::Text, State::Text),
            b'{' | b'}' | b';' => {
                let kind = match byte {
                    b'{' => Kind::Open,
                    b'}' => Kind::Close,
                    _ => Kind::End,
                };
                begin(kind, State::Between);
                self.finish(each);
            }
            _ if byte.is_ascii_whitespace() => {}
            _ => {
                begin(Kind::Word, State::Word);
                self.keep(byte);
            }
        }
    }

    fn in_text(&mut self, byte: u8, each: &mut dyn FnMut(Token)) {
        match byte {
            b'"' => self.finish(each),
            // dhcpd writes a line break as \012, so a real line break means that the closing quote is missing.
            b'\n' => self.break_off(each),
            b'\\' => self.state = State::Escape,
            _ => self.keep(byte),
        }
    }

    fn escaped(&mut self, byte: u8, each: &mut dyn FnMut(Token)) {
        self.state = State::Text;
        match byte {
            b'0'..=b'3' => self.state = State::Octal(byte - b'0', 1),
            b'x' => self.state = State::Hex(0, 0),
            b't' => self.keep(b'\t'),
            b'r' => self.keep(b'\r'),
            b'n' => self.keep(b'\n'),
            b'b' => self.keep(8),
            b'\n' => self.break_off(each),
            _ => self.keep(byte),
        }
    }

    /// Ends a numeric escape before `next`.
    fn code(&mut self, value: u8, next: u8, each: &mut dyn FnMut(Token)) {
        self.keep(value);
        self.state = State::Text;
        self.in_text(next, each);
    }

    fn keep(&mut self, byte: u8) {
        if self.token.bytes.len() < MAX_TOKEN {
            self.token.bytes.push(byte);
        } else {
            self.token.flaw = Flaw::TooLong;
        }
    }

    fn break_off(&mut self, each: &mut dyn FnMut(Token)) {
        self.token.flaw = Flaw::Unterminated;
        self.finish(each);
    }

    fn finish(&mut self, each: &mut dyn FnMut(Token)) {
        self.state = State::Between;
        let empty = Token { bytes: Vec::new(), ..self.token };
        each(std::mem::replace(&mut self.token, empty));
    }
}

fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'{' | b'}' | b';' | b'"' | b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &[u8]) -> Vec<Token> {
        let mut all = Vec::new();
        let mut lexer = Lexer::default();
        text.iter().for_each(|byte| lexer.read(*byte, &mut |token| all.push(token)));
        lexer.end(&mut |token| all.push(token));
        all
    }

    #[test]
    fn words_texts_and_signs_have_their_places() {
        let all = tokens(b"lease 10.0.0.1{ # a } comment\n  uid \"\\001\\x2fa\\\"\\n\";}");
        let seen: Vec<(Kind, &[u8], u64, u64)> = all
            .iter()
            .map(|token| (token.kind, &token.bytes[..], token.place.line, token.place.column))
            .collect();
        assert_eq!(
            seen,
            [
                (Kind::Word, &b"lease"[..], 1, 1),
                (Kind::Word, b"10.0.0.1", 1, 7),
                (Kind::Open, b"", 1, 15),
                (Kind::Word, b"uid", 2, 3),
                (Kind::Text, b"\x01/a\"\n", 2, 7),
                (Kind::End, b"", 2, 22),
                (Kind::Close, b"", 2, 23),
            ]
        );
    }

    #[test]
    fn a_quote_ends_with_its_line_and_a_long_token_is_cut() {
        let all = tokens(b"a \"b\nc \"d");
        let flaws: Vec<Flaw> = all.iter().map(|token| token.flaw).collect();
        assert_eq!(flaws, [Flaw::None, Flaw::Unterminated, Flaw::None, Flaw::Unterminated]);
        let long = tokens(&[b'a'; 5000]);
        assert_eq!((long.len(), long[0].bytes.len(), long[0].flaw), (1, MAX_TOKEN, Flaw::TooLong));
    }
}
