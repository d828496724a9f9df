//! Decide: what a message changes in the lease book and what is answered (RFC 2131 section 4.3).

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::bootp;
use crate::dhcp::reply::{Reply, build};
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::route::{Route, route};
use crate::dhcp::shared;
use crate::dhcp::subnet::Settings;
use crate::event::{DropReason, Event, Message as Kind};
use crate::lease::{Binding, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
use crate::types::{ClientId, Timestamp};
use crate::wire::dhcp::Message;
use crate::wire::option::code;

/// How long a declined address is offered to nobody.
pub const DECLINE_QUARANTINE: Duration = Duration::from_secs(600);
/// The part of a pool that DECLINEs can take out of use: one in this many addresses.
pub const DECLINED_SHARE: u64 = 5;

/// What to do about a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Make the change, and when it is on stable storage if it must be, send the reply.
    Answer {
        /// The change to the book, if any.
        change: Option<LeaseChange>,
        /// The reply. Boxed: it is large, and most decisions under attack are silent.
        reply: Box<Message>,
        /// The way it goes.
        route: Route,
        /// What then has happened.
        event: Event,
    },
    /// Store this; there is nothing to say to the client.
    Quiet {
        /// The lease as it is now: released or declined.
        lease: Lease,
        /// What then has happened.
        event: Event,
    },
    /// Do not answer.
    Silent {
        /// Why.
        reason: DropReason,
        /// The offer to forget, if the client took another server's.
        change: Option<LeaseChange>,
    },
}

impl Decision {
    /// Silence that changes nothing.
    pub fn silent(reason: DropReason) -> Decision {
        Decision::Silent { reason, change: None }
    }
}

/// What to do about `request`, given who has which address at `now`.
pub fn decide(request: &Request<'_>, book: &LeaseBook, settings: &Settings, now: Timestamp) -> Decision {
    match request.ask {
        Ask::Discover { requested } => discover(request, requested, book, settings, now),
        Ask::Select { server, address } => select(request, server, address, book, settings, now),
        Ask::InitReboot { address } => keep(request, address, book, settings, now),
        Ask::Extend { address, server } if is_ours(request, server) => {
            keep(request, address, book, settings, now)
        }
        Ask::Extend { .. } => Decision::silent(DropReason::OtherServer),
        Ask::Decline { address, server } => decline(request, address, server, book, now),
        Ask::Release { address, server } => release(request, address, server, book, now),
        Ask::Inform => answer(request, settings, Reply::Inform, None),
        Ask::Bootp => bootp::decide(request, book, settings, now),
    }
}

fn discover(
    request: &Request<'_>,
    requested: Option<Ipv4Addr>,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    let client = &request.client;
    let reserved =
        reserved_address(request, settings).filter(|address| book.is_free_for(*address, client, now));
    let found = reserved.or_else(|| shared::find_address(request, requested, book, settings, now));
    let Some(address) = found else { return Decision::silent(DropReason::PoolExhausted) };
    let leased = book.binding(address).is_some_and(|b| is_leased_to(b, client) && b.until > now);
    let hold = LeaseChange::Offer { address, client: client.clone(), until: now.after(OFFER_HOLD) };
    let lease = lease_time(request, address, settings);
    answer(request, settings, Reply::Offer(address, lease), (!leased).then_some(hold))
}

/// SELECTING: the client broadcasts which server's offer it takes (RFC 2131 section 4.3.2).
fn select(
    request: &Request<'_>,
    server: Ipv4Addr,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if !is_ours(request, Some(server)) {
        let client = request.client.clone();
        let offer = shared::of_client(request, book, settings, now)
            .filter(|(_, binding)| binding.state == State::Offered);
        let change = offer.map(|(address, _)| LeaseChange::Withdraw { address, client });
        return Decision::Silent { reason: DropReason::OtherServer, change };
    }
    if may_have(request, address, book, settings, now) {
        grant(request, address, settings, now)
    } else {
        nak(request, settings, "that address was not offered to this client, or its offer ran out")
    }
}

/// INIT-REBOOT, RENEWING and REBINDING: the client wants to go on with an address (RFC 2131 section 4.3.2).
fn keep(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if !shared::has_host(request, address, settings) {
        return if settings.authoritative {
            nak(request, settings, "that address is not of this network")
        } else {
            Decision::silent(DropReason::UnknownLease)
        };
    }
    let known = match reserved_address(request, settings) {
        Some(reserved) => Some(reserved),
        None => shared::of_client(request, book, settings, now).map(|(address, _)| address),
    };
    match known {
        Some(_) if known == Some(address) && may_have(request, address, book, settings, now) => {
            grant(request, address, settings, now)
        }
        Some(_) => nak(request, settings, "this client has another address, or its lease ran out"),
        // RFC 2131: a server that knows nothing of the client must stay silent, another one may know it.
        None => Decision::silent(DropReason::UnknownLease),
    }
}

