//! Targets, and the choice of the target that a machine boots.
//!
//! `config/` fills [`Targets`]; `content/` asks it for each loader that fetches a script.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::fetch::SERVER;
use crate::boot::fetch::{HTTP_PORT, Served, TFTP_PORT};
use crate::types::{MacAddr, Uuid};

/// The name of the generated script. DHCP sends it to an iPXE whose machine has something to boot. No such file exists:
/// the content depends on the machine.
pub const SCRIPT: &str = "lanboot/boot.ipxe";

/// The name to which the generated scripts of iPXE report facts about their machine, by a GET with a query.
pub const FACTS: &str = "lanboot/facts";

/// An entry of `targets:`: a Linux kernel with its files and command line. `{…}` is replaced for each machine
/// ([`crate::boot::loader::facts`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Consists of ASCII letters, digits, `.`, `_` and `-`, so that it is one word for every loader.
    pub name: Arc<str>,
    /// The text in menus.
    pub title: String,
    /// A file under boot-images/, or a URL.
    pub kernel: Arc<str>,
    /// The initial RAM disks, in order.
    pub initrd: Vec<Arc<str>>,
    /// The kernel command line.
    pub cmdline: Arc<str>,
}

/// The action that a machine takes when its loader runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootAction {
    /// Boots the local disk.
    Local,
    /// Shows a menu, and boots the local disk if the user chooses nothing.
    Menu,
    /// Boots the target of this name, which exists.
    Target(Arc<str>),
}

impl BootAction {
    /// Returns the name used in the configuration.
    pub fn name(&self) -> &str {
        match self {
            BootAction::Local => "local",
            BootAction::Menu => "menu",
            BootAction::Target(name) => name,
        }
    }
}

/// A value in `machines[].vars`.
#[derive(Clone, Debug, PartialEq)]
pub enum Var {
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    Text(String),
    List(Vec<Var>),
    Map(BTreeMap<String, Var>),
}

/// An entry of `machines:`, as far as rendered texts depend on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    pub name: String,
    pub macs: Vec<MacAddr>,
    pub uuid: Option<Uuid>,
    /// The first reserved address.
    pub address: Option<Ipv4Addr>,
    /// The configured host name (option 12).
    pub host_name: Option<String>,
    /// `boot`, if it names a target, a menu or the local disk.
    pub boot: Option<BootAction>,
    /// `boot`, if it names an iPXE script.
    pub script: Option<Arc<str>>,
    /// The action for one boot, which comes before `boot`.
    pub once: Option<BootAction>,
    /// The action for one boot that a person requested while the server runs. It comes before `once`.
    pub requested: Option<OneTimeBoot>,
    pub vars: BTreeMap<String, Var>,
}

/// An action for one boot that does not stand in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeBoot {
    /// Distinguishes it from earlier ones with the same action.
    pub number: u64,
    pub action: BootAction,
}

/// The action of a machine for its next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextBoot {
    Start(BootAction),
    /// The iPXE script of this name. Other loaders read their own configuration files.
    Script(Arc<str>),
    /// Nothing is configured. A file in boot-images/ counts; without one, a menu of all targets.
    Default,
}

/// All targets, and the machines that have entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// The targets in the order of the configuration.
    pub list: Vec<Target>,
    /// `boot.default`: the action of machines without their own.
    pub default: Option<BootAction>,
    /// `boot.ipxe`: the script of machines without their own.
    pub ipxe: Option<Arc<str>>,
    machines: Vec<Machine>,
    by_mac: HashMap<MacAddr, usize>,
    by_uuid: HashMap<Uuid, usize>,
    by_name: HashMap<String, usize>,
}

impl Targets {
    /// Makes the table. If several of `machines` have one MAC, the first one is found by it.
    pub fn new(
        list: Vec<Target>,
        default: Option<BootAction>,
        ipxe: Option<Arc<str>>,
        mut machines: Vec<Machine>,
    ) -> Targets {
        // The table lives long, and a list that was collected may have room for twice as many.
        machines.shrink_to_fit();
        let places = || machines.iter().enumerate();
        let macs = places().rev().flat_map(|(i, machine)| machine.macs.iter().map(move |mac| (*mac, i)));
        let by_mac = macs.collect();
        let by_uuid = places().filter_map(|(i, machine)| Some((machine.uuid?, i))).collect();
        let by_name = places().rev().map(|(i, machine)| (machine.name.clone(), i)).collect();
        Targets { list, default, ipxe, machines, by_mac, by_uuid, by_name }
    }

