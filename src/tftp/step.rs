//! What happens to a download, and what is to be done about it: between `transfer.rs` and whoever has the socket.

use crate::event::End;
use crate::wire::tftp::Packet;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The client sent this to the transfer's port.
    Packet(&'a Packet<'a>),
    /// [`super::Transfer::deadline`] has come.
    Timeout,
    /// The network says that nobody listens at the client's port (ICMP).
    Unreachable,
}

/// What is to be done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send, then wait until [`super::Transfer::deadline`].
    Send(Send),
    /// Go on waiting until [`super::Transfer::deadline`].
    Wait,
    /// It is over. Nothing is sent: an ERROR is never answered, and to a silent client it would be for nobody.
    End(End),
}

/// What is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Send {
    /// The options granted (OACK).
    Options,
    /// These blocks, in order.
    Blocks {
        /// The number of the first.
        first: u64,
        /// The number of the last one, included; at least `first`.
        last: u64,
    },
}
