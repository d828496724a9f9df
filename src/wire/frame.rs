//! Ethernet, IPv4 and UDP headers: of a reply to a client that has no address yet and so cannot answer ARP, and of what
//! is heard on the wire.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::types::MacAddr;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_UDP: u8 = 17;
const IP_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;

/// The Ethernet frame that carries `payload` from `source` to `destination` between the given hardware addresses; see
/// [`udp_packet`].
pub fn udp_frame(
    from: MacAddr,
    to: MacAddr,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let packet = udp_packet(source, destination, payload)?;
    Some([&to.0[..], &from.0, &ETHERTYPE_IPV4, &packet].concat())
}

/// The IPv4 datagram that carries `payload` from `source` to `destination`.
///
/// The don't-fragment bit is off (it confuses some boot ROMs) and the UDP checksum is there. `None` when the payload
/// does not fit an IPv4 datagram.
pub fn udp_packet(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
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
    Some([&ip[..], &udp, payload].concat())
}

/// A UDP datagram as it stands in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// The hardware address that sent the frame.
    pub from: MacAddr,
    /// Address and port that it came from.
    pub source: SocketAddrV4,
    /// Address and port that it went to.
    pub destination: SocketAddrV4,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Reads an Ethernet frame that carries a whole UDP datagram; `None` for anything else, and where a length says more
/// than there is (RFC 791 section 3.1, RFC 768).
///
/// The UDP checksum is not looked at: of what another program on this machine sent, nobody has filled it in yet.
pub fn udp_datagram(frame: &[u8]) -> Option<Datagram<'_>> {
    let (_, rest) = frame.split_first_chunk::<6>()?;
    let (from, rest) = rest.split_first_chunk::<6>()?;
    let ip = rest.strip_prefix(&ETHERTYPE_IPV4)?;
    let [version_and_len, _, high, low, _, _, fragment_high, fragment_low, _, protocol, ..] = *ip else {
        return None;
    };
    let header_len = usize::from(version_and_len & 0xf).checked_mul(4)?;
    let total = usize::from(u16::from_be_bytes([high, low]));
    let (header, data) = ip.get(..total)?.split_at_checked(header_len)?;
    let is_whole = u16::from_be_bytes([fragment_high, fragment_low]) & 0x3fff == 0;
    let is_sound = version_and_len >> 4 == 4 && header_len >= IP_HEADER_LEN && checksum(&[header]) == 0;
    if !is_sound || !is_whole || protocol != PROTOCOL_UDP {
        return None;
    }
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = header.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let (ports, rest) = data.split_first_chunk::<4>()?;
    let [source_high, source_low, to_high, to_low] = *ports;
    let (lengths, _) = rest.split_first_chunk::<4>()?;
    let [len_high, len_low, ..] = *lengths;
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    Some(Datagram {
        from: MacAddr(*from),
        source: SocketAddrV4::new(address(12)?, u16::from_be_bytes([source_high, source_low])),
        destination: SocketAddrV4::new(address(16)?, u16::from_be_bytes([to_high, to_low])),
        payload: data.get(UDP_HEADER_LEN..len)?,
    })
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
    use proptest::prelude::*;

    const SOURCE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 77, 1), 67);
    const DESTINATION: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 68);
    const FROM: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

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

    fn frame(payload: &[u8]) -> Vec<u8> {
        udp_frame(FROM, MacAddr([0xff; 6]), SOURCE, DESTINATION, payload).unwrap()
    }

    /// The frame with byte `at` of its IP header set, and a checksum that fits.
    fn changed(at: usize, value: u8) -> Vec<u8> {
        let mut frame = frame(b"payload");
        frame[14..34][at] = value;
        frame[24..26].fill(0);
        let sum = checksum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn what_is_written_is_read() {
        for payload in [&b""[..], b"payload"] {
            let mut bytes = frame(payload);
            let expected = Datagram { from: FROM, source: SOURCE, destination: DESTINATION, payload };
            assert_eq!(udp_datagram(&bytes), Some(expected));
            bytes.extend_from_slice(&[0; 30]);
            assert_eq!(udp_datagram(&bytes), Some(expected), "Ethernet pads short frames");
        }
    }

    #[test]
    fn d_10_lengths_that_lie_fragments_and_other_protocols_are_not_read() {
        assert!(udp_datagram(&changed(1, 0)).is_some(), "the changes themselves do no harm");
        for (at, value, what) in [
            (0, 0x65, "version 6"),
            (0, 0x44, "a header of 16 bytes"),
            (0, 0x4f, "options that are not there"),
            (3, 255, "a total length beyond the frame"),
            (3, 19, "a total length within the header"),
            (3, 27, "no room for the UDP header"),
            (6, 0x20, "more fragments"),
            (7, 1, "not the first fragment"),
            (9, 6, "TCP"),
        ] {
            assert_eq!(udp_datagram(&changed(at, value)), None, "{what}");
        }
        assert_eq!(udp_datagram(&changed(6, 0x40)).map(|datagram| datagram.payload), Some(&b"payload"[..]));
        for len in [0, 7, 16, 255] {
            let mut lie = frame(b"payload");
            lie[14 + 20 + 5] = len;
            assert_eq!(udp_datagram(&lie), None, "UDP length {len}");
        }
        let mut damaged = frame(b"payload");
        damaged[14 + 8] ^= 1;
        assert_eq!(udp_datagram(&damaged), None, "its checksum does not fit");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = udp_datagram(&bytes);
            let mut frame = frame(&bytes);
            frame.truncate(bytes.len());
            let _ = udp_datagram(&frame);
        }
    }
}
