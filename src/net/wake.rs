//! Wake-on-LAN: broadcasts magic packets from the interfaces of this computer. It needs no capability. It never decides
//! which machine to wake.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use crate::net::datagram::packet_info;
use crate::net::interface::Interface;
use crate::types::MacAddr;
use crate::wire::magic_packet::magic_packet;

/// The UDP port of magic packets (discard). Network cards look at the payload only.
pub const PORT: u16 = 9;

/// Sends the magic packet for `mac` from `interface`: to the limited broadcast address, and to that of each of its
/// networks. Both have the broadcast hardware address, but packet filters may drop either.
///
/// # Errors
/// The last error, if no packet could be sent.
pub fn wake(mac: MacAddr, interface: &Interface) -> io::Result<()> {
    let packet = magic_packet(mac);
    let mut outcome = Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no IPv4 address"));
    for from in interface.addresses.iter() {
        let networks = interface.networks.iter().filter(|network| network.contains(*from));
        let directed = networks.map(|network| network.broadcast()).filter(|to| to != from);
        for to in [Ipv4Addr::BROADCAST].into_iter().chain(directed) {
            let sent = send(&packet, (*from, interface.index), to);
            if sent.is_ok() || outcome.is_err() {
                outcome = sent;
            }
        }
    }
    outcome
}

fn send(packet: &[u8], (from, interface): (Ipv4Addr, u32), to: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    let info = packet_info(from, interface);
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    let to = SockaddrIn::from(SocketAddrV4::new(to, PORT));
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(packet)], &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interface;
    use std::time::Duration;

    #[test]
    fn a_magic_packet_reaches_the_wire_of_the_interface() {
        let all = interface::list().unwrap();
        let lo = all.iter().find(|interface| interface.loopback).unwrap();
        // Port 9 needs CAP_NET_BIND_SERVICE.
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)) else {
            return eprintln!("SKIPPED: this user may not listen on port {PORT}");
        };
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mac = MacAddr([0x52, 0x54, 0, 1, 2, 3]);
        wake(mac, lo).unwrap();
        let mut buffer = [0; 200];
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..length], magic_packet(mac));
        let none = Interface { addresses: [].into(), networks: [].into(), ..lo.clone() };
        assert!(wake(mac, &none).is_err());
    }
}
