//! The filter of the packet sockets of `lanboot capture`. It runs in the kernel for every frame of an interface, so that the
//! data of transfers is never copied to this process.

use std::collections::BTreeMap;

use socket2::SockFilter;

use crate::capture::ipv6;
use crate::capture::select::Ports;
use crate::net::bpf::{
    ETH_P_IP, ETH_P_IPV6, HAS_VLAN_TAG, JUMP_IF_EQUAL, JUMP_IF_SET, LOAD_BYTE, LOAD_BYTE_AT_X, LOAD_HALF,
    LOAD_HALF_AT_X, LOAD_WORD, LOAD_WORD_AT_X, RETURN, VLAN_TAG, X_IS_IP_HEADER_LEN,
};

const JUMP_IF_GREATER: u16 = 0x25;
const SHIFT_RIGHT: u16 = 0x74;
const AND: u16 = 0x54;
const ADD_X: u16 = 0x0c;
const X_IS_A: u16 = 0x07;

/// Offsets from the start of the IP header; X is the length of the IP header, and the Ethernet header has 14 bytes.
const FROM_PORT: u32 = 14;
const TO_PORT: u32 = 16;
const UDP_LEN: u32 = 18;
const TFTP_OPCODE: u32 = 22;
/// The block number, the code of an error, or the first option.
const TFTP_VALUE: u32 = 24;
const TCP_HEADER_LEN: u32 = 26;
const TCP_FLAGS: u32 = 27;

/// The longest OACK or ERROR of a boot client, in bytes of UDP. It keeps out other protocols with the same first bytes.
const MAX_CONTROL: u32 = 600;
/// The last error code of TFTP (RFC 2347).
const MAX_ERROR: u32 = 8;
/// The last block of which DATA and ACK pass: the first one shows whether a transfer begins.
const MAX_BLOCK: u32 = 1;
/// The first bytes of HTTP requests and responses.
const HEADS: [&[u8; 4]; 5] = [b"GET ", b"HEAD", b"POST", b"PUT ", b"HTTP"];

/// A place in the program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Label {
    Next,
    Accept,
    Reject,
    Plain,
    Tcp,
    Icmp,
    Ipv6,
    Solicitation,
    Request,
    Transfer,
    Block,
    Options,
    Error,
    Len,
    Segment,
}

use Label::{Accept, Next, Reject};

/// A program whose jumps name labels.
#[derive(Debug, Default)]
struct Program {
    code: Vec<(u16, u32, Label, Label)>,
    places: BTreeMap<Label, usize>,
}

impl Program {
    /// The next instruction is at `label`.
    fn at(&mut self, label: Label) {
        self.places.insert(label, self.code.len());
    }

    fn run(&mut self, code: u16, value: u32) {
        self.code.push((code, value, Next, Next));
    }

    fn jump(&mut self, code: u16, value: u32, then: Label, otherwise: Label) {
        self.code.push((code, value, then, otherwise));
    }

    /// Jumps to `label` if the loaded value is one of `values`.
    fn jump_if_any(&mut self, values: impl IntoIterator<Item = u32>, label: Label) {
        values.into_iter().for_each(|value| self.jump(JUMP_IF_EQUAL, value, label, Next));
    }

    /// Jumps to `label` always.
    fn go(&mut self, label: Label) {
        // Every value has a bit of this mask or not.
        self.jump(JUMP_IF_SET, 0, label, label);
    }

    fn finish(self) -> Vec<SockFilter> {
        // The program has fewer than 100 instructions, so every jump is short.
        let distance = |from: usize, label: Label| match self.places.get(&label) {
            Some(to) => u8::try_from(to.saturating_sub(from).saturating_sub(1)).unwrap_or(u8::MAX),
            None => 0,
        };
        let instruction = |(at, (code, value, then, otherwise)): (usize, &(u16, u32, Label, Label))| {
            SockFilter::new(*code, distance(at, *then), distance(at, *otherwise), *value)
        };
        self.code.iter().enumerate().map(instruction).collect()
    }
}

