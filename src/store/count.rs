//! `leases.commits`: what the last commit left in the database, noted outside of it.
//!
//! It is written after each commit and before the replies that promise what the commit stored, but not synced then: a
//! second sync would halve the rate of commits. After kill -9 it is exact, because the kernel has what was written. After
//! a power cut it may be behind, and never ahead: the commit was synced before. So a database that is behind this file
//! has lost commits, and one that is ahead of it has not.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::store::FILE_MODE;
use crate::store::integrity::Integrity;
use crate::store::lock::give_to_owner;

/// The file's name in the state folder.
pub(super) const COUNT: &str = "leases.commits";
/// How a line of it begins. The number is that of its format.
const BEGIN: &str = "lanboot-commits 1";
/// Bytes of a line. The file has two, which are written in turn, so that one is whole whatever happens.
const LINE: usize = 256;
const LENGTH: u64 = 2 * LINE as u64;

/// What the file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Noted {
    /// There is no such file.
    Nothing,
    /// Neither of its lines can be read.
    Damaged,
    /// The state after the last commit that was noted.
    Commit(Integrity),
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct CountFile {
    path: PathBuf,
    file: Option<File>,
    is_synced: bool,
    /// Whether a fault was logged since it was last written.
    is_reported: bool,
}

/// Reads the file in the folder `state`.
pub(super) fn read(state: &Path) -> Noted {
    let mut open = OpenOptions::new();
    let opened = open.read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(state.join(COUNT));
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Noted::Nothing,
        Err(_) => return Noted::Damaged,
    };
    let mut bytes = [0; 2 * LINE];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(some) => length += some,
            Err(_) => return Noted::Damaged,
        }
    }
    let lines = bytes.chunks(LINE).filter_map(|line| parse(std::str::from_utf8(line).ok()?));
    lines.max_by_key(|integrity| integrity.commits).map_or(Noted::Damaged, Noted::Commit)
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

impl CountFile {
    /// The file in the folder `state`. It keeps what it says until the first commit is noted.
    pub(super) fn new(state: &Path) -> CountFile {
        CountFile { path: state.join(COUNT), file: None, is_synced: true, is_reported: false }
    }

    /// Notes what the last commit left. A fault here is no reason to refuse a lease that is stored: it is logged.
    pub(super) fn note(&mut self, integrity: &Integrity) {
        let line = line(integrity);
        let noted = match &self.file {
            Some(file) => {
                let turn = u64::from(integrity.commits & 1 == 1);
                file.write_all_at(&line, turn * LINE as u64).map(|()| self.is_synced = false)
            }
            None => self.begin(&line),
        };
        match noted {
            Ok(()) => self.is_reported = false,
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.is_reported, true) {
                    tracing::warn!(
                        "cannot note the number of commits in {}: {error}; until this works, lost leases may go \
                         unnoticed at the next start",
                        self.path.display()
                    );
                }
            }
        }
    }

    /// Makes it durable. Called after the log was moved to the database, and at the end.
    pub(super) fn sync(&mut self) {
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            // Without this it is behind after a power cut, which is allowed.
            self.is_synced = file.sync_data().is_ok();
        }
    }

    /// Whether the file that is open is still the one in the folder.
    pub(super) fn is_in_place(&self) -> bool {
        let Some(own) = self.file.as_ref().and_then(|file| file.metadata().ok()) else { return true };
        let found = std::fs::metadata(&self.path);
        found.is_ok_and(|found| (found.dev(), found.ino(), found.len()) == (own.dev(), own.ino(), LENGTH))
    }

    /// Has the file made again with the next commit, because it is not in its place any more.
    pub(super) fn forget(&mut self) {
        self.file = None;
    }

    /// Both lines alike: whatever the file said before, this counts from now on.
    fn begin(&mut self, line: &[u8; LINE]) -> io::Result<()> {
        let mut open = OpenOptions::new();
        // No link is followed: the folder is the server's, and root must not write elsewhere for it.
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

impl Drop for CountFile {
    fn drop(&mut self) {
        self.sync();
    }
}
