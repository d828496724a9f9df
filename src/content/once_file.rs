//! The file `once.json`: the `once` that each machine has had, with a checksum. `once.rs` reads and writes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::types::to_hex;

/// Maximum size of the file in bytes: one line for each of 100,000 machines.
const MAX_FILE: u64 = 16 << 20;
/// The version of the file's format.
const VERSION: u32 = 1;

/// Reads the state of the machines from `file`; empty if there is no file.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub(super) fn read(file: &Path) -> io::Result<BTreeMap<String, String>> {
    let text = match File::open(file) {
        Ok(file) => io::read_to_string(io::Read::take(file, MAX_FILE))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    match serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))? {
        Stored::WithoutChecksum(finished) => Ok(finished),
        Stored::File(StoredFile { version, .. }) if version != VERSION => Err(io::Error::other(format!(
            "its version is {version}, and this lanboot knows version {VERSION}"
        ))),
        Stored::File(StoredFile { sha256, content, .. }) if sha256 != checksum(&content)? => {
            Err(damaged("its checksum is wrong"))
        }
        Stored::File(StoredFile { content, .. }) => Ok(content),
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged: {why}"))
}

/// The file. A flipped bit in a MAC address would otherwise end the `once` of another machine, or start it again.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    File(StoredFile),
    /// As older versions wrote it. The next change adds a checksum.
    WithoutChecksum(BTreeMap<String, String>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFile {
    version: u32,
    /// The SHA-256 of `content` as JSON without spaces.
    sha256: String,
    /// The `once` that each machine has had.
    content: BTreeMap<String, String>,
}

/// The text of the file.
pub(super) fn text_of(finished: &BTreeMap<String, String>) -> io::Result<String> {
    let stored = StoredFile { version: VERSION, sha256: checksum(finished)?, content: finished.clone() };
    Ok(format!("{}\n", serde_json::to_string_pretty(&stored)?))
}

fn checksum(content: &BTreeMap<String, String>) -> io::Result<String> {
    Ok(to_hex(&Sha256::digest(serde_json::to_vec(content)?)))
}
