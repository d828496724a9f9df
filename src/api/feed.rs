//! Follows the records for the API: the machines that were seen, and the last records for event streams. There is one
//! reader of the recorder, however many clients read events; a client that stops reading costs its place in the ring.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::api::ring::{Place, Ring};
use crate::api::seen::SeenMachines;
use crate::record::{Reader as ReaderOfRecords, Recorder, Subscriber};
use crate::store::LeaseReader;
use crate::types::Timestamp;

/// Maximum number of records that wait to be taken in: 5 MB.
pub const MAX_WAITING: usize = 16_384;
/// Pause between two batches, so that a busy DHCP loop does not wake this task for each record.
const PAUSE: Duration = Duration::from_millis(50);

/// The records as the API shows them. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seen: Mutex<SeenMachines>,
    ring: Mutex<Ring>,
    /// The number of the next record, which wakes the streams.
    next: watch::Sender<u64>,
}

impl Feed {
    /// A feed without records, of a server that starts now.
    pub fn new(started: Timestamp) -> Feed {
        let ring = Ring::new(format!("{:x}", started.0));
        let next = watch::Sender::new(ring.next());
        Feed(Arc::new(Shared { seen: Mutex::default(), ring: Mutex::new(ring), next }))
    }

    /// Follows the records forever, after the leases stored in `state`.
    pub async fn follow(&self, recorder: &Recorder, records: &Subscriber, state: &Arc<Path>) -> Infallible {
        let state = Arc::clone(state);
        let read = move || LeaseReader::open(&state).ok()??.load().ok().map(|(leases, ..)| leases);
        let leases = spawn_blocking(read).await.ok().flatten();
        leases.iter().flatten().for_each(|lease| self.seen().load(lease));
        loop {
            let batch = records.next().await;
            {
                let (mut seen, mut ring) = (self.seen(), self.ring());
                for record in batch.shared() {
                    seen.note(&record);
                    ring.push(record);
                }
                ring.skip(batch.lost);
                recorder.records_lost(ReaderOfRecords::Events, batch.lost);
                self.0.next.send_replace(ring.next());
            }
            sleep(PAUSE).await;
        }
    }

    /// The machines that were seen.
    pub(super) fn seen(&self) -> MutexGuard<'_, SeenMachines> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader that has received the event `last_id`.
    pub(super) fn reader(&self, last_id: Option<&str>) -> Reader {
        let (next, place) = (self.0.next.subscribe(), self.ring().place_after(last_id));
        Reader { feed: self.clone(), next, place }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event stream.
#[derive(Debug)]
pub(super) struct Reader {
    feed: Feed,
    next: watch::Receiver<u64>,
    place: Place,
}

impl Reader {
    /// The events that have come since the last call. Waits until there is one.
    pub(super) async fn next(&mut self) -> String {
        loop {
            self.next.mark_unchanged();
            let (text, place) = self.feed.ring().batch(self.place);
            self.place = place;
            if !text.is_empty() {
                return text;
            }
            // It fails only without a sender, and this reader has one.
            let _ = self.next.changed().await;
        }
    }
}
