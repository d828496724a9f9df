//! Makes a build from a folder or a tar archive: the kernel, the initrd, the root file system, signed loaders and the
//! description.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::OFlag;

use super::archive::{Archive, CUT_OFF, Kind};
use super::boot_files::{Candidates, Chosen, Role, loader_paths, role};
use super::interrupt::Cleanup;
use super::squashfs::{Mksquashfs, Tee};
use super::work_folder::WorkFolder;
use super::{initrd, kernel};
use crate::boot::loader::root::{DESCRIPTION, RootImage};
use crate::images::add::progress::Progress;
use crate::images::compression::{Compression, Extent, Peek, recognise, unpack};
use crate::images::folder::Folder;

/// Maximum size of a kernel, an initrd or a loader in bytes.
const MAX_BOOT_FILE: u64 = 4 << 30;
/// Maximum number of entries of /boot that are read.
const MAX_BOOT_ENTRIES: usize = 10_000;
/// The kernel finds a second RAM disk only after a multiple of this number of bytes.
const INITRD_ALIGNMENT: u64 = 4;

const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd";
const ROOT: &str = "root.squashfs";

/// The input of a build.
#[derive(Debug)]
pub enum Input {
    /// The root folder of the system.
    Folder(PathBuf),
    /// A tar archive, which may be compressed.
    Archive(PathBuf),
    /// A tar archive on standard input.
    Stdin,
}

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The name of the build, such as `compute@20261129T1000`.
    pub build: String,
    pub image: RootImage,
}

/// Makes a new build of `image` in the folder `images`, and makes the name of the image lead to it.
///
/// # Errors
/// The input is no system that can boot from the network, or something cannot be read or written. Nothing changes then.
pub fn build(images: &Path, image: &str, input: &Input, cleanup: &Cleanup) -> Result<Built, String> {
    let there = images.join(image);
    if there.symlink_metadata().is_ok_and(|meta| !meta.is_symlink()) {
        return Err(format!(
            "{} was not made by `lanboot images build`: move it away, or choose another name",
            there.display()
        ));
    }
    let work = WorkFolder::create(images, cleanup)?;
    let (facts, mut files) = match input {
        Input::Folder(folder) => from_folder(folder, images, &work, cleanup)?,
        Input::Archive(path) => {
            let file =
                File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let size = file.metadata().map(|meta| meta.len()).unwrap_or(0);
            let progress = Progress::of_bytes(&format!("packing {}", path.display()), size).with_line_now();
            let done = from_archive(file, &progress, &work, cleanup);
            inspected(&work, done.map_err(|why| format!("{}: {why}", path.display()))?)?
        }
        Input::Stdin => {
            let progress = Progress::of_unknown("packing standard input");
            let done = from_archive(io::stdin(), &progress, &work, cleanup);
            inspected(&work, done.map_err(|why| format!("standard input: {why}"))?)?
        }
    };
    pad_initrd(&work)?;
    files.extend([KERNEL, INITRD, ROOT].map(str::to_owned));
    let root_bytes =
        fs::metadata(work.file(ROOT)).map_err(|error| format!("cannot read {ROOT}: {error}"))?.len();
    let _progress = Progress::of_unknown("writing the build to the disk");
    let sha256 =
        files.into_iter().map(|name| work.seal(&name).map(|sum| (name, sum))).collect::<Result<_, _>>()?;
    let built = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    // 2026-11-29T10:00:00Z becomes 20261129T100000.
    let time: String = built.chars().filter(|c| c.is_ascii_digit() || *c == 'T').collect();
    let description = RootImage {
        kind: facts.initrd.kind,
        arch: facts.kernel.arch,
        kernel: facts.version,
        root_bytes,
        ram_mib: facts.initrd.kind.ram_mib(root_bytes, facts.initrd.unpacked),
        signer: facts.kernel.signer,
        built,
        sha256,
    };
    let mut text = serde_json::to_vec_pretty(&description).map_err(|error| error.to_string())?;
    text.push(b'\n');
    let written = work.create_file(DESCRIPTION)?.write_all(&text);
    written.map_err(|error| format!("cannot write {DESCRIPTION}: {error}"))?;
    work.seal(DESCRIPTION)?;
    Ok(Built { build: work.publish(image, &time)?, image: description })
}

/// The facts about the boot files of an image.
struct Facts {
    version: String,
    kernel: kernel::KernelFacts,
    initrd: initrd::InitrdFacts,
}

