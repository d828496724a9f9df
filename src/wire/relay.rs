//! Option 82, Relay Agent Information, and its suboptions (RFC 3046).

use std::net::Ipv4Addr;

use crate::wire::dhcp::Options;
use crate::wire::option::code;

/// Agent Circuit ID (RFC 3046 section 3.1): the port of the client.
pub const CIRCUIT_ID: u8 = 1;
/// Agent Remote ID (RFC 3046 section 3.2): the remote host at that port.
pub const REMOTE_ID: u8 = 2;
/// Link Selection (RFC 3527): the subnet of the client, if it differs from that of `giaddr`.
pub const LINK_SELECTION: u8 = 5;
/// Server Identifier Override (RFC 5107): the relay agent's address, which clients must use as the server's address.
pub const SERVER_OVERRIDE: u8 = 11;

/// Returns the first suboption `wanted` of option 82; `None` if it is absent or follows a truncated one.
pub fn suboption(options: &Options, wanted: u8) -> Option<&[u8]> {
    let mut rest = options.get(code::RELAY_AGENT_INFORMATION)?;
    while let [number, len, tail @ ..] = rest {
        let (value, next) = tail.split_at_checked(usize::from(*len))?;
        if *number == wanted {
            return Some(value);
        }
        rest = next;
    }
    None
}

/// Returns suboption `wanted` of option 82 as an address; `None` unless it has four bytes and is not 0.0.0.0.
pub fn address(options: &Options, wanted: u8) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = suboption(options, wanted)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(value: &[u8]) -> Options {
        let mut options = Options::default();
        options.push(82, value);
        options
    }

    #[test]
    fn rfc3046_2_0_suboptions_are_found_by_their_number() {
        let options = options(&[1, 2, b'g', b'1', 5, 4, 10, 0, 1, 0, 2, 0, 11, 4, 0, 0, 0, 0]);
        assert_eq!(suboption(&options, CIRCUIT_ID), Some(&b"g1"[..]));
        assert_eq!(suboption(&options, REMOTE_ID), Some(&[][..]));
        assert_eq!(suboption(&options, 151), None);
        assert_eq!(address(&options, LINK_SELECTION), Some(Ipv4Addr::new(10, 0, 1, 0)));
        assert_eq!(address(&options, SERVER_OVERRIDE), None, "0.0.0.0 is no server");
        assert_eq!(address(&options, CIRCUIT_ID), None);
    }

    #[test]
    fn a_suboption_that_is_cut_short_ends_the_search() {
        for value in [&[1, 3, b'g', b'1'][..], &[2, 9, 1, 1, b'x'], &[1], &[]] {
            assert_eq!(suboption(&options(value), CIRCUIT_ID), None, "{value:?}");
        }
        assert_eq!(suboption(&Options::default(), CIRCUIT_ID), None);
    }
}
