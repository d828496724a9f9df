//! Streams of records for journeys, the API and the dashboard. [`Recorder`](super::Recorder) publishes; each
//! [`Subscriber`] has its own bounded queue. Publishing never waits for a reader.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::{Event, Record};
use crate::types::cut;

/// Maximum number of records in the queue of one subscriber, whatever it asks for. A record has about 200 bytes.
pub const MAX_QUEUED: usize = 65_536;

/// Number of records after which a block is full. The publisher allocates once per block instead of once per record.
const BLOCK: usize = 256;

/// Maximum length in bytes of a name off the wire in a published record. A client may ask for a name of many KB, and
/// the readers keep records.
const MAX_NAME: usize = 256;

/// Records that were published one after the other. All subscribers share them.
type Block = Arc<Vec<Record>>;

/// The subscribers of one recorder.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    shared: Arc<Mutex<Shared>>,
    /// The number of subscribers. Without any, publishing costs one read of it.
    count: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The newest records, which no queue has yet. A reader distributes them before it reads, and the publisher does so
    /// when there are [`BLOCK`] of them.
    fresh: Vec<Record>,
    queues: Vec<Queue>,
    /// The id of the next subscriber.
    next: u64,
}

/// The records that wait for one subscriber.
#[derive(Debug)]
struct Queue {
    id: u64,
    capacity: usize,
    waiting: Batch,
    /// Wakes the reader.
    arrived: Arc<Notify>,
}

/// Receives every record from its creation on, in order. A reader that is too slow loses the newest records; their
/// number is returned with the next batch. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscriber {
    id: u64,
    shared: Arc<Mutex<Shared>>,
    count: Arc<AtomicUsize>,
    arrived: Arc<Notify>,
}

/// Records that a subscriber received, oldest first.
#[derive(Debug, Default)]
pub struct Batch {
    /// Blocks, and the number of records of each that belong to the batch.
    blocks: Vec<(Block, usize)>,
    len: usize,
    /// The number of records that were lost after those, because the queue was full.
    pub lost: u64,
}

/// A record of a batch, which stays as long as it is needed.
#[derive(Clone, Debug)]
pub struct SharedRecord {
    block: Block,
    index: usize,
}

impl Subscribers {
    /// Adds a subscriber whose queue holds up to `capacity` records, at least one and at most [`MAX_QUEUED`].
    pub(super) fn add(&self, capacity: usize) -> Subscriber {
        let mut shared = lock(&self.shared);
        shared.distribute();
        let (id, arrived) = (shared.next, Arc::new(Notify::new()));
        shared.next += 1;
        let capacity = capacity.clamp(1, MAX_QUEUED);
        shared.queues.push(Queue { id, capacity, waiting: Batch::default(), arrived: Arc::clone(&arrived) });
        self.count.store(shared.queues.len(), Ordering::Relaxed);
        Subscriber { id, shared: Arc::clone(&self.shared), count: Arc::clone(&self.count), arrived }
    }

    pub(super) fn publish(&self, record: Record) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut shared = lock(&self.shared);
        shared.fresh.push(with_short_name(record));
        match shared.fresh.len() {
            // A reader that was woken for this one takes those that follow, too.
            1 => shared.queues.iter().for_each(|queue| queue.arrived.notify_one()),
            BLOCK => shared.distribute(),
            _ => {}
        }
    }
}

impl Shared {
    /// Adds the newest records to each queue.
    fn distribute(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let capacity = if self.fresh.len() == BLOCK { BLOCK } else { 0 };
        let mut fresh = std::mem::replace(&mut self.fresh, Vec::with_capacity(capacity));
        fresh.shrink_to_fit();
        let block = Arc::new(fresh);
        self.queues.iter_mut().for_each(|queue| queue.push(&block));
    }
}

impl Queue {
    /// Adds as many records as there is room for, and counts the others as lost.
    fn push(&mut self, block: &Block) {
        let Batch { blocks, len, lost } = &mut self.waiting;
        // Once a record is lost, none is added before the reader learns that, because the order would be wrong.
        let room = if *lost > 0 { 0 } else { self.capacity.saturating_sub(*len) };
        let kept = block.len().min(room);
        if kept > 0 {
            blocks.push((Arc::clone(block), kept));
            *len += kept;
        }
        *lost = lost.saturating_add((block.len() - kept) as u64);
    }
}

impl Subscriber {
    /// Takes the queued records without waiting. The batch is empty if there are none.
    pub fn take(&self) -> Batch {
        let mut shared = lock(&self.shared);
        shared.distribute();
        let queue = shared.queues.iter_mut().find(|queue| queue.id == self.id);
        queue.map(|queue| std::mem::take(&mut queue.waiting)).unwrap_or_default()
    }

