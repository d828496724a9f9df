//! A folder that lookups cannot leave. The kernel confines every lookup to it (`openat2` with `RESOLVE_BENEATH`), so
//! neither a symlink nor a rename at the wrong moment can lead outside. The catalog, uploads and `images add` use it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fstatat};

use crate::event::Refusal;
use crate::types::Escaped;

/// Flags to open a folder for lookups and for reading its entries.
pub(super) const LIST: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// An open folder. Renaming or replacing it does not change which folder this is. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<OwnedFd>);

impl Folder {
    /// Opens the folder `root`, which may be a symlink. `what` describes it in messages.
    ///
    /// # Errors
    /// The folder does not exist, or the kernel has no `openat2` (before Linux 5.6). There is no fallback that checks
    /// names in user space, because a concurrent rename could defeat it.
    pub(super) fn open(root: &Path, what: &str) -> io::Result<Folder> {
        let shown = Escaped(root.as_os_str().as_bytes());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(root, flags, Mode::empty()).map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("cannot open {what} {shown}: {error}"))
        })?;
        openat2(&root, ".", how(flags)).map_err(|errno| cannot_confine(what, &shown, errno))?;
        Ok(Folder(Arc::new(root)))
    }

    /// Opens `path` in this folder; `.` is the folder itself. Symlinks are followed if they stay inside.
    pub(super) fn look_up(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        const TRIES: usize = 8;
        let mut outcome = Err(Errno::EAGAIN);
        for _ in 0..TRIES {
            outcome = openat2(&self.0, path, how(flags));
            // The kernel returns EAGAIN if something was renamed while it followed a `..` in a symlink.
            if !matches!(outcome, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
        }
        outcome
    }

    /// Opens `path` in this folder without following symlinks. ELOOP means that the path contains one.
    pub(super) fn look_up_exactly(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        let how = how(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        loop {
            match openat2(&self.0, path, how) {
                Err(Errno::EINTR) => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether `path` exists in this folder. Symlinks are not followed.
    pub(super) fn has(&self, path: &str) -> bool {
        let found = fstatat(&self.0, path, AtFlags::AT_SYMLINK_NOFOLLOW);
        !matches!(found, Err(Errno::ENOENT | Errno::ENOTDIR))
    }

    /// Names of the entries of `path` that are `wanted` and valid UTF-8. Every entry read reduces `budget` by one.
    /// When the budget is used up, the call fails.
    pub(super) fn entries(
        &self,
        path: &str,
        budget: &mut usize,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> nix::Result<Vec<String>> {
        let mut dir = Dir::from_fd(self.look_up(path, LIST)?)?;
        let mut found = Vec::new();
        for entry in dir.iter() {
            *budget = budget.checked_sub(1).ok_or(Errno::E2BIG)?;
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if wanted(name) {
                found.extend(std::str::from_utf8(name).map(str::to_owned));
            }
        }
        Ok(found)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Confines the lookup to the folder, and excludes /proc's magic links.
fn how(flags: OFlag) -> OpenHow {
    OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

fn cannot_confine(what: &str, shown: &Escaped<'_>, errno: Errno) -> io::Error {
    // Old container runtimes answer EPERM to system calls that their filter does not know.
    let text = match errno {
        Errno::ENOSYS | Errno::EPERM => format!(
            "cannot confine clients to {what} {shown}: the system call openat2 is not available ({errno}); Linux 5.6 \
             or newer is needed, and in a container a seccomp filter that allows it"
        ),
        _ => format!("cannot look into {what} {shown}: {errno}"),
    };
    io::Error::new(io::Error::from(errno).kind(), text)
}

/// The reason to refuse a file whose lookup failed with `errno`.
pub(super) fn refusal(errno: Errno) -> Refusal {
    match errno {
        // ENXIO means a socket, or a device without a driver.
        Errno::ENOENT | Errno::ENOTDIR | Errno::ENXIO | Errno::ENODEV | Errno::EISDIR => Refusal::NotFound,
        // `openat2` returns EXDEV for a path that leads outside the folder. ELOOP is a circle or a magic link.
        Errno::EXDEV | Errno::ELOOP | Errno::ENAMETOOLONG | Errno::EINVAL => Refusal::BadName,
        Errno::EACCES | Errno::EPERM => Refusal::AccessDenied,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN => Refusal::Busy,
        _ => Refusal::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_used_says_why() {
        let base = tempfile::tempdir().unwrap();
        let missing = Folder::open(&base.path().join("none"), "the folder").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().contains("/none"), "{missing}");
        std::fs::write(base.path().join("file"), "").unwrap();
        assert!(Folder::open(&base.path().join("file"), "the folder").is_err(), "a file");
        let old = cannot_confine("the folder", &Escaped(b"/srv"), Errno::ENOSYS).to_string();
        assert!(old.contains("the folder /srv") && old.contains("Linux 5.6"), "{old}");
    }

    #[test]
    fn a_failing_disk_is_not_a_missing_file() {
        assert_eq!(refusal(Errno::EIO), Refusal::Io);
        assert_eq!(refusal(Errno::ESTALE), Refusal::Io);
        assert_eq!(refusal(Errno::EMFILE), Refusal::Busy);
        assert_eq!(refusal(Errno::EACCES), Refusal::AccessDenied);
    }
}
