//! Writes `dhcp.classes`, in the order in which they count.
//!
//! In `config.yaml` the options of a class come before those of pools and subnets. In Kea, and for conditions at the top
//! of a `dhcpd.conf`, those of the subnet come first. Such an option moves to a second class, without the subnets that
//! set it.

use std::collections::BTreeSet;

use super::boot::{self, Link};
use super::model::{Class, Level, Settings, Site, Subnet};
use super::settings::{self, complete};
use crate::config::document::{List, Map, Value};
use crate::import::condition::Condition;
use crate::import::problems::Problems;

/// One key of [`Settings`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Option(u8),
    Lease,
    NextServer,
    ServerName,
    BootFile,
}

/// Returns the list of classes.
pub(super) fn write(site: &Site, problems: &mut Problems) -> List {
    let mut list = List::default();
    let links = boot::chain(site, problems);
    for (index, class) in site.classes.iter().enumerate() {
        let (own, before): (Vec<&Link>, Vec<&Link>) =
            links.iter().filter(|link| link.class == Some(index)).partition(|link| link.is_class);
        for link in before {
            push_link(&mut list, link, problems);
        }
        write_class(&mut list, site, class, own.first().copied(), problems);
    }
    for link in links.iter().filter(|link| link.class.is_none()) {
        push_link(&mut list, link, problems);
    }
    list
}

/// Adds a class that has only a boot file.
fn push_link(list: &mut List, link: &Link, problems: &mut Problems) {
    let Some(boot) = boot::value(&link.file, link.server, link.place, problems) else { return };
    let network_boot = || {
        let all = ["pxe", "http", "ipxe", "bootp"];
        Map::new().with("class", Value::one_or_list(all)).into()
    };
    let condition = link.condition.to_match().unwrap_or_else(network_boot);
    list.push_translated(Map::new().with("match", condition).with("boot", boot), Vec::new(), link.place);
}

fn write_class(list: &mut List, site: &Site, class: &Class, link: Option<&Link>, problems: &mut Problems) {
    if class.condition == Some(Condition::Never) {
        problems.add(class.place, format!("class {:?} is left out: no client can be in it", class.name));
        return;
    }
    let mut own = class.settings.clone();
    own.lease = complete(own.lease, site.settings.lease);
    let split = split(site, class, &mut own);
    let mut map = Map::new().with("name", class.name.as_str());
    match &class.condition {
        None => {}
        Some(condition) => match condition.to_match() {
            Some(value) => map.set("match", value),
            // A class that every client is in.
            None => map.set("match", Map::new().with("class", Value::one_or_list(["known", "unknown"]))),
        },
    }
    if class.is_ignored {
        map.set("ignore", true);
    }
    if let Some(link) = link
        && let Some(boot) = boot::value(&link.file, link.server, link.place, problems)
    {
        map.set("boot", boot);
    }
    for timer in [own.renew.take(), own.rebind.take()].into_iter().flatten() {
        let _ = timer;
        problems.add(class.place, "T1 and T2 are not taken: a class has no `renew` and `rebind`");
    }
    settings::write(&mut map, &own, class.place, problems);
    list.push_translated(map, class.comments.clone(), class.place);
    for (subnets, settings) in split {
        let not = Value::one_or_list(
            subnets.iter().map(|index| site.subnets.get(*index).map_or_else(String::new, Subnet::name)),
        );
        let elsewhere =
            Map::new().with("class", class.name.as_str()).with("not", Map::new().with("subnet", not));
        let mut map = Map::new().with("match", elsewhere);
        settings::write(&mut map, &settings, class.place, problems);
        list.push_translated(map, Vec::new(), class.place);
    }
}

/// Moves the settings that a subnet or pool overrides out of `own`. Returns them with the subnets that do not get them.
/// Settings that no client gets are dropped.
fn split(site: &Site, class: &Class, own: &mut Settings) -> Vec<(BTreeSet<usize>, Settings)> {
    let mut parts: Vec<(BTreeSet<usize>, Settings)> = Vec::new();
    for key in keys(own) {
        let level = if matches!(key, Key::Option(_)) { class.options_level } else { class.level };
        let overrides = |subnet: &Subnet| {
            let of_pool = subnet.pools.iter().any(|pool| keys(&pool.settings).contains(&key));
            let of_subnet = keys(&subnet.settings).contains(&key);
            level >= Level::Subnet && of_pool || level == Level::Global && of_subnet
        };
        let numbered = site.subnets.iter().enumerate();
        let blocked: BTreeSet<usize> =
            numbered.filter(|(_, subnet)| overrides(subnet)).map(|(index, _)| index).collect();
        if blocked.is_empty() {
            continue;
        }
        let mut moved = Settings::default();
        take(key, own, &mut moved);
        if blocked.len() == site.subnets.len() {
            continue;
        }
        match parts.iter_mut().find(|(subnets, _)| *subnets == blocked) {
            Some((_, part)) => part.inherit(&moved),
            None => parts.push((blocked, moved)),
        }
    }
    parts
}

/// Returns the keys that have a value.
fn keys(settings: &Settings) -> Vec<Key> {
    let mut keys: Vec<Key> = settings.options.keys().map(|code| Key::Option(*code)).collect();
    keys.extend(settings.lease.default.is_some().then_some(Key::Lease));
    keys.extend(settings.next_server.is_some().then_some(Key::NextServer));
    keys.extend(settings.server_name.is_some().then_some(Key::ServerName));
    keys.extend(settings.boot_file.is_some().then_some(Key::BootFile));
    keys
}

/// Moves one value.
fn take(key: Key, from: &mut Settings, to: &mut Settings) {
    match key {
        Key::Option(code) => {
            if let Some(value) = from.options.remove(&code) {
                to.options.insert(code, value);
            }
            if from.always.remove(&code) {
                to.always.insert(code);
            }
        }
        Key::Lease => to.lease = std::mem::take(&mut from.lease),
        Key::NextServer => to.next_server = from.next_server.take(),
        Key::ServerName => to.server_name = from.server_name.take(),
        Key::BootFile => to.boot_file = from.boot_file.take(),
    }
}
