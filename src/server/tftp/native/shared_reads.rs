//! A cache of files that several transfers send at the same time: when a room is switched on, every machine loads the
//! same loader. Each file is read once and kept as DATA packets. `blocks.rs` uses it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::layout::{READ_AHEAD, laid_out_size, lay_out};
use crate::images::Content;

/// Maximum size of a cached file in bytes, enough for what a machine loads before its kernel. A file smaller than
/// [`READ_AHEAD`] is read in one call anyway.
const MAX_FILE: u64 = 4 << 20;
/// Maximum bytes of all cached files.
const MAX_BYTES: usize = 16 << 20;

/// The cache. A file stays in it while any of its transfers runs.
#[derive(Debug, Default)]
pub struct ReadCache {
    files: Mutex<HashMap<Key, Weak<SharedFile>>>,
    bytes: AtomicUsize,
}

/// Identifies a version of a file, in blocks of one size. A modified file has another key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    block_size: usize,
}

impl Key {
    fn of(file: &File, block_size: usize) -> io::Result<Key> {
        let meta = file.metadata()?;
        Ok(Key {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            block_size,
        })
    }
}

/// One cached file, shared by its transfers.
#[derive(Debug)]
pub struct SharedFile {
    key: Key,
    read_cache: Arc<ReadCache>,
    /// All its DATA packets; `None` if there was no room, or reading failed.
    datagrams: OnceLock<Option<Vec<u8>>>,
}

impl ReadCache {
    /// Returns the cache entry for `content` in blocks of `block_size` bytes. `None` if the content is no file, or if
    /// its size is not worth caching.
    pub fn share(self: &Arc<ReadCache>, content: &Content, block_size: usize) -> Option<Arc<SharedFile>> {
        let Content::File(open) = content else { return None };
        if open.size <= READ_AHEAD as u64 || open.size > MAX_FILE || block_size < 512 {
            return None;
        }
        let key = Key::of(&open.file, block_size).ok().filter(|key| key.size == open.size)?;
        let mut files = self.files();
        if let Some(shared) = files.get(&key).and_then(Weak::upgrade) {
            return Some(shared);
        }
        let shared = Arc::new(SharedFile { key, read_cache: Arc::clone(self), datagrams: OnceLock::new() });
        files.insert(key, Arc::downgrade(&shared));
        Some(shared)
    }

    fn files(&self) -> MutexGuard<'_, HashMap<Key, Weak<SharedFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedFile {
    /// Returns all DATA packets of the file, reading them from `content` if necessary. `None` if only one transfer uses
    /// the file, or if there is no room.
    pub fn datagrams(self: &Arc<SharedFile>, content: &Content) -> Option<&[u8]> {
        if let Some(read) = self.datagrams.get() {
            return read.as_deref();
        }
        if Arc::strong_count(self) < 2 {
            return None;
        }
        self.datagrams.get_or_init(|| self.read(content)).as_deref()
    }

