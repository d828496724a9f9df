//! Writes files into the images folder so that clients see each file complete or not at all, even if the process is
//! killed: under a temporary name first, then synced and renamed. As in the catalog, the kernel confines every lookup
//! to the folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, fsync, unlinkat};
use sha2::{Digest, Sha256};

use crate::boot::name::BootName;
use crate::images::folder::{Folder, LIST};
use crate::images::temporary::{ADD_PREFIX, is_temporary};
use crate::types::to_hex;

/// Maximum number of entries that are checked for files of a killed run.
const MAX_ENTRIES: usize = 100_000;
/// Number of bytes per read.
const CHUNK: usize = 64 * 1024;

/// The images folder, locked by this process while this value lives.
#[derive(Debug)]
pub struct Staging {
    root: Folder,
    path: PathBuf,
    next: u32,
    _lock: Flock<File>,
}

/// A file without a final name. It is deleted if it is dropped without [`Staging::publish`].
#[derive(Debug)]
pub struct Draft {
    file: File,
    root: Folder,
    /// Temporary name; empty after the file was published.
    temporary: String,
    digest: Sha256,
    size: u64,
}

/// The open folder in which a draft will get its final name.
#[derive(Debug)]
pub struct TargetFolder(OwnedFd);

impl Staging {
    /// Opens and locks the folder `root`, creates it if it does not exist, and removes files of a killed run.
    ///
    /// # Errors
    /// The folder cannot be created or written, or another process has locked it.
    pub fn open(root: &Path) -> Result<Staging, String> {
        match fs::create_dir(root) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(cannot_write(root, &error));
            }
            _ => {}
        }
        let folder = Folder::open(root, "the folder of boot files").map_err(|error| error.to_string())?;
        let listed = folder.look_up(".", LIST).map_err(|errno| cannot_write(root, &errno.into()))?;
        let lock = Flock::lock(File::from(listed), FlockArg::LockExclusiveNonblock).map_err(
            |(_, errno)| match errno {
                Errno::EWOULDBLOCK => {
                    format!(
                        "another `lanboot images add` is at work in {}: wait for it to end",
                        root.display()
                    )
                }
                _ => cannot_write(root, &errno.into()),
            },
        )?;
        let is_draft = |name: &[u8]| is_temporary(name, ADD_PREFIX);
        for name in folder.entries(".", &mut { MAX_ENTRIES }, is_draft).unwrap_or_default() {
            // A file that cannot be removed does no harm.
            let _ = unlinkat(&folder, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        let mut staging = Staging { root: folder, path: root.to_owned(), next: 0, _lock: lock };
        // Reports a folder that is not writable now, before anything is downloaded.
        drop(staging.draft()?);
        Ok(staging)
    }

    /// Creates a draft that everybody can read, because the server runs as another user.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn draft(&mut self) -> Result<Draft, String> {
        self.next = self.next.wrapping_add(1);
        let temporary = format!("{ADD_PREFIX}{}-{}", std::process::id(), self.next);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let made = openat(&self.root, temporary.as_str(), flags, mode);
        let file = File::from(made.map_err(|errno| cannot_write(&self.path, &errno.into()))?);
        let draft = Draft { file, root: self.root.clone(), temporary, digest: Sha256::new(), size: 0 };
        fchmod(&draft.file, mode).map_err(|errno| cannot_write(&self.path, &errno.into()))?;
        Ok(draft)
    }

    /// Syncs the draft and gives it its final name, replacing a file with that name. Missing folders are created.
    ///
    /// # Errors
    /// The disk fails, a folder has that name, or a symlink leads out of the images folder.
    pub fn publish(&self, draft: Draft, name: &BootName) -> Result<(), String> {
        let folder = self.prepare(&draft, name)?;
        self.publish_at(&folder, draft, name)
    }

    /// Does every part of publishing that is likely to fail, but leaves the name: it syncs the draft, and checks that
    /// its folder exists, is writable, and is on the same file system.
    ///
    /// # Errors
    /// Those of [`Staging::publish`].
    pub fn prepare(&self, draft: &Draft, name: &BootName) -> Result<TargetFolder, String> {
        let open = || {
            draft.file.sync_all()?;
            let (folder, _) = split(name);
            let folder = self.make_folder(folder)?;
            faccessat(&folder, ".", AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::empty())?;
            // Compare folders, because a union mount reports the device of the underlying layer for files.
            if fstat(&folder)?.st_dev != fstat(&self.root)?.st_dev {
                return Err(Errno::EXDEV.into());
            }
            Ok(TargetFolder(folder))
        };
        open().map_err(|error| self.cannot_publish(name, &error))
    }

    /// Gives the draft its final name in the folder that [`Staging::prepare`] opened.
    ///
    /// # Errors
    /// Those of [`Staging::publish`].
    pub fn publish_at(&self, folder: &TargetFolder, mut draft: Draft, name: &BootName) -> Result<(), String> {
        let (_, last) = split(name);
        renameat(&self.root, draft.temporary.as_str(), &folder.0, last)
            .map_err(|errno| self.cannot_publish(name, &errno.into()))?;
        draft.temporary.clear();
        fsync(&folder.0).map_err(|errno| self.cannot_publish(name, &errno.into()))
    }

    fn cannot_publish(&self, name: &BootName, error: &io::Error) -> String {
        format!("cannot write {}: {error}", self.path.join(name.as_str()).display())
    }

    /// Opens the folder `path`, and creates missing parts.
    fn make_folder(&self, path: &str) -> io::Result<OwnedFd> {
        let mut folder = self.root.look_up(".", LIST)?;
        let mut so_far = String::new();
        for part in path.split('/').filter(|part| *part != ".") {
            match mkdirat(&folder, part, Mode::from_bits_truncate(0o755)) {
                Ok(()) => fsync(&folder)?,
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            so_far = if so_far.is_empty() { part.to_owned() } else { format!("{so_far}/{part}") };
            folder = self.root.look_up(&so_far, LIST)?;
        }
        Ok(folder)
    }
}

