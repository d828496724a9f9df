//! `leases.commits`: a record of the last commit, kept outside the database. A start compares both to find lost
//! commits.
//!
//! The file is written after each commit and before the replies that depend on it. It is not synced then, because a
//! second sync would halve the commit rate. After kill -9 the record is exact, because the kernel has the data. After
//! a power cut it may be older than the database, but never newer, because the commit was synced first. Therefore a
//! database that is older than this record has lost commits.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::event::{Reports, ServerFact};
use crate::store::files::FILE_MODE;
use crate::store::integrity::Integrity;
use crate::store::lock::give_to_owner;

/// File name in the state folder.
pub(super) const COMMITS_FILE: &str = "leases.commits";
/// Start of every line. The number is the version of the format.
const BEGIN: &str = "lanboot-commits 1";
/// Length of a line in bytes. The file has two lines that are written alternately, so that one is always complete.
const LINE: usize = 256;
const LENGTH: u64 = 2 * LINE as u64;

/// Content of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Recorded {
    /// The file does not exist.
    Missing,
    /// Neither line is valid.
    Damaged,
    /// The state after the last recorded commit.
    Commit(Integrity),
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct CommitRecord {
    path: PathBuf,
    file: Option<File>,
    is_synced: bool,
    /// Whether an error was logged since the last successful write.
    is_reported: bool,
}

/// Reads the file in the folder `state`.
pub(super) fn read(state: &Path) -> Recorded {
    let mut open = OpenOptions::new();
    let opened = open.read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(state.join(COMMITS_FILE));
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Recorded::Missing,
        Err(_) => return Recorded::Damaged,
    };
    let mut bytes = [0; 2 * LINE];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(some) => length += some,
            Err(_) => return Recorded::Damaged,
        }
    }
    let lines = bytes.chunks(LINE).filter_map(|line| parse(std::str::from_utf8(line).ok()?));
    lines.max_by_key(|integrity| integrity.commits).map_or(Recorded::Damaged, Recorded::Commit)
}

fn parse(line: &str) -> Option<Integrity> {
    let mut words = line.strip_prefix(BEGIN)?.split_ascii_whitespace();
    let mut number = |name: &str| words.next()?.strip_prefix(name)?.parse().ok();
    let integrity = Integrity {
        database: number("database=")?,
        commits: number("commits=")?,
        rows: number("leases=")?,
        sum: number("sum=")?,
    };
    (number("checksum=")? == integrity.checksum()).then_some(integrity)
}

fn line(integrity: &Integrity) -> [u8; LINE] {
    let Integrity { database, commits, rows, sum } = integrity;
    let checksum = integrity.checksum();
    let text =
        format!("{BEGIN} database={database} commits={commits} leases={rows} sum={sum} checksum={checksum}");
    let mut line = [b' '; LINE];
    line.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    line[LINE - 1] = b'\n';
    line
}

impl CommitRecord {
    /// The file in the folder `state`. It is not changed until the first commit is recorded.
    pub(super) fn new(state: &Path) -> CommitRecord {
        CommitRecord { path: state.join(COMMITS_FILE), file: None, is_synced: true, is_reported: false }
    }

    /// Records the state after a commit. Errors are only reported, because the leases themselves are already stored.
    pub(super) fn record(&mut self, integrity: &Integrity, reports: &Reports) {
        let line = line(integrity);
        let recorded = match &self.file {
            Some(file) => {
                let turn = u64::from(integrity.commits & 1 == 1);
                file.write_all_at(&line, turn * LINE as u64).map(|()| self.is_synced = false)
            }
            None => self.begin(&line),
        };
        match recorded {
            Ok(()) => self.is_reported = false,
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.is_reported, true) {
                    let text = format!(
                        "cannot note the number of commits in {}: {error}; until this works, lost leases may go \
                         unnoticed at the next start",
                        self.path.display()
                    );
                    reports.report(ServerFact::CommitNotRecorded, text);
                }
            }
        }
    }

    /// Syncs the file. Called after a checkpoint of the write-ahead log and at the end.
    pub(super) fn sync(&mut self) {
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            // If this fails, the record may be old after a power cut, which is allowed.
            self.is_synced = file.sync_data().is_ok();
        }
    }

    /// Whether the open file is still the one in the folder.
    pub(super) fn is_in_place(&self) -> bool {
        let Some(own) = self.file.as_ref().and_then(|file| file.metadata().ok()) else { return true };
        let found = std::fs::metadata(&self.path);
        found.is_ok_and(|found| (found.dev(), found.ino(), found.len()) == (own.dev(), own.ino(), LENGTH))
    }

    /// Closes the file, so that the next commit creates it again. Used when the file was moved or deleted.
    pub(super) fn forget(&mut self) {
        self.file = None;
    }

    /// Creates the file with two identical lines, so that no older record remains.
    fn begin(&mut self, line: &[u8; LINE]) -> io::Result<()> {
        let mut open = OpenOptions::new();
        // Symlinks are not followed: the folder belongs to the server's user, and root must not be led to another
        // file.
        open.write(true).create(true).truncate(false).mode(FILE_MODE).custom_flags(OFlag::O_NOFOLLOW.bits());
        let file = open.open(&self.path)?;
        if let Some(folder) = self.path.parent() {
            give_to_owner(&file, folder);
        }
        file.write_all_at(&[*line, *line].concat(), 0)?;
        file.set_len(LENGTH)?;
        file.sync_all()?;
        self.file = Some(file);
        Ok(())
    }
}

impl Drop for CommitRecord {
    fn drop(&mut self) {
        self.sync();
    }
}
