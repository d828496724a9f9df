//! Machines of an earlier run of the server. Nothing was heard while it did not run, so the silence of a boot that was
//! going on proves nothing.

use crate::event::{Event, Record, ServerFact};
use crate::journey::Journeys;
use crate::journey::boot::{Boot, BootId, BootResult};
use crate::journey::evidence::Facts;
use crate::journey::machine::{BOOTS_WITH_EVENTS, MAX_BOOTS, Machine};
use crate::journey::observe;
use crate::journey::rules::{self, Case};
use crate::journey::silence;
use crate::journey::site::Site;
use crate::journey::stored::StoredMachine;
use crate::types::{MacAddr, Timestamp};

impl Journeys {
    /// Takes in a machine of an earlier run with its boots, newest first. Call it before any record is taken in.
    pub fn restore(&mut self, mac: MacAddr, stored: Option<StoredMachine>, boots: Vec<Boot>, now: Timestamp) {
        self.make_room(mac);
        let mut machine = Machine::new(mac);
        // A person may have woken it just now.
        machine.expected = self.machines.get(&mac).and_then(|known| known.expected);
        machine.saved = boots.first().map(|boot| boot.id.started);
        machine.seen = boots.first().map(last_heard);
        if let Some(StoredMachine { name, uuid, seen, reported }) = stored {
            (machine.name, machine.uuid, machine.reported) = (name, uuid, reported);
            machine.seen = seen.max(machine.seen);
        }
        machine.boots = boots.into();
        machine.boots.truncate(MAX_BOOTS);
        machine.boots.iter_mut().skip(BOOTS_WITH_EVENTS).for_each(Boot::shrink);
        if machine.boots.front_mut().is_some_and(|boot| resume(boot, &self.site, now)) {
            machine.wait_to_be_stored(&mut self.unsaved);
        }
        self.machines.insert(mac, machine);
        self.settle(mac, Vec::new(), &mut Vec::new());
        self.unchecked = self.unchecked.saturating_add(1);
        if self.unchecked.is_multiple_of(1024) {
            self.shrink();
        }
    }
}

/// The time of the last record of a boot.
fn last_heard(boot: &Boot) -> Timestamp {
    boot.events.last().map_or(boot.ended.unwrap_or(boot.id.started), |record| record.at)
}

/// Continues the newest boot of a machine, or closes it if its limit is over. Returns whether it changed.
fn resume(boot: &mut Boot, site: &Site, now: Timestamp) -> bool {
    if boot.result == BootResult::Booted {
        return false;
    }
    boot.evidence = facts(boot.id, &boot.events, site);
    if boot.ended.is_some() {
        return false;
    }
    let limit = silence::if_heard(&boot.evidence).filter(|limit| *limit <= now);
    if let Some(limit) = limit {
        // An obstacle was met while the server listened. Its proof is a packet.
        let case = Case { e: &boot.evidence, again: None, site, stage: boot.stage };
        match rules::judge(&case).filter(|_| boot.evidence.obstacle.is_some()) {
            Some(verdict) => {
                boot.end(Some(verdict), limit);
                return true;
            }
            None => boot.ended = Some(last_heard(boot)),
        }
    }
    boot.evidence.miss();
    let text = match limit {
        Some(_) => "lanboot did not run: the end of this boot was not heard",
        None => {
            "lanboot did not run: the silence of this boot proves nothing until the machine is heard again"
        }
    };
    let event = Event::Server { fact: ServerFact::Restarted, text: text.to_owned() };
    boot.push(&Record { at: now, interface: None, machine: None, event });
    true
}

/// The facts that these events show.
fn facts(id: BootId, events: &[Record], site: &Site) -> Facts {
    let mut boot = Boot::new(id.mac, id.started);
    for record in events {
        if let Event::Server { fact: ServerFact::RecordsLost | ServerFact::Restarted, .. } = &record.event {
            boot.evidence.miss();
            continue;
        }
        if boot.evidence.unheard {
            boot.evidence.hear_again(observe::asks(&record.event), record.at);
        }
        let speaker = record.event.client().map(|client| observe::speaker(client.firmware));
        observe::observe(&mut boot, record, speaker, site);
    }
    boot.evidence
}
