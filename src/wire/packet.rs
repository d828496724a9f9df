//! IPv4 packets of captured frames, and the UDP and TCP headers in them. A captured frame may be cut at its end, and it may
//! be the first fragment of a packet; `frame.rs` reads complete datagrams only.

use std::net::Ipv4Addr;

use crate::types::MacAddr;
use crate::wire::frame::checksum;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// Bytes of an Ethernet header.
pub const ETHERNET_HEADER_LEN: usize = 14;
/// Bytes of a UDP header.
pub const UDP_HEADER_LEN: usize = 8;

/// Protocol numbers of IPv4.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// The bits of a TCP header that end or begin a connection.
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// An IPv4 packet, or its first fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: u8,
    /// Bytes of the IPv4 header with its options.
    pub header_len: usize,
    /// Length of the packet as its header states it.
    pub total_len: usize,
    /// Whether further fragments follow.
    pub is_fragmented: bool,
    /// The bytes after the header, as far as they were captured.
    pub data: &'a [u8],
}

/// The header of a UDP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Udp<'a> {
    pub from: u16,
    pub to: u16,
    /// Bytes of the payload as the header states it.
    pub len: usize,
    /// The payload, as far as it was captured.
    pub payload: &'a [u8],
}

/// The header of a TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcp<'a> {
    pub from: u16,
    pub to: u16,
    /// Bytes of the TCP header with its options.
    pub header_len: usize,
    /// Whether the segment opens or resets its connection.
    pub opens_or_resets: bool,
    /// The payload, as far as it was captured.
    pub payload: &'a [u8],
}

/// The hardware addresses of a frame: its destination and its source.
pub fn hardware(frame: &[u8]) -> Option<(MacAddr, MacAddr)> {
    let (to, rest) = frame.split_first_chunk::<6>()?;
    let (from, _) = rest.split_first_chunk::<6>()?;
    Some((MacAddr(*to), MacAddr(*from)))
}

/// Decodes the IPv4 packet of an Ethernet frame. `None` for anything else, and for later fragments.
pub fn of_frame(frame: &[u8]) -> Option<Packet<'_>> {
    let (header, packet) = frame.split_at_checked(ETHERNET_HEADER_LEN)?;
    if header.get(12..14)? != ETHERTYPE_IPV4 {
        return None;
    }
    decode(packet)
}

/// Decodes an IPv4 packet, which may be cut at its end, as the one that an ICMP error quotes. `None` for later fragments.
pub fn decode(bytes: &[u8]) -> Option<Packet<'_>> {
    const MORE_FRAGMENTS: u16 = 0x2000;
    const OFFSET: u16 = 0x1fff;
    let (header, _) = bytes.split_first_chunk::<20>()?;
    let [version_and_len, _, high, low, _, _, fragment_high, fragment_low, _, protocol, _, _, rest @ ..] =
        *header;
    let [s0, s1, s2, s3, d0, d1, d2, d3] = rest;
    let header_len = usize::from(version_and_len & 0xf).checked_mul(4)?;
    let total_len = usize::from(u16::from_be_bytes([high, low]));
    let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
    if version_and_len >> 4 != 4 || header_len < 20 || total_len < header_len || fragment & OFFSET != 0 {
        return None;
    }
    // Ethernet pads short frames.
    let data = bytes.get(header_len..total_len.min(bytes.len()))?;
    Some(Packet {
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
        protocol,
        header_len,
        total_len,
        is_fragmented: fragment & MORE_FRAGMENTS != 0,
        data,
    })
}

impl<'a> Packet<'a> {
    /// The UDP datagram in the packet.
    pub fn udp(&self) -> Option<Udp<'a>> {
        let (header, payload) = self.data.split_first_chunk::<UDP_HEADER_LEN>()?;
        let [from_high, from_low, to_high, to_low, len_high, len_low, ..] = *header;
        let len = usize::from(u16::from_be_bytes([len_high, len_low])).checked_sub(UDP_HEADER_LEN)?;
        let is_udp = self.protocol == UDP;
        is_udp.then_some(Udp {
            from: u16::from_be_bytes([from_high, from_low]),
            to: u16::from_be_bytes([to_high, to_low]),
            len,
            payload: payload.get(..len).unwrap_or(payload),
        })
    }

    /// The TCP segment in the packet.
    pub fn tcp(&self) -> Option<Tcp<'a>> {
        let (header, _) = self.data.split_first_chunk::<20>()?;
        let [from_high, from_low, to_high, to_low, _, _, _, _, _, _, _, _, offset, flags, ..] = *header;
        let header_len = usize::from(offset >> 4).checked_mul(4)?;
        let is_tcp = self.protocol == TCP && header_len >= 20;
        is_tcp.then_some(Tcp {
            from: u16::from_be_bytes([from_high, from_low]),
            to: u16::from_be_bytes([to_high, to_low]),
            header_len,
            opens_or_resets: flags & (SYN | RST) != 0,
            payload: self.data.get(header_len..)?,
        })
    }

    /// The type and the code of an ICMP message, and the packet that it quotes, if it is an error.
    pub fn icmp_error(&self) -> Option<(u8, u8, Packet<'a>)> {
        const UNREACHABLE: u8 = 3;
        const TIME_EXCEEDED: u8 = 11;
        let (header, quoted) = self.data.split_first_chunk::<8>()?;
        let [kind, code, ..] = *header;
        let is_error = self.protocol == ICMP && matches!(kind, UNREACHABLE | TIME_EXCEEDED);
        if is_error { Some((kind, code, decode(quoted)?)) } else { None }
    }
}