    fn read(&self, content: &Content) -> Option<Vec<u8>> {
        let Content::File(open) = content else { return None };
        let size = laid_out_size(content.size(), self.key.block_size)?;
        let room = |used: usize| used.checked_add(size).filter(|used| *used <= MAX_BYTES);
        self.read_cache.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        let mut datagrams = vec![0; size];
        let read = lay_out(content, 1, self.key.block_size, &mut datagrams);
        let same = Key::of(&open.file, self.key.block_size).is_ok_and(|key| key == self.key);
        if read.is_err() || !same {
            self.read_cache.bytes.fetch_sub(size, Ordering::Relaxed);
            return None;
        }
        Some(datagrams)
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        if let Some(Some(datagrams)) = self.datagrams.get() {
            self.read_cache.bytes.fetch_sub(datagrams.len(), Ordering::Relaxed);
        }
        let mut files = self.read_cache.files();
        // A newer entry may have replaced this one.
        if files.get(&self.key).is_some_and(|shared| shared.strong_count() == 0) {
            files.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::name::BootName;
    use crate::images::Catalog;
    use std::fs;

    struct Bench {
        folder: tempfile::TempDir,
        read_cache: Arc<ReadCache>,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { folder: tempfile::tempdir().unwrap(), read_cache: Arc::default() }
        }

        fn write(&self, name: &str, byte: u8, size: usize) -> Content {
            fs::write(self.folder.path().join("new"), vec![byte; size]).unwrap();
            fs::rename(self.folder.path().join("new"), self.folder.path().join(name)).unwrap();
            self.open(name)
        }

        fn open(&self, name: &str) -> Content {
            let name = BootName::parse(name.as_bytes()).unwrap();
            Content::File(Catalog::open(self.folder.path()).unwrap().open_file(&name).unwrap())
        }

        /// The number of cached files, and their bytes.
        fn kept(&self) -> (usize, usize) {
            (self.read_cache.files().len(), self.read_cache.bytes.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_file_is_cached_while_transfers_share_it() {
        let bench = Bench::new();
        let content = bench.write("x", 7, 100_000);
        let one = bench.read_cache.share(&content, 1000).unwrap();
        assert_eq!(one.datagrams(&content), None, "no other transfer shares it");
        let two = bench.read_cache.share(&bench.open("x"), 1000).unwrap();
        let size = 100_000 + 101 * 4;
        assert_eq!(one.datagrams(&content).map(<[u8]>::len), Some(size));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(bench.kept(), (1, size));
        drop(one);
        assert_eq!(two.datagrams(&content).unwrap()[..6], [0, 3, 0, 1, 7, 7]);
        drop(two);
        assert_eq!(bench.kept(), (0, 0));
    }

    #[test]
    fn a_changed_file_has_another_entry() {
        let bench = Bench::new();
        let old = bench.write("x", 1, 50_000);
        let olds = [bench.read_cache.share(&old, 512).unwrap(), bench.read_cache.share(&old, 512).unwrap()];
        assert_eq!(olds[0].datagrams(&old).unwrap()[4], 1);
        let new = bench.write("x", 2, 50_000);
        let news = [bench.read_cache.share(&new, 512).unwrap(), bench.read_cache.share(&new, 512).unwrap()];
        assert_eq!(olds[1].datagrams(&old).unwrap()[4], 1, "these continue with the old file");
        assert_eq!(news[0].datagrams(&new).unwrap()[4], 2);
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(bench.folder.path().join("x"), vec![3; 50_000]).unwrap();
        let third = bench.open("x");
        let thirds =
            [bench.read_cache.share(&third, 512).unwrap(), bench.read_cache.share(&third, 512).unwrap()];
        assert_eq!(thirds[0].datagrams(&third).unwrap()[4], 3);
        assert_eq!(news[1].datagrams(&new).unwrap()[4], 2, "it was read before");
        let fourth = bench.write("y", 4, 50_000);
        let fourths =
            [bench.read_cache.share(&fourth, 512).unwrap(), bench.read_cache.share(&fourth, 512).unwrap()];
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(bench.folder.path().join("y"), vec![5; 50_000]).unwrap();
        assert_eq!(fourths[0].datagrams(&fourth), None, "changed since it was requested");
    }

    #[test]
    fn the_cache_is_bounded() {
        let bench = Bench::new();
        let mut held = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            let content = bench.write(name, 0, 4 << 20);
            held.extend((0..2).map(|_| bench.read_cache.share(&content, 1468).unwrap()));
            let _ = held.last().unwrap().datagrams(&content);
        }
        let (files, bytes) = bench.kept();
        assert!(files == 5 && bytes <= MAX_BYTES && bytes > MAX_BYTES / 2, "{files} {bytes}");
        assert!(bench.read_cache.share(&bench.write("f", 0, (4 << 20) + 1), 1468).is_none(), "too large");
        assert!(bench.read_cache.share(&bench.write("g", 0, READ_AHEAD), 1468).is_none(), "not worth it");
        drop(held);
        assert_eq!(bench.kept(), (0, 0));
    }
}
