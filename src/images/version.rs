//! Distinguishes the versions of a file by its metadata. The caches of file contents use it: `ipxe.rs`, `short.rs`,
//! and the check for machine folders.

use std::fs::Metadata;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::FileStat;
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
    XFS_SUPER_MAGIC, fstatfs,
};

/// Minimum age of a change before a version is trusted. A file that changed more recently may change again with the
/// same time stamp, because file systems count time in steps of up to 2 s (FAT; ext4 and XFS 4 ms).
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// Local file systems, whose time stamps show every change.
const LOCAL: [FsType; 6] = [
    BTRFS_SUPER_MAGIC,
    EXT4_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    XFS_SUPER_MAGIC,
];

/// Whether an open file or folder is on a local file system. Network file systems (NFS, SMB, FUSE) may show an old
/// state, and some others (FAT) do not show every change.
pub(super) fn is_local(open: impl AsFd) -> bool {
    fstatfs(open).is_ok_and(|found| LOCAL.contains(&found.filesystem_type()))
}

/// One version of one file. A replaced file has another inode, and a rewritten file another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

impl Version {
    pub(super) fn of(meta: &Metadata) -> Version {
        Version {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    pub(super) fn of_stat(found: &FileStat) -> Version {
        Version {
            device: found.st_dev,
            inode: found.st_ino,
            size: u64::try_from(found.st_size).unwrap_or(0),
            modified: (found.st_mtime, found.st_mtime_nsec),
            changed: (found.st_ctime, found.st_ctime_nsec),
        }
    }

    /// Whether any later change is certain to change the time stamps.
    pub(super) fn has_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let latest = self.changed.0.max(self.modified.0);
        u64::try_from(latest).is_ok_and(|latest| latest + SETTLE_TIME.as_secs() < now.as_secs())
    }
}
