//! Parses the expressions of dhcpd (manual page dhcp-eval(5)), from the tokens of a statement.

mod functions;

use super::lexer::{Kind, Token};
use crate::import::standard;

/// The maximum nesting of an expression.
const MAX_DEPTH: usize = 60;
/// The maximum number of steps of the parser, because it reads a parenthesis twice where the first reading fails.
const MAX_STEPS: usize = 20_000;

/// An expression that is true or false.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Test {
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    Equal(Data, Data),
    Exists(String),
    Known,
    /// `check "CLASS"`
    Check(String),
    Constant(bool),
    /// Something with no counterpart: its name.
    Other(String),
}

/// An expression with bytes or a number.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Data {
    Bytes(Vec<u8>),
    Number(i64),
    /// An option by name, with its space.
    Option(String),
    /// The hardware type and address.
    Hardware,
    /// `packet(offset, length)`
    Packet(i64, i64),
    Substring(Box<Data>, i64, i64),
    Suffix(Box<Data>, i64),
    Concat(Vec<Data>),
    PickFirst(Vec<Data>),
    /// `lcase` and `ucase`
    Case(Box<Data>),
    /// `extract-int(data, width)`
    ExtractInt(Box<Data>, i64),
    /// `binary-to-ascii(base, width, separator, data)`
    Ascii(i64, i64, Vec<u8>, Box<Data>),
    Other(String),
}

/// Parses a test. An error is the reason, with the index of the token where it stands.
pub(super) fn test(tokens: &[Token]) -> Parsed<Test> {
    let mut parser = Parser { tokens, at: 0, steps: 0 };
    let test = parser.or(0)?;
    parser.finished()?;
    Ok(test)
}

/// Parses data.
pub(super) fn data(tokens: &[Token]) -> Parsed<Data> {
    let mut parser = Parser { tokens, at: 0, steps: 0 };
    let data = parser.data(0)?;
    parser.finished()?;
    Ok(data)
}

pub(super) type Parsed<T> = Result<T, (usize, String)>;

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    steps: usize,
}

