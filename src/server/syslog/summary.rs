//! Counts the lines of datagrams that are dropped. A flood of datagrams then makes a few records per second, and not one
//! for each datagram, which would displace the records of others from the queues. `receive.rs` calls it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::event::SyslogDrop;

/// Time between two records about the same sender and reason.
const PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of senders and reasons that have their own record in one pause. A sender can forge its address.
const MAX_RECORDS: usize = 16;
/// Stands for all senders without a record.
const OTHERS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Dropped lines: the sender, the reason, and their number.
pub(super) type Dropped = (SocketAddr, SyslogDrop, u64);

/// The dropped lines that are not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// When lines were last recorded.
    last: Option<Instant>,
    dropped: HashMap<(IpAddr, SyslogDrop), (SocketAddr, u64)>,
}

impl Summary {
    pub(super) fn add(&mut self, (peer, reason, count): Dropped) {
        let has_record = |peer: SocketAddr| self.dropped.contains_key(&(peer.ip(), reason));
        let peer = if has_record(peer) || self.dropped.len() < MAX_RECORDS { peer } else { OTHERS };
        let (_, sum) = self.dropped.entry((peer.ip(), reason)).or_insert((peer, 0));
        *sum = sum.saturating_add(count);
    }

    /// When the counted lines are to be recorded; `None` if there are none.
    pub(super) fn next(&self) -> Option<Instant> {
        let last = self.last.filter(|_| !self.dropped.is_empty())?;
        Some(last + PAUSE)
    }

    /// Takes the counted lines, if they are to be recorded at `now`. The first ones after a pause are recorded at once.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Dropped> {
        if self.dropped.is_empty() || self.next().is_some_and(|next| now < next) {
            return Vec::new();
        }
        self.last = Some(now);
        self.dropped.drain().map(|((_, reason), (peer, count))| (peer, reason, count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_07_a_flood_of_dropped_datagrams_makes_few_records() {
        let (mut summary, start) = (Summary::default(), Instant::now());
        let peer = |n: u32| SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n), 514));
        let reason = SyslogDrop::TooManyLines;
        summary.add((peer(1), reason, 1));
        assert_eq!(summary.due(start), [(peer(1), reason, 1)], "the first one at once");
        assert_eq!((summary.next(), summary.due(start)), (None, vec![]));
        for i in 0..100_000 {
            summary.add((peer(1), reason, 1));
            summary.add((peer(i), SyslogDrop::NotAllowed, 1));
            assert!(summary.due(start + Duration::from_millis(999)).is_empty());
        }
        assert_eq!(summary.next(), Some(start + PAUSE));
        let records = summary.due(start + PAUSE);
        assert!(records.len() <= MAX_RECORDS + 1, "{}", records.len());
        assert_eq!(records.iter().map(|(_, _, count)| count).sum::<u64>(), 200_000);
        assert!(records.contains(&(peer(1), reason, 100_000)));
    }
}
