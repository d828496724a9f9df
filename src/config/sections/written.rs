//! `config.yaml` as written: every value has its type and defaults are filled in. The sections build these types, and
//! `check.rs` turns them into settings. Nothing outside `config` sees them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::boot::loader::target::{BootAction, Var};
use crate::boot::machine_boot::MachineBoot;
use crate::boot::policy::Policy;
use crate::config::sections::mode;
use crate::config::settings::{Http, Interfaces, Log, Tftp, Web};
use crate::config::syntax::reader::At;
use crate::dhcp::classes::{Class, ClassRef};
use crate::dhcp::level::Level;
use crate::dhcp::machines::RelayPort;
use crate::dhcp::settings::{Authoritative, BootpMode, Ports};
use crate::types::{HostOrNetwork, Ipv4Network, Ipv4Range, MacAddr, Uuid};

/// The whole file.
pub(in crate::config) struct File {
    pub(in crate::config) id: u32,
    pub(in crate::config) interfaces: Interfaces,
    pub(in crate::config) state: PathBuf,
    pub(in crate::config) images: PathBuf,
    pub(in crate::config) dhcp: DhcpSection,
    pub(in crate::config) boot: Policy,
    pub(in crate::config) default: Option<At<BootAction>>,
    pub(in crate::config) targets: Vec<TargetEntry>,
    pub(in crate::config) machines: Vec<MachineEntry>,
    pub(in crate::config) tftp: Option<Tftp>,
    pub(in crate::config) http: Option<Http>,
    pub(in crate::config) web: Option<Web>,
    pub(in crate::config) syslog: Option<u16>,
    pub(in crate::config) log: Log,
}

/// The section `dhcp:`.
pub(in crate::config) struct DhcpSection {
    pub(in crate::config) id: u32,
    /// `None` after a problem.
    pub(in crate::config) mode: Option<mode::ModeSection>,
    pub(in crate::config) authoritative: Authoritative,
    pub(in crate::config) match_client_id: bool,
    pub(in crate::config) echo_client_id: bool,
    pub(in crate::config) always_broadcast: bool,
    pub(in crate::config) conflict_check: Option<Duration>,
    pub(in crate::config) bootp: BootpMode,
    pub(in crate::config) fqdn_suffix: Option<String>,
    pub(in crate::config) subnet_selection: bool,
    pub(in crate::config) ports: Ports,
    pub(in crate::config) subnets: Vec<SubnetEntry>,
    pub(in crate::config) level: Level,
    /// The node of the times of a lease.
    pub(in crate::config) times: Option<u32>,
    pub(in crate::config) router: Option<At<Vec<Ipv4Addr>>>,
    pub(in crate::config) classes: Vec<ClassEntry>,
}

/// One entry of `dhcp.subnets`. `network` is `None` after a problem.
pub(in crate::config) struct SubnetEntry {
    pub(in crate::config) network: Option<At<Ipv4Network>>,
    /// The entries of `pools`, then the ranges of `pool`.
    pub(in crate::config) pools: Vec<PoolEntry>,
    pub(in crate::config) boot_lease: Option<Duration>,
    pub(in crate::config) relays: Vec<At<HostOrNetwork>>,
    pub(in crate::config) classes: Vec<ClassRef>,
    pub(in crate::config) shared_network: Option<String>,
    pub(in crate::config) level: Level,
    /// The node of the times of a lease.
    pub(in crate::config) times: Option<u32>,
    pub(in crate::config) router: Option<At<Vec<Ipv4Addr>>>,
}

/// One entry of `pools` of a subnet, or one range of its `pool`.
pub(in crate::config) struct PoolEntry {
    pub(in crate::config) range: At<Ipv4Range>,
    pub(in crate::config) classes: Vec<ClassRef>,
    pub(in crate::config) level: Level,
    pub(in crate::config) router: Option<At<Vec<Ipv4Addr>>>,
}

/// One entry of `dhcp.classes`.
pub(in crate::config) struct ClassEntry {
    /// The node of `match`, or of the whole entry if it has none.
    pub(in crate::config) match_id: u32,
    pub(in crate::config) router: Option<At<Vec<Ipv4Addr>>>,
    pub(in crate::config) class: Class,
}

/// One entry of `targets:`.
pub(in crate::config) struct TargetEntry {
    pub(in crate::config) name: Arc<str>,
    pub(in crate::config) title: Option<String>,
    /// `None` after a problem.
    pub(in crate::config) kernel: Option<At<Arc<str>>>,
    pub(in crate::config) initrd: Vec<At<Arc<str>>>,
    pub(in crate::config) cmdline: Option<At<String>>,
}

/// The value of `boot` of a machine.
pub(in crate::config) enum BootEntry {
    /// A target, or one of the built-in actions.
    Start(BootAction),
    /// Boot files for firmware and loaders.
    Files(MachineBoot),
}

/// One entry of `machines`. It has no key that identifies a machine only after a problem.
pub(in crate::config) struct MachineEntry {
    pub(in crate::config) name: Option<At<String>>,
    pub(in crate::config) macs: Vec<At<MacAddr>>,
    pub(in crate::config) uuid: Option<At<Uuid>>,
    /// The client identifier, as bytes.
    pub(in crate::config) client_id: Option<At<ClientIdEntry>>,
    /// The relay agent's port, and the node of the first key that names it.
    pub(in crate::config) port: Option<At<RelayPort>>,
    pub(in crate::config) addresses: Vec<At<Ipv4Addr>>,
    /// Places in `dhcp.classes`.
    pub(in crate::config) classes: Vec<usize>,
    pub(in crate::config) ignore: bool,
    pub(in crate::config) boot: Option<BootEntry>,
    pub(in crate::config) once: Option<At<BootAction>>,
    pub(in crate::config) vars: BTreeMap<String, Var>,
    pub(in crate::config) level: Level,
    pub(in crate::config) router: Option<At<Vec<Ipv4Addr>>>,
}

/// A client identifier as written.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::config) struct ClientIdEntry {
    /// The text of the value, for messages.
    pub(in crate::config) text: String,
    pub(in crate::config) bytes: Vec<u8>,
    /// Whether it is text, which some clients send after a zero byte.
    pub(in crate::config) is_text: bool,
}

impl MachineEntry {
    /// The name of the machine, or else the first key that identifies it. `None` only after a problem.
    pub(in crate::config) fn display_name(&self) -> Option<String> {
        let mac = self.macs.first().map(|at| at.value.to_string());
        let uuid = || self.uuid.map(|at| at.value.to_string());
        let id = || self.client_id.as_ref().map(|at| format!("id {}", at.value.text));
        let port = || self.port.as_ref().map(|at| format!("port {}", at.value));
        let key = mac.or_else(uuid).or_else(id).or_else(port);
        let name = self.name.as_ref().map(|at| at.value.clone());
        name.filter(|_| key.is_some()).or(key)
    }
}
