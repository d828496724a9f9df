//! The sockets: one for requests, one for each transfer, one for errors.
//!
//! A transfer's socket is bound to the address that the request came to and connected to the client: so the kernel
//! hands a stranger's packet to another socket (`door.rs`) or to nobody, tells when the client's port is closed, and
//! looks the route up once.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrIn, getsockopt, recv, send, sendmsg, setsockopt, sockopt,
};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tftp::Ports;

/// Bytes the kernel may queue of requests while we are busy: some ten thousand, so that none is lost when a whole room
/// is switched on.
const REQUEST_QUEUE: usize = 8 << 20;
/// Bytes the kernel may queue of what is sent from the port of requests: with `tftp.ports: single` the windows of all
/// transfers, some thirty of Ethernet's.
const SEND_QUEUE: usize = 4 << 20;

/// Opens a socket for requests at `address`.
pub fn listen(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = open()?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    // The kernel grants what net.core.rmem_max and wmem_max allow; root may pass these limits.
    if setsockopt(&socket, sockopt::RcvBufForce, &REQUEST_QUEUE).is_err() {
        socket.set_recv_buffer_size(REQUEST_QUEUE)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &SEND_QUEUE).is_err() {
        socket.set_send_buffer_size(SEND_QUEUE)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A UDP socket that never waits and never sets don't-fragment: boot ROMs and tunnels choke on it.
fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
    Ok(socket)
}

/// Empties the queue of a socket that was just connected anew: what is in it came from the client before.
fn forget_received(connected: &Socket) {
    /// More than that is no client's but a flood, and the socket's queue has a limit too.
    const MOST: usize = 1024;
    for _ in 0..MOST {
        // Bad news of the way to the client before come as errors.
        if recv(connected.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT) == Err(Errno::EAGAIN) {
            return;
        }
    }
}

/// A second socket at the port of `holder`, bound to our address `local` (unspecified: all). Of two, the kernel gives a
/// datagram to the one that is connected to its sender, and otherwise to the one that is not connected.
fn beside(holder: &UdpSocket, local: Ipv4Addr) -> io::Result<Socket> {
    let socket = open()?;
    let port = holder.local_addr()?.port();
    // Two sockets of one port must both be willing; the first is so only now, lest another program joins it.
    setsockopt(holder, sockopt::ReuseAddr, &true)?;
    let bound =
        socket.set_reuse_address(true).and_then(|()| socket.bind(&SocketAddrV4::new(local, port).into()));
    setsockopt(holder, sockopt::ReuseAddr, &false)?;
    bound.map(|()| socket)
}

/// A socket at the very port of `listener`, connected to `peer`, and the largest datagram of the path: see
/// [`Opener::connect`]. For what needs a socket of its own where there is one port only.
pub fn at_port_of(
    listener: &UdpSocket,
    local: Ipv4Addr,
    peer: SocketAddrV4,
) -> io::Result<(UdpSocket, Option<u32>)> {
    let socket = beside(listener, local)?;
    socket.connect(&peer.into())?;
    let mtu = path_mtu(&socket);
    Ok((socket.into(), mtu))
}

/// A socket for what others than its client send to the port of the connected socket `transfer`. It is bound to no
/// address: then the kernel still finds the transfer's at once for each packet of the client (early demultiplexing).
pub fn for_strangers(transfer: &UdpSocket) -> io::Result<UdpSocket> {
    let socket = beside(transfer, Ipv4Addr::UNSPECIFIED)?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    // A few of them: a flood must take no memory.
    socket.set_recv_buffer_size(0)?;
    Ok(socket.into())
}

/// A socket that errors are sent from: not the port of requests, as RFC 1350 section 4 has it, and open before
/// descriptors run out. What is sent to it is not read.
pub fn for_errors() -> io::Result<UdpSocket> {
    let socket = open()?;
    socket.set_recv_buffer_size(0)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into())?;
    Ok(socket.into())
}

/// The largest datagram of the path from our address `local` to `peer`, if the kernel knows it: for who has no
/// connected socket to ask.
pub fn path_mtu_to(local: Ipv4Addr, peer: SocketAddrV4) -> Option<u32> {
    let socket = open().ok()?;
    socket.bind(&SocketAddrV4::new(local, 0).into()).ok()?;
    socket.connect(&peer.into()).ok()?;
    path_mtu(&socket)
}

fn path_mtu(connected: &Socket) -> Option<u32> {
    getsockopt(connected, sockopt::IpMtu).ok().and_then(|mtu| u32::try_from(mtu).ok())
}

