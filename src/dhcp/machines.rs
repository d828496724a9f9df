//! The machines of `machines:`, indexed by everything that identifies one. `classify.rs` looks up the sender of each
//! message here; `config/` builds the table. Nothing here looks at leases.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::machine_boot::MachineBoot;
use crate::dhcp::level::Level;
use crate::lease::Holder;
use crate::types::{ClientId, MacAddr, Uuid, to_hex};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::{pxe, relay};

/// One entry of `machines:`. It has at least one of the keys that identify a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Name in logs.
    pub name: Arc<str>,
    /// The hardware addresses that identify the machine. It has one address at a time, whichever of them asks.
    pub macs: Vec<MacAddr>,
    /// The UUID (option 97) that identifies the machine.
    pub uuid: Option<Uuid>,
    /// The client identifiers (option 61) that identify the machine. A text has two forms: some clients put a zero byte
    /// before it.
    pub ids: Vec<Arc<[u8]>>,
    /// The port that identifies the machine, as its relay agent states it.
    pub port: Option<RelayPort>,
    /// The addresses reserved for the machine, at most one in each subnet.
    pub addresses: Vec<Ipv4Addr>,
    /// The places of the classes that the machine is in, in addition to those that match.
    pub classes: Vec<usize>,
    /// Whether the machine gets no answer.
    pub ignore: bool,
    /// The boot file that replaces the one in `boot:`.
    pub boot: Option<MachineBoot>,
    /// Values for this machine alone.
    pub level: Level,
}

/// Suboptions of option 82 that identify a machine. If both are given, both must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RelayPort {
    /// Suboption 1.
    pub circuit_id: Option<Arc<[u8]>>,
    /// Suboption 2.
    pub remote_id: Option<Arc<[u8]>>,
}

impl fmt::Display for RelayPort {
    /// Writes both suboptions, as text if they are printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            [&self.circuit_id, &self.remote_id].into_iter().flatten().map(|bytes| shown(bytes)).collect();
        f.write_str(&parts.join(" of "))
    }
}

/// `bytes` as text if all are printable ASCII, or else as `hex:…`.
fn shown(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => text.to_owned(),
        _ => format!("hex:{}", to_hex(bytes)),
    }
}

impl Machine {
    /// Whether `holder` is this machine for certain, because the entry has its MAC or its client identifier.
    pub fn lists(&self, holder: &Holder) -> bool {
        holder.mac.is_some_and(|mac| self.macs.contains(&mac))
            || self.ids.iter().any(|id| **id == *holder.client.as_bytes())
    }

    /// Whether the entry identifies the machine only by its relay agent's port.
    pub fn is_known_by_port_alone(&self) -> bool {
        self.macs.is_empty() && self.uuid.is_none() && self.ids.is_empty()
    }

    /// Whether the entry identifies the machine by more than hardware addresses, so that its card may change.
    pub fn has_other_keys(&self) -> bool {
        self.uuid.is_some() || !self.ids.is_empty() || self.port.is_some()
    }
}

/// The machines of `machines:`, indexed by MAC, UUID, client identifier and relay agent's port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machines {
    list: Vec<Machine>,
    by_mac: HashMap<MacAddr, usize>,
    /// For a MAC and an entry, the next entry with that MAC. Such entries have addresses in different subnets.
    next: HashMap<(MacAddr, usize), usize>,
    by_uuid: HashMap<Uuid, usize>,
    by_id: HashMap<Arc<[u8]>, usize>,
    by_port: HashMap<RelayPort, usize>,
    /// Machines without a MAC, by their reserved addresses.
    without_mac: HashMap<Ipv4Addr, usize>,
}

/// The machines whose next boot a person has chosen while the server runs. Their iPXE gets the generated script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnceBoots {
    pub macs: HashSet<MacAddr>,
    /// The names of machines whose entries have no MAC.
    pub names: HashSet<Arc<str>>,
}

