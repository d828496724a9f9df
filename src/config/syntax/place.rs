//! Problems of a configuration file, and their positions: the path of the key, the line and the column.

use crate::config::syntax::lines::escape_control;
use crate::config::syntax::tree::{Data, Node};

/// A problem whose position has not been looked up yet.
pub(in crate::config) struct Unplaced {
    /// The node that has the problem.
    pub(in crate::config) id: u32,
    pub(in crate::config) message: String,
    /// Another node that is involved. The message ends with its line.
    pub(in crate::config) see: Option<u32>,
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
