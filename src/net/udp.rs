//! The DHCP server's sockets: one UDP socket for all interfaces, which reports where each datagram came in, and a packet
//! socket for replies to clients on our own wires.

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
use crate::net::served::{Now, Served};
use crate::types::MacAddr;
use crate::wire::frame::{HEADERS_LEN, udp_frame_headers};

pub use crate::net::datagram::{BATCH, Envelope, Inbox, Outgoing};

/// Bytes the kernel may queue for us while we are busy: a boot storm of about 10,000 DISCOVERs.
const RECEIVE_QUEUE: usize = 8 << 20;

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
    socket: PacketSocket,
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

impl DhcpSocket {
    /// Binds `port`, which the configuration says at `key`, on every address.
    pub fn bind(port: u16, key: &str, sharing: Sharing) -> Result<DhcpSocket, StartError> {
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let udp = open_udp(address, sharing)
            .map_err(|error| bind_error::explain(address, key, sharing == Sharing::Alone, &error))?;
        Ok(DhcpSocket { udp, port, frames: None })
    }

    /// The same, with frames for clients without an address on what is `served`. The second value says why that cannot
    /// be, if so: their replies are then broadcast.
    pub fn with_frames(self, served: Now) -> (DhcpSocket, Option<String>) {
        match PacketSocket::for_sending() {
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
    /// Each reply is one datagram in one frame, whatever else leaves with it. Segmentation offload would be cheaper, but
    /// virtual links (veth, virtio) hand the uncut buffer to packet sockets, and a DHCP client without an address and
    /// every relay agent read from one.
    pub fn send_all(&self, outgoing: &[&Outgoing]) -> Vec<io::Result<()>> {
        let served = self.frames.as_ref().map(|frames| frames.served.borrow());
        let parcels: Vec<Parcel<'_>> =
            outgoing.iter().map(|one| self.parcel(one, served.as_deref().map(|served| &**served))).collect();
        let mut results = Vec::with_capacity(outgoing.len());
        for run in parcels.chunk_by(Parcel::leaves_with) {
            for run in run.chunks(BATCH) {
                match run {
                    [Parcel::Datagram { server, interface, .. }, ..] => {
                        self.send_datagrams(*server, *interface, run, &mut results);
                    }
                    _ => self.send_frames(run, &mut results),
                }
            }
        }
        results
    }

    /// Sends `outgoing`.
    pub fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        self.send_all(&[outgoing]).pop().unwrap_or(Ok(()))
    }

    /// How `outgoing` leaves. All that goes to the wire of an Ethernet interface leaves as a frame that is complete: the
    /// kernel leaves the UDP checksum of its own broadcasts to the network card, and a virtual one fills in none.
    fn parcel<'o>(&self, outgoing: &'o Outgoing, served: Option<&Served>) -> Parcel<'o> {
        let Outgoing { payload, route, server, .. } = outgoing;
        let interface = served.and_then(|served| served.get(outgoing.interface));
        let wire = interface.and_then(|interface| Some((interface.link?, interface.mac?)));
        let frame = |to: SocketAddrV4, mac: MacAddr| {
            let (link, own) = wire?;
            let from = SocketAddrV4::new(*server, self.port);
            let headers = udp_frame_headers(own, mac, from, to, payload)?;
            Some(Parcel::Frame { headers, payload, link })
        };
        let datagram = |to, interface| Parcel::Datagram { payload, to, server: *server, interface };
        let everyone = |port| SocketAddrV4::new(Ipv4Addr::BROADCAST, port);
        match *route {
            // Index 0: the kernel's routes choose the interface, for the way back may be another.
            Route::Unicast(to) => datagram(to, 0),
            Route::Broadcast { port } => frame(everyone(port), MacAddr::BROADCAST)
                .unwrap_or_else(|| datagram(everyone(port), outgoing.interface)),
            Route::Frame { to, mac, has_address } => frame(to, mac).unwrap_or_else(|| match has_address {
                true => datagram(to, 0),
                false => datagram(everyone(to.port()), outgoing.interface),
            }),
        }
    }

    /// Sends a run of datagrams that have one source address and one interface, with one system call where the kernel
    /// takes them all.
    fn send_datagrams(
        &self,
        server: Ipv4Addr,
        interface: u32,
        run: &[Parcel<'_>],
        results: &mut Vec<io::Result<()>>,
    ) {
        let info = packet_info(server, interface);
        let payloads: Vec<[IoSlice<'_>; 1]> = run.iter().map(|one| [IoSlice::new(one.payload())]).collect();
        let to: Vec<Option<SockaddrIn>> = run.iter().map(Parcel::destination).collect();
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        send_run(&self.udp, &payloads, &to, &control, results);
    }

    fn send_frames(&self, run: &[Parcel<'_>], results: &mut Vec<io::Result<()>>) {
        let Some(Frames { socket, .. }) = &self.frames else { return };
        let payloads: Vec<[IoSlice<'_>; 2]> =
            run.iter().map(|one| [IoSlice::new(one.headers()), IoSlice::new(one.payload())]).collect();
        let to: Vec<Option<LinkAddr>> = run.iter().map(Parcel::link).collect();
        send_run(socket, &payloads, &to, &[], results);
    }
}

/// A reply in the form in which a socket takes it.
#[derive(Debug)]
enum Parcel<'o> {
    /// For the UDP socket; the kernel writes the headers. Interface 0: wherever its routes lead.
    Datagram { payload: &'o [u8], to: SocketAddrV4, server: Ipv4Addr, interface: u32 },
    /// For the packet socket.
    Frame { headers: [u8; HEADERS_LEN], payload: &'o [u8], link: LinkAddr },
}

impl Parcel<'_> {
    /// Whether one system call can send both.
    fn leaves_with(&self, other: &Parcel<'_>) -> bool {
        match (self, other) {
            (
                Parcel::Datagram { server, interface, .. },
                Parcel::Datagram { server: other_server, interface: other_interface, .. },
            ) => (server, interface) == (other_server, other_interface),
            (Parcel::Frame { .. }, Parcel::Frame { .. }) => true,
            _ => false,
        }
    }

    fn payload(&self) -> &[u8] {
        match self {
            Parcel::Datagram { payload, .. } | Parcel::Frame { payload, .. } => payload,
        }
    }

    fn headers(&self) -> &[u8] {
        match self {
            Parcel::Frame { headers, .. } => headers,
            Parcel::Datagram { .. } => &[],
        }
    }

    fn destination(&self) -> Option<SockaddrIn> {
        match self {
            Parcel::Datagram { to, .. } => Some(SockaddrIn::from(*to)),
            Parcel::Frame { .. } => None,
        }
    }

    fn link(&self) -> Option<LinkAddr> {
        match self {
            Parcel::Frame { link, .. } => Some(*link),
            Parcel::Datagram { .. } => None,
        }
    }
}

/// Sends messages by `sendmmsg` and appends one result for each to `results`: after one that the kernel refuses it goes
/// on with the next one.
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
                // The kernel says 0 of none; then the first one counts as sent, lest this goes on forever.
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
