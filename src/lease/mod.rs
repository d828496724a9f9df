//! The lease book: who holds which address until when, and which address a client gets. This folder never reads a
//! clock or a disk, and knows nothing of messages.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod allocate;
mod book;
mod index;

pub use allocate::Pool;
pub use book::{Binding, Holder, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
