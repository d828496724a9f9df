//! Room on the disk that is taken before it is needed: all of the write-ahead log, and a ballast to throw off when the
//! disk is full.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::store::FILE_MODE;
use crate::store::lock::give_to_owner;

/// Bytes of the ballast: room for the leases of some thousand clients.
const BALLAST: u64 = 1 << 20;
/// How long after the ballast was thrown off, or could not be made, it is made anew.
const BALLAST_PAUSE: Duration = Duration::from_secs(5);

/// The file `leases.ballast`, which has no other use than that it can be deleted.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    is_there: bool,
    changed: Instant,
}

impl Ballast {
    /// Makes it in the folder `state`; without it if that cannot be.
    pub(super) fn make(state: &Path) -> Ballast {
        let mut ballast =
            Ballast { path: state.join("leases.ballast"), is_there: false, changed: Instant::now() };
        ballast.fill();
        ballast
    }

    /// Gives its room to others. Whether there was any.
    pub(super) fn throw_off(&mut self) -> bool {
        let had_room = std::mem::take(&mut self.is_there) && fs::remove_file(&self.path).is_ok();
        self.changed = Instant::now();
        had_room
    }

    /// Makes it again, some time after it was thrown off.
    pub(super) fn restore(&mut self) {
        if !self.is_there && self.changed.elapsed() >= BALLAST_PAUSE {
            self.fill();
        }
    }

    /// All of it or nothing.
    fn fill(&mut self) {
        self.is_there = fill(&self.path, BALLAST).is_ok();
        if !self.is_there {
            let _ = fs::remove_file(&self.path);
        }
        self.changed = Instant::now();
    }
}

/// Makes the file of the log of `database` as long as it gets: `length` bytes.
///
/// To sync a file that grows, the file system must also commit its own journal, which takes up to some milliseconds;
/// to sync blocks that were written before takes a tenth of one. So the log is filled with zeros once and then only
/// overwritten from its beginning: SQLite keeps its length, and takes what is no frame of this turn for its end.
pub(super) fn fill_log(database: &Path, length: u64) -> io::Result<()> {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    fill(Path::new(&path), length)
}

/// Appends zeros to a file up to `length` bytes, and makes it if need be. They are written: zeros that a file system
/// only promises would cost as much later as growing. If that fails, as on a full disk, the file is as it was.
fn fill(path: &Path, length: u64) -> io::Result<()> {
    let mut open = OpenOptions::new();
    // No link is followed: the folder is the server's, and root must not write elsewhere for it.
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