/// The folder part and the last component of a name.
fn split(name: &BootName) -> (&str, &str) {
    name.as_str().rsplit_once('/').unwrap_or((".", name.as_str()))
}

impl Draft {
    /// SHA-256 of the bytes written so far, in hexadecimal, and their number.
    pub fn digest(&self) -> (String, u64) {
        (to_hex(&self.digest.clone().finalize()), self.size)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        let (taken, _) = bytes.split_at_checked(written).unwrap_or((bytes, &[]));
        self.digest.update(taken);
        self.size = self.size.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.temporary.is_empty() {
            // A file that cannot be removed is left for the next run.
            let _ = unlinkat(&self.root, self.temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// SHA-256 of the rest of `file`, in hexadecimal.
///
/// # Errors
/// The file cannot be read.
pub fn sha256(mut file: impl Read) -> io::Result<String> {
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(to_hex(&digest.finalize())),
            read => digest.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

fn cannot_write(root: &Path, error: &io::Error) -> String {
    let who = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
    let what = match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("; give it to {}, or use sudo", who.as_deref().unwrap_or("this user"))
        }
        ErrorKind::NotFound => {
            "; make the folder that it is to be in, or correct `images` in config.yaml".to_owned()
        }
        _ => String::new(),
    };
    format!("cannot write to the folder of boot files {}: {error}{what}", root.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn name(text: &str) -> BootName {
        BootName::parse(text.as_bytes()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_gets_its_name_once_it_is_complete() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("images");
        let mut staging = Staging::open(&root).unwrap();
        fs::write(root.join("x"), "old").unwrap();
        for path in ["x", "a/b/y"] {
            let mut draft = staging.draft().unwrap();
            draft.write_all(b"abc").unwrap();
            assert!(fs::read(root.join(path)).is_ok_and(|old| old == b"old") || !root.join(path).exists());
            let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
            assert_eq!(draft.digest(), (sum.to_owned(), 3));
            staging.publish(draft, &name(path)).unwrap();
            assert_eq!(fs::read(root.join(path)).unwrap(), b"abc");
            assert_eq!(root.join(path).metadata().unwrap().permissions().mode() & 0o777, 0o644);
        }
        let mut draft = staging.draft().unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(names(&root), ["a", "x"]);
    }

    #[test]
    fn leftovers_are_removed_and_runs_exclude_each_other() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join(".lanboot-add-1-1"), "half").unwrap();
        let first = Staging::open(base.path()).unwrap();
        assert!(names(base.path()).is_empty());
        let second = Staging::open(base.path()).unwrap_err();
        assert!(second.starts_with("another `lanboot images add` is at work"), "{second}");
        drop(first);
        Staging::open(base.path()).unwrap();
    }

    #[test]
    fn nothing_is_written_outside() {
        let base = tempfile::tempdir().unwrap();
        let (root, outside) = (base.path().join("images"), base.path().join("outside"));
        let mut staging = Staging::open(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("z"), "not mine").unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("../outside/z", root.join("z")).unwrap();
        let draft = staging.draft().unwrap();
        let error = staging.publish(draft, &name("out/y")).unwrap_err();
        assert!(error.contains("cannot write") && error.contains("out/y"), "{error}");
        let draft = staging.draft().unwrap();
        staging.publish(draft, &name("z")).unwrap();
        assert_eq!(
            fs::read(outside.join("z")).unwrap(),
            b"not mine",
            "the link is replaced, not what it leads to"
        );
        fs::create_dir(root.join("folder")).unwrap();
        let draft = staging.draft().unwrap();
        assert!(staging.publish(draft, &name("folder")).is_err());
        assert_eq!(names(&outside), ["z"]);
        assert_eq!(names(&root), ["folder", "out", "z"]);
    }

    #[test]
    fn an_unwritable_folder_is_reported_before_downloads() {
        let error = Staging::open(Path::new("/nonexistent/x")).unwrap_err();
        assert!(error.contains("/nonexistent/x") && error.contains("`images`"), "{error}");
        let error = Staging::open(Path::new("/proc")).unwrap_err();
        assert!(error.starts_with("cannot write to the folder of boot files /proc"), "{error}");
    }
}
