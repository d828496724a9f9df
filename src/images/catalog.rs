//! Opens files of the images folder by name for the servers, the DHCP decisions and `check`. It decides which files a
//! client may read, and never writes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::resolve;
use crate::boot::name::BootName;
use crate::event::{Refusal, Reports};
use crate::images::file_cache::{CachedFile, FileCache};
use crate::images::folder::refusal;
use crate::images::kind::read_kind;
use crate::images::open_file::OpenFile;
use crate::images::placement::Secret;
use crate::images::root::Root;
use crate::types::FileKind;

/// Maximum number of directory entries that are read to find one name in another case, in all folders together. A
/// missing file must stay cheap. In a larger folder, names must match exactly.
pub const MAX_ENTRIES: usize = 4096;
/// Maximum number of components of a name that is searched in another case.
pub const MAX_DEPTH: usize = 16;

/// The images folder as clients see it. Every request looks up its file again. If another folder takes the place of
/// this one, that one is served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    root: Root,
    short: FileCache,
    /// The folder of uploaded images, where files are searched that are missing in the first one.
    uploaded: Arc<OnceLock<Catalog>>,
}

impl Catalog {
    /// Opens the images folder at `root`, which may be a symlink.
    ///
    /// # Errors
    /// The folder does not exist, or the kernel has no `openat2` (before Linux 5.6).
    pub fn open(root: &Path) -> io::Result<Catalog> {
        Catalog::open_hiding(root, Vec::new())
    }

    /// Opens the images folder like [`Catalog::open`]. Files in `secrets` are never opened, even if they lie in the
    /// folder.
    pub fn open_hiding(root: &Path, secrets: Vec<Secret>) -> io::Result<Catalog> {
        Ok(Catalog {
            root: Root::open(root, secrets)?,
            short: FileCache::default(),
            uploaded: Arc::default(),
        })
    }

    /// The facts about the folder, such as that it is gone.
    pub fn reports(&self) -> &Reports {
        self.root.reports()
    }

    /// Also serves the folder `uploaded`, whose files come after those of the first folder. Only the first call counts.
    ///
    /// # Errors
    /// Those of [`Catalog::open`].
    pub fn serve_uploaded(&self, uploaded: &Path) -> io::Result<()> {
        if self.uploaded.get().is_none() {
            // Another thread may have been faster, with the same folder.
            let _ = self.uploaded.set(Catalog::open(uploaded)?);
        }
        Ok(())
    }

    /// Serves the folder at `root` from now on, which may be the same one. Open files stay.
    ///
    /// # Errors
    /// Those of [`Catalog::open`]. The folder of before is still served then.
    pub fn move_to(&self, root: &Path, secrets: Vec<Secret>) -> io::Result<()> {
        self.root.move_to(root, secrets)
    }

    /// Opens the regular file `name`. Symlinks are followed if they stay inside the folder. Hard links are ordinary
    /// files.
    ///
    /// # Errors
    /// - [`Refusal::NotFound`]: no such file, or a folder, FIFO, socket or device. Also if a component of `name` or
    ///   of a symlink on the way begins with a dot, because such names are hidden and used for incomplete files.
    /// - [`Refusal::BadName`]: a symlink leads outside the folder or in a circle.
    /// - [`Refusal::AccessDenied`]: the file may not be read.
    /// - [`Refusal::Busy`]: this process has no file descriptor left.
    /// - [`Refusal::Io`]: any other error.
    pub fn open_file(&self, name: &BootName) -> Result<OpenFile, Refusal> {
        match (self.open_own(name), self.uploaded.get()) {
            (Err(Refusal::NotFound), Some(uploaded)) => uploaded.open_own(name),
            (opened, _) => opened,
        }
    }

    fn open_own(&self, name: &BootName) -> Result<OpenFile, Refusal> {
        let opened = self.open_once(name);
        let is_another = match opened {
            Err(Errno::ENOENT | Errno::ENOTDIR) => self.root.recheck(),
            Err(Errno::ESTALE) => self.root.reopen(),
            _ => false,
        };
        let opened = if is_another { self.open_once(name) } else { opened };
        let (file, real) = opened.map_err(refusal)?;
        let meta = file.metadata().map_err(|_| Refusal::Io)?;
        if !meta.is_file() {
            return Err(Refusal::NotFound);
        }
        let real_name = (real != name.as_str().as_bytes()).then_some(real);
        Ok(OpenFile { file, size: meta.len(), name: name.as_str().to_owned(), real_name })
    }

