//! Packet sockets, which hear what goes over the wire without holding a port, and a raw socket, which sends from a port
//! that it does not hold.
//!
//! As a proxy lanboot may run on the same computer as the DHCP server, and then port 67 is that one's. Two programs can
//! share a UDP port only if both agree to (dnsmasq does with `bind-interfaces`, others never), and even then what clients
//! send to the server alone, their renewals, would reach one of the two by chance. A packet socket takes nothing away.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{ControlMessage, LinkAddr, MsgFlags, SockaddrIn, bind, recvfrom, sendmsg};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::dhcp::route::Route;
use crate::net::datagram::{Envelope, Outgoing, packet_info};
use crate::wire::dhcp::BOOTREQUEST;
use crate::wire::frame::{Datagram, udp_datagram, udp_packet};

/// Bytes of a frame that are read: more than Ethernet carries.
pub const FRAME: usize = 2048;
/// Bytes the kernel may queue for us while we are busy.
const RECEIVE_QUEUE: usize = 2 << 20;
const ETH_P_IP: u16 = 0x0800;
/// Every frame, and those too that this computer sends itself.
const ETH_P_ALL: u16 = 0x0003;

/// What sends.
#[derive(Debug)]
pub struct Taps {
    socket: Socket,
    port: u16,
}

/// The packet socket of one Ethernet interface.
#[derive(Debug)]
pub struct Tap {
    socket: Socket,
    index: u32,
}

impl Taps {
    /// Opens what sends from `port`. The kernel writes the hardware addresses: those of a bridge change with its ports.
    pub fn open(port: u16) -> io::Result<Taps> {
        // What this socket sends is written with its IP header, so that don't-fragment is off.
        const IPPROTO_RAW: i32 = 255;
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        Ok(Taps { socket, port })
    }

    /// Sends `outgoing`.
    pub fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        let everyone = |port| (SocketAddrV4::new(Ipv4Addr::BROADCAST, port), outgoing.interface);
        let (to, interface) = match outgoing.route {
            // Index 0: wherever the kernel's routes lead.
            Route::Unicast(to) | Route::Frame { to, has_address: true, .. } => (to, 0),
            Route::Broadcast { port } => everyone(port),
            // Not used here: a proxy's reply gives no address.
            Route::Frame { to, .. } => everyone(to.port()),
        };
        let from = SocketAddrV4::new(outgoing.server, self.port);
        let packet = udp_packet(from, to, &outgoing.payload)
            .ok_or_else(|| io::Error::other("the reply does not fit a datagram"))?;
        let info = packet_info(outgoing.server, interface);
        let (payload, control) = ([IoSlice::new(&packet)], [ControlMessage::Ipv4PacketInfo(&info)]);
        let to = SockaddrIn::from(to);
        sendmsg(self.socket.as_raw_fd(), &payload, &control, MsgFlags::empty(), Some(&to))?;
        Ok(())
    }
}