/// The filter for the packets of boots that use `ports`.
pub fn filter(ports: &Ports) -> Vec<SockFilter> {
    const LATER_FRAGMENT: u32 = 0x1fff;
    const TCP_NUMBER: u32 = 6;
    const UDP_NUMBER: u32 = 17;
    const ICMP_NUMBER: u32 = 1;
    let mut program = Program::default();
    // Frames of VLANs are read on the interfaces of these VLANs. VLAN 0 states only a priority.
    program.run(LOAD_WORD, HAS_VLAN_TAG);
    program.jump(JUMP_IF_EQUAL, 0, Label::Plain, Next);
    program.run(LOAD_WORD, VLAN_TAG);
    program.jump(JUMP_IF_SET, 0x0fff, Reject, Next);
    program.at(Label::Plain);
    program.run(LOAD_HALF, 12);
    program.jump(JUMP_IF_EQUAL, u32::from(ETH_P_IP), Next, Label::Ipv6);
    program.run(LOAD_HALF, 20);
    program.jump(JUMP_IF_SET, LATER_FRAGMENT, Reject, Next);
    program.run(X_IS_IP_HEADER_LEN, 14);
    program.run(LOAD_BYTE, 23);
    program.jump(JUMP_IF_EQUAL, TCP_NUMBER, Label::Tcp, Next);
    program.jump(JUMP_IF_EQUAL, ICMP_NUMBER, Label::Icmp, Next);
    program.jump(JUMP_IF_EQUAL, UDP_NUMBER, Next, Reject);
    udp(&mut program, ports);
    program.at(Label::Tcp);
    tcp(&mut program, ports);
    program.at(Label::Icmp);
    // Destination unreachable, and time exceeded (RFC 792).
    program.run(LOAD_BYTE_AT_X, 14);
    program.jump_if_any([3, 11], Accept);
    program.go(Reject);
    program.at(Label::Ipv6);
    ipv6(&mut program, ports);
    program.at(Reject);
    program.run(RETURN, 0);
    program.at(Accept);
    program.run(RETURN, u32::MAX);
    program.finish()
}

fn udp(program: &mut Program, ports: &Ports) {
    let dhcp: Vec<u32> = match ports.dhcp_server {
        0 => Vec::new(),
        server => [server, ports.dhcp_client, ports.boot_service].map(u32::from).to_vec(),
    };
    program.run(LOAD_HALF_AT_X, FROM_PORT);
    program.jump_if_any(dhcp.iter().copied(), Accept);
    program.run(LOAD_HALF_AT_X, TO_PORT);
    program.jump_if_any(dhcp, Accept);
    if ports.tftp == 0 {
        return program.go(Reject);
    }
    program.jump(JUMP_IF_EQUAL, u32::from(ports.tftp), Label::Request, Label::Transfer);
    program.at(Label::Request);
    program.run(LOAD_HALF_AT_X, TFTP_OPCODE);
    program.jump_if_any([1, 2], Accept);
    program.at(Label::Transfer);
    program.run(LOAD_HALF_AT_X, TFTP_OPCODE);
    program.jump_if_any([3, 4], Label::Block);
    program.jump_if_any([5], Label::Error);
    program.jump_if_any([6], Label::Options);
    program.go(Reject);
    program.at(Label::Block);
    program.run(LOAD_HALF_AT_X, TFTP_VALUE);
    program.jump(JUMP_IF_GREATER, MAX_BLOCK, Reject, Accept);
    program.at(Label::Options);
    // The first letter of an option.
    program.run(LOAD_BYTE_AT_X, TFTP_VALUE);
    program.jump(JUMP_IF_SET, 0x40, Label::Len, Reject);
    program.at(Label::Error);
    program.run(LOAD_HALF_AT_X, TFTP_VALUE);
    program.jump(JUMP_IF_GREATER, MAX_ERROR, Reject, Next);
    program.at(Label::Len);
    program.run(LOAD_HALF_AT_X, UDP_LEN);
    program.jump(JUMP_IF_GREATER, MAX_CONTROL, Reject, Accept);
}

/// The questions of machines that `capture/ipv6.rs` reads. The accumulator has the EtherType.
fn ipv6(program: &mut Program, ports: &Ports) {
    if ports.dhcp_server == 0 {
        return program.go(Reject);
    }
    program.jump(JUMP_IF_EQUAL, u32::from(ETH_P_IPV6), Next, Reject);
    program.run(LOAD_BYTE, ipv6::DESTINATION);
    program.jump(JUMP_IF_EQUAL, ipv6::MULTICAST.into(), Next, Reject);
    program.run(LOAD_BYTE, ipv6::NEXT_HEADER);
    program.jump(JUMP_IF_EQUAL, ipv6::ICMP.into(), Label::Solicitation, Next);
    program.jump(JUMP_IF_EQUAL, ipv6::UDP.into(), Next, Reject);
    program.run(LOAD_HALF, ipv6::TO_PORT);
    program.jump(JUMP_IF_EQUAL, ipv6::DHCP_SERVER.into(), Next, Reject);
    program.run(LOAD_BYTE, ipv6::DHCP_MESSAGE);
    program.jump(JUMP_IF_EQUAL, ipv6::SOLICIT.into(), Accept, Reject);
    program.at(Label::Solicitation);
    program.run(LOAD_BYTE, ipv6::ICMP_TYPE);
    program.jump(JUMP_IF_EQUAL, ipv6::ROUTER_SOLICITATION.into(), Accept, Reject);
}

