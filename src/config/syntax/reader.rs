//! Reads typed values from nodes. It records every problem and continues, so that one run reports all problems of a
//! file.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::config::problem::MAX_SHOWN;
use crate::config::syntax::key::Section;
use crate::config::syntax::keys::NOT_IMPLEMENTED;
use crate::config::syntax::place::{Unplaced, key_text};
use crate::config::syntax::tree::{Data, Node};

/// A value and the number of the node that contains it.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct At<T> {
    pub(in crate::config) id: u32,
    pub(in crate::config) value: T,
}

/// Reads nodes and collects problems. Methods that return an `Option` return `None` after they have recorded a
/// problem.
#[derive(Default)]
pub(in crate::config) struct Reader {
    pub(in crate::config) problems: Vec<Unplaced>,
    /// Findings about values that are valid.
    pub(in crate::config) notes: Vec<Unplaced>,
    /// The places of the named classes in `dhcp.classes`, with the nodes of their names. Other sections refer to them.
    pub(in crate::config) class_names: HashMap<String, (usize, u32)>,
    /// Values of `classless_routes` without a default route, and whether `router` is set beside them.
    pub(in crate::config) routes_without_default: Vec<(u32, bool)>,
}

/// The values of a mapping whose keys are known.
pub(in crate::config) struct Fields<'n> {
    entries: HashMap<&'static str, &'n Node>,
}

impl<'n> Fields<'n> {
    /// The value of `key`, if it was written.
    pub(in crate::config) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).copied()
    }
}

impl Reader {
    /// Records a problem of node `id`.
    pub(in crate::config) fn problem(&mut self, id: u32, message: impl Into<String>) {
        self.problems.push(Unplaced { id, message: message.into(), see: None });
    }

    /// Records a note about node `id`.
    pub(in crate::config) fn note(&mut self, id: u32, message: impl Into<String>) {
        self.notes.push(Unplaced { id, message: message.into(), see: None });
    }

    /// Records a problem of node `id` that involves the node `see`: `message (line N)`.
    pub(in crate::config) fn conflict(&mut self, id: u32, see: u32, message: impl Into<String>) {
        self.problems.push(Unplaced { id, message: message.into(), see: Some(see) });
    }

    /// Records `expected …, found …`.
    pub(in crate::config) fn expected(&mut self, node: &Node, what: impl Display) {
        self.problem(node.id, format!("expected {what}, found {}", describe(node)));
    }

