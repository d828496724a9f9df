//! Settings of the DHCP server: subnets, pools, options, machines. `config/` builds and validates them. Decisions only
//! read them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::boot::fetch::Served;
use crate::boot::policy::Policy;
use crate::dhcp::classes::{ClassRef, Classes, Membership};
use crate::dhcp::level::Level;
use crate::dhcp::machines::{Machines, OnceBoots};
use crate::dhcp::mode::Modes;
use crate::types::{Ipv4Network, Ipv4Range};

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
    /// Whether replies have the client identifier of the request (RFC 6842). Some old clients discard such replies.
    pub echo_client_id: bool,
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
    /// Values for every client. A subnet's values override them, a class's values override the subnet's, and a
    /// machine's values override all.
    pub level: Level,
    /// Classes. If a client is in several, the first class with a value takes precedence.
    pub classes: Classes,
    /// Machines with an entry. Their names and addresses are unique.
    pub machines: Machines,
    /// Machines whose next boot a person has chosen.
    pub once: OnceBoots,
    /// Boot files by client architecture.
    pub boot: Policy,
    /// The addresses of other servers in `targets`. No client without a reservation gets them.
    pub target_hosts: Vec<Ipv4Addr>,
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
    /// Lease time for firmware and boot loaders, if it differs.
    pub boot_lease: Option<Duration>,
    /// Addresses and networks, outside `network`, of relay agents whose clients are in this subnet.
    pub relays: Vec<Ipv4Network>,
    /// The classes of which a client must be in one to get an address of this subnet. Empty for all clients.
    pub classes: Vec<ClassRef>,
    /// Name of the wire that this subnet shares with other subnets.
    pub shared_network: Option<Arc<str>>,
    /// Values for clients in this subnet.
    pub level: Level,
}

/// One entry of `pools`, or one range of `pool` of a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// Addresses inside the subnet's network.
    pub range: Ipv4Range,
    /// The classes of which a client must be in one to get an address of this pool. Empty for all clients.
    pub classes: Vec<ClassRef>,
    /// Values for clients with an address of this pool. They come before the subnet's.
    pub level: Level,
}

impl Subnet {
    /// The pools in groups that the same clients may use: the parts of the lease book's pool of this subnet.
    pub fn parts(&self) -> impl Iterator<Item = &[AddressPool]> {
        self.pools.chunk_by(|one, other| one.classes == other.classes)
    }

    /// The length of the longest prefix in `relays` that contains the relay agent `giaddr`.
    pub fn lists_relay(&self, giaddr: Ipv4Addr) -> Option<u8> {
        self.relays.iter().filter(|relay| relay.contains(giaddr)).map(|relay| relay.prefix()).max()
    }

    /// The pool that contains `address`.
    pub fn pool_of(&self, address: Ipv4Addr) -> Option<&AddressPool> {
        self.pools.iter().find(|pool| pool.range.contains(address))
    }
}

impl Settings {
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

    /// Whether a host on the wire of subnet `first` can have `address`.
    pub fn is_on_wire(&self, first: usize, address: Ipv4Addr) -> bool {
        let mut subnets = self.wire_of(first).filter_map(|place| self.subnets.get(place));
        subnets.any(|subnet| subnet.network.has_host(address))
    }

    /// Whether a subnet on the wire of subnet `first` admits a client with these classes.
    pub fn wire_admits(&self, first: usize, classes: &Membership<'_>) -> bool {
        let mut subnets = self.wire_of(first).filter_map(|place| self.subnets.get(place));
        subnets.any(|subnet| classes.admits(&subnet.classes))
    }

    /// Whether other subnets share the wire of subnet `first`.
    pub fn is_shared(&self, first: usize) -> bool {
        self.wire_of(first).nth(1).is_some()
    }
}
