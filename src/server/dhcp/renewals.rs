//! Renewals that wait for a slow disk. A client that extends its lease is answered within a second all the same: with an
//! ACK for the time that is stored already, which needs no write.
//!
//! The DHCP loop owns the list. The committer's thread answers whatever it stores in time; [`Otherwise::take`] decides
//! which of the two sends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Event;
use crate::lease::State;
use crate::net::udp::Outgoing;
use crate::server::dhcp::commit::Promise;
use crate::server::dhcp::deliver::Delivery;

/// How long a renewal waits for the disk. Clients repeat a request after 4 s (RFC 2131 section 4.1), and systems that
/// wait for their network give up after some seconds; a disk that works takes some milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// The reply in place of one that promises something new: it is sent if that cannot be stored, or not in time.
#[derive(Debug)]
pub struct Otherwise {
    reply: Outgoing,
    event: Event,
    is_answered: AtomicBool,
}

impl Otherwise {
    /// `reply`, and the event to record once it is sent.
    pub fn new(reply: Outgoing, event: Event) -> Otherwise {
        Otherwise { reply, event, is_answered: AtomicBool::new(false) }
    }

    /// The right to answer the request, in one way or the other. Only the first caller gets it.
    pub fn take(&self) -> bool {
        !self.is_answered.swap(true, Ordering::Relaxed)
    }

    /// This reply, to be sent.
    pub fn delivery(&self, interface: &Arc<str>) -> Delivery {
        Delivery { reply: self.reply.clone(), interface: Arc::clone(interface), event: self.event.clone() }
    }
}

/// The renewals that wait.
#[derive(Debug, Default)]
pub struct Renewals {
    /// In the order of their deadlines. As many as leases may wait for the disk, at most.
    waiting: VecDeque<(Instant, Arc<Otherwise>, Arc<str>)>,
}

impl Renewals {
    /// Takes note of a promise that goes to the disk.
    pub fn add(&mut self, promise: &Promise) {
        if let Some(otherwise) = promise.otherwise.as_ref().filter(|_| promise.lease.state == State::Leased) {
            let deadline = Instant::now() + PATIENCE;
            self.waiting.push_back((deadline, Arc::clone(otherwise), Arc::clone(&promise.interface)));
        }
    }

    /// Forgets what needs no answer any more.
    pub fn forget_answered(&mut self) {
        let is_answered = |(_, otherwise, _): &(Instant, Arc<Otherwise>, Arc<str>)| {
            otherwise.is_answered.load(Ordering::Relaxed)
        };
        while self.waiting.front().is_some_and(is_answered) {
            self.waiting.pop_front();
        }
    }

    /// The replies to the renewals that have waited for long enough, as soon as there are some.
    pub async fn overdue(&mut self) -> Vec<Delivery> {
        let Some((deadline, _, _)) = self.waiting.front() else { return std::future::pending().await };
        tokio::time::sleep_until(*deadline).await;
        let now = Instant::now();
        let mut due = Vec::new();
        while self.waiting.front().is_some_and(|(deadline, _, _)| *deadline <= now) {
            if let Some((_, otherwise, interface)) = self.waiting.pop_front()
                && otherwise.take()
            {
                due.push(otherwise.delivery(&interface));
            }
        }
        due
    }
}
