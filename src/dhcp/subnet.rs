//! What the DHCP server is told to do: subnets, pools, options, machines; and which subnet a client is in.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::policy::{MachineBoot, Policy};
use crate::types::{Ipv4Network, Ipv4Range, MacAddr};

/// Everything decisions need to know, built and validated by `config/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// NAK an address that is wrong for the client's network (RFC 2131 section 4.3.2).
    pub authoritative: bool,
    /// Answer every client without an address by broadcast.
    pub always_broadcast: bool,
    /// Who is answered to plain BOOTP.
    pub bootp: BootpMode,
    /// UDP ports; 67 and 68 except in tests and classrooms.
    pub ports: Ports,
    /// The subnets served, networks disjoint.
    pub subnets: Vec<Subnet>,
    /// Options for every subnet; a subnet's and then a machine's own override them.
    pub options: OptionSet,
    /// Machines with an entry of their own. MACs, names and addresses are unique.
    pub machines: Vec<Machine>,
    /// Architecture → boot file.
    pub boot: Policy,
}

/// Option values by code, encoded, each fitting its kind in the option table.
pub type OptionSet = BTreeMap<u8, Vec<u8>>;

/// `dhcp.bootp`: which plain BOOTP clients (RFC 951) are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootpMode {
    /// None.
    Off,
    /// Those with an address in `machines`.
    Reserved,
    /// All; an address from the pool is then theirs for good (RFC 1534 section 2).
    Dynamic,
}

/// The UDP ports of DHCP, all on every interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Where servers and relay agents listen.
    pub server: u16,
    /// Where clients listen.
    pub client: u16,
}

/// One subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its network.
    pub network: Ipv4Network,
    /// Ranges for clients without a reservation: inside `network`, disjoint, in the order written.
    pub pools: Vec<Ipv4Range>,
    /// How long a lease lasts.
    pub lease: LeaseTime,
    /// Relay agents outside `network` whose clients are in it.
    pub relays: Vec<Ipv4Addr>,
    /// Options for clients in this subnet.
    pub options: OptionSet,
}

/// Lease durations; whole seconds, `min <= default <= max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseTime {
    /// What a client that asks for nothing (option 51) gets.
    pub default: Duration,
    /// The least that is granted to a client that asks.
    pub min: Duration,
    /// The most that is granted to a client that asks.
    pub max: Duration,
}

/// One entry of `machines:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name in logs.
    pub name: String,
    /// The hardware address it is known by.
    pub mac: MacAddr,
    /// The address reserved for it, inside one of the subnets.
    pub address: Option<Ipv4Addr>,
    /// What it boots instead of what `boot:` says.
    pub boot: Option<MachineBoot>,
    /// Options for it alone.
    pub options: OptionSet,
}
