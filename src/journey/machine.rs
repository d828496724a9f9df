//! The boots of one machine. It decides which record belongs to which boot, where a boot begins and where it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, Message, Record};
use crate::journey::boot::{Boot, BootResult, BootStage};
use crate::journey::evidence::Step;
use crate::journey::observe::{self, Speaker};
use crate::journey::rules::{self, Case};
use crate::journey::silence;
use crate::journey::site::Site;
use crate::types::{Hardware, MacAddr, Timestamp, Uuid};

/// Number of boots of one machine that are kept.
pub const MAX_BOOTS: usize = 20;
/// Number of boots whose events are kept.
pub const BOOTS_WITH_EVENTS: usize = 3;
/// Time after which nothing continues a boot that is stuck.
const LAST_CHANCE: Duration = Duration::from_secs(600);

/// A machine and its boots.
#[derive(Clone, Debug)]
pub struct Machine {
    pub mac: MacAddr,
    /// The name of its entry when it was seen last.
    pub name: Option<Arc<str>>,
    pub uuid: Option<Uuid>,
    /// Newest first.
    pub boots: VecDeque<Boot>,
    /// When a record of it came last; `None` if it is only expected.
    pub seen: Option<Timestamp>,
    /// When it was woken or given a `once`, if it has not asked since.
    pub expected: Option<Timestamp>,
    /// The facts that its iPXE reported last.
    pub reported: Hardware,
    /// The time at which its newest boot is judged.
    pub deadline: Option<Timestamp>,
    /// The time of its entry in the table of deadlines.
    pub(super) queued: Option<Timestamp>,
    /// The UUID under which it is among the machines whose loader has not spoken yet.
    pub(super) loading_as: Option<Uuid>,
    /// Whether it changed since its rows were stored.
    pub(super) is_unsaved: bool,
    /// The start of the newest boot that is stored.
    pub(super) saved: Option<Timestamp>,
}

/// A change of the newest boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A boot began.
    Began,
    /// The newest boot reached its system or its disk.
    Booted,
    /// A boot is stuck: the newest one, or the one before if one begins at the same time.
    Stuck,
    /// A verdict is withdrawn, because the boot goes on.
    Withdrawn,
}

impl Machine {
    pub fn new(mac: MacAddr) -> Machine {
        Machine {
            mac,
            name: None,
            uuid: None,
            boots: VecDeque::new(),
            seen: None,
            expected: None,
            reported: Hardware::default(),
            deadline: None,
            queued: None,
            loading_as: None,
            is_unsaved: false,
            saved: None,
        }
    }

    /// Takes in a record of this machine. `changes` gets the changes of its boots.
    pub fn record(&mut self, record: &Record, site: &Site, changes: &mut Vec<Change>) {
        let at = record.at;
        if matches!(record.event, Event::Booted { .. } | Event::Stuck { .. } | Event::GoesOn { .. }) {
            return self.add_summary(record);
        }
        self.seen = Some(at);
        if let Some(id) = &record.machine {
            self.name = id.name.clone().or_else(|| self.name.take());
            self.uuid = id.uuid.or(self.uuid);
        }
        if let Event::Facts { hardware, .. } = &record.event {
            self.reported.clone_from(hardware);
        }
        let speaker = record.event.client().map(|client| observe::speaker(client.firmware));
        if let Event::Received { message: Message::Discover | Message::BootpRequest, client, details } =
            &record.event
        {
            match speaker {
                Some(Speaker::Firmware) => self.on_firmware(record, details.xid, details.secs, site, changes),
                Some(Speaker::Ipxe) => self.on_ipxe(record, site, changes),
                _ => {}
            }
            if client.firmware.is_ipxe() || speaker == Some(Speaker::Firmware) {
                self.expected = None;
            }
        }
        self.open_for_files(record, site, changes);
        // The boot before got to its menu, where a person reset the machine.
        let before = self.boots.get(1).map(|boot| boot.stage);
        let is_reset = matches!(record.event, Event::BootLoop { .. }) && before > Some(BootStage::Loader);
        let Some(boot) = self.boots.front_mut() else { return self.update_deadline() };
        if is_too_late(boot, at) && !observe::is_of_system(&record.event) {
            return;
        }
        if boot.evidence.unheard {
            let asks =
                matches!(&record.event, Event::Received { message, .. } if *message != Message::Request);
            boot.evidence.hear_again(asks, at);
        }
        let progress = !is_reset && observe::observe(boot, record, speaker, site);
        if progress && boot.result == BootResult::Stuck {
            boot.withdraw();
            changes.push(Change::Withdrawn);
        }
        if observe::is_booted(boot, record, speaker, site) && boot.result == BootResult::Booting {
            boot.end(None, at);
            changes.push(Change::Booted);
        }
        boot.push(record);
        self.update_deadline();
    }

