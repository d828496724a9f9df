//! Parses the text of a file into a tree, and finds the position of a node in the text. Both use the same walk of the
//! same parser (`serde_yaml`).
//!
//! `serde_yaml` reports line and column only in errors. Therefore every node is numbered in the order of the walk. To
//! find the position of node N, the text is parsed again and the walk fails on purpose at node N. This costs one
//! parse per problem, and files without problems pay nothing.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::config::problem::Problem;
use crate::config::syntax::lines::{Lines, without_bom};
use crate::config::syntax::{foreign, syntax_error};

/// Maximum size in bytes of a file, and of all files that one configuration consists of.
pub(in crate::config) const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Maximum number of nodes of a small file after aliases are expanded. Without it, it could expand to billions.
const MAX_NODES: usize = 500_000;
/// A large file may have a node for this many of its bytes. A machine has about ten nodes in a hundred bytes.
const BYTES_PER_NODE: usize = 4;
/// Maximum number of open `[` and `{`. No real file comes near it. Far above it, libyaml becomes slow, because it
/// visits every open bracket for every token.
const MAX_OPEN: usize = 200;

/// A node of the file: a scalar, a list or a mapping.
#[derive(Debug)]
pub(in crate::config) struct Node {
    /// Number in the order of the walk. A key comes before its value, a parent before its children.
    pub(in crate::config) id: u32,
    pub(in crate::config) data: Data,
}

/// The content of a [`Node`].
#[derive(Debug)]
pub(in crate::config) enum Data {
    /// An empty value, or `null`.
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// A mapping in the order written, including duplicate keys.
    Map(Vec<(Node, Node)>),
    /// A value with an explicit tag, as in `!secret x`. No key accepts one.
    Tagged(String),
}

impl Node {
    /// Whether the root of a file may be that of another program's file.
    fn is_foreign(&self) -> bool {
        let is_kea = |key: &Node| matches!(&key.data, Data::Text(name) if name == "Dhcp4");
        match &self.data {
            Data::Text(_) => true,
            Data::Map(entries) => entries.iter().any(|(key, _)| is_kea(key)),
            _ => false,
        }
    }
}

/// Parses `text`. A syntax error is one problem.
pub(in crate::config) fn parse(text: &str) -> Result<Node, Problem> {
    parse_from(text, 0).map(|(root, _)| root)
}

/// Parses `text`, and numbers its nodes from `first` on. Returns the root and the number after the last node.
pub(in crate::config) fn parse_from(text: &str, first: u32) -> Result<(Node, u32), Problem> {
    if text.len() > MAX_BYTES {
        let message = format!("expected at most 64 MiB, found {} bytes", text.len());
        return Err(Problem { line: 1, column: 1, message, ..Problem::default() });
    }
    if let Some(problem) = rejected(text) {
        return Err(problem);
    }
    let mut count = Count::new(text, first, None);
    match walk(text, &mut count) {
        Ok(root) => match root.is_foreign().then(|| foreign::recognise(text)).flatten() {
            Some(problem) => Err(problem),
            None => Ok((root, count.next)),
        },
        Err(error) => Err(foreign::recognise(text).unwrap_or_else(|| syntax_problem(text, &error))),
    }
}

/// Line and column, from 1, of node `id` in `text`; 1 and 1 if there is no such node.
pub(in crate::config) fn position_of(text: &str, id: u32) -> (usize, usize) {
    match walk(text, &mut Count::new(text, 0, Some(id))) {
        Err(error) => error.location().map_or((1, 1), |at| (at.line(), at.column())),
        Ok(_) => (1, 1),
    }
}

fn walk(text: &str, count: &mut Count) -> Result<Node, serde_yaml::Error> {
    Walk { count }.deserialize(serde_yaml::Deserializer::from_str(without_bom(text)))
}

