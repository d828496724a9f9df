//! The files of boot-images/: opened by name beneath the folder, never outside it.

pub mod catalog;
pub mod content;

pub use catalog::{Catalog, OpenFile};
pub use content::{Content, Text};