    /// Adds the summary of a boot to its events. The next boot may have begun already.
    fn add_summary(&mut self, record: &Record) {
        let is_stuck = matches!(record.event, Event::Stuck { .. });
        let of = self.boots.iter_mut().take(2).find(|boot| !is_stuck || boot.verdict.is_some());
        if let Some(boot) = of {
            boot.push(record);
        }
    }

    /// Judges the newest boot if its limit is over at `now`.
    pub fn advance(&mut self, site: &Site, now: Timestamp, changes: &mut Vec<Change>) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.judge(None, site, now, changes);
        }
        self.update_deadline();
    }

    /// Records that the iPXE of this machine asks from the network card `mac`. Judges the boot.
    pub fn uses_other_card(&mut self, mac: MacAddr, site: &Site, now: Timestamp, changes: &mut Vec<Change>) {
        if let Some(boot) = self.boots.front_mut() {
            boot.evidence.other_card = Some(mac);
            boot.evidence.unheard = false;
            self.judge(None, site, now, changes);
            self.update_deadline();
        }
    }

    /// Drops the events that are in the database from memory. Those of a boot that goes on stay.
    pub(super) fn leave_events_on_disk(&mut self) {
        if !self.is_unsaved {
            let ended = self.boots.iter_mut().filter(|boot| boot.ended.is_some());
            ended.for_each(Boot::leave_events_on_disk);
        }
    }

    /// Whether this machine loaded a loader that has not spoken yet.
    pub fn waits_for_loader(&self) -> bool {
        let newest = self.boots.front().filter(|boot| boot.result != BootResult::Booted);
        newest.is_some_and(|boot| boot.evidence.step == Step::Loaded)
    }

    /// Whether a question by IPv6 would be news: the machine loaded a loader that has not spoken yet, and nothing else of it
    /// was heard since.
    pub fn awaits_ipv6(&self) -> bool {
        let newest = self.boots.front().filter(|boot| boot.result == BootResult::Booting);
        newest.is_some_and(|boot| {
            boot.evidence.step == Step::Loaded
                && boot.evidence.is_uefi()
                && !boot.evidence.has_asked_by_ipv6()
        })
    }

    /// Judges the newest boot. `again` is the time since its last step, if its firmware spoke again.
    fn judge(&mut self, again: Option<Duration>, site: &Site, now: Timestamp, changes: &mut Vec<Change>) {
        let reported = self.reported.memory;
        let Some(boot) = self.boots.front_mut().filter(|boot| boot.ended.is_none()) else { return };
        let e = &mut boot.evidence;
        e.memory = e.memory.or(reported);
        let case = Case { e, again, site, stage: boot.stage };
        match rules::judge(&case) {
            Some(verdict) => {
                boot.end(Some(verdict), now);
                changes.push(Change::Stuck);
            }
            // The obstacle was none.
            None => e.obstacle = None,
        }
    }

    /// A DISCOVER or BOOTREQUEST of firmware: a retry, the next round, or a new boot.
    fn on_firmware(&mut self, record: &Record, xid: u32, secs: u16, site: &Site, changes: &mut Vec<Change>) {
        let at = record.at;
        let Some(boot) = self.boots.front() else { return self.begin(at, changes) };
        let e = &boot.evidence;
        if boot.result == BootResult::Stuck {
            let is_same = e.exchange.xid == xid && (e.is_asking() || e.step == Step::Named);
            let is_later = e.is_asking() && secs > e.exchange.secs && !e.exchange.is_ipxe;
            let is_retry = (is_same || is_later) && at.since(e.exchange.last) < LAST_CHANCE;
            if !is_retry {
                self.begin(at, changes);
            }
            return;
        }
        if boot.result == BootResult::Booted {
            return self.begin(at, changes);
        }
        if e.unheard && e.is_followed_by_another(xid, secs, at) {
            return self.leave_and_begin(at, changes);
        }
        let again = at.since(e.step_at);
        let has_obstacle = e.obstacle.is_some();
        match e.step {
            Step::Asked | Step::Requested | Step::Named if has_obstacle && is_new_attempt(e, xid, secs) => {
                self.judge(Some(again), site, at, changes);
            }
            Step::Asked | Step::Requested | Step::Named => {}
            // It booted its disk from the menu, or was switched off there.
            Step::Scripted if e.script_rests && !has_obstacle => self.end_unseen(at, changes),
            Step::Loaded | Step::Scripted | Step::Kernel | Step::Initrd => {
                self.judge(Some(again), site, at, changes);
            }
            Step::Unseen if e.exchange.xid == xid && again < observe::OVERTAKEN => {}
            Step::System | Step::Unseen => self.end_unseen(at, changes),
        }
        if self.boots.front().is_none_or(|boot| boot.ended.is_some()) {
            self.begin(at, changes);
        }
    }

    /// Ends the newest boot as one that went on where this server does not see it.
    fn end_unseen(&mut self, at: Timestamp, changes: &mut Vec<Change>) {
        if let Some(boot) = self.boots.front_mut() {
            boot.end(None, at);
            changes.push(Change::Booted);
        }
    }

    /// A DISCOVER of iPXE: the loader runs, the machine has iPXE as its firmware, or it starts again.
    fn on_ipxe(&mut self, record: &Record, site: &Site, changes: &mut Vec<Change>) {
        let at = record.at;
        let Some(boot) = self.boots.front() else { return self.begin(at, changes) };
        let step = boot.evidence.step;
        match boot.result {
            BootResult::Booted => self.begin(at, changes),
            BootResult::Booting if boot.evidence.unheard && matches!(step, Step::Kernel | Step::Initrd) => {
                self.leave_and_begin(at, changes);
            }
            // A script may configure the card again, so only a machine with its kernel starts again here.
            BootResult::Booting if matches!(step, Step::Kernel | Step::Initrd) => {
                let again = at.since(boot.evidence.step_at);
                self.judge(Some(again), site, at, changes);
                if self.boots.front().is_some_and(|boot| boot.ended.is_some()) {
                    self.begin(at, changes);
                }
            }
            BootResult::Stuck
                if !matches!(step, Step::Loaded | Step::Named | Step::Asked | Step::Requested) =>
            {
                self.begin(at, changes);
            }
            BootResult::Stuck if at.since(boot.evidence.step_at) > LAST_CHANCE => self.begin(at, changes),
            BootResult::Stuck if boot.evidence.firmware.is_some_and(crate::types::Firmware::is_ipxe) => {
                // Its own retry goes on; anything else is a new attempt.
                let same =
                    boot.evidence.is_asking() && observe::xid(record) == Some(boot.evidence.exchange.xid);
                if !same && boot.evidence.step != Step::Loaded {
                    self.begin(at, changes);
                }
            }
            BootResult::Booting | BootResult::Stuck => {}
        }
    }

    /// Without our DHCP, a boot begins with the first file.
    fn open_for_files(&mut self, record: &Record, site: &Site, changes: &mut Vec<Change>) {
        let needs_one = match self.boots.front() {
            None => true,
            Some(boot) => boot.result == BootResult::Booted || is_too_late(boot, record.at),
        };
        if needs_one && observe::begins_boot(&record.event, site) {
            self.begin(record.at, changes);
        }
    }

    /// Begins a boot after one whose end was not heard. That one stays without a result.
    fn leave_and_begin(&mut self, at: Timestamp, changes: &mut Vec<Change>) {
        if let Some(boot) = self.boots.front_mut() {
            boot.ended = boot.events.last().map(|record| record.at).or(Some(at));
        }
        self.begin(at, changes);
    }

    fn begin(&mut self, at: Timestamp, changes: &mut Vec<Change>) {
        // Two boots of a machine never have the same id.
        let newest = self.boots.front().map(|boot| boot.id.started);
        let started = newest.map_or(at, |newest| at.max(Timestamp(newest.0.saturating_add(1))));
        if let Some(last) = self.boots.front_mut() {
            last.evidence.forget();
            last.events.shrink_to_fit();
        }
        self.boots.push_front(Boot::new(self.mac, started));
        self.boots.truncate(MAX_BOOTS);
        if let Some(older) = self.boots.get_mut(BOOTS_WITH_EVENTS) {
            older.shrink();
        }
        changes.push(Change::Began);
    }

    fn update_deadline(&mut self) {
        let newest = self.boots.front().filter(|boot| boot.result == BootResult::Booting);
        self.deadline = newest.and_then(|boot| silence::limit(&boot.evidence));
    }
}

/// Whether nothing continues this boot at `at`.
fn is_too_late(boot: &Boot, at: Timestamp) -> bool {
    boot.result == BootResult::Stuck && boot.ended.is_some_and(|ended| at.since(ended) > LAST_CHANCE)
}

/// Whether a DISCOVER belongs to a new attempt of the firmware.
fn is_new_attempt(e: &crate::journey::evidence::Evidence, xid: u32, secs: u16) -> bool {
    e.exchange.xid != xid && (secs <= e.exchange.secs || e.exchange.is_ipxe)
}