/// Whether the client can be given `address`: reserved for it, or in the pool; and nobody else holds it.
fn may_have(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> bool {
    let entitled = reserved_address(request, settings) == Some(address)
        || shared::shares(request, address, book, settings);
    entitled && book.is_free_for(address, &request.client, now)
}

/// ACKs `address` for the lease time. The reply leaves after the lease is stored.
fn grant(request: &Request<'_>, address: Ipv4Addr, settings: &Settings, now: Timestamp) -> Decision {
    let lease = lease_time(request, address, settings);
    let change = LeaseChange::Store(request.lease(address, now.after(lease)));
    answer(request, settings, Reply::Ack(address, lease), Some(change))
}

fn nak(request: &Request<'_>, settings: &Settings, why: &'static str) -> Decision {
    answer(request, settings, Reply::Nak(why), None)
}

/// Takes an address out of use for a while: only on the word of the client that it was given to, and never more than
/// a part of the pool, or a hostile client could empty it.
fn decline(
    request: &Request<'_>,
    address: Ipv4Addr,
    server: Option<Ipv4Addr>,
    book: &LeaseBook,
    now: Timestamp,
) -> Decision {
    if !is_ours(request, server) {
        return Decision::silent(DropReason::OtherServer);
    }
    let holds = |b: &Binding| b.client == request.client && matches!(b.state, State::Offered | State::Leased);
    if !book.binding(address).is_some_and(|binding| holds(binding) && binding.until > now) {
        return Decision::silent(DropReason::NotOwner);
    }
    let subnet = book.pool_of(address).unwrap_or(request.subnet);
    let declined = book.declined(subnet, now) as u64;
    if (declined + 1) * DECLINED_SHARE > book.pool_size(subnet).max(DECLINED_SHARE) {
        return Decision::silent(DropReason::TooManyDeclined);
    }
    let lease = Lease { state: State::Declined, ..request.lease(address, now.after(DECLINE_QUARANTINE)) };
    let event = Event::Declined { address, client: request.client() };
    Decision::Quiet { lease, event }
}

/// Frees the client's own address: only the one it holds, and only when it sends from it (or through a relay agent).
fn release(
    request: &Request<'_>,
    address: Ipv4Addr,
    server: Option<Ipv4Addr>,
    book: &LeaseBook,
    now: Timestamp,
) -> Decision {
    if !is_ours(request, server) {
        return Decision::silent(DropReason::OtherServer);
    }
    let arrival = request.arrival;
    let sent_from_it =
        *arrival.source.ip() == address || arrival.loopback || !request.message.giaddr.is_unspecified();
    let held = book.binding(address).is_some_and(|b| is_leased_to(b, &request.client) && b.until > now);
    if !held || !sent_from_it {
        return Decision::silent(DropReason::NotOwner);
    }
    let lease = Lease { state: State::Released, ..request.lease(address, now) };
    let event = Event::Released { address, client: request.client() };
    Decision::Quiet { lease, event }
}

/// The address reserved for the client, if it is one of its wire.
pub fn reserved_address(request: &Request<'_>, settings: &Settings) -> Option<Ipv4Addr> {
    let address = request.machine?.address?;
    shared::has_host(request, address, settings).then_some(address)
}

/// The decision to send `reply` after `change` was made.
pub fn answer(
    request: &Request<'_>,
    settings: &Settings,
    reply: Reply,
    change: Option<LeaseChange>,
) -> Decision {
    let (message, note) = match reply {
        Reply::Offer(..) => (Kind::Offer, None),
        Reply::Ack(..) | Reply::Inform => (Kind::Ack, None),
        Reply::Bootp(_) => (Kind::BootpReply, None),
        Reply::Nak(why) => (Kind::Nak, Some(why)),
    };
    let file = request.boot.as_ref().filter(|_| note.is_none()).map(|choice| choice.file.clone());
    // The answer to an INFORM gives no address; the log names the one that the client has.
    let address = if reply == Reply::Inform { request.message.ciaddr } else { reply.address() };
    Decision::Answer {
        change,
        reply: Box::new(build(request, settings, reply)),
        route: route(request.message, request.arrival, settings, reply.address(), note.is_some()),
        event: Event::Answered { message, address, client: request.client(), file, note },
    }
}

impl Request<'_> {
    /// The lease of `address` to this client until `until`.
    pub fn lease(&self, address: Ipv4Addr, until: Timestamp) -> Lease {
        let hardware = self.message.hardware().to_vec();
        let until = until.rounded_up();
        Lease { address, client: self.client.clone(), hardware, state: State::Leased, until }
    }
}

/// The lease time granted: what the client asks for (option 51) within the bounds of `address`'s
/// subnet, or that subnet's default.
fn lease_time(request: &Request<'_>, address: Ipv4Addr, settings: &Settings) -> Duration {
    let bounds = request.subnet_of(address, settings).lease;
    match request.message.options.u32(code::LEASE_TIME) {
        Some(seconds) => Duration::from_secs(u64::from(seconds)).clamp(bounds.min, bounds.max),
        None => bounds.default,
    }
}

/// Whether a message that names `server` (option 54) or none is for us: that is one of the interface's addresses.
fn is_ours(request: &Request<'_>, server: Option<Ipv4Addr>) -> bool {
    server.is_none_or(|server| server == request.server || request.arrival.addresses.contains(&server))
}

fn is_leased_to(binding: &Binding, client: &ClientId) -> bool {
    binding.state == State::Leased && binding.client == *client
}
