//! Turns tags into conditions on the client's message.
//!
//! A tag is set by statements that test the message, by hosts, by ranges and by `tag-if`. Statements that test the
//! message become conditions. A tag of a machine becomes a class that the machine names. A tag of a range is a condition
//! on the subnet.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::conditions::condition_of;
use super::model::{Model, Setter};
use super::networks::Network;
use super::values::Tag;
use crate::import::condition::Condition;
use crate::import::problems::Problems;

/// Names of classes that `config.yaml` defines itself.
const BUILT_IN: [&str; 6] = ["known", "unknown", "pxe", "http", "ipxe", "bootp"];
/// A tag with more alternatives than this becomes a class of its name, so that rules with it stay short.
const MANY: usize = 3;
/// A tag of `tag-if` with more conditions than this becomes a class too.
const LARGE: usize = 24;

/// A class that only gives a condition a name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: String,
    /// `None` for a class that only machines are in.
    pub condition: Option<Condition>,
}

/// All tags with their conditions.
#[derive(Debug, Default)]
pub(super) struct Tags {
    conditions: BTreeMap<String, Condition>,
    /// The ranges that set each tag, by index.
    ranges: BTreeMap<String, BTreeSet<usize>>,
    number_of_ranges: usize,
    /// The network of each range.
    network_of: BTreeMap<usize, (String, BTreeSet<usize>)>,
    /// Tags that machines set.
    members: BTreeSet<String>,
    /// The classes of these tags.
    member_classes: BTreeMap<String, String>,
    /// Names of classes that something refers to.
    live: HashSet<String>,
    /// The only interface that is served, whose name is a tag of every client.
    interface: Option<String>,
    pub named: Vec<Named>,
    /// The names in `named`, and those of classes that clients are in by a condition.
    names: HashSet<String>,
    with_condition: HashSet<String>,
}

/// The clients that a list of tags stands for.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Resolved {
    /// The condition without the tags of ranges.
    pub condition: Condition,
    /// The ranges that the tags select; `None` for all.
    pub ranges: Option<BTreeSet<usize>>,
}

impl Tags {
    /// Builds the conditions of all tags. `hosts` are the conditions of hosts that are no machines: the tags that they
    /// set, and the condition.
    pub fn new(
        model: &Model,
        networks: &[Network],
        members: BTreeSet<String>,
        hosts: &[(Vec<String>, Condition)],
    ) -> Tags {
        let mut tags = Tags { members, number_of_ranges: model.ranges.len(), ..Tags::default() };
        if let [interface] = &model.settings.interfaces[..]
            && model.settings.interface_patterns.is_empty()
        {
            tags.interface = Some(interface.clone());
        }
        for (index, range) in model.ranges.iter().enumerate() {
            if let Some(tag) = &range.set {
                tags.ranges.entry(tag.clone()).or_default().insert(index);
            }
        }
        for network in networks {
            let all: BTreeSet<usize> = network.ranges.iter().copied().collect();
            for range in &network.ranges {
                tags.network_of.insert(*range, (network.network.to_string(), all.clone()));
            }
        }
        let known = hosts.iter().map(|(_, condition)| condition.clone());
        tags.conditions.insert(
            "known".to_owned(),
            Condition::any(std::iter::once(Condition::Class("known".to_owned())).chain(known)),
        );
        tags.conditions.insert("bootp".to_owned(), Condition::Class("bootp".to_owned()));
        let of_tr069 = ["vendor.3561.1", "vendor.3561.2"].map(Condition::exists);
        tags.conditions.insert("cpewan-id".to_owned(), Condition::all(of_tr069));
        let mut alternatives: BTreeMap<String, Vec<Condition>> = BTreeMap::new();
        for Setter { tag, test, .. } in &model.setters {
            alternatives.entry(tag.clone()).or_default().push(condition_of(test));
        }
        for (set, condition) in hosts {
            for tag in set {
                alternatives.entry(tag.clone()).or_default().push(condition.clone());
            }
        }
        for (tag, mut all) in alternatives {
            // A tag that exists already, such as `known`, may be set by a statement too.
            all.extend(tags.conditions.get(&tag).cloned());
            tags.conditions.insert(tag, Condition::any(all));
        }
        tags
    }

