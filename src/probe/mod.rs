//! A network-boot client without I/O: input is packets and time, output is packets to send and a time to wait for. It
//! shares only `wire/` and `types/` with the server, so that it does not share the server's mistakes.
//!
//! A [`Machine`] is one network boot of one machine, from the first DISCOVER to the last byte of the boot file. The
//! caller (`cli/probe/`, the tests) owns the sockets and the clock. It does what each [`Step`] says, passes in what
//! arrives, and calls [`handle`](Machine::handle) with [`Input::Timeout`] after `wait_until`. Virtual time works too.
//!
//! `offer.rs` reads a reply as the firmware would, `choice.rs` chooses among the offers, `boot_server.rs` asks port
//! 4011, and `download.rs` loads over TFTP. The caller makes HTTP requests itself, because they are not packets.
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
pub use step::{Input, Ports, Progress, Step, Timing, Transmit};
pub use vendor::Vendor;

#[cfg(test)]
mod tests;
