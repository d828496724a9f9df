//! Recognises builds of iPXE. The server must not send one to an iPXE, because it would load itself again and again.
//!
//! `content/lookup` asks for every reply to an iPXE, `check` for every mapped file. The DHCP loop waits for the
//! answer, so only parts of a file are read, and every version of a file only once.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::images::kind::read_kind;
use crate::images::signature::read_sections;
use crate::images::version::Version;
use crate::types::FileKind;

/// Maximum number of bytes of an EFI program's data that are searched. Debian's largest iPXE, with all drivers, has
/// 230 KiB.
const MAX_DATA: usize = 1 << 20;
/// Maximum number of cached results. The whole cache is cleared when it is full. Normally there are only a few
/// loaders, and copies of them in machine folders.
const MAX_CACHED: usize = 4096;

/// Cache of inspected files, by version. Cheap to clone; clones share the cache.
#[derive(Clone, Debug, Default)]
pub struct ProgramCache(Arc<Mutex<HashMap<Version, ProgramInfo>>>);

/// Result of inspecting one version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    pub kind: FileKind,
    /// Whether the file is a build of iPXE.
    pub is_ipxe: bool,
}

impl ProgramCache {
    /// Inspects `file`. Every version is read once, except if it was changed within the last seconds.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn inspect(&self, file: &File) -> io::Result<ProgramInfo> {
        let meta = file.metadata()?;
        let version = Version::of(&meta);
        if let Some(seen) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&version) {
            return Ok(*seen);
        }
        let seen = inspect(file)?;
        if version.has_settled() {
            let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.len() >= MAX_CACHED {
                cache.clear();
            }
            cache.insert(version, seen);
        }
        Ok(seen)
    }
}

/// Reads the kind of an open file, and whether it is a build of iPXE, without the cache.
///
/// # Errors
/// The file cannot be read.
pub fn inspect(file: &File) -> io::Result<ProgramInfo> {
    let kind = read_kind(Head { file, at: 0 })?;
    let is_ipxe = match kind {
        FileKind::BiosIpxe => true,
        FileKind::EfiProgram(_) | FileKind::OtherPe(_) => is_efi_build(file)?,
        FileKind::LinuxKernel => is_kernel_build(file)?,
        _ => false,
    };
    Ok(ProgramInfo { kind, is_ipxe })
}

/// iPXE's user class, in its list of DHCP options to send (`dhcp_request_options_data` in `src/net/udp/dhcp.c`): 77,
/// 4, `iPXE`. A build under another product name has it too.
const USER_CLASS: &[u8] = b"\x4d\x04iPXE";
/// First line about iPXE in the section `.sbat` of builds that can be signed.
const SBAT: &[u8] = b"\nipxe,";

fn is_efi_build(file: &File) -> io::Result<bool> {
    // The options are in `.data`. The other sections cover builds whose linker put constants elsewhere.
    const NAMES: [&[u8]; 3] = [b".data", b".rodata", b".sbat"];
    let data = read_sections(file, &NAMES, MAX_DATA)?.unwrap_or_default();
    Ok([USER_CLASS, SBAT].iter().any(|mark| contains(&data, mark)))
}

/// `ipxe.lkrn` is compressed, except for the code that reports a failure to unpack it
/// (`src/arch/x86/prefix/libprefix.S`).
fn is_kernel_build(file: &File) -> io::Result<bool> {
    const MARK: &[u8] = b"Installation failed - cannot continue";
    const SETUP: usize = 8192;
    let mut setup = vec![0; SETUP];
    let read = read_at_most(file, &mut setup)?;
    Ok(contains(setup.get(..read).unwrap_or_default(), MARK))
}

fn contains(data: &[u8], mark: &[u8]) -> bool {
    let first = mark.first().copied().unwrap_or_default();
    let starts = data.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts.map(|(at, _)| data.get(at..).unwrap_or_default()).any(|rest| rest.starts_with(mark))
}

fn read_at_most(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut head = Head { file, at: 0 };
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match io::Read::read(&mut head, rest)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Reads a file from its beginning without moving the position of the open file, which other readers may share.
struct Head<'f> {
    file: &'f File,
    at: u64,
}

