//! Reads the network interfaces of this machine from the kernel and selects those that the configuration names.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::LinkAddr;

use crate::config::Interfaces;
use crate::net::StartError;
use crate::types::{InterfaceName, Ipv4Network, MacAddr};

/// A snapshot of one interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// The kernel's number of the interface.
    pub index: u32,
    pub name: InterfaceName,
    /// Its IPv4 addresses, in the kernel's order.
    pub addresses: Arc<[Ipv4Addr]>,
    /// The networks of those addresses.
    pub networks: Arc<[Ipv4Network]>,
    /// Its hardware address. Only Ethernet interfaces have one, and a bridge without ports has none.
    pub mac: Option<MacAddr>,
    /// The address that a packet socket is bound to; Ethernet interfaces only.
    pub link: Option<LinkAddr>,
    /// Largest IP datagram, in bytes.
    pub mtu: u32,
    /// Whether segmentation offload is cut into single datagrams before anything else can read them: by the network
    /// card, or by the kernel for the card. Bridges, veth pairs, tap devices and virtio pass the uncut buffer on.
    pub cuts_offload: bool,
    pub loopback: bool,
    pub up: bool,
}

/// The kernel's number of the hardware type Ethernet.
const ARPHRD_ETHER: u16 = 1;

/// Selects the interfaces that `wanted` names, if they are up and have an IPv4 address. The second value is a
/// description of each named interface that cannot be served.
pub fn served(wanted: &Interfaces, mut all: Vec<Interface>) -> (Vec<Interface>, Vec<String>) {
    let usable = |interface: &Interface| interface.up && !interface.addresses.is_empty();
    let mut absent = Vec::new();
    match wanted {
        Interfaces::Auto => all.retain(|interface| usable(interface) && !interface.loopback),
        Interfaces::Named(names) => {
            absent.extend(names.iter().filter_map(|name| defect(&all, name)));
            all.retain(|interface| usable(interface) && names.iter().any(|name| **name == *interface.name));
        }
    }
    (all, absent)
}

/// Why the interface `name` cannot be served, and what to do.
fn defect(all: &[Interface], name: &str) -> Option<String> {
    let Some(interface) = all.iter().find(|interface| *interface.name == *name) else {
        return Some(format!("interface {name} of `interfaces` does not exist"));
    };
    if !interface.up {
        return Some(format!("interface {name} is down: bring it up with `ip link set {name} up`"));
    }
    interface.addresses.is_empty().then(|| {
        format!(
            "interface {name} has no IPv4 address: give it one with `ip address add ADDRESS/PREFIX dev {name}`"
        )
    })
}

/// Lists all interfaces once each, in the order of their numbers.
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
            networks: networks.into(),
            mac,
            link: (link.hatype() == ARPHRD_ETHER).then_some(*link),
            mtu: mtu_of(&entry.interface_name),
            cuts_offload: loopback || cuts_offload(Path::new(INTERFACES), &entry.interface_name, MAX_STACKED),
            loopback,
            up: entry.flags.contains(InterfaceFlags::IFF_UP),
        });
    }
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// The address that a packet socket on the loopback interface is bound to.
pub fn loopback() -> Option<LinkAddr> {
    let is_loopback = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_LOOPBACK);
    let mut entries = getifaddrs().ok()?.filter(|entry| is_loopback(entry.flags));
    entries.find_map(|entry| entry.address?.as_link_addr().copied())
}

/// The kernel's folder with an entry for each interface.
const INTERFACES: &str = "/sys/class/net";
/// Maximum depth of stacked interfaces that are followed. A VLAN on a bond of network cards has a depth of two.
const MAX_STACKED: u8 = 4;

/// Whether the interface `name` in the folder `interfaces` is a network card whose driver cuts segmentation offload
/// before packets leave this computer, or is stacked only on such cards. virtio hands uncut buffers to the hypervisor,
/// which may pass them to other machines.
fn cuts_offload(interfaces: &Path, name: &str, depth: u8) -> bool {
    let folder = interfaces.join(name);
    if folder.join("device").exists() {
        let driver = fs::read_link(folder.join("device/driver"));
        return driver.is_ok_and(|driver| !driver.ends_with("virtio_net"));
    }
    let Some(depth) = depth.checked_sub(1) else { return false };
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let lower: Vec<String> = names.filter_map(|name| Some(name.strip_prefix("lower_")?.to_owned())).collect();
    !lower.is_empty() && lower.iter().all(|name| cuts_offload(interfaces, name, depth))
}

/// Reads an interface's MTU from sysfs. Ethernet's is assumed if sysfs is hidden or belongs to another namespace.
fn mtu_of(name: &str) -> u32 {
    const ETHERNET: u32 = 1500;
    let text = fs::read_to_string(Path::new(INTERFACES).join(name).join("mtu"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(ETHERNET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_served_only_when_named() {
        let served = |wanted| served(&wanted, list().unwrap()).0;
        let interfaces = served(Interfaces::Named(vec!["lo".to_owned(); 2]));
        assert_eq!(interfaces.len(), 1, "a name that is given twice counts once");
        assert!(interfaces[0].loopback && interfaces[0].addresses.contains(&Ipv4Addr::LOCALHOST));
        assert!(served(Interfaces::Auto).iter().all(|interface| !interface.loopback));
    }

    #[test]
    fn r_01_offload_is_cut_only_by_network_cards() {
        let sys = tempfile::tempdir().unwrap();
        let add = |name: &str, driver: Option<&str>, lower: &[&str]| {
            let folder = sys.path().join(name);
            fs::create_dir(&folder).unwrap();
            if let Some(driver) = driver {
                fs::create_dir(folder.join("device")).unwrap();
                std::os::unix::fs::symlink(format!("../drivers/{driver}"), folder.join("device/driver"))
                    .unwrap();
            }
            lower.iter().for_each(|lower| fs::create_dir(folder.join(format!("lower_{lower}"))).unwrap());
        };
        add("eth0", Some("e1000e"), &[]);
        add("eth1", Some("igb"), &[]);
        add("eth2", Some("virtio_net"), &[]);
        add("veth0", None, &[]);
        add("bond0", None, &["eth0", "eth1"]);
        add("bond0.10", None, &["bond0"]);
        add("br0", None, &["eth0", "veth0"]);
        add("eth2.5", None, &["eth2"]);
        add("loop0", None, &["loop0"]);
        let cuts = |name: &str| cuts_offload(sys.path(), name, MAX_STACKED);
        for name in ["eth0", "bond0", "bond0.10"] {
            assert!(cuts(name), "{name}");
        }
        for name in ["eth2", "eth2.5", "veth0", "br0", "loop0", "none0"] {
            assert!(!cuts(name), "{name}");
        }
    }

    #[test]
    fn f_07_unserved_interfaces_are_reported_with_advice() {
        let lo = list().unwrap().into_iter().find(|interface| interface.loopback).unwrap();
        let down = Interface { name: "down0".into(), up: false, ..lo.clone() };
        let bare = Interface { name: "bare0".into(), addresses: [].into(), ..lo.clone() };
        let names = ["lo", "down0", "bare0", "nosuch0"].map(str::to_owned).to_vec();
        let (interfaces, absent) = served(&Interfaces::Named(names), vec![lo, down, bare]);
        assert_eq!(interfaces.len(), 1);
        let [down, bare, missing] = &absent[..] else { panic!("{absent:?}") };
        assert!(down.contains("ip link set down0 up") && bare.contains("ip address add"), "{absent:?}");
        assert!(missing.contains("nosuch0 of `interfaces` does not exist"), "{missing}");
    }
}
