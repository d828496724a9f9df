//! The folder of boot files. Nothing here ever writes.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::fcntl::OFlag;

use super::folder::{Folder, is_temporary, refusal};
use crate::boot::name::BootName;
use crate::event::Refusal;
use crate::images::kind::read_kind;
use crate::types::FileKind;

/// Entries of folders that are looked at for one name in another case, in all folders together: a miss must not be
/// expensive. In a larger folder, names are found only as they are written.
pub const MAX_ENTRIES: usize = 4096;
/// Components of a name that is looked for in another case.
pub const MAX_DEPTH: usize = 16;

/// The folder, held open: renaming or replacing it does not change what is served until the next start. Files in it
/// are looked up anew for each request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    root: Folder,
}

/// A boot file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// The file. It stays this one when another is renamed over it, so a transfer never mixes two.
    pub file: File,
    /// Bytes it had when it was opened.
    pub size: u64,
    /// Its clean name beneath boot-images/.
    pub name: String,
}

impl Catalog {
    /// Opens the folder `root`, which may be a symlink to one.
    ///
    /// Fails when it is not there, and when the kernel has no `openat2` (before Linux 5.6).
    pub fn open(root: &Path) -> io::Result<Catalog> {
        Ok(Catalog { root: Folder::open(root, "the folder of boot files")? })
    }

    /// Opens the regular file `name`. Symlinks are followed as long as they stay beneath the folder; hard links are
    /// files like any other.
    ///
    /// Refused: [`Refusal::NotFound`] for no file, one that is not whole yet, and for a folder, FIFO, socket or device;
    /// [`Refusal::BadName`] for a symlink that leads outside or in circles; [`Refusal::AccessDenied`];
    /// [`Refusal::Busy`] when this process has no file descriptor left; [`Refusal::Io`] otherwise.
    pub fn open_file(&self, name: &BootName) -> Result<OpenFile, Refusal> {
        if is_temporary(name.as_str()) {
            return Err(Refusal::NotFound);
        }
        // O_NONBLOCK: opening a FIFO for reading would otherwise wait for a writer. Regular files ignore it.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let file = File::from(self.root.look_up(name.as_str(), flags).map_err(refusal)?);
        let meta = file.metadata().map_err(|_| Refusal::Io)?;
        if !meta.is_file() {
            return Err(Refusal::NotFound);
        }
        Ok(OpenFile { file, size: meta.len(), name: name.as_str().to_owned() })
    }

    /// Opens the first regular file whose name differs from `name` in the case of ASCII letters alone: Windows' loaders
    /// ask for `\Boot\BCD` in whatever case. In each folder the component as it is written comes before the others, and
    /// those in the order of their bytes.
    ///
    /// `None` also if more than [`MAX_ENTRIES`] entries would have to be looked at, or `name` has more than
    /// [`MAX_DEPTH`] components: a miss must not be expensive.
    pub fn open_in_any_case(&self, name: &BootName) -> Option<OpenFile> {
        let components: Vec<&str> = name.components().take(MAX_DEPTH + 1).collect();
        if components.len() > MAX_DEPTH {
            return None;
        }
        self.search(None, &components, &mut { MAX_ENTRIES })
    }

    fn search(&self, folder: Option<&BootName>, rest: &[&str], budget: &mut usize) -> Option<OpenFile> {
        let (first, rest) = rest.split_first()?;
        let path = folder.map_or(".", BootName::as_str);
        let is_alike = |entry: &[u8]| entry.eq_ignore_ascii_case(first.as_bytes());
        let mut alike = self.root.entries(path, budget, is_alike).unwrap_or_default();
        alike.sort_by(|a, b| (a != first, a).cmp(&(b != first, b)));
        alike.iter().find_map(|entry| {
            let name = BootName::parse(entry.as_bytes()).ok()?;
            let name = folder.map_or_else(|| name.clone(), |folder| name.within(folder));
            if rest.is_empty() { self.open_file(&name).ok() } else { self.search(Some(&name), rest, budget) }
        })
    }

    /// Whether there is anything by the name of `name`: asked before files in a folder that seldom exists are looked for,
    /// because it costs less than opening each of them. What cannot be asked counts as there; opening it tells why.
    pub fn has(&self, name: &BootName) -> bool {
        self.root.has(name.as_str())
    }

    /// Bytes of the file `name`; `None` if it cannot be served.
    pub fn size(&self, name: &BootName) -> Option<u64> {
        self.open_file(name).ok().map(|open| open.size)
    }

    /// What kind of program the file `name` is; `None` if it cannot be served or read.
    pub fn kind(&self, name: &BootName) -> Option<FileKind> {
        read_kind(self.open_file(name).ok()?.file).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A folder `root` with files in it, and a file `secret` beside it.
    fn folder() -> (tempfile::TempDir, Catalog) {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("x"), "content").unwrap();
        fs::write(root.join("sub/y"), "deeper").unwrap();
        fs::write(base.path().join("secret"), "secret").unwrap();
        let catalog = Catalog::open(&root).unwrap();
        (base, catalog)
    }

