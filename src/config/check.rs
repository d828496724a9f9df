//! Checks the rules of `config.yaml` that involve several keys, and builds the settings. `config::load` calls it once
//! per file, after the sections have been read.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Config;
use crate::boot::fetch::Served;
use crate::boot::loader::target::{SCRIPT, Targets};
use crate::boot::plan::Mode;
use crate::boot::policy::Policy;
use crate::config::sections::machines;
use crate::config::sections::mode::ModeSection;
use crate::config::sections::targets;
use crate::config::sections::written::{File, MachineEntry, PoolEntry, SubnetEntry};
use crate::config::syntax::reader::{At, Reader};
use crate::dhcp::mode::Modes;
use crate::dhcp::settings::{AddressPool, Machine, Settings, Subnet};
use crate::types::{Ipv4Network, Ipv4Range};

/// Builds the settings from `file`. If the reader has recorded any problem, the result is incomplete and must be
/// discarded.
pub(super) fn check(reader: &mut Reader, file: File) -> Config {
    let File { dhcp, machines, .. } = &file;
    let modes = dhcp.mode.as_ref().map(ModeSection::modes);
    if modes.as_ref().is_some_and(|modes| modes.has(Mode::Server)) && dhcp.subnets.is_empty() {
        reader.problem(dhcp.id, "with `mode: server` there must be at least one of `subnets`");
    }
    dhcp.mode.iter().for_each(|written| written.check(reader, &file.interfaces));
    if modes.as_ref().is_some_and(Modes::is_off) && file.tftp.is_none() && file.http.is_none() {
        reader.problem(file.id, "nothing is left to serve: `dhcp.mode`, `tftp` and `http` are off");
    }
    check_networks(reader, &dhcp.subnets);
    check_pools(reader, &dhcp.subnets);
    check_relays(reader, &dhcp.subnets);
    check_machines(reader, machines, &dhcp.subnets);
    let modes = modes.unwrap_or(Modes::all(None));
    let is_off = modes.is_off();
    let boot_machines = file.machines.iter().filter_map(machines::boot_machine).collect();
    let targets = targets::check(reader, &file, boot_machines);
    let File { dhcp, .. } = &file;
    let settings = Settings {
        modes,
        authoritative: dhcp.authoritative,
        match_client_id: dhcp.match_client_id,
        always_broadcast: dhcp.always_broadcast,
        conflict_check: dhcp.conflict_check,
        bootp: dhcp.bootp,
        fqdn_suffix: dhcp.fqdn_suffix.clone(),
        subnet_selection: dhcp.subnet_selection,
        ports: dhcp.ports,
        subnets: file.dhcp.subnets.into_iter().filter_map(subnet).collect(),
        options: file.dhcp.options,
        classes: file.dhcp.classes,
        machines: file
            .machines
            .into_iter()
            .filter_map(machines::dhcp_machine)
            .collect::<Vec<Machine>>()
            .into(),
        boot: boot_policy(file.boot, &targets),
        served: Served {
            http: file.http.as_ref().map(|http| http.port),
            tftp: file.tftp.as_ref().map(|tftp| tftp.port),
        },
    };
    Config {
        interfaces: file.interfaces,
        state: file.state,
        images: file.images,
        dhcp: (!is_off).then(|| Arc::new(settings)),
        targets,
        tftp: file.tftp,
        http: file.http,
        log: file.log,
        notes: Vec::new(),
        source_files: Vec::new(),
    }
}

fn subnet(written: SubnetEntry) -> Option<Subnet> {
    Some(Subnet {
        network: written.network?.value,
        pools: written.pools.into_iter().map(pool).collect(),
        lease: written.lease,
        boot_lease: written.boot_lease,
        relays: written.relays.into_iter().map(|at| at.value).collect(),
        shared_network: written.shared_network.map(Into::into),
        options: written.options,
    })
}

fn pool(written: PoolEntry) -> AddressPool {
    AddressPool { range: written.range.value, options: written.options }
}

/// Completes the policy of `boot:`. With `boot.default` set, iPXE gets the generated script of its machine instead of
/// `boot.ipxe`.
fn boot_policy(written: Policy, targets: &Targets) -> Policy {
    let has_default = targets.default.is_some();
    let ipxe = if has_default { Some(SCRIPT.into()) } else { written.ipxe };
    Policy { ipxe, has_default, has_targets: !targets.list.is_empty(), ..written }
}

/// Checks that networks contain unicast addresses only and do not overlap.
fn check_networks(reader: &mut Reader, subnets: &[SubnetEntry]) {
    let mut ranges = Vec::new();
    for at in subnets.iter().filter_map(|subnet| subnet.network) {
        if at.value.broadcast() >= Ipv4Addr::new(224, 0, 0, 0) {
            reader.problem(at.id, format!("expected a network of hosts, found {}", at.value));
        }
        ranges.extend(Ipv4Range::new(at.value.address(), at.value.broadcast()).map(|range| (at, range)));
    }
    for (at, other) in overlapping(ranges) {
        reader.conflict(at.id, other.id, format!("{} overlaps the network {}", at.value, other.value));
    }
}

