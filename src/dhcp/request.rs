//! Requests: classified messages of clients, the input of decisions. `classify.rs` builds them for the engine. A
//! message that is answered without an address is a [`BootRequest`](crate::dhcp::boot_request::BootRequest) instead.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::boot::policy::Choice;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classes::Membership;
use crate::dhcp::level::Level;
use crate::dhcp::machines::Machine;
use crate::dhcp::settings::{Settings, Subnet};
use crate::event::{Client, Context, Details, Message as Kind};
use crate::lease::{Holder, Seeker};
use crate::types::{ClientId, MachineId, Timestamp};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::pxe;

/// A message of a client that we must decide on.
#[derive(Debug)]
pub struct Request<'a> {
    /// The purpose of the message.
    pub ask: Ask,
    pub message: &'a Message,
    pub arrival: &'a Arrival,
    /// The client as the holder of leases.
    pub holder: Holder,
    /// The client's firmware, architecture and boot stage.
    pub identity: Identity,
    /// The index of the client's subnet in the settings. If several subnets share the wire ([`Settings::wire_of`]), it
    /// is the one that contains the relay agent's or the interface's address.
    pub subnet: usize,
    /// Our address for a client whose address is not known yet. Once the client has its own address, use
    /// [`Request::server_for`].
    pub server: Ipv4Addr,
    /// The relay agent's replacement for our address in option 54 (RFC 5107).
    pub override_identifier: Option<Ipv4Addr>,
    /// The addresses of the relay agent that the message shows, or unspecified ones. No client gets them.
    pub relay_addresses: [Ipv4Addr; 3],
    /// The client's entry in `machines:`, if it has one.
    pub machine: Option<&'a Machine>,
    /// The client's classes.
    pub classes: Membership<'a>,
    /// The client's boot file, if any. The engine fills in the file's size.
    pub boot: Option<Choice>,
    /// Whether another server gives addresses on the client's wire and we yield to it (`authoritative: false`). The
    /// engine sets it.
    pub yields: bool,
    /// The result of probing the holder of a lease, once it was probed.
    pub probed: Option<Probed>,
}

/// The outcome of [`crate::dhcp::decision::Decision::AskHolder`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probed {
    /// The probed address.
    pub address: Ipv4Addr,
    /// Whether a machine other than the client answered there.
    pub in_use: bool,
}

/// The purpose of a message. The four forms of REQUEST are those of RFC 2131 section 4.3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// DISCOVER: asks for offers. The client may name an address that it would like.
    Discover {
        /// Option 50.
        requested: Option<Ipv4Addr>,
    },
    /// REQUEST in SELECTING: takes the address that a server offered.
    Select {
        /// Option 54: the selected server.
        server: Ipv4Addr,
        /// Option 50: the address that the server offered.
        address: Ipv4Addr,
    },
    /// REQUEST in INIT-REBOOT: keeps an address from before the client was switched off.
    InitReboot {
        /// Option 50.
        address: Ipv4Addr,
    },
    /// REQUEST in RENEWING (sent to us) or REBINDING (broadcast): keeps the address in use.
    Extend {
        /// `ciaddr`.
        address: Ipv4Addr,
        /// Option 54, which the RFC forbids here but some clients send.
        server: Option<Ipv4Addr>,
    },
    /// DECLINE: another machine uses the offered or leased address.
    Decline {
        /// Option 50.
        address: Ipv4Addr,
        /// Option 54.
        server: Ipv4Addr,
    },
    /// RELEASE: gives the address back.
    Release {
        /// `ciaddr`.
        address: Ipv4Addr,
        /// Option 54.
        server: Option<Ipv4Addr>,
    },
    /// INFORM: asks for options for an address that we did not give.
    Inform,
    /// Plain BOOTP (RFC 951): asks for an address and a boot file in one message.
    Bootp,
}

impl Ask {
    /// The message type for logs.
    pub fn kind(self) -> Kind {
        match self {
            Ask::Discover { .. } => Kind::Discover,
            Ask::Select { .. } | Ask::InitReboot { .. } | Ask::Extend { .. } => Kind::Request,
            Ask::Decline { .. } => Kind::Decline,
            Ask::Release { .. } => Kind::Release,
            Ask::Inform => Kind::Inform,
            Ask::Bootp => Kind::BootpRequest,
        }
    }

    /// The server that the message names (option 54).
    pub fn server(self) -> Option<Ipv4Addr> {
        match self {
            Ask::Select { server, .. } | Ask::Decline { server, .. } => Some(server),
            Ask::Extend { server, .. } | Ask::Release { server, .. } => server,
            Ask::Discover { .. } | Ask::InitReboot { .. } | Ask::Inform | Ask::Bootp => None,
        }
    }
}

