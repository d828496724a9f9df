//! Reads the file `once.json`: the `once` that each machine has had. `once.rs` writes it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::content::checked_file::{self, Checked, damaged};

#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Checked(Checked<BTreeMap<String, String>>),
    /// As older versions wrote it. The next change adds a checksum.
    WithoutChecksum(BTreeMap<String, String>),
}

/// Reads the state of the machines from `file`; empty if there is no file.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub(super) fn read(file: &Path) -> io::Result<BTreeMap<String, String>> {
    let Some(text) = checked_file::read(file)? else { return Ok(BTreeMap::new()) };
    match serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))? {
        Stored::Checked(stored) => stored.content(),
        Stored::WithoutChecksum(finished) => Ok(finished),
    }
}
