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
use crate::config::syntax::reader::At;
use crate::config::{Http, Interfaces, Log, Tftp};
use crate::dhcp::classes::Class;
use crate::dhcp::options::OptionSet;
use crate::dhcp::settings::{Authoritative, BootpMode, LeaseTime, Ports};
use crate::types::{Ipv4Network, Ipv4Range, MacAddr, Uuid};

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
    pub(in crate::config) log: Log,
}

/// The section `dhcp:`.
pub(in crate::config) struct DhcpSection {
    pub(in crate::config) id: u32,
    /// `None` after a problem.
    pub(in crate::config) mode: Option<mode::ModeSection>,
    pub(in crate::config) authoritative: Authoritative,
    pub(in crate::config) match_client_id: bool,
    pub(in crate::config) always_broadcast: bool,
    pub(in crate::config) conflict_check: Option<Duration>,
    pub(in crate::config) bootp: BootpMode,
    pub(in crate::config) fqdn_suffix: Option<String>,
    pub(in crate::config) subnet_selection: bool,
    pub(in crate::config) ports: Ports,
    pub(in crate::config) subnets: Vec<SubnetEntry>,
    pub(in crate::config) options: OptionSet,
    pub(in crate::config) classes: Vec<Class>,
}

/// One entry of `dhcp.subnets`. `network` is `None` after a problem.
pub(in crate::config) struct SubnetEntry {
    pub(in crate::config) network: Option<At<Ipv4Network>>,
    /// The entries of `pools`, then the ranges of `pool`.
    pub(in crate::config) pools: Vec<PoolEntry>,
    pub(in crate::config) lease: LeaseTime,
    pub(in crate::config) boot_lease: Option<Duration>,
    pub(in crate::config) relays: Vec<At<Ipv4Addr>>,
    pub(in crate::config) shared_network: Option<String>,
    pub(in crate::config) options: OptionSet,
}

/// One entry of `pools` of a subnet, or one range of its `pool`.
pub(in crate::config) struct PoolEntry {
    pub(in crate::config) range: At<Ipv4Range>,
    pub(in crate::config) options: OptionSet,
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

/// One entry of `machines`. Both `mac` and `uuid` are `None` only after a problem.
pub(in crate::config) struct MachineEntry {
    pub(in crate::config) name: Option<At<String>>,
    pub(in crate::config) mac: Option<At<MacAddr>>,
    pub(in crate::config) uuid: Option<At<Uuid>>,
    pub(in crate::config) address: Option<At<Ipv4Addr>>,
    pub(in crate::config) boot: Option<BootEntry>,
    pub(in crate::config) once: Option<At<BootAction>>,
    pub(in crate::config) vars: BTreeMap<String, Var>,
    pub(in crate::config) options: OptionSet,
}

impl MachineEntry {
    /// The name of the machine, or else its MAC or UUID. `None` only after a problem.
    pub(in crate::config) fn display_name(&self) -> Option<String> {
        let name = self.name.as_ref().map(|at| at.value.clone());
        let mac = || self.mac.map(|at| at.value.to_string());
        name.filter(|_| self.mac.is_some() || self.uuid.is_some())
            .or_else(mac)
            .or_else(|| self.uuid.map(|at| at.value.to_string()))
    }
}
