//! Parses YAML into a tree of nodes with positions, and reads typed values from it. The sections and `check.rs` use
//! it. Apart from `keys.rs` and `service_keys.rs`, nothing here knows the name of a key.

mod foreign;
pub(in crate::config) mod key;
pub(in crate::config) mod keys;
pub(in crate::config) mod lines;
pub(in crate::config) mod place;
pub(in crate::config) mod positions;
pub(in crate::config) mod reader;
mod service_keys;
pub(in crate::config) mod syntax_error;
pub(in crate::config) mod tree;
