//! Receives the commands of a person for the DHCP loop: free an address, report the use of the pools. The routes of
//! `api/` and `server/statistics.rs` send them. The loop carries them out between two messages, so that a command never
//! changes the lease book in the middle of a decision.

use tokio::sync::mpsc;

use crate::api::commands::{Command, Refusal, Release};
use crate::event::{Client, Event, Record};
use crate::lease::Lease;
use crate::server::dhcp::commit::{Outcome, Promise};
use crate::types::{Firmware, MachineId, Timestamp};

/// Maximum number of commands that wait for the DHCP loop.
const MAX_COMMANDS: usize = 16;

/// The commands that arrive at the DHCP loop, and those that wait for the disk.
#[derive(Debug)]
pub struct Commands {
    incoming: mpsc::Receiver<Command>,
    sender: mpsc::Sender<Command>,
    waiting: Vec<(Release, Lease)>,
}

impl Default for Commands {
    fn default() -> Commands {
        let (sender, incoming) = mpsc::channel(MAX_COMMANDS);
        Commands { incoming, sender, waiting: Vec::new() }
    }
}

impl Commands {
    /// The next command.
    pub async fn next(&mut self) -> Option<Command> {
        self.incoming.recv().await
    }

    /// A handle for sending commands.
    pub fn sender(&self) -> mpsc::Sender<Command> {
        self.sender.clone()
    }

    /// Answers `ask` as soon as `lease` is stored.
    pub fn stored_with(&mut self, ask: Release, lease: Lease) {
        self.waiting.push((ask, lease));
    }

    /// Answers the commands whose leases are in `outcome`.
    pub fn committed(&mut self, outcome: &Outcome) {
        for (ask, _) in self.waiting.extract_if(.., |(_, lease)| outcome.leases.contains(lease)) {
            ask.answer(match outcome.stored {
                true => Ok(()),
                false => {
                    Err(Refusal::Failed("the lease database could not be written: see the server's log"))
                }
            });
        }
    }
}

/// The promise that makes the committer store and record a lease which a person ended.
pub fn released_by_hand(lease: Lease, machine: Option<MachineId>, now: Timestamp) -> Promise {
    let client = Client { firmware: Firmware::Other, arch: None };
    let event = Event::Released { address: lease.address, client };
    let record = Record { at: now, interface: Some("control".into()), machine, event };
    Promise { lease, ended: Vec::new(), reply: None, fallback: None, record }
}
