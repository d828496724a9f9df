//! The journeys, shared by the routes and by `server/journey.rs`, which fills them in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journey::Journeys;

/// The journeys of all machines. Cheap to clone; clones share everything.
#[derive(Clone, Debug, Default)]
pub struct SharedJourneys(Arc<Mutex<Journeys>>);

impl SharedJourneys {
    /// Locks the journeys. They are consistent after a panic, because each record is complete in itself.
    pub fn lock(&self) -> MutexGuard<'_, Journeys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
