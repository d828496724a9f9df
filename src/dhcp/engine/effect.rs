//! Effects: everything that the engine requests of its caller. The server carries them out in order, with one `match`
//! arm for each. The engine itself never carries out an effect.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::route::Route;
use crate::event::{Context, DropReason, Record};
use crate::lease::{Lease, LeaseChange};
use crate::wire::dhcp::Message;

/// The queue of effects to be carried out, in order. The caller of the engine owns it and reuses it for the next
/// message, so that a message needs no allocation for it.
pub type Effects = VecDeque<Effect>;

/// One effect. All effects of one call belong to the message of that call and its interface.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a box would cost an allocation for each ACK; the queue is used again"
)]
pub enum Effect {
    /// Count and log this, and pass it to the subscribers.
    Record(Record),
    /// Send a reply that needs nothing to be stored.
    Send {
        reply: OutgoingReply,
        /// Delay before the reply is sent; almost always zero.
        wait: Duration,
        /// The record that the reply was sent.
        record: Record,
    },
    /// Store a lease, and only then send the reply that promises it. The book already contains the lease. Report the
    /// outcome to [`Engine::stored`](super::Engine::stored).
    Store(Promise),
    /// Check whether a machine uses `address`, then call [`Engine::checked`](super::Engine::checked) with the same
    /// message. If the check begins, or if no probe can be sent, call [`Engine::hold`](super::Engine::hold) first.
    CheckAddress {
        address: Ipv4Addr,
        /// The change that holds the address for the client during the check.
        hold: LeaseChange,
        /// Whether the address is on the wire of the receiving interface, and not behind a relay agent.
        on_wire: bool,
        /// Whether the configuration names the client. Such a client is not refused when too many addresses are being
        /// checked.
        is_expected: bool,
        context: Context,
    },
    /// Check whether the machine that has a lease of `address` still answers there, then call
    /// [`Engine::checked`](super::Engine::checked) with the same message. The book stays unchanged meanwhile.
    AskHolder {
        address: Ipv4Addr,
        /// Whether the address is on the wire of the receiving interface, and not behind a relay agent.
        on_wire: bool,
        context: Context,
    },
    /// The client declines `address`: check which machines use it, then call
    /// [`Engine::declined`](super::Engine::declined) with the same message. If the check begins, call
    /// [`Engine::decline_check_started`](super::Engine::decline_check_started).
    CheckDecline {
        address: Ipv4Addr,
        /// The message is a RELEASE. No probe is needed for it; only its sender matters.
        is_release: bool,
        context: Context,
    },
    /// Keep this message until the DECLINE of `address` is decided on, then call
    /// [`Engine::resume`](super::Engine::resume) with it. It replaces an earlier message that waits for the same
    /// DECLINE.
    AwaitDecline { address: Ipv4Addr, context: Context },
    /// End the check of the DECLINE of `address`, because the client takes the address.
    EndDecline { address: Ipv4Addr },
}

/// A reply with its route and source address.
#[derive(Debug)]
pub struct OutgoingReply {
    /// The reply. It is boxed as in [`Decision`](crate::dhcp::decision::Decision), which created it.
    pub message: Box<Message>,
    pub route: Route,
    /// Our address, which is the source of the reply.
    pub server: Ipv4Addr,
}

/// Maximum number of leases that wait to be stored. A message that would exceed it is dropped; its client asks again.
pub const MAX_WAITING: usize = 4096;

/// A lease to be stored, and the reply and event that follow.
#[derive(Debug)]
pub struct Promise {
    pub lease: Lease,
    /// Leases of the same client that end when this one is stored. They are stored together with it or not at all.
    pub ended: Vec<Lease>,
    /// The reply to send once the lease is stored; none for a RELEASE or DECLINE.
    pub reply: Option<OutgoingReply>,
    /// The reply to send if the lease cannot be stored, or not in time; `None` means no reply.
    pub fallback: Option<Box<FallbackReply>>,
    /// The record that the lease was stored, or that the reply was sent.
    pub record: Record,
}

/// The reply that replaces one that promises a new lease. It promises only the time that is stored already.
#[derive(Debug)]
pub struct FallbackReply {
    /// The reply.
    pub reply: OutgoingReply,
    /// The record that it was sent.
    pub record: Record,
}

/// The outcome of storing some leases.
#[derive(Debug)]
pub struct Outcome {
    pub leases: Vec<Lease>,
    /// Whether the leases are on stable storage.
    pub stored: bool,
}

/// Records that a message is not answered.
pub(super) fn drop_message(out: &mut Effects, reason: DropReason, context: &Context) {
    out.push_back(Effect::Record(context.dropped(reason)));
}