    /// Gives classes to tags of machines and to long conditions.
    pub fn name_classes(&mut self) {
        for tag in self.members.clone() {
            let condition = self.conditions.remove(&tag);
            let name = self.name_tag(&tag, condition);
            self.member_classes.insert(tag, name);
        }
        let many = |condition: &Condition| matches!(condition, Condition::Any(all) if all.len() > MANY);
        let long: Vec<String> =
            self.conditions.iter().filter(|(_, it)| many(it)).map(|(tag, _)| tag.clone()).collect();
        for tag in long {
            let condition = self.conditions.remove(&tag);
            self.name_tag(&tag, condition);
        }
    }

    fn name_tag(&mut self, tag: &str, condition: Option<Condition>) -> String {
        let name = self.free_name(tag);
        self.conditions.insert(tag.to_owned(), Condition::Class(name.clone()));
        self.names.insert(name.clone());
        if condition.is_some() {
            self.with_condition.insert(name.clone());
        }
        self.named.push(Named { name: name.clone(), condition });
        name
    }

    /// A class name like `wanted` that is not in use.
    fn free_name(&self, wanted: &str) -> String {
        let is_taken = |name: &str| BUILT_IN.contains(&name) || self.names.contains(name);
        let wanted = if wanted.is_empty() { "class" } else { wanted };
        if !is_taken(wanted) {
            return wanted.to_owned();
        }
        let with_number = |number: u32| format!("{wanted}-{number}");
        let first = format!("{wanted}-tag");
        if is_taken(&first) {
            (2..).map(with_number).find(|name| !is_taken(name)).unwrap_or(first)
        } else {
            first
        }
    }

    /// The name of a class with exactly this condition, which is made if it does not exist.
    pub fn class_for(&mut self, condition: &Condition, wanted: &str) -> String {
        match condition {
            Condition::Class(name) => return name.clone(),
            Condition::Not(inner) if **inner == Condition::Class("known".to_owned()) => {
                return "unknown".to_owned();
            }
            _ => {}
        }
        if let Some(named) = self.named.iter().find(|named| named.condition.as_ref() == Some(condition)) {
            return named.name.clone();
        }
        let name = self.free_name(wanted);
        self.names.insert(name.clone());
        self.named.push(Named { name: name.clone(), condition: Some(condition.clone()) });
        name
    }

    /// The class of a tag that machines set, if something refers to it.
    pub fn class_of_member(&self, tag: &str) -> Option<&str> {
        let name = self.member_classes.get(tag)?;
        self.live.contains(name).then_some(name.as_str())
    }

    /// The class of a tag that only machines set.
    pub fn only_members(&self, tag: &str) -> Option<&str> {
        let name = self.member_classes.get(tag)?;
        let is_class = self.conditions.get(tag) == Some(&Condition::Class(name.clone()));
        (is_class && !self.with_condition.contains(name)).then_some(name.as_str())
    }

