//! Which address a client gets: its own, its last, the one it asks for, or the one that nobody has used for longest.

use std::net::Ipv4Addr;

use crate::lease::OFFER_MIN_HOLD;
use crate::lease::binding::{Holder, State};
use crate::lease::book::{LeaseBook, OFFER_HOLD};
use crate::lease::pool::Pool;
use crate::types::Timestamp;

/// Offers that are looked at for one that gives way, so that a DISCOVER costs the same in a pool of any size.
const MAX_LOOKED_AT: usize = 128;

impl LeaseBook {
    /// From now on no client gets one of this computer's `own` addresses, and one that was its own is a client's again.
    /// Those that were in a pool until now.
    pub fn keep_own(&mut self, own: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        self.own = own.to_vec();
        let mut taken = Vec::new();
        for pool in &mut self.pools {
            let now: Vec<Ipv4Addr> =
                own.iter().copied().filter(|address| pool.network.contains(*address)).collect();
            if now == pool.own {
                continue;
            }
            let before = std::mem::take(&mut pool.own);
            taken.extend(now.iter().copied().filter(|a| !before.contains(a) && pool.shares(*a)));
            // Where a binding is found depends on whether its address is shared.
            let bound: Vec<_> =
                before.iter().chain(&now).filter_map(|a| Some((*a, self.bindings.get(a)?))).collect();
            bound.iter().for_each(|(address, binding)| pool.gave(*address, binding));
            pool.own = now;
            bound.iter().for_each(|(address, binding)| pool.took(*address, binding));
            pool.next_unused = (0, 0);
            pool.size = pool.count();
        }
        taken
    }

    /// The address for `who` in `subnet`, if there is one: the one it has or last had, then the one it asks for,
    /// then one that nobody ever had, then the one that has been free for longest. `is_expected` is a client that the
    /// configuration names; others that were never seen here do not get the last addresses.
    pub fn find_address(
        &self,
        subnet: usize,
        who: &Holder,
        requested: Option<Ipv4Addr>,
        is_expected: bool,
        now: Timestamp,
    ) -> Option<Ipv4Addr> {
        let pool = self.pools.get(subnet)?;
        let usable = |address: &Ipv4Addr| self.may_use(subnet, *address, who, now);
        let own = self.of_client(subnet, who, now);
        let is_known = own.is_some_and(|(_, binding)| binding.is_known(now));
        if !is_expected && !is_known && !pool.has_room_for_strangers() {
            return None;
        }
        let own = own.filter(|(_, binding)| binding.state != State::Declined).map(|(address, _)| address);
        if let Some(own) = own.filter(usable) {
            return Some(own);
        }
        requested
            .filter(usable)
            .or_else(|| self.unused(pool).map(|(address, _)| address))
            .or_else(|| pool.least_recently_used(now))
    }

    /// The address of the oldest offer in `subnet` that was never taken, which gives way to `who` now that no address is
    /// free. An offer younger than [`OFFER_MIN_HOLD`] gives way only to clients that the configuration names, that are
    /// known here, or that were turned away before and ask again: made-up clients ask once. Among young ones, the offers
    /// to clients that came back themselves give way last.
    pub fn find_untaken(
        &self,
        subnet: usize,
        who: &Holder,
        is_expected: bool,
        now: Timestamp,
    ) -> Option<Ipv4Addr> {
        let untaken = &self.pools.get(subnet)?.untaken;
        let (until, oldest) = *untaken.first()?;
        if until <= now.after(OFFER_HOLD.saturating_sub(OFFER_MIN_HOLD)) {
            return Some(oldest);
        }
        let is_known = || self.of_client(subnet, who, now).is_some_and(|(_, binding)| binding.is_known(now));
        if !is_expected && !self.offers.comes_back(&who.client, now) && !is_known() {
            return None;
        }
        let asked_once = |address: &Ipv4Addr| {
            let holder = self.bindings.get(address).map(|binding| &binding.holder);
            holder.is_some_and(|holder| !self.offers.turned_away(&holder.client))
        };
        let mut oldest_few = untaken.iter().take(MAX_LOOKED_AT).map(|(_, address)| *address);
        oldest_few.find(asked_once).or(Some(oldest))
    }

    /// Whether `who` was offered `address` not long ago, and the offer gave way to another client that has not taken it
    /// either: the first of the two that asks for it gets it.
    pub fn had_offer(&self, address: Ipv4Addr, who: &Holder, now: Timestamp) -> bool {
        let binding = self.bindings.get(&address);
        binding.is_some_and(|b| b.state == State::Offered && !b.leased) && self.offers.had(address, who, now)
    }

