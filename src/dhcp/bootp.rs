//! Plain BOOTP (RFC 951, RFC 1534): one request, one reply, and a lease that never ends. Called by `decide.rs`.

use std::net::Ipv4Addr;

use crate::dhcp::conflict::check_before_offer;
use crate::dhcp::decision::{Decision, answer};
use crate::dhcp::grant::store;
use crate::dhcp::reply::Reply;
use crate::dhcp::request::Request;
use crate::dhcp::reservations::{Reservation, reservation};
use crate::dhcp::settings::{BootpMode, Settings};
use crate::dhcp::shared_network::{admits, find_address, has_host};
use crate::event::DropReason;
use crate::lease::{FOREVER, LeaseBook, is_forever};
use crate::types::Timestamp;

/// Answers a BOOTREQUEST with the machine's reserved address, or with an address from the pool if `bootp: dynamic` is
/// configured.
pub fn decide(request: &Request<'_>, book: &LeaseBook, settings: &Settings, now: Timestamp) -> Decision {
    if settings.bootp == BootpMode::Off {
        return Decision::silent(DropReason::BootpRefused);
    }
    if wants_another_server(request) {
        return Decision::silent(DropReason::OtherServer);
    }
    match reservation(request, book, settings, now) {
        // Nothing is stored, because the configuration keeps the address for this machine.
        Reservation::Free(address) | Reservation::Passes(address) => {
            return answer(request, settings, Reply::Bootp(address), None);
        }
        Reservation::IfSilent(address) => return Decision::AskHolder { address },
        Reservation::Held(_) => return Decision::silent(DropReason::PoolExhausted),
        Reservation::None => {}
    }
    if settings.bootp != BootpMode::Dynamic {
        return Decision::silent(DropReason::BootpRefused);
    }
    // RFC 951 section 3: a client that knows its address asks only for the other fields.
    let known = request.message.ciaddr;
    if !known.is_unspecified() {
        return match has_host(request, known, settings) {
            true => answer(request, settings, Reply::Bootp(Ipv4Addr::UNSPECIFIED), None),
            false => Decision::silent(DropReason::NoSubnet),
        };
    }
    let Some(address) = find_address(request, None, book, settings, now) else {
        if !admits(request, settings) {
            return Decision::silent(DropReason::NotAdmitted);
        }
        return Decision::silent(DropReason::PoolExhausted);
    };
    let is_stored = book.binding(address).is_some_and(|binding| {
        let is_permanent = is_forever(binding.until) && binding.stored_until().is_some_and(is_forever);
        is_permanent && binding.holder.is_same_machine(&request.holder)
    });
    if request.yields && !is_stored {
        return Decision::silent(DropReason::AnotherServerLeases);
    }
    if let Some(first) = check_before_offer(request, address, book, settings, now) {
        return first;
    }
    if is_stored {
        return answer(request, settings, Reply::Bootp(address), None);
    }
    match store(request.lease(address, FOREVER), book, now) {
        Some(change) => answer(request, settings, Reply::Bootp(address), Some(change)),
        None => Decision::silent(DropReason::StoreFailed),
    }
}

/// Whether the client asks for another server in `sname` (RFC 951 section 7.3). Only addresses are compared, because
/// any name may be one of our names.
fn wants_another_server(request: &Request<'_>) -> bool {
    let name = str::from_utf8(request.message.server_name()).ok();
    let address: Option<Ipv4Addr> = name.and_then(|name| name.parse().ok());
    address.is_some_and(|address| address != request.server && !request.arrival.addresses.contains(&address))
}
