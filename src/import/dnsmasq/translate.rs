//! Builds the document from the model.

use std::collections::HashMap;

use super::classes;
use super::effects;
use super::machines;
use super::menu;
use super::model::{Model, RangeKind};
use super::networks::{Network, networks};
use super::option::Wrap;
use super::rules::{self, Effect, Rule, UNTAGGED};
use super::sorted::Sorted;
use super::subnets;
use super::tags::Tags;
use super::values::duration;
use crate::config::document::Document;
use crate::config::document::{List, Map, Value};
use crate::import::condition::Condition;
use crate::import::options::{self, SERVER};
use crate::import::problems::Problems;
use crate::types::Ipv4Network;

/// The port of DNS. On another port, dnsmasq does not name itself as DNS server.
const DNS_PORT: u16 = 53;

/// The role of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Server,
    Proxy,
    Off,
}

/// The document for a whole configuration.
pub(super) fn document(model: &Model, local: &[Ipv4Network], problems: &mut Problems) -> Document {
    let networks = networks(&model.ranges, local, problems);
    let mode = mode(model, problems);
    let sorted = sort_hosts(model, &networks, problems);
    let conditions: Vec<(Vec<String>, Condition)> = sorted
        .patterns
        .iter()
        .filter_map(|it| Some((model.hosts.get(it.host)?.set.clone(), it.condition.clone())))
        .collect();
    let mut tags = Tags::new(model, &networks, sorted.members.clone(), &conditions);
    tags.name_classes();
    tags.run_tag_ifs(model, problems);
    let mut rules = rules::rules(model, &sorted, &tags, problems);
    let mut document = Document { header: model.header.clone(), ..Document::default() };
    let menu = menu::write(model, &tags, &mut document.boot, problems);
    let own = match mode {
        Mode::Server => effects::of_machines(&mut rules, model, &sorted, &tags, menu != Condition::Never),
        _ => HashMap::new(),
    };
    if mode != Mode::Off {
        let mut writer = subnets::Writer { model, networks: &networks, rules: &rules, problems };
        document.subnets = writer.write(&mut tags, mode == Mode::Proxy);
        let pools = classes_of_pools(&document.subnets);
        tags.remove_unused(rules.iter().map(|rule| &rule.condition), pools.into_iter());
        document.classes = classes::write(&rules, &tags, &menu);
    }
    if mode == Mode::Server {
        document.machines = machines::write(model, &sorted, &networks, &tags, own, problems);
    } else {
        without_addresses(model, &sorted, problems);
    }
    dhcp(model, &rules, mode, &mut document, problems);
    top(model, &mut document, problems);
    document
}

/// The classes that pools name.
fn classes_of_pools(subnets: &List) -> Vec<String> {
    let mut names = Vec::new();
    for subnet in subnets.iter() {
        let Value::Map(subnet) = subnet else { continue };
        let Some(Value::List(pools)) = subnet.get("pools") else { continue };
        for pool in pools.iter() {
            if let Value::Map(pool) = pool
                && let Some(Value::Text(class)) = pool.get("class")
            {
                names.push(class.clone());
            }
        }
    }
    names
}

/// Sorts the hosts. The tags of a host are those of the message, without those that hosts set.
fn sort_hosts(model: &Model, networks: &[Network], problems: &mut Problems) -> Sorted {
    let mut sorted = machines::sort(model, problems);
    let mut tags = Tags::new(model, networks, Default::default(), &[]);
    tags.run_tag_ifs(model, &mut Problems::default());
    sorted.patterns.retain_mut(|pattern| {
        let Some(host) = model.hosts.get(pattern.host) else { return false };
        match tags.resolve(&host.filter) {
            Some(resolved) if resolved.ranges.is_none() => {
                pattern.condition = Condition::all([pattern.condition.clone(), resolved.condition]);
                pattern.condition != Condition::Never
            }
            _ => {
                let why = tags.why_not(&host.filter);
                problems.add(host.origin.place, format!("dhcp-host is not taken: {why}"));
                false
            }
        }
    });
    sorted
}

fn mode(model: &Model, problems: &mut Problems) -> Mode {
    let is_proxy = |kind: RangeKind| kind == RangeKind::Proxy;
    let serves = model.ranges.iter().any(|range| !is_proxy(range.kind));
    if serves {
        for range in model.ranges.iter().filter(|range| is_proxy(range.kind)) {
            let reason = "dhcp-range with proxy is not taken: write `mode: {default: server, …: proxy}` with the \
                          interface of this network";
            problems.add(range.origin.place, reason);
        }
        return Mode::Server;
    }
    if model.ranges.is_empty() { Mode::Off } else { Mode::Proxy }
}

