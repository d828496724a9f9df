//! Decisions: the change that a request makes in the lease book, and the reply to it (RFC 2131 section 4.3). The engine
//! calls [`decide`] after `classify.rs`. Nothing here changes the book; the engine applies the change.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::plan;
use crate::dhcp::bootp;
use crate::dhcp::claims::{Inheritance, inheritance, is_one_too_many, other_lease};
use crate::dhcp::conflict::{check_before_offer, decline, is_from_another};
use crate::dhcp::decision::{Decision, answer, hold, is_leased_to, is_ours, lease_time};
use crate::dhcp::grant::{acknowledge, grant, may_have, nak};
use crate::dhcp::keep::extend_lease;
use crate::dhcp::reply::Reply;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::reservations::{Reservation, reservation};
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::event::{DropReason, Event};
use crate::lease::{Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
use crate::types::{HardwareAddr, Timestamp};

/// Time for which an address is kept for a client that boots from the OFFER alone, if its subnet has no `boot_lease`.
pub const BOOT_HOLD: Duration = Duration::from_secs(600);

/// Decides on `request`, given the leases in `book` at `now`.
pub fn decide(request: &Request<'_>, book: &LeaseBook, settings: &Settings, now: Timestamp) -> Decision {
    // A REQUEST that selects another server frees our offer. Any other message that names another server is not for us.
    let named = request.ask.server().filter(|_| !matches!(request.ask, Ask::Select { .. }));
    if !is_ours(request, named, book) {
        return Decision::silent(DropReason::OtherServer);
    }
    match request.ask {
        Ask::Discover { requested } => discover(request, requested, book, settings, now),
        Ask::Select { server, address } => select(request, server, address, book, settings, now),
        Ask::InitReboot { address } | Ask::Extend { address, .. } => {
            extend_lease(request, address, book, settings, now)
        }
        Ask::Decline { address, .. } => decline(request, address, book, settings, now),
        Ask::Release { address, .. } => release(request, address, book, now),
        Ask::Inform => inform(request, settings),
        Ask::Bootp => bootp::decide(request, book, settings, now),
    }
}

fn discover(
    request: &Request<'_>,
    requested: Option<Ipv4Addr>,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    let who = &request.holder;
    let reservation = reservation(request, book, settings, now);
    let reserved = reservation.address();
    if let Reservation::IfSilent(address) = reservation {
        return Decision::AskHolder { address };
    }
    let inherited = match reserved {
        Some(_) => Inheritance::None,
        None => inheritance(request, book, settings, now),
    };
    let found = match inherited {
        Inheritance::IfSilent(address) if !request.yields => return Decision::AskHolder { address },
        Inheritance::Takes(address) if !request.yields => {
            return offer_of_another(request, address, settings);
        }
        _ => reserved.or_else(|| shared_network::find_address(request, requested, book, settings, now)),
    };
    let Some(address) = found else { return no_address(request, settings, now) };
    if reservation == Reservation::Passes(address) {
        return offer_of_another(request, address, settings);
    }
    if is_one_too_many(request, address, book, now) {
        return Decision::silent(DropReason::TooManyIds);
    }
    let own = book.binding(address).filter(|binding| binding.holder.is_same_machine(who));
    let leased = own.filter(|binding| binding.state == State::Leased && binding.until > now);
    if request.yields && reserved.is_none() && leased.is_none() {
        return Decision::silent(DropReason::AnotherServerLeases);
    }
    if let Some(first) = check_before_offer(request, address, book, settings, now) {
        return first;
    }
    let lease = lease_time(request, address, settings);
    let boot_hold = now.after(request.subnet_of(address, settings).boot_lease.unwrap_or(BOOT_HOLD));
    let change = match leased {
        // This client takes the address with the OFFER. Forged clients of this kind must not fill the pool.
        _ if plan::uses_offered_address(&request.identity) && !is_nearly_full(book, address) => {
            let until = leased.map_or(boot_hold, |leased| leased.until.max(boot_hold));
            let holder = request.holder.clone();
            Some(LeaseChange::Hold { address, holder, state: State::Leased, until })
        }
        // The address is held for the client anyway.
        Some(leased) if leased.until >= now.after(OFFER_HOLD) => None,
        Some(_) => Some(hold(request, address, State::Leased, now)),
        None => Some(hold(request, address, State::Offered, now)),
    };
    answer(request, settings, Reply::Offer(address, lease), change)
}

fn is_nearly_full(book: &LeaseBook, address: Ipv4Addr) -> bool {
    book.pool_of(address).is_some_and(|subnet| book.is_nearly_full(subnet, address))
}

/// Offers an address that another client holds. It stays that client's until this one takes it, because even a forged
/// DISCOVER gets an OFFER.
fn offer_of_another(request: &Request<'_>, address: Ipv4Addr, settings: &Settings) -> Decision {
    answer(request, settings, Reply::Offer(address, lease_time(request, address, settings)), None)
}

/// No address is free for the client. The client gets preference when it asks again.
fn no_address(request: &Request<'_>, settings: &Settings, now: Timestamp) -> Decision {
    if !shared_network::admits(request, settings) {
        return Decision::silent(DropReason::NotAdmitted);
    }
    let change = Some(LeaseChange::RecordExhausted { client: request.holder.client.clone(), at: now });
    Decision::Silent { reason: DropReason::PoolExhausted, change }
}

/// SELECTING: the client broadcasts the server identifier of the offer that it takes (RFC 2131 section 4.3.2).
fn select(
    request: &Request<'_>,
    server: Ipv4Addr,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if !is_ours(request, Some(server), book) {
        let offer = shared_network::offer_to(request, book, settings, now);
        let change = offer.map(|address| LeaseChange::Withdraw { address, holder: request.holder.clone() });
        return Decision::Silent { reason: DropReason::OtherServer, change };
    }
    if let Reservation::IfSilent(address) = reservation(request, book, settings, now) {
        return Decision::AskHolder { address };
    }
    // A client with a usable lease is offered only that lease, and this was also true before a restart of this server.
    // A REQUEST for any other address is therefore refused.
    let lease = other_lease(request, address, book, settings, now);
    if lease.is_some_and(|own| may_have(request, own, book, settings, now)) {
        return nak(request, settings, "this client has another address, and was not offered that one");
    }
    // Offers are lost in a restart, so the client may take any free address of its pool.
    if may_have(request, address, book, settings, now) {
        return grant(request, address, book, settings, now);
    }
    match inheritance(request, book, settings, now) {
        Inheritance::IfSilent(other) if other == address => Decision::AskHolder { address },
        Inheritance::Takes(other) if other == address => acknowledge(request, address, book, settings, now),
        _ => nak(request, settings, "that address was not offered to this client, or its offer ran out"),
    }
}

/// INFORM: sends options for an address that the client has from elsewhere. The address must be on this wire: if it is
/// on another one, the answer would go to another machine (RFC 2131 section 4.3.5: the network address should be
/// checked).
fn inform(request: &Request<'_>, settings: &Settings) -> Decision {
    let (ciaddr, source) = (request.message.ciaddr, *request.arrival.source.ip());
    let address = if ciaddr.is_unspecified() { source } else { ciaddr };
    let needs_no_check =
        address.is_unspecified() || request.arrival.loopback || !request.message.giaddr.is_unspecified();
    if needs_no_check || shared_network::has_host(request, address, settings) {
        answer(request, settings, Reply::Inform, None)
    } else {
        Decision::silent(DropReason::NoSubnet)
    }
}

/// Frees the address that the client holds, if the RELEASE comes from that address or from the client's relay agent.
/// Any machine can write a relay agent's address into a message, so the source address must be the relay agent's.
fn release(request: &Request<'_>, address: Ipv4Addr, book: &LeaseBook, now: Timestamp) -> Decision {
    let arrival = request.arrival;
    let giaddr = request.message.giaddr;
    let source = *arrival.source.ip();
    // Some clients give up their address before they say so. No router passes on such a message, so it is from this
    // wire, where any machine could write the other address too.
    let sent_from_it = source == address
        || arrival.loopback
        || (giaddr.is_unspecified() && source.is_unspecified())
        || (!giaddr.is_unspecified() && source == giaddr);
    if !has_lease(request, address, book, now) || !sent_from_it {
        return Decision::silent(DropReason::NotOwner);
    }
    // A client that is not in a network of this interface sends its RELEASE through a router, and the frame then comes
    // from that router.
    let is_neighbour = source.is_unspecified() || arrival.is_on_wire(address);
    if is_neighbour && !arrival.loopback {
        return Decision::CheckDecline { address };
    }
    released(request, address, None, book, now)
}

/// Decides on a RELEASE whose sender was looked up. Any machine can send a RELEASE in the name of another one, so one
/// that did not come from its client's hardware address changes nothing. `from_client` is `None` if that is unknown.
pub fn released(
    request: &Request<'_>,
    address: Ipv4Addr,
    from_client: Option<bool>,
    book: &LeaseBook,
    now: Timestamp,
) -> Decision {
    if is_from_another(request, address, from_client, book) {
        return Decision::silent(DropReason::ForgedRelease);
    }
    if !has_lease(request, address, book, now) {
        return Decision::silent(DropReason::NotOwner);
    }
    let lease = request.lease(address, now).released(now);
    let event = Event::Released { address, client: request.client() };
    Decision::Quiet { lease, event }
}

fn has_lease(request: &Request<'_>, address: Ipv4Addr, book: &LeaseBook, now: Timestamp) -> bool {
    book.binding(address).is_some_and(|b| is_leased_to(b, &request.holder) && b.until > now)
}

impl Request<'_> {
    /// The lease of `address` to this client until `until`.
    pub fn lease(&self, address: Ipv4Addr, until: Timestamp) -> Lease {
        let hardware = HardwareAddr::new(self.message.hardware()).unwrap_or_default();
        let until = until.rounded_up();
        Lease { address, holder: self.holder.clone(), hardware, state: State::Leased, until }
    }
}
