//! Handles the outcomes of address checks, and releases by command. The DHCP loop calls it. An outcome goes to the
//! engine together with the message that waited for it, and the engine decides on the message again.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{DhcpServer, Outbox};
use crate::api::commands::{Refusal, Release};
use crate::dhcp::engine::{DeclineProbe, Meaning, Outside};
use crate::net::ping::ProbeAnswer;
use crate::server::dhcp::commands::released_by_hand;
use crate::server::dhcp::conflict_checks::{Declining, WaitingMessage};
use crate::types::{InterfaceName, MacAddr, MachineId};
use crate::wire::dhcp::Message;

impl DhcpServer {
    /// Handles an ARP or ping answer: a machine uses an address that is being checked, or a watched machine uses its
    /// own.
    pub(super) fn on_probe_answer(&mut self, heard: ProbeAnswer) {
        let address = heard.address;
        if !self.checker.is_checked(address) {
            heard.from.iter().for_each(|mac| self.engine.record_address_user(*mac, address));
            return;
        }
        let waiting = self.checker.waiting(address).map(|waiting| waiting.bytes.as_slice());
        match self.engine.assess_answer(heard.into(), waiting, self.clock.now()) {
            Meaning::Nothing => {}
            Meaning::Holder { is_leased } => {
                self.checker.note_answer(heard, true);
                if let Some(waiting) = self.checker.take(address) {
                    self.address_checked(address, &waiting, is_leased.then_some(heard));
                }
            }
            Meaning::InUse => {
                if let Some(waiting) = self.checker.take(address) {
                    self.address_checked(address, &waiting, Some(heard));
                } else {
                    self.checker.note_answer(heard, false);
                }
            }
            Meaning::ProxyArp(mac, addresses) => self.found_proxy(mac, addresses),
        }
    }

    /// Watches a machine that answers ARP for free addresses, and frees the addresses that were quarantined because of
    /// it.
    fn found_proxy(&mut self, mac: MacAddr, addresses: Vec<Ipv4Addr>) {
        self.checker.watch(mac, |mac| self.engine.ignores(mac));
        let first = addresses.first().and_then(|address| self.wire_of(*address));
        let (index, name) = first.unwrap_or_else(|| (0, "?".into()));
        let mut out = Outbox::new();
        let outside = Outside { files: &self.files, machines: &self.known };
        self.engine.found_proxy(mac, addresses, outside, self.clock.now(), &mut self.effects);
        while let Some(effect) = self.effects.pop_front() {
            self.perform_at((index, name), effect, &mut out);
        }
        self.send(out);
    }

    /// The number and the name of the interface that has a network with `address`.
    fn wire_of(&self, address: Ipv4Addr) -> Option<(u32, InterfaceName)> {
        let mut interfaces = self.served.interfaces();
        let wire = interfaces.find(|interface| interface.networks.iter().any(|n| n.contains(address)))?;
        Some((wire.index, wire.name))
    }

    /// Decides again on the message that waited for the check of `address`. `heard` is the machine that uses the
    /// address, if one was found.
    pub(super) fn address_checked(
        &mut self,
        address: Ipv4Addr,
        waiting: &WaitingMessage,
        heard: Option<ProbeAnswer>,
    ) {
        let (now, heard) = (self.clock.now(), heard.map(Into::into));
        let mut out = Outbox::new();
        self.run_engine((&waiting.bytes, waiting.envelope), &mut out, |engine, message, outside, effects| {
            engine.checked((address, heard), message, outside, now, effects);
        });
        self.send(out);
    }

    /// Decides on a DECLINE or RELEASE of `address` after its check, then on the client's next message if one waits.
    pub(super) fn decline_checked(&mut self, address: Ipv4Addr, declining: Declining) {
        let now = self.clock.now();
        let Declining { waiting: WaitingMessage { bytes, envelope }, client_answers, other, next } =
            declining;
        let from_client = Message::decode(&bytes)
            .ok()
            .and_then(|message| self.proxy.senders.is_from_client(envelope.interface, &message));
        let probe = DeclineProbe { client_answers, other: other.map(Into::into), from_client };
        let mut out = Outbox::new();
        self.engine.decline_ended(address);
        self.run_engine((&bytes, envelope), &mut out, |engine, message, outside, effects| {
            engine.declined(probe, message, outside, now, effects);
        });
        if let Some(WaitingMessage { bytes, envelope }) = next {
            self.run_engine((&bytes, envelope), &mut out, |engine, message, outside, effects| {
                engine.resume(message, outside, now, effects);
            });
        }
        self.send(out);
    }

    /// Releases an address for `lanboot leases`. The command is answered once the release is stored.
    pub fn release(&mut self, ask: Release) {
        let lease = match ask.freed(&self.engine.book, self.clock.now()) {
            Ok(lease) => lease,
            Err(why) => return ask.answer(Err(why)),
        };
        if !self.engine.release(&lease, &self.known) {
            return ask.answer(Err(Refusal::Failed("too many leases are waiting for the disk; try again")));
        }
        self.commands.stored_with(ask, lease.clone());
        let mac = lease.hardware.mac();
        let entry = mac.and_then(|mac| self.engine.settings.machines.with_mac(mac));
        let name = entry.map(|machine| Arc::clone(&machine.name));
        let machine = MachineId { mac, name, ..MachineId::default() }.if_known();
        self.committer.submit(vec![released_by_hand(lease, machine, self.clock.now())]);
    }
}
