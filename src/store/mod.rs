//! Leases on stable storage. This folder never decides who gets an address; it keeps what was decided.

pub mod clock;
mod count;
mod create;
mod findings;
mod folder;
mod integrity;
mod lock;
mod memory;
pub mod open;
mod opening;
mod place;
mod reader;
mod reserve;
mod rows;
mod schema;
mod sqlite;
mod wal;

use std::fmt;
use std::time::Duration;

pub use findings::Findings;
pub use folder::make_folder;
pub use memory::MemoryStore;
pub use reader::LeaseReader;
pub use sqlite::SqliteStore;

use crate::lease::{Lease, is_forever};
use crate::types::{Timestamp, Uuid};

/// The database's name in the state folder.
pub const DATABASE: &str = "leases.db";
/// Permissions of every file in the state folder: who has which address is not for every user of this computer.
pub const FILE_MODE: u32 = 0o640;
/// Permissions of the state folder, for the same reason.
pub const FOLDER_MODE: u32 = 0o750;

/// What two clocks showed at one moment. They part when somebody sets the system's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockMark {
    /// The server's own clock, which nobody sets: stored leases end by it.
    pub steady: Timestamp,
    /// The system's wall clock.
    pub wall: Timestamp,
    /// How long the machine was up, where that is known.
    pub boot: Option<Uptime>,
}

/// A clock that nobody sets either, but that begins anew with each boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uptime {
    /// Which boot it is.
    pub boot_id: Uuid,
    /// The time since then, sleep included.
    pub up: Duration,
}

/// Where leases survive a restart. One test suite, tests/process/store/contract.rs, holds every store to this contract.
pub trait LeaseStore: Send {
    /// All leases that are stored, one for each address, and how many rows were skipped because they could not be read.
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError>;

    /// Stores all of `leases`, or none of them. When it returns `Ok` they are on stable storage.
    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError>;

    /// The last mark that was stored; `None` in a new store.
    fn clock(&mut self) -> Result<Option<ClockMark>, StoreError>;

    /// Stores a mark, and moves the end of every lease by `shift` seconds with it. Leases that never end do not move.
    fn set_clock(&mut self, mark: ClockMark, shift: i64) -> Result<(), StoreError>;

    /// Does what is due beside the commits. Called about once a second.
    fn look_after(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
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

/// `until`, `shift` seconds later, or earlier if that is negative.
pub fn moved(until: Timestamp, shift: i64) -> Timestamp {
    if is_forever(until) {
        return until;
    }
    Timestamp(until.0.saturating_add_signed(shift.saturating_mul(1000)))
}
