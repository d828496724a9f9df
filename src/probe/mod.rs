//! A PXE client's brain: bytes in, what to send and how long to wait out. It shares only `wire/` with the server, so
//! that it does not share the server's mistakes.
//!
//! A [`Machine`] is one network boot of one machine, from the first DISCOVER to the last byte of the boot file. Whoever
//! drives it owns the sockets and the clock: send what each [`Step`] says, hand in what arrives, and call
//! [`handle`](Machine::handle) with [`Input::Timeout`] when `wait_until` has passed. Virtual time works as well as real.
//!
//! What happens in between: `offer.rs` reads a reply as the firmware would, `choice.rs` picks among the offers,
//! `boot_server.rs` asks port 4011, `download.rs` loads by TFTP. HTTP is not packets, so whoever drives the machine does
//! it.
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod boot_server;
mod choice;
mod download;
mod failure;
mod fetch;
mod machine;
pub mod models;
mod offer;
mod profile;
mod step;
mod text;
mod vendor;

pub use failure::Failure;
pub use machine::Machine;
pub use offer::{Class, Offer, Unusable};
pub use profile::{Firmware, Kind, Profile};
pub use step::{Input, Ports, Progress, Step, Transmit, Waiting};
pub use vendor::Vendor;

#[cfg(test)]
mod tests;
