//! Kea's `client-classes`, and the lists of classes at pools and subnets.

use super::json::Node;
use super::translate::{BUILT_IN, class_name};
use super::{Importer, SETTINGS_KEYS, comments, expression, keys, translate};
use crate::import::condition::Condition;
use crate::import::place::Place;
use crate::import::site::{Class, Level, Settings};

const KEYS: &[&str] = &["name", "test", "option-def"];

impl Importer {
    /// Reads the list `client-classes`.
    pub(super) fn classes(&mut self, node: &Node) {
        for item in node.items() {
            let taken: Vec<&str> = KEYS.iter().chain(SETTINGS_KEYS).copied().collect();
            for entry in item.entries() {
                let key = entry.key.as_str();
                let is_extra = matches!(key, "only-if-required" | "only-in-additional-list");
                if is_extra && entry.value.bool() == Some(true) {
                    let why = "lanboot tests every class for every client: this one now counts everywhere";
                    self.problems.add(entry.place, format!("{key:?} is not taken: {why}"));
                } else if key == "template-test" {
                    let why = "lanboot has no classes that are named after a client's value";
                    self.problems.add(entry.place, format!("{key:?} is not taken: {why}"));
                } else if !is_extra {
                    let one = super::json::Data::Map(vec![entry.clone()]);
                    let one = Node { place: entry.place, data: one };
                    keys::check(&one, &taken, &mut self.problems);
                }
            }
            let Some(name) = item.get("name").and_then(Node::text).map(str::to_owned) else {
                self.problems.add(item.place, "a class without a name is not taken");
                continue;
            };
            self.class(item, &name);
        }
    }

    fn class(&mut self, item: &Node, name: &str) {
        let settings = self.settings(item);
        let test = item.get("test").filter(|node| node.text().is_some_and(|text| !text.trim().is_empty()));
        let condition = match test {
            Some(test) => match self.condition(test) {
                Ok(condition) => Some(condition),
                Err(why) => {
                    self.problems.add(
                        test.place,
                        format!(
                            "the test of class {name:?} is not taken, so no client is in the class: {why}"
                        ),
                    );
                    None
                }
            },
            // Classes that Kea itself puts clients in may have options too.
            None => match translate::member(name) {
                Ok(Condition::Class(own)) if own == class_name(name) => None,
                Ok(condition) => Some(condition),
                Err(why) => {
                    self.problems.add(item.place, format!("class {name:?} is not taken: {why}"));
                    return;
                }
            },
        };
        self.site.classes.push(Class {
            place: item.place,
            name: class_name(name),
            condition,
            is_ignored: name == "DROP",
            settings,
            level: Level::Class,
            // In Kea a class's options come after those of subnets and pools, but its boot file before theirs.
            options_level: Level::Global,
            comments: comments(item),
        });
    }

    /// Translates the test of a class.
    fn condition(&mut self, test: &Node) -> Result<Condition, String> {
        let text = test.text().unwrap_or_default();
        let parsed =
            expression::parse(text).map_err(|(offset, why)| format!("at letter {}: {why}", offset + 1))?;
        let condition = translate::condition(&parsed, &|name| self.definitions.code_of(name))?;
        let mut missing = Vec::new();
        condition.classes(&mut |name| {
            if !BUILT_IN.contains(&name) && !self.site.classes.iter().any(|class| class.name == name) {
                missing.push(name.to_owned());
            }
        });
        match missing.first() {
            Some(name) => Err(format!("class {name:?} is not defined before it")),
            None => Ok(condition),
        }
    }

    /// Reads the classes that a pool or subnet is for.
    pub(super) fn members(&mut self, node: &Node) -> Vec<String> {
        let one = node.get("client-class").and_then(Node::text);
        let list = node.get("client-classes").map(Node::items).unwrap_or_default();
        let names: Vec<String> =
            one.into_iter().chain(list.iter().filter_map(Node::text)).map(str::to_owned).collect();
        let mut members = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            match translate::member(name) {
                Ok(Condition::Always) => return Vec::new(),
                Ok(Condition::Class(own)) if BUILT_IN.contains(&own.as_str()) => members.push(own),
                Ok(_) => members.push(self.need_class(name, node.place)),
                Err(why) => {
                    self.problems.add(node.place, format!("client-class {name:?} is not taken: {why}"));
                }
            }
        }
        members
    }

    /// Returns the name of a class here. Adds the class if the file does not define it.
    pub(super) fn need_class(&mut self, name: &str, place: Place) -> String {
        let own = class_name(name);
        if self.site.classes.iter().any(|class| class.name == own) {
            return own;
        }
        let condition = match translate::member(name) {
            Ok(Condition::Class(_)) | Err(_) => None,
            Ok(condition) => Some(condition),
        };
        self.site.classes.push(Class {
            place,
            name: own.clone(),
            condition,
            is_ignored: false,
            settings: Settings::default(),
            level: Level::Class,
            options_level: Level::Global,
            comments: Vec::new(),
        });
        own
    }
}
