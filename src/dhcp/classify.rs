//! Classify: what a message asks for, who asks, in which subnet, and what it would boot.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::boot::machine_boot::MachineBoot;
use crate::boot::policy::{Choice, choose};
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classes::Class;
use crate::dhcp::request::{Ask, Request, client_of};
use crate::dhcp::settings::{Machine, Settings};
use crate::dhcp::shared_network;
use crate::event::{Client, DropReason};
use crate::lease::{Holder, LeaseBook};
use crate::types::{ClientId, Rule, Stage, Timestamp};
use crate::wire::dhcp::{BOOTREQUEST, Message, MessageType};
use crate::wire::option::code;
use crate::wire::pxe::BootItem;
use crate::wire::relay;

/// The same, where nothing is known of the client yet.
pub fn sender_of(message: &Message) -> Client {
    client_of(message, &Identity::of(message))
}

/// What `message` asks for and all that is needed to decide on it, or why it is not for us.
pub fn classify<'a>(
    message: &'a Message,
    arrival: &'a Arrival,
    settings: &'a Settings,
) -> Result<Request<'a>, DropReason> {
    let ask = ask_of(message)?;
    let identity = Identity::of(message);
    let boots = identity.stage != Stage::Other;
    let client = client_id(message, boots, settings).ok_or(DropReason::NoIdentity)?;
    let selected = selected_subnet(message, settings);
    let (subnet, server) = settings.subnet_for(message.giaddr, message.ciaddr, selected, arrival)?;
    let holder = Holder { client, mac: message.mac(), boots };
    let Entry { machine, classes, boot } = entry_of(message, &identity, settings);
    Ok(Request {
        ask,
        message,
        arrival,
        holder,
        identity,
        subnet,
        server,
        override_identifier: of_relay(message, relay::SERVER_OVERRIDE),
        machine,
        classes,
        boot,
        beside: false,
        probed: None,
    })
}

/// What the configuration says of one client.
pub struct Entry<'a> {
    /// Its entry in `machines:`, if it has one.
    pub machine: Option<&'a Machine>,
    /// The classes that it is in, in their order.
    pub classes: Vec<&'a Class>,
    /// The boot file it gets, if any.
    pub boot: Option<Choice>,
}

/// Knows a machine by its lease that the configuration knows by its UUID alone, when a stage asks that does not say the
/// UUID: GRUB, or the system. What it had as firmware is found by its MAC ([`Holder`]).
pub fn recognize<'a>(request: &mut Request<'a>, book: &LeaseBook, settings: &'a Settings, now: Timestamp) {
    if request.machine.is_some() || !settings.machines.has_any_by_uuid_alone() {
        return;
    }
    let lease = shared_network::of_client(request, book, settings, now).filter(|(_, binding)| binding.leased);
    let machine = lease.and_then(|(address, _)| settings.machines.by_uuid_alone(address));
    if machine.is_some() {
        let Entry { machine, boot, .. } = entry_for(machine, request.message, &request.identity, settings);
        (request.machine, request.boot) = (machine, boot);
    }
}

/// What `settings` says of the client that sent `message`.
pub fn entry_of<'a>(message: &Message, identity: &Identity, settings: &'a Settings) -> Entry<'a> {
    entry_for(settings.machines.that_sent(message), message, identity, settings)
}

fn entry_for<'a>(
    machine: Option<&'a Machine>,
    message: &Message,
    identity: &Identity,
    settings: &'a Settings,
) -> Entry<'a> {
    let numbered = settings.classes.iter().zip(1..).filter(|(class, _)| class.has(message, identity));
    let numbered: Vec<(&Class, usize)> = numbered.collect();
    let boot = choose(&settings.boot, said_for(machine, &numbered), identity, BootItem::of(&message.options));
    Entry { machine, classes: numbered.into_iter().map(|(class, _)| class).collect(), boot }
}

