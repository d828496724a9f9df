//! Adapters between the engine and the rest of lanboot: how a message arrived, facts about boot files, and the table of
//! machines. The DHCP loop and the proxy use them. Nothing here decides.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::boot::plan::Mode;
use crate::boot::policy::{Choice, Content};
use crate::content::lookup::Files;
use crate::content::machines::MachineTable;
use crate::content::served_files::ServedFiles;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::engine::{AddressInUse, AddressObserver, FileFacts, MissingFile};
use crate::dhcp::machines::Machine;
use crate::dhcp::other_servers::{ClientChoice, ServerMessage};
use crate::dhcp::request::Request;
use crate::lease::{Lease, LeaseBook, LeaseChange};
use crate::net::datagram::Envelope;
use crate::net::interface::Interface;
use crate::net::ping::ProbeAnswer;
use crate::types::Timestamp;
use crate::wire::dhcp::Message;

/// The arrival of a message in the form that the engine takes. `boot_service`: it came to port 4011.
pub fn arrival((interface, mode): (&Interface, Mode), envelope: Envelope, boot_service: bool) -> Arrival {
    Arrival {
        interface: interface.name,
        addresses: Arc::clone(&interface.addresses),
        networks: Arc::clone(&interface.networks),
        destination: envelope.destination,
        source: envelope.source,
        mtu: interface.mtu,
        loopback: interface.loopback,
        mode,
        boot_service,
        waited: envelope.waited,
    }
}

/// `None` means that no files are served.
impl FileFacts for Option<Files> {
    fn content_of(&self, choice: &Choice, message: &Message, server: Ipv4Addr) -> Content {
        self.as_ref().map_or(Content::Unknown, |files| files.content_of(choice, message, server))
    }

    fn size(&self, choice: &Choice, message: &Message) -> Option<u64> {
        self.as_ref().and_then(|files| files.size(&choice.file, message.mac()))
    }

    fn missing(&self, choice: &Choice, message: &Message, server: Ipv4Addr) -> Option<MissingFile> {
        self.as_ref().and_then(|files| files.missing(choice, message, server))
    }
}

impl FileFacts for ServedFiles {
    fn content_of(&self, choice: &Choice, message: &Message, server: Ipv4Addr) -> Content {
        self.get().map_or(Content::Unknown, |files| files.content_of(choice, message, server))
    }

    fn size(&self, choice: &Choice, message: &Message) -> Option<u64> {
        self.get().and_then(|files| files.size(&choice.file, message.mac()))
    }

    fn missing(&self, choice: &Choice, message: &Message, server: Ipv4Addr) -> Option<MissingFile> {
        self.get().and_then(|files| files.missing(choice, message, server))
    }
}

impl AddressObserver for MachineTable {
    fn observe_answer(
        &self,
        request: &Request<'_>,
        given: (&Message, Option<&LeaseChange>),
        book: &LeaseBook,
        now: Timestamp,
    ) {
        MachineTable::record_answer(self, request, given, book, now);
    }

    fn observe_release(&self, lease: &Lease) {
        MachineTable::record_release(self, lease);
    }

    fn observe_boot_service_request(
        &self,
        message: &Message,
        who: (&Identity, Option<&Machine>),
        arrival: &Arrival,
    ) {
        MachineTable::record_boot_service_request(self, message, who, arrival);
    }

    fn observe_client_choice(&self, message: &Message, taken: &ClientChoice<'_>) {
        MachineTable::record_client_choice(self, message, taken);
    }

    fn observe_server_message(&self, given: &ServerMessage) {
        MachineTable::record_server_message(self, given);
    }
}

impl From<ProbeAnswer> for AddressInUse {
    fn from(ProbeAnswer { address, by, from, .. }: ProbeAnswer) -> AddressInUse {
        AddressInUse { address, by, from }
    }
}
