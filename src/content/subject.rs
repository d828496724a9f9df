//! The machine that a text is made for: the requesting machine, or the machine that the requested name contains.

use std::net::IpAddr;

use crate::boot::loader::facts::Facts;
use crate::boot::loader::target::Machine;
use crate::boot::name::BootName;
use crate::content::machines::Standing;
use crate::content::once::BootState;
use crate::content::requester::Requester;
use crate::types::MacAddr;

/// The machine that a text is made for, and whether the requesting client may have that text.
#[derive(Clone, Debug)]
pub struct Subject<'s> {
    /// The facts about the machine.
    pub facts: Facts<'s>,
    /// Whether the requested name contains the machine's MAC.
    pub is_named: bool,
    /// The rest of a name whose first component is `<mac>`.
    pub rest: Option<BootName>,
    /// Whether the name belongs to a machine that is known to be another than the requesting one. It gets no text.
    pub is_forbidden: bool,
    /// Whether the machine may get its `once`: not while several machines may have the client's address.
    pub may_once: bool,
}

impl<'s> Subject<'s> {
    /// Determines the machine that the text `name` is made for when `requester` requests it.
    ///
    /// A MAC in the name counts at the positions that loaders and cloud-init use: as the first component
    /// (`<mac>/user-data`), and at the end after `01-` (`pxelinux.cfg/01-<mac>`, `grub.cfg-01-<mac>`), where 01 is the
    /// hardware type Ethernet. Loaders behind a router send such names from addresses of unknown machines. A name
    /// therefore counts unless the client is known to be another machine.
    pub fn of(name: &BootName, requester: &Requester, boot_state: &'s BootState) -> Subject<'s> {
        let in_folder = folder_mac(name);
        let mac = in_folder.as_ref().map(|(mac, _)| *mac).or_else(|| last_mac(name));
        let rest = in_folder.map(|(_, rest)| rest);
        let known = &requester.machine;
        let (is_named, is_another) = (mac.is_some(), mac.is_some() && mac != known.mac);
        let facts = if is_another {
            let machine = boot_state.targets().machine(mac, None);
            // An unknown machine, for example behind a router, most likely asks for itself.
            let asks = known.mac.is_none().then_some(requester.address);
            Facts {
                server: requester.server,
                ip: machine.and_then(|machine| machine.address).map(IpAddr::V4).or(asks),
                mac,
                uuid: machine.and_then(|machine| machine.uuid),
                arch: None,
                serial: None,
                host_name: None,
                machine,
            }
        } else {
            Facts {
                server: requester.server,
                ip: Some(requester.address),
                mac: known.mac,
                uuid: known.uuid,
                arch: known.arch,
                serial: known.serial.clone(),
                host_name: known.host_name.clone(),
                machine: boot_state.machine(known),
            }
        };
        let is_forbidden = is_another && is_known_as_another(requester, facts.machine, boot_state);
        let may_once = requester.standing != Standing::Contested;
        Subject { facts, is_named, rest, is_forbidden, may_once }
    }

    /// The machine's entry in `machines:`.
    pub fn machine(&self) -> Option<&'s Machine> {
        self.facts.machine
    }
}

/// Whether the client is known to be another machine than the one with the entry `named`.
///
/// A MAC from the neighbour table alone proves nothing, unless it has an entry: it may be the MAC of a router, with the
/// named machine behind it. An unconfirmed message beside another DHCP server proves nothing either, because it may be
/// forged to keep a machine from its files.
fn is_known_as_another(requester: &Requester, named: Option<&Machine>, boot_state: &BootState) -> bool {
    let entry = boot_state.machine(&requester.machine);
    let is_same = entry.zip(named).is_some_and(|(own, named)| std::ptr::eq(own, named));
    let is_known = match requester.standing {
        Standing::Certain => true,
        Standing::Neighbour => entry.is_some(),
        Standing::Unknown | Standing::Claimed | Standing::Contested => false,
    };
    is_known && !is_same
}

fn folder_mac(name: &BootName) -> Option<(MacAddr, BootName)> {
    let (first, rest) = name.as_str().split_once('/')?;
    Some((mac(first)?, BootName::parse(rest.as_bytes()).ok()?))
}

fn last_mac(name: &BootName) -> Option<MacAddr> {
    let last = name.components().last()?;
    mac(last.strip_prefix("grub.cfg-").unwrap_or(last).strip_prefix("01-")?)
}

