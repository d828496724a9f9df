//! The machine at each address. DHCP records what its messages reveal; TFTP and HTTP look up which machine sent a
//! request. The table is kept in memory only, because a machine that boots again reveals the same facts.
//!
//! Any message may be forged. This module enforces the table "Which packet may teach what" in docs/architecture.md:
//! each function that records something is one of its rows, and [`MachineTable::at`] is the check when an address is used.

mod binding;
mod machine;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::boot::identity::Identity;
use crate::boot::name::BootName;
use crate::boot::plan::{Mode, uses_offered_address};
use crate::dhcp::arrival::Arrival;
use crate::dhcp::machines::Machine;
use crate::dhcp::other_servers::{ClientChoice, ServerMessage};
use crate::dhcp::request::{Ask, Request};
use crate::event::{Event, Message as Kind, Record};
use crate::lease::{FOREVER, Lease, LeaseBook, LeaseChange, State, is_forever};
use crate::net::neighbours::{Neighbour, Neighbours};
use crate::net::snapshot::Now;
use crate::record::Recorder;
use crate::types::{MacAddr, Stage, Timestamp};
use crate::wire::dhcp::{Message, MessageType};
use crate::wire::option::code;

pub use binding::{Found, Standing};
pub use machine::{Identifier, KnownMachine};

use binding::{Candidate, Claims, Contest, Evidence, identify, put};

/// Maximum number of addresses from our lease book. If there are more leases, some machines are known only from the
/// neighbour table.
const MAX_LEASES: usize = 1 << 20;
/// Maximum number of addresses that other messages claimed. Any host can forge such messages, so claims have their own
/// table, and the oldest claim is evicted when it is full. An evicted claim can no longer contradict a forged message.
/// For [`CLAIM_LASTS`] after an eviction, claims therefore count only if the neighbour table confirms them.
const MAX_CLAIMS: usize = 65_536;
/// Lifetime of a claim: longer than a boot and most installations.
const CLAIM_LASTS: Duration = Duration::from_secs(3600);
/// Maximum number of host names of clients that were offered an address and have not asked for it yet.
const MAX_OFFERED_NAMES: usize = 4096;
/// How long the last holder of a released address still counts as its possible holder: a RELEASE can be forged.
const RELEASED_LASTS: Duration = Duration::from_secs(600);

/// The machines by address. Cheap to clone; clones share the tables.
#[derive(Clone, Debug, Default)]
pub struct MachineTable {
    tables: Arc<Mutex<Tables>>,
    pub(super) neighbours: Neighbours,
    recorder: Recorder,
}

#[derive(Debug)]
struct Tables {
    leases: HashMap<Ipv4Addr, Vec<Candidate>, foldhash::fast::RandomState>,
    claims: Table<Ipv4Addr, Vec<Candidate>>,
    /// The host name in the last DISCOVER of a client, and its transaction id.
    offered_names: Table<MacAddr, (u32, String)>,
    /// Time when a claim was last evicted before its end.
    lost: Option<Instant>,
}

impl Default for Tables {
    fn default() -> Tables {
        let offered_names = Table::new(MAX_OFFERED_NAMES);
        Tables { leases: HashMap::default(), claims: Table::new(MAX_CLAIMS), offered_names, lost: None }
    }
}

impl MachineTable {
    /// The recorder of the server.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// An empty table. Machines on our wires are compared with the kernel's neighbour table, and `recorder`
    /// records contradictions.
    pub fn new(now: Now, recorder: Recorder) -> MachineTable {
        MachineTable { tables: Arc::default(), neighbours: Neighbours::new(now), recorder }
    }

    /// Records the machine to which our answer to `request` gives an address. `change` is the answer's change of the
    /// lease book. For a system that renews its lease this costs one hash look-up.
    pub fn record_answer(
        &self,
        request: &Request<'_>,
        (reply, change): (&Message, Option<&LeaseChange>),
        book: &LeaseBook,
        now: Timestamp,
    ) {
        if request.ask == Ask::Inform {
            return self.record_inform(request, book, now);
        }
        // The client accepts the offer without a REQUEST.
        let gives = match reply.message_type() {
            Some(Ok(MessageType::Offer)) => uses_offered_address(&request.identity),
            Some(Ok(MessageType::Ack)) | None => true,
            Some(_) => false,
        };
        // The book's address is in `yiaddr`. A BOOTP client that states its own address in `ciaddr` gets none.
        let address = reply.yiaddr;
        if !gives || address.is_unspecified() {
            return self.record_offered_name(request.message);
        }
        let until = match change {
            Some(LeaseChange::Store(lease) | LeaseChange::Replace { lease, .. }) => lease.until,
            Some(LeaseChange::Hold { until, .. }) => *until,
            _ => book.binding(address).map_or(FOREVER, |binding| binding.until),
        };
        let boots = request.identity.stage != Stage::Other || request.machine.is_some();
        let mut facts = match boots {
            true => {
                let machine = KnownMachine::of(request.message, &request.identity, request.machine);
                Some(KnownMachine { server: Some(request.server), ..machine })
            }
            false => KnownMachine::with_host_name(request.message),
        };
        if matches!(request.ask, Ask::Select { .. })
            && facts.as_ref().is_none_or(|machine| machine.host_name.is_none())
            && let Some(named) = self.offered_name(request.message)
        {
            facts = Some(named.and(facts.unwrap_or_default()));
        }
        let facts = facts.map(Box::new);
        let heard = Instant::now();
        let ends = if is_forever(until) { None } else { heard.checked_add(until.since(now)) };
        let candidate = Candidate { mac: request.message.mac(), evidence: Evidence::Lease, ends, facts };
        self.tables().record_lease(address, candidate, heard);
    }

