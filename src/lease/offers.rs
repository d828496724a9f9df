//! Untaken offers. When a pool is full, the oldest untaken offer is reclaimed for a new client, so that clients that
//! never finish do not block others. Two bounded lists remember the clients whose offers were reclaimed and the clients
//! that found no free address.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lease::binding::Holder;
use crate::types::{ClientId, Timestamp};

/// The minimum hold of an offer against clients that ask for the first time. Firmware waits up to 4 s before it takes
/// an offer.
pub const OFFER_MIN_HOLD: Duration = Duration::from_secs(5);
/// The time in which a client that found no free address counts as returning. Clients retry after 3 to 16 s.
const RETURN_TIME: Duration = Duration::from_secs(30);
/// A copy of a DISCOVER within this time is not a new attempt, because two relay agents may have forwarded it.
const SAME_ATTEMPT: Duration = Duration::from_millis(500);
/// The maximum number of reclaimed offers remembered: half a megabyte, more than a link with 65,536 clients needs.
const MAX_RECLAIMED: usize = 4096;
/// The maximum number of clients without an address remembered, as hashes: a megabyte, enough for 1000 made-up clients per
/// second.
const MAX_EXHAUSTED: usize = 32_768;

/// The two lists. Entries leave in their order of arrival, when they expire or the list is full.
#[derive(Debug, Default)]
pub(super) struct Offers {
    now: Timestamp,
    reclaimed: VecDeque<ReclaimedOffer>,
    exhausted: HashMap<u64, Timestamp>,
    order: VecDeque<(Timestamp, u64)>,
    // The hash is random so that clients cannot choose colliding identifiers.
    hasher: RandomState,
}

#[derive(Debug)]
struct ReclaimedOffer {
    address: Ipv4Addr,
    holder: Holder,
    until: Timestamp,
}

impl Offers {
    /// Returns the time of the last [`Offers::expire`].
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Removes entries that have expired at `now`.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.now = now;
        while self.reclaimed.front().is_some_and(|offer| offer.until <= now) {
            self.reclaimed.pop_front();
        }
        while self.order.front().is_some_and(|(at, _)| now.since(*at) >= RETURN_TIME) {
            self.forget_first();
        }
    }

    /// Records that the offer of `address` to `holder`, valid until `until`, was reclaimed.
    pub(super) fn record_reclaimed(&mut self, address: Ipv4Addr, holder: Holder, until: Timestamp) {
        if until <= self.now {
            return;
        }
        if self.reclaimed.len() >= MAX_RECLAIMED {
            self.reclaimed.pop_front();
        }
        self.reclaimed.push_back(ReclaimedOffer { address, holder, until });
    }

    /// Whether an offer of `address` to `holder` was reclaimed and would still be valid at `now`.
    pub(super) fn was_reclaimed_from(&self, address: Ipv4Addr, holder: &Holder, now: Timestamp) -> bool {
        let mut offers = self.reclaimed.iter();
        offers.any(|offer| {
            offer.address == address && offer.until > now && offer.holder.is_same_machine(holder)
        })
    }

    /// Records that `client` found no free address at `at`.
    pub(super) fn record_exhausted(&mut self, client: &ClientId, at: Timestamp) {
        let client = self.hasher.hash_one(client);
        if self.exhausted.contains_key(&client) {
            return;
        }
        if self.order.len() >= MAX_EXHAUSTED {
            self.forget_first();
        }
        self.exhausted.insert(client, at);
        self.order.push_back((at, client));
    }

    /// Whether `client` found no free address before and now asks again.
    pub(super) fn is_returning(&self, client: &ClientId, now: Timestamp) -> bool {
        if self.exhausted.is_empty() {
            return false;
        }
        let since = self.exhausted.get(&self.hasher.hash_one(client)).map(|at| now.since(*at));
        since.is_some_and(|since| since >= SAME_ATTEMPT && since < RETURN_TIME)
    }

    /// Whether `client` is remembered as a client that found no free address.
    pub(super) fn was_exhausted(&self, client: &ClientId) -> bool {
        !self.exhausted.is_empty() && self.exhausted.contains_key(&self.hasher.hash_one(client))
    }

    fn forget_first(&mut self) {
        if let Some((_, client)) = self.order.pop_front() {
            self.exhausted.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddr;

    fn holder(n: u32) -> Holder {
        let [a, b, c, d] = n.to_be_bytes();
        let mac = MacAddr([2, 0, a, b, c, d]);
        Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false }
    }

    #[test]
    fn s_14_both_lists_are_bounded_and_forget_in_time() {
        let mut offers = Offers::default();
        let at = Timestamp::from_seconds;
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let last = 99_999;
        for n in 0..=last {
            offers.record_reclaimed(address, holder(n), at(30));
            offers.record_exhausted(&holder(n).client, at(0));
        }
        assert_eq!((offers.reclaimed.len(), offers.exhausted.len()), (MAX_RECLAIMED, MAX_EXHAUSTED));
        assert!(
            offers.was_reclaimed_from(address, &holder(last), at(29))
                && !offers.was_reclaimed_from(address, &holder(0), at(29))
        );
        assert!(!offers.was_reclaimed_from(address, &holder(last), at(30)));
        let last = holder(last).client;
        assert!(!offers.is_returning(&last, at(0)), "a copy of the same message");
        assert!(offers.is_returning(&last, at(4)) && !offers.is_returning(&last, at(30)));
        offers.expire(at(30));
        assert_eq!((offers.reclaimed.len(), offers.exhausted.len(), offers.order.len()), (0, 0, 0));
    }
}
