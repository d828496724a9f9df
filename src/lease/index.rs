//! Which address a client has: a table of addresses alone, whose keys stand in the bindings. A map that held its keys
//! would take a third of the memory of a large book.

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::lease::AddressMap;
use crate::lease::book::Binding;
use crate::types::ClientId;

/// One address for each client of each subnet: the newest of those that have a binding of that client.
#[derive(Debug, Default)]
pub(super) struct ClientIndex {
    addresses: HashTable<Ipv4Addr>,
    // Random, so that clients cannot choose identifiers that collide.
    hasher: RandomState,
}

impl ClientIndex {
    /// The address of `client` in `subnet`. Every address in the index must be in `bindings`, and `subnet_of` say where
    /// it is.
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

    /// `address`, whose binding is in `bindings` already, is the newest of its client.
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
            // No such address is in the index.
            _ => 0,
        };
        match self.addresses.entry(hash(hasher, subnet, client), is_it, hash_of) {
            Entry::Occupied(mut older) => *older.get_mut() = address,
            Entry::Vacant(place) => _ = place.insert(address),
        }
    }

    /// Forgets that `client` has `address`, if that is what the index says. Its binding must still be in the book.
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
