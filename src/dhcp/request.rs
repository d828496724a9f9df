//! Requests: messages of clients as decisions see them. `classify.rs` makes them.

use std::net::Ipv4Addr;

use crate::boot::identity::Identity;
use crate::boot::policy::Choice;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classes::Class;
use crate::dhcp::settings::{Machine, Settings, Subnet};
use crate::event::{Client, Message as Kind};
use crate::lease::Holder;
use crate::wire::dhcp::Message;

/// A message that is for us to decide on.
#[derive(Debug)]
pub struct Request<'a> {
    /// What it asks for.
    pub ask: Ask,
    /// The message itself.
    pub message: &'a Message,
    /// How it reached us.
    pub arrival: &'a Arrival,
    /// Whose lease it is about.
    pub holder: Holder,
    /// What the client is.
    pub identity: Identity,
    /// The place of its subnet in the settings. Where that shares its wire with others ([`Settings::wire_of`]), it is
    /// the one that the relay agent's or the interface's address is in.
    pub subnet: usize,
    /// The address by which we serve a client of which nothing more is known. Once it has an address of its own,
    /// [`Request::server_for`] is right.
    pub server: Ipv4Addr,
    /// The address that its relay agent puts in the place of ours in option 54 (RFC 5107).
    pub override_identifier: Option<Ipv4Addr>,
    /// Its entry in `machines:`, if it has one.
    pub machine: Option<&'a Machine>,
    /// The classes that it is in, in their order.
    pub classes: Vec<&'a Class>,
    /// The boot file it gets, if any. The shell fills in the file's size.
    pub boot: Option<Choice>,
    /// Whether another server gives addresses on its wire and we make way for that one: `authoritative: false`. The shell
    /// says so.
    pub beside: bool,
    /// Whether the machine that holds a lease still answers there, once the network was asked.
    pub probed: Option<Probed>,
}

/// The outcome of [`crate::dhcp::decision::Decision::AskHolder`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probed {
    /// The address that was asked for.
    pub address: Ipv4Addr,
    /// Whether another machine than the client answered there.
    pub in_use: bool,
}

/// What a message asks for. The four forms of REQUEST are those of RFC 2131 section 4.3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Offers; the client may say which address it would like.
    Discover {
        /// Option 50.
        requested: Option<Ipv4Addr>,
    },
    /// The address that a server offered.
    Select {
        /// Option 54: the server it chose.
        server: Ipv4Addr,
        /// Option 50: what that server offered.
        address: Ipv4Addr,
    },
    /// To keep an address it remembers from before it was switched off.
    InitReboot {
        /// Option 50.
        address: Ipv4Addr,
    },
    /// To keep the address it uses: renewing when sent to us, rebinding when broadcast.
    Extend {
        /// `ciaddr`.
        address: Ipv4Addr,
        /// Option 54, which must not be there but from some clients is.
        server: Option<Ipv4Addr>,
    },
    /// That an offered or leased address be marked as in use by somebody else.
    Decline {
        /// Option 50.
        address: Ipv4Addr,
        /// Option 54.
        server: Ipv4Addr,
    },
    /// To give its address back.
    Release {
        /// `ciaddr`.
        address: Ipv4Addr,
        /// Option 54.
        server: Option<Ipv4Addr>,
    },
    /// Options for an address it did not get from us.
    Inform,
    /// Everything at once, the old way (RFC 951).
    Bootp,
}

impl Ask {
    /// The name of the message in logs.
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
    /// The client as events show it.
    pub fn client(&self) -> Client {
        client_of(self.message, &self.identity)
    }

    /// The settings of the subnet on its wire that `address` is in; of its first subnet, if it is in none.
    pub fn subnet_of<'s>(&self, address: Ipv4Addr, settings: &'s Settings) -> &'s Subnet {
        let place = settings.wire_of(self.subnet).find(|i| settings.subnets[*i].network.contains(address));
        &settings.subnets[place.unwrap_or(self.subnet)]
    }

    /// The address of a client that gets `yiaddr`, or of one that gets none but says where it is; else unspecified.
    pub fn place(&self, yiaddr: Ipv4Addr) -> Ipv4Addr {
        let source = *self.arrival.source.ip();
        match (yiaddr.is_unspecified(), self.message.ciaddr.is_unspecified()) {
            (false, _) => yiaddr,
            (true, false) => self.message.ciaddr,
            // An INFORM without the `ciaddr` that it must have; one from a relay agent has the agent's source address.
            (true, true) if self.ask == Ask::Inform && self.message.giaddr.is_unspecified() => source,
            (true, true) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// Our address in a reply to a client that gets `yiaddr`: the interface's address in the network of the client's
    /// address if it has one there (RFC 2131 section 4.1), because a client without a router reaches no other.
    pub fn server_for(&self, yiaddr: Ipv4Addr, settings: &Settings) -> Ipv4Addr {
        let place = self.place(yiaddr);
        if place.is_unspecified() || self.arrival.addresses.len() < 2 {
            return self.server;
        }
        self.arrival.server_in(self.subnet_of(place, settings).network).unwrap_or(self.server)
    }

    /// The server identifier (option 54) of a reply to a client that gets `yiaddr`. A refusal carries the identifier that
    /// the client sent, so that it knows which server refuses.
    pub fn identifier_for(&self, yiaddr: Ipv4Addr, settings: &Settings) -> Ipv4Addr {
        let named = self.ask.server().filter(|_| yiaddr.is_unspecified());
        named.or(self.override_identifier).unwrap_or_else(|| self.server_for(yiaddr, settings))
    }
}

/// Who sent `message`, for an event about one that was dropped.
pub fn client_of(message: &Message, identity: &Identity) -> Client {
    Client { mac: message.mac(), firmware: identity.firmware, arch: identity.arch() }
}
