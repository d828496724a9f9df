//! Carries out the effects that the engine returns for a message, one match arm for each kind. The DHCP loop
//! (`mod.rs`) and `probed.rs` call it. It makes no decisions; those are in `dhcp/engine/`.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::dhcp::arrival::Arrival;
use crate::dhcp::engine::{DeclineProbe, Effect, Effects, Engine, Outside};
use crate::event::{Context, DropReason};
use crate::lease::State;
use crate::net::datagram::Envelope;
use crate::server::dhcp::commit::Promise;
use crate::server::dhcp::conflict_checks::{CheckStart, WaitingMessage};
use crate::server::dhcp::deliver::{DelayedReply, Delivery, on, outgoing};
use crate::server::dhcp::inbound::arrival;
use crate::server::dhcp::{DhcpServer, Outbox};
use crate::types::InterfaceName;
use crate::wire::dhcp::Message;

/// The message whose effects are being carried out.
#[derive(Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) bytes: &'a [u8],
    /// Its interface and addresses, as the socket reports them.
    pub(super) envelope: Envelope,
    /// The same facts in the form that the engine takes.
    pub(super) arrival: &'a Arrival,
}

impl Received<'_> {
    fn waiting(&self) -> WaitingMessage {
        WaitingMessage { bytes: self.bytes.to_vec(), envelope: self.envelope }
    }
}

