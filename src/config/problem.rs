//! A problem of a configuration, and the limit of a list of them. `syntax/`, `sources.rs` and `lint/` make problems; the
//! commands print them.

use std::fmt;
use std::sync::Arc;

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
