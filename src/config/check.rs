//! Checks the rules of `config.yaml` that involve several keys, and builds the settings. `config::load` calls it once
//! per file, after the sections have been read.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::fetch::Served;
use crate::boot::loader::target::{SCRIPT, Targets};
use crate::boot::plan::Mode;
use crate::boot::policy::Policy;
use crate::config::check_machines::{check_machines, not_a_host};
use crate::config::sections::machines;
use crate::config::sections::mode::ModeSection;
use crate::config::sections::routers::check_routers;
use crate::config::sections::targets;
use crate::config::sections::written::{DhcpSection, File, PoolEntry, SubnetEntry};
use crate::config::settings::Config;
use crate::config::syntax::reader::{At, Reader};
use crate::dhcp::level::{DEFAULT_LEASE, INFINITE, Level};
use crate::dhcp::machines::{Machine, OnceBoots};
use crate::dhcp::mode::Modes;
use crate::dhcp::named_addresses::{NamedAddress, hosts_of_targets, named_addresses};
use crate::dhcp::options::OptionValue;
use crate::dhcp::settings::{AddressPool, Settings, Subnet};
use crate::types::{HostOrNetwork, Ipv4Network, Ipv4Range};
use crate::wire::option::code;

/// Maximum number of addresses that a note lists.
const MAX_NAMED: usize = 8;

/// Builds the settings from `file`. If the reader has recorded any problem, the result is incomplete and must be
/// discarded.
pub(super) fn check(reader: &mut Reader, file: File) -> Config {
    let File { dhcp, .. } = &file;
    let modes = dhcp.mode.as_ref().map(ModeSection::modes);
    if modes.as_ref().is_some_and(|modes| modes.has(Mode::Server)) && dhcp.subnets.is_empty() {
        reader.problem(dhcp.id, "with `mode: server` there must be at least one of `subnets`");
    }
    dhcp.mode.iter().for_each(|written| written.check(reader, &file.interfaces));
    if modes.as_ref().is_some_and(Modes::is_off) && file.tftp.is_none() && file.http.is_none() {
        reader.problem(file.id, "nothing is left to serve: `dhcp.mode`, `tftp` and `http` are off");
    }
    check_subnets(reader, &dhcp.subnets);
    check_times(reader, dhcp);
    note_lost_default_routes(reader, dhcp);
    check_machines(reader, &file, modes.as_ref());
    if modes.as_ref().is_some_and(|modes| modes.has(Mode::Server)) {
        check_routers(reader, dhcp, &file.machines);
    }
    let modes = modes.unwrap_or(Modes::all(None));
    let is_off = modes.is_off();
    let boot_machines = file.machines.iter().filter_map(machines::boot_machine).collect();
    let targets = targets::check(reader, &file, boot_machines);
    let File { dhcp, .. } = &file;
    let pools: Vec<At<Ipv4Range>> =
        dhcp.subnets.iter().flat_map(|subnet| subnet.pools.iter().map(|pool| pool.range)).collect();
    let settings = Settings {
        modes,
        authoritative: dhcp.authoritative,
        match_client_id: dhcp.match_client_id,
        echo_client_id: dhcp.echo_client_id,
        always_broadcast: dhcp.always_broadcast,
        conflict_check: dhcp.conflict_check,
        bootp: dhcp.bootp,
        fqdn_suffix: dhcp.fqdn_suffix.clone(),
        subnet_selection: dhcp.subnet_selection,
        ports: dhcp.ports,
        subnets: file.dhcp.subnets.into_iter().filter_map(subnet).collect(),
        level: file.dhcp.level,
        classes: file.dhcp.classes.into_iter().map(|entry| entry.class).collect::<Vec<_>>().into(),
        machines: file
            .machines
            .into_iter()
            .filter_map(machines::dhcp_machine)
            .collect::<Vec<Machine>>()
            .into(),
        once: OnceBoots::default(),
        boot: boot_policy(file.boot, &targets),
        target_hosts: hosts_of_targets(&targets),
        served: Served {
            http: file.http.as_ref().map(|http| http.port),
            tftp: file.tftp.as_ref().map(|tftp| tftp.port),
        },
    };
    if settings.modes.has(Mode::Server) {
        note_named_addresses(reader, &pools, &settings);
    }
    Config {
        interfaces: file.interfaces,
        state: file.state,
        images: file.images,
        dhcp: (!is_off).then(|| Arc::new(settings)),
        targets: targets.into(),
        tftp: file.tftp,
        http: file.http,
        web: file.web,
        syslog: file.syslog,
        log: file.log,
        notes: Vec::new(),
        source_files: Vec::new(),
    }
}

fn check_subnets(reader: &mut Reader, subnets: &[SubnetEntry]) {
    check_networks(reader, subnets);
    check_pools(reader, subnets);
    check_relays(reader, subnets);
}