impl io::Read for Head<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// An EFI program for x64 whose section `name` contains `data`.
    fn efi(name: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x88].copy_from_slice(&[0x64, 0x86, 1, 0]);
        bytes[0x94] = 0xf0;
        bytes[0x84 + 20 + 68] = 10;
        let section = 0x98 + 0xf0;
        bytes[section..section + name.len()].copy_from_slice(name);
        bytes[section + 16..section + 20].copy_from_slice(&(data.len() as u32).to_le_bytes());
        bytes[section + 20..section + 24].copy_from_slice(&0x400u32.to_le_bytes());
        [bytes, data.to_vec()].concat()
    }

    fn is_ipxe(bytes: &[u8]) -> bool {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        inspect(file.as_file()).unwrap().is_ipxe
    }

    #[test]
    fn r_02_ipxe_builds_are_recognised_by_content() {
        let mark = [&[0; 5000][..], b"7\x07\x01\x03\x4d\x04iPXE=\x07"].concat();
        assert!(is_ipxe(&efi(b".data", &mark)));
        assert!(is_ipxe(&efi(b".rodata", &mark)));
        assert!(!is_ipxe(&efi(b".text", &mark)), "code is not searched");
        assert!(is_ipxe(&efi(b".sbat", b"sbat,1,SBAT Version\nipxe,1,iPXE,ipxe,1.21.1\n")));
        assert!(!is_ipxe(&efi(b".sbat", b"sbat,1,SBAT Version\ngrub,3,loads ipxe\n")));
        assert!(
            !is_ipxe(&efi(b".data", b"chainload snponly.efi of iPXE https://ipxe.org/")),
            "it only speaks of it"
        );
        assert!(!is_ipxe(b"#!ipxe\nchain x\n"), "a script is none");
        for cut in [0, 2, 0x84, 0x98, 0x188, 0x3ff] {
            assert!(!is_ipxe(&efi(b".data", &mark)[..cut]), "{cut}");
        }
    }

    /// Checks the loaders of the Debian packages that are installed on this computer.
    #[test]
    fn r_02_real_builds_differ_from_other_loaders() {
        let loaders = [
            ("/usr/lib/ipxe/undionly.kpxe", true),
            ("/usr/lib/ipxe/undionly.kkpxe", true),
            ("/usr/lib/ipxe/ipxe.pxe", true),
            ("/usr/lib/ipxe/snponly.efi", true),
            ("/boot/ipxe.efi", true),
            ("/boot/ipxe.lkrn", true),
            ("/usr/lib/PXELINUX/pxelinux.0", false),
            ("/usr/lib/PXELINUX/lpxelinux.0", false),
            ("/usr/lib/shim/shimx64.efi", false),
            ("/usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi", false),
            ("/usr/lib/SYSLINUX.EFI/efi64/syslinux.efi", false),
            ("/usr/lib/SYSLINUX.EFI/efi32/syslinux.efi", false),
        ];
        for (path, is_ipxe) in loaders {
            let Ok(file) = File::open(path) else {
                eprintln!("SKIPPED: there is no {path}");
                continue;
            };
            assert_eq!(inspect(&file).unwrap().is_ipxe, is_ipxe, "{path}");
        }
    }

    #[test]
    fn r_02_a_replaced_file_is_inspected_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loader");
        let builds = ProgramCache::default();
        let look = |path: &Path| builds.inspect(&File::open(path).unwrap()).unwrap().is_ipxe;
        let (build, other) = (efi(b".data", USER_CLASS), efi(b".data", b"GRUB!!"));
        assert_eq!(build.len(), other.len());
        for _ in 0..50 {
            // Rewritten in place with the same size, possibly within one step of the clock.
            fs::write(&path, &build).unwrap();
            assert!(look(&path));
            fs::write(&path, &other).unwrap();
            assert!(!look(&path));
        }
        let old = std::process::Command::new("touch").args(["-d", "2001-01-01"]).arg(&path).status().unwrap();
        assert!(old.success());
        assert!(!look(&path));
        // Replaced by a rename, with the time stamps of the old file.
        let new = folder.path().join("new");
        fs::write(&new, &build).unwrap();
        assert!(
            std::process::Command::new("touch").arg("-r").arg(&path).arg(&new).status().unwrap().success()
        );
        fs::rename(&new, &path).unwrap();
        assert!(look(&path));
    }

    #[test]
    fn r_02_versions_are_read_once_and_the_cache_is_bounded() {
        let builds = ProgramCache::default();
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let version = Version::of(&file.metadata().unwrap());
        let seen = ProgramInfo { kind: FileKind::Empty, is_ipxe: true };
        builds.0.lock().unwrap().insert(version, seen);
        assert_eq!(builds.inspect(&file).unwrap(), seen, "what is remembered is not read again");
        let mut cache = builds.0.lock().unwrap();
        for inode in 0..MAX_CACHED as u64 {
            cache.insert(Version { inode, device: u64::MAX, ..version }, seen);
        }
        cache.remove(&version);
        drop(cache);
        let old = Path::new("/proc/version");
        let _ = builds.inspect(&File::open(old).unwrap());
        assert!(builds.0.lock().unwrap().len() <= MAX_CACHED + 1);
    }
}
