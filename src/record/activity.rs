//! The time of the last DHCP message. HTTP asks for it, to leave processor time to DHCP while it is busy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::types::Timestamp;

/// The time of the last DHCP message. Threads share it without a lock.
#[derive(Debug, Default)]
pub struct LastMessage {
    /// The [`Timestamp`] of the last message; 0 means that there was none.
    at: AtomicU64,
}

impl LastMessage {
    /// The time after a message for which DHCP counts as busy.
    const LASTS: Duration = Duration::from_secs(1);

    /// Records that a message arrived at `now`.
    pub fn record_message(&self, now: Timestamp) {
        self.at.store(now.0, Ordering::Relaxed);
    }

    pub fn is_recent(&self, now: Timestamp) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at > 0 && now.since(Timestamp(at)) <= LastMessage::LASTS
    }
}
