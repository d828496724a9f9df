//! The list of everything that an import did not take, by file and line.

use std::collections::BTreeMap;
use std::fmt;

use super::place::Place;

/// Maximum number of lines that one entry lists for a kind of statement.
const MAX_LINES: usize = 20;

/// A statement that was not taken. `Display` writes `FILE:LINE: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// The statement, why it was not taken, and the alternative if there is one.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// Maximum length of a reason, in characters. Reasons quote values, which may be long.
const MAX_REASON: usize = 300;

/// The text in one printable line of limited length, because text of a file must not control a terminal.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_REASON));
    for (at, letter) in text.chars().enumerate() {
        match letter {
            _ if at >= MAX_REASON => {
                shown.push('…');
                break;
            }
            letter if letter.is_control() => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

/// Collects problems in any order.
#[derive(Debug, Default)]
pub struct Problems {
    single: Vec<(Place, String)>,
    /// Statements of one kind, listed once with all their lines.
    kinds: BTreeMap<String, Vec<Place>>,
}

impl Problems {
    /// Records a statement that was not taken, or only in part.
    pub fn add(&mut self, place: Place, reason: impl Into<String>) {
        self.single.push((place, printable(&reason.into())));
    }

    /// Records a statement of a kind that has nothing to do with network boot, such as a DNS setting. All statements
    /// with the same reason become one entry.
    pub fn add_kind(&mut self, place: Place, reason: impl Into<String>) {
        self.kinds.entry(reason.into()).or_default().push(place);
    }

    pub fn is_empty(&self) -> bool {
        self.single.is_empty() && self.kinds.is_empty()
    }

    /// All problems in the order of the files and lines. `names` are those of [`super::Sources::names`].
    pub fn finish(self, names: &[String]) -> Vec<Problem> {
        let name = |place: Place| names.get(place.file as usize).cloned().unwrap_or_default();
        let mut all = self.single;
        for (reason, mut places) in self.kinds {
            places.sort_unstable();
            places.dedup();
            let Some((first, others)) = places.split_first() else { continue };
            let listed: Vec<String> = others
                .iter()
                .take(MAX_LINES)
                .map(|other| match other.file == first.file {
                    true => other.line.to_string(),
                    false => format!("{}:{}", name(*other), other.line),
                })
                .collect();
            let more = match others.len().saturating_sub(MAX_LINES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let s = if others.len() == 1 { "" } else { "s" };
            all.push((
                *first,
                match listed.is_empty() {
                    true => reason,
                    false => format!("{reason}; also line{s} {}{more}", listed.join(", ")),
                },
            ));
        }
        all.sort();
        all.dedup();
        let problem = |(place, reason)| Problem { file: name(place), line: place.line, reason };
        all.into_iter().map(problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_and_kinds_are_listed_once() {
        let at = |file, line| Place { file, line };
        let mut problems = Problems::default();
        problems.add(at(1, 2), "c");
        problems.add(at(0, 9), "b");
        problems.add_kind(at(1, 3), "dns");
        problems.add_kind(at(0, 4), "dns");
        problems.add_kind(at(0, 5), "dns");
        let names = ["x".to_owned(), "y".to_owned()];
        let shown: Vec<String> = problems.finish(&names).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["x:4: dns; also lines 5, y:3", "x:9: b", "y:2: c"]);
    }
}
