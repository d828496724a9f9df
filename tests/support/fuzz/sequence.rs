//! Conversations of several clients with a server over time, with restarts and a disk that works, fails or is late. At
//! no time may two clients have one address according to the replies that they received.
//!
//! The model knows only the packets and the commits. It does not read the server's book.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lanboot::boot::plan::Mode;
use lanboot::config;
use lanboot::dhcp::arrival::Arrival;
use lanboot::dhcp::classify::classify;
use lanboot::dhcp::engine::{
    self, AddressInUse, DeclineProbe, Effect, Effects, Engine, Outcome, OutgoingReply, Outside,
};
use lanboot::dhcp::settings::Settings;
use lanboot::lease::{FOREVER, Holder, Lease, LeaseBook, OFFER_HOLD, State};
use lanboot::types::Timestamp;
use lanboot::wire::dhcp::{Message, MessageType};

use super::bytes::Bytes;
use super::decide::{NoFiles, mac};
use super::reply;

const CONFIG: &str = "
dhcp:
  mode: server
  bootp: dynamic
  conflict_check: off
  subnets:
    - network: 192.168.77.0/24
      pool: 192.168.77.50-192.168.77.53
      lease: {default: 1h, min: 2m, max: 12h}
      boot_lease: 2m
      shared_network: lab
    - {network: 192.168.78.0/24, pool: 192.168.78.50, lease: 10m, shared_network: lab}
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.52, lease: 20m}
machines:
  - {name: node1, mac: '02:00:00:00:00:01', address: 192.168.77.10}
";
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// Number of clients. The first one has a reserved address.
const CLIENTS: u8 = 6;
/// Longer runs find nothing new.
const MOST_STEPS: usize = 400;

/// No boot file is known, and no machine is looked up.
const OUTSIDE: Outside<'_> = Outside { files: &NoFiles, machines: &() };

fn settings() -> &'static [Arc<Settings>; 2] {
    static SETTINGS: OnceLock<[Arc<Settings>; 2]> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let config = config::load(CONFIG).unwrap_or_else(|problems| panic!("{problems:?}"));
        let plain = config.dhcp.expect("a DHCP server");
        let checking = Settings { conflict_check: Some(Duration::from_millis(500)), ..(*plain).clone() };
        [plain, Arc::new(checking)]
    })
}

/// The address that a client may use according to its last reply.
#[derive(Clone, Debug)]
struct Claim {
    client: u8,
    until: Timestamp,
}

/// A lease that is not committed yet, with the replies that wait for the commit.
#[derive(Clone, Debug)]
struct Promise {
    client: u8,
    lease: Lease,
    /// The client's other leases, which end with this commit.
    ended: Vec<Lease>,
    /// The ACK, described by the end of its lease and the time of the request.
    ack: Option<Timestamp>,
    /// The ACK that is sent if the commit fails.
    otherwise: Option<Timestamp>,
    /// Whether the client gave the address back after its request, so that it ignores an ACK now.
    given_up: bool,
}

struct World {
    settings: &'static Arc<Settings>,
    engine: Engine,
    now: Timestamp,
    waiting: VecDeque<Promise>,
    /// Committed or failed, and answered. The book does not have the result yet.
    outcomes: VecDeque<(Lease, bool)>,
    disk: BTreeMap<Ipv4Addr, Lease>,
    /// Whether any commit has failed so far.
    has_failed: bool,
    claims: BTreeMap<Ipv4Addr, Claim>,
    offers: BTreeMap<Ipv4Addr, Claim>,
    /// The last address that each client received.
    last: [Ipv4Addr; CLIENTS as usize],
}

pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let settings = &settings()[usize::from(bytes.u8() & 1)];
    let mut world = World {
        settings,
        engine: Engine::new(Arc::clone(settings), LeaseBook::new(settings.pools())),
        now: Timestamp::from_seconds(1_000_000),
        waiting: VecDeque::new(),
        outcomes: VecDeque::new(),
        disk: BTreeMap::new(),
        has_failed: false,
        claims: BTreeMap::new(),
        offers: BTreeMap::new(),
        last: [Ipv4Addr::UNSPECIFIED; CLIENTS as usize],
    };
    for _ in 0..MOST_STEPS {
        if bytes.is_empty() {
            break;
        }
        world.step(&mut bytes);
    }
    world.restart();
}

impl Promise {
    /// A lease to store without a reply.
    fn without_reply(client: u8, lease: Lease) -> Promise {
        Promise { client, lease, ended: vec![], ack: None, otherwise: None, given_up: true }
    }
}

