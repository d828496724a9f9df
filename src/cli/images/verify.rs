//! `lanboot images verify`: compares every file with the checksum that was recorded when it was added.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::output::{Failure, write_json};
use crate::boot::name::BootName;
use crate::event::Refusal;
use crate::images::add::progress::Progress;
use crate::images::add::staging;
use crate::images::builds::{self, Build};
use crate::images::manifest::Manifest;
use crate::images::{Catalog, list};

/// Result of comparing a file. The names are stable.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// The content differs.
    Changed,
    Missing,
    /// The file exists but cannot be read.
    Unreadable,
    /// lanboot did not add the file.
    Unknown,
}

#[derive(Serialize)]
struct View {
    file: String,
    state: State,
    /// Current checksum; `null` if the file was not read.
    sha256: Option<String>,
    /// Recorded checksum.
    expected: Option<String>,
}

/// Reads every added file and prints the differences. Files that lanboot did not add are listed but are not errors.
pub(super) fn run(root: &Path, json: bool) -> Result<(), Failure> {
    let manifest = Manifest::load(root)?;
    let catalog = Catalog::open(root).map_err(|error| error.to_string())?;
    let total = manifest.files.values().map(|entry| entry.size).sum();
    let progress = Progress::of_bytes("comparing", total);
    let mut views = Vec::new();
    for (name, entry) in &manifest.files {
        views.push(compare(&catalog, name, &entry.sha256));
        progress.add(usize::try_from(entry.size).unwrap_or(usize::MAX));
    }
    let builds = builds::all(root)?;
    for (name, sum) in builds.iter().flat_map(sums) {
        views.push(compare(&catalog, &name, sum));
    }
    drop(progress);
    let known: HashSet<&str> = views.iter().map(|view| view.file.as_str()).collect();
    let is_of_build = |name: &str| {
        builds
            .iter()
            .any(|build| name == build.image || name.strip_prefix(&build.name) == Some(DESCRIPTION_PATH))
    };
    let names = list::names(root)?;
    let unknown: Vec<String> =
        names.into_iter().filter(|name| !known.contains(name.as_str()) && !is_of_build(name)).collect();
    let unknown = unknown.into_iter();
    views.extend(unknown.map(|file| View { file, state: State::Unknown, sha256: None, expected: None }));
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        write_json(&views, &mut out)?;
    } else {
        write(&views, root, &mut out)?;
    }
    out.flush()?;
    let is_fine = |view: &View| matches!(view.state, State::Ok | State::Unknown);
    if views.iter().all(is_fine) { Ok(()) } else { Err(Failure::AlreadyReported) }
}

/// The description of a build in its folder. It has the checksums of the other files.
const DESCRIPTION_PATH: &str = "/image.json";

/// The files of a build and their checksums.
fn sums(build: &Build) -> impl Iterator<Item = (String, &str)> {
    let sums = build.description.iter().flat_map(|image| &image.sha256);
    sums.map(|(file, sum)| (format!("{}/{file}", build.name), sum.as_str()))
}

/// Compares the file `name` with its recorded checksum.
fn compare(catalog: &Catalog, name: &str, expected: &str) -> View {
    let view =
        |state, sha256| View { file: name.to_owned(), state, sha256, expected: Some(expected.to_owned()) };
    let opened = BootName::parse(name.as_bytes()).map_err(|_| Refusal::BadName);
    match opened.and_then(|name| catalog.open_file(&name)) {
        Err(Refusal::NotFound) => view(State::Missing, None),
        Err(_) => view(State::Unreadable, None),
        Ok(open) => match staging::sha256(open.file) {
            Err(_) => view(State::Unreadable, None),
            Ok(sum) if sum == expected => view(State::Ok, Some(sum)),
            Ok(sum) => view(State::Changed, Some(sum)),
        },
    }
}

/// Writes one line per difference and per unknown file, and then a summary.
fn write(views: &[View], root: &Path, out: &mut impl Write) -> io::Result<()> {
    let of = |state| views.iter().filter(move |view| view.state == state);
    for (state, what) in [
        (State::Changed, "changed: it is not what was added"),
        (State::Missing, "missing"),
        (State::Unreadable, "cannot be read"),
        (State::Unknown, "unknown: not added by lanboot"),
    ] {
        for view in of(state) {
            writeln!(out, "{}: {what}", view.file)?;
        }
    }
    let counts = [
        (State::Ok, "as added"),
        (State::Changed, "changed"),
        (State::Missing, "missing"),
        (State::Unreadable, "unreadable"),
        (State::Unknown, "unknown"),
    ];
    let parts = counts.map(|(state, what)| (of(state).count(), what));
    let shown = parts.iter().filter(|(count, what)| *count > 0 || *what == "as added");
    let text: Vec<String> = shown.map(|(count, what)| format!("{count} {what}")).collect();
    writeln!(out, "{}: {}", root.display(), text.join(", "))
}
