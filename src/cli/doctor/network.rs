//! Judges interfaces, addresses, routes and bridges.

use std::net::Ipv4Addr;

use super::facts::{Facts, Link, Route};
use super::finding::{Finding, word};
use crate::boot::plan::Mode;
use crate::config::{Config, Interfaces};
use crate::dhcp::settings::{Settings, Subnet};
use crate::net::interface::Interface;
use crate::types::Ipv4Network;

const NOT_SERVED: &str = "lanboot serves only interfaces that are up and have an IPv4 address";

/// Judges everything about the network of this computer.
pub(super) fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut found = interfaces(config, facts);
    if let Some(settings) = &config.dhcp {
        found.extend(addresses(config, settings, facts));
        found.extend(routes(settings, facts));
    }
    found.extend(reverse_path(config, facts));
    found.extend(bridges(config, facts));
    found
}

/// The interfaces of the configuration, or those that `auto` could mean.
fn wanted<'f>(config: &Config, facts: &'f Facts) -> Vec<&'f Interface> {
    let is_port = |interface: &Interface| link(facts, &interface.name).is_some_and(|it| it.master.is_some());
    facts
        .interfaces
        .iter()
        .filter(|interface| match &config.interfaces {
            Interfaces::Named(names) => names.iter().any(|name| **name == *interface.name),
            Interfaces::Auto => !interface.loopback && !is_port(interface),
        })
        .collect()
}

/// The interfaces that are served now.
pub(super) fn served<'f>(config: &Config, facts: &'f Facts) -> Vec<&'f Interface> {
    let mut served = wanted(config, facts);
    served.retain(|interface| interface.up && !interface.addresses.is_empty());
    served
}

fn link<'f>(facts: &'f Facts, name: &str) -> Option<&'f Link> {
    facts.links.iter().find(|link| link.name == name)
}

fn interfaces(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let wanted = wanted(config, facts);
    if let Interfaces::Named(names) = &config.interfaces {
        for name in names.iter().filter(|name| wanted.iter().all(|interface| *interface.name != ***name)) {
            found.push(Finding::problem(
                "interface_missing",
                format!("interface {name} of `interfaces` does not exist"),
                NOT_SERVED,
                "ip -brief link".to_owned(),
            ));
        }
    } else if !served(config, facts).is_empty() {
        // With `auto`, other interfaces may be down or without an address on purpose.
        return found;
    }
    for interface in wanted {
        let name = word(&interface.name);
        if !interface.up {
            found.push(Finding::problem(
                "interface_down",
                format!("interface {} is down", interface.name),
                NOT_SERVED,
                format!("ip link set {name} up"),
            ));
        }
        if interface.addresses.is_empty() {
            let subnets = config.dhcp.as_ref().map_or(&[][..], |settings| &settings.subnets);
            let fix = match unserved(subnets, facts).and_then(|subnet| own_address(subnet, config)) {
                Some((address, prefix)) => format!("ip address add {address}/{prefix} dev {name}"),
                None => format!("dhclient {name}"),
            };
            found.push(Finding::problem(
                "interface_without_address",
                format!("interface {} has no IPv4 address", interface.name),
                NOT_SERVED,
                fix,
            ));
        }
    }
    found
}

/// The first subnet in which this computer has no address and that no relay agent is named for.
fn unserved<'s>(subnets: &'s [Subnet], facts: &Facts) -> Option<&'s Subnet> {
    let own = |subnet: &Subnet| {
        facts.interfaces.iter().any(|one| one.addresses.iter().any(|own| subnet.network.contains(*own)))
    };
    subnets.iter().find(|subnet| subnet.relays.is_empty() && !own(subnet))
}

