//! Promises: leases that must be stored before their replies are sent. Handles them from the decision until the store
//! reports the outcome. The caller writes the leases to the store; nothing here waits for that.

use std::time::Duration;

use super::source_of_reply;
use super::{
    AddressObserver, Effect, Effects, Engine, FallbackReply, MAX_WAITING, Outcome, OutgoingReply, Outside,
    Promise,
};
use crate::dhcp::decision::Decision;
use crate::dhcp::keep::rest_of_lease;
use crate::dhcp::request::Request;
use crate::event::{DropReason, Event, Record};
use crate::lease::{Binding, Holder, Lease, LeaseChange, State};
use crate::types::Timestamp;
use crate::wire::option::code;

impl Promise {
    /// A lease to be stored that no client waits for.
    fn without_reply(lease: Lease, record: Record) -> Promise {
        Promise { lease, ended: Vec::new(), reply: None, fallback: None, record }
    }

    /// The number of leases that the promise stores.
    fn leases(&self) -> usize {
        self.ended.len() + 1
    }
}

impl Engine {
    /// Number of further leases that may wait to be stored.
    pub fn room(&self) -> usize {
        MAX_WAITING.saturating_sub(self.waiting)
    }

    /// Promises a lease, and the end of the client's other leases, by a reply that is sent when they are stored.
    pub(super) fn grant(
        &mut self,
        (lease, ended): (Lease, Vec<Lease>),
        (reply, record): (OutgoingReply, Record),
        request: &Request<'_>,
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        let (fallback, until) = self.fallback_reply(request, &lease, &record, now).unzip();
        let promise = Promise { lease, ended, reply: Some(reply), fallback, record };
        self.promise(promise, until, outside.machines, out);
    }

    /// Stores a lease that no reply promises. If another machine was found at the address, the address gets a strike.
    pub(super) fn store_quietly(
        &mut self,
        lease: Lease,
        record: Record,
        outside: Outside<'_>,
        out: &mut Effects,
    ) {
        let address = lease.address;
        let is_strike = matches!(record.event, Event::Conflict { .. } | Event::Declined { by: Some(_), .. });
        self.promise(Promise::without_reply(lease, record), None, outside.machines, out);
        if is_strike {
            self.book.count_conflict(address);
        }
    }

    /// Applies the change to the book at once, so that the next decision sees it, and requests that it be stored. The
    /// fallback reply states the lease until `guaranteed`.
    fn promise(
        &mut self,
        mut promise: Promise,
        guaranteed: Option<Timestamp>,
        machines: &dyn AddressObserver,
        out: &mut Effects,
    ) {
        if self.room() < promise.leases() {
            return match promise.fallback {
                // This reply needs no write.
                Some(fallback) => {
                    let FallbackReply { reply, record } = *fallback;
                    out.push_back(Effect::Send { reply, wait: Duration::ZERO, record });
                }
                None => out.push_back(Effect::Record(promise.record.dropped(DropReason::Overload))),
            };
        }
        let lease = promise.lease.clone();
        promise.ended.iter().for_each(|ended| machines.observe_release(ended));
        // If the lease passes from one network card of a machine to another, the former card does not use it any more.
        let passes = |b: &&Binding| b.state == State::Leased && !b.holder.is_same_machine(&lease.holder);
        let card = self.book.binding(lease.address).filter(passes);
        if let Some(binding) = card {
            let former = Lease { holder: binding.holder.clone(), state: State::Released, ..lease.clone() };
            machines.observe_release(&former);
        }
        self.book.apply(&match promise.ended.is_empty() {
            true => LeaseChange::Store(lease),
            false => LeaseChange::Replace { lease, ended: promise.ended.clone() },
        });
        // Once a booting stage had the address, that remains recorded, also on disk.
        promise.lease.holder.is_boot_stage =
            self.book.binding(promise.lease.address).is_some_and(|b| b.holder.is_boot_stage);
        promise.ended.iter().for_each(|ended| drop(self.guaranteed.remove(&ended.address)));
        self.guarantee(&promise.lease, guaranteed);
        self.waiting += promise.leases();
        out.push_back(Effect::Store(promise));
    }

    /// The reply to send if `lease` cannot be stored, or not in time, and the time until which it promises the lease.
    fn fallback_reply(
        &self,
        request: &Request<'_>,
        lease: &Lease,
        record: &Record,
        now: Timestamp,
    ) -> Option<(Box<FallbackReply>, Timestamp)> {
        let is_own = |holder: &Holder| holder.is_same_machine(&request.holder);
        let guaranteed = || self.guaranteed.get(&lease.address).filter(|(holder, _)| is_own(holder));
        let stored = self.book.binding(lease.address)?.stored_until();
        let until = stored.or_else(|| guaranteed().map(|(_, until)| *until))?;
        let facts = (&self.book, &*self.settings);
        match rest_of_lease(until, request, lease.address, facts, now)? {
            Decision::Answer { reply, route, event, .. } => {
                let time = Duration::from_secs(reply.options.u32(code::LEASE_TIME)?.into());
                let reply = OutgoingReply { message: reply, route, server: source_of_reply(request) };
                let record = Record { event, ..record.clone() };
                Some((Box::new(FallbackReply { reply, record }), now.after(time)))
            }
            _ => None,
        }
    }

    /// Records the time until which `lease` is stored, even if this change of it is not stored.
    fn guarantee(&mut self, lease: &Lease, until: Option<Timestamp>) {
        match until.filter(|_| lease.state == State::Leased) {
            Some(until) => drop(self.guaranteed.insert(lease.address, (lease.holder.clone(), until))),
            // This change revokes the time that was guaranteed.
            None => drop(self.guaranteed.remove(&lease.address)),
        }
    }

    /// Releases `lease` at the request of an administrator. The caller stores it and reports the outcome to
    /// [`Engine::stored`]. Returns false, without any effect, if too many leases wait to be stored.
    pub fn release(&mut self, lease: &Lease, machines: &dyn AddressObserver) -> bool {
        if self.room() == 0 {
            return false;
        }
        machines.observe_release(lease);
        self.book.apply(&LeaseChange::Store(lease.clone()));
        self.guarantee(lease, None);
        self.waiting += 1;
        true
    }

    /// Applies the outcome of storing some leases.
    pub fn stored(&mut self, outcome: &Outcome, now: Timestamp) {
        self.waiting = self.waiting.saturating_sub(outcome.leases.len());
        for lease in &outcome.leases {
            if outcome.stored {
                self.book.stored(lease, now);
            } else {
                self.book.not_stored(lease, now);
            }
        }
        for lease in &outcome.leases {
            if self.book.binding(lease.address).is_none_or(|binding| binding.pending == 0) {
                self.guaranteed.remove(&lease.address);
            }
        }
    }
}
