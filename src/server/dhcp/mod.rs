//! The DHCP server: a loop that receives messages, gives them to the engine and carries out the effects. `start.rs`
//! builds it, and `Server::run` starts it in its own thread.
//!
//! A message goes in a straight line: receive → engine → commit → send → record. All decisions are made in
//! `dhcp/engine/`, none here. The loop never waits for a disk or a file transfer.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::api::commands::Command;
use crate::content::machines::MachineTable;
use crate::content::served_files::ServedFiles;
use crate::dhcp::engine::{Effects, Engine, Outcome};
use crate::event::{Context, DropReason, ServerFact};
use crate::net::datagram::Inbox;
use crate::net::readable::{cannot_receive, pause, readable};
use crate::net::served::Served;
use crate::net::snapshot::Now;
use crate::net::udp::DhcpSocket;
use crate::record::Recorder;
use crate::server::dhcp::commands::Commands;
use crate::server::dhcp::commit::{Committer, Promise};
use crate::server::dhcp::conflict_checks::{Checker, Outcome as Checked};
use crate::server::dhcp::deliver::{Delivery, Sender, deliver};
use crate::server::dhcp::proxy::Proxy;
use crate::server::dhcp::renewals::Renewals;
use crate::server::dhcp::thread::{FaultReport, Faults, Running, fault};
use crate::server::statistics::{log_subnets, subnet_usage};
use crate::store::clock::Clock;
use crate::store::open::own_address_in_pool;
use crate::types::Timestamp;

pub mod boot_questions;
pub mod commands;
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
pub mod running;
pub mod start;
pub mod thread;

/// The state of the DHCP loop. One thread owns it.
#[derive(Debug)]
pub struct DhcpServer {
    /// Makes the decisions. It has the settings and the leases.
    pub engine: Engine,
    /// The effects of the current message that are not carried out yet.
    pub effects: Effects,
    /// The served interfaces at the last change that the loop took in.
    pub served: Arc<Served>,
    /// Reports changes of the settings and the served interfaces.
    pub changes: Now,
    /// Receives and sends on the server's port.
    pub socket: Arc<DhcpSocket>,
    /// Answers on interfaces where another server gives the addresses.
    pub proxy: Arc<Proxy>,
    /// Checks addresses before their first offer, and after a DECLINE.
    pub checker: Checker,
    /// Stores leases, then sends the replies that promise them.
    pub committer: Committer,
    /// Renewals that wait for the committer.
    pub renewals: Renewals,
    /// The clock that lease times refer to.
    pub clock: Clock,
    /// Commands of the API and of the watchdog.
    pub commands: Commands,
    /// Finds the sizes of boot files, if files are served.
    pub files: ServedFiles,
    /// The table of machines by address, which TFTP and HTTP look up.
    pub known: MachineTable,
    pub recorder: Recorder,
}

/// The output of one batch of messages.
#[derive(Debug)]
struct Outbox {
    /// The time when the messages were received, or when the check of their address ended.
    received: Instant,
    /// Leases to store, with the replies to send after that.
    promises: Vec<Promise>,
    /// Replies that promise nothing new. They are sent at once.
    replies: Vec<Delivery>,
}

impl Outbox {
    /// The output of messages that have just been received.
    fn new() -> Outbox {
        Outbox { received: Instant::now(), promises: Vec::new(), replies: Vec::new() }
    }
}

