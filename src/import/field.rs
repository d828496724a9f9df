//! Patterns for the fields that `match` knows, and their values there.

use super::patterns::{Part, exact, pattern, readable};
use crate::config::document::Value;
use crate::types::{Arch, to_hex};

/// A pattern that all bytes of a field must fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern(Vec<Part>);

impl Pattern {
    pub fn of(parts: Vec<Part>) -> Pattern {
        Pattern(parts)
    }

    /// Returns the pattern of exactly these bytes.
    pub fn exactly(bytes: &[u8]) -> Pattern {
        Pattern(vec![Part::Bytes(bytes.to_vec())])
    }

    /// Returns the pattern of all values that begin with these bytes.
    pub fn prefix(bytes: &[u8]) -> Pattern {
        Pattern::at(0, bytes, true)
    }

    pub fn anything() -> Pattern {
        Pattern(vec![Part::AnyBytes])
    }

    /// Returns the pattern of values of at least `length` bytes.
    pub fn longer_than(length: usize) -> Pattern {
        let mut parts = vec![Part::AnyByte; length + 1];
        parts.push(Part::AnyBytes);
        Pattern(parts)
    }

    /// Returns the pattern of values with `bytes` after `skip` bytes. More bytes may follow if `is_open`.
    pub fn at(skip: usize, bytes: &[u8], is_open: bool) -> Pattern {
        let mut parts = vec![Part::AnyByte; skip];
        parts.push(Part::Bytes(bytes.to_vec()));
        parts.extend(is_open.then_some(Part::AnyBytes));
        Pattern(parts)
    }

    /// Returns the pattern of values that end with `bytes` and then any `skip` bytes.
    pub fn before_end(bytes: &[u8], skip: usize) -> Pattern {
        let mut parts = vec![Part::AnyBytes, Part::Bytes(bytes.to_vec())];
        parts.extend(vec![Part::AnyByte; skip]);
        Pattern(parts)
    }

    /// Returns the bytes, if the pattern is exact.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [Part::Bytes(bytes)] => Some(bytes),
            _ => None,
        }
    }

    /// Returns the bytes that a value must begin with, if that is all that the pattern says.
    fn begin(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [Part::Bytes(bytes), Part::AnyBytes] if !bytes.is_empty() => Some(bytes),
            _ => None,
        }
    }

    /// Returns the pattern of what comes after a first byte, if the pattern allows this first byte and says more.
    pub fn without_first(mut self, first: u8) -> Option<Pattern> {
        match self.0.first_mut()? {
            Part::Bytes(bytes) => {
                if bytes.first() != Some(&first) {
                    return None;
                }
                bytes.remove(0);
                if bytes.is_empty() {
                    self.0.remove(0);
                }
            }
            Part::AnyByte => {
                self.0.remove(0);
            }
            Part::AnyBytes => {}
        }
        (!self.0.is_empty()).then_some(self)
    }

    /// Whether every value fits that has this many bytes or more.
    pub fn is_anything(&self) -> bool {
        self.0.as_slice() == [Part::AnyBytes]
    }

    /// Whether the pattern can be written as text.
    pub fn is_text(&self) -> bool {
        let is_text = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.is_empty() || readable(bytes).is_some(),
            _ => true,
        };
        self.0.iter().all(is_text)
    }

    /// Returns the value of the key `field` in `match`.
    pub fn to_value(&self, field: &str) -> Value {
        match (field, self.bytes(), self.begin()) {
            ("arch", Some([high, low]), _) => arch(u16::from_be_bytes([*high, *low])).into(),
            ("mac", _, Some(begin)) => mac(&[Part::Bytes(begin.to_vec())]).into(),
            ("mac", ..) => mac(&self.0).into(),
            ("vendor_class", Some(bytes), _) => exact(bytes),
            // Text without wildcards is a prefix there.
            ("vendor_class", _, Some(begin)) if is_plain(begin) => {
                String::from_utf8_lossy(begin).into_owned().into()
            }
            (_, Some(bytes), _) if readable(bytes).is_some() && !is_plain(bytes) => exact(bytes),
            _ => pattern(&self.0),
        }
    }
}

fn arch(number: u16) -> String {
    Arch::from_number(number).name().map_or_else(|| number.to_string(), str::to_owned)
}

/// Returns a MAC address, the beginning of one, or one with wildcards.
fn mac(parts: &[Part]) -> String {
    let mut octets = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => octets.extend(bytes.iter().map(|byte| to_hex(&[*byte]))),
            Part::AnyByte => octets.push("??".to_owned()),
            Part::AnyBytes => octets.push("*".to_owned()),
        }
    }
    octets.join(":")
}

/// Whether the bytes are text without wildcards and backslashes.
fn is_plain(bytes: &[u8]) -> bool {
    readable(bytes).is_some_and(|text| !text.contains(['*', '?', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::Map;

    #[test]
    fn patterns_are_text_where_they_can_be() {
        let value = Value::from;
        assert_eq!(Pattern::exactly(b"iPXE").to_value("user_class"), value("iPXE"));
        assert_eq!(Pattern::prefix(b"PXEClient").to_value("vendor_class"), value("PXEClient"));
        assert_eq!(Pattern::prefix(b"PXEClient").to_value("option.60"), value("PXEClient*"));
        assert_eq!(Pattern::at(9, b"Arch", true).to_value("option.60"), value("?????????Arch*"));
        assert_eq!(Pattern::exactly(&[0, 7]).to_value("arch"), value("uefi-x64"));
        assert_eq!(Pattern::exactly(&[0, 7]).to_value("option.93"), value("hex:0007"));
        assert_eq!(Pattern::at(2, &[7], true).to_value("option.97"), value("hex:????07*"));
        assert_eq!(Pattern::prefix(&[0, 4, 0x13]).to_value("mac"), value("00:04:13"));
        assert_eq!(Pattern::at(3, &[1], true).to_value("mac"), value("??:??:??:01:*"));
        assert_eq!(Pattern::exactly(b"snom").to_value("vendor_class"), Map::new().with("is", "snom").into());
        assert_eq!(Pattern::exactly(b"a*b").to_value("option.60"), Map::new().with("is", "a*b").into());
        assert_eq!(Pattern::prefix(b"a*b").to_value("option.224"), value("a\\*b*"));
    }
}
