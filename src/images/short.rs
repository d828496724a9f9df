//! Short files of boot-images/, kept in memory: scripts and configuration are asked for by every machine, and to open and
//! close such a file takes longer than to send it. Used by the catalog.
//!
//! Each time the file system is asked whether the file is still the version that was read. On file systems of other
//! computers (NFS, SMB, FUSE) that answer may be old, so nothing of theirs is kept.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use crate::images::catalog::OpenFile;
use crate::images::folder::Folder;
use crate::images::version::{Version, is_local};

/// Bytes of a file that is kept, at most: the length up to which HTTP sends head and body as one.
const MAX_FILE: u64 = 16 << 10;
/// Files that are kept; beyond that all are forgotten. With [`MAX_FILE`] that is 4 MiB.
const MAX_FILES: usize = 256;
/// A short file, as it was when it was read.
#[derive(Clone, Debug)]
pub struct ShortFile {
    /// Its clean name beneath boot-images/.
    pub name: String,
    /// All of it.
    pub bytes: Arc<[u8]>,
    version: Version,
}

impl ShortFile {
    /// Its inode, and the seconds and nanoseconds at which it was modified.
    pub fn identity(&self) -> (u64, i64, i64) {
        let (seconds, nanoseconds) = self.version.modified;
        (self.version.inode, seconds, nanoseconds)
    }
}

/// The files that are kept, by name. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct ShortFiles(Arc<Mutex<HashMap<String, ShortFile>>>);

impl ShortFiles {
    /// The file `name` of `folder`, if it is kept and has not changed since.
    pub(super) fn get(&self, folder: &Folder, name: &str) -> Option<ShortFile> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()?;
        let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        (Version::of_stat(&found) == kept.version).then_some(kept)
    }

    /// Keeps `open` for the next client, if it is short and a change of it would be seen.
    pub(super) fn keep(&self, open: &OpenFile) {
        // In a folder below, a symlink could take the folder's place unseen.
        if open.size > MAX_FILE || open.name.contains('/') {
            return;
        }
        let Some(kept) = read(open) else { return };
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= MAX_FILES {
            files.clear();
        }
        files.insert(kept.name.clone(), kept);
    }
}

fn read(open: &OpenFile) -> Option<ShortFile> {
    let version = Version::of(&open.file.metadata().ok()?);
    if !version.has_settled() || !is_local(&open.file) || version.size != open.size {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(open.size).ok()?];
    open.file.read_exact_at(&mut bytes, 0).ok()?;
    let is_same = Version::of(&open.file.metadata().ok()?) == version;
    is_same.then(|| ShortFile { name: open.name.clone(), bytes: bytes.into(), version })
}
