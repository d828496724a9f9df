//! Addresses of routers, servers and relay agents in the configuration. No client without a reservation gets them, because
//! two machines would then have one address. `pools.rs` takes them out of the pools; `config/` notes them.

use std::net::Ipv4Addr;

use crate::boot::loader::target::Targets;
use crate::boot::machine_boot::MachineBoot;
use crate::boot::menu::ItemAction;
use crate::boot::policy::Policy;
use crate::dhcp::classes::Condition;
use crate::dhcp::level::{Level, NextServer};
use crate::dhcp::options::{OptionSet, OptionValue};
use crate::dhcp::settings::Settings;
use crate::wire::option::{Kind, by_code, code};

/// Suboptions of the vendors' options 43 and 125 with addresses: the length of one, or of several.
const ADDRESS_LEN: usize = 4;
/// Option 150, a list of TFTP servers (RFC 5859), and option 249, Microsoft's number for classless routes. Neither has a
/// name in the table, because vendors use both for other values too.
const TFTP_SERVERS: u8 = 150;
const MICROSOFT_ROUTES: u8 = 249;

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
    named.extend(
        settings.target_hosts.iter().map(|address| NamedAddress { address: *address, key: "targets" }),
    );
    let relays = subnets().flat_map(|subnet| subnet.relays.iter().filter(|relay| relay.prefix() == 32));
    named.extend(relays.map(|relay| NamedAddress { address: relay.address(), key: "relays" }));
    let conditions = settings.classes.iter().flat_map(|class| class.alternatives.iter().flatten());
    named.extend(
        conditions.flat_map(relay_agents).map(|address| NamedAddress { address, key: "match.relay" }),
    );
    named
}

/// The servers that `targets` name: in URLs of kernels and RAM disks, and anywhere in command lines, like the server in
/// `nfsroot=10.0.0.9:/srv`.
pub fn hosts_of_targets(targets: &Targets) -> Vec<Ipv4Addr> {
    let hosts = targets.list.iter().flat_map(|target| {
        let urls = std::iter::once(&target.kernel).chain(&target.initrd);
        urls.filter_map(|url| host_of(url)).chain(literals(target.cmdline.as_bytes()))
    });
    let mut hosts: Vec<Ipv4Addr> = hosts.collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// The relay agents that a condition of a class names.
fn relay_agents(condition: &Condition) -> Vec<Ipv4Addr> {
    match condition {
        Condition::Relay(networks) => networks
            .iter()
            .filter(|network| network.prefix() == 32)
            .map(|network| network.address())
            .collect(),
        Condition::Not(alternatives) => alternatives.iter().flatten().flat_map(relay_agents).collect(),
        _ => Vec::new(),
    }
}

/// The addresses in the options of `level`, and in its `next_server` and `server_name`.
fn in_level(level: &Level) -> impl Iterator<Item = NamedAddress> {
    let next_server = match level.next_server {
        Some(NextServer::Address(address)) if !address.is_unspecified() => Some(address),
        _ => None,
    };
    let next_server = next_server.map(|address| NamedAddress { address, key: "next_server" });
    let server_name = level.server_name.as_ref().map_or(Vec::new(), |name| literals(name.as_bytes()));
    let server_name = server_name.into_iter().map(|address| NamedAddress { address, key: "server_name" });
    in_options(&level.options).chain(next_server).chain(server_name)
}

/// The addresses of other servers that boot files are on, which are URLs, and those of the boot servers of the menu.
fn in_boot_files(settings: &Settings) -> Vec<NamedAddress> {
    let Policy { arch, ipxe, bootp, menu, .. } = &settings.boot;
    let of_all = arch.values().chain(ipxe).chain(bootp);
    let classes = settings.classes.iter().filter_map(|class| class.boot.as_ref());
    let machines = settings.machines.iter().filter_map(|machine| machine.boot.as_ref());
    let servers = menu.iter().flat_map(|menu| &menu.items).filter_map(|item| match item.action {
        ItemAction::Server(address) => Some(address),
        ItemAction::File(_) | ItemAction::Local => None,
    });
    let of_some = classes.chain(machines).flat_map(|boot| match boot {
        MachineBoot::File(file) => vec![file],
        MachineBoot::ByArch(files) => files.values().collect(),
    });
    let hosts = of_all.chain(of_some).filter_map(|file| host_of(file)).chain(servers);
    hosts.map(|address| NamedAddress { address, key: "boot" }).collect()
}

/// The address in a URL like `tftp://10.0.0.9/x`; `None` if it has a host name.
fn host_of(file: &str) -> Option<Ipv4Addr> {
    let (_, rest) = file.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.split(':').next()?.parse().ok()
}

/// The addresses written in `text`, between any other characters.
fn literals(text: &[u8]) -> Vec<Ipv4Addr> {
    let words = text.split(|byte| !byte.is_ascii_digit() && *byte != b'.');
    words.filter_map(|word| str::from_utf8(word).ok()?.parse().ok()).collect()
}

/// The addresses in the values of `options`.
fn in_options(options: &OptionSet) -> impl Iterator<Item = NamedAddress> {
    options.iter().flat_map(|(code, value)| {
        let row = by_code(code);
        let bytes = match value {
            OptionValue::Bytes(bytes) | OptionValue::WithServer { bytes, .. } => &bytes[..],
            OptionValue::Removed => &[],
        };
        let mut addresses = addresses_of(code, bytes);
        // Our own address, which is known later, stands as 0.0.0.0.
        addresses.retain(|address| !address.is_unspecified());
        let key = row.map_or("options", |row| row.name);
        addresses.into_iter().map(move |address| NamedAddress { address, key })
    })
}

/// The addresses in `value` of the option `number`.
fn addresses_of(number: u8, value: &[u8]) -> Vec<Ipv4Addr> {
    match (number, by_code(number).map(|row| row.kind)) {
        (_, Some(Kind::Ip | Kind::Ips | Kind::IpsOrNone | Kind::IpPairs)) | (TFTP_SERVERS, _) => list(value),
        (_, Some(Kind::Routes)) | (MICROSOFT_ROUTES, _) => gateways(value),
        (_, Some(Kind::Text)) => literals(value),
        // RFC 2610 section 3: one byte, which says whether these are mandatory, stands before the addresses.
        (code::SLP_DIRECTORY_AGENT, _) => value.split_first().map_or(Vec::new(), |(_, rest)| list(rest)),
        // RFC 3361 section 3: the encoding 1 is a list of addresses.
        (code::SIP_SERVERS, _) => value.strip_prefix(&[1]).map_or(Vec::new(), list),
        (code::VENDOR_SPECIFIC, _) => in_suboptions(value),
        (code::VENDOR_IDENTIFYING_INFORMATION, _) => in_enterprises(value),
        // Options that vendors define: text if it is some.
        (_, None) => literals(value),
        _ => Vec::new(),
    }
}

/// The addresses in a list of them; none if `value` is no such list.
fn list(value: &[u8]) -> Vec<Ipv4Addr> {
    let (addresses, rest) = value.as_chunks::<ADDRESS_LEN>();
    if rest.is_empty() {
        addresses.iter().map(|octets| Ipv4Addr::from(*octets)).collect()
    } else {
        Vec::new()
    }
}

/// The addresses in the suboptions of a vendor, whose types are unknown: each value that can be a list of them. A value
/// that is something else costs the pool an address at most. Access points find their controller by such a suboption.
fn in_suboptions(mut value: &[u8]) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    while let [_, len, rest @ ..] = value {
        let Some((suboption, rest)) = rest.split_at_checked(usize::from(*len)) else { break };
        found.extend(list(suboption));
        found.extend(literals(suboption));
        value = rest;
    }
    found
}