impl OnceBoots {
    /// Whether the client with this MAC, which has this entry, is one of them.
    pub fn has(&self, mac: Option<MacAddr>, machine: Option<&Machine>) -> bool {
        mac.is_some_and(|mac| self.macs.contains(&mac))
            || machine.is_some_and(|machine| self.names.contains(&machine.name))
    }
}

impl From<Vec<Machine>> for Machines {
    fn from(mut list: Vec<Machine>) -> Machines {
        // The table lives long, and a list that was collected may have room for many more.
        list.shrink_to_fit();
        let mut machines = Machines::default();
        // In reverse order, so that the first entry with a MAC is found first.
        for (place, machine) in list.iter().enumerate().rev() {
            for mac in &machine.macs {
                let later = machines.by_mac.insert(*mac, place).filter(|later| *later != place);
                machines.next.extend(later.map(|later| ((*mac, place), later)));
            }
            machines.by_uuid.extend(machine.uuid.map(|uuid| (uuid, place)));
            machines.by_id.extend(machine.ids.iter().map(|id| (Arc::clone(id), place)));
            machines.by_port.extend(machine.port.clone().map(|port| (port, place)));
            if machine.macs.is_empty() {
                machines.without_mac.extend(machine.addresses.iter().map(|address| (*address, place)));
            }
        }
        Machines { list, ..machines }
    }
}

impl Machines {
    /// The machine that sent `message`: found by its hardware address, else by its UUID, its client identifier, or its
    /// relay agent's port. If several entries have the hardware address, the first one counts that has an address for
    /// which `is_here` holds, or else the first one.
    pub fn that_sent(&self, message: &Message, is_here: impl Fn(Ipv4Addr) -> bool) -> Option<&Machine> {
        let first = message.mac().and_then(|mac| Some((mac, *self.by_mac.get(&mac)?)));
        if let Some((mac, first)) = first {
            let mut entries =
                std::iter::successors(Some(first), |place| self.next.get(&(mac, *place)).copied());
            let of_here = |place: &usize| {
                self.list.get(*place).is_some_and(|machine| machine.addresses.iter().any(|a| is_here(*a)))
            };
            let place = if self.next.is_empty() { first } else { entries.find(of_here).unwrap_or(first) };
            return self.list.get(place);
        }
        let place = self.with_uuid_of(message).or_else(|| self.with_id_of(message));
        place.or_else(|| self.at_port_of(message)).and_then(|place| self.list.get(place))
    }

    fn with_uuid_of(&self, message: &Message) -> Option<usize> {
        if self.by_uuid.is_empty() {
            return None;
        }
        pxe::machine_uuids(&message.options)?.iter().find_map(|uuid| self.by_uuid.get(uuid)).copied()
    }

    fn with_id_of(&self, message: &Message) -> Option<usize> {
        if self.by_id.is_empty() {
            return None;
        }
        let id = message.options.get(code::CLIENT_IDENTIFIER);
        let client = ClientId::new(message.htype, message.hardware(), id)?;
        self.by_id.get(client.as_bytes()).copied()
    }

    /// Any client can write option 82, so it counts only if a relay agent forwarded the message.
    fn at_port_of(&self, message: &Message) -> Option<usize> {
        if self.by_port.is_empty() || message.giaddr.is_unspecified() {
            return None;
        }
        let part = |number| relay::suboption(&message.options, number).map(Arc::from);
        let (circuit_id, remote_id) = (part(relay::CIRCUIT_ID), part(relay::REMOTE_ID));
        let both = RelayPort { circuit_id, remote_id };
        let circuit = RelayPort { remote_id: None, ..both.clone() };
        let remote = RelayPort { circuit_id: None, ..both.clone() };
        [both, circuit, remote].iter().find_map(|port| self.by_port.get(port)).copied()
    }

    /// The first machine with hardware address `mac`.
    pub fn with_mac(&self, mac: MacAddr) -> Option<&Machine> {
        self.by_mac.get(&mac).and_then(|place| self.list.get(*place))
    }

