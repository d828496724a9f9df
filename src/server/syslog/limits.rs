//! The limits of the syslog receiver: lines per second of one address and of all, and connections.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::event::SyslogDrop;
use crate::types::limit_key;

/// Maximum rate of lines.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Lines at once after a quiet time.
    burst: u32,
    /// Sustained lines per second.
    per_second: u32,
}

/// Lines of one machine. The kernel log at the start of an installer has about 1,000 lines.
const OF_ONE: Rate = Rate { burst: 2000, per_second: 100 };
/// Lines of all machines: a room of 50 installers. Each line costs about as much as a DHCP message.
const OF_ALL: Rate = Rate { burst: 20_000, per_second: 2000 };
/// Maximum number of addresses that are remembered. Those with a full allowance are forgotten first.
const MAX_ADDRESSES: usize = 4096;
/// Time between two searches for addresses to forget, because each looks at all of them.
const FORGET_PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of TCP connections, and of those from one address.
const MAX_CONNECTIONS: (usize, usize) = (512, 8);

/// The remaining allowance of one rate.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// In lines.
    left: f64,
    at: Instant,
}

impl Allowance {
    fn full(rate: Rate, now: Instant) -> Allowance {
        Allowance { left: f64::from(rate.burst), at: now }
    }

    /// Takes one line, if there is one left at `now`.
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        let has_one = self.left >= 1.0;
        if has_one {
            self.left -= 1.0;
        }
        has_one
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * f64::from(rate.per_second)).min(f64::from(rate.burst));
        self.at = now;
    }
}

/// The limits of all senders.
#[derive(Debug)]
pub(super) struct Limits {
    all: Allowance,
    of_one: HashMap<IpAddr, Allowance>,
    /// When addresses were last forgotten.
    forgot: Option<Instant>,
    /// The open connections by number, at most [`MAX_CONNECTIONS`].
    connections: BTreeMap<u64, Connection>,
    /// The number of the next connection.
    next: u64,
}

/// An open connection.
#[derive(Debug)]
struct Connection {
    address: IpAddr,
    /// When the last byte was received.
    last: Instant,
    gives_way: Arc<Notify>,
}

/// The place of an open connection.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    /// Notified when another connection takes the place.
    pub(super) gives_way: Arc<Notify>,
}

impl Limits {
    pub(super) fn new(now: Instant) -> Limits {
        let all = Allowance::full(OF_ALL, now);
        Limits { all, of_one: HashMap::new(), forgot: None, connections: BTreeMap::new(), next: 0 }
    }

