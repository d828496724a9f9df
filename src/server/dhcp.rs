//! The DHCP loop, in a straight line: receive → parse → classify → decide → commit → send → record.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::dhcp::conflict::quarantine;
use crate::dhcp::decide::{Decision, decide};
use crate::dhcp::request::{Request, classify, recognize, sender_of};
use crate::dhcp::route::Route;
use crate::dhcp::subnet::Settings;
use crate::dhcp::{heard, loops, proxy};
use crate::event::{Client, DropReason, Event};
use crate::lease::{LeaseBook, LeaseChange, OFFER_HOLD, State};
use crate::server::checks::{Begun, Checker, Waiting};
use crate::server::clock::Clock;
use crate::server::commit::{Committer, Delivery, Outcome, Promise, deliver};
use crate::server::control::{Asks, Refusal, Release, released_by_hand};
use crate::server::files::Files;
use crate::server::known::Known;
use crate::server::later::{Departure, Sender};
use crate::server::leases::own_in_pool;
use crate::server::observe::Recorder;
use crate::server::ping::Heard;
use crate::server::proxy::{Proxy, arrival, look_up_size, pause, readable, undecodable};
use crate::server::renewals::Renewals;
use crate::server::served::{Now, Served};
use crate::server::socket::{DhcpSocket, Envelope, Inbox, Outgoing};
use crate::types::Timestamp;
use crate::wire::dhcp::Message;

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
    /// How addresses are checked before their first offer.
    pub checker: Checker,
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
    /// Where events go.
    pub recorder: Recorder,
}

