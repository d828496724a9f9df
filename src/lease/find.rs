//! Finds what a client has: its bindings in a subnet or on a wire, and the leases that a new one ends. Decisions call it
//! for every message, so nothing here may search the whole book.

use std::net::Ipv4Addr;

use crate::lease::binding::{Binding, Holder, Lease, State};
use crate::lease::book::LeaseBook;
use crate::types::{HardwareAddr, Timestamp};

impl LeaseBook {
    /// The address that `who` has or last had in subnet `subnet`, and what is known of it. A lease goes before an offer,
    /// and what it still has before what it had.
    pub fn of_client(&self, subnet: usize, who: &Holder, now: Timestamp) -> Option<(Ipv4Addr, &Binding)> {
        self.all_of(subnet, who).filter(|(_, binding)| !binding.ending).max_by_key(|(_, binding)| {
            let is_live = binding.is_live(now);
            (is_live && binding.state == State::Leased, is_live, binding.leased, binding.until)
        })
    }

    /// The address that is offered to `who` in `subnet`, or is about to be.
    pub fn offer_to(&self, subnet: usize, who: &Holder, now: Timestamp) -> Option<Ipv4Addr> {
        let is_offer = |b: &Binding| matches!(b.state, State::Checking | State::Offered) && b.until > now;
        self.all_of(subnet, who).find(|(_, binding)| is_offer(binding)).map(|(address, _)| address)
    }

    /// The newest binding in `subnet` of another MAC that has the client identifier of `who`.
    pub fn namesake(&self, subnet: usize, who: &Holder) -> Option<(Ipv4Addr, &Binding)> {
        let is_namesake = |address: Ipv4Addr| {
            let binding = self.bindings.get(&address).filter(|binding| binding.holder.shares_id(who))?;
            Some((address, binding))
        };
        if let Some(found) = self.newest_of(subnet, who).and_then(is_namesake) {
            return Some(found);
        }
        // The identifier may be the MAC of another card, which the system was installed with.
        let other = who.mac_in_id().filter(|mac| Some(*mac) != who.mac)?;
        let other = Holder { mac: Some(other), ..who.clone() };
        self.machines.of(subnet, &other).filter_map(is_namesake).max_by_key(|(_, binding)| binding.until)
    }

    /// How many other clients with the MAC of `who` have an address in `subnet`.
    pub fn others_of_mac(&self, subnet: usize, who: &Holder, now: Timestamp) -> usize {
        let is_other = |b: &&Binding| b.holder.mac == who.mac && b.is_live(now) && !b.holder.is(who);
        let addresses = who.mac.into_iter().flat_map(|_| self.machines.of(subnet, who));
        addresses.filter_map(|address| self.bindings.get(&address).filter(is_other)).count()
    }

    /// The other leases of the client of `lease` on its wire, released at `now`: what ends when `lease` is granted. `None`
    /// while it is not known whether another client's lease takes the place of one of them on stable storage.
    pub fn ended_by(&self, lease: &Lease, now: Timestamp) -> Option<Vec<Lease>> {
        let subnet = self.pool_of(lease.address)?;
        let mut who = lease.holder.clone();
        who.boots |= self.bindings.get(&lease.address).is_some_and(|b| b.holder.is(&who) && b.holder.boots);
        let others = self.leases_on_wire(subnet, &who);
        let others = others.filter(|(other, binding)| *other != lease.address && binding.until > now);
        let ended = others.map(|(address, binding)| Lease {
            address,
            holder: binding.holder.clone(),
            hardware: binding.holder.mac.map_or(lease.hardware, HardwareAddr::from),
            state: State::Released,
            until: now.rounded_up(),
        });
        let mut ended: Vec<Lease> = ended.collect();
        if !self.left_over.is_empty() {
            let is_over = |left: &&Lease| {
                let other = self.pool_of(left.address);
                let is_here = self.wire_of(subnet).any(|subnet| Some(subnet) == other);
                left.address != lease.address && left.holder.is(&who) && is_here
            };
            for left in self.left_over.values().filter(is_over) {
                if self.bindings.get(&left.address).is_some_and(|binding| binding.pending > 0) {
                    return None;
                }
                ended.push(left.clone());
            }
        }
        Some(ended)
    }

    /// Whether `address` is one of this computer's own.
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        self.own.contains(&address)
    }

    /// The newest address of the client, unless it is known by its MAC: then it has no namesake either.
    fn newest_of(&self, subnet: usize, who: &Holder) -> Option<Ipv4Addr> {
        if who.is_known_by_mac() {
            return None;
        }
        self.clients.get(subnet, &who.client, &self.bindings, |address| self.pool_of(address))
    }

    /// Every binding of `who` in `subnet`.
    pub(super) fn all_of<'b, 'w>(
        &'b self,
        subnet: usize,
        who: &'w Holder,
    ) -> impl Iterator<Item = (Ipv4Addr, &'b Binding)> + use<'b, 'w> {
        let newest = self.newest_of(subnet, who);
        // A client without an Ethernet address was stored as one with the MAC that its identifier has.
        let stored_as = who.mac_in_id().filter(|_| who.mac.is_none());
        let stored_as = stored_as.map(|mac| Holder { mac: Some(mac), ..who.clone() });
        let as_machine = stored_as.into_iter().flat_map(move |holder| self.machines.of(subnet, &holder));
        let others = self.machines.of(subnet, who).chain(as_machine);
        let others = others.filter(move |address| Some(*address) != newest);
        let known = newest.into_iter().chain(others);
        let bindings = known.filter_map(|address| Some((address, self.bindings.get(&address)?)));
        let is_here = move |address| self.pools.len() == 1 || self.pool_of(address) == Some(subnet);
        bindings.filter(move |(address, binding)| binding.holder.is(who) && is_here(*address))
    }

    /// The leases of `who` on the wire of `subnet`, ended ones included.
    pub(super) fn leases_on_wire<'b, 'w>(
        &'b self,
        subnet: usize,
        who: &'w Holder,
    ) -> impl Iterator<Item = (Ipv4Addr, &'b Binding)> + use<'b, 'w> {
        let subnets = self.wire_of(subnet).flat_map(move |subnet| self.all_of(subnet, who));
        subnets.filter(|(_, binding)| binding.state == State::Leased)
    }

    /// The subnets on the wire of `subnet`.
    fn wire_of(&self, subnet: usize) -> impl Iterator<Item = usize> {
        let wire = self.pools.get(subnet).and_then(|pool| pool.wire);
        let others = wire.into_iter().flat_map(move |wire| {
            self.pools.iter().enumerate().filter(move |(_, pool)| pool.wire == Some(wire)).map(|(i, _)| i)
        });
        std::iter::once(subnet).chain(others.filter(move |other| *other != subnet))
    }
}