    fn open(catalog: &Catalog, asked: &[u8]) -> Result<OpenFile, Refusal> {
        catalog.open_file(&BootName::parse(asked).map_err(|_| Refusal::BadName)?)
    }

    fn read(catalog: &Catalog, asked: &[u8]) -> Result<String, Refusal> {
        let mut open = open(catalog, asked)?;
        let mut text = String::new();
        open.file.read_to_string(&mut text).unwrap();
        assert_eq!(open.size, text.len() as u64);
        Ok(text)
    }

    #[test]
    fn every_spelling_of_a_name_beneath_opens_it() {
        let (_base, catalog) = folder();
        for asked in ["x", "/x", "//x", "/./x", r"\x"] {
            assert_eq!(read(&catalog, asked.as_bytes()).as_deref(), Ok("content"), "{asked:?}");
        }
        assert_eq!(read(&catalog, br"sub\y").as_deref(), Ok("deeper"));
        assert_eq!(open(&catalog, br"\sub\y").unwrap().name, "sub/y");
        let size = |name: &str| catalog.size(&BootName::parse(name.as_bytes()).unwrap());
        assert_eq!((size("x"), size("sub/y"), size("sub")), (Some(7), Some(6), None));
        let kind = |name: &str| catalog.kind(&BootName::parse(name.as_bytes()).unwrap());
        assert_eq!((kind("x"), kind("sub")), (Some(FileKind::Text), None));
    }

    #[test]
    fn no_name_leads_outside() {
        let (base, catalog) = folder();
        for asked in ["../secret", "sub/../../secret", r"..\secret", "/../secret", "..", "sub/../x"] {
            assert_eq!(read(&catalog, asked.as_bytes()), Err(Refusal::BadName), "{asked}");
        }
        let absolute = base.path().join("secret");
        for asked in [absolute.to_str().unwrap(), "/etc/passwd", "%2e%2e/secret", "sub%2fy"] {
            assert_eq!(read(&catalog, asked.as_bytes()), Err(Refusal::NotFound), "{asked}");
        }
    }

    #[test]
    fn names_that_are_no_names_are_refused() {
        let (_base, catalog) = folder();
        for asked in [b"".as_slice(), b"/", b"a\0b", b"a\nb", b"Gr\xf6\xdfe", &[b'x'; 5000], &[b'x'; 256]] {
            assert_eq!(read(&catalog, asked), Err(Refusal::BadName), "{asked:?}");
        }
        assert_eq!(read(&catalog, &[b'x'; 255]), Err(Refusal::NotFound));
        assert_eq!(read(&catalog, b"x/y"), Err(Refusal::NotFound), "a file is no folder");
    }

    #[test]
    fn symlinks_are_followed_beneath_only() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        symlink("sub/y", root.join("in")).unwrap();
        symlink("../x", root.join("sub/up")).unwrap();
        symlink("sub", root.join("folder")).unwrap();
        assert_eq!(read(&catalog, b"in").as_deref(), Ok("deeper"));
        assert_eq!(read(&catalog, b"sub/up").as_deref(), Ok("content"));
        assert_eq!(read(&catalog, b"folder/y").as_deref(), Ok("deeper"));

        symlink("../secret", root.join("out")).unwrap();
        symlink(base.path().join("secret"), root.join("absolute")).unwrap();
        symlink(root.join("x"), root.join("absolute-inside")).unwrap();
        symlink("..", root.join("parent")).unwrap();
        symlink("/dev/zero", root.join("device")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        for asked in
            ["out", "absolute", "absolute-inside", "parent/secret", "device", "magic/etc/passwd", "circle"]
        {
            assert_eq!(read(&catalog, asked.as_bytes()), Err(Refusal::BadName), "{asked}");
        }
        symlink("gone", root.join("dangling")).unwrap();
        assert_eq!(read(&catalog, b"dangling"), Err(Refusal::NotFound));
    }

