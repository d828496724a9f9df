//! The work of `lanboot images add`: finds packages and files, downloads and verifies them, extracts boot files, and
//! stores them in the images folder.

pub mod apt;
mod apt_output;
pub mod collection;
pub mod deb;
pub mod fetch;
pub mod progress;
pub mod sets;
pub mod staging;
