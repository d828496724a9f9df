//! Observes other DHCP servers. In proxy mode it recognizes the addresses that clients take from them; in server mode
//! it reports rogue servers. The engine passes it the messages that it received or captured. It never touches leases.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::guard::LoopGuard;
use crate::boot::identity::Identity;
use crate::boot::plan::{self, Mode};
use crate::boot::policy::Choice;
use crate::dhcp::arrival::Arrival;
use crate::dhcp::classify::{Entry, entry_of};
use crate::dhcp::loop_guard;
use crate::dhcp::machines::Machine;
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::settings::{Authoritative, Settings};
use crate::event::{Event, Message as Kind};
use crate::types::{MacAddr, Timestamp};
use crate::wire::dhcp::{BOOTREPLY, BOOTREQUEST, Message, MessageType};
use crate::wire::option::code;

/// Minimum time between two warnings about the same rogue DHCP server.
pub const QUIET_TIME: Duration = Duration::from_secs(600);
/// Time after another server gave an address for which we give none on that wire, if we yield to that server.
pub const BESIDE_TIME: Duration = Duration::from_secs(600);
/// Maximum number of rogue servers remembered. A machine that forges more of them causes no more warnings, so that it
/// cannot fill the log.
pub const MAX_ROGUE_SERVERS: usize = 64;

/// Rogue DHCP servers: other DHCP servers on wires where lanboot is the server. Shared by the engines of one server
/// ([`Observed`](crate::dhcp::engine::Observed)).
#[derive(Clone, Debug, Default)]
pub struct RogueServers {
    /// Time of the last warning about each server.
    warned: HashMap<Ipv4Addr, Timestamp>,
    /// Time at which a server last gave an address, by our first address on that wire.
    giving: HashMap<Ipv4Addr, Timestamp>,
}

/// A message of another server to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerMessage {
    /// Its type: OFFER, ACK, NAK or BOOTP reply.
    pub message: Kind,
    /// The address that the message gives or confirms. Unspecified in a NAK, in the answer to an INFORM and from a
    /// proxy.
    pub address: Ipv4Addr,
    /// The client's hardware address.
    pub client: Option<MacAddr>,
    /// The server identifier (option 54), or the source address if there is none.
    pub server: Ipv4Addr,
    /// The hardware address that sent the message: the server's or its router's.
    pub from: MacAddr,
}

/// The address that a client takes from another server, and the client's configuration.
#[derive(Debug)]
pub struct ClientChoice<'a> {
    pub address: Ipv4Addr,
    /// The client's firmware, architecture and boot stage.
    pub identity: Identity,
    /// The client's entry in `machines:`, if it has one.
    pub machine: Option<&'a Machine>,
    /// The boot file that we offered the client, if it boots.
    pub boot: Option<Choice>,
}

/// Reads `message`, which came from a server's port at `source` and from the hardware address `from`. `None` if it is
/// not a message of another server, or if a relay agent forwards it for us.
pub fn read_server_message(
    message: &Message,
    source: Ipv4Addr,
    from: MacAddr,
    arrival: &Arrival,
) -> Option<ServerMessage> {
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
    // The relay agent's copy of our reply may have the relay agent's address instead of the server's (RFC 5107).
    let is_ours = |address| arrival.addresses.contains(&address);
    let by_relay = !message.giaddr.is_unspecified() && (server == message.giaddr || is_ours(message.siaddr));
    // Our proxy gives no address, so a message with an address from here is from another server on this computer.
    let is_own = (is_ours(server) || is_ours(source))
        && (arrival.mode == Mode::Server || message.yiaddr.is_unspecified());
    if server.is_unspecified() || is_own || by_relay {
        return None;
    }
    Some(ServerMessage { message: kind, address: message.yiaddr, client: message.mac(), server, from })
}

