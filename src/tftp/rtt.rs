//! How long to wait for a client before sending again: from the measured round trip, as RFC 6298 does it for TCP.

use std::time::Duration;

/// The round trip of one transfer, as measured so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoundTrip {
    /// Smoothed time from the last datagram of a flight to its acknowledgement; `None` before the first measurement.
    smoothed: Option<Duration>,
    variation: Duration,
    shortest: Duration,
    timeout: Duration,
    /// What is measured if a copy of what the last flight held turns out to have been needless.
    supposed: Option<Duration>,
    /// An ACK seen twice so soon after a flight is of such a copy.
    copies_within: Duration,
}

impl Default for RoundTrip {
    fn default() -> RoundTrip {
        RoundTrip {
            smoothed: None,
            variation: Duration::ZERO,
            shortest: Duration::ZERO,
            timeout: RoundTrip::FIRST_TIMEOUT,
            supposed: None,
            copies_within: Duration::ZERO,
        }
    }
}

impl RoundTrip {
    /// The wait before anything was measured. RFC 6298 section 2.1 has 1 s for the Internet; a machine that boots is near,
    /// asks again itself after a second or more, and a copy of the first answer that it did not need harms nobody.
    pub const FIRST_TIMEOUT: Duration = Duration::from_millis(300);
    /// A client that reads its disk or draws its screen is not late before this.
    pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);
    /// What the timers of the shell and of a client are sure to tell apart.
    pub const MIN_PROBE: Duration = Duration::from_millis(10);
    /// However slow the path is: a person waits at the other end.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(5);

    /// What is longer is no round trip but a client that slept.
    const LONGEST: Duration = Duration::from_secs(60);

    /// Takes in that an answer came after `took`. Only for what was sent once: of a repeated datagram nobody knows
    /// which copy was answered (Karn's rule, RFC 6298 section 3).
    pub fn measured(&mut self, took: Duration) {
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
        self.heard();
    }

    /// Takes in that an answer came `took` after a flight, some of which had been sent again meanwhile. If the client now
    /// acknowledges the same once more, less than `within` after the next flight, it got both: then nothing was lost, the
    /// answer was slow.
    pub fn measured_if_a_copy_comes(&mut self, took: Duration, within: Duration) {
        (self.supposed, self.copies_within) = (Some(took), within);
    }

    /// Takes in that the client acknowledged something else.
    pub fn no_copy_comes(&mut self) {
        (self.supposed, self.copies_within) = (None, Duration::ZERO);
    }

    /// Whether an ACK seen twice, so long after a flight, is of a copy; if so, what was supposed is measured. Otherwise a path
    /// on which datagrams queue would never be found as slow as it is, and each flight would be sent twice.
    pub fn is_of_a_copy(&mut self, since: Duration) -> bool {
        if since >= self.copies_within {
            return false;
        }
        if let Some(took) = self.supposed.take() {
            self.measured(took);
            // There may be as many more as there were copies.
            self.copies_within = took.min(Self::LONGEST) * 3 / 4;
        }
        true
    }

    /// Some of what was sent once was answered in time: the wait is again what was measured.
    pub fn heard(&mut self) {
        let Some(smoothed) = self.smoothed else { return };
        let wait = smoothed.saturating_add(self.variation.saturating_mul(4));
        self.timeout = wait.clamp(Self::MIN_TIMEOUT, Self::MAX_TIMEOUT);
    }

    /// Nothing came in time: the next wait is twice as long, until something is measured again.
    pub fn back_off(&mut self) {
        self.timeout = self.timeout.saturating_mul(2).min(Self::MAX_TIMEOUT);
    }

    /// After how long an answer is later than usual, although not lost for sure; `None` before the first measurement.
    pub fn probe(&self) -> Option<Duration> {
        self.smoothed.map(|usual| usual.saturating_mul(2).max(Self::MIN_PROBE))
    }

    /// How long to wait for an acknowledgement.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The usual time; `None` before the first measurement.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The shortest time seen; zero if nothing was measured.
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
    fn rfc6298_2_the_wait_follows_what_is_measured() {
        let mut trip = RoundTrip::default();
        assert_eq!((trip.timeout(), trip.shortest()), (ms(300), ms(0)));
        trip.measured(ms(200));
        assert_eq!((trip.timeout(), trip.shortest()), (ms(200 + 4 * 100), ms(200)));
        for _ in 0..50 {
            trip.measured(ms(200));
        }
        assert!(trip.timeout() < ms(205), "{trip:?}");
        assert_eq!(trip.probe(), Some(ms(400)));
        trip.measured(ms(1000));
        assert!(trip.timeout() > ms(1000) && trip.shortest() == ms(200), "{trip:?}");
    }

    #[test]
    fn rfc6298_5_5_the_wait_doubles_until_something_is_measured() {
        let mut trip = RoundTrip::default();
        assert_eq!(trip.probe(), None);
        trip.measured(ms(1));
        assert_eq!(trip.probe(), Some(ms(10)));
        let waits = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
        for wait in waits {
            assert_eq!(trip.timeout(), ms(wait));
            trip.back_off();
        }
        trip.heard();
        assert_eq!(trip.timeout(), ms(100));
    }

    #[test]
    fn the_wait_stays_within_its_bounds() {
        for took in [Duration::ZERO, ms(1), ms(10_000), Duration::MAX] {
            let mut trip = RoundTrip::default();
            trip.measured(took);
            trip.measured(took);
            let bounds = RoundTrip::MIN_TIMEOUT..=RoundTrip::MAX_TIMEOUT;
            assert!(bounds.contains(&trip.timeout()), "{took:?}: {trip:?}");
        }
    }
}