/// Reports hosts of a configuration that gives no addresses.
fn without_addresses(model: &Model, sorted: &Sorted, problems: &mut Problems) {
    for host in sorted.machines.iter().filter_map(|index| model.hosts.get(*index)) {
        let reason = "dhcp-host is not taken: no dhcp-range gives addresses";
        problems.add(host.origin.place, reason);
    }
}

/// Writes the keys of `dhcp`.
fn dhcp(model: &Model, rules: &[Rule], mode: Mode, document: &mut Document, problems: &mut Problems) {
    let settings = &model.settings;
    let dhcp = &mut document.dhcp;
    let word = match mode {
        Mode::Server => "server",
        Mode::Proxy => "proxy",
        Mode::Off => "off",
    };
    let off: Vec<&String> = settings.no_dhcp.iter().map(|(_, name)| name).collect();
    let named = |name: &String| settings.interfaces.is_empty() || settings.interfaces.contains(name);
    if off.is_empty() || mode == Mode::Off {
        dhcp.set("mode", word);
    } else {
        let mut by_interface = Map::new().with("default", word);
        for name in off.into_iter().filter(|name| named(name) && !name.contains('*')) {
            by_interface.set(name.clone(), "off");
        }
        dhcp.set("mode", by_interface);
    }
    for (place, name) in settings.no_dhcp.iter().filter(|(_, name)| name.contains('*')) {
        problems.add(*place, format!("no-dhcp-interface={name} is not taken: name each interface"));
    }
    if mode == Mode::Off {
        return;
    }
    if let Some((server, client)) = settings.ports {
        let proxy = if [server, client].contains(&4011) { 4012i64 } else { 4011 };
        let ports = Map::new().with("server", i64::from(server)).with("client", i64::from(client));
        dhcp.set("ports", ports.with("proxy", proxy));
    }
    if mode == Mode::Proxy {
        return;
    }
    dhcp.set("authoritative", settings.is_authoritative);
    if settings.ignores_client_id {
        dhcp.set("match_client_id", false);
    }
    if settings.always_broadcast {
        dhcp.set("always_broadcast", true);
    }
    if settings.has_no_ping {
        dhcp.set("conflict_check", "off");
    }
    if settings.bootp_dynamic {
        dhcp.set("bootp", "dynamic");
    }
    times(model, dhcp);
    let global_boot = rules.iter().rev().find_map(|rule| match &rule.effect {
        Effect::Boot { file, server_name, server, is_in_options } if rule.rank == UNTAGGED => {
            Some((file.as_deref(), server_name.as_deref(), *server, *is_in_options))
        }
        _ => None,
    });
    if let Some((file, server_name, server, _)) = global_boot {
        effects::others(dhcp, file, server_name, server);
    }
    global_options(model, rules, document);
    if let Some((file, server_name, _, true)) = global_boot {
        for (code, value) in effects::boot_options(file, server_name) {
            document.options.set(options::key(code), value);
        }
    }
}

/// Writes `renew` and `rebind`.
fn times(model: &Model, dhcp: &mut Map) {
    for (code, key) in [(58, "renew"), (59, "rebind")] {
        let plain = model.options.iter().rev().map(|rule| &rule.option);
        let mut plain = plain.filter(|option| option.wrap == Wrap::None && option.tags.is_empty());
        let bytes = plain.find(|option| option.code == code).map(|option| option.value.bytes());
        if let Some(Ok(bytes)) = bytes.map(<[u8; 4]>::try_from) {
            dhcp.set(key, duration(u32::from_be_bytes(bytes)));
        }
    }
}

