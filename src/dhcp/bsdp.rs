//! Apple's Boot Server Discovery Protocol 1.1 (BSDP), by which the firmware of Intel Macs boots (NetBoot). The Mac
//! sends an INFORM whose option 43 asks for a list of images, then another one that selects an image. The answers are
//! those of bsdpy (`bsdpserver.py`) and insomniacslk/dhcp (`bsdp`). Called by `proxy.rs`; it never touches leases.

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::boot::fetch::SERVER;
use crate::dhcp::boot_request::{BootRequest, Query};
use crate::dhcp::decision::Decision;
use crate::dhcp::option_space::Room;
use crate::dhcp::reply::header;
use crate::dhcp::route::{Route, route};
use crate::dhcp::settings::Settings;
use crate::event::{DropReason, Event, Message as Kind};
use crate::wire::dhcp::{Message, MessageType, padded};
use crate::wire::option::code;
use crate::wire::pxe::suboption;

/// Prefix of option 60 in a Mac's message, and the whole of option 60 in our reply.
pub const VENDOR_CLASS: &[u8] = b"AAPLBSDPC";

const MESSAGE_TYPE: u8 = 1;
const SERVER_IDENTIFIER: u8 = 3;
const PRIORITY: u8 = 4;
const REPLY_PORT: u8 = 5;
const DEFAULT_IMAGE: u8 = 7;
const SELECTED_IMAGE: u8 = 8;
const IMAGE_LIST: u8 = 9;

/// Identifier of the only image that a client is offered: kind Mac OS X, installer, number 1.
const IMAGE: [u8; 4] = [0x81, 0, 0, 1];
/// The middle of the range, so that no server is preferred.
const ANY_PRIORITY: [u8; 2] = [0x80, 0x80];
/// Longest image name in a list, in bytes; longer names are cut.
const MAX_NAME: usize = 64;

/// Whether `message` is a BSDP message.
pub fn is_bsdp(message: &Message) -> bool {
    let class = message.options.get(code::VENDOR_CLASS).unwrap_or_default();
    message.message_type() == Some(Ok(MessageType::Inform)) && class.starts_with(VENDOR_CLASS)
}

/// Reads the query in `message`; `is_ours` says whether a server identifier is ours. Fails with the reason to drop the
/// message.
pub fn query(message: &Message, is_ours: impl Fn(&[u8]) -> bool) -> Result<Query, DropReason> {
    let options = &message.options;
    if suboption(options, SERVER_IDENTIFIER).is_some_and(|server| !is_ours(server)) {
        return Err(DropReason::OtherServer);
    }
    match suboption(options, MESSAGE_TYPE) {
        Some([1]) => Ok(Query::List),
        Some([2]) => {
            let image = suboption(options, SELECTED_IMAGE).and_then(|image| image.try_into().ok());
            image.map(Query::Select).ok_or(DropReason::BadRequest)
        }
        _ => Err(DropReason::BadRequest),
    }
}

/// Answers with the image that the client's machine or class boots. The client gets no answer if there is no such
/// image.
pub fn decide(request: &BootRequest<'_>, query: Query, settings: &Settings) -> Decision {
    let Some(choice) =
        request.boot.as_ref().filter(|_| query == Query::List || query == Query::Select(IMAGE))
    else {
        return Decision::silent(DropReason::NoBootFile);
    };
    let asked = request.message;
    let mut message = Message { ciaddr: asked.ciaddr, siaddr: request.server, ..header(asked) };
    let mut room = Room::new(asked, request.arrival.mtu);
    room.kind(MessageType::Ack, request.server);
    room.push(code::VENDOR_CLASS, VENDOR_CLASS);
    match query {
        Query::List => _ = room.push(code::VENDOR_SPECIFIC, &list(&choice.file)),
        Query::Select(image) => {
            let [a, b, c, d] = image;
            room.push(code::VENDOR_SPECIFIC, &[MESSAGE_TYPE, 1, 2, SELECTED_IMAGE, 4, a, b, c, d]);
            let server = request.server.to_string();
            message.sname = padded(server.as_bytes()).unwrap_or([0; 64]);
            message.file = padded(choice.file.replace(SERVER, &server).as_bytes()).unwrap_or([0; 128]);
            if let Some(path) = request.option(code::ROOT_PATH, settings) {
                room.push(code::ROOT_PATH, &path);
            }
        }
    }
    message.options = room.into_options();
    Decision::Answer {
        change: None,
        reply: Box::new(message),
        route: back(request, settings),
        wait: Duration::ZERO,
        event: Event::Answered {
            message: Kind::Proxy,
            address: asked.ciaddr,
            client: request.client(),
            file: Some(choice.as_sent(request.server)),
            note: None,
        },
    }
}

/// Builds an option 43 that lists one image, with its file as its name.
fn list(file: &str) -> Vec<u8> {
    let shown = file.len().min(MAX_NAME);
    let name = file.as_bytes().get(..shown).unwrap_or_default();
    let len = |bytes: usize| u8::try_from(bytes).unwrap_or(u8::MAX);
    let image = [&IMAGE[..], &[len(name.len())], name].concat();
    let parts: [(u8, &[u8]); 4] =
        [(MESSAGE_TYPE, &[1]), (PRIORITY, &ANY_PRIORITY), (DEFAULT_IMAGE, &IMAGE), (IMAGE_LIST, &image)];
    parts.into_iter().flat_map(|(code, value)| [&[code, len(value.len())], value].concat()).collect()
}

/// Routes the reply to the client's address, at the port that option 43 names. An Intel Mac that sends BSDP already has
/// an address and answers ARP.
fn back(request: &BootRequest<'_>, settings: &Settings) -> Route {
    let asked = request.message;
    let way = route(asked, request.arrival, settings, asked.ciaddr, false);
    if !asked.giaddr.is_unspecified() || request.arrival.loopback {
        return way;
    }
    let named = match suboption(&asked.options, REPLY_PORT) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    let port = if named == 0 { settings.ports.client } else { named };
    match way {
        Route::Unicast(to) | Route::Frame { to, .. } => Route::Unicast(SocketAddrV4::new(*to.ip(), port)),
        Route::Broadcast { .. } => Route::Broadcast { port },
    }
}
