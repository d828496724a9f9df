//! Raw access to a reply: fields, and options walked as firmware does, without joining or checks.

use std::net::Ipv4Addr;

use crate::wire::dhcp::{BOOTREPLY, COOKIE, HEADER_LEN, until_nul};

/// The offset of the options, after the header and the cookie.
pub(super) const OPTIONS: usize = HEADER_LEN.saturating_add(COOKIE.len());
/// The offset of `sname`.
pub(super) const SNAME: usize = 44;
/// The offset of `file`.
pub(super) const FILE: usize = 108;
const END: u8 = 255;

/// A reply that has at least the fixed header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a>(pub(super) &'a [u8]);

impl<'a> Packet<'a> {
    /// Returns `None` for packets that no client takes for a reply: too short, or a request.
    pub(super) fn new(payload: &'a [u8]) -> Option<Packet<'a>> {
        let is_reply = payload.len() >= HEADER_LEN && payload.first() == Some(&BOOTREPLY);
        is_reply.then_some(Packet(payload))
    }

    pub(super) fn yiaddr(self) -> Ipv4Addr {
        address_at(self.0, 16).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    pub(super) fn siaddr(self) -> Ipv4Addr {
        address_at(self.0, 20).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    pub(super) fn hops(self) -> u8 {
        self.0.get(3).copied().unwrap_or(0)
    }

    /// Returns the 64 bytes of the server name field, whatever they contain.
    pub(super) fn sname(self) -> &'a [u8] {
        self.0.get(SNAME..FILE).unwrap_or_default()
    }

    /// Returns the 128 bytes of the boot file field, whatever they contain.
    pub(super) fn file(self) -> &'a [u8] {
        self.0.get(FILE..HEADER_LEN).unwrap_or_default()
    }

    /// Whether the cookie is at the beginning of the options.
    pub(super) fn has_cookie(self) -> bool {
        self.0.get(HEADER_LEN..OPTIONS) == Some(&COOKIE[..])
    }

    /// Returns the bytes after the cookie; empty in a shorter reply.
    pub(super) fn options(self) -> &'a [u8] {
        self.0.get(OPTIONS..).unwrap_or_default()
    }

    /// Returns the first option `code` before END or the first truncated option.
    pub(super) fn first(self, code: u8) -> Option<&'a [u8]> {
        first(self.options(), code)
    }

    /// Returns the first option `code` if it is one address.
    pub(super) fn address(self, code: u8) -> Option<Ipv4Addr> {
        self.first(code).and_then(|value| address_at(value, 0))
    }
}

/// One option in an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found<'a> {
    pub(super) code: u8,
    /// The offset of its value in the area.
    pub(super) start: usize,
    pub(super) value: &'a [u8],
}

/// The end of a walk over an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// At END.
    Marked,
    /// At the end of the area, after a complete option.
    Missing,
    /// In the middle of an option.
    Cut,
}

/// Returns the options of an area in order, and how the walk ended.
pub(super) fn walk(area: &[u8]) -> (Vec<Found<'_>>, End) {
    let mut found = Vec::new();
    let mut rest = area;
    loop {
        match rest {
            [] => return (found, End::Missing),
            [END, ..] => return (found, End::Marked),
            [0, tail @ ..] => rest = tail,
            [_] => return (found, End::Cut),
            [code, len, tail @ ..] => {
                let Some((value, after)) = tail.split_at_checked(usize::from(*len)) else {
                    return (found, End::Cut);
                };
                found.push(Found { code: *code, start: area.len().saturating_sub(tail.len()), value });
                rest = after;
            }
        }
    }
}

/// Returns the value of the first option `code` of an area.
pub(super) fn first(area: &[u8], code: u8) -> Option<&[u8]> {
    walk(area).0.into_iter().find(|option| option.code == code).map(|option| option.value)
}

/// Reads an address from four bytes of `bytes` at `at`.
pub(super) fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

/// Parses `text` up to its NUL as a dotted quad.
pub(super) fn dotted_quad(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(until_nul(text)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_says_how_the_options_end() {
        let codes = |area| walk(area).0.iter().map(|option| option.code).collect::<Vec<_>>();
        assert_eq!((codes(&[0, 53, 1, 2, 255, 9]), walk(&[0, 53, 1, 2, 255, 9]).1), (vec![53], End::Marked));
        assert_eq!(walk(&[53, 1, 2]).1, End::Missing);
        assert_eq!((codes(&[53, 1, 2, 54, 4, 1]), walk(&[53, 1, 2, 54, 4, 1]).1), (vec![53], End::Cut));
        assert_eq!(walk(&[54]).1, End::Cut);
        let (found, _) = walk(&[0, 66, 2, 7, 8, 255]);
        assert_eq!((found[0].start, found[0].value), (3, &[7, 8][..]));
    }
}
