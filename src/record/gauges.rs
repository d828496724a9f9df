//! Numbers for `metrics.rs` that no event carries.

use std::sync::atomic::{AtomicBool, AtomicU64};

use super::histogram::Histogram;

/// Numbers that no event carries.
#[derive(Debug)]
pub struct Gauges {
    /// Time from the receipt of a DHCP message until its reply is sent.
    pub reply: Histogram,
    /// Time of one transaction of the lease database.
    pub commit: Histogram,
    /// Whether the last access to the lease database worked.
    pub store_up: AtomicBool,
    pub reloads: AtomicU64,
    pub failed_reloads: AtomicU64,
}

impl Default for Gauges {
    fn default() -> Gauges {
        Gauges {
            reply: Histogram::default(),
            commit: Histogram::default(),
            store_up: AtomicBool::new(true),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        }
    }
}
