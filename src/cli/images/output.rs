//! The output of the commands about images: tables, JSON and failures.

use std::io::{self, Write};
use std::time::SystemTime;

use serde::Serialize;

/// The reason why a command failed.
pub(super) enum Failure {
    /// A message for people. Exit code 1.
    Message(String),
    /// Wrong usage. Exit code 2.
    Usage(String),
    /// Everything was already printed. Exit code 1.
    AlreadyReported,
    /// Standard output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure::Message(why)
    }
}

/// Writes a JSON array with one object per line.
pub(super) fn write_json(views: &[impl Serialize], out: &mut impl Write) -> io::Result<()> {
    for (i, view) in views.iter().enumerate() {
        write!(out, "{}", if i == 0 { "[\n" } else { ",\n" })?;
        serde_json::to_writer(&mut *out, view)?;
    }
    writeln!(out, "{}", if views.is_empty() { "[]" } else { "\n]" })
}

/// Writes titles and rows. Each column is as wide as its widest cell, except the last. The column `right` is aligned
/// to the right.
pub(super) fn write_table<const N: usize>(
    titles: [&str; N],
    right: usize,
    rows: &[[String; N]],
    out: &mut impl Write,
) -> io::Result<()> {
    let titles = titles.map(str::to_owned);
    let lines = || std::iter::once(&titles).chain(rows);
    let width =
        |column: usize| lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    for line in lines() {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A number of bytes for people: `72.5 KiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut shown, mut unit) = (count as f64, "B");
    for larger in UNITS {
        if shown < 1024.0 {
            break;
        }
        (shown, unit) = (shown / 1024.0, larger);
    }
    if unit == "B" { format!("{count} B") } else { format!("{shown:.1} {unit}") }
}

/// Time since `time` (RFC 3339) in its largest unit: `3 d`. `None` if that is no time.
pub(super) fn age(time: &str) -> Option<String> {
    let then = humantime::parse_rfc3339(time).ok()?;
    let seconds = SystemTime::now().duration_since(then).unwrap_or_default().as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    let unit = units.into_iter().find(|(size, _)| seconds >= *size);
    Some(unit.map_or_else(|| format!("{seconds} s"), |(size, name)| format!("{} {name}", seconds / size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let ago = |seconds| {
            let then = SystemTime::now() - std::time::Duration::from_secs(seconds);
            age(&humantime::format_rfc3339_seconds(then).to_string()).unwrap()
        };
        assert_eq!([ago(150), ago(3601), ago(200_000)], ["2 min", "1 h", "2 d"]);
        assert_eq!((age("2999-01-01T00:00:00Z").as_deref(), age("yesterday")), (Some("0 s"), None));
    }

    #[test]
    fn tables_align() {
        let rows =
            [["a".to_owned(), bytes(1), "x".to_owned()], ["abc".to_owned(), bytes(1 << 20), String::new()]];
        let mut text = Vec::new();
        write_table(["FILE", "SIZE", "KIND"], 1, &rows, &mut text).unwrap();
        let expected = "FILE     SIZE  KIND\na         1 B  x\nabc   1.0 MiB\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert_eq!([bytes(1023), bytes(1024), bytes(74_213)], ["1023 B", "1.0 KiB", "72.5 KiB"]);
    }
}
