//! Decides what is kept of a frame, and which machine it belongs to. The filter of the packet socket has passed the frame
//! already (`net/capture_filter.rs`); it knows neither machines nor the addresses of this computer.

use std::net::Ipv4Addr;

use crate::types::MacAddr;
use crate::wire::dhcp::{BOOTREPLY, BOOTREQUEST};
use crate::wire::packet::{ETHERNET_HEADER_LEN, Packet, Tcp, UDP_HEADER_LEN, Udp, of_frame};

/// The end of the head of an HTTP message (RFC 9112 section 2.1).
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// Opcode of a TFTP data block (RFC 1350 section 5).
const TFTP_DATA: &[u8] = &[0, 3];
/// Bytes of opcode and block number.
const TFTP_HEADER_LEN: usize = 4;

/// The ports of this server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ports {
    /// DHCP servers, usually 67; 0 if DHCP is off.
    pub dhcp_server: u16,
    /// DHCP clients, usually 68.
    pub dhcp_client: u16,
    /// The boot service, usually 4011.
    pub boot_service: u16,
    /// TFTP requests, usually 69; 0 if TFTP is off.
    pub tftp: u16,
    /// HTTP, usually 80; 0 if HTTP is off.
    pub http: u16,
}

impl Ports {
    /// Whether clients or servers of DHCP use the port.
    fn is_dhcp(&self, port: u16) -> bool {
        self.dhcp_server != 0 && [self.dhcp_server, self.dhcp_client, self.boot_service].contains(&port)
    }
}

/// The machine that a packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The hardware address that a DHCP message states.
    Mac(MacAddr),
    /// The machine at this address.
    Address(Ipv4Addr),
}

/// A packet that belongs to a boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Selected {
    pub subject: Subject,
    /// Whether it is a DHCP message.
    pub is_dhcp: bool,
    /// The number of bytes of the frame that are kept.
    pub keep: usize,
    pub sign: Option<Sign>,
}

/// A packet that shows more than the services of this server can see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// A client asks the boot service of this server.
    Question { xid: u32 },
    /// This server sent a DHCP reply of that many bytes to `to`, in one piece.
    Reply { to: Ipv4Addr, bytes: u32 },
    /// A DHCP reply of this server did not pass in one piece: the kernel cut it into fragments, or ICMP reports that
    /// they did not arrive. The number is its size in bytes, with headers.
    TooLarge { bytes: u32 },
}

/// Selects the parts of `frame` to keep. `own` has the addresses of this computer. `None` if the frame belongs to no
/// machine.
pub fn select(frame: &[u8], ports: &Ports, own: &[Ipv4Addr]) -> Option<Selected> {
    let packet = of_frame(frame)?;
    let headers = ETHERNET_HEADER_LEN.saturating_add(packet.header_len);
    if let Some(udp) = packet.udp() {
        if ports.is_dhcp(udp.from) || ports.is_dhcp(udp.to) {
            return dhcp(frame, (&packet, &udp), ports, own);
        }
        return tftp((&packet, &udp), headers, own, frame.len());
    }
    if let Some(tcp) = packet.tcp() {
        return http((&packet, &tcp), headers, own);
    }
    let (kind, code, quoted) = packet.icmp_error()?;
    let subject = Subject::Address(peer(&quoted, own)?);
    // RFC 792: fragmentation needed; the time of reassembly exceeded.
    let is_size = matches!((kind, code), (3, 4) | (11, 1));
    let is_reply = quoted.udp().is_some_and(|udp| is_from_server(&udp, ports));
    let sign = (is_size && is_reply).then_some(Sign::TooLarge { bytes: size_of_udp(&quoted) });
    Some(Selected { subject, is_dhcp: false, keep: frame.len(), sign })
}

/// The address of the machine that exchanges the packet with this computer.
fn peer(packet: &Packet<'_>, own: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    match (own.contains(&packet.source), own.contains(&packet.destination)) {
        (true, false) => Some(packet.destination),
        (false, true) => Some(packet.source),
        // Another computer's packet, or one that never leaves this computer.
        _ => None,
    }
}

