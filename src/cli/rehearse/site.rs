//! A simulated network: lanboot as configured, and in proxy mode a plain DHCP server beside it. `chain.rs` sends it the
//! messages of a model and gets the replies. It opens no socket and reads no clock.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crate::boot::plan::Mode;
use crate::config::Config;
use crate::content::lookup::Files;
use crate::content::machines::{KnownMachine, MachineTable, Standing};
use crate::content::once::BootState;
use crate::content::requester;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::engine::{Effect, Effects, Engine, Outcome, OutgoingReply, Outside, Promise};
use crate::dhcp::machines::{Machine, RelayPort};
use crate::dhcp::settings::{Settings, Subnet};
use crate::event::{DropReason, Event, Record};
use crate::images::{Catalog, Content};
use crate::lease::LeaseBook;
use crate::net::interface;
use crate::probe::models::{ModelClient, ReceivedReply, RequestKind};
use crate::types::{Ipv4Network, Ipv4Range, Timestamp};
use crate::wire::dhcp::{BOOTREPLY, Message, MessageType, Options};
use crate::wire::option::code;
use crate::wire::{pxe, relay};

/// The time of the rehearsal. Its value does not matter.
const NOW: Timestamp = Timestamp(1_000_000_000);
/// Number of addresses to try when searching for one that lanboot could have.
const SEARCH: u32 = 4096;
/// The network of a proxy whose configuration has no subnets (RFC 5737).
const EXAMPLE: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 0), 24);

/// The address of a server outside all configured networks.
const EXAMPLE_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// lanboot on one simulated network.
#[derive(Clone)]
pub(super) struct Site {
    settings: Arc<Settings>,
    /// Whether `settings` has the entries of all machines.
    has_all: bool,
    files: Option<Files>,
    pub(super) mode: Mode,
    /// Whether lanboot serves TFTP.
    pub(super) tftp: bool,
    /// The port of the HTTP server; `None` if HTTP is off.
    pub(super) http: Option<u16>,
    /// The addresses of lanboot's interface, with the one in the machine's network first. They are addresses of this
    /// computer if it serves one of the subnets; otherwise there is one free address.
    pub(super) addresses: Vec<Ipv4Addr>,
    /// The relay agent between the machine and lanboot, if lanboot has no interface on the machine's network.
    relay: Option<Ipv4Addr>,
    /// The machine's subnet if it is part of a shared network and this computer's address in it is only assumed.
    pub(super) assumed: Option<Ipv4Network>,
    /// The address of the other DHCP server, if lanboot is a proxy.
    pub(super) other: Ipv4Addr,
    /// The address that the other DHCP server gives to the machine.
    client: Ipv4Addr,
    mask: Ipv4Addr,
    /// The values that identify the machine, if its entry has neither MAC nor UUID.
    identity: Option<Identity>,
}

/// The values by which lanboot recognizes a machine without MAC and UUID.
#[derive(Clone)]
struct Identity {
    /// Option 61.
    id: Option<Arc<[u8]>>,
    /// The suboptions that its relay agent adds.
    port: Option<RelayPort>,
}

