//! One boot of one machine: its times, its stage, its events and its verdict.

use std::fmt;
use std::sync::Arc;

use crate::event::Record;
use crate::journey::evidence::{Facts, Step};
use crate::journey::verdict::Verdict;
use crate::types::{Arch, MacAddr, Timestamp};

/// Maximum number of events that are kept of one boot. Further ones are counted.
pub const MAX_EVENTS: usize = 200;
/// Maximum number of files in the line of a boot.
const MAX_CHAIN: usize = 8;

/// The stage that a boot has reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum BootStage {
    #[default]
    Firmware,
    Loader,
    Script,
    Kernel,
    Os,
}

impl BootStage {
    /// All stages, in order.
    pub const ALL: [BootStage; 5] =
        [BootStage::Firmware, BootStage::Loader, BootStage::Script, BootStage::Kernel, BootStage::Os];

    /// Returns the stable name.
    pub fn name(self) -> &'static str {
        match self {
            BootStage::Firmware => "firmware",
            BootStage::Loader => "loader",
            BootStage::Script => "script",
            BootStage::Kernel => "kernel",
            BootStage::Os => "os",
        }
    }
}

/// The result of a boot so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum BootResult {
    #[default]
    Booting,
    Booted,
    Stuck,
}

impl BootResult {
    /// All results.
    pub const ALL: [BootResult; 3] = [BootResult::Booting, BootResult::Booted, BootResult::Stuck];

    /// Returns the stable name.
    pub fn name(self) -> &'static str {
        match self {
            BootResult::Booting => "booting",
            BootResult::Booted => "booted",
            BootResult::Stuck => "stuck",
        }
    }
}

/// The id of a boot, unique on this server: the machine and the time at which the boot began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BootId {
    pub started: Timestamp,
    pub mac: MacAddr,
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.started.0)?;
        self.mac.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for BootId {
    type Err = ();

    fn from_str(text: &str) -> Result<BootId, ()> {
        let (started, mac) = text.split_once('-').ok_or(())?;
        let mac = Some(mac).filter(|mac| mac.len() == 12).and_then(|mac| mac.parse().ok()).ok_or(())?;
        Ok(BootId { started: Timestamp(started.parse().map_err(|_| ())?), mac })
    }
}

/// One boot.
#[derive(Clone, Debug)]
pub struct Boot {
    pub id: BootId,
    /// When it booted or got stuck; `None` while it boots.
    pub ended: Option<Timestamp>,
    pub stage: BootStage,
    pub result: BootResult,
    /// Set exactly when the boot is stuck.
    pub verdict: Option<Arc<Verdict>>,
    pub arch: Option<Arch>,
    /// When each stage was reached, by [`BootStage::ALL`].
    pub reached: [Option<Timestamp>; 5],
    /// The files that were loaded, in order.
    pub chain: Vec<Arc<str>>,
    /// The events, oldest first, as far as they are in memory.
    pub events: Vec<Record>,
    /// The number of earlier events that are in the database alone, because journeys took too much memory.
    pub events_on_disk: usize,
    /// The number of events that were left out because of [`MAX_EVENTS`], or lost.
    pub omitted: u32,
    /// The facts, while they are of use.
    pub evidence: Facts,
}

impl Boot {
    /// A boot that begins.
    pub fn new(mac: MacAddr, started: Timestamp) -> Boot {
        let mut evidence = Facts::default();
        evidence.step_at = started;
        Boot {
            id: BootId { started, mac },
            ended: None,
            stage: BootStage::Firmware,
            result: BootResult::Booting,
            verdict: None,
            arch: None,
            reached: [Some(started), None, None, None, None],
            chain: Vec::new(),
            events: Vec::new(),
            events_on_disk: 0,
            omitted: 0,
            evidence,
        }
    }

    /// Adds an event.
    pub fn push(&mut self, record: &Record) {
        if self.events.len().saturating_add(self.events_on_disk) < MAX_EVENTS {
            self.events.push(record.clone());
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Records that `file` was loaded.
    pub fn loaded(&mut self, file: &Arc<str>) {
        if self.chain.last() != Some(file) && self.chain.len() < MAX_CHAIN {
            self.chain.push(Arc::clone(file));
        }
    }

    /// Moves to `step` at `at`, and to the stage that it belongs to.
    pub fn reach(&mut self, step: Step, at: Timestamp) {
        self.evidence.reach(step, at);
        let stage = match step {
            Step::Asked | Step::Requested | Step::Named | Step::Unseen => return,
            Step::Loaded => BootStage::Loader,
            Step::Scripted => BootStage::Script,
            Step::Kernel | Step::Initrd => BootStage::Kernel,
            Step::System => BootStage::Os,
        };
        if stage > self.stage {
            self.stage = stage;
        }
        if let Some(reached) = self.reached.get_mut(stage as usize) {
            reached.get_or_insert(at);
        }
    }

    /// Ends the boot. A verdict means that it is stuck.
    pub fn end(&mut self, verdict: Option<Verdict>, at: Timestamp) {
        self.ended = Some(at);
        self.result = if verdict.is_some() { BootResult::Stuck } else { BootResult::Booted };
        self.verdict = verdict.map(Arc::new);
    }

    /// Takes the verdict back, because the boot goes on.
    pub fn withdraw(&mut self) {
        self.ended = None;
        self.result = BootResult::Booting;
        self.verdict = None;
    }

    /// The approximate number of bytes in memory.
    pub fn bytes(&self) -> usize {
        let verdict = self
            .verdict
            .as_ref()
            .map_or(0, |v| size_of::<Verdict>().saturating_add(v.cause.len()).saturating_add(v.advice.len()));
        let events = self.events.len().saturating_mul(BYTES_PER_EVENT);
        let files = self.chain.len().saturating_mul(48);
        [size_of::<Boot>(), self.evidence.bytes(), verdict, events, files]
            .into_iter()
            .fold(0, usize::saturating_add)
    }

    /// Drops the events from memory, which are in the database.
    pub fn leave_events_on_disk(&mut self) {
        let events = std::mem::take(&mut self.events);
        self.events_on_disk = self.events_on_disk.saturating_add(events.len());
    }

    /// Drops the events, although they may be nowhere else.
    pub fn lose_events(&mut self) {
        let events = std::mem::take(&mut self.events);
        self.omitted = self.omitted.saturating_add(u32::try_from(events.len()).unwrap_or(u32::MAX));
    }

    /// Drops everything but times, stage, result and verdict.
    pub fn shrink(&mut self) {
        self.events = Vec::new();
        self.events_on_disk = 0;
        self.evidence.forget();
        self.chain.shrink_to_fit();
    }
}

/// The approximate size of an event with its strings.
const BYTES_PER_EVENT: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = BootId { started: Timestamp(1_700_000_000_123), mac: MacAddr([0x52, 0x54, 0, 1, 2, 0xff]) };
        assert_eq!(id.to_string(), "1700000000123-5254000102ff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "1-", "1-52:54:00:01:02:ff", "x-5254000102ff", "1"] {
            assert!(wrong.parse::<BootId>().is_err(), "{wrong}");
        }
    }
}
