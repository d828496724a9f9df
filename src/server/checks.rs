//! The addresses that are being checked, and the messages that wait for it.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use crate::server::ping::{Heard, Prober};
use crate::server::served::Now;
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

/// Finds out whether somebody uses an address. The default one never asks.
#[derive(Debug, Default)]
pub struct Checker(Option<Asking>);

#[derive(Debug)]
struct Asking {
    checks: Checks,
    prober: Prober,
    heard: Receiver<Heard>,
}

/// What became of the wish to check an address.
#[derive(Debug)]
pub enum Begun {
    /// The network was asked; the outcome follows.
    Asked,
    /// Too many checks are under way.
    TooMany,
    /// Nobody can be asked, or not now and the client should not wait: the address counts as free.
    CannotAsk(Waiting),
}

impl Checker {
    /// One that waits `time` for an answer on what is `served`, or never asks if that is `None`. The text says what it
    /// cannot ask, and why.
    pub fn start(time: Option<Duration>, served: Now) -> (Checker, Option<String>) {
        let Some(time) = time else { return (Checker::default(), None) };
        let (prober, heard, refused) = Prober::start(served);
        (Checker(Some(Asking { checks: Checks::new(time), prober, heard })), refused)
    }

    /// Asks who uses `address`, on the wire of interface `on_wire` or behind a router. `is_expected`: the configuration
    /// names the client, so it is not turned away when too many are being checked.
    pub fn begin(
        &mut self,
        address: Ipv4Addr,
        on_wire: Option<u32>,
        waiting: Waiting,
        is_expected: bool,
    ) -> Begun {
        let Some(asking) = &mut self.0 else { return Begun::CannotAsk(waiting) };
        if !asking.checks.has_room() {
            return if is_expected { Begun::CannotAsk(waiting) } else { Begun::TooMany };
        }
        if !asking.prober.ask(address, on_wire) {
            return Begun::CannotAsk(waiting);
        }
        asking.checks.begin(address, waiting);
        Begun::Asked
    }

    /// Whether `address` is being checked.
    pub fn is_checking(&self, address: Ipv4Addr) -> bool {
        self.0.as_ref().is_some_and(|asking| asking.checks.waiting.contains_key(&address))
    }

    /// The next address that turns out to be used, and by whom, or to be free.
    pub async fn outcome(&mut self) -> (Ipv4Addr, Waiting, Option<Heard>) {
        let Some(asking) = &mut self.0 else { return std::future::pending().await };
        loop {
            tokio::select! {
                (address, waiting) = asking.checks.free() => return (address, waiting, None),
                Some(heard) = asking.heard.recv() => {
                    if let Some(waiting) = asking.checks.used(heard.address) {
                        return (heard.address, waiting, Some(heard));
                    }
                }
            }
        }
    }
}

/// Checks under way. All take the same time, so they end in the order in which they began.
#[derive(Debug)]
struct Checks {
    time: Duration,
    waiting: HashMap<Ipv4Addr, Waiting>,
    ends: VecDeque<(Instant, Ipv4Addr)>,
}

impl Checks {
    /// No checks; each will take `time`.
    fn new(time: Duration) -> Checks {
        Checks { time, waiting: HashMap::new(), ends: VecDeque::new() }
    }

    /// Whether there is room for one more.
    fn has_room(&self) -> bool {
        self.ends.len() < MAX_CHECKS
    }

    /// `address` is being checked for the sender of `waiting` from now on.
    fn begin(&mut self, address: Ipv4Addr, waiting: Waiting) {
        self.waiting.insert(address, waiting);
        self.ends.push_back((Instant::now() + self.time, address));
    }

    /// Somebody uses `address`: the message that waits for it, if one does.
    fn used(&mut self, address: Ipv4Addr) -> Option<Waiting> {
        self.waiting.remove(&address)
    }

    /// Completes when the next check ends without anybody having been heard.
    async fn free(&mut self) -> (Ipv4Addr, Waiting) {
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
        let (destination, local) = (Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST);
        let envelope = Envelope { len: 1, source, interface: 1, destination, local };
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
