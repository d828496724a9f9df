//! Looks into the initrd of an image for a program that fetches the root file system over the network. An initrd is a
//! sequence of cpio archives, each compressed or not, with zeros between them (kernel, buffer-format.rst).

use std::fs::File;
use std::io::{self, BufRead, Read, Seek};

use crate::boot::loader::root::RootKind;
use crate::images::compression::{Extent, Peek, recognise, unpack};
use crate::wire::cpio;

/// Maximum size of the unpacked initrd in bytes.
const MAX_UNPACKED: u64 = 16 << 30;
/// Maximum number of entries. An initrd with all drivers has 10,000.
const MAX_ENTRIES: u64 = 4_000_000;
/// Maximum size of dracut's list of modules in bytes.
const MAX_MODULES: u32 = 64 * 1024;

/// The facts about an initrd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InitrdFacts {
    pub(super) kind: RootKind,
    /// Size of the files in it, in bytes.
    pub(super) unpacked: u64,
}

/// Evidence of the programs in an initrd.
#[derive(Debug, Default)]
struct Seen {
    entries: u64,
    unpacked: u64,
    has_live_boot: bool,
    has_livenet: bool,
    /// initramfs-tools made the initrd.
    has_scripts: bool,
    is_dracut: bool,
    /// dracut's list of its modules, one a line.
    modules: Option<String>,
}

/// Reads the whole of `file`.
///
/// # Errors
/// The initrd is damaged, or has no program that fetches a root file system; then the text says how to install one.
pub(super) fn inspect(mut file: &File) -> Result<InitrdFacts, String> {
    let mut seen = Seen::default();
    file.rewind().map_err(unreadable)?;
    let complete = scan(&mut Peek::new(file), &mut seen, false);
    let kind = seen.kind();
    // The decision needs only what was seen, and a segment of an unknown kind may follow.
    match (kind, complete) {
        (Ok(kind), _) => Ok(InitrdFacts { kind, unpacked: seen.unpacked }),
        (Err(_), Err(error)) => Err(error),
        (Err(missing), Ok(())) => Err(missing),
    }
}

/// Reads the archives in `input` until its end.
fn scan<R: Read>(input: &mut Peek<R>, seen: &mut Seen, is_unpacked: bool) -> Result<(), String> {
    loop {
        skip_zeros(input).map_err(unreadable)?;
        let magic = input.magic().map_err(unreadable)?;
        if magic.is_empty() {
            return Ok(());
        }
        if cpio::MAGICS.iter().any(|known| magic == *known) {
            read_archive(input, seen)?;
            continue;
        }
        let compression = recognise(magic).filter(|_| !is_unpacked);
        let compression =
            compression.ok_or("it is no cpio archive, and packed in no way that lanboot knows")?;
        let unpacked = unpack(compression, Extent::OneStream, input).map_err(unreadable)?;
        scan(&mut Peek::new(unpacked), seen, true)?;
    }
}

fn skip_zeros<R: Read>(input: &mut Peek<R>) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let is_over = zeros < bytes.len() || bytes.is_empty();
        input.consume(zeros);
        if is_over {
            return Ok(());
        }
    }
}

/// Reads one archive up to its last entry.
fn read_archive<R: Read>(input: &mut Peek<R>, seen: &mut Seen) -> Result<(), String> {
    loop {
        let mut header = [0; cpio::HEADER_SIZE];
        input.read_exact(&mut header).map_err(unreadable)?;
        let (entry, name_size) =
            cpio::decode(&header).ok_or("it is damaged: the header of a file is wrong")?;
        let mut name = vec![0; name_size];
        input.read_exact(&mut name).map_err(unreadable)?;
        name.pop();
        skip(input, cpio::padding(cpio::HEADER_SIZE as u64 + name_size as u64) as u64)?;
        if name == cpio::TRAILER {
            return Ok(());
        }
        seen.entries += 1;
        seen.unpacked = seen.unpacked.saturating_add(u64::from(entry.size));
        if seen.entries > MAX_ENTRIES || seen.unpacked > MAX_UNPACKED {
            return Err("it is larger than any initrd".to_owned());
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        let name = name.trim_start_matches("./").trim_start_matches('/');
        seen.note(name);
        let mut unread = u64::from(entry.size);
        if name.ends_with("lib/dracut/modules.txt") && entry.size <= MAX_MODULES {
            let mut text = Vec::new();
            input.by_ref().take(unread).read_to_end(&mut text).map_err(unreadable)?;
            unread = unread.saturating_sub(text.len() as u64);
            seen.modules = Some(String::from_utf8_lossy(&text).into_owned());
        }
        skip(input, unread + cpio::padding(u64::from(entry.size)) as u64)?;
    }
}

fn skip<R: Read>(input: &mut Peek<R>, bytes: u64) -> Result<(), String> {
    let skipped = io::copy(&mut input.by_ref().take(bytes), &mut io::sink()).map_err(unreadable)?;
    if skipped == bytes { Ok(()) } else { Err("it is cut off".to_owned()) }
}

fn unreadable(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut off".to_owned(),
        _ => format!("it cannot be unpacked: {error}"),
    }
}

