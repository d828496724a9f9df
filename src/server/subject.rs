//! Whom a text is made for: who asks, or the machine that the name names.

use crate::boot::facts::Facts;
use crate::boot::name::BootName;
use crate::boot::target::Machine;
use crate::server::files::Asker;
use crate::server::targets::Starts;
use crate::types::MacAddr;

/// The machine that a text is made for.
#[derive(Clone, Debug)]
pub struct Subject<'s> {
    /// What is known of it.
    pub facts: Facts<'s>,
    /// The name names it: by its MAC.
    pub is_named: bool,
    /// What is left of a name that begins with the folder `<mac>/`.
    pub rest: Option<BootName>,
}

impl<'s> Subject<'s> {
    /// Whom the text `name` is made for, when `asker` asks for it.
    ///
    /// A MAC in the name counts where loaders and cloud-init put it: as the first folder (`<mac>/user-data`), and at the
    /// end after `01-` (`pxelinux.cfg/01-<mac>`, `grub.cfg-01-<mac>`), 01 being Ethernet.
    pub fn of(name: &BootName, asker: &Asker, starts: &'s Starts) -> Subject<'s> {
        let in_folder = folder_mac(name);
        let mac = in_folder.as_ref().map(|(mac, _)| *mac).or_else(|| last_mac(name));
        let rest = in_folder.map(|(_, rest)| rest);
        let known = &asker.machine;
        let (is_named, is_another) = (mac.is_some(), mac.is_some() && mac != known.mac);
        let facts = if is_another {
            let machine = starts.targets().machine(mac, None);
            // Who is not known, as behind a router, most likely asks for itself.
            let asks = known.mac.is_none().then_some(asker.address);
            Facts {
                server: asker.server,
                ip: machine.and_then(|machine| machine.address).or(asks),
                mac,
                uuid: machine.and_then(|machine| machine.uuid),
                arch: None,
                serial: None,
                host_name: None,
                machine,
            }
        } else {
            Facts {
                server: asker.server,
                ip: Some(asker.address),
                mac: known.mac,
                uuid: known.uuid,
                arch: known.arch,
                serial: known.serial.clone(),
                host_name: known.host_name.clone(),
                machine: starts.machine(known),
            }
        };
        Subject { facts, is_named, rest }
    }

    /// Its entry in `machines:`.
    pub fn machine(&self) -> Option<&'s Machine> {
        self.facts.machine
    }
}

fn folder_mac(name: &BootName) -> Option<(MacAddr, BootName)> {
    let (first, rest) = name.as_str().split_once('/')?;
    Some((mac(first)?, BootName::parse(rest.as_bytes()).ok()?))
}

fn last_mac(name: &BootName) -> Option<MacAddr> {
    let last = name.components().last()?;
    mac(last.strip_prefix("grub.cfg-").unwrap_or(last).strip_prefix("01-")?)
}

/// A MAC in six parts: a word of twelve digits may be anything.
fn mac(text: &str) -> Option<MacAddr> {
    let parts = text.split(['-', ':']);
    if parts.count() == 6 { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::known::KnownMachine;
    use std::net::Ipv4Addr;

    #[test]
    fn the_machine_that_a_name_names_comes_before_the_one_that_asks() {
        let yaml = "{dhcp: {mode: off}, machines: [{name: a, mac: 52:54:00:00:00:01}, {name: b, mac: 52:54:00:00:00:02, address: 10.0.0.2}]}";
        let starts = Starts::forgetful(&crate::config::load(yaml).unwrap());
        let machine = KnownMachine {
            mac: "52:54:00:00:00:01".parse().ok(),
            host_name: Some("x".into()),
            ..KnownMachine::default()
        };
        let asker =
            Asker { address: Ipv4Addr::new(10, 0, 0, 1), server: Ipv4Addr::new(10, 0, 0, 9), machine };
        let subject = |name: &str| Subject::of(&BootName::parse(name.as_bytes()).unwrap(), &asker, &starts);
        let known = |name: &str| {
            let subject = subject(name);
            let facts = &subject.facts;
            (facts.who(), facts.ip.map(|ip| ip.to_string()), facts.host_name.clone(), subject.is_named)
        };
        let ip = |n: u8| Some(format!("10.0.0.{n}"));
        assert_eq!(known("boot.ipxe"), ("a".into(), ip(1), Some("x".into()), false));
        for name in
            ["52-54-00-00-00-01/user-data", "52:54:00:00:00:01/x", "pxelinux.cfg/01-52-54-00-00-00-01"]
        {
            assert_eq!(known(name), ("a".into(), ip(1), Some("x".into()), true), "{name}");
        }
        for name in ["52-54-00-00-00-02/user-data", "grub/grub.cfg-01-52-54-00-00-00-02"] {
            assert_eq!(known(name), ("b".into(), ip(2), None, true), "{name}");
        }
        assert_eq!(known("01-52-54-00-00-00-03"), ("52:54:00:00:00:03".into(), None, None, true));
        assert_eq!(known("525400000002/x").0, "a", "twelve digits may be a date");
        assert_eq!(subject("52-54-00-00-00-02/a/b").rest.unwrap().as_str(), "a/b");
        assert!(subject("52-54-00-00-00-02").rest.is_none());
    }
}
