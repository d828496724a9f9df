//! Reads dnsmasq's `dnsmasq.leases`: one line `EXPIRY MAC ADDRESS NAME CLIENT-ID` per lease. IPv6 leases follow a line
//! `duid …` (`lease_update_file` in dnsmasq's `lease.c`).

use std::net::Ipv4Addr;

use crate::lease::binding::{FOREVER, Holder, Lease, State};
use crate::lease::import::entry::Found;
use crate::lease::import::place::{Place, Problem};
use crate::lease::import::values::{MAX_CLIENT_ID, colon_hex, mac_of, parse};
use crate::types::{ClientId, Escaped, HardwareAddr, Timestamp};

/// The number of bytes kept of a line. dnsmasq reads names of 255 bytes and client identifiers of 764.
const MAX_LINE: usize = 2048;
/// The hardware type of Ethernet, which dnsmasq leaves out.
const ETHERNET: u8 = 1;

/// A reader of `dnsmasq.leases`.
#[derive(Debug)]
pub(super) struct Dnsmasq {
    line: Vec<u8>,
    is_too_long: bool,
    number: u64,
    /// Whether the IPv6 leases have begun.
    is_ipv6: bool,
}

impl Default for Dnsmasq {
    fn default() -> Dnsmasq {
        Dnsmasq { line: Vec::new(), is_too_long: false, number: 1, is_ipv6: false }
    }
}

impl Dnsmasq {
    pub fn read(&mut self, piece: &[u8], found: &mut dyn FnMut(Found)) {
        for byte in piece {
            if *byte == b'\n' {
                self.end_line(found);
            } else if self.line.len() < MAX_LINE {
                self.line.push(*byte);
            } else {
                self.is_too_long = true;
            }
        }
    }

    pub fn end(mut self, found: &mut dyn FnMut(Found)) {
        self.end_line(found);
    }

    fn end_line(&mut self, found: &mut dyn FnMut(Found)) {
        let fields = fields(&self.line);
        match fields.as_slice() {
            [] => {}
            [(_, b"duid"), ..] => self.is_ipv6 = true,
            _ if self.is_ipv6 => found(Found::Ipv6),
            fields => {
                let read = if self.is_too_long {
                    Err((MAX_LINE, format!("expected a line of at most {MAX_LINE} bytes")))
                } else {
                    lease(fields, self.line.len())
                };
                found(match read {
                    Ok(lease) => Found::Entry(lease.address, Some(lease)),
                    Err((offset, message)) => {
                        let column = u64::try_from(offset).unwrap_or(u64::MAX).saturating_add(1);
                        let place = Place { line: self.number, column };
                        Found::Broken(Problem { place, message }, address(fields))
                    }
                });
            }
        }
        self.number = self.number.saturating_add(1);
        self.line.clear();
        self.is_too_long = false;
    }
}

/// Splits a line into words, each with its offset.
fn fields(line: &[u8]) -> Vec<(usize, &[u8])> {
    let mut fields = Vec::new();
    let mut offset = 0;
    for word in line.split(u8::is_ascii_whitespace) {
        if !word.is_empty() {
            fields.push((offset, word));
        }
        offset += word.len() + 1;
    }
    fields
}

fn address(fields: &[(usize, &[u8])]) -> Option<Ipv4Addr> {
    fields.get(2).and_then(|(_, word)| parse(word))
}

/// Reads the lease in a line of `length` bytes. An error has the offset of the problem.
fn lease(fields: &[(usize, &[u8])], length: usize) -> Result<Lease, (usize, String)> {
    let expected = |place: usize, what: &str| {
        let (offset, got) = fields.get(place).copied().unwrap_or((length, b"the end of the line"));
        (offset, format!("expected {what}, not `{}`", Escaped(got)))
    };
    let field = |place: usize| fields.get(place).map_or(&b""[..], |(_, word)| word);
    let until: u64 =
        parse(field(0)).ok_or_else(|| expected(0, "the end of the lease in seconds since 1970, or 0"))?;
    let (hardware_type, hardware) =
        hardware(field(1)).ok_or_else(|| expected(1, "a hardware address like 52:54:00:12:34:56"))?;
    let address = address(fields).ok_or_else(|| expected(2, "an IPv4 address"))?;
    if fields.len() < 4 {
        return Err(expected(3, "the client's name, or `*`"));
    }
    let id =
        match fields.get(4) {
            None | Some((_, b"*")) => None,
            Some((_, id)) => Some(colon_hex(id, MAX_CLIENT_ID).ok_or_else(|| {
                expected(4, "a client identifier of at most 255 bytes like 01:52:54, or `*`")
            })?),
        };
    if fields.len() > 5 {
        return Err(expected(5, "the end of the line"));
    }
    let client = ClientId::new(hardware_type, hardware.as_bytes(), id.as_deref())
        .ok_or_else(|| expected(1, "a hardware address where there is no client identifier"))?;
    let mac = mac_of(hardware_type, hardware.as_bytes());
    Ok(Lease {
        address,
        holder: Holder { client, mac, is_boot_stage: false },
        hardware,
        state: State::Leased,
        // 0 means a lease without end.
        until: if until == 0 { FOREVER } else { Timestamp::from_seconds(until).min(FOREVER) },
    })
}

