//! The plan of a probe: the arguments of `lanboot probe`, resolved on this computer.

use super::boot::Client;
use super::wire::Destination;
use crate::probe::Ports;

/// Everything that a probe has to do. `Arguments::plan` builds it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) destination: Destination,
    pub(super) ports: Ports,
    /// One for each `--arch`.
    pub(super) clients: Vec<Client>,
    pub(super) storm: Option<Storm>,
    pub(super) json: bool,
}

/// A boot storm: the number of machines, and their rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Storm {
    pub(super) count: u32,
    /// Machines per second; `None` starts all at once.
    pub(super) rate: Option<u32>,
}
