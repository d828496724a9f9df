//! Classification: builds a [`Request`] from a message, with its purpose, client, subnet and boot file. The engine
//! calls it before `decide.rs`. It never reads or changes leases, except to recognize a machine by its lease.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::boot::loader::target::SCRIPT;
use crate::boot::machine_boot::MachineBoot;
use crate::boot::policy::{Choice, choose};
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classes::Membership;
use crate::dhcp::machines::Machine;
use crate::dhcp::request::{Ask, Request, context_of};
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::event::{Context, DropReason};
use crate::lease::{Holder, LeaseBook};
use crate::types::{ClientId, Rule, Stage, Timestamp};
use crate::wire::dhcp::{BOOTREQUEST, Message, MessageType};
use crate::wire::option::code;
use crate::wire::pxe::BootItem;
use crate::wire::relay;

/// The envelope of the records about `message`, for messages that are dropped before they are classified.
pub fn sender_of(message: &Message, arrival: &Arrival, settings: &Settings, now: Timestamp) -> Context {
    let machine = settings.machines.that_sent(message, |_| true);
    context_of(message, &Identity::of(message), machine, (arrival, now))
}

/// Builds the request that `message` makes, with everything that a decision needs. Fails with the reason to drop the
/// message.
pub fn classify<'a>(
    message: &'a Message,
    arrival: &'a Arrival,
    settings: &'a Settings,
) -> Result<Request<'a>, DropReason> {
    let ask = ask_of(message)?;
    let identity = Identity::of(message);
    let is_boot_stage = identity.stage != Stage::Other;
    let client = client_id(message, is_boot_stage, settings).ok_or(DropReason::NoIdentity)?;
    let selected = selected_subnet(message, settings);
    let (subnet, server) = settings.subnet_for(message.giaddr, message.ciaddr, selected, arrival)?;
    let holder = Holder { client, mac: message.mac(), is_boot_stage };
    let Entry { machine, classes, boot } =
        entry_of(message, &identity, settings, |address| settings.is_on_wire(subnet, address));
    if is_ignored(machine, &classes) {
        return Err(DropReason::Ignored);
    }
    let admits = |subnet| settings.wire_admits(subnet, &classes);
    let others = || settings.other_subnet_for(message.giaddr, selected, arrival, admits);
    let (subnet, server) = if admits(subnet) { None } else { others() }.unwrap_or((subnet, server));
    let of_relay = |number| of_relay(message, number);
    let (link, identifier) = (of_relay(relay::LINK_SELECTION), of_relay(relay::SERVER_OVERRIDE));
    Ok(Request {
        ask,
        message,
        arrival,
        holder,
        identity,
        subnet,
        server,
        override_identifier: identifier,
        relay_addresses: [Some(message.giaddr), link, identifier]
            .map(|address| address.unwrap_or(Ipv4Addr::UNSPECIFIED)),
        machine,
        classes,
        boot,
        yields: false,
        probed: None,
    })
}

/// Whether the configuration says that the client gets no answer.
pub fn is_ignored(machine: Option<&Machine>, classes: &Membership<'_>) -> bool {
    machine.is_some_and(|machine| machine.ignore) || classes.is_ignored()
}

/// The configuration of one client.
pub struct Entry<'a> {
    /// The client's entry in `machines:`, if it has one.
    pub machine: Option<&'a Machine>,
    /// The client's classes.
    pub classes: Membership<'a>,
    /// The client's boot file, if any.
    pub boot: Option<Choice>,
}

/// Recognizes a machine by its lease if its entry has no hardware address, and the message lacks the key that the entry
/// has. GRUB and operating systems do not send the UUID, and a client that renews its lease bypasses its relay agent. The
/// lease that the firmware got is found by the MAC ([`Holder`]).
pub fn recognize<'a>(request: &mut Request<'a>, book: &LeaseBook, settings: &'a Settings, now: Timestamp) {
    if request.machine.is_some() || !settings.machines.has_any_without_mac() {
        return;
    }
    let lease =
        shared_network::binding_of(request, book, settings, now).filter(|(_, binding)| binding.leased);
    let machine = lease.and_then(|(address, _)| settings.machines.without_mac(address));
    // The relay agent says that the client is at another port now.
    let says_port = !request.message.giaddr.is_unspecified()
        && request.message.options.get(code::RELAY_AGENT_INFORMATION).is_some();
    if let Some(machine) = machine.filter(|machine| !(says_port && machine.is_known_by_port_alone())) {
        let subnet = request.subnet;
        let is_here = |address| settings.is_on_wire(subnet, address);
        let Entry { machine, classes, boot } =
            entry_for(Some(machine), request.message, &request.identity, settings, &is_here);
        (request.machine, request.classes, request.boot) = (machine, classes, boot);
    }
}

