//! Every row of the list of what must be survived has a test that is named after it.

use crate::sources::tests;

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