/// The kernel and the initrd that were copied to the work folder under other names, and the loaders there.
type Copied = (Option<Chosen<String>>, Vec<String>);

/// The facts about the boot files that were copied, and the loaders.
type Inspected = (Facts, Vec<String>);

/// Copies the boot files of a folder, and packs it.
fn from_folder(
    folder: &Path,
    images: &Path,
    work: &WorkFolder,
    cleanup: &Cleanup,
) -> Result<Inspected, String> {
    let shown = folder.display();
    let cannot = |error: io::Error| format!("cannot read {shown}: {error}");
    let folder = folder.canonicalize().map_err(cannot)?;
    if images.canonicalize().is_ok_and(|images| images.starts_with(&folder)) {
        return Err(format!("{shown} contains the folder of boot files {}, and so itself", images.display()));
    }
    let root = Folder::open(&folder, "the folder").map_err(|error| error.to_string())?;
    let names = match root.entries("boot", &mut { MAX_BOOT_ENTRIES }, |_| true) {
        Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => Vec::new(),
        names => names.map_err(|errno| format!("cannot read {shown}/boot: {errno}"))?,
    };
    let paths = names.iter().map(|name| format!("boot/{name}"));
    let mut copies = Copies::new(work);
    for path in paths.chain(loader_paths().map(str::to_owned)) {
        let Some(role) = role(path.as_bytes()) else { continue };
        // A link stays in the folder; that of `vmlinuz` leads to a kernel that is found anyway.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = match root.look_up(&path, flags) {
            Ok(file) => File::from(file),
            Err(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) => {
                return Err(format!(
                    "cannot read {shown}/{path}: run this as root, or build from a tar archive"
                ));
            }
            Err(_) => continue,
        };
        if file.metadata().is_ok_and(|meta| meta.is_file()) {
            copies.copy(role, &path, file)?;
        }
    }
    // Looks at the boot files before the work that takes minutes.
    let inspected = inspected(work, copies.finish()?)?;
    let progress = Progress::of_percent(&format!("packing {shown}"));
    let mut packing = Mksquashfs::of_folder(&folder, &work.file(ROOT), cleanup)?;
    packing.follow(&progress);
    packing.finish()?;
    Ok(inspected)
}

/// Reads a tar archive once: `mksquashfs` packs it, and the boot files are copied meanwhile.
fn from_archive(
    input: impl Read,
    progress: &Progress,
    work: &WorkFolder,
    cleanup: &Cleanup,
) -> Result<Copied, String> {
    let unreadable = |error: io::Error| format!("it cannot be read: {error}");
    let mut input = Peek::new(input);
    let compression = recognise(input.magic().map_err(unreadable)?);
    let unpacked: Box<dyn Read + '_> = match compression {
        None => Box::new(input),
        // These need a copy of the input on the disk, which the user can do without by a pipe.
        Some(Compression::Program(name)) => {
            return Err(format!(
                "it is packed by {name}: unpack it first, as in `{name} -dc FILE | lanboot images build …`"
            ));
        }
        Some(compression) => unpack(compression, Extent::Whole, &mut input)
            .map_err(|error| format!("it cannot be unpacked: {error}"))?,
    };
    let (packing, program) = Mksquashfs::of_archive(&work.file(ROOT), cleanup)?;
    let mut archive = Archive::new(Tee { input: unpacked, program, progress, is_closed: false });
    let copied = copy_boot_files(&mut archive, work);
    let Tee { input: mut rest, mut program, is_closed, .. } = archive.into_inner();
    // The program needs the second block of zeros too. It reads nothing after that, and may have ended already.
    let _ = program.write_all(&[0; 512]);
    drop(program);
    // A command that writes the rest must not fail, and a compressed archive has its checksum there.
    let copied = copied.and_then(|copied| match io::copy(&mut rest, &mut io::sink()) {
        Ok(_) => Ok(copied),
        Err(error) => Err(format!("it is damaged or cut off at its end: {error}")),
    });
    match copied {
        // The program's own message says why it ended early.
        Err(_) if is_closed => {
            packing.finish()?;
            Err("mksquashfs ended before the archive did".to_owned())
        }
        Err(why) => {
            packing.stop();
            Err(why)
        }
        Ok(copied) => {
            packing.finish()?;
            Ok(copied)
        }
    }
}

