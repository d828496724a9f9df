//! The programs that firmware loads and that load more: what they ask for next.

use super::next::Next;
use super::{Boot, grub, pxelinux, shim};

/// A boot loader that reads what the firmware kept of its replies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Loader {
    /// iPXE, which does DHCP once more and so is no second stage but a client: [`super::Firmware::Ipxe`].
    Ipxe,
    /// PXELINUX in a BIOS.
    Pxelinux,
    /// PXELINUX's twin for UEFI.
    SyslinuxEfi,
    /// GRUB for UEFI, as distributions build it.
    Grub,
    /// shim for x64, which loads `grubx64.efi`.
    ShimX64,
    /// shim for 64-bit ARM, which loads `grubaa64.efi`.
    ShimArm64,
}

impl Loader {
    /// The loader that files of this name are, by the names that its makers and distributions give it.
    pub fn of_file(name: &str) -> Option<Loader> {
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name).to_ascii_lowercase();
        let is_any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        if is_any(&["ipxe", "undionly", "snponly"]) {
            Some(Loader::Ipxe).filter(|_| !name.ends_with(".ipxe"))
        } else if is_any(&["pxelinux"]) {
            Some(Loader::Pxelinux)
        } else if is_any(&["syslinux"]) && name.ends_with(".efi") {
            Some(Loader::SyslinuxEfi)
        } else if is_any(&["shimaa64"]) {
            Some(Loader::ShimArm64)
        } else if is_any(&["shim"]) {
            Some(Loader::ShimX64)
        } else if is_any(&["grub"]) {
            Some(Loader::Grub)
        } else {
            None
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Loader::Ipxe => "iPXE",
            Loader::Pxelinux => "PXELINUX",
            Loader::SyslinuxEfi => "SYSLINUX",
            Loader::Grub => "GRUB",
            Loader::ShimX64 | Loader::ShimArm64 => "shim",
        }
    }
}

/// What `loader` asks for, once it was loaded so; why it cannot, for people. `None` for iPXE, which does DHCP again.
pub fn next(loader: Loader, boot: &Boot) -> Option<Result<Next, String>> {
    match loader {
        Loader::Ipxe => None,
        Loader::Pxelinux => Some(pxelinux::next(&boot.left, "ldlinux.c32")),
        Loader::SyslinuxEfi => Some(pxelinux::next(&boot.left, "ldlinux.e64")),
        Loader::Grub => Some(grub::next(&boot.left)),
        Loader::ShimX64 => Some(shim::next(boot, "grubx64.efi")),
        Loader::ShimArm64 => Some(shim::next(boot, "grubaa64.efi")),
    }
}
