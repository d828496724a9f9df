//! Option 43 as PXE 2.1 defines it: discovery control, boot servers, menu and prompt (section 2.2, table 2-1).

use std::net::Ipv4Addr;

use super::packet::address_at;

/// The items of option 43 that decide a machine's reaction.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Menu {
    /// The numbers of all items, whatever their lengths.
    pub(super) items: Vec<u8>,
    /// Suboption 6.
    pub(super) control: u8,
    /// Suboption 7: the multicast address of boot servers.
    pub(super) multicast: Option<Ipv4Addr>,
    /// Suboption 8: boot servers by type.
    pub(super) servers: Vec<(u16, Vec<Ipv4Addr>)>,
    /// Suboption 9: the types in the order of the menu.
    pub(super) choices: Vec<u16>,
    /// Suboption 10: the timeout of the prompt in seconds; 0 is immediately, 255 never.
    pub(super) timeout: Option<u8>,
    /// Suboption 71: the item that an answer is for.
    pub(super) item: Option<u16>,
}

/// Discovery control, bit 0: do not broadcast.
const NO_BROADCAST: u8 = 1;
/// Bit 1: do not multicast.
const NO_MULTICAST: u8 = 2;
/// Bit 2: accept only answers of servers in the list.
const ONLY_LISTED: u8 = 4;
/// Bit 3: load the boot file if there is one, without prompt, menu or request.
const BOOT_FILE_AT_ONCE: u8 = 8;

/// The type of the item for the local disk.
pub(super) const LOCAL: u16 = 0;

impl Menu {
    /// Reads the items of option 43 up to the first malformed one.
    pub(super) fn read(value: &[u8]) -> Menu {
        let mut menu = Menu::default();
        let mut rest = value;
        loop {
            match rest {
                [] | [255, ..] | [_] => return menu,
                [0, tail @ ..] => rest = tail,
                [code, len, tail @ ..] => {
                    let len = usize::from(*len);
                    let value = tail.get(..len).unwrap_or(tail);
                    menu.take(*code, value);
                    rest = tail.get(len..).unwrap_or_default();
                }
            }
        }
    }

    fn take(&mut self, code: u8, value: &[u8]) {
        self.items.push(code);
        match code {
            6 => self.control = value.first().copied().unwrap_or(0),
            7 => self.multicast = address_at(value, 0),
            8 => self.servers = servers(value),
            9 => self.choices = choices(value),
            10 => self.timeout = value.first().copied(),
            71 => self.item = number_at(value),
            _ => {}
        }
    }

    /// Whether any of the items 6 to 10 is present, which makes a PXE offer for EDK2.
    pub(super) fn discovers(&self) -> bool {
        self.items.iter().any(|item| (6..=10).contains(item))
    }

    /// Whether all of the multicast TFTP items 1 to 5 are present.
    pub(super) fn is_mtftp(&self) -> bool {
        (1..=5).all(|item| self.items.contains(&item))
    }

    pub(super) fn has(&self, item: u8) -> bool {
        self.items.contains(&item)
    }

    pub(super) fn boots_file_at_once(&self) -> bool {
        self.control & BOOT_FILE_AT_ONCE != 0
    }

    pub(super) fn may_broadcast(&self) -> bool {
        self.control & NO_BROADCAST == 0
    }

    pub(super) fn may_multicast(&self) -> bool {
        self.control & NO_MULTICAST == 0
    }

    pub(super) fn only_listed(&self) -> bool {
        self.control & ONLY_LISTED != 0
    }

    /// Returns the boot servers of a type.
    pub(super) fn servers_of(&self, kind: u16) -> impl Iterator<Item = Ipv4Addr> {
        self.servers
            .iter()
            .filter(move |(of, _)| *of == kind)
            .flat_map(|(_, servers)| servers.iter().copied())
    }
}

/// Reads repeated groups of type, number of addresses, and addresses.
fn servers(mut rest: &[u8]) -> Vec<(u16, Vec<Ipv4Addr>)> {
    let mut found = Vec::new();
    while let [high, low, count, tail @ ..] = rest {
        let len = usize::from(*count).saturating_mul(4);
        let Some((addresses, after)) = tail.split_at_checked(len) else { break };
        let addresses = addresses.chunks_exact(4).filter_map(|octets| address_at(octets, 0)).collect();
        found.push((u16::from_be_bytes([*high, *low]), addresses));
        rest = after;
    }
    found
}

/// Reads repeated groups of type, length of the text, and text. Returns only the types.
fn choices(mut rest: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while let [high, low, len, tail @ ..] = rest {
        let Some(after) = tail.get(usize::from(*len)..) else { break };
        found.push(u16::from_be_bytes([*high, *low]));
        rest = after;
    }
    found
}

fn number_at(value: &[u8]) -> Option<u16> {
    let [high, low, ..] = value else { return None };
    Some(u16::from_be_bytes([*high, *low]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pxe::RASPBERRY_PI_MENU;

    #[test]
    fn pxe21_2_2_items_are_read_as_far_as_they_go() {
        let menu = Menu::read(&[
            6, 1, 11, 8, 7, 0, 1, 1, 10, 0, 0, 9, 9, 5, 0, 1, 2, b'h', b'i', 10, 3, 0, b'h', b'i', 255,
        ]);
        assert_eq!((menu.control, menu.timeout), (11, Some(0)));
        assert_eq!(menu.choices, [1]);
        assert_eq!(menu.servers_of(1).collect::<Vec<_>>(), [Ipv4Addr::new(10, 0, 0, 9)]);
        assert_eq!(menu.servers_of(2).count(), 0);
        assert!(menu.boots_file_at_once() && !menu.may_broadcast() && !menu.may_multicast());
        assert!(!menu.only_listed() && menu.discovers() && !menu.is_mtftp());
        assert!(Menu::read(&[1, 4, 0, 0, 0, 0, 2, 2, 0, 0, 3, 2, 0, 0, 4, 1, 0, 5, 1, 0, 255]).is_mtftp());
        let pi = Menu::read(RASPBERRY_PI_MENU);
        assert_eq!((pi.control, pi.choices.as_slice(), pi.timeout), (3, &[0][..], Some(0)));
        for cut in [&[][..], &[9], &[8, 200, 0], &[255, 6, 1, 8]] {
            assert!(Menu::read(cut).choices.is_empty());
        }
    }
}
