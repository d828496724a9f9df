//! Addresses of routers, servers and relay agents in the configuration. No client without a reservation gets them, because
//! two machines would then have one address. `pools.rs` takes them out of the pools; `config/` notes them.

use std::net::Ipv4Addr;

use crate::boot::machine_boot::MachineBoot;
use crate::boot::policy::Policy;
use crate::dhcp::level::{Level, NextServer};
use crate::dhcp::options::{OptionSet, OptionValue};
use crate::dhcp::settings::Settings;
use crate::wire::option::{Kind, by_code};

/// An address that the configuration names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedAddress {
    pub address: Ipv4Addr,
    /// The key that names it, as in config.yaml.
    pub key: &'static str,
}

/// All addresses that `settings` names, except those that are reserved for machines.
pub fn named_addresses(settings: &Settings) -> Vec<NamedAddress> {
    let subnets = || settings.subnets.iter();
    let levels = std::iter::once(&settings.level)
        .chain(subnets().map(|subnet| &subnet.level))
        .chain(subnets().flat_map(|subnet| subnet.pools.iter().map(|pool| &pool.level)))
        .chain(settings.classes.iter().map(|class| &class.level))
        .chain(settings.machines.iter().map(|machine| &machine.level));
    let mut named: Vec<NamedAddress> = levels.flat_map(in_level).collect();
    named.extend(in_boot_files(settings));
    let relays = subnets().flat_map(|subnet| subnet.relays.iter().filter(|relay| relay.prefix() == 32));
    named.extend(relays.map(|relay| NamedAddress { address: relay.address(), key: "relays" }));
    named
}

/// The addresses in the options of `level`, and its `next_server`.
fn in_level(level: &Level) -> impl Iterator<Item = NamedAddress> {
    let next_server = match level.next_server {
        Some(NextServer::Address(address)) if !address.is_unspecified() => Some(address),
        _ => None,
    };
    let next_server = next_server.map(|address| NamedAddress { address, key: "next_server" });
    in_options(&level.options).chain(next_server)
}

/// The addresses of other servers that boot files are on, which are URLs.
fn in_boot_files(settings: &Settings) -> Vec<NamedAddress> {
    let Policy { arch, ipxe, bootp, .. } = &settings.boot;
    let of_all = arch.values().chain(ipxe).chain(bootp);
    let classes = settings.classes.iter().filter_map(|class| class.boot.as_ref());
    let machines = settings.machines.iter().filter_map(|machine| machine.boot.as_ref());
    let of_some = classes.chain(machines).flat_map(|boot| match boot {
        MachineBoot::File(file) => vec![file],
        MachineBoot::ByArch(files) => files.values().collect(),
    });
    let hosts = of_all.chain(of_some).filter_map(|file| host_of(file));
    hosts.map(|address| NamedAddress { address, key: "boot" }).collect()
}

/// The address in a URL like `tftp://10.0.0.9/x`; `None` if it has a host name.
fn host_of(file: &str) -> Option<Ipv4Addr> {
    let (_, rest) = file.split_once("://")?;
    rest.split(['/', ':']).next()?.parse().ok()
}

/// The addresses in the values of `options`.
fn in_options(options: &OptionSet) -> impl Iterator<Item = NamedAddress> {
    options.iter().flat_map(|(code, value)| {
        let row = by_code(code);
        let bytes = match value {
            OptionValue::Bytes(bytes) | OptionValue::WithServer { bytes, .. } => &bytes[..],
            OptionValue::Removed => &[],
        };
        let mut addresses = row.map_or(Vec::new(), |row| addresses_of(row.kind, bytes));
        // Our own address, which is known later, stands as 0.0.0.0.
        addresses.retain(|address| !address.is_unspecified());
        let key = row.map_or("options", |row| row.name);
        addresses.into_iter().map(move |address| NamedAddress { address, key })
    })
}

fn addresses_of(kind: Kind, value: &[u8]) -> Vec<Ipv4Addr> {
    match kind {
        Kind::Ip | Kind::Ips | Kind::IpsOrNone | Kind::IpPairs => value
            .chunks_exact(4)
            .filter_map(|octets| Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)))
            .collect(),
        Kind::Routes => gateways(value),
        _ => Vec::new(),
    }
}

/// The routers in classless routes (RFC 3442): each route has a prefix length, the significant octets of its
/// destination, and a router.
fn gateways(mut routes: &[u8]) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    while let [prefix, rest @ ..] = routes {
        let significant = usize::from(prefix.div_ceil(8));
        let Some((octets, rest)) = rest.get(significant..).and_then(|rest| rest.split_first_chunk::<4>())
        else {
            break;
        };
        found.push(Ipv4Addr::from(*octets));
        routes = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_20_next_servers_and_boot_servers_are_found_at_every_level() {
        let yaml = "
dhcp:
  mode: server
  next_server: 10.0.0.11
  subnets:
    - {network: 10.0.0.0/24, next_server: 10.0.0.12, pools: [{range: 10.0.0.10-10.0.0.40, next_server: 10.0.0.13}]}
  classes: [{match: {vendor_class: x}, next_server: 10.0.0.14, boot: {file: f, server: 10.0.0.15}}]
boot: {arch: {bios: {file: a, server: 10.0.0.16}, uefi-x64-http: 'http://10.0.0.17:8080/x', uefi-x64: b}}
machines:
  - {mac: '02:00:00:00:00:01', next_server: 10.0.0.18, boot: {file: q, server: 10.0.0.19}}
  - {mac: '02:00:00:00:00:02', next_server: '{server}'}
";
        let settings = crate::config::load(yaml).unwrap().dhcp.unwrap();
        let mut found: Vec<u8> =
            named_addresses(&settings).iter().map(|named| named.address.octets()[3]).collect();
        found.sort_unstable();
        assert_eq!(found, [11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn r_20_addresses_are_found_in_every_kind_of_option() {
        let ip = |n: u8| [10, 0, 0, n];
        let routes = [&[0][..], &ip(4), &[24, 10, 1, 2], &ip(5)].concat();
        let options: OptionSet = [
            (3, [ip(1), ip(2)].concat()),
            (15, b"lab.example".to_vec()),
            (28, ip(255).to_vec()),
            (33, [ip(9), ip(3)].concat()),
            (121, routes),
        ]
        .into();
        let found: Vec<String> =
            in_options(&options).map(|named| format!("{} {}", named.key, named.address)).collect();
        assert_eq!(
            found,
            [
                "router 10.0.0.1",
                "router 10.0.0.2",
                "broadcast_address 10.0.0.255",
                "static_routes 10.0.0.9",
                "static_routes 10.0.0.3",
                "classless_routes 10.0.0.4",
                "classless_routes 10.0.0.5"
            ]
        );
        assert!(addresses_of(Kind::Routes, &[33, 1]).is_empty());
    }
}
