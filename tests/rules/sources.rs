//! Parses the sources: code without comments and strings, the paths that it uses, and its functions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
pub(crate) struct Source {
    /// Relative to the repository's root.
    pub(crate) path: PathBuf,
    /// The text as written.
    pub(crate) text: String,
    /// Without comments and without quoted text. The line numbers are the same.
    pub(crate) code: String,
    /// The part of `code` without tests.
    pub(crate) product: String,
}

impl Source {
    pub(crate) fn is_tests(&self) -> bool {
        self.path.starts_with("tests") || self.path.ends_with("tests.rs")
    }

    /// The top-level module that the file belongs to. `None` for main.rs and lib.rs.
    pub(crate) fn module(&self) -> Option<String> {
        let below = self.path.strip_prefix("src").ok()?;
        let first = below.components().next()?.as_os_str().to_str()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(name, "main" | "lib")).then(|| name.to_owned())
    }

    /// Number of modules between the file and the crate's root.
    pub(crate) fn depth(&self) -> usize {
        let below = self.path.strip_prefix("src").unwrap_or(&self.path);
        let parts = below.components().count();
        if below.ends_with("mod.rs") { parts - 1 } else { parts }
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every .rs file in these folders, except test data.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut files);
    }
    files.sort();
    assert!(!files.is_empty());
    files.into_iter().map(|file| source(&file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

pub(crate) fn source(file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap();
    let code = stripped(&text);
    let product = code.split("#[cfg(test)]").next().unwrap().to_owned();
    Source { path: file.strip_prefix(root()).unwrap().to_owned(), text, code, product }
}

/// `text` without comments and without the content of strings and character literals. Line ends stay.
pub(crate) fn stripped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let after_word = code.last().is_some_and(|byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_');
        let (len, keep) = if rest.starts_with(b"//") {
            (rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with(b"/*") {
            (rest.windows(2).position(|two| two == b"*/").unwrap() + 2, false)
        } else if let Some(len) = raw_string(rest).filter(|_| !after_word) {
            (len, false)
        } else if rest[0] == b'"' {
            (quoted(rest, b'"'), false)
        } else if rest[0] == b'\'' && is_character(rest) {
            (quoted(rest, b'\''), false)
        } else {
            (1, true)
        };
        let kept = |byte: &&u8| keep || **byte == b'\n';
        code.extend(rest[..len].iter().filter(kept));
        at += len;
    }
    String::from_utf8(code).unwrap()
}

/// The length of the string or character literal at the start of `rest`, with both quotes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Whether this is a character literal and not a lifetime.
fn is_character(rest: &[u8]) -> bool {
    let text = std::str::from_utf8(&rest[1..rest.len().min(8)]).unwrap_or("'");
    let second = text.chars().nth(1);
    rest[1] == b'\\' || second == Some('\'') || !rest[1].is_ascii()
}

/// The length of the raw string at the start of `rest`, if there is one.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.strip_prefix(b"r").or_else(|| rest.strip_prefix(b"br"))?;
    let count = hashes.iter().take_while(|byte| **byte == b'#').count();
    let opening = rest.len() - hashes.len() + count;
    if hashes.get(count) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = [b"\"".as_slice(), &vec![b'#'; count]].concat();
    let content = &rest[opening + 1..];
    let length = content.windows(end.len()).position(|window| window == end)?;
    Some(opening + 1 + length + end.len())
}

/// Every path in `code`, as `crate::x::Y` or `std::z`. The braces of `use` are expanded.
pub(crate) fn paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let spaced: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    for statement in spaced.split("use ").skip(1) {
        let tree = statement.split(';').next().unwrap_or_default();
        expand("", tree, &mut found);
    }
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for word in spaced.split(|c| !is_path(c)).filter(|word| word.contains("::")) {
        found.insert(word.trim_matches(':').to_owned());
    }
    found
}

fn expand(prefix: &str, tree: &str, found: &mut BTreeSet<String>) {
    let tree: String = tree.trim().chars().filter(|c| !c.is_whitespace()).collect();
    let Some((head, inner)) = tree.split_once('{') else {
        found.insert(format!("{prefix}{tree}"));
        return;
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&format!("{prefix}{head}"), &inner[begin..at], found);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if !inner[begin..].is_empty() {
        expand(&format!("{prefix}{head}"), &inner[begin..], found);
    }
}

pub(crate) fn names(path: &str, forbidden: &str) -> bool {
    path.strip_prefix(forbidden).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The functions of `code` that have a body: name, line, and number of lines.
pub(crate) fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(body) = code[at..].find(['{', ';']).filter(|end| code.as_bytes()[at + end] == b'{') else {
            continue;
        };
        let mut depth = 0;
        let end = code[at + body..].char_indices().find(|(_, c)| {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth == 0
        });
        let end = at + body + end.expect("braces match").0;
        found.push((name, code[..at].lines().count(), code[at..=end].lines().count()));
    }
    found
}

/// The code of all tests: `tests/`, and the test parts of `src/`. Excluded are these rules, the helpers, the counters
/// and the definitions, because they name reasons without testing their causes.
pub(crate) fn tests() -> Vec<Source> {
    let mut all = sources(&["src", "tests"]);
    all.retain(|source| {
        let path = &source.path;
        let named_only = path.ends_with("src/event.rs") || path.ends_with("server/observe.rs");
        !(named_only || path.starts_with("tests/rules") || path.starts_with("tests/support"))
    });
    for source in &mut all {
        if !source.is_tests() {
            let (_, tests) = source.text.split_once("#[cfg(test)]").unwrap_or_default();
            source.text = tests.to_owned();
        }
    }
    all
}

#[test]
fn these_tests_read_code_rightly() {
    let text = "use a::{b, c::{D, e}};\nlet x = \"use std::fs\"; // std::fs\nlet y = 'x'; r#\"std::fs\"#; f::<'a>(g::h, '\"');";
    let code = stripped(text);
    assert!(!code.contains("std::fs") && code.lines().count() == text.lines().count(), "{code}");
    let found: Vec<String> = paths(&code).into_iter().collect();
    for path in ["a::b", "a::c::D", "a::c::e", "g::h"] {
        assert!(found.contains(&path.to_owned()), "{path} is not in {found:?}");
    }
    assert!(names("std::fs::read", "std::fs") && !names("std::fsx", "std::fs"));
    let code = "fn a() {\n{ }\n}\ntrait T { fn b(); }\n";
    assert_eq!(functions(code), [("a".to_owned(), 0, 3)]);
}
