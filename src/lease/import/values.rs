//! Values that several formats of lease files have.

use crate::types::MacAddr;

/// The maximum length of a client identifier in bytes (RFC 2132 section 2).
pub(super) const MAX_CLIENT_ID: usize = 255;

/// Reads bytes as hexadecimal numbers of one or two digits, separated by colons. Returns `None` for anything else, and
/// for more than `most` bytes.
pub(super) fn colon_hex(text: &[u8], most: usize) -> Option<Vec<u8>> {
    let byte = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        (digits.len() <= 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
    };
    // One byte more than allowed is enough to detect that there are too many.
    let bytes: Vec<u8> = text.split(|c| *c == b':').take(most + 1).map(byte).collect::<Option<_>>()?;
    (bytes.len() <= most).then_some(bytes)
}

/// Parses a value without a sign.
pub(super) fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?;
    text.parse().ok()
}

/// Returns the Ethernet address, if the hardware is Ethernet.
pub(super) fn mac_of(hardware_type: u8, hardware: &[u8]) -> Option<MacAddr> {
    hardware.try_into().ok().map(MacAddr).filter(|_| hardware_type == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_bytes_have_one_or_two_digits() {
        assert_eq!(colon_hex(b"1:fF:00", 3), Some(vec![1, 255, 0]));
        for text in ["", "1::2", "100", "+1", "g1", "1:2:3:4", "1:", "é"] {
            assert_eq!(colon_hex(text.as_bytes(), 3), None, "{text}");
        }
    }
}
