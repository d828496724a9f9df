//! The recursive parser of test expressions.

use super::syntax::{Code, Field, Parsed, Test, Text, Token};

/// The maximum nesting of an expression, and the maximum number of `not`s in a row.
pub(super) const MAX_DEPTH: usize = 60;
/// The maximum number of steps of the parser. It reads a parenthesis twice if the first reading fails, so nested ones could
/// otherwise take exponential time.
const MAX_STEPS: usize = 100_000;

pub(super) struct Parser {
    tokens: Vec<(usize, Token)>,
    pub(super) at: usize,
    end: usize,
    steps: usize,
}

impl Parser {
    /// Returns the parser of `tokens`. `end` is the offset of the end of the expression.
    pub fn new(tokens: Vec<(usize, Token)>, end: usize) -> Parser {
        Parser { tokens, at: 0, end, steps: 0 }
    }

    /// Parses the whole expression.
    pub fn whole(mut self) -> Parsed<Test> {
        let test = self.or(0)?;
        match self.peek() {
            None => Ok(test),
            Some(token) => Err(self.expected("`and`, `or` or the end", Some(&token.clone()))),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    /// Returns the error at the current token.
    fn expected(&self, what: &str, found: Option<&Token>) -> (usize, String) {
        let at = self.tokens.get(self.at).map_or(self.end, |(at, _)| *at);
        let found = match found {
            None => "the end".to_owned(),
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Text(text)) => format!("'{text}'"),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
            Some(Token::Number(number)) => format!("{number}"),
            Some(Token::Hex(_) | Token::Address(_)) => "a value".to_owned(),
        };
        (at, format!("expected {what}, found {found}"))
    }

    pub(super) fn fail<T>(&self, what: &str) -> Parsed<T> {
        Err(self.expected(what, self.peek()))
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    pub(super) fn sign(&mut self, sign: &str) -> Parsed<()> {
        if !self.is_sign(sign) {
            return self.fail(&format!("`{sign}`"));
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn or(&mut self, depth: usize) -> Parsed<Test> {
        if depth > MAX_DEPTH {
            return self.fail("fewer parentheses");
        }
        let mut test = self.and(depth)?;
        while self.is_word("or") {
            self.at += 1;
            test = Test::Or(Box::new(test), Box::new(self.and(depth)?));
        }
        Ok(test)
    }

    fn and(&mut self, depth: usize) -> Parsed<Test> {
        let mut test = self.not(depth)?;
        while self.is_word("and") {
            self.at += 1;
            test = Test::And(Box::new(test), Box::new(self.not(depth)?));
        }
        Ok(test)
    }

    fn not(&mut self, depth: usize) -> Parsed<Test> {
        self.steps += 1;
        if depth > MAX_DEPTH || self.steps > MAX_STEPS {
            return self.fail("fewer parentheses");
        }
        if self.is_word("not") {
            self.at += 1;
            return Ok(Test::Not(Box::new(self.not(depth + 1)?)));
        }
        // A parenthesis begins a test or a text. Only one of them can be read to its end.
        if self.is_sign("(") {
            let start = self.at;
            self.at += 1;
            match self.or(depth + 1).and_then(|test| self.sign(")").map(|()| test)) {
                Ok(test) => return Ok(test),
                Err(fault) => {
                    let (failed, begin) = (self.at, start);
                    self.at = begin;
                    return self.comparison(depth + 1).map_err(
                        |other| {
                            if failed >= self.at { fault } else { other }
                        },
                    );
                }
            }
        }
        self.comparison(depth)
    }

    fn comparison(&mut self, depth: usize) -> Parsed<Test> {
        if self.is_word("member") {
            self.at += 1;
            self.sign("(")?;
            let Some(Token::Text(name)) = self.peek().cloned() else { return self.fail("'CLASS'") };
            self.at += 1;
            self.sign(")")?;
            return Ok(Test::Member(name));
        }
        if self.is_word("match") {
            self.at += 1;
            self.sign("(")?;
            self.text(depth)?;
            self.sign(",")?;
            self.text(depth)?;
            self.sign(")")?;
            return Ok(Test::Match);
        }
        let (left, exists) = self.sum(depth)?;
        if exists {
            return match left {
                Text::Field(field) => Ok(Test::Exists(field)),
                _ => self.fail("`==`"),
            };
        }
        self.sign("==")?;
        match self.sum(depth)? {
            (right, false) => Ok(Test::Equal(left, right)),
            (_, true) => self.fail("a text"),
        }
    }

    pub(super) fn text(&mut self, depth: usize) -> Parsed<Text> {
        match self.sum(depth)? {
            (text, false) => Ok(text),
            (_, true) => self.fail("a text, not `.exists`"),
        }
    }

    /// Reads texts joined by `+`. The second value is true for a field with `.exists`.
    fn sum(&mut self, depth: usize) -> Parsed<(Text, bool)> {
        let (mut text, exists) = self.term(depth)?;
        while self.is_sign("+") {
            self.at += 1;
            self.term(depth)?;
            text = Text::Other("concat".to_owned());
        }
        Ok((text, exists))
    }

    fn term(&mut self, depth: usize) -> Parsed<(Text, bool)> {
        if depth > MAX_DEPTH {
            return self.fail("fewer parentheses");
        }
        let text = match self.peek().cloned() {
            Some(Token::Text(text)) => Text::Bytes(text.into_bytes()),
            Some(Token::Hex(bytes)) => Text::Bytes(bytes),
            Some(Token::Address(octets)) => Text::Bytes(octets.to_vec()),
            Some(Token::Number(number)) => match u32::try_from(number) {
                Ok(number) => Text::Number(number),
                Err(_) => return self.fail("a number of 32 bits"),
            },
            Some(Token::Sign("(")) => {
                self.at += 1;
                let text = self.text(depth + 1)?;
                self.sign(")")?;
                return Ok((text, false));
            }
            Some(Token::Word(word)) => {
                self.at += 1;
                return self.word(&word, depth);
            }
            _ => return self.fail("a field, a function or a text in single quotes"),
        };
        self.at += 1;
        Ok((text, false))
    }

    fn word(&mut self, word: &str, depth: usize) -> Parsed<(Text, bool)> {
        match word {
            "option" => self.option(),
            "relay4" => {
                let code = self.code()?;
                let (_, exists) = self.form()?;
                Ok((Text::Field(Field::Relay(code)), exists))
            }
            "pkt" | "pkt4" => {
                self.sign(".")?;
                let name = self.name()?;
                Ok((Text::Field(Field::Packet(name)), false))
            }
            "vendor" => self.vendor(),
            "vendor-class" => self.vendor_class(),
            "relay6" | "pkt6" => {
                self.at -= 1;
                self.fail("a part of a DHCPv4 message")
            }
            function => self.function(function, depth + 1),
        }
    }

    fn option(&mut self) -> Parsed<(Text, bool)> {
        let code = self.code()?;
        self.sign(".")?;
        if self.is_word("option") {
            self.at += 1;
            let inner = self.code()?;
            let (_, exists) = self.form()?;
            return Ok((Text::Field(Field::SubOption(code, inner)), exists));
        }
        self.at -= 1;
        let (is_text, exists) = self.form()?;
        Ok((Text::Field(Field::Option(code, is_text)), exists))
    }

    fn vendor(&mut self) -> Parsed<(Text, bool)> {
        if self.is_sign(".") {
            self.at += 1;
            return match self.name()?.as_str() {
                "enterprise" => Ok((Text::Field(Field::Enterprise(false)), false)),
                _ => self.fail("`vendor.enterprise`"),
            };
        }
        let enterprise = self.enterprise()?;
        self.sign(".")?;
        if self.is_word("option") {
            self.at += 1;
            let code = self.code()?;
            let (_, exists) = self.form()?;
            return Ok((Text::Field(Field::Vendor(enterprise, Some(code))), exists));
        }
        match self.name()?.as_str() {
            "exists" => Ok((Text::Field(Field::Vendor(enterprise, None)), true)),
            _ => self.fail("`exists` or `option[…]`"),
        }
    }

    fn vendor_class(&mut self) -> Parsed<(Text, bool)> {
        let enterprise = if self.is_sign("[") { self.enterprise()? } else { None };
        self.sign(".")?;
        match self.name()?.as_str() {
            "enterprise" => Ok((Text::Field(Field::Enterprise(true)), false)),
            "exists" => Ok((Text::Field(Field::VendorClass(enterprise, 0)), true)),
            "data" => {
                let mut index = 0;
                if self.is_sign("[") {
                    self.at += 1;
                    index = self.number()?;
                    self.sign("]")?;
                }
                Ok((Text::Field(Field::VendorClass(enterprise, index)), false))
            }
            _ => self.fail("`data`, `enterprise` or `exists`"),
        }
    }

    /// Reads `[NUMBER]` or `[*]`.
    fn enterprise(&mut self) -> Parsed<Option<u32>> {
        self.sign("[")?;
        let number = if self.is_sign("*") {
            self.at += 1;
            None
        } else {
            Some(self.number()?)
        };
        self.sign("]")?;
        Ok(number)
    }

    fn number(&mut self) -> Parsed<u32> {
        match self.peek() {
            Some(Token::Number(number)) if u32::try_from(*number).is_ok() => {
                let number = u32::try_from(*number).unwrap_or_default();
                self.at += 1;
                Ok(number)
            }
            _ => self.fail("a number"),
        }
    }

    /// Reads `[CODE]`.
    fn code(&mut self) -> Parsed<Code> {
        self.sign("[")?;
        let code = match self.peek().cloned() {
            Some(Token::Word(name)) => {
                self.at += 1;
                Code::Name(name)
            }
            _ => Code::Number(self.number()?),
        };
        self.sign("]")?;
        Ok(code)
    }

    fn name(&mut self) -> Parsed<String> {
        match self.peek().cloned() {
            Some(Token::Word(name)) => {
                self.at += 1;
                Ok(name)
            }
            _ => self.fail("a name"),
        }
    }

    /// Reads `.text`, `.hex` or `.exists`. The first value is true for text, the second for `exists`.
    fn form(&mut self) -> Parsed<(bool, bool)> {
        self.sign(".")?;
        match self.name()?.as_str() {
            "hex" => Ok((false, false)),
            "text" => Ok((true, false)),
            "exists" => Ok((false, true)),
            _ => {
                self.at -= 1;
                self.fail("`hex`, `text` or `exists`")
            }
        }
    }
}
