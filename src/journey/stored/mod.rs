//! Machines and boots as bytes, as `store/journeys/` keeps them over restarts. A row has a version, so that a row of
//! another version is noticed, and a checksum that includes its key. The facts (`evidence.rs`) are not stored: they are
//! made again from the events.

mod event;
mod field;
mod row;

pub use field::Unreadable;
pub use row::{Key, StoredMachine, VERSION, checksum, encode_boot, encode_machine, read_boot, read_machine};
