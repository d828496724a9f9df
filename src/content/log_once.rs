//! Logs a problem once that occurs at every request. Templates and generated scripts report here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::types::Escaped;

/// Maximum number of remembered problems. When it is reached, all are forgotten and therefore logged again.
const MAX_REMEMBERED: usize = 1024;

/// The last logged problem of each file and machine. Cheap to clone; clones share the memory.
#[derive(Clone, Debug, Default)]
pub struct LogOnce(Arc<Mutex<BTreeMap<(String, String), String>>>);

impl LogOnce {
    /// Records that `what` succeeded for the machine `whom`, or logs `problem` unless it is the one that was logged
    /// last.
    pub fn report(&self, what: &str, whom: String, problem: Option<String>) {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (what.to_owned(), whom);
        let Some(problem) = problem else {
            logged.remove(&key);
            return;
        };
        if logged.get(&key) == Some(&problem) {
            return;
        }
        tracing::warn!("{}", Escaped(problem.as_bytes()));
        if logged.len() >= MAX_REMEMBERED {
            logged.clear();
        }
        logged.insert(key, problem);
    }
}
