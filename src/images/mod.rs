//! The files of boot-images/, opened by name, and those that clients upload or `lanboot images` puts there. Always
//! beneath their folder, never outside.

pub mod apt;
pub mod catalog;
pub mod collection;
pub mod content;
pub mod deb;
pub mod fetch;
mod folder;
pub mod incoming;
pub mod inventory;
pub mod ipxe;
pub mod kind;
pub mod manifest;
pub mod pe;
pub mod placement;
mod policy;
pub mod progress;
mod resolve;
mod root;
pub mod sets;
pub mod short;
pub mod staging;
pub mod stock;
mod version;

pub use catalog::{Catalog, OpenFile};
pub use content::{Content, Text};
pub use incoming::{Incoming, NewFile};
pub use short::ShortFile;
