//! Counts what clients hold open, such as connections and streams, and limits it in all and for each client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A limited number of slots. Cheap to clone; clones share the slots.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    /// Maximum number in all.
    all: usize,
    /// Maximum number for one client.
    of_one: usize,
    taken: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A slot in use. It is free again when this is dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    client: IpAddr,
}

impl Slots {
    pub fn new(all: usize, of_one: usize) -> Slots {
        Slots(Arc::new(Mutex::new(Table { all, of_one, taken: 0, by_client: HashMap::new() })))
    }

    /// Takes a slot for `client`; `None` if a limit is reached.
    pub fn take(&self, client: IpAddr) -> Option<Slot> {
        let mut table = self.table();
        let of_client = table.by_client.get(&client).copied().unwrap_or_default();
        if table.taken >= table.all || of_client >= table.of_one {
            return None;
        }
        table.taken += 1;
        table.by_client.insert(client, of_client + 1);
        Some(Slot { slots: self.clone(), client })
    }

    /// The number of slots in use.
    pub fn taken(&self) -> usize {
        self.table().taken
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.slots.table();
        table.taken = table.taken.saturating_sub(1);
        let left = table.by_client.get(&self.client).map_or(0, |count| count.saturating_sub(1));
        match left {
            0 => table.by_client.remove(&self.client),
            left => table.by_client.insert(self.client, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_client_never_gets_all_slots() {
        let slots = Slots::new(3, 2);
        let client = |n| IpAddr::from(Ipv4Addr::new(10, 0, 0, n));
        let first = slots.take(client(1)).unwrap();
        let _second = slots.take(client(1)).unwrap();
        assert!(slots.take(client(1)).is_none(), "its limit");
        let third = slots.take(client(2)).unwrap();
        assert!(slots.take(client(3)).is_none(), "the limit of all");
        drop(first);
        drop(third);
        assert_eq!(slots.taken(), 1);
        assert!(slots.take(client(1)).is_some());
        assert_eq!(slots.table().by_client.len(), 1, "clients without a slot are forgotten");
    }
}
