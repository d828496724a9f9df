//! Addresses of routers, servers and relay agents in the configuration. No client without a reservation gets them, because
//! two machines would then have one address. `pools.rs` takes them out of the pools; `config/` notes them.

use std::net::Ipv4Addr;

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
    let pools = subnets().flat_map(|subnet| subnet.pools.iter().map(|pool| &pool.level.options));
    let sets = std::iter::once(&settings.level.options)
        .chain(subnets().map(|subnet| &subnet.level.options))
        .chain(pools)
        .chain(settings.classes.iter().map(|class| &class.level.options))
        .chain(settings.machines.iter().map(|machine| &machine.level.options));
    let mut named: Vec<NamedAddress> = sets.flat_map(in_options).collect();
    let relays = subnets().flat_map(|subnet| subnet.relays.iter().filter(|relay| relay.prefix() == 32));
    named.extend(relays.map(|relay| NamedAddress { address: relay.address(), key: "relays" }));
    named
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
