//! The pool of a subnet: its addresses in sets that find a free one in constant time. `book.rs` keeps the sets up to
//! date, `allocate.rs` searches them.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::lease::AddressSet;
use crate::lease::binding::{Binding, State};
use crate::types::{Ipv4Network, Ipv4Range, MacAddr, Timestamp};

/// The addresses of one subnet that clients without a reservation share.
#[derive(Debug)]
pub struct Pool {
    /// The subnet's network, which contains reserved addresses too.
    pub(super) network: Ipv4Network,
    /// The number of the shared network that the subnet belongs to; subnets on one link have the same number.
    pub(super) shared_network: Option<usize>,
    pub(super) ranges: Vec<Ipv4Range>,
    pub(super) reserved: AddressSet,
    /// The addresses of this computer in this network.
    pub(super) own: Vec<Ipv4Addr>,
    /// The number of shared addresses.
    pub(super) size: u64,
    expected: Expected,
    /// The members of `active` that belong to expected clients.
    arrived: AddressSet,
    /// Shared addresses with a live binding, by its end: the first one becomes free next.
    pub(super) active: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// Addresses whose binding has ended, by its end: the first one has been free for longest.
    ended: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// The members of `active` that are offered or being checked.
    offered: AddressSet,
    /// Offers to clients without a former lease that the configuration does not name, by their end: the first one is
    /// the oldest.
    pub(super) untaken: BTreeSet<(Timestamp, Ipv4Addr)>,
    declined: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// The position where the search for an address without a binding begins: the range, and the offset in it.
    pub(super) next_unused: (usize, u32),
}

/// Clients that the configuration names without reserving an address. The pool keeps some addresses for them.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub macs: Arc<HashSet<MacAddr>>,
    /// The number of further clients, of which only the UUID is known.
    pub others: usize,
}

impl Pool {
    /// Makes the pool of `ranges` in `network`, without the `reserved` addresses.
    pub fn new(
        network: Ipv4Network,
        ranges: Vec<Ipv4Range>,
        reserved: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Pool {
        let mut pool = Pool {
            network,
            shared_network: None,
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

    /// Sets the expected clients.
    pub fn with_expected(self, expected: Expected) -> Pool {
        Pool { expected, ..self }
    }

    /// Sets the shared network; all pools with the same number are on one link.
    pub fn on_wire(self, shared_network: Option<usize>) -> Pool {
        Pool { shared_network, ..self }
    }

    /// Whether any client may get `address`.
    pub fn shares(&self, address: Ipv4Addr) -> bool {
        self.has(address) && !self.is_kept(address)
    }

    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Whether `address` is reserved, or an address of this computer.
    pub(super) fn is_kept(&self, address: Ipv4Addr) -> bool {
        self.reserved.contains(&address) || self.own.contains(&address)
    }

    /// Returns the number of addresses that any client may get.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn count(&self) -> u64 {
        let all: u64 = self.ranges.iter().map(|range| range.size()).sum();
        let mut kept: BTreeSet<&Ipv4Addr> = self.reserved.iter().chain(&self.own).collect();
        kept.retain(|address| self.has(**address));
        all.saturating_sub(kept.len() as u64)
    }

    pub(super) fn insert(&mut self, address: Ipv4Addr, binding: &Binding) {
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

    pub(super) fn remove(&mut self, address: Ipv4Addr, binding: &Binding) {
        self.active.remove(&(binding.until, address));
        self.ended.remove(&(binding.until, address));
        self.offered.remove(&address);
        self.untaken.remove(&(binding.until, address));
        self.arrived.remove(&address);
        self.declined.remove(&(binding.until, address));
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

    /// Whether a client that never had an address here can get an offer. Two rules stop a client with made-up MACs from
    /// blocking known machines. Offers to such clients hold at most nine tenths of the addresses that are not leased.
    /// And as many addresses stay free as expected clients are absent, but at most a tenth of the pool.
    pub(super) fn has_room_for_new_clients(&self) -> bool {
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

    /// Returns the address whose binding ended longest ago.
    pub(super) fn least_recently_used(&self, now: Timestamp) -> Option<Ipv4Addr> {
        let soonest = self.active.first().filter(|(until, _)| *until <= now);
        self.ended.first().or(soonest).map(|(_, address)| *address)
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
