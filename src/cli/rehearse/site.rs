//! A network in memory: lanboot as configured, and in proxy mode a plain DHCP server beside it. No socket, no clock.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crate::boot::plan::Mode;
use crate::config::Config;
use crate::content::lookup::{self, Files};
use crate::content::machines::{KnownMachine, MachineTable, Standing};
use crate::content::once::BootState;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::engine::{Effect, Effects, Engine, Outcome, OutgoingReply, Outside, Promise};
use crate::dhcp::settings::{Settings, Subnet};
use crate::event::{DropReason, Event};
use crate::images::{Catalog, Content};
use crate::lease::LeaseBook;
use crate::net::interface;
use crate::probe::models::{Asker, Heard, Question};
use crate::types::{Ipv4Network, Timestamp};
use crate::wire::dhcp::{BOOTREPLY, Message, MessageType};
use crate::wire::option::code;
use crate::wire::pxe;

/// When the rehearsal is: any time will do.
const NOW: Timestamp = Timestamp(1_000_000_000);
/// Addresses that are looked at to find one that lanboot could have.
const SEARCH: u32 = 4096;
/// The network of a proxy without subnets in its configuration (RFC 5737).
const EXAMPLE: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 0), 24);

/// A server that is in none of the configured networks.
const EXAMPLE_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// lanboot on one network.
pub(super) struct Site {
    settings: Arc<Settings>,
    files: Option<Files>,
    /// What it is there.
    pub(super) mode: Mode,
    /// Whether it serves TFTP.
    pub(super) tftp: bool,
    /// The port that it serves HTTP on.
    pub(super) http: Option<u16>,
    /// The addresses of its interface there, the one in the machine's network first: those of this computer if it serves one
    /// of the subnets, else one that it could have.
    pub(super) addresses: Vec<Ipv4Addr>,
    /// The relay agent through which the machine reaches it, if it has no interface on the machine's wire.
    relay: Option<Ipv4Addr>,
    /// A subnet that shares its wire and in which this computer is only taken to have an address.
    pub(super) assumed: Option<Ipv4Network>,
    /// The DHCP server of a network where lanboot is a proxy, and the address that it gives.
    pub(super) other: Ipv4Addr,
    client: Ipv4Addr,
    mask: Ipv4Addr,
}

impl Site {
    /// lanboot in the network of `subnet`; `None` stands for one that is not configured.
    pub(super) fn new(
        config: &Config,
        settings: &Settings,
        mode: Mode,
        subnet: Option<usize>,
        interfaces: &Interfaces,
    ) -> Site {
        let network = subnet.and_then(|place| settings.subnets.get(place)).map(|subnet| subnet.network);
        let network = network.or_else(|| Ipv4Network::new(EXAMPLE.0, EXAMPLE.1));
        let free: Vec<Ipv4Addr> =
            network.into_iter().flat_map(|network| free_addresses(network, settings)).take(3).collect();
        let address = |place: usize| free.get(place).copied().unwrap_or(Ipv4Addr::LOCALHOST);
        let (addresses, relay) = match subnet.filter(|_| mode == Mode::Server) {
            Some(place) => interfaces.towards(settings, place, [address(0), address(1)]),
            None => (vec![address(0)], None),
        };
        let is_guess = interfaces.are_elsewhere(settings) && mode == Mode::Server;
        let assumed = network.filter(|_| is_guess && subnet.is_some_and(|place| settings.is_shared(place)));
        let starts = || BootState::forgetful(config);
        let files = Catalog::open(&config.images).ok();
        let files = files.map(|catalog| Files::new(catalog, MachineTable::default()).starting(starts()));
        Site {
            // No other machine is there that could use an address, nor is another subnet of the wire any fuller.
            settings: Arc::new(Settings {
                conflict_check: None,
                subnets: alone(settings, subnet),
                ..settings.clone()
            }),
            files,
            mode,
            tftp: config.tftp.is_some(),
            http: config.http.as_ref().map(|http| http.port),
            addresses,
            relay,
            assumed,
            other: address(1),
            client: address(2),
            mask: network.map_or(Ipv4Addr::UNSPECIFIED, Ipv4Network::mask),
        }
    }

