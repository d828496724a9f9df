//! The lease book: the clients that hold addresses, until when, and the choice of an address for a client.
//!
//! `dhcp/` reads the book and returns changes; `server/dhcp` applies them and reports the result of storing them. This
//! folder never reads a clock or a disk, and knows nothing of messages.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod address_map;
mod allocate;
mod binding;
mod book;
mod disk;
mod find;
pub mod import;
mod index;
mod offers;
mod part;
mod pool;
mod replace;
mod tally;

pub use allocate::Seeker;
pub use binding::{Binding, FOREVER, Holder, Lease, LeaseChange, MAX_CLIENTS_PER_MAC, State, is_forever};
pub use book::{LeaseBook, OFFER_HOLD};
pub use offers::OFFER_MIN_HOLD;
pub use pool::{Expected, Pool};
pub use tally::PoolUsage;