    /// The short file `name` from memory, if [`Catalog::cache_if_short`] stored it and it has not changed.
    pub fn cached_file(&self, name: &BootName) -> Option<CachedFile> {
        let folder = self.root.folder()?;
        let found = self.short.get(&folder, name.as_str())?;
        (!self.root.hides(name.as_str().as_bytes())).then_some(found)
    }

    /// Caches `open` in memory if it is a short file that is sent unchanged.
    pub fn cache_if_short(&self, open: &OpenFile) {
        if open.real_name.is_none() && !open.is_template() && !open.is_manifest() {
            self.short.cache_if_short(open);
        }
    }

    fn open_once(&self, name: &BootName) -> nix::Result<(File, Vec<u8>)> {
        let folder = self.root.folder().ok_or(Errno::ENOENT)?;
        // O_NONBLOCK prevents that opening a FIFO waits for a writer. Regular files ignore it.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let (file, real) = resolve::open(&folder, name.as_str(), flags)?;
        if self.root.hides(&real) {
            return Err(Errno::ENOENT);
        }
        Ok((File::from(file), real))
    }

    /// Checks whether the folder is still there, at most once per second, and logs when it disappears or returns.
    pub fn check_folder(&self) {
        self.root.folder();
    }

    /// A number that changes when another folder is served. Earlier results about files are then invalid.
    pub fn generation(&self) -> u64 {
        self.root.generation()
    }

    /// Opens the first regular file whose name equals `name` apart from the case of ASCII letters, because Windows
    /// boot loaders request `\Boot\BCD` in varying case. In each folder the exact spelling comes first, then the
    /// others in byte order.
    ///
    /// Returns `None` if the search would read more than [`MAX_ENTRIES`] entries or `name` has more than
    /// [`MAX_DEPTH`] components, because a missing file must stay cheap.
    pub fn open_in_any_case(&self, name: &BootName) -> Option<OpenFile> {
        let components: Vec<&str> = name.components().take(MAX_DEPTH + 1).collect();
        if components.len() > MAX_DEPTH {
            return None;
        }
        let found = self.search(None, &components, &mut { MAX_ENTRIES });
        found.or_else(|| self.uploaded.get()?.search(None, &components, &mut { MAX_ENTRIES }))
    }

    fn search(&self, folder: Option<&BootName>, rest: &[&str], budget: &mut usize) -> Option<OpenFile> {
        let (first, rest) = rest.split_first()?;
        let path = folder.map_or(".", BootName::as_str);
        let is_alike = |entry: &[u8]| entry.eq_ignore_ascii_case(first.as_bytes());
        let mut alike = self.root.folder()?.entries(path, budget, is_alike).unwrap_or_default();
        alike.sort_by(|a, b| (a != first, a).cmp(&(b != first, b)));
        alike.iter().find_map(|entry| {
            let name = BootName::parse(entry.as_bytes()).ok()?;
            let name = folder.map_or_else(|| name.clone(), |folder| name.in_folder(folder));
            if rest.is_empty() { self.open_file(&name).ok() } else { self.search(Some(&name), rest, budget) }
        })
    }

    /// Whether the folder may contain a subfolder for one machine: it has an entry as long as a MAC address or as a
    /// Raspberry Pi serial number. The entries are read again when the folder has changed.
    pub fn may_have_machine_folders(&self) -> bool {
        let mut all = [Some(self), self.uploaded.get()].into_iter().flatten();
        all.any(|catalog| catalog.root.may_have_entry_of_length(&[17, 8], MAX_ENTRIES))
    }

    /// Whether anything named `name` exists. This is cheaper than opening files in a folder that seldom exists. It
    /// returns true on errors, because opening the file then reports the reason.
    pub fn has(&self, name: &BootName) -> bool {
        let mut all = [Some(self), self.uploaded.get()].into_iter().flatten();
        all.any(|catalog| catalog.root.folder().is_some_and(|folder| folder.has(name.as_str())))
    }

    /// Size in bytes of the file `name`; `None` if it cannot be served.
    pub fn size(&self, name: &BootName) -> Option<u64> {
        self.open_file(name).ok().map(|open| open.size)
    }

