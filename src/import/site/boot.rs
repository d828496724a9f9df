//! Boot files. Kea and dhcpd take the boot file and `next-server` each from the first level that has it. In `config.yaml`
//! the two are one value, and classes are the only levels above the architecture.
//!
//! [`chain`] therefore makes a list of conditions, each with its file and server. The first one that a client meets is
//! the right one for it.

use std::net::Ipv4Addr;

use super::model::{Class, Level, Settings, Site, Subnet};
use crate::config::document::{Map, Value};
use crate::import::condition::Condition;
use crate::import::place::Place;
use crate::import::problems::Problems;

/// The maximum number of links. Levels with only a file and levels with only a server are combined in pairs.
const MAX_LINKS: usize = 2000;

/// One condition, and the boot file of clients that meet it.
pub(super) struct Link {
    pub place: Place,
    pub condition: Condition,
    pub file: String,
    pub server: Option<Ipv4Addr>,
    /// The index in `Site::classes` of the class that comes after this link or is the link itself.
    pub class: Option<usize>,
    /// Whether this link is that class itself.
    pub is_class: bool,
}

/// A level with a boot file, a server, or both.
struct Layer {
    place: Place,
    level: Level,
    condition: Condition,
    file: Option<String>,
    server: Option<Ipv4Addr>,
    class: Option<usize>,
}

impl Layer {
    /// The condition, and that of the class itself.
    fn conditions<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = &'a Condition> + Clone {
        let class = self.class.and_then(|index| site.classes.get(index));
        std::iter::once(&self.condition).chain(class.and_then(|class| class.condition.as_ref()))
    }

    /// Whether no client meets the conditions of both layers.
    fn excludes(&self, other: &Layer, site: &Site) -> bool {
        let theirs = other.conditions(site);
        self.conditions(site).any(|mine| theirs.clone().any(|theirs| mine.excludes(theirs)))
    }

    /// Whether the class of this layer has only members of the class of `other`.
    fn implies(&self, other: &Layer, site: &Site) -> bool {
        let class = self.class.and_then(|index| site.classes.get(index));
        match class.and_then(|class| class.condition.as_ref()) {
            Some(Condition::All(parts)) => parts.contains(&other.condition),
            Some(condition) => *condition == other.condition,
            None => false,
        }
    }
}

/// Returns the links in order. `Site::classes` must be in the order of their levels.
pub(super) fn chain(site: &Site, problems: &mut Problems) -> Vec<Link> {
    let layers = layers(site);
    let mut links: Vec<Link> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let mut add = |condition: Condition, file: &String, server: Option<Ipv4Addr>, is_class| {
            links.push(Link {
                place: layer.place,
                condition,
                file: file.clone(),
                server,
                class: layer.class,
                is_class,
            });
        };
        let later = layers.get(at + 1..).unwrap_or_default();
        // Whether every client of this layer is one of the other layer too.
        let implies = |other: &Layer| other.condition == Condition::Always || layer.implies(other, site);
        let both = |other: &Layer| match implies(other) {
            true => layer.condition.clone(),
            false => Condition::all([layer.condition.clone(), other.condition.clone()]),
        };
        match (&layer.file, layer.server) {
            (Some(file), Some(server)) => add(layer.condition.clone(), file, Some(server), true),
            (Some(file), None) => {
                let mut is_settled = false;
                // A URL names its server.
                let others =
                    later.iter().filter(|other| !file.contains("://") && !layer.excludes(other, site));
                for other in others {
                    let Some(server) = other.server else { continue };
                    is_settled = implies(other);
                    add(both(other), file, Some(server), is_settled);
                    if is_settled {
                        break;
                    }
                }
                if !is_settled {
                    add(layer.condition.clone(), file, None, true);
                }
            }
            (None, Some(server)) => {
                for other in later.iter().filter(|other| !layer.excludes(other, site)) {
                    let Some(file) = &other.file else { continue };
                    let is_settled = implies(other);
                    add(both(other), file, Some(server), is_settled);
                    if is_settled {
                        break;
                    }
                }
            }
            (None, None) => {}
        }
        if links.len() > MAX_LINKS {
            problems
                .add(layer.place, format!("more than {MAX_LINKS} combinations of boot files and servers"));
            break;
        }
    }
    links.retain(|link| link.condition != Condition::Never);
    // No client comes to a link after one for all clients.
    if let Some(last) = links.iter().position(|link| link.condition == Condition::Always) {
        links.truncate(last + 1);
    }
    links
}

