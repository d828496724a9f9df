//! Renewals that wait for a slow disk. A client that extends its lease is answered within a second anyway, with an ACK
//! for the time remaining on its stored lease. That ACK needs no write.
//!
//! The DHCP loop owns the list. The committer answers the renewals that it stores in time. [`FallbackReply::take`] decides
//! which of the two sends, so that no request is answered twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Record;
use crate::net::datagram::Outgoing;
use crate::server::dhcp::deliver::Delivery;

/// Time that a renewal waits for the disk. A healthy disk takes some milliseconds. Clients repeat a request after 4 s
/// (RFC 2131 section 4.1), and systems that wait for their network give up after some seconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// The fallback for a reply that promises something new. It is sent if the promise cannot be stored, or not in time.
#[derive(Debug)]
pub struct FallbackReply {
    reply: Outgoing,
    record: Record,
    is_answered: AtomicBool,
}

impl FallbackReply {
    /// Creates a fallback from `reply` and the record that it was sent.
    pub fn new(reply: Outgoing, record: Record) -> FallbackReply {
        FallbackReply { reply, record, is_answered: AtomicBool::new(false) }
    }

    /// Claims the right to answer the request. Returns true for the first caller only.
    pub fn take(&self) -> bool {
        !self.is_answered.swap(true, Ordering::Relaxed)
    }

    /// A copy of the reply to send.
    pub fn delivery(&self) -> Delivery {
        Delivery { reply: self.reply.clone(), record: self.record.clone() }
    }
}

/// The renewals that wait for the committer.
#[derive(Debug, Default)]
pub struct Renewals {
    /// Ordered by deadline. There are at most as many as leases that may wait for the disk (`MAX_WAITING`).
    waiting: VecDeque<(Instant, Arc<FallbackReply>)>,
}

impl Renewals {
    /// Adds a lease that goes to the committer, if its request has a fallback reply.
    pub fn add(&mut self, fallback: Option<&Arc<FallbackReply>>) {
        if let Some(fallback) = fallback {
            let deadline = Instant::now() + PATIENCE;
            self.waiting.push_back((deadline, Arc::clone(fallback)));
        }
    }

    /// Removes answered renewals from the front of the list.
    pub fn forget_answered(&mut self) {
        let is_answered =
            |(_, fallback): &(Instant, Arc<FallbackReply>)| fallback.is_answered.load(Ordering::Relaxed);
        while self.waiting.front().is_some_and(is_answered) {
            self.waiting.pop_front();
        }
    }

    /// Waits for the next deadline, and returns the fallback replies that are due.
    pub async fn overdue(&mut self) -> Vec<Delivery> {
        let Some((deadline, _)) = self.waiting.front() else { return std::future::pending().await };
        tokio::time::sleep_until(*deadline).await;
        let now = Instant::now();
        let mut due = Vec::new();
        while self.waiting.front().is_some_and(|(deadline, _)| *deadline <= now) {
            if let Some((_, fallback)) = self.waiting.pop_front()
                && fallback.take()
            {
                due.push(fallback.delivery());
            }
        }
        due
    }
}
