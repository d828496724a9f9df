//! Boot requests: messages that are answered with a boot file and without an address. `proxy.rs` builds them and
//! decides on them; `bsdp.rs` decides on those of Macs. Nothing here touches leases.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use crate::boot::identity::Identity;
use crate::boot::policy::Choice;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classes::Membership;
use crate::dhcp::machines::Machine;
use crate::dhcp::request::{client_of, context_of};
use crate::dhcp::settings::Settings;
use crate::event::{Client, Context, Message as Kind};
use crate::types::Timestamp;
use crate::wire::dhcp::Message;

/// A message of a client that boots from the network and gets no address from the answer.
#[derive(Debug)]
pub struct BootRequest<'a> {
    /// The purpose of the message.
    pub ask: Ask,
    pub message: &'a Message,
    pub arrival: &'a Arrival,
    /// The client's firmware, architecture and boot stage.
    pub identity: Identity,
    /// Our address for this client.
    pub server: Ipv4Addr,
    /// The client's entry in `machines:`, if it has one.
    pub machine: Option<&'a Machine>,
    /// The client's classes.
    pub classes: Membership<'a>,
    /// The client's boot file, if any. The engine fills in the file's size.
    pub boot: Option<Choice>,
}

/// The purpose of a boot request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// A DISCOVER on the server's port. Our OFFER adds a boot file to the address that the other server offers.
    Discover,
    /// A REQUEST for the boot file on port 4011. The client has its address already, from another server or from us.
    Request,
    /// An INFORM for the boot file on port 4011.
    Inform,
    /// A Mac's BSDP query, sent in an INFORM on the server's port.
    Bsdp(Query),
}

impl BootRequest<'_> {
    /// The message type for logs.
    pub fn kind(&self) -> Kind {
        match self.ask {
            Ask::Discover => Kind::Discover,
            Ask::Request => Kind::Request,
            Ask::Inform | Ask::Bsdp(_) => Kind::Inform,
        }
    }

    /// The client for events.
    pub fn client(&self) -> Client {
        client_of(&self.identity)
    }

    /// The envelope of the records about this message.
    pub fn context(&self, now: Timestamp) -> Context {
        context_of(self.message, &self.identity, self.machine, (self.arrival, now))
    }

    /// The configured value of option `code` for this client: from its machine, its classes, or the options for every
    /// subnet. The options of its subnet are left out, because the other server sends those.
    pub fn option<'s>(&'s self, code: u8, settings: &'s Settings) -> Option<Cow<'s, [u8]>> {
        let machine = self.machine.map(|machine| &machine.level);
        let classes = self.classes.iter().map(|class| &class.level);
        let mut levels = machine.into_iter().chain(classes).chain([&settings.level]);
        levels.find_map(|level| level.options.get(code))?.bytes(self.server)
    }
}

/// A Mac's query (BSDP).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Query {
    /// Asks for the list of images.
    List,
    /// Selects the image with this identifier.
    Select([u8; 4]),
}