    /// Whether a line from `address` may be recorded at `now`.
    ///
    /// # Errors
    /// The reason why it is dropped.
    pub(super) fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), SyslogDrop> {
        let address = limit_key(address);
        if self.of_one.len() >= MAX_ADDRESSES && !self.of_one.contains_key(&address) {
            if self.forgot.is_none_or(|at| now.saturating_duration_since(at) >= FORGET_PAUSE) {
                self.forgot = Some(now);
                self.of_one.retain(|_, allowance| {
                    allowance.refill(OF_ONE, now);
                    allowance.left < f64::from(OF_ONE.burst)
                });
            }
            if self.of_one.len() >= MAX_ADDRESSES {
                return Err(SyslogDrop::TooManyInAll);
            }
        }
        let own = self.of_one.entry(address).or_insert_with(|| Allowance::full(OF_ONE, now));
        if !own.take(OF_ONE, now) {
            return Err(SyslogDrop::TooManyLines);
        }
        if self.all.take(OF_ALL, now) { Ok(()) } else { Err(SyslogDrop::TooManyInAll) }
    }

    /// Gives a connection from `address` a place. If there is none, the connection that was silent for the longest time gives
    /// way: silent connections must not keep an installer out.
    ///
    /// # Errors
    /// The address has too many.
    pub(super) fn connect(&mut self, address: IpAddr, now: Instant) -> Result<Place, SyslogDrop> {
        let (all, of_one) = MAX_CONNECTIONS;
        let address = limit_key(address);
        if self.connections.values().filter(|open| open.address == address).count() >= of_one {
            return Err(SyslogDrop::TooManyConnections);
        }
        if self.connections.len() >= all {
            let silent = self.connections.iter().min_by_key(|(_, open)| open.last).map(|(number, _)| *number);
            let silent = silent.and_then(|number| self.connections.remove(&number));
            silent.iter().for_each(|silent| silent.gives_way.notify_one());
        }
        let (number, gives_way) = (self.next, Arc::new(Notify::new()));
        self.next += 1;
        let connection = Connection { address, last: now, gives_way: Arc::clone(&gives_way) };
        self.connections.insert(number, connection);
        Ok(Place { number, gives_way })
    }

    /// The connection at place `number` sent bytes.
    pub(super) fn received(&mut self, number: u64, now: Instant) {
        if let Some(open) = self.connections.get_mut(&number) {
            open.last = now;
        }
    }

    /// The connection at place `number` has ended.
    pub(super) fn disconnect(&mut self, number: u64) {
        self.connections.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
    }

    #[test]
    fn one_machine_cannot_use_up_the_lines_of_all() {
        let now = Instant::now();
        let mut limits = Limits::new(now);
        let mut taken = 0;
        let refused = loop {
            match limits.admit(address(1), now) {
                Ok(()) => taken += 1,
                Err(reason) => break reason,
            }
        };
        assert_eq!((taken, refused), (OF_ONE.burst, SyslogDrop::TooManyLines));
        assert_eq!(limits.admit(address(2), now), Ok(()));
        let later = now + Duration::from_secs(1);
        let more = (0..1000).filter(|_| limits.admit(address(1), later).is_ok()).count();
        assert_eq!(more, OF_ONE.per_second as usize);
    }

    #[test]
    fn many_addresses_are_bounded_together() {
        let now = Instant::now();
        let mut limits = Limits::new(now);
        let refused = (0..).find_map(|n| limits.admit(address(n / 5), now).err());
        assert_eq!(refused, Some(SyslogDrop::TooManyInAll));
        let mut limits = Limits::new(now);
        for n in 0..20_000 {
            let later = now + Duration::from_millis(u64::from(n));
            assert_eq!(limits.admit(address(n), later), Ok(()), "{n}");
            assert!(limits.of_one.len() <= MAX_ADDRESSES);
        }
    }

    #[test]
    fn connections_are_bounded() {
        let now = Instant::now();
        let mut limits = Limits::new(now);
        let (all, of_one) = MAX_CONNECTIONS;
        let first = limits.connect(address(1), now).unwrap();
        for _ in 1..of_one {
            limits.connect(address(1), now).unwrap();
        }
        assert_eq!(limits.connect(address(1), now).unwrap_err(), SyslogDrop::TooManyConnections);
        limits.disconnect(first.number);
        limits.connect(address(1), now).unwrap();
        for n in 2..10_000 {
            limits.connect(address(n), now).unwrap();
            assert!(limits.connections.len() <= all);
        }
    }

    #[tokio::test]
    async fn the_connection_that_was_silent_for_longest_gives_way() {
        let now = Instant::now();
        let mut limits = Limits::new(now);
        let (all, _) = MAX_CONNECTIONS;
        let later = |n: usize| now + Duration::from_millis(n.try_into().unwrap());
        let mut connect = |n: usize| {
            let place = limits.connect(address(n.try_into().unwrap()), later(n)).unwrap();
            if n == 1 {
                // The first connection sends; the second one is silent for longer.
                limits.received(0, later(all));
            }
            place
        };
        let places: Vec<Place> = (0..all).map(&mut connect).collect();
        let newest = connect(all);
        places[1].gives_way.notified().await;
        assert!(limits.connections.contains_key(&0) && limits.connections.contains_key(&newest.number));
        assert_eq!(limits.connections.len(), all);
        // Its end frees no place of another.
        limits.disconnect(places[1].number);
        assert_eq!(limits.connections.len(), all);
    }
}
