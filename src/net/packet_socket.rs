//! Packet sockets, which read frames of a wire without holding a port, and a raw socket, which sends from a port that
//! it does not hold. DHCP, the conflict check and `lanboot probe` use them.
//!
//! A proxyDHCP server may run on the same computer as the DHCP server, which then holds port 67. Two programs can share
//! a UDP port only if both agree to it: dnsmasq does with `bind-interfaces`, others never. Even then each renewal,
//! which clients send to the DHCP server alone, would reach one of the two by chance. A packet socket gets a copy of
//! each frame and takes nothing away from the port's owner.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{
    ControlMessage, LinkAddr, MsgFlags, SockaddrIn, bind, recvfrom, sendmsg, sendto, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::dhcp::route::Route;
use crate::net::bpf::{
    ACCEPT, ETH_P_ALL, ETH_P_IP, HAS_VLAN_TAG, JUMP_IF_EQUAL, JUMP_IF_SET, LOAD_BYTE_AT_X, LOAD_HALF_AT_X,
    LOAD_WORD, LOAD_WORD_AT_X, PACKET_OUTGOING, PACKET_TYPE, REJECT, VLAN_TAG, unfragmented_udp,
};
use crate::net::datagram::{Envelope, Outgoing, packet_info};
use crate::wire::dhcp::BOOTREQUEST;
use crate::wire::frame::{Datagram, udp_datagram, udp_packet};

/// Bytes of a frame that are read: more than Ethernet carries.
pub const FRAME: usize = 2048;
/// Bytes that the kernel may queue for a [`UdpTap`].
const RECEIVE_QUEUE: usize = 2 << 20;

/// A socket for whole Ethernet frames.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    /// The number of the only interface whose frames are received; `None` for all.
    interface: Option<u32>,
}

impl PacketSocket {
    /// Opens a non-blocking socket that receives frames of one interface. `protocol` is an EtherType, `filter` runs in
    /// the kernel, and `receive_queue` is the number of bytes that the kernel may queue.
    pub fn on_interface(
        link: &LinkAddr,
        protocol: u16,
        filter: &[SockFilter],
        receive_queue: usize,
    ) -> io::Result<PacketSocket> {
        let socket = open(Some(protocol))?;
        socket.attach_filter(filter)?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(receive_queue)?;
        bind(socket.as_raw_fd(), link)?;
        Ok(PacketSocket { socket, interface: Some(u32::try_from(link.ifindex()).unwrap_or(0)) })
    }

    /// Opens a blocking socket that receives the frames of `protocol` from every interface of this computer. A receive
    /// call that waits longer than `patience` fails with `WouldBlock`.
    pub fn on_all_interfaces(protocol: u16, timeout: Duration) -> io::Result<PacketSocket> {
        let socket = open(Some(protocol))?;
        socket.set_read_timeout(Some(timeout))?;
        Ok(PacketSocket { socket, interface: None })
    }

    /// Opens a socket that only sends.
    pub fn for_sending() -> io::Result<PacketSocket> {
        Ok(PacketSocket { socket: open(None)?, interface: None })
    }

    /// Makes the kernel report with each frame its time and the number of frames that were dropped before.
    pub fn report_times_and_losses(&self) -> io::Result<()> {
        setsockopt(&self.socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&self.socket, sockopt::RxqOvfl, &1)?;
        Ok(())
    }

    /// A second handle of the same socket.
    pub fn try_clone(&self) -> io::Result<PacketSocket> {
        Ok(PacketSocket { socket: self.socket.try_clone()?, interface: self.interface })
    }

    /// Reads the next frame into `buffer` and returns it with the number of the interface that it came from. `None`
    /// means that a frame was skipped: a socket on an interface also sees the frames of its VLANs, which are interfaces
    /// themselves.
    pub fn receive<'b>(&self, buffer: &'b mut [u8; FRAME]) -> io::Result<Option<(&'b [u8], u32)>> {
        let (len, link) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer)?;
        let index = link.and_then(|link| u32::try_from(link.ifindex()).ok());
        let index = match (index, self.interface) {
            (Some(index), Some(own)) if index != own => return Ok(None),
            (index, own) => index.or(own),
        };
        Ok(index.and_then(|index| Some((buffer.get(..len)?, index))))
    }

    /// Sends `frame` on the interface that the socket is bound to.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// Sends `frame` on the interface `link`.
    pub fn send_on(&self, link: &LinkAddr, frame: &[u8]) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), frame, link, MsgFlags::empty())?;
        Ok(())
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Opens a packet socket for `protocol`. Without a protocol it receives nothing.
fn open(protocol: Option<u16>) -> io::Result<Socket> {
    let protocol = protocol.map(|protocol| Protocol::from(i32::from(protocol.to_be())));
    Socket::new(Domain::PACKET, Type::RAW, protocol)
}

/// Sends DHCP replies from a port that another program may hold.
#[derive(Debug)]
pub struct RawSender {
    socket: Socket,
    port: u16,
}

