//! The statement that is being read, and where its content goes.

use super::model::{Model, Origin};
use crate::import::problems::Problems;

/// The statement in its place, and where its content goes.
pub(super) struct Context<'c> {
    pub model: &'c mut Model,
    pub problems: &'c mut Problems,
    pub origin: Origin,
}

impl Context<'_> {
    pub fn problem(&mut self, reason: impl Into<String>) {
        self.problems.add(self.origin.place, reason);
    }

    pub fn take_origin(&mut self) -> Origin {
        Origin { place: self.origin.place, comments: std::mem::take(&mut self.origin.comments) }
    }
}
