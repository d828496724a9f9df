//! Translates the configurations of other DHCP servers into `config.yaml`, for `lanboot import`.
//!
//! Each server has its own module, which reads its language whole and builds a [`Document`](crate::config::document::Document). Parts that `config.yaml`
//! cannot express are recorded in [`Problems`], never dropped silently. This folder opens no file: the shell
//! (`cli/import.rs`) reads them through [`Sources`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod comparison;
mod condition;
pub mod dhcpd;
pub mod dnsmasq;
mod failure;
mod field;
mod finish;
pub mod kea;
pub mod options;
pub mod patterns;
mod place;
mod position;
pub mod problems;
mod site;
pub mod sources;
mod standard;

pub use failure::{Broken, Failed};
pub use place::Place;
pub use problems::{Problem, Problems};
pub use sources::{Found, Source, Sources};

/// A translated configuration.
#[derive(Debug)]
pub struct Imported {
    /// The text of `config.yaml`.
    pub yaml: String,
    /// Every part that was not taken, in the order of the files.
    pub problems: Vec<Problem>,
}
