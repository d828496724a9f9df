//! Checks whether an address is in use before it is first offered: by ARP on our own wire, by ICMP echo behind a relay
//! agent. The DHCP server calls it. It never waits for an answer: answers arrive over a channel, and the DHCP loop
//! decides how long to wait for them.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use nix::sys::socket::LinkAddr;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::net::bpf::ETH_P_ARP;
use crate::net::packet_socket::{FRAME, PacketSocket};
use crate::net::snapshot::Now;
use crate::types::MacAddr;
use crate::wire::{arp, icmp};

/// Answers that may wait for the DHCP loop; further ones are lost, as on the wire.
const HEARD: usize = 1024;
/// Interval at which a reader thread checks whether the server has ended.
const LOOK_UP: Duration = Duration::from_secs(1);

/// A sign that a machine uses an address.
#[derive(Clone, Copy, Debug)]
pub struct ProbeAnswer {
    pub address: Ipv4Addr,
    /// The hardware address that the ARP message names; `None` for ICMP.
    pub by: Option<MacAddr>,
    /// The hardware address that sent the frame; `None` for ICMP.
    pub from: Option<MacAddr>,
    /// Whether the message is an ARP request of that machine for another address, and not an answer to our probe.
    pub asks: bool,
}

/// The sockets that send probes.
#[derive(Debug)]
pub struct Prober {
    arp: Option<PacketSocket>,
    icmp: Option<Socket>,
    id: u16,
    now: Now,
}

impl Prober {
    /// Opens the sockets and starts a reader thread for each. The last value says what cannot be checked, and why.
    pub fn start(now: Now) -> (Prober, Receiver<ProbeAnswer>, Option<String>) {
        let (sender, receiver) = channel(HEARD);
        let mut prober = Prober { arp: None, icmp: None, id: std::process::id() as u16, now: now.clone() };
        let mut refused = None;
        let opened = PacketSocket::on_all_interfaces(ETH_P_ARP, LOOK_UP).and_then(|socket| {
            let reader = socket.try_clone()?;
            listen(sender.clone(), move |buffer| {
                let Some((frame, index)) = reader.receive(buffer)? else { return Ok(None) };
                let is_served = now.borrow().interfaces.get(index).is_some();
                Ok(Some(frame).filter(|_| is_served).and_then(answer_from_arp))
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
                Ok(from.map(|address| ProbeAnswer { address, by: None, from: None, asks: false }))
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

    /// Sends one probe for `address`: by ARP on the wire of `interface`, otherwise by ICMP echo to wherever the address
    /// is routed. Returns false if no probe could be sent.
    pub fn send_probe(&self, address: Ipv4Addr, interface: Option<u32>) -> bool {
        if let Some(asked) = interface.and_then(|index| self.ask_wire(address, index)) {
            return asked;
        }
        let Some(socket) = &self.icmp else { return false };
        let to = SocketAddrV4::new(address, 0);
        socket.send_to(&icmp::echo_request(self.id), &to.into()).is_ok()
    }

    /// Sends one ARP probe for `address` on the interface number `index`. `None` if that is no Ethernet interface.
    pub fn ask_wire(&self, address: Ipv4Addr, index: u32) -> Option<bool> {
        let (socket, link, mac) = self.wire(index)?;
        Some(socket.send_on(&link, &arp::probe(mac, address)).is_ok())
    }

    /// The socket, link address and hardware address for ARP probes on an Ethernet interface. They are read for each
    /// probe, because the hardware address of a bridge changes with its ports.
    fn wire(&self, index: u32) -> Option<(&PacketSocket, LinkAddr, MacAddr)> {
        let now = self.now.borrow();
        let interface = now.interfaces.get(index)?;
        Some((self.arp.as_ref()?, interface.link?, interface.mac?))
    }
}

fn answer_from_arp(frame: &[u8]) -> Option<ProbeAnswer> {
    let ((address, by), (from, asks)) = (arp::sender_address(frame)?, arp::sender(frame)?);
    Some(ProbeAnswer { address, by: Some(by), from: Some(from), asks })
}

/// Receives in a separate thread until the receiver of `sender` is dropped.
fn listen(
    sender: Sender<ProbeAnswer>,
    mut receive: impl FnMut(&mut [u8; FRAME]) -> io::Result<Option<ProbeAnswer>> + Send + 'static,
) -> io::Result<()> {
    let work = move || {
        let mut buffer = [0; FRAME];
        while !sender.is_closed() {
            match receive(&mut buffer) {
                // If the queue is full, many answers are known already.
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
