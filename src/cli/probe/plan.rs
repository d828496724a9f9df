//! What the arguments of `lanboot probe` mean on this machine.

use super::boot::Client;
use super::wire::Way;
use crate::probe::Ports;

/// What to do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) way: Way,
    pub(super) ports: Ports,
    /// One for each --arch.
    pub(super) clients: Vec<Client>,
    pub(super) storm: Option<Storm>,
    pub(super) json: bool,
}

/// How many, and how many each second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Storm {
    pub(super) count: u32,
    /// `None`: all at once.
    pub(super) rate: Option<u32>,
}
