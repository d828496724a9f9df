//! Routing of replies (RFC 2131 section 4.1, RFC 951 section 4, RFC 1542 section 5.4). Called by the modules that build
//! decisions. It never sends anything itself.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::dhcp::arrival::Arrival;
use crate::dhcp::settings::Settings;
use crate::types::MacAddr;
use crate::wire::dhcp::{FLAG_BROADCAST, Message};

/// The way to send a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Send to this address and port by the kernel's routes and ARP.
    Unicast(SocketAddrV4),
    /// Broadcast on the interface to this port.
    Broadcast {
        /// The clients' port.
        port: u16,
    },
    /// Send to this address and port in a frame to this hardware address. A client that was just given its address
    /// cannot answer ARP yet, and a client whose system restarted may have stopped answering.
    Frame {
        /// The client's address and port.
        to: SocketAddrV4,
        mac: MacAddr,
        /// Whether the client claims to use the address already. If no frame can be sent, such a client is reached
        /// through the kernel, and other clients only by broadcast.
        has_address: bool,
    },
}

/// Chooses the route of the reply to `request`, which gives the client `yiaddr` (unspecified in a NAK and in the answer
/// to an INFORM).
pub fn route(
    request: &Message,
    arrival: &Arrival,
    settings: &Settings,
    yiaddr: Ipv4Addr,
    is_nak: bool,
) -> Route {
    let ports = settings.ports;
    // Loopback has no wire. A client on this computer is reached only at the socket that it sent from.
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
    // A client that is given another address than the one it claims is not trusted, because a reply to the claimed
    // address might reach another client.
    let has_it = yiaddr.is_unspecified() || yiaddr == request.ciaddr;
    if !request.ciaddr.is_unspecified() && has_it {
        return to_address_in_use(request, arrival, settings, request.ciaddr);
    }
    if yiaddr.is_unspecified() {
        // An INFORM may lack its mandatory `ciaddr`; its IP header has the address.
        let source = *arrival.source.ip();
        let known = !source.is_unspecified() && !arrival.addresses.contains(&source);
        return if known { to_address_in_use(request, arrival, settings, source) } else { everyone };
    }
    match request.mac() {
        Some(mac) if request.flags & FLAG_BROADCAST == 0 && !settings.always_broadcast => {
            Route::Frame { to: SocketAddrV4::new(yiaddr, ports.client), mac, has_address: false }
        }
        _ => everyone,
    }
}

/// Routes a reply to a client that uses `address`. On the interface's own wire it needs no ARP. ARP would delay the
/// reply, and a client that does not answer ARP would never receive it. A client behind a router is reached by the
/// kernel's routes.
fn to_address_in_use(request: &Message, arrival: &Arrival, settings: &Settings, address: Ipv4Addr) -> Route {
    let to = SocketAddrV4::new(address, settings.ports.client);
    // A datagram to an address of this computer never reaches the wire, where a client with that address may listen.
    let on_wire = arrival.is_on_wire(address) && !arrival.addresses.contains(&address);
    match request.mac() {
        _ if on_wire && settings.always_broadcast => Route::Broadcast { port: to.port() },
        Some(mac) if on_wire => Route::Frame { to, mac, has_address: true },
        _ => Route::Unicast(to),
    }
}
