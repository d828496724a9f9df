//! The addresses that the clients of one subnet share, sorted by when each is free.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::lease::AddressSet;
use crate::lease::binding::{Binding, State};
use crate::types::{Ipv4Network, Ipv4Range, MacAddr, Timestamp};

/// The addresses of one subnet that clients without a reservation share.
#[derive(Debug)]
pub struct Pool {
    /// The subnet's network; reserved addresses are in it too.
    pub(super) network: Ipv4Network,
    /// The wire that the subnet shares with others, by a number that they have in common.
    pub(super) wire: Option<usize>,
    pub(super) ranges: Vec<Ipv4Range>,
    pub(super) reserved: AddressSet,
    /// This computer's own.
    pub(super) own: Vec<Ipv4Addr>,
    /// How many addresses are shared.
    pub(super) size: u64,
    expected: Expected,
    /// Those of `active` that expected clients have.
    arrived: AddressSet,
    /// Shared addresses with a binding, by the moment it ends: the first is the next to be free.
    pub(super) active: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// Those whose binding has ended, by the moment it did: the first has been free for longest.
    ended: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// Those of `active` that are held for an offer.
    offered: AddressSet,
    /// Offers to clients that never had a lease and that the configuration does not name, by the moment they end: the
    /// first is the oldest.
    pub(super) untaken: BTreeSet<(Timestamp, Ipv4Addr)>,
    declined: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// Where the search for an address without a binding begins: range and offset in it.
    pub(super) next_unused: (usize, u32),
}

/// Clients that the configuration names without an address of their own: some of the pool's are kept for them.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Their MACs.
    pub macs: Arc<HashSet<MacAddr>>,
    /// How many more there are, of whom only the UUID is known.
    pub others: usize,
}

impl Pool {
    /// The pool of `ranges`, less the `reserved` addresses, in `network`.
    pub fn new(
        network: Ipv4Network,
        ranges: Vec<Ipv4Range>,
        reserved: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Pool {
        let mut pool = Pool {
            network,
            wire: None,
            ranges,
            reserved: reserved.into_iter().collect(),
            own: Vec::new(),
            size: 0,
            expected: Expected::default(),
            arrived: AddressSet::default(),
            active: BTreeSet::new(),
            ended: BTreeSet::new(),
            offered: AddressSet::default(),
            untaken: BTreeSet::new(),
            declined: BTreeSet::new(),
            next_unused: (0, 0),
        };
        pool.size = pool.count();
        pool
    }

    /// The same, where these clients are expected.
    pub fn expecting(self, expected: Expected) -> Pool {
        Pool { expected, ..self }
    }

    /// The same, on a wire that it shares with every other pool that has this number.
    pub fn on_wire(self, wire: Option<usize>) -> Pool {
        Pool { wire, ..self }
    }

    /// Whether any client may get `address`.
    pub fn shares(&self, address: Ipv4Addr) -> bool {
        self.has(address) && !self.is_kept(address)
    }

    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Whether `address` is for one client, or for none.
    pub(super) fn is_kept(&self, address: Ipv4Addr) -> bool {
        self.reserved.contains(&address) || self.own.contains(&address)
    }

    /// How many addresses any client may get.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn count(&self) -> u64 {
        let all: u64 = self.ranges.iter().map(|range| range.size()).sum();
        let mut kept: BTreeSet<&Ipv4Addr> = self.reserved.iter().chain(&self.own).collect();
        kept.retain(|address| self.has(**address));
        all.saturating_sub(kept.len() as u64)
    }

    pub(super) fn took(&mut self, address: Ipv4Addr, binding: &Binding) {
        if self.shares(address) {
            self.active.insert((binding.until, address));
            if matches!(binding.state, State::Checking | State::Offered) {
                self.offered.insert(address);
            }
            if binding.holder.mac.is_some_and(|mac| self.expected.macs.contains(&mac)) {
                self.arrived.insert(address);
            } else if binding.state == State::Offered && !binding.leased {
                self.untaken.insert((binding.until, address));
            }
        }
        if binding.state == State::Declined {
            self.declined.insert((binding.until, address));
        }
    }

    pub(super) fn gave(&mut self, address: Ipv4Addr, binding: &Binding) {
        self.active.remove(&(binding.until, address));
        self.ended.remove(&(binding.until, address));
        self.offered.remove(&address);
        self.untaken.remove(&(binding.until, address));
        self.arrived.remove(&address);
        self.declined.remove(&(binding.until, address));
    }

    /// Moves bindings that have ended by `now` from the active to the ended ones.
    pub(super) fn settle(&mut self, now: Timestamp) {
        while let Some((until, address)) = self.active.first().copied().filter(|(until, _)| *until <= now) {
            self.active.remove(&(until, address));
            self.offered.remove(&address);
            self.untaken.remove(&(until, address));
            self.arrived.remove(&address);
            self.ended.insert((until, address));
        }
    }

    /// Whether a client that never had an address here can be offered one. So that somebody who makes up MACs keeps no
    /// known machine out, a tenth of the addresses that are not leased is not held by offers to such clients, and as many
    /// are kept as expected clients are not here yet, a tenth of the pool at most.
    pub(super) fn has_room_for_strangers(&self) -> bool {
        let leased = self.active.len().saturating_sub(self.offered.len()) as u64;
        let open = self.size.saturating_sub(leased);
        let free = self.size.saturating_sub(self.active.len() as u64);
        let expected = self.expected.macs.len() + self.expected.others;
        let absent = expected.saturating_sub(self.arrived.len()) as u64;
        let kept = absent.min(self.size.div_ceil(10)).min(self.size.saturating_sub(1));
        (self.offered.len() as u64) < (open - open / 10).max(1) && free > kept
    }

    pub(super) fn declined(&self, now: Timestamp) -> usize {
        self.declined.iter().rev().take_while(|(until, _)| *until > now).count()
    }

    /// The address whose binding ended longest ago.
    pub(super) fn least_recently_used(&self, now: Timestamp) -> Option<Ipv4Addr> {
        let soonest = self.active.first().filter(|(until, _)| *until <= now);
        self.ended.first().or(soonest).map(|(_, address)| *address)
    }

    /// Addresses from `next_unused` on, with the place to go on from.
    pub(super) fn after_last_given(&self) -> impl Iterator<Item = (Ipv4Addr, (usize, u32))> {
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
