//! Writes the effects of rules as keys of a class or a machine.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

use super::boots::boot_value;
use super::model::Model;
use super::rules::{Effect, Rule, UNTAGGED};
use super::sorted::Sorted;
use super::tags::Tags;
use super::values::duration;
use crate::config::document::{Map, Value};
use crate::import::condition::Condition;
use crate::import::options;
use crate::import::place::Place;
use crate::wire::option::code;

/// A setting that only one rule decides for a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Key {
    Option(u8),
    Boot,
    Ignore,
    Lease,
}

impl Key {
    pub fn of(effect: &Effect) -> Key {
        match effect {
            Effect::Option { code, .. } => Key::Option(*code),
            Effect::Boot { .. } => Key::Boot,
            Effect::Ignore => Key::Ignore,
            Effect::Lease(_) => Key::Lease,
        }
    }
}

/// The effects of some rules. Rules are taken from the last to the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects {
    keys: BTreeSet<Key>,
    comments: Vec<String>,
    /// The last statement of the file.
    place: Option<Place>,
    options: Map,
    always: Vec<Value>,
    others: Map,
}

impl Effects {
    pub fn has(&self, key: Key) -> bool {
        self.keys.contains(&key)
    }

    /// Takes the effect of a rule.
    pub fn take(&mut self, rule: &Rule) {
        self.keys.insert(Key::of(&rule.effect));
        self.place.get_or_insert(rule.origin.place);
        self.comments.splice(0..0, rule.origin.comments.iter().cloned());
        match &rule.effect {
            Effect::Option { code, value, is_forced } => {
                self.options.set(options::key(*code), value.clone());
                if *is_forced {
                    self.always.push(options::key(*code).into_owned().into());
                }
            }
            Effect::Boot { file, server_name, server, is_in_options } => {
                let only_boots = rule.rank == UNTAGGED || is_network_boot(&rule.condition);
                let (file, name) = (file.as_deref(), server_name.as_deref());
                boot(&mut self.others, file, name, *server, only_boots);
                if *is_in_options && !only_boots {
                    // Like dnsmasq, dhcp-boot comes before dhcp-option.
                    for (code, value) in boot_options(file, name) {
                        self.keys.insert(Key::Option(code));
                        self.options.set(options::key(code), value);
                    }
                }
            }
            Effect::Ignore => self.others.set("ignore", true),
            Effect::Lease(seconds) => self.others.set("lease", duration(*seconds)),
        }
    }

    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// Adds the keys to `map`, and returns the comments.
    pub fn write(self, map: &mut Map) -> Vec<String> {
        map.extend(self.others);
        if !self.options.is_empty() {
            map.map("options").extend(self.options);
        }
        if !self.always.is_empty() {
            map.set("always_send", Value::one_or_list(self.always));
        }
        self.comments
    }
}

/// Moves the rules for tags that only one machine has to that machine, as long as no later rule decides the same. The
/// machines are indexes of hosts.
pub(super) fn of_machines(
    rules: &mut Vec<Rule>,
    model: &Model,
    sorted: &Sorted,
    tags: &Tags,
    has_menu: bool,
) -> HashMap<usize, Effects> {
    let mut owners: HashMap<&str, Option<usize>> = HashMap::new();
    for index in &sorted.machines {
        for tag in model.hosts.get(*index).iter().flat_map(|host| &host.set) {
            owners.entry(tag).and_modify(|owner| *owner = None).or_insert(Some(*index));
        }
    }
    let mut by_class: HashMap<&str, usize> = HashMap::new();
    for (tag, owner) in owners {
        if let (Some(class), Some(owner)) = (tags.only_members(tag), owner) {
            by_class.insert(class, owner);
        }
    }
    let mut machines: HashMap<usize, Effects> = HashMap::new();
    let mut decided: HashSet<Key> = HashSet::new();
    let mut kept: Vec<Rule> = Vec::new();
    for rule in std::mem::take(rules).into_iter().rev() {
        let key = Key::of(&rule.effect);
        let owner = match &rule.condition {
            Condition::Class(name) => by_class.get(name.as_str()),
            _ => None,
        };
        let is_free = !(decided.contains(&key) || has_menu && key == Key::Boot);
        if let Some(owner) = owner.filter(|_| is_free) {
            let effects = machines.entry(*owner).or_default();
            if !effects.has(key) {
                effects.take(&rule);
            }
            continue;
        }
        if rule.rank != UNTAGGED {
            decided.insert(key);
        }
        kept.push(rule);
    }
    kept.reverse();
    *rules = kept;
    machines
}

/// Adds the boot file for clients that boot from the network, and the fields that other clients get.
fn boot(
    map: &mut Map,
    file: Option<&str>,
    server_name: Option<&str>,
    server: Option<Ipv4Addr>,
    only_boots: bool,
) {
    if let Some(file) = file {
        map.set("boot", boot_value(file, server));
    }
    if !only_boots {
        others(map, file, server_name, server);
    }
}

/// Adds the fields of the header that clients get that do not boot from the network.
pub(super) fn others(map: &mut Map, file: Option<&str>, server_name: Option<&str>, server: Option<Ipv4Addr>) {
    if let Some(server) = server {
        map.set("next_server", server);
    }
    if let Some(name) = server_name {
        map.set("server_name", name);
    }
    if let Some(file) = file {
        map.set("boot_file", file);
    }
}

/// The options 66 and 67, for clients that ask for them and do not read `sname` and `file`.
pub(super) fn boot_options(file: Option<&str>, server_name: Option<&str>) -> Vec<(u8, Value)> {
    let names = [(code::TFTP_SERVER_NAME, server_name), (code::BOOT_FILE_NAME, file)];
    let value = |(code, name): (u8, Option<&str>)| Some((code, options::value(code, name?.as_bytes()).ok()?));
    names.into_iter().filter_map(value).collect()
}

/// Whether only clients that boot from the network can meet the condition.
pub(super) fn is_network_boot(condition: &Condition) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().any(is_network_boot),
        Condition::Any(parts) => parts.iter().all(is_network_boot),
        Condition::Class(name) => ["pxe", "http", "ipxe", "bootp"].contains(&name.as_str()),
        Condition::Field(field, pattern) => {
            let text = match pattern.to_value(field) {
                Value::Text(text) => text,
                Value::Map(map) => match map.get("is") {
                    Some(Value::Text(text)) => text.clone(),
                    _ => String::new(),
                },
                _ => String::new(),
            };
            match field.as_str() {
                "arch" | "option.93" | "option.175" | "option.94" => true,
                "vendor_class" | "option.60" => text.contains("PXEClient") || text.contains("HTTPClient"),
                "user_class" | "option.77" => text.contains("iPXE") || text.contains("gPXE"),
                _ => false,
            }
        }
        _ => false,
    }
}
