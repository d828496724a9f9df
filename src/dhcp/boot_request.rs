//! Requests for boot files without addresses, as decisions see them. `proxy.rs` makes them and decides on them.

use std::net::Ipv4Addr;

use crate::boot::identity::Identity;
use crate::boot::policy::Choice;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classes::Class;
use crate::dhcp::request::client_of;
use crate::dhcp::settings::{Machine, Settings};
use crate::event::{Client, Message as Kind};
use crate::wire::dhcp::Message;

/// A message of a client that boots from the network, and that we answer without giving it an address.
#[derive(Debug)]
pub struct BootRequest<'a> {
    /// What it asks for.
    pub ask: Ask,
    /// The message itself.
    pub message: &'a Message,
    /// How it reached us.
    pub arrival: &'a Arrival,
    /// What the client is.
    pub identity: Identity,
    /// The address by which we serve it.
    pub server: Ipv4Addr,
    /// Its entry in `machines:`, if it has one.
    pub machine: Option<&'a Machine>,
    /// The classes that it is in, in their order.
    pub classes: Vec<&'a Class>,
    /// The boot file it gets, if any. The shell fills in the file's size.
    pub boot: Option<Choice>,
}

/// What it asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Offers, on the server's port: ours has a boot file beside the other server's address.
    Discover,
    /// On port 4011, its boot file: it has an address from another server, or from ours.
    Request,
    /// The same, by an INFORM.
    Inform,
    /// What a Mac asks, by an INFORM on the server's port.
    Bsdp(Query),
}

impl BootRequest<'_> {
    /// The name of the message in logs.
    pub fn kind(&self) -> Kind {
        match self.ask {
            Ask::Discover => Kind::Discover,
            Ask::Request => Kind::Request,
            Ask::Inform | Ask::Bsdp(_) => Kind::Inform,
        }
    }

    /// The client as events show it.
    pub fn client(&self) -> Client {
        client_of(self.message, &self.identity)
    }

    /// What is configured for it as option `code`, its subnet aside: that is the other server's affair.
    pub fn option<'s>(&'s self, code: u8, settings: &'s Settings) -> Option<&'s [u8]> {
        let machine = self.machine.map(|machine| &machine.options);
        let classes = self.classes.iter().map(|class| &class.options);
        let mut sets = machine.into_iter().chain(classes).chain([&settings.options]);
        sets.find_map(|set| set.get(&code)).map(Vec::as_slice)
    }
}

/// What a Mac asks by BSDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Query {
    /// Which images there are.
    List,
    /// To boot this one.
    Select([u8; 4]),
}
