//! The world outside the engine: facts about boot files, and the table of machines. The server implements both; `rehearse` and
//! the tests have their own.

use std::net::Ipv4Addr;

use crate::boot::identity::Identity;
use crate::boot::policy::{Choice, Content};
use crate::dhcp::arrival::Arrival;
use crate::dhcp::machines::Machine;
use crate::dhcp::other_servers::{ClientChoice, ServerMessage};
use crate::dhcp::request::Request;
use crate::lease::{Lease, LeaseBook, LeaseChange};
use crate::types::Timestamp;
use crate::wire::dhcp::Message;

/// Facts about boot files that decisions depend on. The server implements it; a decision never reads a file itself.
pub trait FileFacts {
    /// The content of the file of `choice` for the iPXE that sent `message`. `server` is our address for that client.
    fn content_of(&self, choice: &Choice, message: &Message, server: Ipv4Addr) -> Content;

    /// The size of the file of `choice` for the client that sent `message`, if it is known.
    fn size(&self, choice: &Choice, message: &Message) -> Option<u64>;

    /// Whether the file of `choice` is missing for the client that sent `message`. `server` is our address for it.
    /// `None` if the file exists, is made for the client, or is not on this server.
    fn missing(&self, choice: &Choice, message: &Message, server: Ipv4Addr) -> Option<MissingFile>;
}

/// A boot file that does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MissingFile {
    /// The set of `lanboot images add` that has a file of this name.
    pub set: Option<&'static str>,
}

/// Receives the machines and their addresses that DHCP messages reveal, for a table that other protocols look up. These
/// are calls instead of effects because they read the request and the book, which an effect would have to copy.
pub trait AddressObserver {
    /// `request` is answered with this reply and this change, which is not in `book` yet.
    fn observe_answer(
        &self,
        request: &Request<'_>,
        given: (&Message, Option<&LeaseChange>),
        book: &LeaseBook,
        now: Timestamp,
    );

    /// `lease` ends.
    fn observe_release(&self, lease: &Lease);

    /// A client was sent its boot file without an address.
    fn observe_boot_service_request(
        &self,
        message: &Message,
        who: (&Identity, Option<&Machine>),
        arrival: &Arrival,
    );

    /// A client took an address from another server.
    fn observe_client_choice(&self, message: &Message, taken: &ClientChoice<'_>);

    /// Another server gave a client an address, where lanboot is a proxy.
    fn observe_server_message(&self, given: &ServerMessage);
}

/// An observer that ignores everything.
impl AddressObserver for () {
    fn observe_answer(
        &self,
        _: &Request<'_>,
        _: (&Message, Option<&LeaseChange>),
        _: &LeaseBook,
        _: Timestamp,
    ) {
    }
    fn observe_release(&self, _: &Lease) {}
    fn observe_boot_service_request(&self, _: &Message, _: (&Identity, Option<&Machine>), _: &Arrival) {}
    fn observe_client_choice(&self, _: &Message, _: &ClientChoice<'_>) {}
    fn observe_server_message(&self, _: &ServerMessage) {}
}

/// The facts and observers that the engine needs while it handles a message.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    pub files: &'a dyn FileFacts,
    /// Receives machines and their addresses.
    pub machines: &'a dyn AddressObserver,
}