    pub fn get(&self, name: &str) -> Option<&Target> {
        self.list.iter().find(|target| *target.name == *name)
    }

    /// Returns all machines in the order of the configuration.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Returns the entry with this MAC or, if there is none, with this UUID.
    pub fn machine(&self, mac: Option<MacAddr>, uuid: Option<Uuid>) -> Option<&Machine> {
        let by_mac = mac.and_then(|mac| self.by_mac.get(&mac));
        let place = by_mac.or_else(|| self.by_uuid.get(&uuid?))?;
        self.machines.get(*place)
    }

    /// Returns the entry with this name.
    pub fn named(&self, name: &str) -> Option<&Machine> {
        self.by_name.get(name).and_then(|place| self.machines.get(*place))
    }

    /// As [`Targets::machine`], for a machine that DHCP found under the entry `name`. The name decides between entries
    /// with the same MAC, and finds an entry that has neither MAC nor UUID.
    pub fn machine_of(
        &self,
        mac: Option<MacAddr>,
        uuid: Option<Uuid>,
        name: Option<&str>,
    ) -> Option<&Machine> {
        let named = name.and_then(|name| self.named(name)).filter(|machine| {
            let has_no_key = machine.macs.is_empty() && machine.uuid.is_none();
            has_no_key || mac.is_some_and(|mac| machine.macs.contains(&mac))
        });
        named.or_else(|| self.machine(mac, uuid))
    }

    /// Returns the action with this name in the configuration: that of a target, `local` or `menu`.
    pub fn action(&self, name: &str) -> Option<BootAction> {
        match name {
            "local" => Some(BootAction::Local),
            "menu" => Some(BootAction::Menu),
            name => self.get(name).map(|target| BootAction::Target(Arc::clone(&target.name))),
        }
    }

    /// Returns the action of `machine` for its next boot. `once` is the one for this boot alone.
    pub fn next_boot(&self, machine: Option<&Machine>, once: Option<&BootAction>) -> NextBoot {
        let own = machine.and_then(|machine| {
            let start = once.or(machine.boot.as_ref()).cloned().map(NextBoot::Start);
            start.or_else(|| machine.script.clone().map(NextBoot::Script))
        });
        let default = || self.default.clone().map(NextBoot::Start);
        own.or_else(default).unwrap_or(NextBoot::Default)
    }
}

impl Target {
    /// Returns the last file under boot-images/ that a loader fetches for this target. Once a machine has it, the
    /// machine has all it needs to boot.
    pub fn last_file(&self, served: Served) -> Option<&Arc<str>> {
        let files = std::iter::once(&self.kernel).chain(&self.initrd);
        files.rev().find(|name| local_path(name, served).is_some())
    }
}

/// Returns the file under boot-images/ that `name` of a target refers to: all of `name`, or the path of a URL of this
/// server. Returns `None` for a URL of another server.
pub fn local_path(name: &str, served: Served) -> Option<&str> {
    if !is_url(name) {
        return Some(name);
    }
    let path = LocalUrl::of(name, served).filter(LocalUrl::is_served)?.path.strip_prefix('/')?;
    (!path.is_empty()).then_some(path)
}

/// A URL of this server as written in the configuration: `http://{server}/…` or `tftp://{server}/…`, with an optional
/// port.
#[derive(Debug)]
pub struct LocalUrl<'u> {
    /// `http` or `tftp`.
    pub scheme: &'static str,
    /// The port on which this server serves the protocol, if it does.
    pub served: Option<u16>,
    /// The port in the URL, or the default port of the protocol.
    pub port: u16,
    /// The rest of the URL after the port.
    pub path: &'u str,
}