impl RogueServers {
    /// Records that `observed` arrived at `arrival`. Returns a warning if lanboot is the server there and a warning
    /// about that server is due.
    pub fn record_message(
        &mut self,
        observed: &ServerMessage,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Option<Event> {
        if arrival.mode != Mode::Server {
            return None;
        }
        if observed.message != Kind::Nak && !observed.address.is_unspecified() {
            self.record_active_server(arrival, now);
        }
        self.should_warn(observed.server, now).then(|| {
            let ServerMessage { message, address, server, from, .. } = *observed;
            Event::RogueServer { message, address, server, from: Some(from) }
        })
    }

    /// Records that a client on our wire selects another server's offer. That offer may have been sent to the client
    /// alone, so that no other machine could receive it. Returns a warning if one about that server is due.
    pub fn record_selection(&mut self, request: &Request<'_>, now: Timestamp) -> Option<Event> {
        let Ask::Select { server, .. } = request.ask else { return None };
        if !request.message.giaddr.is_unspecified() || server.is_unspecified() {
            return None;
        }
        self.record_active_server(request.arrival, now);
        self.should_warn(server, now).then_some(Event::RogueServer {
            message: Kind::Request,
            address: Ipv4Addr::UNSPECIFIED,
            server,
            from: None,
        })
    }

    /// Whether another server gave a client an address on the wire of `arrival` within [`BESIDE_TIME`].
    pub fn give_addresses(&self, arrival: &Arrival, now: Timestamp) -> bool {
        self.giving.get(&wire(arrival)).is_some_and(|at| now.since(*at) < BESIDE_TIME)
    }

    fn record_active_server(&mut self, arrival: &Arrival, now: Timestamp) {
        self.giving.retain(|_, at| now.since(*at) < BESIDE_TIME);
        self.giving.insert(wire(arrival), now);
    }

    fn should_warn(&mut self, server: Ipv4Addr, now: Timestamp) -> bool {
        self.warned.retain(|_, at| now.since(*at) < QUIET_TIME);
        if self.warned.contains_key(&server) || self.warned.len() >= MAX_ROGUE_SERVERS {
            return false;
        }
        self.warned.insert(server, now);
        true
    }
}

fn wire(arrival: &Arrival) -> Ipv4Addr {
    arrival.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// Sets [`Request::yields`] if another server gives addresses on the wire of the request and we yield to it.
pub fn yield_to_others(
    strangers: &RogueServers,
    request: &mut Request<'_>,
    settings: &Settings,
    now: Timestamp,
) {
    let by_wire = request.message.giaddr.is_unspecified();
    request.yields = settings.authoritative == Authoritative::No
        && by_wire
        && strangers.give_addresses(request.arrival, now);
}

/// Reads the address that a client takes or has from its REQUEST, which was received where lanboot is a proxy. `None`
/// if the client takes no address.
pub fn read_client_choice<'a>(
    message: &Message,
    arrival: &Arrival,
    settings: &'a Settings,
) -> Option<ClientChoice<'a>> {
    let is_request = message.op == BOOTREQUEST && message.message_type() == Some(Ok(MessageType::Request));
    if !is_request || arrival.boot_service || arrival.mode != Mode::Proxy {
        return None;
    }
    let options = &message.options;
    let requested =
        options.ip(code::REQUESTED_ADDRESS).filter(|_| options.ip(code::SERVER_IDENTIFIER).is_some());
    let address = if message.ciaddr.is_unspecified() { requested? } else { message.ciaddr };
    let identity = Identity::of(message);
    let Entry { machine, boot, .. } = entry_of(message, &identity, settings, |reserved| reserved == address);
    Some(ClientChoice { address, identity, machine, boot })
}

/// Counts a boot file that the client loads from our offer alone, when it takes the other server's address. Forgets a
/// machine whose operating system runs. Returns the event to record if the client is in a loop.
pub fn count(
    guard: &mut LoopGuard,
    message: &Message,
    chosen: &ClientChoice<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Option<Event> {
    // A client that also asks on port 4011 is counted there.
    let ends = |choice: &&Choice| plan::loads_from_offer(&chosen.identity, choice);
    let choice = chosen.boot.as_ref().filter(ends);
    loop_guard::count(guard, (message, &chosen.identity), choice, settings, now)
}
