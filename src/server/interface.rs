//! The network interfaces of this machine that are served.

use std::net::Ipv4Addr;
use std::sync::Arc;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::LinkAddr;

use crate::config::Interfaces;
use crate::server::StartError;
use crate::types::{Ipv4Network, MacAddr};

/// An interface as it was at start.
#[derive(Clone, Debug)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Its IPv4 addresses, in the kernel's order.
    pub addresses: Arc<[Ipv4Addr]>,
    /// The networks of those addresses.
    pub networks: Vec<Ipv4Network>,
    /// Its hardware address, if it is an Ethernet interface and has one: a bridge without ports has none.
    pub mac: Option<MacAddr>,
    /// The interface as the kernel wants it for packet sockets, if it is Ethernet's.
    pub link: Option<LinkAddr>,
    /// Largest IP datagram, in bytes.
    pub mtu: u32,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Whether it is up.
    pub up: bool,
}

/// The hardware type of Ethernet, as the kernel counts them.
const ARPHRD_ETHER: u16 = 1;

/// The interfaces that `wanted` means, each up and with an IPv4 address; or what is wrong with one of them.
pub fn served(wanted: &Interfaces) -> Result<Vec<Interface>, StartError> {
    let all = list()?;
    let usable = |interface: &&Interface| interface.up && !interface.addresses.is_empty();
    match wanted {
        Interfaces::Auto => Ok(all.iter().filter(usable).filter(|i| !i.loopback).cloned().collect()),
        Interfaces::Named(names) => {
            let is_new = |(place, name): &(usize, &String)| !names[..*place].contains(*name);
            names.iter().enumerate().filter(is_new).map(|(_, name)| named(&all, name)).collect()
        }
    }
}

fn named(all: &[Interface], name: &str) -> Result<Interface, StartError> {
    let Some(interface) = all.iter().find(|interface| *interface.name == *name) else {
        let names: Vec<&str> = all.iter().map(|interface| &*interface.name).collect();
        let names = names.join(", ");
        return Err(StartError(format!(
            "interface {name} of `interfaces` does not exist: this machine has {names}"
        )));
    };
    if !interface.up {
        return Err(StartError(format!(
            "interface {name} is down: bring it up with `ip link set {name} up`"
        )));
    }
    if interface.addresses.is_empty() {
        return Err(StartError(format!(
            "interface {name} has no IPv4 address: give it one with `ip address add ADDRESS/PREFIX dev {name}`"
        )));
    }
    Ok(interface.clone())
}

/// All interfaces, each once, in the order of their numbers.
pub fn list() -> Result<Vec<Interface>, StartError> {
    let entries: Vec<_> = getifaddrs()
        .map_err(|error| StartError(format!("cannot list this machine's network interfaces: {error}")))?
        .collect();
    let mut interfaces: Vec<Interface> = Vec::new();
    for entry in &entries {
        let Some(link) = entry.address.as_ref().and_then(|address| address.as_link_addr()) else { continue };
        let addressed = entries.iter().filter(|other| other.interface_name == entry.interface_name);
        let (mut addresses, mut networks) = (Vec::new(), Vec::new());
        for other in addressed {
            let Some(address) = other.address.as_ref().and_then(|a| a.as_sockaddr_in()) else { continue };
            let mask = other.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in());
            let prefix = mask.map_or(32, |mask| u32::from(mask.ip()).leading_ones());
            addresses.push(address.ip());
            networks
                .extend(u8::try_from(prefix).ok().and_then(|prefix| Ipv4Network::new(address.ip(), prefix)));
        }
        let loopback = entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let mac = link.addr().map(MacAddr).filter(|mac| !loopback && mac.0 != [0; 6]);
        interfaces.push(Interface {
            index: u32::try_from(link.ifindex()).unwrap_or(0),
            name: entry.interface_name.as_str().into(),
            addresses: addresses.into(),
            networks,
            mac,
            link: (link.hatype() == ARPHRD_ETHER).then_some(*link),
            mtu: mtu_of(&entry.interface_name),
            loopback,
            up: entry.flags.contains(InterfaceFlags::IFF_UP),
        });
    }
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// The kernel shows an interface's MTU in sysfs. Where that is another namespace's or hidden, Ethernet's is assumed.
fn mtu_of(name: &str) -> u32 {
    const ETHERNET: u32 = 1500;
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(ETHERNET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_served_only_when_named() {
        let interfaces = served(&Interfaces::Named(vec!["lo".to_owned(); 2])).unwrap();
        assert_eq!(interfaces.len(), 1, "named twice is once");
        assert!(interfaces[0].loopback && interfaces[0].addresses.contains(&Ipv4Addr::LOCALHOST));
        assert!(served(&Interfaces::Auto).unwrap().iter().all(|interface| !interface.loopback));
    }

    #[test]
    fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
        let error = served(&Interfaces::Named(vec!["nosuch0".to_owned()])).unwrap_err().to_string();
        assert!(error.contains("nosuch0") && error.contains("lo"), "{error}");
    }
}