    /// Waits until there are records, and takes them. Cancel-safe: no record is lost if the future is dropped.
    pub async fn next(&self) -> Batch {
        loop {
            let batch = self.take();
            if !batch.is_empty() || batch.lost > 0 {
                return batch;
            }
            self.arrived.notified().await;
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.queues.retain(|queue| queue.id != self.id);
        self.count.store(shared.queues.len(), Ordering::Relaxed);
        if shared.queues.is_empty() {
            shared.fresh = Vec::new();
        }
    }
}

impl Batch {
    /// The records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.blocks.iter().flat_map(|(block, len)| block.iter().take(*len))
    }

    /// The records, oldest first, each to be kept as long as it is needed.
    pub fn shared(&self) -> impl Iterator<Item = SharedRecord> {
        let of_block = |block: &Block, len| {
            let block = Arc::clone(block);
            (0..len).map(move |index| SharedRecord { block: Arc::clone(&block), index })
        };
        self.blocks.iter().flat_map(move |(block, len)| of_block(block, *len))
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl From<Record> for SharedRecord {
    fn from(record: Record) -> SharedRecord {
        SharedRecord { block: Arc::new(vec![record]), index: 0 }
    }
}

impl Deref for SharedRecord {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.block[self.index]
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Each change of the queues is complete in itself, so they are consistent after a panic.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The record with a shorter name, if it has a long one off the wire.
fn with_short_name(mut record: Record) -> Record {
    if let Event::TftpRefused { name, .. } | Event::HttpRefused { name, .. } = &mut record.event
        && name.len() > MAX_NAME
    {
        let len = cut(name, MAX_NAME).len();
        name.truncate(len);
        name.shrink_to_fit();
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::event::{DropReason, HttpRefusal};
    use crate::record::Recorder;
    use crate::types::Timestamp;

    fn record(at: u64) -> Record {
        let event = Event::Dropped { reason: DropReason::TooShort, client: None };
        Record { at: Timestamp(at), interface: None, machine: None, event }
    }

    fn times(batch: &Batch) -> Vec<u64> {
        batch.records().map(|record| record.at.0).collect()
    }

    #[test]
    fn each_subscriber_gets_every_record_in_order() {
        let recorder = Recorder::default();
        recorder.record(record(1));
        let (one, two) = (recorder.subscribe(10), recorder.clone().subscribe(10));
        recorder.record(record(2));
        recorder.clone().record(record(3));
        assert_eq!((times(&one.take()), times(&two.take())), (vec![2, 3], vec![2, 3]));
        drop(one);
        recorder.record(record(4));
        assert_eq!(recorder.inner.subscribers.count.load(Ordering::Relaxed), 1, "the other one ended");
        assert_eq!(times(&two.take()), [4]);
        assert!(two.take().is_empty());
    }

    #[test]
    fn a_slow_subscriber_loses_records_and_learns_how_many() {
        let recorder = Recorder::default();
        let (slow, fast) = (recorder.subscribe(3), recorder.subscribe(0));
        for at in 1..=10 {
            recorder.record(record(at));
            assert_eq!(times(&fast.take()), [at], "the smallest queue holds one");
        }
        let batch = slow.take();
        assert_eq!((times(&batch), batch.lost), (vec![1, 2, 3], 7));
        recorder.record(record(11));
        let batch = slow.take();
        assert_eq!((times(&batch), batch.lost), (vec![11], 0));
    }

    #[test]
    fn records_stay_in_order_over_many_blocks() {
        let recorder = Recorder::default();
        let (all, few) = (recorder.subscribe(MAX_QUEUED), recorder.subscribe(BLOCK + 7));
        let last = 3 * BLOCK as u64 + 9;
        (1..=last).for_each(|at| recorder.record(record(at)));
        let late = recorder.subscribe(10);
        let batch = all.take();
        assert_eq!((times(&batch), batch.lost, batch.len()), ((1..=last).collect(), 0, last as usize));
        let kept: Vec<u64> = batch.shared().map(|record| record.at.0).collect();
        assert_eq!(kept, times(&batch));
        let batch = few.take();
        let room = BLOCK as u64 + 7;
        assert_eq!((times(&batch), batch.lost), ((1..=room).collect(), last - room));
        assert!(late.take().is_empty(), "those were before it");
    }

    #[test]
    fn long_names_off_the_wire_are_shortened() {
        let recorder = Recorder::default();
        let subscriber = recorder.subscribe(10);
        let (name, peer) = ("\u{e9}".repeat(60_000), "10.0.0.9:1".parse().unwrap());
        let event = Event::HttpRefused { name, peer, reason: HttpRefusal::NotFound };
        recorder.record(Record { event, ..record(1) });
        let batch = subscriber.take();
        let record = batch.records().next().unwrap();
        assert!(matches!(&record.event, Event::HttpRefused { name, .. } if name.len() == MAX_NAME));
    }

    #[tokio::test]
    async fn a_waiting_subscriber_is_woken() {
        let recorder = Recorder::default();
        let subscriber = recorder.subscribe(10);
        let publish = async {
            tokio::task::yield_now().await;
            recorder.record(record(5));
        };
        let (batch, ()) = tokio::join!(subscriber.next(), publish);
        assert_eq!(times(&batch), [5]);
    }
}
