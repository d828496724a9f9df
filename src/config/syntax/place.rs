//! Problems: what is wrong, and where: the key's path, and its line and column.

use std::fmt;

use crate::config::syntax::tree::{Data, Node, harmless, place_of};

/// One thing that is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key's path, such as `dhcp.subnets[0].pool`; empty for the file as a whole.
    pub path: String,
    /// What was expected and what was found, for people.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `12:7: dhcp.subnets[0].pool: expected …, found …`; the caller puts the file's name before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A problem whose place is not looked up yet.
pub(in crate::config) struct Unplaced {
    /// The node it is about.
    pub(in crate::config) id: u32,
    /// What is wrong.
    pub(in crate::config) message: String,
    /// Another node that has to do with it; the message ends with its line.
    pub(in crate::config) see: Option<u32>,
}

/// Bytes parsed at most to find places, because each place takes one parse of the whole file.
const PLACE_BUDGET: usize = 8 * 1024 * 1024;
/// Problems shown at most, whatever the size of the file.
const MAX_SHOWN: usize = 200;

/// How many problems of the file with this text are shown.
pub(in crate::config) fn shown(text: &str) -> usize {
    (PLACE_BUDGET / text.len().max(1)).clamp(16, MAX_SHOWN)
}

/// Looks up the places of `problems` and sorts by them. Of more problems than anybody reads (200; fewer for a file
/// above 40 KiB) the last says how many more there are.
pub(in crate::config) fn placed(text: &str, root: &Node, mut problems: Vec<Unplaced>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.id);
    let shown = shown(text);
    let more = problems.len().saturating_sub(shown);
    let mut found: Vec<Problem> = problems
        .into_iter()
        .take(shown)
        .map(|Unplaced { id, mut message, see }| {
            let (line, column) = place_of(text, id);
            if let Some(other) = see {
                message.push_str(&format!(" (line {})", place_of(text, other).0));
            }
            Problem { line, column, path: path_of(root, id), message }
        })
        .collect();
    found.sort_by_key(|problem| (problem.line, problem.column));
    say_how_many_more(&mut found, more);
    found
}

/// Ends a list of problems with how many there are besides.
pub(in crate::config) fn say_how_many_more(found: &mut Vec<Problem>, more: usize) {
    if let Some(last) = found.last().filter(|_| more > 0) {
        let (line, column) = (last.line, last.column);
        let message = format!("and {more} more problems that are not listed");
        found.push(Problem { line, column, path: String::new(), message });
    }
}

/// The path of node `id` below `root`; a key has the path of its value.
pub(in crate::config) fn path_of(root: &Node, id: u32) -> String {
    let mut path = String::new();
    let mut node = root;
    while node.id != id {
        // Children are numbered in order, so the node is below the last child that does not come after it.
        match &node.data {
            Data::Map(entries) => {
                let below = entries.partition_point(|(key, _)| key.id <= id);
                let Some((key, value)) = below.checked_sub(1).and_then(|i| entries.get(i)) else { break };
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key_text(key));
                if id < value.id {
                    break;
                }
                node = value;
            }
            Data::List(items) => {
                let below = items.partition_point(|item| item.id <= id);
                let Some((i, item)) = below.checked_sub(1).and_then(|i| items.get(i).map(|item| (i, item)))
                else {
                    break;
                };
                path.push_str(&format!("[{i}]"));
                node = item;
            }
            _ => break,
        }
    }
    path
}

/// The node that `path` (as [`path_of`] writes it) leads to, or the last that is there on the way; `same` compares a
/// key of the file with a part of the path.
pub(in crate::config) fn node_at<'n>(
    root: &'n Node,
    path: &str,
    same: impl Fn(&str, &str) -> bool,
) -> &'n Node {
    let mut node = root;
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        let next = match (&node.data, part.strip_suffix(']').and_then(|index| index.parse::<usize>().ok())) {
            (Data::List(items), Some(index)) => items.get(index),
            (Data::Map(entries), None) => {
                entries.iter().find(|(key, _)| same(&key_text(key), part)).map(|(_, value)| value)
            }
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node
}

/// A key as paths and messages show it, harmless on a terminal.
pub(in crate::config) fn key_text(key: &Node) -> String {
    match &key.data {
        Data::Text(text) => harmless(text).chars().take(80).collect(),
        Data::Int(number) => number.to_string(),
        Data::Bool(value) => value.to_string(),
        Data::Float(number) => number.to_string(),
        Data::Null => "null".to_owned(),
        Data::List(_) | Data::Map(_) | Data::Tagged(_) => "?".to_owned(),
    }
}
