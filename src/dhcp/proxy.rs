//! Boot files without addresses: proxyDHCP beside another DHCP server, and the boot service on port 4011 (PXE 2.1
//! section 2.2.3). Nothing here knows of leases.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::boot::identity::Identity;
use crate::boot::plan::{self, Mode, Plan, plan};
use crate::dhcp::arrival::Arrival;
use crate::dhcp::boot_request::{Ask, BootRequest};
use crate::dhcp::bsdp;
use crate::dhcp::classify::{Entry, entry_of, type_of};
use crate::dhcp::decision::Decision;
use crate::dhcp::option_space::Room;
use crate::dhcp::reply::{UNASKED_BY_FIRMWARE, header, put};
use crate::dhcp::route::{Route, route};
use crate::dhcp::settings::Settings;
use crate::event::{DropReason, Event, Message as Kind};
use crate::wire::dhcp::{FLAG_BROADCAST, Message, MessageType};
use crate::wire::option::code;

/// Whether `message` is for [`classify`] here, and not for that of the DHCP server.
pub fn is_for_us(message: &Message, arrival: &Arrival) -> bool {
    arrival.boot_service || arrival.mode == Mode::Proxy || bsdp::is_bsdp(message)
}

/// What `message` asks for and all that is needed to answer it, or why it is not for us.
///
/// On the server's port a proxy answers DISCOVERs only. Whoever gives the addresses confirms them too, so a REQUEST is
/// not for us even if it names us: we offered no address.
pub fn classify<'a>(
    message: &'a Message,
    arrival: &'a Arrival,
    settings: &'a Settings,
) -> Result<BootRequest<'a>, DropReason> {
    // An address in the header is all that plain BOOTP can be told, and that is the other server's to give.
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
    let Entry { machine, classes, boot } = entry_of(message, &identity, settings);
    let server = server_for(message, arrival, settings);
    Ok(BootRequest { ask, message, arrival, identity, server, machine, classes, boot })
}

/// Our address for the client: the interface's in the network of the address that the client has from whichever server,
/// as far as the configuration knows that network (RFC 2131 section 4.1); else the one that it wrote to.
fn server_for(message: &Message, arrival: &Arrival, settings: &Settings) -> Ipv4Addr {
    let place = message.ciaddr;
    let mut subnets = settings.subnets.iter();
    let subnet = subnets.find(|subnet| !place.is_unspecified() && subnet.network.contains(place));
    subnet.and_then(|subnet| arrival.server_in(subnet.network)).unwrap_or_else(|| arrival.server())
}

/// Where subnets are configured, their relay agents are known; where none is, as beside another DHCP server, any is
/// answered.
fn check_relay(giaddr: Ipv4Addr, settings: &Settings) -> Result<(), DropReason> {
    let mut subnets = settings.subnets.iter();
    let known = giaddr.is_unspecified()
        || settings.subnets.is_empty()
        || subnets.any(|subnet| subnet.network.contains(giaddr) || subnet.relays.contains(&giaddr));
    if known { Ok(()) } else { Err(DropReason::UnknownRelay) }
}

/// What to do about `request`: an OFFER or ACK of its boot file, or silence if there is none.
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
        wait: if is_offer { plan::wait(&request.identity) } else { Duration::ZERO },
        event: Event::Answered {
            message: Kind::Proxy,
            address: request.message.ciaddr,
            client: request.client(),
            file: choice.map(|choice| choice.named(request.server)),
            note: None,
        },
    }
}

fn build(request: &BootRequest<'_>, settings: &Settings, plan: &Plan) -> Message {
    let asked = request.message;
    let mut message = header(asked);
    let mut room = Room::new(asked, request.arrival.mtu);
    if request.ask == Ask::Discover {
        // It has no address to send a unicast to, and we give none: the relay agent must know that too.
        message.flags |= FLAG_BROADCAST;
        room.kind(MessageType::Offer, request.server);
    } else {
        message.ciaddr = asked.ciaddr;
        room.kind(MessageType::Ack, request.server);
    }
    put(plan, &mut message, &mut room);
    for code in UNASKED_BY_FIRMWARE {
        let value = request.option(code, settings);
        value.into_iter().for_each(|value| _ = room.push(code, value));
    }
    message.options = room.into_options();
    message
}

fn offer_route(request: &BootRequest<'_>, settings: &Settings) -> Route {
    route(request.message, request.arrival, settings, Ipv4Addr::UNSPECIFIED, false)
}

/// Back to where the request came from: EDK2 listens on port 4011 itself, iPXE on 68. A client that sends without an
/// address hears only broadcasts.
fn back(request: &BootRequest<'_>) -> Route {
    let source = request.arrival.source;
    let ciaddr = request.message.ciaddr;
    match (source.ip().is_unspecified(), ciaddr.is_unspecified()) {
        (false, _) => Route::Unicast(source),
        (true, false) => Route::Unicast(SocketAddrV4::new(ciaddr, source.port())),
        (true, true) => Route::Broadcast { port: source.port() },
    }
}
