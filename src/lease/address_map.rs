//! Maps and sets of addresses.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

/// Maps keyed by address. Keys are addresses of pools, which clients cannot invent, so a fast hash is safe.
pub(in crate::lease) type AddressMap<V> = HashMap<Ipv4Addr, V, foldhash::fast::RandomState>;

pub(in crate::lease) type AddressSet = HashSet<Ipv4Addr, foldhash::fast::RandomState>;
