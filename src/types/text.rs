//! Text values: the error of parsers, and bytes from the wire made safe to display.

use std::fmt;

/// The reason why a text is not a valid value. `Display` says what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadText(pub &'static str);

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadText {}

/// The beginning of `text`, at most `max` bytes. No character is cut in two.
pub fn cut(text: &str, max: usize) -> &str {
    let end = (0..=text.len().min(max)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// Displays bytes from the wire so that they cannot forge a log line or control a terminal. Printable ASCII stays,
/// other bytes become `\xNN`, and the text is cut after [`Escaped::LIMIT`] bytes.
pub struct Escaped<'a>(pub &'a [u8]);

impl Escaped<'_> {
    /// The number of bytes that are shown before the text is cut with `…`.
    pub const LIMIT: usize = 200;
}

/// Displays bytes like [`Escaped`], between quotes. A quote in them becomes `\"`, so that it does not end the text.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Escaped(self.0).to_string();
        write!(f, "\"{}\"", text.replace('"', "\\\""))
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(Escaped::LIMIT) {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                0x20..=0x7e => write!(f, "{}", char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        if self.0.len() > Escaped::LIMIT { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_ends_at_its_last_quote() {
        assert_eq!(Quoted(b"a\" b=\"\\\x1b").to_string(), r#""a\" b=\"\\\x1b""#);
    }
}