impl RawSender {
    /// Opens a raw socket that sends from `port`. The kernel writes the Ethernet header, because the hardware address
    /// of a bridge changes with its ports.
    pub fn open(port: u16) -> io::Result<RawSender> {
        // With IPPROTO_RAW the sender writes the IP header, so don't-fragment can be off.
        const IPPROTO_RAW: i32 = 255;
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        Ok(RawSender { socket, port })
    }

    /// Sends `outgoing`.
    pub fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        let everyone = |port| (SocketAddrV4::new(Ipv4Addr::BROADCAST, port), outgoing.interface);
        let (to, interface) = match outgoing.route {
            // Index 0: the kernel's routes choose the interface.
            Route::Unicast(to) | Route::Frame { to, has_address: true, .. } => (to, 0),
            Route::Broadcast { port } => everyone(port),
            // A proxy's reply assigns no address, so this route does not occur.
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

/// Reads the UDP datagrams on the wire of one Ethernet interface.
#[derive(Debug)]
pub struct UdpTap(PacketSocket);

impl UdpTap {
    /// Reads UDP to the ports `heard` on the interface `link`. If they include the port `server`, lanboot runs beside
    /// another DHCP server, and the datagrams that clients and the DHCP server on this computer send are read too.
    pub fn open(link: &LinkAddr, heard: &[u16], server: u16) -> io::Result<UdpTap> {
        // A server that holds the port is the only server on this computer and need not read its own replies.
        let protocol = if heard.contains(&server) { ETH_P_ALL } else { ETH_P_IP };
        PacketSocket::on_interface(link, protocol, &udp_to(heard, server), RECEIVE_QUEUE).map(UdpTap)
    }

    /// Reads the next datagram into `buffer`; `WouldBlock` if there is none. `None` means that a frame was skipped: it
    /// belongs to a VLAN, or is no complete datagram.
    pub fn receive<'b>(&self, buffer: &'b mut [u8; FRAME]) -> io::Result<Option<(Datagram<'b>, Envelope)>> {
        let Some((frame, interface)) = self.0.receive(buffer)? else { return Ok(None) };
        let Some(datagram) = udp_datagram(frame) else { return Ok(None) };
        let envelope = Envelope {
            len: datagram.payload.len(),
            source: datagram.source,
            interface,
            destination: *datagram.destination.ip(),
            local: *datagram.destination.ip(),
            waited: Duration::ZERO,
        };
        Ok(Some((datagram, envelope)))
    }
}

impl AsRawFd for UdpTap {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The filter of a [`UdpTap`]: complete UDP datagrams to one of `ports`, in frames without a VLAN. Of the frames that this
/// computer sends, it keeps broadcast requests, and replies that assign an address. lanboot's own replies as a proxy
/// assign none. Messages that a relay agent on this computer sends to its server, at the port `server`, concern only
/// those two.
fn udp_to(ports: &[u16], server: u16) -> Vec<SockFilter> {
    // Positions in the program: the comparisons with the ports, then the instructions for frames of this computer.
    const COMPARE: usize = 13;
    let reject = COMPARE + ports.len();
    let own = reject + 1;
    let deny = own + 10;
    let accept = deny + 1;
    // There are a handful of ports, so every jump is short.
    let jump = |from: usize, to: usize| u8::try_from(to - from - 1).unwrap_or(u8::MAX);
    let mut filter = Vec::from(unfragmented_udp());
    filter.extend([
        // VLAN 0 means no VLAN: such a tag states only a priority.
        SockFilter::new(LOAD_WORD, 0, 0, HAS_VLAN_TAG),
        SockFilter::new(JUMP_IF_EQUAL, jump(9, 12), 0, 0),
        SockFilter::new(LOAD_WORD, 0, 0, VLAN_TAG),
        SockFilter::new(JUMP_IF_SET, jump(11, reject), 0, 0x0fff),
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, 16),
    ]);
    for (i, port) in ports.iter().enumerate() {
        filter.push(SockFilter::new(JUMP_IF_EQUAL, jump(COMPARE + i, own), 0, u32::from(*port)));
    }
    filter.extend([
        REJECT,
        SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 0, jump(own + 1, accept), PACKET_OUTGOING),
        SockFilter::new(LOAD_BYTE_AT_X, 0, 0, 22),
        SockFilter::new(JUMP_IF_EQUAL, 0, jump(own + 3, own + 6), u32::from(BOOTREQUEST)),
        SockFilter::new(LOAD_WORD, 0, 0, 30),
        SockFilter::new(JUMP_IF_EQUAL, jump(own + 5, accept), jump(own + 5, deny), u32::MAX),
        // The address that a reply assigns.
        SockFilter::new(LOAD_WORD_AT_X, 0, 0, 38),
        SockFilter::new(JUMP_IF_EQUAL, jump(own + 7, deny), 0, 0),
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, 16),
        SockFilter::new(JUMP_IF_EQUAL, jump(own + 9, deny), jump(own + 9, accept), u32::from(server)),
        REJECT,
        ACCEPT,
    ]);
    filter
}
