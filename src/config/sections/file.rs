//! Reads `config.yaml` as a whole, and the sections `dhcp:` and `log:`. Every value is read by its type and defaults
//! are filled in; `check.rs` then checks the rules that involve several keys.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::sections::boot;
use crate::config::sections::class_names::class_refs;
use crate::config::sections::classes::classes;
use crate::config::sections::http;
use crate::config::sections::level::{level, times};
use crate::config::sections::machines;
use crate::config::sections::mode;
use crate::config::sections::option_values::domain_name;
use crate::config::sections::routers::router;
use crate::config::sections::syslog;
use crate::config::sections::targets;
use crate::config::sections::tftp;
use crate::config::sections::web;
use crate::config::sections::written::{DhcpSection, File, PoolEntry, SubnetEntry};
use crate::config::settings::{Interfaces, Log, LogFormat, LogLevel};
use crate::config::syntax::key::Section;
use crate::config::syntax::reader::{Fields, Reader, one_or_more};
use crate::config::syntax::tree::{Data, Node};
use crate::dhcp::level::Level;
use crate::dhcp::settings::{Authoritative, BootpMode, Ports};

/// Default time to probe an address before its first offer.
const DEFAULT_CONFLICT_CHECK: Duration = Duration::from_millis(500);

/// The ports registered for DHCP and proxyDHCP.
const PORTS: Ports = Ports { server: 67, client: 68, proxy: 4011 };

/// Reads the file with the first of `roots`. The others are files that it includes: their entries of lists come after
/// its own.
pub(in crate::config) fn read(reader: &mut Reader, roots: &[&Node]) -> File {
    let empty = Node { id: 0, data: Data::Null };
    let (root, included) = roots.split_first().map_or((&empty, roots), |(root, included)| (*root, included));
    let fields = reader.fields(root, Section::Top);
    let included: Vec<Fields<'_>> =
        included.iter().map(|root| reader.fields(root, Section::Included)).collect();
    // Included files may name targets of other files, so all targets come first.
    let every = |key| std::iter::once(&fields).chain(&included).filter_map(move |fields| fields.get(key));
    let all_targets: Vec<&Node> = every("targets").collect();
    let targets = targets::targets(reader, &all_targets);
    let (boot, default) = boot::boot(reader, fields.get("boot"), &targets);
    // Subnets and machines of all files refer to classes by name, so these come first.
    let class_lists = roots.iter().filter_map(|root| value_of(value_of(root, "dhcp")?, "classes"));
    let classes = classes(reader, &class_lists.collect::<Vec<_>>());
    let mut dhcp = dhcp(reader, root.id, fields.get("dhcp"));
    dhcp.classes = classes;
    for node in included.iter().filter_map(|fields| fields.get("dhcp")) {
        included_dhcp(reader, node, &mut dhcp);
    }
    let mut machines = Vec::new();
    for node in every("machines") {
        machines.extend(reader.list(node).iter().map(|node| machines::machine(reader, node, &targets)));
    }
    File {
        id: root.id,
        interfaces: fields.get("interfaces").map_or(Interfaces::Auto, |node| interfaces(reader, node)),
        state: path(reader, &fields, "state", "/var/lib/lanboot"),
        images: path(reader, &fields, "images", "boot-images"),
        dhcp,
        boot,
        default,
        machines,
        targets,
        tftp: tftp::tftp(reader, fields.get("tftp")),
        http: http::http(reader, fields.get("http")),
        web: web::web(reader, fields.get("web")),
        syslog: syslog::syslog(reader, fields.get("syslog")),
        log: log(reader, fields.get("log")),
    }
}

fn path(reader: &mut Reader, fields: &Fields<'_>, key: &str, default: &str) -> PathBuf {
    let written = fields.get(key).and_then(|node| reader.text(node, "the path of a folder"));
    PathBuf::from(written.unwrap_or(default))
}

fn interfaces(reader: &mut Reader, node: &Node) -> Interfaces {
    const WHAT: &str = "the name of an interface like eth1, or auto";
    if matches!(&node.data, Data::Text(text) if text == "auto") {
        return Interfaces::Auto;
    }
    let mut names: Vec<String> = Vec::new();
    for item in one_or_more(node) {
        let Some(name) = reader.text(item, WHAT) else { continue };
        // The kernel's rule: IFNAMSIZ is 16 bytes including the NUL, and `/` and spaces are not allowed.
        if name.len() > 15 || name.contains(|c: char| c == '/' || c.is_whitespace()) || name == "auto" {
            reader.expected(item, WHAT);
        } else if names.iter().any(|other| other == name) {
            reader.problem(item.id, format!("interface {name} is given twice"));
        } else {
            names.push(name.to_owned());
        }
    }
    if one_or_more(node).is_empty() {
        reader.problem(node.id, "expected at least one interface, or auto");
    }
    Interfaces::Named(names)
}

