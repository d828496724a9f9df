//! What is heard on the wire of other DHCP servers: whose clients took which address from them, and, where lanboot is the
//! server, that there is one at all.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::guard::Guard;
use crate::boot::identity::Identity;
use crate::boot::plan::{self, Mode};
use crate::boot::policy::Choice;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classify::{Entry, entry_of};
use crate::dhcp::loop_guard;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::settings::{Authoritative, Machine, Settings};
use crate::event::{Event, Message as Kind};
use crate::types::{MacAddr, Timestamp};
use crate::wire::dhcp::{BOOTREPLY, BOOTREQUEST, Message, MessageType};
use crate::wire::option::code;

/// How long after a stranger was told of nobody is told of it again.
pub const QUIET_TIME: Duration = Duration::from_secs(600);
/// How long after another server gave an address we give none there, if we are to make way for it.
pub const BESIDE_TIME: Duration = Duration::from_secs(600);
/// Strangers remembered at most. Who makes up more is not told of them all: the log must not fill up.
pub const MAX_STRANGERS: usize = 64;

/// Other DHCP servers on wires where there should be none.
#[derive(Clone, Debug, Default)]
pub struct Strangers {
    /// When each was told of.
    told: HashMap<Ipv4Addr, Timestamp>,
    /// When one last gave an address, by our first address on that wire.
    giving: HashMap<Ipv4Addr, Timestamp>,
}

/// What another server said to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// OFFER, ACK, NAK, or BOOTP's answer.
    pub message: Kind,
    /// The address that it gives or confirms; unspecified in a NAK, in the answer to an INFORM and from a proxy.
    pub address: Ipv4Addr,
    /// The client.
    pub client: Option<MacAddr>,
    /// The server, as it calls itself (option 54), or where the message came from.
    pub server: Ipv4Addr,
    /// The hardware address that sent it: the server's or its router's.
    pub from: MacAddr,
}

/// What a client says that it takes from another server.
#[derive(Debug)]
pub struct Taken<'a> {
    /// The address.
    pub address: Ipv4Addr,
    /// What the client is.
    pub identity: Identity,
    /// Its entry in `machines:`, if it has one.
    pub machine: Option<&'a Machine>,
    /// The boot file that it was offered here, if it boots.
    pub boot: Option<Choice>,
}

/// What `message`, which came from a server's port at `source` and the hardware address `from`, says of an address.
/// `None` if it is no server's, or one that a relay agent passes on for us.
pub fn given(message: &Message, source: Ipv4Addr, from: MacAddr, arrival: &Arrival) -> Option<Given> {
    if message.op != BOOTREPLY {
        return None;
    }
    let kind = match message.message_type() {
        Some(Ok(MessageType::Offer)) => Kind::Offer,
        Some(Ok(MessageType::Ack)) => Kind::Ack,
        Some(Ok(MessageType::Nak)) => Kind::Nak,
        Some(_) => return None,
        None => Kind::BootpReply,
    };
    let server = message.options.ip(code::SERVER_IDENTIFIER).unwrap_or(source);
    // A relay agent's copy of our reply may have its own address in place of ours (RFC 5107).
    let is_ours = |address| arrival.addresses.contains(&address);
    let by_relay = !message.giaddr.is_unspecified() && (server == message.giaddr || is_ours(message.siaddr));
    // A proxy gives no address: who gives one from here is another server on this computer.
    let is_own = (is_ours(server) || is_ours(source))
        && (arrival.mode == Mode::Server || message.yiaddr.is_unspecified());
    if server.is_unspecified() || is_own || by_relay {
        return None;
    }
    Some(Given { message: kind, address: message.yiaddr, client: message.mac(), server, from })
}

impl Strangers {
    /// What is to be told of `given`, heard where `arrival` says: another server where lanboot is the server.
    pub fn heard(&mut self, given: &Given, arrival: &Arrival, now: Timestamp) -> Option<Event> {
        if arrival.mode != Mode::Server {
            return None;
        }
        if given.message != Kind::Nak && !given.address.is_unspecified() {
            self.gives(arrival, now);
        }
        self.is_news(given.server, now).then(|| {
            let Given { message, address, client, server, from } = *given;
            Event::Stranger { message, address, client, server, from: Some(from) }
        })
    }

    /// What is to be told of a client of our wire that takes another server's offer, which may have been for the client
    /// alone, so that nobody else could hear it.
    pub fn chosen(&mut self, request: &Request<'_>, now: Timestamp) -> Option<Event> {
        let Ask::Select { server, .. } = request.ask else { return None };
        if !request.message.giaddr.is_unspecified() || server.is_unspecified() {
            return None;
        }
        self.gives(request.arrival, now);
        self.is_news(server, now).then(|| Event::Stranger {
            message: Kind::Request,
            address: Ipv4Addr::UNSPECIFIED,
            client: request.message.mac(),
            server,
            from: None,
        })
    }

    /// Whether another server gave somebody an address on the wire that a message came over, not long ago.
    pub fn give_addresses(&self, arrival: &Arrival, now: Timestamp) -> bool {
        self.giving.get(&wire(arrival)).is_some_and(|at| now.since(*at) < BESIDE_TIME)
    }

    fn gives(&mut self, arrival: &Arrival, now: Timestamp) {
        self.giving.retain(|_, at| now.since(*at) < BESIDE_TIME);
        self.giving.insert(wire(arrival), now);
    }

    fn is_news(&mut self, server: Ipv4Addr, now: Timestamp) -> bool {
        self.told.retain(|_, told| now.since(*told) < QUIET_TIME);
        if self.told.contains_key(&server) || self.told.len() >= MAX_STRANGERS {
            return false;
        }
        self.told.insert(server, now);
        true
    }
}

fn wire(arrival: &Arrival) -> Ipv4Addr {
    arrival.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// Marks a request from a wire where another server gives addresses, if we are to make way for such a one.
pub fn before(strangers: &Strangers, request: &mut Request<'_>, settings: &Settings, now: Timestamp) {
    let by_wire = request.message.giaddr.is_unspecified();
    request.beside = settings.authoritative == Authoritative::No
        && by_wire
        && strangers.give_addresses(request.arrival, now);
}

/// What a client's REQUEST, heard where lanboot is a proxy, says that it takes or has. `None` if it takes nothing.
pub fn taken<'a>(message: &Message, arrival: &Arrival, settings: &'a Settings) -> Option<Taken<'a>> {
    let is_request = message.op == BOOTREQUEST && message.message_type() == Some(Ok(MessageType::Request));
    if !is_request || arrival.boot_service || arrival.mode != Mode::Proxy {
        return None;
    }
    let options = &message.options;
    let requested =
        options.ip(code::REQUESTED_ADDRESS).filter(|_| options.ip(code::SERVER_IDENTIFIER).is_some());
    let address = if message.ciaddr.is_unspecified() { requested? } else { message.ciaddr };
    let identity = Identity::of(message);
    let Entry { machine, boot, .. } = entry_of(message, &identity, settings);
    Some(Taken { address, identity, machine, boot })
}

/// Counts a boot that ends at our offer, which the client has just taken beside the other server's; forgets a machine
/// whose system runs. What then has happened, if that makes a loop.
pub fn count(
    guard: &mut Guard,
    message: &Message,
    taken: &Taken<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Option<Event> {
    // Who asks on port 4011 is counted there.
    let ends = |choice: &&Choice| plan::ends_with_offer(&taken.identity, choice);
    let choice = taken.boot.as_ref().filter(ends);
    loop_guard::count(guard, (message, &taken.identity), choice, settings, now)
}