impl World {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.u8();
        match what % 16 {
            0 => {
                let seconds = [1, 15, 31, 61, 121, 600, 1800, 3601, 7200][usize::from(what / 16) % 9];
                self.now = self.now.after(Duration::from_secs(seconds));
            }
            1 => self.commit(1 + usize::from(what / 16), true),
            2 => self.commit(1 + usize::from(what / 16), false),
            3 => self.hear(1 + usize::from(what / 16)),
            4 if what / 16 == 0 => self.restart(),
            4 => {
                self.commit(usize::MAX, true);
                self.hear(usize::MAX);
            }
            _ => self.message(bytes, (what / 16) & 1 == 0),
        }
    }

    /// A message from a client. If `at_once`, the disk and the book process it before the next step.
    fn message(&mut self, bytes: &mut Bytes<'_>, at_once: bool) {
        let (client, how) = (bytes.u8(), bytes.u8());
        let (client, variant) = (client % CLIENTS, client / CLIENTS);
        let pool = [50, 51, 52, 53].map(|n| Ipv4Addr::new(192, 168, 77, n));
        let address = match how >> 4 {
            0..=7 => self.last[usize::from(client)],
            n @ 8..=11 => pool[usize::from(n) - 8],
            12 => Ipv4Addr::new(192, 168, 78, 50),
            13 => Ipv4Addr::new(192, 168, 77, 10),
            14 => Ipv4Addr::new(10, 1, 0, 51),
            _ => Ipv4Addr::new(172, 16, 0, 9),
        };
        let mut message = Message::new(1);
        message.chaddr[..6].copy_from_slice(&mac(client + 1).0);
        let mut arrival = Arrival {
            interface: "eth1".into(),
            addresses: [SERVER].into(),
            networks: [].into(),
            destination: Ipv4Addr::BROADCAST,
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
            mtu: 1500,
            loopback: false,
            mode: Mode::Server,
            boot_service: false,
            waited: Duration::ZERO,
        };
        let mut put = |code: u8, value: &[u8]| assert!(message.options.push(code, value));
        let (ip, server) = (address.octets(), SERVER.octets());
        let kind = match how & 15 {
            0..=2 => Some(MessageType::Discover),
            3..=8 => Some(MessageType::Request),
            9 | 10 => Some(MessageType::Release),
            11 | 12 => Some(MessageType::Decline),
            13 => Some(MessageType::Inform),
            _ => None,
        };
        kind.iter().for_each(|kind| put(53, &[kind.number()]));
        match how & 15 {
            1 | 6 | 12 => put(50, &ip),
            2 => put(51, &[0, 0, 0, 200]),
            3..=5 | 11 => {
                put(50, &ip);
                put(54, if how & 15 == 5 { &[192, 168, 77, 2] } else { &server });
            }
            7..=10 | 13 => {
                message.ciaddr = address;
                arrival.source = SocketAddrV4::new(address, 68);
            }
            _ => {}
        }
        match variant & 7 {
            1 if kind.is_some() => {
                assert!(message.options.push(60, b"PXEClient:Arch:00007"));
                assert!(message.options.push(93, &[0, 7]));
            }
            2 => assert!(message.options.push(61, &[0xff, 1, 2, client])),
            3 => assert!(message.options.push(77, b"iPXE")),
            4 => message.giaddr = RELAY,
            // Copies of one system. Without address checks the server cannot tell them apart.
            5 if self.settings.conflict_check.is_some() => {
                assert!(message.options.push(61, &[0xff, 0xc1, 0x0e]));
            }
            _ => {}
        }
        self.gives_up(client, address, &message, kind);
        self.send(client, &message, &arrival, how & 64 != 0);
        if at_once {
            self.commit(usize::MAX, true);
            self.hear(usize::MAX);
        }
    }

    /// A client that sends RELEASE or DECLINE no longer uses the address. A client that takes another server's offer
    /// does not use ours.
    fn gives_up(&mut self, client: u8, address: Ipv4Addr, message: &Message, kind: Option<MessageType>) {
        let others_offer = kind == Some(MessageType::Request)
            && message.options.ip(54).is_some_and(|server| server != SERVER);
        if others_offer {
            self.offers.retain(|_, offer| offer.client != client);
        }
        if matches!(kind, Some(MessageType::Release | MessageType::Decline)) {
            let of_client = |claim: &Claim| claim.client == client;
            if self.claims.get(&address).is_some_and(of_client) {
                self.claims.remove(&address);
            }
            if self.offers.get(&address).is_some_and(of_client) {
                self.offers.remove(&address);
            }
            let same = |p: &&mut Promise| p.client == client && p.lease.address == address;
            self.waiting.iter_mut().filter(same).for_each(|promise| promise.given_up = true);
        }
    }

    /// The shell's part, as in server/dhcp/effects.rs.
    fn send(&mut self, client: u8, message: &Message, arrival: &Arrival, in_use: bool) {
        let (bytes, now, mut effects) = (message.encode(), self.now, Effects::new());
        let from = (&bytes[..], arrival);
        let (mut checks, mut asked) = (0, false);
        self.engine.book.expire(now);
        self.engine.handle(&bytes, arrival, OUTSIDE, now, &mut effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Record(_) => {}
                Effect::CheckDecline { address, .. } => {
                    let other = AddressInUse { address, by: Some(mac(99)), from: None };
                    let probe = DeclineProbe { other: in_use.then_some(other), ..DeclineProbe::default() };
                    self.engine.declined(probe, from, OUTSIDE, now, &mut effects);
                }
                Effect::CheckAddress { address, hold, .. } => {
                    checks += 1;
                    // The holder's answer counts for one decision only, so the engine may ask again.
                    asked = false;
                    assert!(checks < 20, "one message had {checks} addresses checked");
                    self.assert_available(client, address);
                    self.engine.hold(&hold);
                    assert_eq!(self.engine.book.binding(address).map(|b| b.state), Some(State::Checking));
                    let heard = in_use.then_some(AddressInUse { address, by: None, from: None });
                    self.engine.checked((address, heard), from, OUTSIDE, now, &mut effects);
                }
                Effect::AskHolder { address, .. } => {
                    assert!(!asked, "{address} is asked for twice");
                    asked = true;
                    if !in_use {
                        // The other machine is gone, because its network card was replaced.
                        self.claims.remove(&address);
                        self.offers.remove(&address);
                    }
                    let heard = in_use.then_some(AddressInUse { address, by: None, from: None });
                    self.engine.checked((address, heard), from, OUTSIDE, now, &mut effects);
                }
                Effect::Store(promise) => self.promise(client, message, arrival, promise),
                Effect::Send { reply: OutgoingReply { message: reply, .. }, .. } => {
                    reply::check(message, arrival, &reply);
                    let request = classify(message, arrival, self.settings).expect("it was answered");
                    let taken_over = |b: &lanboot::lease::Binding| {
                        b.state == State::Leased && b.until > now && b.holder.shares_id(&request.holder)
                    };
                    if self.engine.book.binding(reply.yiaddr).is_some_and(taken_over) {
                        // The address stays the other machine's until the client takes it.
                        self.last[usize::from(client)] = reply.yiaddr;
                        self.assert_available(client, reply.yiaddr);
                    } else {
                        self.told_at_once(client, &reply);
                    }
                }
                Effect::AwaitDecline { .. } | Effect::EndDecline { .. } => {
                    unreachable!("a DECLINE is decided on at once")
                }
            }
        }
    }

    /// Queues the lease for the disk. Its replies wait for the commit.
    fn promise(&mut self, client: u8, message: &Message, arrival: &Arrival, promise: engine::Promise) {
        let engine::Promise { lease, ended, reply, fallback: otherwise, .. } = promise;
        let Some(ack) = reply else {
            assert!(ended.is_empty() && otherwise.is_none(), "a promise without a reply");
            return self.waiting.push_back(Promise::without_reply(client, lease));
        };
        let until = |reply: &OutgoingReply| {
            reply::check(message, arrival, &reply.message);
            assert_eq!(reply.message.yiaddr, lease.address);
            match reply.message.options.u32(51) {
                Some(seconds) => self.now.after(Duration::from_secs(seconds.into())),
                None => FOREVER,
            }
        };
        let (ack, otherwise) = (Some(until(&ack)), otherwise.map(|otherwise| until(&otherwise.reply)));
        self.waiting.push_back(Promise { client, lease, ended, ack, otherwise, given_up: false });
    }

    fn told_at_once(&mut self, client: u8, reply: &Message) {
        let address = reply.yiaddr;
        if address.is_unspecified() {
            return;
        }
        self.assert_available(client, address);
        self.last[usize::from(client)] = address;
        match reply.message_type() {
            Some(Ok(MessageType::Offer)) => {
                let until = self.now.after(OFFER_HOLD);
                self.offers.insert(address, Claim { client, until });
            }
            // BOOTP: a reserved address, or a lease that is already stored forever.
            None => {
                let reserved = address == Ipv4Addr::new(192, 168, 77, 10) && client == 0;
                assert!(reserved || self.disk.get(&address).is_some_and(|lease| lease.until == FOREVER));
                let until = if reserved { self.now } else { FOREVER };
                self.claims.insert(address, Claim { client, until });
            }
            // The lease in the store lasts long enough already.
            Some(Ok(MessageType::Ack)) => {
                let time = reply.options.u32(51).map(|seconds| Duration::from_secs(seconds.into()));
                let until = time.map_or(FOREVER, |time| self.now.after(time));
                self.offers.remove(&address);
                self.claims.insert(address, Claim { client, until });
                self.promised_leases_are_stored();
            }
            other => panic!("{other:?} with an address and without a commit"),
        }
    }

    /// Asserts that no other client received this address. An offer may give way, because the pools here are small.
    fn assert_available(&self, client: u8, address: Ipv4Addr) {
        if let Some(claim) = self.claims.get(&address).filter(|claim| claim.until > self.now) {
            assert_eq!(claim.client, client, "{address} for client {client}, but another has it: {claim:?}");
        }
    }

    /// Commits the next `count` leases.
    fn commit(&mut self, count: usize, works: bool) {
        let batch: Vec<Promise> = self.waiting.drain(..count.min(self.waiting.len())).collect();
        for promise in batch.iter().filter(|_| works) {
            for lease in promise.ended.iter().chain([&promise.lease]) {
                self.disk.insert(lease.address, lease.clone());
            }
        }
        self.has_failed |= !works && !batch.is_empty();
        self.each_client_has_one_lease();
        for promise in batch {
            for lease in promise.ended {
                // The client asked for another address.
                let own = |claim: &Claim| claim.client == promise.client;
                for known in [&mut self.claims, &mut self.offers].into_iter().filter(|_| works) {
                    if known.get(&lease.address).is_some_and(own) {
                        known.remove(&lease.address);
                    }
                }
                self.outcomes.push_back((lease, works));
            }
            let address = promise.lease.address;
            let until = if works { promise.ack } else { promise.otherwise };
            if let Some(until) = until.filter(|_| !promise.given_up) {
                self.last[usize::from(promise.client)] = address;
                // An ACK after the end of the lease gives no lease, because the client counts from its request.
                if until > self.now {
                    self.assert_available(promise.client, address);
                    self.offers.remove(&address);
                }
                if until > self.now || self.claims.get(&address).is_some_and(|c| c.client == promise.client) {
                    self.claims.insert(address, Claim { client: promise.client, until });
                }
            }
            self.outcomes.push_back((promise.lease, works));
        }
        self.promised_leases_are_stored();
    }

    /// Asserts that no two live leases on the disk belong to one client on one wire. There may be two only if a RELEASE
    /// or DECLINE could not be stored, and the client got another address before that was known.
    fn each_client_has_one_lease(&self) {
        if !self.has_failed {
            let is_live = |lease: &&Lease| lease.state == State::Leased && lease.until > self.now;
            one_each(self.disk.values().filter(is_live).map(|lease| (lease.address, &lease.holder)));
        }
    }

    /// The same for the leases in the book.
    fn each_client_has_one_lease_in_the_book(&self) {
        let bound =
            self.disk.keys().filter_map(|address| Some((*address, self.engine.book.binding(*address)?)));
        let live = bound.filter(|(_, binding)| binding.state == State::Leased && binding.until > self.now);
        one_each(live.map(|(address, binding)| (address, &binding.holder)));
    }

    /// Asserts that every live lease that a client received is on the disk for at least as long.
    fn promised_leases_are_stored(&self) {
        for (address, claim) in self.claims.iter().filter(|(_, claim)| claim.until > self.now) {
            let stored = self.disk.get(address).expect("what was promised is stored");
            let owner = stored.holder.mac == Some(mac(claim.client + 1));
            assert!(
                owner && stored.state == State::Leased && stored.until >= claim.until,
                "{claim:?}, but {stored:?}"
            );
        }
    }

    /// Reports the results of the next `count` commits to the book.
    fn hear(&mut self, count: usize) {
        for (lease, stored) in self.outcomes.drain(..count.min(self.outcomes.len())) {
            self.engine.stored(&Outcome { leases: vec![lease], stored }, self.now);
        }
    }

    /// kill -9: uncommitted leases are lost, and acknowledged leases are not.
    fn restart(&mut self) {
        self.waiting.clear();
        self.outcomes.clear();
        self.offers.clear();
        let mut book = LeaseBook::new(self.settings.pools());
        for lease in self.disk.values() {
            assert!(book.load(lease.clone()));
        }
        self.engine = Engine::new(Arc::clone(self.settings), book);
        self.promised_leases_are_stored();
        self.each_client_has_one_lease_in_the_book();
    }
}

/// Asserts that no two of these holders are one client on one wire.
fn one_each<'h>(live: impl Iterator<Item = (Ipv4Addr, &'h Holder)>) {
    let live: Vec<_> = live.collect();
    for (i, (address, holder)) in live.iter().enumerate() {
        let same = |(other, of): &&(Ipv4Addr, &Holder)| {
            of.is_same_machine(holder) && other.octets()[0] == address.octets()[0]
        };
        let other = live[i + 1..].iter().find(same);
        assert!(other.is_none(), "{address} {holder:?} and {other:?} are one client's");
    }
}
