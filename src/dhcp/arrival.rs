//! How a message reached us. The shell says so; decisions only read it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crate::boot::plan::Mode;
use crate::types::Ipv4Network;

/// How a message reached us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// The name of the interface it came in on.
    pub interface: Arc<str>,
    /// The IPv4 addresses of the interface it came in on, at least one.
    pub addresses: Arc<[Ipv4Addr]>,
    /// The networks of those addresses: what is on its wire.
    pub networks: Arc<[Ipv4Network]>,
    /// The address it was sent to: one of ours, or a broadcast address.
    pub destination: Ipv4Addr,
    /// The address and port it came from.
    pub source: SocketAddrV4,
    /// Largest IP datagram of the interface, in bytes.
    pub mtu: u32,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// What lanboot is there.
    pub mode: Mode,
    /// Whether it was sent to the boot service, port 4011, and not to the DHCP server's port.
    pub boot_service: bool,
}

impl Arrival {
    /// Whether `address` is in a network of the interface, so that its holder is reached without a router.
    pub fn is_on_wire(&self, address: Ipv4Addr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The address by which the client knows us: the one it wrote to, else the interface's first.
    pub fn server(&self) -> Ipv4Addr {
        let first = self.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        if self.addresses.contains(&self.destination) { self.destination } else { first }
    }

    /// The interface's address in `network`, if it has one there: the one that the client wrote to before others.
    pub fn server_in(&self, network: Ipv4Network) -> Option<Ipv4Addr> {
        let mut here = self.addresses.iter().copied().filter(|address| network.contains(*address));
        let first = here.next()?;
        let wrote_to_another = here.any(|address| address == self.destination);
        Some(if wrote_to_another { self.destination } else { first })
    }
}
