//! What the DHCP server is told to do: subnets, pools, options, machines. `config/` builds and validates it.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::boot::fetch::Served;
use crate::boot::machine_boot::MachineBoot;
use crate::boot::policy::Policy;
use crate::dhcp::classes::Class;
use crate::dhcp::mode::Modes;
use crate::dhcp::options::OptionSet;
use crate::lease::{Expected, Pool};
use crate::types::{Ipv4Network, Ipv4Range, MacAddr, Uuid};
use crate::wire::dhcp::Message;
use crate::wire::pxe;

/// Everything decisions need to know, built and validated by `config/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What lanboot is on which interface. What leases are about is for those where it is the server.
    pub modes: Modes,
    /// The addresses that clients are refused when they want to keep them (RFC 2131 section 4.3.2).
    pub authoritative: Authoritative,
    /// Know clients by the identifier that they send (option 61); if not, by their hardware address alone.
    pub match_client_id: bool,
    /// Answer every client on our own wires by broadcast.
    pub always_broadcast: bool,
    /// How long to wait for somebody to answer at an address before its first offer; `None`: it is not checked.
    pub conflict_check: Option<Duration>,
    /// Who is answered to plain BOOTP.
    pub bootp: BootpMode,
    /// What completes a client's partial name in option 81; `None` means the domain option that it gets.
    pub fqdn_suffix: Option<String>,
    /// Honour option 118, by which a client names its subnet (RFC 3011).
    pub subnet_selection: bool,
    /// UDP ports; 67 and 68 except in tests and classrooms.
    pub ports: Ports,
    /// The subnets served, networks disjoint.
    pub subnets: Vec<Subnet>,
    /// Options for every subnet. A subnet's override them, those of a client's classes these, and its machine's all.
    pub options: OptionSet,
    /// Classes; where two that a client is in say different things, the earlier one counts.
    pub classes: Vec<Class>,
    /// Machines with an entry of their own. MACs, UUIDs, names and addresses are unique.
    pub machines: Machines,
    /// Architecture → boot file.
    pub boot: Policy,
    /// How boot files are fetched from us.
    pub served: Served,
}

/// `dhcp.authoritative`: which addresses are refused that clients want to keep. A client whose lease we hold is refused
/// any other address in each case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authoritative {
    /// No others, because another server may have given them; beside one, no new address is given either.
    No,
    /// Those of another network, and those that are known to belong to another machine.
    Yes,
    /// Every address that we did not give the client, as ISC dhcpd and Kea do: there is no other server.
    Strict,
}

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
    /// Where the boot service listens: clients that took another server's address ask there for their file.
    pub proxy: u16,
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
    /// How long one lasts that firmware or a boot loader gets, where that is another time.
    pub boot_lease: Option<Duration>,
    /// Relay agents outside `network` whose clients are in it.
    pub relays: Vec<Ipv4Addr>,
    /// The name of the wire that it shares with other subnets.
    pub shared_network: Option<Arc<str>>,
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
    pub name: Arc<str>,
    /// The hardware address it is known by. It has this, a UUID or both; either is enough to be known.
    pub mac: Option<MacAddr>,
    /// The UUID it is known by (option 97), where the hardware address is not of a machine with an entry.
    pub uuid: Option<Uuid>,
    /// The address reserved for it, inside one of the subnets.
    pub address: Option<Ipv4Addr>,
    /// What it boots instead of what `boot:` says.
    pub boot: Option<MachineBoot>,
    /// Options for it alone.
    pub options: OptionSet,
}

/// The machines, found by MAC or UUID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machines {
    list: Vec<Machine>,
    by_mac: HashMap<MacAddr, usize>,
    by_uuid: HashMap<Uuid, usize>,
    /// Of those without a MAC, by their addresses.
    by_uuid_alone: HashMap<Ipv4Addr, usize>,
}

impl From<Vec<Machine>> for Machines {
    fn from(list: Vec<Machine>) -> Machines {
        let places = || list.iter().enumerate();
        let by_mac = places().filter_map(|(i, machine)| Some((machine.mac?, i))).collect();
        let by_uuid = places().filter_map(|(i, machine)| Some((machine.uuid?, i))).collect();
        let alone = places().filter(|(_, machine)| machine.mac.is_none());
        let by_uuid_alone = alone.filter_map(|(i, machine)| Some((machine.address?, i))).collect();
        Machines { list, by_mac, by_uuid, by_uuid_alone }
    }
}

impl Machines {
    /// The machine that sent `message`: by its hardware address, else by its UUID.
    pub fn that_sent(&self, message: &Message) -> Option<&Machine> {
        let by_mac = message.mac().and_then(|mac| self.by_mac.get(&mac));
        let by_uuid = || pxe::machine_uuids(&message.options)?.iter().find_map(|uuid| self.by_uuid.get(uuid));
        let place = by_mac.or_else(|| if self.by_uuid.is_empty() { None } else { by_uuid() })?;
        self.list.get(*place)
    }

    /// The machine with hardware address `mac`.
    pub fn with_mac(&self, mac: MacAddr) -> Option<&Machine> {
        self.by_mac.get(&mac).and_then(|place| self.list.get(*place))
    }

    /// The machine that `address` is reserved for, if only its UUID is known.
    pub fn by_uuid_alone(&self, address: Ipv4Addr) -> Option<&Machine> {
        self.by_uuid_alone.get(&address).and_then(|place| self.list.get(*place))
    }

    /// Whether there is one of which only the UUID is known.
    pub fn has_any_by_uuid_alone(&self) -> bool {
        !self.by_uuid_alone.is_empty()
    }

    /// All machines, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = &Machine> {
        self.list.iter()
    }
}

impl Settings {
    /// The pools of the subnets, in their order: addresses reserved for machines are taken out, and machines without one
    /// are expected in each.
    pub fn pools(&self) -> Vec<Pool> {
        let without: Vec<&Machine> =
            self.machines.iter().filter(|machine| machine.address.is_none()).collect();
        let macs: HashSet<MacAddr> = without.iter().filter_map(|machine| machine.mac).collect();
        let others = without.iter().filter(|machine| machine.mac.is_none()).count();
        let expected = Expected { macs: Arc::new(macs), others };
        let pool = |(place, subnet): (usize, &Subnet)| {
            let wire = self.is_shared(place).then(|| self.wire_of(place).min()).flatten();
            let reserved = self.machines.iter().filter_map(|machine| machine.address);
            let reserved = reserved.filter(|address| subnet.network.contains(*address));
            let pool = Pool::new(subnet.network, subnet.pools.clone(), reserved);
            pool.expecting(expected.clone()).on_wire(wire)
        };
        self.subnets.iter().enumerate().map(pool).collect()
    }

    /// The subnets on the wire of subnet `first`, by their places: itself, then those that share its name in the order
    /// written.
    pub fn wire_of(&self, first: usize) -> impl Iterator<Item = usize> {
        let name = self.subnets.get(first).and_then(|subnet| subnet.shared_network.as_deref());
        let others = name.into_iter().flat_map(move |name| {
            let shares = move |subnet: &Subnet| subnet.shared_network.as_deref() == Some(name);
            self.subnets.iter().enumerate().filter(move |(_, subnet)| shares(subnet)).map(|(i, _)| i)
        });
        std::iter::once(first).chain(others.filter(move |i| *i != first))
    }

    /// Whether subnet `first` has its wire in common with others.
    pub fn is_shared(&self, first: usize) -> bool {
        self.wire_of(first).nth(1).is_some()
    }
}
