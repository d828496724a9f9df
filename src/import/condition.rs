//! Conditions on a client's message, as Kea and dhcpd write them in their classes, and the `match` of config.yaml that
//! says the same.
//!
//! `match` has no parentheses. A mapping means all of its keys, a list of mappings any of them, and `not` negates. So
//! `a and a'` with one key becomes `not: [{not: {a}}, {not: {a'}}]`.

use std::net::Ipv4Addr;

use super::field::Pattern;
use crate::config::document::{Map, Value};

/// Among more alternatives than this, equal ones are not looked for.
const MAX_COMPARED: usize = 100;

/// A condition that a client's message meets or does not meet.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Condition {
    Always,
    Never,
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// The field that `match` calls by this name fits the pattern.
    Field(String, Pattern),
    /// The client is in the class.
    Class(String),
    /// A relay agent in this network forwarded the message: an address and the length of the prefix.
    Relay(Ipv4Addr, u8),
    /// The client is on the wire of the subnet with this network.
    Subnet(String),
}

impl Condition {
    /// Returns the condition that holds if all of `parts` do.
    pub fn all(parts: impl IntoIterator<Item = Condition>) -> Condition {
        let mut flat: Vec<Condition> = Vec::new();
        for part in parts {
            match part {
                Condition::Always => {}
                Condition::Never => return Condition::Never,
                Condition::All(inner) => flat.extend(inner),
                part if flat.contains(&part) => {}
                part => flat.push(part),
            }
        }
        // A field that fits a pattern exists.
        let fields: Vec<String> = flat.iter().filter_map(Condition::demanded_field).collect();
        flat.retain(|part| match part {
            Condition::Field(field, pattern) => !pattern.is_anything() || !fields.contains(field),
            _ => true,
        });
        match flat.len() {
            0 => Condition::Always,
            1 => flat.remove(0),
            _ => Condition::All(flat),
        }
    }

    /// Returns the condition that holds if any of `parts` does.
    pub fn any(parts: impl IntoIterator<Item = Condition>) -> Condition {
        let mut flat: Vec<Condition> = Vec::new();
        for part in parts {
            match part {
                Condition::Never => {}
                Condition::Always => return Condition::Always,
                Condition::Any(inner) => flat.extend(inner),
                part if flat.len() < MAX_COMPARED && flat.contains(&part) => {}
                part => flat.push(part),
            }
        }
        match flat.len() {
            0 => Condition::Never,
            1 => flat.remove(0),
            _ => Condition::Any(flat),
        }
    }

    /// Returns the field that must exist because it must fit a pattern.
    fn demanded_field(&self) -> Option<String> {
        match self {
            Condition::Field(field, pattern) if !pattern.is_anything() => Some(field.clone()),
            _ => None,
        }
    }

    pub fn negated(self) -> Condition {
        match self {
            Condition::Always => Condition::Never,
            Condition::Never => Condition::Always,
            Condition::Not(inner) => *inner,
            other => Condition::Not(Box::new(other)),
        }
    }

    /// Returns the condition that the field has a value, whatever it is.
    pub fn exists(field: &str) -> Condition {
        Condition::Field(field.to_owned(), Pattern::anything())
    }

    /// Whether no client can meet both conditions: they want different values of one field.
    pub fn excludes(&self, other: &Condition) -> bool {
        match (self, other) {
            (Condition::Field(one, mine), Condition::Field(two, theirs)) => {
                let values = mine.bytes().zip(theirs.bytes());
                one == two && values.is_some_and(|(mine, theirs)| mine != theirs)
            }
            (Condition::Subnet(mine), Condition::Subnet(theirs)) => mine != theirs,
            (Condition::All(parts), _) => parts.iter().any(|part| part.excludes(other)),
            (_, Condition::All(parts)) => parts.iter().any(|part| self.excludes(part)),
            (Condition::Any(parts), _) => parts.iter().all(|part| part.excludes(other)),
            (_, Condition::Any(parts)) => parts.iter().all(|part| self.excludes(part)),
            (Condition::Not(inner), other) | (other, Condition::Not(inner)) => **inner == *other,
            _ => false,
        }
    }

    /// Returns the value of `match`; `None` if it is met by every client or by none.
    pub fn to_match(&self) -> Option<Value> {
        if matches!(self, Condition::Always | Condition::Never) {
            return None;
        }
        let mut all = alternatives(self);
        Some(if all.len() == 1 { all.remove(0) } else { all.into() })
    }

