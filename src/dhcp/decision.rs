//! Decisions: what is done about a request, and the parts that several decisions are made of. `decide.rs` chooses.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::identity::Identity;
use crate::boot::plan;
use crate::dhcp::reply::{Reply, build};
use crate::dhcp::request::Request;
use crate::dhcp::route::{Route, route};
use crate::dhcp::settings::Settings;
use crate::dhcp::shared_network;
use crate::event::{DropReason, Event, Message as Kind};
use crate::lease::{Binding, Holder, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
use crate::types::{Firmware, Timestamp};
use crate::wire::dhcp::Message;
use crate::wire::option::code;

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

/// Keeps `address` for the client for a while, in memory.
pub fn hold(request: &Request<'_>, address: Ipv4Addr, state: State, now: Timestamp) -> LeaseChange {
    LeaseChange::Hold { address, holder: request.holder.clone(), state, until: now.after(OFFER_HOLD) }
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
pub(super) fn is_ours(request: &Request<'_>, server: Option<Ipv4Addr>, book: &LeaseBook) -> bool {
    server.is_none_or(|server| {
        request.override_identifier == Some(server)
            || request.arrival.addresses.contains(&server)
            || book.is_own(server)
    })
}

pub(super) fn is_leased_to(binding: &Binding, who: &Holder) -> bool {
    binding.state == State::Leased && binding.holder.is(who)
}
