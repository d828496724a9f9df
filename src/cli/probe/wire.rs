//! The way to the DHCP servers and back: one socket for all machines of a probe.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::net::bind_error;
use crate::net::bpf::{ACCEPT, ETH_P_ALL, JUMP_IF_EQUAL, LOAD_HALF_AT_X, REJECT, unfragmented_udp};
use crate::net::interface::Interface;
use crate::net::packet_socket::{FRAME, PacketSocket};
use crate::net::readable::register;
use crate::probe::Ports;
use crate::types::MacAddr;
use crate::wire::frame::{udp_datagram, udp_frame, udp_packet};

/// Bytes of a datagram that are read: more than any DHCP message or TFTP block that we ask for.
pub(super) const DATAGRAM: usize = 2048;
/// Replies that may wait for one machine; more are lost, as on the wire.
const INBOX: usize = 64;
/// Bytes the kernel may queue for us.
const RECEIVE_QUEUE: usize = 8 << 20;
/// The ports that transfers come from, one after the other. A server may hold on to a transfer that we have ended, and take
/// the next one from the same port for that (async-tftp does), so none is used again soon.
const TRANSFER_PORTS: Range<u16> = 32768..60999;

/// Where a probe asks.
#[derive(Debug)]
pub(super) enum Way {
    /// On this interface, by broadcast.
    Interface(Interface),
    /// This server only, by unicast.
    Server(Ipv4Addr),
}

/// A payload that came for a machine, and its sender.
pub(super) type Received = (Vec<u8>, SocketAddrV4);

/// The open way.
pub(super) struct Wire {
    link: Link,
    ports: Ports,
    inboxes: Mutex<HashMap<MacAddr, Sender<Received>>>,
    next_port: AtomicU16,
}

enum Link {
    Ethernet(Box<Ethernet>),
    /// Another loopback port asks: the server answers to the port that asked.
    Loopback {
        socket: UdpSocket,
        server: SocketAddrV4,
    },
    /// What a relay agent does (RFC 1542 section 4.1): the server answers to `address`, at the server's port.
    Relay {
        socket: UdpSocket,
        server: SocketAddrV4,
        address: Ipv4Addr,
    },
}

struct Ethernet {
    interface: Interface,
    /// Reads the datagrams to the client's port, and sends frames. It also sees what a server on this machine sends.
    frames: AsyncFd<PacketSocket>,
    /// Sends from the interface's own address, if it has one: a server on this machine hears that too, which it would not
    /// of a frame.
    packets: Option<(Socket, Ipv4Addr)>,
}

impl Wire {
    /// Opens the sockets; why not, for a person, if that cannot be.
    pub(super) fn open(way: &Way, ports: Ports) -> Result<Wire, String> {
        let link = match way {
            Way::Interface(interface) => Link::Ethernet(Box::new(Ethernet::open(interface, ports)?)),
            Way::Server(server) => server_link(*server, ports)?,
        };
        // Begins anywhere, for an earlier run may just have ended.
        let span = u32::from(TRANSFER_PORTS.end - TRANSFER_PORTS.start);
        let begin = u16::try_from(std::process::id().wrapping_mul(97) % span).unwrap_or(0);
        Ok(Wire { link, ports, inboxes: Mutex::default(), next_port: AtomicU16::new(begin) })
    }

