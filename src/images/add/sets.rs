//! The sets of boot files that `lanboot images add NAME` knows: which files of which Debian packages, and their names
//! in the images folder. This is data only.

use DebArch::{Amd64, Arm64};

/// A processor architecture, by Debian's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DebArch {
    /// x86-64, including PCs with a BIOS.
    Amd64,
    /// AArch64.
    Arm64,
}

impl DebArch {
    pub const ALL: [DebArch; 2] = [Amd64, Arm64];

    pub fn name(self) -> &'static str {
        match self {
            Amd64 => "amd64",
            Arm64 => "arm64",
        }
    }
}

/// Boot files that are added together.
#[derive(Debug)]
pub struct Set {
    /// Name on the command line.
    pub name: &'static str,
    /// Description for the help text.
    pub about: &'static str,
    /// Advice that is shown after the set was added.
    pub hint: &'static str,
    pub files: &'static [SetFile],
    /// Systems that loaders can start with these files.
    pub targets: &'static [SetTarget],
}

/// An entry of `targets` in the configuration.
#[derive(Debug)]
pub struct SetTarget {
    pub name: &'static str,
    /// The kernel, by its name in the images folder.
    pub kernel: &'static str,
    pub initrd: &'static str,
}

/// A file of a package and its names in the images folder.
#[derive(Debug)]
pub struct SetFile {
    /// The machines that the file is for.
    pub arch: DebArch,
    /// Package name. `*` stands for a number, and the largest one is chosen.
    pub package: &'static str,
    /// Whether the package has `Architecture: all`.
    pub for_all: bool,
    /// Possible paths in the package, which differ between distributions. A component `*` matches any one component.
    pub paths: &'static [&'static str],
    /// Names in the images folder. There are several if loaders request the file by different names.
    pub names: &'static [&'static str],
    /// Whether the file is missing in older versions of the package.
    pub is_optional: bool,
}

pub fn set(name: &str) -> Option<&'static Set> {
    SETS.iter().find(|set| set.name == name)
}

/// The name of the set that has a file of this name.
pub fn set_with(file: &str) -> Option<&'static str> {
    let has = |set: &&Set| set.files.iter().any(|added| added.names.contains(&file));
    SETS.iter().find(has).map(|set| set.name)
}

const fn of_all(
    arch: DebArch,
    package: &'static str,
    paths: &'static [&'static str],
    names: &'static [&'static str],
) -> SetFile {
    SetFile { arch, package, for_all: true, paths, names, is_optional: false }
}

const fn of_arch(
    arch: DebArch,
    package: &'static str,
    paths: &'static [&'static str],
    names: &'static [&'static str],
) -> SetFile {
    SetFile { for_all: false, ..of_all(arch, package, paths, names) }
}

const fn optional(file: SetFile) -> SetFile {
    SetFile { is_optional: true, ..file }
}

const GRUB_X64: &str = "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed";
const GRUB_ARM64: &str = "usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed";
const INSTALLER_X64: &str = "debian-installer-*-netboot-amd64";
const INSTALLER_ARM64: &str = "debian-installer-*-netboot-arm64";

