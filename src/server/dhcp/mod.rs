//! The DHCP loop, in a straight line: receive → engine → commit → send → record. `dhcp/engine/` decides.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::content::lookup::Files;
use crate::content::machines::MachineTable;
use crate::dhcp::engine::{Effects, Engine, Outcome};
use crate::event::{Client, DropReason, Event};
use crate::net::served::{Now, Served};
use crate::net::udp::{DhcpSocket, Inbox};
use crate::record::Recorder;
use crate::server::control::Commands;
use crate::server::dhcp::commit::{Committer, Promise};
use crate::server::dhcp::conflict_checks::{Checker, Outcome as Checked};
use crate::server::dhcp::deliver::{Delivery, Sender, deliver};
use crate::server::dhcp::proxy::{Proxy, pause, readable};
use crate::server::dhcp::renewals::Renewals;
use crate::store::clock::Clock;
use crate::store::open::own_in_pool;
use crate::types::Timestamp;

pub mod commit;
pub mod conflict_checks;
pub mod decline_senders;
pub mod delayed;
pub mod deliver;
mod effects;
pub mod inbound;
mod probed;
pub mod proxy;
pub mod proxy_listeners;
pub mod renewals;
pub mod start;

/// Everything the loop works with.
#[derive(Debug)]
pub struct DhcpServer {
    /// The engine, which decides: it has the settings and the leases.
    pub engine: Engine,
    /// The effects of the message that is being handled.
    pub effects: Effects,
    /// The served interfaces, as they were when the loop last looked.
    pub served: Arc<Served>,
    /// Where it looks.
    pub changes: Now,
    /// Where it receives and sends.
    pub socket: Arc<DhcpSocket>,
    /// Who answers on the interfaces where another server gives the addresses.
    pub proxy: Arc<Proxy>,
    /// How addresses are checked before their first offer, and when they are declined.
    pub checker: Checker,
    /// Who stores leases and sends the replies that promise them.
    pub committer: Committer,
    /// Renewals that wait for the committer.
    pub renewals: Renewals,
    /// The time by which leases end.
    pub clock: Clock,
    /// What people ask of the loop.
    pub asks: Commands,
    /// Where sizes of boot files are looked up; `None` if no files are served.
    pub files: Option<Files>,
    /// Where it is written down who has which address.
    pub known: MachineTable,
    /// Where events go.
    pub recorder: Recorder,
}

/// What a batch of messages brings about.
#[derive(Debug, Default)]
struct Outbox {
    /// To be stored, and answered then.
    promises: Vec<Promise>,
    /// Answers that promise nothing new.
    replies: Vec<Delivery>,
}

impl DhcpServer {
    /// Serves until `stop` completes, in a thread with a runtime of its own: a batch of messages then costs one wake-up
    /// and never waits for a file transfer.
    pub async fn run_apart(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stopper, stopped) = oneshot::channel::<()>();
        let (finisher, finished) = oneshot::channel();
        let work = move || {
            let ended = runtime.block_on(self.run(async { drop(stopped.await) }));
            // Nobody waits for this only if the whole server is being dropped.
            let _ = finisher.send(ended);
        };
        std::thread::Builder::new().name("dhcp".to_owned()).spawn(work)?;
        let mut finished = pin!(finished);
        tokio::select! {
            () = stop => drop(stopper),
            ended = &mut finished => return ended.unwrap_or_else(|_| Err(fault())),
        }
        finished.await.unwrap_or_else(|_| Err(fault()))
    }

    /// Serves until `stop` completes, then lets waiting leases be stored and answered.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let socket = Arc::clone(&self.socket);
        let readable = readable(socket.udp().try_clone()?)?;
        let mut inbox = Inbox::default();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                outcome = self.committer.outcome() => match outcome {
                    Some(outcome) => self.committed(&outcome),
                    // Without its thread no lease could ever be given; who started us should start us anew.
                    None => return Err(fault()),
                },
                overdue = self.renewals.overdue() => deliver(&self.socket, &self.recorder, &overdue),
                checked = self.checker.outcome() => match checked {
                    Checked::Free(address, waiting) => self.address_checked(address, &waiting, None),
                    Checked::Declined(address, declining) => self.decline_checked(address, declining),
                    Checked::Heard(heard) => self.heard(heard),
                },
                Some(ask) = self.asks.next() => ask.carry_out(&mut self),
                Ok(()) = self.changes.changed() => self.look(),
                () = wait_until(self.engine.next_warning(), self.clock) => self.warn_of_clones(),
                ready = readable.readable() => {
                    let mut ready = ready?;
                    match ready.try_io(|udp| inbox.receive(udp.get_ref())) {
                        Ok(Ok(())) => {
                            self.handle_batch(&inbox);
                            // The kernel tells anew of what comes now; to ask it once more would only cost a call.
                            if !inbox.is_full() {
                                ready.clear_ready();
                            }
                        }
                        Ok(Err(error)) => pause(&error).await,
                        Err(_would_block) => {}
                    }
                }
            }
        }
        for outcome in self.committer.finish() {
            self.committed(&outcome);
        }
        Ok(())
    }

    /// Takes in which interfaces are served now. What became this computer's own address is no client's any more.
    fn look(&mut self) {
        self.served = Arc::clone(&self.changes.borrow_and_update());
        for address in self.engine.book.keep_own(&self.served.own) {
            tracing::warn!("{}", own_in_pool(address));
        }
    }

    fn handle_batch(&mut self, inbox: &Inbox) {
        let now = self.clock.now();
        let mut out = Outbox::default();
        for message in inbox.iter() {
            self.drive(message, &mut out, |engine, (bytes, arrival), outside, effects| {
                engine.handle(bytes, arrival, outside, now, effects);
            });
        }
        self.send(out);
    }

    /// Records the warnings about machines with one client identifier that are due.
    fn warn_of_clones(&mut self) {
        let due = self.engine.warnings(self.clock.now());
        due.iter().for_each(|(interface, event)| self.recorder.record(interface, event));
    }

    fn sender(&self) -> Sender {
        Sender::Udp(Arc::clone(&self.socket))
    }

    /// Hands over what is to be stored, and meanwhile sends the rest.
    fn send(&mut self, out: Outbox) {
        if !out.promises.is_empty() {
            self.committer.submit(out.promises);
        }
        deliver(&self.socket, &self.recorder, &out.replies);
    }

    fn committed(&mut self, outcome: &Outcome) {
        self.engine.stored(outcome, self.clock.now());
        self.renewals.forget_answered();
        self.asks.committed(outcome);
    }

    fn drop(&self, interface: u32, reason: DropReason, client: Option<Client>) {
        let name = self.served.get(interface).map_or("?", |interface| &interface.name);
        self.recorder.record(name, &Event::Dropped { reason, client });
    }
}

/// Completes at `moment`, and never without one.
async fn wait_until(moment: Option<Timestamp>, clock: Clock) {
    match moment {
        // The clock counts whole milliseconds.
        Some(moment) => tokio::time::sleep(moment.since(clock.now()) + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

fn fault() -> io::Error {
    io::Error::other("the DHCP loop ended by a fault in lanboot; please report it with the log")
}

#[cfg(test)]
mod tests;
