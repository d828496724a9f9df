//! Decides on addresses that clients want to keep: INIT-REBOOT, RENEWING and REBINDING (RFC 2131 section 4.3.2). Called
//! by `decide.rs`; the engine calls [`rest_of_lease`] for leases that cannot be stored.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::claims::{Inheritance, inheritance, is_anothers};
use crate::dhcp::decision::{Decision, answer, is_leased_to, lease_time};
use crate::dhcp::grant::{acknowledge, grant, may_have, nak};
use crate::dhcp::reply::Reply;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::reservations::{Reservation, reservation};
use crate::dhcp::settings::{Authoritative, Settings};
use crate::dhcp::shared_network;
use crate::event::DropReason;
use crate::lease::{LeaseBook, State};
use crate::types::Timestamp;

/// The reason of a NAK to a client that is no longer in a class that its pool or subnet admits.
const REFUSED: &str = "the pool of that address is not for clients of this class";

/// Decides on a REQUEST in INIT-REBOOT, RENEWING or REBINDING for `address`.
pub(super) fn extend_lease(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if !shared_network::has_host(request, address, settings) {
        let has_lease = || {
            shared_network::binding_of(request, book, settings, now)
                .is_some_and(|(_, own)| own.state == State::Leased && own.until > now)
        };
        return if settings.authoritative != Authoritative::No || has_lease() {
            nak(request, settings, "that address is not of this network")
        } else {
            Decision::silent(DropReason::UnknownLease)
        };
    }
    let reservation = reservation(request, book, settings, now);
    if let Reservation::IfSilent(address) = reservation {
        return Decision::AskHolder { address };
    }
    let known = match reservation.address() {
        Some(reserved) => Some(reserved),
        // A client that did not take our offer may still keep an address that another server gave it.
        None => shared_network::binding_of(request, book, settings, now)
            .filter(|(own, binding)| binding.leased || *own == address)
            .map(|(own, _)| own),
    };
    match known {
        Some(_) if known == Some(address) && may_have(request, address, book, settings, now) => {
            grant(request, address, book, settings, now)
        }
        Some(_) if known == Some(address) && shared_network::is_refused(request, address, settings) => {
            nak(request, settings, REFUSED)
        }
        Some(_) => nak(request, settings, "this client has another address, or its lease ran out"),
        None => extend_unknown(request, address, book, settings, now),
    }
}

/// Decides on an address that a client wants to keep although the book knows no lease of that client.
fn extend_unknown(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    match inheritance(request, book, settings, now) {
        Inheritance::IfSilent(other) if other == address => return Decision::AskHolder { address },
        Inheritance::Takes(other) if other == address => {
            return acknowledge(request, address, book, settings, now);
        }
        _ => {}
    }
    let was_its_own = book.binding(address).is_some_and(|b| b.leased && b.holder.shares_id(&request.holder));
    if was_its_own && may_have(request, address, book, settings, now) {
        return grant(request, address, book, settings, now);
    }
    let is_refused = || shared_network::is_refused(request, address, settings);
    match settings.authoritative {
        Authoritative::Yes | Authoritative::Strict if is_refused() => nak(request, settings, REFUSED),
        Authoritative::Yes | Authoritative::Strict if is_anothers(request, address, book, now) => {
            nak(request, settings, "that address is another machine's")
        }
        Authoritative::Strict => {
            nak(request, settings, "this server did not give that address to this client")
        }
        // RFC 2131: a server without a record of the client must stay silent, because another server may have one.
        _ => Decision::silent(DropReason::UnknownLease),
    }
}

/// The ACK that replaces a grant of `address` if the grant cannot be stored. It promises only the time that is stored
/// already, until `until`, so that clients keep their leases while the disk is full. Call this before the grant is
/// applied.
pub fn rest_of_lease(
    until: Timestamp,
    request: &Request<'_>,
    address: Ipv4Addr,
    (book, settings): (&LeaseBook, &Settings),
    now: Timestamp,
) -> Option<Decision> {
    let is_own = book.binding(address).is_some_and(|binding| is_leased_to(binding, &request.holder));
    if request.ask == Ask::Bootp || !is_own {
        return None;
    }
    let rest = Duration::from_secs(until.since(now).as_secs());
    let lease = lease_time(request, address, settings).min(rest);
    (!lease.is_zero()).then(|| answer(request, settings, Reply::Ack(address, lease), None))
}
