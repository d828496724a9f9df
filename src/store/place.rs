//! Looks whether the files of an open database are still where they were: what is written to a deleted file is gone with
//! the process.

use std::fs;
use std::io::ErrorKind;
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
    /// Whether its length says nothing about what is in it.
    any_length: bool,
}

/// What happened to a file.
#[derive(Debug)]
pub(super) struct Change {
    /// In words.
    pub(super) what: String,
    /// Whether only a file became shorter, which a checkpoint or VACUUM by another program does too.
    pub(super) is_shorter: bool,
}

impl Place {
    /// The files of `database` in the folder `state`, as they are now.
    pub(super) fn new(state: &Path, database: &Path) -> Place {
        let watched = |path: PathBuf, any_length| Watched { path, inode: None, length: 0, any_length };
        let mut files = vec![
            watched(database.to_owned(), false),
            watched(with_suffix(database, "-wal"), false),
            watched(with_suffix(database, "-shm"), true),
        ];
        files.iter_mut().for_each(Watched::learn);
        Place { state: state.to_owned(), files }
    }

    /// What has happened to the files since, if they are no longer those that are open.
    pub(super) fn change(&mut self) -> Option<Change> {
        let mut changes = self.files.iter_mut().filter_map(Watched::change);
        let change = changes.next()?;
        if !self.state.exists() {
            let what = format!("the folder {} was deleted or renamed", self.state.display());
            return Some(Change { what, is_shorter: false });
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
        self.length = found.map_or(0, |found| found.len());
    }

    fn change(&mut self) -> Option<Change> {
        let path = self.path.display();
        let change = |what: String, is_shorter| Some(Change { what, is_shorter });
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
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
        if !self.any_length && found.len() < self.length {
            return change(format!("{path} was cut from {} to {} bytes", self.length, found.len()), true);
        }
        self.length = found.len();
        None
    }
}