/// An address for this computer in `subnet`: the first that is in no pool and belongs to no machine.
fn own_address(subnet: &Subnet, config: &Config) -> Option<(Ipv4Addr, u8)> {
    /// The most addresses that are tried. A pool may fill a large network.
    const MAX_TRIED: u32 = 1 << 16;
    let network = subnet.network;
    let machines = config.dhcp.iter().flat_map(|settings| settings.machines.iter());
    let reserved: Vec<Ipv4Addr> = machines.flat_map(|machine| machine.addresses.iter().copied()).collect();
    let first = u32::from(network.address());
    (first..=u32::from(network.broadcast()).min(first.saturating_add(MAX_TRIED)))
        .map(Ipv4Addr::from)
        .find(|address| {
            network.has_host(*address)
                && !reserved.contains(address)
                && !subnet.pools.iter().any(|pool| pool.range.contains(*address))
        })
        .map(|address| (address, network.prefix()))
}

/// Served interfaces in server mode whose clients get no address, because the interface is in none of the subnets.
fn addresses(config: &Config, settings: &Settings, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for interface in served(config, facts) {
        let is_inside =
            |address: &Ipv4Addr| settings.subnets.iter().any(|subnet| subnet.network.contains(*address));
        let is_server = settings.modes.on(&interface.name) == Some(Mode::Server);
        if !is_server || interface.addresses.iter().any(is_inside) {
            continue;
        }
        let Some(subnet) = unserved(&settings.subnets, facts) else { continue };
        let Some((address, prefix)) = own_address(subnet, config) else { continue };
        let own: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        found.push(Finding::problem(
            "address_off_subnets",
            format!(
                "{} has {}, which is in none of `dhcp.subnets`; {} has no address of this computer",
                interface.name,
                own.join(", "),
                subnet.network
            ),
            "clients on an interface get an address only if the interface is in their subnet",
            format!("ip address add {address}/{prefix} dev {}", word(&interface.name)),
        ));
    }
    found
}

/// The route that the kernel takes to `address`: the longest prefix, then the smallest metric.
fn route_to(routes: &[Route], address: Ipv4Addr) -> Option<&Route> {
    let fitting = routes.iter().filter(|route| route.network.contains(address));
    fitting.min_by_key(|route| (std::cmp::Reverse(route.network.prefix()), route.metric))
}

fn routes(settings: &Settings, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if !settings.modes.has(Mode::Server) || facts.routes.is_empty() && facts.interfaces.is_empty() {
        return found;
    }
    for subnet in &settings.subnets {
        let network = subnet.network;
        let client = subnet.pools.first().map_or(network.address(), |pool| pool.range.first());
        let route = route_to(&facts.routes, client);
        let is_here = |one: &&Interface| one.addresses.iter().any(|own| network.contains(*own));
        match facts.interfaces.iter().find(is_here) {
            Some(interface) => {
                if let Some(route) = route.filter(|route| route.device.as_deref() != Some(&interface.name)) {
                    found.push(Finding::problem(
                        "route_elsewhere",
                        format!(
                            "packets to {client} do not leave on {}, which is in {network}, but {}",
                            interface.name,
                            way(route)
                        ),
                        "replies and files go where no client of the subnet is",
                        delete(route),
                    ));
                }
            }
            None if route.is_none_or(|route| route.device.is_none()) => {
                let what = format!("there is no route to {network}, which is behind a relay agent");
                let fix = match route {
                    Some(route) => delete(route),
                    None => format!("ip route add {network} via {}", gateway(subnet, facts)),
                };
                let why = "replies to relay agents and files for their clients cannot be sent";
                found.push(Finding::problem("no_route_to_subnet", what, why, fix));
            }
            None => {}
        }
    }
    found
}

/// The router to `subnet`: a relay agent that is on a network of this computer, else a word to replace.
fn gateway(subnet: &Subnet, facts: &Facts) -> String {
    let networks = || facts.interfaces.iter().flat_map(|interface| interface.networks.iter());
    let single = subnet.relays.iter().filter(|relay| relay.prefix() == 32).map(|relay| relay.address());
    let mut near = single.filter(|relay| networks().any(|network: &Ipv4Network| network.contains(*relay)));
    near.next().map_or_else(|| "ROUTER".to_owned(), |relay| relay.to_string())
}

