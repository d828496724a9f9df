//! A histogram of durations, counted without locks. `metrics.rs` reads it when it is scraped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Number of buckets with an upper bound. A further bucket has everything above.
const BUCKETS: usize = 16;
/// Upper bounds in seconds of the buckets of replies and commits.
const BOUNDS: [f64; BUCKETS] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds in seconds of the buckets of boots.
const BOUNDS_OF_BOOTS: [f64; BUCKETS] =
    [0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1800.0];

/// Counts durations by bucket.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64; BUCKETS],
    buckets: [AtomicU64; BUCKETS + 1],
    sum_nanos: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { bounds: &BOUNDS, buckets: Default::default(), sum_nanos: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// A histogram for the stages of boots, which take seconds to minutes.
    pub fn of_boots() -> Histogram {
        Histogram { bounds: &BOUNDS_OF_BOOTS, ..Histogram::default() }
    }

    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The sum in seconds, and each bucket's upper bound with its count.
    pub fn read(&self) -> (f64, Vec<(f64, u64)>) {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let sum = Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)).as_secs_f64();
        (sum, bounds.zip(counts).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 2_000, 60_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let (sum, buckets) = histogram.read();
        let counts: Vec<(f64, u64)> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(0.0001, 2), (0.00025, 1), (0.0025, 1), (f64::INFINITY, 1)]);
        assert!((sum - 60.002_201).abs() < 1e-9, "{sum}");
    }
}
