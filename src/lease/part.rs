//! A part of a pool: ranges that the same clients may use, with its addresses in sets that find a free one in constant
//! time. `pool.rs` keeps the sets up to date, `allocate.rs` searches them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::lease::address_map::AddressSet;
use crate::lease::binding::{Binding, State};
use crate::types::{Ipv4Range, Timestamp};

/// The addresses of some ranges that clients without a reservation share.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) ranges: Vec<Ipv4Range>,
    /// Whether only clients of some classes may use it.
    pub(super) is_guarded: bool,
    /// The number of shared addresses.
    pub(super) size: u64,
    /// The members of `active` that belong to expected clients.
    pub(super) arrived: AddressSet,
    /// Shared addresses with a live binding, by its end: the first one becomes free next.
    pub(super) active: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// Addresses whose binding has ended, by its end: the first one has been free for longest.
    pub(super) ended: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// The members of `active` that are offered or being checked.
    pub(super) offered: AddressSet,
    /// Offers to clients without a former lease that the configuration does not name, by their end: the first one is
    /// the oldest.
    pub(super) untaken: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// The position where the search for an address without a binding begins: the range, and the offset in it.
    pub(super) next_unused: (usize, u32),
}

impl Part {
    pub(super) fn new(ranges: Vec<Ipv4Range>) -> Part {
        Part { ranges, ..Part::default() }
    }

    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    pub(super) fn insert(&mut self, address: Ipv4Addr, binding: &Binding, is_expected: bool) {
        self.active.insert((binding.until, address));
        if matches!(binding.state, State::Checking | State::Offered) {
            self.offered.insert(address);
        }
        if is_expected {
            self.arrived.insert(address);
        } else if binding.state == State::Offered && !binding.leased {
            self.untaken.insert((binding.until, address));
        }
    }

    pub(super) fn remove(&mut self, address: Ipv4Addr, binding: &Binding) {
        self.active.remove(&(binding.until, address));
        self.ended.remove(&(binding.until, address));
        self.offered.remove(&address);
        self.untaken.remove(&(binding.until, address));
        self.arrived.remove(&address);
    }

    /// Moves bindings that have ended by `now` from the active to the ended ones.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((until, address)) = self.active.first().copied().filter(|(until, _)| *until <= now) {
            self.active.remove(&(until, address));
            self.offered.remove(&address);
            self.untaken.remove(&(until, address));
            self.arrived.remove(&address);
            self.ended.insert((until, address));
        }
    }

    /// Returns the address whose binding ended longest ago, except those of `avoided`.
    pub(super) fn least_recently_used(&self, now: Timestamp, avoided: &[Ipv4Addr]) -> Option<Ipv4Addr> {
        let soonest = self.active.iter().take_while(|(until, _)| *until <= now);
        let mut addresses = self.ended.iter().chain(soonest).map(|(_, address)| *address);
        addresses.find(|address| !avoided.contains(address))
    }

    /// Returns the addresses from `next_unused` on, each with its position.
    pub(super) fn remaining_addresses(&self) -> impl Iterator<Item = (Ipv4Addr, (usize, u32))> {
        let (first, offset) = self.next_unused;
        self.ranges.iter().enumerate().skip(first).flat_map(move |(i, range)| {
            let offset = if i == first { offset } else { 0 };
            let (low, high) = (u32::from(range.first()), u32::from(range.last()));
            let begin = low.checked_add(offset).filter(|begin| *begin <= high);
            begin
                .into_iter()
                .flat_map(move |begin| (begin..=high).map(move |n| (Ipv4Addr::from(n), (i, n - low))))
        })
    }
}
