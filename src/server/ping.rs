//! Asks whether an address is in use before its first offer: by ARP on the wire, by ICMP echo behind a relay agent.
//!
//! Asking never waits. What is heard comes back over a channel; the DHCP loop knows how long to wait for it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::server::interface::{self, Interface};
use crate::types::MacAddr;
use crate::wire::{arp, icmp};

/// Answers that may wait for the DHCP loop; more are lost, as on the wire.
const HEARD: usize = 1024;
/// How often a listening thread looks whether the server is gone, and at most how often hardware addresses are looked up.
const LOOK_UP: Duration = Duration::from_secs(1);
const ETH_P_ARP: u16 = 0x0806;

/// Somebody uses an address.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// The address.
    pub address: Ipv4Addr,
    /// Who, if it was heard by ARP.
    pub by: Option<MacAddr>,
}

/// The sockets for asking.
#[derive(Debug, Default)]
pub struct Prober {
    arp: HashMap<u32, Wire>,
    icmp: Option<Socket>,
    id: u16,
    /// When the interfaces' hardware addresses were last looked up.
    looked: Option<Instant>,
}

/// An Ethernet interface.
#[derive(Debug)]
struct Wire {
    socket: Socket,
    /// Its hardware address, where answers go. A bridge has another one, or one at last, when it gets another port.
    mac: Option<MacAddr>,
}

impl Prober {
    /// Opens the sockets and starts a listening thread for each. The text says what cannot be asked and why.
    pub fn start(interfaces: &[Interface]) -> (Prober, Receiver<Heard>, Option<String>) {
        let (sender, receiver) = channel(HEARD);
        let mut prober = Prober { id: std::process::id() as u16, ..Prober::default() };
        let mut refused = None;
        for interface in interfaces {
            let Some(link) = &interface.link else { continue };
            let opened = packet_socket(link).and_then(|socket| {
                listen(socket.try_clone()?, sender.clone(), |frame| {
                    arp::user(frame).map(|(address, mac)| Heard { address, by: Some(mac) })
                })?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => drop(prober.arp.insert(interface.index, Wire { socket, mac: interface.mac })),
                Err(error) => refused = Some(error),
            }
        }
        let id = prober.id;
        let opened = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).and_then(|socket| {
            listen(socket.try_clone()?, sender, move |packet| {
                icmp::echo_reply_from(packet, id).map(|address| Heard { address, by: None })
            })?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => prober.icmp = Some(socket),
            Err(error) => refused = Some(error),
        }
        let refused = refused.map(|error| {
            format!(
                "cannot check addresses before they are offered ({error}): grant CAP_NET_RAW \
                 (systemd/lanboot.service does), or set `dhcp.conflict_check: off`"
            )
        });
        (prober, receiver, refused)
    }

    /// Asks once who uses `address`: on the wire of `interface`, or wherever it is routed. False if it cannot be asked.
    pub fn ask(&mut self, address: Ipv4Addr, interface: Option<u32>) -> bool {
        self.look_up();
        let wire = interface.and_then(|index| self.arp.get(&index));
        if let Some((socket, mac)) = wire.and_then(|wire| Some((&wire.socket, wire.mac?))) {
            return socket.send(&arp::probe(mac, address)).is_ok();
        }
        let Some(socket) = &self.icmp else { return false };
        let to = SocketAddrV4::new(address, 0);
        socket.send_to(&icmp::echo_request(self.id), &to.into()).is_ok()
    }

    /// Looks the interfaces' hardware addresses up, if that was not just done.
    fn look_up(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_UP) {
            return;
        }
        self.looked = Some(Instant::now());
        for interface in interface::list().unwrap_or_default() {
            if let Some(wire) = self.arp.get_mut(&interface.index) {
                wire.mac = interface.mac;
            }
        }
    }
}

fn packet_socket(link: &nix::sys::socket::LinkAddr) -> io::Result<Socket> {
    let arp = Protocol::from(i32::from(ETH_P_ARP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(arp))?;
    nix::sys::socket::bind(socket.as_raw_fd(), link)?;
    Ok(socket)
}

/// Reads `socket` in a thread of its own until nobody listens to what is heard there.
fn listen(
    socket: Socket,
    sender: Sender<Heard>,
    hear: impl Fn(&[u8]) -> Option<Heard> + Send + 'static,
) -> io::Result<()> {
    socket.set_read_timeout(Some(LOOK_UP))?;
    let work = move || {
        let mut buffer = [0; 2048];
        while !sender.is_closed() {
            match (&socket).read(&mut buffer) {
                Ok(len) => {
                    if let Some(heard) = buffer.get(..len).and_then(&hear) {
                        // A full queue means that many answers are known already.
                        let _ = sender.try_send(heard);
                    }
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // The interface went away or is down; it may come back.
                Err(_) => thread::sleep(LOOK_UP),
            }
        }
    };
    thread::Builder::new().name("ping".to_owned()).spawn(work)?;
    Ok(())
}
