//! HTTP/1.1 for boot files, without sockets: what a request's bytes ask for, and the head of the answer (RFC 9110,
//! RFC 9112).
//!
//! [`Request::parse`] reads a head, [`target::name`] the file it names, and [`answer`] says which bytes of that file
//! follow which head. Only GET and HEAD without a body are understood here: they are all that booting takes, and the
//! server gives everything else to a general HTTP library.
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod answer;
mod condition;
mod head;
pub mod media;
mod range;
mod request;
pub mod target;

pub use answer::{Answer, Resource, answer};
pub use condition::{Validators, date};
pub use head::{Status, refusal};
pub use request::{BadHead, HEAD_LIMIT, Method, Request, as_known_version, head_length};
