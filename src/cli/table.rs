//! Tables, durations and texts of clients for a terminal of 80 columns.

use std::time::{Duration, SystemTime};

use crate::types::Escaped;

/// Maximum width of a column. A longer cell shifts the rest of its line.
const MAX_COLUMN: usize = 20;

/// Formats titles and rows in columns that are two spaces apart, each as wide as its widest cell. The lines have no spaces
/// at their ends.
pub(super) fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let mut widths = titles.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().clamp(*width, MAX_COLUMN.max(*width));
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(line(titles))
        .chain(rows.iter().map(|row| line(row.each_ref().map(String::as_str))))
        .collect()
}

/// The words of `text` in lines of at most `width` characters. A longer word has a line to itself.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A duration in its two largest units: `3h 5m`.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let units = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds % 60, "s")];
    let first = units.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let two = units.iter().skip(first).take(2).filter(|(count, _)| *count > 0);
    let text: Vec<String> = two.map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text.join(" ") }
}

/// The time since `at`, which is in UTC as in RFC 3339: `3h 5m ago`. A text that is no time is returned as it is.
pub(super) fn ago(at: &str, now: SystemTime) -> String {
    match humantime::parse_rfc3339(at) {
        Ok(at) => {
            let passed = now.duration_since(at).unwrap_or(Duration::ZERO);
            format!("{} ago", span(passed.as_secs()))
        }
        Err(_) => safe(at),
    }
}

/// A text that may come from a client, without bytes that control a terminal.
pub(super) fn safe(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

/// A text of the server in which the texts of clients are escaped already. Characters that control a terminal are escaped
/// anyway, because another program may have written it.
pub(super) fn shown(text: &str) -> String {
    let is_plain = |c: &char| *c == ' ' || c.is_ascii_graphic() || matches!(c, '…' | '→');
    let show = |c: char| match c {
        c if is_plain(&c) => c.to_string(),
        '\0'..='\x7f' => format!("\\x{:02x}", u32::from(c)),
        c => c.escape_unicode().to_string(),
    };
    text.chars().map(show).collect()
}

/// A cell: the text, or `-` if there is none.
pub(super) fn cell(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), safe)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn r_46_long_texts_are_wrapped_between_words() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a-very-long-word b", 5), ["a-very-long-word", "b"]);
        assert!(wrapped("", 5).is_empty());
    }

    #[test]
    fn columns_are_as_wide_as_their_cells_and_no_wider_than_20() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned);
        let long = "a-name-of-more-than-20-letters";
        let lines = table(["NAME", "MAC"], &[row(["n1", "a"]), row([long, "b"])]);
        assert_eq!(lines, ["NAME                  MAC", "n1                    a", &format!("{long}  b")]);
        assert_eq!(table(["NAME", "MAC"], &[]), ["NAME  MAC"]);
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3661, "1h 1m"), (3600, "1h"), (86_400 * 9 + 5, "9d")]
        {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn times_are_relative() {
        let now = UNIX_EPOCH + Duration::from_secs(3600);
        assert_eq!(ago("1970-01-01T00:30:00Z", now), "30m ago");
        assert_eq!(ago("1970-01-01T09:30:00.5Z", now), "0s ago", "the clock was set");
        assert_eq!(ago("never\x1b[2J", now), "never\\x1b[2J");
    }
}
