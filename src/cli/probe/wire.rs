//! The connection of a probe to DHCP servers: one socket for all machines, and a queue of replies for each machine.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::shared_wire::SharedWire;
use crate::net::bind_error;
use crate::net::bpf::{ETH_P_ALL, udp_to};
use crate::net::interface::Interface;
use crate::net::packet_socket::{FRAME, PacketSocket};
use crate::net::readable::register;
use crate::probe::Ports;
use crate::types::MacAddr;
use crate::wire::frame::{udp_datagram, udp_frame, udp_packet};

/// Size of the receive buffer in bytes, larger than any DHCP message or TFTP block that a probe requests.
pub(super) const DATAGRAM: usize = 2048;
/// Maximum number of replies that wait for one machine. Further ones are dropped, as on a real network.
const QUEUE_LENGTH: usize = 64;
/// Maximum number of servers whose hardware address is remembered. A network has fewer.
const MAX_SERVERS: usize = 64;
/// Size of the kernel's receive queue in bytes.
const RECEIVE_QUEUE: usize = 8 << 20;
/// Source ports of transfers, used in turn. Some servers (async-tftp) keep state of an ended transfer and would
/// mistake a new one from the same port for it, so a port is not reused soon.
const TRANSFER_PORTS: Range<u16> = 32768..60999;

/// The destination of a probe.
#[derive(Debug)]
pub(super) enum Destination {
    /// Broadcast on this interface.
    Interface(Interface),
    /// Unicast to this server.
    Server(Ipv4Addr),
}

/// A payload for a machine, and its sender.
pub(super) type Received = (Vec<u8>, SocketAddrV4);

/// The open sockets of a probe, and the queues of its machines.
pub(super) struct Wire {
    link: Link,
    ports: Ports,
    queues: Mutex<HashMap<MacAddr, Sender<Received>>>,
    next_port: AtomicU16,
}

enum Link {
    Ethernet(Box<Ethernet>),
    /// A server on loopback answers to the source port, so any port can be used.
    Loopback {
        socket: UdpSocket,
        server: SocketAddrV4,
    },
    /// Acts as a relay agent (RFC 1542 section 4.1): the server answers to `address` at the server's port.
    Relay {
        socket: UdpSocket,
        server: SocketAddrV4,
        address: Ipv4Addr,
        /// The wire of both, if the server is not behind a router.
        wire: Option<Box<SharedWire>>,
    },
}

struct Ethernet {
    interface: Interface,
    /// Receives the frames for the client's port, those of a server on this computer too, and sends frames.
    frames: AsyncFd<PacketSocket>,
    /// Sends from the interface's own address, if there is one. A server on this computer receives such packets, but
    /// not frames.
    packets: Option<(Socket, Ipv4Addr)>,
    /// The hardware addresses that servers sent from, or those of their routers.
    servers: Mutex<HashMap<Ipv4Addr, MacAddr>>,
}

impl Wire {
    /// Opens the sockets. The error is a message for people.
    pub(super) fn open(destination: &Destination, ports: Ports) -> Result<Wire, String> {
        let link = match destination {
            Destination::Interface(interface) => Link::Ethernet(Box::new(Ethernet::open(interface, ports)?)),
            Destination::Server(server) => server_link(*server, ports)?,
        };
        // A random start, because an earlier run may have just ended.
        let span = u32::from(TRANSFER_PORTS.end - TRANSFER_PORTS.start);
        let begin = u16::try_from(std::process::id().wrapping_mul(97) % span).unwrap_or(0);
        Ok(Wire { link, ports, queues: Mutex::default(), next_port: AtomicU16::new(begin) })
    }

    /// A socket at `address`, from a port that was not used recently.
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

    /// The interface for broadcasts, unless a server was named.
    pub(super) fn interface(&self) -> Option<&Interface> {
        match &self.link {
            Link::Ethernet(ethernet) => Some(&ethernet.interface),
            Link::Loopback { .. } | Link::Relay { .. } => None,
        }
    }

    /// The named server, to which broadcasts are sent instead.
    pub(super) fn server(&self) -> Option<Ipv4Addr> {
        match &self.link {
            Link::Ethernet(_) => None,
            Link::Loopback { server, .. } | Link::Relay { server, .. } => Some(*server.ip()),
        }
    }

