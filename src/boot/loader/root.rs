//! The root file system of a machine without a disk, as `lanboot images build` made it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The program in the initrd that fetches the root file system. It decides which kernel arguments name the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootKind {
    /// Debian's live-boot, in an initrd of initramfs-tools.
    LiveBoot,
    /// dracut with its module livenet.
    Dracut,
    /// The root file system is the initrd.
    Single,
}

impl RootKind {
    /// The name in image.json.
    pub fn name(self) -> &'static str {
        match self {
            RootKind::LiveBoot => "live-boot",
            RootKind::Dracut => "dracut",
            RootKind::Single => "single",
        }
    }

    /// Memory in MiB that a machine needs, from the sizes in bytes of the file that is the root and of the unpacked
    /// initrd. The constants are fitted to boots in QEMU (Debian 12, a root of 75 MiB): 384 MiB were enough for
    /// live-boot, 640 MiB for dracut, and 768 MiB for a single stage that unpacks to 285 MiB.
    pub fn ram_mib(self, root: u64, initrd: u64) -> u64 {
        const MIB: u64 = 1 << 20;
        let (root, initrd) = (root.div_ceil(MIB), initrd.div_ceil(MIB));
        let needed = match self {
            RootKind::LiveBoot => root.saturating_add(304),
            // dracut stores the root in a file system that takes at most half of the memory, next to its initrd.
            RootKind::Dracut => root.saturating_add(560).max(root.saturating_add(initrd).saturating_mul(2)),
            // The kernel unpacks into a file system that takes at most half of the memory.
            RootKind::Single => initrd.saturating_mul(5).div_ceil(2).saturating_add(48),
        };
        needed.checked_next_multiple_of(64).unwrap_or(u64::MAX)
    }
}

/// The name of the file in a build that describes it.
pub const DESCRIPTION: &str = "image.json";
/// Maximum size of that file in bytes.
pub const MAX_DESCRIPTION: u64 = 1 << 20;

/// The description of a build. The names of the fields are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootImage {
    pub kind: RootKind,
    /// The processor that the kernel is for: `x64`, `arm64`.
    pub arch: String,
    /// The version of the kernel.
    pub kernel: String,
    /// Size in bytes of the file that is the root file system.
    pub root_bytes: u64,
    /// Memory in MiB that a machine needs.
    pub ram_mib: u64,
    /// The authority that signed the kernel.
    pub signer: Option<String>,
    /// The time of the build (RFC 3339).
    pub built: String,
    /// SHA-256 of each file of the build, in hexadecimal.
    pub sha256: BTreeMap<String, String>,
}

impl RootImage {
    /// Parses image.json.
    ///
    /// # Errors
    /// It is no JSON, lacks a field, or has a kind that this version does not know.
    pub fn parse(bytes: &[u8]) -> Result<RootImage, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// Separates the name of an image from that of its build.
pub const BUILD_SEPARATOR: char = '@';

/// Whether `name` can be the name of an image: it is one word for every loader and for the kernel.
pub fn is_image_name(name: &str) -> bool {
    const MAX: usize = 64;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX).contains(&name.len()) && name.chars().all(is_allowed) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_machines_have_enough_memory() {
        const MIB: u64 = 1 << 20;
        assert_eq!(RootKind::LiveBoot.ram_mib(75 * MIB, 50 * MIB), 384);
        assert_eq!(RootKind::LiveBoot.ram_mib(71 * MIB, 50 * MIB), 384);
        assert_eq!(RootKind::Dracut.ram_mib(75 * MIB, 80 * MIB), 640);
        assert_eq!(RootKind::Single.ram_mib(80 * MIB, 285 * MIB), 768);
        for kind in [RootKind::LiveBoot, RootKind::Dracut, RootKind::Single] {
            let _ = kind.ram_mib(u64::MAX, u64::MAX);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
