//! What the book makes of the reports about stable storage, and of leases there that it knows to be over.

use crate::lease::binding::{Binding, Lease, State};
use crate::lease::book::{LeaseBook, OFFER_HOLD};
use crate::types::Timestamp;

/// Leases remembered at most that are over but not on stable storage: they are searched for each new lease. Beyond that a
/// lease that is over may be valid again after a restart, until it ends.
const MAX_LEFT_OVER: usize = 256;

impl LeaseBook {
    /// A lease that is over once that is on stable storage. Until then its client has it, and no other gets the address.
    pub(super) fn begin_to_end(&mut self, lease: &Lease) {
        if let Some(binding) = self.bindings.get_mut(&lease.address) {
            binding.pending = binding.pending.saturating_add(1);
            binding.ending |= binding.holder.is(&lease.holder);
        }
    }

    /// Remembers that what is stored of `address` is over, although that is not stored.
    pub(super) fn leave_over(&mut self, lease: Lease) {
        if self.left_over.len() < MAX_LEFT_OVER {
            self.left_over.insert(lease.address, lease);
        }
    }

    /// `lease` is on stable storage now. Said once for each lease that was applied, as is the opposite, in their order.
    pub fn stored(&mut self, lease: &Lease, now: Timestamp) {
        self.displaced.remove(&lease.address);
        self.left_over.remove(&lease.address);
        let Some(binding) = self.bindings.get_mut(&lease.address) else { return };
        binding.pending = binding.pending.saturating_sub(1);
        let is_same = binding.holder.is(&lease.holder);
        if lease.state == State::Leased && !(is_same && binding.state == State::Leased) {
            // The client gave it back, or declined it, while it was on its way.
            self.leave_over(lease.released(Timestamp(0)));
        }
        let Some(binding) = self.bindings.get_mut(&lease.address).filter(|_| is_same) else { return };
        let is_lease = lease.state == State::Leased;
        binding.stored = is_lease.then_some(lease.until);
        if lease.state == State::Released && binding.ending && binding.pending == 0 {
            let binding =
                Binding { state: State::Released, until: lease.until, ending: false, ..binding.clone() };
            self.put(lease.address, binding);
        } else if is_lease && binding.state == State::Leased && binding.pending == 0 {
            // The client may have been offered it again meanwhile.
            let until = lease.until.max(binding.until.min(now.after(OFFER_HOLD)));
            if until != binding.until {
                let binding = Binding { until, ..binding.clone() };
                self.put(lease.address, binding);
            }
        }
    }

    /// `lease` could not be stored: the book falls back to what is on disk, or to an offer if nothing is. Not while a
    /// later change of that address is on its way: what that says may be stored, and answered, already.
    pub fn not_stored(&mut self, lease: &Lease, now: Timestamp) {
        let Some(binding) = self.bindings.get_mut(&lease.address) else { return };
        binding.pending = binding.pending.saturating_sub(1);
        if binding.pending == 0
            && let Some(displaced) = self.displaced.remove(&lease.address)
        {
            return self.put(lease.address, displaced);
        }
        let Some(binding) = self.bindings.get(&lease.address) else { return };
        // Another client may have the address by now, which is not stored either: the disk still says that it is this one's.
        let is_on_disk = binding.stored.is_some() || !binding.holder.is(&lease.holder);
        if lease.state != State::Leased && !binding.ending && is_on_disk {
            self.leave_over(lease.clone());
        }
        let Some(binding) = self.bindings.get(&lease.address) else { return };
        // A release or a decline promises no client anything: it stands in memory, whatever the disk says.
        let is_leased = binding.holder.is(&lease.holder) && binding.state == State::Leased;
        if binding.pending > 0 || !is_leased {
            return;
        }
        // The client may have been offered it again meanwhile.
        let hold = now.after(OFFER_HOLD);
        let (state, until) = match binding.stored {
            Some(until) => (State::Leased, until.max(hold)),
            None => (State::Offered, hold),
        };
        let binding = Binding { state, until, ending: false, ..binding.clone() };
        self.put(lease.address, binding);
    }
}
