//! The rows of docs/robustness.md and the tests that are named after them agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::sources::{Source, root, sources, tests};

/// The rows of the page: a letter, and the first and last number of each run of rows.
const ROWS: [(char, &[(u8, u8)]); 8] = [
    ('D', &[(1, 26)]),
    ('T', &[(1, 21)]),
    ('U', &[(1, 4)]),
    ('W', &[(1, 8)]),
    ('A', &[(1, 19)]),
    ('F', &[(1, 20)]),
    ('R', &[(1, 11), (20, 37), (40, 53)]),
    ('S', &[(1, 16)]),
];

/// A row of the page.
struct Row {
    /// For example `D-08`.
    id: String,
    /// The tests that the row names. Empty if the row gives a reason for having none.
    tests: Vec<String>,
}

/// All rows of the page, from top to bottom.
fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/robustness.md")).unwrap();
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| row ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, text, test] = cells[..] else { panic!("not three cells: {line}") };
        assert!(!text.is_empty(), "{id} says nothing");
        let names = test.starts_with('`');
        let says_why = ["Not yet: ", "No test: "].iter().any(|start| test.starts_with(start));
        assert!(names || says_why, "{id} names no test, and does not say why: {test}");
        let tests = test.split(", ").filter(|_| names);
        let tests = tests.map(|test| test.trim_matches('`').to_owned()).collect();
        rows.push(Row { id: id.to_owned(), tests });
    }
    rows
}

/// The test functions in a source file.
fn test_functions(source: &Source) -> impl Iterator<Item = &str> {
    let after_attribute =
        source.code.split("#[test]").skip(1).chain(source.code.split("#[tokio::test").skip(1));
    after_attribute.filter_map(|rest| {
        let (_, rest) = rest.split_once("fn ")?;
        rest.split(['(', '<']).next()
    })
}

/// The module path of a file of tests/: `tests/core/dhcp/mod.rs` is `core::dhcp`.
fn module_path(path: &Path) -> String {
    let below = path.strip_prefix("tests").unwrap().with_extension("");
    let parts = below.iter().map(|part| part.to_str().unwrap());
    parts.filter(|part| !matches!(*part, "mod" | "main")).collect::<Vec<_>>().join("::")
}

/// Every test, by its name on the page: with its path in tests/, without a path in src/.
fn names_of_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources(&["tests"]) {
        let path = module_path(&source.path);
        names.extend(test_functions(&source).map(|name| format!("{path}::{name}")));
    }
    for source in sources(&["src"]) {
        names.extend(test_functions(&source).map(str::to_owned));
    }
    names
}

/// The rows that a test is named after. `d_04_and_d_15_identities` is for D-04 and D-15.
fn rows_of(test: &str) -> Vec<String> {
    let function = test.rsplit("::").next().unwrap_or_default();
    let mut words = function.split('_').peekable();
    let mut rows = Vec::new();
    while let Some(letter) = words.next() {
        if letter == "and" && !rows.is_empty() {
            continue;
        }
        let number = words.peek().filter(|number| number.len() == 2 && number.parse::<u8>().is_ok());
        let (Some(number), true) = (number, matches!(letter, "d" | "t" | "u" | "w" | "f" | "r" | "s")) else {
            break;
        };
        rows.push(format!("{}-{number}", letter.to_uppercase()));
        words.next();
    }
    rows
}

#[test]
fn the_page_has_every_row_once_and_in_order() {
    let there: Vec<String> = rows().into_iter().map(|row| row.id).collect();
    let numbers =
        |runs: &[(u8, u8)]| runs.iter().flat_map(|(first, last)| *first..=*last).collect::<Vec<u8>>();
    let all = ROWS.iter().flat_map(|(letter, runs)| {
        numbers(runs).into_iter().map(move |number| format!("{letter}-{number:02}"))
    });
    assert_eq!(there, all.collect::<Vec<_>>());
}

#[test]
fn every_test_that_a_row_names_exists() {
    let there = names_of_tests();
    let rows = rows();
    let named = rows.iter().flat_map(|row| row.tests.iter().map(move |test| (&row.id, test)));
    let missing: Vec<_> = named.filter(|(_, test)| !there.contains(*test)).collect();
    assert!(missing.is_empty(), "docs/robustness.md names tests that are not there: {missing:#?}");
}

#[test]
fn every_test_named_after_a_row_has_that_row() {
    let rows = rows();
    let is_tested = |id: &String| rows.iter().any(|row| row.id == *id && !row.tests.is_empty());
    let mut wrong = Vec::new();
    for test in names_of_tests() {
        wrong
            .extend(rows_of(&test).into_iter().filter(|id| !is_tested(id)).map(|id| format!("{id}: {test}")));
    }
    assert!(wrong.is_empty(), "no such row in docs/robustness.md, or it names no test: {wrong:#?}");
}

#[test]
fn names_of_tests_are_read_rightly() {
    assert_eq!(rows_of("core::dhcp::d_08_and_d_09_memory"), ["D-08", "D-09"]);
    assert_eq!(rows_of("f_01_f_02_kill_9"), ["F-01", "F-02"]);
    assert!(rows_of("a_second_signal").is_empty() && rows_of("s_none").is_empty());
    assert_eq!(module_path(Path::new("tests/core/dhcp/mod.rs")), "core::dhcp");
}

/// The rows F that must have a test with their name. F-03, a power cut, is covered by the test of another row.
const FAULTS: [u8; 14] = [1, 2, 4, 5, 6, 7, 8, 11, 13, 14, 15, 16, 18, 20];

/// The rows of a letter that no name in `tests` mentions.
fn rows_without_test(tests: &[Source], letter: char, rows: impl IntoIterator<Item = u8>) -> Vec<u8> {
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
    let tests = tests();
    let missing =
        [('d', rows_without_test(&tests, 'd', 1..=26)), ('t', rows_without_test(&tests, 't', 1..=21))];
    // The faults found by using lanboot: failed boots (R), attacks and lost data (S).
    let found =
        [('r', rows_without_test(&tests, 'r', 1..=11)), ('s', rows_without_test(&tests, 's', 1..=16))];
    for (letter, missing) in
        missing.into_iter().chain(found).chain([('f', rows_without_test(&tests, 'f', FAULTS))])
    {
        assert!(missing.is_empty(), "no test is named after the rows {letter}_{missing:?}");
    }
}

#[test]
fn every_web_row_of_the_robustness_table_has_a_test() {
    let tests = tests();
    let named = |row: &u8| tests.iter().any(|source| source.code.contains(&format!("w_{row:02}_")));
    let missing: Vec<u8> = (1..=8).filter(|row| !named(row)).collect();
    assert!(missing.is_empty(), "no test is named after the rows W-{missing:?}");
}
