//! A bounded number of things at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One of the places that may be taken at once; given back when dropped.
#[derive(Debug)]
pub struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// Takes one of `limit` places, of which `taken` are taken. `None` if none is left.
    pub fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Slot> {
        let grow = |count: usize| (count < limit).then_some(count + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow).ok()?;
        Some(Slot(taken.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_taken_than_there_are_and_each_is_given_back() {
        let taken = Arc::new(AtomicUsize::new(0));
        let first = Slot::take(&taken, 2);
        let second = Slot::take(&taken, 2);
        assert!(first.is_some() && second.is_some() && Slot::take(&taken, 2).is_none());
        drop(first);
        assert!(Slot::take(&taken, 2).is_some());
        assert_eq!(taken.load(Ordering::Acquire), 1);
    }
}
