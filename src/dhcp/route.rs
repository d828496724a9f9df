//! Where a reply goes (RFC 2131 section 4.1, RFC 951 section 4, RFC 1542 section 5.4).

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::dhcp::arrival::Arrival;
use crate::dhcp::settings::Settings;
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
    /// To this address and port, in a frame to this hardware address: a client that was just given its address cannot
    /// answer ARP yet, and one whose system restarted may not answer it any more.
    Frame {
        /// The client's address, and its port.
        to: SocketAddrV4,
        /// Its hardware address.
        mac: MacAddr,
        /// Whether the client says that it uses the address already. Where no frame can be sent, it is then reached through
        /// the kernel; other clients only by broadcast.
        has_address: bool,
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
    // A client that is given another address than it claims is not believed: a reply to its claim might reach another one.
    let has_it = yiaddr.is_unspecified() || yiaddr == request.ciaddr;
    if !request.ciaddr.is_unspecified() && has_it {
        return to_address_in_use(request, arrival, settings, request.ciaddr);
    }
    if yiaddr.is_unspecified() {
        // An INFORM without the ciaddr it must have: its IP header has the address.
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

/// To a client that uses `address`. On the interface's own wire that needs no ARP, which would delay the reply, and a
/// client that does not answer ARP would never hear it. A client behind a router is reached by the kernel's routes.
fn to_address_in_use(request: &Message, arrival: &Arrival, settings: &Settings, address: Ipv4Addr) -> Route {
    let to = SocketAddrV4::new(address, settings.ports.client);
    // A datagram to an address of this computer never reaches the wire, where a client on it may listen.
    let on_wire = arrival.is_on_wire(address) && !arrival.addresses.contains(&address);
    match request.mac() {
        _ if on_wire && settings.always_broadcast => Route::Broadcast { port: to.port() },
        Some(mac) if on_wire => Route::Frame { to, mac, has_address: true },
        _ => Route::Unicast(to),
    }
}