/// Writes `dhcp.options`: those without tags, and those that dnsmasq adds itself.
fn global_options(model: &Model, rules: &[Rule], document: &mut Document) {
    let mut always: Vec<Value> = vec!["broadcast_address".into()];
    let mut removed: Vec<u8> = Vec::new();
    let map = &mut document.options;
    for rule in rules.iter().filter(|rule| rule.condition == Condition::Always && rule.ranges.is_none()) {
        let Effect::Option { code, value, is_forced } = &rule.effect else { continue };
        let key = options::key(*code);
        if *value == Value::Null {
            removed.push(*code);
            map.remove(&key);
            continue;
        }
        removed.retain(|other| other != code);
        map.set(key.clone(), value.clone());
        map.comment(&key, rule.origin.comments.clone());
        map.set_origin(&key, rule.origin.place);
        if *is_forced && !always.contains(&Value::from(key.as_ref())) {
            always.push(key.into_owned().into());
        }
    }
    if removed.contains(&28) {
        always.remove(0);
        map.set("broadcast_address", Value::Null);
    }
    if map.get("router").is_none() && !removed.contains(&3) {
        map.set("router", SERVER);
    }
    let names_itself = model.settings.dns_port.unwrap_or(DNS_PORT) == DNS_PORT;
    if names_itself && map.get("dns").is_none() && !removed.contains(&6) {
        let comment =
            "As with dnsmasq, this computer is the DNS server of its clients: keep one running here"
                .to_owned();
        map.set_with_comments("dns", SERVER, vec![comment]);
    }
    let domain = model.domains.iter().rev().find(|domain| domain.range.is_none());
    if let Some(domain) = domain.filter(|domain| !domain.name.is_empty() && !removed.contains(&15))
        && map.get("domain").is_none()
    {
        map.set_with_comments("domain", domain.name.as_str(), domain.origin.comments.clone());
    }
    if !always.is_empty() {
        document.dhcp.set("always_send", Value::from(always));
    }
}

/// Writes everything outside `dhcp` and `boot`.
fn top(model: &Model, document: &mut Document, problems: &mut Problems) {
    let settings = &model.settings;
    let not = |name: &String| settings.not_interfaces.iter().any(|(_, other)| other == name);
    let names = settings.interfaces.iter().filter(|name| *name != "lo" && !not(name));
    let mut unique: Vec<Value> = Vec::new();
    for name in names {
        // dnsmasq takes aliases like eth0:1 too.
        let name = Value::from(name.split(':').next().unwrap_or_default());
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    for (place, name) in &settings.interface_patterns {
        let reason = format!("interface={name} is not taken: name each interface in `interfaces`");
        problems.add(*place, reason);
    }
    if settings.interface_patterns.is_empty() && !unique.is_empty() {
        document.top.set("interfaces", Value::from(unique));
    }
    for (place, name) in settings.not_interfaces.iter().filter(|(_, name)| name != "lo") {
        if settings.interfaces.is_empty() {
            problems.add(
                *place,
                format!("except-interface={name} is not taken: name the other interfaces in `interfaces`"),
            );
        }
    }
    tftp(model, document, problems);
    if let Some(file) = &settings.lease_file {
        let lines = [
            "The leases so far, before the first start:".to_owned(),
            format!("lanboot leases import {file}"),
        ];
        document.header.extend(lines);
    }
}

/// Writes `images`, `tftp` and `http`.
fn tftp(model: &Model, document: &mut Document, problems: &mut Problems) {
    let settings = &model.settings;
    let Some(tftp) = &settings.tftp else {
        document.transfer.set("tftp", "off");
        // Without anything to serve, `check` refuses the file.
        if !model.ranges.is_empty() {
            document.transfer.set("http", "off");
        }
        return;
    };
    let subset = tftp.interfaces.iter().any(|name| !settings.interfaces.contains(name));
    if !tftp.interfaces.is_empty() && (subset || tftp.interfaces.len() < settings.interfaces.len()) {
        problems.add(
            tftp.origin.place,
            "the interfaces of enable-tftp are not taken: TFTP is served on all of `interfaces`, see `tftp.listen`",
        );
    }
    if let Some(root) = &settings.tftp_root {
        document.top.set_with_comments("images", root.as_str(), tftp.origin.comments.clone());
    }
    let mut map = Map::new();
    if let Some(max) = settings.tftp_max {
        map.set("max_transfers", max.clamp(1, 1_000_000));
    }
    if let Some(size) = settings.tftp_block_size {
        map.set("max_block_size", size);
    }
    if let Some(ports) = &settings.tftp_ports {
        map.set("ports", ports.as_str());
    }
    if !map.is_empty() {
        document.transfer.set("tftp", map);
    }
    let comment =
        "dnsmasq has no HTTP server; without this line, lanboot serves `images` by HTTP too".to_owned();
    document.transfer.set_with_comments("http", "off", vec![comment]);
}
