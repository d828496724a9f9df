//! Removes a value from a tree by its path, for the import of values that `config.yaml` does not take.

use crate::config::document::value::{List, Map, Origin, Value};

/// Keys that say which clients an entry is for. Without one of them the entry would count for other clients, so the
/// whole entry is removed.
const CONDITIONS: [&str; 6] = ["match", "class", "network", "range", "relays", "shared_network"];

/// A value that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its path, with the numbers that its lists had before.
    pub path: String,
    /// The statement of the value, or of the innermost value around it that has one.
    pub origin: Option<Origin>,
}

/// The part of a tree that had the value.
enum Outcome {
    Removed(Removed),
    /// The value that was searched must go, because nothing useful is left of it.
    RemoveThis,
}

impl Map {
    /// Removes the value at `path`, or the innermost value on the way to it that exists. Mappings and lists that become
    /// empty are removed too. Returns `None` if no value is on the way.
    pub fn remove_path(&mut self, path: &str) -> Option<Removed> {
        match self.remove_below(path, "", false) {
            Some(Outcome::Removed(removed)) => Some(removed),
            _ => None,
        }
    }

    /// `is_item` is true for a mapping in a list.
    fn remove_below(&mut self, path: &str, parent: &str, is_item: bool) -> Option<Outcome> {
        let path = path.strip_prefix('.').unwrap_or(path);
        let follows = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        // Keys contain dots too, such as `option.60`.
        let is_on_path = |key: &str| path.strip_prefix(key).is_some_and(follows);
        let at = self.entries.iter().position(|entry| is_on_path(&entry.key))?;
        let entry = self.entries.get_mut(at)?;
        if is_item && CONDITIONS.contains(&entry.key.as_ref()) && parent != "machines" {
            return Some(Outcome::RemoveThis);
        }
        let origin = entry.origin;
        let rest = path.get(entry.key.len()..).unwrap_or_default();
        let below = match &mut entry.value {
            Value::Map(map) if !rest.is_empty() => map.remove_below(rest, &entry.key, false),
            Value::List(list) if !rest.is_empty() => list.remove_below(rest, &entry.key),
            _ => None,
        };
        let removed = match below {
            Some(Outcome::Removed(removed)) => {
                let path = format!("{}{}", entry.key, separated(&removed.path));
                if matches!(&entry.value, Value::List(list) if list.is_empty()) {
                    self.entries.remove(at);
                }
                Removed { path, origin: removed.origin.or(origin) }
            }
            _ => {
                let removed = self.entries.remove(at);
                Removed { path: removed.key.into_owned(), origin }
            }
        };
        Some(if self.entries.is_empty() { Outcome::RemoveThis } else { Outcome::Removed(removed) })
    }
}

impl List {
    /// `key` is the key of this list.
    fn remove_below(&mut self, path: &str, key: &str) -> Option<Outcome> {
        let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
        let at: usize = index.parse().ok()?;
        let item = self.items.get_mut(at)?;
        let origin = item.origin;
        let below = match &mut item.value {
            Value::Map(map) if !rest.is_empty() => map.remove_below(rest, key, true),
            Value::List(list) if !rest.is_empty() => list.remove_below(rest, key),
            _ => None,
        };
        let removed = match below {
            Some(Outcome::Removed(removed)) => Removed {
                path: format!("[{at}]{}", separated(&removed.path)),
                origin: removed.origin.or(origin),
            },
            _ => {
                self.items.remove(at);
                Removed { path: format!("[{at}]"), origin }
            }
        };
        Some(Outcome::Removed(removed))
    }
}

/// A path after the key or the number before it.
fn separated(path: &str) -> String {
    match path.starts_with('[') {
        true => path.to_owned(),
        false => format!(".{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::write;

    #[test]
    fn a_value_is_removed_with_what_depends_on_it() {
        let class = Map::new().with("match", Map::new().with("option.60", "x")).with("lease", "1h");
        let pool = Map::new().with("range", "10.0.0.1-10.0.0.9").with("class", "x");
        let subnet = Map::new().with("network", "10.0.0.0/24").with("pools", vec![Value::Map(pool)]);
        let machine = Map::new().with("name", "a b").with("options", Map::new().with("hostname", "c d"));
        let mut machines = List::default();
        machines.push_translated(machine, Vec::new(), Origin { file: 1, line: 7 });
        let top = Map::new()
            .with("classes", vec![Value::Map(class)])
            .with("subnets", vec![Value::Map(subnet)])
            .with("machines", machines)
            .with("http", "off");
        for (path, gone, removed) in [
            ("classes[0].match.option.60", "classes", "classes[0]"),
            ("classes[0].lease", "lease", "classes[0].lease"),
            ("subnets[0].pools[0].class", "pools", "subnets[0].pools[0]"),
            ("machines[0].options.hostname", "options", "machines[0].options"),
            ("machines[0]", "machines", "machines[0]"),
            ("http.port.7", "http", "http"),
        ] {
            let mut tree = top.clone();
            let found = tree.remove_path(path).unwrap();
            assert_eq!(found.path, removed, "{path}");
            assert_eq!(found.origin.is_some(), path.starts_with("machines"), "{path}");
            assert!(!write(&tree).contains(gone), "{path}: {}", write(&tree));
        }
        assert_eq!(top.clone().remove_path("dhcp.mode"), None);
    }
}