fn is_from_server(udp: &Udp<'_>, ports: &Ports) -> bool {
    ports.dhcp_server != 0 && (udp.from == ports.dhcp_server || udp.from == ports.boot_service)
}

/// Bytes of the whole datagram with its headers, before it was cut into fragments.
fn size_of_udp(packet: &Packet<'_>) -> u32 {
    let len = packet.udp().map_or(0, |udp| udp.len.saturating_add(UDP_HEADER_LEN));
    u32::try_from(len.saturating_add(packet.header_len)).unwrap_or(u32::MAX)
}

fn dhcp(
    frame: &[u8],
    (packet, udp): (&Packet<'_>, &Udp<'_>),
    ports: &Ports,
    own: &[Ipv4Addr],
) -> Option<Selected> {
    // `op`, `htype`, `hlen`, `hops`, `xid` of a message (RFC 2131 section 2), and `chaddr` at byte 28.
    let (head, _) = udp.payload.split_first_chunk::<8>()?;
    let [op, 1, 6, _, x0, x1, x2, x3] = *head else { return None };
    let chaddr: [u8; 6] = udp.payload.get(28..34)?.try_into().ok()?;
    let (is_ours, is_to_us) = (own.contains(&packet.source), own.contains(&packet.destination));
    let bytes = size_of_udp(packet);
    let sign = match op {
        BOOTREPLY if is_ours && packet.is_fragmented && is_from_server(udp, ports) => {
            Some(Sign::TooLarge { bytes })
        }
        BOOTREPLY if is_ours && is_from_server(udp, ports) => {
            Some(Sign::Reply { to: packet.destination, bytes })
        }
        BOOTREQUEST if is_to_us && udp.to == ports.boot_service => {
            Some(Sign::Question { xid: u32::from_be_bytes([x0, x1, x2, x3]) })
        }
        _ => None,
    };
    Some(Selected { subject: Subject::Mac(MacAddr(chaddr)), is_dhcp: true, keep: frame.len(), sign })
}

fn tftp(
    (packet, udp): (&Packet<'_>, &Udp<'_>),
    headers: usize,
    own: &[Ipv4Addr],
    len: usize,
) -> Option<Selected> {
    let subject = Subject::Address(peer(packet, own)?);
    // The first block shows that the transfer began; its data is that of a file.
    let of_data = headers.saturating_add(UDP_HEADER_LEN).saturating_add(TFTP_HEADER_LEN);
    let keep = if udp.payload.starts_with(TFTP_DATA) { of_data.min(len) } else { len };
    Some(Selected { subject, is_dhcp: false, keep, sign: None })
}