/// Sockets of transfers that are over which a thread keeps at most.
pub const SPARE: usize = 64;
/// Transfers that begin before a port is used once more: what is late of the last one on it must not come to the next
/// one (RFC 1350 section 4).
const REST: usize = 32;

/// Opens sockets for transfers.
#[derive(Debug)]
pub struct Opener {
    ports: Ports,
    /// Which port of a range was taken last, counted from its first.
    last: u32,
    /// Sockets that are used again, with the address that they are bound to, by how long they have rested: to make one
    /// and to close it takes a sixth of the time of a small file.
    spare: VecDeque<(Ipv4Addr, UdpSocket)>,
    /// As many of them as there may be.
    max_spare: usize,
}

impl Opener {
    /// Opens sockets at `ports`, and keeps up to `max_spare` that are to be used again.
    pub fn new(ports: Ports, max_spare: usize) -> Opener {
        // Each thread and each start begins elsewhere, so that a port is not used again at once.
        let random = RandomState::new().hash_one(0);
        // In a range there are few ports, and they are used in turn anyway; of a few sockets none would rest for long.
        let max_spare = if ports == Ports::Ephemeral && max_spare > REST { max_spare } else { 0 };
        Opener { ports, last: (random & 0xffff) as u32, spare: VecDeque::new(), max_spare }
    }

    /// A socket at our address `local`, connected to `peer`. The second value is the largest datagram of the path, in
    /// bytes, if the kernel knows it.
    pub fn connect(&mut self, local: Ipv4Addr, peer: SocketAddrV4) -> io::Result<(UdpSocket, Option<u32>)> {
        let rested = self.spare.len() > REST && self.spare.front().is_some_and(|(at, _)| *at == local);
        let socket = match if rested { self.spare.pop_front() } else { None } {
            Some((_, socket)) => {
                let socket = Socket::from(socket);
                socket.connect(&peer.into())?;
                forget_received(&socket);
                socket
            }
            None => {
                let socket = open()?;
                self.bind(&socket, local)?;
                socket.connect(&peer.into())?;
                socket
            }
        };
        let mtu = path_mtu(&socket);
        Ok((socket.into(), mtu))
    }

    /// Takes back a socket that [`Opener::connect`] gave, changed in nothing.
    pub fn take_back(&mut self, local: Ipv4Addr, socket: UdpSocket) {
        if self.spare.len() < self.max_spare {
            self.spare.push_back((local, socket));
        }
    }

    fn bind(&mut self, socket: &Socket, local: Ipv4Addr) -> io::Result<()> {
        let Ports::Range { first, last } = self.ports else {
            return socket.bind(&SocketAddrV4::new(local, 0).into());
        };
        let count = u32::from(last.saturating_sub(first)) + 1;
        let mut outcome = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..count {
            self.last = (self.last + 1) % count;
            let port = u32::from(first) + self.last;
            let address = SocketAddrV4::new(local, u16::try_from(port).unwrap_or(last));
            outcome = socket.bind(&address.into());
            if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
        }
        outcome
    }
}

/// The way to one client.
#[derive(Debug)]
pub enum Link {
    /// A socket of its own.
    Own(UdpSocket),
    /// The socket of requests, for all of them: one port for everything.
    Shared {
        /// That socket.
        socket: Arc<UdpSocket>,
        /// Our address, as the client knows it.
        local: Ipv4Addr,
        /// The client.
        peer: SocketAddrV4,
    },
}

impl Link {
    /// Sends `bytes` as one datagram; or with `segment`, as datagrams of that many bytes each, the last one with what
    /// is left.
    pub fn send(&self, bytes: &[u8], segment: Option<u16>) -> nix::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT;
        match self {
            // The socket knows where to, and in which segments: see `Link::prepare_segments`.
            Link::Own(socket) => {
                send(socket.as_raw_fd(), bytes, flags)?;
            }
            Link::Shared { socket, local, peer } => {
                let parts = &[IoSlice::new(bytes)];
                let info = packet_info(*local);
                let from = ControlMessage::Ipv4PacketInfo(&info);
                let to = SockaddrIn::from(*peer);
                match segment {
                    Some(size) => {
                        let control = [from, ControlMessage::UdpGsoSegments(&size)];
                        sendmsg(socket.as_raw_fd(), parts, &control, flags, Some(&to))?
                    }
                    None => sendmsg(socket.as_raw_fd(), parts, &[from], flags, Some(&to))?,
                };
            }
        }
        Ok(())
    }

    /// Has the kernel cut what is sent into datagrams of `size` bytes; 0: no longer. Fails where it cannot.
    pub fn prepare_segments(&self, size: u16) -> nix::Result<()> {
        match self {
            Link::Own(socket) => setsockopt(socket, sockopt::UdpGsoSegment, &i32::from(size)),
            Link::Shared { .. } => Ok(()),
        }
    }
}