    /// The entries of a mapping, each with its key as text. Duplicate keys are a problem. `null` is an empty mapping.
    pub(in crate::config) fn entries<'n>(&mut self, node: &'n Node) -> Vec<(At<String>, &'n Node)> {
        let entries = match &node.data {
            Data::Map(entries) => entries,
            Data::Null => return Vec::new(),
            _ => {
                let hint = colon_hint(node).unwrap_or_default();
                self.problem(node.id, format!("expected a mapping, found {}{hint}", describe(node)));
                return Vec::new();
            }
        };
        let mut seen: HashMap<String, u32> = HashMap::new();
        let mut found = Vec::new();
        for (key, value) in entries {
            let name = key_text(key);
            match &key.data {
                Data::Text(text) if text == "<<" => {
                    self.problem(key.id, "merge keys (<<) are not read: write the keys out");
                }
                Data::Text(_) | Data::Int(_) | Data::Bool(_) => match seen.get(&name) {
                    Some(first) => self.conflict(key.id, *first, format!("`{name}` is given twice")),
                    None => {
                        seen.insert(name.clone(), key.id);
                        found.push((At { id: key.id, value: name }, value));
                    }
                },
                _ => self.expected(key, "a name as the key"),
            }
        }
        found
    }

    /// The values of a mapping of `section`. Unknown keys and keys that are not implemented are problems.
    pub(in crate::config) fn fields<'n>(&mut self, node: &'n Node, section: Section) -> Fields<'n> {
        let mut entries = HashMap::new();
        for (key, value) in self.entries(node) {
            if let Some(known) = section.keys().iter().find(|known| known.name == key.value) {
                entries.insert(known.name, value);
                continue;
            }
            match NOT_IMPLEMENTED.iter().find(|(of, name)| *of == section && *name == key.value) {
                Some(_) if is_off(value) => {}
                Some((_, name)) => {
                    let instead = format!("use `{name}: off`, or leave it out");
                    self.problem(key.id, format!("not implemented yet in this version: {instead}"));
                }
                // No more problems are shown, and looking for similar names takes time.
                None if self.problems.len() > MAX_SHOWN => {
                    self.problem(key.id, format!("unknown key `{}`", key.value));
                }
                None => {
                    let known = section.keys().iter().map(|key| key.name);
                    let hint = suggestion(&key.value, known.clone()).unwrap_or_else(|| {
                        format!("; the keys here are {}", known.collect::<Vec<_>>().join(", "))
                    });
                    self.problem(key.id, format!("unknown key `{}`{hint}", key.value));
                }
            }
        }
        Fields { entries }
    }

    /// The items of a list. `null` is an empty list.
    pub(in crate::config) fn list<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.data {
            Data::List(items) => items,
            Data::Null => &[],
            _ => {
                self.expected(node, "a list");
                &[]
            }
        }
    }

    /// Reads text of at least one character, without control characters. Numbers must be quoted.
    pub(in crate::config) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.data {
            Data::Text(text) if !text.is_empty() && !text.chars().any(char::is_control) => Some(text),
            Data::Int(_) | Data::Float(_) | Data::Bool(_) => {
                self.problem(
                    node.id,
                    format!("expected {what}, found {}: put it in quotes if text is meant", describe(node)),
                );
                None
            }
            _ => {
                self.expected(node, what);
                None
            }
        }
    }

    /// Parses a value from text. The problem says that `what` was expected, or shows the error of the type if `what`
    /// is empty.
    pub(in crate::config) fn parse<T: FromStr<Err: Display>>(
        &mut self,
        node: &Node,
        what: &str,
    ) -> Option<At<T>> {
        let (text, number) = match &node.data {
            Data::Text(text) => (text.as_str(), String::new()),
            // The MAC address `525400123456` is a number in YAML.
            Data::Int(number) => ("", number.to_string()),
            _ => ("", String::new()),
        };
        match if text.is_empty() { number.as_str() } else { text }.parse() {
            Ok(value) => return Some(At { id: node.id, value }),
            Err(error) => {
                let what = if what.is_empty() { error.to_string() } else { what.to_owned() };
                let hint = ipv6_hint(text).unwrap_or_default();
                self.problem(node.id, format!("expected {what}, found {}{hint}", describe(node)));
            }
        }
        None
    }

    /// Parses one value or a list of values.
    pub(in crate::config) fn parse_each<T: FromStr<Err: Display>>(
        &mut self,
        node: &Node,
        what: &str,
    ) -> Vec<At<T>> {
        one_or_more(node).iter().filter_map(|item| self.parse(item, what)).collect()
    }

    /// Reads a whole number within `range`.
    pub(in crate::config) fn number<T: TryFrom<i128> + Into<i128> + Display + Copy>(
        &mut self,
        node: &Node,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let (least, most) = (*range.start(), *range.end());
        match &node.data {
            Data::Int(number) if (least.into()..=most.into()).contains(number) => T::try_from(*number).ok(),
            _ => {
                self.expected(node, format_args!("a number from {least} to {most}"));
                None
            }
        }
    }

    /// Reads `true` or `false`, or their YAML 1.1 forms.
    pub(in crate::config) fn bool(&mut self, node: &Node) -> Option<bool> {
        match &node.data {
            Data::Bool(value) => Some(*value),
            Data::Text(text) if matches!(text.as_str(), "on" | "yes") => Some(true),
            Data::Text(text) if matches!(text.as_str(), "off" | "no") => Some(false),
            _ => {
                self.expected(node, "true or false");
                None
            }
        }
    }

    /// Reads a duration of whole seconds, at least one, that fits into option 51.
    pub(in crate::config) fn seconds(&mut self, node: &Node) -> Option<At<Duration>> {
        let duration = match &node.data {
            Data::Text(text) => duration(text),
            _ => None,
        };
        let whole = |d: &Duration| d.subsec_nanos() == 0 && (1..u64::from(u32::MAX)).contains(&d.as_secs());
        match duration.filter(whole) {
            Some(value) => Some(At { id: node.id, value }),
            None => {
                self.expected(node, "a duration of whole seconds like 90s, 30m, 1h, 7d or 1h30m");
                None
            }
        }
    }

    /// Reads a short waiting time, or `off` as `None`.
    pub(in crate::config) fn wait_or_off(&mut self, node: &Node) -> Option<Duration> {
        let wait = match &node.data {
            Data::Bool(false) => return None,
            Data::Text(text) if matches!(text.as_str(), "off" | "no") => return None,
            Data::Text(text) => duration(text),
            _ => None,
        };
        let sensible = |wait: &Duration| (10..=5000).contains(&wait.as_millis());
        if wait.filter(sensible).is_none() {
            self.expected(node, "a time from 10ms to 5s like 500ms, or off");
        }
        wait
    }

    /// Reads one of the words of `choices`.
    pub(in crate::config) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let word = match &node.data {
            Data::Text(text) => text.as_str(),
            Data::Bool(true) => "true",
            Data::Bool(false) if choices.iter().any(|(word, _)| *word == "off") => "off",
            Data::Bool(false) => "false",
            _ => "",
        };
        if let Some((_, value)) = choices.iter().find(|(choice, _)| *choice == word) {
            return Some(*value);
        }
        let words = || choices.iter().map(|(word, _)| *word);
        let hint = suggestion(word, words()).unwrap_or_default();
        let expected = words().collect::<Vec<_>>().join(", ");
        let expected = match expected.rsplit_once(", ") {
            Some((others, last)) => format!("{others} or {last}"),
            None => expected,
        };
        self.problem(node.id, format!("expected {expected}, found {}{hint}", describe(node)));
        None
    }
}

