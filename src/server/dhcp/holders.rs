//! Asks the network whether a machine that holds a lease still answers at its address, before a machine with the same
//! client identifier takes it over, and warns of machines that share an identifier. The decisions are in `dhcp/claims.rs`.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::request::Probed;
use crate::event::{Client, DropReason};
use crate::net::ping::Heard;
use crate::server::dhcp::conflict_checks::{Begun, Waiting};
use crate::server::dhcp::{DhcpServer, Outbox, Round};
use crate::store::clock::Clock;
use crate::types::Timestamp;
use crate::wire::dhcp::Message;

impl DhcpServer {
    /// Has the network asked which machine answers at `address`, on the wire of interface `on_wire` or behind a router; the
    /// message is decided on again when that is known. The address is not held for the client meanwhile.
    pub(super) fn ask_holder(
        &mut self,
        address: Ipv4Addr,
        on_wire: Option<u32>,
        waiting: Waiting,
        client: Client,
        out: &mut Outbox,
    ) {
        let interface = waiting.envelope.interface;
        if self.checker.is_checked(address) {
            return self.drop(interface, DropReason::Checking, Some(client));
        }
        match self.checker.begin(address, on_wire, waiting, false) {
            Begun::Asked => {}
            Begun::TooMany => self.drop(interface, DropReason::Overload, Some(client)),
            Begun::CannotAsk(waiting) => {
                let round = Round::AfterProbe(Probed { address, in_use: false });
                self.handle(&waiting.bytes, waiting.envelope, round, self.clock.now(), out);
            }
        }
    }

    /// Decides again on the message that waited for an answer from the holder of `address`. An answer of the client itself
    /// counts as none: a bond that switched to its other card has the address already.
    pub(super) fn holder_asked(
        &mut self,
        address: Ipv4Addr,
        waiting: &Waiting,
        heard: Option<Heard>,
        out: &mut Outbox,
    ) {
        let client = Message::decode(&waiting.bytes).ok().and_then(|message| message.mac());
        let in_use = heard.is_some_and(|heard| heard.by.is_none() || heard.by != client);
        let round = Round::AfterProbe(Probed { address, in_use });
        self.handle(&waiting.bytes, waiting.envelope, round, self.clock.now(), out);
    }

    /// Records the warnings about machines with one client identifier that are due.
    pub(super) fn warn_of_clones(&mut self) {
        let due = self.clones.due(self.clock.now());
        due.iter().for_each(|(interface, event)| self.recorder.record(interface, event));
    }
}

/// Completes at `moment`, and never without one.
pub(super) async fn wait(moment: Option<Timestamp>, clock: Clock) {
    match moment {
        // The clock counts whole milliseconds.
        Some(moment) => tokio::time::sleep(moment.since(clock.now()) + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}
