//! Machines that send one client identifier, because one system was copied to all of them: found when they ask, and
//! warned of once for each identifier.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::dhcp::request::{Ask, Request};
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::event::Event;
use crate::lease::{LeaseBook, State};
use crate::types::{ClientId, MacAddr, Timestamp};

/// Time from the first two machines with one identifier to the warning, which then names those that start at the same
/// moment too.
pub const COLLECT_TIME: Duration = Duration::from_secs(1);
/// Minimum time between two warnings about the same identifier: machines ask at each start.
pub const QUIET_TIME: Duration = Duration::from_secs(86_400);
/// Identifiers remembered at most. A client that makes up more gets no warning about them: the log must not fill up.
pub const MAX_IDS: usize = 64;
/// Machines named in a warning at most; more are counted up to [`MAX_COUNTED`].
pub const MAX_NAMED: usize = 8;
/// Machines remembered for an identifier at most.
pub const MAX_COUNTED: usize = 256;

/// The client identifiers that several machines were found to send.
#[derive(Clone, Debug, Default)]
pub struct Clones {
    found: HashMap<ClientId, Group>,
    /// When the next warning is due.
    next: Option<Timestamp>,
}

/// The machines that send one identifier.
#[derive(Clone, Debug)]
struct Group {
    /// The interface that they were found on.
    interface: Arc<str>,
    machines: Vec<MacAddr>,
    /// When the warning is due, or when it was given.
    at: Timestamp,
    warned: bool,
}

impl Clones {
    /// Looks whether the client that sent `request` has a lease or an offer of its own, and another machine with the same
    /// client identifier a lease. Messages that come once in a boot are looked at, but not renewals.
    pub fn look(
        &mut self,
        request: &Request<'_>,
        interface: &Arc<str>,
        book: &LeaseBook,
        settings: &Settings,
        now: Timestamp,
    ) {
        if !matches!(request.ask, Ask::Discover { .. } | Ask::Select { .. } | Ask::InitReboot { .. }) {
            return;
        }
        let Some((address, other)) = shared_network::namesake(request, book, settings) else { return };
        let has_own = || {
            shared_network::of_client(request, book, settings, now).is_some_and(|(_, own)| own.is_live(now))
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
        interface: &Arc<str>,
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
            let group = Group { interface: Arc::clone(interface), machines: Vec::new(), at, warned: false };
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

    /// When [`Clones::due`] has something to say.
    pub fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// The warnings that are due, each with the interface that it is about.
    pub fn due(&mut self, now: Timestamp) -> Vec<(Arc<str>, Event)> {
        let mut events = Vec::new();
        for (id, group) in self.found.iter_mut().filter(|(_, group)| !group.warned && group.at <= now) {
            (group.warned, group.at) = (true, now);
            let mut machines = group.machines.clone();
            let more = machines.len().saturating_sub(MAX_NAMED);
            machines.truncate(MAX_NAMED);
            events.push((Arc::clone(&group.interface), Event::Clones { id: id.clone(), machines, more }));
        }
        self.next = self.found.values().filter(|group| !group.warned).map(|group| group.at).min();
        events
    }
}
