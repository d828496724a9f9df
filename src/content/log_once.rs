//! Problems that would be logged at every request, logged once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::types::Escaped;

/// Problems remembered. Beyond that all are forgotten, and so logged again.
const MAX_REMEMBERED: usize = 1024;

/// What was logged last of what, for whom. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<BTreeMap<(String, String), String>>>);

impl Told {
    /// `what` went well for the machine `whom`, or has `problem`: which is logged unless it was the last one logged.
    pub fn tell(&self, what: &str, whom: String, problem: Option<String>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (what.to_owned(), whom);
        let Some(problem) = problem else {
            told.remove(&key);
            return;
        };
        if told.get(&key) == Some(&problem) {
            return;
        }
        tracing::warn!("{}", Escaped(problem.as_bytes()));
        if told.len() >= MAX_REMEMBERED {
            told.clear();
        }
        told.insert(key, problem);
    }
}