/// Whether a message is decided on for the first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    First,
    AfterCheck,
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
                (address, waiting, heard) = self.checker.outcome() => {
                    self.address_checked(address, &waiting, heard);
                }
                Some(ask) = self.asks.next() => self.release(ask),
                Ok(()) = self.changes.changed() => self.look(),
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
        if proxy::is_for_us(&message, &arrival) {
            return self.proxy.handle(&message, &arrival, envelope.interface, &self.sender());
        }
        let mut request = match classify(&message, &arrival, &self.settings) {
            Ok(request) => request,
            Err(reason) => return self.drop(envelope.interface, reason, Some(sender_of(&message))),
        };
        recognize(&mut request, &self.book, &self.settings, now);
        let (name, client) = (Arc::clone(&interface.name), request.client());
        if round == Round::First {
            let received = Event::Received { message: request.ask.kind(), client: client.clone() };
            self.recorder.record(&name, &received);
        }
        heard::before(&self.proxy.strangers(), &mut request, &self.settings, now);
        loops::before(&mut self.proxy.guard(), &mut request, &self.settings, now);
        look_up_size(self.files.as_ref(), request.boot.as_mut(), &message);
        match decide(&request, &self.book, &self.settings, now) {
            Decision::CheckAddress { address, hold } => {
                let on_wire = message.giaddr.is_unspecified().then_some(envelope.interface);
                let waiting = Waiting { bytes: bytes.to_vec(), envelope };
                match self.checker.begin(address, on_wire, waiting, request.machine.is_some()) {
                    Begun::TooMany => self.drop(envelope.interface, DropReason::Overload, Some(client)),
                    begun => self.check_begun(&begun, address, &hold, out),
                }
            }
            Decision::Answer { change, reply, route, wait, event } => {
                self.known.answered(&request, &event);
                let outgoing = outgoing(&request, envelope.interface, &reply, route);
                let looping = loops::after(&mut self.proxy.guard(), &request, &event, &self.settings, now);
                looping.iter().for_each(|event| self.recorder.record(&name, event));
                match change {
                    Some(LeaseChange::Store(lease)) => {
                        let facts = (&self.book, &*self.settings);
                        let otherwise =
                            self.renewals.otherwise(&request, &lease, envelope.interface, facts, now);
                        let promise =
                            Promise { lease, reply: Some(outgoing), otherwise, event, interface: name };
                        self.promise(promise, envelope.interface, Some(client), out);
                    }
                    other => {
                        other.iter().for_each(|change| self.book.apply(change));
                        self.send_or_wait(outgoing, wait, event, name, out);
                    }
                }
            }
            Decision::Quiet { lease, event } => {
                let promise = Promise { lease, reply: None, otherwise: None, event, interface: name };
                self.promise(promise, envelope.interface, Some(client), out);
            }
            Decision::Silent { reason, change } => {
                if reason == DropReason::OtherServer {
                    self.proxy.hear_chosen(&request, &name);
                }
                change.iter().for_each(|change| self.book.apply(change));
                if reason == DropReason::PoolExhausted {
                    self.recorder.record(&name, &self.exhausted(request.subnet, client.clone()));
                }
                self.drop(envelope.interface, reason, Some(client));
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

    /// Takes an address that is used out of use and finds the client another one, or offers it one that is free.
    fn address_checked(&mut self, address: Ipv4Addr, waiting: &Waiting, heard: Option<Heard>) {
        self.book.settle(self.clock.now());
        let mut out = Outbox::default();
        let holder = self.book.binding(address).and_then(|binding| binding.holder.mac);
        let handled = catch_unwind(AssertUnwindSafe(|| match heard {
            // The client itself may still use the address, as after a warm restart.
            Some(heard) if heard.by.is_none() || heard.by != holder => {
                self.address_used(heard, waiting, &mut out);
            }
            _ => self.address_free(address, waiting, &mut out),
        }));
        if handled.is_err() {
            self.drop(waiting.envelope.interface, DropReason::Fault, None);
        }
        self.send(out);
    }

    fn address_free(&mut self, address: Ipv4Addr, waiting: &Waiting, out: &mut Outbox) {
        let now = self.clock.now();
        if self.book.binding(address).is_some_and(|binding| binding.state == State::Released) {
            // The client took another server's offer meanwhile.
            return self.drop(waiting.envelope.interface, DropReason::OtherServer, None);
        }
        if let Some(offer) = self.book.checked(address, now) {
            self.book.apply(&offer);
        }
        self.handle(&waiting.bytes, waiting.envelope, Round::AfterCheck, now, out);
    }

    fn address_used(&mut self, heard: Heard, waiting: &Waiting, out: &mut Outbox) {
        let now = self.clock.now();
        let interface = waiting.envelope.interface;
        let Some(name) = self.served.get(interface).map(|interface| Arc::clone(&interface.name)) else {
            return self.drop(interface, DropReason::NotServed, None);
        };
        match quarantine(&self.book, heard.address, now) {
            Some(lease) => {
                let event = Event::Conflict { address: heard.address, by: heard.by };
                let promise = Promise { lease, reply: None, otherwise: None, event, interface: name };
                self.promise(promise, interface, None, out);
            }
            None => {
                self.recorder.record(&name, &Event::Conflict { address: heard.address, by: heard.by });
                self.drop(interface, DropReason::TooManyDeclined, None);
                let change = self.book.avoid(heard.address, now.after(OFFER_HOLD));
                change.iter().for_each(|change| self.book.apply(change));
            }
        }
        self.handle(&waiting.bytes, waiting.envelope, Round::AfterCheck, now, out);
    }

    /// Makes the change in the book at once, so that the next decision sees it, and queues it for the disk.
    fn promise(&mut self, mut promise: Promise, interface: u32, client: Option<Client>, out: &mut Outbox) {
        if self.committer.room() <= out.promises.len() {
            return match promise.otherwise {
                // This needs no disk.
                Some(otherwise) => out.replies.push(otherwise.delivery(&promise.interface)),
                None => self.drop(interface, DropReason::Overload, client),
            };
        }
        self.book.apply(&LeaseChange::Store(promise.lease.clone()));
        // Once a booting stage had the address, that stays known, on disk too.
        promise.lease.holder.boots = self.book.binding(promise.lease.address).is_some_and(|b| b.holder.boots);
        self.renewals.add(&promise);
        out.promises.push(promise);
    }

    /// Frees an address because a person says so, who is told once that is stored.
    fn release(&mut self, ask: Release) {
        let lease = match ask.freed(&self.book, self.clock.now()) {
            Ok(lease) => lease,
            Err(why) => return ask.answer(Err(why)),
        };
        if self.committer.room() == 0 {
            return ask.answer(Err(Refusal::Failed("too many leases are waiting for the disk; try again")));
        }
        self.book.apply(&LeaseChange::Store(lease.clone()));
        self.asks.stored_with(ask, lease.clone());
        let promise = released_by_hand(lease);
        self.renewals.add(&promise);
        self.committer.submit(vec![promise]);
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

/// The reply as the socket sends it.
pub(super) fn outgoing(request: &Request<'_>, interface: u32, reply: &Message, route: Route) -> Outgoing {
    Outgoing { payload: reply.encode(), route, interface, server: request.server }
}

#[cfg(test)]
mod tests;
