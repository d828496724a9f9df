//! Untaken offers. When a pool is full, the oldest untaken offer is reclaimed for a new client, so that clients that
//! never finish do not block others. Two bounded lists remember the clients whose offers were reclaimed and the clients
//! that were turned away.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lease::binding::Holder;
use crate::types::{ClientId, Timestamp};

/// The minimum hold of an offer against clients that ask for the first time. Firmware waits up to 4 s before it takes
/// an offer.
pub const OFFER_MIN_HOLD: Duration = Duration::from_secs(5);
/// The time in which a client that was turned away counts as returning. Clients retry after 3 to 16 s.
const RETURN_TIME: Duration = Duration::from_secs(30);
/// A copy of a DISCOVER within this time is not a new attempt, because two relay agents may have forwarded it.
const SAME_ATTEMPT: Duration = Duration::from_millis(500);
/// The maximum number of reclaimed offers remembered: half a megabyte, more than a link with 65,536 clients needs.
const MAX_GIVEN_WAY: usize = 4096;
/// The maximum number of turned-away clients remembered, as hashes: a megabyte, enough for 1000 made-up clients per
/// second.
const MAX_TURNED_AWAY: usize = 32_768;

/// The two lists. Entries leave in their order of arrival, when they expire or the list is full.
#[derive(Debug, Default)]
pub(super) struct Offers {
    now: Timestamp,
    given_way: VecDeque<GivenWay>,
    turned_away: HashMap<u64, Timestamp>,
    order: VecDeque<(Timestamp, u64)>,
    // The hash is random so that clients cannot choose colliding identifiers.
    hasher: RandomState,
}

#[derive(Debug)]
struct GivenWay {
    address: Ipv4Addr,
    holder: Holder,
    until: Timestamp,
}

impl Offers {
    /// Returns the time of the last [`Offers::settle`].
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Removes entries that have expired at `now`.
    pub(super) fn settle(&mut self, now: Timestamp) {
        self.now = now;
        while self.given_way.front().is_some_and(|offer| offer.until <= now) {
            self.given_way.pop_front();
        }
        while self.order.front().is_some_and(|(at, _)| now.since(*at) >= RETURN_TIME) {
            self.forget_first();
        }
    }

    /// Records that the offer of `address` to `holder`, valid until `until`, was reclaimed.
    pub(super) fn gave_way(&mut self, address: Ipv4Addr, holder: Holder, until: Timestamp) {
        if until <= self.now {
            return;
        }
        if self.given_way.len() >= MAX_GIVEN_WAY {
            self.given_way.pop_front();
        }
        self.given_way.push_back(GivenWay { address, holder, until });
    }

    /// Whether an offer of `address` to `holder` was reclaimed and would still be valid at `now`.
    pub(super) fn had(&self, address: Ipv4Addr, holder: &Holder, now: Timestamp) -> bool {
        let mut offers = self.given_way.iter();
        offers.any(|offer| offer.address == address && offer.until > now && offer.holder.is(holder))
    }

    /// Records that `client` was turned away at `at`.
    pub(super) fn turn_away(&mut self, client: &ClientId, at: Timestamp) {
        let client = self.hasher.hash_one(client);
        if self.turned_away.contains_key(&client) {
            return;
        }
        if self.order.len() >= MAX_TURNED_AWAY {
            self.forget_first();
        }
        self.turned_away.insert(client, at);
        self.order.push_back((at, client));
    }

    /// Whether `client` was turned away before and now asks again.
    pub(super) fn comes_back(&self, client: &ClientId, now: Timestamp) -> bool {
        if self.turned_away.is_empty() {
            return false;
        }
        let since = self.turned_away.get(&self.hasher.hash_one(client)).map(|at| now.since(*at));
        since.is_some_and(|since| since >= SAME_ATTEMPT && since < RETURN_TIME)
    }

    /// Whether `client` is remembered as turned away.
    pub(super) fn turned_away(&self, client: &ClientId) -> bool {
        !self.turned_away.is_empty() && self.turned_away.contains_key(&self.hasher.hash_one(client))
    }

    fn forget_first(&mut self) {
        if let Some((_, client)) = self.order.pop_front() {
            self.turned_away.remove(&client);
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
        Holder { client: ClientId::of_mac(mac), mac: Some(mac), boots: false }
    }

    #[test]
    fn s_14_both_lists_are_bounded_and_forget_in_time() {
        let mut offers = Offers::default();
        let at = Timestamp::from_seconds;
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let last = 99_999;
        for n in 0..=last {
            offers.gave_way(address, holder(n), at(30));
            offers.turn_away(&holder(n).client, at(0));
        }
        assert_eq!((offers.given_way.len(), offers.turned_away.len()), (MAX_GIVEN_WAY, MAX_TURNED_AWAY));
        assert!(offers.had(address, &holder(last), at(29)) && !offers.had(address, &holder(0), at(29)));
        assert!(!offers.had(address, &holder(last), at(30)));
        let last = holder(last).client;
        assert!(!offers.comes_back(&last, at(0)), "a copy of the same message");
        assert!(offers.comes_back(&last, at(4)) && !offers.comes_back(&last, at(30)));
        offers.settle(at(30));
        assert_eq!((offers.given_way.len(), offers.turned_away.len(), offers.order.len()), (0, 0, 0));
    }
}
