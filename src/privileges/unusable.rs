//! Finds files and folders that the server's user cannot use. Someone who ran lanboot as root before does not expect
//! these failures. `privileges` logs the warnings at the start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::Config;

/// Maximum number of checked entries of `images`, so that the start is quick.
const MAX_ENTRIES: usize = 4096;
/// Maximum depth of checked folders.
const MAX_DEPTH: usize = 8;

/// Warns about each path that the user `user` of this process cannot use, with the command that fixes it.
pub(super) fn warnings(config: &Config, user: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let images = &config.images;
    if config.tftp.is_some() || config.http.is_some() {
        let mut unreadable = Unreadable::default();
        unreadable.inspect(images, MAX_DEPTH);
        if let Some(first) = unreadable.first {
            let others = match unreadable.count - 1 {
                0 => String::new(),
                1 => " and one more".to_owned(),
                more => format!(" and {more} more"),
            };
            lines.push(format!(
                "the user {user} cannot read {}{others}: no client gets that; `chmod -R a+rX {}`, and a+x for the folders \
                 above it",
                first.display(),
                images.display()
            ));
        }
    }
    // The existence of the folder is unknown if a folder above it is closed.
    let state = &config.state;
    let is_missing = state.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if !is_missing && access(state, SEARCH | AccessFlags::W_OK).is_err() {
        lines.push(format!(
            "the user {user} cannot write to the state folder {}: leases will not survive; let the user pass through the \
             folders above it (`chmod a+x`), or set `state` to another folder",
            state.display()
        ));
    }
    if let Some(uploads) = config.tftp.as_ref().and_then(|tftp| tftp.uploads.as_ref())
        && access(&uploads.dir, SEARCH | AccessFlags::W_OK).is_err()
    {
        lines.push(format!(
            "the user {user} cannot write to the folder `tftp.uploads.dir`, {0}: every upload is refused; `chown {user} \
             {0}`",
            uploads.dir.display()
        ));
    }
    lines
}

const SEARCH: AccessFlags = AccessFlags::R_OK.union(AccessFlags::X_OK);

/// The number of unreadable files and folders, and the first of them.
#[derive(Default)]
struct Unreadable {
    looked_at: usize,
    count: usize,
    first: Option<PathBuf>,
}

impl Unreadable {
    /// Checks `folder` and everything in it, without following symbolic links.
    fn inspect(&mut self, folder: &Path, depth: usize) {
        let entries = match access(folder, SEARCH) {
            Ok(()) => fs::read_dir(folder).ok(),
            Err(_) => return self.note(folder),
        };
        for entry in entries.into_iter().flatten().flatten() {
            self.looked_at += 1;
            if self.looked_at > MAX_ENTRIES {
                return;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth > 0 {
                self.inspect(&entry.path(), depth - 1);
            } else if kind.is_file() && access(&entry.path(), AccessFlags::R_OK).is_err() {
                self.note(&entry.path());
            }
        }
    }

    fn note(&mut self, path: &Path) {
        self.count += 1;
        self.first.get_or_insert_with(|| path.to_owned());
    }
}
