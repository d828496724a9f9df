//! Caches short files of the images folder in memory. Every machine requests scripts and configuration, and opening
//! and closing such a file takes longer than sending it. The catalog uses it.
//!
//! Every use asks the file system whether the file has changed. Network file systems (NFS, SMB, FUSE) may return an
//! old answer, so their files are not cached.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use crate::images::folder::Folder;
use crate::images::open_file::OpenFile;
use crate::images::version::{Version, is_local};

/// Maximum size of a cached file in bytes. Up to this size HTTP sends head and body together.
const MAX_FILE: u64 = 16 << 10;
/// Maximum number of cached files. The cache is cleared when it is full. With [`MAX_FILE`] it uses at most 4 MiB.
const MAX_FILES: usize = 256;
/// A short file and its content when it was read.
#[derive(Clone, Debug)]
pub struct CachedFile {
    /// Normalised name relative to the images folder.
    pub name: String,
    pub bytes: Arc<[u8]>,
    version: Version,
}

impl CachedFile {
    /// Inode, and seconds and nanoseconds of the modification time.
    pub fn identity(&self) -> (u64, i64, i64) {
        let (seconds, nanoseconds) = self.version.modified;
        (self.version.inode, seconds, nanoseconds)
    }
}

/// The cached files by name. Cheap to clone; clones share the cache.
#[derive(Clone, Debug, Default)]
pub(super) struct FileCache(Arc<Mutex<HashMap<String, CachedFile>>>);

impl FileCache {
    /// The file `name` of `folder`, if it is cached and has not changed.
    pub(super) fn get(&self, folder: &Folder, name: &str) -> Option<CachedFile> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()?;
        let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        (Version::of_stat(&found) == kept.version).then_some(kept)
    }

    /// Caches `open` if it is short and a later change of it can be detected.
    pub(super) fn cache_if_short(&self, open: &OpenFile) {
        // Files in subfolders are not cached, because a symlink could replace the subfolder unnoticed.
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

fn read(open: &OpenFile) -> Option<CachedFile> {
    let version = Version::of(&open.file.metadata().ok()?);
    if !version.has_settled() || !is_local(&open.file) || version.size != open.size {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(open.size).ok()?];
    open.file.read_exact_at(&mut bytes, 0).ok()?;
    let is_same = Version::of(&open.file.metadata().ok()?) == version;
    is_same.then(|| CachedFile { name: open.name.clone(), bytes: bytes.into(), version })
}
