//! The lease book: who holds which address until when, and which address a client gets. This folder never reads a
//! clock or a disk, and knows nothing of messages.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod allocate;
mod binding;
mod book;
mod disk;
mod find;
pub mod import;
mod index;
mod offers;
mod pool;
mod tally;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

/// By address. Addresses are those of pools, which strangers cannot make up, so that a fast hash will do.
type AddressMap<V> = HashMap<Ipv4Addr, V, foldhash::fast::RandomState>;
type AddressSet = HashSet<Ipv4Addr, foldhash::fast::RandomState>;

pub use binding::{Binding, FOREVER, Holder, Lease, LeaseChange, MAX_CLIENTS_PER_MAC, State, is_forever};
pub use book::{LeaseBook, OFFER_HOLD};
pub use offers::OFFER_MIN_HOLD;
pub use pool::{Expected, Pool};
pub use tally::Tally;
