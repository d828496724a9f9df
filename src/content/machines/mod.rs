//! Which machine is at an address, shared by everything that serves it: DHCP records what its messages teach, TFTP and
//! HTTP look up which machine asks them. Kept in memory only: a machine that boots states it again.
//!
//! Any message may be forged. The table in docs/architecture.md ("Which packet may teach what") is held here: each
//! function that learns is one of its rows, and [`Known::at`] is the check when the address is used.

mod binding;
mod machine;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::boot::identity::Identity;
use crate::boot::plan::{Mode, takes_the_offer};
use crate::dhcp::arrival::Arrival;
use crate::dhcp::other_servers::{Given, Taken};
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::settings::Machine;
use crate::event::{Event, Message as Kind};
use crate::lease::{FOREVER, Lease, LeaseBook, LeaseChange, State, is_forever};
use crate::net::neighbours::Neighbours;
use crate::net::served::Now;
use crate::record::Recorder;
use crate::types::{Stage, Timestamp};
use crate::wire::dhcp::{Message, MessageType};
use crate::wire::option::code;

pub use binding::{Found, Standing};
pub use machine::{Identifier, KnownMachine};

use binding::{Candidate, Contest, Word, identify, put};

/// Addresses remembered of those that our lease book gave, in all. There are never more than leases; a DHCP server of
/// more addresses than this knows some of its machines by the neighbour table alone.
const MAX_LEASES: usize = 1 << 20;
/// Addresses remembered of those that other messages named. Any host can make these up, so they have a table of their
/// own; beyond that, the one that was heard of longest ago is forgotten. What is forgotten cannot contradict a forged
/// message any more, so for [`CLAIM_LASTS`] after that no such message counts without the neighbour table.
const MAX_CLAIMS: usize = 65_536;
/// How long the word of a message that promised nothing is remembered: longer than a boot and most installations take.
const CLAIM_LASTS: Duration = Duration::from_secs(3600);
/// How long an address that was given back still counts as its last machine's too: a RELEASE can be forged.
const RELEASED_LASTS: Duration = Duration::from_secs(600);

/// The machines by address. Cheap to clone; clones share the tables.
#[derive(Clone, Debug, Default)]
pub struct Known {
    tables: Arc<Mutex<Tables>>,
    neighbours: Neighbours,
    recorder: Recorder,
}

#[derive(Debug)]
struct Tables {
    leases: HashMap<Ipv4Addr, Vec<Candidate>, foldhash::fast::RandomState>,
    claims: Table<Vec<Candidate>>,
    /// When a claim was last forgotten before its time.
    lost: Option<Instant>,
}

impl Default for Tables {
    fn default() -> Tables {
        Tables { leases: HashMap::default(), claims: Table::new(MAX_CLAIMS), lost: None }
    }
}

impl Known {
    /// No machine is known yet; those on the wires of `served` are compared with the neighbour table. Where the two differ,
    /// `recorder` records it.
    pub fn new(served: Now, recorder: Recorder) -> Known {
        Known { tables: Arc::default(), neighbours: Neighbours::new(served), recorder }
    }

