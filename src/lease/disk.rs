//! Updates the book after a lease was stored or could not be stored, and tracks leases in the store that have ended.

use crate::lease::binding::{Binding, Lease, State};
use crate::lease::book::{LeaseBook, OFFER_HOLD};
use crate::types::Timestamp;

/// The maximum number of ended leases remembered that the store still has as valid. Each new lease searches them.
/// Beyond this number, an ended lease may be valid again after a restart, until it ends.
const MAX_LEFT_OVER: usize = 256;

impl LeaseBook {
    /// Begins to end a lease: it ends once that is on stable storage. Until then its client keeps it and no other
    /// client gets the address.
    pub(super) fn begin_ending(&mut self, lease: &Lease) {
        if let Some(binding) = self.bindings.get_mut(&lease.address) {
            binding.pending = binding.pending.saturating_add(1);
            binding.ending |= binding.holder.is_same_machine(&lease.holder);
        }
    }

    /// Whether the store has exactly `lease`, and no change that waits to be stored concerns its address. A client of
    /// another type than Ethernet is never found, because the book does not have its hardware address.
    pub fn has_stored(&self, lease: &Lease) -> bool {
        let address = &lease.address;
        let is_same = |binding: &Binding| {
            let (old, new) = (&binding.holder, &lease.holder);
            let is_same_holder = old.client == new.client && old.mac == new.mac && new.mac.is_some();
            is_same_holder && (old.is_boot_stage || !new.is_boot_stage)
        };
        self.bindings.get(address).is_some_and(|binding| {
            let ends_then = binding.stored_until() == Some(lease.until) && binding.until == lease.until;
            is_same(binding) && ends_then && !binding.ending && binding.conflicts == 0
        }) && !self.left_over.contains_key(address)
            && !self.sent_ids.contains_key(address)
    }

    /// Records that the lease of `address` in the store has ended in memory only.
    pub(super) fn record_left_over(&mut self, lease: Lease) {
        if self.left_over.len() < MAX_LEFT_OVER {
            self.left_over.insert(lease.address, lease);
        }
    }

    /// Reports that `lease` is on stable storage. Either this or [`LeaseBook::not_stored`] is called once per applied
    /// lease, in the order in which they were applied.
    pub fn stored(&mut self, lease: &Lease, now: Timestamp) {
        self.displaced.remove(&lease.address);
        self.left_over.remove(&lease.address);
        self.sent_ids.remove(&lease.address);
        if self.set_aside.contains_key(&lease.address) {
            return self.update_set_aside(lease, true);
        }
        let Some(binding) = self.bindings.get_mut(&lease.address) else { return };
        binding.pending = binding.pending.saturating_sub(1);
        let is_same = binding.holder.is_same_machine(&lease.holder);
        if lease.state == State::Leased && !(is_same && binding.state == State::Leased) {
            // The client released or declined the lease while it waited for the store.
            self.record_left_over(lease.released(Timestamp(0)));
        }
        let Some(binding) = self.bindings.get_mut(&lease.address).filter(|_| is_same) else { return };
        let is_lease = lease.state == State::Leased;
        binding.stored = is_lease.then_some(lease.until);
        if lease.state == State::Released && binding.ending && binding.pending == 0 {
            let binding =
                Binding { state: State::Released, until: lease.until, ending: false, ..binding.clone() };
            self.put(lease.address, binding);
        } else if is_lease && binding.state == State::Leased && binding.pending == 0 {
            // The client may have got another offer of it meanwhile.
            let until = lease.until.max(binding.until.min(now.after(OFFER_HOLD)));
            if until != binding.until {
                let binding = Binding { until, ..binding.clone() };
                self.put(lease.address, binding);
            }
        }
    }

    /// Reports that `lease` could not be stored. The book falls back to the lease in the store, or to an offer if there
    /// is none. It changes nothing while a later change of the address waits, because that one may already be stored
    /// and answered.
    pub fn not_stored(&mut self, lease: &Lease, now: Timestamp) {
        if self.set_aside.contains_key(&lease.address) {
            return self.update_set_aside(lease, false);
        }
        let Some(binding) = self.bindings.get_mut(&lease.address) else { return };
        binding.pending = binding.pending.saturating_sub(1);
        if binding.pending == 0
            && let Some(displaced) = self.displaced.remove(&lease.address)
        {
            // The disk still has the lease that is valid again, and nothing of the other one.
            self.left_over.remove(&lease.address);
            return self.put(lease.address, displaced);
        }
        let Some(binding) = self.bindings.get(&lease.address) else { return };
        // Another client may have the address by now, also not stored. The store still has it as this client's.
        let is_on_disk = binding.stored.is_some() || !binding.holder.is_same_machine(&lease.holder);
        if lease.state != State::Leased && !binding.ending && is_on_disk {
            self.record_left_over(lease.clone());
        }
        let Some(binding) = self.bindings.get(&lease.address) else { return };
        // A release or a decline promises nothing to a client, so it stays valid in memory whatever the store has.
        let is_leased = binding.holder.is_same_machine(&lease.holder) && binding.state == State::Leased;
        if binding.pending > 0 || !is_leased {
            return;
        }
        // The client may have got another offer of it meanwhile.
        let hold = now.after(OFFER_HOLD);
        let (state, until) = match binding.stored {
            Some(until) => (State::Leased, until.max(hold)),
            None => (State::Offered, hold),
        };
        let binding = Binding { state, until, ending: false, ..binding.clone() };
        self.put(lease.address, binding);
    }
}