    /// The machine that `address` is reserved for, if it has no hardware address in its entry.
    pub fn without_mac(&self, address: Ipv4Addr) -> Option<&Machine> {
        self.without_mac.get(&address).and_then(|place| self.list.get(*place))
    }

    /// Whether a machine with a reserved address has no hardware address in its entry.
    pub fn has_any_without_mac(&self) -> bool {
        !self.without_mac.is_empty()
    }

    /// All machines, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Machine> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dhcp::BOOTREQUEST;

    fn machine(name: &str) -> Machine {
        Machine {
            name: name.into(),
            macs: vec![],
            uuid: None,
            ids: vec![],
            port: None,
            addresses: vec![],
            classes: vec![],
            ignore: false,
            boot: None,
            level: Level::default(),
        }
    }

    fn message(n: u8, options: &[(u8, &[u8])]) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        message.chaddr[..6].copy_from_slice(&[2, 0, 0, 0, 0, n]);
        message.giaddr = Ipv4Addr::new(10, 0, 0, 1);
        options.iter().for_each(|(code, value)| assert!(message.options.push(*code, value)));
        message
    }

    #[test]
    fn r_24_a_machine_is_found_by_each_of_its_keys_in_order() {
        let mac = |n| MacAddr([2, 0, 0, 0, 0, n]);
        let bytes = |text: &str| Some(Arc::<[u8]>::from(text.as_bytes()));
        let port = |circuit_id, remote_id| Some(RelayPort { circuit_id, remote_id });
        let first = Ipv4Addr::new(10, 1, 0, 5);
        let machines = Machines::from(vec![
            Machine { macs: vec![mac(1), mac(2)], addresses: vec![first], ..machine("two cards") },
            Machine { macs: vec![mac(1)], addresses: vec![Ipv4Addr::new(10, 2, 0, 5)], ..machine("away") },
            Machine { ids: vec![b"\xff\0id"[..].into()], ..machine("id") },
            Machine { port: port(bytes("ge1"), None), ..machine("circuit") },
            Machine { port: port(bytes("ge1"), bytes("sw2")), ..machine("circuit of a switch") },
            Machine { port: port(None, bytes("sw3")), ..machine("remote") },
        ]);
        let found = |message: &Message, here: Ipv4Addr| {
            machines.that_sent(message, |address| address == here).map(|machine| &*machine.name)
        };
        let none = Ipv4Addr::UNSPECIFIED;
        assert_eq!(found(&message(1, &[]), none), Some("two cards"));
        assert_eq!(found(&message(2, &[]), none), Some("two cards"));
        assert_eq!(found(&message(1, &[]), Ipv4Addr::new(10, 2, 0, 5)), Some("away"));
        assert_eq!(found(&message(1, &[(61, b"\xff\0id")]), first), Some("two cards"), "the MAC comes first");
        assert_eq!(found(&message(9, &[(61, b"\xff\0id"), (82, b"\x01\x03ge1")]), none), Some("id"));
        assert_eq!(found(&message(9, &[(82, b"\x01\x03ge1")]), none), Some("circuit"));
        assert_eq!(found(&message(9, &[(82, b"\x01\x03ge1\x02\x03sw9")]), none), Some("circuit"));
        let both = message(9, &[(82, b"\x01\x03ge1\x02\x03sw2")]);
        assert_eq!(found(&both, none), Some("circuit of a switch"));
        assert_eq!(found(&message(9, &[(82, b"\x01\x03ge7\x02\x03sw3")]), none), Some("remote"));
        let direct = Message { giaddr: none, ..both };
        assert_eq!(found(&direct, none), None, "option 82 without a relay agent");
    }

    #[test]
    fn r_24_infiniband_is_known_by_its_client_identifier() {
        let machines =
            Machines::from(vec![Machine { ids: vec![b"\x20\xaa\xbb"[..].into()], ..machine("ib") }]);
        let ask = Message { htype: 32, hlen: 0, ..message(0, &[(61, b"\x20\xaa\xbb")]) };
        assert_eq!(machines.that_sent(&ask, |_| false).map(|machine| &*machine.name), Some("ib"));
    }
}