/// Fills in the checksum of a complete UDP datagram or TCP segment that its sender left to the network card. A virtual card
/// computes none, and a packet socket sees what this computer sends before its card does. Such a field has the sum of the
/// pseudo header (Linux `CHECKSUM_PARTIAL`). Any other checksum stays as it is: a wrong one is worth seeing.
pub fn fill_in_checksum(frame: &mut [u8]) {
    let Some((place, sum)) = missing_checksum(frame) else { return };
    let field = place.checked_add(2).and_then(|end| frame.get_mut(place..end));
    if let Some(field) = field {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// The place of the checksum that is not filled in, and its value.
fn missing_checksum(frame: &[u8]) -> Option<(usize, u16)> {
    let packet = of_frame(frame)?;
    let len = packet.total_len.checked_sub(packet.header_len)?;
    let at = match packet.protocol {
        UDP => 6_usize,
        TCP => 16,
        _ => return None,
    };
    if packet.is_fragmented || packet.data.len() != len {
        return None;
    }
    let (source, destination) = (packet.source.octets(), packet.destination.octets());
    let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
    let pseudo: [&[u8]; 3] = [&source, &destination, &[0, packet.protocol, high, low]];
    let after = at.checked_add(2)?;
    let (before, field, rest) =
        (packet.data.get(..at)?, packet.data.get(at..after)?, packet.data.get(after..)?);
    if *field != (!checksum(&pseudo)).to_be_bytes() {
        return None;
    }
    let [source, destination, protocol] = pseudo;
    let sum = match checksum(&[source, destination, protocol, before, &[0, 0], rest]) {
        // RFC 768: a zero means that there is no checksum.
        0 if packet.protocol == UDP => u16::MAX,
        sum => sum,
    };
    let place = ETHERNET_HEADER_LEN.checked_add(packet.header_len)?.checked_add(at)?;
    Some((place, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::udp_frame;
    use proptest::prelude::*;
    use std::net::SocketAddrV4;

    const FROM: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const TO: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn frame(payload: &[u8]) -> Vec<u8> {
        let source = SocketAddrV4::new(Ipv4Addr::new(192, 168, 77, 1), 69);
        let destination = SocketAddrV4::new(Ipv4Addr::new(192, 168, 77, 50), 2070);
        udp_frame(FROM, TO, source, destination, payload).unwrap()
    }

    #[test]
    fn a_datagram_is_read_even_if_its_end_is_missing() {
        let whole = frame(b"payload");
        let packet = of_frame(&whole).unwrap();
        let udp = packet.udp().unwrap();
        assert_eq!((udp.from, udp.to, udp.len, udp.payload), (69, 2070, 7, &b"payload"[..]));
        assert_eq!(hardware(&whole), Some((TO, FROM)));
        let cut = of_frame(&whole[..whole.len() - 3]).unwrap();
        assert_eq!(cut.udp().unwrap(), Udp { payload: b"payl", ..udp });
        let padded = [&whole[..], &[0; 20]].concat();
        assert_eq!(of_frame(&padded).unwrap().udp(), Some(udp), "Ethernet pads short frames");
    }

    #[test]
    fn later_fragments_and_other_protocols_are_no_packet() {
        let mut frame = frame(b"payload");
        frame[20] = 0x20;
        assert!(of_frame(&frame).unwrap().is_fragmented, "the first fragment has the headers");
        frame[21] = 1;
        assert_eq!(of_frame(&frame), None);
        frame[13] = 6;
        assert_eq!(of_frame(&frame), None, "ARP");
    }

    #[test]
    fn an_icmp_error_quotes_a_packet() {
        let quoted = frame(b"payload")[14..].to_vec();
        let mut message = frame(&quoted);
        message[23] = ICMP;
        // The UDP header has the size of that of ICMP.
        (message[34], message[35]) = (11, 1);
        let packet = of_frame(&message).unwrap();
        let (kind, code, inner) = packet.icmp_error().unwrap();
        assert_eq!((kind, code, inner.udp().unwrap().to), (11, 1, 2070));
        message[34] = 8;
        assert!(of_frame(&message).unwrap().icmp_error().is_none(), "an echo request");
    }

    #[test]
    fn only_a_checksum_that_was_left_to_the_card_is_filled_in() {
        for payload in [&b"odd"[..], b"even", b""] {
            let right = frame(payload);
            let mut partial = right.clone();
            let len = u8::try_from(8 + payload.len()).unwrap();
            let sum = !checksum(&[&right[26..34], &[0, UDP, 0, len]]);
            partial[40..42].copy_from_slice(&sum.to_be_bytes());
            fill_in_checksum(&mut partial);
            assert_eq!(partial, right);
            let mut wrong = right.clone();
            wrong[40] ^= 1;
            let before = wrong.clone();
            fill_in_checksum(&mut wrong);
            assert_eq!(wrong, before);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), protocol in 0_usize..3) {
            let mut frame = [&frame(b"")[..34], &bytes].concat();
            frame[23] = [ICMP, TCP, UDP][protocol];
            for frame in [&frame[..], &bytes[..]] {
                if let Some(packet) = of_frame(frame) {
                    let _ = (packet.udp(), packet.tcp(), packet.icmp_error());
                }
                fill_in_checksum(&mut frame.to_vec());
            }
        }
    }
}