    /// Remembers the host name in a DISCOVER, because some clients state it there alone.
    fn record_offered_name(&self, discover: &Message) {
        let named = KnownMachine::with_host_name(discover);
        if let Some((mac, name)) = named.and_then(|machine| machine.mac.zip(machine.host_name)) {
            self.tables().offered_names.put(mac, (discover.xid, name));
        }
    }

    /// The host name in the DISCOVER of this REQUEST. Both have one transaction id (RFC 2131 section 4.4.1), which a
    /// host that forges a DISCOVER from elsewhere does not know.
    fn offered_name(&self, request: &Message) -> Option<KnownMachine> {
        let mac = request.mac()?;
        let (xid, name) = self.tables().offered_names.remove(mac)?;
        let machine = KnownMachine { mac: Some(mac), host_name: Some(name), ..KnownMachine::default() };
        (xid == request.xid).then_some(machine)
    }

    /// Records an INFORM as a hint. Any client may send it for any address. It counts only if it was sent from that
    /// address, and if the address is not leased to another machine.
    fn record_inform(&self, request: &Request<'_>, book: &LeaseBook, now: Timestamp) {
        let (message, address) = (request.message, request.message.ciaddr);
        let boots = request.identity.stage != Stage::Other || request.machine.is_some();
        let is_sent_from_it = *request.arrival.source.ip() == address && message.giaddr.is_unspecified();
        let is_anothers = book
            .binding(address)
            .is_some_and(|binding| binding.is_live(now) && binding.holder.mac != message.mac());
        if is_sent_from_it && !address.is_unspecified() && !is_anothers {
            let machine = match boots {
                true => Some(KnownMachine::of(message, &request.identity, request.machine)),
                false => KnownMachine::with_host_name(message),
            };
            machine.into_iter().for_each(|machine| self.claim(address, machine, Evidence::Hint));
        }
    }