    #[test]
    fn a_file_that_is_not_whole_yet_is_not_served() {
        let (base, catalog) = folder();
        for name in [".lanboot-upload-1-0", "sub/.lanboot-upload-1-0", ".lanboot-add-1-0"] {
            fs::write(base.path().join("root").join(name), "half").unwrap();
            assert_eq!(read(&catalog, name.as_bytes()), Err(Refusal::NotFound), "{name}");
            let other = BootName::parse(name.to_uppercase().as_bytes()).unwrap();
            assert!(catalog.open_in_any_case(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn only_regular_files_are_served() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        nix::unistd::mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        for asked in ["sub", "sub/", "fifo", "socket"] {
            assert_eq!(read(&catalog, asked.as_bytes()), Err(Refusal::NotFound), "{asked}");
        }
        // Only root may make a device.
        if nix::unistd::geteuid().is_root() {
            use nix::sys::stat::{SFlag, makedev, mknod};
            if mknod(&root.join("zero"), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 5)).is_ok() {
                let refused = read(&catalog, b"zero").unwrap_err();
                assert!(matches!(refused, Refusal::NotFound | Refusal::AccessDenied), "{refused:?}");
            }
        }
        fs::hard_link(base.path().join("secret"), root.join("hard")).unwrap();
        assert_eq!(read(&catalog, b"hard").as_deref(), Ok("secret"), "whoever may link it here publishes it");
    }

    #[test]
    fn a_file_that_may_not_be_read_is_said_to_be_so() {
        let (base, catalog) = folder();
        fs::set_permissions(base.path().join("root/x"), fs::Permissions::from_mode(0o000)).unwrap();
        let expected = if nix::unistd::geteuid().is_root() {
            Ok("content".to_owned())
        } else {
            Err(Refusal::AccessDenied)
        };
        assert_eq!(read(&catalog, b"x"), expected, "root may read everything");
    }

    #[test]
    fn a_file_replaced_while_it_is_read_goes_on_as_it_was() {
        let (base, catalog) = folder();
        let mut open = open(&catalog, b"x").unwrap();
        let mut first = [0; 3];
        open.file.read_exact(&mut first).unwrap();
        fs::write(base.path().join("new"), "something else").unwrap();
        fs::rename(base.path().join("new"), base.path().join("root/x")).unwrap();
        let mut rest = String::new();
        open.file.read_to_string(&mut rest).unwrap();
        assert_eq!((&first, rest.as_str()), (b"con", "tent"));
        assert_eq!(read(&catalog, b"x").as_deref(), Ok("something else"));
    }

    fn in_any_case(catalog: &Catalog, name: &str) -> Option<String> {
        catalog.open_in_any_case(&BootName::parse(name.as_bytes()).unwrap()).map(|open| open.name)
    }

    #[test]
    fn t_21_a_name_in_another_case_is_found_component_by_component() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        fs::create_dir_all(root.join("Boot/Fonts")).unwrap();
        fs::write(root.join("Boot/BCD"), "").unwrap();
        fs::write(root.join("Boot/Fonts/wgl4_Boot.ttf"), "").unwrap();
        for (asked, found) in [
            (r"\BOOT\bcd", Some("Boot/BCD")),
            ("boot/fonts/WGL4_BOOT.TTF", Some("Boot/Fonts/wgl4_Boot.ttf")),
            ("X", Some("x")),
            ("boot/none", None),
            ("boot", None),
            ("BOOT/BCD/x", None),
        ] {
            assert_eq!(in_any_case(&catalog, asked).as_deref(), found, "{asked}");
        }
        // A folder that has the name as written but not the file does not hide one that has it.
        fs::create_dir(root.join("boot")).unwrap();
        assert_eq!(in_any_case(&catalog, "boot/bcd").as_deref(), Some("Boot/BCD"));
        fs::write(root.join("boot/Bcd"), "").unwrap();
        assert_eq!(in_any_case(&catalog, "boot/bcd").as_deref(), Some("boot/Bcd"), "as written comes first");
        fs::write(root.join("boot/BcD"), "").unwrap();
        assert_eq!(in_any_case(&catalog, "boot/bcd").as_deref(), Some("boot/BcD"), "then the order of bytes");
        // Letters beyond ASCII have a case that differs between languages.
        fs::write(root.join("Größe"), "").unwrap();
        assert_eq!(in_any_case(&catalog, "grÖße"), None);
        assert_eq!(in_any_case(&catalog, "gRöße").as_deref(), Some("Größe"));
    }

    #[test]
    fn t_19_no_other_case_leads_outside_or_to_what_is_no_file() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        symlink("../secret", root.join("OUT")).unwrap();
        symlink("..", root.join("PARENT")).unwrap();
        symlink("sub", root.join("FOLDER")).unwrap();
        nix::unistd::mkfifo(&root.join("FIFO"), Mode::S_IRWXU).unwrap();
        for asked in ["out", "parent/secret", "fifo", "SUB"] {
            assert_eq!(in_any_case(&catalog, asked), None, "{asked}");
        }
        assert_eq!(in_any_case(&catalog, "folder/Y").as_deref(), Some("FOLDER/y"));
    }

    #[test]
    fn looking_for_another_case_ends_at_a_limit() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        fs::create_dir(root.join("full")).unwrap();
        for i in 0..MAX_ENTRIES {
            fs::write(root.join(format!("full/{i}")), "").unwrap();
        }
        fs::write(root.join("full/Z"), "").unwrap();
        assert_eq!(in_any_case(&catalog, "full/z"), None);
        let deep = "sub/".repeat(MAX_DEPTH);
        assert_eq!(in_any_case(&catalog, &format!("{deep}Y")), None);
    }
}
