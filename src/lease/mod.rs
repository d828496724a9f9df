//! The lease book: who holds which address until when, and which address a client gets. This folder never reads a
//! clock or a disk, and knows nothing of messages.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod allocate;
mod book;
mod disk;
mod find;
mod holder;
pub mod import;
mod index;
mod offers;
mod tally;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

/// By address. Addresses are those of pools, which strangers cannot make up, so that a fast hash will do.
type AddressMap<V> = HashMap<Ipv4Addr, V, foldhash::fast::RandomState>;
type AddressSet = HashSet<Ipv4Addr, foldhash::fast::RandomState>;

pub use allocate::{Expected, Pool};
pub use book::{Binding, FOREVER, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State, is_forever};
pub use holder::{Holder, MAX_CLIENTS_PER_MAC};
pub use offers::OFFER_MIN_HOLD;
pub use tally::Tally;