    /// Learns from the answer to `request` which machine the lease book gives an address. `change` is what the answer
    /// changes in the book. Costs a look-up for a system that renews its lease.
    pub fn answered(
        &self,
        request: &Request<'_>,
        (reply, change): (&Message, Option<&LeaseChange>),
        book: &LeaseBook,
        now: Timestamp,
    ) {
        if request.ask == Ask::Inform {
            return self.informed(request, book, now);
        }
        // It takes what it is offered, and asks for nothing more.
        let gives = match reply.message_type() {
            Some(Ok(MessageType::Offer)) => takes_the_offer(&request.identity),
            Some(Ok(MessageType::Ack)) | None => true,
            Some(_) => false,
        };
        // What the book gives is in `yiaddr`. A BOOTP client that says its own address in `ciaddr` gets none.
        let address = reply.yiaddr;
        if !gives || address.is_unspecified() {
            return;
        }
        let until = match change {
            Some(LeaseChange::Store(lease) | LeaseChange::Replace { lease, .. }) => lease.until,
            Some(LeaseChange::Hold { until, .. }) => *until,
            _ => book.binding(address).map_or(FOREVER, |binding| binding.until),
        };
        let boots = request.identity.stage != Stage::Other || request.machine.is_some();
        let facts = boots.then(|| {
            let machine = KnownMachine::of(request.message, &request.identity, request.machine);
            Box::new(KnownMachine { server: Some(request.server), ..machine })
        });
        let heard = Instant::now();
        let ends = if is_forever(until) { None } else { heard.checked_add(until.since(now)) };
        let candidate = Candidate { mac: request.message.mac(), word: Word::Lease, ends, facts };
        self.tables().give(address, candidate, heard);
    }

    /// Learns from an INFORM, which any client may send for any address: only if it was sent from that address, and the
    /// book leases it to no other machine. It is a hint even then.
    fn informed(&self, request: &Request<'_>, book: &LeaseBook, now: Timestamp) {
        let (message, address) = (request.message, request.message.ciaddr);
        let boots = request.identity.stage != Stage::Other || request.machine.is_some();
        let is_sent_from_it = *request.arrival.source.ip() == address && message.giaddr.is_unspecified();
        let is_anothers = book
            .binding(address)
            .is_some_and(|binding| binding.is_live(now) && binding.holder.mac != message.mac());
        if boots && is_sent_from_it && !address.is_unspecified() && !is_anothers {
            let machine = KnownMachine::of(message, &request.identity, request.machine);
            self.claim(address, machine, Word::Hint);
        }
    }

    /// Learns that `lease` was given back, if it was. A RELEASE may be forged, so its machine may be there for a while longer.
    pub fn released(&self, lease: &Lease) {
        if lease.state != State::Released {
            return;
        }
        let latest = Instant::now().checked_add(RELEASED_LASTS);
        let mut tables = self.tables();
        let candidates = tables.leases.get_mut(&lease.address).into_iter().flatten();
        for known in candidates.filter(|known| known.mac == lease.holder.mac) {
            known.ends = match known.ends {
                Some(ends) => latest.map(|latest| ends.min(latest)),
                None => latest,
            };
        }
    }

    /// Learns from a client's message to the boot service on port 4011, which must come from the address that it names.
    /// Where lanboot gives the addresses, the lease book knows better.
    pub fn asked_boot_service(
        &self,
        message: &Message,
        (identity, entry): (&Identity, Option<&Machine>),
        arrival: &Arrival,
    ) {
        if !arrival.boot_service || *arrival.source.ip() != message.ciaddr {
            return;
        }
        let word = if arrival.mode == Mode::Server { Word::Hint } else { Word::Heard };
        self.claim(message.ciaddr, KnownMachine::of(message, identity, entry), word);
    }

    /// Learns from a REQUEST that was heard beside another DHCP server.
    pub fn heard_taken(&self, message: &Message, taken: &Taken<'_>) {
        let machine = KnownMachine::of(message, &taken.identity, taken.machine);
        let server = message.options.ip(code::SERVER_IDENTIFIER);
        self.claim(taken.address, KnownMachine { server, ..machine }, Word::Heard);
    }

    /// Learns from another DHCP server's reply. An offer gives nothing yet.
    pub fn heard_given(&self, given: &Given) {
        if given.address.is_unspecified() || given.client.is_none() || given.message == Kind::Nak {
            return;
        }
        let word = if given.message == Kind::Offer { Word::Hint } else { Word::Heard };
        let (mac, server) = (given.client, Some(given.server));
        self.claim(given.address, KnownMachine { mac, server, ..KnownMachine::default() }, word);
    }

