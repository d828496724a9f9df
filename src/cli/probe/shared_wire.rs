//! The wire of a server that a probe addresses as a relay agent does. `wire.rs` sends a RELEASE there, so that it comes
//! from the hardware address of the simulated machine.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::net::interface::{self, Interface};
use crate::net::neighbours::mac_of;
use crate::net::packet_socket::PacketSocket;
use crate::types::MacAddr;
use crate::wire::frame::udp_frame;

/// A wire with a server that is addressed as by a relay agent.
pub(super) struct SharedWire {
    interface: Interface,
    frames: PacketSocket,
}

impl SharedWire {
    /// The wire with `server`; `None` if there is none, or frames cannot be sent there.
    pub(super) fn with(server: Ipv4Addr) -> Option<SharedWire> {
        let is_there =
            |interface: &Interface| interface.networks.iter().any(|network| network.contains(server));
        let interface = interface::list().ok()?.into_iter().find(is_there)?;
        Some(SharedWire { interface, frames: PacketSocket::for_sending().ok()? })
    }

    /// Sends a datagram from the machine `mac`. Returns false if its address is not on this wire, or the kernel does not
    /// know the receiver's hardware address.
    pub(super) fn send(
        &self,
        mac: MacAddr,
        (from, to): (SocketAddrV4, SocketAddrV4),
        payload: &[u8],
    ) -> io::Result<bool> {
        let Some(link) = &self.interface.link else { return Ok(false) };
        if !self.interface.networks.iter().any(|network| network.contains(*from.ip())) {
            return Ok(false);
        }
        let Some(receiver) = mac_of(self.interface.index, *to.ip()) else { return Ok(false) };
        let frame = udp_frame(mac, receiver, from, to, payload).ok_or(ErrorKind::InvalidInput)?;
        self.frames.send_on(link, &frame).map(|()| true)
    }
}