impl Seen {
    /// Notes the file `name`. live-boot's hook copies `scripts/live` and `/lib/live/boot` (`usr/share/initramfs-tools/hooks/live`);
    /// dracut's module livenet installs `livenetroot` and `parse-livenet.sh` (`modules.d/90livenet/module-setup.sh`).
    fn note(&mut self, name: &str) {
        let in_lib = name.strip_prefix("usr/").unwrap_or(name);
        self.has_live_boot |=
            name == "scripts/live" || in_lib.starts_with("lib/live/boot/") || in_lib == "lib/live/boot";
        self.has_scripts |= matches!(name, "scripts/functions" | "scripts/local" | "scripts/init-top");
        self.is_dracut |= in_lib.starts_with("lib/dracut") || in_lib.starts_with("lib/dracut-");
        let last = name.rsplit('/').next().unwrap_or(name);
        self.has_livenet |=
            last.ends_with("parse-livenet.sh") || last.trim_end_matches(".sh") == "livenetroot";
    }

    fn kind(&self) -> Result<RootKind, String> {
        const LIVE_BOOT: &str = "install live-boot in it, which also writes the initrd again: `apt-get install live-boot \
                                 live-boot-initramfs-tools`, or with mmdebstrap \
                                 `--include=linux-image-amd64,live-boot,live-boot-initramfs-tools`";
        const DRACUT: &str = "install dracut-live and dracut-network in it, write `hostonly=no` and \
                              `add_dracutmodules+=\" livenet dmsquash-live network-legacy \"` to \
                              /etc/dracut.conf.d/lanboot.conf, and run `dracut --force --regenerate-all`";
        if self.has_live_boot {
            return Ok(RootKind::LiveBoot);
        }
        if self.has_livenet {
            // With systemd-networkd alone, livenet never fetches anything (dracut 059).
            let can_fetch = |module: &str| matches!(module, "network-legacy" | "network-manager" | "connman");
            let modules = self.modules.as_deref().unwrap_or_default();
            return if modules.is_empty() || modules.lines().any(|line| can_fetch(line.trim())) {
                Ok(RootKind::Dracut)
            } else {
                Err(format!(
                    "it has dracut's livenet, but neither network-legacy nor network-manager: {DRACUT}"
                ))
            };
        }
        Err(if self.is_dracut {
            format!("it cannot fetch a root file system over the network: {DRACUT}")
        } else if self.has_scripts {
            format!("it cannot fetch a root file system over the network: {LIVE_BOOT}")
        } else {
            format!(
                "it cannot fetch a root file system over the network. Debian and Ubuntu: {LIVE_BOOT}. Others: {DRACUT}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, data) in files {
            let entry = cpio::Entry {
                name: name.as_bytes().to_vec(),
                mode: 0o100_644,
                links: 1,
                size: data.len() as u32,
                ..cpio::Entry::default()
            };
            bytes.extend(cpio::encode(&entry).unwrap());
            bytes.extend(*data);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.extend(cpio::trailer());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn of(bytes: &[u8]) -> Result<RootKind, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&file).map(|facts| facts.kind)
    }

    #[test]
    fn programs_are_found_behind_early_archives() {
        let microcode = archive(&[("kernel/x86/microcode/GenuineIntel.bin", &[1; 3000])]);
        let live = archive(&[("scripts/functions", b"x"), ("scripts/live", b"y")]);
        assert_eq!(of(&live), Ok(RootKind::LiveBoot));
        for packed in [gzip(&live), zstd(&live)] {
            for zeros in [0, 1, 3, 512] {
                let initrd = [&microcode[..], &packed, &vec![0; zeros]].concat();
                assert_eq!(of(&initrd), Ok(RootKind::LiveBoot));
                // An archive may follow the compressed one.
                let initrd = [&packed_with(b"x"), &vec![0; zeros][..], &packed].concat();
                assert_eq!(of(&initrd), Ok(RootKind::LiveBoot));
            }
        }
        let dracut = |modules: &[u8]| {
            archive(&[
                ("usr/lib/dracut/modules.txt", modules),
                ("usr/lib/dracut/hooks/cmdline/29-parse-livenet.sh", b""),
            ])
        };
        assert_eq!(of(&gzip(&dracut(b"bash\nnetwork-legacy\nlivenet\n"))), Ok(RootKind::Dracut));
        let error = of(&dracut(b"systemd-networkd\nlivenet\n")).unwrap_err();
        assert!(error.contains("neither network-legacy nor"), "{error}");
    }

    fn packed_with(data: &[u8]) -> Vec<u8> {
        gzip(&archive(&[("x", data)]))
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = of(&archive(&[("scripts/functions", b"")])).unwrap_err();
        assert!(error.contains("apt-get install live-boot") && !error.contains("dracut"), "{error}");
        let error = of(&archive(&[("usr/lib/dracut/hooks/x", b"")])).unwrap_err();
        assert!(error.contains("dracut-live") && !error.contains("apt-get"), "{error}");
        let error = of(&archive(&[("init", b"")])).unwrap_err();
        assert!(error.contains("apt-get install live-boot") && error.contains("dracut-live"), "{error}");
    }

    #[test]
    fn damaged_files_are_reported() {
        let whole = gzip(&archive(&[("scripts/functions", &[7; 10_000])]));
        for (bytes, why) in [
            (whole[..whole.len() / 2].to_vec(), "cut off"),
            (b"no initrd at all".to_vec(), "no cpio archive"),
            (archive(&[("x", b"")])[..50].to_vec(), "cut off"),
            (Vec::new(), "cannot fetch"),
        ] {
            let error = of(&bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
