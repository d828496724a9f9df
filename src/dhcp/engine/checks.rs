//! Checks of addresses before they are given and when they are declined: the meaning of answers, and the second
//! decision on the message that waited. The caller sends the probes and reports their outcome; nothing here sends or
//! waits.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::effect::drop_message;
use super::{AddressInUse, DeclineProbe, Effect, Effects, Engine, Meaning, Outside, Round};
use crate::dhcp::arrival::Arrival;
use crate::dhcp::conflict::{Answer, Evidence, end_of_quarantine, given_back, quarantine};
use crate::dhcp::proxy_arp::Verdict;
use crate::dhcp::request::{Ask, Probed, Request};
use crate::dhcp::shared_network;
use crate::event::{Client, Context, DropReason, Event, Record};
use crate::lease::{LeaseChange, OFFER_HOLD, State};
use crate::types::{Firmware, MacAddr, MachineId, Timestamp};
use crate::wire::dhcp::Message;

impl Engine {
    /// Holds an address while it is checked. The client that had the last lease of it is remembered until the check
    /// ends.
    pub fn hold(&mut self, hold: &LeaseChange) {
        if let LeaseChange::Hold { address, holder, .. } = hold {
            let last = self.book.binding(*address).map(|binding| (binding.leased, &binding.holder));
            match last.filter(|(leased, last)| *leased && !last.is_same_machine(holder)) {
                Some((_, last)) => self.last_holders.insert(*address, last.clone()),
                None => self.last_holders.remove(address),
            };
        }
        self.book.apply(hold);
    }

    /// Judges an answer from an address that is being checked. `waiting` is the message that waits for the check, if
    /// the address is checked before it is given.
    pub fn assess_answer(&mut self, heard: AddressInUse, waiting: Option<&[u8]>, now: Timestamp) -> Meaning {
        let binding = self.book.binding(heard.address);
        let holder = binding.and_then(|binding| binding.holder.mac);
        let is_leased = binding.is_some_and(|binding| binding.state == State::Leased);
        if heard.by.is_some() && heard.by == holder {
            // The client itself may still use the address that it is to get, as after a warm restart. The holder of a
            // lease that another machine asks for keeps the lease.
            return Meaning::Holder { is_leased };
        }
        // A bond that switched to its other card has the address already. Its own answer does not prove that the holder
        // of the lease is gone; only silence does.
        if is_leased && heard.by.is_some() && heard.by == waiting.and_then(client_of) {
            return Meaning::Nothing;
        }
        match heard.from.map(|mac| (mac, self.proxy_arp.assess(mac, heard.address, now))) {
            None | Some((_, Verdict::Conflict)) => Meaning::InUse,
            Some((mac, Verdict::Found(addresses))) => Meaning::ProxyArp(mac, addresses),
            // Another machine may still answer.
            Some((_, Verdict::Ignored)) => Meaning::Nothing,
        }
    }

    /// Records that the machine `mac` uses an address that is not being checked.
    pub fn record_address_user(&mut self, mac: MacAddr, address: Ipv4Addr) {
        self.proxy_arp.record_own_address(mac, address);
    }

    /// Whether the answers of `mac` are ignored because it answers for any address.
    pub fn ignores(&self, mac: MacAddr) -> bool {
        self.proxy_arp.ignores(mac)
    }

    /// Records a machine that answers for any address, and ends the quarantines of `addresses`, which that machine
    /// caused.
    pub fn found_proxy(
        &mut self,
        mac: MacAddr,
        addresses: Vec<Ipv4Addr>,
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        let freed: Vec<_> =
            addresses.iter().filter_map(|address| end_of_quarantine(&self.book, *address, now)).collect();
        // The caller knows the interface.
        let record = |machine, event| Record { at: now, interface: None, machine, event };
        out.push_back(Effect::Record(record(None, Event::ProxyArp { by: mac, addresses })));
        for lease in freed {
            let client = Client { firmware: Firmware::Other, arch: None };
            let event = Event::Released { address: lease.address, client };
            let machine = lease.holder.mac.map(MachineId::from);
            self.store_quietly(lease, record(machine, event), outside, out);
        }
    }

