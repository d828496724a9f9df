//! Journeys: what happened to each machine, and why its boot stopped. The shell passes every record and the time; the
//! journeys return the changes, and keep the boots. They read no clock and no file, and never change what is decided.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod boot;
pub mod codes;
pub mod evidence;
pub mod file_role;
mod lost;
pub mod machine;
mod observe;
mod restore;
pub mod rules;
pub mod silence;
pub mod site;
pub mod state;
pub mod stored;
pub mod unsaved;
pub mod verdict;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::event::{Event, Message, Record};
use crate::types::{MacAddr, Timestamp, Uuid};

use boot::{Boot, BootId};
use machine::{Change, Machine};
use observe::Speaker;
use site::Site;
use verdict::Verdict;

/// Number of machines that are kept. Those that were seen longest ago are forgotten first.
pub const MAX_MACHINES: usize = 10_000;
/// Number of machines beyond [`MAX_MACHINES`] before all surplus ones are forgotten at once.
const SURPLUS: usize = MAX_MACHINES / 10;
/// Maximum number of bytes of all boots. When it is reached, events of the machines that were seen longest ago are
/// dropped: first those that are in the database, then all. Older boots of these machines come last.
pub const MAX_BYTES: usize = 88 << 20;
/// Number of records between two checks of [`MAX_BYTES`].
const CHECK_EVERY: u32 = 16_384;

/// The journeys of all machines.
#[derive(Debug, Default)]
pub struct Journeys {
    pub site: Site,
    machines: HashMap<MacAddr, Machine, foldhash::fast::RandomState>,
    /// The machines whose loader has not spoken yet, by the UUID of the machine. There are as many as machines at most.
    loading: HashMap<Uuid, MacAddr, foldhash::fast::RandomState>,
    /// The machines that are looked at next, by the time: at or before the time at which each is judged. An entry stays
    /// while a boot goes on, because that only moves its time into the future.
    deadlines: BTreeSet<(Timestamp, MacAddr)>,
    /// Records since the last check of the size.
    unchecked: u32,
    /// The machines that changed since their rows were stored, each once.
    unsaved: VecDeque<MacAddr>,
}

/// A change of a machine's newest boots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Changed {
    pub mac: MacAddr,
    pub change: Change,
    pub boot: BootId,
}

impl Journeys {
    /// Journeys of a server with these facts.
    pub fn new(site: Site) -> Journeys {
        Journeys { site, ..Journeys::default() }
    }

    /// Replaces the facts about this server, after a reload. The facts about loaders stay.
    pub fn replace_site(&mut self, site: Site) {
        let old = std::mem::take(&mut self.site);
        self.site = site.with_knowledge_of(old);
    }

    /// Takes in a record. Records about no machine with a MAC change nothing.
    pub fn record(&mut self, record: &Record) -> Vec<Changed> {
        if let Event::Conflict { address, by } = &record.event {
            self.site.learn_conflict(*address, *by, record.at);
        }
        if let Event::ProxyArp { by, .. } = &record.event {
            self.site.learn_proxy_arp(*by, record.at);
        }
        let Some(machine) = &record.machine else { return Vec::new() };
        let Some(mac) = machine.mac else { return Vec::new() };
        // Most machines of a network never boot from it, and each of their records comes here.
        if machine.name.is_none() && !is_of_boot(record, &self.site) && !self.machines.contains_key(&mac) {
            return Vec::new();
        }
        let mut out = Vec::new();
        self.look_for_other_card(record, mac, &mut out);
        self.make_room(mac);
        let machine = self.machines.entry(mac).or_insert_with(|| Machine::new(mac));
        let mut changes = Vec::new();
        machine.record(record, &self.site, &mut changes);
        machine.wait_to_be_stored(&mut self.unsaved);
        self.settle(mac, changes, &mut out);
        self.unchecked = self.unchecked.saturating_add(1);
        if self.unchecked >= CHECK_EVERY {
            self.unchecked = 0;
            self.shrink();
        }
        out
    }

