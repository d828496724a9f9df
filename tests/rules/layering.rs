//! Reads the sources and holds them to what `src/lib.rs` and the house rules say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lanboot::event::{DropReason, HttpRefusal, HttpStop, Refusal, Unanswered};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

/// What core code does not name: clocks, files, sockets, threads, logs, databases, async, randomness.
const NOT_IN_CORE: [&str; 22] = [
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::os",
    "tokio",
    "tracing",
    "rusqlite",
    "nix",
    "socket2",
    "libc",
    "rand",
    "getrandom",
    "futures_io",
    "async_tftp",
    "tempfile",
];

/// What the lints of a file that reads bytes off the wire must deny.
const PANICS: [&str; 4] =
    ["clippy::unwrap_used", "clippy::expect_used", "clippy::indexing_slicing", "clippy::panic"];

/// A source file.
struct Source {
    /// From the repository's root.
    path: PathBuf,
    /// As written.
    text: String,
    /// Without comments and without what is in quotes; the lines are the same.
    code: String,
    /// The part of `code` that is not tests.
    product: String,
}

impl Source {
    fn is_tests(&self) -> bool {
        self.path.starts_with("tests") || self.path.ends_with("tests.rs")
    }

    /// The module beneath the crate's root that it belongs to; none for main.rs and lib.rs.
    fn module(&self) -> Option<String> {
        let below = self.path.strip_prefix("src").ok()?;
        let first = below.components().next()?.as_os_str().to_str()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(name, "main" | "lib")).then(|| name.to_owned())
    }

    /// How many modules deep it is beneath the crate's root.
    fn depth(&self) -> usize {
        let below = self.path.strip_prefix("src").unwrap_or(&self.path);
        let parts = below.components().count();
        if below.ends_with("mod.rs") { parts - 1 } else { parts }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every .rs file beneath these folders, those of the tests' own data excepted.
fn sources(folders: &[&str]) -> Vec<Source> {
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

fn source(file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap();
    let code = stripped(&text);
    let product = code.split("#[cfg(test)]").next().unwrap().to_owned();
    Source { path: file.strip_prefix(root()).unwrap().to_owned(), text, code, product }
}

/// `text` without comments and without the content of strings and character literals; line ends stay.
fn stripped(text: &str) -> String {
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

/// The length of the string or character that `rest` begins with, both quotes included.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// A character, and not the name of a lifetime.
fn is_character(rest: &[u8]) -> bool {
    let text = std::str::from_utf8(&rest[1..rest.len().min(8)]).unwrap_or("'");
    let second = text.chars().nth(1);
    rest[1] == b'\\' || second == Some('\'') || !rest[1].is_ascii()
}

/// The length of the raw string that `rest` begins with, if it does.
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

/// Every path that `code` names, as `crate::x::Y` or `std::z`: those of `use` with their braces expanded.
fn paths(code: &str) -> BTreeSet<String> {
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

fn names(path: &str, forbidden: &str) -> bool {
    path.strip_prefix(forbidden).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The table in the documentation of src/lib.rs.
struct Table {
    /// What each module may import besides itself.
    may_import: BTreeMap<String, BTreeSet<String>>,
    /// The modules that do no I/O.
    core: Vec<String>,
}

fn table() -> Table {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("//! | [`")) {
        let (name, rest) = line.split_once("`]").unwrap();
        let cells: Vec<&str> = rest.split('|').map(str::trim).collect();
        rows.push((name.to_owned(), cells[2].to_owned()));
    }
    let all: Vec<String> = rows.iter().map(|(name, _)| name.clone()).collect();
    let mut may_import = BTreeMap::new();
    for (place, (name, allowed)) in rows.iter().enumerate() {
        let allowed: BTreeSet<String> = match allowed.as_str() {
            "nothing" => BTreeSet::new(),
            "everything" => all.iter().cloned().collect(),
            text => match text.strip_prefix("all of the above") {
                Some(rest) => {
                    let except = rest.trim().strip_prefix("except ").unwrap_or_default();
                    all[..place].iter().filter(|name| *name != except).cloned().collect()
                }
                None => text.split(", ").map(str::to_owned).collect(),
            },
        };
        for module in &allowed {
            assert!(all.contains(module), "src/lib.rs lets {name} import {module}, which has no row");
        }
        may_import.insert(name.clone(), allowed);
    }
    let (_, after) = text.split_once("//! Down to `").expect("src/lib.rs says which modules are core");
    let (last, _) = after.split_once('`').unwrap();
    let core = all.iter().position(|name| name == last).map(|place| all[..=place].to_vec()).unwrap();
    Table { may_import, core }
}

#[test]
fn the_table_in_lib_rs_has_every_module_and_no_other() {
    let table = table();
    let there: BTreeSet<String> = sources(&["src"]).iter().filter_map(Source::module).collect();
    assert_eq!(table.may_import.keys().cloned().collect::<BTreeSet<_>>(), there);
    assert!(table.core.len() >= 9 && table.core.contains(&"wire".to_owned()), "{:?}", table.core);
}

#[test]
fn no_file_imports_more_than_its_row_allows() {
    let table = table();
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let Some(module) = source.module() else { continue };
        let to_root = "super::".repeat(source.depth());
        for path in paths(&source.product) {
            let inside = path.strip_prefix("crate::").or_else(|| path.strip_prefix(&to_root));
            let Some(inside) = inside.filter(|inside| !inside.starts_with("super::")) else { continue };
            let imported = inside.split("::").next().unwrap_or_default();
            if imported != module && !table.may_import[&module].contains(imported) {
                wrong.push(format!("{}: {path}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that src/lib.rs does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn core_code_does_no_io_and_reads_no_clock() {
    let table = table();
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        if !source.module().is_some_and(|module| table.core.contains(&module)) || source.is_tests() {
            continue;
        }
        for path in paths(&source.product) {
            if let Some(forbidden) = NOT_IN_CORE.iter().find(|forbidden| names(&path, forbidden)) {
                wrong.push(format!("{}: {path} ({forbidden})", source.path.display()));
            }
        }
        for word in ["async fn", "async move", ".await", "println!", "eprintln!", "static mut"] {
            if source.product.contains(word) {
                wrong.push(format!("{}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "what core code must not name:\n{}", wrong.join("\n"));
}

#[test]
fn core_modules_deny_clocks_files_and_sockets_and_wire_also_panics() {
    for module in table().core {
        let folder = root().join(format!("src/{module}/mod.rs"));
        let file = if folder.exists() { folder } else { root().join(format!("src/{module}.rs")) };
        let code = source(&file).code;
        let denied = code.split("#![deny(").nth(1).and_then(|rest| rest.split(")]").next());
        let denied = denied.unwrap_or_default();
        let mut lints = vec!["clippy::disallowed_methods", "clippy::disallowed_types"];
        if module == "wire" || module == "probe" {
            lints.extend(PANICS);
        }
        if module == "wire" {
            lints.push("clippy::arithmetic_side_effects");
        }
        for lint in lints {
            assert!(denied.contains(lint), "{} does not deny {lint}", file.display());
        }
    }
}

/// The rules leave out what stands after the first `#[cfg(test)]`, so nothing but tests may.
#[test]
fn tests_stand_at_the_bottom_of_their_file() {
    for source in sources(&["src"]) {
        let Some((_, after)) = source.code.split_once("#[cfg(test)]") else { continue };
        let after = after.trim();
        let last =
            after == "mod tests;" || after.starts_with("mod tests {") && source.code.ends_with("\n}\n");
        let closed = after.matches("\n}\n").count() == 0;
        assert!(last && closed, "{}: something follows its tests", source.path.display());
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        if source.is_tests() {
            continue;
        }
        let lines = source.product.lines().count();
        if lines > MAX_FILE_LINES {
            wrong.push(format!("{} has {lines} lines", source.path.display()));
        }
        for (name, line, length) in functions(&source.product) {
            if length > MAX_FUNCTION_LINES {
                wrong.push(format!("{}:{line}: fn {name} has {length} lines", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "longer than they may be:\n{}", wrong.join("\n"));
}

/// The functions of `code` that have a body: name, line, and how many lines they have.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
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

/// The tests: tests/ without this file and without its helpers, and the test parts of the sources without the counters
/// and the definitions, which name reasons without testing what leads to them.
fn tests() -> Vec<Source> {
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

fn untested<T: Copy + std::fmt::Debug>(kind: &str, all: &[T], name: fn(T) -> &'static str) -> Vec<String> {
    let tests = tests();
    let is_named = |text: &str, variant: &str, stable: &str| {
        let words = |word: &str| {
            text.match_indices(word).any(|(at, _)| {
                !text[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        };
        words(variant) || words(&format!("reason={stable}"))
    };
    let missing = |value: &&T| {
        let variant = format!("{kind}::{value:?}");
        !tests.iter().any(|source| is_named(&source.text, &variant, name(**value)))
    };
    all.iter().filter(missing).map(|value| format!("{value:?}")).collect()
}

#[test]
fn every_drop_reason_and_refusal_has_a_test() {
    let reasons = untested("DropReason", DropReason::ALL, DropReason::name);
    assert!(reasons.is_empty(), "no test for DropReason {reasons:?}");
    let refusals = untested("Refusal", Refusal::ALL, Refusal::name);
    assert!(refusals.is_empty(), "no test for Refusal {refusals:?}");
    let refusals = untested("HttpRefusal", HttpRefusal::ALL, HttpRefusal::name);
    assert!(refusals.is_empty(), "no test for HttpRefusal {refusals:?}");
    let stops = untested("HttpStop", HttpStop::ALL, HttpStop::name);
    assert!(stops.is_empty(), "no test for HttpStop {stops:?}");
    let unanswered = untested("Unanswered", Unanswered::ALL, Unanswered::name);
    assert!(unanswered.is_empty(), "no test for Unanswered {unanswered:?}");
}

/// The rows of the robustness table about faults that are tested here. Not: 3, a power cut, which asks no more of a
/// program than 2; 9 and 10, a store shared by several servers; 12 and 17, reload and watchdog.
const FAULTS: [u8; 14] = [1, 2, 4, 5, 6, 7, 8, 11, 13, 14, 15, 16, 18, 20];

/// Which of the rows of the robustness table whose tests begin with `letter` have none.
fn rows_without_test(letter: char, rows: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let tests = tests();
    // One test may be for several rows: d_08_and_d_09_….
    let names: Vec<&str> = tests
        .iter()
        .flat_map(|source| source.code.match_indices("fn ").map(|(at, _)| &source.code[at + 3..]))
        .map(|rest| rest.split('(').next().unwrap_or_default())
        .collect();
    let named = |row: &u8| {
        let (first, later) = (format!("{letter}_{row:02}_"), format!("_{letter}_{row:02}_"));
        names.iter().any(|name| name.starts_with(&first) || name.contains(&later))
    };
    rows.into_iter().filter(|row| !named(row)).collect()
}

#[test]
fn every_row_of_the_robustness_table_has_a_test() {
    let missing = [('d', rows_without_test('d', 1..=26)), ('t', rows_without_test('t', 1..=21))];
    // Of the faults found by trying lanboot: boots that fail (R), attacks and lost data (S).
    let found = [('r', rows_without_test('r', 1..=11)), ('s', rows_without_test('s', 1..=16))];
    for (letter, missing) in missing.into_iter().chain(found).chain([('f', rows_without_test('f', FAULTS))]) {
        assert!(missing.is_empty(), "no test is named after the rows {letter}_{missing:?}");
    }
}

/// W-01 and W-06 are about passwords, of which there are none yet: whoever adds one adds them here.
#[test]
fn every_web_row_of_the_robustness_table_that_applies_has_a_test() {
    let tests = tests();
    let named = |row: &u8| tests.iter().any(|source| source.code.contains(&format!("w_{row:02}_")));
    let missing: Vec<u8> = [2, 3, 4, 5, 7, 8].into_iter().filter(|row| !named(row)).collect();
    assert!(missing.is_empty(), "no test is named after the rows W-{missing:?}");
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_switched_off() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for word in ["todo!", "unimplemented!", "dbg!", "#[ignore", "unsafe {", "#[should_panic]"] {
            if source.code.contains(word) {
                wrong.push(format!("{}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_architecture_page_names_every_folder_of_src() {
    let Ok(page) = fs::read_to_string(root().join("docs/architecture.md")) else { return };
    let folders = fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let named = [format!("{name}/"), format!("`{name}`")].iter().any(|form| page.contains(form));
        assert!(named, "docs/architecture.md does not name src/{name}/");
    }
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
