//! The interfaces and networks that are served at one moment. They come and go while the server runs: `server/watch.rs`
//! replaces the [`Snapshot`](crate::net::snapshot::Snapshot) with them, and every part of the server reads it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::boot::plan::Mode;
use crate::config::{Config, Interfaces};
use crate::dhcp::settings::Settings;
use crate::net::StartError;
use crate::net::interface::{self, Interface};
use crate::types::Ipv4Network;

/// The interfaces and networks that are served at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Served {
    interfaces: BTreeMap<u32, Interface>,
    /// The networks of the served interfaces and of the configured subnets.
    pub networks: Vec<Ipv4Network>,
    /// All addresses of this computer, including those of interfaces that are not served.
    pub own: Vec<Ipv4Addr>,
    /// The networks of all Ethernet interfaces of this computer, served or not, with the interface numbers. The kernel
    /// has a neighbour table for each of them.
    pub wires: Vec<(u32, Ipv4Network)>,
}

/// The served interfaces, and the reason for each named interface that cannot be served.
pub type Found = (Served, Vec<String>);

impl Served {
    /// These interfaces; `networks` are served in addition to theirs.
    pub fn new(interfaces: Vec<Interface>, networks: impl IntoIterator<Item = Ipv4Network>) -> Served {
        let theirs = interfaces.iter().flat_map(|interface| interface.networks.iter().copied());
        let networks = theirs.chain(networks).collect();
        let interfaces = interfaces.into_iter().map(|interface| (interface.index, interface)).collect();
        Served { interfaces, networks, own: Vec::new(), wires: Vec::new() }
    }

    pub fn get(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get(&index)
    }

    /// The interface of that number and lanboot's mode there; `None` if DHCP is off there.
    pub fn for_dhcp(&self, index: u32, settings: &Settings) -> Option<(&Interface, Mode)> {
        let interface = self.get(index)?;
        Some((interface, settings.modes.on(&interface.name)?))
    }

    /// All served interfaces, in the order of their numbers.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// The served interfaces on which lanboot runs in `mode`.
    pub fn with_mode(&self, settings: &Settings, mode: Mode) -> Vec<&Interface> {
        self.interfaces().filter(|interface| settings.modes.on(&interface.name) == Some(mode)).collect()
    }

    pub fn with_address(&self, address: IpAddr) -> Option<&Interface> {
        self.interfaces().find(|interface| interface.addresses.iter().any(|own| IpAddr::V4(*own) == address))
    }

    /// The subnets that contain no address of a served interface, so that only relay agents reach them. A proxy has
    /// none: its subnets only list relay agents.
    pub fn out_of_reach(&self, settings: &Settings) -> Vec<Ipv4Network> {
        if !settings.modes.has(Mode::Server) {
            return Vec::new();
        }
        let servers = self.with_mode(settings, Mode::Server);
        let has = |network: &Ipv4Network| {
            servers.iter().flat_map(|interface| interface.addresses.iter()).any(|a| network.contains(*a))
        };
        settings.subnets.iter().map(|subnet| subnet.network).filter(|network| !has(network)).collect()
    }
}

/// Finds the interfaces that `config` serves now.
///
/// # Errors
/// If the kernel does not list the interfaces.
pub fn find(config: &Config) -> Result<Found, StartError> {
    Ok(find_among(config, interface::list()?))
}

fn find_among(config: &Config, all: Vec<Interface>) -> Found {
    let own = all.iter().flat_map(|interface| interface.addresses.to_vec()).collect();
    let ethernet = all.iter().filter(|interface| interface.link.is_some() && !interface.loopback);
    let wires = ethernet.flat_map(|one| one.networks.iter().map(|network| (one.index, *network))).collect();
    let (interfaces, absent) = choose(config, all);
    let subnets = config.dhcp.iter().flat_map(|settings| &settings.subnets).map(|subnet| subnet.network);
    (Served { own, wires, ..Served::new(interfaces, subnets) }, absent)
}

/// Like [`find`], for a server that starts and needs at least one interface or address.
///
/// # Errors
/// If there is nothing to serve.
pub fn find_or_fail(config: &Config) -> Result<Found, StartError> {
    let all = interface::list()?;
    let names = listed(all.iter().map(|interface| &interface.name));
    let (served, absent) = find_among(config, all);
    if !served.interfaces.is_empty() || on_given_addresses(config).is_some() {
        return Ok((served, absent));
    }
    Err(StartError(match absent.first() {
        Some(why) => format!("{why}; this machine has {names}"),
        None => "no interface to serve: none is up with an IPv4 address besides loopback; name one in `interfaces`"
            .to_owned(),
    }))
}