/// Parses a MAC with separators. A word of twelve digits without separators may mean anything.
fn mac(text: &str) -> Option<MacAddr> {
    let parts = text.split(['-', ':']);
    if parts.count() == 6 { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::machines::KnownMachine;

    const YAML: &str = "{dhcp: {mode: off}, machines: [{name: a, mac: 52:54:00:00:00:01}, {name: b, mac: 52:54:00:00:00:02, address: 10.0.0.2}]}";

    fn requester(mac: Option<&str>, standing: Standing) -> Requester {
        let mac = mac.and_then(|mac| mac.parse().ok());
        let host_name = mac.map(|_| "x".to_owned());
        let machine = KnownMachine { mac, host_name, ..KnownMachine::default() };
        let (address, server) = ([10, 0, 0, 1].into(), [10, 0, 0, 9].into());
        Requester { address, server, machine, standing, boot_state: BootState::default() }
    }

    #[test]
    fn macs_in_names_are_found_at_the_loaders_positions() {
        let boot_state = BootState::in_memory(&crate::config::load(YAML).unwrap());
        let known = |requester: &Requester, name: &str| {
            let subject = Subject::of(&BootName::parse(name.as_bytes()).unwrap(), requester, &boot_state);
            let facts = &subject.facts;
            (facts.label(), facts.ip.map(|ip| ip.to_string()), facts.host_name.clone(), subject.is_named)
        };
        let a = requester(Some("52:54:00:00:00:01"), Standing::Certain);
        let ip = |n: u8| Some(format!("10.0.0.{n}"));
        assert_eq!(known(&a, "boot.ipxe"), ("a".into(), ip(1), Some("x".into()), false));
        for name in
            ["52-54-00-00-00-01/user-data", "52:54:00:00:00:01/x", "pxelinux.cfg/01-52-54-00-00-00-01"]
        {
            assert_eq!(known(&a, name), ("a".into(), ip(1), Some("x".into()), true), "{name}");
        }
        let unknown = requester(None, Standing::Unknown);
        for name in ["52-54-00-00-00-02/user-data", "grub/grub.cfg-01-52-54-00-00-00-02"] {
            assert_eq!(known(&unknown, name), ("b".into(), ip(2), None, true), "{name}");
        }
        let nameless = known(&unknown, "01-52-54-00-00-00-03");
        assert_eq!(
            nameless,
            ("52:54:00:00:00:03".into(), ip(1), None, true),
            "it most likely asks for itself"
        );
        assert_eq!(known(&a, "525400000002/x").0, "a", "twelve digits may be a date");
        let rest =
            |name: &str| Subject::of(&BootName::parse(name.as_bytes()).unwrap(), &unknown, &boot_state).rest;
        assert_eq!(rest("52-54-00-00-00-02/a/b").unwrap().as_str(), "a/b");
        assert!(rest("52-54-00-00-00-02").is_none());
    }

    #[test]
    fn s_01_known_machines_get_no_text_for_others() {
        let boot_state = BootState::in_memory(&crate::config::load(YAML).unwrap());
        let forbidden = |mac: Option<&str>, standing: Standing, name: &str| {
            let name = BootName::parse(name.as_bytes()).unwrap();
            Subject::of(&name, &requester(mac, standing), &boot_state).is_forbidden
        };
        let (a, other) = (Some("52:54:00:00:00:01"), Some("02:00:00:00:00:07"));
        for name in
            ["52-54-00-00-00-02/user-data", "pxelinux.cfg/01-52-54-00-00-00-02", "x/01-02-00-00-00-00-09"]
        {
            assert!(forbidden(a, Standing::Certain, name) && forbidden(other, Standing::Certain, name));
            assert!(forbidden(a, Standing::Neighbour, name), "it has an entry, so it is no router");
            assert!(!forbidden(other, Standing::Neighbour, name), "it may be a router");
            for standing in [Standing::Unknown, Standing::Claimed, Standing::Contested] {
                assert!(!forbidden(None, standing, name), "{standing:?}");
            }
        }
        assert!(!forbidden(a, Standing::Certain, "52-54-00-00-00-01/user-data"), "its own");
        assert!(!forbidden(a, Standing::Certain, "user-data"), "the name contains no machine");
    }
}
