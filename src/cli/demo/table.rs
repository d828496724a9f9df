//! The table of results at the end of the demo.

use std::io::{self, Write};

use super::client::{Client, Outcome};

const TITLES: [&str; COLUMNS] = ["CLIENT", "ARCHITECTURE", "ADDRESS", "FILE", "BYTES", "TIME"];
const COLUMNS: usize = 6;
/// Columns of numbers, which are aligned to the right.
const NUMBERS: [bool; COLUMNS] = [false, false, false, false, true, true];

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// The row of one client.
pub(super) struct Row {
    cells: [String; COLUMNS],
    verdict: String,
    /// Whether the client got the right file.
    pub(super) booted: bool,
}

/// The row for a client with this result.
pub(super) fn row(client: &Client, outcome: &Outcome, verdict: &Result<(), String>) -> Row {
    let profile = client.kind.profile();
    Row {
        cells: [
            profile.name.to_owned(),
            or_dash(profile.arch),
            or_dash(outcome.address),
            or_dash(outcome.file.as_deref()),
            outcome.bytes.to_string(),
            format!("{:.3} s", outcome.took.as_secs_f64()),
        ],
        verdict: match verdict {
            Ok(()) => "booted".to_owned(),
            Err(why) => format!("failed: {why}"),
        },
        booted: verdict.is_ok(),
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Writes the titles and all rows. Each column is as wide as its widest cell.
///
/// # Errors
/// `out` is closed.
pub(super) fn write(rows: &[Row], colour: bool, out: &mut impl Write) -> io::Result<()> {
    let titles = TITLES.map(str::to_owned);
    let lines = || std::iter::once(&titles).chain(rows.iter().map(|row| &row.cells));
    let width = |column: usize| lines().map(|cells| cells[column].len()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let verdicts = std::iter::once("VERDICT".to_owned()).chain(rows.iter().map(|row| match row {
        Row { verdict, .. } if !colour => verdict.clone(),
        Row { verdict, booted, .. } => format!("{}{verdict}{PLAIN}", if *booted { GREEN } else { RED }),
    }));
    for (cells, verdict) in lines().zip(verdicts) {
        for ((cell, width), is_number) in cells.iter().zip(widths).zip(NUMBERS) {
            if is_number {
                write!(out, "{cell:>width$}  ")?;
            } else {
                write!(out, "{cell:<width$}  ")?;
            }
        }
        writeln!(out, "{verdict}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Kind;
    use crate::types::MacAddr;

    #[test]
    fn columns_align_and_colour_is_optional() {
        let client = Client { kind: Kind::Bootp, mac: MacAddr([2; 6]), file: "x" };
        let outcome =
            Outcome { bytes: 1000, file: Some("a-rather-long-name".to_owned()), ..Outcome::default() };
        let rows = [
            row(&client, &outcome, &Ok(())),
            row(&client, &Outcome::default(), &Err("no answer".to_owned())),
        ];
        let mut text = Vec::new();
        write(&rows, false, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "CLIENT       ARCHITECTURE  ADDRESS  FILE                BYTES     TIME  VERDICT\n\
             plain BOOTP  -             -        a-rather-long-name   1000  0.000 s  booted\n\
             plain BOOTP  -             -        -                       0  0.000 s  failed: no answer\n"
        );
        let mut text = Vec::new();
        write(&rows, true, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("\x1b[32mbooted\x1b[0m\n") && text.contains("\x1b[31mfailed: no answer\x1b[0m\n")
        );
    }
}
