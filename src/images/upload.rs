//! The folder that clients put new files into. A file appears there whole, under its name, once it is on stable storage;
//! one that is there is never replaced. As in the catalog, the kernel keeps every lookup beneath the folder.

use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};

use crate::boot::name::BootName;
use crate::event::Refusal;
use crate::images::folder::{Folder, LIST, refusal};
use crate::images::resolve::has_hidden_component;
use crate::images::stock::{Allowance, Portion, Stock};
use crate::images::temporary::{UPLOAD_PREFIX, is_temporary};
use crate::types::Escaped;

/// How the names of templates end (`content/templates/mod.rs`). Clients may not use such names.
const TEMPLATE: &str = ".j2";
/// How old what is left of an upload must be before it is removed: another lanboot may be at it.
const LEFT_OVER: Duration = Duration::from_secs(3600);

/// Entries of the folder that are looked at for what is left of uploads.
const MAX_ENTRIES: usize = 100_000;

/// The folder, held open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Incoming {
    root: Folder,
    stock: Stock,
    /// Numbers temporary files.
    next: Arc<AtomicU64>,
}

/// A new file that nobody sees yet. Dropped without [`NewFile::publish`], nothing is left of it.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: Temporary,
    /// The folder that it is going to be in.
    parent: OwnedFd,
    /// Its name there.
    last: String,
    /// Its whole name.
    name: String,
    portion: Portion,
}

/// The name of a file that is not whole yet; removed when dropped.
#[derive(Debug)]
struct Temporary {
    root: Folder,
    name: String,
}

impl Incoming {
    /// Opens the folder `root`, which may come to hold what `allowance` says, and removes what uploads left there that
    /// ended with lanboot itself.
    ///
    /// Fails when it is not there or cannot be written, and when the kernel has no `openat2` (before Linux 5.6).
    pub fn open(root: &Path, allowance: Allowance) -> io::Result<Incoming> {
        let shown = Escaped(root.as_os_str().as_bytes());
        let folder = Folder::open(root, "the folder for uploads")?;
        let stock = Stock::open(root, allowance);
        let incoming = Incoming { root: folder, stock, next: Arc::default() };
        let name = incoming.temporary_name();
        let made = incoming.make(&name).and_then(|_| unlinkat(&incoming.root, name.as_str(), FILE));
        made.map_err(|errno| {
            let error = io::Error::from(errno);
            let why = format!(
                "cannot write to the folder for uploads {shown}: {error}; give it to the user of lanboot"
            );
            io::Error::new(error.kind(), why)
        })?;
        incoming.remove_left_overs();
        Ok(incoming)
    }

    /// Begins the new file `name`, which `client` sends. The folder it names must be there.
    ///
    /// Refused: [`Refusal::UploadsFull`] if there may be no more, or no more of this client; [`Refusal::Exists`] if anything of that name is there; [`Refusal::NotFound`] if the folder is not;
    /// and as [`super::Catalog::open_file`] says.
    pub fn create(&self, name: &BootName, client: Ipv4Addr) -> Result<NewFile, Refusal> {
        let (folder, last) = name.as_str().rsplit_once('/').unwrap_or((".", name.as_str()));
        // Names that begin with a dot are those of files that are not whole yet, and of other programs' own files. And
        // a client must not put a template here, wherever the folder is.
        if has_hidden_component(name.as_str().as_bytes()) || last.to_ascii_lowercase().ends_with(TEMPLATE) {
            return Err(Refusal::BadName);
        }
        let parent = self.root.look_up(folder, LIST);
        let parent = parent.map_err(refusal)?;
        // What is there, be it a dangling symlink, is not replaced. Publishing looks again.
        match stat(&parent, last) {
            Ok(_) => return Err(Refusal::Exists),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(refusal(errno)),
        }
        let portion = self.stock.begin(client).ok_or(Refusal::UploadsFull)?;
        let temporary = self.temporary_name();
        let file = File::from(self.make(&temporary).map_err(cannot_store)?);
        let temporary = Temporary { root: self.root.clone(), name: temporary };
        let (last, name) = (last.to_owned(), name.as_str().to_owned());
        Ok(NewFile { file, temporary, parent, last, name, portion })
    }