    /// Whether less than a quarter of the pool of `subnet` is free, apart from `address`: then no client keeps an address
    /// for long that it only was offered.
    pub fn is_crowded(&self, subnet: usize, address: Ipv4Addr) -> bool {
        let Some(pool) = self.pools.get(subnet) else { return false };
        let own = self.bindings.get(&address).is_some_and(|b| pool.active.contains(&(b.until, address)));
        let taken = pool.active.len().saturating_sub(usize::from(own)) as u64;
        taken.saturating_mul(4) > pool.size.saturating_mul(3)
    }

    /// Whether `who`, whom the configuration does not name, may get `address` as far as strangers are concerned: it has or
    /// had one there, or has an offer, or there is room for strangers.
    pub fn admits(&self, address: Ipv4Addr, who: &Holder, now: Timestamp) -> bool {
        let Some(subnet) = self.pool_of(address) else { return false };
        let held = self.bindings.get(&address).filter(|binding| binding.holder.is(who));
        held.is_some_and(|binding| binding.is_known(now))
            || self.had_offer(address, who, now)
            || self.of_client(subnet, who, now).is_some_and(|(_, binding)| binding.is_known(now))
            || self.pools[subnet].has_room_for_strangers()
    }

    /// Whether the configuration reserves `address` for a machine.
    pub fn is_reserved(&self, address: Ipv4Addr) -> bool {
        self.pool_of(address).is_some_and(|subnet| self.pools[subnet].reserved.contains(&address))
    }

    /// Whether any client may have `address` in `subnet`: it is in the pool and reserved for nobody.
    pub fn shares(&self, subnet: usize, address: Ipv4Addr) -> bool {
        self.pools.get(subnet).is_some_and(|pool| pool.shares(address))
    }

    /// Whether `who` may have `address` from the pool of `subnet`: any client may get it, and nobody else holds it.
    pub fn may_use(&self, subnet: usize, address: Ipv4Addr, who: &Holder, now: Timestamp) -> bool {
        self.shares(subnet, address) && self.is_free_for(address, who, now)
    }

    /// How many addresses the pool of `subnet` has that any client may get.
    pub fn pool_size(&self, subnet: usize) -> u64 {
        self.pools.get(subnet).map_or(0, Pool::size)
    }

    /// Notes what has ended by `now`. Call it before a batch of decisions.
    pub fn settle(&mut self, now: Timestamp) {
        self.pools.iter_mut().for_each(|pool| pool.settle(now));
        self.offers.settle(now);
    }

    /// Moves the search for addresses without a binding past those that have one, so that it stays short.
    pub(super) fn advance(&mut self, subnet: usize) {
        let end = (self.pools[subnet].ranges.len(), 0);
        let next = self.unused(&self.pools[subnet]).map_or(end, |(_, place)| place);
        self.pools[subnet].next_unused = next;
    }

