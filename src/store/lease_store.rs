//! The interface of a lease store, its error, and the clock marks that it keeps.

use std::fmt;
use std::time::Duration;

use crate::event::Reporter;
use crate::lease::{Lease, is_forever};
use crate::types::{Timestamp, Uuid};

/// The server's clock and the system's clocks, read at the same moment. They diverge when the system clock is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockMark {
    /// The server's own clock, which cannot be set. Stored leases end by it.
    pub steady: Timestamp,
    pub wall: Timestamp,
    /// Uptime of the machine, if known.
    pub boot: Option<Uptime>,
}

/// Time since the boot of the machine. It cannot be set, but it restarts with every boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uptime {
    /// Identifies the boot.
    pub boot_id: Uuid,
    /// Time since that boot, including time in suspend.
    pub up: Duration,
}

/// Where leases are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseStorage {
    /// Durably, in the state folder.
    OnDisk,
    /// Only in memory, for benchmarks: they measure the cost of everything except the disk.
    InMemory,
}

/// Stores leases so that they survive a restart. The test suite tests/process/store/contract.rs holds every implementation to this
/// contract. Methods may block.
pub trait LeaseStore: Send {
    /// Reports facts such as a full disk to `reporter`, also those from before this call.
    fn report_to(&mut self, _: Reporter) {}

    /// Loads all stored leases, one per address, and the number of rows that were skipped because they are not
    /// leases.
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError>;

    /// Stores all of `leases`, or none of them. After `Ok` they are on stable storage.
    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError>;

    /// The last stored mark; `None` in a new store.
    fn clock(&mut self) -> Result<Option<ClockMark>, StoreError>;

    /// Stores a mark, and moves the end of every lease by `shift` seconds in the same transaction. Leases that never
    /// end do not move.
    fn set_clock(&mut self, mark: ClockMark, shift: i64) -> Result<(), StoreError>;

    /// Deletes leases that ended before `before`, whatever their state, and returns their number. One call examines and
    /// deletes a bounded number and makes at most one commit; calling it again and again reaches all of them. Call it
    /// only while no lease waits to be stored.
    fn purge(&mut self, before: Timestamp) -> Result<usize, StoreError>;

    /// Does periodic maintenance. Called about once per second.
    fn maintain(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// An operation that failed, the store it failed on, and the reason, as one message.
#[derive(Debug)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// Moves `until` by `shift` seconds, which may be negative. A lease that never ends stays so.
pub fn shift_end(until: Timestamp, shift: i64) -> Timestamp {
    if is_forever(until) {
        return until;
    }
    Timestamp(until.0.saturating_add_signed(shift.saturating_mul(1000)))
}