    fn claim(&self, address: Ipv4Addr, machine: KnownMachine, word: Word) {
        let now = Instant::now();
        let ends = now.checked_add(CLAIM_LASTS);
        let claim = Candidate { mac: machine.mac, word, ends, facts: Some(Box::new(machine)) };
        self.tables().claim(address, claim, now);
    }

    /// The machine at `address`. On our own wires the neighbour table must not contradict what DHCP said: if it does, any
    /// machine may be there.
    pub fn at(&self, address: Ipv4Addr) -> Found {
        // Not while the tables are locked: the DHCP loop must not wait for the kernel.
        let neighbour = self.neighbours.at(address);
        let found = {
            let tables = self.tables();
            let leases = tables.leases.get(&address).map_or(&[][..], Vec::as_slice);
            let claims = tables.claims.get(address).map_or(&[][..], Vec::as_slice);
            let now = Instant::now();
            let all = tables.lost.is_none_or(|lost| now.saturating_duration_since(lost) >= CLAIM_LASTS);
            identify(leases, (claims, all), &neighbour, now)
        };
        found.unwrap_or_else(|contest| {
            let Contest { by_dhcp, other, on_wire } = contest;
            self.recorder.record("identity", &Event::Contested { address, by_dhcp, other, on_wire });
            Found { machine: KnownMachine::default(), standing: Standing::Contested }
        })
    }

    /// Whether `address` is one of this computer's own, from which nothing can come over a wire.
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        self.neighbours.is_own(address)
    }

    /// The tables, even if a thread that held them failed: each change leaves them whole.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn give(&mut self, address: Ipv4Addr, candidate: Candidate, now: Instant) {
        if let Some(candidates) = self.leases.get_mut(&address) {
            put(candidates, candidate, now);
        } else if self.leases.len() < MAX_LEASES {
            self.leases.insert(address, vec![candidate]);
        }
    }

    fn claim(&mut self, address: Ipv4Addr, claim: Candidate, now: Instant) {
        let is_leased = |known: &&mut Candidate| known.mac.is_some() && known.mac == claim.mac;
        let leased = self.leases.get_mut(&address).and_then(|known| known.iter_mut().find(is_leased));
        if let Some(known) = leased.filter(|known| known.is_live(now)) {
            // It adds what the machine says of itself, and makes no lease longer.
            let ends = known.ends;
            return known.update(Candidate { word: Word::Lease, ends, ..claim });
        }
        let mut candidates = self.claims.remove(address).unwrap_or_default();
        put(&mut candidates, claim, now);
        let forgotten = self.claims.put(address, candidates);
        if forgotten.into_iter().flatten().any(|claim| claim.is_live(now)) {
            self.lost = Some(now);
        }
    }
}

/// Values by address, as many as the limit says: of those that were put in, the last.
#[derive(Debug)]
struct Table<T> {
    limit: usize,
    values: HashMap<Ipv4Addr, (T, u64)>,
    /// The addresses by the number of their last [`Table::put`].
    order: BTreeMap<u64, Ipv4Addr>,
    puts: u64,
}

impl<T> Table<T> {
    fn new(limit: usize) -> Table<T> {
        Table { limit, values: HashMap::new(), order: BTreeMap::new(), puts: 0 }
    }

    fn get(&self, address: Ipv4Addr) -> Option<&T> {
        self.values.get(&address).map(|(value, _)| value)
    }

    /// Returns what had to be forgotten for it.
    fn put(&mut self, address: Ipv4Addr, value: T) -> Option<T> {
        self.remove(address);
        let mut forgotten = None;
        if self.values.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            forgotten = self.values.remove(&oldest).map(|(value, _)| value);
        }
        self.puts += 1;
        self.order.insert(self.puts, address);
        self.values.insert(address, (value, self.puts));
        forgotten
    }

    fn remove(&mut self, address: Ipv4Addr) -> Option<T> {
        let (value, number) = self.values.remove(&address)?;
        self.order.remove(&number);
        Some(value)
    }
}

#[cfg(test)]
mod tests;
