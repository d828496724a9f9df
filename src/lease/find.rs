//! Finds the bindings of a client in a subnet or on a link, and the leases that a new lease ends. Decisions call this
//! for every message, so no function here may search the whole book.

use std::net::Ipv4Addr;

use crate::lease::allocate::Seeker;
use crate::lease::binding::{Binding, Holder, Lease, State};
use crate::lease::book::LeaseBook;
use crate::types::{ClientId, HardwareAddr, MacAddr, Timestamp};

impl LeaseBook {
    /// Returns the current or last address of `holder` in subnet `subnet`, with its binding. Leases come before offers,
    /// and live bindings before ended ones.
    pub fn binding_of(&self, subnet: usize, holder: &Holder, now: Timestamp) -> Option<(Ipv4Addr, &Binding)> {
        self.best_of(subnet, holder, now, |_, _| true)
    }

    /// Returns the current or last address of the client in subnet `subnet` that it may still use. It differs from
    /// [`LeaseBook::binding_of`] if the classes of the client, or the pools, have changed.
    pub fn usable_binding_of(
        &self,
        subnet: usize,
        seeker: &Seeker<'_>,
        now: Timestamp,
    ) -> Option<(Ipv4Addr, &Binding)> {
        self.best_of(subnet, seeker.holder, now, |address, binding| {
            binding.state != State::Declined && self.may_use(subnet, address, seeker, now)
        })
    }

    fn best_of(
        &self,
        subnet: usize,
        holder: &Holder,
        now: Timestamp,
        counts: impl Fn(Ipv4Addr, &Binding) -> bool,
    ) -> Option<(Ipv4Addr, &Binding)> {
        let all = self.all_of(subnet, holder).filter(|(_, binding)| !binding.ending);
        all.filter(|(address, binding)| counts(*address, binding)).max_by_key(|(_, binding)| {
            let is_live = binding.is_live(now);
            (is_live && binding.state == State::Leased, is_live, binding.leased, binding.until)
        })
    }

