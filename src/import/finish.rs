//! The last step of every import: the text of `config.yaml`, which the reader of this crate accepts.
//!
//! The translators know most limits of `config.yaml`. This step asks its reader about the rest, such as the length of a
//! boot file name: each value that it refuses is removed and named in the list of what was not taken.

use super::Imported;
use super::failure::Failed;
use super::place::Place;
use super::problems::Problems;
use crate::config;
use crate::config::document::{Document, Map, Origin, Removed, Value, write_file};

impl From<Place> for Option<Origin> {
    fn from(place: Place) -> Option<Origin> {
        (place.line > 0).then_some(Origin { file: place.file, line: place.line })
    }
}

/// Writes `document`. `names` are those of [`super::Sources::names`], and `missing` says what the files lack if nothing
/// in them can be served.
///
/// # Errors
/// The result would serve nothing.
pub(super) fn finish(
    document: Document,
    mut problems: Problems,
    names: &[String],
    missing: &str,
) -> Result<Imported, Failed> {
    let (header, mut top) = document.into_tree();
    let mut refused = None;
    while serves(&top) {
        let yaml = write_file(&header, &top);
        let Err(found) = config::load(&yaml) else {
            return Ok(Imported { yaml, problems: problems.finish(names) });
        };
        if !remove_all(&mut top, &found, &mut problems) {
            refused = found.first().map(ToString::to_string);
            break;
        }
    }
    let message = match refused {
        Some(refused) => format!("nothing to serve: {refused}"),
        None => format!("nothing to serve: {missing}"),
    };
    let file = names.first().cloned().unwrap_or_default();
    Err(Failed::NothingToServe { message: format!("{file}: {message}"), problems: problems.finish(names) })
}

/// Whether the configuration has anything to serve: subnets for a DHCP server, a proxy, or TFTP.
fn serves(top: &Map) -> bool {
    let off = Value::from("off");
    let Some(Value::Map(dhcp)) = top.get("dhcp") else { return false };
    let is_server = match dhcp.get("mode") {
        Some(Value::Map(modes)) => modes.get("default") == Some(&Value::from("server")),
        Some(mode) if *mode == off => return top.get("tftp") != Some(&off),
        mode => mode == Some(&Value::from("server")),
    };
    !is_server || dhcp.get("subnets").is_some()
}

/// Removes each value that has a problem. Returns false if a problem is not that of a value.
fn remove_all(top: &mut Map, found: &[config::Problem], problems: &mut Problems) -> bool {
    // Sorted by position: from the end, so that the numbers of items before it stay right.
    let mut removed: Vec<String> = Vec::new();
    let mut has_progress = false;
    for problem in found.iter().rev() {
        let is_needed = problem.path.is_empty() || problem.path == "dhcp" || problem.path == "dhcp.mode";
        let is_inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        let is_gone =
            removed.iter().any(|gone| problem.path.strip_prefix(gone.as_str()).is_some_and(is_inside));
        if is_needed || is_gone {
            continue;
        }
        let Some(Removed { path, origin }) = top.remove_path(&problem.path) else { continue };
        let origin = origin.unwrap_or(Origin { file: 0, line: 1 });
        let place = Place { file: origin.file, line: origin.line };
        problems.add(place, format!("{} not taken: {}", subject(&path), problem.message));
        removed.push(path);
        has_progress = true;
    }
    has_progress
}

/// The removed value in words. Numbers of items mean nothing to a person who reads the other server's file.
fn subject(path: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    match last.split_once('[') {
        Some((list, _)) => format!("an entry of `{list}` is"),
        None => format!("`{last}` is"),
    }
}