/// All sets. Packages and paths are those of Debian 12 and 13. Ubuntu adds `.latest` to the name of the newest shim.
pub const SETS: &[Set] = &[
    Set {
        name: "ipxe",
        about: "iPXE for BIOS and UEFI: loads by HTTP, runs scripts. Not signed",
        hint: "in config.yaml, boot.arch: `bios: undionly.kpxe`, `uefi-x64: snponly.efi`",
        targets: &[],
        files: &[
            of_all(Amd64, "ipxe", &["usr/lib/ipxe/undionly.kpxe"], &["undionly.kpxe"]),
            of_all(Amd64, "ipxe", &["usr/lib/ipxe/ipxe.pxe"], &["ipxe.pxe"]),
            of_all(Amd64, "ipxe", &["usr/lib/ipxe/snponly.efi"], &["snponly.efi"]),
            of_all(
                Amd64,
                "ipxe",
                &["usr/lib/ipxe/ipxe-amd64.efi", "usr/lib/ipxe/ipxe.efi", "boot/ipxe.efi"],
                &["ipxe.efi"],
            ),
            // Since Debian 13.
            optional(of_all(Arm64, "ipxe", &["usr/lib/ipxe/ipxe-arm64.efi"], &["ipxe-arm64.efi"])),
        ],
    },
    Set {
        name: "pxelinux",
        about: "PXELINUX for BIOS with its modules, SYSLINUX for UEFI: read pxelinux.cfg/",
        hint: "in config.yaml, boot.arch: `bios: lpxelinux.0`; its menus are boot-images/pxelinux.cfg/default",
        targets: &[],
        files: &[
            of_all(Amd64, "pxelinux", &["usr/lib/PXELINUX/pxelinux.0"], &["pxelinux.0"]),
            of_all(Amd64, "pxelinux", &["usr/lib/PXELINUX/lpxelinux.0"], &["lpxelinux.0"]),
            of_all(
                Amd64,
                "syslinux-common",
                &["usr/lib/syslinux/modules/bios/ldlinux.c32"],
                &["ldlinux.c32"],
            ),
            of_all(
                Amd64,
                "syslinux-common",
                &["usr/lib/syslinux/modules/bios/libcom32.c32"],
                &["libcom32.c32"],
            ),
            of_all(
                Amd64,
                "syslinux-common",
                &["usr/lib/syslinux/modules/bios/libutil.c32"],
                &["libutil.c32"],
            ),
            of_all(Amd64, "syslinux-common", &["usr/lib/syslinux/modules/bios/menu.c32"], &["menu.c32"]),
            of_all(
                Amd64,
                "syslinux-common",
                &["usr/lib/syslinux/modules/bios/vesamenu.c32"],
                &["vesamenu.c32"],
            ),
            of_all(Amd64, "syslinux-common", &["usr/lib/syslinux/modules/bios/chain.c32"], &["chain.c32"]),
            of_all(Amd64, "syslinux-common", &["usr/lib/syslinux/modules/bios/mboot.c32"], &["mboot.c32"]),
            of_all(Amd64, "syslinux-common", &["usr/lib/syslinux/modules/bios/reboot.c32"], &["reboot.c32"]),
            of_all(
                Amd64,
                "syslinux-common",
                &["usr/lib/syslinux/modules/bios/poweroff.c32"],
                &["poweroff.c32"],
            ),
            of_all(Amd64, "syslinux-efi", &["usr/lib/SYSLINUX.EFI/efi64/syslinux.efi"], &["syslinux.efi64"]),
            of_all(
                Amd64,
                "syslinux-common",
                &["usr/lib/syslinux/modules/efi64/ldlinux.e64"],
                &["ldlinux.e64"],
            ),
        ],
    },
    Set {
        name: "grub",
        about: "GRUB for UEFI, signed, also under the name that shim asks for: reads grub/grub.cfg",
        hint: "in config.yaml, boot.arch: `uefi-x64: grubnetx64.efi`, `uefi-arm64: grubnetaa64.efi`; for Secure Boot \
               also add shim. Its menu is boot-images/grub/grub.cfg",
        targets: &[],
        files: &[
            of_arch(Amd64, "grub-efi-amd64-signed", &[GRUB_X64], &["grubnetx64.efi", "grubx64.efi"]),
            of_arch(Arm64, "grub-efi-arm64-signed", &[GRUB_ARM64], &["grubnetaa64.efi", "grubaa64.efi"]),
        ],
    },
    Set {
        name: "shim",
        about: "shim for Secure Boot, signed by Microsoft: loads GRUB (add grub, too)",
        hint: "in config.yaml, boot.arch: `uefi-x64: shimx64.efi`, `uefi-arm64: shimaa64.efi`; it loads grubx64.efi or \
               grubaa64.efi from the same folder: lanboot images add grub",
        targets: &[],
        files: &[
            of_arch(
                Amd64,
                "shim-signed",
                &["usr/lib/shim/shimx64.efi.signed", "usr/lib/shim/shimx64.efi.signed.latest"],
                &["shimx64.efi"],
            ),
            of_arch(Amd64, "shim-helpers-amd64-signed", &["usr/lib/shim/mmx64.efi.signed"], &["mmx64.efi"]),
            of_arch(
                Arm64,
                "shim-signed",
                &["usr/lib/shim/shimaa64.efi.signed", "usr/lib/shim/shimaa64.efi.signed.latest"],
                &["shimaa64.efi"],
            ),
            of_arch(Arm64, "shim-helpers-arm64-signed", &["usr/lib/shim/mmaa64.efi.signed"], &["mmaa64.efi"]),
        ],
    },
    Set {
        name: "memtest",
        about: "Memtest86+, a memory test: for UEFI, and for BIOS as a kernel",
        hint: "in config.yaml, a machine's boot: `{uefi-x64: memtest86+x64.efi}`; with a BIOS, from iPXE: `kernel memtest86+x64.bin`",
        targets: &[],
        files: &[
            of_arch(Amd64, "memtest86+", &["boot/memtest86+x64.efi"], &["memtest86+x64.efi"]),
            of_arch(Amd64, "memtest86+", &["boot/memtest86+x64.bin"], &["memtest86+x64.bin"]),
        ],
    },
    Set {
        name: "debian-installer",
        about: "kernel and RAM disk of the Debian installer (downloads 130 MB for each architecture)",
        hint: "in config.yaml, a target; docs/templates.md shows how to answer its questions",
        targets: &[
            SetTarget {
                name: "debian-installer",
                kernel: "debian-installer/amd64/linux",
                initrd: "debian-installer/amd64/initrd.gz",
            },
            SetTarget {
                name: "debian-installer-arm64",
                kernel: "debian-installer/arm64/linux",
                initrd: "debian-installer/arm64/initrd.gz",
            },
        ],
        files: &[
            of_all(
                Amd64,
                INSTALLER_X64,
                &["usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64/linux"],
                &["debian-installer/amd64/linux"],
            ),
            of_all(
                Amd64,
                INSTALLER_X64,
                &["usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64/initrd.gz"],
                &["debian-installer/amd64/initrd.gz"],
            ),
            of_all(
                Arm64,
                INSTALLER_ARM64,
                &["usr/lib/debian-installer/images/*/arm64/text/debian-installer/arm64/linux"],
                &["debian-installer/arm64/linux"],
            ),
            of_all(
                Arm64,
                INSTALLER_ARM64,
                &["usr/lib/debian-installer/images/*/arm64/text/debian-installer/arm64/initrd.gz"],
                &["debian-installer/arm64/initrd.gz"],
            ),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::name::BootName;
    use std::collections::BTreeSet;

    /// The printed targets and the example of the documentation name files that the command makes.
    #[test]
    fn r_47_targets_and_examples_name_files_of_sets() {
        let made: BTreeSet<&str> =
            SETS.iter().flat_map(|set| set.files).flat_map(|file| file.names).copied().collect();
        let targets = || SETS.iter().flat_map(|set| set.targets);
        assert!(targets().all(|target| made.contains(target.kernel) && made.contains(target.initrd)));
        let example = include_str!("../../../docs/examples/config.yaml");
        let named = |target: &&SetTarget| example.contains(target.kernel) && example.contains(target.initrd);
        assert!(targets().any(|target| named(&target)), "docs/examples/config.yaml names none of them");
    }

    #[test]
    fn names_are_unique_and_can_be_requested() {
        let mut names = BTreeSet::new();
        for file in SETS.iter().flat_map(|set| set.files) {
            for name in file.names {
                assert!(names.insert(name), "{name} twice");
                assert_eq!(BootName::parse(name.as_bytes()).unwrap().as_str(), *name);
            }
            assert!(!file.names.is_empty() && !file.paths.is_empty());
            assert!(file.paths.iter().all(|path| path.len() < 100), "{file:?}");
            assert!(file.paths.iter().all(|path| !path.starts_with(['/', '.'])), "{file:?}");
        }
    }
}
