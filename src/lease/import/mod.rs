//! Reads the lease files of other servers, for users who switch to lanboot: ISC's `dhcpd.leases` and dnsmasq's
//! `dnsmasq.leases`.
//!
//! A file is read in pieces and takes the memory of one entry, whatever it contains. A problem in one entry does not
//! hide the next. `cli/leases/import.rs` drives the [`Reader`] and the [`Import`].

mod dnsmasq;
mod intake;
mod isc;
mod lexer;

use std::fmt;
use std::net::Ipv4Addr;

use dnsmasq::Dnsmasq;
pub use intake::{Import, Reservations, Skipped};
use isc::Isc;

use crate::lease::Lease;
use crate::types::MacAddr;

/// The maximum length of a client identifier in bytes (RFC 2132 section 2).
const MAX_CLIENT_ID: usize = 255;

/// The server that wrote the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// ISC dhcpd's `dhcpd.leases`. It may have several entries per address; the last one counts.
    Isc,
    /// dnsmasq's `dnsmasq.leases`: one line per lease.
    Dnsmasq,
}

impl Format {
    /// Guesses the format of a file that begins with `text`.
    pub fn of(text: &[u8]) -> Format {
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        match lines.find(|line| !line.is_empty() && !line.starts_with(b"#")) {
            Some(line) if line.starts_with(b"duid ") || line.first().is_some_and(u8::is_ascii_digit) => {
                Format::Dnsmasq
            }
            _ => Format::Isc,
        }
    }

    /// Returns the name that the server gives to the file.
    pub fn file_name(self) -> &'static str {
        match self {
            Format::Isc => "dhcpd.leases",
            Format::Dnsmasq => "dnsmasq.leases",
        }
    }
}

/// A place in a file. Lines and columns count from 1, columns in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A problem in a file. The entry that contains it is skipped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub place: Place,
    /// The expected syntax, with the actual text where that helps.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// An entry in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// The state of an address: its lease, or `None` if no client has it. The last entry of an address counts.
    Entry(Ipv4Addr, Option<Lease>),
    /// A lease of an IPv6 address.
    Ipv6,
    /// An unreadable entry, with its address if that could be read.
    Broken(Problem, Option<Ipv4Addr>),
}

/// Reads a file in pieces of any size.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    isc: Isc,
    dnsmasq: Dnsmasq,
}

impl Reader {
    pub fn new(format: Format) -> Reader {
        Reader { format, isc: Isc::default(), dnsmasq: Dnsmasq::default() }
    }

    /// Reads the next piece, and passes each complete entry to `found`.
    pub fn read(&mut self, piece: &[u8], found: &mut dyn FnMut(Found)) {
        match self.format {
            Format::Isc => self.isc.read(piece, found),
            Format::Dnsmasq => self.dnsmasq.read(piece, found),
        }
    }

    /// Ends the file.
    pub fn end(self, found: &mut dyn FnMut(Found)) {
        match self.format {
            Format::Isc => self.isc.end(found),
            Format::Dnsmasq => self.dnsmasq.end(found),
        }
    }
}

/// Reads bytes as hexadecimal numbers of one or two digits, separated by colons. Returns `None` for anything else, and
/// for more than `most` bytes.
fn colon_hex(text: &[u8], most: usize) -> Option<Vec<u8>> {
    let byte = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        (digits.len() <= 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
    };
    // One byte more than allowed is enough to detect that there are too many.
    let bytes: Vec<u8> = text.split(|c| *c == b':').take(most + 1).map(byte).collect::<Option<_>>()?;
    (bytes.len() <= most).then_some(bytes)
}

/// Parses a value without a sign.
fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?;
    text.parse().ok()
}

/// Returns the Ethernet address, if the hardware is Ethernet.
fn mac_of(hardware_type: u8, hardware: &[u8]) -> Option<MacAddr> {
    hardware.try_into().ok().map(MacAddr).filter(|_| hardware_type == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all entries of `text`, read in pieces of `size` bytes.
    pub(super) fn read(format: Format, text: &[u8], size: usize) -> Vec<Found> {
        let mut all = Vec::new();
        let mut reader = Reader::new(format);
        for piece in text.chunks(size) {
            reader.read(piece, &mut |found| all.push(found));
        }
        reader.end(&mut |found| all.push(found));
        all
    }

    #[test]
    fn the_format_is_guessed_from_the_content() {
        assert_eq!(Format::of(b""), Format::Isc);
        assert_eq!(Format::of(b"# The format of this file\n\nlease 10.0.0.1 {"), Format::Isc);
        assert_eq!(Format::of(b"1700000000 02:00:00:00:00:01 10.0.0.1 * *\n"), Format::Dnsmasq);
        assert_eq!(Format::of(b"\nduid 00:01\n"), Format::Dnsmasq);
    }

    #[test]
    fn hexadecimal_bytes_have_one_or_two_digits() {
        assert_eq!(colon_hex(b"1:fF:00", 3), Some(vec![1, 255, 0]));
        for text in ["", "1::2", "100", "+1", "g1", "1:2:3:4", "1:", "é"] {
            assert_eq!(colon_hex(text.as_bytes(), 3), None, "{text}");
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_entries() {
        let isc = include_bytes!("../../../tests/data/leases/dhcpd.leases");
        let dnsmasq = include_bytes!("../../../tests/data/leases/dnsmasq.leases");
        for (format, text) in [(Format::Isc, &isc[..]), (Format::Dnsmasq, &dnsmasq[..])] {
            assert_eq!(Format::of(text), format);
            let whole = read(format, text, text.len());
            assert!(
                !whole.is_empty() && !whole.iter().any(|found| matches!(found, Found::Broken(..))),
                "{whole:?}"
            );
            for size in 1..70 {
                assert_eq!(read(format, text, size), whole, "{size}");
            }
        }
    }
}
