//! The images folder: opens its files for clients, stores uploads and files of `lanboot images add`, and recognises
//! the content of files. The servers and the commands use it. No lookup ever leaves the folder.

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
