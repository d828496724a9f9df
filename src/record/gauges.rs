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
    /// Records that were lost before a reader took them in, by [`Reader`].
    pub lost: [AtomicU64; Reader::ALL.len()],
    /// Time of each stage of the boots that reached their system, by [`STAGES`].
    pub stages: [Histogram; STAGES.len()],
    /// Machines by the stage of their newest boot, by [`STAGES`], as the last scrape counted them.
    pub machines: [AtomicU64; STAGES.len()],
}

/// The names of the stages of a boot, in order.
pub const STAGES: [&str; 5] = ["firmware", "loader", "script", "kernel", "os"];

/// A reader of the records inside the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    Journeys,
    /// The events and machines of the API.
    Events,
}

impl Reader {
    /// All readers, in the order of their numbers.
    pub const ALL: [Reader; 2] = [Reader::Journeys, Reader::Events];

    /// Returns the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Reader::Journeys => "journeys",
            Reader::Events => "events",
        }
    }
}

impl Default for Gauges {
    fn default() -> Gauges {
        Gauges {
            reply: Histogram::default(),
            commit: Histogram::default(),
            store_up: AtomicBool::new(true),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
            lost: [AtomicU64::new(0), AtomicU64::new(0)],
            stages: std::array::from_fn(|_| Histogram::of_boots()),
            machines: Default::default(),
        }
    }
}
