//! The sockets of DHCP: one UDP socket for all interfaces, which reports the interface of each datagram, and a packet
//! socket for replies to clients on our own wires. It sends whatever it is given and never looks into a message.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc::in_pktinfo;
use nix::sys::socket::{
    ControlMessage, LinkAddr, MsgFlags, MultiHeaders, SockaddrIn, SockaddrLike, sendmmsg, setsockopt, sockopt,
};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};

use crate::dhcp::route::Route;
use crate::net::StartError;
use crate::net::bind_error;
use crate::net::datagram::packet_info;
use crate::net::packet_socket::PacketSocket;
use crate::net::served::Served;
use crate::net::snapshot::Now;
use crate::types::MacAddr;
use crate::wire::frame::{HEADERS_LEN, udp_frame_headers};

use crate::net::datagram::{BATCH, Outgoing};

/// Bytes that the kernel may queue while the server is busy: about 10,000 DISCOVERs of a boot storm.
const RECEIVE_QUEUE: usize = 8 << 20;

/// The sockets of the DHCP server. Sending needs no exclusive access, so that the committer thread sends too.
#[derive(Debug)]
pub struct DhcpSocket {
    udp: UdpSocket,
    port: u16,
    frames: Option<Frames>,
}

/// Sends frames on the served Ethernet interfaces.
#[derive(Debug)]
struct Frames {
    socket: PacketSocket,
    now: Now,
}

/// Whether another program may bind the same port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// No. A second DHCP server on this machine is reported as an error instead of losing its clients.
    Alone,
    /// Yes, if the other program allows it too. Both then receive broadcasts.
    Shared,
}

impl DhcpSocket {
    /// Binds `port` on every address; `key` is the configuration key that error messages name.
    pub fn bind(port: u16, key: &str, sharing: Sharing) -> Result<DhcpSocket, StartError> {
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let udp = open_udp(address, sharing)
            .map_err(|error| bind_error::explain(address.into(), key, sharing == Sharing::Alone, &error))?;
        Ok(DhcpSocket { udp, port, frames: None })
    }

    /// Adds a packet socket, which sends frames to clients without an address on the served interfaces. The second
    /// value is a warning if that is not possible: replies to these clients are then broadcast.
    pub fn with_frames(self, now: Now) -> (DhcpSocket, Option<String>) {
        match PacketSocket::for_sending() {
            Ok(socket) => (DhcpSocket { frames: Some(Frames { socket, now }), ..self }, None),
            Err(error) => {
                let is_ethernet =
                    now.borrow().interfaces.interfaces().any(|interface| interface.link.is_some());
                let refused = is_ethernet.then(|| {
                    format!(
                        "cannot send frames ({error}): clients without an address are answered by broadcast; \
                         run as root or grant CAP_NET_RAW (systemd/lanboot.service does)"
                    )
                });
                (self, refused)
            }
        }
    }

    /// The UDP socket, to wait until it is readable.
    pub fn udp(&self) -> &UdpSocket {
        &self.udp
    }

    /// Sends all of `outgoing` and returns the results in the same order.
    ///
    /// Each reply is one datagram in one frame. Segmentation offload would be cheaper, but virtual links (veth, virtio)
    /// pass the uncut buffer to packet sockets. DHCP clients without an address and relay agents read from packet
    /// sockets.
    pub fn send_all(&self, outgoing: &[&Outgoing]) -> Vec<io::Result<()>> {
        let now = self.frames.as_ref().map(|frames| frames.now.borrow());
        let packets: Vec<Packet<'_>> =
            outgoing.iter().map(|one| self.packet(one, now.as_ref().map(|now| &*now.interfaces))).collect();
        let mut results = Vec::with_capacity(outgoing.len());
        for run in packets.chunk_by(Packet::is_sent_with) {
            for run in run.chunks(BATCH) {
                match run {
                    [Packet::Datagram { server, interface, .. }, ..] => {
                        self.send_datagrams(*server, *interface, run, &mut results);
                    }
                    _ => self.send_frames(run, &mut results),
                }
            }
        }
        results
    }

