//! The addresses that are being checked, and the messages that wait for it.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use crate::server::socket::Envelope;

/// Addresses that may be under check at once. A DISCOVER beyond that is dropped; its client asks again.
pub const MAX_CHECKS: usize = 1024;

/// A message that is decided on again when its address is known to be free or not.
#[derive(Debug)]
pub struct Waiting {
    /// The message.
    pub bytes: Vec<u8>,
    /// How it came.
    pub envelope: Envelope,
}

/// Checks under way. All take the same time, so they end in the order in which they began.
#[derive(Debug)]
pub struct Checks {
    time: Duration,
    waiting: HashMap<Ipv4Addr, Waiting>,
    ends: VecDeque<(Instant, Ipv4Addr)>,
}

impl Checks {
    /// No checks; each will take `time`.
    pub fn new(time: Duration) -> Checks {
        Checks { time, waiting: HashMap::new(), ends: VecDeque::new() }
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.ends.len() < MAX_CHECKS
    }

    /// `address` is being checked for the sender of `waiting` from now on.
    pub fn begin(&mut self, address: Ipv4Addr, waiting: Waiting) {
        self.waiting.insert(address, waiting);
        self.ends.push_back((Instant::now() + self.time, address));
    }

    /// Somebody uses `address`: the message that waits for it, if one does.
    pub fn used(&mut self, address: Ipv4Addr) -> Option<Waiting> {
        self.waiting.remove(&address)
    }

    /// Completes when the next check ends without anybody having been heard.
    pub async fn free(&mut self) -> (Ipv4Addr, Waiting) {
        loop {
            let Some((end, address)) = self.ends.front().copied() else {
                return std::future::pending().await;
            };
            tokio::time::sleep_until(end).await;
            self.ends.pop_front();
            if let Some(waiting) = self.waiting.remove(&address) {
                return (address, waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddrV4;

    fn waiting(n: u8) -> Waiting {
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let envelope = Envelope { len: 1, source, interface: 1, destination: Ipv4Addr::BROADCAST };
        Waiting { bytes: vec![n], envelope }
    }

    #[tokio::test(start_paused = true)]
    async fn checks_end_in_order_and_those_that_heard_somebody_do_not() {
        let mut checks = Checks::new(Duration::from_millis(500));
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        let began = Instant::now();
        for n in 1..=3 {
            checks.begin(ip(n), waiting(n));
        }
        assert_eq!(checks.used(ip(2)).map(|waiting| waiting.bytes), Some(vec![2]));
        assert!(checks.used(ip(2)).is_none() && checks.used(ip(9)).is_none());
        assert_eq!(checks.free().await.0, ip(1));
        assert_eq!(checks.free().await.0, ip(3));
        assert_eq!(began.elapsed(), Duration::from_millis(500));
        assert!(tokio::time::timeout(Duration::from_secs(60), checks.free()).await.is_err(), "none is left");
    }
}
