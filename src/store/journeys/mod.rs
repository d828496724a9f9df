//! The boots of machines over restarts: one SQLite database, `journeys.db` in the state folder, beside the leases and
//! independent of them. `server/journey_keeper.rs` opens it in its own thread, so that no packet waits for it.
//!
//! It uses a rollback journal and one transaction per batch, so kill -9 loses what came after the last batch and nothing
//! else. A file that is damaged or of another version is kept as `journeys.db.aside`; the rows that can be read are taken
//! over. It never prevents a start.

pub mod count;
mod create;
mod file;
mod load;
mod reader;

pub use create::JOURNEYS;
pub use file::{JourneyFile, MAX_BYTES};
pub use load::{KeptMachine, Opened, open};
pub use reader::read_events;
