//! Asks every served network for DHCP servers, as a machine does: sends a DHCPDISCOVER by a packet socket and collects all
//! offers. Nothing is requested, so no address is leased.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use super::facts::DhcpServer;
use crate::net::bpf::{ETH_P_IP, udp_to};
use crate::net::interface::Interface;
use crate::net::packet_socket::{FRAME, PacketSocket};
use crate::types::MacAddr;
use crate::wire::dhcp::{BOOTREPLY, BOOTREQUEST, FLAG_BROADCAST, Message, MessageType};
use crate::wire::frame::{udp_datagram, udp_frame};
use crate::wire::option::code;

/// Times at which the DHCPDISCOVER is sent. A second one is for a network that lost the first.
const SENT_AT: [Duration; 2] = [Duration::ZERO, Duration::from_secs(1)];
/// Time for offers. dnsmasq waits 3 s for a ping of the address before it offers it (`PING_WAIT` in its config.h).
const COLLECT: Duration = Duration::from_secs(4);
/// Pause between two looks at the socket, which is non-blocking.
const PAUSE: Duration = Duration::from_millis(20);
/// Maximum number of servers that are collected on one interface.
const MAX_SERVERS: usize = 32;
/// Size of the kernel's receive queue in bytes.
const RECEIVE_QUEUE: usize = 1 << 20;

/// The ports of DHCP: those of servers and of clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) server: u16,
    pub(super) client: u16,
}

/// Asks on all of `interfaces` at the same time. Returns the servers that answered, or why an interface was not asked.
pub(super) fn ask(interfaces: &[&Interface], ports: Ports) -> Vec<(String, io::Result<Vec<DhcpServer>>)> {
    thread::scope(|scope| {
        let asking: Vec<_> = interfaces
            .iter()
            .map(|interface| (interface.name.to_string(), scope.spawn(|| ask_on(interface, ports))))
            .collect();
        let join = |(name, thread): (String, thread::ScopedJoinHandle<'_, io::Result<_>>)| {
            (name, thread.join().unwrap_or_else(|_| Err(io::Error::other("the check ended early"))))
        };
        asking.into_iter().map(join).collect()
    })
}

fn ask_on(interface: &Interface, ports: Ports) -> io::Result<Vec<DhcpServer>> {
    let (Some(link), Some(mac)) = (&interface.link, interface.mac) else {
        return Err(io::Error::other("it is not Ethernet"));
    };
    let socket = PacketSocket::on_interface(link, ETH_P_IP, &udp_to(ports.client), RECEIVE_QUEUE)?;
    let xid = u32::from_ne_bytes(random()?);
    let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, ports.client);
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, ports.server);
    let frame = udp_frame(mac, MacAddr::BROADCAST, from, to, &discover(mac, xid).encode());
    let frame = frame.ok_or(ErrorKind::InvalidInput)?;
    let began = Instant::now();
    let mut servers: Vec<DhcpServer> = Vec::new();
    let mut sent = 0;
    let mut buffer = [0; FRAME];
    while began.elapsed() < COLLECT {
        if SENT_AT.get(sent).is_some_and(|at| began.elapsed() >= *at) {
            socket.send(&frame)?;
            sent += 1;
        }
        let frame = match socket.receive(&mut buffer) {
            Ok(frame) => frame,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(error),
        };
        let heard = frame.and_then(|(frame, _)| udp_datagram(frame)).and_then(|datagram| {
            let (server, offered) = offer(datagram.payload, xid, *datagram.source.ip())?;
            Some(DhcpServer { interface: interface.name.to_string(), server, offered })
        });
        // A server that answers both messages may offer another address.
        let is_new = |heard: &DhcpServer| {
            servers
                .iter()
                .all(|one| (one.server, one.offered.is_some()) != (heard.server, heard.offered.is_some()))
        };
        if let Some(heard) = heard.filter(is_new)
            && servers.len() < MAX_SERVERS
        {
            servers.push(heard);
        }
    }
    Ok(servers)
}

fn random() -> io::Result<[u8; 4]> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// The DHCPDISCOVER of a machine with x64 UEFI that boots from the network, so that proxies answer too.
fn discover(mac: MacAddr, xid: u32) -> Message {
    let mut message = Message::new(BOOTREQUEST);
    message.xid = xid;
    // The interface has another address or none, so a unicast reply might not arrive.
    message.flags = FLAG_BROADCAST;
    for (to, from) in message.chaddr.iter_mut().zip(mac.0) {
        *to = from;
    }
    message.options.push(code::MESSAGE_TYPE, &[MessageType::Discover.number()]);
    message.options.push(code::PARAMETER_REQUEST_LIST, &[1, 3, 6, 43, 54, 60, 66, 67]);
    message.options.push(code::VENDOR_CLASS, b"PXEClient:Arch:00007:UNDI:003016");
    message.options.push(code::CLIENT_ARCHITECTURE, &[0, 7]);
    message
}

/// The server and the offered address of a DHCPOFFER for `xid`. A proxy offers no address.
fn offer(payload: &[u8], xid: u32, source: Ipv4Addr) -> Option<(Ipv4Addr, Option<Ipv4Addr>)> {
    let message = Message::decode(payload).ok()?;
    if message.op != BOOTREPLY || message.xid != xid || message.message_type() != Some(Ok(MessageType::Offer))
    {
        return None;
    }
    let offered = Some(message.yiaddr).filter(|address| !address.is_unspecified());
    Some((message.options.ip(code::SERVER_IDENTIFIER).unwrap_or(source), offered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_name_their_server_and_address() {
        let server = Ipv4Addr::new(192, 168, 1, 1);
        let mut message = Message::new(BOOTREPLY);
        message.xid = 7;
        message.options.push(code::MESSAGE_TYPE, &[MessageType::Offer.number()]);
        let from = Ipv4Addr::new(192, 168, 1, 254);
        assert_eq!(offer(&message.encode(), 7, from), Some((from, None)));
        message.yiaddr = Ipv4Addr::new(192, 168, 1, 50);
        message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        assert_eq!(offer(&message.encode(), 7, from), Some((server, Some(message.yiaddr))));
        assert_eq!(offer(&message.encode(), 8, from), None, "another transaction");
        assert_eq!(offer(b"short", 7, from), None);
    }
}