fn http((packet, tcp): (&Packet<'_>, &Tcp<'_>), headers: usize, own: &[Ipv4Addr]) -> Option<Selected> {
    let subject = Subject::Address(peer(packet, own)?);
    let head = tcp.payload.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD);
    let payload = match head {
        Some(start) => start.saturating_add(END_OF_HEAD.len()),
        // A head of several segments is kept as far as its first segment goes.
        None => tcp.payload.len(),
    };
    let keep = headers.saturating_add(tcp.header_len).saturating_add(payload);
    Some(Selected { subject, is_dhcp: false, keep, sign: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::udp_frame;
    use proptest::prelude::*;
    use std::net::SocketAddrV4;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);
    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 1, 2, 3]);
    const PORTS: Ports = Ports { dhcp_server: 67, dhcp_client: 68, boot_service: 4011, tftp: 69, http: 80 };

    fn frame(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
        let (from, to) = (SocketAddrV4::new(from.0, from.1), SocketAddrV4::new(to.0, to.1));
        udp_frame(MacAddr([2; 6]), MacAddr::BROADCAST, from, to, payload).unwrap()
    }

    fn message(op: u8) -> Vec<u8> {
        let mut message = vec![0; 300];
        message[..8].copy_from_slice(&[op, 1, 6, 0, 1, 2, 3, 4]);
        message[28..34].copy_from_slice(&MAC.0);
        message
    }

    fn selected(frame: &[u8]) -> Option<Selected> {
        select(frame, &PORTS, &[SERVER])
    }

    #[test]
    fn a_dhcp_message_belongs_to_its_hardware_address() {
        let nobody = (Ipv4Addr::UNSPECIFIED, 68);
        let discover = frame(nobody, (Ipv4Addr::BROADCAST, 67), &message(BOOTREQUEST));
        let expected =
            Selected { subject: Subject::Mac(MAC), is_dhcp: true, keep: discover.len(), sign: None };
        assert_eq!(selected(&discover), Some(expected));
        let mut other = message(BOOTREQUEST);
        other[1] = 32;
        assert_eq!(selected(&frame(nobody, (Ipv4Addr::BROADCAST, 67), &other)), None, "InfiniBand");
        assert_eq!(selected(&discover[..60]), None, "cut before chaddr");
    }

    #[test]
    fn questions_and_large_replies_are_signs() {
        let sign = |frame: &[u8]| selected(frame).unwrap().sign;
        let question = frame((CLIENT, 68), (SERVER, 4011), &message(BOOTREQUEST));
        assert_eq!(sign(&question), Some(Sign::Question { xid: 0x0102_0304 }));
        let to_other = frame((CLIENT, 68), (Ipv4Addr::new(192, 168, 77, 2), 4011), &message(BOOTREQUEST));
        assert_eq!(sign(&to_other), None, "another boot server");
        let mut reply = frame((SERVER, 67), (CLIENT, 68), &message(BOOTREPLY));
        assert_eq!(sign(&reply), Some(Sign::Reply { to: CLIENT, bytes: 328 }));
        // The first of several fragments.
        reply[20] = 0x20;
        assert_eq!(sign(&reply), Some(Sign::TooLarge { bytes: 328 }));
        let router = (Ipv4Addr::new(192, 168, 77, 9), 0);
        let mut icmp = frame(router, (SERVER, 0), &[&reply[14..34], &reply[34..42]].concat());
        (icmp[23], icmp[34], icmp[35]) = (1, 11, 1);
        let found = selected(&icmp).unwrap();
        assert_eq!(
            (found.subject, found.sign),
            (Subject::Address(CLIENT), Some(Sign::TooLarge { bytes: 328 }))
        );
        icmp[35] = 0;
        assert_eq!(sign(&icmp), None, "the time to live was over");
    }

    #[test]
    fn of_tftp_data_only_the_header_is_kept() {
        let block = frame((SERVER, 40_000), (CLIENT, 2070), &[&[0, 3, 0, 1][..], &[7; 512]].concat());
        let found = selected(&block).unwrap();
        assert_eq!((found.subject, found.keep), (Subject::Address(CLIENT), 14 + 20 + 8 + 4));
        let request = frame((CLIENT, 2070), (SERVER, 69), b"\0\x01pxelinux.0\0octet\0");
        let found = selected(&request).unwrap();
        assert_eq!((found.subject, found.keep), (Subject::Address(CLIENT), request.len()));
        let others = frame((CLIENT, 2070), (Ipv4Addr::new(192, 168, 77, 51), 69), b"\0\x01x\0octet\0");
        assert_eq!(selected(&others), None, "another server's");
    }

    #[test]
    fn of_http_only_the_head_is_kept() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let tcp = [&[0, 80, 8, 22, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0, 0, 0, 0, 0, 0][..], head, b"hello"];
        // The first eight bytes stand in the place of the UDP header.
        let bytes = tcp.concat();
        let mut frame = frame((SERVER, 0), (CLIENT, 0), &bytes[8..]);
        frame[34..42].copy_from_slice(&bytes[..8]);
        frame[23] = 6;
        let found = selected(&frame).unwrap();
        assert_eq!((found.subject, found.keep), (Subject::Address(CLIENT), 14 + 20 + 20 + head.len()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), protocol in 0_usize..3) {
            let mut frame = [&frame((SERVER, 67), (CLIENT, 68), b"")[..34], &bytes].concat();
            frame[23] = [1, 6, 17][protocol];
            for frame in [&frame[..], &bytes[..]] {
                if let Some(found) = selected(frame) {
                    prop_assert!(found.keep <= frame.len());
                }
            }
        }
    }
}
