//! Asks whether an address is in use before its first offer: by ARP on the wire, by ICMP echo behind a relay agent.
//!
//! Asking never waits. What is heard comes back over a channel; the DHCP loop knows how long to wait for it.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use nix::sys::socket::LinkAddr;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::net::bpf::ETH_P_ARP;
use crate::net::packet_socket::{FRAME, PacketSocket};
use crate::net::served::Now;
use crate::types::MacAddr;
use crate::wire::{arp, icmp};

/// Answers that may wait for the DHCP loop; more are lost, as on the wire.
const HEARD: usize = 1024;
/// How often a listening thread looks whether the server is gone.
const LOOK_UP: Duration = Duration::from_secs(1);

/// A machine uses an address.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// The address.
    pub address: Ipv4Addr,
    /// The machine's hardware address as it states it, if it was heard by ARP.
    pub by: Option<MacAddr>,
    /// The hardware address that the frame came from, if it was heard by ARP.
    pub from: Option<MacAddr>,
    /// Whether it was an ARP request: the machine asks for another one, and no probe of ours.
    pub asks: bool,
}

/// The sockets for asking.
#[derive(Debug)]
pub struct Prober {
    arp: Option<PacketSocket>,
    icmp: Option<Socket>,
    id: u16,
    served: Now,
}

impl Prober {
    /// Opens the sockets and starts a listening thread for each. The text says what cannot be asked and why.
    pub fn start(served: Now) -> (Prober, Receiver<Heard>, Option<String>) {
        let (sender, receiver) = channel(HEARD);
        let mut prober =
            Prober { arp: None, icmp: None, id: std::process::id() as u16, served: served.clone() };
        let mut refused = None;
        let opened = PacketSocket::on_all_interfaces(ETH_P_ARP, LOOK_UP).and_then(|socket| {
            let reader = socket.try_clone()?;
            listen(sender.clone(), move |buffer| {
                let Some((frame, index)) = reader.receive(buffer)? else { return Ok(None) };
                let is_served = served.borrow().get(index).is_some();
                Ok(Some(frame).filter(|_| is_served).and_then(heard_by_arp))
            })?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => prober.arp = Some(socket),
            Err(error) => refused = Some(error),
        }
        let id = prober.id;
        let opened = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).and_then(|socket| {
            socket.set_read_timeout(Some(LOOK_UP))?;
            let mut reader = socket.try_clone()?;
            listen(sender, move |buffer| {
                let len = reader.read(buffer)?;
                let from = buffer.get(..len).and_then(|packet| icmp::echo_reply_from(packet, id));
                Ok(from.map(|address| Heard { address, by: None, from: None, asks: false }))
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
    pub fn ask(&self, address: Ipv4Addr, interface: Option<u32>) -> bool {
        if let Some(asked) = interface.and_then(|index| self.ask_wire(address, index)) {
            return asked;
        }
        let Some(socket) = &self.icmp else { return false };
        let to = SocketAddrV4::new(address, 0);
        socket.send_to(&icmp::echo_request(self.id), &to.into()).is_ok()
    }

    /// Asks once who uses `address` on the wire of the interface number `index`, by ARP alone. `None` if it is no wire.
    pub fn ask_wire(&self, address: Ipv4Addr, index: u32) -> Option<bool> {
        let (socket, link, mac) = self.wire(index)?;
        Some(socket.send_on(&link, &arp::probe(mac, address)).is_ok())
    }

    /// The way to ask on an Ethernet interface, and the hardware address where answers go. A bridge has another one, or
    /// one at last, when it gets another port.
    fn wire(&self, index: u32) -> Option<(&PacketSocket, LinkAddr, MacAddr)> {
        let served = self.served.borrow();
        let interface = served.get(index)?;
        Some((self.arp.as_ref()?, interface.link?, interface.mac?))
    }
}

fn heard_by_arp(frame: &[u8]) -> Option<Heard> {
    let ((address, by), (from, asks)) = (arp::user(frame)?, arp::origin(frame)?);
    Some(Heard { address, by: Some(by), from: Some(from), asks })
}

/// Reads `socket` in a thread of its own until nobody listens to what is heard there.
fn listen(
    sender: Sender<Heard>,
    mut receive: impl FnMut(&mut [u8; FRAME]) -> io::Result<Option<Heard>> + Send + 'static,
) -> io::Result<()> {
    let work = move || {
        let mut buffer = [0; FRAME];
        while !sender.is_closed() {
            match receive(&mut buffer) {
                // A full queue means that many answers are known already.
                Ok(Some(heard)) => drop(sender.try_send(heard)),
                Ok(None) => {}
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
