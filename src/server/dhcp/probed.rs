//! The part of the DHCP loop that deals with probes: of addresses before they are given, and of addresses that a client
//! declined.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{DhcpServer, Outbox, Round};
use crate::dhcp::conflict::{Answer, Evidence, end_of_quarantine, quarantine};
use crate::dhcp::proxy_arp::Verdict;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::shared_network;
use crate::event::{Client, DropReason, Event};
use crate::lease::{Lease, OFFER_HOLD, State};
use crate::net::ping::Heard;
use crate::net::udp::Envelope;
use crate::server::dhcp::commit::Promise;
use crate::server::dhcp::conflict_checks::{Declining, Waiting};
use crate::types::{Firmware, MacAddr, Timestamp};
use crate::wire::dhcp::Message;

impl DhcpServer {
    /// Takes in that a machine uses an address: one that is being checked, or its own while it is watched.
    pub(super) fn heard(&mut self, heard: Heard) {
        let now = self.clock.now();
        let address = heard.address;
        if !self.checker.is_checked(address) {
            heard.from.iter().for_each(|mac| self.proxy_arp.uses(*mac, address));
            return;
        }
        let binding = self.book.binding(address);
        let holder = binding.and_then(|binding| binding.holder.mac);
        let is_leased = binding.is_some_and(|binding| binding.state == State::Leased);
        if heard.by.is_some() && heard.by == holder {
            self.checker.note_answer(heard, true);
            if let Some(waiting) = self.checker.take(address) {
                // The client itself may still use the address that it is to get, as after a warm restart. The holder of a
                // lease that another machine asks for keeps it.
                self.address_checked(address, &waiting, is_leased.then_some(heard));
            }
            return;
        }
        // A bond that switched to its other card has the address already. Its own answer does not say that the holder of the
        // lease is gone: only silence does.
        let asker =
            |waiting: &Waiting| Message::decode(&waiting.bytes).ok().and_then(|message| message.mac());
        if is_leased && heard.by.is_some() && heard.by == self.checker.waiting(address).and_then(asker) {
            return;
        }
        let verdict = heard.from.map_or(Verdict::Conflict, |mac| self.proxy_arp.judge(mac, address, now));
        match (verdict, heard.from) {
            (Verdict::Conflict, _) => {}
            (Verdict::Found(addresses), Some(mac)) => return self.found_proxy(mac, addresses, now),
            // Another machine may answer yet.
            _ => return,
        }
        if let Some(waiting) = self.checker.take(address) {
            self.address_checked(address, &waiting, Some(heard));
        } else {
            self.checker.note_answer(heard, false);
        }
    }

    /// Logs a machine that answers for free addresses, and frees those that were in quarantine because of it.
    fn found_proxy(&mut self, mac: MacAddr, addresses: Vec<Ipv4Addr>, now: Timestamp) {
        self.checker.watch(mac, |mac| self.proxy_arp.ignores(mac));
        let mut out = Outbox::default();
        let freed: Vec<Lease> =
            addresses.iter().filter_map(|address| end_of_quarantine(&self.book, *address, now)).collect();
        let first = addresses.first().and_then(|address| self.wire_of(*address));
        let (index, name) = first.unwrap_or_else(|| (0, "?".into()));
        self.recorder.record(&name, &Event::ProxyArp { by: mac, addresses });
        for lease in freed {
            let client = Client { mac: lease.holder.mac, firmware: Firmware::Other, arch: None };
            let event = Event::Released { address: lease.address, client };
            self.store_quietly(lease, event, &name, index, &mut out);
        }
        self.send(out);
    }

    /// The number and the name of the interface in whose network `address` is.
    fn wire_of(&self, address: Ipv4Addr) -> Option<(u32, Arc<str>)> {
        let mut interfaces = self.served.interfaces();
        let wire = interfaces.find(|interface| interface.networks.iter().any(|n| n.contains(address)))?;
        Some((wire.index, Arc::clone(&wire.name)))
    }

    /// Puts an address that is used in quarantine and finds the client another one, or offers it one that is free.
    pub(super) fn address_checked(&mut self, address: Ipv4Addr, waiting: &Waiting, heard: Option<Heard>) {
        self.book.settle(self.clock.now());
        let mut out = Outbox::default();
        let is_leased = self.book.binding(address).is_some_and(|binding| binding.state == State::Leased);
        let handled = catch_unwind(AssertUnwindSafe(|| match heard {
            _ if is_leased => self.holder_asked(address, waiting, heard, &mut out),
            Some(heard) => self.address_used(heard, waiting, &mut out),
            None => self.address_free(address, waiting, &mut out),
        }));
        if handled.is_err() {
            self.drop(waiting.envelope.interface, DropReason::Fault, None);
        }
        self.send(out);
    }

