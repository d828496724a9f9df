//! Details of received DHCP messages.

use std::net::Ipv4Addr;

/// Details of a received message, from which a journey knows a retry from a new attempt.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Details {
    /// The transaction id.
    pub xid: u32,
    /// The seconds since the client began, as the client states them. iPXE puts other facts there.
    pub secs: u16,
    /// The relay agent (`giaddr`).
    pub relay: Option<Ipv4Addr>,
    /// The server that the message names (option 54).
    pub server: Option<Ipv4Addr>,
    /// Whether the message asks the boot service (port 4011).
    pub boot_service: bool,
}
