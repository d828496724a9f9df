//! The retransmission timeout of a download, computed from the measured round trip as RFC 6298 does for TCP.

use std::time::Duration;

/// The round trip of one transfer, as measured so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoundTrip {
    /// The smoothed time from the last datagram of a flight to its acknowledgement; `None` before the first
    /// measurement.
    smoothed: Option<Duration>,
    variation: Duration,
    shortest: Duration,
    timeout: Duration,
    /// A measurement that becomes valid if a retransmission turns out to have been unnecessary.
    pending: Option<Duration>,
    /// A repeated ACK within this time after a flight shows an unnecessary retransmission.
    copy_window: Duration,
}

impl Default for RoundTrip {
    fn default() -> RoundTrip {
        RoundTrip {
            smoothed: None,
            variation: Duration::ZERO,
            shortest: Duration::ZERO,
            timeout: RoundTrip::FIRST_TIMEOUT,
            pending: None,
            copy_window: Duration::ZERO,
        }
    }
}

impl RoundTrip {
    /// The timeout before the first measurement. RFC 6298 section 2.1 has 1 s for the Internet. A booting machine is
    /// near and retries only after a second or more, and an unnecessary copy of the first answer does no harm.
    pub const FIRST_TIMEOUT: Duration = Duration::from_millis(300);
    /// The minimum timeout: time for a client to read its disk or to draw its screen.
    pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);
    /// The minimum probe time, which the timers of the server and of clients can resolve.
    pub const MIN_PROBE: Duration = Duration::from_millis(10);
    /// The maximum timeout, however slow the path is, because a person waits at the other end.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(5);

    /// The maximum measurement. A longer time means that the client paused.
    const LONGEST: Duration = Duration::from_secs(60);

    /// Records that an answer arrived after `took`. Only for datagrams that were sent once, because an answer to a
    /// retransmitted datagram may belong to any copy (Karn's rule, RFC 6298 section 3).
    pub fn record(&mut self, took: Duration) {
        let took = took.min(Self::LONGEST);
        match self.smoothed {
            None => {
                self.smoothed = Some(took);
                self.variation = took / 2;
                self.shortest = took;
            }
            Some(smoothed) => {
                self.variation = self.variation * 3 / 4 + smoothed.abs_diff(took) / 4;
                self.smoothed = Some(smoothed * 7 / 8 + took / 8);
                self.shortest = self.shortest.min(took);
            }
        }
        self.reset_backoff();
    }

    /// Records that an answer arrived `took` after a flight, part of which was retransmitted meanwhile. If the client
    /// repeats the same acknowledgement within `within` after the next flight, it got both copies; then nothing was
    /// lost and the answer was slow.
    pub fn measure_if_repeated(&mut self, took: Duration, within: Duration) {
        (self.pending, self.copy_window) = (Some(took), within);
    }

    /// Records that the client acknowledged something else, so no copy can be detected any more.
    pub fn discard_pending(&mut self) {
        (self.pending, self.copy_window) = (None, Duration::ZERO);
    }

    /// Whether an ACK repeated this long after a flight answers an unnecessary copy. If so, the pending measurement
    /// becomes valid. Without this, the timeout would never adapt to a path with long queues, and every flight would be
    /// sent twice.
    pub fn is_duplicate_answer(&mut self, since: Duration) -> bool {
        if since >= self.copy_window {
            return false;
        }
        if let Some(took) = self.pending.take() {
            self.record(took);
            // As many further ACKs may follow as copies were sent.
            self.copy_window = took.min(Self::LONGEST) * 3 / 4;
        }
        true
    }

    /// Records a timely answer to data sent once, which resets the backoff.
    pub fn reset_backoff(&mut self) {
        let Some(smoothed) = self.smoothed else { return };
        let wait = smoothed.saturating_add(self.variation.saturating_mul(4));
        self.timeout = wait.clamp(Self::MIN_TIMEOUT, Self::MAX_TIMEOUT);
    }

    /// Doubles the timeout until the next measurement, because no answer arrived in time.
    pub fn back_off(&mut self) {
        self.timeout = self.timeout.saturating_mul(2).min(Self::MAX_TIMEOUT);
    }

    /// Returns the time after which an answer is late but probably not lost; `None` before the first measurement.
    pub fn probe(&self) -> Option<Duration> {
        self.smoothed.map(|usual| usual.saturating_mul(2).max(Self::MIN_PROBE))
    }

    /// Returns the retransmission timeout.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the smoothed round trip; `None` before the first measurement.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Returns the shortest round trip; zero before the first measurement.
    pub fn shortest(&self) -> Duration {
        self.shortest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn rfc6298_2_the_timeout_follows_the_measurements() {
        let mut trip = RoundTrip::default();
        assert_eq!((trip.timeout(), trip.shortest()), (ms(300), ms(0)));
        trip.record(ms(200));
        assert_eq!((trip.timeout(), trip.shortest()), (ms(200 + 4 * 100), ms(200)));
        for _ in 0..50 {
            trip.record(ms(200));
        }
        assert!(trip.timeout() < ms(205), "{trip:?}");
        assert_eq!(trip.probe(), Some(ms(400)));
        trip.record(ms(1000));
        assert!(trip.timeout() > ms(1000) && trip.shortest() == ms(200), "{trip:?}");
    }

    #[test]
    fn rfc6298_5_5_the_timeout_doubles_until_a_measurement() {
        let mut trip = RoundTrip::default();
        assert_eq!(trip.probe(), None);
        trip.record(ms(1));
        assert_eq!(trip.probe(), Some(ms(10)));
        let waits = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
        for wait in waits {
            assert_eq!(trip.timeout(), ms(wait));
            trip.back_off();
        }
        trip.reset_backoff();
        assert_eq!(trip.timeout(), ms(100));
    }

    #[test]
    fn the_timeout_stays_within_its_bounds() {
        for took in [Duration::ZERO, ms(1), ms(10_000), Duration::MAX] {
            let mut trip = RoundTrip::default();
            trip.record(took);
            trip.record(took);
            let bounds = RoundTrip::MIN_TIMEOUT..=RoundTrip::MAX_TIMEOUT;
            assert!(bounds.contains(&trip.timeout()), "{took:?}: {trip:?}");
        }
    }
}