    /// A socket at `address` from a port that was not used for long.
    pub(super) fn transfer_socket(&self, address: Ipv4Addr) -> io::Result<UdpSocket> {
        let span = TRANSFER_PORTS.end - TRANSFER_PORTS.start;
        loop {
            let port = TRANSFER_PORTS.start + self.next_port.fetch_add(1, Ordering::Relaxed) % span;
            match udp(SocketAddrV4::new(address, port)) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                socket => return socket,
            }
        }
    }

    /// The interface that is asked on.
    pub(super) fn interface(&self) -> Option<&Interface> {
        match &self.link {
            Link::Ethernet(ethernet) => Some(&ethernet.interface),
            Link::Loopback { .. } | Link::Relay { .. } => None,
        }
    }

    /// Where broadcasts go instead, if there is one server to ask.
    pub(super) fn server(&self) -> Option<Ipv4Addr> {
        match &self.link {
            Link::Ethernet(_) => None,
            Link::Loopback { server, .. } | Link::Relay { server, .. } => Some(*server.ip()),
        }
    }

    /// From now on replies to this machine are kept for it, until it lets go of the receiver.
    pub(super) fn register(&self, mac: MacAddr) -> Receiver<Received> {
        let (sender, receiver) = channel(INBOX);
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(mac, sender);
        receiver
    }

    /// Replies to this machine are of no interest any more.
    pub(super) fn forget(&self, mac: MacAddr) {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner).remove(&mac);
    }

    /// Sends a client's message to the server, or to all of them.
    ///
    /// # Errors
    /// What the kernel says; a full queue is none, the message is then lost, as on the wire.
    pub(super) async fn send(&self, mac: MacAddr, mut payload: Vec<u8>) -> io::Result<()> {
        match &self.link {
            Link::Ethernet(ethernet) => ethernet.send(mac, &payload, self.ports).await,
            Link::Loopback { socket, server } => socket.send_to(&payload, *server).await.map(drop),
            Link::Relay { socket, server, address } => {
                // Bytes of the header: hops, and giaddr.
                if let Some(hops) = payload.get_mut(3) {
                    *hops = 1;
                }
                if let Some(giaddr) = payload.get_mut(24..28) {
                    giaddr.copy_from_slice(&address.octets());
                }
                socket.send_to(&payload, *server).await.map(drop)
            }
        }
    }

    /// Sends a RELEASE of `address` to its server. It has to come from that address, or through the relay agent that the
    /// lease came through: a server believes nobody else.
    pub(super) async fn release(
        &self,
        mac: MacAddr,
        payload: Vec<u8>,
        address: Ipv4Addr,
        to: SocketAddrV4,
    ) -> io::Result<()> {
        match &self.link {
            Link::Ethernet(ethernet) => {
                let from = SocketAddrV4::new(address, client_port(self.ports));
                let Some((socket, _)) = &ethernet.packets else { return Ok(()) };
                let packet = udp_packet(from, to, &payload).ok_or(ErrorKind::InvalidInput)?;
                socket.send_to(&packet, &to.into()).map(drop)
            }
            Link::Loopback { .. } | Link::Relay { .. } => self.send(mac, payload).await,
        }
    }

    /// Hands what arrives to the machine that it is for, for ever.
    pub(super) async fn listen(self: Arc<Self>) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let heard = match &self.link {
                Link::Ethernet(ethernet) => ethernet.receive(self.ports).await,
                Link::Loopback { socket, .. } | Link::Relay { socket, .. } => {
                    match socket.recv_from(&mut buffer).await {
                        Ok((len, SocketAddr::V4(from))) => Ok(Some((buffer[..len].to_vec(), from))),
                        Ok((_, SocketAddr::V6(_))) => Ok(None),
                        Err(error) => Err(error),
                    }
                }
            };
            match heard {
                Ok(Some(received)) => self.deliver(received),
                Ok(None) => {}
                // The interface is down for a moment, or a server's port is closed: its machines will time out.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }

    /// `chaddr` says for whom it is.
    fn deliver(&self, received: Received) {
        let mac = received.0.get(28..34).and_then(|octets| octets.try_into().ok()).map(MacAddr);
        let inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = mac.and_then(|mac| inboxes.get(&mac)) {
            // A full inbox loses it, as a network card would.
            let _ = inbox.try_send(received);
        }
    }
}

fn server_link(server: Ipv4Addr, ports: Ports) -> Result<Link, String> {
    let to = SocketAddrV4::new(server, ports.dhcp);
    let address = local_address(to).map_err(|error| format!("there is no way to {server}: {error}"))?;
    if server.is_loopback() {
        let socket = udp(SocketAddrV4::new(address, 0)).map_err(|error| error.to_string())?;
        return Ok(Link::Loopback { socket, server: to });
    }
    let own = SocketAddrV4::new(address, ports.dhcp);
    let socket = udp(own).map_err(|error| {
        let why = bind_error::explain(own, "--dhcp-port", false, &error);
        format!("a server answers relay agents at its own port: {why}")
    })?;
    Ok(Link::Relay { socket, server: to, address })
}

