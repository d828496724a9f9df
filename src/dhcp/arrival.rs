//! The arrival of a message: interface, addresses and port. The server fills it in for each message; decisions only
//! read it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crate::boot::plan::Mode;
use crate::types::{InterfaceName, Ipv4Network};

/// Facts about how a message reached us. They are those of the moment when it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// The name of the receiving interface.
    pub interface: InterfaceName,
    /// The IPv4 addresses of the receiving interface, at least one.
    pub addresses: Arc<[Ipv4Addr]>,
    /// The networks of those addresses, which are on the interface's wire.
    pub networks: Arc<[Ipv4Network]>,
    /// The destination of the message: one of our addresses, or a broadcast address.
    pub destination: Ipv4Addr,
    /// The address and port of the sender.
    pub source: SocketAddrV4,
    /// Largest IP datagram of the interface, in bytes.
    pub mtu: u32,
    /// Whether the interface is a loopback interface.
    pub loopback: bool,
    /// The mode of lanboot on the interface.
    pub mode: Mode,
    /// Whether the message was sent to the boot service (port 4011) instead of the DHCP server's port.
    pub boot_service: bool,
    /// Time that the message waited in the queue of the kernel. Zero if that is unknown.
    pub waited: Duration,
}

impl Arrival {
    /// Whether `address` is in a network of the interface. Its holder is then reached without a router.
    pub fn is_on_wire(&self, address: Ipv4Addr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Our address from the client's point of view: the destination of the message, or the interface's first address if
    /// the message was broadcast.
    pub fn server(&self) -> Ipv4Addr {
        let first = self.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        if self.addresses.contains(&self.destination) { self.destination } else { first }
    }

    /// The interface's address in `network`, if it has one there. Of several, the destination of the message is
    /// preferred.
    pub fn server_in(&self, network: Ipv4Network) -> Option<Ipv4Addr> {
        let mut here = self.addresses.iter().copied().filter(|address| network.contains(*address));
        let first = here.next()?;
        let wrote_to_another = here.any(|address| address == self.destination);
        Some(if wrote_to_another { self.destination } else { first })
    }
}
