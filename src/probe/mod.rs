//! A PXE client's brain: bytes in, what to send and how long to wait out. It shares only `wire/` with the server, so
//! that it does not share the server's mistakes.
//!
//! A [`Machine`] is one network boot of one machine, from the first DISCOVER to the last TFTP block. Whoever drives it
//! owns the sockets and the clock: send what each [`Step`] says, hand in what arrives, and call
//! [`handle`](Machine::handle) with [`Input::Timeout`] when `wait_until` has passed. Virtual time works as well as real.
//!
//! Left out on purpose: proxyDHCP (two servers share the answer), boot servers on port 4011 and PXE menus. A reply that
//! would send real firmware there is reported as unusable, with that reason.
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod download;
mod machine;
pub mod models;
mod offer;
mod profile;
mod step;

pub use machine::Machine;
pub use offer::{Offer, Unusable};
pub use profile::{Kind, Profile};
pub use step::{Failure, Input, Ports, Progress, Step, Transmit};

#[cfg(test)]
mod tests;
