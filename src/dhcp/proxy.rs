//! Boot files without addresses: proxyDHCP beside another DHCP server, and the boot service on port 4011 (PXE 2.1
//! section 2.2.3). The engine calls it for messages that [`is_for_us`] accepts. Nothing here touches leases.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::boot::identity::Identity;
use crate::boot::plan::{self, Mode, Plan, plan};
use crate::dhcp::arrival::Arrival;
use crate::dhcp::boot_request::{Ask, BootRequest};
use crate::dhcp::bsdp;
use crate::dhcp::classify::{Entry, entry_of, is_ignored, type_of};
use crate::dhcp::decision::Decision;
use crate::dhcp::option_space::Room;
use crate::dhcp::reply::{UNASKED_BY_FIRMWARE, header, put};
use crate::dhcp::route::{Route, route};
use crate::dhcp::settings::Settings;
use crate::event::{DropReason, Event, Message as Kind};
use crate::wire::dhcp::{FLAG_BROADCAST, Message, MessageType};
use crate::wire::option::code;

/// Whether `message` is classified by [`classify`] in this module instead of the DHCP server's.
pub fn is_for_us(message: &Message, arrival: &Arrival) -> bool {
    arrival.boot_service || arrival.mode == Mode::Proxy || bsdp::is_bsdp(message)
}

/// Builds the boot request that `message` makes, with everything that its answer needs. Fails with the reason to drop
/// the message.
///
/// On the server's port a proxy answers only DISCOVERs. The server that gives the addresses also confirms them. A
/// REQUEST is therefore not for us even if it names us, because we offered no address.
pub fn classify<'a>(
    message: &'a Message,
    arrival: &'a Arrival,
    settings: &'a Settings,
) -> Result<BootRequest<'a>, DropReason> {
    // Plain BOOTP asks for an address in the header of the reply, and only the other server gives addresses.
    let kind = type_of(message)?.ok_or(DropReason::BootpRefused)?;
    let is_ours = |server: &[u8]| arrival.addresses.iter().any(|address| address.octets() == server);
    let ask = match (arrival.boot_service, kind) {
        (false, MessageType::Inform) if bsdp::is_bsdp(message) => Ask::Bsdp(bsdp::query(message, is_ours)?),
        (false, MessageType::Discover) => Ask::Discover,
        (true, MessageType::Request) => Ask::Request,
        (true, MessageType::Inform) => Ask::Inform,
        (_, MessageType::Offer | MessageType::Ack | MessageType::Nak) => {
            return Err(DropReason::BadMessageType);
        }
        (false, _) => return Err(DropReason::ProxyOnly),
        (true, _) => return Err(DropReason::BadRequest),
    };
    let identity = Identity::of(message);
    if !identity.stage.is_network_boot() && !matches!(ask, Ask::Bsdp(_)) {
        return Err(DropReason::NotNetboot);
    }
    check_relay(message.giaddr, settings)?;
    let names = message.options.ip(code::SERVER_IDENTIFIER);
    if names.is_some_and(|server| !arrival.addresses.contains(&server)) {
        return Err(DropReason::OtherServer);
    }
    let Entry { machine, classes, boot } =
        entry_of(message, &identity, settings, |address| address == message.ciaddr);
    if is_ignored(machine, &classes) {
        return Err(DropReason::Ignored);
    }
    let server = server_for(message, arrival, settings);
    Ok(BootRequest { ask, message, arrival, identity, server, machine, classes, boot })
}

/// Our address for the client: the interface's address in the network of the client's address, if a configured subnet
/// contains that address (RFC 2131 section 4.1). Otherwise the destination of the message.
fn server_for(message: &Message, arrival: &Arrival, settings: &Settings) -> Ipv4Addr {
    let place = message.ciaddr;
    let mut subnets = settings.subnets.iter();
    let subnet = subnets.find(|subnet| !place.is_unspecified() && subnet.network.contains(place));
    subnet.and_then(|subnet| arrival.server_in(subnet.network)).unwrap_or_else(|| arrival.server())
}

/// Drops a message of an unknown relay agent if subnets are configured. Without subnets, as beside another DHCP server,
/// every relay agent is answered.
fn check_relay(giaddr: Ipv4Addr, settings: &Settings) -> Result<(), DropReason> {
    let mut subnets = settings.subnets.iter();
    let known = giaddr.is_unspecified()
        || settings.subnets.is_empty()
        || subnets.any(|subnet| subnet.network.contains(giaddr) || subnet.lists_relay(giaddr).is_some());
    if known { Ok(()) } else { Err(DropReason::UnknownRelay) }
}

/// Decides on `request`: an OFFER or ACK with its boot file, or no answer if there is no boot file.
pub fn decide(request: &BootRequest<'_>, settings: &Settings) -> Decision {
    if let Ask::Bsdp(query) = request.ask {
        return bsdp::decide(request, query, settings);
    }
    let choice = request.boot.as_ref();
    let Some(plan) =
        plan(request.message, &request.identity, choice, request.server, settings.served, Mode::Proxy)
    else {
        return Decision::silent(DropReason::NoBootFile);
    };
    let is_offer = request.ask == Ask::Discover;
    Decision::Answer {
        change: None,
        reply: Box::new(build(request, settings, &plan)),
        route: if is_offer { offer_route(request, settings) } else { back(request) },
        wait: if is_offer { plan::reply_delay(&request.identity) } else { Duration::ZERO },
        event: Event::Answered {
            message: Kind::Proxy,
            address: request.message.ciaddr,
            client: request.client(),
            file: choice.map(|choice| choice.as_sent(request.server)),
            note: None,
        },
    }
}

fn build(request: &BootRequest<'_>, settings: &Settings, plan: &Plan) -> Message {
    let asked = request.message;
    let mut message = header(asked);
    let mut room = Room::new(asked, request.arrival.mtu);
    if request.ask == Ask::Discover {
        // The client has no address for a unicast, and we give it none. The flag makes the relay agent broadcast the
        // reply too.
        message.flags |= FLAG_BROADCAST;
        room.kind(MessageType::Offer, request.server);
    } else {
        message.ciaddr = asked.ciaddr;
        room.kind(MessageType::Ack, request.server);
    }
    put(plan, &mut message, &mut room);
    for code in UNASKED_BY_FIRMWARE {
        let value = request.option(code, settings);
        value.into_iter().for_each(|value| _ = room.push(code, &value));
    }
    message.options = room.into_options();
    message
}

fn offer_route(request: &BootRequest<'_>, settings: &Settings) -> Route {
    route(request.message, request.arrival, settings, Ipv4Addr::UNSPECIFIED, false)
}

/// Routes the reply to the source of the request: EDK2 listens on port 4011, iPXE on port 68. A client that sends
/// without an address receives only broadcasts.
fn back(request: &BootRequest<'_>) -> Route {
    let source = request.arrival.source;
    let ciaddr = request.message.ciaddr;
    match (source.ip().is_unspecified(), ciaddr.is_unspecified()) {
        (false, _) => Route::Unicast(source),
        (true, false) => Route::Unicast(SocketAddrV4::new(ciaddr, source.port())),
        (true, true) => Route::Broadcast { port: source.port() },
    }
}
