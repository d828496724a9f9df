//! Prints the result of a rehearsal as a table with sentences, or as JSON. `mod.rs` calls it. It decides nothing.

use std::io::{self, Write};

use serde::Serialize;

use super::chain::{Ending, Step};
use super::row::Row;
use crate::boot::plan::Mode;
use crate::probe::models::Protocol;

const TITLES: [&str; COLUMNS] = ["MACHINE", "CLIENT", "ARCH", "MODE"];
const COLUMNS: usize = 4;
/// Maximum width of a line, except where a name or URL is longer.
const WIDTH: usize = 80;
/// Maximum width of a column.
const USUAL: usize = 24;
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// One row of the JSON output. The names are stable.
#[derive(Serialize)]
pub(super) struct View<'a> {
    machine: &'a str,
    /// The subnet, if there are several.
    subnet: Option<&'a str>,
    client: &'a str,
    arch: String,
    /// `server` or `proxy`.
    mode: &'static str,
    /// `boots`, `waits` (at a menu), `local-disk`, `ignored` or `fails`.
    verdict: &'static str,
    loads: Vec<Loads<'a>>,
    /// The error code or text on the machine's screen; `null` unless the boot fails.
    code: Option<&'a str>,
    why: Option<&'a str>,
    advice: Option<&'a str>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Loads<'a> {
    /// The name of the firmware or loader that loads the file.
    who: &'a str,
    protocol: String,
    /// `null` for lanboot itself.
    server: Option<&'a str>,
    file: &'a str,
}

impl<'a> View<'a> {
    pub(super) fn of(row: &'a Row) -> View<'a> {
        let loads = row.rehearsal.steps.iter().map(|step| Loads {
            who: step.who,
            protocol: step.by.to_string(),
            server: (!step.is_ours).then_some(&step.server),
            file: &step.file,
        });
        let trouble = match &row.rehearsal.ending {
            Ending::Fails(trouble) => Some(trouble),
            _ => None,
        };
        View {
            machine: &row.machine,
            subnet: row.subnet.as_deref(),
            client: row.client,
            arch: row.arch.to_string(),
            mode: mode_name(row.mode),
            verdict: match row.rehearsal.ending {
                Ending::Boots => "boots",
                Ending::Waits => "waits",
                Ending::LocalDisk => "local-disk",
                Ending::Ignored => "ignored",
                Ending::Fails(_) => "fails",
            },
            loads: loads.collect(),
            code: trouble.map(|trouble| trouble.code.as_str()),
            why: trouble.map(|trouble| trouble.why.as_str()),
            advice: trouble.map(|trouble| trouble.advice.as_str()),
            notes: &row.rehearsal.notes,
        }
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Server => "server",
        Mode::Proxy => "proxy",
    }
}

/// Writes all rows under the titles, within [`WIDTH`] columns. The files that a machine loads follow on their own line.
/// Advice for each machine that fails comes last.
///
/// # Errors
/// If `out` cannot be written to.
pub(super) fn write(rows: &[Row], colour: bool, out: &mut impl Write) -> io::Result<()> {
    let titles = TITLES.map(str::to_owned);
    let cells: Vec<[String; COLUMNS]> = rows.iter().map(cells).collect();
    let lines = || std::iter::once(&titles).chain(&cells);
    // A long name only shifts its own line.
    let width =
        |column: usize| lines().map(|cells| cells[column].chars().count()).max().unwrap_or(0).min(USUAL);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |cells: &[String; COLUMNS]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  "));
        padded.collect::<String>()
    };
    writeln!(out, "{}VERDICT", line(&titles))?;
    for (row, cells) in rows.iter().zip(&cells) {
        let (text, is_good) = verdict(row);
        let start = line(cells);
        let fits = start.chars().count() + text.chars().count() <= WIDTH;
        let gap = if fits { "" } else { "\n    " };
        let start = if fits { start.as_str() } else { start.trim_end() };
        writeln!(out, "{start}{gap}{}", if colour { coloured(&text, is_good) } else { text })?;
        for line in loads_lines(row) {
            writeln!(out, "    {line}")?;
        }
    }
    let mut advice: Vec<String> = rows.iter().flat_map(sentences).collect();
    advice.dedup();
    if !advice.is_empty() {
        writeln!(out)?;
    }
    advice.iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn cells(row: &Row) -> [String; COLUMNS] {
    [row.machine.clone(), row.client.to_owned(), row.arch.to_string(), mode_name(row.mode).to_owned()]
}

/// The files that the machine loads, and its subnet, in lines of at most [`WIDTH`] columns with the indentation. A longer
/// URL has a line alone.
fn loads_lines(row: &Row) -> Vec<String> {
    let loads = row.rehearsal.steps.iter().enumerate().map(|(place, step)| loads(place, step));
    let mut parts: Vec<String> = row.subnet.iter().map(|subnet| format!("in {subnet}")).collect();
    parts.extend(loads);
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() + 2 <= WIDTH - 4 => {
                line.push_str(", ");
                line.push_str(&part);
            }
            Some(line) => {
                line.push(',');
                lines.push(part);
            }
            None => lines.push(part),
        }
    }
    lines
}

/// The text for one file, such as `snponly.efi`, or `iPXE: boot.ipxe` for a later stage. A file that is not sent by
/// lanboot over TFTP is shown as a URL.
fn loads(place: usize, step: &Step) -> String {
    let file = match (step.is_ours, step.by) {
        (true, Protocol::Tftp) => step.file.clone(),
        (true, by) => format!("{by}://(this server){}", step.file),
        (false, by) => format!("{by}://{}/{}", step.server, step.file.trim_start_matches('/')),
    };
    if place == 0 { file } else { format!("{}: {file}", step.who) }
}

/// The verdict in words, and whether the machine starts something.
fn verdict(row: &Row) -> (String, bool) {
    match &row.rehearsal.ending {
        Ending::Boots => ("boots".to_owned(), true),
        Ending::Waits => ("waits at a menu".to_owned(), true),
        Ending::LocalDisk => ("boots its own disk".to_owned(), true),
        Ending::Ignored => ("gets no answer: `ignore`".to_owned(), true),
        Ending::Fails(trouble) => (format!("fails: {}", trouble.code), false),
    }
}

fn coloured(text: &str, is_good: bool) -> String {
    format!("{}{text}{PLAIN}", if is_good { GREEN } else { RED })
}

fn sentences(row: &Row) -> Vec<String> {
    let who = format!("{}, {} {}, {}", row.machine, row.client, row.arch, mode_name(row.mode));
    let mut lines = Vec::new();
    if let Ending::Fails(trouble) = &row.rehearsal.ending {
        lines.push(format!("{who}: {}: {}. To do: {}.", trouble.code, trouble.why, trouble.advice));
    }
    lines.extend(row.rehearsal.notes.iter().map(|note| format!("{who}: {note}.")));
    lines
}