    /// Ends the check of `address` and decides again on the message that waited for it. `heard` is the machine that
    /// uses the address; `None` if none answered.
    pub fn checked(
        &mut self,
        (address, heard): (Ipv4Addr, Option<AddressInUse>),
        (datagram, arrival): (&[u8], &Arrival),
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        self.expire(now);
        let last = self.last_holders.remove(&address);
        let last = last.filter(|last| last.mac.is_some() && heard.is_some_and(|heard| heard.by == last.mac));
        let round = match self.book.binding(address).map(|binding| binding.state) {
            Some(State::Leased) => {
                // An answer of the client itself does not count: a bond that switched to its other card has the address
                // already.
                let client = client_of(datagram);
                let in_use = heard.is_some_and(|heard| heard.by.is_none() || heard.by != client);
                Round::AfterProbe(Probed { address, in_use })
            }
            // The client took another server's offer meanwhile.
            Some(State::Released) if heard.is_none() => {
                let context = Context::unknown(now, arrival.interface);
                return drop_message(out, DropReason::OtherServer, &context);
            }
            _ => {
                let given_back =
                    last.and_then(|last| given_back(&self.book, &self.settings, address, last, now));
                match (heard, given_back) {
                    // A machine has no conflict with itself. The client that waited gets another address.
                    (_, Some(change)) => self.book.apply(&change),
                    (Some(heard), None) => {
                        let context = Context::unknown(now, arrival.interface);
                        self.put_in_quarantine(heard, &context, outside, out);
                    }
                    (None, None) => {
                        self.book.checked(address, now).iter().for_each(|offer| self.book.apply(offer));
                    }
                }
                Round::AfterCheck
            }
        };
        self.run(round, (datagram, arrival), outside, now, out);
    }

    fn put_in_quarantine(
        &mut self,
        AddressInUse { address, by, .. }: AddressInUse,
        context: &Context,
        outside: Outside<'_>,
        out: &mut Effects,
    ) {
        let (now, record) = (context.at, context.record(Event::Conflict { address, by }));
        match quarantine(&self.book, &self.settings, address, now) {
            Some(lease) => self.store_quietly(lease, record, outside, out),
            None => {
                out.push_back(Effect::Record(record));
                drop_message(out, DropReason::TooManyDeclined, context);
                let change = self.book.avoid(address, now.after(OFFER_HOLD));
                change.iter().for_each(|change| self.book.apply(change));
            }
        }
    }

    /// Marks the DECLINE of `address` as being checked.
    pub fn decline_check_started(&mut self, address: Ipv4Addr) {
        self.declining.insert(address);
    }

    /// Marks the check of the DECLINE of `address` as finished.
    pub fn decline_ended(&mut self, address: Ipv4Addr) {
        self.declining.remove(&address);
    }

    /// Decides on a DECLINE whose address was probed, or on a RELEASE whose sender was looked up.
    pub fn declined(
        &mut self,
        probe: DeclineProbe,
        message: (&[u8], &Arrival),
        outside: Outside<'_>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        self.expire(now);
        // The machine may have been found to answer for every address meanwhile.
        let other = probe.other.filter(|heard| heard.from.is_none_or(|mac| !self.ignores(mac)));
        let answer = match other.and_then(|heard| heard.by) {
            Some(by) => Answer::Other(by),
            None if probe.client_answers => Answer::Client,
            None => Answer::None,
        };
        let evidence = Evidence { answer, from_client: probe.from_client };
        self.run(Round::Declined(evidence), message, outside, now, out);
    }

    /// Whether `request` must wait for the check of a DECLINE by the same client. A client that takes the offer of the
    /// address shows that it did not send the DECLINE, so that ends the check.
    pub(super) fn waits_for_decline(
        &mut self,
        request: &Request<'_>,
        context: &Context,
        now: Timestamp,
        out: &mut Effects,
    ) -> bool {
        if self.declining.is_empty() {
            return false;
        }
        let settings = Arc::clone(&self.settings);
        let address = match request.ask {
            Ask::Discover { .. } | Ask::Bootp => {
                shared_network::binding_of(request, &self.book, &settings, now).map(|(address, _)| address)
            }
            Ask::Select { address, .. } | Ask::InitReboot { address } | Ask::Extend { address, .. } => {
                Some(address)
            }
            Ask::Decline { .. } | Ask::Release { .. } | Ask::Inform => None,
        };
        let Some(address) = address.filter(|address| self.declining.contains(address)) else {
            return false;
        };
        let Some(binding) = self.book.binding(address).filter(|b| b.holder.is_same_machine(&request.holder))
        else {
            return false;
        };
        if binding.state == State::Offered && matches!(request.ask, Ask::Select { .. }) {
            self.declining.remove(&address);
            out.push_back(Effect::EndDecline { address });
            return false;
        }
        out.push_back(Effect::AwaitDecline { address, context: context.clone() });
        true
    }
}

/// The hardware address of the client that sent `datagram`.
fn client_of(datagram: &[u8]) -> Option<MacAddr> {
    Message::decode(datagram).ok().and_then(|message| message.mac())
}
