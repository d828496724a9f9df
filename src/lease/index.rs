//! Which address a client has: a table of addresses alone, whose keys stand in the bindings. A map that held its keys
//! would take a third of the memory of a large book.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;

use hashbrown::HashTable;

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
        bindings: &HashMap<Ipv4Addr, Binding>,
        subnet_of: impl Fn(Ipv4Addr) -> Option<usize>,
    ) -> Option<Ipv4Addr> {
        let is_it = |address: &Ipv4Addr| {
            bindings.get(address).is_some_and(|binding| binding.holder.client == *client)
                && subnet_of(*address) == Some(subnet)
        };
        self.addresses.find(self.hash(subnet, client), is_it).copied()
    }

    /// `address`, whose binding is in `bindings` already, is the newest of its client.
    pub(super) fn insert(
        &mut self,
        subnet: usize,
        address: Ipv4Addr,
        bindings: &HashMap<Ipv4Addr, Binding>,
        subnet_of: impl Fn(Ipv4Addr) -> Option<usize>,
    ) {
        let Some(client) = bindings.get(&address).map(|binding| &binding.holder.client) else { return };
        if let Some(older) = self.get(subnet, client, bindings, &subnet_of) {
            self.remove(subnet, client, older);
        }
        let hasher = &self.hasher;
        let hash_of = |address: &Ipv4Addr| {
            let client = bindings.get(address).map(|binding| &binding.holder.client);
            hasher.hash_one((subnet_of(*address), client))
        };
        let hash = hash_of(&address);
        self.addresses.insert_unique(hash, address, hash_of);
    }

    /// Forgets that `client` has `address`, if that is what the index says. Its binding must still be in the book.
    pub(super) fn remove(&mut self, subnet: usize, client: &ClientId, address: Ipv4Addr) {
        let hash = self.hash(subnet, client);
        if let Ok(entry) = self.addresses.find_entry(hash, |other| *other == address) {
            entry.remove();
        }
    }

    fn hash(&self, subnet: usize, client: &ClientId) -> u64 {
        self.hasher.hash_one((Some(subnet), Some(client)))
    }
}
