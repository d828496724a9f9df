//! The machines that have changed since their rows were stored, in the order of their first change. `store/journeys/`
//! takes some of them at a time, so a machine that changes often is written once per turn.

use std::collections::VecDeque;

use crate::journey::Journeys;
use crate::journey::machine::{BOOTS_WITH_EVENTS, Machine};
use crate::journey::stored::{Key, encode_boot, encode_machine};
use crate::types::{MacAddr, Timestamp};

/// The rows of one machine that have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedRows {
    pub mac: MacAddr,
    pub rows: Vec<ChangedRow>,
    /// Boots of the machine that started before this are not kept.
    pub oldest: Timestamp,
}

/// A row that has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedRow {
    pub key: Key,
    pub data: Vec<u8>,
    /// The number of events in the stored row of a boot that come before those in `data`, because only the database has them.
    pub earlier: usize,
}

impl Journeys {
    /// Takes the changed rows of up to `max` machines. They count as stored; [`Journeys::not_stored`] takes that back.
    pub fn take_unsaved(&mut self, max: usize) -> Vec<ChangedRows> {
        let mut out = Vec::new();
        while out.len() < max
            && let Some(mac) = self.unsaved.pop_front()
        {
            let Some(machine) = self.machines.get_mut(&mac) else { continue };
            out.extend(changed_rows(machine));
            machine.is_unsaved = false;
            machine.saved = machine.boots.front().map(|boot| boot.id.started);
        }
        out
    }

    /// Records that rows of these machines could not be stored.
    pub fn not_stored(&mut self, macs: impl IntoIterator<Item = MacAddr>) {
        for mac in macs {
            let Some(machine) = self.machines.get_mut(&mac) else { continue };
            // All rows are written then.
            machine.saved = None;
            machine.wait_to_be_stored(&mut self.unsaved);
        }
    }

    /// Records that no row of any machine is stored, because the rows are written to a new file.
    pub fn nothing_stored(&mut self) {
        let macs: Vec<MacAddr> = self.machines.keys().copied().collect();
        self.not_stored(macs);
    }

    /// The number of machines that wait to be stored.
    pub fn unsaved(&self) -> usize {
        self.unsaved.len()
    }
}

impl Machine {
    /// Adds it to the machines that wait to be stored, unless it waits already.
    pub(super) fn wait_to_be_stored(&mut self, unsaved: &mut VecDeque<MacAddr>) {
        if !std::mem::replace(&mut self.is_unsaved, true) {
            unsaved.push_back(self.mac);
        }
    }
}

/// The rows of `machine` that may have changed. A machine without boots is not stored.
fn changed_rows(machine: &Machine) -> Option<ChangedRows> {
    let oldest = machine.boots.back()?.id.started;
    let new = machine.boots.iter().take_while(|boot| Some(boot.id.started) > machine.saved).count();
    let count = match (machine.saved, new) {
        (None, _) => machine.boots.len(),
        // The summary of the boot before may come after the next one began.
        (Some(_), 0) => 2,
        // Boots that are older than the last ones with events have lost theirs.
        (Some(_), new) => new.saturating_add(BOOTS_WITH_EVENTS).saturating_add(1),
    };
    let boots = machine.boots.iter().take(count).enumerate().filter(|(place, boot)| {
        // The events of such a boot were dropped from memory only.
        let is_stored = Some(boot.id.started) <= machine.saved;
        !(is_stored && boot.events.is_empty() && *place < BOOTS_WITH_EVENTS)
    });
    let boots = boots.map(|(_, boot)| ChangedRow {
        key: Key::of_boot(boot.id),
        data: encode_boot(boot),
        earlier: boot.events_on_disk,
    });
    let own = ChangedRow { key: Key::of_machine(machine.mac), data: encode_machine(machine), earlier: 0 };
    Some(ChangedRows { mac: machine.mac, rows: std::iter::once(own).chain(boots).collect(), oldest })
}
