//! The values of a JSON file, with their places.

use crate::import::place::Place;

/// A value with its place.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::import::kea) struct Node {
    pub place: Place,
    pub data: Data,
}

#[derive(Clone, PartialEq, Debug)]
pub(in crate::import::kea) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a map.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::import::kea) struct Entry {
    pub place: Place,
    pub key: String,
    pub value: Node,
}

impl Node {
    /// Returns the entries of a map, and none of any other value.
    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a list, and none of any other value.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self) -> Option<i64> {
        match self.data {
            Data::Int(number) => Some(number),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self.data {
            #[expect(clippy::cast_precision_loss, reason = "seconds and percentages are small")]
            Data::Int(number) => Some(number as f64),
            Data::Real(number) => Some(number),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self.data {
            Data::Bool(is) => Some(is),
            _ => None,
        }
    }

    /// Returns the kind of value with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "null",
            Data::Bool(_) => "true or false",
            Data::Int(_) | Data::Real(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }
}
