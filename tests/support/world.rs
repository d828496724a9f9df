//! The DHCP engine in memory and in virtual time, with the shell's part, but without sockets, disk or clock.

use std::collections::BTreeMap;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use lanboot::boot::policy::{Choice, Content};
use lanboot::config;
use lanboot::dhcp::arrival::Arrival;
use lanboot::dhcp::clones::DuplicateIds;
use lanboot::dhcp::engine::{
    AddressInUse, DeclineProbe, Effect, Effects, Engine, FileFacts, MissingFile, Outcome, OutgoingReply,
    Outside, Promise,
};
use lanboot::dhcp::other_servers;
use lanboot::dhcp::route::Route;
use lanboot::dhcp::settings::Settings;
use lanboot::event::{DropReason, Event, Record};
use lanboot::lease::{Lease, LeaseBook, State};
use lanboot::store::open;
use lanboot::types::{MacAddr, MachineId, Timestamp};
use lanboot::wire::dhcp::{BOOTREQUEST, Message, MessageType};
use lanboot::wire::option::code;

/// The server's address on the only interface.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// A server with one interface, and the current time.
pub struct World {
    pub settings: Settings,
    pub book: LeaseBook,
    pub now: Timestamp,
    /// Whether commits succeed.
    pub disk_works: bool,
    /// The way in which the next message arrives.
    pub arrival: Arrival,
    /// Sizes of boot files, as the shell would look them up.
    pub sizes: Vec<(&'static str, u64)>,
    /// Contents of boot files, as the shell would look them up. Other files are unknown.
    pub contents: Vec<(&'static str, Content)>,
    /// Addresses that a host uses without a lease.
    pub used: Vec<Ipv4Addr>,
    /// Addresses where a machine with this hardware address answers.
    pub alive: Vec<(Ipv4Addr, MacAddr)>,
    /// Addresses that were checked, in order.
    pub checked: Vec<Ipv4Addr>,
    /// Addresses where the client that declines them still answers.
    pub kept: Vec<Ipv4Addr>,
    /// Whether the server saw that a DECLINE came from its client's hardware address.
    pub from_client: Option<bool>,
    /// Leased addresses that the server probed for their machine, in order.
    pub asked: Vec<Ipv4Addr>,
    /// Leased addresses where the machine answers.
    pub answering: Vec<Ipv4Addr>,
    /// The leases on stable storage.
    pub disk: BTreeMap<Ipv4Addr, Lease>,
    pub clones: DuplicateIds,
    /// The recorded events, except those about messages that were received or dropped.
    pub events: Vec<Event>,
    /// Every record, for journeys.
    pub records: Vec<Record>,
    /// The machine of each of `events`.
    pub machines: Vec<Option<MachineId>>,
    /// Has `settings`, `book` and `clones` while it handles a message. Between messages the tests read and change them.
    engine: Engine,
}

/// Facts about boot files, as the shell would look them up.
struct Facts<'a> {
    sizes: &'a [(&'static str, u64)],
    contents: &'a [(&'static str, Content)],
}

impl FileFacts for Facts<'_> {
    fn content_of(&self, choice: &Choice, _: &Message, _: Ipv4Addr) -> Content {
        let known = self.contents.iter().find(|(name, _)| *name == &*choice.file);
        known.map_or(Content::Unknown, |(_, content)| *content)
    }

    fn size(&self, choice: &Choice, _: &Message) -> Option<u64> {
        self.sizes.iter().find(|(name, _)| *name == &*choice.file).map(|(_, size)| *size)
    }

    fn missing(&self, _: &Choice, _: &Message, _: Ipv4Addr) -> Option<MissingFile> {
        None
    }
}

/// The reply of the server.
#[derive(Debug)]
pub struct Answer {
    pub message: Message,
    pub bytes: Vec<u8>,
    pub route: Route,
    pub wait: Duration,
}

impl Answer {
    fn new(OutgoingReply { message, route, .. }: OutgoingReply, wait: Duration) -> Answer {
        let bytes = message.encode();
        // As the client reads it: options may be split, or in `file` and `sname`.
        let message = Message::decode(&bytes).expect("a reply can be decoded");
        Answer { bytes, message, route, wait }
    }

    pub fn kind(&self) -> Option<MessageType> {
        self.message.message_type().and_then(Result::ok)
    }

    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.message.options.get(code)
    }
}

