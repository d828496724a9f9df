//! Reads the lease files of other servers, for users who switch to lanboot: ISC's `dhcpd.leases` and dnsmasq's
//! `dnsmasq.leases`.
//!
//! A file is read in pieces and takes the memory of one entry, whatever it contains. A problem in one entry does not
//! hide the next. `cli/leases/import.rs` drives the [`Reader`] and the [`Import`].

mod dnsmasq;
mod entry;
mod host;
mod intake;
mod isc;
mod lexer;
mod place;
mod values;

use dnsmasq::Dnsmasq;
pub use entry::Found;
pub use host::Host;
pub use intake::{Import, Reservations, Skipped};
use isc::Isc;
pub use place::{Place, Problem};

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