/// Rejects text before the parser sees it: control characters, for which the parser reports no line, no-break spaces as
/// indentation, and brackets nested too deeply. Brackets in quotes count too, because no real file comes near the limit.
fn rejected(text: &str) -> Option<Problem> {
    let (mut line, mut column, mut open) = (1, 0, 0usize);
    let (mut indent, mut comment, mut last) = (true, false, '\n');
    for letter in without_bom(text).chars() {
        column += 1;
        let before = std::mem::replace(&mut last, letter);
        comment |= letter == '#' && before.is_whitespace();
        let message = match letter {
            '\n' => {
                (line, column, indent, comment) = (line + 1, 0, true, false);
                continue;
            }
            ' ' => continue,
            '\u{a0}' | '\u{2000}'..='\u{200b}' | '\u{3000}' if indent => {
                format!("U+{:04X} is no space, so it is no indentation: replace it", u32::from(letter))
            }
            '[' | '{' if comment => continue,
            '[' | '{' if open == MAX_OPEN => format!("more than {MAX_OPEN} [ or {{ are open: close them"),
            '[' | '{' => {
                (open, indent) = (open + 1, false);
                continue;
            }
            ']' | '}' => {
                open = open.saturating_sub(usize::from(!comment));
                continue;
            }
            '\t' | '\r' | '\u{85}' => continue,
            '\u{feff}' | '\u{fffe}' | '\u{ffff}' => format!("{} is not text", letter.escape_unicode()),
            _ if letter.is_control() => {
                format!("the control character {} is not text", letter.escape_unicode())
            }
            _ => {
                indent = false;
                continue;
            }
        };
        let excerpt = Some(Lines::of(text).excerpt(line, column));
        return Some(Problem { line, column, message, excerpt, ..Problem::default() });
    }
    None
}

/// Turns an error of the parser into a problem, and removes the position from its message.
fn syntax_problem(text: &str, error: &serde_yaml::Error) -> Problem {
    let mut message = error.to_string();
    let place = match error.location() {
        Some(at) => {
            message = message.replacen(&format!(" at line {} column {}", at.line(), at.column()), "", 1);
            Some((at.line(), at.column()))
        }
        // The only error without a position.
        None => serde_yaml::Deserializer::from_str(without_bom(text)).nth(1).and_then(|second| {
            message = "expected one document, found a second".to_owned();
            let mut count = Count::new(text, 0, Some(0));
            let at = Walk { count: &mut count }.deserialize(second).err()?.location()?;
            Some((at.line(), at.column()))
        }),
    };
    if message.contains("recursion limit exceeded") {
        message = "nested too deeply".to_owned();
    }
    syntax_error::explain(text, place.unwrap_or((1, 1)), &message)
}

struct Count {
    next: u32,
    stop_at: Option<u32>,
    /// The number of the last node that may be there.
    last: u32,
}

impl Count {
    fn new(text: &str, first: u32, stop_at: Option<u32>) -> Count {
        let most = MAX_NODES.max(text.len() / BYTES_PER_NODE);
        let last = first.saturating_add(u32::try_from(most).unwrap_or(u32::MAX));
        Count { next: first, stop_at, last }
    }
}

/// Reads one node and its children.
struct Walk<'c> {
    count: &'c mut Count,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let id = self.count.next;
        self.count.next += 1;
        let data = deserializer.deserialize_any(WalkNode { id, count: self.count })?;
        Ok(Node { id, data })
    }
}

struct WalkNode<'c> {
    id: u32,
    count: &'c mut Count,
}

impl WalkNode<'_> {
    /// Fails on purpose at the node that is looked for. The deserializer adds its line and column to the error.
    fn scalar<E: Error>(&self, data: Data) -> Result<Data, E> {
        if self.count.stop_at == Some(self.id) {
            return Err(E::custom("here"));
        }
        if self.id > self.count.last {
            return Err(E::custom("too many values, aliases followed"));
        }
        Ok(data)
    }
}

