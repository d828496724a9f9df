//! Chooses the address of a client: its own, its last, the requested one, or the one that was unused for longest.

use std::net::Ipv4Addr;

use crate::lease::OFFER_MIN_HOLD;
use crate::lease::binding::{Holder, State};
use crate::lease::book::{LeaseBook, OFFER_HOLD};
use crate::lease::pool::Pool;
use crate::types::Timestamp;

/// The number of offers examined for one to reclaim. The limit keeps the cost of a DISCOVER independent of the pool
/// size.
const MAX_OFFERS_EXAMINED: usize = 128;

impl LeaseBook {
    /// Sets the addresses of this computer. No client gets them from now on; addresses that this computer no longer has
    /// become free. Returns the new ones that a pool contains.
    pub fn set_own_addresses(&mut self, own: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
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
            // The sets of a pool that a binding is in depend on whether the address is shared.
            let bound: Vec<_> =
                before.iter().chain(&now).filter_map(|a| Some((*a, self.bindings.get(a)?))).collect();
            bound.iter().for_each(|(address, binding)| pool.remove(*address, binding));
            pool.own = now;
            bound.iter().for_each(|(address, binding)| pool.insert(*address, binding));
            pool.next_unused = (0, 0);
            pool.size = pool.count();
        }
        taken
    }

    /// Returns the address for `holder` in `subnet`, if there is one. The order: its current or last address, the
    /// requested address, one that never had a binding, the one that has been free for longest. `is_expected` says that
    /// the configuration names the client; unknown clients do not get the last free addresses.
    pub fn find_address(
        &self,
        subnet: usize,
        holder: &Holder,
        requested: Option<Ipv4Addr>,
        is_expected: bool,
        now: Timestamp,
    ) -> Option<Ipv4Addr> {
        let pool = self.pools.get(subnet)?;
        let usable = |address: &Ipv4Addr| self.may_use(subnet, *address, holder, now);
        let own = self.binding_of(subnet, holder, now);
        let is_known = own.is_some_and(|(_, binding)| binding.is_known(now));
        if !is_expected && !is_known && !pool.has_room_for_new_clients() {
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

    /// Returns the address of the oldest untaken offer in `subnet`, to be reclaimed for `holder` because no address is
    /// free. An offer younger than [`OFFER_MIN_HOLD`] is reclaimed only for clients that the configuration names, that
    /// have or had an address here, or that found no free address before and ask again: clients with made-up identifiers ask
    /// once. Among young offers, those of clients that asked again are reclaimed last.
    pub fn find_reclaimable_offer(
        &self,
        subnet: usize,
        holder: &Holder,
        is_expected: bool,
        now: Timestamp,
    ) -> Option<Ipv4Addr> {
        let untaken = &self.pools.get(subnet)?.untaken;
        let (until, oldest) = *untaken.first()?;
        if until <= now.after(OFFER_HOLD.saturating_sub(OFFER_MIN_HOLD)) {
            return Some(oldest);
        }
        let is_known =
            || self.binding_of(subnet, holder, now).is_some_and(|(_, binding)| binding.is_known(now));
        if !is_expected && !self.offers.is_returning(&holder.client, now) && !is_known() {
            return None;
        }
        let asked_once = |address: &Ipv4Addr| {
            let holder = self.bindings.get(address).map(|binding| &binding.holder);
            holder.is_some_and(|holder| !self.offers.was_exhausted(&holder.client))
        };
        let mut oldest_few = untaken.iter().take(MAX_OFFERS_EXAMINED).map(|(_, address)| *address);
        oldest_few.find(asked_once).or(Some(oldest))
    }

    /// Whether `holder` was offered `address` recently, and the address is now offered to another client that has not
    /// taken it either. The first of the two clients that requests the address gets it.
    pub fn had_reclaimed_offer(&self, address: Ipv4Addr, holder: &Holder, now: Timestamp) -> bool {
        let binding = self.bindings.get(&address);
        binding.is_some_and(|b| b.state == State::Offered && !b.leased)
            && self.offers.was_reclaimed_from(address, holder, now)
    }

    /// Whether less than a quarter of the pool of `subnet` is free, not counting `address`. In that case no client
    /// keeps an address for long that was only offered.
    pub fn is_nearly_full(&self, subnet: usize, address: Ipv4Addr) -> bool {
        let Some(pool) = self.pools.get(subnet) else { return false };
        let own = self.bindings.get(&address).is_some_and(|b| pool.active.contains(&(b.until, address)));
        let taken = pool.active.len().saturating_sub(usize::from(own)) as u64;
        taken.saturating_mul(4) > pool.size.saturating_mul(3)
    }

    /// Whether `holder`, which the configuration does not name, passes the limit for unknown clients. It does if it has or
    /// had `address`, has an offer, or the pool has room for new clients.
    pub fn may_admit(&self, address: Ipv4Addr, holder: &Holder, now: Timestamp) -> bool {
        let Some(subnet) = self.pool_of(address) else { return false };
        let held = self.bindings.get(&address).filter(|binding| binding.holder.is_same_machine(holder));
        held.is_some_and(|binding| binding.is_known(now))
            || self.had_reclaimed_offer(address, holder, now)
            || self.binding_of(subnet, holder, now).is_some_and(|(_, binding)| binding.is_known(now))
            || self.pools[subnet].has_room_for_new_clients()
    }

    /// Whether the configuration reserves `address` for a machine.
    pub fn is_reserved(&self, address: Ipv4Addr) -> bool {
        self.pool_of(address).is_some_and(|subnet| self.pools[subnet].reserved.contains(&address))
    }

    /// Whether any client may get `address` in `subnet`: the pool contains it and it is not reserved.
    pub fn shares(&self, subnet: usize, address: Ipv4Addr) -> bool {
        self.pools.get(subnet).is_some_and(|pool| pool.shares(address))
    }

    /// Whether `holder` may get `address` from the pool of `subnet`: any client may, and no other client holds it.
    pub fn may_use(&self, subnet: usize, address: Ipv4Addr, holder: &Holder, now: Timestamp) -> bool {
        self.shares(subnet, address) && self.is_free_for(address, holder, now)
    }

    /// Returns the number of addresses in the pool of `subnet` that any client may get.
    pub fn pool_size(&self, subnet: usize) -> u64 {
        self.pools.get(subnet).map_or(0, Pool::size)
    }

    /// Moves all bindings that have ended by `now` to the ended ones. Call it before a batch of decisions.
    pub fn expire(&mut self, now: Timestamp) {
        self.pools.iter_mut().for_each(|pool| pool.expire(now));
        self.offers.expire(now);
    }

    /// Advances the search for addresses without a binding past those that have one, which keeps the search short.
    pub(super) fn advance(&mut self, subnet: usize) {
        let end = (self.pools[subnet].ranges.len(), 0);
        let next = self.unused(&self.pools[subnet]).map_or(end, |(_, place)| place);
        self.pools[subnet].next_unused = next;
    }

    fn unused(&self, pool: &Pool) -> Option<(Ipv4Addr, (usize, u32))> {
        let mut places = pool.remaining_addresses();
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
        Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false }
    }

    /// A book of 10.0.0.1 to .3 and .10 to .11, with .2 reserved.
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
    fn new_clients_get_unused_unreserved_addresses() {
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
    fn an_own_address_is_never_assigned() {
        let mut book = book();
        let now = Timestamp::from_seconds(50);
        for (i, end) in [(1, 20), (3, 90), (10, 90)] {
            grant(&mut book, ip(i), i, end);
        }
        // An address in use, one whose lease ended longest ago, one without a binding, a reserved one, and one of
        // another network.
        let own = [ip(3), ip(1), ip(11), ip(2), Ipv4Addr::new(10, 0, 1, 1)];
        assert_eq!(book.set_own_addresses(&own), [ip(3), ip(1), ip(11)]);
        book.expire(now);
        assert_eq!(book.find_address(0, &client(99), Some(ip(1)), true, now), None);
        assert!(!book.may_use(0, ip(3), &client(3), now), "the client of that lease has to leave it");
        assert!(book.set_own_addresses(&own).is_empty(), "nothing new");
        assert!(book.set_own_addresses(&[]).is_empty());
        book.expire(now);
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
    fn a_full_pool_reuses_the_address_free_for_longest() {
        let mut book = book();
        for (i, end) in [(1, 40), (3, 20), (10, 30), (11, 90)] {
            grant(&mut book, ip(i), i, end);
        }
        let at = Timestamp::from_seconds;
        assert_eq!(book.find_address(0, &client(99), None, false, at(19)), None);
        book.expire(at(50));
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
    fn a_declined_address_is_quarantined() {
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
        assert_eq!(elsewhere, Some(ip(3)), "holder declined it does not get it again");
    }

    #[test]
    fn offers_to_unknown_clients_cannot_fill_a_pool() {
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
        book.expire(at(30));
        assert!(book.find_address(0, &client(200), None, false, at(30)).is_some(), "the offers ran out");
    }
}
