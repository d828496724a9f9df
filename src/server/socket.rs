//! The DHCP socket: one UDP socket on every interface that tells where each datagram came in and sends where it is
//! told to, and a packet socket for clients that have no address yet.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType,
    SockaddrIn, recvmmsg, sendmsg, sendto, setsockopt, socket, sockopt,
};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};

use crate::dhcp::route::Route;
use crate::server::StartError;
use crate::server::port;
use crate::server::served::Now;
use crate::types::MacAddr;
use crate::wire::frame::udp_frame;

/// Datagrams taken from the kernel in one system call.
pub const BATCH: usize = 64;
/// Bytes of a datagram that are read. DHCP messages fit an Ethernet frame; what is longer is cut and so marked.
const BUFFER: usize = 2048;
/// Bytes the kernel may queue for us while we are busy: a boot storm of about 10,000 DISCOVERs.
const RECEIVE_QUEUE: usize = 8 << 20;

/// Datagrams that the kernel cuts one into at most (UDP_MAX_SEGMENTS), and the bytes that one can have.
const MAX_SEGMENTS: usize = 64;
const MAX_SEGMENTED: usize = 65_507;

/// The sockets of the DHCP server. Sending needs no exclusive access, so the committer sends too.
#[derive(Debug)]
pub struct DhcpSocket {
    udp: UdpSocket,
    port: u16,
    frames: Option<Frames>,
}

/// Sends frames on the Ethernet interfaces that are served.
#[derive(Debug)]
struct Frames {
    socket: OwnedFd,
    served: Now,
}

/// Whether another program may have the same port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// No: a second DHCP server on this machine is to be found, and not starved.
    Alone,
    /// Yes, if that one lets us: broadcasts come to both.
    Shared,
}

/// A reply ready to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The message.
    pub payload: Vec<u8>,
    /// The way it goes.
    pub route: Route,
    /// The number of the interface for broadcasts and frames.
    pub interface: u32,
    /// The address it comes from.
    pub server: Ipv4Addr,
}

impl DhcpSocket {
    /// Binds `port`, which the configuration says at `key`, on every address.
    pub fn bind(port: u16, key: &str, sharing: Sharing) -> Result<DhcpSocket, StartError> {
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let udp = open_udp(address, sharing)
            .map_err(|error| port::explain(address, key, sharing == Sharing::Alone, &error))?;
        Ok(DhcpSocket { udp, port, frames: None })
    }