    /// Queues replies to this machine from now on, until the receiver is dropped.
    pub(super) fn register(&self, mac: MacAddr) -> Receiver<Received> {
        let (sender, receiver) = channel(QUEUE_LENGTH);
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).insert(mac, sender);
        receiver
    }

    /// Discards replies to this machine from now on.
    pub(super) fn unregister(&self, mac: MacAddr) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).remove(&mac);
    }

    /// Sends a client's message to the server, or to all servers.
    ///
    /// # Errors
    /// Those of the kernel. A full queue is not an error; the message is then lost, as on a real network.
    pub(super) async fn send(&self, mac: MacAddr, mut payload: Vec<u8>) -> io::Result<()> {
        match &self.link {
            Link::Ethernet(ethernet) => ethernet.send(mac, &payload, self.ports).await,
            Link::Loopback { socket, server } => socket.send_to(&payload, *server).await.map(drop),
            Link::Relay { socket, server, address, .. } => {
                // Offsets of `hops` and `giaddr` in the header.
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

    /// Sends a RELEASE of `address` to its server. It must come from that address, or through the relay agent of the
    /// lease, because servers ignore others. On the server's own wire it comes from the hardware address of the machine,
    /// for the same reason. Returns false if this link cannot send it.
    pub(super) async fn release(
        &self,
        mac: MacAddr,
        payload: &[u8],
        address: Ipv4Addr,
        to: SocketAddrV4,
    ) -> io::Result<bool> {
        match &self.link {
            Link::Ethernet(ethernet) => {
                let from = SocketAddrV4::new(address, client_port(self.ports));
                ethernet.release(mac, (from, to), payload).await
            }
            Link::Relay { wire: Some(wire), .. }
                if wire.send(mac, (SocketAddrV4::new(address, client_port(self.ports)), to), payload)? =>
            {
                Ok(true)
            }
            Link::Loopback { .. } | Link::Relay { .. } => {
                self.send(mac, payload.to_vec()).await.map(|()| true)
            }
        }
    }

    /// Delivers replies to their machines, forever.
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
                // The interface is down for a moment, or a server's port is closed. The affected machines will time
                // out.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }

    /// Delivers a reply to the machine whose address is in `chaddr`.
    fn deliver(&self, received: Received) {
        let mac = received.0.get(28..34).and_then(|octets| octets.try_into().ok()).map(MacAddr);
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = mac.and_then(|mac| queues.get(&mac)) {
            // A full queue drops the reply, as a network card would.
            let _ = queue.try_send(received);
        }
    }
}

fn server_link(server: Ipv4Addr, ports: Ports) -> Result<Link, String> {
    let to = SocketAddrV4::new(server, ports.dhcp);
    let address = local_address(to).map_err(|error| format!("there is no route to {server}: {error}"))?;
    if server.is_loopback() {
        let socket = udp(SocketAddrV4::new(address, 0)).map_err(|error| error.to_string())?;
        return Ok(Link::Loopback { socket, server: to });
    }
    let own = SocketAddrV4::new(address, ports.dhcp);
    let socket = udp(own).map_err(|error| {
        let why = bind_error::explain(own.into(), "--dhcp-port", false, &error);
        format!("a server answers relay agents at its own port: {why}")
    })?;
    Ok(Link::Relay { socket, server: to, address, wire: SharedWire::with(server).map(Box::new) })
}

/// The source address of packets to `to`.
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
        Ok(Ethernet { interface: interface.clone(), frames, packets, servers: Mutex::default() })
    }

    /// Broadcasts from the interface's address, or from 0.0.0.0 if it has none.
    async fn send(&self, mac: MacAddr, payload: &[u8], ports: Ports) -> io::Result<()> {
        let broadcast = SocketAddrV4::new(Ipv4Addr::BROADCAST, ports.dhcp);
        let from = |address| SocketAddrV4::new(address, client_port(ports));
        let sent = match &self.packets {
            Some((socket, own)) => {
                let packet = udp_packet(from(*own), broadcast, payload).ok_or(ErrorKind::InvalidInput)?;
                socket.send_to(&packet, &broadcast.into()).map(drop)
            }
            None => {
                // The frame has the machine's source address, because switches learn the machine's port from it.
                let unspecified = from(Ipv4Addr::UNSPECIFIED);
                let frame = udp_frame(mac, MacAddr::BROADCAST, unspecified, broadcast, payload);
                let frame = frame.ok_or(ErrorKind::InvalidInput)?;
                self.frames.async_io(Interest::WRITABLE, |socket| socket.send(&frame)).await
            }
        };
        match sent {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends a RELEASE from the hardware address of the machine, because a server may ignore one from another hardware
    /// address. A server on this computer receives no frames, so it gets a packet, as does one that is not known yet.
    async fn release(
        &self,
        mac: MacAddr,
        (from, to): (SocketAddrV4, SocketAddrV4),
        payload: &[u8],
    ) -> io::Result<bool> {
        let server = self.servers.lock().unwrap_or_else(PoisonError::into_inner).get(to.ip()).copied();
        if let Some(server) = server.filter(|server| Some(*server) != self.interface.mac) {
            let frame = udp_frame(mac, server, from, to, payload).ok_or(ErrorKind::InvalidInput)?;
            self.frames.async_io(Interest::WRITABLE, |socket| socket.send(&frame)).await?;
            return Ok(true);
        }
        let Some((socket, _)) = &self.packets else { return Ok(false) };
        let packet = udp_packet(from, to, payload).ok_or(ErrorKind::InvalidInput)?;
        socket.send_to(&packet, &to.into()).map(|_| true)
    }

    /// Remembers the hardware address of a server that sent a reply.
    fn note_server(&self, server: Ipv4Addr, mac: MacAddr) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.len() < MAX_SERVERS || servers.contains_key(&server) {
            servers.insert(server, mac);
        }
    }

    /// Reads the next datagram to the client's port; `None` for a frame that is no such datagram.
    async fn receive(&self, ports: Ports) -> io::Result<Option<Received>> {
        let receive = |socket: &PacketSocket| {
            let mut buffer = [0; FRAME];
            let Some((frame, _)) = socket.receive(&mut buffer)? else { return Ok(None) };
            let datagram = udp_datagram(frame).filter(|it| it.destination.port() == client_port(ports));
            Ok(datagram.map(|it| {
                self.note_server(*it.source.ip(), it.from);
                (it.payload.to_vec(), it.source)
            }))
        };
        self.frames.async_io(Interest::READABLE, receive).await
    }
}

/// The port to which servers send replies: the one after their own.
fn client_port(ports: Ports) -> u16 {
    ports.dhcp.saturating_add(1)
}

/// A socket for sending whole IPv4 packets on one interface.
fn packet_socket(interface: &str) -> io::Result<Socket> {
    /// Protocol number for packets with their own IP header.
    const IPPROTO_RAW: i32 = 255;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}
