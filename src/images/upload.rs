//! Stores files that clients upload by TFTP. A file appears under its name once it is complete and on stable storage.
//! Existing files are never replaced. As in the catalog, the kernel confines every lookup to the folder.

use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};

use crate::boot::name::BootName;
use crate::event::{Refusal, Reports};
use crate::images::folder::{Folder, LIST, refusal};
use crate::images::resolve::has_hidden_component;
use crate::images::temporary::{UPLOAD_PREFIX, is_temporary};
use crate::images::upload_limits::{Reservation, UploadCounter, UploadLimits};
use crate::types::Escaped;

/// The folder of uploaded images, in the state folder.
pub const UPLOADED: &str = "images";
/// Suffix of template names (`content/templates`). Clients may not upload templates.
const TEMPLATE_SUFFIX: &str = ".j2";
/// Minimum age of an incomplete upload before it is removed, because another lanboot may still be writing it.
const MIN_LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// Maximum number of entries that are checked for incomplete uploads.
const MAX_ENTRIES: usize = 100_000;

/// The open upload folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UploadFolder {
    root: Folder,
    counter: UploadCounter,
    /// Next number for temporary names.
    next: Arc<AtomicU64>,
}

/// A file that is being uploaded and not visible yet. It is deleted if it is dropped without [`UploadFile::publish`].
#[derive(Debug)]
pub struct UploadFile {
    file: File,
    temporary: TemporaryName,
    /// The folder that will contain the file.
    parent: OwnedFd,
    /// Name in that folder.
    last: String,
    /// Name relative to the upload folder.
    name: String,
    /// Whether it replaces a file of that name.
    replaces: bool,
    reservation: Reservation,
}

/// The temporary name of an incomplete file. It is removed when dropped.
#[derive(Debug)]
struct TemporaryName {
    root: Folder,
    name: String,
}

impl UploadFolder {
    /// The facts about the folder, such as that it is full.
    pub fn reports(&self) -> &Reports {
        self.counter.reports()
    }

    /// Opens the upload folder `root` with the `limits`, and removes incomplete files of earlier
    /// processes.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written, or the kernel has no `openat2` (before Linux 5.6).
    pub fn open(root: &Path, limits: UploadLimits) -> io::Result<UploadFolder> {
        let shown = Escaped(root.as_os_str().as_bytes());
        let folder = Folder::open(root, "the folder for uploads")?;
        let counter = UploadCounter::open(root, limits);
        let folder = UploadFolder { root: folder, counter, next: Arc::default() };
        let name = folder.temporary_name();
        let made = folder.make(&name).and_then(|_| unlinkat(&folder.root, name.as_str(), FILE));
        made.map_err(|errno| {
            let error = io::Error::from(errno);
            let why = format!(
                "cannot write to the folder for uploads {shown}: {error}; give it to the user of lanboot"
            );
            io::Error::new(error.kind(), why)
        })?;
        folder.remove_leftovers();
        Ok(folder)
    }

    /// Creates the file `name` for an upload of `client`. The folder in `name` must exist.
    ///
    /// # Errors
    /// [`Refusal::UploadsFull`] if a limit is reached, [`Refusal::Exists`] if the name is in use,
    /// [`Refusal::NotFound`] if the folder does not exist. Otherwise those of [`super::Catalog::open_file`].
    pub fn create(&self, name: &BootName, client: IpAddr) -> Result<UploadFile, Refusal> {
        self.begin(name, client, false)
    }

    /// Like [`UploadFolder::create`], but the file may replace another one of that name, when it is complete.
    ///
    /// # Errors
    /// Those of [`UploadFolder::create`]; [`Refusal::Exists`] for anything but a file.
    pub fn create_or_replace(&self, name: &BootName, client: IpAddr) -> Result<UploadFile, Refusal> {
        self.begin(name, client, true)
    }

    fn begin(&self, name: &BootName, client: IpAddr, replaces: bool) -> Result<UploadFile, Refusal> {
        let (folder, last) = name.as_str().rsplit_once('/').unwrap_or((".", name.as_str()));
        // Names that begin with a dot belong to incomplete files and to other programs. Clients must not upload
        // templates, because the upload folder may lie in the images folder.
        if has_hidden_component(name.as_str().as_bytes())
            || last.to_ascii_lowercase().ends_with(TEMPLATE_SUFFIX)
        {
            return Err(Refusal::BadName);
        }
        let parent = self.root.look_up(folder, LIST);
        let parent = parent.map_err(refusal)?;
        // Existing entries are not replaced, not even a dangling symlink. `publish` checks this again.
        match stat(&parent, last) {
            Ok(stat) if replaces && stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits() => {}
            Ok(_) => return Err(Refusal::Exists),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(refusal(errno)),
        }
        let reservation = self.counter.begin(client).ok_or(Refusal::UploadsFull)?;
        let temporary = self.temporary_name();
        let file = File::from(self.make(&temporary).map_err(write_refusal)?);
        let temporary = TemporaryName { root: self.root.clone(), name: temporary };
        let (last, name) = (last.to_owned(), name.as_str().to_owned());
        Ok(UploadFile { file, temporary, parent, last, name, replaces, reservation })
    }

