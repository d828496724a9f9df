//! The files of boot-images/, opened by name, and those that clients upload. Always beneath their folder, never outside.

pub mod catalog;
pub mod content;
mod folder;
pub mod incoming;
pub mod kind;

pub use catalog::{Catalog, OpenFile};
pub use content::{Content, Text};
pub use incoming::{Incoming, NewFile};