    /// Records that `lease` was released. A RELEASE may be forged, so its machine stays a possible holder for a while.
    pub fn record_release(&self, lease: &Lease) {
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

    /// Records a client's message to the boot service on port 4011, which must come from the address that it states. It
    /// is only a hint where lanboot assigns the addresses, because the lease book knows better.
    pub fn record_boot_service_request(
        &self,
        message: &Message,
        (identity, entry): (&Identity, Option<&Machine>),
        arrival: &Arrival,
    ) {
        if !arrival.boot_service || *arrival.source.ip() != message.ciaddr {
            return;
        }
        let evidence = if arrival.mode == Mode::Server { Evidence::Hint } else { Evidence::Overheard };
        self.claim(message.ciaddr, KnownMachine::of(message, identity, entry), evidence);
    }

    /// Records a REQUEST that was overheard beside another DHCP server.
    pub fn record_client_choice(&self, message: &Message, taken: &ClientChoice<'_>) {
        let machine = KnownMachine::of(message, &taken.identity, taken.machine);
        let server = message.options.ip(code::SERVER_IDENTIFIER);
        self.claim(taken.address, KnownMachine { server, ..machine }, Evidence::Overheard);
    }

    /// Records another DHCP server's reply. An OFFER does not assign the address yet.
    pub fn record_server_message(&self, given: &ServerMessage) {
        if given.address.is_unspecified() || given.client.is_none() || given.message == Kind::Nak {
            return;
        }
        let evidence = if given.message == Kind::Offer { Evidence::Hint } else { Evidence::Overheard };
        let (mac, server) = (given.client, Some(given.server));
        self.claim(given.address, KnownMachine { mac, server, ..KnownMachine::default() }, evidence);
    }

    fn claim(&self, address: Ipv4Addr, machine: KnownMachine, evidence: Evidence) {
        let now = Instant::now();
        let ends = now.checked_add(CLAIM_LASTS);
        let claim = Candidate { mac: machine.mac, evidence, ends, facts: Some(Box::new(machine)) };
        self.tables().claim(address, claim, now);
    }

    /// The machine at `address` by the neighbour table of the last second; `None` if it is contested. Unlike
    /// [`MachineTable::at`], this may be out of date, and it records no contest.
    pub fn lately_at(&self, address: IpAddr) -> Option<Found> {
        let IpAddr::V4(address) = address.to_canonical() else { return Some(Found::default()) };
        self.identify(address, &self.neighbours.lately(address)).ok()
    }

    /// The machine at `address`. If the neighbour table of our own wire contradicts DHCP, the address is contested: any
    /// machine may be there.
    pub fn at(&self, address: IpAddr) -> Found {
        // Only DHCPv4 teaches machines, so none is known by an IPv6 address.
        let IpAddr::V4(address) = address.to_canonical() else { return Found::default() };
        // The kernel is asked before the tables are locked, so that the DHCP loop never waits for it.
        self.identify(address, &self.neighbours.at(address)).unwrap_or_else(|contest| {
            let Contest { by_dhcp, other, on_wire } = contest;
            let (machine, event) =
                (None, Event::AmbiguousAddress { address: address.into(), by_dhcp, other, on_wire });
            let record = Record { at: self.recorder.now(), interface: None, machine, event };
            self.recorder.record(record);
            Found { machine: KnownMachine::default(), standing: Standing::Contested }
        })
    }

    fn identify(&self, address: Ipv4Addr, neighbour: &Neighbour) -> Result<Found, Contest> {
        let tables = self.tables();
        let leases = tables.leases.get(&address).map_or(&[][..], Vec::as_slice);
        let candidates = tables.claims.get(address).map_or(&[][..], Vec::as_slice);
        let now = Instant::now();
        let are_complete = tables.lost.is_none_or(|lost| now.saturating_duration_since(lost) >= CLAIM_LASTS);
        identify(leases, Claims { candidates, are_complete }, neighbour, now)
    }

    /// Whether `address` belongs to this computer, so that no other machine sends from it.
    pub fn is_own(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.neighbours.is_own(address),
            IpAddr::V6(address) => address.is_loopback(),
        }
    }

    /// Locks the tables, even if a thread panicked while it held them: each change leaves them consistent.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn record_lease(&mut self, address: Ipv4Addr, candidate: Candidate, now: Instant) {
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
            // The claim adds facts about the machine, and does not extend the lease.
            let ends = known.ends;
            return known.update(Candidate { evidence: Evidence::Lease, ends, ..claim });
        }
        let mut candidates = self.claims.remove(address).unwrap_or_default();
        put(&mut candidates, claim, now);
        let forgotten = self.claims.put(address, candidates);
        if forgotten.into_iter().flatten().any(|claim| claim.is_live(now)) {
            self.lost = Some(now);
        }
    }
}

/// A map that keeps only the `limit` most recently inserted values.
#[derive(Debug)]
struct Table<K, T> {
    limit: usize,
    values: HashMap<K, (T, u64)>,
    /// The keys by the sequence number of their last [`Table::put`].
    order: BTreeMap<u64, K>,
    puts: u64,
}

impl<K: Copy + Eq + Hash, T> Table<K, T> {
    fn new(limit: usize) -> Table<K, T> {
        Table { limit, values: HashMap::new(), order: BTreeMap::new(), puts: 0 }
    }

    fn get(&self, key: K) -> Option<&T> {
        self.values.get(&key).map(|(value, _)| value)
    }

    /// Inserts a value, and returns the value that was evicted for it.
    fn put(&mut self, key: K, value: T) -> Option<T> {
        self.remove(key);
        let mut forgotten = None;
        if self.values.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            forgotten = self.values.remove(&oldest).map(|(value, _)| value);
        }
        self.puts += 1;
        self.order.insert(self.puts, key);
        self.values.insert(key, (value, self.puts));
        forgotten
    }

    fn remove(&mut self, key: K) -> Option<T> {
        let (value, number) = self.values.remove(&key)?;
        self.order.remove(&number);
        Some(value)
    }
}

/// The possible names of a machine's own folder.
pub fn own_names(machine: &KnownMachine) -> Vec<BootName> {
    let colons = machine.mac.map(|mac| mac.to_string());
    let hyphens = colons.as_ref().map(|mac| mac.replace(':', "-"));
    let names = [hyphens, colons, machine.serial.clone()];
    names.into_iter().flatten().filter_map(|name| BootName::parse(name.as_bytes()).ok()).collect()
}

#[cfg(test)]
mod tests;