fn dhcp(reader: &mut Reader, root: u32, node: Option<&Node>) -> DhcpSection {
    let mut dhcp = DhcpSection {
        id: node.map_or(root, |node| node.id),
        mode: Some(mode::ModeSection::default()),
        authoritative: Authoritative::Yes,
        match_client_id: true,
        echo_client_id: true,
        always_broadcast: false,
        conflict_check: Some(DEFAULT_CONFLICT_CHECK),
        bootp: BootpMode::Reserved,
        fqdn_suffix: None,
        subnet_selection: false,
        ports: PORTS,
        subnets: Vec::new(),
        level: Level::default(),
        times: None,
        router: None,
        classes: Vec::new(),
    };
    let Some(node) = node else { return dhcp };
    if !matches!(node.data, Data::Map(_) | Data::Null) {
        reader.expected(node, "a mapping with `mode: proxy`, `mode: server` or `mode: off`");
        dhcp.mode = None;
        return dhcp;
    }
    let fields = reader.fields(node, Section::Dhcp);
    if let Some(node) = fields.get("mode") {
        dhcp.mode = mode::mode(reader, node);
    }
    if let Some(value) = fields.get("authoritative").and_then(|node| authoritative(reader, node)) {
        dhcp.authoritative = value;
    }
    if let Some(value) = fields.get("match_client_id").and_then(|node| reader.bool(node)) {
        dhcp.match_client_id = value;
    }
    if let Some(value) = fields.get("echo_client_id").and_then(|node| reader.bool(node)) {
        dhcp.echo_client_id = value;
    }
    if let Some(value) = fields.get("always_broadcast").and_then(|node| reader.bool(node)) {
        dhcp.always_broadcast = value;
    }
    if let Some(node) = fields.get("conflict_check") {
        dhcp.conflict_check = reader.wait_or_off(node);
    }
    let modes = [("true", BootpMode::Reserved), ("off", BootpMode::Off), ("dynamic", BootpMode::Dynamic)];
    if let Some(value) = fields.get("bootp").and_then(|node| reader.choice(node, &modes)) {
        dhcp.bootp = value;
    }
    if let Some(node) = fields.get("fqdn_suffix") {
        dhcp.fqdn_suffix = domain_name(reader, node).map(str::to_owned);
    }
    if let Some(value) = fields.get("subnet_selection").and_then(|node| reader.bool(node)) {
        dhcp.subnet_selection = value;
    }
    if let Some(node) = fields.get("ports") {
        dhcp.ports = ports(reader, node);
    }
    if let Some(node) = fields.get("subnets") {
        dhcp.subnets = reader.list(node).iter().map(|node| subnet(reader, node)).collect();
    }
    dhcp.level = level(reader, &fields);
    dhcp.times = times(&fields);
    if let Some(node) = fields.get("options") {
        dhcp.router = router(Some(node), &dhcp.level.options);
    }
    dhcp
}

/// Reads `dhcp` of an included file.
fn included_dhcp(reader: &mut Reader, node: &Node, dhcp: &mut DhcpSection) {
    let fields = reader.fields(node, Section::IncludedDhcp);
    if let Some(node) = fields.get("subnets") {
        dhcp.subnets.extend(reader.list(node).iter().map(|node| subnet(reader, node)));
    }
}

/// The value of a key of a mapping that is read elsewhere.
fn value_of<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Data::Map(entries) = &node.data else { return None };
    let is_it = |name: &Node| matches!(&name.data, Data::Text(text) if text == key);
    entries.iter().find(|(name, _)| is_it(name)).map(|(_, value)| value)
}

/// Reads `true`, `false`, their YAML 1.1 forms, or `strict`.
fn authoritative(reader: &mut Reader, node: &Node) -> Option<Authoritative> {
    let choices =
        [("true", Authoritative::Yes), ("false", Authoritative::No), ("strict", Authoritative::Strict)];
    match &node.data {
        Data::Text(text) if matches!(text.as_str(), "on" | "yes") => Some(Authoritative::Yes),
        Data::Text(text) if matches!(text.as_str(), "off" | "no") => Some(Authoritative::No),
        _ => reader.choice(node, &choices),
    }
}