    /// The kind of program in the file `name`; `None` if it cannot be served or read.
    pub fn kind(&self, name: &BootName) -> Option<FileKind> {
        read_kind(self.open_file(name).ok()?.file).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::open_file::fold_name;
    use nix::sys::stat::Mode;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A folder `root` with files in it, and a file `secret` next to it.
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
    fn every_spelling_of_a_name_opens_the_file() {
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
    fn symlinks_are_followed_only_inside_the_folder() {
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
    fn an_incomplete_file_is_not_served() {
        let (base, catalog) = folder();
        for name in [".lanboot-upload-1-0", "sub/.lanboot-upload-1-0", ".lanboot-add-1-0"] {
            fs::write(base.path().join("root").join(name), "half").unwrap();
            assert_eq!(read(&catalog, name.as_bytes()), Err(Refusal::NotFound), "{name}");
            let other = BootName::parse(name.to_uppercase().as_bytes()).unwrap();
            assert!(catalog.open_in_any_case(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn s_12_names_with_a_leading_dot_are_not_served() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        fs::create_dir_all(root.join(".git/refs")).unwrap();
        fs::create_dir_all(root.join("sub/.svn")).unwrap();
        for name in
            [".env", "sub/.htaccess", ".git/config", ".git/refs/x", "sub/.svn/entries", "..data", "..."]
        {
            fs::write(root.join(name), "secret").unwrap();
        }
        symlink(".git", root.join("git")).unwrap();
        symlink(".env", root.join("env")).unwrap();
        symlink("env", root.join("chain")).unwrap();
        symlink("../.git/config", root.join("sub/config")).unwrap();
        symlink(".git/../x", root.join("through")).unwrap();
        symlink("../x", root.join(".git/out")).unwrap();
        symlink(".git/out", root.join("visible")).unwrap();
        for asked in [
            ".env",
            "/.env",
            r"\.env",
            "./.env",
            "sub/.htaccess",
            ".git/config",
            ".git/refs/x",
            "..data",
            "...",
            "sub/.svn/entries",
            "git/config",
            "env",
            "chain",
            "sub/config",
            "through",
            "visible",
            "git/out",
        ] {
            assert_eq!(read(&catalog, asked.as_bytes()), Err(Refusal::NotFound), "{asked}");
        }
        for asked in [".ENV", "GIT/CONFIG", "Env", "CHAIN", ".GIT/config", "SUB/.htaccess"] {
            assert_eq!(in_any_case(&catalog, asked), None, "{asked}");
        }
    }

    #[test]
    fn s_12_real_or_symlink_name_makes_a_template() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        fs::write(root.join("sub/t.j2"), "").unwrap();
        fs::write(root.join("sub/T2.J2"), "").unwrap();
        fs::write(root.join("manifest.json"), "").unwrap();
        symlink("sub", root.join("folder")).unwrap();
        symlink("folder/t.j2", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        symlink("sub/T2.J2", root.join("c")).unwrap();
        symlink("x", root.join("d.j2")).unwrap();
        symlink("manifest.json", root.join("m")).unwrap();
        let is = |asked: &str| {
            let open = open(&catalog, asked.as_bytes()).unwrap();
            (open.is_template(), open.is_manifest())
        };
        for asked in ["sub/t.j2", "folder/t.j2", "a", "b", "c", "d.j2"] {
            assert_eq!(is(asked), (true, false), "{asked}");
        }
        assert_eq!((is("x"), is("m"), is("manifest.json")), ((false, false), (false, true), (false, true)));
        assert_eq!(open(&catalog, b"b").unwrap().name, "b", "served under the name that was asked for");
        assert_eq!(fold_name(b"x.J2. ."), b"x.j2", "FAT has these open the same file");
    }

    #[test]
    fn r_09_files_of_a_replaced_folder_are_found() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        let mut opened = open(&catalog, b"x").unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(read(&catalog, b"x"), Err(Refusal::NotFound));
        fs::create_dir(&root).unwrap();
        fs::write(root.join("x"), "another").unwrap();
        assert_eq!(read(&catalog, b"x").as_deref(), Ok("another"), "at once, because it was missing");
        let mut text = String::new();
        opened.file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content", "a transfer in progress continues");
        fs::rename(&root, base.path().join("away")).unwrap();
        fs::create_dir(&root).unwrap();
        fs::write(root.join("only-here"), "new").unwrap();
        assert_eq!(in_any_case(&catalog, "ONLY-HERE"), None, "the old folder is served for another second");
        assert_eq!(read(&catalog, b"only-here").as_deref(), Ok("new"));
        assert_eq!(in_any_case(&catalog, "ONLY-HERE").as_deref(), Some("only-here"));
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
        // Only root can create a device.
        if nix::unistd::geteuid().is_root() {
            use nix::sys::stat::{SFlag, makedev, mknod};
            if mknod(&root.join("zero"), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 5)).is_ok() {
                let refused = read(&catalog, b"zero").unwrap_err();
                assert!(matches!(refused, Refusal::NotFound | Refusal::AccessDenied), "{refused:?}");
            }
        }
        fs::hard_link(base.path().join("secret"), root.join("hard")).unwrap();
        assert_eq!(read(&catalog, b"hard").as_deref(), Ok("secret"), "a hard link publishes the file");
    }

    #[test]
    fn an_unreadable_file_is_access_denied() {
        let (base, catalog) = folder();
        fs::set_permissions(base.path().join("root/x"), fs::Permissions::from_mode(0o000)).unwrap();
        let expected = if nix::unistd::geteuid().is_root() {
            Ok("content".to_owned())
        } else {
            Err(Refusal::AccessDenied)
        };
        assert_eq!(read(&catalog, b"x"), expected, "root may read everything");
    }

    /// Waits until a later change of `path` is certain to change its time stamps.
    fn settle(path: &Path) {
        std::thread::sleep(std::time::Duration::from_millis(3100));
        assert!(fs::metadata(path).is_ok());
    }

    #[test]
    fn a_short_file_is_kept_until_it_changes() {
        let (base, catalog) = folder();
        let root = base.path().join("root");
        fs::write(root.join("long"), [7; 20 << 10]).unwrap();
        fs::write(root.join("t.j2"), "").unwrap();
        symlink("x", root.join("link")).unwrap();
        let name = |text: &str| BootName::parse(text.as_bytes()).unwrap();
        let keep = |text: &str| catalog.cache_if_short(&catalog.open_file(&name(text)).unwrap());
        let short = |text: &str| catalog.cached_file(&name(text)).map(|short| short.bytes.to_vec());
        keep("x");
        assert_eq!(short("x"), None, "it was changed a moment ago and may change again in the same tick");
        settle(&root.join("x"));
        for kept in ["x", "sub/y", "long", "t.j2", "link"] {
            keep(kept);
        }
        assert_eq!(short("x").as_deref(), Some(&b"content"[..]));
        assert_eq!((short("sub/y"), short("long"), short("t.j2"), short("link")), (None, None, None, None));
        // Every change makes another version: rewritten, replaced, unreadable, removed, or reached through another
        // folder.
        fs::write(root.join("x"), "CONTENT").unwrap();
        assert_eq!(short("x"), None);
        settle(&root.join("x"));
        keep("x");
        assert_eq!(short("x").as_deref(), Some(&b"CONTENT"[..]));
        fs::set_permissions(root.join("x"), fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(short("x"), None);
        fs::remove_file(root.join("x")).unwrap();
        assert_eq!(short("x"), None);
    }

    #[test]
    fn an_open_file_survives_its_replacement() {
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
    fn t_21_names_in_another_case_are_found() {
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
        // A folder with the exact name but without the file must not hide a folder that has it.
        fs::create_dir(root.join("boot")).unwrap();
        assert_eq!(in_any_case(&catalog, "boot/bcd").as_deref(), Some("Boot/BCD"));
        fs::write(root.join("boot/Bcd"), "").unwrap();
        assert_eq!(in_any_case(&catalog, "boot/bcd").as_deref(), Some("boot/Bcd"), "as written comes first");
        fs::write(root.join("boot/BcD"), "").unwrap();
        assert_eq!(in_any_case(&catalog, "boot/bcd").as_deref(), Some("boot/BcD"), "then the order of bytes");
        // Case rules of letters beyond ASCII differ between languages.
        fs::write(root.join("Größe"), "").unwrap();
        assert_eq!(in_any_case(&catalog, "grÖße"), None);
        assert_eq!(in_any_case(&catalog, "gRöße").as_deref(), Some("Größe"));
    }

    #[test]
    fn t_19_another_case_leads_only_to_files_inside() {
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