/// The address that packets to `to` come from.
pub(super) fn local_address(to: SocketAddrV4) -> io::Result<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    match socket.local_addr()? {
        SocketAddr::V4(address) => Ok(*address.ip()),
        SocketAddr::V6(_) => Err(ErrorKind::Unsupported.into()),
    }
}

/// A UDP socket for the runtime.
pub(super) fn udp(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_broadcast(true)?;
    socket.set_recv_buffer_size(RECEIVE_QUEUE)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

impl Ethernet {
    fn open(interface: &Interface, ports: Ports) -> Result<Ethernet, String> {
        let name = &interface.name;
        let Some(link) = &interface.link else {
            return Err(format!("interface {name} is not Ethernet"));
        };
        let refused = |error: io::Error| {
            let advice = match error.kind() {
                ErrorKind::PermissionDenied => {
                    ": run it as root or grant CAP_NET_RAW (`sudo setcap cap_net_raw+ep` on the program), or ask a \
                     server on loopback with --server 127.0.0.1"
                }
                _ => "",
            };
            format!("cannot listen for frames on {name} ({error}){advice}")
        };
        let filter = udp_to(client_port(ports));
        let frames = PacketSocket::on_interface(link, ETH_P_ALL, &filter, RECEIVE_QUEUE).map_err(refused)?;
        let packets = match interface.addresses.first() {
            Some(address) => Some((packet_socket(name).map_err(refused)?, *address)),
            None => None,
        };
        let frames = register(frames, Interest::READABLE | Interest::WRITABLE).map_err(refused)?;
        Ok(Ethernet { interface: interface.clone(), frames, packets })
    }

    /// Broadcasts: from the interface's address if it has one, else as a machine without one does.
    async fn send(&self, mac: MacAddr, payload: &[u8], ports: Ports) -> io::Result<()> {
        let everyone = SocketAddrV4::new(Ipv4Addr::BROADCAST, ports.dhcp);
        let from = |address| SocketAddrV4::new(address, client_port(ports));
        let sent = match &self.packets {
            Some((socket, own)) => {
                let packet = udp_packet(from(*own), everyone, payload).ok_or(ErrorKind::InvalidInput)?;
                socket.send_to(&packet, &everyone.into()).map(drop)
            }
            None => {
                // A switch learns where a machine is from the address its frames come from.
                let nobody = from(Ipv4Addr::UNSPECIFIED);
                let frame = udp_frame(mac, MacAddr::BROADCAST, nobody, everyone, payload);
                let frame = frame.ok_or(ErrorKind::InvalidInput)?;
                self.frames.async_io(Interest::WRITABLE, |socket| socket.send(&frame)).await
            }
        };
        match sent {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads the next datagram to the client's port; `None` for a frame that is no such datagram.
    async fn receive(&self, ports: Ports) -> io::Result<Option<Received>> {
        let receive = |socket: &PacketSocket| {
            let mut buffer = [0; FRAME];
            let Some((frame, _)) = socket.receive(&mut buffer)? else { return Ok(None) };
            let datagram = udp_datagram(frame).filter(|it| it.destination.port() == client_port(ports));
            Ok(datagram.map(|it| (it.payload.to_vec(), it.source)))
        };
        self.frames.async_io(Interest::READABLE, receive).await
    }
}

/// Where servers answer clients: the port after theirs.
fn client_port(ports: Ports) -> u16 {
    ports.dhcp.saturating_add(1)
}

/// A socket for whole IPv4 packets out of one interface.
fn packet_socket(interface: &str) -> io::Result<Socket> {
    /// The protocol number of packets that bring their own header.
    const IPPROTO_RAW: i32 = 255;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}

/// The filter for "unfragmented UDP over IPv4 to `port`".
fn udp_to(port: u16) -> Vec<SockFilter> {
    let mut filter = Vec::from(unfragmented_udp());
    filter.extend([
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, 16),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, port.into()),
        REJECT,
        ACCEPT,
    ]);
    filter
}
