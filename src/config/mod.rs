//! config.yaml: as written (`file.rs`), then as meant (`check.rs`). Builds the settings that the core folders define;
//! they never see the file. This folder never opens it either: text in, settings or problems out.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::boot::loader::script::Served;
use crate::boot::loader::target::Targets;
use crate::dhcp::settings::Settings;
use crate::tftp::{Engine, Limits, Ports};
use crate::types::Ipv4Network;

pub use lint::mapped_files::clients;
pub use lint::missing_files::{
    MissingFile, hidden_file_notes, missing_file_problems, missing_files, missing_script,
    unreadable_file_problems,
};
pub use lint::unresolvable_urls::dns_problems;
pub use lint::unserved_urls::unserved_problems;
pub use lint::wrong_files::{starts, wrong_file_problems};
pub use syntax::place::Problem;
pub use syntax::reader::suggestion;

mod check;
mod lint;
mod sections;
mod syntax;

/// Reads and checks the text of a configuration file.
///
/// # Errors
/// Every problem of the file, in the order of their places. A syntax error is the only problem of its file, because
/// what follows it cannot be read.
pub fn load(text: &str) -> Result<Config, Vec<Problem>> {
    let root = syntax::tree::parse(text).map_err(|problem| vec![problem])?;
    let mut reader = syntax::reader::Reader::default();
    let file = sections::file::read(&mut reader, &root);
    let config = check::check(&mut reader, file);
    if !reader.problems.is_empty() {
        return Err(syntax::place::placed(text, &root, reader.problems));
    }
    Ok(Config { notes: syntax::place::placed(text, &root, reader.notes), ..config })
}

/// Everything `lanboot serve` needs to know, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which interfaces are served.
    pub interfaces: Interfaces,
    /// The folder of what must survive a restart.
    pub state: PathBuf,
    /// The folder that clients download from.
    pub images: PathBuf,
    /// DHCP, as the server or beside another one; `None` with `dhcp.mode: off`.
    pub dhcp: Option<Settings>,
    /// What machines start once a loader runs, and what is known of them for texts made for them.
    pub targets: Targets,
    /// The TFTP server; `None` with `tftp: off`.
    pub tftp: Option<Tftp>,
    /// The HTTP server; `None` with `http: off`.
    pub http: Option<Http>,
    /// How to log.
    pub log: Log,
    /// What is right and yet may not do what its author thinks.
    pub notes: Vec<Problem>,
    /// The files that it was read from. Whoever reads them adds them here; no client may download them.
    pub read_from: Vec<PathBuf>,
}

impl Config {
    /// How files are fetched from a server with this configuration.
    pub fn served(&self) -> Served {
        Served {
            http: self.http.as_ref().map(|http| http.port),
            tftp: self.tftp.as_ref().map(|tftp| tftp.port),
        }
    }
}

/// `interfaces:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// Every interface that is up and has an IPv4 address, loopback excepted.
    Auto,
    /// These, by name.
    Named(Vec<String>),
}

/// `tftp:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tftp {
    /// The UDP port of requests.
    pub port: u16,
    /// Addresses to listen on; empty means those of the served interfaces.
    pub listen: Vec<Ipv4Addr>,
    /// What serves the transfers.
    pub engine: Engine,
    /// Which ports it sends from.
    pub ports: Ports,
    /// What is granted.
    pub limits: Limits,
    /// Where clients may put files; `None` means nowhere.
    pub uploads: Option<Uploads>,
}

/// `tftp.uploads:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// The folder for new files.
    pub dir: PathBuf,
    /// Bytes that one file may have.
    pub max_size: u64,
    /// Bytes that all files in the folder may have.
    pub max_total: u64,
    /// Files that may be in the folder.
    pub max_files: u64,
}

impl Uploads {
    /// What to do when the folder is not there. With the systemd unit the server's user has that name.
    pub fn how_to_make(&self) -> String {
        format!("make it with `install -d -o lanboot {}`", self.dir.display())
    }
}

/// `http:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The TCP port.
    pub port: u16,
    /// Addresses to listen on; empty means those of the served interfaces.
    pub listen: Vec<Ipv4Addr>,
    /// Connections at once of one client address. Several machines may stand behind one (NAT).
    pub max_per_client: u32,
    /// Networks whose clients may ask, besides the served ones.
    pub allow: Vec<Ipv4Network>,
}

/// `log:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// One line of text, or one JSON object, per event.
    pub format: LogFormat,
    /// The least severity that is shown.
    pub level: LogLevel,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON objects for machines.
    Json,
}

/// `log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what stops lanboot from working.
    Error,
    /// Also what somebody should look at.
    Warn,
    /// Also one line per event.
    Info,
    /// Also what is normal and frequent: size probes, missing optional files.
    Debug,
    /// Everything.
    Trace,
}
