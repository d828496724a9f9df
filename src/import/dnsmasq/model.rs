//! dnsmasq's configuration as read, before it is translated.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use super::option::OptionText;
use super::values::{Hex, Tag};
use crate::import::place::Place;

/// Where a statement stands, with its comments.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub place: Place,
    pub comments: Vec<String>,
}

/// All statements that matter, in the order of the files.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub header: Vec<String>,
    pub ranges: Vec<Range>,
    pub hosts: Vec<Host>,
    /// The addresses of all hosts, each of which may have one host.
    pub addresses: HashSet<Ipv4Addr>,
    pub options: Vec<OptionRule>,
    pub boots: Vec<Boot>,
    pub setters: Vec<Setter>,
    pub tag_ifs: Vec<TagIf>,
    pub ignores: Vec<Tagged>,
    pub services: Vec<Service>,
    pub prompts: Vec<Prompt>,
    pub shared: Vec<Shared>,
    pub domains: Vec<Domain>,
    /// Names of `host-record` and hosts files in lower case, with their first IPv4 address. A name with a domain is
    /// there without it too.
    pub names: HashMap<String, Ipv4Addr>,
    pub settings: Settings,
}

impl Model {
    /// Adds a name of a hosts file.
    pub fn add_name(&mut self, name: &str, address: Ipv4Addr) {
        let name = name.to_ascii_lowercase();
        if let Some((host, _)) = name.split_once('.') {
            self.names.entry(host.to_owned()).or_insert(address);
        }
        self.names.entry(name).or_insert(address);
    }

    /// The address of a name, or the address that the text is.
    pub fn address_of(&self, text: &str) -> Option<Ipv4Addr> {
        text.parse().ok().or_else(|| self.names.get(&text.to_ascii_lowercase()).copied())
    }
}

/// Settings without tags.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub is_authoritative: bool,
    pub ignores_client_id: bool,
    pub has_no_ping: bool,
    /// Boot file and server name are in `file` and `sname` even for clients that ask for options 67 and 66.
    pub has_no_override: bool,
    pub bootp_dynamic: bool,
    pub always_broadcast: bool,
    /// The ports of server and client.
    pub ports: Option<(u16, u16)>,
    /// The port of the DNS server, if it is set.
    pub dns_port: Option<u16>,
    /// Names without wildcards.
    pub interfaces: Vec<String>,
    pub interface_patterns: Vec<(Place, String)>,
    pub not_interfaces: Vec<(Place, String)>,
    pub no_dhcp: Vec<(Place, String)>,
    pub lease_file: Option<String>,
    pub tftp: Option<Tftp>,
    pub tftp_root: Option<String>,
    pub tftp_max: Option<u32>,
    pub tftp_block_size: Option<u32>,
    pub tftp_ports: Option<String>,
}

/// `enable-tftp`.
#[derive(Debug)]
pub(super) struct Tftp {
    pub origin: Origin,
    /// The interfaces that TFTP is limited to.
    pub interfaces: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RangeKind {
    Dynamic,
    Static,
    Proxy,
}

/// `dhcp-range`.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub origin: Origin,
    /// Tags that a client must have.
    pub filter: Vec<Tag>,
    /// The tag that its clients get.
    pub set: Option<String>,
    pub kind: RangeKind,
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
    pub mask: Option<Ipv4Addr>,
    pub broadcast: Option<Ipv4Addr>,
    /// In seconds.
    pub lease: Option<u32>,
}

/// `dhcp-host`.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub origin: Origin,
    pub macs: Vec<Hex>,
    pub client_id: Option<Vec<u8>>,
    pub set: Vec<String>,
    pub filter: Vec<Tag>,
    pub address: Option<Ipv4Addr>,
    /// The host name without its domain.
    pub name: Option<String>,
    /// In seconds.
    pub lease: Option<u32>,
    pub is_ignored: bool,
}

/// `dhcp-option` and `dhcp-option-force`.
#[derive(Clone, Debug)]
pub(super) struct OptionRule {
    pub origin: Origin,
    pub option: OptionText,
    pub is_forced: bool,
}

/// `dhcp-boot`.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    pub origin: Origin,
    pub tags: Vec<Tag>,
    pub file: String,
    pub server_name: String,
    /// An address or a host name.
    pub server: String,
}

/// The test of a statement that sets a tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Test {
    Option(Box<OptionText>),
    /// Option 60 contains this text.
    VendorClass(String),
    /// Option 77 contains this text.
    UserClass(String),
    Mac(Hex),
    HostName {
        name: String,
        is_prefix: bool,
    },
    /// The suboption of option 82 is exactly this.
    Relay(u8, Vec<u8>),
}

/// A statement that sets a tag.
#[derive(Clone, Debug)]
pub(super) struct Setter {
    pub origin: Origin,
    pub tag: String,
    pub test: Test,
}

/// `tag-if`.
#[derive(Clone, Debug)]
pub(super) struct TagIf {
    pub origin: Origin,
    pub set: Vec<String>,
    pub tags: Vec<Tag>,
}

/// A statement with nothing but tags.
#[derive(Clone, Debug)]
pub(super) struct Tagged {
    pub origin: Origin,
    pub tags: Vec<Tag>,
}

/// The action of a PXE service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ServiceKind {
    Local,
    /// A boot server type, which a server is asked for.
    Type(u16),
    File(String),
}

/// `pxe-service`.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub origin: Origin,
    pub tags: Vec<Tag>,
    pub arch: u16,
    pub text: String,
    pub kind: ServiceKind,
    pub server: Option<String>,
}

/// `pxe-prompt`.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub origin: Origin,
    pub tags: Vec<Tag>,
    pub text: String,
    /// In seconds; `None` waits forever.
    pub timeout: Option<u32>,
}

/// `shared-network`.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub origin: Origin,
    /// The address of an interface or relay agent, or the name of an interface.
    pub at: String,
    pub address: Ipv4Addr,
}

/// `domain`.
#[derive(Clone, Debug)]
pub(super) struct Domain {
    pub origin: Origin,
    pub name: String,
    /// The first and the last address of its clients.
    pub range: Option<(Ipv4Addr, Ipv4Addr)>,
}