/// Sends `datagram` from `socket` with our address `local`. It may be lost: it is an error, and the client asks again.
pub fn send_from(socket: &UdpSocket, local: Ipv4Addr, peer: SocketAddrV4, datagram: &[u8]) {
    let info = packet_info(local);
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    let to = SockaddrIn::from(peer);
    let _ =
        sendmsg(socket.as_raw_fd(), &[IoSlice::new(datagram)], &control, MsgFlags::MSG_DONTWAIT, Some(&to));
}

fn packet_info(local: Ipv4Addr) -> in_pktinfo {
    in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(local.octets()) },
        ipi_addr: in_addr { s_addr: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);

    #[test]
    fn a_range_of_ports_is_used_up_and_no_other_port_taken() {
        let (first, last) = (41_700, 41_703);
        let mut opener = Opener::new(Ports::Range { first, last }, SPARE);
        let open: Vec<UdpSocket> =
            (first..=last).map(|_| opener.connect(Ipv4Addr::LOCALHOST, PEER).unwrap().0).collect();
        let mut ports: Vec<u16> = open.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, (first..=last).collect::<Vec<_>>());
        let none = opener.connect(Ipv4Addr::LOCALHOST, PEER).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_free_port_of_a_range_is_found_wherever_it_is() {
        let (first, last) = (41_690, 41_695);
        let mut opener = Opener::new(Ports::Range { first, last }, 0);
        for start in [0, u32::from(u16::MAX) - 1, u32::from(u16::MAX)] {
            for free in first..=last {
                let others = (first..=last).filter(|port| *port != free);
                let taken: Vec<_> =
                    others.map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
                opener.last = start;
                let (socket, _) = opener.connect(Ipv4Addr::LOCALHOST, PEER).unwrap();
                assert_eq!((socket.local_addr().unwrap().port(), taken.len()), (free, 5), "{start}");
            }
        }
    }

    #[test]
    fn a_transfer_has_the_address_asked_and_the_mtu_of_its_path() {
        let local = Ipv4Addr::new(127, 0, 0, 77);
        let (socket, mtu) = Opener::new(Ports::Ephemeral, SPARE).connect(local, PEER).unwrap();
        assert_eq!(socket.local_addr().unwrap().ip(), local);
        assert!(mtu.unwrap() > 1500, "loopback");
        let discovery = rustix::net::sockopt::ip_mtu_discover(&socket).unwrap();
        assert_eq!(discovery, Ipv4PathMtuDiscovery::DONT, "no don't-fragment");
    }

    /// A client's socket, and how the server's looks from there.
    fn client() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let std::net::SocketAddr::V4(address) = socket.local_addr().unwrap() else { unreachable!("IPv4") };
        (socket, address)
    }

    #[test]
    fn a_socket_is_used_again_after_a_rest_and_brings_nothing_of_its_last_client() {
        let mut opener = Opener::new(Ports::Ephemeral, SPARE);
        let ((old, old_address), (new, new_address)) = (client(), client());
        let mut ports = Vec::new();
        for _ in 0..=REST {
            let (socket, _) = opener.connect(Ipv4Addr::LOCALHOST, old_address).unwrap();
            let port = socket.local_addr().unwrap();
            assert!(!ports.contains(&port), "it has not rested");
            old.send_to(b"late", port).unwrap();
            ports.push(port);
            opener.take_back(Ipv4Addr::LOCALHOST, socket);
        }
        let (elsewhere, _) = opener.connect(Ipv4Addr::new(127, 0, 0, 77), new_address).unwrap();
        assert_eq!(elsewhere.local_addr().unwrap().ip(), Ipv4Addr::new(127, 0, 0, 77));
        let (socket, mtu) = opener.connect(Ipv4Addr::LOCALHOST, new_address).unwrap();
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
    fn no_more_sockets_are_kept_than_there_may_be() {
        for (ports, max, kept) in
            [(Ports::Ephemeral, 40, 40), (Ports::Ephemeral, REST, 0), (Ports::Single, 40, 0)]
        {
            let mut opener = Opener::new(ports, max);
            let sockets: Vec<_> =
                (0..50).map(|_| opener.connect(Ipv4Addr::LOCALHOST, PEER).unwrap().0).collect();
            sockets.into_iter().for_each(|socket| opener.take_back(Ipv4Addr::LOCALHOST, socket));
            assert_eq!(opener.spare.len(), kept);
        }
    }
}
