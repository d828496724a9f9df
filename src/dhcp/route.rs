//! Where a reply goes (RFC 2131 section 4.1, RFC 951 section 4, RFC 1542 section 5.4).

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::dhcp::subnet::{Arrival, Settings};
use crate::types::MacAddr;
use crate::wire::dhcp::{FLAG_BROADCAST, Message};

/// The way to send a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// To this address and port, by the kernel's routes and ARP.
    Unicast(SocketAddrV4),
    /// To everyone on the interface, this port.
    Broadcast {
        /// The clients' port.
        port: u16,
    },
    /// To this address and port in a frame to this hardware address: the client cannot answer ARP yet.
    Frame {
        /// The client's address to be, and its port.
        to: SocketAddrV4,
        /// Its hardware address.
        mac: MacAddr,
    },
}

/// Where the reply to `request` goes that gives the client `yiaddr` (unspecified in a NAK and in the answer to INFORM).
pub fn route(
    request: &Message,
    arrival: &Arrival,
    settings: &Settings,
    yiaddr: Ipv4Addr,
    is_nak: bool,
) -> Route {
    let ports = settings.ports;
    // On loopback there is no wire: the only way back to a client beside us is the socket that it asked from.
    if arrival.loopback {
        return Route::Unicast(arrival.source);
    }
    if !request.giaddr.is_unspecified() {
        return Route::Unicast(SocketAddrV4::new(request.giaddr, ports.server));
    }
    let everyone = Route::Broadcast { port: ports.client };
    if is_nak {
        return everyone;
    }
    // Who is given another address than it says to have is not believed: what went there might reach a stranger.
    let has_it = yiaddr.is_unspecified() || yiaddr == request.ciaddr;
    if !request.ciaddr.is_unspecified() && has_it {
        return Route::Unicast(SocketAddrV4::new(request.ciaddr, ports.client));
    }
    if yiaddr.is_unspecified() {
        // An INFORM without the ciaddr it must have: its IP header tells where it comes from.
        let source = *arrival.source.ip();
        // What goes to an address of this computer never reaches the wire, where a client on it may listen.
        let known = !source.is_unspecified() && !arrival.addresses.contains(&source);
        return if known { Route::Unicast(SocketAddrV4::new(source, ports.client)) } else { everyone };
    }
    match request.mac() {
        Some(mac) if request.flags & FLAG_BROADCAST == 0 && !settings.always_broadcast => {
            Route::Frame { to: SocketAddrV4::new(yiaddr, ports.client), mac }
        }
        _ => everyone,
    }
}
