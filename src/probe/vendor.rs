//! Option 43 as a PXE client reads it (PXE 2.1 table 2-1): boot server discovery and the menu.

use std::fmt;
use std::net::Ipv4Addr;

use super::text::printable;

/// Bit 3 of discovery control: load the named file immediately, without menu or prompt.
const FILE_AT_ONCE: u8 = 8;

/// The items of option 43. Unreadable items are left out.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Vendor {
    /// Discovery control (tag 6).
    pub control: Option<u8>,
    /// Boot servers (tag 8): each type with its addresses.
    pub servers: Vec<(u16, Vec<Ipv4Addr>)>,
    /// The menu (tag 9): the type and text of each item.
    pub menu: Vec<(u16, Vec<u8>)>,
    /// Whether any of the tags 6 to 10 is present: "this is PXE 1.0 or later".
    pub(super) discovers: bool,
    /// Whether any of the tags 1 to 5 is present: multicast TFTP.
    pub(super) mtftp: bool,
}

impl Vendor {
    /// Reads the value of option 43.
    pub(super) fn read(mut value: &[u8]) -> Vendor {
        let mut vendor = Vendor::default();
        loop {
            match value {
                [] | [255, ..] | [_] => return vendor,
                [0, rest @ ..] => value = rest,
                [tag, len, rest @ ..] => {
                    let (item, after) = rest.split_at_checked(usize::from(*len)).unwrap_or((rest, &[]));
                    vendor.take(*tag, item);
                    value = after;
                }
            }
        }
    }

    fn take(&mut self, tag: u8, item: &[u8]) {
        self.discovers |= (6..=10).contains(&tag);
        self.mtftp |= (1..=5).contains(&tag);
        match tag {
            6 => self.control = item.first().copied(),
            8 => self.servers = boot_servers(item),
            9 => self.menu = menu(item),
            _ => {}
        }
    }

    /// Whether to load the named file without a menu.
    pub(super) fn file_at_once(&self) -> bool {
        self.control.is_some_and(|control| control & FILE_AT_ONCE != 0)
    }

    /// Returns the boot servers of one type.
    pub(super) fn servers_of(&self, item: u16) -> &[Ipv4Addr] {
        self.servers.iter().find(|(number, _)| *number == item).map_or(&[], |(_, addresses)| addresses)
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.menu.first() {
            _ if self.file_at_once() => f.write_str("load the file at once"),
            Some((_, text)) => write!(f, "menu of {}, the first is \"{}\"", self.menu.len(), printable(text)),
            None if self.discovers => f.write_str("discover a boot server"),
            None => f.write_str("nothing about booting"),
        }
    }
}

fn boot_servers(mut item: &[u8]) -> Vec<(u16, Vec<Ipv4Addr>)> {
    let mut servers = Vec::new();
    while let [high, low, count, rest @ ..] = item {
        let len = usize::from(*count).saturating_mul(4);
        let Some((addresses, after)) = rest.split_at_checked(len) else { break };
        let addresses = addresses.chunks_exact(4).filter_map(|octets| {
            let octets: [u8; 4] = octets.try_into().ok()?;
            Some(Ipv4Addr::from(octets))
        });
        servers.push((u16::from_be_bytes([*high, *low]), addresses.collect()));
        item = after;
    }
    servers
}

fn menu(mut item: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut entries = Vec::new();
    while let [high, low, len, rest @ ..] = item {
        let Some((text, after)) = rest.split_at_checked(usize::from(*len)) else { break };
        entries.push((u16::from_be_bytes([*high, *low]), text.to_vec()));
        item = after;
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pxe21_table_2_1_servers_menu_and_control_are_read() {
        let value = b"\x06\x01\x03\x08\x0e\x80\x00\x01\x0a\x00\x00\x01\x00\x02\x01\x0a\x00\x00\x02\
                      \x09\x0d\x80\x00\x04Prox\x00\x00\x03Hdd\xff\x00";
        let vendor = Vendor::read(value);
        assert_eq!(vendor.control, Some(3));
        assert_eq!(vendor.servers_of(0x8000), [Ipv4Addr::new(10, 0, 0, 1)]);
        assert!(vendor.servers_of(7).is_empty());
        assert_eq!(vendor.menu, [(0x8000, b"Prox".to_vec()), (0, b"Hdd".to_vec())]);
        assert!(!vendor.file_at_once() && vendor.discovers && !vendor.mtftp);
        assert_eq!(vendor.to_string(), "menu of 2, the first is \"Prox\"");
        assert!(Vendor::read(&[0, 6, 1, 8, 255]).file_at_once());
    }

    #[test]
    fn a_truncated_item_ends_the_reading() {
        for value in [&[][..], &[8], &[255], &[0, 0]] {
            assert_eq!(Vendor::read(value), Vendor::default());
        }
        let cut = Vendor::read(&[8, 20, 0x80, 0, 2, 10, 0, 0, 1]);
        assert!(cut.servers.is_empty() && cut.discovers);
        assert!(Vendor::read(&[9, 5, 0x80, 0, 9, b'x', b'y']).menu.is_empty());
        assert!(Vendor::read(&[1, 4, 1, 2, 3, 4, 255]).mtftp);
    }
}
