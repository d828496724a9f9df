//! Limits of templates that the fuel of minijinja does not set: how deep its parser and its values nest, and how large
//! lists and mappings become.
//!
//! Fuel bounds the bytes of texts and the steps. It does not see a list that is added to itself forty times, because
//! minijinja joins lists lazily, nor a list in a list in a list. So [`guard`] adds a filter behind each operand of each
//! expression before the template is compiled, and that filter ([`bounded`], [`single`]) looks at the value. Every
//! value that a template works on has then been measured, and one tag can only combine as many as it names.
//!
//! Called for each template that is compiled, and by minijinja for each operand. Nothing here may be skipped for a
//! template that "is simple": simple ones abort servers too.

use std::collections::BTreeMap;
use std::time::Instant;

use minijinja::machinery::tokenize;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::walk::Walk;

/// Tokens of one tag. The parser, the compiler and the release of what they built recurse once for each `not`, `.x` or
/// `|x` of an expression; a stack of 64 MiB holds 50 times this depth in a debug build.
pub(super) const MAX_TOKENS: usize = 1000;
/// Branches of one `if`. Each `elif` is an `if` inside the one before, for the parser.
pub(super) const MAX_BRANCHES: usize = 200;
/// Elements of a list or mapping, with those of the lists in it, each counted where it stands.
const MAX_ELEMENTS: usize = 20_000;
/// Bytes of the texts in a list or mapping, each counted where it stands. A file that is made has as many.
const MAX_BYTES: usize = 1 << 20;
/// Lists and mappings inside one another. Printing, comparing and releasing them recurses.
const MAX_NESTED: usize = 32;
/// Elements that cost one step.
const ELEMENTS_PER_STEP: usize = 4;

/// The filter behind an operand.
pub(super) const BOUNDED: &str = "lanboot_bounded";
/// The filter behind an operand of `~` or `*`.
pub(super) const SINGLE: &str = "lanboot_single";

/// A template that is not compiled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbounded {
    /// The line in it, from 1.
    pub line: usize,
    /// For people.
    pub why: String,
}

/// `source` with the guards in it. Lines stay where they are. What cannot be read is left to the parser to report.
pub(super) fn guard(source: &str, syntax: &SyntaxConfig) -> Result<String, Unbounded> {
    let Ok(tokens) = tokenize(source, false, syntax.clone()).collect::<Result<Vec<_>, _>>() else {
        // The parser stops at the same token; what stands before it must not be too much either.
        return before_fault(source, syntax).map(|()| source.to_owned());
    };
    let mut walk = Walk::new(&tokens);
    walk.template()?;
    let mut out = String::with_capacity(source.len() + walk.guards.len() * (BOUNDED.len() + 1));
    let mut from = 0;
    for (end, filter) in walk.guards {
        out.push_str(source.get(from..end).unwrap_or_default());
        out.push('|');
        out.push_str(filter);
        from = end;
    }
    out.push_str(source.get(from..).unwrap_or_default());
    Ok(out)
}

fn before_fault(source: &str, syntax: &SyntaxConfig) -> Result<(), Unbounded> {
    let tokens: Vec<_> = tokenize(source, false, syntax.clone()).map_while(Result::ok).collect();
    Walk::new(&tokens).template()
}

/// The value of an operand, measured; a list or mapping that is made while it is read becomes one that is there.
pub(super) fn bounded(state: &State<'_, '_>, value: &Value, until: Instant) -> Result<Value, Error> {
    if Instant::now() > until {
        return Err(too_long());
    }
    let mut measure = Measure { elements: 0, bytes: 0 };
    let made = measure.value(value, 0)?;
    state.consume_fuel((measure.elements / ELEMENTS_PER_STEP) as u64)?;
    Ok(made.unwrap_or_else(|| value.clone()))
}

/// The value of an operand of `~` or `*`: no list or mapping, which these would repeat or print.
pub(super) fn single(value: &Value, until: Instant) -> Result<Value, Error> {
    if Instant::now() > until {
        return Err(too_long());
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::Plain => {
            Err(fault("~ and * take texts and numbers; of a list, make a text with the filter join"))
        }
        _ => Ok(value.clone()),
    }
}

/// The error of a template whose time is over.
pub(super) fn too_long() -> Error {
    fault("it takes too long: make it shorter, or have its loops do less")
}

pub(super) fn fault(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, why.into())
}

/// Counts of one value.
struct Measure {
    elements: usize,
    bytes: usize,
}

impl Measure {
    /// Measures `value`. `None` if it can stay as it is; else what it becomes.
    fn value(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {}
            ValueKind::Plain => {
                return Err(fault("a macro, a function or a loop stands here, where only a value can"));
            }
            _ => {
                // A text alone is paid for with fuel.
                let length = value.as_bytes().map_or(0, <[u8]>::len);
                self.bytes = self.bytes.saturating_add(if depth > 0 { length } else { 0 });
                return self.check().map(|()| None);
            }
        }
        if depth >= MAX_NESTED {
            return Err(fault(format!("lists and mappings are nested more than {MAX_NESTED} times here")));
        }
        if let Some(items) = value.downcast_object_ref::<Vec<Value>>() {
            return Ok(self.items(items, depth)?.map(Value::from));
        }
        if let Some(items) = value.downcast_object_ref::<Tuple>() {
            return Ok(self.items(items, depth)?.map(|items| Value::from(Tuple::from(items))));
        }
        if let Some(entries) = value.downcast_object_ref::<BTreeMap<Value, Value>>() {
            return self.entries(entries, depth);
        }
        if value.kind() == ValueKind::Map {
            let mut entries = BTreeMap::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                self.count()?;
                let entry = value.get_item(&key)?;
                let entry = self.value(&entry, depth + 1)?.unwrap_or(entry);
                entries.insert(key, entry);
            }
            return Ok(Some(Value::from_object(entries)));
        }
        let mut items = Vec::new();
        for item in value.try_iter()?.checked() {
            let item = item?;
            self.count()?;
            items.push(self.value(&item, depth + 1)?.unwrap_or(item));
        }
        Ok(Some(Value::from(items)))
    }

    /// The elements of a list, if any of them becomes another.
    fn items(&mut self, items: &[Value], depth: usize) -> Result<Option<Vec<Value>>, Error> {
        let mut changed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.count()?;
            if let Some(other) = self.value(item, depth + 1)? {
                changed.push((index, other));
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        let mut items = items.to_vec();
        for (index, other) in changed {
            items[index] = other;
        }
        Ok(Some(items))
    }

    fn entries(&mut self, entries: &BTreeMap<Value, Value>, depth: usize) -> Result<Option<Value>, Error> {
        let mut changed = Vec::new();
        for (key, entry) in entries {
            self.count()?;
            self.value(key, depth + 1)?;
            if let Some(other) = self.value(entry, depth + 1)? {
                changed.push((key.clone(), other));
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        let mut entries = entries.clone();
        entries.extend(changed);
        Ok(Some(Value::from_object(entries)))
    }

    fn count(&mut self) -> Result<(), Error> {
        self.elements = self.elements.saturating_add(1);
        self.check()
    }

    fn check(&self) -> Result<(), Error> {
        if self.elements > MAX_ELEMENTS {
            return Err(fault(format!("a list or mapping has more than {MAX_ELEMENTS} elements here")));
        }
        if self.bytes > MAX_BYTES {
            return Err(fault(format!(
                "the texts of a list or mapping have more than {MAX_BYTES} bytes here"
            )));
        }
        Ok(())
    }
}