impl Parser<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn fail<T>(&self, what: &str) -> Parsed<T> {
        let found = self.peek(0).map_or_else(|| "the end of the expression".to_owned(), Token::shown);
        Err((self.at, format!("expected {what}, found {found}")))
    }

    fn finished(&self) -> Parsed<()> {
        if self.peek(0).is_some() { self.fail("the end of the expression") } else { Ok(()) }
    }

    fn is(&self, word: &str) -> bool {
        self.peek(0).is_some_and(|token| token.is(word))
    }

    fn is_sign(&self, ahead: usize, sign: u8) -> bool {
        self.peek(ahead).is_some_and(|token| token.is_sign(sign))
    }

    fn take(&mut self, word: &str) -> bool {
        let is = self.is(word);
        self.at += usize::from(is);
        is
    }

    fn sign(&mut self, sign: u8) -> Parsed<()> {
        if !self.is_sign(0, sign) {
            return self.fail(&format!("`{}`", char::from(sign)));
        }
        self.at += 1;
        Ok(())
    }

    fn enter(&mut self, depth: usize) -> Parsed<()> {
        self.steps += 1;
        if depth > MAX_DEPTH || self.steps > MAX_STEPS {
            return self.fail("a simpler expression");
        }
        Ok(())
    }

    fn or(&mut self, depth: usize) -> Parsed<Test> {
        self.enter(depth)?;
        let mut test = self.and(depth)?;
        while self.take("or") {
            test = Test::Or(Box::new(test), Box::new(self.and(depth)?));
        }
        Ok(test)
    }

    fn and(&mut self, depth: usize) -> Parsed<Test> {
        let mut test = self.not(depth)?;
        while self.take("and") {
            test = Test::And(Box::new(test), Box::new(self.not(depth)?));
        }
        Ok(test)
    }

    fn not(&mut self, depth: usize) -> Parsed<Test> {
        self.enter(depth)?;
        if self.take("not") {
            return Ok(Test::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.is_sign(0, b'(') {
            let start = self.at;
            self.at += 1;
            match self.or(depth + 1).and_then(|test| self.sign(b')').map(|()| test)) {
                Ok(test) if !self.is_comparison() => return Ok(test),
                read => {
                    let reached = self.at;
                    self.at = start;
                    return self.comparison(depth + 1).map_err(|other| match read {
                        Err(fault) if reached >= self.at => fault,
                        _ => other,
                    });
                }
            }
        }
        self.simple(depth)
    }

    fn is_comparison(&self) -> bool {
        self.is_sign(0, b'=') || self.is_sign(0, b'!') || self.is_sign(0, b'~')
    }

    fn simple(&mut self, depth: usize) -> Parsed<Test> {
        if self.take("exists") {
            return Ok(Test::Exists(self.option_name()?));
        }
        if self.take("known") {
            return Ok(Test::Known);
        }
        if self.take("check") {
            return match self.peek(0).and_then(super::tree::name) {
                Some(name) => {
                    self.at += 1;
                    Ok(Test::Check(name))
                }
                None => self.fail("the name of a class"),
            };
        }
        for (word, value) in [("true", true), ("false", false)] {
            if self.take(word) {
                return Ok(Test::Constant(value));
            }
        }
        for word in ["static", "infinite"] {
            if self.take(word) {
                return Ok(Test::Other(word.to_owned()));
            }
        }
        if self.take("variable-defined") {
            self.parenthesis()?;
            return Ok(Test::Other("variable-defined".to_owned()));
        }
        self.comparison(depth)
    }

    fn comparison(&mut self, depth: usize) -> Parsed<Test> {
        let left = self.data(depth)?;
        if self.is_sign(0, b'~') {
            self.at += 1;
            if self.is_sign(0, b'=') || self.is_sign(0, b'~') {
                self.at += 1;
            }
            self.data(depth)?;
            return Ok(Test::Other("a regular expression".to_owned()));
        }
        let is_negated = self.is_sign(0, b'!');
        self.at += usize::from(is_negated);
        if !self.is_sign(0, b'=') {
            return match left {
                // An option with a truth value, or a variable.
                Data::Option(name) if !is_negated => {
                    Ok(Test::Equal(Data::Option(name), Data::Bytes(vec![1])))
                }
                Data::Other(name) if !is_negated => Ok(Test::Other(name)),
                _ => self.fail("`=` or `!=`"),
            };
        }
        self.at += 1;
        let right = self.data(depth)?;
        let test = Test::Equal(left, right);
        Ok(if is_negated { Test::Not(Box::new(test)) } else { test })
    }

    fn data(&mut self, depth: usize) -> Parsed<Data> {
        self.enter(depth)?;
        let Some(token) = self.peek(0).cloned() else { return self.fail("an option, a text or a function") };
        match &token.kind {
            Kind::Text(text) => {
                self.at += 1;
                Ok(Data::Bytes(text.to_vec()))
            }
            Kind::Sign(b'(') => {
                self.at += 1;
                let data = self.data(depth + 1)?;
                self.sign(b')')?;
                Ok(data)
            }
            Kind::Sign(b'-') => {
                self.at += 1;
                Ok(Data::Number(-self.number()?))
            }
            Kind::Word(word) if self.is_sign(1, b':') && standard::hex(word).is_some() => {
                Ok(Data::Bytes(self.hex()?))
            }
            Kind::Word(word) if word.starts_with(|first: char| first.is_ascii_digit()) => {
                Ok(Data::Number(self.number()?))
            }
            Kind::Word(word) => {
                self.at += 1;
                self.function(&word.to_ascii_lowercase(), depth + 1)
            }
            Kind::Sign(_) => self.fail("an option, a text or a function"),
        }
    }

    /// Reads `01:0a:ff`.
    fn hex(&mut self) -> Parsed<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let word = self.peek(0).and_then(super::tree::name).unwrap_or_default();
            match u8::from_str_radix(&word, 16) {
                Ok(byte) if word.len() <= 2 => bytes.push(byte),
                _ => return self.fail("two hexadecimal digits"),
            }
            self.at += 1;
            if !self.is_sign(0, b':') {
                return Ok(bytes);
            }
            self.at += 1;
        }
    }

    fn number(&mut self) -> Parsed<i64> {
        let word = self.peek(0).and_then(super::tree::name).unwrap_or_default();
        match number(&word) {
            Some(number) => {
                self.at += 1;
                Ok(number)
            }
            None => self.fail("a number"),
        }
    }

    /// Reads `NAME` or `SPACE.NAME`.
    fn option_name(&mut self) -> Parsed<String> {
        // `option` may stand before it, although the manual leaves it out after `exists`.
        if self.is("option") && !self.is_sign(1, b'.') {
            self.at += 1;
        }
        let Some(Kind::Word(word)) = self.peek(0).map(|token| token.kind.clone()) else {
            return self.fail("the name of an option");
        };
        self.at += 1;
        if !self.is_sign(0, b'.') {
            return Ok(word.into());
        }
        self.at += 1;
        match self.peek(0).map(|token| token.kind.clone()) {
            Some(Kind::Word(inner)) => {
                self.at += 1;
                Ok(format!("{word}.{inner}"))
            }
            _ => self.fail("the name of an option"),
        }
    }
}