fn tcp(program: &mut Program, ports: &Ports) {
    const SYN_OR_RST: u32 = 0x06;
    if ports.http == 0 {
        return program.go(Reject);
    }
    let port = u32::from(ports.http);
    program.run(LOAD_HALF_AT_X, FROM_PORT);
    program.jump_if_any([port], Label::Segment);
    program.run(LOAD_HALF_AT_X, TO_PORT);
    program.jump(JUMP_IF_EQUAL, port, Next, Reject);
    program.at(Label::Segment);
    program.run(LOAD_BYTE_AT_X, TCP_FLAGS);
    program.jump(JUMP_IF_SET, SYN_OR_RST, Accept, Next);
    // The upper half of the byte counts words of four bytes. Afterwards X is the length of both headers.
    program.run(LOAD_BYTE_AT_X, TCP_HEADER_LEN);
    program.run(SHIFT_RIGHT, 2);
    program.run(AND, 0x3c);
    program.run(ADD_X, 0);
    program.run(X_IS_A, 0);
    program.run(LOAD_WORD_AT_X, 14);
    program.jump_if_any(HEADS.map(|head| u32::from_be_bytes(*head)), Accept);
    program.go(Reject);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddr;
    use crate::wire::frame::udp_frame;
    use std::net::{Ipv4Addr, SocketAddrV4};
    use std::os::unix::net::UnixDatagram;

    const PORTS: Ports = Ports { dhcp_server: 67, dhcp_client: 68, boot_service: 4011, tftp: 69, http: 80 };

    /// Whether the kernel passes `frame`. A filter reads the bytes of a Unix datagram as those of a frame.
    fn passes(ports: &Ports, frame: &[u8]) -> bool {
        let (from, to) = UnixDatagram::pair().unwrap();
        socket2::SockRef::from(&to).attach_filter(&filter(ports)).unwrap();
        to.set_nonblocking(true).unwrap();
        // A frame that the filter rejects is an error for its sender.
        let _ = from.send(frame);
        to.recv(&mut [0; 2048]).is_ok()
    }

    fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let address = |port| SocketAddrV4::new(Ipv4Addr::new(192, 168, 77, 1), port);
        udp_frame(MacAddr([2; 6]), MacAddr([4; 6]), address(from), address(to), payload).unwrap()
    }

    /// A segment with 12 bytes of TCP options.
    fn tcp(from: u16, to: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = [0; 32];
        header[..2].copy_from_slice(&from.to_be_bytes());
        header[2..4].copy_from_slice(&to.to_be_bytes());
        (header[12], header[13]) = (0x80, flags);
        let mut frame = [&udp(0, 0, b"")[..34], &header, payload].concat();
        frame[23] = 6;
        frame
    }

    /// A frame to a multicast address, with this next header and payload.
    fn ipv6_frame(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12..14].copy_from_slice(&ETH_P_IPV6.to_be_bytes());
        (frame[14], frame[20], frame[38]) = (0x60, next_header, 0xff);
        [frame, payload.to_vec()].concat()
    }

    #[test]
    fn packets_of_boots_pass() {
        for (from, to, payload) in [
            (68, 67, &b"discover"[..]),
            (67, 68, b"offer"),
            (68, 4011, b"question"),
            (67, 67, b"relayed"),
            (2070, 69, b"\0\x01pxelinux.0\0octet\0"),
            (40_000, 2070, b"\0\x06blksize\x001468\0"),
            (40_000, 2070, b"\0\x05\0\x01File not found\0"),
            (2070, 40_000, b"\0\x05\0\0"),
            (2070, 40_000, b"\0\x04\0\0"),
            (2070, 40_000, b"\0\x04\0\x01"),
            (40_000, 2070, b"\0\x03\0\x01data"),
            (2070, 69, b"\0\x04\0\x01"),
        ] {
            assert!(passes(&PORTS, &udp(from, to, payload)), "{from} {to} {payload:?}");
        }
        for (from, to, flags, payload) in [
            (50_000, 80, 0x18, &b"GET /boot.ipxe HTTP/1.1\r\n"[..]),
            (50_000, 80, 0x18, b"HEAD / HTTP/1.1\r\n"),
            (80, 50_000, 0x18, b"HTTP/1.1 200 OK\r\n"),
            (50_000, 80, 0x02, b""),
            (80, 50_000, 0x14, b""),
        ] {
            assert!(passes(&PORTS, &tcp(from, to, flags, payload)), "{from} {to} {payload:?}");
        }
        for kind in [3, 11] {
            let mut icmp = udp(0, 0, b"quoted");
            (icmp[23], icmp[34]) = (1, kind);
            assert!(passes(&PORTS, &icmp), "{kind}");
        }
    }

    #[test]
    fn questions_by_ipv6_pass_and_nothing_else_of_it() {
        let solicit = ipv6_frame(17, &[2, 34, 2, 35, 0, 12, 0, 0, 1, 0, 0, 7]);
        let solicitation = ipv6_frame(58, &[133, 0, 0, 0, 0, 0, 0, 0]);
        let advertisement = ipv6_frame(58, &[134, 0, 0, 0, 0, 0, 0, 0]);
        let request = ipv6_frame(17, &[2, 34, 2, 35, 0, 12, 0, 0, 3, 0, 0, 7]);
        let other = ipv6_frame(17, &[2, 34, 2, 36, 0, 12, 0, 0, 1, 0, 0, 7]);
        let mut unicast = solicit.clone();
        unicast[38] = 0xfe;
        for (frame, is_question) in [
            (&solicit, true),
            (&solicitation, true),
            (&advertisement, false),
            (&request, false),
            (&other, false),
            (&unicast, false),
        ] {
            assert_eq!(passes(&PORTS, frame), is_question, "{frame:?}");
            assert_eq!(ipv6::asks(frame).is_some(), is_question, "{frame:?}");
        }
        assert!(!passes(&Ports { dhcp_server: 0, ..PORTS }, &solicit));
    }

    #[test]
    fn data_of_files_and_other_protocols_do_not_pass() {
        for (from, to, payload) in [
            (40_000, 2070, &b"\0\x03\0\x02data"[..]),
            (2070, 40_000, b"\0\x04\0\x02"),
            (69, 2070, b"\0\x03\x01\0data"),
            (2070, 69, b"\0\x04\x01\0"),
            (2070, 40_000, b"\0\x01x\0octet\0"),
            (53, 2070, b"\0\x05\x81\x80\0\x01"),
            (53, 2070, b"\0\x06\x81\x80\0\x01"),
            (2070, 40_000, b"\0"),
            (2070, 40_000, b"\0\x07\0\0"),
        ] {
            assert!(!passes(&PORTS, &udp(from, to, payload)), "{from} {to} {payload:?}");
        }
        let long = [&b"\0\x06x"[..], &[b'y'; 700]].concat();
        assert!(!passes(&PORTS, &udp(40_000, 2070, &long)));
        for frame in [
            tcp(80, 50_000, 0x10, b"data of a file"),
            tcp(80, 50_000, 0x10, b""),
            tcp(50_000, 8080, 0x18, b"GET / HTTP/1.1\r\n"),
        ] {
            assert!(!passes(&PORTS, &frame));
        }
        let mut echo = udp(0, 0, b"");
        (echo[23], echo[34]) = (1, 8);
        assert!(!passes(&PORTS, &echo));
        let mut arp = udp(68, 67, b"discover");
        arp[13] = 6;
        assert!(!passes(&PORTS, &arp));
        let mut later = udp(68, 67, b"discover");
        later[21] = 4;
        assert!(!passes(&PORTS, &later), "a later fragment has no ports");
    }

    #[test]
    fn services_that_are_off_pass_nothing() {
        let off = Ports { dhcp_server: 0, tftp: 0, http: 0, ..PORTS };
        assert!(!passes(&off, &udp(68, 67, b"discover")));
        assert!(!passes(&off, &udp(2070, 69, b"\0\x01x\0octet\0")));
        assert!(!passes(&off, &tcp(50_000, 80, 0x18, b"GET / HTTP/1.1\r\n")));
    }
}
