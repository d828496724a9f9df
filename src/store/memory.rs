//! A store for tests and for runs without a state folder. It loses everything at exit and can simulate failures.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lease::Lease;
use crate::store::lease_store::{ClockMark, LeaseStore, StoreError, shift_end};
use crate::types::Timestamp;

/// A [`LeaseStore`] that keeps leases in memory only.
#[derive(Debug, Default)]
pub struct MemoryStore {
    leases: BTreeMap<Ipv4Addr, Lease>,
    clock: Option<ClockMark>,
    broken: Arc<AtomicBool>,
}

impl MemoryStore {
    /// A switch that makes every commit fail while it is true, like a full disk.
    pub fn failure_switch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.broken)
    }

    fn works(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError("the store was switched off".to_owned()));
        }
        Ok(())
    }
}

impl LeaseStore for MemoryStore {
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError> {
        Ok((self.leases.values().cloned().collect(), 0))
    }

    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        self.works()?;
        self.leases.extend(leases.iter().map(|lease| (lease.address, lease.clone())));
        Ok(())
    }

    fn clock(&mut self) -> Result<Option<ClockMark>, StoreError> {
        Ok(self.clock)
    }

    fn set_clock(&mut self, mark: ClockMark, shift: i64) -> Result<(), StoreError> {
        self.works()?;
        self.leases.values_mut().for_each(|lease| lease.until = shift_end(lease.until, shift));
        self.clock = Some(mark);
        Ok(())
    }

    fn purge(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        self.works()?;
        let stored = self.leases.len();
        self.leases.retain(|_, lease| lease.until >= before);
        Ok(stored - self.leases.len())
    }
}
