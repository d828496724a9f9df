//! The entries of a lease file. The readers of all formats return them.

use std::net::Ipv4Addr;

use crate::lease::binding::Lease;
use crate::lease::import::host::Host;
use crate::lease::import::place::Problem;

/// An entry in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// The state of an address: its lease, or `None` if no client has it. The last entry of an address counts.
    Entry(Ipv4Addr, Option<Lease>),
    /// A lease of an IPv6 address.
    Ipv6,
    /// A machine with a reservation.
    Host(Host),
    /// An unreadable entry, with its address if that could be read.
    Broken(Problem, Option<Ipv4Addr>),
}
