//! The functions of test expressions.

use super::parser::{MAX_DEPTH, Parser};
use super::syntax::{Parsed, Text, Token};

/// Functions with no counterpart, and the number of their arguments.
const OTHERS: &[(&str, usize)] = &[
    ("concat", 2),
    ("lcase", 1),
    ("ucase", 1),
    ("split", 3),
    ("addrtotext", 1),
    ("int8totext", 1),
    ("int16totext", 1),
    ("int32totext", 1),
    ("uint8totext", 1),
    ("uint16totext", 1),
    ("uint32totext", 1),
];

impl Parser {
    /// Reads the arguments of the function `name`.
    pub(super) fn function(&mut self, name: &str, depth: usize) -> Parsed<(Text, bool)> {
        if depth > MAX_DEPTH {
            return self.fail("fewer parentheses");
        }
        let text = match name {
            "substring" => {
                self.sign("(")?;
                let text = self.text(depth)?;
                self.sign(",")?;
                let start = self.signed()?;
                self.sign(",")?;
                let length = if self.is_word("all") {
                    self.at += 1;
                    None
                } else {
                    Some(self.signed()?)
                };
                Text::Substring(Box::new(text), start, length)
            }
            "ifelse" => {
                self.sign("(")?;
                let test = self.or(depth)?;
                self.sign(",")?;
                let yes = self.text(depth)?;
                self.sign(",")?;
                Text::IfElse(Box::new(test), Box::new(yes), Box::new(self.text(depth)?))
            }
            "hexstring" => {
                self.sign("(")?;
                let text = self.text(depth)?;
                self.sign(",")?;
                match self.text(depth)? {
                    Text::Bytes(separator) => Text::Hex(Box::new(text), separator),
                    _ => Text::Other("hexstring".to_owned()),
                }
            }
            _ => {
                let Some((_, arguments)) = OTHERS.iter().find(|(other, _)| *other == name) else {
                    self.at -= 1;
                    return self.fail("a field or a function");
                };
                self.sign("(")?;
                for number in 0..*arguments {
                    if number > 0 {
                        self.sign(",")?;
                    }
                    self.text(depth)?;
                }
                Text::Other(name.to_owned())
            }
        };
        self.sign(")")?;
        Ok((text, false))
    }

    fn signed(&mut self) -> Parsed<i64> {
        match self.next() {
            Some(Token::Number(number)) => Ok(number),
            _ => {
                self.at -= 1;
                self.fail("a number")
            }
        }
    }
}
