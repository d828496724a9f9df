//! The TFTP protocol: the options granted to a client (`negotiate.rs`), downloads (`transfer.rs`), uploads
//! (`upload.rs`), and admission of transfers (`admission.rs`).
//!
//! `server/tftp/` drives these state machines with packets and time. This folder never touches a socket or a file.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub use negotiate::{Granted, negotiate};
pub use settings::{Engine, Limits, MAX_SILENCE, Ports};
pub use step::{Input, Send, Step};
pub use transfer::Transfer;

pub mod admission;
pub mod negotiate;
pub mod netascii;
pub mod refusal;
pub mod rtt;
mod settings;
mod step;
pub mod transfer;
pub mod unknown_tid;
pub mod upload;
