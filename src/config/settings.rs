//! The checked settings of a configuration file. `check.rs` builds them; the server and the commands read them and
//! never change them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::boot::fetch::Served;
use crate::boot::loader::target::Targets;
use crate::config::problem::Problem;
use crate::dhcp::settings::Settings;
use crate::tftp::{Engine, Limits, Ports};
use crate::types::Ipv4Network;

/// The checked configuration of `lanboot serve`. It is built by `config::load` and replaced as a whole on a reload.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub interfaces: Interfaces,
    /// Folder for the lease database and everything else that must survive a restart.
    pub state: PathBuf,
    /// Folder of the files that clients download.
    pub images: PathBuf,
    /// DHCP settings, as the only server or beside another one; `None` with `dhcp.mode: off`.
    pub dhcp: Option<Arc<Settings>>,
    /// Boot targets, and the machine data that generated scripts and templates need. Shared, because it is the largest
    /// part of a configuration with many machines and each change to the running server copies the rest.
    pub targets: Arc<Targets>,
    /// `None` with `tftp: off`.
    pub tftp: Option<Tftp>,
    /// `None` with `http: off`.
    pub http: Option<Http>,
    /// `None` with `web: off`.
    pub web: Option<Web>,
    /// The UDP and TCP port of the syslog receiver; `None` with `syslog: off`.
    pub syslog: Option<u16>,
    pub log: Log,
    /// Findings about valid settings that may not do what their author intended.
    pub notes: Vec<Problem>,
    /// Files that the configuration was read from. The caller that reads them adds them here, and no client may
    /// download them.
    pub source_files: Vec<PathBuf>,
}

impl Config {
    /// Ports of the file servers, from which boot URLs are built.
    pub fn file_server_ports(&self) -> Served {
        Served {
            http: self.http.as_ref().map(|http| http.port),
            tftp: self.tftp.as_ref().map(|tftp| tftp.port),
        }
    }
}

/// The value of `interfaces:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// Every interface that is up and has an IPv4 address, except loopback.
    Auto,
    /// Only the interfaces with these names.
    Named(Vec<String>),
}

/// The settings of `tftp:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tftp {
    /// UDP port for requests.
    pub port: u16,
    /// Addresses to listen on. If empty, the server listens on the addresses of the served interfaces.
    pub listen: Vec<Ipv4Addr>,
    /// The implementation that serves transfers.
    pub engine: Engine,
    /// Local ports of transfers.
    pub ports: Ports,
    /// Upper limits for options and transfers.
    pub limits: Limits,
    /// `None` if uploads are off.
    pub uploads: Option<Uploads>,
}

/// The settings of `tftp.uploads:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// The folder that receives new files.
    pub dir: PathBuf,
    /// Maximum size of one file in bytes.
    pub max_size: u64,
    /// Maximum size of all files in the folder in bytes.
    pub max_total: u64,
    /// Maximum number of files in the folder.
    pub max_files: u64,
}

impl Uploads {
    /// Advice for a missing folder. The systemd unit runs the server as the user `lanboot`.
    pub fn creation_hint(&self) -> String {
        format!("make it with `install -d -o lanboot {}`", self.dir.display())
    }
}

/// The settings of `http:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    pub port: u16,
    /// Addresses to listen on. If empty, the server listens on the addresses of the served interfaces.
    pub listen: Vec<Ipv4Addr>,
    /// Maximum number of simultaneous connections per client address. Several machines may share one address behind
    /// NAT.
    pub max_per_client: u32,
    /// Networks whose clients are served in addition to those of the served interfaces.
    pub allow: Vec<Ipv4Network>,
}

/// The settings of `web:`, the listener of the API and the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    pub listen: Vec<SocketAddr>,
    /// Whether `listen` is in the file. The server starts without an address that is only the default.
    pub is_listen_given: bool,
    /// Certificate and key for addresses other than those of loopback.
    pub tls: Option<Tls>,
    /// Whether addresses other than those of loopback are served without TLS.
    pub insecure: bool,
    /// Networks whose clients may connect, besides loopback; empty for all.
    pub allow: Vec<Ipv4Network>,
    /// Host names of this server that browsers may use, in lower case.
    pub names: Vec<String>,
    /// Whether images may be uploaded.
    pub uploads: bool,
    /// Maximum size of one uploaded image in bytes.
    pub max_upload: u64,
}

/// The settings of `web.tls:`, paths of PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, followed by those of its issuers.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The settings of `log:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// Events below this severity are not logged.
    pub level: LogLevel,
}

/// The value of `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// The value of `log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures that stop lanboot from working.
    Error,
    /// Also conditions that an operator should look at.
    Warn,
    /// Also one line per event.
    Info,
    /// Also frequent, normal events, such as size probes and missing optional files.
    Debug,
    /// All details.
    Trace,
}
