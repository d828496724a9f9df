//! Boot loaders, which firmware loads and which load more files.

use super::next::Next;
use super::{grub, pxelinux, shim};
use crate::probe::models::verdict::Boot;

/// A boot loader that uses the replies kept by the firmware.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Loader {
    /// iPXE. It runs DHCP again, so it is modelled as a client: [`super::Firmware::Ipxe`].
    Ipxe,
    /// PXELINUX on a BIOS.
    Pxelinux,
    /// The version of PXELINUX for UEFI.
    SyslinuxEfi,
    /// GRUB for UEFI, as distributions build it.
    Grub,
    /// shim for x64, which loads `grubx64.efi`.
    ShimX64,
    /// shim for 64-bit ARM, which loads `grubaa64.efi`.
    ShimArm64,
}

impl Loader {
    /// Guesses the loader from the file names that its authors and distributions use.
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

    /// Returns the usual name.
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

/// Returns the next request of `loader` after it was loaded by `boot`, or the reason why it fails. Returns `None` for
/// iPXE, which runs DHCP again.
pub fn next(loader: Loader, boot: &Boot) -> Option<Result<Next, String>> {
    match loader {
        Loader::Ipxe => None,
        Loader::Pxelinux => Some(pxelinux::next(&boot.kept, "ldlinux.c32")),
        Loader::SyslinuxEfi => Some(pxelinux::next(&boot.kept, "ldlinux.e64")),
        Loader::Grub => Some(grub::next(&boot.kept)),
        Loader::ShimX64 => Some(shim::next(boot, "grubx64.efi")),
        Loader::ShimArm64 => Some(shim::next(boot, "grubaa64.efi")),
    }
}
