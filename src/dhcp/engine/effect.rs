//! Effects: everything the engine has the shell do. The shell carries them out in order, one arm of a `match` for each.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::route::Route;
use crate::event::{Client, DropReason, Event};
use crate::lease::{Lease, LeaseChange};
use crate::wire::dhcp::Message;

/// The effects that wait to be carried out, the first one first. The caller of the engine owns it and uses it again for
/// the next message, so that a message costs no allocation for it.
pub type Effects = VecDeque<Effect>;

/// One thing to do. All effects of one call are about the message of that call and its interface.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would cost an allocation for each ACK; the queue is used again"
)]
pub enum Effect {
    /// Record this event.
    Record(Event),
    /// Send a reply that promises nothing new.
    Send {
        /// The reply.
        reply: OutgoingReply,
        /// Time to wait before that; almost always zero.
        wait: Duration,
        /// Event to record once it is sent.
        event: Event,
    },
    /// Store a lease, and only then send the reply that promises it. The book has the lease already; the outcome goes to
    /// [`Engine::stored`](super::Engine::stored).
    Store(Promise),
    /// Find out whether a machine uses `address`, then call [`Engine::checked`](super::Engine::checked) with the same
    /// message. If the check begins, or if the network cannot be asked, call [`Engine::hold`](super::Engine::hold) first.
    CheckAddress {
        /// The address.
        address: Ipv4Addr,
        /// The change that holds the address for the client during the check.
        hold: LeaseChange,
        /// Whether the address is of the wire that the message came in on, and not behind a relay agent.
        on_wire: bool,
        /// Whether the configuration names the client: it is not turned away when too many addresses are being checked.
        is_expected: bool,
        /// The client.
        client: Client,
    },
    /// Find out whether the machine that has a lease of `address` still answers there, then call
    /// [`Engine::checked`](super::Engine::checked) with the same message. The book stays as it is meanwhile.
    AskHolder {
        /// The address.
        address: Ipv4Addr,
        /// Whether the address is of the wire that the message came in on, and not behind a relay agent.
        on_wire: bool,
        /// The client.
        client: Client,
    },
    /// The client declines `address`: find out which machines use it, then call
    /// [`Engine::declined`](super::Engine::declined) with the same message. If the check begins, call
    /// [`Engine::decline_begun`](super::Engine::decline_begun).
    CheckDecline {
        /// The address.
        address: Ipv4Addr,
        /// The client.
        client: Client,
    },
    /// Keep this message until the DECLINE of `address` is decided on, in place of one that waits for the same, then call
    /// [`Engine::resume`](super::Engine::resume) with it.
    AwaitDecline {
        /// The address.
        address: Ipv4Addr,
        /// The client.
        client: Client,
    },
    /// End the check of the DECLINE of `address`: the client takes the address.
    EndDecline {
        /// The address.
        address: Ipv4Addr,
    },
}

/// A reply and the way it goes.
#[derive(Debug)]
pub struct OutgoingReply {
    /// The reply. Boxed as in [`Decision`](crate::dhcp::decision::Decision), which made it.
    pub message: Box<Message>,
    /// The way it goes.
    pub route: Route,
    /// The address of ours that it comes from.
    pub server: Ipv4Addr,
}

/// A lease to be stored, and what then happens.
#[derive(Debug)]
pub struct Promise {
    /// The lease.
    pub lease: Lease,
    /// Leases of the same client that end when this one is stored: with it, or not at all.
    pub ended: Vec<Lease>,
    /// The reply that may leave once it is stored; none for a RELEASE or DECLINE.
    pub reply: Option<OutgoingReply>,
    /// The reply that leaves if it cannot be stored, or not in time; none if that is silence.
    pub otherwise: Option<Otherwise>,
    /// Event to record once it is stored, or once the reply is sent.
    pub event: Event,
}

/// The reply in place of one that promises something new. It promises only what is stored already.
#[derive(Debug)]
pub struct Otherwise {
    /// The reply.
    pub reply: OutgoingReply,
    /// Event to record once it is sent.
    pub event: Event,
}

/// The outcome of storing some leases.
#[derive(Debug)]
pub struct Outcome {
    /// The leases.
    pub leases: Vec<Lease>,
    /// Whether they are on stable storage.
    pub stored: bool,
}

/// Records that a message is not answered.
pub(super) fn drop_message(out: &mut Effects, reason: DropReason, client: Option<Client>) {
    out.push_back(Effect::Record(Event::Dropped { reason, client }));
}