    /// Judges every boot whose limit of silence is over at `now`.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Changed> {
        let mut out = Vec::new();
        while let Some((at, mac)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, mac));
            let Some(machine) = self.machines.get_mut(&mac) else { continue };
            machine.queued = None;
            let mut changes = Vec::new();
            machine.advance(&self.site, at, &mut changes);
            // A deadline that does not move would be judged forever.
            if machine.deadline.is_some_and(|deadline| deadline <= at) {
                machine.deadline = None;
            }
            self.settle(mac, changes, &mut out);
        }
        out
    }

    /// The time before which [`Journeys::advance`] has nothing to judge.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Records that the machine was woken, or given a `once`, so that it is expected to ask.
    pub fn expect(&mut self, mac: MacAddr, now: Timestamp) {
        self.make_room(mac);
        self.machines.entry(mac).or_insert_with(|| Machine::new(mac)).expected = Some(now);
    }

    pub fn machine(&self, mac: MacAddr) -> Option<&Machine> {
        self.machines.get(&mac)
    }

    pub fn machine_mut(&mut self, mac: MacAddr) -> Option<&mut Machine> {
        self.machines.get_mut(&mac)
    }

    /// All machines, in no order.
    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// The boot with this id.
    pub fn boot(&self, id: BootId) -> Option<&Boot> {
        self.machines.get(&id.mac)?.boots.iter().find(|boot| boot.id == id)
    }

    /// The verdict about the machine as a whole: that of its newest boot, or its state. `is_configured` says that the
    /// configuration names it.
    pub fn verdict(&self, mac: MacAddr, now: Timestamp) -> Option<Arc<Verdict>> {
        let machine = self.machines.get(&mac)?;
        let state = state::booted_from_disk(machine, now).map(Arc::new);
        state.or_else(|| machine.boots.front()?.verdict.clone())
    }

    /// Keeps the table of deadlines, and says which boots changed.
    fn settle(&mut self, mac: MacAddr, changes: Vec<Change>, out: &mut Vec<Changed>) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let loading_as = machine.uuid.filter(|_| machine.waits_for_loader());
        if loading_as != machine.loading_as {
            if let Some(before) = machine.loading_as.filter(|uuid| self.loading.get(uuid) == Some(&mac)) {
                self.loading.remove(&before);
            }
            self.loading.extend(loading_as.map(|uuid| (uuid, mac)));
            machine.loading_as = loading_as;
        }
        if let Some(deadline) = machine.deadline.filter(|at| machine.queued.is_none_or(|queued| *at < queued))
        {
            if let Some(queued) = machine.queued.replace(deadline) {
                self.deadlines.remove(&(queued, mac));
            }
            self.deadlines.insert((deadline, mac));
        }
        if changes.is_empty() {
            return;
        }
        machine.wait_to_be_stored(&mut self.unsaved);
        let mut ids = machine.boots.iter().map(|boot| boot.id);
        let newest = ids.next();
        let began = changes.contains(&Change::Began);
        for (place, change) in changes.iter().copied().enumerate() {
            // A change before the beginning of a boot is about the one before.
            let is_older = began && changes.iter().skip(place).skip(1).any(|later| *later == Change::Began);
            let boot = if is_older { machine.boots.get(1).map(|boot| boot.id) } else { newest };
            out.extend(boot.map(|boot| Changed { mac, change, boot }));
        }
    }

    /// An iPXE that asks from a card without a boot may be the loader of another card of the same machine.
    fn look_for_other_card(&mut self, record: &Record, mac: MacAddr, out: &mut Vec<Changed>) {
        let Event::Received { message: Message::Discover, client, .. } = &record.event else { return };
        let uuid = record.machine.as_ref().and_then(|machine| machine.uuid);
        let (true, Some(uuid)) = (client.firmware.is_ipxe(), uuid) else { return };
        if self.machines.get(&mac).is_some_and(Machine::waits_for_loader) {
            return;
        }
        let other = self.loading.get(&uuid).filter(|other| **other != mac);
        let Some(other) = other.and_then(|other| self.machines.get_mut(other)) else { return };
        let (other_mac, mut changes) = (other.mac, Vec::new());
        other.uses_other_card(mac, &self.site, record.at, &mut changes);
        self.settle(other_mac, changes, out);
    }

    /// Forgets the machines that were seen longest ago, if there is no room for another one.
    fn make_room(&mut self, mac: MacAddr) {
        if self.machines.len() < MAX_MACHINES + SURPLUS || self.machines.contains_key(&mac) {
            return;
        }
        let mut seen: Vec<(Option<Timestamp>, MacAddr)> =
            self.machines.values().map(|machine| (machine.seen, machine.mac)).collect();
        let surplus = seen.len().saturating_sub(MAX_MACHINES);
        let (oldest, ..) = seen.select_nth_unstable(surplus);
        for &mut (_, mac) in oldest {
            let Some(machine) = self.machines.remove(&mac) else { continue };
            if let Some(queued) = machine.queued {
                self.deadlines.remove(&(queued, mac));
            }
            if let Some(uuid) = machine.loading_as.filter(|uuid| self.loading.get(uuid) == Some(&mac)) {
                self.loading.remove(&uuid);
            }
        }
        self.unsaved.retain(|mac| self.machines.contains_key(mac));
    }

    /// The approximate number of bytes of all boots.
    pub fn bytes(&self) -> usize {
        let of_boots =
            |machine: &Machine| machine.boots.iter().map(Boot::bytes).fold(0, usize::saturating_add);
        let machines =
            self.machines.values().map(|machine| of_boots(machine).saturating_add(size_of::<Machine>()));
        machines.fold(0, usize::saturating_add)
    }

    /// Keeps to [`MAX_BYTES`].
    fn shrink(&mut self) {
        let mut bytes = self.bytes();
        if bytes <= MAX_BYTES {
            return;
        }
        let mut seen: Vec<(Option<Timestamp>, MacAddr)> =
            self.machines.values().map(|machine| (machine.seen, machine.mac)).collect();
        seen.sort_unstable();
        let leave_events: fn(&mut Machine) = Machine::leave_events_on_disk;
        let lose_events: fn(&mut Machine) = |machine| machine.boots.iter_mut().for_each(Boot::lose_events);
        let remove_boots: fn(&mut Machine) = |machine| machine.boots.truncate(machine::BOOTS_WITH_EVENTS);
        for step in [leave_events, lose_events, remove_boots] {
            for (_, mac) in &seen {
                let Some(machine) = self.machines.get_mut(mac) else { continue };
                let before: usize = machine.boots.iter().map(Boot::bytes).sum();
                step(machine);
                let after: usize = machine.boots.iter().map(Boot::bytes).sum();
                bytes = bytes.saturating_sub(before.saturating_sub(after));
                // A tenth of room, so that this does not happen at once again.
                if bytes <= MAX_BYTES / 10 * 9 {
                    return;
                }
            }
        }
    }
}

/// Whether a record shows that its machine boots from the network.
fn is_of_boot(record: &Record, site: &Site) -> bool {
    match record.event.client() {
        Some(client) => observe::speaker(client.firmware) != Speaker::System,
        None => observe::begins_boot(&record.event, site),
    }
}