    /// A name that no other upload of any process uses.
    fn temporary_name(&self) -> String {
        format!("{UPLOAD_PREFIX}{}-{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn make(&self, temporary: &str) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.root, temporary, flags, Mode::from_bits_truncate(0o644))
    }

    fn remove_leftovers(&self) {
        let now = SystemTime::now();
        let is_upload = |name: &[u8]| is_temporary(name, UPLOAD_PREFIX);
        for name in self.root.entries(".", &mut { MAX_ENTRIES }, is_upload).unwrap_or_default() {
            let age = stat(&self.root, &name).ok().and_then(|stat| {
                let changed = Duration::from_secs(u64::try_from(stat.st_mtime).ok()?);
                now.duration_since(SystemTime::UNIX_EPOCH + changed).ok()
            });
            if age.is_some_and(|age| age > MIN_LEFTOVER_AGE) {
                // A file that cannot be removed does no harm.
                let _ = unlinkat(&self.root, name.as_str(), FILE);
            }
        }
    }
}

impl UploadFile {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Refusal::UploadsFull`], [`Refusal::DiskFull`], or another error of the disk.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if !self.reservation.add(bytes.len()) {
            return Err(Refusal::UploadsFull);
        }
        self.file.write_all(bytes).map_err(|error| write_refusal(errno_of(&error)))
    }

    /// Syncs the file and gives it its final name, so that the file is complete whenever it is visible.
    ///
    /// # Errors
    /// [`Refusal::Exists`] if the name was taken in the meantime, or an error of the disk.
    pub fn publish(self) -> Result<(), Refusal> {
        self.file.sync_all().map_err(|error| write_refusal(errno_of(&error)))?;
        let UploadFile { file: _file, temporary, parent, last, name, replaces, reservation } = self;
        let (root, from) = (&temporary.root, temporary.name.as_str());
        // A hard link never replaces an existing entry on any file system; a rename does.
        let done = match replaces {
            true => renameat(root, from, &parent, last.as_str()),
            false => linkat(root, from, &parent, last.as_str(), AtFlags::empty()),
        };
        done.map_err(write_refusal)?;
        reservation.keep(&name);
        fsync(&parent).map_err(write_refusal)
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        // The temporary name is not needed any more, published or not. If it cannot be removed, the next start
        // removes it.
        let _ = unlinkat(&self.root, self.name.as_str(), FILE);
    }
}

const FILE: UnlinkatFlags = UnlinkatFlags::NoRemoveDir;

fn stat(folder: impl AsFd, name: &str) -> nix::Result<FileStat> {
    fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// The reason to refuse a file that could not be written.
fn write_refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::EEXIST => Refusal::Exists,
        Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => Refusal::DiskFull,
        Errno::EROFS => Refusal::AccessDenied,
        other => refusal(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::Ipv4Addr;
    use std::os::unix::fs::symlink;

    fn open(root: &Path) -> io::Result<UploadFolder> {
        UploadFolder::open(root, UploadLimits { bytes: 1000, files: 10, bytes_of_one_file: 1000 })
    }

    fn folder() -> (tempfile::TempDir, UploadFolder) {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("root/sub")).unwrap();
        fs::write(base.path().join("root/old"), "old").unwrap();
        fs::create_dir(base.path().join("outside")).unwrap();
        let folder = open(&base.path().join("root")).unwrap();
        (base, folder)
    }

    fn create(folder: &UploadFolder, name: &str) -> Result<UploadFile, Refusal> {
        folder.create(&BootName::parse(name.as_bytes()).unwrap(), Ipv4Addr::LOCALHOST.into())
    }

    fn names(folder: &Path) -> Vec<String> {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_appears_whole_under_its_name() {
        let (base, folder) = folder();
        let root = base.path().join("root");
        for name in ["new", "sub/new"] {
            let mut file = create(&folder, name).unwrap();
            file.append(b"one ").unwrap();
            file.append(b"two").unwrap();
            assert!(!root.join(name).exists(), "not before it is whole");
            file.publish().unwrap();
            assert_eq!(fs::read(root.join(name)).unwrap(), b"one two");
        }
        assert_eq!(
            (names(&root), names(&root.join("sub"))),
            (vec!["new".into(), "old".into(), "sub".into()], vec!["new".into()])
        );
    }

    #[test]
    fn w_02_a_client_cannot_put_a_template_here() {
        let (base, folder) = folder();
        for name in ["x.j2", "sub/X.J2", "old.j2"] {
            assert_eq!(create(&folder, name).unwrap_err(), Refusal::BadName, "{name}");
        }
        assert_eq!(names(&base.path().join("root")), ["old", "sub"]);
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let (base, folder) = folder();
        let root = base.path().join("root");
        symlink("nowhere", root.join("dangling")).unwrap();
        for name in ["old", "sub", "dangling"] {
            assert_eq!(create(&folder, name).unwrap_err(), Refusal::Exists, "{name}");
        }
        let (mut first, mut second) = (create(&folder, "new").unwrap(), create(&folder, "new").unwrap());
        first.append(b"first").unwrap();
        second.append(b"second").unwrap();
        first.publish().unwrap();
        assert_eq!(second.publish().unwrap_err(), Refusal::Exists, "of two, who is done first");
        assert_eq!(fs::read(root.join("new")).unwrap(), b"first");
        assert_eq!(fs::read(root.join("old")).unwrap(), b"old");
    }

    #[test]
    fn only_a_person_may_replace_a_file() {
        let (base, folder) = folder();
        let root = base.path().join("root");
        let name = |text: &str| BootName::parse(text.as_bytes()).unwrap();
        let mut file = folder.create_or_replace(&name("old"), Ipv4Addr::LOCALHOST.into()).unwrap();
        file.append(b"new content").unwrap();
        assert_eq!(fs::read(root.join("old")).unwrap(), b"old", "until it is complete");
        file.publish().unwrap();
        assert_eq!(fs::read(root.join("old")).unwrap(), b"new content");
        symlink("old", root.join("link")).unwrap();
        for taken in ["sub", "link"] {
            let refused = folder.create_or_replace(&name(taken), Ipv4Addr::LOCALHOST.into()).unwrap_err();
            assert_eq!(refused, Refusal::Exists, "{taken}");
        }
        assert_eq!(names(&root), ["link", "old", "sub"]);
    }

    #[test]
    fn s_11_uploads_end_where_the_folder_is_full() {
        let (base, folder) = folder();
        let mut file = create(&folder, "new").unwrap();
        file.append(&[0; 990]).unwrap();
        assert_eq!(file.append(&[0; 10]), Err(Refusal::UploadsFull), "3 bytes were there");
        drop(file);
        for n in 0..5 {
            create(&folder, &format!("new{n}")).unwrap().publish().unwrap();
        }
        assert_eq!(create(&folder, "new9").unwrap_err(), Refusal::UploadsFull, "half of the files");
        assert_eq!(names(&base.path().join("root")).len(), 7, "and nothing is left of those refused");
    }

    #[test]
    fn nothing_is_left_of_an_upload_that_ends_early() {
        let (base, folder) = folder();
        let mut file = create(&folder, "new").unwrap();
        file.append(b"half").unwrap();
        drop(file);
        assert_eq!(names(&base.path().join("root")), ["old", "sub"]);
    }

    #[test]
    fn no_name_leads_outside_or_into_a_missing_folder() {
        let (base, folder) = folder();
        let root = base.path().join("root");
        symlink("../outside", root.join("out")).unwrap();
        symlink(base.path().join("outside"), root.join("absolute")).unwrap();
        for (name, refused) in [
            ("out/new", Refusal::BadName),
            ("absolute/new", Refusal::BadName),
            ("none/new", Refusal::NotFound),
            ("old/new", Refusal::NotFound),
            (".lanboot-upload-1-1", Refusal::BadName),
            ("sub/.lanboot-upload-1-1", Refusal::BadName),
            ("sub/.lanboot-add-1-1", Refusal::BadName),
            (".git/hooks", Refusal::BadName),
            (".profile", Refusal::BadName),
        ] {
            assert_eq!(create(&folder, name).unwrap_err(), refused, "{name}");
        }
        assert!(names(&base.path().join("outside")).is_empty());
    }

    #[test]
    fn leftovers_are_removed_at_the_next_start() {
        let (base, _incoming) = folder();
        let root = base.path().join("root");
        let of_age = |name: &str, age: u64| {
            let file = File::create(root.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        of_age(".lanboot-upload-1-1", 7200);
        of_age(".lanboot-upload-1-2", 60);
        of_age("mine", 7200);
        open(&root).unwrap();
        assert_eq!(names(&root), [".lanboot-upload-1-2", "mine", "old", "sub"]);
    }

    #[test]
    fn a_folder_that_cannot_be_used_says_why() {
        let (base, _incoming) = folder();
        let missing = open(&base.path().join("none")).unwrap_err().to_string();
        assert!(
            missing.starts_with("cannot open the folder for uploads") && missing.contains("/none"),
            "{missing}"
        );
        // No user can write to /proc, not even root.
        let read_only = open(Path::new("/proc")).unwrap_err().to_string();
        assert!(read_only.starts_with("cannot write to the folder for uploads /proc"), "{read_only}");
    }

    #[test]
    fn a_full_disk_differs_from_a_broken_one() {
        assert_eq!(write_refusal(Errno::ENOSPC), Refusal::DiskFull);
        assert_eq!(write_refusal(Errno::EDQUOT), Refusal::DiskFull);
        assert_eq!(write_refusal(Errno::EROFS), Refusal::AccessDenied);
        assert_eq!(write_refusal(Errno::EIO), Refusal::Io);
        assert_eq!(errno_of(&io::Error::other("no number")), Errno::EIO);
    }
}