    /// The same, with frames for clients without an address on what is `served`. The second value says why that cannot
    /// be, if so: their replies are then broadcast.
    pub fn with_frames(self, served: Now) -> (DhcpSocket, Option<String>) {
        // Protocol 0: this socket sends and never receives.
        match socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None) {
            Ok(socket) => (DhcpSocket { frames: Some(Frames { socket, served }), ..self }, None),
            Err(error) => {
                let is_ethernet = served.borrow().interfaces().any(|interface| interface.link.is_some());
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

    /// The UDP socket, for waiting on it.
    pub fn udp(&self) -> &UdpSocket {
        &self.udp
    }

    /// Sends all of `outgoing`; the results are in their order.
    ///
    /// Replies that go the same way and are of one length, as those to the clients of a relay agent often are, leave as
    /// one (UDP segmentation offload): the way through the kernel costs more than everything that is decided here.
    pub fn send_all(&self, outgoing: &[&Outgoing]) -> Vec<io::Result<()>> {
        let mut results = Vec::with_capacity(outgoing.len());
        for run in outgoing.chunk_by(|one, next| one.goes_as(next)) {
            let most = (MAX_SEGMENTED / run.first().map_or(1, |one| one.payload.len().max(1)))
                .clamp(1, MAX_SEGMENTS);
            for run in run.chunks(most) {
                // One by one if the kernel or the interface cannot do that, and to know which one failed.
                if run.len() > 1 && self.send_segmented(run).is_ok() {
                    results.extend(run.iter().map(|_| Ok(())));
                } else {
                    results.extend(run.iter().map(|one| self.send(one)));
                }
            }
        }
        results
    }

    /// Sends `outgoing`.
    pub fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        match outgoing.route {
            // Index 0: the kernel's routes choose the interface, for the way back may be another.
            Route::Unicast(to) => self.send_udp(outgoing, to, 0),
            Route::Broadcast { port } => {
                self.send_udp(outgoing, SocketAddrV4::new(Ipv4Addr::BROADCAST, port), outgoing.interface)
            }
            Route::Frame { to, mac } => match self.way_of_frames(outgoing.interface) {
                Some(way) => self.send_frame(way, outgoing, to, mac),
                None => {
                    let everyone = SocketAddrV4::new(Ipv4Addr::BROADCAST, to.port());
                    self.send_udp(outgoing, everyone, outgoing.interface)
                }
            },
        }
    }

    /// The socket for frames, the interface of that number as it wants it, and the hardware address they come from.
    fn way_of_frames(&self, interface: u32) -> Option<(&OwnedFd, LinkAddr, MacAddr)> {
        let Frames { socket, served } = self.frames.as_ref()?;
        let served = served.borrow();
        let interface = served.get(interface)?;
        Some((socket, interface.link?, interface.mac?))
    }

    fn send_udp(&self, outgoing: &Outgoing, to: SocketAddrV4, interface: u32) -> io::Result<()> {
        let info = packet_info(outgoing.server, interface);
        let payload = [IoSlice::new(&outgoing.payload)];
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        sendmsg(self.udp.as_raw_fd(), &payload, &control, MsgFlags::empty(), Some(&SockaddrIn::from(to)))?;
        Ok(())
    }

    /// Sends a run of replies as one datagram that the kernel or the network card cuts up.
    fn send_segmented(&self, run: &[&Outgoing]) -> io::Result<()> {
        let (to, interface) = match run {
            [Outgoing { route: Route::Unicast(to), .. }, ..] => (*to, 0),
            [Outgoing { route: Route::Broadcast { port }, interface, .. }, ..] => {
                (SocketAddrV4::new(Ipv4Addr::BROADCAST, *port), *interface)
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let info = packet_info(run[0].server, interface);
        let length = u16::try_from(run[0].payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let payloads: Vec<IoSlice<'_>> = run.iter().map(|one| IoSlice::new(&one.payload)).collect();
        let control = [ControlMessage::Ipv4PacketInfo(&info), ControlMessage::UdpGsoSegments(&length)];
        sendmsg(self.udp.as_raw_fd(), &payloads, &control, MsgFlags::empty(), Some(&SockaddrIn::from(to)))?;
        Ok(())
    }

    fn send_frame(
        &self,
        (socket, link, own): (&OwnedFd, LinkAddr, MacAddr),
        outgoing: &Outgoing,
        to: SocketAddrV4,
        mac: MacAddr,
    ) -> io::Result<()> {
        let from = SocketAddrV4::new(outgoing.server, self.port);
        let frame = udp_frame(own, mac, from, to, &outgoing.payload).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the reply does not fit a datagram")
        })?;
        sendto(socket.as_raw_fd(), &frame, &link, MsgFlags::empty())?;
        Ok(())
    }
}

impl Outgoing {
    /// Whether the two differ in nothing but what they say.
    fn goes_as(&self, other: &Outgoing) -> bool {
        (self.route, self.interface, self.server, self.payload.len())
            == (other.route, other.interface, other.server, other.payload.len())
    }
}

/// What tells the kernel the source address and, unless it is 0, the interface of a datagram.
pub(super) fn packet_info(from: Ipv4Addr, interface: u32) -> in_pktinfo {
    in_pktinfo {
        ipi_ifindex: i32::try_from(interface).unwrap_or(0),
        ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
        ipi_addr: in_addr { s_addr: 0 },
    }
}

/// A UDP socket that may broadcast, is told the interface of each datagram, and never sets don't-fragment (it confuses
/// boot ROMs).
fn open_udp(address: SocketAddrV4, sharing: Sharing) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
    socket.set_reuse_address(sharing == Sharing::Shared)?;
    // The kernel grants what net.core.rmem_max allows; root may pass that limit.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
        socket.set_recv_buffer_size(RECEIVE_QUEUE)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Buffers for receiving [`BATCH`] datagrams at once.
pub struct Inbox {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; BUFFER]>,
    envelopes: Vec<Envelope>,
}

/// What the kernel says of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// Bytes it had; those beyond the buffer are lost.
    pub len: usize,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// The number of the interface it came in on.
    pub interface: u32,
    /// The address it was sent to.
    pub destination: Ipv4Addr,
    /// The address of ours that an answer comes from: the same, unless it was sent to all.
    pub local: Ipv4Addr,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox {
            headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(in_pktinfo))),
            buffers: vec![[0; BUFFER]; BATCH],
            envelopes: Vec::with_capacity(BATCH),
        }
    }
}

impl Inbox {
    /// Takes what is waiting at `socket`, up to [`BATCH`] datagrams; `WouldBlock` if there is nothing.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.envelopes.clear();
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let received = recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None)?;
        for message in received {
            let mut envelope = Envelope {
                len: message.bytes,
                source: message
                    .address
                    .map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), SocketAddrV4::from),
                interface: 0,
                destination: Ipv4Addr::UNSPECIFIED,
                local: Ipv4Addr::UNSPECIFIED,
            };
            for control in message.cmsgs()? {
                if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
                    envelope.interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                    envelope.destination = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    envelope.local = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                }
            }
            self.envelopes.push(envelope);
        }
        Ok(())
    }

    /// Whether the last [`Inbox::receive`] took as many as it can, so that more may be waiting.
    pub fn is_full(&self) -> bool {
        self.envelopes.len() == BATCH
    }

    /// The datagrams of the last [`Inbox::receive`].
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Envelope)> {
        self.envelopes.iter().zip(&self.buffers).map(|(envelope, buffer)| {
            let len = envelope.len.min(BUFFER);
            (&buffer[..len], *envelope)
        })
    }
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

    #[test]
    fn a_datagram_that_was_cut_says_how_long_it_was() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(&[7; 3 * BUFFER], socket.local_addr().unwrap()).unwrap();
        let mut inbox = Inbox::default();
        inbox.receive(&socket).unwrap();
        let (bytes, envelope) = inbox.iter().next().unwrap();
        assert_eq!((bytes, envelope.len), (&[7; BUFFER][..], 3 * BUFFER));
    }
}