    pub fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        self.send_all(&[outgoing]).pop().unwrap_or(Ok(()))
    }

    /// Chooses how `outgoing` leaves. Every reply on an Ethernet interface is sent as a complete frame: the kernel
    /// leaves the UDP checksum of broadcasts that it sends to the network card, and a virtual card does not fill it in.
    fn packet<'o>(&self, outgoing: &'o Outgoing, served: Option<&Served>) -> Packet<'o> {
        let Outgoing { payload, route, server, .. } = outgoing;
        let interface = served.and_then(|served| served.get(outgoing.interface));
        let wire = interface.and_then(|interface| Some((interface.link?, interface.mac?)));
        let frame = |to: SocketAddrV4, mac: MacAddr| {
            let (link, own) = wire?;
            let from = SocketAddrV4::new(*server, self.port);
            let headers = udp_frame_headers(own, mac, from, to, payload)?;
            Some(Packet::Frame { headers, payload, link })
        };
        let datagram = |to, interface| Packet::Datagram { payload, to, server: *server, interface };
        let everyone = |port| SocketAddrV4::new(Ipv4Addr::BROADCAST, port);
        match *route {
            // Index 0: the kernel's routes choose the interface, because the way back may be another one.
            Route::Unicast(to) => datagram(to, 0),
            Route::Broadcast { port } => frame(everyone(port), MacAddr::BROADCAST)
                .unwrap_or_else(|| datagram(everyone(port), outgoing.interface)),
            Route::Frame { to, mac, has_address } => frame(to, mac).unwrap_or_else(|| match has_address {
                true => datagram(to, 0),
                false => datagram(everyone(to.port()), outgoing.interface),
            }),
        }
    }

    /// Sends datagrams that have the same source address and interface, in one system call if the kernel accepts them
    /// all.
    fn send_datagrams(
        &self,
        server: Ipv4Addr,
        interface: u32,
        run: &[Packet<'_>],
        results: &mut Vec<io::Result<()>>,
    ) {
        let info = packet_info(server, interface);
        let payloads: Vec<[IoSlice<'_>; 1]> = run.iter().map(|one| [IoSlice::new(one.payload())]).collect();
        let to: Vec<Option<SockaddrIn>> = run.iter().map(Packet::destination).collect();
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        send_run(&self.udp, &payloads, &to, &control, results);
    }

    fn send_frames(&self, run: &[Packet<'_>], results: &mut Vec<io::Result<()>>) {
        let Some(Frames { socket, .. }) = &self.frames else { return };
        let payloads: Vec<[IoSlice<'_>; 2]> =
            run.iter().map(|one| [IoSlice::new(one.headers()), IoSlice::new(one.payload())]).collect();
        let to: Vec<Option<LinkAddr>> = run.iter().map(Packet::link).collect();
        send_run(socket, &payloads, &to, &[], results);
    }
}

/// A reply in the form that a socket sends.
#[derive(Debug)]
enum Packet<'o> {
    /// For the UDP socket; the kernel writes the headers. With interface 0 the kernel's routes choose the interface.
    Datagram { payload: &'o [u8], to: SocketAddrV4, server: Ipv4Addr, interface: u32 },
    /// For the packet socket.
    Frame { headers: [u8; HEADERS_LEN], payload: &'o [u8], link: LinkAddr },
}

impl Packet<'_> {
    /// Whether one system call can send both.
    fn is_sent_with(&self, other: &Packet<'_>) -> bool {
        match (self, other) {
            (
                Packet::Datagram { server, interface, .. },
                Packet::Datagram { server: other_server, interface: other_interface, .. },
            ) => (server, interface) == (other_server, other_interface),
            (Packet::Frame { .. }, Packet::Frame { .. }) => true,
            _ => false,
        }
    }

    fn payload(&self) -> &[u8] {
        match self {
            Packet::Datagram { payload, .. } | Packet::Frame { payload, .. } => payload,
        }
    }

    fn headers(&self) -> &[u8] {
        match self {
            Packet::Frame { headers, .. } => headers,
            Packet::Datagram { .. } => &[],
        }
    }

    fn destination(&self) -> Option<SockaddrIn> {
        match self {
            Packet::Datagram { to, .. } => Some(SockaddrIn::from(*to)),
            Packet::Frame { .. } => None,
        }
    }

    fn link(&self) -> Option<LinkAddr> {
        match self {
            Packet::Frame { link, .. } => Some(*link),
            Packet::Datagram { .. } => None,
        }
    }
}

/// Sends messages with `sendmmsg` and appends one result for each to `results`. After a message that the kernel refuses
/// it continues with the next one.
fn send_run<'a, S: SockaddrLike + Copy + 'a, const N: usize>(
    socket: &impl AsRawFd,
    payloads: &'a [[IoSlice<'a>; N]],
    to: &[Option<S>],
    control: &'a [ControlMessage<'a>],
    results: &mut Vec<io::Result<()>>,
) {
    let mut done = 0;
    while let (Some(payloads @ [_, ..]), Some(to)) = (payloads.get(done..), to.get(done..)) {
        let space = control.iter().map(|_| nix::cmsg_space!(in_pktinfo)).next();
        let mut headers = MultiHeaders::preallocate(payloads.len(), space);
        let sent = sendmmsg(socket.as_raw_fd(), &mut headers, payloads, to, control, MsgFlags::empty())
            .map(Iterator::count);
        match sent {
            Ok(sent) => {
                // The kernel returned 0: count the first message as sent, so that the loop ends.
                let sent = sent.max(1);
                results.extend((0..sent).map(|_| Ok(())));
                done += sent;
            }
            Err(error) => {
                results.push(Err(error.into()));
                done += 1;
            }
        }
    }
}

/// Opens a UDP socket that may broadcast and reports the interface of each datagram. It never sets don't-fragment,
/// which confuses boot ROMs.
fn open_udp(address: SocketAddrV4, sharing: Sharing) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    // With each datagram, because a request that waited too long is not answered.
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
    socket.set_reuse_address(sharing == Sharing::Shared)?;
    // The kernel caps this at net.core.rmem_max, except for root.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
        socket.set_recv_buffer_size(RECEIVE_QUEUE)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt::ip_mtu_discover;

    #[test]
    fn replies_have_no_dont_fragment() {
        let socket = DhcpSocket::bind(0, "dhcp.ports.server", Sharing::Alone).unwrap();
        assert_eq!(ip_mtu_discover(socket.udp()).unwrap(), Ipv4PathMtuDiscovery::DONT);
    }
}
