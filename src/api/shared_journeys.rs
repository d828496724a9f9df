//! The journeys, shared by the routes and by `server/journey.rs`, which fills them in.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::event::Record;
use crate::journey::Journeys;
use crate::journey::boot::BootId;
use crate::store::journeys::read_events;

/// Maximum number of requests that read the database at a time. Others wait.
const MAX_READS: usize = 2;
/// Maximum time that a request waits for the events in the database.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The journeys of all machines. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct SharedJourneys {
    journeys: Arc<Mutex<Journeys>>,
    reads: Arc<Semaphore>,
}

impl Default for SharedJourneys {
    fn default() -> SharedJourneys {
        SharedJourneys { journeys: Arc::default(), reads: Arc::new(Semaphore::new(MAX_READS)) }
    }
}

impl SharedJourneys {
    /// Locks the journeys. They are consistent after a panic, because each record is complete in itself.
    pub fn lock(&self) -> MutexGuard<'_, Journeys> {
        self.journeys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first events of these boots, as many as stated for each, out of the database in the folder `state`. Empty if it
    /// cannot be read in time. Nothing else waits for it.
    pub async fn read_events(&self, state: Arc<Path>, boots: Vec<(BootId, usize)>) -> Vec<Vec<Record>> {
        let reads = Arc::clone(&self.reads);
        let read = async {
            let permit = reads.acquire_owned().await.ok()?;
            let read = move || {
                let _permit = permit;
                read_events(&state, &boots).ok()
            };
            spawn_blocking(read).await.ok().flatten()
        };
        timeout(MAX_WAIT, read).await.ok().flatten().unwrap_or_default()
    }
}
