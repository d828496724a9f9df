//! The time of the last DHCP message. HTTP asks for it, to leave processor time to DHCP while it is busy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The time of the last DHCP message. Threads share it without a lock.
#[derive(Debug)]
pub struct LastMessage {
    pub(super) began: Instant,
    /// Milliseconds since `began`, plus one; 0 means that there was no message.
    at: AtomicU64,
}

impl LastMessage {
    /// DHCP counts as busy for this many milliseconds after a message.
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
