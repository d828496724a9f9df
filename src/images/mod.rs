//! The files of boot-images/, opened by name, and those that clients upload or `lanboot images` puts there. Always
//! beneath their folder, never outside.

pub mod add;
pub mod catalog;
pub mod content;
mod folder;
pub mod ipxe;
pub mod kind;
pub mod list;
pub mod manifest;
pub mod placement;
mod resolve;
mod root;
pub mod short;
pub mod signature;
pub mod stock;
mod temporary;
pub mod upload;
mod version;

pub use catalog::{Catalog, OpenFile};
pub use content::{Content, Text};
pub use short::ShortFile;
pub use upload::{Incoming, NewFile};
