//! Which interfaces and addresses are served.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::config::Config;
use crate::server::StartError;
use crate::server::interface::{self, Interface};

/// The interfaces to serve on. With only TFTP and HTTP, each on given addresses, those that have the addresses.
pub fn interfaces(config: &Config) -> Result<Vec<Interface>, StartError> {
    let tftp = config.tftp.as_ref().map(|tftp| &tftp.listen);
    let http = config.http.as_ref().map(|http| &http.listen);
    if config.dhcp.is_none() && tftp.iter().chain(&http).all(|listen| !listen.is_empty()) {
        let listen: Vec<&Ipv4Addr> = tftp.into_iter().chain(http).flatten().collect();
        let has_one = |i: &Interface| listen.iter().any(|address| i.addresses.contains(address));
        return Ok(interface::list()?.into_iter().filter(has_one).collect());
    }
    let interfaces = interface::served(&config.interfaces)?;
    if interfaces.is_empty() {
        return Err(StartError(
            "no interface to serve: none is up with an IPv4 address besides loopback; name one in `interfaces`".to_owned(),
        ));
    }
    Ok(interfaces)
}

/// Where to listen: on the addresses `given`, or if there are none on those of the interfaces.
pub fn listen_addresses(given: &[Ipv4Addr], port: u16, interfaces: &[Interface]) -> Vec<SocketAddrV4> {
    let of_interfaces = interfaces.iter().flat_map(|interface| interface.addresses.iter().copied());
    let addresses: Vec<Ipv4Addr> = if given.is_empty() { of_interfaces.collect() } else { given.to_vec() };
    addresses.into_iter().map(|address| SocketAddrV4::new(address, port)).collect()
}

/// The addresses, for people.
pub fn listed(addresses: &[impl ToString]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
