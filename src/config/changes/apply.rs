//! Applies changes to the settings of the file. The result is the settings as if the changes stood in the file; where
//! they contradict the file, the file counts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::change::{Changes, MachineKey, Pin, unknown_target};
use crate::boot::loader::target::{Machine, OneTimeBoot, Targets};
use crate::config::settings::Config;
use crate::dhcp;
use crate::dhcp::level::Level;
use crate::dhcp::machines::OnceBoots;
use crate::dhcp::settings::Settings;
use crate::types::{Ipv4Network, MacAddr};

/// Settings with changes.
#[derive(Clone, Debug)]
pub struct Applied {
    pub config: Config,
    /// One line for each change that has no effect, with the reason. It stays stored.
    pub unused: Vec<String>,
}

/// Applies `changes` to the settings `file`, which come from config.yaml alone.
pub fn apply(file: &Config, changes: &Changes) -> Applied {
    let mut config = file.clone();
    let mut unused = Vec::new();
    if changes.once.is_empty() && changes.pins.is_empty() {
        return Applied { config, unused };
    }
    let mut machines: Vec<Machine> = file.targets.machines().to_vec();
    if let Some(settings) = &file.dhcp
        && !changes.pins.is_empty()
    {
        config.dhcp = Some(Arc::new(with_pins(settings, &changes.pins, &mut machines, &mut unused)));
    }
    let boots = set_once(&file.targets, changes, &mut machines, &mut unused);
    if machines != file.targets.machines() {
        let Targets { list, default, ipxe, .. } = &*file.targets;
        config.targets = Arc::new(Targets::new(list.clone(), default.clone(), ipxe.clone(), machines));
    }
    if let Some(settings) = config.dhcp.as_mut().filter(|settings| settings.once != boots) {
        Arc::make_mut(settings).once = boots;
    }
    Applied { config, unused }
}

/// Sets the target of the next boot of each machine in `changes`, and returns these machines.
fn set_once(
    targets: &Targets,
    changes: &Changes,
    machines: &mut Vec<Machine>,
    unused: &mut Vec<String>,
) -> OnceBoots {
    let mut boots = OnceBoots::default();
    let mut by_mac: BTreeMap<MacAddr, usize> = BTreeMap::new();
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    for (place, machine) in machines.iter().enumerate().rev() {
        by_mac.extend(machine.macs.iter().map(|mac| (*mac, place)));
        by_name.insert(machine.name.clone(), place);
    }
    for once in &changes.once {
        let Some(action) = targets.action(&once.target) else {
            let (machine, why) = (shown(&once.machine), unknown_target(&once.target, targets));
            unused.push(format!("`once` of {machine} has no effect: {why}"));
            continue;
        };
        let place = match &once.machine {
            MachineKey::Mac(mac) => *by_mac.entry(*mac).or_insert_with(|| {
                machines.push(Machine { name: mac.to_string(), macs: vec![*mac], ..Machine::default() });
                machines.len().saturating_sub(1)
            }),
            MachineKey::Name(name) => match by_name.get(name) {
                Some(place) => *place,
                None => {
                    unused.push(format!("`once` of {name} has no effect: it is not in `machines` any more"));
                    continue;
                }
            },
        };
        let Some(machine) = machines.get_mut(place) else { continue };
        machine.requested = Some(OneTimeBoot { number: once.number, action });
        boots.macs.extend(machine.macs.iter().copied());
        if machine.macs.is_empty() {
            boots.names.insert(machine.name.as_str().into());
        }
    }
    boots
}

/// Adds the reservations of `pins`.
fn with_pins(
    settings: &Settings,
    pins: &[Pin],
    boot_machines: &mut Vec<Machine>,
    unused: &mut Vec<String>,
) -> Settings {
    let mut list: Vec<dhcp::machines::Machine> = settings.machines.iter().cloned().collect();
    let mut reserved = Reserved::of(&list, settings);
    for pin in pins {
        if let Err(why) = reserved.check(*pin, &list) {
            unused.push(format!("the pin of {} for {} has no effect: {why}", pin.address, pin.mac));
            continue;
        }
        match reserved.place_of(pin.mac, pin.address, &list) {
            Some(place) => {
                let Some(machine) = list.get_mut(place) else { continue };
                if !machine.addresses.contains(&pin.address) {
                    machine.addresses.push(pin.address);
                }
                let name = Arc::clone(&machine.name);
                let entry = boot_machines.iter_mut().find(|entry| *entry.name == *name);
                entry.into_iter().for_each(|entry| _ = entry.address.get_or_insert(pin.address));
                reserved.add(pin.address, place);
            }
            None => {
                let (name, macs) = (pin.mac.to_string(), vec![pin.mac]);
                reserved.add(pin.address, list.len());
                reserved.by_mac.entry(pin.mac).or_default().push(list.len());
                list.push(pinned_machine(pin));
                let address = Some(pin.address);
                boot_machines.push(Machine { name, macs, address, ..Machine::default() });
            }
        }
    }
    Settings { machines: list.into(), ..settings.clone() }
}

