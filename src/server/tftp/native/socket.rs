//! Opens and uses the UDP sockets of TFTP: one per listener, one per transfer, and one for errors.
//!
//! A transfer's socket is bound to the address that received the request, and connected to the client. The kernel
//! therefore passes packets of other senders to another socket (`unknown_tid.rs`) or to none, reports when the client's
//! port is closed, and looks up the route once.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc::{in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, recv, send, sendmsg, setsockopt, sockopt};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, ip_mtu, ipv6_mtu, set_ip_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::datagram::packet_info;
use crate::tftp::Ports;

/// Bytes of requests that the kernel may queue while the server is busy: about ten thousand requests, so that none is
/// lost when a whole room is switched on.
const REQUEST_QUEUE: usize = 8 << 20;
/// Bytes that the kernel may queue for sending from a listener. With `tftp.ports: single` these are the windows of all
/// transfers, about thirty over Ethernet.
const SEND_QUEUE: usize = 4 << 20;

/// Opens a listener at `address`.
pub fn listen(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address.ip())?;
    report_addresses(&socket, address.ip())?;
    // The kernel caps this at net.core.rmem_max and wmem_max, except for root.
    if setsockopt(&socket, sockopt::RcvBufForce, &REQUEST_QUEUE).is_err() {
        socket.set_recv_buffer_size(REQUEST_QUEUE)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &SEND_QUEUE).is_err() {
        socket.set_send_buffer_size(SEND_QUEUE)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Opens a non-blocking UDP socket for the protocol of `local`. It never sets don't-fragment, because boot ROMs and
/// tunnels fail with it; IPv6 has no such flag.
fn open(local: IpAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(local, 0));
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if local.is_ipv4() {
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
    }
    Ok(socket)
}

/// Makes the kernel report the address that each datagram was sent to.
fn report_addresses(socket: &Socket, local: IpAddr) -> nix::Result<()> {
    match local {
        IpAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true),
        IpAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true),
    }
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Empties the queue of a socket that was reconnected: its packets came from the previous client.
fn forget_received(connected: &Socket) {
    /// More packets than this are a flood, and the socket's queue is limited too.
    const MOST: usize = 1024;
    for _ in 0..MOST {
        // Errors on the path to the previous client are returned as well.
        if recv(connected.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT) == Err(Errno::EAGAIN) {
            return;
        }
    }
}

/// Opens a second socket at the port of `holder`, bound to our address `local` (unspecified: all). The kernel passes a
/// datagram to the socket that is connected to its sender, or else to an unconnected one.
fn open_at_port_of(holder: &UdpSocket, local: IpAddr) -> io::Result<Socket> {
    let socket = open(local)?;
    let port = holder.local_addr()?.port();
    // Both sockets must allow address reuse. `holder` allows it only now, so that no other program joins its port.
    setsockopt(holder, sockopt::ReuseAddr, &true)?;
    let bound =
        socket.set_reuse_address(true).and_then(|()| socket.bind(&SocketAddr::new(local, port).into()));
    setsockopt(holder, sockopt::ReuseAddr, &false)?;
    bound.map(|()| socket)
}

/// Opens a socket at the port of `listener`, connected to `peer`, and returns the path MTU as [`SocketPool::connect`] does.
/// For uploads with a single port, which need their own socket.
pub fn at_port_of(
    listener: &UdpSocket,
    local: IpAddr,
    peer: SocketAddr,
) -> io::Result<(UdpSocket, Option<u32>)> {
    let socket = open_at_port_of(listener, local)?;
    socket.connect(&peer.into())?;
    let mtu = path_mtu(&socket);
    Ok((socket.into(), mtu))
}

/// Opens a socket for packets of other senders to the port of the connected socket `transfer`. It is bound to no
/// address, so that the kernel still finds the transfer's socket quickly for each packet of the client (early
/// demultiplexing).
pub fn for_unknown_tids(transfer: &UdpSocket) -> io::Result<UdpSocket> {
    let any = unspecified(transfer.local_addr()?.ip());
    let socket = open_at_port_of(transfer, any)?;
    report_addresses(&socket, any)?;
    // The smallest queue, so that a flood takes no memory.
    socket.set_recv_buffer_size(0)?;
    Ok(socket.into())
}