fn layers(site: &Site) -> Vec<Layer> {
    let of_class = |(index, class): (usize, &Class)| Layer {
        place: class.place,
        level: class.level,
        condition: Condition::Class(class.name.clone()),
        file: class.settings.boot_file.clone(),
        server: class.settings.next_server,
        class: Some(index),
    };
    let mut layers: Vec<Layer> = site.classes.iter().enumerate().map(of_class).collect();
    let value = |place, level, condition, settings: &Settings| Layer {
        place,
        level,
        condition,
        file: settings.boot_file.clone(),
        server: settings.next_server,
        class: None,
    };
    let of_subnets =
        site.subnets.iter().map(|subnet| (&subnet.settings.boot_file, subnet.settings.next_server));
    let mut kinds: Vec<(&Option<String>, Option<Ipv4Addr>)> = Vec::new();
    of_subnets.for_each(|kind| {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    });
    for kind in &kinds {
        let of_kind =
            site.subnets.iter().filter(|it| (&it.settings.boot_file, it.settings.next_server) == *kind);
        let Some(first) = of_kind.clone().next() else { continue };
        let condition = match kinds.len() {
            1 => Condition::Always,
            _ => Condition::any(of_kind.map(of_subnet)),
        };
        layers.push(value(first.place, Level::Subnet, condition, &first.settings));
    }
    let place = site.subnets.first().map(|subnet| subnet.place).unwrap_or_default();
    layers.push(value(place, Level::Global, Condition::Always, &site.settings));
    layers.sort_by_key(|layer| (layer.level, layer.class.is_none()));
    // No client takes a value that comes after one for all clients.
    let (mut has_file, mut has_server) = (false, false);
    for layer in &mut layers {
        layer.file = layer.file.take().filter(|_| !has_file);
        layer.server = layer.server.take().filter(|_| !has_server);
        has_file |= layer.condition == Condition::Always && layer.file.is_some();
        has_server |= layer.condition == Condition::Always && layer.server.is_some();
    }
    layers.retain(|layer| layer.file.is_some() || layer.server.is_some());
    layers
}

/// Returns the condition that a client is in `subnet`. On a wire with several subnets their classes say in which one.
fn of_subnet(subnet: &Subnet) -> Condition {
    let here = Condition::Subnet(subnet.name());
    let member = subnet.classes.iter().map(|class| Condition::Class(class.clone()));
    match subnet.shared.is_some() && !subnet.classes.is_empty() {
        true => Condition::all([here, Condition::any(member)]),
        false => here,
    }
}

/// Returns the value of `boot` for a file and its server.
pub(super) fn value(
    file: &str,
    server: Option<Ipv4Addr>,
    place: Place,
    problems: &mut Problems,
) -> Option<Value> {
    if file.contains("://") {
        return Some(file.into());
    }
    if let Some(server) = server {
        return Some(Map::new().with("file", file).with("server", server).into());
    }
    let relative = file.trim_start_matches('/');
    if relative.is_empty() || file.split(['/', '\\']).any(|part| part == "..") {
        problems.add(
            place,
            format!("the boot file {file:?} is not taken: lanboot serves the files of one folder"),
        );
        return None;
    }
    Some(relative.into())
}

/// Returns the server of a machine's own boot file, at the levels below the machine.
pub(super) fn server_below(site: &Site, addresses: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let subnet = site.subnets.iter().find(|subnet| addresses.iter().any(|it| subnet.contains(*it)));
    let only = site.subnets.first().filter(|_| site.subnets.len() == 1);
    subnet.or(only).and_then(|subnet| subnet.settings.next_server).or(site.settings.next_server)
}
