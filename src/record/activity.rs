//! When DHCP was last busy, so that work that can wait does not take its time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// When a DHCP message last came.
#[derive(Debug)]
pub struct LastMessage {
    pub(super) began: Instant,
    /// Milliseconds from then, and one more; 0 means never.
    at: AtomicU64,
}

impl LastMessage {
    /// After as many milliseconds no other one is expected.
    const LASTS: u64 = 1000;

    pub fn came(&self, now: Instant) {
        self.at.store(self.millis(now).saturating_add(1), Ordering::Relaxed);
    }

    pub fn is_recent(&self, now: Instant) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at > 0 && self.millis(now) < at.saturating_add(Self::LASTS)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for LastMessage {
    fn default() -> LastMessage {
        LastMessage { began: Instant::now(), at: AtomicU64::new(0) }
    }
}