/// Opens a socket for sending errors. It does not use the port of a listener (RFC 1350 section 4), and is opened before
/// descriptors run out. It is never read.
pub fn open_for_errors() -> io::Result<UdpSocket> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let socket = open(any)?;
    socket.set_recv_buffer_size(0)?;
    socket.bind(&SocketAddr::new(any, 0).into())?;
    Ok(socket.into())
}

/// The path MTU from our address `local` to `peer`, if the kernel knows it. For links without a connected socket.
pub fn path_mtu_to(local: IpAddr, peer: SocketAddr) -> Option<u32> {
    let socket = open(local).ok()?;
    socket.bind(&SocketAddr::new(local, 0).into()).ok()?;
    socket.connect(&peer.into()).ok()?;
    path_mtu(&socket)
}

fn path_mtu(connected: &Socket) -> Option<u32> {
    // The first one fails for a socket of IPv6.
    ip_mtu(connected).or_else(|_| ipv6_mtu(connected)).ok()
}

/// Maximum number of spare sockets of a thread.
pub const SPARE: usize = 64;
/// Minimum number of other transfers before a port is used again, so that late packets do not reach the next transfer
/// (RFC 1350 section 4).
const MIN_TRANSFERS_BETWEEN: usize = 32;

/// Opens sockets for transfers, and reuses those of ended transfers.
#[derive(Debug)]
pub struct SocketPool {
    ports: Ports,
    /// The port of a range that was used last, counted from its first.
    last: u32,
    /// Spare sockets and the addresses that they are bound to, longest unused first. Opening and closing a socket takes
    /// a sixth of the time of a small file.
    spare: VecDeque<(IpAddr, UdpSocket)>,
    /// Maximum number of spare sockets.
    max_spare: usize,
}

impl SocketPool {
    /// Opens sockets at `ports`, and keeps up to `max_spare` spare ones.
    pub fn new(ports: Ports, max_spare: usize) -> SocketPool {
        // Each thread and each start begins with another port, so that a port is not reused too soon.
        let random = RandomState::new().hash_one(0);
        // The ports of a range are used in turn anyway, and with few spare sockets none would be unused for long.
        let max_spare =
            if ports == Ports::Ephemeral && max_spare > MIN_TRANSFERS_BETWEEN { max_spare } else { 0 };
        SocketPool { ports, last: (random & 0xffff) as u32, spare: VecDeque::new(), max_spare }
    }

    /// Opens a socket at our address `local`, connected to `peer`. The second value is the path MTU in bytes, if the
    /// kernel knows it.
    pub fn connect(&mut self, local: IpAddr, peer: SocketAddr) -> io::Result<(UdpSocket, Option<u32>)> {
        let rested = self.spare.len() > MIN_TRANSFERS_BETWEEN
            && self.spare.front().is_some_and(|(at, _)| *at == local);
        let socket = match if rested { self.spare.pop_front() } else { None } {
            Some((_, socket)) => {
                let socket = Socket::from(socket);
                socket.connect(&peer.into())?;
                forget_received(&socket);
                socket
            }
            None => {
                let socket = open(local)?;
                self.bind(&socket, local)?;
                socket.connect(&peer.into())?;
                socket
            }
        };
        let mtu = path_mtu(&socket);
        Ok((socket.into(), mtu))
    }

    /// Takes back an unchanged socket from [`SocketPool::connect`].
    pub fn take_back(&mut self, local: IpAddr, socket: UdpSocket) {
        if self.spare.len() < self.max_spare {
            self.spare.push_back((local, socket));
        }
    }

