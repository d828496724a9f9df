//! Indexes from clients to their addresses. They are tables of addresses only; the keys are read from the bindings. A
//! map that stores its keys would add a third to the memory of a large book.

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::lease::address_map::AddressMap;
use crate::lease::binding::{Binding, Holder};
use crate::types::{ClientId, MacAddr};

/// The newest address of each client in each subnet. Clients whose identifier is their MAC are not in this index,
/// because [`MachineIndex`] finds them.
#[derive(Debug, Default)]
pub(super) struct ClientIndex {
    addresses: HashTable<Ipv4Addr>,
    // The hash is random so that clients cannot choose colliding identifiers.
    hasher: RandomState,
}

impl ClientIndex {
    /// Returns the address of `client` in `subnet`. Every address in the index must be in `bindings`, and `subnet_of`
    /// must return its subnet.
    pub(super) fn get(
        &self,
        subnet: usize,
        client: &ClientId,
        bindings: &AddressMap<Binding>,
        subnet_of: impl Fn(Ipv4Addr) -> Option<usize>,
    ) -> Option<Ipv4Addr> {
        let is_it = |address: &Ipv4Addr| {
            bindings.get(address).is_some_and(|binding| binding.holder.client == *client)
                && subnet_of(*address) == Some(subnet)
        };
        self.addresses.find(hash(&self.hasher, subnet, client), is_it).copied()
    }

    /// Makes `address` the newest of its client. Its binding must be in `bindings` already.
    pub(super) fn insert(
        &mut self,
        subnet: usize,
        address: Ipv4Addr,
        bindings: &AddressMap<Binding>,
        subnet_of: impl Fn(Ipv4Addr) -> Option<usize>,
    ) {
        let client_of = |address: &Ipv4Addr| bindings.get(address).map(|binding| &binding.holder.client);
        let Some(client) = client_of(&address) else { return };
        let is_it = |other: &Ipv4Addr| client_of(other) == Some(client) && subnet_of(*other) == Some(subnet);
        let hasher = &self.hasher;
        let hash_of = |address: &Ipv4Addr| match (subnet_of(*address), client_of(address)) {
            (Some(subnet), Some(client)) => hash(hasher, subnet, client),
            // The index has no such address.
            _ => 0,
        };
        match self.addresses.entry(hash(hasher, subnet, client), is_it, hash_of) {
            Entry::Occupied(mut older) => *older.get_mut() = address,
            Entry::Vacant(place) => _ = place.insert(address),
        }
    }

    /// Removes `address` from `client` if the index has it there. Its binding must still be in the book.
    pub(super) fn remove(&mut self, subnet: usize, client: &ClientId, address: Ipv4Addr) {
        let hash = hash(&self.hasher, subnet, client);
        if let Ok(entry) = self.addresses.find_entry(hash, |other| *other == address) {
            entry.remove();
        }
    }
}

fn hash(hasher: &RandomState, subnet: usize, client: &ClientId) -> u64 {
    hasher.hash_one((subnet, client))
}

/// The maximum number of addresses per machine and subnet in the index. A machine whose boot stages send different
/// client identifiers has a few. Beyond the limit the address that ends first is no longer found, so that a client with
/// made-up identifiers cannot slow down the search.
const MAX_OF_MACHINE: usize = 2 * super::binding::MAX_CLIENTS_PER_MAC;

/// All addresses of each machine in each subnet.
#[derive(Debug, Default)]
pub(super) struct MachineIndex {
    addresses: HashTable<Ipv4Addr>,
    // The hash is random, as in the client index.
    hasher: RandomState,
}

/// The key of a machine: its MAC, or its client identifier if it has no MAC.
#[derive(PartialEq, Eq, Hash)]
enum Key<'h> {
    Mac(MacAddr),
    Client(&'h ClientId),
}

impl Holder {
    fn key(&self) -> Key<'_> {
        self.mac.map_or(Key::Client(&self.client), Key::Mac)
    }
}

impl MachineIndex {
    /// Returns the addresses of machine `holder` in `subnet`. The result may contain addresses of another machine with the
    /// same hash.
    pub(super) fn of<'i>(
        &'i self,
        subnet: usize,
        holder: &Holder,
    ) -> impl Iterator<Item = Ipv4Addr> + use<'i> {
        self.addresses.iter_hash(self.hash(subnet, holder)).copied()
    }

    /// Adds `address` to its machine. Its binding must be in `bindings` already.
    pub(super) fn insert(
        &mut self,
        subnet: usize,
        address: Ipv4Addr,
        bindings: &AddressMap<Binding>,
        subnet_of: impl Fn(Ipv4Addr) -> Option<usize>,
    ) {
        let Some(holder) = bindings.get(&address).map(|binding| &binding.holder) else { return };
        let hash = self.hash(subnet, holder);
        let (mut count, mut first) = (0, None);
        for other in self.addresses.iter_hash(hash).copied() {
            if other == address {
                return;
            }
            let Some(binding) = bindings.get(&other).filter(|b| b.holder.key() == holder.key()) else {
                continue;
            };
            count += 1;
            first = first.into_iter().chain([(binding.until, other)]).min();
        }
        if let Some((_, first)) = first.filter(|_| count >= MAX_OF_MACHINE) {
            self.remove(subnet, holder, first);
        }
        let hasher = &self.hasher;
        let hash_of = |address: &Ipv4Addr| match (subnet_of(*address), bindings.get(address)) {
            (Some(subnet), Some(binding)) => hasher.hash_one((subnet, binding.holder.key())),
            // The index has no such address.
            _ => 0,
        };
        self.addresses.insert_unique(hash, address, hash_of);
    }

    /// Removes `address` from `holder` if the index has it there.
    pub(super) fn remove(&mut self, subnet: usize, holder: &Holder, address: Ipv4Addr) {
        let hash = self.hash(subnet, holder);
        if let Ok(entry) = self.addresses.find_entry(hash, |other| *other == address) {
            entry.remove();
        }
    }

    fn hash(&self, subnet: usize, holder: &Holder) -> u64 {
        self.hasher.hash_one((subnet, holder.key()))
    }
}
