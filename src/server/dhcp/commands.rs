//! Commands of a person to the DHCP loop: free an address, log the use of the pools. `server/control.rs` and
//! `server/statistics.rs` send them. The loop carries them out between two messages, so that a command never changes the
//! lease book in the middle of a decision.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::event::{Client, Event, Record};
use crate::lease::{Lease, LeaseBook, State};
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

/// Sends commands to the DHCP loop, while one runs. Cheap to clone; clones share the way to it.
#[derive(Clone, Debug, Default)]
pub struct ToLoop(Arc<Mutex<Option<mpsc::Sender<Command>>>>);

impl ToLoop {
    /// Sends commands to this loop from now on; `None` if none runs.
    pub fn connect(&self, sender: Option<mpsc::Sender<Command>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// The way to the loop that runs now.
    pub fn sender(&self) -> Option<mpsc::Sender<Command>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A command for the DHCP loop.
#[derive(Debug)]
pub enum Command {
    /// Free an address.
    Release(Release),
    /// Log the use of the pools.
    Statistics,
}

/// A request to free an address.
#[derive(Debug)]
pub struct Release {
    /// The lease to end, as stored.
    pub lease: Lease,
    reply: oneshot::Sender<Result<(), Refusal>>,
}

/// The reason why the address was not freed.
#[derive(Debug)]
pub enum Refusal {
    /// There is nothing to free, or another client has the address.
    Conflict(&'static str),
    /// The change could not be stored.
    Failed(&'static str),
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

impl Release {
    /// A request to end `lease`, which is answered through `reply`.
    pub fn new(lease: Lease, reply: oneshot::Sender<Result<(), Refusal>>) -> Release {
        Release { lease, reply }
    }

    /// The lease as it is after the release, if `book` confirms that there is one.
    pub fn freed(&self, book: &LeaseBook, now: Timestamp) -> Result<Lease, Refusal> {
        if let Some(binding) = book.binding(self.lease.address) {
            // With `match_client_id: false` the book knows the client by its MAC instead of the stored identifier.
            let is_same_mac = binding.holder.mac.is_some() && binding.holder.mac == self.lease.holder.mac;
            if binding.holder.client != self.lease.holder.client && !is_same_mac {
                return Err(Refusal::Conflict("another client has it by now"));
            }
            if binding.until <= now || !matches!(binding.state, State::Leased | State::Declined) {
                return Err(Refusal::Conflict("it is free already"));
            }
        }
        Ok(self.lease.released(now))
    }

    pub fn answer(self, answer: Result<(), Refusal>) {
        // The client may have disconnected.
        let _ = self.reply.send(answer);
    }
}

/// The promise that makes the committer store and record a lease which a person ended.
pub fn released_by_hand(lease: Lease, machine: Option<MachineId>, now: Timestamp) -> Promise {
    let client = Client { firmware: Firmware::Other, arch: None };
    let event = Event::Released { address: lease.address, client };
    let record = Record { at: now, interface: Some("control".into()), machine, event };
    Promise { lease, ended: Vec::new(), reply: None, fallback: None, record }
}
