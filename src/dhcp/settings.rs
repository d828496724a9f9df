//! Settings of the DHCP server: subnets, pools, options, machines. `config/` builds and validates them. Decisions only
//! read them.

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

/// Everything that decisions need to know from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The mode of each interface. Settings about leases apply where it is `server`.
    pub modes: Modes,
    /// The addresses that are refused to clients that want to keep them (RFC 2131 section 4.3.2).
    pub authoritative: Authoritative,
    /// Whether clients are identified by the identifier that they send (option 61). Otherwise they are identified by
    /// their hardware address alone.
    pub match_client_id: bool,
    /// Whether every client on our own wires is answered by broadcast.
    pub always_broadcast: bool,
    /// Time to wait for an answer at an address before its first offer; `None` disables the check.
    pub conflict_check: Option<Duration>,
    /// The plain BOOTP clients that are answered.
    pub bootp: BootpMode,
    /// The suffix that completes a client's partial name in option 81; `None` means the domain option that the client
    /// gets.
    pub fqdn_suffix: Option<String>,
    /// Whether option 118 is honoured, by which a client names its subnet (RFC 3011).
    pub subnet_selection: bool,
    /// UDP ports. They differ from the standard ports only in tests and classrooms.
    pub ports: Ports,
    /// The subnets served; their networks are disjoint.
    pub subnets: Vec<Subnet>,
    /// Options for every subnet. A subnet's options override them, a class's options override the subnet's, and a
    /// machine's options override all.
    pub options: OptionSet,
    /// Classes. If a client is in several, the first class with a value takes precedence.
    pub classes: Vec<Class>,
    /// Machines with an entry. Their MACs, UUIDs, names and addresses are unique.
    pub machines: Machines,
    /// Boot files by client architecture.
    pub boot: Policy,
    /// The ports at which we serve boot files over HTTP and TFTP.
    pub served: Served,
}

/// `dhcp.authoritative`: the addresses that are refused to clients that want to keep them. In every mode, a client
/// whose lease we hold is refused any other address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authoritative {
    /// Refuse no others, because another server may have given them. If there is another server, no new address is
    /// given either.
    No,
    /// Refuse addresses of another network, and addresses that are known to belong to another machine.
    Yes,
    /// Refuse every address that we did not give the client, as ISC dhcpd and Kea do. This requires that there is no
    /// other server.
    Strict,
}

/// `dhcp.bootp`: the plain BOOTP clients (RFC 951) that are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootpMode {
    /// None.
    Off,
    /// Clients with an address in `machines`.
    Reserved,
    /// All clients; an address from the pool then belongs to its client forever (RFC 1534 section 2).
    Dynamic,
}

/// The UDP ports of DHCP, all on every interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Port of servers and relay agents.
    pub server: u16,
    /// Port of clients.
    pub client: u16,
    /// Port of the boot service. Clients that took another server's address request their boot file there.
    pub proxy: u16,
}

/// One subnet of `dhcp.subnets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub network: Ipv4Network,
    /// Pools for clients without a reservation: disjoint, in the order in which they are used. The entries of `pools`
    /// come first, then the ranges of `pool`.
    pub pools: Vec<AddressPool>,
    /// Lease times.
    pub lease: LeaseTime,
    /// Lease time for firmware and boot loaders, if it differs.
    pub boot_lease: Option<Duration>,
    /// Addresses outside `network` of relay agents whose clients are in this subnet.
    pub relays: Vec<Ipv4Addr>,
    /// Name of the wire that this subnet shares with other subnets.
    pub shared_network: Option<Arc<str>>,
    /// Options for clients in this subnet.
    pub options: OptionSet,
}

/// One entry of `pools`, or one range of `pool` of a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// Addresses inside the subnet's network.
    pub range: Ipv4Range,
    /// Options for clients with an address of this pool. They come before the subnet's options.
    pub options: OptionSet,
}

impl Subnet {
    /// The pool that contains `address`.
    pub fn pool_of(&self, address: Ipv4Addr) -> Option<&AddressPool> {
        self.pools.iter().find(|pool| pool.range.contains(address))
    }
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

/// One entry of `machines:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Name in logs.
    pub name: Arc<str>,
    /// The hardware address that identifies the machine. A machine has a hardware address, a UUID or both, and either
    /// is enough to identify it.
    pub mac: Option<MacAddr>,
    /// The UUID (option 97) that identifies the machine if no entry has the hardware address of the message.
    pub uuid: Option<Uuid>,
    /// The address reserved for the machine, inside one of the subnets.
    pub address: Option<Ipv4Addr>,
    /// The boot file that replaces the one in `boot:`.
    pub boot: Option<MachineBoot>,
    /// Options for this machine alone.
    pub options: OptionSet,
}

/// The machines of `machines:`, indexed by MAC and UUID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machines {
    list: Vec<Machine>,
    by_mac: HashMap<MacAddr, usize>,
    by_uuid: HashMap<Uuid, usize>,
    /// Machines without a MAC, by their reserved addresses.
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
    /// The machine that sent `message`, found by its hardware address or else by its UUID.
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

    /// The machine that `address` is reserved for, if it is identified only by its UUID.
    pub fn by_uuid_alone(&self, address: Ipv4Addr) -> Option<&Machine> {
        self.by_uuid_alone.get(&address).and_then(|place| self.list.get(*place))
    }

    /// Whether a machine with a reserved address is identified only by its UUID.
    pub fn has_any_by_uuid_alone(&self) -> bool {
        !self.by_uuid_alone.is_empty()
    }

    /// All machines, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Machine> {
        self.list.iter()
    }
}

impl Settings {
    /// The pools of the subnets, in the order of the configuration. Addresses reserved for machines are excluded. Each
    /// pool expects the machines that have no reserved address.
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
            let pool =
                Pool::new(subnet.network, subnet.pools.iter().map(|pool| pool.range).collect(), reserved);
            pool.with_expected(expected.clone()).on_wire(wire)
        };
        self.subnets.iter().enumerate().map(pool).collect()
    }

    /// The indices of the subnets on the wire of subnet `first`: `first` itself, then those that share its name in the
    /// order of the configuration.
    pub fn wire_of(&self, first: usize) -> impl Iterator<Item = usize> {
        let name = self.subnets.get(first).and_then(|subnet| subnet.shared_network.as_deref());
        let others = name.into_iter().flat_map(move |name| {
            let shares = move |subnet: &Subnet| subnet.shared_network.as_deref() == Some(name);
            self.subnets.iter().enumerate().filter(move |(_, subnet)| shares(subnet)).map(|(i, _)| i)
        });
        std::iter::once(first).chain(others.filter(move |i| *i != first))
    }

    /// Whether other subnets share the wire of subnet `first`.
    pub fn is_shared(&self, first: usize) -> bool {
        self.wire_of(first).nth(1).is_some()
    }
}
