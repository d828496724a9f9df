//! Leases and boots on disk.

mod contract;
mod damage;
mod journeys;
