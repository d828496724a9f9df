//! Grants addresses: who may have one, and the ACK and NAK that say so. `decide.rs`, `keep.rs` and `bootp.rs` call it.

use std::net::Ipv4Addr;
use std::time::Duration;

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

/// ACKs `address` without a check; no other machine may be using it. Nothing needs to be stored if the store already has
/// exactly this lease.
pub(super) fn acknowledge(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    let time = lease_time(request, address, settings);
    let lease = request.lease(address, stored_end(time, now));
    let is_stored = book.has_stored(&lease);
    match store(lease, book, now) {
        Some(LeaseChange::Store(_)) if is_stored => {
            answer(request, settings, Reply::Ack(address, time), None)
        }
        Some(change) => answer(request, settings, Reply::Ack(address, time), Some(change)),
        None => Decision::silent(DropReason::StoreFailed),
    }
}

/// Leases of at least this time end at a full minute. Those of an hour, the usual ones, end when the client expects it.
const ENDS_AT_MINUTE: Duration = Duration::from_secs(6 * 3600);

/// The end in the store of a lease that is granted for `time` at `now`. It may be up to a minute later than the client
/// is promised. The initrd and the system of one boot ask for the address within seconds of each other, and a client
/// repeats a request whose ACK was lost. Their leases then have one end, which is written once. Kea and ISC dhcpd spare
/// such writes too (`cache-threshold`), but promise the client less time instead.
fn stored_end(time: Duration, now: Timestamp) -> Timestamp {
    if time == INFINITE {
        FOREVER
    } else if time >= ENDS_AT_MINUTE {
        now.after(time).rounded_up_to_minute()
    } else {
        now.after(time)
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
