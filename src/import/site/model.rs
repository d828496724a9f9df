//! The parts of a site: settings, classes, pools, subnets and machines.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::import::condition::Condition;
use crate::import::place::Place;

/// The lease time that both servers use for a lease without end.
pub(in crate::import) const INFINITE: u32 = u32::MAX;

/// Everything that may be set globally, for a subnet, pool, class or machine.
#[derive(Clone, Default, PartialEq, Debug)]
pub(in crate::import) struct Settings {
    /// `None` removes an option that a lower level sets.
    pub options: BTreeMap<u8, Option<Vec<u8>>>,
    /// Options that are sent even if the client does not ask for them.
    pub always: BTreeSet<u8>,
    pub lease: Lease,
    pub renew: Option<Timer>,
    pub rebind: Option<Timer>,
    pub next_server: Option<Ipv4Addr>,
    pub server_name: Option<String>,
    pub boot_file: Option<String>,
}

/// Lease times in seconds, or [`INFINITE`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(in crate::import) struct Lease {
    pub default: Option<u32>,
    pub min: Option<u32>,
    pub max: Option<u32>,
}

/// The time of T1 or T2.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::import) enum Timer {
    Seconds(u32),
    /// A part of the lease time, in thousandths.
    Share(u32),
}

/// The level at which the settings of a class count. A level comes before those after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::import) enum Level {
    Machine,
    Class,
    Subnet,
    Global,
}

/// A class.
#[derive(Clone, Debug)]
pub(in crate::import) struct Class {
    pub place: Place,
    pub name: String,
    /// `None` for a class that has members only by `machines[].class`.
    pub condition: Option<Condition>,
    pub is_ignored: bool,
    pub settings: Settings,
    /// The level of the boot file and its server, and of the lease time.
    pub level: Level,
    /// The level of the options.
    pub options_level: Level,
    pub comments: Vec<String>,
}

/// A range of addresses, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::import) struct Range {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
}

#[derive(Clone, Debug)]
pub(in crate::import) struct Pool {
    pub place: Place,
    pub ranges: Vec<Range>,
    /// Only clients in one of these classes get addresses. Empty: all clients.
    pub classes: Vec<String>,
    pub settings: Settings,
}

#[derive(Clone, Debug)]
pub(in crate::import) struct Subnet {
    pub place: Place,
    pub network: Ipv4Addr,
    pub prefix: u8,
    pub shared: Option<String>,
    pub classes: Vec<String>,
    pub relays: Vec<Ipv4Addr>,
    pub pools: Vec<Pool>,
    pub settings: Settings,
    pub comments: Vec<String>,
}

impl Subnet {
    pub fn name(&self) -> String {
        format!("{}/{}", self.network, self.prefix)
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
        u32::from(address) & mask == u32::from(self.network)
    }
}

/// The identifier of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::import) enum Identifier {
    Mac([u8; 6]),
    ClientId(Vec<u8>),
    CircuitId(Vec<u8>),
    RemoteId(Vec<u8>),
}

#[derive(Clone, Debug)]
pub(in crate::import) struct Machine {
    pub place: Place,
    pub name: Option<String>,
    pub identifiers: Vec<Identifier>,
    pub addresses: Vec<Ipv4Addr>,
    pub is_ignored: bool,
    pub classes: Vec<String>,
    pub settings: Settings,
    pub comments: Vec<String>,
}

/// A whole configuration.
#[derive(Debug, Default)]
pub(in crate::import) struct Site {
    pub header: Vec<String>,
    /// Empty: all interfaces.
    pub interfaces: Vec<String>,
    /// Whether a client with an address that this server did not give is refused.
    pub is_authoritative: bool,
    pub ignores_client_id: bool,
    /// Whether replies do not repeat the client identifier.
    pub hides_client_id: bool,
    pub always_broadcast: bool,
    pub bootp: Bootp,
    pub conflict_check: Option<bool>,
    pub decline_time: Option<u32>,
    pub settings: Settings,
    pub classes: Vec<Class>,
    pub subnets: Vec<Subnet>,
    pub machines: Vec<Machine>,
}

/// The answer to plain BOOTP.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(in crate::import) enum Bootp {
    #[default]
    Reserved,
    Dynamic,
    Off,
}

impl Settings {
    /// Takes every value of `lower` that is not set here.
    pub fn inherit(&mut self, lower: &Settings) {
        for (code, value) in &lower.options {
            self.options.entry(*code).or_insert_with(|| value.clone());
        }
        self.always.extend(&lower.always);
        self.lease.default = self.lease.default.or(lower.lease.default);
        self.lease.min = self.lease.min.or(lower.lease.min);
        self.lease.max = self.lease.max.or(lower.lease.max);
        self.renew = self.renew.or(lower.renew);
        self.rebind = self.rebind.or(lower.rebind);
        self.next_server = self.next_server.or(lower.next_server);
        self.server_name = self.server_name.take().or_else(|| lower.server_name.clone());
        self.boot_file = self.boot_file.take().or_else(|| lower.boot_file.clone());
    }

    /// Removes every value that `other` has.
    pub fn remove(&mut self, other: &Settings) {
        self.options.retain(|code, _| !other.options.contains_key(code));
        self.always.retain(|code| !other.options.contains_key(code));
        clear(&mut self.lease.default, other.lease.default.is_some());
        clear(&mut self.lease.min, other.lease.min.is_some());
        clear(&mut self.lease.max, other.lease.max.is_some());
        clear(&mut self.renew, other.renew.is_some());
        clear(&mut self.rebind, other.rebind.is_some());
        clear(&mut self.next_server, other.next_server.is_some());
        clear(&mut self.server_name, other.server_name.is_some());
        clear(&mut self.boot_file, other.boot_file.is_some());
    }

    /// Whether every value that `other` has is set here too.
    pub fn covers(&self, other: &Settings) -> bool {
        let mut rest = other.clone();
        rest.remove(self);
        rest.always.clear();
        rest.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        *self == Settings::default()
    }
}

fn clear<T>(value: &mut Option<T>, is_set: bool) {
    if is_set {
        *value = None;
    }
}
