//! Commands that the DHCP loop carries out between two messages, so that none changes the lease book in the middle of a
//! decision. Routes and `server/watchdog.rs` send them, and `server/dhcp/commands.rs` receives them.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::lease::{Lease, LeaseBook, PoolUsage, State};
use crate::types::{Ipv4Network, MacAddr, Timestamp};

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
    /// Answer, to show that the loop does not hang.
    Ping(oneshot::Sender<()>),
    /// Report the use of the pools, in the order of `dhcp.subnets`.
    Usage(oneshot::Sender<Vec<SubnetUsage>>),
    /// Report the addresses that the machine with this MAC has a lease of.
    LeasesOf(MacAddr, oneshot::Sender<Vec<Ipv4Addr>>),
}

/// The use of the addresses of one subnet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubnetUsage {
    pub network: Ipv4Network,
    /// The number of addresses in its pools.
    pub size: u64,
    pub usage: PoolUsage,
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
