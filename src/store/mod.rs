//! Leases on stable storage, and the clock by which they end. The server's committer writes them; the `leases`
//! commands read and import them. This folder never decides which client gets an address.

pub mod clock;
mod count;
mod create;
mod files;
mod findings;
mod folder;
mod integrity;
pub mod journeys;
mod lease_store;
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
mod transactions;
mod wal;

pub use files::{DATABASE, FILE_MODE, FOLDER_MODE, TOKEN_FILE};
pub use findings::Findings;
pub use folder::{create_state_folder, replace_file};
pub use lease_store::{ClockMark, LeaseStorage, LeaseStore, StoreError, Uptime, shift_end};
pub use lock::{give_to_owner, holder_of_lock};
pub use memory::MemoryStore;
pub use reader::LeaseReader;
pub use sqlite::SqliteStore;
