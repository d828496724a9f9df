//! Programs and files that runs with real machines need, and the Debian packages that contain them.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

/// A program or file that a run needs, and its Debian package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Name of a program in PATH, or absolute path of a file.
    pub what: &'static str,
    /// Debian package that contains it.
    pub package: &'static str,
}

/// Requirements of a [`Network`](super::network::Network).
pub const NETWORK: &[Need] = &[
    Need { what: "ip", package: "iproute2" },
    Need { what: "ethtool", package: "ethtool" },
    Need { what: "setpriv", package: "util-linux" },
];

/// Requirements of a [`machine`](super::network::machine) with `Firmware::SeaBios`, in addition to [`NETWORK`].
pub const SEABIOS: &[Need] = &[
    Need { what: "qemu-system-x86_64", package: "qemu-system-x86" },
    Need { what: "/usr/lib/ipxe/qemu/pxe-virtio.rom", package: "ipxe-qemu" },
];

/// Requirements of a [`machine`](super::network::machine) with `Firmware::Ovmf`, in addition to [`NETWORK`]: the
/// firmware, and iPXE for it to load.
pub const OVMF: &[Need] = &[
    Need { what: "qemu-system-x86_64", package: "qemu-system-x86" },
    Need { what: OVMF_CODE, package: "ovmf" },
    Need { what: OVMF_VARS, package: "ovmf" },
    Need { what: SNPONLY, package: "ipxe" },
];

/// iPXE for UEFI that uses the firmware's network driver, as Debian's package `ipxe` installs it.
pub const SNPONLY: &str = "/usr/lib/ipxe/snponly.efi";

pub(super) const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
pub(super) const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Reasons why a run with these `needs` is impossible, one line each, with the command that fixes it. `again` is the
/// command to repeat as root.
pub fn obstacles(needs: &[Need], again: &str) -> Vec<String> {
    let mut lines = missing(needs);
    if !nix::unistd::geteuid().is_root() {
        lines.push(format!("network namespaces need root: sudo {again}"));
    }
    lines
}

/// The missing programs and files of [`obstacles`], in at most one line.
pub fn missing(needs: &[Need]) -> Vec<String> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !present(need.what)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let what: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let packages: BTreeSet<&str> = missing.iter().map(|need| need.package).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    let install = format!("On Debian or Ubuntu: sudo apt-get install {}", packages.join(" "));
    vec![format!("not installed: {}. {install}", what.join(", "))]
}

/// Whether a program is in PATH or in a system folder, or a file exists.
pub fn present(what: &str) -> bool {
    if what.starts_with('/') {
        return Path::new(what).exists();
    }
    // `ip` and `udhcpc` are in /usr/sbin, which is not in every user's PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    let system = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    env::split_paths(&path).chain(system).any(|folder| folder.join(what).is_file())
}