impl Tap {
    /// Hears UDP to the ports `heard` on the interface number `index`. Where that is the port `server` too, as it is beside
    /// another DHCP server, it also hears the clients and the DHCP server on this computer.
    pub fn open(index: u32, link: &LinkAddr, heard: &[u16], server: u16) -> io::Result<Tap> {
        // Who holds the server's port is the only server here, and need not be shown each of its own replies.
        let protocol = if heard.contains(&server) { ETH_P_ALL } else { ETH_P_IP };
        let protocol = Protocol::from(i32::from(protocol.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.attach_filter(&udp_to(heard, server))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_QUEUE)?;
        bind(socket.as_raw_fd(), link)?;
        Ok(Tap { socket, index })
    }

    /// The next datagram that was heard, read into `buffer`; `WouldBlock` if there is none, and `None` where what came
    /// is not for this interface or no whole datagram.
    pub fn receive<'b>(&self, buffer: &'b mut [u8; FRAME]) -> io::Result<Option<(Datagram<'b>, Envelope)>> {
        let (len, link) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer)?;
        // The socket of an interface also hears what is of its VLANs, which are interfaces of their own.
        if link.is_some_and(|link| u32::try_from(link.ifindex()) != Ok(self.index)) {
            return Ok(None);
        }
        let Some(datagram) = buffer.get(..len).and_then(udp_datagram) else { return Ok(None) };
        let envelope = Envelope {
            len: datagram.payload.len(),
            source: datagram.source,
            interface: self.index,
            destination: *datagram.destination.ip(),
            local: *datagram.destination.ip(),
        };
        Ok(Some((datagram, envelope)))
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A filter for the kernel: whole UDP datagrams in Ethernet frames of no VLAN to one of `ports`. Of what this computer
/// sends, only requests to everyone, and replies that give a client an address: ours, as a proxy's, give none, and what a
/// relay agent here sends to its server, which has the port `server`, is between those two.
fn udp_to(ports: &[u16], server: u16) -> Vec<SockFilter> {
    // The classic BPF instructions that are needed, by their opcodes in linux/bpf_common.h, and what the kernel knows of
    // a frame, by its place in linux/filter.h.
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_WORD_AT_X: u16 = 0x40;
    const LOAD_HALF_AT_X: u16 = 0x48;
    const LOAD_BYTE_AT_X: u16 = 0x50;
    const X_IS_IP_HEADER_LEN: u16 = 0xb1;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = 0xffff_f004;
    const VLAN_TAG: u32 = 0xffff_f02c;
    const HAS_VLAN_TAG: u32 = 0xffff_f030;
    const PACKET_OUTGOING: u32 = 4;
    // Where the comparisons with the ports begin; behind them stand reject, the look at what we send, and accept.
    const COMPARE: usize = 12;
    let reject = COMPARE + ports.len();
    let own = reject + 1;
    let deny = own + 10;
    let accept = deny + 1;
    // A jump counts from the next instruction. There are a handful of ports, so it is short.
    let jump = |from: usize, to: usize| u8::try_from(to - from - 1).unwrap_or(u8::MAX);
    let mut filter = vec![
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, jump(1, reject), u32::from(ETH_P_IP)),
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(JUMP_IF_EQUAL, 0, jump(3, reject), 17),
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(JUMP_IF_SET, jump(5, reject), 0, 0x3fff),
        // VLAN 0 is none: such a tag only says a priority.
        SockFilter::new(LOAD_WORD, 0, 0, HAS_VLAN_TAG),
        SockFilter::new(JUMP_IF_EQUAL, jump(7, 10), 0, 0),
        SockFilter::new(LOAD_WORD, 0, 0, VLAN_TAG),
        SockFilter::new(JUMP_IF_SET, jump(9, reject), 0, 0x0fff),
        SockFilter::new(X_IS_IP_HEADER_LEN, 0, 0, 14),
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, 16),
    ];
    for (i, port) in ports.iter().enumerate() {
        filter.push(SockFilter::new(JUMP_IF_EQUAL, jump(COMPARE + i, own), 0, u32::from(*port)));
    }
    let no = || SockFilter::new(RETURN, 0, 0, 0);
    filter.extend([
        no(),
        SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 0, jump(own + 1, accept), PACKET_OUTGOING),
        SockFilter::new(LOAD_BYTE_AT_X, 0, 0, 22),
        SockFilter::new(JUMP_IF_EQUAL, 0, jump(own + 3, own + 6), u32::from(BOOTREQUEST)),
        SockFilter::new(LOAD_WORD, 0, 0, 30),
        SockFilter::new(JUMP_IF_EQUAL, jump(own + 5, accept), jump(own + 5, deny), u32::MAX),
        // The address that a reply gives.
        SockFilter::new(LOAD_WORD_AT_X, 0, 0, 38),
        SockFilter::new(JUMP_IF_EQUAL, jump(own + 7, deny), 0, 0),
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, 16),
        SockFilter::new(JUMP_IF_EQUAL, jump(own + 9, deny), jump(own + 9, accept), u32::from(server)),
        no(),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]);
    filter
}
