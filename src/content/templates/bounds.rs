//! Template limits that minijinja's fuel does not cover: nesting of expressions and values, and the size of lists and
//! mappings.
//!
//! Fuel limits the bytes of strings and the number of steps. It does not limit a list that is added to itself forty
//! times, because minijinja joins lists lazily, nor a list in a list in a list. Therefore [`guard`] adds a filter
//! behind each operand of each expression before the template is compiled. That filter ([`bounded`], [`single`])
//! measures the value. Every value that a template uses has then been measured, and one tag can combine only as many
//! values as it names.
//!
//! `templates` calls `guard` for each template that it compiles, and minijinja calls the filters for each operand. No
//! template may be exempt because it "is simple": simple templates abort servers too.

use std::collections::BTreeMap;
use std::time::Instant;

use minijinja::machinery::tokenize;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::limits::{BOUNDED, Unbounded};
use super::walk::Walk;

/// Maximum number of elements of a list or mapping, including those of nested lists.
const MAX_ELEMENTS: usize = 20_000;
/// Maximum bytes of the strings in a list or mapping, as many as a rendered file may have.
const MAX_BYTES: usize = 1 << 20;
/// Maximum nesting of lists and mappings. Printing, comparing and releasing them recurses.
const MAX_NESTED: usize = 32;
/// Number of elements that cost one step.
const ELEMENTS_PER_STEP: usize = 4;

/// Returns `source` with the guards added. Line numbers stay the same. Syntax errors are left to the parser.
pub(super) fn guard(source: &str, syntax: &SyntaxConfig) -> Result<String, Unbounded> {
    let Ok(tokens) = tokenize(source, false, syntax.clone()).collect::<Result<Vec<_>, _>>() else {
        // The parser stops at the same token, but the tokens before it must be within the limits too.
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

/// Measures the value of an operand. A list or mapping that is computed lazily is converted to a stored one.
pub(super) fn bounded(state: &State<'_, '_>, value: &Value, until: Instant) -> Result<Value, Error> {
    if Instant::now() > until {
        return Err(too_long());
    }
    let mut measure = Measure { elements: 0, bytes: 0 };
    let made = measure.value(value, 0)?;
    state.consume_fuel((measure.elements / ELEMENTS_PER_STEP) as u64)?;
    Ok(made.unwrap_or_else(|| value.clone()))
}

/// Rejects lists and mappings as operands of `~` or `*`, which would repeat or print them.
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

pub(super) fn too_long() -> Error {
    fault("it takes too long: make it shorter, or have its loops do less")
}

pub(super) fn fault(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, why.into())
}

/// The size of one value so far.
struct Measure {
    elements: usize,
    bytes: usize,
}

impl Measure {
    /// Measures `value`. Returns its replacement, or `None` if it can stay as it is.
    fn value(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {}
            ValueKind::Plain => {
                return Err(fault("a macro, a function or a loop stands here, where only a value can"));
            }
            _ => {
                // Fuel pays for a string on its own.
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

    /// Measures the elements of a list. Returns a new list if any of them was replaced.
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
