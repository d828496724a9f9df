//! Several hosts with one address, as Kea and dhcpd allow them: mostly the cards of one machine, of which one is up at a
//! time. `config.yaml` has one entry for an address.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::model::{Identifier, Machine, Site};
use crate::import::problems::Problems;

impl Site {
    /// Makes one machine of hosts that have their addresses in common and nothing else that differs. Of other hosts the
    /// first keeps the address, and the others are named in `problems`.
    pub(super) fn join_machines(&mut self, problems: &mut Problems) {
        let mut owners: HashMap<Ipv4Addr, usize> = HashMap::new();
        let mut joined: Vec<Machine> = Vec::with_capacity(self.machines.len());
        for mut machine in self.machines.drain(..) {
            let owner = machine.addresses.iter().find_map(|address| owners.get(address));
            if let Some(owner) = owner.and_then(|place| joined.get_mut(*place)) {
                if owner.is_same_but_for_its_card(&machine) {
                    owner.add_card(machine);
                    continue;
                }
                machine.addresses.retain(|address| {
                    let is_taken = owners.contains_key(address);
                    if is_taken {
                        let why = "another host has it, and lanboot gives an address to one machine";
                        problems.add(machine.place, format!("the address {address} is not taken: {why}"));
                    }
                    !is_taken
                });
            }
            owners.extend(machine.addresses.iter().map(|address| (*address, joined.len())));
            joined.push(machine);
        }
        self.machines = joined;
    }
}

impl Machine {
    fn is_same_but_for_its_card(&self, other: &Machine) -> bool {
        let has_macs_alone = |machine: &Machine| {
            machine.identifiers.iter().all(|identifier| matches!(identifier, Identifier::Mac(_)))
        };
        has_macs_alone(self)
            && has_macs_alone(other)
            && self.addresses == other.addresses
            && (self.is_ignored, &self.classes, &self.settings)
                == (other.is_ignored, &other.classes, &other.settings)
    }

    fn add_card(&mut self, other: Machine) {
        self.comments.extend(other.comments);
        self.comments.extend(other.name.map(|name| format!("also {name}")));
        let new = other.identifiers.into_iter().filter(|identifier| !self.identifiers.contains(identifier));
        let new: Vec<Identifier> = new.collect();
        self.identifiers.extend(new);
    }
}
