//! Questions of machines by IPv6, which lanboot does not serve. Firmware that refuses a boot loader asks by IPv6 at once, with
//! its next boot entry. Only the capture hears that.

use std::collections::VecDeque;

use crate::types::{MacAddr, Timestamp};
use crate::wire::packet::hardware;

/// Offsets in an Ethernet frame with an IPv6 header (RFC 8200 section 3) and without extension headers.
pub const NEXT_HEADER: u32 = 20;
pub const DESTINATION: u32 = 38;
pub const ICMP_TYPE: u32 = 54;
pub const TO_PORT: u32 = 56;
pub const DHCP_MESSAGE: u32 = 62;
const ETHERTYPE: u32 = 12;

/// The first byte of multicast addresses.
pub const MULTICAST: u8 = 0xff;
pub const ICMP: u8 = 58;
pub const UDP: u8 = 17;
/// RFC 4861 section 4.1.
pub const ROUTER_SOLICITATION: u8 = 133;
/// RFC 8415 sections 7.2 and 7.3.
pub const DHCP_SERVER: u16 = 547;
pub const SOLICIT: u8 = 1;

/// Maximum number of questions that wait to be judged. Further ones are not.
pub const MAX_WAITING: usize = 256;
/// A question that follows another one of its machine within this time is one with it, in milliseconds.
const ONE_QUESTION: u64 = 100;

/// The machine that asks for a router or an address in this frame. `None` for any other frame.
pub fn asks(frame: &[u8]) -> Option<MacAddr> {
    let bytes = |at: u32, len: usize| frame.get(usize::try_from(at).ok()?..)?.get(..len);
    let byte = |at: u32| bytes(at, 1)?.first().copied();
    if bytes(ETHERTYPE, 2)? != [0x86, 0xdd] || byte(DESTINATION)? != MULTICAST {
        return None;
    }
    let is_question = match byte(NEXT_HEADER)? {
        ICMP => byte(ICMP_TYPE)? == ROUTER_SOLICITATION,
        UDP => bytes(TO_PORT, 2)? == DHCP_SERVER.to_be_bytes() && byte(DHCP_MESSAGE)? == SOLICIT,
        _ => false,
    };
    let (_, from) = hardware(frame)?;
    is_question.then_some(from)
}

/// The questions by IPv6 that wait until the journeys know what came before them.
#[derive(Debug, Default)]
pub struct WaitingIpv6(VecDeque<(Timestamp, MacAddr)>);

impl WaitingIpv6 {
    /// Adds a question. Returns whether there was room.
    pub fn push(&mut self, mac: MacAddr, at: Timestamp) -> bool {
        let newest = self.0.iter().rev().find(|(_, other)| *other == mac);
        if newest.is_some_and(|(before, _)| at.0.abs_diff(before.0) < ONE_QUESTION) {
            return true;
        }
        let has_room = self.0.len() < MAX_WAITING;
        if has_room {
            self.0.push_back((at, mac));
        }
        has_room
    }

    /// Removes and returns the questions from before `until`.
    pub fn from_before(&mut self, until: Timestamp) -> Vec<(Timestamp, MacAddr)> {
        let count = self.0.iter().take_while(|(at, _)| *at < until).count();
        self.0.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 1, 2, 3]);

    /// A frame from [`MAC`] to a multicast address, with this next header and payload.
    fn frame(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[..6].copy_from_slice(&[0x33, 0x33, 0, 1, 0, 2]);
        frame[6..12].copy_from_slice(&MAC.0);
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        (frame[14], frame[20], frame[38]) = (0x60, next_header, 0xff);
        [frame, payload.to_vec()].concat()
    }

    #[test]
    fn only_questions_are_found() {
        assert_eq!(asks(&frame(ICMP, &[ROUTER_SOLICITATION, 0, 0, 0])), Some(MAC));
        assert_eq!(asks(&frame(UDP, &[2, 34, 2, 35, 0, 12, 0, 0, SOLICIT])), Some(MAC));
        assert_eq!(asks(&frame(UDP, &[2, 34, 2, 35, 0, 12, 0, 0])), None, "cut");
        assert_eq!(asks(&frame(6, &[ROUTER_SOLICITATION; 20])), None);
    }

    #[test]
    fn the_questions_that_wait_are_bounded() {
        let mut waiting = WaitingIpv6::default();
        for at in [10, 20, 300] {
            assert!(waiting.push(MAC, Timestamp(at)));
        }
        assert_eq!(waiting.from_before(Timestamp(300)), [(Timestamp(10), MAC)]);
        assert_eq!(waiting.from_before(Timestamp(301)), [(Timestamp(300), MAC)]);
        let mac = |n: usize| MacAddr([2, 0, 0, 0, (n >> 8) as u8, n as u8]);
        let fits = (0..300).filter(|n| waiting.push(mac(*n), Timestamp(1))).count();
        assert_eq!(fits, MAX_WAITING);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            _ = asks(&bytes);
            _ = asks(&frame(UDP, &bytes));
        }
    }
}
