//! `lanboot images`: lists the files of the images folder, adds files to it, and verifies that they are unchanged.

mod add;
mod list;
mod packages;
mod verify;

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::config_file::load_or_exit_code;
use super::output;
use crate::images::add::sets::{DebArch, SETS};

/// The subcommands of `lanboot images`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every boot file: its kind, clients, signers and origin (default)
    List,
    /// Add boot files from the distribution's signed packages, a local file, or a download
    #[command(after_help = sets_help())]
    Add(AddArguments),
    /// Compare every added file with its recorded checksum
    Verify,
}

/// Arguments of `images add`.
#[derive(Debug, Args)]
pub struct AddArguments {
    /// Names from the list below; or one path, or one URL (http:// or https://)
    #[arg(required = true, value_name = "NAME|PATH|URL")]
    what: Vec<String>,
    /// Architectures, amd64 or arm64 [default: both, where there are files for both]
    #[arg(long, value_name = "ARCH", value_delimiter = ',', value_parser = arch)]
    arch: Vec<DebArch>,
    /// Take the files from these package files (.deb) instead of downloading them
    #[arg(long, value_name = "FILE")]
    deb: Vec<PathBuf>,
    /// Name for the file of a path or URL in the images folder [default: its own name]
    #[arg(long)]
    name: Option<String>,
    /// SHA-256 that the file of a path or URL must have, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// Replace files that lanboot did not add, or that were changed since
    #[arg(long)]
    force: bool,
}

fn arch(text: &str) -> Result<DebArch, &'static str> {
    match text {
        "amd64" | "x86_64" | "x64" => Ok(DebArch::Amd64),
        "arm64" | "aarch64" => Ok(DebArch::Arm64),
        _ => Err("expected amd64 or arm64"),
    }
}

fn sha256(text: &str) -> Result<String, &'static str> {
    let is_sum = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_sum { Ok(text.to_ascii_lowercase()) } else { Err("expected 64 hexadecimal digits") }
}

fn sets_help() -> String {
    let lines = SETS.iter().map(|set| format!("  {:<18}{}\n", set.name, set.about));
    format!(
        "Names:\n{}\nThe packages are those of this system's own package servers, checked against their signatures. \
         Nothing is installed, and root is needed only where boot-images/ belongs to root.",
        lines.collect::<String>()
    )
}

/// The reason why a command failed.
enum Failure {
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

/// Runs the command. The exit code is 0 for success, 1 for a failure (a file differs, a download failed), and 2 for
/// wrong usage or configuration.
pub fn run(config: Option<&Path>, command: Option<Command>, json: bool) -> ExitCode {
    let config = match load_or_exit_code(config) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let done = match command.unwrap_or(Command::List) {
        Command::Add(arguments) => add::run(&config.images, &arguments, json),
        // `add` creates the folder.
        _ if is_missing(&config.images) => Err(Failure::Message(format!(
            "there is no folder {}: `lanboot images add ipxe` makes it, or say in `images` where it is",
            config.images.display()
        ))),
        Command::List => list::run(&config, json),
        Command::Verify => verify::run(&config.images, json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Message(why)) => {
            output::complain(format_args!("lanboot images: {why}"));
            ExitCode::FAILURE
        }
        Err(Failure::Usage(why)) => {
            output::complain(format_args!("lanboot images: {why}"));
            ExitCode::from(2)
        }
        Err(Failure::AlreadyReported) => ExitCode::FAILURE,
        // A reader such as `head` has closed the pipe.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => {
            output::complain(format_args!("lanboot images: cannot write the output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn is_missing(folder: &Path) -> bool {
    folder.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Writes a JSON array with one object per line.
fn write_json(views: &[impl Serialize], out: &mut impl Write) -> io::Result<()> {
    for (i, view) in views.iter().enumerate() {
        write!(out, "{}", if i == 0 { "[\n" } else { ",\n" })?;
        serde_json::to_writer(&mut *out, view)?;
    }
    writeln!(out, "{}", if views.is_empty() { "[]" } else { "\n]" })
}

/// Writes titles and rows. Each column is as wide as its widest cell, except the last. The column `right` is aligned
/// to the right.
fn write_table<const N: usize>(
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
fn bytes(count: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn arguments_are_checked() {
        assert_eq!(arch("aarch64"), Ok(DebArch::Arm64));
        assert!(arch("i386").is_err());
        assert_eq!(sha256(&"Ab".repeat(32)).unwrap(), "ab".repeat(32));
        assert!(sha256("ab").is_err() && sha256(&"x".repeat(64)).is_err());
    }
}