impl Request<'_> {
    /// The client for events.
    pub fn client(&self) -> Client {
        client_of(&self.identity)
    }

    /// The envelope of the records about this message.
    pub fn context(&self, now: Timestamp) -> Context {
        context_of(self.message, &self.identity, self.machine, (self.arrival, now))
    }

    /// The settings of the subnet on the client's wire that contains `address`, or of the client's first subnet if none
    /// does.
    pub fn subnet_of<'s>(&self, address: Ipv4Addr, settings: &'s Settings) -> &'s Subnet {
        let place = settings.wire_of(self.subnet).find(|i| settings.subnets[*i].network.contains(address));
        &settings.subnets[place.unwrap_or(self.subnet)]
    }

    /// Whether the client's classes admit it to part `part` of the pool of subnet `subnet`.
    pub fn may_use_part(&self, subnet: usize, part: usize, settings: &Settings) -> bool {
        let Some(subnet) = settings.subnets.get(subnet) else { return false };
        let pool = subnet.parts().nth(part).and_then(<[_]>::first);
        self.classes.admits(&subnet.classes) && pool.is_some_and(|pool| self.classes.admits(&pool.classes))
    }

    /// Calls `look` with the client as it looks for an address. `is_expected` says that the configuration names it.
    pub fn seek<T>(&self, is_expected: bool, settings: &Settings, look: impl FnOnce(&Seeker<'_>) -> T) -> T {
        let may_use = |subnet, part| self.may_use_part(subnet, part, settings);
        let (holder, avoided) = (&self.holder, &self.relay_addresses[..]);
        look(&Seeker { holder, is_expected, may_use: &may_use, avoided })
    }

    /// The levels of the configuration that apply to the client at `address`, in the order of precedence: its machine,
    /// its classes, its pool, its subnet, all clients.
    pub fn levels<'s>(
        &'s self,
        address: Ipv4Addr,
        settings: &'s Settings,
    ) -> impl Iterator<Item = &'s Level> {
        let machine = self.machine.map(|machine| &machine.level);
        let classes = self.classes.iter().map(|class| &class.level);
        let subnet = self.subnet_of(address, settings);
        let pool = subnet.pool_of(address).map(|pool| &pool.level);
        machine.into_iter().chain(classes).chain(pool).chain([&subnet.level, &settings.level])
    }

    /// The address of a client that gets `yiaddr`. A client that gets none has the address that it sent, or else the
    /// unspecified one.
    pub fn place(&self, yiaddr: Ipv4Addr) -> Ipv4Addr {
        let source = *self.arrival.source.ip();
        match (yiaddr.is_unspecified(), self.message.ciaddr.is_unspecified()) {
            (false, _) => yiaddr,
            (true, false) => self.message.ciaddr,
            // An INFORM may lack its mandatory `ciaddr`; then its source address is used. An INFORM from a relay agent
            // has the relay agent's source address instead.
            (true, true) if self.ask == Ask::Inform && self.message.giaddr.is_unspecified() => source,
            (true, true) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// Our address in a reply to a client that gets `yiaddr`. It is the interface's address in the network of the
    /// client's address, if there is one (RFC 2131 section 4.1), because a client without a router reaches no other.
    pub fn server_for(&self, yiaddr: Ipv4Addr, settings: &Settings) -> Ipv4Addr {
        let place = self.place(yiaddr);
        if place.is_unspecified() || self.arrival.addresses.len() < 2 {
            return self.server;
        }
        self.arrival.server_in(self.subnet_of(place, settings).network).unwrap_or(self.server)
    }

    /// The server identifier (option 54) of a reply to a client that gets `yiaddr`. A NAK repeats the identifier that
    /// the client sent, so that the client knows which server refuses.
    pub fn identifier_for(&self, yiaddr: Ipv4Addr, settings: &Settings) -> Ipv4Addr {
        let named = self.ask.server().filter(|_| yiaddr.is_unspecified());
        named.or(self.override_identifier).unwrap_or_else(|| self.server_for(yiaddr, settings))
    }
}

/// The program of this identity, for events.
pub fn client_of(identity: &Identity) -> Client {
    Client { firmware: identity.firmware, arch: identity.arch() }
}

/// The identity of the sender of `message`, whose entry in `machines:` is `entry`.
fn machine_id(message: &Message, entry: Option<&Machine>) -> Option<MachineId> {
    let mac = message.mac();
    let identifier = || {
        let id = message.options.get(code::CLIENT_IDENTIFIER);
        ClientId::new(message.htype, message.hardware(), id)
    };
    let uuid = || pxe::machine_uuids(&message.options).map(|[smbios, _]| smbios);
    let id = MachineId {
        mac,
        uuid: entry.and_then(|machine| machine.uuid).or_else(uuid),
        client: if mac.is_some() { None } else { identifier() },
        name: entry.map(|machine| Arc::clone(&machine.name)),
    };
    id.if_known()
}

/// The details of `message` for its record. `boot_service`: it was sent to port 4011.
pub fn details_of(message: &Message, boot_service: bool) -> Details {
    let relay = (!message.giaddr.is_unspecified()).then_some(message.giaddr);
    let server = message.options.ip(code::SERVER_IDENTIFIER);
    Details { xid: message.xid, secs: message.secs, relay, server, boot_service }
}

/// The envelope of the records about `message`, which arrived at `arrival` and at the time `now`.
pub fn context_of(
    message: &Message,
    identity: &Identity,
    entry: Option<&Machine>,
    (arrival, now): (&Arrival, Timestamp),
) -> Context {
    Context {
        at: now,
        interface: Some(arrival.interface),
        machine: machine_id(message, entry),
        client: Some(client_of(identity)),
    }
}
