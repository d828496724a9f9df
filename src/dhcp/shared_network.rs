//! Shared networks: several subnets on one wire, where a client may have an address of any of them. The decisions look
//! up leases and addresses here, so that they treat a shared network like a single subnet. Nothing here changes the
//! book.

use std::net::Ipv4Addr;

use crate::dhcp::request::Request;
use crate::dhcp::settings::Settings;
use crate::lease::{Binding, LeaseBook, State};
use crate::types::Timestamp;

/// Finds an address for the client on its wire. The order is: its own in any of the subnets, the one that it asks for,
/// a free one of its first subnet, a free one of the other subnets in the order of the configuration, and last an
/// address whose offer was never taken.
pub fn find_address(
    request: &Request<'_>,
    requested: Option<Ipv4Addr>,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Option<Ipv4Addr> {
    // The last address of a machine whose network card was replaced. It is checked like an address that the client
    // never had.
    let last = other_holder_of_id(request, book, settings)
        .filter(|(_, binding)| binding.leased && binding.until <= now);
    let requested = last.map(|(address, _)| address).or(requested);
    let is_expected = request.machine.is_some() || last.is_some();
    request.seek(is_expected, settings, |seeker| {
        let find = |subnet| book.find_address(subnet, seeker, requested, now);
        let untaken = |subnet| book.find_reclaimable_offer(subnet, seeker, now);
        if !settings.is_shared(request.subnet) {
            return find(request.subnet).or_else(|| untaken(request.subnet));
        }
        let usable = |subnet, address| book.may_use(subnet, address, seeker, now);
        let rank = |subnet: &usize| match book.usable_binding_of(*subnet, seeker, now) {
            Some((_, binding)) => u8::from(binding.until <= now),
            _ if requested.is_some_and(|address| usable(*subnet, address)) => 2,
            _ => 3,
        };
        let mut subnets: Vec<usize> = settings.wire_of(request.subnet).collect();
        // The sort is stable, so subnets of equal rank keep the order of the wire.
        subnets.sort_by_cached_key(rank);
        subnets.into_iter().find_map(find).or_else(|| settings.wire_of(request.subnet).find_map(untaken))
    })
}

/// Whether the client's classes admit it to a subnet on its wire and to a pool there. A subnet without pools counts.
pub fn admits(request: &Request<'_>, settings: &Settings) -> bool {
    settings.wire_of(request.subnet).filter_map(|place| Some((place, settings.subnets.get(place)?))).any(
        |(place, subnet)| match subnet.parts().count() {
            0 => request.classes.admits(&subnet.classes),
            parts => (0..parts).any(|part| request.may_use_part(place, part, settings)),
        },
    )
}

/// The number of addresses on the client's wire that the client's classes admit it to.
pub fn pool_size(request: &Request<'_>, book: &LeaseBook, settings: &Settings) -> u64 {
    request.seek(false, settings, |seeker| {
        settings.wire_of(request.subnet).map(|subnet| book.pool_size_for(subnet, seeker)).sum()
    })
}

/// The address that the client has or last had on its wire, and its binding. An address that the client still holds is
/// preferred.
pub fn binding_of<'b>(
    request: &Request<'_>,
    book: &'b LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Option<(Ipv4Addr, &'b Binding)> {
    settings
        .wire_of(request.subnet)
        .filter_map(|subnet| book.binding_of(subnet, &request.holder, now))
        .min_by_key(|(_, binding)| {
            (!(binding.is_live(now) && binding.state == State::Leased), !binding.is_live(now))
        })
}

/// The newest lease or offer on the client's wire that another MAC holds under the client's identifier.
pub fn other_holder_of_id<'b>(
    request: &Request<'_>,
    book: &'b LeaseBook,
    settings: &Settings,
) -> Option<(Ipv4Addr, &'b Binding)> {
    settings.wire_of(request.subnet).find_map(|subnet| book.other_holder_of_id(subnet, &request.holder))
}

/// The address that is offered to the client on its wire, or that is being checked for an offer.
pub fn offer_to(
    request: &Request<'_>,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Option<Ipv4Addr> {
    settings.wire_of(request.subnet).find_map(|subnet| book.offer_to(subnet, &request.holder, now))
}

/// Whether the client may get `address` from a pool on its wire, if no other client holds it.
pub fn opens(request: &Request<'_>, address: Ipv4Addr, book: &LeaseBook, settings: &Settings) -> bool {
    request.seek(false, settings, |seeker| {
        settings.wire_of(request.subnet).any(|subnet| book.opens(subnet, address, seeker))
    })
}

/// Whether `address` is in a pool or subnet on the client's wire that the client's classes do not admit it to.
pub fn is_refused(request: &Request<'_>, address: Ipv4Addr, settings: &Settings) -> bool {
    let mut subnets = settings.wire_of(request.subnet).filter_map(|place| settings.subnets.get(place));
    subnets.find(|subnet| subnet.network.contains(address)).is_some_and(|subnet| {
        let pool = subnet.pool_of(address);
        !request.classes.admits(&subnet.classes) || pool.is_some_and(|p| !request.classes.admits(&p.classes))
    })
}

/// Whether a host on the client's wire can have `address`.
pub fn has_host(request: &Request<'_>, address: Ipv4Addr, settings: &Settings) -> bool {
    settings.wire_of(request.subnet).any(|subnet| settings.subnets[subnet].network.has_host(address))
}