/// Checks that every pool lies inside its subnet, excludes the network and broadcast addresses, and overlaps no other
/// pool.
fn check_pools(reader: &mut Reader, subnets: &[SubnetEntry]) {
    let mut ranges = Vec::new();
    for subnet in subnets {
        for pool in subnet.pools.iter().map(|pool| pool.range) {
            let Some(network) = subnet.network.map(|at| at.value) else { continue };
            let (first, last) = (pool.value.first(), pool.value.last());
            if !network.contains(first) || !network.contains(last) {
                reader.problem(pool.id, format!("expected a range inside {network}, found {}", pool.value));
                continue;
            }
            for edge in [first, last] {
                if !network.has_host(edge) {
                    reader.problem(pool.id, not_a_host(edge, network));
                    break;
                }
            }
            ranges.push((pool, pool.value));
        }
    }
    for (at, other) in overlapping(ranges) {
        reader.conflict(at.id, other.id, format!("{} overlaps the pool {}", at.value, other.value));
    }
}

fn not_a_host(address: Ipv4Addr, network: Ipv4Network) -> String {
    let what = if address == network.address() { "the network's own" } else { "its broadcast address" };
    format!("{address} cannot be given to a host of {network}: it is {what}")
}

/// Pairs each item with an earlier one that it overlaps. If several earlier ones overlap it, the pair names the one
/// that reaches furthest.
fn overlapping<T: Copy>(mut items: Vec<(At<T>, Ipv4Range)>) -> Vec<(At<T>, At<T>)> {
    items.sort_by_key(|(at, range)| (range.first(), at.id));
    let mut furthest: Option<(At<T>, Ipv4Range)> = None;
    let mut found = Vec::new();
    for (at, range) in items {
        match furthest {
            // Report the later one in the file, because that is the one to change.
            Some((other, reach)) if reach.overlaps(range) => {
                found.push(if at.id > other.id { (at, other) } else { (other, at) });
                if range.last() > reach.last() {
                    furthest = Some((at, range));
                }
            }
            _ => furthest = Some((at, range)),
        }
    }
    found
}

/// Checks that every relay agent belongs to exactly one subnet.
fn check_relays(reader: &mut Reader, subnets: &[SubnetEntry]) {
    let mut seen: HashMap<Ipv4Addr, u32> = HashMap::new();
    for (i, subnet) in subnets.iter().enumerate() {
        for relay in &subnet.relays {
            if let Some(first) = seen.get(&relay.value) {
                reader.conflict(relay.id, *first, format!("the relay {} is given twice", relay.value));
                continue;
            }
            seen.insert(relay.value, relay.id);
            let networks = subnets.iter().enumerate().filter(|(j, _)| *j != i);
            let mut networks = networks.filter_map(|(_, other)| other.network);
            if let Some(other) = networks.find(|network| network.value.contains(relay.value)) {
                let message = format!(
                    "the relay {} is in the network {}, so its clients are too",
                    relay.value, other.value
                );
                reader.conflict(relay.id, other.id, message);
            }
        }
    }
}

/// Checks that MACs, UUIDs, names and addresses are unique, and that every address lies in a subnet.
fn check_machines(reader: &mut Reader, machines: &[MachineEntry], subnets: &[SubnetEntry]) {
    check_unique(reader, "MAC", machines.iter().filter_map(|machine| machine.mac));
    check_unique(reader, "UUID", machines.iter().filter_map(|machine| machine.uuid));
    check_unique(reader, "name", machine_names(machines).into_iter());
    check_unique(reader, "address", machines.iter().filter_map(|machine| machine.address));
    let networks: Vec<Ipv4Network> =
        subnets.iter().filter_map(|subnet| subnet.network).map(|at| at.value).collect();
    // The address may belong to a subnet that could not be read. That problem is already reported.
    if networks.is_empty() || networks.len() < subnets.len() {
        return;
    }
    for address in machines.iter().filter_map(|machine| machine.address) {
        match networks.iter().find(|network| network.contains(address.value)) {
            Some(network) if !network.has_host(address.value) => {
                reader.problem(address.id, not_a_host(address.value, *network));
            }
            Some(_) => {}
            None => {
                let all: Vec<String> = networks.iter().take(4).map(ToString::to_string).collect();
                let more = if networks.len() > 4 { " …" } else { "" };
                let message = format!(
                    "expected an address in one of the subnets ({}{more}), found {}",
                    all.join(", "),
                    address.value
                );
                reader.problem(address.id, message);
            }
        }
    }
}

/// Names of all machines. A machine without a name is known by its MAC. A MAC that occurs twice is listed once,
/// because it is already reported as a duplicate MAC.
fn machine_names(machines: &[MachineEntry]) -> Vec<At<String>> {
    let mut macs = HashSet::new();
    let name = |machine: &MachineEntry| match (&machine.name, machine.mac) {
        (Some(name), _) => Some(name.clone()),
        (None, Some(mac)) => macs.insert(mac.value).then(|| At { id: mac.id, value: mac.value.to_string() }),
        (None, None) => None,
    };
    machines.iter().filter_map(name).collect()
}

fn check_unique<T: std::hash::Hash + Eq + std::fmt::Display>(
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
