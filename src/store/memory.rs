//! A store for tests: nothing survives, but it can be told to fail.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lease::Lease;
use crate::store::{LeaseStore, StoreError};

/// Leases in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    leases: BTreeMap<Ipv4Addr, Lease>,
    broken: Arc<AtomicBool>,
}

impl MemoryStore {
    /// A switch that makes every commit fail while it is true, like a full disk.
    pub fn switch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.broken)
    }
}

impl LeaseStore for MemoryStore {
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError> {
        Ok((self.leases.values().cloned().collect(), 0))
    }

    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError("the store was switched off".to_owned()));
        }
        self.leases.extend(leases.iter().map(|lease| (lease.address, lease.clone())));
        Ok(())
    }
}
