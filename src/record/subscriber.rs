//! Streams of records for journeys, the API and the dashboard. [`Recorder`](super::Recorder) publishes; each
//! [`Subscriber`] has its own bounded queue. Publishing never waits for a reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::event::Record;

/// Maximum number of records in the queue of one subscriber, whatever it asks for. A record has about 300 bytes.
pub const MAX_QUEUED: usize = 65_536;

/// The subscribers of one recorder.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    queues: Mutex<Vec<Weak<Queue>>>,
    /// The length of `queues`. Without subscribers, publishing costs one read of it.
    count: AtomicUsize,
}

/// Receives every record from its creation on, in order. A reader that is too slow loses the newest records; their
/// number is returned with the next batch. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscriber(Arc<Queue>);

/// Records that a subscriber received.
#[derive(Debug, Default)]
pub struct Batch {
    pub records: VecDeque<Arc<Record>>,
    /// The number of records that were lost after those, because the queue was full.
    pub lost: u64,
}

#[derive(Debug)]
struct Queue {
    capacity: usize,
    waiting: Mutex<Batch>,
    /// Wakes the reader.
    arrived: Notify,
}

impl Subscribers {
    /// Adds a subscriber whose queue holds up to `capacity` records, at least one and at most [`MAX_QUEUED`].
    pub(super) fn add(&self, capacity: usize) -> Subscriber {
        let capacity = capacity.clamp(1, MAX_QUEUED);
        let queue = Arc::new(Queue { capacity, waiting: Mutex::default(), arrived: Notify::new() });
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.push(Arc::downgrade(&queue));
        self.count.store(queues.len(), Ordering::Relaxed);
        Subscriber(queue)
    }

    pub(super) fn publish(&self, record: Record) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let record = Arc::new(record);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| queue.upgrade().is_some_and(|queue| queue.push(&record)));
        self.count.store(queues.len(), Ordering::Relaxed);
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Batch> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record, or counts it as lost. Returns true, so that the queue is kept.
    fn push(&self, record: &Arc<Record>) -> bool {
        let mut waiting = self.waiting();
        if waiting.records.len() < self.capacity {
            waiting.records.push_back(Arc::clone(record));
        } else {
            waiting.lost = waiting.lost.saturating_add(1);
        }
        drop(waiting);
        self.arrived.notify_one();
        true
    }
}

impl Subscriber {
    /// Takes the queued records without waiting. The batch is empty if there are none.
    pub fn take(&self) -> Batch {
        std::mem::take(&mut *self.0.waiting())
    }

    /// Waits until there are records, and takes them. Cancel-safe: no record is lost if the future is dropped.
    pub async fn next(&self) -> Batch {
        loop {
            let batch = self.take();
            if !batch.records.is_empty() || batch.lost > 0 {
                return batch;
            }
            self.0.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::event::{DropReason, Event};
    use crate::record::Recorder;
    use crate::types::Timestamp;

    fn record(at: u64) -> Record {
        let event = Event::Dropped { reason: DropReason::TooShort, client: None };
        Record { at: Timestamp(at), interface: None, machine: None, event }
    }

    fn times(batch: &Batch) -> Vec<u64> {
        batch.records.iter().map(|record| record.at.0).collect()
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
        assert!(two.take().records.is_empty());
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
