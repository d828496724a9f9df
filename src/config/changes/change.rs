//! The changes themselves: their kinds, the machines that they are for, and their limits.

use std::net::Ipv4Addr;

use crate::boot::loader::target::{Machine, Targets};
use crate::config::syntax::reader::suggestion;
use crate::types::MacAddr;

/// Maximum number of machines with a target for their next boot.
pub const MAX_ONCE: usize = 10_000;
/// Maximum number of pinned addresses.
pub const MAX_PINS: usize = 10_000;
/// Maximum length of a machine's name and of a target's name in a change, in bytes.
pub const MAX_NAME: usize = 255;

/// All changes that are in effect, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub once: Vec<Once>,
    pub pins: Vec<Pin>,
    /// The number of the last [`Once`].
    last: u64,
}

/// The target of a machine's next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Distinguishes it from an earlier one of the same machine and target. Numbers are valid for one run of the server.
    pub number: u64,
    pub machine: MachineKey,
    /// The name of a target, `local` or `menu`.
    pub target: String,
}

/// An address that is reserved for a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    pub mac: MacAddr,
    pub address: Ipv4Addr,
}

/// The machine that a change is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MachineKey {
    /// The first MAC of its entry, or the MAC of a machine without an entry.
    Mac(MacAddr),
    /// The name of its entry, which has no MAC.
    Name(String),
}

/// A machine that a person named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedMachine {
    pub key: MachineKey,
    /// The name of its entry in `machines`, which is its MAC if the entry has no `name`.
    pub entry: Option<String>,
    /// The MAC that the person named, or those of its entry.
    pub macs: Vec<MacAddr>,
}

/// The reason why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No machine has that name or MAC.
    NoMachine(String),
    /// The request itself is wrong.
    Wrong(String),
    /// It contradicts the configuration or another change.
    Conflict(String),
    /// A limit is reached.
    Full(String),
}

/// The error for a text that is neither the name of an entry nor a MAC address.
pub fn unknown_machine(text: &str) -> String {
    let shown: String = text.chars().take(MAX_NAME).filter(|c| !c.is_control()).collect();
    format!(
        "no machine is called {shown}: expected a name in `machines`, or a MAC address like 52:54:00:12:34:56"
    )
}

impl NamedMachine {
    /// The machine that `text` names: a MAC address in any spelling, or the name of an entry in `machines`.
    ///
    /// # Errors
    /// [`Refused::NoMachine`] if no entry has the name, [`Refused::Wrong`] if no network card can have the MAC.
    pub fn find(text: &str, targets: &Targets) -> Result<NamedMachine, Refused> {
        if let Some(entry) = targets.named(text) {
            return Ok(NamedMachine::of(entry));
        }
        let Ok(mac) = text.parse::<MacAddr>() else {
            return Err(Refused::NoMachine(unknown_machine(text)));
        };
        let [first, ..] = mac.0;
        if first & 1 == 1 || mac.0 == [0; 6] {
            return Err(Refused::Wrong(format!("{mac} is not the MAC address of a network card")));
        }
        let entry = targets.machine(Some(mac), None);
        Ok(entry.map_or_else(
            || NamedMachine { key: MachineKey::Mac(mac), entry: None, macs: vec![mac] },
            |entry| NamedMachine { macs: vec![mac], ..NamedMachine::of(entry) },
        ))
    }

    fn of(entry: &Machine) -> NamedMachine {
        let key = entry
            .macs
            .first()
            .map_or_else(|| MachineKey::Name(entry.name.clone()), |mac| MachineKey::Mac(*mac));
        NamedMachine { key, entry: Some(entry.name.clone()), macs: entry.macs.clone() }
    }

    /// The name that a person gave the machine.
    pub fn name(&self) -> Option<&str> {
        self.entry.as_deref().filter(|name| name.parse::<MacAddr>().is_err())
    }