impl<'de> Visitor<'de> for WalkNode<'_> {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Data, E> {
        self.scalar(Data::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Data, E> {
        self.scalar(Data::Int(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Data, E> {
        self.scalar(Data::Int(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Data, E> {
        self.scalar(Data::Int(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Data, E> {
        self.scalar(Data::Int(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Data, E> {
        self.scalar(Data::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Data, E> {
        self.scalar(Data::Text(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Data, E> {
        self.scalar(Data::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Data, E> {
        self.scalar(Data::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
        self.scalar(Data::Null)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Walk { count: self.count })? {
            list.push(item);
        }
        Ok(Data::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Data, A::Error> {
        self.scalar(Data::Null)?;
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(Walk { count: self.count })? {
            map.push((key, entries.next_value_seed(Walk { count: self.count })?));
        }
        Ok(Data::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Data, A::Error> {
        self.scalar(Data::Null)?;
        let (tag, contents) = tagged.variant::<String>()?;
        contents.newtype_variant_seed(Walk { count: self.count })?;
        Ok(Data::Tagged(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content and position of every node of `text`, in order.
    fn places(text: &str) -> Vec<(String, usize, usize)> {
        fn visit(node: &Node, text: &str, found: &mut Vec<(String, usize, usize)>) {
            let (line, column) = position_of(text, node.id);
            let what = match &node.data {
                Data::List(_) => "list".to_owned(),
                Data::Map(_) => "map".to_owned(),
                Data::Text(text) => text.clone(),
                Data::Int(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            found.push((what, line, column));
            match &node.data {
                Data::List(items) => items.iter().for_each(|item| visit(item, text, found)),
                Data::Map(entries) => entries.iter().for_each(|(key, value)| {
                    visit(key, text, found);
                    visit(value, text, found);
                }),
                _ => {}
            }
        }
        let mut found = Vec::new();
        visit(&parse(text).unwrap(), text, &mut found);
        found
    }

    #[test]
    fn nodes_have_positions_in_block_and_flow_style() {
        let text = "a: {b: [x, {0x10: y}]}\nc:\n  - d: 1\n    d: 'é'\n";
        let expected = [
            ("map", 1, 1),
            ("a", 1, 1),
            ("map", 1, 4),
            ("b", 1, 5),
            ("list", 1, 8),
            ("x", 1, 9),
            ("map", 1, 12),
            ("16", 1, 13),
            ("y", 1, 19),
            ("c", 2, 1),
            ("list", 3, 3),
            ("map", 3, 5),
            ("d", 3, 5),
            ("1", 3, 8),
            ("d", 4, 5),
            ("é", 4, 8),
        ];
        let found = places(text);
        let found: Vec<_> =
            found.iter().map(|(what, line, column)| (what.as_str(), *line, *column)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let marked = places("\u{feff}a: x\nb: y\n");
        assert_eq!(marked, places("a: x\nb: y\n"));
        let problem = parse("\u{feff}a: x\n--- b\n").unwrap_err();
        assert_eq!((problem.line, problem.message.as_str()), (2, "expected one document, found a second"));
    }

    #[test]
    fn an_alias_has_the_position_of_its_anchor() {
        let found = places("a: &x [1]\nb: *x\n");
        assert_eq!(found[6], ("1".to_owned(), 1, 8), "{found:?}");
    }

    #[test]
    fn files_that_would_exhaust_memory_or_time_are_refused() {
        for text in [
            "[".repeat(1 << 20),
            "[\n".repeat(20_000),
            "- ".repeat(20_000),
            "? ".repeat(20_000),
            format!("a: &a [{}]\nb: [{}]", "x,".repeat(50_000), "*a,".repeat(50_000)),
            "x".repeat(MAX_BYTES + 1),
            "a: *a".to_owned(),
            "a: \0".to_owned(),
            "\ta: b".to_owned(),
            "--- a\n--- b\n".to_owned(),
        ] {
            let problem = parse(&text).unwrap_err();
            assert!(problem.line >= 1 && problem.column >= 1, "{problem:?}");
        }
    }
}
