//! The files of boot-images/: opened by name beneath the folder, never outside it.

pub mod catalog;

pub use catalog::{Catalog, OpenFile};
