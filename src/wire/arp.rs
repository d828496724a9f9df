//! ARP probes and replies, which show whether a machine uses an address (RFC 826, RFC 5227 section 2.1.1).

use std::net::Ipv4Addr;

use crate::types::MacAddr;

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// Hardware type Ethernet, protocol IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];

/// Encodes an ARP probe for `address` as a broadcast Ethernet frame. Its sender address is 0.0.0.0, so that no ARP
/// cache changes.
pub fn probe(from: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    [
        &[0xff; 6][..],
        &from.0,
        &ETHERTYPE_ARP,
        &ETHERNET_IPV4,
        &REQUEST,
        &from.0,
        &[0; 4],
        &[0; 6],
        &address.octets(),
    ]
    .concat()
}

/// Returns the address that the sender of the ARP message in `frame` uses, and its MAC. Returns `None` for other frames
/// and for probes.
pub fn sender_address(frame: &[u8]) -> Option<(Ipv4Addr, MacAddr)> {
    let arp = body(frame)?;
    let mac: [u8; 6] = arp.get(2..8)?.try_into().ok()?;
    let address: [u8; 4] = arp.get(8..12)?.try_into().ok()?;
    (address != [0; 4]).then(|| (Ipv4Addr::from(address), MacAddr(mac)))
}

/// Returns the hardware address in the Ethernet header of an ARP message, which may differ from that in the message,
/// and whether the message is a request.
pub fn sender(frame: &[u8]) -> Option<(MacAddr, bool)> {
    let mac: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    Some((MacAddr(mac), body(frame)?.starts_with(&REQUEST)))
}

fn body(frame: &[u8]) -> Option<&[u8]> {
    frame.get(12..)?.strip_prefix(&ETHERTYPE_ARP)?.strip_prefix(&ETHERNET_IPV4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5227_2_1_1_a_probe_has_no_sender_address() {
        let us = MacAddr([2, 0, 0, 0, 0, 1]);
        let frame = probe(us, Ipv4Addr::new(192, 168, 77, 50));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[38..], [192, 168, 77, 50]);
        assert_eq!(sender_address(&frame), None);
    }

    #[test]
    fn rfc826_the_sender_of_an_answer_uses_its_address() {
        let them = MacAddr([2, 0, 0, 0, 0, 9]);
        let mut answer = probe(them, Ipv4Addr::new(192, 168, 77, 1));
        answer[21] = 2;
        answer[28..32].copy_from_slice(&[192, 168, 77, 50]);
        assert_eq!(sender_address(&answer), Some((Ipv4Addr::new(192, 168, 77, 50), them)));
        for cut in 0..32 {
            assert_eq!(sender_address(&answer[..cut]), None, "{cut}");
        }
        answer[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        assert_eq!(sender(&answer), Some((MacAddr([2, 0, 0, 0, 0, 7]), false)), "the frame's own sender");
        assert_eq!(sender(&probe(them, Ipv4Addr::LOCALHOST)), Some((them, true)));
        (0..20).for_each(|cut| assert_eq!(sender(&answer[..cut]), None, "{cut}"));
    }
}