/// Advice for an IPv6 address or network in place of one of IPv4.
fn ipv6_hint(text: &str) -> Option<&'static str> {
    let address = text.split(['/', '%']).next()?;
    address.parse::<Ipv6Addr>().is_ok().then_some("; IPv4 only here: lanboot does not serve IPv6")
}

/// Advice for text in place of a mapping: a `:`, or the space after it, is likely missing.
fn colon_hint(node: &Node) -> Option<String> {
    let Data::Text(text) = &node.data else { return None };
    let word = text.split([' ', '=']).next().filter(|word| !word.is_empty() && word.len() <= 40)?;
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match word.split_once(':') {
        Some((name, value)) if is_name(name) && !value.is_empty() => {
            Some(format!("; a space is missing after the `:` of `{name}`"))
        }
        None if is_name(word) => Some(format!("; `:` missing after `{word}`?")),
        _ => None,
    }
}

/// Whether the value is `off`, which YAML 1.1 parses as false.
pub(in crate::config) fn is_off(node: &Node) -> bool {
    matches!(&node.data, Data::Bool(false)) || matches!(&node.data, Data::Text(text) if text == "off")
}

/// The items of a list. A single value counts as a list of one, `null` as an empty list.
pub(in crate::config) fn one_or_more(node: &Node) -> &[Node] {
    match &node.data {
        Data::List(items) => items,
        Data::Null => &[],
        _ => std::slice::from_ref(node),
    }
}

/// Describes a node for messages: short, with control characters escaped.
pub(in crate::config) fn describe(node: &Node) -> String {
    match &node.data {
        Data::Null => "nothing".to_owned(),
        Data::Bool(value) => value.to_string(),
        Data::Int(number) => number.to_string(),
        Data::Float(number) => format!("the number {number}"),
        Data::Text(text) if text.chars().nth(60).is_some() => {
            format!("{:?}…", text.chars().take(60).collect::<String>())
        }
        Data::Text(text) => format!("{text:?}"),
        Data::List(items) if items.is_empty() => "an empty list".to_owned(),
        Data::List(_) => "a list".to_owned(),
        Data::Map(_) => "a mapping".to_owned(),
        Data::Tagged(tag) => format!("a value with the tag !{}", tag.trim_start_matches('!').escape_debug()),
    }
}

/// `; did you mean …?` with the most similar of `names`, if the difference may be a typing mistake.
pub fn suggestion<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let far = 1 + word.chars().count() / 4;
    // A much longer word is not a typing mistake, and the time to compare grows with its length.
    names
        .filter(|name| word.len() <= name.len() + far * 4)
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= far.min(3) && *distance < name.len())
        .min()
        .map(|(_, name)| format!("; did you mean `{name}`?"))
}

/// Parses `90s`, `30m`, `1h30m`, `500ms`.
pub(in crate::config) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(letters)?;
        let number: u64 = number.parse().ok()?;
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86400)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Reads `1468`, `64KiB` or `1 MiB` as bytes.
pub(in crate::config) fn size(node: &Node) -> Option<i128> {
    match &node.data {
        Data::Int(number) => Some(*number),
        Data::Text(text) => {
            let (number, unit) = match text.strip_suffix("KiB") {
                Some(number) => (number, 1024),
                None => match text.strip_suffix("MiB") {
                    Some(number) => (number, 1024 * 1024),
                    None => (text.strip_suffix("GiB")?, 1024 * 1024 * 1024),
                },
            };
            number.trim_end().parse::<u32>().ok().map(|number| i128::from(number) * unit)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units_and_may_be_combined() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("90s"), Some(90.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("7d"), Some(604_800.0));
        assert_eq!(seconds("500ms"), Some(0.5));
        for text in
            ["", "90", "s", "1y", "1h30", "-1s", "1.5h", "99999999999999999999s", "9999999999999999999d"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn only_typing_mistakes_get_a_suggestion() {
        let near = |word| suggestion(word, ["network", "pool", "lease"].into_iter());
        assert_eq!(near("netwrok").as_deref(), Some("; did you mean `network`?"));
        assert_eq!(near("pools").as_deref(), Some("; did you mean `pool`?"));
        assert_eq!(near("gateway"), None);
        assert_eq!(near(&"lease".repeat(100_000)), None);
    }
}