/// Looks up the configuration of the client that sent `message`. `is_here` says whether an address is on the client's
/// wire.
pub fn entry_of<'a>(
    message: &Message,
    identity: &Identity,
    settings: &'a Settings,
    is_here: impl Fn(Ipv4Addr) -> bool,
) -> Entry<'a> {
    entry_for(settings.machines.that_sent(message, &is_here), message, identity, settings, &is_here)
}

fn entry_for<'a>(
    machine: Option<&'a Machine>,
    message: &Message,
    identity: &Identity,
    settings: &'a Settings,
    is_here: &dyn Fn(Ipv4Addr) -> bool,
) -> Entry<'a> {
    let classes =
        settings.classes.of(message, identity, machine.map(|machine| machine.classes.as_slice()), is_here);
    let item = BootItem::of(&message.options);
    // Only iPXE runs the generated script. Firmware gets the same file as always.
    let is_once = settings.once.has(message.mac(), machine);
    let script = is_once.then(|| MachineBoot::File(SCRIPT.into()));
    let once = script.as_ref().map(|script| (script, Rule::Once));
    let configured = once.into_iter().chain(boot_entries(machine, &classes));
    let boot = choose(&settings.boot, configured, identity, item);
    Entry { machine, classes, boot }
}

/// The configured boot files of a client in the order of precedence: its machine's entry, then each of its classes with
/// the number of the class.
fn boot_entries<'a>(
    machine: Option<&'a Machine>,
    classes: &Membership<'a>,
) -> impl Iterator<Item = (&'a MachineBoot, Rule)> {
    let by_class = classes
        .places()
        .filter_map(|(place, class)| Some((class.boot.as_ref()?, Rule::Class(place.saturating_add(1)))));
    let by_machine = machine.and_then(|machine| {
        let boot = machine.boot.as_ref()?;
        Some((boot, Rule::Machine(Arc::clone(&machine.name))))
    });
    by_machine.into_iter().chain(by_class)
}

/// An address in the subnet that the relay agent selects (RFC 3527) or, if `subnet_selection` is enabled, the client
/// (RFC 3011). The relay agent's selection takes precedence.
pub fn selected_subnet(message: &Message, settings: &Settings) -> Option<Ipv4Addr> {
    let by_client = || message.options.ip(code::SUBNET_SELECTION).filter(|address| !address.is_unspecified());
    of_relay(message, relay::LINK_SELECTION)
        .or_else(|| if settings.subnet_selection { by_client() } else { None })
}

/// The address in a suboption of option 82, if a relay agent forwarded the message. Without `giaddr`, any machine may
/// have written the option.
fn of_relay(message: &Message, suboption: u8) -> Option<Ipv4Addr> {
    if message.giaddr.is_unspecified() { None } else { relay::address(&message.options, suboption) }
}

/// The client's identity: its identifier (option 61), or else its hardware address.
///
/// Firmware that derives its identifier from the machine's UUID (type 0, 16 bytes) is identified by its MAC, because
/// different boards can have the same placeholder UUID. With `match_client_id: false`, every client that has a hardware
/// address is identified by that.
fn client_id(message: &Message, is_boot_stage: bool, settings: &Settings) -> Option<ClientId> {
    let is_uuid = |id: &[u8]| id.len() == 17 && id.first() == Some(&0);
    let id = message.options.get(code::CLIENT_IDENTIFIER);
    let id = id.filter(|id| !(is_boot_stage && is_uuid(id) && message.mac().is_some()));
    let id = id.filter(|_| settings.match_client_id || message.hardware().is_empty());
    ClientId::new(message.htype, message.hardware(), id)
}

/// The type of a client's message; `None` for plain BOOTP.
pub fn type_of(message: &Message) -> Result<Option<MessageType>, DropReason> {
    if message.op != BOOTREQUEST {
        return Err(DropReason::NotRequest);
    }
    match message.message_type() {
        Some(kind) => kind.map(Some).map_err(|()| DropReason::BadMessageType),
        // The type may have been in the part that was cut off, so this is not necessarily BOOTP.
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

/// The form of a REQUEST, one of four (RFC 2131 table 4). An option 50 or 54 that is not an address makes the REQUEST
/// invalid.
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
        // Some clients repeat option 50 or 54 while they renew; the address that they use is in `ciaddr`.
        (_, _, false) => Ok(Ask::Extend { address: message.ciaddr, server }),
        (_, None, true) => Err(DropReason::BadRequest),
    }
}
