//! Machine UUIDs, in the byte order of their text and of SMBIOS.

use std::fmt;
use std::str::FromStr;

use crate::types::text::BadText;

/// The UUID of a machine: 16 bytes in the order of its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// Makes a UUID from bytes in the order of its text (RFC 4122 section 4.1.2).
    pub fn from_network(bytes: [u8; 16]) -> Uuid {
        Uuid(bytes)
    }

    /// Returns the bytes in the order of the text: the reverse of [`from_network`](Uuid::from_network).
    pub fn to_network(self) -> [u8; 16] {
        self.0
    }

    /// Makes a UUID from the bytes that SMBIOS stores: the first three fields are little-endian (SMBIOS 3.0 section
    /// 7.2.1). Firmware copies these bytes into option 97, so `00112233-4455-…` begins with 33 22 11 00 55 44 there.
    pub fn from_smbios(bytes: [u8; 16]) -> Uuid {
        let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
        let [i, j, k, l, m, n, o, p] = rest;
        Uuid([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
    }

    /// Returns the bytes that SMBIOS stores: the reverse of [`from_smbios`](Uuid::from_smbios).
    pub fn to_smbios(self) -> [u8; 16] {
        // The swap of the byte order is its own inverse.
        Uuid::from_smbios(self.0).0
    }

    /// Whether this is a placeholder of boards that have no UUID: one byte 16 times, such as 00, FF, or the 44 of the
    /// Raspberry Pi 3's boot ROM. Many machines have the same placeholder, so it identifies none.
    pub fn is_junk(self) -> bool {
        let [first, rest @ ..] = self.0;
        rest.iter().all(|byte| *byte == first)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = BadText;

    /// Reads `7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab` in either case, with or without the hyphens.
    fn from_str(text: &str) -> Result<Self, BadText> {
        const EXPECTED: BadText = BadText("a UUID like 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab");
        let parts: Vec<&str> = text.split('-').collect();
        let widths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        let digits = parts.concat();
        let shaped = matches!(widths[..], [32] | [8, 4, 4, 4, 12]);
        if !shaped || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(EXPECTED);
        }
        u128::from_str_radix(&digits, 16).map(|number| Uuid(number.to_be_bytes())).map_err(|_| EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_as_people_write_it() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!("00112233445566778899AABBCCDDEEFF".parse(), Ok(uuid));
        for bad in ["", "00112233", "0011-22334455-6677-8899-aabbccddeeff", &text.replace('f', "g"), "é"] {
            assert!(bad.parse::<Uuid>().is_err(), "{bad}");
        }
        let smbios =
            [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        assert_eq!(Uuid::from_smbios(smbios), uuid);
        assert_eq!(uuid.to_smbios(), smbios);
        assert_ne!(Uuid::from_network(smbios), uuid);
    }

    #[test]
    fn a_uuid_of_one_byte_repeated_names_no_machine() {
        for byte in [0, 0xff, 0x44] {
            assert!(Uuid::from_network([byte; 16]).is_junk());
        }
        assert!(!"00000000-0000-0000-0000-000000000001".parse::<Uuid>().unwrap().is_junk());
    }
}
