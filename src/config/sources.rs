//! The files of a configuration: `config.yaml`, and the files that it includes. Problems are found by the numbers of
//! nodes or by the paths of keys, and this file turns both into a file, a line and a column.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::problem::{MAX_SHOWN, Problem, append_omitted_count};
use crate::config::syntax::place::{Unplaced, key_text, node_at, path_of};
use crate::config::syntax::positions::positions_of;
use crate::config::syntax::tree::{Data, Node, parse};
use crate::types::Arch;

/// A file of the configuration, as the caller of [`super::load_files`] read it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The name for messages.
    pub name: String,
    pub text: String,
}

/// The files of a configuration in the order in which they were read, `config.yaml` first.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

#[derive(Debug)]
struct SourceFile {
    /// `None` for `config.yaml`.
    name: Option<Arc<str>>,
    text: String,
    /// Number of entries of each list in [`LISTS`].
    lengths: [usize; LISTS.len()],
    /// Names in `targets`.
    targets: Vec<String>,
}

/// Lists that several files may have entries of. Settings count these entries through all files.
const LISTS: [&str; 3] = ["machines", "dhcp.classes", "dhcp.subnets"];

/// A file after it was parsed.
pub(in crate::config) struct Document {
    pub(in crate::config) root: Node,
    /// The number of its first node. The numbers of all files are different.
    pub(in crate::config) first: u32,
}

impl From<&str> for Sources {
    /// A configuration of a single file.
    fn from(text: &str) -> Sources {
        let mut sources = Sources::default();
        if let Ok(root) = parse(text) {
            sources.push(None, text.to_owned(), &root);
        }
        sources
    }
}

impl Sources {
    /// Adds a file. `name` is `None` for `config.yaml`.
    pub(in crate::config) fn push(&mut self, name: Option<Arc<str>>, text: String, root: &Node) {
        let lengths = LISTS.map(|path| match &find(root, path).map(|node| &node.data) {
            Some(Data::List(items)) => items.len(),
            _ => 0,
        });
        let targets = match find(root, "targets").map(|node| &node.data) {
            Some(Data::Map(entries)) => entries.iter().map(|(key, _)| key_text(key)).collect(),
            _ => Vec::new(),
        };
        self.files.push(SourceFile { name, text, lengths, targets });
    }

    /// The text of `config.yaml`.
    pub fn main_text(&self) -> &str {
        self.files.first().map_or("", |file| &file.text)
    }

    /// Looks up the positions of `problems` and sorts by them. The list is cut at [`MAX_SHOWN`], and its last problem
    /// then states how many are omitted.
    pub(in crate::config) fn with_positions(
        &self,
        documents: &[Document],
        mut problems: Vec<Unplaced>,
    ) -> Vec<Problem> {
        problems.sort_by_key(|problem| problem.id);
        let more = problems.len().saturating_sub(MAX_SHOWN);
        problems.truncate(MAX_SHOWN);
        let file_of = |id: u32| documents.partition_point(|document| document.first <= id).saturating_sub(1);
        let mut wanted: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for id in problems.iter().flat_map(|problem| [Some(problem.id), problem.see]).flatten() {
            let first = documents.get(file_of(id)).map_or(0, |document| document.first);
            wanted.entry(file_of(id)).or_default().push(id - first);
        }
        let mut places = BTreeMap::new();
        for (file, ids) in wanted {
            let (Some(source), Some(document)) = (self.files.get(file), documents.get(file)) else {
                continue;
            };
            let found = positions_of(&source.text, &ids);
            places.extend(found.into_iter().map(|(id, place)| (id + document.first, place)));
        }
        let place = |id: &u32| places.get(id).copied().unwrap_or((1, 1));
        let placed = problems.into_iter().filter_map(|Unplaced { id, mut message, see }| {
            let (source, document) = (self.files.get(file_of(id))?, documents.get(file_of(id))?);
            if let Some(other) = see {
                let elsewhere = self.files.get(file_of(other)).filter(|_| file_of(other) != file_of(id));
                let name = elsewhere.map_or(String::new(), |file| {
                    format!("{} ", file.name.as_deref().unwrap_or("the including file,"))
                });
                message.push_str(&format!(" ({name}line {})", place(&other).0));
            }
            let (line, column) = place(&id);
            let path = path_of(&document.root, id);
            Some(Problem { file: source.name.clone(), line, column, path, message, excerpt: None })
        });
        let mut found: Vec<Problem> = placed.collect();
        found.sort_by_key(Problem::order);
        append_omitted_count(&mut found, more);
        found
    }

    /// Turns pairs of key and message into problems, sorted by position. Indexes in the keys count through all files.
    /// The list is cut at [`MAX_SHOWN`], and its last problem then states how many are omitted.
    pub(in crate::config) fn problems_at(
        &self,
        messages: impl IntoIterator<Item = (String, String)>,
    ) -> Vec<Problem> {
        let mut messages = messages.into_iter();
        let mut by_file: BTreeMap<usize, Vec<(String, String)>> = BTreeMap::new();
        for (path, message) in messages.by_ref().take(MAX_SHOWN) {
            let (file, path) = self.locate(&path);
            by_file.entry(file).or_default().push((path, message));
        }
        let mut problems = Vec::new();
        for (file, messages) in by_file {
            let Some(source) = self.files.get(file) else { continue };
            let Ok(root) = parse(&source.text) else { continue };
            let node = |path: &str| node_at(&root, path, same_key).id;
            let ids: Vec<u32> = messages.iter().map(|(path, _)| node(path)).collect();
            let places = positions_of(&source.text, &ids);
            problems.extend(ids.iter().zip(messages).map(|(id, (path, message))| {
                let (line, column) = places.get(id).copied().unwrap_or((1, 1));
                Problem { file: source.name.clone(), line, column, path, message, excerpt: None }
            }));
        }
        problems.sort_by_key(Problem::order);
        append_omitted_count(&mut problems, messages.count());
        problems
    }

    /// The file that has the key `path`, and the path in that file.
    fn locate(&self, path: &str) -> (usize, String) {
        for (list, prefix) in LISTS.iter().enumerate() {
            let index = path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('[')?.split_once(']'));
            let Some((mut index, rest)) =
                index.and_then(|(index, rest)| Some((index.parse::<usize>().ok()?, rest)))
            else {
                continue;
            };
            for (file, source) in self.files.iter().enumerate() {
                let length = source.lengths[list];
                if index < length {
                    return (file, format!("{prefix}[{index}]{rest}"));
                }
                index -= length;
            }
        }
        let target = path.strip_prefix("targets.").unwrap_or_default();
        let is_it = |name: &String| {
            target.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let file = self.files.iter().position(|source| source.targets.iter().any(is_it));
        (file.unwrap_or(0), path.to_owned())
    }
}

/// The node at a path of names.
fn find<'n>(root: &'n Node, path: &str) -> Option<&'n Node> {
    path.split('.').try_fold(root, |node, name| match &node.data {
        Data::Map(entries) => entries
            .iter()
            .find(|(key, _)| matches!(&key.data, Data::Text(text) if text == name))
            .map(|(_, value)| value),
        _ => None,
    })
}

/// Compares keys. Two keys that parse as the same architecture are equal.
fn same_key(written: &str, wanted: &str) -> bool {
    written == wanted || matches!((written.parse::<Arch>(), wanted.parse::<Arch>()), (Ok(a), Ok(b)) if a == b)
}