    /// A name that no other upload of this or another process has.
    fn temporary_name(&self) -> String {
        format!("{UPLOAD_PREFIX}{}-{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn make(&self, temporary: &str) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.root, temporary, flags, Mode::from_bits_truncate(0o644))
    }

    fn remove_left_overs(&self) {
        let now = SystemTime::now();
        let is_upload = |name: &[u8]| is_temporary(name, UPLOAD_PREFIX);
        for name in self.root.entries(".", &mut { MAX_ENTRIES }, is_upload).unwrap_or_default() {
            let age = stat(&self.root, &name).ok().and_then(|stat| {
                let changed = Duration::from_secs(u64::try_from(stat.st_mtime).ok()?);
                now.duration_since(SystemTime::UNIX_EPOCH + changed).ok()
            });
            if age.is_some_and(|age| age > LEFT_OVER) {
                // One that cannot be removed is only litter.
                let _ = unlinkat(&self.root, name.as_str(), FILE);
            }
        }
    }
}

impl NewFile {
    /// Appends `bytes`.
    ///
    /// Refused: [`Refusal::UploadsFull`], [`Refusal::DiskFull`], or what the disk says.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if !self.portion.add(bytes.len()) {
            return Err(Refusal::UploadsFull);
        }
        self.file.write_all(bytes).map_err(|error| cannot_store(errno_of(&error)))
    }

    /// Makes the file durable and gives it its name, in this order: whoever sees it sees all of it.
    ///
    /// Refused: [`Refusal::Exists`] if something of that name came in between, and what the disk says.
    pub fn publish(self) -> Result<(), Refusal> {
        self.file.sync_all().map_err(|error| cannot_store(errno_of(&error)))?;
        let NewFile { file: _file, temporary, parent, last, name, portion } = self;
        // A second link, and not a rename: that never replaces what is there, on every file system.
        let (root, from) = (&temporary.root, temporary.name.as_str());
        linkat(root, from, &parent, last.as_str(), AtFlags::empty()).map_err(cannot_store)?;
        portion.stored_as(&name);
        fsync(&parent).map_err(cannot_store)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Published or not, the temporary name goes. One that cannot be removed is litter until the next start.
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

/// Why a file could not be written.
fn cannot_store(errno: Errno) -> Refusal {
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
    use std::os::unix::fs::symlink;

    fn open(root: &Path) -> io::Result<Incoming> {
        Incoming::open(root, Allowance { bytes: 1000, files: 10, bytes_of_one_file: 1000 })
    }

    fn folder() -> (tempfile::TempDir, Incoming) {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("root/sub")).unwrap();
        fs::write(base.path().join("root/old"), "old").unwrap();
        fs::create_dir(base.path().join("outside")).unwrap();
        let incoming = open(&base.path().join("root")).unwrap();
        (base, incoming)
    }

    fn create(incoming: &Incoming, name: &str) -> Result<NewFile, Refusal> {
        incoming.create(&BootName::parse(name.as_bytes()).unwrap(), Ipv4Addr::LOCALHOST)
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
        let (base, incoming) = folder();
        let root = base.path().join("root");
        for name in ["new", "sub/new"] {
            let mut file = create(&incoming, name).unwrap();
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
        let (base, incoming) = folder();
        for name in ["x.j2", "sub/X.J2", "old.j2"] {
            assert_eq!(create(&incoming, name).unwrap_err(), Refusal::BadName, "{name}");
        }
        assert_eq!(names(&base.path().join("root")), ["old", "sub"]);
    }

    #[test]
    fn what_is_there_is_never_replaced() {
        let (base, incoming) = folder();
        let root = base.path().join("root");
        symlink("nowhere", root.join("dangling")).unwrap();
        for name in ["old", "sub", "dangling"] {
            assert_eq!(create(&incoming, name).unwrap_err(), Refusal::Exists, "{name}");
        }
        let (mut first, mut second) = (create(&incoming, "new").unwrap(), create(&incoming, "new").unwrap());
        first.append(b"first").unwrap();
        second.append(b"second").unwrap();
        first.publish().unwrap();
        assert_eq!(second.publish().unwrap_err(), Refusal::Exists, "of two, who is done first");
        assert_eq!(fs::read(root.join("new")).unwrap(), b"first");
        assert_eq!(fs::read(root.join("old")).unwrap(), b"old");
    }

    #[test]
    fn s_11_uploads_end_where_the_folder_is_full() {
        let (base, incoming) = folder();
        let mut file = create(&incoming, "new").unwrap();
        file.append(&[0; 990]).unwrap();
        assert_eq!(file.append(&[0; 10]), Err(Refusal::UploadsFull), "3 bytes were there");
        drop(file);
        for n in 0..5 {
            create(&incoming, &format!("new{n}")).unwrap().publish().unwrap();
        }
        assert_eq!(create(&incoming, "new9").unwrap_err(), Refusal::UploadsFull, "half of the files");
        assert_eq!(names(&base.path().join("root")).len(), 7, "and nothing is left of those refused");
    }

    #[test]
    fn nothing_is_left_of_an_upload_that_ends_early() {
        let (base, incoming) = folder();
        let mut file = create(&incoming, "new").unwrap();
        file.append(b"half").unwrap();
        drop(file);
        assert_eq!(names(&base.path().join("root")), ["old", "sub"]);
    }

    #[test]
    fn no_name_leads_outside_or_into_a_folder_that_is_not_there() {
        let (base, incoming) = folder();
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
            assert_eq!(create(&incoming, name).unwrap_err(), refused, "{name}");
        }
        assert!(names(&base.path().join("outside")).is_empty());
    }

    #[test]
    fn what_was_left_over_is_removed_at_the_next_start() {
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
        // /proc can be looked into by anybody and written by nobody, root included.
        let read_only = open(Path::new("/proc")).unwrap_err().to_string();
        assert!(read_only.starts_with("cannot write to the folder for uploads /proc"), "{read_only}");
    }

    #[test]
    fn a_full_disk_is_told_apart_from_a_broken_one() {
        assert_eq!(cannot_store(Errno::ENOSPC), Refusal::DiskFull);
        assert_eq!(cannot_store(Errno::EDQUOT), Refusal::DiskFull);
        assert_eq!(cannot_store(Errno::EROFS), Refusal::AccessDenied);
        assert_eq!(cannot_store(Errno::EIO), Refusal::Io);
        assert_eq!(errno_of(&io::Error::other("no number")), Errno::EIO);
    }
}