impl World {
    /// A server with the `dhcp`, `boot` and `machines` sections given, on 192.168.77.1/24, an hour after 1970.
    pub fn new(yaml: &str) -> World {
        let config = config::load(yaml).unwrap_or_else(|problems| panic!("{problems:?}"));
        let settings = Arc::unwrap_or_clone(config.dhcp.expect("the configuration has a DHCP server"));
        let config_mode = settings.modes.default.expect("the interface is served");
        World {
            book: LeaseBook::new(settings.pools()),
            engine: Engine::new(Arc::new(settings.clone()), LeaseBook::new(vec![])),
            settings,
            now: Timestamp::from_seconds(3600),
            disk_works: true,
            arrival: Arrival {
                interface: "eth1".into(),
                addresses: [SERVER].into(),
                networks: ["192.168.77.0/24".parse().unwrap()].into(),
                destination: Ipv4Addr::BROADCAST,
                source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
                mtu: 1500,
                loopback: false,
                mode: config_mode,
                boot_service: false,
                waited: Duration::ZERO,
            },
            sizes: vec![],
            contents: vec![("undionly.kpxe", Content::IpxeBuild), ("snponly.efi", Content::IpxeBuild)],
            used: vec![],
            alive: vec![],
            checked: vec![],
            kept: vec![],
            from_client: None,
            asked: vec![],
            answering: vec![],
            disk: BTreeMap::new(),
            clones: DuplicateIds::default(),
            events: vec![],
            records: vec![],
            machines: vec![],
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    /// Sends bytes. Returns the answer, the reason for no answer, or `Ok(None)` for a message that needs none.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<Option<Answer>, DropReason> {
        let (mut effects, mut answer, mut asked) = (Effects::new(), Ok(None), None);
        self.swap_in_and_out();
        // Each message is a separate batch.
        self.engine.book.expire(self.now);
        self.step(&mut effects, |engine, arrival, outside, now, effects| {
            engine.handle(bytes, arrival, outside, now, effects);
        });
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Record(record) => {
                    self.records.push(record.clone());
                    match record.event {
                        Event::Dropped { reason, .. } => answer = Err(reason),
                        Event::Received { .. } | Event::PoolExhausted { .. } => {}
                        _ => self.note(record),
                    }
                }
                Effect::Send { reply, wait, record } => {
                    self.records.push(record.clone());
                    self.note(record);
                    answer = Ok(Some(Answer::new(reply, wait)));
                }
                Effect::Store(promise) => answer = self.store(promise),
                Effect::CheckAddress { address, hold, .. } => {
                    self.engine.hold(&hold);
                    assert_eq!(self.engine.book.binding(address).map(|b| b.state), Some(State::Checking));
                    self.checked.push(address);
                    // The holder's answer counts for one decision only, so the engine may ask again.
                    asked = None;
                    let is_used = self.used.contains(&address);
                    let by = self.alive.iter().find(|(at, _)| *at == address).map(|(_, mac)| *mac);
                    let heard = (is_used || by.is_some()).then_some(AddressInUse { address, by, from: by });
                    self.step(&mut effects, |engine, arrival, outside, now, effects| {
                        engine.checked((address, heard), (bytes, arrival), outside, now, effects);
                    });
                }
                Effect::AskHolder { address, .. } => {
                    assert_eq!(asked.replace(address), None, "{address} is asked for twice");
                    self.asked.push(address);
                    let answers = self.answering.contains(&address);
                    let heard = answers.then_some(AddressInUse { address, by: None, from: None });
                    self.step(&mut effects, |engine, arrival, outside, now, effects| {
                        engine.checked((address, heard), (bytes, arrival), outside, now, effects);
                    });
                }
                Effect::CheckDecline { address, .. } => {
                    let probe = self.probe(address);
                    self.step(&mut effects, |engine, arrival, outside, now, effects| {
                        engine.declined(probe, (bytes, arrival), outside, now, effects);
                    });
                }
                Effect::AwaitDecline { .. } | Effect::EndDecline { .. } => {
                    unreachable!("a DECLINE is decided on at once")
                }
            }
        }
        self.swap_in_and_out();
        answer
    }

    /// Swaps the state that tests can change between messages into the engine, or back.
    fn swap_in_and_out(&mut self) {
        mem::swap(&mut self.book, &mut self.engine.book);
        mem::swap(&mut self.clones, &mut self.engine.duplicate_ids);
        if *self.engine.settings != self.settings {
            self.engine.settings = Arc::new(self.settings.clone());
        }
    }

    fn step(
        &mut self,
        effects: &mut Effects,
        step: impl FnOnce(&mut Engine, &Arrival, Outside<'_>, Timestamp, &mut Effects),
    ) {
        let files = Facts { sizes: &self.sizes, contents: &self.contents };
        let outside = Outside { files: &files, machines: &() };
        step(&mut self.engine, &self.arrival, outside, self.now, effects);
    }

    /// The result of the probe of an address that a client declines.
    fn probe(&self, address: Ipv4Addr) -> DeclineProbe {
        let other = AddressInUse { address, by: Some(MacAddr([2, 0, 0, 0, 9, 9])), from: None };
        DeclineProbe {
            client_answers: self.kept.contains(&address),
            other: self.used.contains(&address).then_some(other),
            from_client: self.from_client,
        }
    }

    /// Stores the promised lease, if the disk works, and then sends the reply.
    fn store(&mut self, promise: Promise) -> Result<Option<Answer>, DropReason> {
        let Promise { lease, ended: mut leases, reply, fallback: otherwise, record } = promise;
        leases.push(lease);
        if self.disk_works {
            self.disk.extend(leases.iter().map(|lease| (lease.address, lease.clone())));
        }
        self.engine.stored(&Outcome { leases, stored: self.disk_works }, self.now);
        let (reply, record) = match otherwise {
            _ if self.disk_works => (reply, record),
            Some(otherwise) => (Some(otherwise.reply), otherwise.record),
            None => {
                self.records.push(record.dropped(DropReason::StoreFailed));
                return Err(DropReason::StoreFailed);
            }
        };
        self.records.push(record.clone());
        self.note(record);
        Ok(reply.map(|reply| Answer::new(reply, Duration::ZERO)))
    }

    fn note(&mut self, record: Record) {
        assert_eq!((record.at, record.interface.as_deref()), (self.now, Some(&*self.arrival.interface)));
        self.machines.push(record.machine);
        self.events.push(record.event);
    }

    /// kill -9, and a start with the leases on disk.
    pub fn restart(&mut self) {
        self.book = open::fill_book(&self.settings, self.disk.values().cloned().collect(), &[]).book;
    }

    /// A reload with another configuration.
    pub fn replace(&mut self, yaml: &str) {
        let config = config::load(yaml).unwrap_or_else(|problems| panic!("{problems:?}"));
        self.settings = Arc::unwrap_or_clone(config.dhcp.expect("the configuration has a DHCP server"));
        mem::swap(&mut self.book, &mut self.engine.book);
        self.engine.replace(Arc::new(self.settings.clone()), self.now);
        mem::swap(&mut self.book, &mut self.engine.book);
    }

    /// Receives a message of another server to a client. The server is at `source` and has that hardware address.
    pub fn hear(
        &mut self,
        message: &Message,
        source: Ipv4Addr,
        from: MacAddr,
    ) -> Option<other_servers::ServerMessage> {
        let mut effects = Effects::new();
        let by = (SocketAddrV4::new(source, 67), from);
        self.step(&mut effects, |engine, arrival, outside, now, effects| {
            engine.handle_server_message(&message.encode(), by, arrival, outside, now, effects);
        });
        effects.into_iter().for_each(|effect| match effect {
            Effect::Record(record) => {
                self.records.push(record.clone());
                if !matches!(record.event, Event::Heard { .. }) {
                    self.note(record);
                }
            }
            other => panic!("{other:?}"),
        });
        other_servers::read_server_message(message, source, from, &self.arrival)
    }

    pub fn send(&mut self, message: &Message) -> Result<Option<Answer>, DropReason> {
        self.send_bytes(&message.encode())
    }

    /// Sends a message that must be answered.
    pub fn ask(&mut self, message: &Message) -> Answer {
        self.send(message).expect("not dropped").expect("answered")
    }

    /// The address that client `n` gets by DISCOVER, OFFER, REQUEST, ACK.
    pub fn lease(&mut self, n: u8) -> Ipv4Addr {
        let offer = self.ask(&discover(n));
        let address = offer.message.yiaddr;
        let ack = self.ask(&select(n, SERVER, address));
        assert_eq!((ack.kind(), ack.message.yiaddr), (Some(MessageType::Ack), address));
        address
    }
}