    /// Whether a change with this key is for this machine. The entry may have got another first MAC since.
    fn has(&self, key: &MachineKey, targets: &Targets) -> bool {
        *key == self.key
            || entry_of(key, targets).is_some_and(|entry| self.entry.as_deref() == Some(entry.name.as_str()))
    }
}

/// The entry of the machine that a change is for.
fn entry_of<'t>(key: &MachineKey, targets: &'t Targets) -> Option<&'t Machine> {
    match key {
        MachineKey::Mac(mac) => targets.machine(Some(*mac), None),
        MachineKey::Name(name) => targets.named(name),
    }
}

impl Changes {
    /// Changes as they were stored: the machines and targets of their next boots, and the pins. Surplus ones are
    /// ignored.
    pub fn stored(once: impl IntoIterator<Item = (MachineKey, String)>, pins: Vec<Pin>) -> Changes {
        let mut changes = Changes { pins, ..Changes::default() };
        changes.pins.truncate(MAX_PINS);
        for (machine, target) in once.into_iter().take(MAX_ONCE) {
            changes.last = changes.last.saturating_add(1);
            changes.once.push(Once { number: changes.last, machine, target });
        }
        changes
    }

    /// Sets the target of the machine's next boot. It replaces an earlier one.
    ///
    /// # Errors
    /// [`Refused::Wrong`] if there is no such target, [`Refused::Full`].
    pub fn set_once(
        &mut self,
        subject: &NamedMachine,
        target: &str,
        targets: &Targets,
    ) -> Result<(), Refused> {
        if targets.action(target).is_none() {
            return Err(Refused::Wrong(unknown_target(target, targets)));
        }
        self.clear_once(subject, targets);
        if self.once.len() >= MAX_ONCE {
            return Err(Refused::Full(format!("{MAX_ONCE} machines have a `once` already")));
        }
        self.last = self.last.saturating_add(1);
        let machine = subject.key.clone();
        self.once.push(Once { number: self.last, machine, target: target.to_owned() });
        Ok(())
    }

    /// Removes the target of the machine's next boot. Returns whether there was one.
    pub fn clear_once(&mut self, subject: &NamedMachine, targets: &Targets) -> bool {
        let before = self.once.len();
        self.once.retain(|once| !subject.has(&once.machine, targets));
        self.once.len() < before
    }

    /// Removes the [`Once`] with this number, because the machine has booted it. Returns whether there was one.
    pub fn end_once(&mut self, number: u64) -> bool {
        let before = self.once.len();
        self.once.retain(|once| once.number != number);
        self.once.len() < before
    }

    /// Adds a pin. The caller has checked it with [`pin_conflict`](super::apply::pin_conflict).
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn pin(&mut self, pin: Pin) -> Result<(), Refused> {
        if self.pins.contains(&pin) {
            return Ok(());
        }
        if self.pins.len() >= MAX_PINS {
            return Err(Refused::Full(format!("{MAX_PINS} addresses are pinned already")));
        }
        self.pins.push(pin);
        Ok(())
    }

    /// Removes the pins of the machine. Returns whether there was one.
    pub fn unpin(&mut self, subject: &NamedMachine, targets: &Targets) -> bool {
        let before = self.pins.len();
        self.pins.retain(|pin| !subject.has(&MachineKey::Mac(pin.mac), targets));
        self.pins.len() < before
    }
}

/// The message about an unknown target, with the closest name or all names.
pub(super) fn unknown_target(target: &str, targets: &Targets) -> String {
    /// Maximum number of names that the message lists.
    const MAX_LISTED: usize = 12;
    let names = || targets.list.iter().map(|target| &*target.name).chain(["local", "menu"]);
    let hint = suggestion(target, names()).unwrap_or_else(|| {
        let more = if names().count() > MAX_LISTED { ", …" } else { "" };
        format!("; there are {}{more}", names().take(MAX_LISTED).collect::<Vec<_>>().join(", "))
    });
    let shown: String = target.chars().take(MAX_NAME).collect();
    format!("unknown target {shown:?}{hint}")
}
