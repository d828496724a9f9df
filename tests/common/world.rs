//! The DHCP core in memory and in virtual time: what the shell does, without sockets, disk or clock.

// Each test file uses its part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lanboot::boot::guard::Guard;
use lanboot::boot::identity::Identity;
use lanboot::boot::policy::{Choice, Content};
use lanboot::config;
use lanboot::dhcp::clones::Clones;
use lanboot::dhcp::conflict::{Answer as ConflictAnswer, Evidence, declined, quarantine};
use lanboot::dhcp::decide::{Decision, decide};
use lanboot::dhcp::keep::rest_of_lease;
use lanboot::dhcp::loop_guard;
use lanboot::dhcp::other_servers::{self, Strangers};
use lanboot::dhcp::proxy;
use lanboot::dhcp::request::{Probed, classify, recognize};
use lanboot::dhcp::route::Route;
use lanboot::dhcp::subnet::{Arrival, Settings};
use lanboot::event::{DropReason, Event};
use lanboot::lease::{Lease, LeaseBook, LeaseChange, OFFER_HOLD};
use lanboot::types::{MacAddr, Timestamp};
use lanboot::wire::dhcp::{BOOTREQUEST, DecodeError, Message, MessageType};
use lanboot::wire::option::code;

/// The server's address on the only interface.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// A server with one interface, and the time.
pub struct World {
    pub settings: Settings,
    pub book: LeaseBook,
    pub now: Timestamp,
    /// Whether commits succeed.
    pub disk_works: bool,
    /// How the next message arrives.
    pub arrival: Arrival,
    /// Sizes of boot files, as the shell would look them up.
    pub sizes: Vec<(&'static str, u64)>,
    /// Contents of boot files, as the shell would look them up; nothing is known of others.
    pub contents: Vec<(&'static str, Content)>,
    /// Addresses that somebody uses without a lease.
    pub used: Vec<Ipv4Addr>,
    /// Addresses that were checked, in order.
    pub checked: Vec<Ipv4Addr>,
    /// Addresses where the client that declines them still answers.
    pub kept: Vec<Ipv4Addr>,
    /// Whether a DECLINE was seen to come from its client's hardware address.
    pub from_client: Option<bool>,
    pub guard: Guard,
    /// Leased addresses whose machine was asked for, in order.
    pub asked: Vec<Ipv4Addr>,
    /// Leased addresses whose machine answers there.
    pub answering: Vec<Ipv4Addr>,
    /// What is on stable storage.
    pub disk: BTreeMap<Ipv4Addr, Lease>,
    pub clones: Clones,
    pub strangers: Strangers,
    pub events: Vec<Event>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub message: Message,
    pub bytes: Vec<u8>,
    pub route: Route,
    pub wait: Duration,
}

impl Answer {
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
        let settings = config.dhcp.expect("the configuration has a DHCP server");
        let config_mode = settings.modes.default.expect("the interface is served");
        World {
            book: LeaseBook::new(settings.pools()),
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
            },
            sizes: vec![],
            contents: vec![("undionly.kpxe", Content::IpxeBuild), ("snponly.efi", Content::IpxeBuild)],
            used: vec![],
            checked: vec![],
            kept: vec![],
            from_client: None,
            guard: Guard::default(),
            asked: vec![],
            answering: vec![],
            disk: BTreeMap::new(),
            clones: Clones::default(),
            strangers: Strangers::default(),
            events: vec![],
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    /// Sends bytes and returns the answer or why there is none, or `Ok(None)` for a message that needs none.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<Option<Answer>, DropReason> {
        let message = Message::decode(bytes).map_err(|error| match error {
            DecodeError::TooShort => DropReason::TooShort,
            DecodeError::BadHlen => DropReason::BadHlen,
        })?;
        if proxy::is_for_us(&message, &self.arrival) {
            return self.send_to_proxy(&message);
        }
        let mut request = classify(&message, &self.arrival, &self.settings)?;
        recognize(&mut request, &self.book, &self.settings, self.now);
        other_servers::before(&self.strangers, &mut request, &self.settings, self.now);
        self.settle(request.boot.as_mut(), &request.identity);
        loop_guard::before(&mut self.guard, &mut request, &self.settings, self.now);
        if let Some(choice) = &mut request.boot {
            choice.size = self.sizes.iter().find(|(name, _)| *name == &*choice.file).map(|(_, size)| *size);
        }
        self.book.settle(self.now);
        let decision = loop {
            self.clones.look(&request, &"eth1".into(), &self.book, &self.settings, self.now);
            match decide(&request, &self.book, &self.settings, self.now) {
                Decision::CheckAddress { address, hold } => {
                    self.book.apply(&hold);
                    self.checked.push(address);
                    let is_used = self.used.contains(&address);
                    let outcome = if is_used {
                        let until = self.now.after(OFFER_HOLD);
                        let lease = quarantine(&self.book, address, self.now).map(LeaseChange::Store);
                        lease.or_else(|| self.book.avoid(address, until)).expect("it is still held")
                    } else {
                        self.book.checked(address, self.now).expect("it is still held")
                    };
                    self.book.apply(&outcome);
                    if is_used && matches!(outcome, LeaseChange::Store(_)) {
                        self.book.strike(address);
                    }
                }
                Decision::CheckDecline { address } => {
                    let evidence = Evidence { answer: self.probed(address), from_client: self.from_client };
                    break declined(&request, address, evidence, &self.book, &self.settings, self.now);
                }
                Decision::AskHolder { address } => {
                    assert!(request.probed.is_none(), "{address} is asked for twice");
                    request.probed = Some(Probed { address, in_use: self.answering.contains(&address) });
                    self.asked.push(address);
                }
                decision => break decision,
            }
        };
        let mut otherwise = None;
        let (change, answer, event) = match decision {
            Decision::CheckAddress { .. } | Decision::CheckDecline { .. } | Decision::AskHolder { .. } => {
                unreachable!("dealt with above")
            }
            Decision::Answer { change, reply, route, wait, event } => {
                let looping = loop_guard::after(&mut self.guard, &request, &event, &self.settings, self.now);
                self.events.extend(looping);
                let change = match change {
                    Some(LeaseChange::Store(ref lease) | LeaseChange::Replace { ref lease, .. }) => {
                        otherwise =
                            rest_of_lease(&request, lease.address, &self.book, &self.settings, self.now);
                        change
                    }
                    other => {
                        other.iter().for_each(|change| self.book.apply(change));
                        None
                    }
                };
                (change, Some(Answer { bytes: reply.encode(), message: *reply, route, wait }), event)
            }
            Decision::Quiet { lease, event } => (Some(LeaseChange::Store(lease)), None, event),
            Decision::Silent { reason, change } => {
                if reason == DropReason::OtherServer {
                    self.events.extend(self.strangers.chosen(&request, self.now));
                }
                change.iter().for_each(|change| self.book.apply(change));
                return Err(reason);
            }
        };
        if let Some(change) = change {
            self.book.apply(&change);
            let leases = self.to_be_stored(change);
            if !self.disk_works {
                leases.iter().for_each(|lease| self.book.not_stored(lease, self.now));
                let Some(Decision::Answer { reply, route, wait, event, .. }) = otherwise else {
                    return Err(DropReason::StoreFailed);
                };
                self.events.push(event);
                return Ok(Some(Answer { bytes: reply.encode(), message: *reply, route, wait }));
            }
            self.disk.extend(leases.iter().map(|lease| (lease.address, lease.clone())));
            leases.iter().for_each(|lease| self.book.stored(lease, self.now));
        }
        if let Event::Declined { address, by: Some(_), .. } = event {
            self.book.strike(address);
        }
        self.events.push(event);
        Ok(answer)
    }

    /// What answers at an address that a client declines.
    fn probed(&self, address: Ipv4Addr) -> ConflictAnswer {
        if self.used.contains(&address) {
            return ConflictAnswer::Other(MacAddr([2, 0, 0, 0, 9, 9]));
        }
        if self.kept.contains(&address) { ConflictAnswer::Client } else { ConflictAnswer::None }
    }

    fn settle(&self, boot: Option<&mut Choice>, identity: &Identity) {
        let known = |choice: &Choice| self.contents.iter().find(|(name, _)| *name == &*choice.file);
        let content_of = |choice: &Choice| known(choice).map_or(Content::Unknown, |(_, content)| *content);
        boot.into_iter().for_each(|choice| choice.settle(identity, content_of));
    }

    /// The leases that `change`, which is in the book already, has stored in one transaction.
    fn to_be_stored(&self, change: LeaseChange) -> Vec<Lease> {
        let (mut lease, mut leases) = match change {
            LeaseChange::Store(lease) => (lease, vec![]),
            LeaseChange::Replace { lease, ended } => (lease, ended),
            other => panic!("{other:?} is not for the disk"),
        };
        lease.holder.boots = self.book.binding(lease.address).is_some_and(|binding| binding.holder.boots);
        leases.push(lease);
        leases
    }

    /// kill -9, and a start with what is on the disk.
    pub fn restart(&mut self) {
        self.book = LeaseBook::new(self.settings.pools());
        for lease in self.disk.values() {
            assert!(self.book.load(lease.clone()));
        }
    }

    /// What is answered where another server gives the addresses, and on the boot service's port.
    fn send_to_proxy(&mut self, message: &Message) -> Result<Option<Answer>, DropReason> {
        if let Some(mut taken) = other_servers::taken(message, &self.arrival, &self.settings) {
            self.settle(taken.boot.as_mut(), &taken.identity);
            let looping = other_servers::count(&mut self.guard, message, &taken, &self.settings, self.now);
            self.events.extend(looping);
        }
        let mut request = proxy::classify(message, &self.arrival, &self.settings)?;
        self.settle(request.boot.as_mut(), &request.identity);
        loop_guard::before_boot(&mut self.guard, &mut request, &self.settings, self.now);
        if let Some(choice) = &mut request.boot {
            choice.size = self.sizes.iter().find(|(name, _)| *name == &*choice.file).map(|(_, size)| *size);
        }
        match proxy::decide(&request, &self.settings) {
            Decision::Answer { change: None, reply, route, wait, event } => {
                self.events.extend(loop_guard::after_boot(
                    &mut self.guard,
                    &request,
                    &self.settings,
                    self.now,
                ));
                self.events.push(event);
                Ok(Some(Answer { bytes: reply.encode(), message: *reply, route, wait }))
            }
            Decision::Silent { reason, change: None } => Err(reason),
            other => panic!("a proxy decides on no lease: {other:?}"),
        }
    }

    /// Hears what another server at `source`, with that hardware address, says to a client.
    pub fn hear(
        &mut self,
        message: &Message,
        source: Ipv4Addr,
        from: MacAddr,
    ) -> Option<other_servers::Given> {
        let given = other_servers::given(message, source, from, &self.arrival)?;
        self.events.extend(self.strangers.heard(&given, &self.arrival, self.now));
        Some(given)
    }

    pub fn send(&mut self, message: &Message) -> Result<Option<Answer>, DropReason> {
        self.send_bytes(&message.encode())
    }

    /// Sends a message that must be answered.
    pub fn ask(&mut self, message: &Message) -> Answer {
        self.send(message).expect("not dropped").expect("answered")
    }

    /// DISCOVER, OFFER, REQUEST, ACK: the address that client `n` now has.
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
