//! The lease book: the clients that hold addresses, until when, and the choice of an address for a client.
//!
//! `dhcp/` reads the book and returns changes; `server/dhcp` applies them and reports the result of storing them. This
//! folder never reads a clock or a disk, and knows nothing of messages.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

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

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

/// Maps keyed by address. Keys are addresses of pools, which clients cannot invent, so a fast hash is safe.
type AddressMap<V> = HashMap<Ipv4Addr, V, foldhash::fast::RandomState>;
type AddressSet = HashSet<Ipv4Addr, foldhash::fast::RandomState>;

pub use allocate::Seeker;
pub use binding::{Binding, FOREVER, Holder, Lease, LeaseChange, MAX_CLIENTS_PER_MAC, State, is_forever};
pub use book::{LeaseBook, OFFER_HOLD};
pub use offers::OFFER_MIN_HOLD;
pub use pool::{Expected, Pool};
pub use tally::PoolUsage;
