//! Limits the number of open connections in total and per client address, and chooses the connection that is evicted at
//! the limit. Each connection of `http` holds a slot.

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::types::limit_key;

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In total.
    pub all: usize,
    /// From one address, so that one client cannot take all. Many machines may share an address (NAT).
    pub of_one: usize,
    /// Additional connections that only get 503. Their request is read, so that the client reads the response.
    pub refused: usize,
    /// Such connections from one address.
    pub refused_per_client: usize,
    /// A client that took nothing of a response for this time may be evicted.
    pub stalled: Duration,
}

impl Limits {
    /// The limits without configuration. A response is written in pieces of 64 KiB, so a client that takes less than 2
    /// KiB/s may seem to take nothing for 30 s.
    pub const DEFAULT: Limits = Limits {
        all: 8192,
        of_one: 1024,
        refused: 1024,
        refused_per_client: 256,
        stalled: Duration::from_secs(30),
    };
}

/// The connections of all listeners. Cheap to clone; clones share the table.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    /// The current [`Limits::of_one`], which a reload changes.
    of_one: AtomicUsize,
    /// The zero point of all times.
    began: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
    /// Idle connections, by the time in milliseconds when they became idle, and their number.
    idle: BTreeSet<(u64, u64)>,
    /// The stalled connections that the last scan found, the longest stalled last.
    stalled: Vec<u64>,
    /// The earliest time in milliseconds of the next scan, which visits all connections.
    next_scan: u64,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    idle_since: Option<u64>,
    signal: Arc<Signal>,
}

/// The state that a connection shares with the table.
#[derive(Debug, Default)]
struct Signal {
    evicted: AtomicBool,
    notify: Notify,
    /// The time in milliseconds when the client last took a part of a response.
    progress: AtomicU64,
}

/// A connection's entry in the table; it is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    connections: Connections,
    number: u64,
    signal: Arc<Signal>,
}

/// Minimum time between two scans for stalled connections, in milliseconds.
const SCAN_INTERVAL: u64 = 100;

impl Connections {
    pub(super) fn new(limits: Limits) -> Connections {
        let of_one = AtomicUsize::new(limits.of_one);
        Connections(Arc::new(Inner { limits, of_one, began: Instant::now(), table: Mutex::default() }))
    }

    /// Changes the maximum number of connections per client address. Open connections stay.
    pub(super) fn set_limit_of_one(&self, of_one: u32) {
        self.0.of_one.store(usize::try_from(of_one).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Registers a connection from `address`. At the total limit, the longest idle connection is evicted, otherwise the
    /// longest stalled one. `None` if there is none of either, or if `address` has reached its limit.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Slot> {
        let address = limit_key(address);
        let now = self.now();
        let Limits { all, stalled, .. } = self.0.limits;
        let of_one = self.0.of_one.load(Ordering::Relaxed);
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
        Some(Slot { connections: self.clone(), number, signal })
    }

    /// Evicts a connection because no descriptor is left. Returns whether there was one to evict.
    pub(super) fn make_room(&self) -> bool {
        let now = self.now();
        self.table().make_room(now, self.0.limits.stalled)
    }

    /// The number of open connections.
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
            self.evict(number);
            return true;
        }
        let since = now.saturating_sub(u64::try_from(stalled.as_millis()).unwrap_or(u64::MAX));
        if self.stalled.is_empty() && now >= self.next_scan {
            self.next_scan = now.saturating_add(SCAN_INTERVAL);
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
                self.evict(number);
                return true;
            }
        }
        false
    }

    fn evict(&mut self, number: u64) {
        if let Some(signal) = self.open.get(&number).map(|entry| Arc::clone(&entry.signal)) {
            self.remove(number);
            signal.evicted.store(true, Ordering::Release);
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

impl Slot {
    /// Marks the connection as idle: it waits for a request, or for its end.
    pub(super) fn mark_idle(&self) {
        let now = self.connections.now();
        self.set(Some(now));
    }

    /// Marks the connection as busy with a response.
    pub(super) fn mark_busy(&self) {
        self.note_progress();
        self.set(None);
    }

    /// Records that the client took a part of the response.
    pub(super) fn note_progress(&self) {
        self.signal.progress.store(self.connections.now(), Ordering::Relaxed);
    }

    /// Completes when the connection is evicted.
    pub(super) async fn evicted(&self) {
        if self.signal.evicted.load(Ordering::Acquire) {
            return;
        }
        self.signal.notify.notified().await;
        if !self.signal.evicted.load(Ordering::Acquire) {
            pending::<()>().await;
        }
    }

    fn set(&self, idle_since: Option<u64>) {
        let mut table = self.connections.table();
        // An evicted connection is not in the table any more.
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

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.table().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn connections(all: usize, of_one: usize) -> Connections {
        Connections::new(Limits { all, of_one, stalled: Duration::from_millis(50), ..Limits::DEFAULT })
    }

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn was_evicted(slot: &Slot) -> bool {
        slot.signal.evicted.load(Ordering::Acquire)
    }

    #[test]
    fn r_10_one_client_gets_1024_connections_and_all_get_8192() {
        let connections = Connections::new(Limits::DEFAULT);
        let take = |n| connections.admit(address(n));
        let mut slots: Vec<Slot> = (0..1024).map(|_| take(7).unwrap()).collect();
        assert!(take(7).is_none(), "even if the others are idle");
        slots.pop();
        slots.push(take(7).unwrap());
        slots.extend((1024..8192).map(|n| take(1000 + n / 1024).unwrap()));
        assert_eq!((connections.count(), slots.iter().any(was_evicted)), (8192, false));
        slots.push(take(1).unwrap());
        assert_eq!((connections.count(), slots.iter().filter(|slot| was_evicted(slot)).count()), (8192, 1));
        slots.clear();
        let table = connections.table();
        assert!(table.by_address.is_empty() && table.open.is_empty() && table.idle.is_empty());
    }

    #[test]
    fn s_09_the_longest_idle_connection_is_evicted() {
        let connections = connections(3, 3);
        let slots: Vec<Slot> = (0..3)
            .map(|n| {
                std::thread::sleep(Duration::from_millis(2));
                connections.admit(address(n)).unwrap()
            })
            .collect();
        slots[0].mark_busy();
        let fourth = connections.admit(address(9)).unwrap();
        assert_eq!(slots.iter().map(was_evicted).collect::<Vec<_>>(), [false, true, false]);
        // It answered a request, so the fourth has been idle for longer.
        std::thread::sleep(Duration::from_millis(2));
        slots[2].mark_busy();
        slots[2].mark_idle();
        let fifth = connections.admit(address(9)).unwrap();
        assert!(was_evicted(&fourth) && !was_evicted(&slots[2]));
        for slot in [&slots[0], &slots[2], &fifth] {
            slot.mark_busy();
        }
        assert!(connections.admit(address(9)).is_none(), "all are busy");
        drop(slots);
        assert_eq!(connections.count(), 1);
    }

    #[test]
    fn s_09_stalled_clients_are_evicted_but_slow_ones_are_not() {
        let connections = connections(2, 2);
        let (stuck, slow) = (connections.admit(address(1)).unwrap(), connections.admit(address(2)).unwrap());
        stuck.mark_busy();
        slow.mark_busy();
        assert!(connections.admit(address(3)).is_none());
        std::thread::sleep(Duration::from_millis(150));
        slow.note_progress();
        let third = connections.admit(address(3)).unwrap();
        assert!(was_evicted(&stuck) && !was_evicted(&slow));
        third.mark_busy();
        assert!(connections.admit(address(4)).is_none());
    }
}
