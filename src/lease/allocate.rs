//! Chooses the address of a client: its own, its last, the requested one, or the one that was unused for longest.

use std::net::Ipv4Addr;

use crate::lease::binding::{Holder, State};
use crate::lease::book::{LeaseBook, OFFER_HOLD};
use crate::lease::offers::OFFER_MIN_HOLD;
use crate::lease::part::Part;
use crate::lease::pool::Pool;
use crate::types::Timestamp;

/// The number of offers examined for one to reclaim. The limit keeps the cost of a DISCOVER independent of the pool
/// size.
const MAX_OFFERS_EXAMINED: usize = 128;

/// A client that looks for an address, and the addresses that it may get.
#[derive(Clone, Copy)]
pub struct Seeker<'a> {
    pub holder: &'a Holder,
    /// Whether the configuration names the client. Unknown clients do not get the last free addresses.
    pub is_expected: bool,
    /// Whether the client may use a part of a pool, by the numbers of the subnet and the part.
    pub may_use: &'a dyn Fn(usize, usize) -> bool,
    /// Addresses that the message shows to be another machine's: those of its relay agent.
    pub avoided: &'a [Ipv4Addr],
}

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
            pool.parts.iter_mut().for_each(|part| part.next_unused = (0, 0));
            pool.count_sizes();
        }
        taken
    }

    /// Returns an address for the client in `subnet`, if there is one. The order: its current or last address, the
    /// requested address, and then in each part of the pool one that never had a binding, or the one that has been free
    /// for longest.
    pub fn find_address(
        &self,
        subnet: usize,
        seeker: &Seeker<'_>,
        requested: Option<Ipv4Addr>,
        now: Timestamp,
    ) -> Option<Ipv4Addr> {
        let pool = self.pools.get(subnet)?;
        let usable = |address: &Ipv4Addr| self.may_use(subnet, *address, seeker, now);
        let own = self.binding_of(subnet, seeker.holder, now);
        let is_known = own.is_some_and(|(_, binding)| binding.is_known(now));
        if !seeker.is_expected
            && !is_known
            && !pool.has_room_for_new_clients(|part| (seeker.may_use)(subnet, part))
        {
            return None;
        }
        if let Some((own, _)) = self.usable_binding_of(subnet, seeker, now) {
            return Some(own);
        }
        let free = |part: &Part| {
            let mut unused = self.unused(pool, part).map(|(address, _)| address);
            let unused = unused.find(|address| !seeker.avoided.contains(address));
            unused.or_else(|| part.least_recently_used(now, seeker.avoided))
        };
        requested.filter(usable).or_else(|| self.parts_for(subnet, seeker).find_map(free))
    }

    /// Returns the address of the oldest untaken offer in `subnet`, to be reclaimed for the client because no address
    /// is free. An offer younger than [`OFFER_MIN_HOLD`] is reclaimed only for clients that the configuration names,
    /// that have or had an address here, or that were turned away before and ask again: clients with made-up
    /// identifiers ask once. Among young offers, those of clients that asked again are reclaimed last.
    pub fn find_reclaimable_offer(
        &self,
        subnet: usize,
        seeker: &Seeker<'_>,
        now: Timestamp,
    ) -> Option<Ipv4Addr> {
        let parts = || self.parts_for(subnet, seeker).filter(|part| !part.untaken.is_empty());
        let (until, oldest) = parts().filter_map(|part| part.untaken.first()).min().copied()?;
        if until <= now.after(OFFER_HOLD.saturating_sub(OFFER_MIN_HOLD)) {
            return Some(oldest);
        }
        let holder = seeker.holder;
        let is_known =
            || self.binding_of(subnet, holder, now).is_some_and(|(_, binding)| binding.is_known(now));
        if !seeker.is_expected && !self.offers.is_returning(&holder.client, now) && !is_known() {
            return None;
        }
        let asked_once = |address: &Ipv4Addr| {
            let holder = self.bindings.get(address).map(|binding| &binding.holder);
            holder.is_some_and(|holder| !self.offers.was_exhausted(&holder.client))
        };
        let offers = parts().flat_map(|part| part.untaken.iter().take(MAX_OFFERS_EXAMINED));
        let mut oldest_few = offers.map(|(_, address)| *address).take(MAX_OFFERS_EXAMINED);
        oldest_few.find(asked_once).or(Some(oldest))
    }

    /// Returns the parts of the pool of `subnet` that the client may use.
    fn parts_for<'b>(&'b self, subnet: usize, seeker: &'b Seeker<'_>) -> impl Iterator<Item = &'b Part> {
        let parts = self.pools.get(subnet).map_or(&[][..], |pool| &pool.parts);
        let numbered = parts.iter().enumerate();
        numbered.filter(move |(part, _)| (seeker.may_use)(subnet, *part)).map(|(_, part)| part)
    }

    /// Whether `holder` was offered `address` recently, and the address is now offered to another client that has not
    /// taken it either. The first of the two clients that requests the address gets it.
    pub fn had_reclaimed_offer(&self, address: Ipv4Addr, holder: &Holder, now: Timestamp) -> bool {
        let binding = self.bindings.get(&address);
        binding.is_some_and(|b| b.state == State::Offered && !b.leased)
            && self.offers.was_reclaimed_from(address, holder, now)
    }

    /// Whether less than a quarter of the part of the pool that contains `address` is free, not counting `address`. In
    /// that case no client keeps an address for long that was only offered.
    pub fn is_nearly_full(&self, subnet: usize, address: Ipv4Addr) -> bool {
        let part = self.pools.get(subnet).and_then(|pool| pool.parts.iter().find(|part| part.has(address)));
        let Some(part) = part else { return false };
        let own = self.bindings.get(&address).is_some_and(|b| part.active.contains(&(b.until, address)));
        let taken = part.active.len().saturating_sub(usize::from(own)) as u64;
        taken.saturating_mul(4) > part.size.saturating_mul(3)
    }

    /// Whether the client, which the configuration does not name, passes the limit for unknown clients. It does if it
    /// has or had `address`, has an offer, or the pool has room for new clients.
    pub fn may_admit(&self, address: Ipv4Addr, seeker: &Seeker<'_>, now: Timestamp) -> bool {
        let Some(subnet) = self.pool_of(address) else { return false };
        let holder = seeker.holder;
        let held = self.bindings.get(&address).filter(|binding| binding.holder.is_same_machine(holder));
        held.is_some_and(|binding| binding.is_known(now))
            || self.had_reclaimed_offer(address, holder, now)
            || self.binding_of(subnet, holder, now).is_some_and(|(_, binding)| binding.is_known(now))
            || self.pools[subnet].has_room_for_new_clients(|part| (seeker.may_use)(subnet, part))
    }

    /// Whether `address` is another machine's according to the configuration: reserved for one, or named as a router's,
    /// a server's or a relay agent's.
    pub fn is_reserved(&self, address: Ipv4Addr) -> bool {
        self.pool_of(address).is_some_and(|subnet| self.pools[subnet].reserved.contains(&address))
    }

    /// Whether clients without a reservation may get `address` in `subnet`: the pool contains it and it is no other
    /// machine's.
    pub fn shares(&self, subnet: usize, address: Ipv4Addr) -> bool {
        self.pools.get(subnet).is_some_and(|pool| pool.shares(address))
    }

    /// Whether the client may get `address` from the pool of `subnet`, if no other client holds it.
    pub fn opens(&self, subnet: usize, address: Ipv4Addr, seeker: &Seeker<'_>) -> bool {
        let part = self.pools.get(subnet).and_then(|pool| pool.part_of(address));
        part.is_some_and(|part| (seeker.may_use)(subnet, part))
            && self.shares(subnet, address)
            && !seeker.avoided.contains(&address)
    }

    /// Whether the client may get `address` from the pool of `subnet`, and no other client holds it.
    pub fn may_use(&self, subnet: usize, address: Ipv4Addr, seeker: &Seeker<'_>, now: Timestamp) -> bool {
        self.opens(subnet, address, seeker) && self.is_free_for(address, seeker.holder, now)
    }

    /// Returns the number of addresses in the pool of `subnet` that clients without a reservation may get.
    pub fn pool_size(&self, subnet: usize) -> u64 {
        self.pools.get(subnet).map_or(0, Pool::size)
    }

    /// Returns the number of addresses in the pool of `subnet` that the client may get.
    pub fn pool_size_for(&self, subnet: usize, seeker: &Seeker<'_>) -> u64 {
        self.parts_for(subnet, seeker).map(|part| part.size).sum()
    }

    /// Moves all bindings that have ended by `now` to the ended ones. Call it before a batch of decisions.
    pub fn expire(&mut self, now: Timestamp) {
        self.pools.iter_mut().for_each(|pool| pool.expire(now));
        self.offers.expire(now);
    }

    /// Advances the search for addresses without a binding past those that have one, which keeps the search short.
    /// `address` has just got a binding.
    pub(super) fn advance(&mut self, subnet: usize, address: Ipv4Addr) {
        let Some(number) = self.pools.get(subnet).and_then(|pool| pool.part_of(address)) else { return };
        let pool = &self.pools[subnet];
        let part = &pool.parts[number];
        let next = self.unused(pool, part).next().map_or((part.ranges.len(), 0), |(_, place)| place);
        self.pools[subnet].parts[number].next_unused = next;
    }

    /// Returns the addresses of `part` without a binding, each with its position.
    fn unused<'b>(
        &'b self,
        pool: &'b Pool,
        part: &'b Part,
    ) -> impl Iterator<Item = (Ipv4Addr, (usize, u32))> + use<'b> {
        let places = part.remaining_addresses();
        places.filter(move |(address, _)| !self.bindings.contains_key(address) && !pool.is_kept(*address))
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

    /// Finds an address for a client that may use every part of the pool.
    fn find(
        book: &LeaseBook,
        holder: &Holder,
        requested: Option<Ipv4Addr>,
        is_expected: bool,
        now: Timestamp,
    ) -> Option<Ipv4Addr> {
        let seeker = Seeker { holder, is_expected, may_use: &|_, _| true, avoided: &[] };
        book.find_address(0, &seeker, requested, now)
    }

    fn may_use(book: &LeaseBook, address: Ipv4Addr, holder: &Holder, now: Timestamp) -> bool {
        let seeker = Seeker { holder, is_expected: true, may_use: &|_, _| true, avoided: &[] };
        book.may_use(0, address, &seeker, now)
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
            let address = find(&book, &client(n), None, false, now);
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
        assert_eq!(find(&book, &client(99), Some(ip(1)), true, now), None);
        assert!(!may_use(&book, ip(3), &client(3), now), "the client of that lease has to leave it");
        assert!(book.set_own_addresses(&own).is_empty(), "nothing new");
        assert!(book.set_own_addresses(&[]).is_empty());
        book.expire(now);
        let given: Vec<_> = (20..23)
            .map(|n| {
                let address = find(&book, &client(n), None, true, now);
                address.inspect(|address| grant(&mut book, *address, n, 100))
            })
            .collect();
        assert_eq!(given, [Some(ip(11)), Some(ip(1)), None]);
        assert!(may_use(&book, ip(3), &client(3), now));
    }

    #[test]
    fn a_full_pool_reuses_the_address_free_for_longest() {
        let mut book = book();
        for (i, end) in [(1, 40), (3, 20), (10, 30), (11, 90)] {
            grant(&mut book, ip(i), i, end);
        }
        let at = Timestamp::from_seconds;
        assert_eq!(find(&book, &client(99), None, false, at(19)), None);
        book.expire(at(50));
        assert_eq!(find(&book, &client(99), None, false, at(50)), Some(ip(3)));
        assert_eq!(
            find(&book, &client(99), Some(ip(10)), false, at(50)),
            Some(ip(10)),
            "the one it asks for"
        );
        assert_eq!(find(&book, &client(99), Some(ip(11)), false, at(50)), Some(ip(3)), "not if it is taken");
        assert_eq!(
            find(&book, &client(99), Some(ip(2)), false, at(50)),
            Some(ip(3)),
            "not if it is reserved"
        );
        assert_eq!(
            find(&book, &client(1), Some(ip(10)), false, at(50)),
            Some(ip(1)),
            "first its own last one"
        );
        grant(&mut book, ip(3), 99, 200);
        assert_eq!(find(&book, &client(3), None, false, at(50)), Some(ip(10)), "its last one is taken now");
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
        assert_eq!(find(&book, &client(1), Some(ip(1)), false, at(599)), Some(ip(3)));
        assert_eq!(book.declined(0, at(600)), 0);
        assert_eq!(find(&book, &client(2), Some(ip(1)), false, at(600)), Some(ip(1)));
        let elsewhere = find(&book, &client(1), None, false, at(600));
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
            let Some(address) = find(&book, &client(n), None, false, at(0)) else { continue };
            let hold = LeaseChange::Hold { address, holder: client(n), state: State::Offered, until: at(30) };
            book.apply(&hold);
            offered += 1;
        }
        assert_eq!(offered, 72, "nine tenths of the 80 that are not leased");
        assert!(find(&book, &client(200), None, false, at(0)).is_none());
        assert!(find(&book, &client(200), None, true, at(0)).is_some(), "the configuration names it");
        assert_eq!(find(&book, &client(7), None, false, at(0)), Some(ip(7)), "it has a lease");
        book.expire(at(30));
        assert!(find(&book, &client(200), None, false, at(30)).is_some(), "the offers ran out");
    }

    /// Two parts: .1 to .2, and .10 to .12.
    #[test]
    fn r_22_a_client_gets_addresses_only_from_its_parts() {
        let part = |range: &str| vec![range.parse().unwrap()];
        let parts = vec![part("10.0.0.1-10.0.0.2"), part("10.0.0.10-10.0.0.12")];
        let mut book = LeaseBook::new(vec![Pool::in_parts("10.0.0.0/24".parse().unwrap(), parts, [])]);
        let now = Timestamp::from_seconds(0);
        let find = |book: &LeaseBook, n: u8, may_use: &dyn Fn(usize, usize) -> bool, avoided: &[Ipv4Addr]| {
            let seeker = Seeker { holder: &client(n), is_expected: true, may_use, avoided };
            book.find_address(0, &seeker, Some(ip(10)), now)
        };
        assert_eq!(find(&book, 1, &|_, part| part == 0, &[]), Some(ip(1)), "not the one that it asks for");
        assert_eq!(
            find(&book, 1, &|_, part| part == 0, &[ip(1)]),
            Some(ip(2)),
            "its relay agent has the first"
        );
        assert_eq!(find(&book, 1, &|_, _| false, &[]), None);
        assert_eq!(find(&book, 1, &|_, _| true, &[]), Some(ip(10)));
        for (i, n) in [(1, 1), (2, 2)] {
            grant(&mut book, ip(i), n, 1000);
        }
        assert_eq!(find(&book, 3, &|_, part| part == 0, &[]), None, "that part is full");
        assert_eq!(
            find(&book, 1, &|_, part| part == 1, &[]),
            Some(ip(10)),
            "its own is not allowed any more"
        );
        let seeker =
            Seeker { holder: &client(1), is_expected: true, may_use: &|_, part| part == 1, avoided: &[] };
        assert!(!book.may_use(0, ip(1), &seeker, now) && book.may_use(0, ip(11), &seeker, now));
        assert_eq!((book.pool_size(0), book.pool_size_for(0, &seeker)), (5, 3));
    }
}
