//! The program that sent a DHCP message.

use crate::types::{Arch, Firmware};

/// The program that sent a DHCP message. The machine that it runs on is in [`Record::machine`](super::Record::machine).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    pub firmware: Firmware,
    /// The client architecture, if the message has one.
    pub arch: Option<Arch>,
}