/// Reads a decimal, hexadecimal or octal number.
pub(super) fn number(word: &str) -> Option<i64> {
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).ok();
    }
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::dhcpd::lexer::Lexer;

    fn tokens(text: &str) -> Vec<Token> {
        let mut lexer = Lexer::new(0, text);
        std::iter::from_fn(|| lexer.next().unwrap()).collect()
    }

    #[test]
    fn the_whole_language_is_parsed() {
        for text in [
            "option arch = 00:07",
            "exists user-class and option user-class = \"iPXE\"",
            "not exists agent.circuit-id or known",
            "substring (option vendor-class-identifier, 0, 9) = \"PXEClient\"",
            "(substring(hardware, 1, 3) = 00:0c:29) or (substring(hardware,1,3) != 00:50:56)",
            "option dhcp-client-identifier = \"\\001abc\"",
            "pick-first-value(option dhcp-client-identifier, hardware) = 1:00:11:22:33:44:55",
            "binary-to-ascii(16, 8, \":\", substring(hardware, 1, 6)) = \"0:c:29\"",
            "lcase(option host-name) = \"pc\"",
            "extract-int(option client-arch, 16) = 7",
            "suffix(option host-name, 3) = \"abc\"",
            "packet(24, 4) = 0a:00:00:01",
            "option host-name ~= \"^a\" or option x ~~ \"b\"",
            "check \"phones\" and not static",
            "concat(\"a\", option host-name) = \"b\"",
            "variable-defined(x) and gethostbyname(\"a\") = 01:02",
            "option some-boolean",
            "(option a) = \"x\"",
            "encode-int(7, 16) = option arch",
        ] {
            assert!(test(&tokens(text)).is_ok(), "{text}: {:?}", test(&tokens(text)));
        }
    }

    #[test]
    fn faults_have_their_token() {
        for (text, at, why) in [
            ("option arch == 1", 3, "expected an option, a text or a function, found `=`"),
            ("option arch = 00:07 x", 6, "expected the end of the expression, found `x`"),
            ("substring(option a, 0 = 1", 6, "expected `,`, found `=`"),
            ("", 0, "expected an option, a text or a function, found the end of the expression"),
        ] {
            assert_eq!(test(&tokens(text)), Err((at, why.to_owned())), "{text}");
        }
        for deep in ["(".repeat(20_000), "not ".repeat(20_000), "lcase(".repeat(20_000)] {
            assert!(test(&tokens(&deep)).is_err());
        }
    }
}
