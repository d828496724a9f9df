//! Leases on disk.

mod contract;
mod damage;
