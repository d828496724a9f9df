//! Splits Kea's JSON into tokens, and skips comments.

use super::node::Data;
use crate::import::position::{Fault, Position};
use crate::import::sources::Source;

/// A file that is being read.
pub(super) struct Reader {
    pub source: Source,
    at: usize,
    pub here: Position,
}

impl Reader {
    pub fn new(source: Source) -> Reader {
        let here = Position::start(source.at(1).file);
        Reader { source, at: 0, here }
    }

    pub fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.text.as_bytes().get(self.at + ahead).copied()
    }

    pub fn starts_with(&self, word: &[u8]) -> bool {
        self.source.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word))
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek(0)?;
        self.at += 1;
        self.here.step(byte);
        Some(byte)
    }

    fn skip(&mut self, bytes: usize) {
        for _ in 0..bytes {
            self.next();
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    OpenMap,
    CloseMap,
    OpenList,
    CloseList,
    Comma,
    Colon,
    Text(String),
    Word(Data),
    End,
}

impl Token {
    pub fn words(&self) -> String {
        match self {
            Token::OpenMap => "`{`".to_owned(),
            Token::CloseMap => "`}`".to_owned(),
            Token::OpenList => "`[`".to_owned(),
            Token::CloseList => "`]`".to_owned(),
            Token::Comma => "`,`".to_owned(),
            Token::Colon => "`:`".to_owned(),
            Token::Text(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
            Token::Word(Data::Null) => "`null`".to_owned(),
            Token::Word(Data::Bool(is)) => format!("`{is}`"),
            Token::Word(_) => "a number".to_owned(),
            Token::End => "the end of the file".to_owned(),
        }
    }
}

pub(super) fn token(source: &mut Reader, byte: u8) -> Result<Token, Fault> {
    let sign = match byte {
        b'{' => Token::OpenMap,
        b'}' => Token::CloseMap,
        b'[' => Token::OpenList,
        b']' => Token::CloseList,
        b',' => Token::Comma,
        b':' => Token::Colon,
        b'"' => return Ok(Token::Text(text(source)?)),
        _ => return Ok(Token::Word(word(source)?)),
    };
    source.next();
    Ok(sign)
}

/// Skips white space and comments: `#` and `//` to the end of the line, `/*` to `*/`.
pub(super) fn skip_space(source: &mut Reader) -> Result<(), Fault> {
    loop {
        match source.peek(0) {
            Some(b' ' | b'\t' | b'\r' | b'\n') => source.skip(1),
            // A byte order mark, which some editors write.
            Some(0xef) if source.at == 0 && source.starts_with(b"\xef\xbb\xbf") => source.skip(3),
            Some(b'#') => skip_line(source),
            Some(b'/') if source.peek(1) == Some(b'/') => skip_line(source),
            Some(b'/') if source.peek(1) == Some(b'*') => {
                let here = source.here;
                source.skip(2);
                while !source.starts_with(b"*/") {
                    if source.next().is_none() {
                        return Err(here.fault("this comment has no `*/`".to_owned()));
                    }
                }
                source.skip(2);
            }
            _ => return Ok(()),
        }
    }
}

fn skip_line(source: &mut Reader) {
    while source.peek(0).is_some_and(|byte| byte != b'\n') {
        source.next();
    }
}

/// Reads `<?include "NAME"?>`.
pub(super) fn include_name(source: &mut Reader) -> Result<String, Fault> {
    let here = source.here;
    let expected = || here.fault("expected <?include \"FILE\"?>".to_owned());
    source.skip(2);
    skip_space(source)?;
    if !source.starts_with(b"include") {
        return Err(expected());
    }
    source.skip(7);
    skip_space(source)?;
    if source.peek(0) != Some(b'"') {
        return Err(expected());
    }
    let name = text(source)?;
    skip_space(source)?;
    if !source.starts_with(b"?>") {
        return Err(expected());
    }
    source.skip(2);
    Ok(name)
}

/// Reads a quoted text.
fn text(source: &mut Reader) -> Result<String, Fault> {
    let start = source.here;
    source.next();
    let mut bytes = Vec::new();
    loop {
        let here = source.here;
        match source.next() {
            None | Some(b'\n') => {
                return Err(start.fault("this text has no closing `\"` on its line".to_owned()));
            }
            Some(b'"') => break,
            Some(b'\\') => {
                let letter = match source.next() {
                    Some(b'n') => '\n',
                    Some(b't') => '\t',
                    Some(b'r') => '\r',
                    Some(b'b') => '\u{8}',
                    Some(b'f') => '\u{c}',
                    Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
                    Some(b'u') => unicode(source, here)?,
                    _ => return Err(here.fault("unknown escape in text".to_owned())),
                };
                bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Some(byte) if byte < b' ' && byte != b'\t' => {
                return Err(here.fault(format!("a control character ({byte:#04x}) in text")));
            }
            Some(byte) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| start.fault("this text is not UTF-8".to_owned()))
}

/// Reads the four digits of `\u`. Kea accepts only the letters up to U+00FF.
fn unicode(source: &mut Reader, here: Position) -> Result<char, Fault> {
    let mut number = 0;
    for _ in 0..4 {
        let digit = source.next().and_then(|byte| char::from(byte).to_digit(16));
        number =
            number * 16 + digit.ok_or_else(|| here.fault("expected four digits after \\u".to_owned()))?;
    }
    char::from_u32(number).ok_or_else(|| here.fault("no letter has this number".to_owned()))
}

/// Reads a number, `true`, `false` or `null`.
fn word(source: &mut Reader) -> Result<Data, Fault> {
    let here = source.here;
    let mut word = String::new();
    while let Some(byte) = source.peek(0) {
        let belongs = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_');
        if !belongs || word.len() > 40 {
            break;
        }
        word.push(char::from(byte));
        source.next();
    }
    let data = match word.to_ascii_lowercase().as_str() {
        "true" => Some(Data::Bool(true)),
        "false" => Some(Data::Bool(false)),
        "null" => Some(Data::Null),
        _ if word.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            let int = word.parse().ok().map(Data::Int);
            int.or_else(|| word.parse().ok().filter(|number: &f64| number.is_finite()).map(Data::Real))
        }
        _ => None,
    };
    data.ok_or_else(|| {
        let found = match source.peek(0) {
            _ if !word.is_empty() => format!("`{word}`"),
            Some(byte) => format!("`{}`", byte.escape_ascii()),
            None => "the end of the file".to_owned(),
        };
        here.fault(format!("expected a value, found {found}"))
    })
}
