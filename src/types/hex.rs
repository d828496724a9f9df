//! Bytes as hexadecimal digits, and back.

use std::fmt::Write as _;

/// Returns `bytes` as lower-case hexadecimal digits, two per byte.
pub fn to_hex(bytes: &[u8]) -> String {
    joined_hex(bytes, "")
}

/// Returns `bytes` as lower-case hexadecimal digits with `:` between the bytes, as a MAC address is written.
pub fn to_colon_hex(bytes: &[u8]) -> String {
    joined_hex(bytes, ":")
}

fn joined_hex(bytes: &[u8], separator: &str) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2 + separator.len()));
    for (i, byte) in bytes.iter().enumerate() {
        // Writing to a `String` does not fail.
        let _ = write!(text, "{}{byte:02x}", if i == 0 { "" } else { separator });
    }
    text
}

/// Returns the bytes of `digits`; `None` unless these are pairs of hexadecimal digits of either case.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_digits_and_back() {
        assert_eq!(to_hex(&[0, 0x0f, 0xa0, 0xff]), "000fa0ff");
        assert_eq!(to_colon_hex(&[0x52, 0x54, 0]), "52:54:00");
        assert_eq!((to_hex(&[]).as_str(), to_colon_hex(&[]).as_str()), ("", ""));
        assert_eq!(from_hex("000FA0ff"), Some(vec![0, 0x0f, 0xa0, 0xff]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for wrong in ["0", "0g", "+f", "0x00", "é", "00 00", "00:00"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
