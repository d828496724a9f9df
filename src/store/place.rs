//! Detects that the files of the open database were deleted, replaced or changed. Data written to a deleted file
//! would be lost when the process ends. The SQLite store checks this around every commit.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::wal::with_suffix;

/// The files of a database and their state when last checked.
#[derive(Debug)]
pub(super) struct DatabaseFiles {
    state: PathBuf,
    files: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// Device and inode. `None` until the file exists, because SQLite creates some files only when needed.
    inode: Option<(u64, u64)>,
    /// Length at the last check. A file only becomes shorter when a checkpoint truncates the log.
    length: u64,
    /// Modification time in seconds and nanoseconds.
    written: (i64, i64),
    /// Whether the file is shared memory. Its length and modification time are then meaningless.
    is_shared: bool,
}

/// Whether this process has just written to the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    AfterWrite,
    Idle,
}

/// An unexpected change of a file.
#[derive(Debug)]
pub(super) struct Change {
    /// Description for messages.
    pub(super) what: String,
    /// Whether it is the same file with other content. A checkpoint or VACUUM by another program has this effect too.
    pub(super) may_be_harmless: bool,
}

impl DatabaseFiles {
    /// The files of `database` in the folder `state`, in their current state.
    pub(super) fn new(state: &Path, database: &Path) -> DatabaseFiles {
        let watched =
            |path: PathBuf, is_shared| Watched { path, inode: None, length: 0, written: (0, 0), is_shared };
        let mut files = vec![
            watched(database.to_owned(), false),
            watched(with_suffix(database, "-wal"), false),
            watched(with_suffix(database, "-shm"), true),
        ];
        files.iter_mut().for_each(Watched::accept_current);
        DatabaseFiles { state: state.to_owned(), files }
    }

    /// Reports a change since the last check: a file is no longer the one that is open, or was changed by another
    /// program.
    pub(super) fn change(&mut self, moment: Moment) -> Option<Change> {
        let changes = self.files.iter_mut().filter_map(|file| file.change(moment));
        // Report the most serious change.
        let change = changes.min_by_key(|change| change.may_be_harmless)?;
        if !self.state.is_dir() {
            let what = format!("the folder {} was deleted or renamed", self.state.display());
            return Some(Change { what, may_be_harmless: false });
        }
        Some(change)
    }

    /// Whether another file now has the name of the database.
    pub(super) fn has_other_database(&self) -> bool {
        self.files.first().is_some_and(|database| {
            let found = fs::symlink_metadata(&database.path);
            found.is_ok_and(|found| database.inode != Some((found.dev(), found.ino())))
        })
    }

    /// Accepts the current state of the files.
    pub(super) fn accept_current(&mut self) {
        self.files.iter_mut().for_each(Watched::accept_current);
    }
}

impl Watched {
    fn accept_current(&mut self) {
        let found = fs::metadata(&self.path).ok();
        self.inode = found.as_ref().map(|found| (found.dev(), found.ino()));
        self.length = found.as_ref().map_or(0, Metadata::len);
        self.written = found.map_or((0, 0), |found| (found.mtime(), found.mtime_nsec()));
    }

    fn change(&mut self, moment: Moment) -> Option<Change> {
        let path = self.path.display();
        let change = |what: String, may_be_harmless| Some(Change { what, may_be_harmless });
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if is_gone(&error) => {
                self.inode?;
                return change(format!("{path} was deleted or renamed"), false);
            }
            // A disk that cannot be read makes the commit fail too.
            Err(_) => return None,
        };
        let inode = (found.dev(), found.ino());
        if *self.inode.get_or_insert(inode) != inode {
            return change(format!("{path} was replaced by another file"), false);
        }
        if self.is_shared {
            return None;
        }
        if found.len() < self.length {
            return change(format!("{path} was cut from {} to {} bytes", self.length, found.len()), true);
        }
        let written = (found.mtime(), found.mtime_nsec());
        if moment == Moment::Idle && self.written != written {
            return change(format!("{path} was overwritten by another program"), true);
        }
        (self.length, self.written) = (found.len(), written);
        None
    }
}

/// Whether the error means that the file does not exist, as opposed to a disk that cannot be read.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
