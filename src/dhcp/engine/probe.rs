//! The results of probing an address, and their meaning. The server reports them to the engine.

use std::net::Ipv4Addr;

use crate::types::MacAddr;

/// Evidence that a machine uses an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressInUse {
    pub address: Ipv4Addr,
    /// The machine's hardware address as ARP states it; `None` without ARP.
    pub by: Option<MacAddr>,
    /// The hardware address that sent the frame; `None` without ARP.
    pub from: Option<MacAddr>,
}

/// The meaning of an answer from an address that is being checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// No meaning; the check continues.
    Nothing,
    /// The client that holds the address answers.
    Holder {
        /// Whether the client has a lease. If so, the address is in use for any machine that asks for it.
        is_leased: bool,
    },
    /// Another machine uses the address.
    InUse,
    /// This machine has just been found to answer for any address; it answered for these addresses.
    ProxyArp(MacAddr, Vec<Ipv4Addr>),
}

/// The outcome of probing an address that a client declined.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DeclineProbe {
    /// Whether the client itself answers at the address.
    pub client_answers: bool,
    /// The first other machine that answers there.
    pub other: Option<AddressInUse>,
    /// Whether the DECLINE came in a frame from its client's hardware address; `None` if frames are not captured.
    pub from_client: Option<bool>,
}
