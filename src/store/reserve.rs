//! Reserves disk space before it is needed: the whole write-ahead log, and a ballast file to delete when the disk is
//! full.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::event::{Reports, ServerFact};
use crate::store::files::FILE_MODE;
use crate::store::lock::give_to_owner;

/// Size of the ballast in bytes: room for the leases of some thousand clients.
const BALLAST: u64 = 1 << 20;
/// Time after which a deleted or failed ballast is created again.
const BALLAST_PAUSE: Duration = Duration::from_secs(5);

/// The file `leases.ballast`. Its only purpose is to be deleted when the disk is full.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    is_there: bool,
    /// Whether its use was logged, and its return was not.
    is_missed: bool,
    changed: Instant,
    reports: Reports,
}

impl Ballast {
    /// Creates the ballast in the folder `state`. A failure is ignored.
    pub(super) fn make(state: &Path, reports: Reports) -> Ballast {
        let mut ballast = Ballast {
            path: state.join("leases.ballast"),
            is_there: false,
            is_missed: false,
            changed: Instant::now(),
            reports,
        };
        ballast.fill();
        ballast
    }

    /// Deletes the ballast to free its space. Returns whether there was one.
    pub(super) fn release(&mut self) -> bool {
        let had_room = std::mem::take(&mut self.is_there) && fs::remove_file(&self.path).is_ok();
        if had_room {
            let path = self.path.display();
            let text = format!(
                "the disk is full: the reserve {path} was used up to store leases; make room on its file system, or no new \
                 lease can be given soon"
            );
            self.reports.report(ServerFact::ReserveUsed, text);
            self.is_missed = true;
        }
        self.changed = Instant::now();
        had_room
    }

    /// Creates the ballast again, some time after it was deleted.
    pub(super) fn restore(&mut self) {
        if !self.is_there && self.changed.elapsed() >= BALLAST_PAUSE {
            self.fill();
        }
    }

    /// Creates the whole file or none.
    fn fill(&mut self) {
        self.is_there = fill(&self.path, BALLAST).is_ok();
        if self.is_there && std::mem::take(&mut self.is_missed) {
            let text = format!("the disk has room again: the reserve {} is back", self.path.display());
            self.reports.report(ServerFact::ReserveBack, text);
        }
        if !self.is_there {
            let _ = fs::remove_file(&self.path);
        }
        self.changed = Instant::now();
    }
}

/// Extends the log of `database` to its maximum length of `length` bytes.
///
/// Syncing a file that grows forces the file system to commit its own journal, which takes up to some milliseconds.
/// Syncing blocks that were written before takes a tenth of one. Therefore the log is filled with zeros once and only
/// overwritten afterwards. SQLite keeps its length, and treats the first frame that is not from the current turn as
/// the end.
pub(super) fn fill_log(database: &Path, length: u64) -> io::Result<()> {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    fill(Path::new(&path), length)
}

/// Appends zeros to a file up to `length` bytes, and creates it if needed. The zeros are written, because space that
/// is only allocated would cost as much later as growing the file. If that fails, as on a full disk, the file gets
/// its old length back.
fn fill(path: &Path, length: u64) -> io::Result<()> {
    let mut open = OpenOptions::new();
    // Symlinks are not followed: the folder belongs to the server's user, and root must not be led to another file.
    let mut file =
        open.append(true).create(true).mode(FILE_MODE).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    if let Some(folder) = path.parent() {
        give_to_owner(&file, folder);
    }
    let before = file.metadata()?.len();
    let filled = append_zeros(&mut file, length.saturating_sub(before)).and_then(|()| file.sync_all());
    if filled.is_err() {
        file.set_len(before)?;
    }
    filled
}

fn append_zeros(file: &mut impl Write, mut count: u64) -> io::Result<()> {
    let zeros = [0; 1 << 16];
    while count > 0 {
        let some = count.min(zeros.len() as u64);
        file.write_all(&zeros[..some as usize])?;
        count -= some;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_51_a_used_up_reserve_is_reported_until_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::make(folder.path(), Reports::default());
        assert!(ballast.is_there && !ballast.is_missed);
        assert!(ballast.release() && ballast.is_missed, "its use is logged");
        assert!(!ballast.release() && ballast.is_missed, "once");
        ballast.fill();
        assert!(ballast.is_there && !ballast.is_missed, "its return is logged");
    }
}