/// What is said that a client boots: by its machine's entry, then by each of its classes, given with their numbers.
fn said_for<'a>(
    machine: Option<&'a Machine>,
    classes: &[(&'a Class, usize)],
) -> impl Iterator<Item = (&'a MachineBoot, Rule)> {
    let by_class = classes.iter().filter_map(|(class, n)| Some((class.boot.as_ref()?, Rule::Class(*n))));
    let by_machine = machine.and_then(|machine| {
        let boot = machine.boot.as_ref()?;
        Some((boot, Rule::Machine(Arc::clone(&machine.name))))
    });
    by_machine.into_iter().chain(by_class)
}

/// An address in the subnet that the relay agent (RFC 3527) or, where that is enabled, the client (RFC 3011) names. The
/// relay agent knows better.
pub fn selected_subnet(message: &Message, settings: &Settings) -> Option<Ipv4Addr> {
    let by_client = || message.options.ip(code::SUBNET_SELECTION).filter(|address| !address.is_unspecified());
    of_relay(message, relay::LINK_SELECTION)
        .or_else(|| if settings.subnet_selection { by_client() } else { None })
}

/// The address in a suboption of option 82, if a relay agent stands behind it: without giaddr, anybody may have written
/// it.
fn of_relay(message: &Message, suboption: u8) -> Option<Ipv4Addr> {
    if message.giaddr.is_unspecified() { None } else { relay::address(&message.options, suboption) }
}

/// The client's identity: its identifier, or its hardware address. Firmware that makes its identifier from the machine's
/// UUID (type 0, 16 bytes) is known by its MAC: boards with the same placeholder for a UUID are not one machine. With
/// `match_client_id: false` every client that has a hardware address is known by that.
fn client_id(message: &Message, boots: bool, settings: &Settings) -> Option<ClientId> {
    let is_uuid = |id: &[u8]| id.len() == 17 && id.first() == Some(&0);
    let id = message.options.get(code::CLIENT_IDENTIFIER);
    let id = id.filter(|id| !(boots && is_uuid(id) && message.mac().is_some()));
    let id = id.filter(|_| settings.match_client_id || message.hardware().is_empty());
    ClientId::new(message.htype, message.hardware(), id)
}

/// The type of a client's message; `None` if it is plain BOOTP.
pub fn type_of(message: &Message) -> Result<Option<MessageType>, DropReason> {
    if message.op != BOOTREQUEST {
        return Err(DropReason::NotRequest);
    }
    match message.message_type() {
        Some(kind) => kind.map(Some).map_err(|()| DropReason::BadMessageType),
        // The type may have stood in what was cut off; to take it for BOOTP would be to guess.
        None if message.truncated => Err(DropReason::Malformed),
        None => Ok(None),
    }
}

fn ask_of(message: &Message) -> Result<Ask, DropReason> {
    let Some(kind) = type_of(message)? else { return Ok(Ask::Bootp) };
    let options = &message.options;
    let requested = options.ip(code::REQUESTED_ADDRESS);
    let server = options.ip(code::SERVER_IDENTIFIER);
    match kind {
        MessageType::Discover => Ok(Ask::Discover { requested }),
        MessageType::Request => request_form(requested, server, message),
        MessageType::Decline => match (requested, server) {
            (Some(address), Some(server)) => Ok(Ask::Decline { address, server }),
            _ => Err(DropReason::BadRequest),
        },
        MessageType::Release => Ok(Ask::Release { address: message.ciaddr, server }),
        MessageType::Inform => Ok(Ask::Inform),
        MessageType::Offer | MessageType::Ack | MessageType::Nak => Err(DropReason::BadMessageType),
    }
}

/// Which of the four forms a REQUEST has (RFC 2131 table 4). An option 50 or 54 that is there but is not an address
/// makes it none of them.
fn request_form(
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    message: &Message,
) -> Result<Ask, DropReason> {
    let has = |code| message.options.get(code).is_some();
    if has(code::REQUESTED_ADDRESS) != requested.is_some() || has(code::SERVER_IDENTIFIER) != server.is_some()
    {
        return Err(DropReason::BadRequest);
    }
    match (server, requested, message.ciaddr.is_unspecified()) {
        (Some(server), Some(address), _) => Ok(Ask::Select { server, address }),
        (None, Some(address), true) => Ok(Ask::InitReboot { address }),
        // Some clients repeat option 50 or 54 while they renew; what they use is in ciaddr.
        (_, _, false) => Ok(Ask::Extend { address: message.ciaddr, server }),
        (_, None, true) => Err(DropReason::BadRequest),
    }
}
