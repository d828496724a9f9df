//! The DHCP loop, in a straight line: receive → parse → classify → decide → commit → send → record.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::content::lookup::Files;
use crate::content::machines::Known;
use crate::dhcp::clones::Clones;
use crate::dhcp::conflict::{Evidence, declined};
use crate::dhcp::decide::{Decision, decide};
use crate::dhcp::proxy_arp::ProxyArp;
use crate::dhcp::request::{Ask, Probed, Request, classify, recognize, sender_of};
use crate::dhcp::subnet::Settings;
use crate::dhcp::{loop_guard, other_servers};
use crate::event::{Client, DropReason, Event};
use crate::lease::{LeaseBook, LeaseChange};
use crate::net::served::{Now, Served};
use crate::net::udp::{DhcpSocket, Envelope, Inbox, Outgoing};
use crate::record::Recorder;
use crate::server::control::Asks;
use crate::server::dhcp::commit::{Committer, Delivery, Outcome, Promise, deliver};
use crate::server::dhcp::conflict_checks::{Begun, Checker, Outcome as Checked, Waiting};
use crate::server::dhcp::delayed::{Departure, Sender};
use crate::server::dhcp::proxy::{Proxy, arrival, look_up_size, pause, readable, settle, undecodable};
use crate::server::dhcp::renewals::Renewals;
use crate::store::clock::Clock;
use crate::store::open::own_in_pool;
use crate::types::Timestamp;
use crate::wire::dhcp::Message;

pub(super) use promises::outgoing;
use promises::to_be_stored;

pub mod commit;
pub mod conflict_checks;
pub mod decline_senders;
pub mod delayed;
mod holders;
mod probed;
mod promises;
pub mod proxy;
pub mod proxy_listeners;
pub mod renewals;
pub mod start;

/// Everything the loop works with.
#[derive(Debug)]
pub struct DhcpServer {
    /// What it is told to do.
    pub settings: Arc<Settings>,
    /// Who has which address.
    pub book: LeaseBook,
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
    /// The machines that answer for addresses that are not theirs.
    pub proxy_arp: ProxyArp,
    /// Who stores leases and sends the replies that promise them.
    pub committer: Committer,
    /// Renewals that wait for the committer.
    pub renewals: Renewals,
    /// The time by which leases end.
    pub clock: Clock,
    /// What people ask of the loop.
    pub asks: Asks,
    /// Where sizes of boot files are looked up; `None` if no files are served.
    pub files: Option<Files>,
    /// Where it is written down who has which address.
    pub known: Known,
    /// Machines that send one client identifier.
    pub clones: Clones,
    /// Where events go.
    pub recorder: Recorder,
}

/// Whether a message is decided on for the first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    First,
    AfterCheck,
    /// A DECLINE whose address was probed.
    Declined(Evidence),
    /// Whether the machine that holds a lease answers there is known now.
    AfterProbe(Probed),
}

impl Round {
    fn probed(self) -> Option<Probed> {
        match self {
            Round::AfterProbe(probed) => Some(probed),
            Round::First | Round::AfterCheck | Round::Declined(_) => None,
        }
    }
}

