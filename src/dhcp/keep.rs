//! Decides on addresses that clients want to keep: INIT-REBOOT, RENEWING and REBINDING (RFC 2131 section 4.3.2). Called by
//! `decide.rs` alone.

use std::net::Ipv4Addr;

use crate::dhcp::claims::{Inheritance, inheritance, is_anothers};
use crate::dhcp::decide::{Decision, acknowledge, grant, may_have, nak, own_reservation};
use crate::dhcp::request::Request;
use crate::dhcp::shared;
use crate::dhcp::subnet::{Authoritative, Settings};
use crate::event::DropReason;
use crate::lease::{LeaseBook, State};
use crate::types::Timestamp;

/// INIT-REBOOT, RENEWING and REBINDING: the client wants to go on with an address (RFC 2131 section 4.3.2).
pub(super) fn keep(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if !shared::has_host(request, address, settings) {
        let has_lease = || {
            shared::of_client(request, book, settings, now)
                .is_some_and(|(_, own)| own.state == State::Leased && own.until > now)
        };
        return if settings.authoritative != Authoritative::No || has_lease() {
            nak(request, settings, "that address is not of this network")
        } else {
            Decision::silent(DropReason::UnknownLease)
        };
    }
    let known = match own_reservation(request, book, settings, now) {
        Some(reserved) => Some(reserved),
        // An offer that it did not take is no reason to forbid it what another server gave it.
        None => shared::of_client(request, book, settings, now)
            .filter(|(own, binding)| binding.leased || *own == address)
            .map(|(own, _)| own),
    };
    match known {
        Some(_) if known == Some(address) && may_have(request, address, book, settings, now) => {
            grant(request, address, book, settings, now)
        }
        Some(_) => nak(request, settings, "this client has another address, or its lease ran out"),
        None => keep_of_unknown(request, address, book, settings, now),
    }
}

/// Decides on an address that a client wants to keep although the book knows no lease of that client.
fn keep_of_unknown(
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
    match settings.authoritative {
        Authoritative::Yes | Authoritative::Strict if is_anothers(request, address, book, now) => {
            nak(request, settings, "that address is another machine's")
        }
        Authoritative::Strict => {
            nak(request, settings, "this server did not give that address to this client")
        }
        // RFC 2131: a server that knows nothing of the client must stay silent, another one may know it.
        _ => Decision::silent(DropReason::UnknownLease),
    }
}
