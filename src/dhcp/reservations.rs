//! Reservations: whether a client can have the address that `machines` reserves for it, and why not. `decide.rs`,
//! `keep.rs` and `bootp.rs` ask before they look for an address in a pool; the engine asks for the warning. Nothing here
//! changes the book.

use std::net::Ipv4Addr;

use crate::dhcp::request::Request;
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::event::{Event, NotKept};
use crate::lease::{LeaseBook, State};
use crate::types::Timestamp;

/// The address reserved for a client on its wire, and the state of that address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reservation {
    /// No address is reserved for the client on its wire.
    None,
    /// The address is free, or the client has it already.
    Free(Ipv4Addr),
    /// Another client of the same machine has the address. It passes to this one, because a machine has one address at
    /// a time and uses the card that asks last.
    Passes(Ipv4Addr),
    /// Another client has a lease of the address, and may be the same machine with another card. The address passes to
    /// this client unless the other one still answers there.
    IfSilent(Ipv4Addr),
    /// Another client has the address and keeps it.
    Held(Ipv4Addr),
}

impl Reservation {
    /// The reserved address, unless another client keeps it.
    pub fn address(self) -> Option<Ipv4Addr> {
        match self {
            Reservation::Free(address) | Reservation::Passes(address) | Reservation::IfSilent(address) => {
                Some(address)
            }
            Reservation::None | Reservation::Held(_) => None,
        }
    }
}

/// The address reserved for the client, if a host on its wire can have it and it is not our address. Of several, the one
/// in the client's first subnet comes first.
pub fn reserved_address(request: &Request<'_>, settings: &Settings) -> Option<Ipv4Addr> {
    let addresses = &request.machine?.addresses;
    settings.wire_of(request.subnet).find_map(|place| {
        let subnet = settings.subnets.get(place)?;
        let is_usable = |address: &&Ipv4Addr| {
            subnet.network.has_host(**address) && !request.arrival.addresses.contains(address)
        };
        let address = addresses.iter().find(is_usable)?;
        request.classes.admits(&subnet.classes).then_some(*address)
    })
}

/// Looks up the client's reservation, and decides whether the client can have it.
///
/// A holder that the machine's entry lists, by its hardware address or client identifier, is the same machine. A machine
/// that the entry knows by other keys too may have got a new card, or another device is at the port of its switch. Then
/// the network is asked whether the holder is still there.
pub fn reservation(
    request: &Request<'_>,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Reservation {
    let Some(address) = reserved_address(request, settings) else { return Reservation::None };
    if book.is_free_for(address, &request.holder, now) {
        return Reservation::Free(address);
    }
    let (Some(binding), Some(machine)) = (book.binding(address), request.machine) else {
        return Reservation::Held(address);
    };
    if binding.state == State::Declined {
        return Reservation::Held(address);
    }
    if machine.lists(&binding.holder) {
        return Reservation::Passes(address);
    }
    // A change that is still being stored means that the holder sent a message just now.
    if !machine.has_other_keys() || binding.state != State::Leased || binding.pending > 0 {
        return Reservation::Held(address);
    }
    // The client has another address or an offer of one, and keeps it until it asks without one.
    if shared_network::binding_of(request, book, settings, now).is_some_and(|(_, own)| own.is_live(now)) {
        return Reservation::Held(address);
    }
    match request.probed {
        Some(probed) if probed.in_use => Reservation::Held(address),
        Some(probed) if probed.address == address => Reservation::Passes(address),
        _ if settings.conflict_check.is_none() || request.arrival.loopback => Reservation::Passes(address),
        _ => Reservation::IfSilent(address),
    }
}

/// The warning about a client that does not get the address reserved for its machine, although it could with another
/// configuration, or if another client had not taken it. `given` is the address that it gets instead, if any.
pub fn warning(
    request: &Request<'_>,
    given: Option<Ipv4Addr>,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Option<Event> {
    let machine = request.machine.filter(|machine| !machine.addresses.is_empty())?;
    if given.is_some_and(|given| machine.addresses.contains(&given)) {
        return None;
    }
    let (address, why) = match reservation(request, book, settings, now) {
        Reservation::Held(address) => {
            let binding = book.binding(address)?;
            let holder = binding.holder.mac;
            let why = match binding.state {
                State::Leased => NotKept::Leased { holder, client: binding.holder.client.clone() },
                State::Declined => NotKept::InUse,
                _ => return None,
            };
            (address, why)
        }
        Reservation::None => out_of_reach(request, &machine.addresses, settings)?,
        _ => return None,
    };
    let (machine, client) = (machine.name.clone(), request.client());
    Some(Event::NotKept { machine, address, given, client, why })
}

/// The first reserved address in a subnet of the client's interface that is not on the client's wire as configured, or
/// that does not admit the client.
fn out_of_reach(
    request: &Request<'_>,
    addresses: &[Ipv4Addr],
    settings: &Settings,
) -> Option<(Ipv4Addr, NotKept)> {
    let is_relayed = !request.message.giaddr.is_unspecified();
    let of_client = settings.subnets.get(request.subnet)?.network;
    addresses.iter().find_map(|address| {
        let place = settings.subnets.iter().position(|subnet| subnet.network.has_host(*address))?;
        let subnet = settings.subnets.get(place)?;
        let is_ours = request.arrival.addresses.contains(address);
        let is_here = request.arrival.addresses.iter().any(|own| subnet.network.contains(*own));
        let why = if settings.wire_of(request.subnet).any(|other| other == place) {
            (!is_ours).then_some(NotKept::Class { subnet: subnet.network })?
        } else {
            let (subnet, is_apart) = (subnet.network, is_here && !is_relayed && !is_ours);
            is_apart.then_some(NotKept::OtherSubnet { subnet, of_client })?
        };
        Some((*address, why))
    })
}
