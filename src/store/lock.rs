//! The lock file `leases.lock`: only the process that holds the lock may write the leases in a state folder.

use std::fmt::Display;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::store::files::FILE_MODE;
use crate::store::lease_store::StoreError;
use crate::store::place::{Change, is_gone};

/// Maximum time to wait for the lock. Its holder may be about to exit, or a child process that has not started its
/// program yet.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// The right to write the database in a state folder. It is held until this value is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Reports whether the lock file was replaced or deleted. If so, another process could lock a new file.
    pub(super) fn change(&self) -> Option<Change> {
        let what = match std::fs::metadata(&self.path) {
            Ok(found) if self.file.metadata().is_ok_and(|own| is_same(&own, &found)) => return None,
            Ok(_) => "was replaced by another file",
            Err(error) if is_gone(&error) => "was deleted or renamed",
            Err(_) => return None,
        };
        Some(Change { what: format!("{} {what}", self.path.display()), may_be_harmless: false })
    }

    /// Locks again if the file was replaced.
    pub(super) fn renew(&mut self, state: &Path) -> Result<(), StoreError> {
        if self.change().is_some() {
            *self = lock(state)?;
        }
        Ok(())
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Calls `read` if no process holds the lock, and prevents others from taking it meanwhile. Otherwise returns `None`.
pub(super) fn while_stopped<T>(state: &Path, read: impl FnOnce() -> T) -> Option<T> {
    let file = OpenOptions::new().read(true).open(state.join("leases.lock")).ok()?;
    file.try_lock_shared().ok()?;
    Some(read())
}

/// The process that holds the lock of the folder `state`; `None` if there is none, or if this user may not know.
pub fn holder_of_lock(state: &Path) -> Option<u32> {
    let mut file = File::open(state.join("leases.lock")).ok()?;
    if file.try_lock_shared().is_ok() {
        return None;
    }
    let mut holder = String::new();
    Read::by_ref(&mut file).take(20).read_to_string(&mut holder).ok()?;
    holder.trim().parse().ok()
}

/// Takes the lock for the database in `state`.
pub(super) fn lock(state: &Path) -> Result<Lock, StoreError> {
    let path = state.join("leases.lock");
    let fail = |error: &dyn Display| {
        StoreError(format!("cannot lock the lease database with {}: {error}", path.display()))
    };
    let mut open = OpenOptions::new();
    // Symlinks are not followed: the folder belongs to the server's user, and root must not be led to another file.
    open.read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(OFlag::O_NOFOLLOW.bits());
    let mut file = open.open(&path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            fail(&format!("{error}; only root and the user that {} belongs to may", state.display()))
        }
        _ => fail(&error),
    })?;
    give_to_owner(&file, state);
    let began = Instant::now();
    let mut locked = file.try_lock();
    while matches!(locked, Err(TryLockError::WouldBlock)) && began.elapsed() < LOCK_WAIT {
        std::thread::sleep(Duration::from_millis(10));
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(20).read_to_string(&mut holder);
            let holder =
                holder.trim().parse::<u32>().map_or(String::new(), |pid| format!(" (process {pid})"));
            return Err(StoreError(format!(
                "another lanboot{holder} is using the leases in {}: stop it first",
                state.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(fail(&error)),
    }
    // The PID is only used in the error message above, so a full disk does not matter here.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Lock { file, path })
}

/// Makes the owner of the folder `state` the owner of `file`. A command may create the file as root for a server that
/// runs as another user.
pub fn give_to_owner(file: &File, state: &Path) {
    if let Ok(folder) = state.metadata() {
        let _ = fchown(file, Some(folder.uid()), Some(folder.gid()));
    }
}
