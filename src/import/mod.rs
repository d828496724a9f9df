//! Translates the configurations of other DHCP servers into `config.yaml`, for `lanboot import`.
//!
//! Each server has its own module, which reads its language whole and builds a [`Document`]. Parts that `config.yaml`
//! cannot express are recorded in [`Problems`], never dropped silently. This folder opens no file: the shell
//! (`cli/import.rs`) reads them through [`Sources`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod condition;
pub mod dhcpd;
pub mod dnsmasq;
pub mod document;
mod field;
pub mod kea;
pub mod options;
pub mod patterns;
mod position;
pub mod problems;
mod site;
pub mod sources;
mod standard;
mod write;
pub mod yaml;

use std::fmt;

pub use document::Document;
pub use problems::{Problem, Problems};
pub use sources::{Found, Place, Source, Sources};

/// A translated configuration.
#[derive(Debug)]
pub struct Imported {
    /// The text of `config.yaml`.
    pub yaml: String,
    /// Every part that was not taken, in the order of the files.
    pub problems: Vec<Problem>,
}

/// The reason why nothing was translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// A file that was named on the command line cannot be read.
    Unreadable(String),
    /// A file is not what it should be.
    Broken(Broken),
}

/// A place where a file stops being readable: a syntax error, binary content or the end of the file inside a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The expected syntax and the text found.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Unreadable(message) => f.write_str(message),
            Failed::Broken(broken) => broken.fmt(f),
        }
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Failed {
        Failed::Broken(broken)
    }
}
