//! Looks whether the files of an open database are still where they were: what is written to a deleted file is gone with
//! the process.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::wal::with_suffix;

/// The files of one database and what they were when it was opened.
#[derive(Debug)]
pub(super) struct Place {
    state: PathBuf,
    files: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// Device and inode, once it is there: SQLite makes some files only when it needs them.
    inode: Option<(u64, u64)>,
    /// The longest that it was. None of them ever becomes shorter, but when a checkpoint empties the log.
    length: u64,
    /// When it was last written, in seconds and nanoseconds.
    written: (i64, i64),
    /// Whether it is memory that processes share: its length and time say nothing.
    is_shared: bool,
}

/// Whether this process has just written to the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    AfterWrite,
    Idle,
}

/// What happened to a file.
#[derive(Debug)]
pub(super) struct Change {
    /// In words.
    pub(super) what: String,
    /// Whether the file is the same one and was only written to, which a checkpoint or VACUUM by another program does too.
    pub(super) may_be_harmless: bool,
}

impl Place {
    /// The files of `database` in the folder `state`, as they are now.
    pub(super) fn new(state: &Path, database: &Path) -> Place {
        let watched =
            |path: PathBuf, is_shared| Watched { path, inode: None, length: 0, written: (0, 0), is_shared };
        let mut files = vec![
            watched(database.to_owned(), false),
            watched(with_suffix(database, "-wal"), false),
            watched(with_suffix(database, "-shm"), true),
        ];
        files.iter_mut().for_each(Watched::learn);
        Place { state: state.to_owned(), files }
    }

    /// What has happened to the files since, if they are no longer those that are open.
    pub(super) fn change(&mut self, moment: Moment) -> Option<Change> {
        let changes = self.files.iter_mut().filter_map(|file| file.change(moment));
        // The most serious one.
        let change = changes.min_by_key(|change| change.may_be_harmless)?;
        if !self.state.is_dir() {
            let what = format!("the folder {} was deleted or renamed", self.state.display());
            return Some(Change { what, may_be_harmless: false });
        }
        Some(change)
    }

    /// Whether another file than the one that was open has the database's name.
    pub(super) fn has_other_database(&self) -> bool {
        self.files.first().is_some_and(|database| {
            let found = fs::symlink_metadata(&database.path);
            found.is_ok_and(|found| database.inode != Some((found.dev(), found.ino())))
        })
    }

    /// Takes the files for right as they are now.
    pub(super) fn learn(&mut self) {
        self.files.iter_mut().for_each(Watched::learn);
    }
}

impl Watched {
    fn learn(&mut self) {
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
            // A disk that cannot be read fails the commit too.
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

/// Whether there is nothing of that name. A disk that cannot be read says otherwise.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