fn subnet(written: SubnetEntry) -> Option<Subnet> {
    Some(Subnet {
        network: written.network?.value,
        pools: written.pools.into_iter().map(pool).collect(),
        boot_lease: written.boot_lease,
        relays: written.relays.into_iter().map(|at| at.value.0).collect(),
        classes: written.classes,
        shared_network: written.shared_network.map(Into::into),
        level: written.level,
    })
}

fn pool(written: PoolEntry) -> AddressPool {
    AddressPool { range: written.range.value, classes: written.classes, level: written.level }
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

/// Checks that leases are renewed before they are rebound, and rebound before they end (RFC 2131 section 4.4.5).
fn check_times(reader: &mut Reader, dhcp: &DhcpSection) {
    for subnet in &dhcp.subnets {
        let (renew, rebind) =
            (subnet.level.renew.or(dhcp.level.renew), subnet.level.rebind.or(dhcp.level.rebind));
        let lease = subnet.level.lease.unwrap_or(DEFAULT_LEASE).default;
        if lease == INFINITE || renew.is_none() && rebind.is_none() {
            continue;
        }
        let place = subnet.times.or(dhcp.times).or(subnet.network.map(|at| at.id));
        let Some(id) = place else { continue };
        let lease = lease.as_secs();
        let t2 = rebind.map(|part| part.seconds_of(lease));
        let t1 = renew.map(|part| part.seconds_of(lease));
        if let Some(t2) = t2.filter(|t2| *t2 >= lease) {
            let message = format!("expected `rebind` before the end of the lease ({lease} s), found {t2} s");
            reader.problem(id, message);
            continue;
        }
        let end = t2.unwrap_or(lease.saturating_sub(lease / 8));
        if let Some(t1) = t1.filter(|t1| *t1 >= end) {
            reader.problem(id, format!("expected `renew` before `rebind` ({end} s), found {t1} s"));
        }
    }
}

/// Notes classless routes without a default route where `router` is set. Clients that ask for classless routes ignore
/// `router` (RFC 3442), so they get no default route.
fn note_lost_default_routes(reader: &mut Reader, dhcp: &DhcpSection) {
    let has_router = |level: &Level| level.options.get(code::ROUTER).is_some_and(OptionValue::is_sent);
    let is_set = has_router(&dhcp.level) || dhcp.subnets.iter().any(|subnet| has_router(&subnet.level));
    for (id, is_beside) in std::mem::take(&mut reader.routes_without_default) {
        if is_beside || is_set {
            reader.note(
                id,
                "clients that ask for these routes ignore `router` (RFC 3442) and get no default route: add {to: \
                 0.0.0.0/0, via: …} with the address of the router",
            );
        }
    }
}

/// Checks that every relay agent belongs to exactly one subnet. A relay agent may be in several that share a wire, or
/// that admit different classes. Of networks in one another, the longest prefix counts.
fn check_relays(reader: &mut Reader, subnets: &[SubnetEntry]) {
    let mut seen: HashMap<HostOrNetwork, (u32, &SubnetEntry)> = HashMap::new();
    for (i, subnet) in subnets.iter().enumerate() {
        for relay in &subnet.relays {
            if let Some((first, other)) = seen.get(&relay.value).copied() {
                let is_shared =
                    subnet.shared_network.is_some() && subnet.shared_network == other.shared_network;
                let is_guarded = !subnet.classes.is_empty() || !other.classes.is_empty();
                if std::ptr::eq(subnet, other) || !(is_shared || is_guarded) {
                    reader.conflict(relay.id, first, format!("the relay {} is given twice", relay.value));
                    continue;
                }
            } else {
                seen.insert(relay.value, (relay.id, subnet));
            }
            let networks = subnets.iter().enumerate().filter(|(j, _)| *j != i);
            let mut networks = networks.filter_map(|(_, other)| other.network);
            let agents = relay.value.0;
            let is_inside = |network: Ipv4Network| {
                network.contains(agents.address()) && network.prefix() <= agents.prefix()
            };
            if let Some(other) = networks.find(|network| is_inside(network.value)) {
                let message = format!(
                    "the relay {} is in the network {}, so its clients are too",
                    relay.value, other.value
                );
                reader.conflict(relay.id, other.id, message);
            }
        }
    }
}

/// Notes the addresses in each pool that routers, servers or relay agents have, because no client gets them.
fn note_named_addresses(reader: &mut Reader, pools: &[At<Ipv4Range>], settings: &Settings) {
    let mut named: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
    for NamedAddress { address, key } in named_addresses(settings) {
        named.entry(address).or_insert(key);
    }
    for pool in pools {
        let inside = || named.range(pool.value.first()..=pool.value.last());
        let shown: Vec<String> =
            inside().take(MAX_NAMED).map(|(address, key)| format!("{address} (`{key}`)")).collect();
        if shown.is_empty() {
            continue;
        }
        let more = match inside().count().saturating_sub(shown.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message =
            format!("never given to clients, because other keys name them: {}{more}", shown.join(", "));
        reader.note(pool.id, message);
    }
}
