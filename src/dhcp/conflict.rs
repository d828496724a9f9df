//! Addresses that somebody else uses: a look before an address is given, and what becomes of one that is in use.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::decide::{Decision, hold, reserved_address};
use crate::dhcp::request::Request;
use crate::dhcp::subnet::Settings;
use crate::event::{DropReason, Event};
use crate::lease::{Binding, Lease, LeaseBook, State};
use crate::types::{HardwareAddr, Timestamp};

/// How long an address that somebody else was found to use is offered to nobody; twice as long each further time.
pub const QUARANTINE: Duration = Duration::from_secs(600);
/// The longest that gets.
pub const MAX_QUARANTINE: Duration = Duration::from_secs(86400);
/// The part of a pool that can be out of use because others use it: one in this many addresses. More would be an attack,
/// or a router that answers for every address (proxy ARP).
pub const DECLINED_SHARE: u64 = 5;

/// What comes before the client gets `address`: a look whether somebody uses it already, unless that was done for its
/// offer, the client had it leased last, or the configuration reserves it for the client.
pub fn look_first(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Option<Decision> {
    let own = book.binding(address).filter(|binding| binding.holder.is(&request.holder));
    let is_seen_to = match own.map(|binding| (binding.state, binding.until > now)) {
        Some((State::Checking, true)) => return Some(Decision::silent(DropReason::Checking)),
        Some((State::Leased, _) | (State::Offered, true)) => true,
        _ => reserved_address(request, settings) == Some(address),
    };
    (!is_seen_to && settings.conflict_check.is_some() && !request.arrival.loopback)
        .then(|| Decision::CheckAddress { address, hold: hold(request, address, State::Checking, now) })
}

/// Takes an address out of use for a while: only on the word of the client that it was given to, and never more than
/// a part of the pool, or a hostile client could empty it.
pub fn decline(request: &Request<'_>, address: Ipv4Addr, book: &LeaseBook, now: Timestamp) -> Decision {
    let holds = |b: &&Binding| {
        b.holder.is(&request.holder) && matches!(b.state, State::Offered | State::Leased) && b.until > now
    };
    if book.binding(address).filter(holds).is_none() {
        return Decision::silent(DropReason::NotOwner);
    }
    match quarantine(book, address, now) {
        Some(lease) => {
            Decision::Quiet { lease, event: Event::Declined { address, client: request.client() } }
        }
        // The client gets another one. Whether somebody uses it is seen before its next offer.
        None => Decision::Silent { reason: DropReason::TooManyDeclined, change: book.avoid(address, now) },
    }
}

/// The lease that keeps `address` from everyone for a while, because somebody else than its holder was found to use it.
/// `None` if it has no holder, or if too much of its pool is out of use already.
pub fn quarantine(book: &LeaseBook, address: Ipv4Addr, now: Timestamp) -> Option<Lease> {
    let binding = book.binding(address)?;
    let subnet = book.pool_of(address)?;
    let declined = book.declined(subnet, now) as u64;
    if (declined + 1) * DECLINED_SHARE > book.pool_size(subnet) {
        return None;
    }
    let factor = 1u32.checked_shl(u32::from(binding.strikes)).unwrap_or(u32::MAX);
    let until = now.after(QUARANTINE.saturating_mul(factor).min(MAX_QUARANTINE)).rounded_up();
    let hardware = binding.holder.mac.map(HardwareAddr::from).unwrap_or_default();
    Some(Lease { address, holder: binding.holder.clone(), hardware, state: State::Declined, until })
}
