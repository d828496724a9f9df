//! The functions of dhcpd's expressions.

use super::{Data, Parsed, Parser};
use crate::import::dhcpd::lexer::Kind;

impl Parser<'_> {
    /// Reads what follows the word `name`: the arguments of a function, or the name of an option.
    pub(super) fn function(&mut self, name: &str, depth: usize) -> Parsed<Data> {
        match name {
            "option" => Ok(Data::Option(self.option_name()?)),
            "config-option" | "server" => {
                self.option_name()?;
                Ok(Data::Other(name.to_owned()))
            }
            "hardware" => Ok(Data::Hardware),
            "substring" => {
                let (data, numbers) = self.data_and_numbers(2, depth)?;
                let (offset, length) = two(&numbers);
                Ok(Data::Substring(data, offset, length))
            }
            "suffix" => {
                let (data, numbers) = self.data_and_numbers(1, depth)?;
                Ok(Data::Suffix(data, two(&numbers).0))
            }
            "extract-int" => {
                let (data, numbers) = self.data_and_numbers(1, depth)?;
                Ok(Data::ExtractInt(data, two(&numbers).0))
            }
            "packet" => {
                let (offset, length) = self.two_numbers(depth)?;
                Ok(Data::Packet(offset, length))
            }
            "encode-int" => {
                let (number, width) = self.two_numbers(depth)?;
                let bytes = number.to_be_bytes();
                let count = usize::try_from(width / 8).unwrap_or(0).min(8);
                Ok(Data::Bytes(bytes.get(8 - count..).unwrap_or_default().to_vec()))
            }
            "lcase" | "ucase" => Ok(Data::Case(self.data_and_numbers(0, depth)?.0)),
            "concat" => Ok(Data::Concat(self.list(depth)?)),
            "pick-first-value" | "pick" => Ok(Data::PickFirst(self.list(depth)?)),
            "binary-to-ascii" => self.binary_to_ascii(depth),
            _ => {
                if self.is_sign(0, b'(') {
                    self.parenthesis()?;
                }
                Ok(Data::Other(name.to_owned()))
            }
        }
    }

    /// Reads `(DATA, NUMBER, …)`.
    fn data_and_numbers(&mut self, count: usize, depth: usize) -> Parsed<(Box<Data>, Vec<i64>)> {
        self.sign(b'(')?;
        let data = Box::new(self.data(depth)?);
        let mut numbers = Vec::new();
        for _ in 0..count {
            self.sign(b',')?;
            numbers.push(self.literal_number(depth)?);
        }
        self.sign(b')')?;
        Ok((data, numbers))
    }

    /// Reads `(NUMBER, NUMBER)`.
    fn two_numbers(&mut self, depth: usize) -> Parsed<(i64, i64)> {
        self.sign(b'(')?;
        let first = self.literal_number(depth)?;
        self.sign(b',')?;
        let second = self.literal_number(depth)?;
        self.sign(b')')?;
        Ok((first, second))
    }

    /// Reads `(BASE, WIDTH, SEPARATOR, DATA)`.
    fn binary_to_ascii(&mut self, depth: usize) -> Parsed<Data> {
        self.sign(b'(')?;
        let base = self.literal_number(depth)?;
        self.sign(b',')?;
        let width = self.literal_number(depth)?;
        self.sign(b',')?;
        let Data::Bytes(separator) = self.data(depth)? else { return self.fail("a text as separator") };
        self.sign(b',')?;
        let data = Box::new(self.data(depth)?);
        self.sign(b')')?;
        Ok(Data::Ascii(base, width, separator, data))
    }

    fn list(&mut self, depth: usize) -> Parsed<Vec<Data>> {
        self.sign(b'(')?;
        let mut list = vec![self.data(depth)?];
        while self.is_sign(0, b',') {
            self.at += 1;
            list.push(self.data(depth)?);
        }
        self.sign(b')')?;
        Ok(list)
    }

    /// Reads a number, or a function whose value is a number: that becomes -1, which no use of it accepts.
    fn literal_number(&mut self, depth: usize) -> Parsed<i64> {
        match self.data(depth)? {
            Data::Number(number) => Ok(number),
            _ => Ok(-1),
        }
    }

    /// Skips from `(` to its `)`.
    pub(super) fn parenthesis(&mut self) -> Parsed<()> {
        let mut open = 0usize;
        loop {
            match self.peek(0).map(|token| &token.kind) {
                Some(Kind::Sign(b'(')) => open += 1,
                Some(Kind::Sign(b')')) => open = open.saturating_sub(1),
                Some(_) => {}
                None => return self.fail("`)`"),
            }
            self.at += 1;
            if open == 0 {
                return Ok(());
            }
        }
    }
}

/// Returns the first two numbers; those that are missing are -1, which no use of them accepts.
fn two(numbers: &[i64]) -> (i64, i64) {
    let number = |index| numbers.get(index).copied().unwrap_or(-1);
    (number(0), number(1))
}