impl DhcpServer {
    /// Serves in its own thread with its own runtime, until that is stopped. A batch of messages then costs one wake-up
    /// and never waits for a file transfer.
    pub fn run_apart(self, faults: Faults) -> io::Result<Running> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stopper, stopped) = oneshot::channel::<()>();
        let work = move || {
            let report = FaultReport::to(faults);
            report.ended(runtime.block_on(self.run(async { drop(stopped.await) })));
        };
        let thread = std::thread::Builder::new().name("dhcp".to_owned()).spawn(work)?;
        Ok(Running { stopper, thread })
    }

    /// Serves until `stop` completes, then stores and answers the leases that still wait.
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
                    // Without its thread no lease can be given. The error ends lanboot, so that systemd restarts it.
                    None => return Err(fault()),
                },
                overdue = self.renewals.overdue() => deliver(&self.socket, &self.recorder, overdue),
                checked = self.checker.outcome() => match checked {
                    Checked::Free(address, waiting) => self.address_checked(address, &waiting, None),
                    Checked::Declined(address, declining) => self.decline_checked(address, declining),
                    Checked::ProbeAnswer(heard) => self.on_probe_answer(heard),
                },
                Some(command) = self.commands.next() => self.carry_out_command(command),
                Ok(()) = self.changes.changed() => self.follow(),
                () = wait_until(self.engine.next_warning(), self.clock) => self.warn_of_clones(),
                ready = readable.readable() => {
                    let mut ready = ready?;
                    match ready.try_io(|udp| inbox.receive(udp.get_ref())) {
                        Ok(Ok(())) => {
                            self.handle_batch(&inbox);
                            // The queue is empty. The kernel reports the next datagram, so another call would only
                            // return `WouldBlock`.
                            if !inbox.is_full() {
                                ready.clear_ready();
                            }
                        }
                        Ok(Err(error)) => {
                            self.recorder.server(ServerFact::CannotReceive, cannot_receive(&error));
                            pause().await;
                        }
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

    /// Takes in the current settings and interfaces, between two messages. Addresses that are now this computer's own
    /// are given to no client.
    fn follow(&mut self) {
        let snapshot = Arc::clone(&self.changes.borrow_and_update());
        self.served = Arc::clone(&snapshot.interfaces);
        let mut own = self.engine.book.set_own_addresses(&self.served.own);
        let settings = snapshot.config.dhcp.as_ref();
        if let Some(settings) = settings.filter(|new| !Arc::ptr_eq(new, &self.engine.settings)) {
            own.extend(self.engine.replace(Arc::clone(settings), self.clock.now()));
            self.checker.set_time(settings.conflict_check);
        }
        for address in own {
            self.recorder.server(ServerFact::OwnAddressInPool, own_address_in_pool(address));
        }
    }

    fn carry_out_command(&mut self, command: Command) {
        match command {
            Command::Release(release) => self.release(release),
            Command::Statistics => {
                log_subnets(&self.engine.book, &self.engine.settings, self.clock.now());
            }
            Command::Ping(reply) => {
                // The watchdog may have stopped waiting.
                let _ = reply.send(());
            }
            Command::Usage(reply) => {
                // The client may have disconnected.
                let _ = reply.send(subnet_usage(&self.engine.book, &self.engine.settings, self.clock.now()));
            }
            Command::LeasesOf(mac, reply) => {
                let _ = reply.send(self.engine.book.leases_of_mac(mac, self.clock.now()));
            }
        }
    }

    fn handle_batch(&mut self, inbox: &Inbox) {
        // A reload is answered as soon as the snapshot is swapped, so a message after that is decided by the new one.
        if self.changes.has_changed().unwrap_or(false) {
            self.follow();
        }
        let now = self.clock.now();
        let mut out = Outbox::new();
        for message in inbox.iter() {
            self.run_engine(message, &mut out, |engine, (bytes, arrival), outside, effects| {
                engine.handle(bytes, arrival, outside, now, effects);
            });
        }
        self.send(out);
    }

    /// Records the due warnings about machines that share a client identifier.
    fn warn_of_clones(&mut self) {
        let due = self.engine.warnings(self.clock.now());
        due.into_iter().for_each(|record| self.recorder.record(record));
    }

    fn sender(&self) -> Sender {
        Sender::Udp(Arc::clone(&self.socket))
    }

    /// Gives the promises to the committer. The other replies are sent while it writes.
    fn send(&mut self, out: Outbox) {
        if !out.promises.is_empty() {
            self.committer.submit(out.promises);
        }
        deliver(&self.socket, &self.recorder, out.replies);
    }

    fn committed(&mut self, outcome: &Outcome) {
        self.engine.stored(outcome, self.clock.now());
        self.renewals.forget_answered();
        self.commands.committed(outcome);
    }

    fn drop(&self, interface: u32, reason: DropReason) {
        let name = self.served.get(interface).map_or_else(|| "?".into(), |served| served.name);
        self.recorder.record(Context::unknown(self.clock.now(), name).dropped(reason));
    }
}

/// Completes at `moment`; never completes if that is `None`.
async fn wait_until(moment: Option<Timestamp>, clock: Clock) {
    match moment {
        // The clock counts whole milliseconds, so one more makes sure that `moment` has come.
        Some(moment) => tokio::time::sleep(moment.since(clock.now()) + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
