//! Finds the line and column of nodes in their text.
//!
//! `serde_yaml` reports positions only in errors. So the text is parsed again, and the walk fails on purpose at each
//! scalar that is looked for. The deserializer adds line and column to that error, and the walk then continues: all
//! scalars cost one parse. The position of a mapping or list follows from its first scalar and the text before it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::config::syntax::lines::{Lines, without_bom};
use crate::config::syntax::tree::position_of;

/// Maximum number of additional parses, for empty mappings and lists, which have no scalar.
const MAX_PARSES: usize = 16;

/// Line and column, from 1, of each node in `ids`, whose numbers are those of the walk of `text`.
pub(in crate::config) fn positions_of(text: &str, ids: &[u32]) -> BTreeMap<u32, (usize, usize)> {
    let mut search = Search {
        next: 0,
        wanted: ids.to_vec(),
        open: Vec::new(),
        scalars: BTreeMap::new(),
        collections: Vec::new(),
    };
    search.wanted.sort_unstable();
    search.wanted.dedup();
    let _ = Find(&mut search).deserialize(serde_yaml::Deserializer::from_str(without_bom(text)));
    let lines = Lines::of(text);
    let mut found = search.scalars;
    // The innermost first, because an outer one stands before it.
    for Collection { id, kind, first } in search.collections.into_iter().rev() {
        let Some(place) = found.get(&first) else { continue };
        let place = before(&lines, *place, kind);
        found.insert(id, place);
    }
    let missing: Vec<u32> = search.wanted.iter().copied().filter(|id| !found.contains_key(id)).collect();
    for id in missing.into_iter().take(MAX_PARSES) {
        found.insert(id, position_of(text, id));
    }
    found.retain(|id, _| search.wanted.binary_search(id).is_ok());
    found
}

/// The position of a collection, from that of its first child.
fn before(lines: &Lines<'_>, child: (usize, usize), kind: CollectionKind) -> (usize, usize) {
    let text = lines.before(child.0, child.1).trim_end();
    let marks: &[char] = match kind {
        CollectionKind::Mapping => &['{'],
        CollectionKind::List => &['[', '-'],
        CollectionKind::Tagged => &[],
    };
    let outside = match kind {
        // A tag is a word before its value. The parser gives a tagged scalar the position of its tag already.
        CollectionKind::Tagged => {
            let start = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
            text.get(start..).filter(|word| word.starts_with('!')).and_then(|_| text.get(..start))
        }
        _ => text.strip_suffix(marks),
    };
    match outside {
        Some(outside) => lines.end_of(outside),
        // A block mapping begins at its first key.
        None => child,
    }
}

#[derive(Clone, Copy)]
enum CollectionKind {
    Mapping,
    List,
    Tagged,
}

/// A mapping, list or tagged value on the way to a wanted node or wanted itself.
struct Collection {
    id: u32,
    kind: CollectionKind,
    /// The first node in it.
    first: u32,
}

struct Search {
    next: u32,
    /// Sorted.
    wanted: Vec<u32>,
    /// The next node, if it is the first one of a collection whose position is needed.
    open: Vec<u32>,
    scalars: BTreeMap<u32, (usize, usize)>,
    collections: Vec<Collection>,
}

/// Walks over one node and its children.
struct Find<'s>(&'s mut Search);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let id = self.0.next;
        self.0.next += 1;
        let first_of_wanted = self.0.open.contains(&id);
        self.0.open.clear();
        let is_wanted = first_of_wanted || self.0.wanted.binary_search(&id).is_ok();
        let mut is_scalar = false;
        let visitor = FindNode { id, is_wanted, is_scalar: &mut is_scalar, search: self.0 };
        let visited = deserializer.deserialize_any(visitor);
        match visited {
            Err(error) if is_scalar => {
                if let Some(place) = place_in(&error.to_string()) {
                    self.0.scalars.insert(id, place);
                }
                Ok(())
            }
            other => other,
        }
    }
}

/// The position at the end of a message: `… at line 3 column 5`.
fn place_in(message: &str) -> Option<(usize, usize)> {
    let (rest, column) = message.rsplit_once(" column ")?;
    let (_, line) = rest.rsplit_once(" line ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

struct FindNode<'s> {
    id: u32,
    is_wanted: bool,
    is_scalar: &'s mut bool,
    search: &'s mut Search,
}

impl FindNode<'_> {
    /// Fails on purpose at a wanted scalar.
    fn scalar<E: Error>(self) -> Result<(), E> {
        if !self.is_wanted {
            return Ok(());
        }
        *self.is_scalar = true;
        Err(E::custom("here"))
    }

    fn collection(&mut self, kind: CollectionKind) {
        if self.is_wanted {
            let first = self.search.next;
            self.search.open.push(first);
            self.search.collections.push(Collection { id: self.id, kind, first });
        }
    }

    /// An empty collection has no child to derive its position from.
    fn forget_if_empty(&mut self) {
        if self.search.next == self.id + 1 {
            self.search.open.clear();
            self.search.collections.retain(|collection| collection.id != self.id);
        }
    }
}

impl<'de> Visitor<'de> for FindNode<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.collection(CollectionKind::List);
        while items.next_element_seed(Find(self.search))?.is_some() {}
        self.forget_if_empty();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.collection(CollectionKind::Mapping);
        while entries.next_key_seed(Find(self.search))?.is_some() {
            entries.next_value_seed(Find(self.search))?;
        }
        self.forget_if_empty();
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(mut self, tagged: A) -> Result<(), A::Error> {
        self.collection(CollectionKind::Tagged);
        let (_, contents) = tagged.variant::<String>()?;
        contents.newtype_variant_seed(Find(self.search))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One walk finds what one walk for each node finds.
    #[test]
    fn positions_are_those_of_single_lookups() {
        let text = "a: {b: [x, {0x10: y}]}\nc:\n  - d: 1\n    d: 'é'\n-x: [[1], {}, []]\ne: !secret z\nf:\n- - 1\n  - {q: \"r\"}\n";
        let ids: Vec<u32> = (0..36).collect();
        let found = positions_of(text, &ids);
        for id in ids {
            let single = position_of(text, id);
            if single != (1, 1) {
                assert_eq!(found.get(&id), Some(&single), "node {id}");
            }
        }
        assert!(found.len() > 30);
    }
}
