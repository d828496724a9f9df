//! Places for uploads over TFTP: few in all, and a share of them for each client. An upload that is stored has none.
//! Used by `tftp_upload.rs`.

use std::net::{Ipv4Addr, Shutdown, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Uploads at once.
pub const MAX_UPLOADS: usize = 16;
/// Uploads at once of one client address.
pub const MAX_OF_ONE: usize = 4;
/// How long a client that sent something must be silent until its upload may give way to another one.
const SILENT: Duration = Duration::from_secs(3);

/// The places. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    address: Ipv4Addr,
    began: Instant,
    /// When a new block came last; `None` before the first, when the address may be forged.
    heard: Option<Instant>,
    gives_way: Arc<AtomicBool>,
    /// To wake the thread that waits for it.
    socket: Option<UdpSocket>,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
    gives_way: Arc<AtomicBool>,
}

impl Places {
    /// A place for an upload of `address`. Where it has its share, or all are taken, an upload gives way: the oldest
    /// that nothing has come of, or else the longest silent. `None` if all get on.
    pub(super) fn take(&self, address: Ipv4Addr, now: Instant) -> Option<Place> {
        let mut state = self.state();
        let of_one = state.taken.iter().filter(|taken| taken.address == address).count();
        if of_one >= MAX_OF_ONE {
            state.make_room(now, |taken| taken.address == address)?;
        } else if state.taken.len() >= MAX_UPLOADS {
            state.make_room(now, |_| true)?;
        }
        let number = state.next;
        state.next += 1;
        let gives_way = Arc::new(AtomicBool::new(false));
        state.taken.push(Taken {
            number,
            address,
            began: now,
            heard: None,
            gives_way: Arc::clone(&gives_way),
            socket: None,
        });
        Some(Place { places: self.clone(), number, gives_way })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self, now: Instant, wanted: impl Fn(&Taken) -> bool) -> Option<()> {
        let may_go = |taken: &Taken| taken.heard.is_none_or(|heard| now.duration_since(heard) >= SILENT);
        let candidates = self.taken.iter().enumerate().filter(|(_, taken)| wanted(taken) && may_go(taken));
        let first = candidates.min_by_key(|(_, taken)| (taken.heard, taken.began, taken.number));
        let taken = self.taken.swap_remove(first.map(|(index, _)| index)?);
        taken.gives_way.store(true, Ordering::Release);
        if let Some(socket) = &taken.socket {
            // The thread that waits for a packet there is woken by that.
            let _ = SockRef::from(socket).shutdown(Shutdown::Both);
        }
        Some(())
    }
}

impl Place {
    /// The upload waits for packets at `socket`.
    pub(super) fn waits_at(&self, socket: &UdpSocket) {
        self.with(|taken| taken.socket = socket.try_clone().ok());
    }

    /// A new block came.
    pub(super) fn heard(&self, now: Instant) {
        self.with(|taken| taken.heard = Some(now));
    }

    /// Whether another upload has got the place.
    pub(super) fn gives_way(&self) -> bool {
        self.gives_way.load(Ordering::Acquire)
    }

    fn with(&self, change: impl FnOnce(&mut Taken)) {
        if let Some(taken) = self.places.state().taken.iter_mut().find(|taken| taken.number == self.number) {
            change(taken);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.state().taken.retain(|taken| taken.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Places {
        /// How many are taken.
        pub(in crate::server) fn count(&self) -> usize {
            self.state().taken.len()
        }
    }

    fn address(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, n)
    }

    #[test]
    fn s_11_forged_requests_give_way_and_what_gets_on_does_not() {
        let (places, now) = (Places::default(), Instant::now());
        let honest = places.take(address(1), now).unwrap();
        honest.heard(now);
        let forged: Vec<Place> = (2..17).map(|n| places.take(address(n), now).unwrap()).collect();
        assert_eq!(places.count(), MAX_UPLOADS);
        let next = places.take(address(99), now).unwrap();
        assert!(forged[0].gives_way() && !forged[1].gives_way() && !honest.gives_way());
        next.heard(now);
        forged[1..].iter().for_each(|place| place.heard(now));
        assert!(places.take(address(98), now).is_none(), "all get on");
        honest.heard(now + Duration::from_secs(2));
        let later = now + SILENT;
        assert!(places.take(address(98), later).is_some());
        assert!(forged[1].gives_way() && !honest.gives_way(), "the longest silent");
        drop((honest, next, forged));
        assert_eq!(places.count(), 0);
    }

    #[test]
    fn s_11_a_client_has_four_places() {
        let (places, now) = (Places::default(), Instant::now());
        let mine: Vec<Place> = (0..4).map(|_| places.take(address(1), now).unwrap()).collect();
        mine.iter().for_each(|place| place.heard(now));
        assert!(places.take(address(1), now).is_none());
        assert!(places.take(address(2), now).is_some());
        drop(mine);
        assert!(places.take(address(1), now).is_some());
    }
}
