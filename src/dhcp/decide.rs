//! Decide: what a message changes in the lease book and what is answered (RFC 2131 section 4.3).

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::identity::Identity;
use crate::boot::plan;
use crate::dhcp::bootp;
use crate::dhcp::claims::{Inheritance, inheritance, is_one_too_many, other_lease};
use crate::dhcp::conflict::{decline, look_first};
use crate::dhcp::keep::keep;
use crate::dhcp::reply::{Reply, build};
use crate::dhcp::request::{Ask, Request};
use crate::dhcp::route::{Route, route};
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::event::{DropReason, Event, Message as Kind};
use crate::lease::{Binding, Holder, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
use crate::types::{Firmware, HardwareAddr, Timestamp};
use crate::wire::dhcp::Message;
use crate::wire::option::code;

/// How long an address is kept for a client that boots by the offer alone, if its subnet has no `boot_lease`.
pub const BOOT_HOLD: Duration = Duration::from_secs(600);

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
        /// How long it waits before it goes: almost always no time.
        wait: Duration,
        /// What then has happened.
        event: Event,
    },
    /// Hold the address and find out whether somebody uses it already; then decide once more.
    CheckAddress {
        /// The address.
        address: Ipv4Addr,
        /// The change to the book.
        hold: LeaseChange,
    },
    /// The client declines the address: find out whether another machine uses it; then ask
    /// [`declined`](crate::dhcp::conflict::declined).
    CheckDecline {
        /// The address.
        address: Ipv4Addr,
    },
    /// Find out whether the machine that has a lease of this address still answers there, then decide again with the
    /// answer in [`Request::probed`]. The book stays as it is: the lease may be in use.
    AskHolder {
        /// The address.
        address: Ipv4Addr,
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
        /// The change all the same: an offer to forget, or an address to avoid.
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
    // Selecting another server frees our offer; all else that names another is simply not for us.
    let named = request.ask.server().filter(|_| !matches!(request.ask, Ask::Select { .. }));
    if !is_ours(request, named, book) {
        return Decision::silent(DropReason::OtherServer);
    }
    match request.ask {
        Ask::Discover { requested } => discover(request, requested, book, settings, now),
        Ask::Select { server, address } => select(request, server, address, book, settings, now),
        Ask::InitReboot { address } | Ask::Extend { address, .. } => {
            keep(request, address, book, settings, now)
        }
        Ask::Decline { address, .. } => decline(request, address, book, settings, now),
        Ask::Release { address, .. } => release(request, address, book, now),
        Ask::Inform => inform(request, settings),
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
    let who = &request.holder;
    let reserved = own_reservation(request, book, settings, now);
    let inherited = match reserved {
        Some(_) => Inheritance::None,
        None => inheritance(request, book, settings, now),
    };
    let found = match inherited {
        Inheritance::IfSilent(address) if !request.beside => return Decision::AskHolder { address },
        Inheritance::Takes(address) if !request.beside => {
            // It stays the other machine's until the client takes it: an OFFER is sent for any forged DISCOVER.
            return answer(
                request,
                settings,
                Reply::Offer(address, lease_time(request, address, settings)),
                None,
            );
        }
        _ => reserved.or_else(|| shared_network::find_address(request, requested, book, settings, now)),
    };
    let Some(address) = found else { return turn_away(request, now) };
    if is_one_too_many(request, address, book, now) {
        return Decision::silent(DropReason::TooManyIds);
    }
    let own = book.binding(address).filter(|binding| binding.holder.is(who));
    let leased = own.filter(|binding| binding.state == State::Leased && binding.until > now);
    if request.beside && reserved.is_none() && leased.is_none() {
        return Decision::silent(DropReason::BesideServer);
    }
    if let Some(first) = look_first(request, address, book, settings, now) {
        return first;
    }
    let lease = lease_time(request, address, settings);
    let boot_hold = now.after(request.subnet_of(address, settings).boot_lease.unwrap_or(BOOT_HOLD));
    let change = match leased {
        // It has taken the address with this offer. Made-up clients of this kind must not fill the pool.
        _ if plan::takes_the_offer(&request.identity) && !is_crowded(book, address) => {
            let until = leased.map_or(boot_hold, |leased| leased.until.max(boot_hold));
            let holder = request.holder.clone();
            Some(LeaseChange::Hold { address, holder, state: State::Leased, until })
        }
        // It is held for the client anyway.
        Some(leased) if leased.until >= now.after(OFFER_HOLD) => None,
        Some(_) => Some(hold(request, address, State::Leased, now)),
        None => Some(hold(request, address, State::Offered, now)),
    };
    answer(request, settings, Reply::Offer(address, lease), change)
}

fn is_crowded(book: &LeaseBook, address: Ipv4Addr) -> bool {
    book.pool_of(address).is_some_and(|subnet| book.is_crowded(subnet, address))
}

/// No address is free for the client. It is preferred when it asks again.
fn turn_away(request: &Request<'_>, now: Timestamp) -> Decision {
    let change = Some(LeaseChange::TurnAway { client: request.holder.client.clone(), at: now });
    Decision::Silent { reason: DropReason::PoolExhausted, change }
}

/// Keeps `address` for the client for a while, in memory.
pub fn hold(request: &Request<'_>, address: Ipv4Addr, state: State, now: Timestamp) -> LeaseChange {
    LeaseChange::Hold { address, holder: request.holder.clone(), state, until: now.after(OFFER_HOLD) }
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
    if !is_ours(request, Some(server), book) {
        let offer = shared_network::offer_to(request, book, settings, now);
        let change = offer.map(|address| LeaseChange::Withdraw { address, holder: request.holder.clone() });
        return Decision::Silent { reason: DropReason::OtherServer, change };
    }
    // It was offered its lease, and nothing else, for as long as it may have that: also before a restart of ours.
    let lease = other_lease(request, address, book, settings, now);
    if lease.is_some_and(|own| may_have(request, own, book, settings, now)) {
        return nak(request, settings, "this client has another address, and was not offered that one");
    }
    // Nor is it known after a restart what was offered: then any free address of its pool will do.
    if may_have(request, address, book, settings, now) {
        return grant(request, address, book, settings, now);
    }
    match inheritance(request, book, settings, now) {
        Inheritance::IfSilent(other) if other == address => Decision::AskHolder { address },
        Inheritance::Takes(other) if other == address => acknowledge(request, address, book, settings, now),
        _ => nak(request, settings, "that address was not offered to this client, or its offer ran out"),
    }
}

/// INFORM: options for an address that the client has from elsewhere. It must be of this wire: where another one is, the
/// answer would go to a stranger (RFC 2131 section 4.3.5: the network address should be checked).
fn inform(request: &Request<'_>, settings: &Settings) -> Decision {
    let (said, source) = (request.message.ciaddr, *request.arrival.source.ip());
    let address = if said.is_unspecified() { source } else { said };
    let is_told_elsewhere =
        address.is_unspecified() || request.arrival.loopback || !request.message.giaddr.is_unspecified();
    if is_told_elsewhere || shared_network::has_host(request, address, settings) {
        answer(request, settings, Reply::Inform, None)
    } else {
        Decision::silent(DropReason::NoSubnet)
    }
}

/// Whether the client can be given `address`: reserved for it or, if nothing is, in the pool; and nobody else holds it.
pub(super) fn may_have(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> bool {
    let who = &request.holder;
    let entitled = match own_reservation(request, book, settings, now) {
        Some(reserved) => reserved == address,
        None => {
            shared_network::shares(request, address, book, settings)
                && (request.machine.is_some() || book.admits(address, who, now))
        }
    };
    entitled && (book.is_free_for(address, who, now) || book.had_offer(address, who, now))
}

/// The address reserved for the client, unless somebody else has it.
pub(super) fn own_reservation(
    request: &Request<'_>,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Option<Ipv4Addr> {
    reserved_address(request, settings).filter(|address| book.is_free_for(*address, &request.holder, now))
}

/// ACKs `address` for the lease time. The reply leaves after the lease is stored.
pub(super) fn grant(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    if is_one_too_many(request, address, book, now) {
        return Decision::silent(DropReason::TooManyIds);
    }
    if let Some(first) = look_first(request, address, book, settings, now) {
        return first;
    }
    acknowledge(request, address, book, settings, now)
}

/// ACKs `address`, which may be in use by no other machine.
pub(super) fn acknowledge(
    request: &Request<'_>,
    address: Ipv4Addr,
    book: &LeaseBook,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    let lease = lease_time(request, address, settings);
    match store(request.lease(address, now.after(lease)), book, now) {
        Some(change) => answer(request, settings, Reply::Ack(address, lease), Some(change)),
        None => Decision::silent(DropReason::StoreFailed),
    }
}

/// Grants `lease`, which ends the client's other leases on its wire. `None` if that cannot be stored now.
pub fn store(lease: Lease, book: &LeaseBook, now: Timestamp) -> Option<LeaseChange> {
    let ended = book.ended_by(&lease, now)?;
    Some(if ended.is_empty() { LeaseChange::Store(lease) } else { LeaseChange::Replace { lease, ended } })
}

pub(super) fn nak(request: &Request<'_>, settings: &Settings, why: &'static str) -> Decision {
    answer(request, settings, Reply::Nak(why), None)
}

/// Frees the client's own address: only the one it holds, and only when it sends from it, or its relay agent does: what
/// a message says of a relay agent that it did not come from, anybody can write.
fn release(request: &Request<'_>, address: Ipv4Addr, book: &LeaseBook, now: Timestamp) -> Decision {
    let arrival = request.arrival;
    let giaddr = request.message.giaddr;
    let source = *arrival.source.ip();
    let sent_from_it =
        source == address || arrival.loopback || (!giaddr.is_unspecified() && source == giaddr);
    let held = book.binding(address).is_some_and(|b| is_leased_to(b, &request.holder) && b.until > now);
    if !held || !sent_from_it {
        return Decision::silent(DropReason::NotOwner);
    }
    let lease = request.lease(address, now).released(now);
    let event = Event::Released { address, client: request.client() };
    Decision::Quiet { lease, event }
}

/// The address reserved for the client, if it is one of its wire and not ours.
pub fn reserved_address(request: &Request<'_>, settings: &Settings) -> Option<Ipv4Addr> {
    let address = request.machine?.address?;
    let is_ours = request.arrival.addresses.contains(&address);
    (!is_ours && shared_network::has_host(request, address, settings)).then_some(address)
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
    let boot = request.boot.as_ref().filter(|_| note.is_none());
    let file = boot.map(|choice| choice.named(request.server_for(reply.address(), settings)));
    let address = reply.address_of(request.message);
    Decision::Answer {
        change,
        wait: match reply {
            Reply::Offer(..) => plan::wait(&request.identity),
            _ => Duration::ZERO,
        },
        reply: Box::new(build(request, settings, reply)),
        route: route(request.message, request.arrival, settings, reply.address(), note.is_some()),
        event: Event::Answered { message, address, client: request.client(), file, note },
    }
}

impl Request<'_> {
    /// The lease of `address` to this client until `until`.
    pub fn lease(&self, address: Ipv4Addr, until: Timestamp) -> Lease {
        let hardware = HardwareAddr::new(self.message.hardware()).unwrap_or_default();
        let until = until.rounded_up();
        Lease { address, holder: self.holder.clone(), hardware, state: State::Leased, until }
    }
}

/// The lease time granted: what the client asks for (option 51) within the bounds of `address`'s
/// subnet, or that subnet's default.
pub(super) fn lease_time(request: &Request<'_>, address: Ipv4Addr, settings: &Settings) -> Duration {
    let bounds = request.subnet_of(address, settings).lease;
    // Firmware and loaders ask for no time; the system they boot asks anew and for longer.
    let Identity { stage, firmware, .. } = &request.identity;
    let boots = |_: &Duration| stage.is_network_boot() || *firmware == Firmware::Grub;
    match request.message.options.u32(code::LEASE_TIME) {
        Some(seconds) => Duration::from_secs(u64::from(seconds)).clamp(bounds.min, bounds.max),
        None => request.subnet_of(address, settings).boot_lease.filter(boots).unwrap_or(bounds.default),
    }
}

/// Whether a message that names `server` (option 54) or none is for us: that is what our relay agent has put into our
/// replies, or any of this computer's addresses (RFC 2131 section 4.1).
fn is_ours(request: &Request<'_>, server: Option<Ipv4Addr>, book: &LeaseBook) -> bool {
    server.is_none_or(|server| {
        request.override_identifier == Some(server)
            || request.arrival.addresses.contains(&server)
            || book.is_own(server)
    })
}

pub(super) fn is_leased_to(binding: &Binding, who: &Holder) -> bool {
    binding.state == State::Leased && binding.holder.is(who)
}
