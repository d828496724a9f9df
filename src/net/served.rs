//! What is served now: interfaces and their addresses come and go while the server runs (`watch.rs`).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use tokio::sync::watch;

use crate::boot::plan::Mode;
use crate::config::{Config, Interfaces};
use crate::dhcp::settings::Settings;
use crate::net::StartError;
use crate::net::interface::{self, Interface};
use crate::types::Ipv4Network;

/// What is served at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Served {
    interfaces: BTreeMap<u32, Interface>,
    /// Networks of the interfaces and of the subnets.
    pub networks: Vec<Ipv4Network>,
    /// All addresses of this computer, also those of interfaces that are not served.
    pub own: Vec<Ipv4Addr>,
    /// The networks of this computer's Ethernet interfaces, each with the interface's number, also of those that are not
    /// served: the kernel has a neighbour table for them.
    pub wires: Vec<(u32, Ipv4Network)>,
}

/// What is served now, whenever it is asked.
pub type Now = watch::Receiver<Arc<Served>>;

/// What is to be served, and what of it cannot be: a reason for each.
pub type Found = (Served, Vec<String>);

impl Served {
    /// These interfaces and `networks` besides theirs.
    pub fn new(interfaces: Vec<Interface>, networks: impl IntoIterator<Item = Ipv4Network>) -> Served {
        let theirs = interfaces.iter().flat_map(|interface| interface.networks.iter().copied());
        let networks = theirs.chain(networks).collect();
        let interfaces = interfaces.into_iter().map(|interface| (interface.index, interface)).collect();
        Served { interfaces, networks, own: Vec::new(), wires: Vec::new() }
    }

    /// The interface of that number.
    pub fn get(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get(&index)
    }

    /// The interface of that number and what lanboot is there, if it is anything for DHCP.
    pub fn for_dhcp(&self, index: u32, settings: &Settings) -> Option<(&Interface, Mode)> {
        let interface = self.get(index)?;
        Some((interface, settings.modes.on(&interface.name)?))
    }

    /// All interfaces, in the order of their numbers.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// Those where lanboot is `mode`.
    pub fn with_mode(&self, settings: &Settings, mode: Mode) -> Vec<&Interface> {
        self.interfaces().filter(|interface| settings.modes.on(&interface.name) == Some(mode)).collect()
    }

    /// The interface that has `address`.
    pub fn with_address(&self, address: Ipv4Addr) -> Option<&Interface> {
        self.interfaces().find(|interface| interface.addresses.contains(&address))
    }

