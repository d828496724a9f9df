//! Carries out the effects of a message: one arm for each. The decisions are the engine's, in `dhcp/engine/`.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::dhcp::arrival::Arrival;
use crate::dhcp::engine::{Effect, Effects, Engine, OutgoingReply, Outside};
use crate::event::{Client, DropReason, Event};
use crate::net::udp::{Envelope, Outgoing};
use crate::server::dhcp::commit::Promise;
use crate::server::dhcp::conflict_checks::{Begun, Waiting};
use crate::server::dhcp::deliver::{Delivery, Departure};
use crate::server::dhcp::inbound::arrival;
use crate::server::dhcp::{DhcpServer, Outbox};

/// The message that effects are about.
#[derive(Clone, Copy)]
pub(super) struct Received<'a> {
    /// The message.
    pub(super) bytes: &'a [u8],
    /// How it came.
    pub(super) envelope: Envelope,
    /// The same, as decisions are told it.
    pub(super) arrival: &'a Arrival,
}

impl Received<'_> {
    fn waiting(&self) -> Waiting {
        Waiting { bytes: self.bytes.to_vec(), envelope: self.envelope }
    }
}

impl DhcpServer {
    /// Has the engine do `step` with a message, and carries out the effects. A fault in it must not stop other messages: it
    /// is counted. Effects from before the fault are carried out too, because the book has their changes.
    pub(super) fn drive(
        &mut self,
        (bytes, envelope): (&[u8], Envelope),
        out: &mut Outbox,
        step: impl FnOnce(&mut Engine, (&[u8], &Arrival), Outside<'_>, &mut Effects),
    ) {
        let Some(place) = self.served.for_dhcp(envelope.interface, &self.engine.settings) else {
            return self.drop(envelope.interface, DropReason::NotServed, None);
        };
        let arrival = arrival(place, envelope, false);
        let received = Received { bytes, envelope, arrival: &arrival };
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let outside = Outside { files: &self.files, machines: &self.known };
            step(&mut self.engine, (bytes, &arrival), outside, &mut self.effects);
            self.carry_out(received, out);
        }));
        if handled.is_err() {
            let rest = catch_unwind(AssertUnwindSafe(|| self.carry_out(received, out)));
            if rest.is_err() {
                self.effects.clear();
            }
            self.drop(envelope.interface, DropReason::Fault, None);
        }
    }

    fn carry_out(&mut self, received: Received<'_>, out: &mut Outbox) {
        let (interface, name) = (received.envelope.interface, &received.arrival.interface);
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::CheckAddress { address, hold, on_wire, is_expected, client } => {
                    let on_wire = on_wire.then_some(interface);
                    let begun = self.checker.begin(address, on_wire, received.waiting(), is_expected);
                    if !matches!(begun, Begun::TooMany) {
                        self.engine.hold(&hold);
                    }
                    self.begun(&begun, address, client, received);
                }
                Effect::AskHolder { address, client, .. } if self.checker.is_checked(address) => {
                    self.record_drop(name, DropReason::Checking, client);
                }
                Effect::AskHolder { address, on_wire, client } => {
                    let on_wire = on_wire.then_some(interface);
                    let begun = self.checker.begin(address, on_wire, received.waiting(), false);
                    self.begun(&begun, address, client, received);
                }
                Effect::CheckDecline { address, client } => {
                    // Refused: a copy of the same one, or one of a flood.
                    if !self.begin_decline(address, interface, received.waiting()) {
                        self.record_drop(name, DropReason::Checking, client);
                    }
                }
                Effect::AwaitDecline { address, client } => {
                    if self.checker.after_decline(address, received.waiting()).is_some() {
                        self.record_drop(name, DropReason::Checking, client);
                    }
                }
                Effect::EndDecline { address } => {
                    let ended = self.checker.take_decline(address).map(|declining| declining.waiting);
                    ended.iter().for_each(|waiting| {
                        self.drop(waiting.envelope.interface, DropReason::DeclineUnfounded, None);
                    });
                }
                effect => self.carry_out_at((interface, name), effect, out),
            }
        }
    }

    /// Carries out an effect that no check follows from.
    pub(super) fn carry_out_at(
        &mut self,
        (interface, name): (u32, &Arc<str>),
        effect: Effect,
        out: &mut Outbox,
    ) {
        match effect {
            Effect::Record(event) => self.recorder.record(name, &event),
            Effect::Send { reply, wait, event } => {
                let delivery =
                    Delivery { reply: outgoing(&reply, interface), interface: Arc::clone(name), event };
                self.send_after(wait, delivery, out);
            }
            Effect::Store(promise) => {
                let promise = Promise::of(promise, interface, Arc::clone(name));
                self.renewals.add(&promise);
                out.promises.push(promise);
            }
            // These come of a message alone, and `carry_out` has them.
            Effect::CheckAddress { .. }
            | Effect::AskHolder { .. }
            | Effect::CheckDecline { .. }
            | Effect::AwaitDecline { .. }
            | Effect::EndDecline { .. } => {}
        }
    }

    /// Gives the address at once if the network cannot be asked.
    fn begun(&mut self, begun: &Begun, address: Ipv4Addr, client: Client, received: Received<'_>) {
        match begun {
            Begun::Asked => {}
            Begun::TooMany => {
                self.record_drop(&received.arrival.interface, DropReason::Overload, client);
            }
            Begun::CannotAsk => {
                let outside = Outside { files: &self.files, machines: &self.known };
                let (message, now) = ((received.bytes, received.arrival), self.clock.now());
                self.engine.checked((address, None), message, outside, now, &mut self.effects);
            }
        }
    }

    /// Has the DECLINE `waiting` of `address` checked. False if it is being checked already, or too many others are.
    pub(super) fn begin_decline(&mut self, address: Ipv4Addr, interface: u32, waiting: Waiting) -> bool {
        let begun = self.checker.begin_decline(address, interface, waiting);
        if begun {
            self.engine.decline_begun(address);
        }
        begun
    }

    /// Has a reply sent with the others of its batch, or by itself when its time has come.
    fn send_after(&self, wait: Duration, delivery: Delivery, out: &mut Outbox) {
        if wait.is_zero() {
            out.replies.push(delivery);
        } else {
            let Delivery { reply, interface, event } = delivery;
            self.proxy.later.send(Departure { sender: self.sender(), reply, event, interface }, wait);
        }
    }

    fn record_drop(&self, interface: &str, reason: DropReason, client: Client) {
        self.recorder.record(interface, &Event::Dropped { reason, client: Some(client) });
    }
}

/// `reply` on its way.
pub(super) fn outgoing(reply: &OutgoingReply, interface: u32) -> Outgoing {
    let OutgoingReply { message, route, server } = reply;
    Outgoing { payload: message.encode(), route: *route, interface, server: *server }
}
