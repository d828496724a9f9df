//! How many connections there may be.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections at a time.
const MAX: usize = 8192;
/// Connections at a time from one address, so that one client cannot take them all.
const MAX_OF_ONE: usize = 64;

/// The connections that are open, counted. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<Ipv4Addr, usize>,
}

/// A place among the connections; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    address: Ipv4Addr,
}

impl Connections {
    /// A place for a connection from `address`, if one is left.
    pub(super) fn admit(&self, address: Ipv4Addr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= MAX || of_one >= MAX_OF_ONE {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, of_one + 1);
        Some(Place { connections: self.clone(), address })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(of_one) = counts.by_address.get_mut(&self.address) {
            *of_one -= 1;
            if *of_one == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_gets_64_connections_and_all_get_8192() {
        let connections = Connections::default();
        let address = Ipv4Addr::from_bits;
        let mut places: Vec<Place> = (0..64).map(|_| connections.admit(address(7)).unwrap()).collect();
        assert!(connections.admit(address(7)).is_none());
        places.pop();
        places.push(connections.admit(address(7)).unwrap());

        places.extend((64..8192).map(|n| connections.admit(address(1000 + n / 64)).unwrap()));
        assert!(connections.admit(address(1)).is_none());
        places.clear();
        assert!(connections.0.lock().unwrap().by_address.is_empty(), "nobody is remembered");
        assert!(connections.admit(address(7)).is_some());
    }
}
