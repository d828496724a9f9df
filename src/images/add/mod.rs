//! `lanboot images add`: packages and sets of files are fetched, checked, unpacked, and put in place as a whole.

pub mod apt;
mod apt_output;
pub mod collection;
pub mod deb;
pub mod fetch;
pub mod progress;
pub mod sets;
pub mod staging;