fn way(route: &Route) -> String {
    match (&route.device, route.gateway) {
        (Some(device), Some(gateway)) => format!("on {device} through {gateway} (route {})", route.network),
        (Some(device), None) => format!("on {device} (route {})", route.network),
        (None, _) => format!("are rejected (route {})", route.network),
    }
}

/// The command that deletes a route.
fn delete(route: &Route) -> String {
    let mut command = match &route.device {
        Some(_) => format!("ip route delete {}", route.network),
        None => format!("ip route delete unreachable {}", route.network),
    };
    if let Some(gateway) = route.gateway {
        command.push_str(&format!(" via {gateway}"));
    }
    if let Some(device) = &route.device {
        command.push_str(&format!(" dev {}", word(device)));
    }
    if route.metric > 0 {
        command.push_str(&format!(" metric {}", route.metric));
    }
    command
}

/// A strict reverse path filter drops packets from addresses that the kernel would answer by another interface.
fn reverse_path(config: &Config, facts: &Facts) -> Vec<Finding> {
    let served = served(config, facts);
    let subnets = config.dhcp.as_ref().map_or(&[][..], |settings| &settings.subnets);
    let is_strict = |interface: &&&Interface| {
        !interface.loopback && link(facts, &interface.name).is_some_and(|link| link.rp_filter == 1)
    };
    let finding = |interface: &&Interface| {
        // Relayed clients come in by this interface if no other one has an address in their subnet.
        let comes_back_elsewhere = subnets.iter().any(|subnet| {
            let route = route_to(&facts.routes, subnet.network.address());
            let is_near = facts.interfaces.iter().any(|one| one.networks.contains(&subnet.network));
            !is_near && route.is_none_or(|route| route.device.as_deref() != Some(&interface.name))
        });
        let what = format!("the reverse path filter of {} is strict (rp_filter 1)", interface.name);
        let why = "the kernel drops packets of relay agents and of clients behind routers, if the way back to them leaves \
                   on another interface";
        // With slashes, sysctl takes the dot of a VLAN's name for what it is (sysctl(8)).
        let separator = if interface.name.contains('.') { "/" } else { "." };
        let key = ["net", "ipv4", "conf", &*interface.name, "rp_filter"].join(separator);
        let fix = format!("sysctl -w {}", word(&format!("{key}=2")));
        match comes_back_elsewhere {
            true => Finding::problem("rp_filter", what, why, fix),
            false => Finding::note("rp_filter", what, why, fix),
        }
    };
    served.iter().filter(is_strict).map(finding).collect()
}

/// Bridges that are served, or that a served interface is a port of.
fn bridges(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut names: Vec<String> = Vec::new();
    for interface in served(config, facts) {
        let master = link(facts, &interface.name).and_then(|link| link.master.clone());
        names.extend([interface.name.to_string()].into_iter().chain(master));
    }
    names.sort_unstable();
    names.dedup();
    let mut found = Vec::new();
    for (name, bridge) in names.iter().filter_map(|name| Some((name, link(facts, name)?.bridge?))) {
        if bridge.snoops_multicast && !bridge.is_querier {
            found.push(Finding::note(
                "multicast_snooping",
                format!("the bridge {name} filters multicast (multicast_snooping 1) and asks no host for its groups"),
                "after some minutes the bridge drops the multicast of boot server discovery and of IPv6, and iPXE waits for \
                 IPv6 routers",
                format!("ip link set {} type bridge mcast_snooping 0", word(name)),
            ));
        }
        if bridge.spanning_tree {
            found.push(Finding::note(
                "bridge_spanning_tree",
                format!("the bridge {name} runs the spanning tree protocol"),
                "a port drops packets for up to 30 s after its machine is switched on, longer than many ROMs ask (PXE-E51)",
                format!("ip link set {} type bridge stp_state 0", word(name)),
            ));
        }
    }
    found
}
