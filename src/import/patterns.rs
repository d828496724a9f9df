//! Writes the patterns of `match`: text with `*` and `?`, or `hex:` patterns for bytes that are no text.

use crate::config::document::{Map, Value};
use crate::types::to_hex;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Exactly these bytes.
    Bytes(Vec<u8>),
    /// Any one byte.
    AnyByte,
    /// Any number of bytes, also none.
    AnyBytes,
}

impl Part {
    pub fn text(text: &str) -> Part {
        Part::Bytes(text.as_bytes().to_vec())
    }
}

/// A pattern that all of the value must match. Without wildcards this is no exact match for `vendor_class`: use
/// [`exact`] there.
pub fn pattern(parts: &[Part]) -> Value {
    Value::Text(as_text(parts).unwrap_or_else(|| as_hex(parts)))
}

/// Exactly `bytes`, for any key.
pub fn exact(bytes: &[u8]) -> Value {
    match readable(bytes) {
        Some(text) => Map::new().with("is", text).into(),
        None => Value::Text(as_hex(&[Part::Bytes(bytes.to_vec())])),
    }
}

/// A value that contains `bytes` anywhere.
pub fn contains(bytes: &[u8]) -> Value {
    pattern(&[Part::AnyBytes, Part::Bytes(bytes.to_vec()), Part::AnyBytes])
}

/// A value that begins with `bytes`.
pub fn begins_with(bytes: &[u8]) -> Value {
    pattern(&[Part::Bytes(bytes.to_vec()), Part::AnyBytes])
}

/// `hex:` and the digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    as_hex(&[Part::Bytes(bytes.to_vec())])
}

/// The text of `bytes`, if all of it is printable and no prefix gives it another meaning.
pub fn readable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let has_prefix = text.starts_with("hex:") || text.starts_with("text:");
    (!text.is_empty() && !has_prefix && !text.contains(char::is_control)).then_some(text)
}

fn as_text(parts: &[Part]) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::AnyByte => text.push('?'),
            Part::AnyBytes => text.push('*'),
            Part::Bytes(bytes) if bytes.is_empty() => {}
            Part::Bytes(bytes) => {
                for letter in readable(bytes)?.chars() {
                    if matches!(letter, '*' | '?' | '\\') {
                        text.push('\\');
                    }
                    text.push(letter);
                }
            }
        }
    }
    (!text.is_empty()).then_some(text)
}

fn as_hex(parts: &[Part]) -> String {
    let mut text = "hex:".to_owned();
    for part in parts {
        match part {
            Part::AnyByte => text.push_str("??"),
            Part::AnyBytes => text.push('*'),
            Part::Bytes(bytes) => text.push_str(&to_hex(bytes)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_text_where_they_can_be() {
        assert_eq!(pattern(&[Part::text("a*b\\"), Part::AnyBytes]), Value::from("a\\*b\\\\*"));
        assert_eq!(contains(b"PXE"), Value::from("*PXE*"));
        assert_eq!(begins_with(b"\x01\x02"), Value::from("hex:0102*"));
        assert_eq!(pattern(&[Part::Bytes(vec![0]), Part::AnyByte]), Value::from("hex:00??"));
        assert_eq!(exact(b"snom"), Map::new().with("is", "snom").into());
        assert_eq!(exact(b"hex:1"), Value::from("hex:6865783a31"));
    }
}