    /// Those of the subnets that no served interface has an address in: only relay agents reach them. For a proxy there
    /// are none, as its subnets only name relay agents.
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

/// Finds what `config` has served.
///
/// # Errors
/// The kernel does not list the interfaces.
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

/// As [`find`], for a server that starts: it needs something to serve.
///
/// # Errors
/// There is nothing, and why.
pub fn find_some(config: &Config) -> Result<Found, StartError> {
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

/// Whether lanboot is `mode` on an interface that `config` has served, be it there or not.
pub fn may_be(config: &Config, mode: Mode) -> bool {
    let Some(settings) = &config.dhcp else { return false };
    match &config.interfaces {
        Interfaces::Auto => settings.modes.has(mode),
        Interfaces::Named(names) => names.iter().any(|name| settings.modes.on(name) == Some(mode)),
    }
}

/// Those of `all` that are to be served. With only TFTP and HTTP, each on given addresses, those that have the addresses.
fn choose(config: &Config, all: Vec<Interface>) -> (Vec<Interface>, Vec<String>) {
    let Some(addresses) = on_given_addresses(config) else {
        return interface::served(&config.interfaces, all);
    };
    let has_one = |i: &Interface| addresses.iter().any(|address| i.addresses.contains(address));
    (all.into_iter().filter(has_one).collect(), Vec::new())
}

/// The addresses of TFTP and HTTP, where the configuration names them and interfaces do not matter.
fn on_given_addresses(config: &Config) -> Option<Vec<Ipv4Addr>> {
    let tftp = config.tftp.as_ref().map(|tftp| &tftp.listen);
    let http = config.http.as_ref().map(|http| &http.listen);
    let mut given = tftp.iter().chain(&http);
    (config.dhcp.is_none() && given.all(|listen| !listen.is_empty()))
        .then(|| tftp.into_iter().chain(http).flatten().copied().collect())
}

/// Where to listen: on the addresses `given`, or if there are none on those of the interfaces.
pub fn listen_addresses(given: &[Ipv4Addr], port: u16, served: &Served) -> Vec<SocketAddrV4> {
    let of_interfaces = served.interfaces().flat_map(|interface| interface.addresses.iter().copied());
    let addresses: Vec<Ipv4Addr> = if given.is_empty() { of_interfaces.collect() } else { given.to_vec() };
    addresses.into_iter().map(|address| SocketAddrV4::new(address, port)).collect()
}

/// The addresses, for people.
pub fn listed(addresses: impl IntoIterator<Item = impl ToString>) -> String {
    addresses.into_iter().map(|address| address.to_string()).collect::<Vec<_>>().join(", ")
}

/// What is open at which address.
pub type Doors<L> = Vec<(SocketAddrV4, L)>;

/// Where the doors are, for people.
pub fn places<L>(doors: &Doors<L>) -> String {
    let places = listed(doors.iter().map(|(address, _)| *address));
    if places.is_empty() { "no address".to_owned() } else { places }
}

/// Closes the doors at addresses that are not `wanted`, opens those that are missing, and says whether anything changed
/// and what could not be opened.
pub fn rearrange<L>(
    doors: &mut Doors<L>,
    wanted: &[SocketAddrV4],
    open: impl Fn(SocketAddrV4) -> Result<L, StartError>,
) -> (bool, Vec<StartError>) {
    let before = doors.len();
    doors.retain(|(address, _)| wanted.contains(address));
    let mut changed = doors.len() < before;
    let mut refused = Vec::new();
    for address in wanted {
        if doors.iter().any(|(open, _)| open == address) {
            continue;
        }
        match open(*address) {
            Ok(door) => {
                doors.push((*address, door));
                changed = true;
            }
            Err(error) => refused.push(error),
        }
    }
    (changed, refused)
}

/// A line for each interface where another server gives the addresses.
pub fn describe_proxy(settings: &Settings, served: &Served) -> Vec<String> {
    let ports = settings.ports;
    let interfaces = served.with_mode(settings, Mode::Proxy).into_iter();
    let line = |name, addresses| {
        format!("proxyDHCP on {name} {addresses} ports {} and {}", ports.server, ports.proxy)
    };
    interfaces.map(|interface| line(&interface.name, listed(interface.addresses.iter()))).collect()
}

/// A line for each interface where lanboot gives the addresses, and for each subnet.
pub fn describe_dhcp(settings: &Settings, served: &Served) -> Vec<String> {
    let port = settings.ports.server;
    let mut lines = Vec::new();
    for interface in served.with_mode(settings, Mode::Server) {
        let addresses = listed(interface.addresses.iter());
        lines.push(format!("DHCP server on {} {addresses} port {port}", interface.name));
    }
    for subnet in &settings.subnets {
        let pools =
            if subnet.pools.is_empty() { "reservations only".to_owned() } else { listed(&subnet.pools) };
        lines.push(format!("subnet {} gives {pools}", subnet.network));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_07_doors_follow_the_addresses_and_one_that_cannot_be_opened_stops_no_other() {
        let at = |last| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), 69);
        let mut doors: Doors<&str> = vec![(at(1), "first"), (at(2), "second")];
        let open = |address: SocketAddrV4| match address.ip().octets()[3] {
            3 => Err(StartError("taken".to_owned())),
            _ => Ok("new"),
        };
        let (changed, refused) = rearrange(&mut doors, &[at(2), at(3), at(4)], open);
        assert!(changed && refused.len() == 1, "{refused:?}");
        assert_eq!(doors, [(at(2), "second"), (at(4), "new")]);
        let (changed, refused) = rearrange(&mut doors, &[at(4), at(2), at(3)], open);
        assert!(!changed && refused.len() == 1, "it is tried again");
    }

    #[test]
    fn subnets_out_of_reach_are_a_servers() {
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
        let (served, absent) = find_some(&config).unwrap();
        assert!(
            served.interfaces.is_empty() && absent.is_empty() && served.own.contains(&Ipv4Addr::LOCALHOST)
        );
        let yaml = "{interfaces: [nosuch0], dhcp: {mode: off}, http: off}";
        let error = find_some(&crate::config::load(yaml).unwrap()).unwrap_err().to_string();
        assert!(error.contains("nosuch0") && error.contains("lo"), "{error}");
    }
}
