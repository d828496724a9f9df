//! The type of decisions, and the parts that several decisions share. `decide.rs` and `proxy.rs` choose the decision,
//! and the engine carries it out.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::boot::identity::Identity;
use crate::boot::plan;
use crate::dhcp::level::DEFAULT_LEASE;
use crate::dhcp::reply::{Reply, build};
use crate::dhcp::request::Request;
use crate::dhcp::route::{Route, route};
use crate::dhcp::settings::Settings;
use crate::event::{DropReason, Event, Message as Kind};
use crate::lease::{Binding, Holder, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
use crate::types::{Firmware, Timestamp};
use crate::wire::dhcp::Message;
use crate::wire::option::code;

/// A decision on a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Make the change, store it if it must be stored, and then send the reply.
    Answer {
        /// The change to the book, if any.
        change: Option<LeaseChange>,
        /// The reply. It is boxed because it is large, and under attack most decisions send no reply.
        reply: Box<Message>,
        route: Route,
        /// Delay before the reply is sent; almost always zero.
        wait: Duration,
        /// The event to record afterwards.
        event: Event,
    },
    /// Hold the address and check whether another machine uses it, then decide again.
    CheckAddress {
        address: Ipv4Addr,
        /// The change that holds the address.
        hold: LeaseChange,
    },
    /// The client declines the address: check whether another machine uses it, then call
    /// [`declined`](crate::dhcp::conflict::declined). If the client releases it, find out only whether the client sent
    /// the message, then call [`released`](crate::dhcp::decide::released).
    CheckDecline { address: Ipv4Addr },
    /// Check whether the machine that has a lease of this address still answers there, then decide again with the
    /// result in [`Request::probed`]. The book stays unchanged, because the lease may be in use.
    AskHolder { address: Ipv4Addr },
    /// Store this lease without a reply to the client.
    Quiet {
        /// The released or declined lease.
        lease: Lease,
        /// The event to record afterwards.
        event: Event,
    },
    /// Do not answer.
    Silent {
        reason: DropReason,
        /// The change to make although no reply is sent: an offer to forget, or an address to avoid.
        change: Option<LeaseChange>,
    },
}

impl Decision {
    /// No reply and no change.
    pub fn silent(reason: DropReason) -> Decision {
        Decision::Silent { reason, change: None }
    }
}

/// The change that keeps `address` for the client for [`OFFER_HOLD`], in memory only.
pub fn hold(request: &Request<'_>, address: Ipv4Addr, state: State, now: Timestamp) -> LeaseChange {
    LeaseChange::Hold { address, holder: request.holder.clone(), state, until: now.after(OFFER_HOLD) }
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
    let file = boot.map(|choice| choice.as_sent(request.server_for(reply.address(), settings)));
    let address = reply.address_of(request.message);
    Decision::Answer {
        change,
        wait: match reply {
            Reply::Offer(..) => plan::reply_delay(&request.identity),
            _ => Duration::ZERO,
        },
        reply: Box::new(build(request, settings, reply)),
        route: route(request.message, request.arrival, settings, reply.address(), note.is_some()),
        event: Event::Answered { message, address, client: request.client(), file, note },
    }
}

/// The lease time to grant: the time that the client asks for (option 51) within the bounds of `address`'s subnet, or
/// that subnet's default.
pub(super) fn lease_time(request: &Request<'_>, address: Ipv4Addr, settings: &Settings) -> Duration {
    let bounds = request.levels(address, settings).find_map(|level| level.lease).unwrap_or(DEFAULT_LEASE);
    // Firmware and boot loaders do not ask for a time. The system that they boot asks again, and for longer.
    let Identity { stage, firmware, .. } = &request.identity;
    let boots = |_: &Duration| stage.is_network_boot() || *firmware == Firmware::Grub;
    match request.message.options.u32(code::LEASE_TIME) {
        Some(seconds) => Duration::from_secs(u64::from(seconds)).clamp(bounds.min, bounds.max),
        None => request.subnet_of(address, settings).boot_lease.filter(boots).unwrap_or(bounds.default),
    }
}

/// Whether a message that names `server` (option 54), or no server, is for us. Our identifiers are the one that the
/// relay agent puts into our replies (RFC 5107) and every address of this computer (RFC 2131 section 4.1).
pub(super) fn is_ours(request: &Request<'_>, server: Option<Ipv4Addr>, book: &LeaseBook) -> bool {
    server.is_none_or(|server| {
        request.override_identifier == Some(server)
            || request.arrival.addresses.contains(&server)
            || book.is_own(server)
    })
}

pub(super) fn is_leased_to(binding: &Binding, who: &Holder) -> bool {
    binding.state == State::Leased && binding.holder.is_same_machine(who)
}
