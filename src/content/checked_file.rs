//! JSON files in the state folder with a version and a checksum. A flipped bit in a MAC address would otherwise change what
//! another machine boots. `changes.rs` and `once.rs` store such files.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::types::to_hex;

/// Maximum size of a file in bytes: one line for each of 100,000 machines.
const MAX_FILE: u64 = 16 << 20;
/// The version of the format.
const VERSION: u32 = 1;

/// A file as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checked<T> {
    version: u32,
    /// The SHA-256 of `content` as JSON without spaces.
    sha256: String,
    content: T,
}

impl<T: Serialize> Checked<T> {
    /// The text of the file with this content.
    pub(super) fn text(content: T) -> io::Result<String> {
        let stored = Checked { version: VERSION, sha256: checksum(&content)?, content };
        Ok(format!("{}\n", serde_json::to_string_pretty(&stored)?))
    }

    /// The content.
    ///
    /// # Errors
    /// The file is of another version, or damaged.
    pub(super) fn content(self) -> io::Result<T> {
        if self.version != VERSION {
            let version = self.version;
            let text = format!("its version is {version}, and this lanboot knows version {VERSION}");
            return Err(io::Error::other(text));
        }
        if self.sha256 != checksum(&self.content)? {
            return Err(damaged("its checksum is wrong"));
        }
        Ok(self.content)
    }
}

/// The text of `file`; `None` if there is no file.
pub(super) fn read(file: &Path) -> io::Result<Option<String>> {
    match File::open(file) {
        Ok(file) => io::read_to_string(io::Read::take(file, MAX_FILE)).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged: {why}"))
}

fn checksum(content: &impl Serialize) -> io::Result<String> {
    Ok(to_hex(&Sha256::digest(serde_json::to_vec(content)?)))
}
