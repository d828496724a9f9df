//! Boots whose records are missing: some were lost because a queue was full, or the server was not running. The silence
//! of such a boot proves nothing until its machine is heard again, and then silence counts from that moment.

use crate::event::Record;
use crate::journey::Journeys;
use crate::journey::boot::{Boot, BootResult};
use crate::journey::evidence::{Evidence, Step};
use crate::journey::silence;
use crate::types::Timestamp;

impl Journeys {
    /// Takes in that records were lost before `record.at`, which is the record of the loss. It is added to every boot
    /// that is going on. Returns the number of those boots.
    pub fn lost(&mut self, record: &Record) -> usize {
        let mut open = 0_usize;
        for machine in self.machines.values_mut() {
            machine.queued = None;
            let Some(boot) = machine.boots.front_mut().filter(|boot| is_open(boot)) else { continue };
            boot.push(record);
            boot.evidence.miss();
            machine.deadline = None;
            open = open.saturating_add(1);
        }
        open
    }
}

fn is_open(boot: &Boot) -> bool {
    boot.result == BootResult::Booting && boot.ended.is_none()
}

impl Evidence {
    /// Records that later facts may be missing.
    pub(super) fn miss(&mut self) {
        self.unheard = true;
        // Their end may be missing too, and slow is not stuck.
        self.transfers.iter_mut().for_each(|transfer| transfer.flows = true);
    }

    /// Records that the machine is heard again at `at`. `asks` says that it sent a DISCOVER or BOOTREQUEST, whose pause
    /// since the last one counts.
    pub(super) fn hear_again(&mut self, asks: bool, at: Timestamp) {
        self.unheard = false;
        self.step_at = at;
        self.asked_4011_at = at;
        self.exchange.last_request = at;
        if !asks {
            self.exchange.last = at;
        }
        if let Some((_, since)) = &mut self.exchange.chosen {
            *since = at;
        }
        if let Some((_, since)) = &mut self.obstacle {
            *since = at;
        }
    }

    /// Whether a DISCOVER of firmware with this transaction id and these seconds begins another boot than this one, of
    /// which records are missing.
    pub(super) fn is_followed_by_another(&self, xid: u32, secs: u16, at: Timestamp) -> bool {
        match self.step {
            Step::Asked | Step::Requested | Step::Named => {
                let x = &self.exchange;
                let is_retry = x.xid == xid || (secs > x.secs && !x.is_ipxe);
                !is_retry && silence::if_heard(self).is_some_and(|limit| limit < at)
            }
            Step::Loaded | Step::Scripted | Step::Kernel | Step::Initrd => true,
            // It booted.
            Step::System | Step::Unseen => false,
        }
    }
}
