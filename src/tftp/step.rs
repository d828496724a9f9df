//! The inputs and outputs of a download: the interface between `transfer.rs` and the owner of the socket.

use crate::event::TransferEnd;
use crate::wire::tftp::Packet;

/// An input of a download.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The client sent this packet to the transfer's port.
    Packet(&'a Packet<'a>),
    /// [`super::Transfer::deadline`] has passed.
    Timeout,
    /// ICMP reported the client's port as unreachable.
    Unreachable,
}

/// The action that the owner of the socket must take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send this, then wait until [`super::Transfer::deadline`].
    Send(Send),
    /// Continue to wait until [`super::Transfer::deadline`].
    Wait,
    /// End the transfer and send nothing: an ERROR from the client is never answered, and a silent client would not
    /// read one.
    End(TransferEnd),
}

/// The packets to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Send {
    /// The OACK.
    Options,
    /// These blocks in order.
    Blocks {
        /// The number of the first block.
        first: u64,
        /// The number of the last block, included; at least `first`.
        last: u64,
    },
}