    /// Removes classes that nothing refers to. `used` are the conditions of rules, and `pools` the classes of pools.
    pub fn remove_unused<'c>(
        &mut self,
        used: impl Iterator<Item = &'c Condition>,
        pools: impl Iterator<Item = String>,
    ) {
        let mut waiting: Vec<String> = pools.collect();
        used.for_each(|condition| condition.classes(&mut |name| waiting.push(name.to_owned())));
        let conditions: HashMap<&str, Option<&Condition>> =
            self.named.iter().map(|named| (named.name.as_str(), named.condition.as_ref())).collect();
        let mut live = HashSet::new();
        while let Some(name) = waiting.pop() {
            let condition = conditions.get(name.as_str()).copied().flatten();
            if live.insert(name) {
                condition.iter().for_each(|it| it.classes(&mut |name| waiting.push(name.to_owned())));
            }
        }
        self.named.retain(|named| live.contains(&named.name));
        self.live = live;
    }

    /// Adds the tags that `tag-if` sets, in order. Each one sees the tags of those before it.
    pub fn run_tag_ifs(&mut self, model: &Model, problems: &mut Problems) {
        for tag_if in &model.tag_ifs {
            let Some(condition) = self.tag_if_condition(&tag_if.tags) else {
                let reason = format!("tag-if is not taken: {}", self.why_not(&tag_if.tags));
                problems.add(tag_if.origin.place, reason);
                continue;
            };
            for tag in &tag_if.set {
                let before = self.conditions.remove(tag).unwrap_or(Condition::Never);
                let both = Condition::any([before, condition.clone()]);
                // Conditions of conditions would grow without limit.
                if both.size() > LARGE {
                    self.name_tag(tag, Some(both));
                } else {
                    self.conditions.insert(tag.clone(), both);
                }
            }
        }
    }

    /// The condition of the tags in a `tag-if`, which may end in `*`.
    fn tag_if_condition(&self, tags: &[Tag]) -> Option<Condition> {
        let mut all = Vec::new();
        for tag in tags {
            let condition = match tag.name.strip_suffix('*') {
                Some(begin) => {
                    let matching = self.conditions.iter().filter(|(name, _)| name.starts_with(begin));
                    Condition::any(matching.map(|(_, condition)| condition.clone()))
                }
                None => self.of(tag)?,
            };
            all.push(if tag.is_negated { condition.negated() } else { condition });
        }
        Some(Condition::all(all))
    }

    /// The condition of a tag of the message, without its negation; `None` if nothing is known of it.
    fn of(&self, tag: &Tag) -> Option<Condition> {
        if let Some(condition) = self.conditions.get(&tag.name) {
            return Some(condition.clone());
        }
        if self.interface.as_ref() == Some(&tag.name) {
            return Some(Condition::Always);
        }
        // A tag that no line sets is not set.
        (tag.is_negated && tag.name != "known-othernet").then_some(Condition::Never)
    }

    /// The clients that have all of `tags`; `None` if `config.yaml` cannot say it: see [`Tags::why_not`].
    pub fn resolve(&self, tags: &[Tag]) -> Option<Resolved> {
        let mut all = Vec::new();
        let mut ranges: BTreeSet<usize> = (0..self.number_of_ranges).collect();
        for tag in tags {
            if let Some(set) = self.ranges.get(&tag.name)
                && !self.conditions.contains_key(&tag.name)
            {
                ranges.retain(|range| set.contains(range) != tag.is_negated);
                continue;
            }
            let condition = self.of(tag)?;
            all.push(if tag.is_negated { condition.negated() } else { condition });
        }
        let condition = if ranges.is_empty() && self.number_of_ranges > 0 {
            Condition::Never
        } else {
            Condition::all(all)
        };
        let ranges = (ranges.len() < self.number_of_ranges).then_some(ranges);
        Some(Resolved { condition, ranges })
    }

    /// The condition of clients in all of `ranges`; `None` if a part of a network is not among them.
    pub fn in_ranges(&self, ranges: &BTreeSet<usize>) -> Option<Condition> {
        let mut networks = BTreeSet::new();
        for range in ranges {
            let (network, all) = self.network_of.get(range)?;
            if !all.is_subset(ranges) {
                return None;
            }
            networks.insert(network.clone());
        }
        Some(Condition::any(networks.into_iter().map(Condition::Subnet)))
    }

    /// The reason why [`Tags::resolve`] or [`Tags::in_ranges`] fails.
    pub fn why_not(&self, tags: &[Tag]) -> String {
        let unknown = tags.iter().find(|tag| !self.ranges.contains_key(&tag.name) && self.of(tag).is_none());
        match unknown {
            Some(tag) if tag.name == "known-othernet" => {
                "config.yaml cannot tell machines with an address in another subnet from others".to_owned()
            }
            Some(tag) => format!(
                "no line sets the tag {}; if it is the name of an interface, config.yaml has no condition on that",
                tag.name
            ),
            None => "its tags select a part of a subnet, and config.yaml has no condition on that".to_owned(),
        }
    }
}
