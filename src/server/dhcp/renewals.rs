//! Renewals that wait for a slow disk. A client that extends its lease is answered within a second all the same: with an
//! ACK for the time that is stored already, which needs no write.
//!
//! The DHCP loop owns the list. The committer's thread answers whatever it stores in time; [`Otherwise::take`] decides
//! which of the two sends.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::dhcp::decide::Decision;
use crate::dhcp::keep::rest_of_lease_until;
use crate::dhcp::request::Request;
use crate::dhcp::subnet::Settings;
use crate::event::Event;
use crate::lease::{Holder, Lease, LeaseBook, State};
use crate::net::udp::Outgoing;
use crate::server::dhcp::commit::{Delivery, Outcome, Promise};
use crate::server::dhcp::outgoing;
use crate::types::Timestamp;
use crate::wire::option::code;

/// How long a renewal waits for the disk. Clients repeat a request after 4 s (RFC 2131 section 4.1), and systems that
/// wait for their network give up after some seconds; a disk that works takes some milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// The reply in place of one that promises something new: it is sent if that cannot be stored, or not in time.
#[derive(Debug)]
pub struct Otherwise {
    reply: Outgoing,
    event: Event,
    /// Until when it promises the lease.
    until: Timestamp,
    is_answered: AtomicBool,
}

impl Otherwise {
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
    /// Of addresses whose lease is being extended: until when the disk has it, whichever of the changes that are on their
    /// way has arrived there. One for each address that waits, at most.
    assured: HashMap<Ipv4Addr, (Holder, Timestamp), foldhash::fast::RandomState>,
}

impl Renewals {
    /// The reply that leaves if `lease` cannot be stored, or not in time.
    pub fn otherwise(
        &self,
        request: &Request<'_>,
        lease: &Lease,
        interface: u32,
        (book, settings): (&LeaseBook, &Settings),
        now: Timestamp,
    ) -> Option<Arc<Otherwise>> {
        let assured = || self.assured(lease.address, &request.holder);
        let until = book.binding(lease.address)?.stored_until().or_else(assured)?;
        match rest_of_lease_until(until, request, lease.address, (book, settings), now)? {
            Decision::Answer { reply, route, event, .. } => {
                let time = Duration::from_secs(reply.options.u32(code::LEASE_TIME)?.into());
                let reply = outgoing(request, interface, &reply, route);
                let until = now.after(time);
                Some(Arc::new(Otherwise { reply, event, until, is_answered: AtomicBool::new(false) }))
            }
            _ => None,
        }
    }

    /// Takes note of a promise that goes to the disk.
    pub fn add(&mut self, promise: &Promise) {
        let lease = &promise.lease;
        promise.ended.iter().for_each(|ended| drop(self.assured.remove(&ended.address)));
        match promise.otherwise.as_ref().filter(|_| lease.state == State::Leased) {
            Some(otherwise) => {
                self.assured.insert(lease.address, (lease.holder.clone(), otherwise.until));
                let deadline = Instant::now() + PATIENCE;
                self.waiting.push_back((deadline, Arc::clone(otherwise), Arc::clone(&promise.interface)));
            }
            // Whatever was assured, this change takes back.
            None => drop(self.assured.remove(&lease.address)),
        }
    }

    /// Until when the lease of `address` is stored for `holder`, although changes of it are on their way to the disk.
    fn assured(&self, address: Ipv4Addr, holder: &Holder) -> Option<Timestamp> {
        self.assured.get(&address).filter(|(own, _)| own.is(holder)).map(|(_, until)| *until)
    }

    /// Forgets what needs no answer any more.
    pub fn committed(&mut self, outcome: &Outcome, book: &LeaseBook) {
        let is_answered = |(_, otherwise, _): &(Instant, Arc<Otherwise>, Arc<str>)| {
            otherwise.is_answered.load(Ordering::Relaxed)
        };
        while self.waiting.front().is_some_and(is_answered) {
            self.waiting.pop_front();
        }
        for lease in &outcome.leases {
            if book.binding(lease.address).is_none_or(|binding| binding.pending == 0) {
                self.assured.remove(&lease.address);
            }
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
