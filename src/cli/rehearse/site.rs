//! A network in memory: lanboot as configured, and in proxy mode a plain DHCP server beside it. No socket, no clock.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::boot::plan::Mode;
use crate::config::Config;
use crate::dhcp::decide::{Decision, decide};
use crate::dhcp::proxy;
use crate::dhcp::request::classify;
use crate::dhcp::subnet::{Arrival, Settings};
use crate::event::DropReason;
use crate::images::{Catalog, Content};
use crate::lease::{LeaseBook, LeaseChange};
use crate::probe::models::{Asker, Heard, Question};
use crate::server::files::{self, Files};
use crate::server::known::{Known, KnownMachine, Standing};
use crate::server::targets::Starts;
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

/// lanboot on one network.
pub(super) struct Site {
    settings: Settings,
    files: Option<Files>,
    /// What it is there.
    pub(super) mode: Mode,
    /// Whether it serves TFTP.
    pub(super) tftp: bool,
    /// The port that it serves HTTP on.
    pub(super) http: Option<u16>,
    /// An address that it could have there; its real one is known only on the computer that it is to run on.
    pub(super) server: Ipv4Addr,
    /// The DHCP server of a network where lanboot is a proxy, and the address that it gives.
    pub(super) other: Ipv4Addr,
    client: Ipv4Addr,
    mask: Ipv4Addr,
}

impl Site {
    /// lanboot in the network of `subnet`; `None` stands for one that is not configured.
    pub(super) fn new(config: &Config, settings: &Settings, mode: Mode, subnet: Option<usize>) -> Site {
        let network = subnet.and_then(|place| settings.subnets.get(place)).map(|subnet| subnet.network);
        let network = network.or_else(|| Ipv4Network::new(EXAMPLE.0, EXAMPLE.1));
        let free: Vec<Ipv4Addr> =
            network.into_iter().flat_map(|network| free_addresses(network, settings)).take(3).collect();
        let address = |place: usize| free.get(place).copied().unwrap_or(Ipv4Addr::LOCALHOST);
        let starts = || Starts::forgetful(config);
        let files = Catalog::open(&config.images).ok();
        let files = files.map(|catalog| Files::new(catalog, Known::default()).starting(starts()));
        Site {
            // Nobody is there who could use an address.
            settings: Settings { conflict_check: None, ..settings.clone() },
            files,
            mode,
            tftp: config.tftp.is_some(),
            http: config.http.as_ref().map(|http| http.port),
            server: address(0),
            other: address(1),
            client: address(2),
            mask: network.map_or(Ipv4Addr::UNSPECIFIED, Ipv4Network::mask),
        }
    }

    /// The addresses of one machine's boot, none of them given yet.
    pub(super) fn book(&self) -> LeaseBook {
        LeaseBook::new(self.settings.pools())
    }

    /// All answers to one question, in the order in which they come, or why lanboot gives none.
    pub(super) fn ask(
        &self,
        question: &Message,
        kind: Question,
        book: &mut LeaseBook,
    ) -> (Vec<Reply>, Option<DropReason>) {
        let mut replies = Vec::new();
        if self.mode == Mode::Proxy && kind != Question::BootServer {
            replies.extend(self.plain(question, kind));
        }
        let ours = match self.mode {
            Mode::Server if kind != Question::BootServer => self.as_server(question, book),
            _ => self.as_boot_server(question, kind == Question::BootServer),
        };
        // The registered ports; those of a test's configuration mean nothing to firmware.
        let port = if kind == Question::BootServer { 4011 } else { 67 };
        let why = match ours {
            Ok(bytes) => {
                replies.extend(bytes.map(|bytes| Reply {
                    bytes,
                    source: SocketAddrV4::new(self.server, port),
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
            addresses: [self.server].into(),
            destination: if boot_service { self.server } else { Ipv4Addr::BROADCAST },
            source,
            mtu: 1500,
            loopback: false,
            mode: self.mode,
            boot_service,
        }
    }

    fn as_server(&self, question: &Message, book: &mut LeaseBook) -> Result<Option<Vec<u8>>, DropReason> {
        let arrival = self.arrival(question, false);
        let mut request = classify(question, &arrival, &self.settings)?;
        if let Some(choice) = &mut request.boot {
            choice.size = self.files.as_ref().and_then(|files| files.size(&choice.file, question.mac()));
        }
        match decide(&request, book, &self.settings, NOW) {
            Decision::Answer { change, reply, .. } => {
                if let Some(change) = change {
                    book.apply(&change);
                    if let LeaseChange::Store(lease) = &change {
                        book.stored(lease, NOW);
                    }
                }
                Ok(Some(reply.encode()))
            }
            Decision::Silent { reason, .. } => Err(reason),
            Decision::CheckAddress { .. } | Decision::Quiet { .. } => Ok(None),
        }
    }

    fn as_boot_server(&self, question: &Message, boot_service: bool) -> Result<Option<Vec<u8>>, DropReason> {
        let arrival = self.arrival(question, boot_service);
        let mut request = proxy::classify(question, &arrival, &self.settings)?;
        if let Some(choice) = &mut request.boot {
            choice.size = self.files.as_ref().and_then(|files| files.size(&choice.file, question.mac()));
        }
        match proxy::decide(&request, &self.settings) {
            Decision::Answer { reply, .. } => Ok(Some(reply.encode())),
            Decision::Silent { reason, .. } => Err(reason),
            Decision::CheckAddress { .. } | Decision::Quiet { .. } => Ok(None),
        }
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
        let asker =
            files::Asker { address: self.client, server: self.server, machine, standing: Standing::Certain };
        self.files.as_ref()?.find(asked, &asker).ok()
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