impl Site {
    /// Creates a site in the network of `subnet`; `None` stands for a network that is not configured.
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
            Some(place) => interfaces.server_addresses(settings, place, [address(0), address(1)]),
            None => (vec![address(0)], None),
        };
        let is_guess = interfaces.are_elsewhere(settings) && mode == Mode::Server;
        let assumed = network.filter(|_| is_guess && subnet.is_some_and(|place| settings.is_shared(place)));
        let starts = || BootState::in_memory(config);
        let files = Catalog::open(&config.images).ok();
        let files =
            files.map(|catalog| Files::new(catalog, MachineTable::default()).with_boot_state(starts()));
        // The network has no other machine, so no address needs a check.
        let alone = Settings { conflict_check: None, subnets: alone(settings, subnet), ..settings.clone() };
        // Without entries of other machines, a boot costs the same in a configuration of any size. Their addresses only
        // matter if the pools have no others.
        let has_all = has_only_reserved_addresses(&alone);
        let settings = if has_all { alone } else { Settings { machines: Vec::new().into(), ..alone } };
        Site {
            settings: Arc::new(settings),
            has_all,
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
            identity: None,
        }
    }

    /// The first address of lanboot.
    fn server(&self) -> Ipv4Addr {
        self.addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST)
    }

    /// The same network, in which `machine` has its entry of the configuration.
    pub(super) fn with_machine(&self, machine: &Machine) -> Site {
        let has_own = !machine.macs.is_empty() || machine.uuid.is_some();
        let identity = || Identity { id: machine.ids.first().cloned(), port: machine.port.clone() };
        let identity = (!has_own).then(identity);
        if self.has_all {
            return Site { identity, ..self.clone() };
        }
        let settings = Settings { machines: vec![machine.clone()].into(), ..(*self.settings).clone() };
        Site { settings: Arc::new(settings), identity, ..self.clone() }
    }

    /// Creates the server for one machine's boot, with an empty lease book.
    pub(super) fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.settings), LeaseBook::new(self.settings.pools()))
    }

    /// All replies to one message in the order in which they arrive, and the reason if lanboot drops the message.
    pub(super) fn ask(
        &self,
        request: &Message,
        kind: RequestKind,
        engine: &mut Engine,
    ) -> (Vec<Reply>, Option<DropReason>) {
        let mut replies = Vec::new();
        if self.mode == Mode::Proxy && kind != RequestKind::BootServer {
            replies.extend(self.plain(request, kind));
        }
        // Always the registered ports: firmware does not use the ports of a test's configuration.
        let port = if kind == RequestKind::BootServer { 4011 } else { 67 };
        let why = match self.ours(request, kind == RequestKind::BootServer, engine) {
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

    fn arrival(&self, request: &Message, boot_service: bool) -> Arrival {
        // EDK2 sends from port 4011, iPXE from 68. Nothing here depends on it.
        let source = SocketAddrV4::new(request.ciaddr, 68);
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
            waited: Duration::ZERO,
        }
    }

    /// The reply of lanboot, or the reason for the drop.
    fn ours(
        &self,
        request: &Message,
        boot_service: bool,
        engine: &mut Engine,
    ) -> Result<Option<OutgoingReply>, DropReason> {
        let arrival = self.arrival(request, boot_service);
        let bytes = self.as_received(request, boot_service).encode();
        let (mut effects, mut answer) = (Effects::new(), Ok(None));
        engine.handle(&bytes, &arrival, Outside { files: &self.files, machines: &() }, NOW, &mut effects);
        for effect in effects {
            match effect {
                Effect::Record(Record { event: Event::Dropped { reason, .. }, .. }) => answer = Err(reason),
                Effect::Send { reply, .. } => answer = Ok(Some(reply)),
                Effect::Store(Promise { lease, mut ended, reply, .. }) => {
                    ended.push(lease);
                    engine.stored(&Outcome { leases: ended, stored: true }, NOW);
                    answer = Ok(reply);
                }
                // No check is needed, because no other machine uses an address of this network.
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

    /// The message as it reaches lanboot: with the identifier of the machine, and with the changes of its relay agent.
    fn as_received(&self, request: &Message, boot_service: bool) -> Message {
        let mut message = request.clone();
        let id = self.identity.as_ref().and_then(|identity| identity.id.as_ref());
        if let Some(id) = id {
            message.options = Options::with_capacity(0, 0);
            let others = request.options.iter().filter(|(code, _)| *code != code::CLIENT_IDENTIFIER);
            others.for_each(|(code, value)| _ = message.options.push(code, value));
            message.options.push(code::CLIENT_IDENTIFIER, id);
        }
        if self.mode != Mode::Server || boot_service {
            return message;
        }
        let port = self.identity.as_ref().and_then(|identity| identity.port.as_ref());
        // A port is known only from a relay agent, so there is one on the machine's network.
        if let Some(giaddr) = self.relay.or(port.map(|_| self.other)) {
            (message.giaddr, message.hops) = (giaddr, 1);
        }
        if let Some(RelayPort { circuit_id, remote_id }) = port {
            let mut value = Vec::new();
            for (number, bytes) in [(relay::CIRCUIT_ID, circuit_id), (relay::REMOTE_ID, remote_id)] {
                if let Some(bytes) = bytes
                    && let Ok(len) = u8::try_from(bytes.len())
                {
                    value.extend([number, len]);
                    value.extend_from_slice(bytes);
                }
            }
            message.options.push(code::RELAY_AGENT_INFORMATION, &value);
        }
        message
    }

    /// The reply of a DHCP server without boot options, such as a home router.
    fn plain(&self, request: &Message, kind: RequestKind) -> Option<Reply> {
        let answer = match request.message_type()? {
            Ok(MessageType::Discover) => MessageType::Offer,
            Ok(MessageType::Request) => MessageType::Ack,
            _ => return None,
        };
        if request.options.ip(code::SERVER_IDENTIFIER).is_some_and(|server| server != self.other) {
            return None;
        }
        let mut reply = Message::new(BOOTREPLY);
        reply.xid = request.xid;
        reply.flags = request.flags;
        reply.chaddr = request.chaddr;
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

    /// The content that lanboot sends to the machine for the file name `asked`; `None` if it has no such file.
    pub(super) fn file(&self, asker: &ModelClient, asked: &[u8]) -> Option<Content> {
        let serial = pxe::raspberry_pi_serial(&asker.discover().options);
        let machine =
            KnownMachine { mac: Some(asker.mac), uuid: asker.uuid, serial, ..KnownMachine::default() };
        let files = self.files.as_ref()?;
        let asker = requester::Requester {
            machine,
            standing: Standing::Certain,
            ..files.requester(self.client.into(), self.server().into())
        };
        files.find_and_wait(asked, &asker).ok()
    }
}

/// A reply to the machine.
pub(super) struct Reply {
    bytes: Vec<u8>,
    source: SocketAddrV4,
    kind: RequestKind,
}

impl Reply {
    /// The reply in the form that the models take.
    pub(super) fn heard(&self) -> ReceivedReply<'_> {
        ReceivedReply { payload: &self.bytes, source: self.source, request: self.kind }
    }
}

/// The addresses of each interface that lanboot would serve on this computer.
pub(super) struct Interfaces(Vec<Vec<Ipv4Addr>>);

impl Interfaces {
    /// Lists the interfaces that `config` selects.
    pub(super) fn of_this_computer(config: &Config) -> Interfaces {
        let (served, _) = interface::served(&config.interfaces, interface::list().unwrap_or_default());
        Interfaces(served.into_iter().map(|interface| interface.addresses.to_vec()).collect())
    }

    /// Whether no interface has an address in a configured subnet. The configuration is then for another computer.
    fn are_elsewhere(&self, settings: &Settings) -> bool {
        let mut all = self.0.iter().flatten();
        !all.any(|address| settings.subnets.iter().any(|subnet| subnet.network.contains(*address)))
    }

    /// The server's addresses as seen from the subnet at `place`, and the relay agent if one is needed. `free` are two
    /// addresses in that subnet that no host has.
    fn server_addresses(
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
            return (addresses, Some(relays.first().map_or(free[1], |relay| agent_in(*relay))));
        }
        match relays.first() {
            // The clients of this subnet reach the server only through that relay agent.
            Some(relay) => (vec![EXAMPLE_SERVER], Some(agent_in(*relay))),
            None => (vec![free[0]], None),
        }
    }
}

/// The address of a relay agent in `network`, which may be the network of one address.
fn agent_in(network: Ipv4Network) -> Ipv4Addr {
    let first = u32::from(network.address());
    let candidates = [first, first.saturating_add(1)].map(Ipv4Addr::from);
    candidates.into_iter().find(|address| network.has_host(*address)).unwrap_or(network.address())
}

/// The subnets, but without the pools of the other subnets in the shared network of `place`. So the machine gets an
/// address in the subnet at `place`.
fn alone(settings: &Settings, place: Option<usize>) -> Vec<Subnet> {
    let mut subnets = settings.subnets.clone();
    let others = place.into_iter().flat_map(|place| settings.wire_of(place).filter(move |i| *i != place));
    for other in others {
        subnets[other].pools.clear();
    }
    subnets
}

/// Whether the machines have reserved every address of the pools.
fn has_only_reserved_addresses(settings: &Settings) -> bool {
    let ranges: Vec<Ipv4Range> =
        settings.subnets.iter().flat_map(|subnet| &subnet.pools).map(|pool| pool.range).collect();
    let all: u64 = ranges.iter().map(|range| range.size()).sum();
    let reserved = settings.machines.iter().flat_map(|machine| machine.addresses.iter().copied());
    let reserved = reserved.filter(|address| ranges.iter().any(|range| range.contains(*address))).count();
    all > 0 && u64::try_from(reserved).is_ok_and(|reserved| reserved >= all)
}

/// Host addresses that are in no pool and not reserved for a machine.
fn free_addresses(network: Ipv4Network, settings: &Settings) -> impl Iterator<Item = Ipv4Addr> {
    let first = u32::from(network.address());
    let taken: HashSet<Ipv4Addr> =
        settings.machines.iter().flat_map(|machine| machine.addresses.iter().copied()).collect();
    (1..SEARCH).filter_map(move |number| first.checked_add(number)).map(Ipv4Addr::from).filter(
        move |address| {
            let pools = settings.subnets.iter().flat_map(|subnet| &subnet.pools);
            network.has_host(*address)
                && !pools.into_iter().any(|pool| pool.range.contains(*address))
                && !taken.contains(address)
        },
    )
}
