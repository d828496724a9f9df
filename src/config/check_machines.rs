//! Checks the rules of `machines:` that involve several entries or other sections. Called by `check.rs`.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::net::Ipv4Addr;

use crate::boot::plan::Mode;
use crate::config::sections::written::{DhcpSection, File, MachineEntry, SubnetEntry};
use crate::config::settings::Interfaces;
use crate::config::syntax::reader::{At, Reader};
use crate::dhcp::mode::Modes;
use crate::types::{Ipv4Network, MacAddr};

/// Checks that keys, names and addresses are unique, and that every address lies in a subnet.
pub(super) fn check_machines(reader: &mut Reader, file: &File, modes: Option<&Modes>) {
    let File { dhcp, machines, .. } = file;
    check_unique(reader, "UUID", machines.iter().filter_map(|machine| machine.uuid));
    let ids = machines.iter().filter_map(|machine| machine.client_id.as_ref());
    check_unique(reader, "client id", ids.map(|at| At { id: at.id, value: at.value.text.clone() }));
    let ports = machines.iter().filter_map(|machine| machine.port.as_ref());
    check_unique(reader, "port", ports.map(|at| At { id: at.id, value: Shown(&at.value) }));
    check_unique(reader, "name", machine_names(machines).into_iter());
    check_unique(reader, "address", machines.iter().flat_map(|machine| machine.addresses.iter().copied()));
    let networks: Vec<Ipv4Network> =
        dhcp.subnets.iter().filter_map(|subnet| subnet.network).map(|at| at.value).collect();
    check_macs(reader, machines, &networks);
    // An address may belong to a subnet that could not be read. That problem is already reported.
    if !networks.is_empty() && networks.len() == dhcp.subnets.len() {
        check_addresses(reader, machines, &networks);
    }
    match modes {
        Some(modes) if !modes.has(Mode::Server) => note_unused_addresses(reader, machines),
        Some(_) => note_second_subnet(reader, file),
        None => {}
    }
}

/// A value of which the key is compared by its text.
struct Shown<'a, T>(&'a T);

impl<T: Eq> PartialEq for Shown<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Eq> Eq for Shown<'_, T> {}

impl<T: Hash> Hash for Shown<'_, T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: Display> Display for Shown<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Checks that entries with the same MAC have addresses in different subnets.
fn check_macs(reader: &mut Reader, machines: &[MachineEntry], networks: &[Ipv4Network]) {
    let network_of = |address: &At<Ipv4Addr>| networks.iter().position(|n| n.contains(address.value));
    let mut seen: HashMap<MacAddr, Vec<(u32, &MachineEntry)>> = HashMap::new();
    for machine in machines {
        for mac in &machine.macs {
            let others = seen.entry(mac.value).or_default();
            let is_apart = |other: &MachineEntry| {
                let places: HashSet<_> = other.addresses.iter().map(network_of).collect();
                let is_elsewhere = |address: &At<Ipv4Addr>| !places.contains(&network_of(address));
                !std::ptr::eq(other, machine)
                    && !other.addresses.is_empty()
                    && !machine.addresses.is_empty()
                    && machine.addresses.iter().all(is_elsewhere)
            };
            if let Some((first, other)) = others.iter().find(|(_, other)| !is_apart(other)) {
                let hint = match machine.addresses.is_empty() || other.addresses.is_empty() {
                    true => "",
                    false => ", and its address is in the same subnet",
                };
                let message = format!("another machine has the MAC {} already{hint}", mac.value);
                reader.conflict(mac.id, *first, message);
            } else {
                others.push((mac.id, machine));
            }
        }
    }
}