/// Reads `52:54:00:12:34:56`, or with a type other than Ethernet's before it: `06-52:54:00:12:34:56`.
fn hardware(text: &[u8]) -> Option<(u8, HardwareAddr)> {
    let (kind, address) = match text {
        [_, _, b'-', address @ ..] => (*colon_hex(text.get(..2)?, 1)?.first()?, address),
        _ => (ETHERNET, text),
    };
    let address = if address.is_empty() { Vec::new() } else { colon_hex(address, 16)? };
    (kind != ETHERNET || !address.is_empty()).then_some((kind, HardwareAddr::new(&address)?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::super::{Format, Found};
    use super::*;
    use crate::types::MacAddr;

    fn one(line: &str) -> Found {
        let mut all = read(Format::Dnsmasq, line.as_bytes(), 64);
        assert_eq!(all.len(), 1, "{line}: {all:?}");
        all.remove(0)
    }

    fn lease(line: &str) -> Lease {
        match one(line) {
            Found::Entry(_, Some(lease)) => lease,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_is_a_lease() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let plain = lease("1700000000 02:00:00:00:00:01 10.0.0.1 node1 01:02:00:00:00:00:01\r\n");
        assert_eq!(
            (plain.address, plain.until),
            (Ipv4Addr::new(10, 0, 0, 1), Timestamp::from_seconds(1_700_000_000))
        );
        assert_eq!(
            plain.holder,
            Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false }
        );
        assert_eq!(lease("0 02:00:00:00:00:01 10.0.0.1 * *").until, FOREVER);
        let other = lease("0 02:00:00:00:00:01 10.0.0.1 * ff:00:01");
        assert_eq!(other.holder.client.as_bytes(), [255, 0, 1]);
        let ring = lease("0 06-02:00:00:00:00:01 10.0.0.1 * *");
        assert_eq!((ring.holder.client.as_bytes(), ring.holder.mac), (&[6, 2, 0, 0, 0, 0, 1][..], None));
        assert_eq!(lease("0 00- 10.0.0.1 * ff:00:01").hardware.as_bytes(), b"");
    }

    #[test]
    fn problems_have_their_place() {
        for (line, expected) in [
            ("now 02:00:00:00:00:01 10.0.0.1 * *", "1:1: expected the end of the lease in seconds"),
            ("1 02:00:00:00:00:0g 10.0.0.1 * *", "1:3: expected a hardware address like"),
            ("1 02:00:00:00:00:01 10.0.0.256 * *", "1:21: expected an IPv4 address"),
            ("1 02:00:00:00:00:01 10.0.0.1", "1:29: expected the client's name, or `*`, not `the end"),
            ("1 02:00:00:00:00:01 10.0.0.1 * x", "1:32: expected a client identifier"),
            ("1 02:00:00:00:00:01 10.0.0.1 * * *", "1:34: expected the end of the line"),
            ("1 00- 10.0.0.1 * *", "1:3: expected a hardware address where there is no client identifier"),
        ] {
            let Found::Broken(problem, _) = one(line) else { panic!("{line} is sound") };
            assert!(problem.to_string().starts_with(expected), "{problem}");
        }
        let long = format!("1 02:00:00:00:00:01 10.0.0.1 * {}", "ab:".repeat(100_000));
        let Found::Broken(problem, Some(_)) = one(&long) else { panic!() };
        assert_eq!(problem.to_string(), "1:2049: expected a line of at most 2048 bytes");
    }

    #[test]
    fn leases_of_ipv6_follow_the_duid() {
        let all = read(
            Format::Dnsmasq,
            b"0 02:00:00:00:00:01 10.0.0.1 * *\nduid 00:01\n0 1 fd00::1 * 00:01\n0 2 fd00::2 * 00:02\n",
            64,
        );
        assert!(matches!(&all[..], [Found::Entry(..), Found::Ipv6, Found::Ipv6]), "{all:?}");
    }
}