/// A message of type `kind` from client `n` (MAC 02:00:00:00:00:n) with these options.
pub fn message(n: u8, kind: MessageType, options: &[(u8, &[u8])]) -> Message {
    let mut message = bootp(n);
    message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
    options.iter().for_each(|(code, value)| assert!(message.options.push(*code, value)));
    message
}

/// A BOOTREQUEST without options from client `n`.
pub fn bootp(n: u8) -> Message {
    let mut message = Message::new(BOOTREQUEST);
    message.xid = 0x1000 + u32::from(n);
    message.chaddr[..6].copy_from_slice(&[2, 0, 0, 0, 0, n]);
    message
}

/// The BOOTP header of client `n` and the cookie, which the rows call BASE, followed by `rest`.
pub fn base(n: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = bootp(n).encode();
    bytes.truncate(240);
    bytes.extend_from_slice(rest);
    bytes
}

pub fn discover(n: u8) -> Message {
    message(n, MessageType::Discover, &[])
}

/// REQUEST in SELECTING.
pub fn select(n: u8, server: Ipv4Addr, address: Ipv4Addr) -> Message {
    let (server, address) = (server.octets(), address.octets());
    message(
        n,
        MessageType::Request,
        &[(code::SERVER_IDENTIFIER, &server), (code::REQUESTED_ADDRESS, &address)],
    )
}

/// REQUEST in INIT-REBOOT.
pub fn init_reboot(n: u8, address: Ipv4Addr) -> Message {
    message(n, MessageType::Request, &[(code::REQUESTED_ADDRESS, &address.octets())])
}

/// REQUEST in RENEWING or REBINDING.
pub fn extend(n: u8, address: Ipv4Addr) -> Message {
    let mut message = message(n, MessageType::Request, &[]);
    message.ciaddr = address;
    message
}
