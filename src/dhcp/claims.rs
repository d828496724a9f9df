//! Claims to addresses that were not offered to the client: its own lease, another machine's lease, or the lease of a
//! machine with the same client identifier. Called by `decide.rs` and `keep.rs`. Nothing here changes the book.

use std::net::Ipv4Addr;

use crate::boot::plan::uses_offered_address;
use crate::dhcp::request::Request;
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::lease::{Binding, LeaseBook, MAX_CLIENTS_PER_MAC, State};
use crate::types::Timestamp;

/// Whether the client takes over a lease that another MAC holds under the client's own identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inheritance {
    /// The client takes over nothing: there is no such lease, the client has its own lease, or the other machine still
    /// answers.
    None,
    /// The client takes over the lease of this address, unless the other machine still answers there.
    IfSilent(Ipv4Addr),
    /// The client takes over the lease of this address, because the other machine is silent or addresses are never
    /// checked.
    Takes(Ipv4Addr),
}

/// Decides whether the client takes over the lease of another MAC.
///
/// A machine whose network card was replaced keeps its address that way. Clones of one system share its identifier, and
/// must not take each other's leases. A clone is recognized because it has its own lease, or because the other machine
/// still answers.
pub fn inheritance(
    request: &Request<'_>,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Inheritance {
    let Some((address, binding)) = shared_network::other_holder_of_id(request, book, settings) else {
        return Inheritance::None;
    };
    if uses_offered_address(&request.identity) {
        return Inheritance::None;
    }
    // A change that is still being stored means that the other machine sent a message just now.
    let is_there = is_leased(binding, now) && binding.pending == 0;
    if !is_there || !shared_network::opens(request, address, book, settings) {
        return Inheritance::None;
    }
    if shared_network::binding_of(request, book, settings, now).is_some_and(|(_, own)| own.is_live(now)) {
        return Inheritance::None;
    }
    match request.probed {
        // An answer at any address shows that clones share the identifier.
        Some(probed) if probed.in_use => Inheritance::None,
        Some(probed) if probed.address == address => Inheritance::Takes(address),
        _ if settings.conflict_check.is_none() || request.arrival.loopback => Inheritance::Takes(address),
        _ => Inheritance::IfSilent(address),
    }
}

/// Whether `address` is known to belong to another machine: leased to it, reserved for it, or an address of this
/// computer.
pub fn is_anothers(request: &Request<'_>, address: Ipv4Addr, book: &LeaseBook, now: Timestamp) -> bool {
    let is_ours = request.arrival.addresses.contains(&address) || book.is_own(address);
    let own_entry = request.machine.is_some_and(|machine| machine.addresses.contains(&address));
    let is_leased = book
        .binding(address)
        .is_some_and(|b| is_leased(b, now) && !b.holder.is_same_machine(&request.holder));
    is_ours || is_leased || (book.is_reserved(address) && !own_entry)
}

/// The client's lease on its wire, if its address is not `address`, and `address` was not offered to the client.
pub fn other_lease(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Option<Ipv4Addr> {
    let was_offered =
        book.binding(address).is_some_and(|b| b.holder.is_same_machine(&request.holder) && b.is_live(now));
    let lease =
        shared_network::binding_of(request, book, settings, now).filter(|(_, own)| is_leased(own, now));
    lease.map(|(own, _)| own).filter(|own| *own != address && !was_offered)
}

/// Whether `address` is refused to the client because [`MAX_CLIENTS_PER_MAC`] other clients with its MAC have
/// addresses.
pub fn is_one_too_many(request: &Request<'_>, address: Ipv4Addr, book: &LeaseBook, now: Timestamp) -> bool {
    let is_known = book.binding(address).is_some_and(|b| b.holder.is_same_machine(&request.holder));
    let by_entry = request.machine.is_some_and(|machine| machine.addresses.contains(&address));
    let others =
        || book.pool_of(address).map_or(0, |subnet| book.count_others_of_mac(subnet, &request.holder, now));
    !is_known && !by_entry && others() >= MAX_CLIENTS_PER_MAC
}

fn is_leased(binding: &Binding, now: Timestamp) -> bool {
    binding.state == State::Leased && binding.until > now
}
