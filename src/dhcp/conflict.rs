//! Address conflicts: the check before an address is given, the check of a DECLINE, and the quarantine of addresses
//! that are in use. Called by `decide.rs`, `bootp.rs` and the engine. It sends no probe itself; it returns the decision
//! to send one.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::decision::{Decision, hold};
use crate::dhcp::request::Request;
use crate::dhcp::reservations::reserved_address;
use crate::dhcp::settings::Settings;
use crate::event::{DropReason, Event};
use crate::lease::{Binding, Holder, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
use crate::types::{HardwareAddr, MacAddr, Timestamp};

/// Time for which an address in quarantine is offered to no client, if the configuration sets none. It doubles each time
/// another machine answers there.
pub const QUARANTINE: Duration = Duration::from_secs(600);
/// Longest quarantine, unless the configuration sets a longer time.
pub const MAX_QUARANTINE: Duration = Duration::from_secs(86400);
/// Fraction of a pool that can be in quarantine: one address in this many, and always at least one (RFC 2131 section
/// 4.3.3). A larger number of declined addresses would be an attack.
pub const DECLINED_SHARE: u64 = 5;

/// Decides whether `address` must be checked before the client gets it. It need not be checked if it was checked for
/// the client's offer, if the client had the last lease of it, or if it is reserved for the client.
pub fn check_before_offer(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Option<Decision> {
    let own = book.binding(address).filter(|binding| binding.holder.is_same_machine(&request.holder));
    let is_checked = match own.map(|binding| (binding.state, binding.until > now)) {
        Some((State::Checking, true)) => return Some(Decision::silent(DropReason::Checking)),
        Some((State::Leased, _) | (State::Offered, true)) => true,
        _ => {
            reserved_address(request, settings) == Some(address)
                || book.had_reclaimed_offer(address, &request.holder, now)
        }
    };
    (!is_checked && settings.conflict_check.is_some() && !request.arrival.loopback)
        .then(|| Decision::CheckAddress { address, hold: hold(request, address, State::Checking, now) })
}

/// The result of probing an address that its client declined, and the origin of the DECLINE.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Evidence {
    /// The machines that answered.
    pub answer: Answer,
    /// Whether the DECLINE came in a frame from its client's hardware address; `None` if frames are not captured.
    pub from_client: Option<bool>,
}

/// The machines that answered a probe.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Answer {
    /// No machine answered, or the address could not be probed.
    #[default]
    None,
    /// Only the client itself answered.
    Client,
    /// Another machine answered.
    Other(MacAddr),
}

/// Decides on a DECLINE before its address is probed. It must name an address that the client holds.
///
/// On our own wire the address is probed first, even if the message names a relay agent. Behind a relay agent it is not
/// probed, because a ping does not reveal which machine answers.
pub fn decline(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if !holds(request, address, book, now) {
        return Decision::silent(DropReason::NotOwner);
    }
    let is_relayed = !request.message.giaddr.is_unspecified() && !is_on_wire(request, address, settings);
    if request.arrival.loopback || is_relayed {
        return declined(request, address, Evidence::default(), book, settings, now);
    }
    Decision::CheckDecline { address }
}

/// Decides on a DECLINE whose address was probed. Any machine can send a DECLINE in the name of another one, so its
/// effect depends on the evidence from the network:
///
/// - If it did not come from its client's hardware address, it changes nothing.
/// - If another machine answers, the address goes into quarantine, longer each time.
/// - If only the client itself answers, it changes nothing.
/// - If no machine answers, a reserved address stays with its machine. An address from the pool goes into quarantine
///   for the shortest time (RFC 2131 section 4.3.3), because the client may have seen a machine that we cannot see.
///   Otherwise the client would ask for the same address forever.
pub fn declined(
    request: &Request<'_>,
    address: Ipv4Addr,
    evidence: Evidence,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if is_from_another(request, address, evidence.from_client, book) {
        return Decision::silent(DropReason::ForgedDecline);
    }
    if !holds(request, address, book, now) {
        return Decision::silent(DropReason::NotOwner);
    }
    let (lease, by, avoided) = match evidence.answer {
        Answer::Other(by) => (quarantine(book, settings, address, now), Some(by), now.after(OFFER_HOLD)),
        Answer::None if reserved_address(request, settings) != Some(address) => {
            (out_of_use(book, address, quarantine_time(address, settings), now), None, now)
        }
        _ => return Decision::silent(DropReason::DeclineUnfounded),
    };
    match lease {
        Some(lease) => {
            Decision::Quiet { lease, event: Event::Declined { address, client: request.client(), by } }
        }
        // The client gets another address. This one is checked again before its next offer.
        None => {
            Decision::Silent { reason: DropReason::TooManyDeclined, change: book.avoid(address, avoided) }
        }
    }
}