fn copy_boot_files(archive: &mut Archive<impl Read>, work: &WorkFolder) -> Result<Copied, String> {
    let mut copies = Copies::new(work);
    while let Some(entry) = archive.next_entry()? {
        let Some(role) = role(&entry.path).filter(|_| entry.kind == Kind::File) else { continue };
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        copies.copy(role, &path, archive.data())?;
    }
    copies.finish()
}

/// Copies of boot files in the work folder.
struct Copies<'w> {
    work: &'w WorkFolder,
    candidates: Candidates<String>,
    loaders: Vec<String>,
    next: u32,
}

impl<'w> Copies<'w> {
    fn new(work: &'w WorkFolder) -> Copies<'w> {
        Copies { work, candidates: Candidates::default(), loaders: Vec::new(), next: 0 }
    }

    fn copy(&mut self, role: Role, path: &str, from: impl Read) -> Result<(), String> {
        self.next += 1;
        let name = format!("candidate{}", self.next);
        let mut to = self.work.create_file(&name)?;
        let copied = io::copy(&mut from.take(MAX_BOOT_FILE + 1), &mut to);
        let copied = copied.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => CUT_OFF.to_owned(),
            _ => format!("cannot copy {path}: {error}"),
        })?;
        if copied > MAX_BOOT_FILE {
            return Err(format!("{path} in it is larger than any boot file"));
        }
        if let Role::Loader(loader) = role {
            self.work.rename(&name, loader)?;
            if !self.loaders.iter().any(|known| known == loader) {
                self.loaders.push(loader.to_owned());
            }
        } else if let Some(old) = self.candidates.add(role, name) {
            let path = self.work.file(&old);
            fs::remove_file(&path).map_err(|error| format!("cannot remove {}: {error}", path.display()))?;
        }
        Ok(())
    }

    /// Gives the chosen files their names, and removes the others.
    fn finish(self) -> Result<Copied, String> {
        let Some(chosen) = self.candidates.choose() else { return Ok((None, self.loaders)) };
        self.work.rename(&chosen.kernel, KERNEL)?;
        if let Some(initrd) = &chosen.initrd {
            self.work.rename(initrd, INITRD)?;
        }
        for number in 1..=self.next {
            // Most of them have another name by now.
            let _ = fs::remove_file(self.work.file(&format!("candidate{number}")));
        }
        Ok((Some(chosen), self.loaders))
    }
}

/// Pads the initrd, so that another one can follow it.
fn pad_initrd(work: &WorkFolder) -> Result<(), String> {
    let pad = || {
        let mut file = File::options().append(true).open(work.file(INITRD))?;
        let size = file.seek(SeekFrom::End(0))?;
        let padding = size.next_multiple_of(INITRD_ALIGNMENT) - size;
        file.write_all([0; 4].get(..usize::try_from(padding).unwrap_or(0)).unwrap_or_default())
    };
    pad().map_err(|error: io::Error| format!("cannot write {INITRD}: {error}"))
}

/// Checks the boot files.
fn inspected(work: &WorkFolder, (chosen, loaders): Copied) -> Result<Inspected, String> {
    let chosen = chosen.ok_or(
        "there is no kernel in its folder /boot: install one in it (Debian: `apt-get install linux-image-amd64`, or \
         linux-image-arm64)",
    )?;
    let name = if chosen.version.is_empty() { String::new() } else { format!("-{}", chosen.version) };
    let open =
        |file: &str| File::open(work.file(file)).map_err(|error| format!("cannot read {file}: {error}"));
    let kernel = kernel::inspect(&open(KERNEL)?).map_err(|error| format!("cannot read {KERNEL}: {error}"))?;
    let kernel = kernel.ok_or_else(|| format!("its file /boot/vmlinuz{name} is no Linux kernel"))?;
    if chosen.initrd.is_none() {
        let version = if chosen.version.is_empty() { "all" } else { &chosen.version };
        return Err(format!(
            "there is no initrd for its newest kernel /boot/vmlinuz{name}: make one in it (Debian: `update-initramfs -c \
             -k {version}`, after `apt-get install live-boot live-boot-initramfs-tools`)"
        ));
    }
    let initrd = initrd::inspect(&open(INITRD)?)
        .map_err(|why| format!("its initrd for /boot/vmlinuz{name}: {why}"))?;
    let in_header = || kernel.version.clone().unwrap_or_else(|| "unknown".to_owned());
    let version = if chosen.version.is_empty() { in_header() } else { chosen.version };
    Ok((Facts { version, kernel, initrd }, loaders))
}