    /// Returns the number of conditions in it.
    pub fn size(&self) -> usize {
        match self {
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().map(Condition::size).sum::<usize>() + 1
            }
            Condition::Not(inner) => inner.size() + 1,
            _ => 1,
        }
    }

    /// Calls `each` with every class that the condition names.
    pub fn classes<'c>(&'c self, each: &mut dyn FnMut(&'c str)) {
        match self {
            Condition::Class(name) => each(name),
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().for_each(|part| part.classes(each));
            }
            Condition::Not(inner) => inner.classes(each),
            _ => {}
        }
    }

    /// Returns the key of `match` and the value, if the condition is one key.
    fn key(&self) -> Option<(String, Value)> {
        Some(match self {
            Condition::Field(field, pattern) => (field.clone(), pattern.to_value(field)),
            Condition::Class(name) => ("class".to_owned(), name.as_str().into()),
            Condition::Relay(address, 32) => ("relay".to_owned(), (*address).into()),
            Condition::Relay(address, prefix) => ("relay".to_owned(), format!("{address}/{prefix}").into()),
            Condition::Subnet(network) => ("subnet".to_owned(), network.as_str().into()),
            _ => return None,
        })
    }
}

/// Returns the mappings of which a client must meet one.
fn alternatives(condition: &Condition) -> Vec<Value> {
    let one = std::slice::from_ref(condition);
    let parts = if let Condition::Any(parts) = condition { parts } else { one };
    let mut by_key: Vec<(String, Vec<Value>)> = Vec::new();
    let mut others: Vec<Value> = Vec::new();
    for part in parts {
        match part.key() {
            Some((key, value)) => match by_key.iter_mut().find(|(other, _)| *other == key) {
                Some((_, values)) => values.push(value),
                None => by_key.push((key, vec![value])),
            },
            None => others.push(mapping(part).into()),
        }
    }
    let keyed =
        by_key.into_iter().map(|(key, values)| Map::new().with(key, Value::one_or_list(values)).into());
    keyed.chain(others).collect()
}

/// Returns a mapping of which a client must meet all keys.
fn mapping(condition: &Condition) -> Map {
    let one = std::slice::from_ref(condition);
    let parts = if let Condition::All(parts) = condition { parts } else { one };
    let mut keys = Map::new();
    let mut not: Vec<Value> = Vec::new();
    for part in parts {
        if let Condition::Not(inner) = part {
            not.extend(alternatives(inner));
            continue;
        }
        let all = alternatives(part);
        match all.as_slice() {
            // A key may stand only once, and several alternatives have no place in a mapping.
            [Value::Map(map)] if map.iter().all(|(key, _)| key != "not" && keys.get(key).is_none()) => {
                for (key, value) in map.iter() {
                    keys.set(key.to_owned(), value.clone());
                }
            }
            _ => not.push(Map::new().with("not", Value::one_or_list(all)).into()),
        }
    }
    if !not.is_empty() {
        keys.set("not", Value::one_or_list(not));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::write;

    fn field(name: &str, text: &str) -> Condition {
        Condition::Field(name.to_owned(), Pattern::exactly(text.as_bytes()))
    }

    fn shown(condition: &Condition) -> String {
        write(&Map::new().with("match", condition.to_match().unwrap())).trim_end().to_owned()
    }

    #[test]
    fn boolean_structure_becomes_lists_and_not() {
        let (a, b, c) = (field("option.1", "a"), field("option.2", "b"), field("option.1", "c"));
        assert_eq!(shown(&Condition::all([a.clone(), b.clone()])), "match: {option.1: a, option.2: b}");
        assert_eq!(shown(&Condition::any([a.clone(), c.clone()])), "match: {option.1: [a, c]}");
        assert_eq!(shown(&Condition::any([a.clone(), b.clone()])), "match: [{option.1: a}, {option.2: b}]");
    }

    #[test]
    fn keys_that_stand_twice_are_negated_twice() {
        let (a, b, c) = (field("option.1", "a"), field("option.2", "b"), field("option.1", "c"));
        assert_eq!(
            shown(&Condition::all([a.clone(), c.clone().negated()])),
            "match: {option.1: a, not: {option.1: c}}"
        );
        assert_eq!(
            shown(&Condition::all([a.clone(), c.clone()])),
            "match: {option.1: a, not: {not: {option.1: c}}}"
        );
        let either = Condition::any([a.clone(), b.clone()]);
        assert_eq!(
            shown(&Condition::all([either, c.negated()])),
            "match: {not: [{not: [{option.1: a}, {option.2: b}]}, {option.1: c}]}"
        );
        assert_eq!(Condition::all([a.clone(), a.clone()]), a);
        assert_eq!(Condition::any([Condition::Always, b]), Condition::Always);
    }
}