    fn bind(&mut self, socket: &Socket, local: IpAddr) -> io::Result<()> {
        let Ports::Range { first, last } = self.ports else {
            return socket.bind(&SocketAddr::new(local, 0).into());
        };
        let count = u32::from(last.saturating_sub(first)) + 1;
        let mut outcome = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..count {
            self.last = (self.last + 1) % count;
            let port = u32::from(first) + self.last;
            let address = SocketAddr::new(local, u16::try_from(port).unwrap_or(last));
            outcome = socket.bind(&address.into());
            if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
        }
        outcome
    }
}

/// The connection to one client.
#[derive(Debug)]
pub enum Link {
    /// The transfer has its own socket.
    Own(UdpSocket),
    /// All transfers share the listener's socket (`tftp.ports: single`).
    Shared {
        socket: Arc<UdpSocket>,
        /// Our address that the client sent its request to.
        local: IpAddr,
        peer: SocketAddr,
    },
}

impl Link {
    /// Sends `bytes` as one datagram. With `segment`, sends datagrams of that many bytes each, the last one with the
    /// rest.
    pub fn send(&self, bytes: &[u8], segment: Option<u16>) -> nix::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT;
        match self {
            // The destination and the segment size are set on the socket: see `Link::prepare_segments`.
            Link::Own(socket) => {
                send(socket.as_raw_fd(), bytes, flags)?;
            }
            Link::Shared { socket, local, peer } => send_segments(socket, *local, *peer, bytes, segment)?,
        }
        Ok(())
    }

    /// Makes the kernel cut what is sent into datagrams of `size` bytes; 0 switches that off. Fails if it is not
    /// supported.
    pub fn prepare_segments(&self, size: u16) -> nix::Result<()> {
        match self {
            Link::Own(socket) => setsockopt(socket, sockopt::UdpGsoSegment, &i32::from(size)),
            Link::Shared { .. } => Ok(()),
        }
    }
}

/// Sends an error `datagram` from our address `local`. It may be lost, because the client then repeats its request.
pub fn send_from(socket: &UdpSocket, local: IpAddr, peer: SocketAddr, datagram: &[u8]) {
    let _ = send_segments(socket, local, peer, datagram, None);
}

