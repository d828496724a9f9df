//! A tree of YAML values with comments. `write.rs` writes it.

use std::borrow::Cow;

/// A YAML value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// Always read back as text, whatever it looks like.
    Text(String),
    List(List),
    Map(Map),
}

/// A list, whose items may have comments above them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    pub(super) items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) comments: Vec<String>,
    pub(super) origin: Option<Origin>,
    pub(super) value: Value,
}

/// The statement that a value was translated from. The file is a number, and the line counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub file: u32,
    pub line: u32,
}

/// A mapping in the order of insertion, whose entries may have comments above them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    pub(super) entries: Vec<MapEntry>,
    /// Written as a block even if it fits into one line.
    pub(super) is_block: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MapEntry {
    pub(super) comments: Vec<String>,
    pub(super) origin: Option<Origin>,
    pub(super) key: Cow<'static, str>,
    pub(super) value: Value,
}

impl Map {
    pub fn new() -> Map {
        Map::default()
    }

    /// A mapping that is never written in one line.
    pub fn block() -> Map {
        Map { entries: Vec::new(), is_block: true }
    }

    /// Adds an entry, and returns the mapping, to build one in an expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Map {
        self.set(key, value);
        self
    }

    /// Sets an entry. An earlier entry with this key keeps its place.
    pub fn set(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let key = key.into();
        *self.entry(key, || Value::Null) = value.into();
    }

    /// Sets an entry with comments above it.
    pub fn set_with_comments(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
        comments: Vec<String>,
    ) {
        let key = key.into();
        self.set(key.clone(), value);
        self.comment(&key, comments);
    }

    /// Adds comments above the entry with this key, if it exists.
    pub fn comment(&mut self, key: &str, comments: Vec<String>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.comments.extend(comments);
        }
    }

    /// Notes the statement that the entry with this key was translated from.
    pub fn set_origin(&mut self, key: &str, origin: impl Into<Option<Origin>>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.origin = origin.into();
        }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at).value)
    }

    /// The mapping under `key`, which is created if it does not exist.
    pub fn map(&mut self, key: impl Into<Cow<'static, str>>) -> &mut Map {
        let value = self.entry(key.into(), || Value::Map(Map::new()));
        if !matches!(value, Value::Map(_)) {
            *value = Value::Map(Map::new());
        }
        match value {
            Value::Map(map) => map,
            _ => unreachable!("it was set above"),
        }
    }

    /// The list under `key`, which is created if it does not exist.
    pub fn list(&mut self, key: impl Into<Cow<'static, str>>) -> &mut List {
        let value = self.entry(key.into(), || Value::List(List::default()));
        if !matches!(value, Value::List(_)) {
            *value = Value::List(List::default());
        }
        match value {
            Value::List(list) => list,
            _ => unreachable!("it was set above"),
        }
    }

    /// Adds the entries of `other`, with their comments.
    pub fn extend(&mut self, other: Map) {
        for MapEntry { comments, origin, key, value } in other.entries {
            self.set_with_comments(key.clone(), value, comments);
            self.set_origin(&key, origin);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|entry| (entry.key.as_ref(), &entry.value))
    }

    fn entry(&mut self, key: Cow<'static, str>, value: impl FnOnce() -> Value) -> &mut Value {
        let at = match self.entries.iter().position(|entry| entry.key == key) {
            Some(at) => at,
            None => {
                self.entries.push(MapEntry { comments: Vec::new(), origin: None, key, value: value() });
                self.entries.len() - 1
            }
        };
        &mut self.entries[at].value
    }
}

impl List {
    pub fn push(&mut self, value: impl Into<Value>) {
        self.items.push(Item { comments: Vec::new(), origin: None, value: value.into() });
    }

    /// Adds an item with comments above it, and the statement that it was translated from.
    pub fn push_translated(
        &mut self,
        value: impl Into<Value>,
        comments: Vec<String>,
        origin: impl Into<Option<Origin>>,
    ) {
        self.items.push(Item { comments, origin: origin.into(), value: value.into() });
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.items.iter().map(|item| &item.value)
    }
}

impl Value {
    /// The only value itself, or the list of several. `config.yaml` takes both for most keys.
    pub fn one_or_list(values: impl IntoIterator<Item = impl Into<Value>>) -> Value {
        let mut items: Vec<Value> = values.into_iter().map(Into::into).collect();
        match items.len() {
            1 => items.remove(0),
            _ => items.into(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Int(number.into())
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Value {
        Value::Map(map)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Value {
        Value::List(list)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        let mut list = List::default();
        items.into_iter().for_each(|item| list.push(item));
        Value::List(list)
    }
}

impl From<std::net::Ipv4Addr> for Value {
    fn from(address: std::net::Ipv4Addr) -> Value {
        Value::Text(address.to_string())
    }
}