/// What a batch of messages brings about.
#[derive(Debug, Default)]
struct Outbox {
    /// To be stored, and answered then.
    promises: Vec<Promise>,
    /// Leases in these.
    leases: usize,
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
                    Checked::Declined(declining) => self.decline_checked(declining),
                    Checked::Heard(heard) => self.heard(heard),
                },
                Some(ask) = self.asks.next() => ask.carry_out(&mut self),
                Ok(()) = self.changes.changed() => self.look(),
                () = holders::wait(self.clones.next(), self.clock) => self.warn_of_clones(),
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
        for address in self.book.keep_own(&self.served.own) {
            tracing::warn!("{}", own_in_pool(address));
        }
    }

    fn handle_batch(&mut self, inbox: &Inbox) {
        let now = self.clock.now();
        self.book.settle(now);
        let mut out = Outbox::default();
        for (bytes, envelope) in inbox.iter() {
            // A fault in handling one message must not stop the others: it is counted, and the book, which is changed
            // in one step after all decisions, is as it was.
            let handled = catch_unwind(AssertUnwindSafe(|| {
                self.handle(bytes, envelope, Round::First, now, &mut out);
            }));
            if handled.is_err() {
                self.drop(envelope.interface, DropReason::Fault, None);
            }
        }
        self.send(out);
    }

    fn handle(&mut self, bytes: &[u8], envelope: Envelope, round: Round, now: Timestamp, out: &mut Outbox) {
        let Some((interface, mode)) = self.served.for_dhcp(envelope.interface, &self.settings) else {
            return self.drop(envelope.interface, DropReason::NotServed, None);
        };
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => return self.drop(envelope.interface, undecodable(error), None),
        };
        let arrival = arrival((interface, mode), envelope, false);
        if crate::dhcp::proxy::is_for_us(&message, &arrival) {
            return self.proxy.handle(&message, &arrival, envelope.interface, &self.sender());
        }
        let settings = Arc::clone(&self.settings);
        let mut request = match classify(&message, &arrival, &settings) {
            Ok(request) => request,
            Err(reason) => return self.drop(envelope.interface, reason, Some(sender_of(&message))),
        };
        recognize(&mut request, &self.book, &settings, now);
        let (name, client) = (Arc::clone(&interface.name), request.client());
        if round == Round::First {
            let received = Event::Received { message: request.ask.kind(), client: client.clone() };
            self.recorder.record(&name, &received);
        }
        other_servers::before(&self.proxy.strangers(), &mut request, &settings, now);
        settle(self.files.as_ref(), request.boot.as_mut(), (&message, &request.identity), request.server);
        loop_guard::before(&mut self.proxy.guard(), &mut request, &settings, now);
        request.probed = round.probed();
        self.clones.look(&request, &name, &self.book, &settings, now);
        look_up_size(self.files.as_ref(), request.boot.as_mut(), &message);
        if round == Round::First
            && self.checker.has_declines()
            && self.waits_for_decline(&request, bytes, envelope, now)
        {
            return;
        }
        let decision = match (round, request.ask) {
            (Round::Declined(evidence), Ask::Decline { address, .. }) => {
                let from_client = self.proxy.senders.is_from_client(envelope.interface, &message);
                let evidence = Evidence { from_client, ..evidence };
                declined(&request, address, evidence, &self.book, &settings, now)
            }
            _ => decide(&request, &self.book, &settings, now),
        };
        self.act(decision, &mut request, (bytes, envelope), &name, now, out);
    }

    /// Carries out what was decided on `request`, which came as those bytes.
    fn act(
        &mut self,
        decision: Decision,
        request: &mut Request<'_>,
        (bytes, envelope): (&[u8], Envelope),
        name: &Arc<str>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let (client, interface) = (request.client(), envelope.interface);
        let waiting = || Waiting { bytes: bytes.to_vec(), envelope };
        match decision {
            Decision::CheckAddress { address, hold } => {
                let on_wire = request.message.giaddr.is_unspecified().then_some(interface);
                match self.checker.begin(address, on_wire, waiting(), request.machine.is_some()) {
                    Begun::TooMany => self.drop(interface, DropReason::Overload, Some(client)),
                    begun => self.check_begun(&begun, address, &hold, out),
                }
            }
            Decision::CheckDecline { address } => {
                // A copy of the same one, or one of a flood.
                if !self.checker.begin_decline(address, interface, waiting()) {
                    self.drop(interface, DropReason::Checking, Some(client));
                }
            }
            Decision::AskHolder { address } => {
                let on_wire = request.message.giaddr.is_unspecified().then_some(interface);
                self.ask_holder(address, on_wire, waiting(), client, out);
            }
            Decision::Answer { change, reply, route, wait, event } => {
                request.server = request.server_for(reply.yiaddr, &self.settings);
                self.known.answered(request, (&reply, change.as_ref()), &self.book, now);
                let outgoing = outgoing(request, interface, &reply, route);
                let looping =
                    loop_guard::after(&mut self.proxy.guard(), request, &event, &self.settings, now);
                looping.iter().for_each(|event| self.recorder.record(name, event));
                let (lease, ended) = match to_be_stored(change) {
                    Ok(leases) => leases,
                    Err(other) => {
                        other.iter().for_each(|change| self.book.apply(change));
                        return self.send_or_wait(outgoing, wait, event, Arc::clone(name), out);
                    }
                };
                let facts = (&self.book, &*self.settings);
                let otherwise = self.renewals.otherwise(request, &lease, interface, facts, now);
                let (reply, place) = (Some(outgoing), Arc::clone(name));
                let promise = Promise { lease, ended, reply, otherwise, event, interface: place };
                self.promise(promise, interface, Some(client), out);
            }
            Decision::Quiet { lease, event } => {
                self.known.released(&lease);
                self.store_quietly(lease, event, name, interface, out);
            }
            Decision::Silent { reason, change } => {
                if reason == DropReason::OtherServer {
                    self.proxy.hear_chosen(request, name);
                }
                change.iter().for_each(|change| self.book.apply(change));
                if reason == DropReason::PoolExhausted {
                    self.recorder.record(name, &self.exhausted(request.subnet, client.clone()));
                }
                self.drop(interface, reason, Some(client));
            }
        }
    }

    /// Holds an address while it is checked; gives it at once if nobody can be asked.
    fn check_begun(&mut self, begun: &Begun, address: Ipv4Addr, hold: &LeaseChange, out: &mut Outbox) {
        self.book.apply(hold);
        if let Begun::CannotAsk(waiting) = begun {
            self.address_free(address, waiting, out);
        }
    }

    /// Has a reply sent with the others of its batch, or by itself when its time has come.
    fn send_or_wait(
        &self,
        reply: Outgoing,
        wait: Duration,
        event: Event,
        interface: Arc<str>,
        out: &mut Outbox,
    ) {
        if wait.is_zero() {
            out.replies.push(Delivery { reply, interface, event });
        } else {
            self.proxy.later.send(Departure { sender: self.sender(), reply, event, interface }, wait);
        }
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
        let now = self.clock.now();
        for lease in &outcome.leases {
            if outcome.stored {
                self.book.stored(lease, now);
            } else {
                self.book.not_stored(lease, now);
            }
        }
        self.renewals.committed(outcome, &self.book);
        self.asks.committed(outcome);
    }

    fn exhausted(&self, subnet: usize, client: Client) -> Event {
        let (network, size) = (self.settings.subnets[subnet].network, self.book.pool_size(subnet));
        Event::Exhausted { subnet: network, size, client }
    }

    fn drop(&self, interface: u32, reason: DropReason, client: Option<Client>) {
        let name = self.served.get(interface).map_or("?", |interface| &interface.name);
        self.recorder.record(name, &Event::Dropped { reason, client });
    }
}

fn fault() -> io::Error {
    io::Error::other("the DHCP loop ended by a fault in lanboot; please report it with the log")
}

#[cfg(test)]
mod tests;
