//! Which client asks for a file, at which address, and what is known of its machine.

use std::net::Ipv4Addr;

use crate::content::machines::{KnownMachine, Standing};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its address.
    pub address: Ipv4Addr,
    /// The address of ours that it asked.
    pub server: Ipv4Addr,
    /// What is known of it.
    pub machine: KnownMachine,
    /// How sure that is.
    pub standing: Standing,
}
