//! What machines start once a loader runs: targets, and which machine starts which.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::fetch::{HTTP_PORT, Served, TFTP_PORT};
use crate::boot::policy::SERVER;
use crate::types::{MacAddr, Uuid};

/// The script that a machine is given by DHCP once iPXE runs, if it has something of its own to start. It is no file:
/// what is in it depends on who asks.
pub const SCRIPT: &str = "lanboot/boot.ipxe";

/// One of `targets:`, a Linux kernel and what it needs. `{…}` is filled in for each machine ([`crate::boot::loader::facts`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name: ASCII letters, digits, `.`, `_` and `-`, so that it is one word for every loader.
    pub name: Arc<str>,
    /// What a menu calls it.
    pub title: String,
    /// The kernel: a file beneath boot-images/, or a URL.
    pub kernel: Arc<str>,
    /// Its initial RAM disks, in order.
    pub initrd: Vec<Arc<str>>,
    /// What the kernel is told.
    pub cmdline: Arc<str>,
}

/// What a machine starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Its own disk.
    Local,
    /// What somebody chooses at its screen; its own disk if nobody does.
    Menu,
    /// The target of that name, which there is.
    Target(Arc<str>),
}

impl Start {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        match self {
            Start::Local => "local",
            Start::Menu => "menu",
            Start::Target(name) => name,
        }
    }
}

/// A value of `machines[].vars`.
#[derive(Clone, Debug, PartialEq)]
pub enum Var {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Var>),
    /// A mapping.
    Map(BTreeMap<String, Var>),
}

/// One entry of `machines:`, as far as texts are made for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// The hardware address it is known by.
    pub mac: Option<MacAddr>,
    /// The UUID it is known by.
    pub uuid: Option<Uuid>,
    /// The address reserved for it.
    pub address: Option<Ipv4Addr>,
    /// The host name configured for it (option 12).
    pub host_name: Option<String>,
    /// What it starts.
    pub boot: Option<Start>,
    /// The iPXE script that it starts instead.
    pub script: Option<Arc<str>>,
    /// What it starts one time, before `boot`.
    pub once: Option<Start>,
    /// Its own variables.
    pub vars: BTreeMap<String, Var>,
}

/// What a machine starts now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Now {
    /// This.
    Start(Start),
    /// The iPXE script of this name; other loaders read their own files.
    Script(Arc<str>),
    /// Nothing is said: the files of boot-images/ count, and where there is none, a menu of all targets.
    Usual,
}

/// All targets, and the machines that have entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// The targets, in the order written.
    pub list: Vec<Target>,
    /// `boot.default`: what machines start of which nothing is said.
    pub default: Option<Start>,
    /// `boot.ipxe`: the script of machines of which nothing is said.
    pub ipxe: Option<Arc<str>>,
    machines: Vec<Machine>,
    by_mac: HashMap<MacAddr, usize>,
    by_uuid: HashMap<Uuid, usize>,
}

impl Targets {
    /// These targets, and these machines, whose MACs and UUIDs are unique.
    pub fn new(
        list: Vec<Target>,
        default: Option<Start>,
        ipxe: Option<Arc<str>>,
        machines: Vec<Machine>,
    ) -> Targets {
        let places = || machines.iter().enumerate();
        let by_mac = places().filter_map(|(i, machine)| Some((machine.mac?, i))).collect();
        let by_uuid = places().filter_map(|(i, machine)| Some((machine.uuid?, i))).collect();
        Targets { list, default, ipxe, machines, by_mac, by_uuid }
    }

    /// The target of that name.
    pub fn get(&self, name: &str) -> Option<&Target> {
        self.list.iter().find(|target| *target.name == *name)
    }

    /// Every machine, in the order written.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The entry of the machine with this MAC or, where no entry has it, this UUID.
    pub fn machine(&self, mac: Option<MacAddr>, uuid: Option<Uuid>) -> Option<&Machine> {
        let by_mac = mac.and_then(|mac| self.by_mac.get(&mac));
        let place = by_mac.or_else(|| self.by_uuid.get(&uuid?))?;
        self.machines.get(*place)
    }

