//! The right to write the leases in a state folder, which one process has at a time.

use std::fmt::Display;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::store::place::{Change, is_gone};
use crate::store::{FILE_MODE, StoreError};

/// How long to wait for the process that has the lock: it may just be ending, or be a child that has not begun yet.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// The right to write the database in a state folder, held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// What has happened to the file of the lock. Another process could take the right by a new one.
    pub(super) fn change(&self) -> Option<Change> {
        let what = match std::fs::metadata(&self.path) {
            Ok(found) if self.file.metadata().is_ok_and(|own| is_same(&own, &found)) => return None,
            Ok(_) => "was replaced by another file",
            Err(error) if is_gone(&error) => "was deleted or renamed",
            Err(_) => return None,
        };
        Some(Change { what: format!("{} {what}", self.path.display()), may_be_harmless: false })
    }

    /// Takes the right again if the file is another one.
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

/// Does `read` if no process has the right to write; none takes it meanwhile.
pub(super) fn while_stopped<T>(state: &Path, read: impl FnOnce() -> T) -> Option<T> {
    let file = OpenOptions::new().read(true).open(state.join("leases.lock")).ok()?;
    file.try_lock_shared().ok()?;
    Some(read())
}

/// Takes the right to write the database in `state`.
pub(super) fn lock(state: &Path) -> Result<Lock, StoreError> {
    let path = state.join("leases.lock");
    let fail = |error: &dyn Display| {
        StoreError(format!("cannot lock the lease database with {}: {error}", path.display()))
    };
    let mut open = OpenOptions::new();
    // No link is followed: the folder is the server's, and root must not write elsewhere for it.
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
    // Only for that message: a full disk is no reason to stop here.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Lock { file, path })
}

/// Gives a file to whom the folder `state` belongs: a command may make it as root for a server that is not.
pub(super) fn give_to_owner(file: &File, state: &Path) {
    if let Ok(folder) = state.metadata() {
        let _ = fchown(file, Some(folder.uid()), Some(folder.gid()));
    }
}
