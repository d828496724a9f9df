//! Notices that a thread has been reading a boot file for long, from a disk or a network file system that responds slowly.
//! The threads that serve files mark what they do, and `server/journey.rs` looks at the marks. A mark is two stores in
//! memory that no other thread writes, so each packet may set one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Maximum number of reads that are marked at a time. Others are not noticed.
const MARKS: usize = 64;

/// The first mark that threads of HTTP try. Those of TFTP begin with their own number.
pub const HTTP: usize = 16;

/// The reads of boot files that are under way. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct FileWork(Arc<Marks>);

#[derive(Debug)]
struct Marks {
    began: Instant,
    marks: [Mark; MARKS],
}

/// The time at which a read began, in milliseconds; 0 if there is none. Each has its own cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Mark(AtomicU64);

/// A read that is under way until this is dropped.
#[derive(Debug)]
pub struct Busy<'w>(Option<&'w Mark>);

impl Default for FileWork {
    fn default() -> FileWork {
        let marks = std::array::from_fn(|_| Mark::default());
        FileWork(Arc::new(Marks { began: Instant::now(), marks }))
    }
}

impl FileWork {
    /// A read begins. `first` is the mark that is tried first.
    pub fn begin(&self, first: usize) -> Busy<'_> {
        let now = self.millis();
        let is_taken =
            |mark: &&Mark| mark.0.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        Busy(self.0.marks.iter().cycle().skip(first % MARKS).take(MARKS).find(is_taken))
    }

    /// The time that the longest read under way has taken.
    pub fn longest(&self) -> Duration {
        let now = self.millis();
        let began = self.0.marks.iter().map(|mark| mark.0.load(Ordering::Relaxed)).filter(|began| *began > 0);
        Duration::from_millis(began.map(|began| now.saturating_sub(began)).max().unwrap_or_default())
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(mark) = self.0 {
            mark.0.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn the_longest_read_under_way_counts() {
        let work = FileWork::default();
        assert_eq!(work.longest(), Duration::ZERO);
        let first = work.begin(0);
        sleep(Duration::from_millis(30));
        let second = work.begin(0);
        assert!(work.longest() >= Duration::from_millis(25));
        drop(first);
        assert!(work.longest() < Duration::from_millis(25));
        drop(second);
        let many: Vec<Busy<'_>> = (0..MARKS + 5).map(|number| work.begin(number)).collect();
        drop(many);
        assert_eq!(work.longest(), Duration::ZERO);
    }
}
