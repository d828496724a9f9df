//! YAML as a tree of nodes with their places in the file, and the reader of keys and values from it. It knows no key.

pub(in crate::config) mod keys;
pub(in crate::config) mod place;
pub(in crate::config) mod reader;
pub(in crate::config) mod tree;