/// Whether `request`, a DECLINE or RELEASE of `address`, is known to come from another machine than its client. A message
/// without an Ethernet address cannot be compared with its frame, so it gives up no lease of a client that has one.
pub fn is_from_another(
    request: &Request<'_>,
    address: Ipv4Addr,
    from_client: Option<bool>,
    book: &LeaseBook,
) -> bool {
    match request.holder.mac {
        Some(_) => from_client == Some(false),
        None => book.binding(address).is_some_and(|binding| binding.holder.mac.is_some()),
    }
}

/// Whether `address` is on the wire of the receiving interface.
fn is_on_wire(request: &Request<'_>, address: Ipv4Addr, settings: &Settings) -> bool {
    let network_of = |address: Ipv4Addr| settings.subnets.iter().position(|s| s.network.contains(address));
    let wires = request.arrival.addresses.iter().filter_map(|own| network_of(*own));
    let declined = network_of(address);
    wires.flat_map(|first| settings.wire_of(first)).any(|subnet| Some(subnet) == declined)
}

fn holds(request: &Request<'_>, address: Ipv4Addr, book: &LeaseBook, now: Timestamp) -> bool {
    let is_held = |b: &Binding| {
        b.holder.is_same_machine(&request.holder)
            && matches!(b.state, State::Offered | State::Leased)
            && b.until > now
    };
    book.binding(address).is_some_and(is_held)
}

/// The lease that withholds `address` from all clients for a while because another machine answered there. Its time
/// doubles with each strike ([`LeaseBook::count_conflict`]). `None` if the address has no holder, or if too much of its pool is
/// in quarantine already.
pub fn quarantine(book: &LeaseBook, settings: &Settings, address: Ipv4Addr, now: Timestamp) -> Option<Lease> {
    let strikes = u32::from(book.binding(address)?.conflicts);
    let factor = 1u32.checked_shl(strikes).unwrap_or(u32::MAX);
    let shortest = quarantine_time(address, settings);
    let longest = MAX_QUARANTINE.max(shortest);
    out_of_use(book, address, shortest.saturating_mul(factor).min(longest), now)
}

/// The configured time of the first quarantine of `address`: that of its subnet, or else that of all subnets.
fn quarantine_time(address: Ipv4Addr, settings: &Settings) -> Duration {
    let subnet = settings.subnets.iter().find(|subnet| subnet.network.contains(address));
    let of_subnet = subnet.and_then(|subnet| subnet.level.decline_time);
    of_subnet.or(settings.level.decline_time).unwrap_or(QUARANTINE)
}

/// The change that gives `address` back to `last`, the client that had the last lease of it and has answered there.
/// Somebody else may have sent its RELEASE, or it goes on after the end of its lease. `None` if the client has another
/// lease. The time is that of a quarantine; the client extends it with its next REQUEST.
pub fn given_back(
    book: &LeaseBook,
    settings: &Settings,
    address: Ipv4Addr,
    last: Holder,
    now: Timestamp,
) -> Option<LeaseChange> {
    if !last.mac.is_some_and(|mac| book.leases_of_mac(mac, now).is_empty()) {
        return None;
    }
    let until = now.after(quarantine_time(address, settings)).rounded_up();
    Some(LeaseChange::Hold { address, holder: last, state: State::Leased, until })
}

fn out_of_use(book: &LeaseBook, address: Ipv4Addr, time: Duration, now: Timestamp) -> Option<Lease> {
    let binding = book.binding(address)?;
    let subnet = book.pool_of(address)?;
    let most = (book.pool_size(subnet) / DECLINED_SHARE).max(1);
    if book.declined(subnet, now) as u64 >= most {
        return None;
    }
    let hardware = binding.holder.mac.map(HardwareAddr::from).unwrap_or_default();
    let (holder, until) = (binding.holder.clone(), now.after(time).rounded_up());
    Some(Lease { address, holder, hardware, state: State::Declined, until })
}

/// The lease that ends the quarantine of `address` early, if it is in quarantine.
pub fn end_of_quarantine(book: &LeaseBook, address: Ipv4Addr, now: Timestamp) -> Option<Lease> {
    let binding = book.binding(address).filter(|b| b.state == State::Declined && b.until > now)?;
    let hardware = binding.holder.mac.map(HardwareAddr::from).unwrap_or_default();
    Some(Lease { address, holder: binding.holder.clone(), hardware, state: State::Released, until: now })
}
