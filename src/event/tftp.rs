//! How a TFTP transfer ends.

/// The end of a TFTP transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferEnd {
    /// The client acknowledged the last block.
    Sent,
    /// The client only asked for the size.
    SizeProbe,
    /// The transfer ended before the client acknowledged the last block.
    Stopped(TransferStop),
}

/// The reason why a TFTP transfer ended before the end of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferStop {
    /// The client stopped sending acknowledgements.
    Silent,
    /// The client sent an ERROR.
    Refused {
        /// The error code (RFC 1350 section 5).
        code: u16,
        /// The error message as the client sent it.
        message: String,
    },
    /// ICMP reported the client's port as unreachable.
    Unreachable,
    /// The client sent a new request from the same port.
    Replaced,
    /// The client was silent and its place was needed for another transfer.
    Evicted,
    /// The file could no longer be read, or became shorter.
    Unreadable,
    /// lanboot is shutting down.
    ServerStops,
}

impl TransferStop {
    /// The names of all reasons. [`TransferStop::name`] returns one of them.
    pub const NAMES: [&str; 7] =
        ["silent", "client_error", "unreachable", "replaced", "evicted", "unreadable", "server_stops"];

    /// Returns the stable name.
    pub fn name(&self) -> &'static str {
        let [silent, client_error, unreachable, replaced, evicted, unreadable, server_stops] = Self::NAMES;
        match self {
            TransferStop::Silent => silent,
            TransferStop::Refused { .. } => client_error,
            TransferStop::Unreachable => unreachable,
            TransferStop::Replaced => replaced,
            TransferStop::Evicted => evicted,
            TransferStop::Unreadable => unreadable,
            TransferStop::ServerStops => server_stops,
        }
    }
}
