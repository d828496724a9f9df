//! Plain BOOTP (RFC 951, RFC 1534): one request, one reply, and the address is the client's for good.

use crate::dhcp::decide::{Decision, answer, reserved_address};
use crate::dhcp::reply::Reply;
use crate::dhcp::request::Request;
use crate::dhcp::shared::find_address;
use crate::dhcp::subnet::{BootpMode, Settings};
use crate::event::DropReason;
use crate::lease::{FOREVER, LeaseBook, LeaseChange, is_forever};
use crate::types::Timestamp;

/// Answers a BOOTREQUEST: with the machine's reserved address, or with one from the pool where the settings say so.
pub fn decide(request: &Request<'_>, book: &LeaseBook, settings: &Settings, now: Timestamp) -> Decision {
    if settings.bootp == BootpMode::Off {
        return Decision::silent(DropReason::BootpRefused);
    }
    if let Some(address) = reserved_address(request, settings) {
        if !book.is_free_for(address, &request.holder, now) {
            return Decision::silent(DropReason::PoolExhausted);
        }
        // Nothing to store: the configuration keeps the address for this machine.
        return answer(request, settings, Reply::Bootp(address), None);
    }
    if settings.bootp != BootpMode::Dynamic {
        return Decision::silent(DropReason::BootpRefused);
    }
    let Some(address) = find_address(request, None, book, settings, now) else {
        return Decision::silent(DropReason::PoolExhausted);
    };
    let is_stored = book.binding(address).is_some_and(|binding| {
        let for_good = is_forever(binding.until) && binding.stored_until().is_some_and(is_forever);
        for_good && binding.holder.is(&request.holder)
    });
    if request.beside && !is_stored {
        return Decision::silent(DropReason::BesideServer);
    }
    let change = (!is_stored).then(|| LeaseChange::Store(request.lease(address, FOREVER)));
    answer(request, settings, Reply::Bootp(address), change)
}
