//! The client that requests a file. TFTP and HTTP build it for each request.

use std::net::IpAddr;

use crate::content::machines::{KnownMachine, Standing};

/// A client that requests a file, and the facts about its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The client's address.
    pub address: IpAddr,
    /// The server address that received the request.
    pub server: IpAddr,
    /// The facts known about the machine.
    pub machine: KnownMachine,
    /// How certain it is that this machine has the address.
    pub standing: Standing,
}