/// Whether lanboot runs in `mode` on any interface that `config` serves, even if the interface does not exist now.
pub fn may_be(config: &Config, mode: Mode) -> bool {
    let Some(settings) = &config.dhcp else { return false };
    match &config.interfaces {
        Interfaces::Auto => settings.modes.has(mode),
        Interfaces::Named(names) => names.iter().any(|name| settings.modes.on(name) == Some(mode)),
    }
}

/// Selects the served interfaces of `all`. If only TFTP and HTTP run and both listen on configured addresses, these are
/// the interfaces with those addresses.
fn choose(config: &Config, all: Vec<Interface>) -> (Vec<Interface>, Vec<String>) {
    let Some(addresses) = on_given_addresses(config) else {
        return interface::served(&config.interfaces, all);
    };
    let has_one = |i: &Interface| addresses.iter().any(|address| i.addresses.contains(address));
    (all.into_iter().filter(has_one).collect(), Vec::new())
}

/// The configured addresses of TFTP and HTTP; `None` if any service listens on interfaces.
fn on_given_addresses(config: &Config) -> Option<Vec<Ipv4Addr>> {
    let tftp = config.tftp.as_ref().map(|tftp| &tftp.listen);
    let http = config.http.as_ref().map(|http| &http.listen);
    let mut given = tftp.iter().chain(&http);
    (config.dhcp.is_none() && given.all(|listen| !listen.is_empty()))
        .then(|| tftp.into_iter().chain(http).flatten().copied().collect())
}

/// Joins `addresses` for log lines.
pub fn listed(addresses: impl IntoIterator<Item = impl ToString>) -> String {
    addresses.into_iter().map(|address| address.to_string()).collect::<Vec<_>>().join(", ")
}

/// Describes each interface on which another server assigns the addresses.
pub fn describe_proxy(settings: &Settings, served: &Served) -> Vec<String> {
    let ports = settings.ports;
    let interfaces = served.with_mode(settings, Mode::Proxy).into_iter();
    let line = |name, addresses| {
        format!("proxyDHCP on {name} {addresses} ports {} and {}", ports.server, ports.proxy)
    };
    interfaces.map(|interface| line(&interface.name, listed(interface.addresses.iter()))).collect()
}

/// Describes each interface on which lanboot assigns the addresses, and each subnet.
pub fn describe_dhcp(settings: &Settings, served: &Served) -> Vec<String> {
    let port = settings.ports.server;
    let mut lines = Vec::new();
    for interface in served.with_mode(settings, Mode::Server) {
        let addresses = listed(interface.addresses.iter());
        lines.push(format!("DHCP server on {} {addresses} port {port}", interface.name));
    }
    for subnet in &settings.subnets {
        let ranges = subnet.pools.iter().map(|pool| pool.range);
        let pools = if subnet.pools.is_empty() { "reservations only".to_owned() } else { listed(ranges) };
        lines.push(format!("subnet {} gives {pools}", subnet.network));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_has_unreachable_subnets() {
        let lo = interface::list().unwrap().into_iter().find(|interface| interface.loopback).unwrap();
        let served = Served::new(vec![lo], []);
        let out = |mode: &str| {
            let subnets = "[{network: 127.0.0.0/8}, {network: 10.0.0.0/8}]";
            let config = crate::config::load(&format!("dhcp: {{mode: {mode}, subnets: {subnets}}}")).unwrap();
            listed(served.out_of_reach(&config.dhcp.unwrap()))
        };
        assert_eq!((out("server").as_str(), out("proxy").as_str()), ("10.0.0.0/8", ""));
    }

    #[test]
    fn given_addresses_need_no_interface() {
        let yaml = "{interfaces: [nosuch0], dhcp: {mode: off}, tftp: {listen: [192.0.2.1]}, http: off}";
        let config = crate::config::load(yaml).unwrap();
        let (served, absent) = find_or_fail(&config).unwrap();
        assert!(
            served.interfaces.is_empty() && absent.is_empty() && served.own.contains(&Ipv4Addr::LOCALHOST)
        );
        let yaml = "{interfaces: [nosuch0], dhcp: {mode: off}, http: off}";
        let error = find_or_fail(&crate::config::load(yaml).unwrap()).unwrap_err().to_string();
        assert!(error.contains("nosuch0") && error.contains("lo"), "{error}");
    }
}