impl LocalUrl<'_> {
    /// Returns `None` for a file name, for a URL of another server, and for a protocol that lanboot does not have.
    pub fn of(url: &str, served: Served) -> Option<LocalUrl<'_>> {
        let (scheme, rest) = url.split_once("://")?;
        let (scheme, served, usual) = match scheme.to_ascii_lowercase().as_str() {
            "http" => ("http", served.http, HTTP_PORT),
            "tftp" => ("tftp", served.tftp, TFTP_PORT),
            _ => return None,
        };
        let rest = rest.strip_prefix(SERVER)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (port, path) = (rest.get(..end)?, rest.get(end..)?);
        let port = if port.is_empty() { usual } else { port.strip_prefix(':')?.parse().ok()? };
        Some(LocalUrl { scheme, served, port, path })
    }

    /// Whether this server listens on that port.
    pub fn is_served(&self) -> bool {
        self.served == Some(self.port)
    }
}

/// Whether `name` is a URL rather than a file under boot-images/.
pub fn is_url(name: &str) -> bool {
    name.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kernel: &str, initrd: &[&str]) -> Target {
        Target {
            name: "debian".into(),
            title: "Debian".into(),
            kernel: kernel.into(),
            initrd: initrd.iter().map(|name| (*name).into()).collect(),
            cmdline: "".into(),
        }
    }

    #[test]
    fn once_comes_first_then_boot_then_the_default() {
        let start = |name: &str| BootAction::Target(name.into());
        let machine =
            Machine { boot: Some(BootAction::Local), once: Some(start("debian")), ..Machine::default() };
        let script =
            Machine { script: Some("x.ipxe".into()), once: Some(start("debian")), ..Machine::default() };
        let targets = Targets { default: Some(BootAction::Menu), ..Targets::default() };
        let once = start("debian");
        assert_eq!(targets.next_boot(Some(&machine), Some(&once)), NextBoot::Start(start("debian")));
        assert_eq!(targets.next_boot(Some(&machine), None), NextBoot::Start(BootAction::Local));
        assert_eq!(targets.next_boot(Some(&script), Some(&once)), NextBoot::Start(start("debian")));
        assert_eq!(targets.next_boot(Some(&script), None), NextBoot::Script("x.ipxe".into()));
        assert_eq!(targets.next_boot(None, None), NextBoot::Start(BootAction::Menu));
        assert_eq!(Targets::default().next_boot(Some(&Machine::default()), None), NextBoot::Default);
    }

    #[test]
    fn a_machine_is_found_by_mac_before_uuid() {
        let (mac, uuid) = (MacAddr([2, 0, 0, 0, 0, 1]), "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab".parse().ok());
        let a = Machine { name: "a".into(), macs: vec![mac], ..Machine::default() };
        let b = Machine { name: "b".into(), uuid, ..Machine::default() };
        let targets = Targets::new(vec![], None, None, vec![a, b]);
        let name = |mac, uuid| targets.machine(mac, uuid).map(|machine| machine.name.as_str());
        assert_eq!(name(Some(mac), uuid), Some("a"));
        assert_eq!(name(Some(MacAddr([2; 6])), uuid), Some("b"));
        assert_eq!(name(None, None), None);
    }

    #[test]
    fn the_last_file_is_one_of_this_server() {
        let served = Served { http: Some(8080), tftp: Some(69) };
        let last = |kernel: &str, initrd: &[&str]| {
            target(kernel, initrd).last_file(served).map(|name| local_path(name, served).unwrap().to_owned())
        };
        assert_eq!(last("k", &["a", "b"]).as_deref(), Some("b"));
        assert_eq!(last("k", &["http://x/b"]).as_deref(), Some("k"));
        assert_eq!(last("k", &["HTTP://{server}:8080/{mac}/b?c"]).as_deref(), Some("{mac}/b?c"));
        assert_eq!(last("tftp://{server}/k", &[]).as_deref(), Some("k"));
        for elsewhere in [
            "http://x/k",
            "http://{server}/k",
            "https://{server}:8080/k",
            "http://{server}.x:8080/k",
            "http://{server}:8080/",
            "tftp://{server}:70/k",
        ] {
            assert_eq!(last(elsewhere, &[]), None, "{elsewhere}");
        }
        assert_eq!(local_path("tftp://{server}/k", Served::default()), None, "TFTP is off");
    }
}
