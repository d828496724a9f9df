//! Translates the configuration of Kea's DHCPv4 server.
//!
//! `json.rs` reads the files, `options.rs` computes options to bytes, `expression.rs` and `translate.rs` turn the tests of
//! classes into `match`. Every key is read here or named by `keys.rs`.

mod classes;
mod expression;
mod json;
mod keys;
mod options;
mod reservations;
mod subnets;
mod translate;

use json::Node;
use options::Definitions;

use super::Imported;
use super::problems::Problems;
use super::site::{Lease, Settings, Site, Timer};
use super::sources::Sources;
use crate::import::failure::Failed;
use crate::import::finish::finish;

/// Kea's lease time where the file has none, in seconds.
const DEFAULT_LEASE: u32 = 7200;

/// Keys of the map `Dhcp4` that are read.
const GLOBAL_KEYS: &[&str] = &[
    "interfaces-config",
    "option-def",
    "option-data",
    "client-classes",
    "subnet4",
    "shared-networks",
    "reservations",
    "host-reservation-identifiers",
    "reservation-mode",
    "reservations-global",
    "reservations-in-subnet",
    "reservations-out-of-pool",
    "decline-probation-period",
    "authoritative",
    "match-client-id",
    "echo-client-id",
];

/// Keys that several levels have in common: see [`settings`].
const SETTINGS_KEYS: &[&str] = &[
    "option-data",
    "valid-lifetime",
    "min-valid-lifetime",
    "max-valid-lifetime",
    "renew-timer",
    "rebind-timer",
    "calculate-tee-times",
    "next-server",
    "server-hostname",
    "boot-file-name",
];

/// The state of one import.
struct Importer {
    site: Site,
    definitions: Definitions,
    problems: Problems,
    /// Names that machines have already.
    names: std::collections::HashSet<String>,
    /// The kinds of identifiers that Kea compares.
    identifiers: Vec<String>,
    /// Whether any subnet uses global reservations.
    uses_global: bool,
}

/// Which of a subnet's, or of all subnets', reservations Kea looks for.
#[derive(Clone, Copy)]
struct Lookup {
    is_global: bool,
    is_in_subnet: bool,
}

/// Translates `files` as if they were one configuration.
///
/// # Errors
/// A file cannot be read, is not the JSON that Kea reads, or has nothing to serve.
pub fn import(files: &[String], mut sources: Sources<'_>) -> Result<Imported, Failed> {
    let mut importer = Importer {
        site: Site::default(),
        definitions: Definitions::default(),
        problems: Problems::default(),
        names: std::collections::HashSet::new(),
        identifiers: ["hw-address", "duid", "circuit-id", "client-id"].map(str::to_owned).to_vec(),
        uses_global: false,
    };
    for file in files {
        let node = json::parse(&mut sources, file)?;
        importer.file(&node);
    }
    let Importer { mut site, mut problems, .. } = importer;
    site.header = vec![format!("Imported from Kea: {}", files.join(", "))];
    let document = site.document(&mut problems);
    finish(document, problems, sources.names(), "there is no \"subnet4\" with a subnet in \"Dhcp4\"")
}

impl Importer {
    fn file(&mut self, node: &Node) {
        if !matches!(node.data, json::Data::Map(_)) {
            self.problems
                .add(node.place, format!("expected the map of a configuration, found {}", node.kind()));
        }
        for entry in node.entries() {
            match entry.key.as_str() {
                "Dhcp4" => self.dhcp4(&entry.value),
                "Logging" => {
                    self.problems.add(entry.place, "\"Logging\" is not taken: see `log`");
                }
                key => {
                    let why = "only the map \"Dhcp4\" is a DHCPv4 server's";
                    self.problems.add(entry.place, format!("{key:?} is not taken: {why}"));
                }
            }
        }
    }

    fn dhcp4(&mut self, node: &Node) {
        let mut taken = GLOBAL_KEYS.to_vec();
        taken.extend(SETTINGS_KEYS);
        let calculates = node.get("calculate-tee-times").and_then(Node::bool) == Some(true);
        taken.extend(["t1-percent", "t2-percent"].iter().filter(|_| calculates));
        keys::check(node, &taken, &mut self.problems);
        if let Some(node) = node.get("option-def") {
            self.definitions.add(node, &mut self.problems);
        }
        for class in node.get("client-classes").map(Node::items).unwrap_or_default() {
            if let Some(node) = class.get("option-def") {
                self.definitions.add(node, &mut self.problems);
            }
        }
        self.globals(node);
        let mut settings = self.settings(node);
        let lease = &mut settings.lease;
        if lease.default.is_none() {
            *lease =
                Lease { default: Some(DEFAULT_LEASE), min: Some(DEFAULT_LEASE), max: Some(DEFAULT_LEASE) };
        }
        self.site.settings = settings;
        if let Some(node) = node.get("client-classes") {
            self.classes(node);
        }
        let lookup = Lookup { is_global: false, is_in_subnet: true }.with(node);
        for subnet in node.get("subnet4").map(Node::items).unwrap_or_default() {
            self.subnet(subnet, None, lookup);
        }
        for network in node.get("shared-networks").map(Node::items).unwrap_or_default() {
            self.shared_network(network, lookup);
        }
        if let Some(node) = node.get("reservations").filter(|node| !node.items().is_empty()) {
            if self.uses_global {
                self.reservations(node);
            } else {
                let why = "Kea does not look at them, because \"reservations-global\" is not true";
                self.problems.add(node.place, format!("global \"reservations\" are not taken: {why}"));
            }
        }
    }