    /// The first of its addresses.
    fn server(&self) -> Ipv4Addr {
        self.addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST)
    }

    /// The server for one machine's boot: no address is given yet.
    pub(super) fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.settings), LeaseBook::new(self.settings.pools()))
    }

    /// All answers to one question, in the order in which they come, or why lanboot gives none.
    pub(super) fn ask(
        &self,
        question: &Message,
        kind: Question,
        engine: &mut Engine,
    ) -> (Vec<Reply>, Option<DropReason>) {
        let mut replies = Vec::new();
        if self.mode == Mode::Proxy && kind != Question::BootServer {
            replies.extend(self.plain(question, kind));
        }
        // The registered ports; those of a test's configuration mean nothing to firmware.
        let port = if kind == Question::BootServer { 4011 } else { 67 };
        let why = match self.ours(question, kind == Question::BootServer, engine) {
            Ok(reply) => {
                replies.extend(reply.map(|reply| Reply {
                    bytes: reply.message.encode(),
                    source: SocketAddrV4::new(reply.server, port),
                    kind,
                }));
                None
            }
            Err(reason) => Some(reason),
        };
        (replies, why)
    }

    fn arrival(&self, question: &Message, boot_service: bool) -> Arrival {
        // EDK2 asks from port 4011, iPXE from 68; nothing here depends on it.
        let source = SocketAddrV4::new(question.ciaddr, 68);
        Arrival {
            interface: "eth1".into(),
            addresses: self.addresses.as_slice().into(),
            networks: self.settings.subnets.iter().map(|subnet| subnet.network).collect(),
            destination: if boot_service { self.server() } else { Ipv4Addr::BROADCAST },
            source,
            mtu: 1500,
            loopback: false,
            mode: self.mode,
            boot_service,
        }
    }

    /// The answer of lanboot, or why there is none.
    fn ours(
        &self,
        question: &Message,
        boot_service: bool,
        engine: &mut Engine,
    ) -> Result<Option<OutgoingReply>, DropReason> {
        let arrival = self.arrival(question, boot_service);
        let relay = self.relay.filter(|_| self.mode == Mode::Server && !boot_service);
        let relayed = relay.map(|giaddr| Message { giaddr, hops: 1, ..question.clone() });
        let bytes = relayed.as_ref().unwrap_or(question).encode();
        let (mut effects, mut answer) = (Effects::new(), Ok(None));
        engine.handle(&bytes, &arrival, Outside { files: &self.files, machines: &() }, NOW, &mut effects);
        for effect in effects {
            match effect {
                Effect::Record(Event::Dropped { reason, .. }) => answer = Err(reason),
                Effect::Send { reply, .. } => answer = Ok(Some(reply)),
                Effect::Store(Promise { lease, mut ended, reply, .. }) => {
                    ended.push(lease);
                    engine.stored(&Outcome { leases: ended, stored: true }, NOW);
                    answer = Ok(reply);
                }
                // Nothing is checked, because nobody uses the addresses of this network.
                Effect::CheckAddress { .. }
                | Effect::AskHolder { .. }
                | Effect::CheckDecline { .. }
                | Effect::AwaitDecline { .. }
                | Effect::EndDecline { .. }
                | Effect::Record(_) => {}
            }
        }
        answer
    }

    /// What a DHCP server answers that knows nothing of booting: a router at home.
    fn plain(&self, question: &Message, kind: Question) -> Option<Reply> {
        let answer = match question.message_type()? {
            Ok(MessageType::Discover) => MessageType::Offer,
            Ok(MessageType::Request) => MessageType::Ack,
            _ => return None,
        };
        if question.options.ip(code::SERVER_IDENTIFIER).is_some_and(|server| server != self.other) {
            return None;
        }
        let mut reply = Message::new(BOOTREPLY);
        reply.xid = question.xid;
        reply.flags = question.flags;
        reply.chaddr = question.chaddr;
        reply.yiaddr = self.client;
        let hour = Duration::from_secs(3600).as_secs() as u32;
        reply.options.push(code::MESSAGE_TYPE, &[answer.number()]);
        reply.options.push(code::SERVER_IDENTIFIER, &self.other.octets());
        reply.options.push(code::LEASE_TIME, &hour.to_be_bytes());
        reply.options.push(code::SUBNET_MASK, &self.mask.octets());
        reply.options.push(code::ROUTER, &self.other.octets());
        reply.options.push(code::DNS, &self.other.octets());
        Some(Reply { bytes: reply.encode(), source: SocketAddrV4::new(self.other, 67), kind })
    }

    /// What the machine gets that asks lanboot for a file of this name; `None` if there is none.
    pub(super) fn file(&self, asker: &Asker, asked: &[u8]) -> Option<Content> {
        let serial = pxe::raspberry_pi_serial(&asker.discover().options);
        let machine =
            KnownMachine { mac: Some(asker.mac), uuid: asker.uuid, serial, ..KnownMachine::default() };
        let asker = lookup::Asker {
            address: self.client,
            server: self.server(),
            machine,
            standing: Standing::Certain,
        };
        self.files.as_ref()?.find_and_wait(asked, &asker).ok()
    }
}

