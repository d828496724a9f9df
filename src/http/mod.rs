//! HTTP/1.1 for boot files, without sockets: decodes requests and encodes the heads of answers (RFC 9110, RFC 9112).
//!
//! `server/http/` calls [`Request::parse`] for a head, [`target::name`] for the file that it names, and [`answer`] for
//! the head of the answer and the byte range that follows it. Only GET and HEAD without a body are handled here,
//! because booting needs no more. The server passes all other requests to a general HTTP library.
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
pub mod facts;
mod head;
pub mod media;
mod range;
mod request;
pub mod target;

pub use answer::{Answer, Resource, answer};
pub use condition::{Validators, date};
pub use head::{Status, refusal};
pub use request::{BadHead, HEAD_LIMIT, Method, Request, as_known_version, head_length};
