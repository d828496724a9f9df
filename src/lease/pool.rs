//! The pool of a subnet: its parts, and the addresses that no client without a reservation gets. `book.rs` keeps it up to
//! date, `allocate.rs` searches it.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::lease::address_map::AddressSet;
use crate::lease::binding::{Binding, State};
use crate::lease::part::Part;
use crate::types::{Ipv4Network, Ipv4Range, MacAddr, Timestamp};

/// The addresses of one subnet that clients without a reservation share.
#[derive(Debug)]
pub struct Pool {
    /// The subnet's network, which contains reserved addresses too.
    pub(super) network: Ipv4Network,
    /// The number of the shared network that the subnet belongs to; subnets on one link have the same number.
    pub(super) shared_network: Option<usize>,
    /// Ranges that the same clients may use, in the order in which they are searched.
    pub(super) parts: Vec<Part>,
    /// Addresses of machines in the configuration: reserved for one, or named as a router's, a server's and so on.
    pub(super) reserved: AddressSet,
    /// The addresses of this computer in this network.
    pub(super) own: Vec<Ipv4Addr>,
    expected: Expected,
    declined: BTreeSet<(Timestamp, Ipv4Addr)>,
}

/// Clients that the configuration names without reserving an address. The pool keeps some addresses for them.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub macs: Arc<HashSet<MacAddr>>,
    /// The number of further clients, of which only the UUID is known.
    pub others: usize,
}

impl Pool {
    /// Makes the pool of `ranges` in `network`, without the `reserved` addresses. All clients may use all of it.
    pub fn new(
        network: Ipv4Network,
        ranges: Vec<Ipv4Range>,
        reserved: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Pool {
        Pool::in_parts(network, vec![ranges], reserved)
    }

    /// Makes a pool whose parts may be used by different clients. Their ranges are disjoint.
    pub fn in_parts(
        network: Ipv4Network,
        parts: Vec<Vec<Ipv4Range>>,
        reserved: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Pool {
        let mut pool = Pool {
            network,
            shared_network: None,
            parts: parts.into_iter().map(Part::new).collect(),
            reserved: reserved.into_iter().collect(),
            own: Vec::new(),
            expected: Expected::default(),
            declined: BTreeSet::new(),
        };
        pool.count_sizes();
        pool
    }

    /// Sets which parts only clients of some classes may use. Nothing is kept there for expected clients.
    pub fn guarding(mut self, is_guarded: impl Fn(usize) -> bool) -> Pool {
        self.parts.iter_mut().enumerate().for_each(|(number, part)| part.is_guarded = is_guarded(number));
        self
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
        self.part_of(address).is_some()
    }

    /// Returns the number of the part that contains `address`.
    pub(super) fn part_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.parts.iter().position(|part| part.has(address))
    }

    /// Whether `address` is another machine's according to the configuration, or an address of this computer.
    pub(super) fn is_kept(&self, address: Ipv4Addr) -> bool {
        self.reserved.contains(&address) || self.own.contains(&address)
    }

    /// Returns the number of addresses that any client may get.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// Counts the shared addresses of each part again.
    pub(super) fn count_sizes(&mut self) {
        let kept: BTreeSet<Ipv4Addr> = self.reserved.iter().chain(&self.own).copied().collect();
        for part in &mut self.parts {
            let all: u64 = part.ranges.iter().map(|range| range.size()).sum();
            let inside = kept.iter().filter(|address| part.has(**address)).count();
            part.size = all.saturating_sub(inside as u64);
        }
    }

    pub(super) fn insert(&mut self, address: Ipv4Addr, binding: &Binding) {
        if !self.is_kept(address) {
            let is_expected = binding.holder.mac.is_some_and(|mac| self.expected.macs.contains(&mac));
            if let Some(part) = self.parts.iter_mut().find(|part| part.has(address)) {
                part.insert(address, binding, is_expected);
            }
        }
        if binding.state == State::Declined {
            self.declined.insert((binding.until, address));
        }
    }

    pub(super) fn remove(&mut self, address: Ipv4Addr, binding: &Binding) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.has(address)) {
            part.remove(address, binding);
        }
        self.declined.remove(&(binding.until, address));
    }

    /// Moves bindings that have ended by `now` from the active to the ended ones.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.parts.iter_mut().for_each(|part| part.expire(now));
    }

    /// Whether a client that never had an address here can get an offer from the parts for which `may_use` holds. Two
    /// rules stop a client with made-up MACs from blocking known machines. Offers to such clients hold at most nine
    /// tenths of the addresses that are not leased. And as many addresses stay free as expected clients are absent, but
    /// at most a tenth of the parts for all clients.
    pub(super) fn has_room_for_new_clients(&self, may_use: impl Fn(usize) -> bool) -> bool {
        let (mut size, mut active, mut offered) = (0u64, 0u64, 0u64);
        let (mut for_all, mut arrived) = (0u64, 0usize);
        for (_, part) in self.parts.iter().enumerate().filter(|(number, _)| may_use(*number)) {
            size += part.size;
            active += part.active.len() as u64;
            offered += part.offered.len() as u64;
            if !part.is_guarded {
                for_all += part.size;
                arrived += part.arrived.len();
            }
        }
        let open = size.saturating_sub(active.saturating_sub(offered));
        let free = size.saturating_sub(active);
        let expected = self.expected.macs.len() + self.expected.others;
        let absent = expected.saturating_sub(arrived) as u64;
        let kept = absent.min(for_all.div_ceil(10)).min(for_all.saturating_sub(1));
        offered < (open - open / 10).max(1) && free > kept
    }

    pub(super) fn declined(&self, now: Timestamp) -> usize {
        self.declined.iter().rev().take_while(|(until, _)| *until > now).count()
    }
}
