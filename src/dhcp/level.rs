//! The values that every level of the configuration can set: all clients, a subnet, a pool, a class, a machine.
//! `config/` builds them; the decisions look them up in the order of precedence.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::dhcp::options::OptionSet;

/// The values of one level. Each value that is `None` or missing is taken from the next level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The options for clients at this level.
    pub options: OptionSet,
    /// Codes of options that are sent even if the client does not ask for them.
    pub always_send: Vec<u8>,
    /// The lease times.
    pub lease: Option<LeaseTime>,
    /// Time after which clients renew their lease (T1, option 58).
    pub renew: Option<LeasePart>,
    /// Time after which clients ask any server to extend their lease (T2, option 59).
    pub rebind: Option<LeasePart>,
    /// Time for which an address in quarantine is offered to no client, if its pool permits. It doubles each time
    /// another machine answers there. Only subnets and `dhcp:` have it.
    pub decline_time: Option<Duration>,
    /// `siaddr` for clients that do not boot from the network.
    pub next_server: Option<NextServer>,
    /// `sname` for clients that do not boot from the network; empty if the field stays empty.
    pub server_name: Option<Arc<str>>,
    /// `file` for clients that do not boot from the network; empty if the field stays empty.
    pub boot_file: Option<Arc<str>>,
}

/// The lease time of a lease that never ends (option 51, RFC 2131 section 3.3).
pub const INFINITE: Duration = Duration::from_secs(u32::MAX as u64);

/// A server address in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextServer {
    /// Our address for the client, written as `{server}`.
    Ours,
    /// This address. The unspecified address leaves the field empty.
    Address(Ipv4Addr),
}

/// Lease durations; whole seconds, `min <= default <= max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseTime {
    /// Lease time of a client that does not ask for one (option 51).
    pub default: Duration,
    /// Shortest lease time that is granted to a client that asks for one.
    pub min: Duration,
    /// Longest lease time that is granted to a client that asks for one.
    pub max: Duration,
}

/// Lease times of clients without any configured ones.
pub const DEFAULT_LEASE: LeaseTime = LeaseTime {
    default: Duration::from_secs(3600),
    min: Duration::from_secs(120),
    max: Duration::from_secs(3600),
};

/// The times of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// The lease time (option 51).
    pub lease: Duration,
    /// Time until renewal (T1, option 58). `None` for a lease that never ends.
    pub renew: Option<Duration>,
    /// Time until rebinding (T2, option 59). `None` for a lease that never ends.
    pub rebind: Option<Duration>,
}

impl LeaseTimes {
    /// The times of a lease of this time: T1 and T2 as configured, or else one half and seven eighths of the lease
    /// time. A configured time that does not come before the next one is replaced, because T1 must be earlier than T2,
    /// and T2 earlier than the end (RFC 2131 section 4.4.5).
    pub fn new(lease: Duration, renew: Option<LeasePart>, rebind: Option<LeasePart>) -> LeaseTimes {
        if lease == INFINITE {
            return LeaseTimes { lease, renew: None, rebind: None };
        }
        let seconds = lease.as_secs();
        let before = |part: Option<LeasePart>, end: u64| {
            part.map(|part| part.seconds_of(seconds)).filter(|time| (1..end).contains(time))
        };
        let configured = before(rebind, seconds);
        let rebind = configured.unwrap_or(seconds.saturating_sub(seconds / 8));
        let half = match configured {
            // As far before T2 as by default.
            Some(rebind) => (seconds / 2).min(rebind.saturating_mul(4) / 7),
            None => seconds / 2,
        };
        let renew = before(renew, rebind).unwrap_or(half);
        LeaseTimes {
            lease,
            renew: Some(Duration::from_secs(renew)),
            rebind: Some(Duration::from_secs(rebind)),
        }
    }
}

/// A part of a lease's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeasePart {
    /// This time from the beginning of the lease.
    Time(Duration),
    /// Thousandths of the lease time, more than none and less than all of them.
    Thousandths(u16),
}

impl LeasePart {
    /// The part of a lease of `lease` seconds, in seconds.
    pub fn seconds_of(self, lease: u64) -> u64 {
        match self {
            LeasePart::Time(time) => time.as_secs(),
            LeasePart::Thousandths(part) => lease.saturating_mul(u64::from(part)) / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(lease: u64, renew: Option<LeasePart>, rebind: Option<LeasePart>) -> [Option<u64>; 2] {
        let LeaseTimes { renew, rebind, .. } = LeaseTimes::new(Duration::from_secs(lease), renew, rebind);
        [renew, rebind].map(|time| time.map(|time| time.as_secs()))
    }

    #[test]
    fn rfc2131_4_4_5_t1_comes_before_t2_and_t2_before_the_end() {
        let part = |thousandths| Some(LeasePart::Thousandths(thousandths));
        let time = |seconds| Some(LeasePart::Time(Duration::from_secs(seconds)));
        assert_eq!(times(3600, None, None), [Some(1800), Some(3150)]);
        assert_eq!(times(3600, part(250), part(500)), [Some(900), Some(1800)]);
        assert_eq!(times(3600, time(60), time(3599)), [Some(60), Some(3599)]);
        assert_eq!(times(600, time(900), time(1200)), [Some(300), Some(525)], "a client asked for less");
        assert_eq!(times(3600, None, part(400)), [Some(822), Some(1440)]);
        assert_eq!(times(3600, time(2000), part(400)), [Some(822), Some(1440)]);
        assert_eq!(times(1, None, None), [Some(0), Some(1)]);
        assert_eq!(times(u64::from(u32::MAX), part(500), time(60)), [None, None], "never ends");
    }
}