    /// Reads the keys that exist only at the top.
    fn globals(&mut self, node: &Node) {
        if let Some(node) = node.get("interfaces-config") {
            keys::check(node, &["interfaces"], &mut self.problems);
            let items = node.get("interfaces").map(Node::items).unwrap_or_default();
            let names: Vec<&str> = items.iter().filter_map(Node::text).collect();
            if !names.contains(&"*") {
                for name in names {
                    // `eth0/10.0.0.1` is one address of an interface.
                    let name = name.split('/').next().unwrap_or_default().to_owned();
                    if !name.is_empty() && !self.site.interfaces.contains(&name) {
                        self.site.interfaces.push(name);
                    }
                }
            }
        }
        let is = |key: &str| node.get(key).and_then(Node::bool);
        self.site.is_authoritative = is("authoritative") == Some(true);
        self.site.ignores_client_id = is("match-client-id") == Some(false);
        self.site.hides_client_id = is("echo-client-id") == Some(false);
        let period = node.get("decline-probation-period").and_then(Node::int);
        self.site.decline_time = Some(period.and_then(|it| u32::try_from(it).ok()).unwrap_or(86_400));
        if let Some(list) = node.get("host-reservation-identifiers") {
            self.identifiers = list.items().iter().filter_map(Node::text).map(str::to_owned).collect();
        }
    }

    /// Reads the settings that several levels have.
    fn settings(&mut self, node: &Node) -> Settings {
        let mut settings = Settings { lease: lease(node), ..Settings::default() };
        if let Some(list) = node.get("option-data") {
            self.definitions.read(list, &mut settings, &mut self.problems);
        }
        let share = |key: &str, default: f64| {
            let share = node.get(key).and_then(Node::number).unwrap_or(default);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
            let thousandths = (share.clamp(0.0, 1.0) * 1000.0).round() as u32;
            Some(Timer::Share(thousandths))
        };
        if node.get("calculate-tee-times").and_then(Node::bool) == Some(true) {
            settings.renew = share("t1-percent", 0.5);
            settings.rebind = share("t2-percent", 0.875);
        }
        let timer = |key: &str| seconds(node, key).filter(|seconds| *seconds > 0).map(Timer::Seconds);
        settings.renew = timer("renew-timer").or(settings.renew);
        settings.rebind = timer("rebind-timer").or(settings.rebind);
        let text = |key: &str| node.get(key).and_then(Node::text).filter(|text| !text.is_empty());
        settings.server_name = text("server-hostname").map(str::to_owned);
        settings.boot_file = text("boot-file-name").map(str::to_owned);
        if let Some(server) = text("next-server") {
            match server.parse::<std::net::Ipv4Addr>() {
                Ok(address) => settings.next_server = Some(address).filter(|it| !it.is_unspecified()),
                Err(_) => self.problems.add(node.place, format!("next-server {server:?} is no IPv4 address")),
            }
        }
        settings
    }
}

impl Lookup {
    /// Returns the value for a level with the keys of `node`.
    fn with(mut self, node: &Node) -> Lookup {
        match node.get("reservation-mode").and_then(Node::text) {
            Some("disabled" | "off") => self = Lookup { is_global: false, is_in_subnet: false },
            Some("global") => self = Lookup { is_global: true, is_in_subnet: false },
            Some(_) => self = Lookup { is_global: false, is_in_subnet: true },
            None => {}
        }
        let is = |key: &str| node.get(key).and_then(Node::bool);
        self.is_global = is("reservations-global").unwrap_or(self.is_global);
        self.is_in_subnet = is("reservations-in-subnet").unwrap_or(self.is_in_subnet);
        self
    }
}

/// Returns the number under `key` as seconds.
fn seconds(node: &Node, key: &str) -> Option<u32> {
    node.get(key).and_then(Node::int).and_then(|number| u32::try_from(number).ok())
}

/// Reads the lease times of a level. Without bounds the client gets the lease time whatever it asks for.
fn lease(node: &Node) -> Lease {
    let (valid, min, max) = (
        seconds(node, "valid-lifetime"),
        seconds(node, "min-valid-lifetime"),
        seconds(node, "max-valid-lifetime"),
    );
    let default = valid.or(min).or(max);
    Lease { default, min: min.or(default), max: max.or(default) }
}

/// Returns the remark of a map, to keep it as a comment.
fn comments(node: &Node) -> Vec<String> {
    let comment = node.get("comment").or_else(|| node.get("user-context")?.get("comment"));
    comment.and_then(Node::text).map(str::to_owned).into_iter().collect()
}