/// Sends `bytes` from our address `local` to `peer`, in datagrams of `segment` bytes if that is set, else as one.
fn send_segments(
    socket: &UdpSocket,
    local: IpAddr,
    peer: SocketAddr,
    bytes: &[u8],
    segment: Option<u16>,
) -> nix::Result<()> {
    let (info_v4, info_v6);
    let from = match local {
        IpAddr::V4(local) => {
            info_v4 = packet_info(local, 0);
            ControlMessage::Ipv4PacketInfo(&info_v4)
        }
        IpAddr::V6(local) => {
            info_v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: local.octets() }, ipi6_ifindex: 0 };
            ControlMessage::Ipv6PacketInfo(&info_v6)
        }
    };
    let (parts, to) = (&[IoSlice::new(bytes)], Some(&SockaddrStorage::from(peer)));
    let (flags, socket) = (MsgFlags::MSG_DONTWAIT, socket.as_raw_fd());
    match segment {
        Some(size) => sendmsg(socket, parts, &[from, ControlMessage::UdpGsoSegments(&size)], flags, to)?,
        None => sendmsg(socket, parts, &[from], flags, to)?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const PEER: SocketAddr = SocketAddr::new(HERE, 9);

    #[test]
    fn a_port_range_is_never_exceeded() {
        let (first, last) = (41_700, 41_703);
        let mut sockets = SocketPool::new(Ports::Range { first, last }, SPARE);
        let open: Vec<UdpSocket> = (first..=last).map(|_| sockets.connect(HERE, PEER).unwrap().0).collect();
        let mut ports: Vec<u16> = open.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, (first..=last).collect::<Vec<_>>());
        let none = sockets.connect(HERE, PEER).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn any_free_port_of_a_range_is_found() {
        let (first, last) = (41_690, 41_695);
        let mut sockets = SocketPool::new(Ports::Range { first, last }, 0);
        for start in [0, u32::from(u16::MAX) - 1, u32::from(u16::MAX)] {
            for free in first..=last {
                let others = (first..=last).filter(|port| *port != free);
                let taken: Vec<_> =
                    others.map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
                sockets.last = start;
                let (socket, _) = sockets.connect(HERE, PEER).unwrap();
                assert_eq!((socket.local_addr().unwrap().port(), taken.len()), (free, 5), "{start}");
            }
        }
    }

    #[test]
    fn a_transfer_has_the_requested_address_and_path_mtu() {
        let local = IpAddr::from([127, 0, 0, 77]);
        let (socket, mtu) = SocketPool::new(Ports::Ephemeral, SPARE).connect(local, PEER).unwrap();
        assert_eq!(socket.local_addr().unwrap().ip(), local);
        assert!(mtu.unwrap() > 1500, "loopback");
        let discovery = rustix::net::sockopt::ip_mtu_discover(&socket).unwrap();
        assert_eq!(discovery, Ipv4PathMtuDiscovery::DONT, "no don't-fragment");
    }

    /// A client's socket, and the address of the server's socket.
    fn client() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn a_reused_socket_has_no_old_packets() {
        let mut sockets = SocketPool::new(Ports::Ephemeral, SPARE);
        let ((old, old_address), (new, new_address)) = (client(), client());
        let mut ports = Vec::new();
        for _ in 0..=MIN_TRANSFERS_BETWEEN {
            let (socket, _) = sockets.connect(HERE, old_address).unwrap();
            let port = socket.local_addr().unwrap();
            assert!(!ports.contains(&port), "it was used too recently");
            old.send_to(b"late", port).unwrap();
            ports.push(port);
            sockets.take_back(HERE, socket);
        }
        let (elsewhere, _) = sockets.connect([127, 0, 0, 77].into(), new_address).unwrap();
        assert_eq!(elsewhere.local_addr().unwrap().ip(), Ipv4Addr::new(127, 0, 0, 77));
        let (socket, mtu) = sockets.connect(HERE, new_address).unwrap();
        assert_eq!(socket.local_addr().unwrap(), ports[0]);
        assert!(mtu.unwrap() > 1500, "loopback");
        let mut buf = [0; 9];
        assert_eq!(socket.recv(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        new.send_to(b"ack", ports[0]).unwrap();
        old.send_to(b"late", ports[0]).unwrap();
        assert_eq!((socket.recv(&mut buf).unwrap(), &buf[..3]), (3, b"ack".as_slice()));
        assert_eq!(socket.recv(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn spare_sockets_are_limited() {
        for (ports, max, kept) in
            [(Ports::Ephemeral, 40, 40), (Ports::Ephemeral, MIN_TRANSFERS_BETWEEN, 0), (Ports::Single, 40, 0)]
        {
            let mut pool = SocketPool::new(ports, max);
            let sockets: Vec<_> = (0..50).map(|_| pool.connect(HERE, PEER).unwrap().0).collect();
            sockets.into_iter().for_each(|socket| pool.take_back(HERE, socket));
            assert_eq!(pool.spare.len(), kept);
        }
    }

    /// The sockets themselves work for IPv6 too, from which no request arrives yet.
    #[test]
    fn sockets_for_ipv6_know_address_and_mtu() {
        let local = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let Ok(listener) = listen(SocketAddr::new(local, 0)) else { return };
        let client = UdpSocket::bind((local, 0)).unwrap();
        let peer = client.local_addr().unwrap();
        let (socket, mtu) = SocketPool::new(Ports::Ephemeral, SPARE).connect(local, peer).unwrap();
        assert_eq!(socket.local_addr().unwrap().ip(), local);
        assert!(mtu.unwrap() > 1500, "loopback");
        send_from(&listener, local, peer, b"error");
        let mut buffer = [0; 9];
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&b"error"[..], listener.local_addr().unwrap()));
        let other = for_unknown_tids(&socket).unwrap();
        assert_eq!(other.local_addr().unwrap().port(), socket.local_addr().unwrap().port());
    }
}
