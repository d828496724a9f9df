//! The images folder: opens its files for clients, stores uploads and files of `lanboot images add`, and recognises
//! the content of files. The servers and the commands use it. No lookup ever leaves the folder.

pub mod add;
pub mod build;
pub mod builds;
pub mod catalog;
mod compression;
pub mod content;
pub mod file_cache;
mod folder;
pub mod ipxe;
pub mod kind;
pub mod list;
pub mod manifest;
mod open_file;
pub mod placement;
mod resolve;
mod root;
pub mod signature;
mod temporary;
pub mod upload;
pub mod upload_limits;
mod version;

pub use catalog::Catalog;
pub use content::{Content, Text};
pub use file_cache::CachedFile;
pub use open_file::OpenFile;
pub use upload::{UPLOADED, UploadFile, UploadFolder};