/// The entry of a machine that is known by its pin alone. Like an entry of the file without `name`, it is called after
/// its MAC.
fn pinned_machine(pin: &Pin) -> dhcp::machines::Machine {
    dhcp::machines::Machine {
        name: pin.mac.to_string().into(),
        macs: vec![pin.mac],
        uuid: None,
        ids: Vec::new(),
        port: None,
        addresses: vec![pin.address],
        classes: Vec::new(),
        ignore: false,
        boot: None,
        level: Level::default(),
    }
}

/// The reserved addresses, and the entries of each MAC, by their place in a list of entries.
struct Reserved {
    networks: Vec<Ipv4Network>,
    by_address: BTreeMap<Ipv4Addr, usize>,
    by_mac: BTreeMap<MacAddr, Vec<usize>>,
}

impl Reserved {
    fn of(list: &[dhcp::machines::Machine], settings: &Settings) -> Reserved {
        let mut by_address = BTreeMap::new();
        let mut by_mac: BTreeMap<MacAddr, Vec<usize>> = BTreeMap::new();
        for (place, machine) in list.iter().enumerate() {
            by_address.extend(machine.addresses.iter().map(|address| (*address, place)));
            let macs: BTreeSet<MacAddr> = machine.macs.iter().copied().collect();
            macs.into_iter().for_each(|mac| by_mac.entry(mac).or_default().push(place));
        }
        let networks = settings.subnets.iter().map(|subnet| subnet.network).collect();
        Reserved { networks, by_address, by_mac }
    }

    fn add(&mut self, address: Ipv4Addr, place: usize) {
        self.by_address.insert(address, place);
    }

    /// The entry that gets the address: one with the MAC and an address in the same subnet, or else one without any
    /// address, or else the first one with the MAC.
    fn place_of(&self, mac: MacAddr, address: Ipv4Addr, list: &[dhcp::machines::Machine]) -> Option<usize> {
        let places = self.by_mac.get(&mac)?;
        let is_here = |place: &&usize| {
            let machine = list.get(**place);
            machine.is_some_and(|machine| machine.addresses.iter().any(|a| self.is_same_subnet(*a, address)))
        };
        let is_empty = |place: &&usize| list.get(**place).is_some_and(|machine| machine.addresses.is_empty());
        let place = places.iter().find(is_here).or_else(|| places.iter().find(is_empty));
        place.or(places.first()).copied()
    }

    fn is_same_subnet(&self, one: Ipv4Addr, other: Ipv4Addr) -> bool {
        self.networks.iter().any(|network| network.contains(one) && network.contains(other))
    }

    /// Why the pin cannot be kept.
    fn check(&self, pin: Pin, list: &[dhcp::machines::Machine]) -> Result<(), String> {
        let Pin { mac, address } = pin;
        let name = |place: usize| list.get(place).map_or("?", |machine| &*machine.name);
        if !self.networks.iter().any(|network| network.has_host(address)) {
            return Err("it is in none of `dhcp.subnets`".to_owned());
        }
        let own: &[usize] = self.by_mac.get(&mac).map_or(&[], Vec::as_slice);
        if let Some(place) = self.by_address.get(&address).filter(|place| !own.contains(place)) {
            return Err(format!("it is reserved for {}", name(*place)));
        }
        for place in own {
            let addresses = list.get(*place).map_or(&[][..], |machine| &machine.addresses);
            let other = addresses.iter().find(|a| **a != address && self.is_same_subnet(**a, address));
            if let Some(other) = other {
                return Err(format!("{other} is reserved for {} in the same subnet", name(*place)));
            }
        }
        Ok(())
    }
}

/// Why `pin` contradicts the settings, which include the other pins. `None` if it can be made.
pub fn pin_conflict(settings: &Settings, pin: Pin) -> Option<String> {
    let list: Vec<dhcp::machines::Machine> = settings.machines.iter().cloned().collect();
    Reserved::of(&list, settings).check(pin, &list).err()
}

/// The machine of a change, for a message.
fn shown(key: &MachineKey) -> String {
    match key {
        MachineKey::Mac(mac) => mac.to_string(),
        MachineKey::Name(name) => name.clone(),
    }
}

/// The YAML that makes `pins` of one machine part of config.yaml. `entry` is its entry there, if it has one.
pub fn pin_yaml(pins: &[Pin], entry: Option<&Machine>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let addresses: Vec<String> = pins.iter().map(|pin| pin.address.to_string()).collect();
    let addresses = match &addresses[..] {
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    };
    let macs: BTreeSet<MacAddr> = pins.iter().map(|pin| pin.mac).collect();
    let macs: Vec<String> = macs.iter().map(|mac| quoted(&mac.to_string())).collect();
    let macs = if let [one] = &macs[..] { one.clone() } else { format!("[{}]", macs.join(", ")) };
    match entry.map(|entry| &entry.name).filter(|name| name.parse::<MacAddr>().is_err()) {
        Some(name) => format!(
            "machines:\n  # add the address to the entry that config.yaml has\n  - {{name: {}, mac: {macs}, address: {addresses}}}\n",
            quoted(name)
        ),
        None => format!("machines:\n  - {{mac: {macs}, address: {addresses}}}\n"),
    }
}