/// Checks that each address can be given to a host of a subnet, and that a machine has at most one in each.
fn check_addresses(reader: &mut Reader, machines: &[MachineEntry], networks: &[Ipv4Network]) {
    for machine in machines {
        let mut taken: HashMap<usize, u32> = HashMap::new();
        for address in &machine.addresses {
            let place = networks.iter().position(|network| network.contains(address.value));
            let Some((place, network)) = place.and_then(|place| Some((place, networks.get(place)?))) else {
                let all: Vec<String> = networks.iter().take(4).map(ToString::to_string).collect();
                let more = if networks.len() > 4 { " …" } else { "" };
                let message = format!(
                    "expected an address in one of the subnets ({}{more}), found {}",
                    all.join(", "),
                    address.value
                );
                reader.problem(address.id, message);
                continue;
            };
            if !network.has_host(address.value) {
                reader.problem(address.id, not_a_host(address.value, *network));
            } else if let Some(first) = taken.insert(place, address.id) {
                reader.conflict(
                    address.id,
                    first,
                    format!("the machine has an address in {network} already"),
                );
            }
        }
    }
}

pub(super) fn not_a_host(address: Ipv4Addr, network: Ipv4Network) -> String {
    let what = if address == network.address() { "the network's own" } else { "its broadcast address" };
    format!("{address} cannot be given to a host of {network}: it is {what}")
}

/// Notes that addresses of machines have no effect, because no interface is in server mode.
fn note_unused_addresses(reader: &mut Reader, machines: &[MachineEntry]) {
    let mut addresses = machines.iter().flat_map(|machine| &machine.addresses);
    let Some(first) = addresses.next() else { return };
    let more = match addresses.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let message = format!(
        "{} is not given{more}: without `mode: server` another DHCP server gives the addresses",
        first.value
    );
    reader.note(first.id, message);
}

/// Notes that a machine of the second subnet of an interface may need a shared network.
fn note_second_subnet(reader: &mut Reader, file: &File) {
    let Interfaces::Named(interfaces) = &file.interfaces else { return };
    let [interface] = &interfaces[..] else { return };
    let DhcpSection { subnets, .. } = &file.dhcp;
    let has_relays = subnets.iter().any(|subnet| !subnet.relays.is_empty());
    let [first, others @ ..] = &subnets[..] else { return };
    let Some(first) = first.network.filter(|_| !has_relays) else { return };
    let is_alone = |subnet: &&SubnetEntry| subnet.shared_network.is_none();
    let others: Vec<Ipv4Network> =
        others.iter().filter(is_alone).filter_map(|subnet| subnet.network).map(|at| at.value).collect();
    let is_in_other = |address: &&At<Ipv4Addr>| others.iter().any(|network| network.contains(address.value));
    let mut addresses = file.machines.iter().flat_map(|machine| &machine.addresses).filter(is_in_other);
    let Some(address) = addresses.next() else { return };
    let message = format!(
        "{} is not given to a machine that asks in {}: if {interface} has an address in several of the subnets, and they \
         are one wire, give them the same `shared_network`",
        address.value, first.value
    );
    reader.note(address.id, message);
}

/// Names of all machines. A machine without a name is known by its first key. A MAC that occurs twice is listed once.
fn machine_names(machines: &[MachineEntry]) -> Vec<At<String>> {
    let mut macs = HashSet::new();
    let name = |machine: &MachineEntry| match (&machine.name, machine.macs.first()) {
        (Some(name), _) => Some(name.clone()),
        (None, Some(mac)) => macs.insert(mac.value).then(|| At { id: mac.id, value: mac.value.to_string() }),
        (None, None) => None,
    };
    machines.iter().filter_map(name).collect()
}

fn check_unique<T: Hash + Eq + Display>(
    reader: &mut Reader,
    what: &str,
    values: impl Iterator<Item = At<T>>,
) {
    let mut seen: HashMap<T, u32> = HashMap::new();
    for At { id, value } in values {
        match seen.get(&value) {
            Some(first) => {
                reader.conflict(id, *first, format!("another machine has the {what} {value} already"));
            }
            None => {
                seen.insert(value, id);
            }
        }
    }
}
