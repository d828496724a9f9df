//! Remembers for a moment that a search for a name in any case found nothing. DHCP asks for the same file again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::boot::name::BootName;
use crate::images::OpenFile;

/// How long a failed search for a name in any case is not repeated. A search may read thousands of folder entries,
/// which is too much for each DHCP message.
const ABSENT_TIME: Duration = Duration::from_secs(1);
/// Maximum number of remembered names. When it is reached, all are forgotten.
const MAX_ABSENT: usize = 64;

/// Names that a recent search did not find. Cheap to clone; clones share the memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Absent(Arc<Mutex<HashMap<BootName, Instant>>>);

impl Absent {
    /// Calls `search`, unless a recent search for `name` found nothing.
    pub(super) fn unless_absent(
        &self,
        name: &BootName,
        search: impl FnOnce() -> Option<OpenFile>,
    ) -> Option<OpenFile> {
        let mut absent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.get(name).is_some_and(|at| at.elapsed() < ABSENT_TIME) {
            return None;
        }
        absent.remove(name);
        let found = search();
        if found.is_none() {
            if absent.len() >= MAX_ABSENT {
                absent.clear();
            }
            absent.insert(name.clone(), Instant::now());
        }
        found
    }
}
