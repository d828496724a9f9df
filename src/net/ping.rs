//! Asks whether an address is in use before its first offer: by ARP on the wire, by ICMP echo behind a relay agent.
//!
//! Asking never waits. What is heard comes back over a channel; the DHCP loop knows how long to wait for it.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{LinkAddr, MsgFlags, recvfrom, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::net::served::Now;
use crate::types::MacAddr;
use crate::wire::{arp, icmp};

/// Answers that may wait for the DHCP loop; more are lost, as on the wire.
const HEARD: usize = 1024;
/// How often a listening thread looks whether the server is gone.
const LOOK_UP: Duration = Duration::from_secs(1);
const ETH_P_ARP: u16 = 0x0806;

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
    arp: Option<Socket>,
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
        let arp = Protocol::from(i32::from(ETH_P_ARP.to_be()));
        let opened = Socket::new(Domain::PACKET, Type::RAW, Some(arp)).and_then(|socket| {
            listen(socket.try_clone()?, sender.clone(), move |socket, buffer| {
                let (len, link) = recvfrom::<LinkAddr>(socket.as_raw_fd(), buffer)?;
                // The socket hears every wire that this computer is on.
                let index = link.and_then(|link| u32::try_from(link.ifindex()).ok());
                let is_served = index.is_some_and(|index| served.borrow().get(index).is_some());
                Ok(buffer.get(..len).filter(|_| is_served).and_then(heard_by_arp))
            })?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => prober.arp = Some(socket),
            Err(error) => refused = Some(error),
        }
        let id = prober.id;
        let opened = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).and_then(|socket| {
            listen(socket.try_clone()?, sender, move |mut socket, buffer| {
                let len = socket.read(buffer)?;
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
        Some(sendto(socket.as_raw_fd(), &arp::probe(mac, address), &link, MsgFlags::empty()).is_ok())
    }

    /// The way to ask on an Ethernet interface, and the hardware address where answers go. A bridge has another one, or
    /// one at last, when it gets another port.
    fn wire(&self, index: u32) -> Option<(&Socket, LinkAddr, MacAddr)> {
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
    socket: Socket,
    sender: Sender<Heard>,
    receive: impl Fn(&Socket, &mut [u8]) -> io::Result<Option<Heard>> + Send + 'static,
) -> io::Result<()> {
    socket.set_read_timeout(Some(LOOK_UP))?;
    let work = move || {
        let mut buffer = [0; 2048];
        while !sender.is_closed() {
            match receive(&socket, &mut buffer) {
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
