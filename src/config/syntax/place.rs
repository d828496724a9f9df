//! Problems of a configuration file, and their positions: the path of the key, the line and the column.

use std::fmt;
use std::sync::Arc;

use crate::config::syntax::tree::{Data, Node, escape_control};

/// A mistake in a configuration file, with its position. `Display` writes it as one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The file that `include` names; `None` for `config.yaml` itself.
    pub file: Option<Arc<str>>,
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Path of the key, such as `dhcp.subnets[0].pool`. Empty for the file as a whole. Indexes count in that file.
    pub path: String,
    /// Expected and actual value, or another explanation, for people.
    pub message: String,
    /// Source line with a caret, for errors of the syntax.
    pub excerpt: Option<String>,
}

impl Problem {
    /// The problem with the name of its file before it and the source line under it. `main` is the name of
    /// `config.yaml`.
    pub fn in_file(&self, main: impl fmt::Display) -> String {
        let line = match &self.file {
            Some(file) => format!("{file}:{self}"),
            None => format!("{main}:{self}"),
        };
        match &self.excerpt {
            Some(excerpt) => format!("{line}\n{excerpt}"),
            None => line,
        }
    }

    /// A key for sorting: problems of `config.yaml` come first.
    pub fn order(&self) -> (Option<Arc<str>>, usize, usize) {
        (self.file.clone(), self.line, self.column)
    }
}

impl fmt::Display for Problem {
    /// Writes `12:7: dhcp.subnets[0].pool: expected …, found …`. The caller writes the name of the file before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A problem whose position has not been looked up yet.
pub(in crate::config) struct Unplaced {
    /// The node that has the problem.
    pub(in crate::config) id: u32,
    pub(in crate::config) message: String,
    /// Another node that is involved. The message ends with its line.
    pub(in crate::config) see: Option<u32>,
}

/// Maximum number of problems shown.
pub(in crate::config) const MAX_SHOWN: usize = 200;

/// Appends a problem that states how many are omitted.
pub(in crate::config) fn append_omitted_count(found: &mut Vec<Problem>, more: usize) {
    if let Some(last) = found.last().filter(|_| more > 0) {
        let message = format!("and {more} more problems that are not listed");
        let last = Problem { path: String::new(), message, ..last.clone() };
        found.push(last);
    }
}

/// The path of node `id` under `root`. A key has the path of its value.
pub(in crate::config) fn path_of(root: &Node, id: u32) -> String {
    let mut path = String::new();
    let mut node = root;
    while node.id != id {
        // Children are numbered in order, so the node is under the last child whose number is not greater.
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

/// The node at `path`, which has the format of [`path_of`], or the last existing node on the way. `same` compares a
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

/// A key for paths and messages, with control characters escaped.
pub(in crate::config) fn key_text(key: &Node) -> String {
    match &key.data {
        Data::Text(text) => escape_control(text).chars().take(80).collect(),
        Data::Int(number) => number.to_string(),
        Data::Bool(value) => value.to_string(),
        Data::Float(number) => number.to_string(),
        Data::Null => "null".to_owned(),
        Data::List(_) | Data::Map(_) | Data::Tagged(_) => "?".to_owned(),
    }
}