/// The addresses in the suboptions of all enterprises (RFC 3925 section 4).
fn in_enterprises(mut value: &[u8]) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    while let [_, _, _, _, len, rest @ ..] = value {
        let Some((suboptions, rest)) = rest.split_at_checked(usize::from(*len)) else { break };
        found.extend(in_suboptions(suboptions));
        value = rest;
    }
    found
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
        assert!(addresses_of(121, &[33, 1]).is_empty());
    }

    #[test]
    fn r_20_addresses_are_found_in_texts_and_vendor_options() {
        let ip = |n: u8| [10, 0, 0, n];
        let with = |head: &[u8], addresses: &[u8]| {
            let addresses = addresses.iter().flat_map(|n| ip(*n));
            head.iter().copied().chain(addresses).collect::<Vec<u8>>()
        };
        let cases: [(u8, Vec<u8>, &[u8]); 13] = [
            (17, b"10.0.0.1:/srv/nfs,vers=4.2".to_vec(), &[1]),
            (66, b"10.0.0.2".to_vec(), &[2]),
            (114, b"https://10.0.0.3:8443/portal".to_vec(), &[3]),
            (78, with(&[1], &[4, 5]), &[4, 5]),
            (120, with(&[1], &[6]), &[6]),
            (120, b"\0\x04name\0".to_vec(), &[]),
            (150, with(&[], &[7, 8]), &[7, 8]),
            (249, with(&[24, 10, 1, 2], &[9]), &[9]),
            (43, with(&[1, 4], &[10]), &[10]),
            (43, with(&[0xf1, 8], &[11, 12]), &[11, 12]),
            (43, [&[1, 9], &b"10.0.0.13"[..], &[2, 200]].concat(), &[13]),
            (125, with(&[0, 0, 0x11, 0x8b, 6, 2, 4], &[14]), &[14]),
            (252, b"http://10.0.0.15/wpad.dat".to_vec(), &[15]),
        ];
        for (code, value, expected) in cases {
            let found: Vec<u8> =
                addresses_of(code, &value).iter().map(|address| address.octets()[3]).collect();
            assert_eq!(found, expected, "option {code}");
        }
    }

    #[test]
    fn r_20_servers_of_targets_and_menus_and_relay_agents_of_classes_are_found() {
        let yaml = "
dhcp:
  mode: server
  server_name: 10.0.0.11
  subnets: [{network: 10.0.0.0/24, pool: 10.0.0.10-10.0.0.40}]
  classes: [{match: {relay: [10.0.0.12, 10.0.1.0/24], not: {relay: 10.0.0.13}}, options: {domain: x}}]
boot:
  menu: [{text: a, server: 10.0.0.14}, {text: b, local: true}]
  arch: {bios: {file: f, server: 10.0.0.15}}
targets:
  a: {kernel: 'http://10.0.0.16:8080/k', initrd: ['http://u@10.0.0.17/i'], cmdline: 'nfsroot=10.0.0.18:/srv url=http://10.0.0.19/x'}
  b: {kernel: 'http://{server}/10.0.0.30', initrd: 'http://boot.example/10.0.0.31'}
";
        let settings = crate::config::load(yaml).unwrap().dhcp.unwrap();
        let mut found: Vec<u8> =
            named_addresses(&settings).iter().map(|named| named.address.octets()[3]).collect();
        found.sort_unstable();
        assert_eq!(found, [11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }
}