/// A reply on its way to the machine.
pub(super) struct Reply {
    bytes: Vec<u8>,
    source: SocketAddrV4,
    kind: Question,
}

impl Reply {
    /// As the models are told it.
    pub(super) fn heard(&self) -> Heard<'_> {
        Heard { payload: &self.bytes, source: self.source, question: self.kind }
    }
}

/// The interfaces that lanboot would serve on this computer.
pub(super) struct Interfaces(Vec<Vec<Ipv4Addr>>);

impl Interfaces {
    /// Those that `config` means, as they are now.
    pub(super) fn of_this_computer(config: &Config) -> Interfaces {
        let (served, _) = interface::served(&config.interfaces, interface::list().unwrap_or_default());
        Interfaces(served.into_iter().map(|interface| interface.addresses.to_vec()).collect())
    }

    /// Whether none of them has an address in a subnet: the configuration is for another computer.
    fn are_elsewhere(&self, settings: &Settings) -> bool {
        let mut all = self.0.iter().flatten();
        !all.any(|address| settings.subnets.iter().any(|subnet| subnet.network.contains(*address)))
    }

    /// The addresses by which the server is reached from the subnet at `place`, and the relay agent on the way, if one is
    /// needed. `free` are two addresses in that subnet that no host has.
    fn towards(
        &self,
        settings: &Settings,
        place: usize,
        free: [Ipv4Addr; 2],
    ) -> (Vec<Ipv4Addr>, Option<Ipv4Addr>) {
        let networks: Vec<Ipv4Network> =
            settings.wire_of(place).filter_map(|i| Some(settings.subnets.get(i)?.network)).collect();
        let is_on_wire = |address: &Ipv4Addr| networks.iter().any(|network| network.contains(*address));
        if let Some(addresses) = self.0.iter().find(|addresses| addresses.iter().any(is_on_wire)) {
            let mut addresses = addresses.clone();
            let near =
                |address: &Ipv4Addr| networks.first().is_some_and(|network| network.contains(*address));
            addresses.sort_by_key(|address| !near(address));
            return (addresses, None);
        }
        let relays = settings.subnets.get(place).map(|subnet| subnet.relays.as_slice()).unwrap_or_default();
        if !self.are_elsewhere(settings) {
            let addresses = self.0.iter().flatten().copied().collect();
            return (addresses, Some(relays.first().copied().unwrap_or(free[1])));
        }
        match relays.first() {
            // Its clients are behind that relay agent, and so is the server for them.
            Some(relay) => (vec![EXAMPLE_SERVER], Some(*relay)),
            None => (vec![free[0]], None),
        }
    }
}

/// The subnets, where those that share the wire of `place` have no address left: every subnet is rehearsed.
fn alone(settings: &Settings, place: Option<usize>) -> Vec<Subnet> {
    let mut subnets = settings.subnets.clone();
    let others = place.into_iter().flat_map(|place| settings.wire_of(place).filter(move |i| *i != place));
    for other in others {
        subnets[other].pools.clear();
    }
    subnets
}

/// Addresses of hosts that are in no pool and reserved for nobody.
fn free_addresses(network: Ipv4Network, settings: &Settings) -> impl Iterator<Item = Ipv4Addr> {
    let first = u32::from(network.address());
    (1..SEARCH).filter_map(move |number| first.checked_add(number)).map(Ipv4Addr::from).filter(
        move |address| {
            let pools = settings.subnets.iter().flat_map(|subnet| &subnet.pools);
            let mut taken = settings.machines.iter().filter_map(|machine| machine.address);
            network.has_host(*address)
                && !pools.into_iter().any(|pool| pool.contains(*address))
                && !taken.any(|other| other == *address)
        },
    )
}
