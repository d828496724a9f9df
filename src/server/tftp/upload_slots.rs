//! Limits the number of concurrent uploads over TFTP, in total and per client. `upload.rs` takes a slot for each upload
//! until the file is stored.

use std::net::{IpAddr, Shutdown, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::types::limit_key;

/// Maximum number of concurrent uploads.
pub const MAX_UPLOADS: usize = 16;
/// Maximum number of concurrent uploads of one client address.
pub const MAX_OF_ONE: usize = 4;
/// A client that sent at least one block may be evicted after this time without another one.
const SILENT: Duration = Duration::from_secs(3);

/// The slots. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadSlots(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    address: IpAddr,
    began: Instant,
    /// The time of the last new block; `None` before the first one, when the address may be forged.
    last_block: Option<Instant>,
    is_evicted: Arc<AtomicBool>,
    /// Shutting it down wakes the upload's thread.
    socket: Option<UdpSocket>,
}

/// The slot of one upload; it is returned when dropped.
#[derive(Debug)]
pub(super) struct UploadSlot {
    slots: UploadSlots,
    number: u64,
    is_evicted: Arc<AtomicBool>,
}

impl UploadSlots {
    /// Takes a slot for an upload of `address`. At a limit an upload is evicted: the oldest without a block, otherwise
    /// the longest silent one. `None` if all make progress.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Option<UploadSlot> {
        let address = limit_key(address);
        let mut state = self.state();
        let of_one = state.entries.iter().filter(|entries| entries.address == address).count();
        if of_one >= MAX_OF_ONE {
            state.make_room(now, |entries| entries.address == address)?;
        } else if state.entries.len() >= MAX_UPLOADS {
            state.make_room(now, |_| true)?;
        }
        let number = state.next;
        state.next += 1;
        let is_evicted = Arc::new(AtomicBool::new(false));
        state.entries.push(Entry {
            number,
            address,
            began: now,
            last_block: None,
            is_evicted: Arc::clone(&is_evicted),
            socket: None,
        });
        Some(UploadSlot { slots: self.clone(), number, is_evicted })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self, now: Instant, wanted: impl Fn(&Entry) -> bool) -> Option<()> {
        let may_be_evicted = |entries: &Entry| {
            entries.last_block.is_none_or(|last_block| now.duration_since(last_block) >= SILENT)
        };
        let candidates =
            self.entries.iter().enumerate().filter(|(_, entries)| wanted(entries) && may_be_evicted(entries));
        let first = candidates.min_by_key(|(_, entries)| (entries.last_block, entries.began, entries.number));
        let entries = self.entries.swap_remove(first.map(|(index, _)| index)?);
        entries.is_evicted.store(true, Ordering::Release);
        if let Some(socket) = &entries.socket {
            // The shutdown wakes the thread that waits for a packet there.
            let _ = SockRef::from(socket).shutdown(Shutdown::Both);
        }
        Some(())
    }
}

impl UploadSlot {
    /// Sets the socket at which the upload waits for packets.
    pub(super) fn set_socket(&self, socket: &UdpSocket) {
        self.with(|entries| entries.socket = socket.try_clone().ok());
    }

    /// Records that a new block arrived.
    pub(super) fn record_block(&self, now: Instant) {
        self.with(|entries| entries.last_block = Some(now));
    }

    /// Whether another upload has taken the slot.
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Acquire)
    }

    fn with(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entries) =
            self.slots.state().entries.iter_mut().find(|entries| entries.number == self.number)
        {
            change(entries);
        }
    }
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        self.slots.state().entries.retain(|entries| entries.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl UploadSlots {
        /// The number of slots in use.
        pub(in crate::server) fn count(&self) -> usize {
            self.state().entries.len()
        }
    }

    fn address(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    #[test]
    fn s_11_forged_requests_are_evicted_before_active_uploads() {
        let (slots, now) = (UploadSlots::default(), Instant::now());
        let honest = slots.take(address(1), now).unwrap();
        honest.record_block(now);
        let forged: Vec<UploadSlot> = (2..17).map(|n| slots.take(address(n), now).unwrap()).collect();
        assert_eq!(slots.count(), MAX_UPLOADS);
        let next = slots.take(address(99), now).unwrap();
        assert!(forged[0].is_evicted() && !forged[1].is_evicted() && !honest.is_evicted());
        next.record_block(now);
        forged[1..].iter().for_each(|slot| slot.record_block(now));
        assert!(slots.take(address(98), now).is_none(), "all get on");
        honest.record_block(now + Duration::from_secs(2));
        let later = now + SILENT;
        assert!(slots.take(address(98), later).is_some());
        assert!(forged[1].is_evicted() && !honest.is_evicted(), "the longest silent");
        drop((honest, next, forged));
        assert_eq!(slots.count(), 0);
    }

    #[test]
    fn s_11_a_client_has_four_slots() {
        let (slots, now) = (UploadSlots::default(), Instant::now());
        let mine: Vec<UploadSlot> = (0..4).map(|_| slots.take(address(1), now).unwrap()).collect();
        mine.iter().for_each(|slot| slot.record_block(now));
        assert!(slots.take(address(1), now).is_none());
        assert!(slots.take(address(2), now).is_some());
        drop(mine);
        assert!(slots.take(address(1), now).is_some());
    }
}
