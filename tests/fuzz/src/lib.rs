//! The checks behind the targets, which the main crate's tests share.

#[path = "../../common/fuzz/mod.rs"]
pub mod properties;
