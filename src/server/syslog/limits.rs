//! The limits of the syslog receiver: lines per second of one address and of all, and connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

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
    /// The number of open connections of each address.
    connections: HashMap<IpAddr, usize>,
}

impl Limits {
    pub(super) fn new(now: Instant) -> Limits {
        let all = Allowance::full(OF_ALL, now);
        Limits { all, of_one: HashMap::new(), forgot: None, connections: HashMap::new() }
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

    /// Counts a connection from `address`.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn connect(&mut self, address: IpAddr) -> Result<(), SyslogDrop> {
        let (all, of_one) = MAX_CONNECTIONS;
        let open: usize = self.connections.values().sum();
        let own = self.connections.entry(limit_key(address)).or_default();
        if open >= all || *own >= of_one {
            self.connections.retain(|_, count| *count > 0);
            return Err(SyslogDrop::TooManyConnections);
        }
        *own += 1;
        Ok(())
    }

    /// A connection that was counted has ended.
    pub(super) fn disconnect(&mut self, address: IpAddr) {
        let address = limit_key(address);
        if let Some(count) = self.connections.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.connections.remove(&address);
            }
        }
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
        let mut limits = Limits::new(Instant::now());
        let (all, of_one) = MAX_CONNECTIONS;
        for _ in 0..of_one {
            assert_eq!(limits.connect(address(1)), Ok(()));
        }
        assert_eq!(limits.connect(address(1)), Err(SyslogDrop::TooManyConnections));
        limits.disconnect(address(1));
        assert_eq!(limits.connect(address(1)), Ok(()));
        let others = (2..10_000).filter(|n| limits.connect(address(*n)).is_ok()).count();
        assert_eq!(others, all - of_one);
    }
}
