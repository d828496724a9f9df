//! The checks behind the targets, which the main crate's tests share.

pub use support::fuzz as properties;