impl DhcpServer {
    /// Calls `step` with the engine and a message, then carries out the effects. A panic in `step` must not stop other
    /// messages: it is caught and counted as `DropReason::Fault`. The effects from before the panic are carried out
    /// too, because the book already has their changes.
    pub(super) fn run_engine(
        &mut self,
        (bytes, envelope): (&[u8], Envelope),
        out: &mut Outbox,
        step: impl FnOnce(&mut Engine, (&[u8], &Arrival), Outside<'_>, &mut Effects),
    ) {
        let Some(place) = self.served.for_dhcp(envelope.interface, &self.engine.settings) else {
            return self.drop(envelope.interface, DropReason::NotServed);
        };
        let arrival = arrival(place, envelope, false);
        let received = Received { bytes, envelope, arrival: &arrival };
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let outside = Outside { files: &self.files, machines: &self.known };
            step(&mut self.engine, (bytes, &arrival), outside, &mut self.effects);
            self.perform(received, out);
        }));
        if handled.is_err() {
            let rest = catch_unwind(AssertUnwindSafe(|| self.perform(received, out)));
            if rest.is_err() {
                self.effects.clear();
            }
            self.drop(envelope.interface, DropReason::Fault);
        }
    }

    fn perform(&mut self, received: Received<'_>, out: &mut Outbox) {
        let (interface, name) = (received.envelope.interface, received.arrival.interface);
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::CheckAddress { address, hold, on_wire, is_expected, context } => {
                    let on_wire = on_wire.then_some(interface);
                    let begun = self.checker.begin(address, on_wire, received.waiting(), is_expected);
                    if !matches!(begun, CheckStart::TooMany) {
                        self.engine.hold(&hold);
                    }
                    self.check_started(&begun, address, &context, received);
                }
                Effect::AskHolder { address, context, .. } if self.checker.is_checked(address) => {
                    self.recorder.record(context.dropped(DropReason::Checking));
                }
                Effect::AskHolder { address, on_wire, context } => {
                    let on_wire = on_wire.then_some(interface);
                    let begun = self.checker.begin(address, on_wire, received.waiting(), false);
                    self.check_started(&begun, address, &context, received);
                }
                Effect::CheckDecline { address, is_release, context } => {
                    let begun = if is_release {
                        self.begin_release(address, received)
                    } else {
                        self.begin_decline(address, interface, received.waiting())
                    };
                    // It is a copy of a message under check, or part of a flood.
                    if !begun {
                        self.recorder.record(context.dropped(DropReason::Checking));
                    }
                }
                Effect::AwaitDecline { address, context } => {
                    if self.checker.after_decline(address, received.waiting()).is_some() {
                        self.recorder.record(context.dropped(DropReason::Checking));
                    }
                }
                Effect::EndDecline { address } => {
                    let ended = self.checker.take_decline(address).map(|declining| declining.waiting);
                    ended.iter().for_each(|waiting| {
                        self.drop(waiting.envelope.interface, DropReason::DeclineUnfounded);
                    });
                }
                effect => self.perform_at((interface, name), effect, out),
            }
        }
    }

    /// Carries out an effect that starts no check.
    pub(super) fn perform_at(
        &mut self,
        (interface, name): (u32, InterfaceName),
        effect: Effect,
        out: &mut Outbox,
    ) {
        match effect {
            Effect::Record(record) => self.recorder.record(on(name, record)),
            Effect::Send { reply, wait, record } => {
                let delivery = Delivery { reply: outgoing(&reply, interface, out.received), record };
                self.send_after(wait, delivery, out);
            }
            Effect::Store(promise) => {
                let promise = Promise::of(promise, (interface, name), out.received);
                if promise.lease.state == State::Leased {
                    self.renewals.add(promise.fallback.as_ref());
                }
                out.promises.push(promise);
            }
            // Only `perform` handles these, because they need the message.
            Effect::CheckAddress { .. }
            | Effect::AskHolder { .. }
            | Effect::CheckDecline { .. }
            | Effect::AwaitDecline { .. }
            | Effect::EndDecline { .. } => {}
        }
    }

    /// Acts on the start of a check. If the network cannot be asked, the message is decided on at once, as if the
    /// address were free.
    fn check_started(
        &mut self,
        begun: &CheckStart,
        address: Ipv4Addr,
        context: &Context,
        received: Received<'_>,
    ) {
        match begun {
            CheckStart::ProbeSent => {}
            CheckStart::TooMany => {
                self.recorder.record(context.dropped(DropReason::Overload));
            }
            CheckStart::CannotProbe => {
                let outside = Outside { files: &self.files, machines: &self.known };
                let (message, now) = ((received.bytes, received.arrival), self.clock.now());
                self.engine.checked((address, None), message, outside, now, &mut self.effects);
            }
        }
    }

    /// Starts the check of `waiting`, a DECLINE of `address`. Returns false if that address is being checked already,
    /// or too many others are.
    pub(super) fn begin_decline(
        &mut self,
        address: Ipv4Addr,
        interface: u32,
        waiting: WaitingMessage,
    ) -> bool {
        let begun = self.checker.begin_decline(address, interface, waiting);
        if begun {
            self.engine.decline_check_started(address);
        }
        begun
    }

    /// Decides on `received`, a RELEASE of `address`, at once if its sender is known or can never be known. Otherwise the
    /// packet socket may still receive its frame, and the RELEASE waits for that. Returns false if it cannot wait.
    fn begin_release(&mut self, address: Ipv4Addr, received: Received<'_>) -> bool {
        let from_client = Message::decode(received.bytes)
            .ok()
            .and_then(|message| self.proxy.senders.is_from_client(received.envelope.interface, &message));
        if from_client != Some(false) {
            let outside = Outside { files: &self.files, machines: &self.known };
            let probe = DeclineProbe { from_client, ..DeclineProbe::default() };
            let (message, now) = ((received.bytes, received.arrival), self.clock.now());
            self.engine.declined(probe, message, outside, now, &mut self.effects);
            return true;
        }
        let begun = self.checker.begin_release(address, received.waiting());
        if begun {
            self.engine.decline_check_started(address);
        }
        begun
    }

    /// Adds a reply to its batch; if it must wait, gives it to the delay thread instead.
    fn send_after(&self, wait: Duration, delivery: Delivery, out: &mut Outbox) {
        if wait.is_zero() {
            out.replies.push(delivery);
        } else {
            let Delivery { reply, record } = delivery;
            self.proxy.delayed.send(DelayedReply::after(wait, self.sender(), reply, record), wait);
        }
    }
}
