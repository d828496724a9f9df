//! The connections that are open: how many there may be in all and of one address, and which one gives way when there
//! are as many as there may be.

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In all.
    pub all: usize,
    /// From one address, so that one client cannot have them all; many machines may stand behind one (NAT).
    pub of_one: usize,
    /// Further ones whose request is read, so that its answer, 503, is read too.
    pub turned_away: usize,
    /// Those from one address.
    pub turned_away_of_one: usize,
    /// How long a client may take nothing of an answer until its connection may give way to another one.
    pub stalled: Duration,
}

impl Limits {
    /// The numbers that the server uses where the configuration says nothing. An answer is written in pieces of 64 KiB,
    /// so a client that takes less than 2 KiB/s may seem to take nothing for 30 s.
    pub const DEFAULT: Limits = Limits {
        all: 8192,
        of_one: 1024,
        turned_away: 1024,
        turned_away_of_one: 256,
        stalled: Duration::from_secs(30),
    };
}

/// The connections of all listeners. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    /// The moment that times are counted from.
    began: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Entry>,
    by_address: HashMap<Ipv4Addr, usize>,
    /// Connections that nothing is sent on, by when that began (milliseconds) and their number.
    idle: BTreeSet<(u64, u64)>,
    /// Connections whose client took nothing for long when that was looked at last, the longest last.
    stalled: Vec<u64>,
    /// When (milliseconds) it may be looked for such connections again: each time costs a look at all of them.
    next_look: u64,
}

#[derive(Debug)]
struct Entry {
    address: Ipv4Addr,
    idle_since: Option<u64>,
    signal: Arc<Signal>,
}

/// Shared by a connection and the table.
#[derive(Debug, Default)]
struct Signal {
    gives_way: AtomicBool,
    notify: Notify,
    /// When (milliseconds) the client last took something of an answer.
    progress: AtomicU64,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Connections,
    number: u64,
    signal: Arc<Signal>,
}

/// Time between two looks for clients that take nothing, in milliseconds.
const LOOK: u64 = 100;

impl Connections {
    pub(super) fn new(limits: Limits) -> Connections {
        Connections(Arc::new(Inner { limits, began: Instant::now(), table: Mutex::default() }))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// A place for a connection from `address`. Where there is none in all, the connection that has been idle for
    /// longest gives way, or else the one whose client has taken nothing for longest. `None` if there is none either,
    /// or `address` has as many as one may have.
    pub(super) fn admit(&self, address: Ipv4Addr) -> Option<Seat> {
        let now = self.now();
        let Limits { all, of_one, stalled, .. } = self.0.limits;
        let mut table = self.table();
        if table.by_address.get(&address).is_some_and(|count| *count >= of_one) {
            return None;
        }
        if table.open.len() >= all && !table.make_room(now, stalled) {
            return None;
        }
        let number = table.next;
        table.next += 1;
        let signal = Arc::new(Signal { progress: AtomicU64::new(now), ..Signal::default() });
        table.open.insert(number, Entry { address, idle_since: Some(now), signal: Arc::clone(&signal) });
        table.idle.insert((now, number));
        *table.by_address.entry(address).or_default() += 1;
        Some(Seat { connections: self.clone(), number, signal })
    }

    /// Has a connection give way, because there is no descriptor left. Whether one does.
    pub(super) fn make_room(&self) -> bool {
        let now = self.now();
        self.table().make_room(now, self.0.limits.stalled)
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.table().open.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Table {
    fn make_room(&mut self, now: u64, stalled: Duration) -> bool {
        if let Some((_, number)) = self.idle.first().copied() {
            self.give_way(number);
            return true;
        }
        let since = now.saturating_sub(u64::try_from(stalled.as_millis()).unwrap_or(u64::MAX));
        if self.stalled.is_empty() && now >= self.next_look {
            self.next_look = now.saturating_add(LOOK);
            let progress = |entry: &Entry| entry.signal.progress.load(Ordering::Relaxed);
            let mut found: Vec<(u64, u64)> =
                self.open.iter().map(|(number, entry)| (progress(entry), *number)).collect();
            found.retain(|(progress, _)| *progress < since);
            found.sort_unstable_by(|a, b| b.cmp(a));
            self.stalled = found.into_iter().map(|(_, number)| number).collect();
        }
        while let Some(number) = self.stalled.pop() {
            let is_stalled = self
                .open
                .get(&number)
                .is_some_and(|entry| entry.signal.progress.load(Ordering::Relaxed) < since);
            if is_stalled {
                self.give_way(number);
                return true;
            }
        }
        false
    }

    fn give_way(&mut self, number: u64) {
        if let Some(signal) = self.open.get(&number).map(|entry| Arc::clone(&entry.signal)) {
            self.remove(number);
            signal.gives_way.store(true, Ordering::Release);
            signal.notify.notify_one();
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.open.remove(&number) else { return };
        if let Some(since) = entry.idle_since {
            self.idle.remove(&(since, number));
        }
        if let Some(count) = self.by_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.address);
            }
        }
    }
}

impl Seat {
    /// From now on nothing is sent: a request is waited for, or the end of the connection.
    pub(super) fn is_idle(&self) {
        let now = self.connections.now();
        self.set(Some(now));
    }

