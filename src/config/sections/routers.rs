//! Checks that clients can reach the routers that they get. Called by `config/check.rs` after the sections are read.

use std::net::Ipv4Addr;

use crate::config::sections::written::{DhcpSection, MachineEntry, SubnetEntry};
use crate::config::syntax::reader::{At, Reader};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::options::OptionSet;
use crate::types::Ipv4Network;
use crate::wire::option::{by_name, code};

/// The routers that `options`, read from `node`, gives, with the place of their key.
pub(in crate::config) fn router(node: Option<&Node>, options: &OptionSet) -> Option<At<Vec<Ipv4Addr>>> {
    let Data::Map(entries) = &node?.data else { return None };
    let is_router = |key: &Node| match &key.data {
        Data::Text(text) => by_name(text).is_some_and(|row| row.code == code::ROUTER) || text == "3",
        Data::Int(number) => *number == i128::from(code::ROUTER),
        _ => false,
    };
    let (key, _) = entries.iter().find(|(key, _)| is_router(key))?;
    // Our own address is reachable.
    let octets = options.constant(code::ROUTER)?.chunks_exact(4);
    let addresses = octets.filter_map(|octets| Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)));
    Some(At { id: key.id, value: addresses.collect() })
}

/// Checks the routers of subnets and their pools, of machines, of classes, and those for every subnet. A client reaches
/// only a router in a network on its wire.
pub(in crate::config) fn check_routers(reader: &mut Reader, dhcp: &DhcpSection, machines: &[MachineEntry]) {
    let subnets = &dhcp.subnets;
    let all = networks(subnets.iter());
    // A network that could not be read is already reported.
    if all.is_empty() || all.len() < subnets.len() {
        return;
    }
    for subnet in subnets {
        let wire = networks(wire_of(subnet, subnets));
        let routers = subnet.router.iter().chain(subnet.pools.iter().filter_map(|pool| pool.router.as_ref()));
        routers.for_each(|router| check(reader, router, &wire));
    }
    for machine in machines {
        let Some(router) = &machine.router else { continue };
        let has_address = |subnet: &&SubnetEntry| {
            let network = subnet.network.map(|at| at.value);
            machine.addresses.iter().any(|at| network.is_some_and(|network| network.contains(at.value)))
        };
        let wires = subnets.iter().filter(has_address).flat_map(|subnet| wire_of(subnet, subnets));
        let wires = networks(wires);
        check(reader, router, if wires.is_empty() { &all } else { &wires });
    }
    let classes = dhcp.classes.iter().filter_map(|entry| entry.router.as_ref());
    classes.chain(&dhcp.router).for_each(|router| check(reader, router, &all));
}

fn wire_of<'s>(subnet: &'s SubnetEntry, subnets: &'s [SubnetEntry]) -> impl Iterator<Item = &'s SubnetEntry> {
    let name = subnet.shared_network.as_ref();
    let others = subnets.iter().filter(move |other| name.is_some() && other.shared_network.as_ref() == name);
    std::iter::once(subnet).chain(others)
}

fn networks<'s>(subnets: impl Iterator<Item = &'s SubnetEntry>) -> Vec<Ipv4Network> {
    subnets.filter_map(|subnet| subnet.network).map(|at| at.value).collect()
}

fn check(reader: &mut Reader, router: &At<Vec<Ipv4Addr>>, networks: &[Ipv4Network]) {
    // A host route leads to a router outside its network of one address.
    if networks.iter().any(|network| network.prefix() == 32) {
        return;
    }
    let outside = |address: &&Ipv4Addr| !networks.iter().any(|network| network.contains(**address));
    let Some(address) = router.value.iter().find(outside) else { return };
    let where_to = match networks {
        [one] => one.to_string(),
        [first, ..] => format!("{first} or another network of these clients"),
        [] => return,
    };
    reader.problem(
        router.id,
        format!("expected a router in {where_to}, found {address}, which clients cannot reach"),
    );
}