    pub(super) fn address_free(&mut self, address: Ipv4Addr, waiting: &Waiting, out: &mut Outbox) {
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
        let event = Event::Conflict { address: heard.address, by: heard.by };
        match quarantine(&self.book, heard.address, now) {
            Some(lease) => self.store_quietly(lease, event, &name, interface, out),
            None => {
                self.recorder.record(&name, &event);
                self.drop(interface, DropReason::TooManyDeclined, None);
                let change = self.book.avoid(heard.address, now.after(OFFER_HOLD));
                change.iter().for_each(|change| self.book.apply(change));
            }
        }
        self.handle(&waiting.bytes, waiting.envelope, Round::AfterCheck, now, out);
    }

    /// Decides on a DECLINE whose address was probed, and then on the message that waits for that.
    pub(super) fn decline_checked(&mut self, declining: Declining) {
        let now = self.clock.now();
        self.book.settle(now);
        let Declining { waiting, client_answers, other, next } = declining;
        // It may have shown meanwhile that the machine answers for every address.
        let other = other.filter(|heard| heard.from.is_none_or(|mac| !self.proxy_arp.ignores(mac)));
        let answer = match other.and_then(|heard| heard.by) {
            Some(by) => Answer::Other(by),
            None if client_answers => Answer::Client,
            None => Answer::None,
        };
        let mut out = Outbox::default();
        let evidence = Evidence { answer, from_client: None };
        let rounds = [(Some(waiting), Round::Declined(evidence)), (next, Round::AfterCheck)];
        for (waiting, round) in rounds {
            let Some(Waiting { bytes, envelope }) = waiting else { continue };
            let handled = catch_unwind(AssertUnwindSafe(|| {
                self.handle(&bytes, envelope, round, now, &mut out);
            }));
            if handled.is_err() {
                self.drop(envelope.interface, DropReason::Fault, None);
            }
        }
        self.send(out);
    }

    /// Whether the answer to `request` depends on a DECLINE of the same client that is being checked: then it waits for
    /// that. Only a client that takes the offer of the address shows by it that it did not decline.
    pub(super) fn waits_for_decline(
        &mut self,
        request: &Request<'_>,
        bytes: &[u8],
        envelope: Envelope,
        now: Timestamp,
    ) -> bool {
        let address = match request.ask {
            Ask::Discover { .. } | Ask::Bootp => {
                shared_network::of_client(request, &self.book, &self.settings, now)
                    .map(|(address, _)| address)
            }
            Ask::Select { address, .. } | Ask::InitReboot { address } | Ask::Extend { address, .. } => {
                Some(address)
            }
            Ask::Decline { .. } | Ask::Release { .. } | Ask::Inform => None,
        };
        let Some(address) = address.filter(|address| self.checker.is_declining(*address)) else {
            return false;
        };
        let Some(binding) = self.book.binding(address).filter(|b| b.holder.is(&request.holder)) else {
            return false;
        };
        if binding.state == State::Offered && matches!(request.ask, Ask::Select { .. }) {
            let dropped = self.checker.take_decline(address).map(|declining| declining.waiting);
            dropped.iter().for_each(|w| self.drop(w.envelope.interface, DropReason::DeclineUnfounded, None));
            return false;
        }
        let waiting = Waiting { bytes: bytes.to_vec(), envelope };
        if self.checker.after_decline(address, waiting).is_some() {
            self.drop(envelope.interface, DropReason::Checking, Some(request.client()));
        }
        true
    }

    /// Stores a lease that no reply promises. Where another machine was found at the address, that counts as a strike.
    pub(super) fn store_quietly(
        &mut self,
        lease: Lease,
        event: Event,
        name: &Arc<str>,
        interface: u32,
        out: &mut Outbox,
    ) {
        let address = lease.address;
        let is_strike = matches!(event, Event::Conflict { .. } | Event::Declined { by: Some(_), .. });
        let client = event.client().cloned();
        self.promise(Promise::quiet(lease, event, Arc::clone(name)), interface, client, out);
        if is_strike {
            self.book.strike(address);
        }
    }
}