    /// From now on a request is answered.
    pub(super) fn is_busy(&self) {
        self.has_progress();
        self.set(None);
    }

    /// The client took something of the answer.
    pub(super) fn has_progress(&self) {
        self.signal.progress.store(self.connections.now(), Ordering::Relaxed);
    }

    /// Completes when the connection is to end, because another one needs its place.
    pub(super) async fn gives_way(&self) {
        if self.signal.gives_way.load(Ordering::Acquire) {
            return;
        }
        self.signal.notify.notified().await;
        if !self.signal.gives_way.load(Ordering::Acquire) {
            pending::<()>().await;
        }
    }

    fn set(&self, idle_since: Option<u64>) {
        let mut table = self.connections.table();
        // One that gives way is not in the table any more.
        let Some(entry) = table.open.get_mut(&self.number) else { return };
        let before = std::mem::replace(&mut entry.idle_since, idle_since);
        if let Some(since) = before {
            table.idle.remove(&(since, self.number));
        }
        if let Some(since) = idle_since {
            table.idle.insert((since, self.number));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.table().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(all: usize, of_one: usize) -> Connections {
        Connections::new(Limits { all, of_one, stalled: Duration::from_millis(50), ..Limits::DEFAULT })
    }

    fn address(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a00_0000 + n)
    }

    fn gave_way(seat: &Seat) -> bool {
        seat.signal.gives_way.load(Ordering::Acquire)
    }

    #[test]
    fn r_10_one_client_gets_1024_connections_and_all_get_8192() {
        let connections = Connections::new(Limits::DEFAULT);
        let take = |n| connections.admit(address(n));
        let mut seats: Vec<Seat> = (0..1024).map(|_| take(7).unwrap()).collect();
        assert!(take(7).is_none(), "also while the others are idle");
        seats.pop();
        seats.push(take(7).unwrap());
        seats.extend((1024..8192).map(|n| take(1000 + n / 1024).unwrap()));
        assert_eq!((connections.count(), seats.iter().any(gave_way)), (8192, false));
        seats.push(take(1).unwrap());
        assert_eq!((connections.count(), seats.iter().filter(|seat| gave_way(seat)).count()), (8192, 1));
        seats.clear();
        let table = connections.table();
        assert!(table.by_address.is_empty() && table.open.is_empty() && table.idle.is_empty());
    }

    #[test]
    fn s_09_the_longest_idle_gives_way_and_none_that_is_answered() {
        let connections = connections(3, 3);
        let seats: Vec<Seat> = (0..3)
            .map(|n| {
                std::thread::sleep(Duration::from_millis(2));
                connections.admit(address(n)).unwrap()
            })
            .collect();
        seats[0].is_busy();
        let fourth = connections.admit(address(9)).unwrap();
        assert_eq!(seats.iter().map(gave_way).collect::<Vec<_>>(), [false, true, false]);
        // A request was answered, so it is idle for less long than the fourth.
        std::thread::sleep(Duration::from_millis(2));
        seats[2].is_busy();
        seats[2].is_idle();
        let fifth = connections.admit(address(9)).unwrap();
        assert!(gave_way(&fourth) && !gave_way(&seats[2]));
        for seat in [&seats[0], &seats[2], &fifth] {
            seat.is_busy();
        }
        assert!(connections.admit(address(9)).is_none(), "all are being answered");
        drop(seats);
        assert_eq!(connections.count(), 1);
    }

    #[test]
    fn s_09_a_client_that_takes_nothing_of_its_answer_gives_way_and_a_slow_one_does_not() {
        let connections = connections(2, 2);
        let (stuck, slow) = (connections.admit(address(1)).unwrap(), connections.admit(address(2)).unwrap());
        stuck.is_busy();
        slow.is_busy();
        assert!(connections.admit(address(3)).is_none());
        std::thread::sleep(Duration::from_millis(150));
        slow.has_progress();
        let third = connections.admit(address(3)).unwrap();
        assert!(gave_way(&stuck) && !gave_way(&slow));
        third.is_busy();
        assert!(connections.admit(address(4)).is_none());
    }
}
