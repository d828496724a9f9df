//! Ethernet, IPv4 and UDP headers for a reply to a client that has no address yet and so cannot answer ARP.

use std::net::SocketAddrV4;

use crate::types::MacAddr;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_UDP: u8 = 17;
const IP_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;

/// The Ethernet frame that carries `payload` from `source` to `destination` between the given hardware addresses.
///
/// The don't-fragment bit is off (it confuses some boot ROMs) and the UDP checksum is there. `None` when the payload
/// does not fit an IPv4 datagram.
pub fn udp_frame(
    from: MacAddr,
    to: MacAddr,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let udp_len = u16::try_from(payload.len().checked_add(UDP_HEADER_LEN)?).ok()?;
    let ip_len = udp_len.checked_add(20)?;
    let mut ip = Vec::with_capacity(IP_HEADER_LEN);
    ip.extend_from_slice(&[0x45, 0]);
    ip.extend_from_slice(&ip_len.to_be_bytes());
    ip.extend_from_slice(&[0, 0, 0, 0, 64, PROTOCOL_UDP, 0, 0]);
    ip.extend_from_slice(&source.ip().octets());
    ip.extend_from_slice(&destination.ip().octets());
    let ip_checksum = checksum(&[&ip]);
    ip.get_mut(10..12)?.copy_from_slice(&ip_checksum.to_be_bytes());

    let mut udp = Vec::with_capacity(UDP_HEADER_LEN);
    for field in [source.port(), destination.port(), udp_len, 0] {
        udp.extend_from_slice(&field.to_be_bytes());
    }
    let mut pseudo = Vec::with_capacity(12);
    pseudo.extend_from_slice(&source.ip().octets());
    pseudo.extend_from_slice(&destination.ip().octets());
    pseudo.extend_from_slice(&[0, PROTOCOL_UDP]);
    pseudo.extend_from_slice(&udp_len.to_be_bytes());
    // RFC 768: a checksum of zero is sent as all ones; zero means none.
    let udp_checksum = match checksum(&[&pseudo, &udp, payload]) {
        0 => u16::MAX,
        sum => sum,
    };
    udp.get_mut(6..8)?.copy_from_slice(&udp_checksum.to_be_bytes());

    Some([&to.0[..], &from.0, &ETHERTYPE_IPV4, &ip, &udp, payload].concat())
}

/// The Internet checksum (RFC 1071) of the parts one after another; all but the last have an even length.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let word = match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            [high] => u16::from_be_bytes([*high, 0]),
            _ => 0,
        };
        sum = sum.wrapping_add(u64::from(word));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn rfc1071_the_checksums_add_up_and_nothing_is_out_of_place() {
        let source = SocketAddrV4::new(Ipv4Addr::new(192, 168, 77, 1), 67);
        let destination = SocketAddrV4::new(Ipv4Addr::new(192, 168, 77, 50), 68);
        let (from, to) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        for payload in [&b"odd"[..], b"even", b""] {
            let frame = udp_frame(from, to, source, destination, payload).unwrap();
            assert_eq!(frame.len(), 14 + 20 + 8 + payload.len());
            assert_eq!(frame[..6], to.0);
            assert_eq!(frame[6..12], from.0);
            let (ip, udp) = frame[14..].split_at(20);
            assert_eq!(checksum(&[ip]), 0);
            assert_eq!(ip[6] & 0x40, 0, "don't-fragment is off");
            let len = u16::try_from(udp.len()).unwrap().to_be_bytes();
            let pseudo = [&ip[12..20], &[0, 17], &len].concat();
            assert_eq!(checksum(&[&pseudo, udp]), 0);
            assert_eq!(&udp[8..], payload);
        }
        assert_eq!(udp_frame(from, to, source, destination, &[0; 65508]), None);
    }
}
