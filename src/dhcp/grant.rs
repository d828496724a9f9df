//! Grants addresses: who may have one, and the ACK and NAK that say so. `decide.rs`, `keep.rs` and `bootp.rs` call it.

use std::net::Ipv4Addr;

use crate::dhcp::claims::is_one_too_many;
use crate::dhcp::conflict::check_before_offer;
use crate::dhcp::decision::{Decision, answer, lease_time};
use crate::dhcp::level::INFINITE;
use crate::dhcp::reply::Reply;
use crate::dhcp::request::Request;
use crate::dhcp::reservations::{Reservation, reservation};
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::event::DropReason;
use crate::lease::{FOREVER, Lease, LeaseBook, LeaseChange};
use crate::types::Timestamp;

/// Whether the client can be given `address`: it is reserved for the client or, without a reservation, in a pool that
/// admits the client, and no other client holds it.
pub(super) fn may_have(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> bool {
    let who = &request.holder;
    let entitled = match reservation(request, book, settings, now) {
        Reservation::Passes(reserved) => return reserved == address,
        Reservation::IfSilent(_) => false,
        Reservation::Free(reserved) => reserved == address,
        Reservation::None | Reservation::Held(_) => {
            shared_network::opens(request, address, book, settings)
                && (request.machine.is_some()
                    || request.seek(false, settings, |seeker| book.may_admit(address, seeker, now)))
        }
    };
    entitled && (book.is_free_for(address, who, now) || book.had_reclaimed_offer(address, who, now))
}

/// ACKs `address` for the lease time. The reply leaves after the lease is stored.
pub(super) fn grant(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if is_one_too_many(request, address, book, now) {
        return Decision::silent(DropReason::TooManyIds);
    }
    if let Some(first) = check_before_offer(request, address, book, settings, now) {
        return first;
    }
    acknowledge(request, address, book, settings, now)
}

/// ACKs `address` without a check; no other machine may be using it.
pub(super) fn acknowledge(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    let lease = lease_time(request, address, settings);
    let until = if lease == INFINITE { FOREVER } else { now.after(lease) };
    match store(request.lease(address, until), book, now) {
        Some(change) => answer(request, settings, Reply::Ack(address, lease), Some(change)),
        None => Decision::silent(DropReason::StoreFailed),
    }
}

/// The change that grants `lease` and ends the client's other leases on its wire. `None` if the change cannot be stored
/// now.
pub fn store(lease: Lease, book: &LeaseBook, now: Timestamp) -> Option<LeaseChange> {
    let ended = book.leases_ended_by(&lease, now)?;
    Some(if ended.is_empty() { LeaseChange::Store(lease) } else { LeaseChange::Replace { lease, ended } })
}

pub(super) fn nak(request: &Request<'_>, settings: &Settings, why: &'static str) -> Decision {
    answer(request, settings, Reply::Nak(why), None)
}
