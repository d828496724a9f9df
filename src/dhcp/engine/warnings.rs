//! Warnings about machines and pools that an administrator must act on. `Engine::act` calls it for messages; the server
//! asks for those that are due later. Nothing here changes a lease.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{Effect, Effects, Engine};
use crate::dhcp::request::Request;
use crate::dhcp::{reservations, shared_network};
use crate::event::{Context, Event, Record};
use crate::types::Timestamp;

/// Maximum number of machines whose reservations are warned about, so that a wrong subnet does not fill the log.
const MAX_NOT_KEPT: usize = 256;

impl Engine {
    pub(super) fn exhausted(&self, request: &Request<'_>) -> Event {
        let size = shared_network::pool_size(request, &self.book, &self.settings);
        let subnet = self.settings.subnets[request.subnet].network;
        Event::PoolExhausted { subnet, size, client: request.client() }
    }

    /// Warns once about each machine that does not get the address reserved for it. `given` is the address in the reply,
    /// if the client gets a reply.
    pub(super) fn warn_of_reservation(
        &mut self,
        request: &Request<'_>,
        given: Option<Ipv4Addr>,
        now: Timestamp,
        out: &mut Effects,
    ) {
        let Some(machine) = request.machine.filter(|machine| !machine.addresses.is_empty()) else { return };
        let gives_none = given.is_some_and(|given| given.is_unspecified());
        if gives_none || self.not_kept.len() >= MAX_NOT_KEPT || self.not_kept.contains(&machine.name) {
            return;
        }
        let warning = reservations::warning(request, given, &self.book, &self.settings, now);
        if let Some(warning) = warning {
            self.not_kept.insert(Arc::clone(&machine.name));
            out.push_back(Effect::Record(request.context(now).record(warning)));
        }
    }

    /// The time at which [`Engine::warnings`] returns the next warning; `None` if none is due.
    pub fn next_warning(&self) -> Option<Timestamp> {
        self.duplicate_ids.next()
    }

    /// Returns the warnings that are due about machines with the same client identifier.
    pub fn warnings(&mut self, now: Timestamp) -> Vec<Record> {
        let due = self.duplicate_ids.due(now).into_iter();
        due.map(|(interface, event)| Context::unknown(now, interface).record(event)).collect()
    }
}