    /// What `machine` starts now, if it has had its `once` or not.
    pub fn now(&self, machine: Option<&Machine>, had_once: bool) -> Now {
        let own = machine.and_then(|machine| {
            let once = machine.once.as_ref().filter(|_| !had_once);
            let start = once.or(machine.boot.as_ref()).cloned().map(Now::Start);
            start.or_else(|| machine.script.clone().map(Now::Script))
        });
        let default = || self.default.clone().map(Now::Start);
        own.or_else(default).unwrap_or(Now::Usual)
    }
}

impl Target {
    /// The last file that a loader fetches of it, of those that are beneath boot-images/: once a machine has that, it has
    /// what it needs to start.
    pub fn last_file(&self, served: Served) -> Option<&Arc<str>> {
        let files = std::iter::once(&self.kernel).chain(&self.initrd);
        files.rev().find(|name| own_path(name, served).is_some())
    }
}

/// What `name`, of a file of a target, says of a file beneath boot-images/: all of it, or the path of a URL of this server.
/// `None` if it is a URL of another server.
pub fn own_path(name: &str, served: Served) -> Option<&str> {
    if !is_url(name) {
        return Some(name);
    }
    let path = OwnUrl::of(name, served).filter(OwnUrl::is_served)?.path.strip_prefix('/')?;
    (!path.is_empty()).then_some(path)
}

/// A URL of this server, as one writes it: `http://{server}/…` or `tftp://{server}/…`, perhaps with a port.
#[derive(Debug)]
pub struct OwnUrl<'u> {
    /// `http` or `tftp`.
    pub scheme: &'static str,
    /// The port that its protocol is served on, if it is.
    pub served: Option<u16>,
    /// The port that it names, or means.
    pub port: u16,
    /// All behind the port.
    pub path: &'u str,
}

impl OwnUrl<'_> {
    /// `None` for a name, and for a URL of another server or with a protocol that lanboot never has.
    pub fn of(url: &str, served: Served) -> Option<OwnUrl<'_>> {
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
        Some(OwnUrl { scheme, served, port, path })
    }

    /// Whether something of ours answers there.
    pub fn is_served(&self) -> bool {
        self.served == Some(self.port)
    }
}

/// Whether it is a URL, and not a file beneath boot-images/.
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
    fn once_comes_first_and_then_what_is_said_and_then_the_default() {
        let start = |name: &str| Start::Target(name.into());
        let machine = Machine { boot: Some(Start::Local), once: Some(start("debian")), ..Machine::default() };
        let script =
            Machine { script: Some("x.ipxe".into()), once: Some(start("debian")), ..Machine::default() };
        let targets = Targets { default: Some(Start::Menu), ..Targets::default() };
        assert_eq!(targets.now(Some(&machine), false), Now::Start(start("debian")));
        assert_eq!(targets.now(Some(&machine), true), Now::Start(Start::Local));
        assert_eq!(targets.now(Some(&script), false), Now::Start(start("debian")));
        assert_eq!(targets.now(Some(&script), true), Now::Script("x.ipxe".into()));
        assert_eq!(targets.now(None, false), Now::Start(Start::Menu));
        assert_eq!(Targets::default().now(Some(&Machine::default()), true), Now::Usual);
    }

    #[test]
    fn a_machine_is_known_by_its_mac_before_its_uuid() {
        let (mac, uuid) = (MacAddr([2, 0, 0, 0, 0, 1]), "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab".parse().ok());
        let a = Machine { name: "a".into(), mac: Some(mac), ..Machine::default() };
        let b = Machine { name: "b".into(), uuid, ..Machine::default() };
        let targets = Targets::new(vec![], None, None, vec![a, b]);
        let name = |mac, uuid| targets.machine(mac, uuid).map(|machine| machine.name.as_str());
        assert_eq!(name(Some(mac), uuid), Some("a"));
        assert_eq!(name(Some(MacAddr([2; 6])), uuid), Some("b"));
        assert_eq!(name(None, None), None);
    }

    #[test]
    fn the_last_file_of_a_target_is_one_that_we_serve() {
        let served = Served { http: Some(8080), tftp: Some(69) };
        let last = |kernel: &str, initrd: &[&str]| {
            target(kernel, initrd).last_file(served).map(|name| own_path(name, served).unwrap().to_owned())
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
        assert_eq!(own_path("tftp://{server}/k", Served::default()), None, "TFTP is off");
    }
}