fn ports(reader: &mut Reader, node: &Node) -> Ports {
    let fields = reader.fields(node, Section::Ports);
    let mut port = |key, default| match fields.get(key) {
        Some(node) => reader.number(node, 1..=u16::MAX),
        None => Some(default),
    };
    let named = [("server", PORTS.server), ("client", PORTS.client), ("proxy", PORTS.proxy)]
        .map(|(key, default)| (key, port(key, default)));
    for (i, (key, port)) in named.iter().enumerate() {
        let same = named.iter().skip(i + 1).find(|(_, other)| port.is_some() && other == port);
        if let (Some((other, _)), Some(port)) = (same, port) {
            let message = format!("expected three different ports, found {port} for {key} and {other}");
            reader.problem(node.id, message);
        }
    }
    let [server, client, proxy] = named.map(|(_, port)| port);
    Ports {
        server: server.unwrap_or(PORTS.server),
        client: client.unwrap_or(PORTS.client),
        proxy: proxy.unwrap_or(PORTS.proxy),
    }
}

fn subnet(reader: &mut Reader, node: &Node) -> SubnetEntry {
    if matches!(node.data, Data::Null) {
        reader.expected(node, "a subnet with `network` and `pool`");
        return SubnetEntry {
            network: None,
            pools: Vec::new(),
            boot_lease: None,
            relays: Vec::new(),
            classes: Vec::new(),
            shared_network: None,
            level: Level::default(),
            times: None,
            router: None,
        };
    }
    let fields = reader.fields(node, Section::Subnet);
    if fields.get("network").is_none() && matches!(node.data, Data::Map(_)) {
        reader.problem(node.id, "`network` must be given, like 192.168.77.0/24");
    }
    let level = level(reader, &fields);
    SubnetEntry {
        network: fields.get("network").and_then(|node| reader.parse(node, "")),
        pools: pools(reader, &fields),
        boot_lease: fields.get("boot_lease").and_then(|node| reader.seconds(node)).map(|at| at.value),
        relays: fields.get("relays").map_or(Vec::new(), |node| {
            reader.parse_each(node, "the IPv4 address or network of relay agents")
        }),
        classes: fields.get("class").map_or(Vec::new(), |node| class_refs(reader, node)),
        shared_network: fields
            .get("shared_network")
            .and_then(|node| reader.text(node, "the name of the wire that subnets share"))
            .map(str::to_owned),
        router: router(fields.get("options"), &level.options),
        level,
        times: times(&fields),
    }
}

/// Reads `pools` and `pool`. Entries of `pools` are used first, so that a pool for a class is used before the one for
/// all clients.
fn pools(reader: &mut Reader, fields: &Fields<'_>) -> Vec<PoolEntry> {
    let entries = fields.get("pools").map_or(&[][..], |node| reader.list(node));
    let mut pools: Vec<PoolEntry> = entries.iter().filter_map(|node| pool(reader, node)).collect();
    let ranges = fields.get("pool").map_or(Vec::new(), |node| reader.parse_each(node, ""));
    let open = |range| PoolEntry { range, classes: Vec::new(), level: Level::default(), router: None };
    pools.extend(ranges.into_iter().map(open));
    pools
}

/// Reads one entry of `pools`. `None` if it has no valid range.
fn pool(reader: &mut Reader, node: &Node) -> Option<PoolEntry> {
    if !matches!(node.data, Data::Map(_)) {
        reader.expected(node, "a pool like {range: 192.168.77.50-192.168.77.99, class: phones}");
        return None;
    }
    let fields = reader.fields(node, Section::Pool);
    if fields.get("range").is_none() {
        reader.problem(node.id, "`range` must be given, like 192.168.77.50-192.168.77.99");
    }
    let range = fields.get("range").and_then(|node| reader.parse(node, ""));
    let level = level(reader, &fields);
    let classes = fields.get("class").map_or(Vec::new(), |node| class_refs(reader, node));
    let router = router(fields.get("options"), &level.options);
    Some(PoolEntry { range: range?, classes, level, router })
}

fn log(reader: &mut Reader, node: Option<&Node>) -> Log {
    let mut log = Log { format: LogFormat::Text, level: LogLevel::Info };
    let Some(node) = node else { return log };
    let fields = reader.fields(node, Section::Log);
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    if let Some(format) = fields.get("format").and_then(|node| reader.choice(node, &formats)) {
        log.format = format;
    }
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    if let Some(level) = fields.get("level").and_then(|node| reader.choice(node, &levels)) {
        log.level = level;
    }
    log
}