    /// Returns the addresses that the machine with this MAC has a lease of now, in the order of the subnets.
    pub fn leases_of_mac(&self, mac: MacAddr, now: Timestamp) -> Vec<Ipv4Addr> {
        let holder = Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false };
        let is_its_lease =
            |b: &Binding| b.holder.mac == Some(mac) && b.state == State::Leased && b.is_live(now);
        let mut found = Vec::new();
        for subnet in 0..self.pools.len() {
            // The index may also yield addresses of other machines, and of other subnets.
            found.extend(self.machines.of(subnet, &holder).filter(|address| {
                self.bindings.get(address).is_some_and(is_its_lease) && self.pool_of(*address) == Some(subnet)
            }));
        }
        found
    }

    /// Returns the address that is offered to `holder` in `subnet`, or is being checked for an offer.
    pub fn offer_to(&self, subnet: usize, holder: &Holder, now: Timestamp) -> Option<Ipv4Addr> {
        let is_offer = |b: &Binding| matches!(b.state, State::Checking | State::Offered) && b.until > now;
        self.all_of(subnet, holder).find(|(_, binding)| is_offer(binding)).map(|(address, _)| address)
    }

    /// Returns the newest binding in `subnet` of another MAC with the client identifier of `holder`.
    pub fn other_holder_of_id(&self, subnet: usize, holder: &Holder) -> Option<(Ipv4Addr, &Binding)> {
        let shares_id = |address: Ipv4Addr| {
            let binding = self.bindings.get(&address).filter(|binding| binding.holder.shares_id(holder))?;
            Some((address, binding))
        };
        if let Some(found) = self.newest_of(subnet, holder).and_then(shares_id) {
            return Some(found);
        }
        // The identifier may be the MAC of another card, which the machine had when its system was installed.
        let other = holder.mac_in_id().filter(|mac| Some(*mac) != holder.mac)?;
        let other = Holder { mac: Some(other), ..holder.clone() };
        self.machines.of(subnet, &other).filter_map(shares_id).max_by_key(|(_, binding)| binding.until)
    }

    /// Returns the number of other clients with the MAC of `holder` that have an address in `subnet`.
    pub fn count_others_of_mac(&self, subnet: usize, holder: &Holder, now: Timestamp) -> usize {
        let is_other =
            |b: &&Binding| b.holder.mac == holder.mac && b.is_live(now) && !b.holder.is_same_machine(holder);
        let addresses = holder.mac.into_iter().flat_map(|_| self.machines.of(subnet, holder));
        addresses.filter_map(|address| self.bindings.get(&address).filter(is_other)).count()
    }

    /// Returns the other leases of the same client on the same link, released at `now`. They end when `lease` is
    /// granted. Returns `None` while one of them may be displaced in the store by another client's lease.
    pub fn leases_ended_by(&self, lease: &Lease, now: Timestamp) -> Option<Vec<Lease>> {
        let subnet = self.pool_of(lease.address)?;
        let mut holder = lease.holder.clone();
        holder.is_boot_stage |= self
            .bindings
            .get(&lease.address)
            .is_some_and(|b| b.holder.is_same_machine(&holder) && b.holder.is_boot_stage);
        let others = self.leases_on_link(subnet, &holder);
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
                let is_here = self.link_of(subnet).any(|subnet| Some(subnet) == other);
                left.address != lease.address && left.holder.is_same_machine(&holder) && is_here
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

    /// Whether `address` belongs to this computer.
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        self.own.contains(&address)
    }

    /// Returns the newest address of the client, unless the client is identified by its MAC. Such a client shares its
    /// identifier with no other.
    fn newest_of(&self, subnet: usize, holder: &Holder) -> Option<Ipv4Addr> {
        if holder.is_known_by_mac() {
            return None;
        }
        self.clients.get(subnet, &holder.client, &self.bindings, |address| self.pool_of(address))
    }

    /// Returns all bindings of `holder` in `subnet`.
    pub(super) fn all_of<'b, 'w>(
        &'b self,
        subnet: usize,
        holder: &'w Holder,
    ) -> impl Iterator<Item = (Ipv4Addr, &'b Binding)> + use<'b, 'w> {
        let newest = self.newest_of(subnet, holder);
        // A client without an Ethernet address was stored as one with the MAC in its identifier.
        let stored_as = holder.mac_in_id().filter(|_| holder.mac.is_none());
        let stored_as = stored_as.map(|mac| Holder { mac: Some(mac), ..holder.clone() });
        let as_machine = stored_as.into_iter().flat_map(move |holder| self.machines.of(subnet, &holder));
        let others = self.machines.of(subnet, holder).chain(as_machine);
        let others = others.filter(move |address| Some(*address) != newest);
        let known = newest.into_iter().chain(others);
        let bindings = known.filter_map(|address| Some((address, self.bindings.get(&address)?)));
        let is_here = move |address| self.pools.len() == 1 || self.pool_of(address) == Some(subnet);
        bindings.filter(move |(address, binding)| binding.holder.is_same_machine(holder) && is_here(*address))
    }

    /// Returns the leases of `holder` on the link of `subnet`, including ended ones.
    pub(super) fn leases_on_link<'b, 'w>(
        &'b self,
        subnet: usize,
        holder: &'w Holder,
    ) -> impl Iterator<Item = (Ipv4Addr, &'b Binding)> + use<'b, 'w> {
        let subnets = self.link_of(subnet).flat_map(move |subnet| self.all_of(subnet, holder));
        subnets.filter(|(_, binding)| binding.state == State::Leased)
    }

    /// Returns the subnets on the link of `subnet`.
    fn link_of(&self, subnet: usize) -> impl Iterator<Item = usize> {
        let shared_network = self.pools.get(subnet).and_then(|pool| pool.shared_network);
        let others = shared_network.into_iter().flat_map(move |shared_network| {
            self.pools
                .iter()
                .enumerate()
                .filter(move |(_, pool)| pool.shared_network == Some(shared_network))
                .map(|(i, _)| i)
        });
        std::iter::once(subnet).chain(others.filter(move |other| *other != subnet))
    }
}
