//! Detects machines that send the same client identifier because one system was copied to all of them. The engine calls
//! it for each request, and its caller logs the warnings, one per identifier. Nothing here changes a lease.

use std::collections::HashMap;
use std::time::Duration;

use crate::dhcp::request::{Ask, Request};
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::event::Event;
use crate::lease::{LeaseBook, State};
use crate::types::{ClientId, InterfaceName, MacAddr, Timestamp};

/// Time from the first two machines with the same identifier to the warning. The warning then also names other machines
/// that start at the same moment.
pub const COLLECT_TIME: Duration = Duration::from_secs(1);
/// Minimum time between two warnings about the same identifier, because machines send it at each start.
pub const QUIET_TIME: Duration = Duration::from_secs(86_400);
/// Maximum number of identifiers remembered. A client that forges more of them causes no more warnings, so that it
/// cannot fill the log.
pub const MAX_IDS: usize = 64;
/// Maximum number of machines that a warning names; more are counted up to [`MAX_COUNTED`].
pub const MAX_NAMED: usize = 8;
/// Maximum number of machines remembered for each identifier.
pub const MAX_COUNTED: usize = 256;

/// The client identifiers that several machines send. The engine owns it.
#[derive(Clone, Debug, Default)]
pub struct DuplicateIds {
    found: HashMap<ClientId, Group>,
    /// Time at which the next warning is due.
    next: Option<Timestamp>,
}

/// The machines that send the same identifier.
#[derive(Clone, Debug)]
struct Group {
    /// The interface on which the first two were detected.
    interface: InterfaceName,
    machines: Vec<MacAddr>,
    /// Time at which the warning is due, or at which it was logged.
    at: Timestamp,
    warned: bool,
}

impl DuplicateIds {
    /// Records the client and the other machine if the other machine has a lease under the same client identifier, and
    /// the client has its own lease or offer. Only messages that a client sends once per boot are examined, so renewals
    /// are not.
    pub fn record_request(
        &mut self,
        request: &Request<'_>,
        interface: InterfaceName,
        book: &LeaseBook,
        settings: &Settings,
        now: Timestamp,
    ) {
        if !matches!(request.ask, Ask::Discover { .. } | Ask::Select { .. } | Ask::InitReboot { .. }) {
            return;
        }
        let Some((address, other)) = shared_network::other_holder_of_id(request, book, settings) else {
            return;
        };
        let has_own = || {
            shared_network::binding_of(request, book, settings, now).is_some_and(|(_, own)| own.is_live(now))
                || request.probed.is_some_and(|probed| probed.address == address && probed.in_use)
        };
        if other.state == State::Leased && other.until > now && has_own() {
            let machines = other.holder.mac.into_iter().chain(request.holder.mac);
            self.add(&request.holder.client, machines, interface, now);
        }
    }

    fn add(
        &mut self,
        id: &ClientId,
        machines: impl Iterator<Item = MacAddr>,
        interface: InterfaceName,
        now: Timestamp,
    ) {
        let is_over = |group: &Group| group.warned && now.since(group.at) >= QUIET_TIME;
        if self.found.get(id).is_some_and(is_over) {
            self.found.remove(id);
        }
        if !self.found.contains_key(id) {
            if self.found.len() >= MAX_IDS {
                self.found.retain(|_, group| !is_over(group));
            }
            if self.found.len() >= MAX_IDS {
                return;
            }
            let at = now.after(COLLECT_TIME);
            let group = Group { interface, machines: Vec::new(), at, warned: false };
            self.found.insert(id.clone(), group);
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
        let Some(group) = self.found.get_mut(id) else { return };
        for mac in machines {
            if !group.machines.contains(&mac) && group.machines.len() < MAX_COUNTED {
                group.machines.push(mac);
            }
        }
    }

    /// Time at which [`DuplicateIds::due`] returns the next warning.
    pub fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// Returns the warnings that are due, each with its interface.
    pub fn due(&mut self, now: Timestamp) -> Vec<(InterfaceName, Event)> {
        let mut events = Vec::new();
        for (id, group) in self.found.iter_mut().filter(|(_, group)| !group.warned && group.at <= now) {
            (group.warned, group.at) = (true, now);
            let mut machines = group.machines.clone();
            let more = machines.len().saturating_sub(MAX_NAMED);
            machines.truncate(MAX_NAMED);
            events.push((group.interface, Event::DuplicateClientId { id: id.clone(), machines, more }));
        }
        self.next = self.found.values().filter(|group| !group.warned).map(|group| group.at).min();
        events
    }
}
