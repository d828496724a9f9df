//! Writes `dhcp.classes`. In dnsmasq, each option and the boot file come from the last fitting rule. In config.yaml they
//! come from the first fitting class. So later rules become earlier classes, and rules with the same condition share a
//! class if that changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::effects::{Effects, Key};
use super::rules::{Effect, Rule};
use super::tags::{Named, Tags};
use crate::config::document::{List, Map, Value};
use crate::import::condition::Condition;

/// A class that is being built.
struct Class {
    condition: Condition,
    rank: u8,
    effects: Effects,
}

/// The classes for `rules`. `menu` are the conditions of firmware that gets a menu, and so no boot file of a class.
pub(super) fn write(rules: &[Rule], tags: &Tags, menu: &Condition) -> List {
    let mut builder = Builder::default();
    let mut ordered: Vec<&Rule> = rules.iter().rev().collect();
    ordered.sort_by_key(|rule| rule.rank);
    for rule in ordered {
        let is_option = matches!(rule.effect, Effect::Option { .. });
        // Options of whole ranges, or of all clients, are no part of a class.
        if rule.condition == Condition::Always && (is_option || rule.ranges.is_some()) {
            continue;
        }
        builder.add(rule, menu);
    }
    let classes = builder.classes;
    let mut list = List::default();
    let by_name: HashMap<&str, &Named> =
        tags.named.iter().map(|named| (named.name.as_str(), named)).collect();
    let named_of = |class: &Class| match &class.condition {
        Condition::Class(name) => by_name.get(name.as_str()).copied(),
        _ => None,
    };
    let written: HashSet<&str> =
        classes.iter().filter_map(named_of).map(|named| named.name.as_str()).collect();
    for named in tags.named.iter().filter(|named| !written.contains(named.name.as_str())) {
        list.push(definition(named));
    }
    let mut defined: HashSet<&str> = HashSet::new();
    for class in classes {
        // A second class with the condition refers to the first.
        let mut map = match named_of(&class).filter(|named| defined.insert(&named.name)) {
            Some(named) => definition(named),
            None => Map::new().with("match", matching(&class.condition)),
        };
        let place = class.effects.place();
        let comments = class.effects.write(&mut map);
        list.push_translated(map, comments, place.and_then(Into::into));
    }
    list
}

/// The class that gives a condition its name.
fn definition(named: &Named) -> Map {
    let mut map = Map::new().with("name", named.name.as_str());
    if let Some(condition) = &named.condition {
        map.set("match", matching(condition));
    }
    map
}

/// The value of `match`. Every client that boots from the network, if there is no condition.
fn matching(condition: &Condition) -> Value {
    condition.to_match().unwrap_or_else(|| {
        Map::new().with("class", Value::one_or_list(["pxe", "http", "ipxe", "bootp"])).into()
    })
}

/// The classes so far. Rules are added from the first that counts to the last.
#[derive(Default)]
struct Builder {
    classes: Vec<Class>,
    /// The classes of each condition.
    by_condition: HashMap<String, Vec<usize>>,
    /// The last class that has each setting.
    last: BTreeMap<Key, usize>,
}

impl Builder {
    /// Adds a rule, which comes after all that were added before it.
    fn add(&mut self, rule: &Rule, menu: &Condition) {
        let key = Key::of(&rule.effect);
        let condition = match rule.effect {
            // Firmware with a menu gets its items instead.
            Effect::Boot { .. } if *menu != Condition::Never => {
                Condition::all([rule.condition.clone(), menu.clone().negated()])
            }
            _ => rule.condition.clone(),
        };
        let same = self.by_condition.entry(format!("{condition:?}")).or_default();
        let has = |at: &usize| self.classes.get(*at).is_some_and(|class| class.effects.has(key));
        if same.iter().any(has) {
            // A later rule with the same condition decides already.
            return;
        }
        // An earlier class can take the setting if no class after it has the same setting.
        let last = self.last.get(&key).copied();
        let is_shared = |class: &Class| class.rank == rule.rank || key == Key::Ignore;
        let fits =
            |at: &usize| last.is_none_or(|last| last < *at) && self.classes.get(*at).is_some_and(is_shared);
        let at = match same.iter().copied().find(fits) {
            Some(at) => at,
            None => {
                self.classes.push(Class { condition, rank: rule.rank, effects: Effects::default() });
                same.push(self.classes.len() - 1);
                self.classes.len() - 1
            }
        };
        self.last.insert(key, last.unwrap_or(at).max(at));
        if let Some(class) = self.classes.get_mut(at) {
            class.effects.take(rule);
        }
    }
}
