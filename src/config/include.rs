//! Reads `include`: the other files of a configuration. The caller of [`super::load_files`] finds and opens them; this
//! file decides which ones are needed, and refuses files that come twice, or too many.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::problem::Problem;
use crate::config::sources::{Document, Source, Sources};
use crate::config::syntax::reader::{Reader, one_or_more};
use crate::config::syntax::tree::{Data, MAX_BYTES, Node, parse_from};

/// Maximum number of files of one configuration: one for each machine of a large site.
const MAX_FILES: usize = 200_000;

/// A file that a pattern of `include` matches.
#[derive(Debug)]
pub struct Found {
    /// The name for messages.
    pub name: String,
    /// Two names of one file have the same identity.
    pub identity: String,
    /// The text, or the reason why it cannot be read.
    pub text: Result<String, String>,
}

/// Finds the files for a pattern. The arguments are the name of the file that has the pattern, the pattern, and the
/// number of bytes that may still be read. An error says why there is no such file. No files: the pattern has
/// wildcards and matches nothing.
pub type FindFiles<'f> = dyn FnMut(&str, &str, usize) -> Result<Vec<Found>, String> + 'f;

/// The files of a configuration, parsed.
pub(in crate::config) struct Parsed {
    pub(in crate::config) sources: Sources,
    pub(in crate::config) documents: Vec<Document>,
    /// Syntax errors. If there are any, the configuration cannot be read.
    pub(in crate::config) broken: Vec<Problem>,
}

/// A file that was parsed, but not yet searched for `include`.
struct Open {
    name: String,
    document: usize,
}

/// Parses `main` and all files that it includes. Mistakes in `include` are problems of `reader`.
pub(in crate::config) fn parse_all(
    main: Source,
    identity: &str,
    find: &mut FindFiles<'_>,
    reader: &mut Reader,
) -> Parsed {
    let mut parsed = Parsed { sources: Sources::default(), documents: Vec::new(), broken: Vec::new() };
    let mut seen: HashMap<String, String> = HashMap::from([(identity.to_owned(), main.name.clone())]);
    let mut left = MAX_BYTES.saturating_sub(main.text.len());
    let mut next = 0;
    let name = main.name.clone();
    let mut open: Vec<Open> =
        parsed.add(None, main.text, &mut next).map(|document| Open { name, document }).into_iter().collect();
    while let Some(Open { name, document }) = open.pop() {
        let patterns =
            parsed.documents.get(document).map_or(Vec::new(), |found| patterns(reader, &found.root));
        let mut included = Vec::new();
        for (id, pattern) in patterns {
            let files = match find(&name, &pattern, left) {
                Ok(files) => files,
                Err(why) => {
                    reader.problem(id, why);
                    continue;
                }
            };
            if files.is_empty() {
                reader.note(id, format!("{pattern:?} matches no file"));
            }
            for file in files {
                if let Some(first) = seen.get(&file.identity) {
                    let how = if *first == file.name { String::new() } else { format!(", as {first}") };
                    reader.problem(
                        id,
                        format!(
                            "{} is read twice: it is a part of the configuration already{how}",
                            file.name
                        ),
                    );
                    continue;
                }
                seen.insert(file.identity, file.name.clone());
                match file.text {
                    Ok(text) if seen.len() <= MAX_FILES => {
                        left = left.saturating_sub(text.len());
                        let document = parsed.add(Some(file.name.as_str().into()), text, &mut next);
                        included.extend(document.map(|document| Open { name: file.name, document }));
                    }
                    Ok(_) => {
                        reader.problem(id, format!("more than {MAX_FILES} files are included"));
                        return parsed;
                    }
                    Err(why) => reader.problem(id, why),
                }
            }
        }
        included.reverse();
        open.extend(included);
    }
    parsed
}

impl Parsed {
    /// Parses a file. Returns its index, or `None` after a syntax error.
    fn add(&mut self, name: Option<Arc<str>>, text: String, next: &mut u32) -> Option<usize> {
        match parse_from(&text, *next) {
            Ok((root, after)) => {
                self.sources.push(name, text, &root);
                self.documents.push(Document { root, first: *next });
                *next = after;
                self.documents.len().checked_sub(1)
            }
            Err(problem) => {
                self.broken.push(Problem { file: name, ..problem });
                None
            }
        }
    }
}

/// The patterns of `include`, each with the number of its node.
fn patterns(reader: &mut Reader, root: &Node) -> Vec<(u32, String)> {
    let Data::Map(entries) = &root.data else { return Vec::new() };
    let include = entries.iter().find(|(key, _)| matches!(&key.data, Data::Text(text) if text == "include"));
    let items = include.map_or(&[][..], |(_, node)| one_or_more(node));
    let read = |node: &Node| {
        Some((node.id, reader.text(node, "the path of a file like machines.d/*.yaml")?.to_owned()))
    };
    items.iter().filter_map(read).collect()
}
