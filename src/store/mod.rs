//! Leases on stable storage. This folder never decides who gets an address; it keeps what was decided.

mod memory;
mod sqlite;

use std::fmt;

pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

use crate::lease::Lease;

/// Where leases survive a restart. One test suite, tests/store.rs, holds every store to this contract.
pub trait LeaseStore: Send {
    /// All leases that are stored, one for each address, and how many rows were skipped because they could not be read.
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError>;

    /// Stores all of `leases`, or none of them. When it returns `Ok` they are on stable storage.
    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError>;
}

/// What was attempted on which store, and why it failed.
#[derive(Debug)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
