//! Ethernet, IPv4 and UDP headers. The server writes them for clients that have no address yet and cannot answer ARP.
//! It reads them from captured frames.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::types::MacAddr;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_UDP: u8 = 17;
const ETHERNET_HEADER_LEN: usize = 14;
const IP_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;

/// Encodes an Ethernet frame with `payload` from `source` to `destination` between the given hardware addresses; see
/// [`udp_packet`].
pub fn udp_frame(
    from: MacAddr,
    to: MacAddr,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
) -> Option<Vec<u8>> {
    Some([&udp_frame_headers(from, to, source, destination, payload)?[..], payload].concat())
}

/// The length of the Ethernet, IPv4 and UDP headers in bytes.
pub const HEADERS_LEN: usize = ETHERNET_HEADER_LEN + UDP_PACKET_HEADERS_LEN;
const UDP_PACKET_HEADERS_LEN: usize = IP_HEADER_LEN + UDP_HEADER_LEN;

/// Encodes the headers of an Ethernet frame with `payload` from `source` to `destination` between the given hardware
/// addresses. The payload itself is not appended; see [`udp_packet`].
pub fn udp_frame_headers(
    from: MacAddr,
    to: MacAddr,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
) -> Option<[u8; HEADERS_LEN]> {
    let mut headers = [0; HEADERS_LEN];
    let (ethernet, packet) = headers.split_first_chunk_mut::<ETHERNET_HEADER_LEN>()?;
    let [d0, d1, d2, d3, d4, d5] = to.0;
    let [s0, s1, s2, s3, s4, s5] = from.0;
    let [type_high, type_low] = ETHERTYPE_IPV4;
    *ethernet = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, type_high, type_low];
    packet.copy_from_slice(&udp_packet_headers(source, destination, payload)?);
    Some(headers)
}

/// Encodes an IPv4 datagram with `payload` from `source` to `destination`. Returns `None` if the payload does not fit
/// into an IPv4 datagram.
///
/// The don't-fragment bit is off, because it confuses some boot ROMs. The UDP checksum is always present.
pub fn udp_packet(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    Some([&udp_packet_headers(source, destination, payload)?[..], payload].concat())
}

fn udp_packet_headers(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
) -> Option<[u8; UDP_PACKET_HEADERS_LEN]> {
    let udp_len = u16::try_from(payload.len().checked_add(UDP_HEADER_LEN)?).ok()?;
    let [udp_high, udp_low] = udp_len.to_be_bytes();
    let [ip_high, ip_low] = udp_len.checked_add(20)?.to_be_bytes();
    let [s0, s1, s2, s3] = source.ip().octets();
    let [d0, d1, d2, d3] = destination.ip().octets();
    let ip = |sum: u16| {
        let [sum_high, sum_low] = sum.to_be_bytes();
        [
            0x45,
            0,
            ip_high,
            ip_low,
            0,
            0,
            0,
            0,
            64,
            PROTOCOL_UDP,
            sum_high,
            sum_low,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ]
    };
    let ip = ip(checksum(&[&ip(0)]));
    let [from_high, from_low] = source.port().to_be_bytes();
    let [to_high, to_low] = destination.port().to_be_bytes();
    let udp = |sum: u16| {
        let [sum_high, sum_low] = sum.to_be_bytes();
        [from_high, from_low, to_high, to_low, udp_high, udp_low, sum_high, sum_low]
    };
    let pseudo = [s0, s1, s2, s3, d0, d1, d2, d3, 0, PROTOCOL_UDP, udp_high, udp_low];
    // RFC 768: a checksum of zero is sent as all ones, because zero means no checksum.
    let udp = udp(match checksum(&[&pseudo, &udp(0), payload]) {
        0 => u16::MAX,
        sum => sum,
    });
    let mut headers = [0; UDP_PACKET_HEADERS_LEN];
    let (ip_part, udp_part) = headers.split_at_mut_checked(IP_HEADER_LEN)?;
    ip_part.copy_from_slice(&ip);
    udp_part.copy_from_slice(&udp);
    Some(headers)
}

/// A UDP datagram inside a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// The source hardware address of the frame.
    pub from: MacAddr,
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    pub payload: &'a [u8],
}

/// Decodes an Ethernet frame that contains a complete UDP datagram. Returns `None` for anything else, and if a length
/// field exceeds the frame (RFC 791 section 3.1, RFC 768).
///
/// The UDP checksum is not verified, because in frames captured from this host it is not filled in yet.
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

/// Computes the Internet checksum (RFC 1071) over `parts` in sequence. All parts but the last must have an even length.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        // After folding, the sum of 4-byte words is the same, in half the steps.
        let (words, rest) = part.as_chunks::<4>();
        let of_words: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
        let of_rest = match *rest {
            [high, low, odd] => u64::from(u16::from_be_bytes([high, low])).wrapping_add(u64::from(odd) << 8),
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            [high] => u64::from(high) << 8,
            _ => 0,
        };
        sum = sum.wrapping_add(of_words).wrapping_add(of_rest);
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
    fn rfc1071_the_checksums_add_up() {
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
        udp_frame(FROM, MacAddr::BROADCAST, SOURCE, DESTINATION, payload).unwrap()
    }

    /// Returns the frame with byte `at` of its IP header changed and the checksum corrected.
    fn changed(at: usize, value: u8) -> Vec<u8> {
        let mut frame = frame(b"payload");
        frame[14..34][at] = value;
        frame[24..26].fill(0);
        let sum = checksum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn a_frame_survives_the_wire() {
        for payload in [&b""[..], b"payload"] {
            let mut bytes = frame(payload);
            let expected = Datagram { from: FROM, source: SOURCE, destination: DESTINATION, payload };
            assert_eq!(udp_datagram(&bytes), Some(expected));
            bytes.extend_from_slice(&[0; 30]);
            assert_eq!(udp_datagram(&bytes), Some(expected), "Ethernet pads short frames");
        }
    }

    #[test]
    fn d_10_invalid_frames_are_refused() {
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