    fn unused(&self, pool: &Pool) -> Option<(Ipv4Addr, (usize, u32))> {
        let mut places = pool.after_last_given();
        places.find(|(address, _)| !self.bindings.contains_key(address) && !pool.is_kept(*address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Lease, LeaseChange};
    use crate::types::{ClientId, HardwareAddr, MacAddr};

    fn ip(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, n)
    }

    fn client(n: u8) -> Holder {
        let mac = MacAddr([2, 0, 0, 0, 0, n]);
        Holder { client: ClientId::of_mac(mac), mac: Some(mac), boots: false }
    }

    /// 10.0.0.1 to .3 and .10 to .11, .2 reserved.
    fn book() -> LeaseBook {
        let ranges = vec!["10.0.0.1-10.0.0.3".parse().unwrap(), "10.0.0.10-10.0.0.11".parse().unwrap()];
        LeaseBook::new(vec![Pool::new("10.0.0.0/24".parse().unwrap(), ranges, [ip(2)])])
    }

    fn grant(book: &mut LeaseBook, address: Ipv4Addr, n: u8, until: u64) {
        let until = Timestamp::from_seconds(until);
        let lease = Lease {
            address,
            holder: client(n),
            hardware: HardwareAddr::default(),
            state: State::Leased,
            until,
        };
        book.apply(&LeaseChange::Store(lease));
    }

    #[test]
    fn new_clients_get_addresses_that_nobody_had_and_no_reserved_one() {
        let mut book = book();
        let now = Timestamp::from_seconds(0);
        let mut given = Vec::new();
        for n in 0..5 {
            let address = book.find_address(0, &client(n), None, false, now);
            given.extend(address);
            if let Some(address) = address {
                grant(&mut book, address, n, 100);
            }
        }
        assert_eq!(given, [ip(1), ip(3), ip(10), ip(11)]);
    }

    #[test]
    fn an_own_address_is_given_to_nobody_while_it_is_one() {
        let mut book = book();
        let now = Timestamp::from_seconds(50);
        for (i, end) in [(1, 20), (3, 90), (10, 90)] {
            grant(&mut book, ip(i), i, end);
        }
        // One in use, one whose lease ended longest ago, one that nobody had, a reserved one, and one of another network.
        let own = [ip(3), ip(1), ip(11), ip(2), Ipv4Addr::new(10, 0, 1, 1)];
        assert_eq!(book.keep_own(&own), [ip(3), ip(1), ip(11)]);
        book.settle(now);
        assert_eq!(book.find_address(0, &client(99), Some(ip(1)), true, now), None);
        assert!(!book.may_use(0, ip(3), &client(3), now), "the client of that lease has to leave it");
        assert!(book.keep_own(&own).is_empty(), "nothing new");
        assert!(book.keep_own(&[]).is_empty());
        book.settle(now);
        let given: Vec<_> = (20..23)
            .map(|n| {
                let address = book.find_address(0, &client(n), None, true, now);
                address.inspect(|address| grant(&mut book, *address, n, 100))
            })
            .collect();
        assert_eq!(given, [Some(ip(11)), Some(ip(1)), None]);
        assert!(book.may_use(0, ip(3), &client(3), now));
    }

    #[test]
    fn a_full_pool_gives_the_address_that_has_been_free_for_longest() {
        let mut book = book();
        for (i, end) in [(1, 40), (3, 20), (10, 30), (11, 90)] {
            grant(&mut book, ip(i), i, end);
        }
        let at = Timestamp::from_seconds;
        assert_eq!(book.find_address(0, &client(99), None, false, at(19)), None);
        book.settle(at(50));
        assert_eq!(book.find_address(0, &client(99), None, false, at(50)), Some(ip(3)));
        assert_eq!(
            book.find_address(0, &client(99), Some(ip(10)), false, at(50)),
            Some(ip(10)),
            "the one it asks for"
        );
        assert_eq!(
            book.find_address(0, &client(99), Some(ip(11)), false, at(50)),
            Some(ip(3)),
            "not if it is taken"
        );
        assert_eq!(
            book.find_address(0, &client(99), Some(ip(2)), false, at(50)),
            Some(ip(3)),
            "not if it is reserved"
        );
        assert_eq!(
            book.find_address(0, &client(1), Some(ip(10)), false, at(50)),
            Some(ip(1)),
            "first its own last one"
        );
        grant(&mut book, ip(3), 99, 200);
        assert_eq!(
            book.find_address(0, &client(3), None, false, at(50)),
            Some(ip(10)),
            "its last one is taken now"
        );
    }

    #[test]
    fn a_declined_address_is_nobodys_until_its_time_is_over() {
        let mut book = book();
        let until = Timestamp::from_seconds(600);
        let lease = Lease {
            address: ip(1),
            holder: client(1),
            hardware: HardwareAddr::default(),
            state: State::Declined,
            until,
        };
        book.apply(&LeaseChange::Store(lease));
        let at = Timestamp::from_seconds;
        assert_eq!(book.declined(0, at(599)), 1);
        assert_eq!(book.find_address(0, &client(1), Some(ip(1)), false, at(599)), Some(ip(3)));
        assert_eq!(book.declined(0, at(600)), 0);
        assert_eq!(book.find_address(0, &client(2), Some(ip(1)), false, at(600)), Some(ip(1)));
        let elsewhere = book.find_address(0, &client(1), None, false, at(600));
        assert_eq!(elsewhere, Some(ip(3)), "who declined it does not get it again");
    }

    #[test]
    fn strangers_that_only_ask_cannot_hold_a_whole_pool() {
        let ranges = vec!["10.0.0.1-10.0.0.100".parse().unwrap()];
        let mut book = LeaseBook::new(vec![Pool::new("10.0.0.0/24".parse().unwrap(), ranges, [])]);
        let at = Timestamp::from_seconds;
        for n in 1..=20 {
            grant(&mut book, ip(n), n, 1000);
        }
        let mut offered = 0;
        for n in 21..=120 {
            let Some(address) = book.find_address(0, &client(n), None, false, at(0)) else { continue };
            let hold = LeaseChange::Hold { address, holder: client(n), state: State::Offered, until: at(30) };
            book.apply(&hold);
            offered += 1;
        }
        assert_eq!(offered, 72, "nine tenths of the 80 that are not leased");
        assert!(book.find_address(0, &client(200), None, false, at(0)).is_none());
        assert!(
            book.find_address(0, &client(200), None, true, at(0)).is_some(),
            "the configuration names it"
        );
        assert_eq!(book.find_address(0, &client(7), None, false, at(0)), Some(ip(7)), "it has a lease");
        book.settle(at(30));
        assert!(book.find_address(0, &client(200), None, false, at(30)).is_some(), "the offers ran out");
    }
}
