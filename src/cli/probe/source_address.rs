//! The source address of a machine's downloads: an address of this computer, or the leased address, which is added to
//! an interface during the download.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;
use tokio::net::UdpSocket;

use super::wire::{Wire, udp};
use crate::net::interface::Interface;
use crate::probe::Offer;
use crate::types::Ipv4Network;

/// Lifetime of a borrowed address in seconds. The kernel removes it then, even if this process was killed.
const BORROWED_LIFETIME: u32 = 600;

/// The source address of a machine that has a lease.
#[derive(Debug)]
pub(super) struct SourceAddress {
    pub(super) address: Ipv4Addr,
    borrowed: Option<BorrowedAddress>,
    interface: Option<String>,
}

/// The leased address, added to an interface for this probe. It is removed on drop.
#[derive(Debug)]
struct BorrowedAddress {
    address: Ipv4Addr,
    network: Ipv4Network,
    interface: String,
    router: Option<Ipv4Addr>,
}

impl SourceAddress {
    /// Takes a source address for the machine with this lease.
    ///
    /// # Errors
    /// The interface has no address in that network and none can be added. The message gives advice.
    pub(super) fn take(lease: &Offer, wire: &Wire) -> io::Result<SourceAddress> {
        let Some(interface) = wire.interface() else { return SourceAddress::for_server(lease, wire) };
        let name = interface.name.to_string();
        if let Some(address) = own_address(interface, lease.address) {
            return Ok(SourceAddress { address, borrowed: None, interface: Some(name) });
        }
        // Without option 1, assume a /24, which is the most common network.
        let network = lease.network().or_else(|| Ipv4Network::new(lease.address, 24));
        let network = network.ok_or_else(|| io::Error::other("no network"))?;
        let borrowed = BorrowedAddress {
            address: lease.address,
            network,
            interface: name.clone(),
            router: lease.router(),
        };
        borrowed.add().map_err(|error| {
            io::Error::other(format!(
                "interface {name} has no address in {network} to load from, and cannot be given {} ({error}): give it \
                 one with `ip address add`, or run as root",
                lease.address
            ))
        })?;
        Ok(SourceAddress { address: lease.address, borrowed: Some(borrowed), interface: Some(name) })
    }

    /// The source address if one server was named. On loopback every address of 127.0.0.0/8 works. Otherwise it is
    /// this computer's address, because the replies are sent to it.
    fn for_server(lease: &Offer, wire: &Wire) -> io::Result<SourceAddress> {
        let address = match wire.server() {
            Some(server) if server.is_loopback() && lease.address.is_loopback() => lease.address,
            Some(server) => super::wire::local_address(SocketAddrV4::new(server, 1))?,
            None => Ipv4Addr::UNSPECIFIED,
        };
        Ok(SourceAddress { address, borrowed: None, interface: None })
    }

    /// A socket for one TFTP transfer with `server`. It reports when the server's port is closed.
    pub(super) fn transfer_socket(&self, server: Ipv4Addr, wire: &Wire) -> io::Result<UdpSocket> {
        if let Some(borrowed) = &self.borrowed {
            borrowed.reach(server);
        }
        let socket = wire.transfer_socket(self.address)?;
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        Ok(socket)
    }

    /// A socket for requests to boot servers: from `port` like firmware, or from any port if that one is in use.
    pub(super) fn boot_server_socket(&self, port: u16, to: SocketAddrV4) -> io::Result<UdpSocket> {
        if let Some(borrowed) = &self.borrowed {
            borrowed.reach(*to.ip());
        }
        let socket = udp(SocketAddrV4::new(self.address, port))
            .or_else(|_| udp(SocketAddrV4::new(self.address, 0)))?;
        if let Some(interface) = self.interface.as_ref().filter(|_| to.ip().is_broadcast()) {
            SockRef::from(&socket).bind_device(Some(interface.as_bytes()))?;
        }
        Ok(socket)
    }
}

/// The interface's own address in the network that contains `address`.
fn own_address(interface: &Interface, address: Ipv4Addr) -> Option<Ipv4Addr> {
    let own = interface.addresses.iter().zip(interface.networks.iter());
    own.into_iter().find(|(_, network)| network.contains(address)).map(|(own, _)| *own)
}

impl BorrowedAddress {
    fn add(&self) -> io::Result<()> {
        let address = format!("{}/{}", self.address, self.network.prefix());
        let seconds = BORROWED_LIFETIME.to_string();
        let lifetime = ["valid_lft", &seconds, "preferred_lft", &seconds];
        ip(["address", "add", &address, "dev", &self.interface].into_iter().chain(lifetime))
    }

    /// Adds a route to a server behind the router. The kernel removes it together with the address, which it names.
    fn reach(&self, server: Ipv4Addr) {
        let Some(router) = self.router.filter(|_| !self.network.contains(server) && !server.is_broadcast())
        else {
            return;
        };
        let (server, router, own) = (server.to_string(), router.to_string(), self.address.to_string());
        // This fails if a route exists already, which then serves as well.
        let _ =
            ip(["route", "add", &server, "via", &router, "dev", &self.interface, "src", &own].into_iter());
    }
}

impl Drop for BorrowedAddress {
    fn drop(&mut self) {
        let address = format!("{}/{}", self.address, self.network.prefix());
        // If this fails, the lifetime of the address ends it.
        let _ = ip(["address", "del", &address, "dev", &self.interface].into_iter());
    }
}

/// Runs `ip`. The error contains its output.
fn ip<'a>(words: impl Iterator<Item = &'a str>) -> io::Result<()> {
    let output = Command::new("ip").args(words).output();
    let output = output.map_err(|error| io::Error::new(error.kind(), format!("ip: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
