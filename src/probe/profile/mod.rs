//! Profiles: the messages of each kind of network-boot client, byte for byte as recorded in `tests/data/packets`.

use crate::types::Arch;

pub use firmware::{Firmware, Profile};
pub(super) use message::{Ask, Sending};

mod firmware;
mod message;
mod table;

/// The clients that were recorded, with common architectures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A BIOS option ROM (recorded: VirtualBox and an ASRock board).
    BiosPxe,
    /// UEFI on x64: EDK2 (recorded: OVMF 2022.11).
    UefiX64,
    /// UEFI on 64-bit ARM: EDK2 (recorded: AAVMF 2022.11).
    UefiArm64,
    /// iPXE, in a ROM or just loaded (recorded: QEMU's ROM; `undionly.kpxe` sends the same).
    Ipxe,
    /// A client older than DHCP (recorded: bootpc).
    Bootp,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 5] = [Kind::BiosPxe, Kind::UefiX64, Kind::UefiArm64, Kind::Ipxe, Kind::Bootp];

    /// Returns the profile of the client.
    pub fn profile(self) -> &'static Profile {
        match self {
            Kind::BiosPxe => &table::BIOS_PXE,
            Kind::UefiX64 => &table::UEFI_X64,
            Kind::UefiArm64 => &table::UEFI_ARM64,
            Kind::Ipxe => &table::IPXE_BIOS,
            Kind::Bootp => &table::BOOTP,
        }
    }
}

impl Profile {
    /// Returns a client with this firmware and architecture. HTTP boot has its own architecture numbers, and plain
    /// BOOTP sends none; for them `arch` is the machine's architecture.
    pub fn new(firmware: Firmware, arch: Arch) -> Profile {
        let row = match firmware {
            Firmware::BiosPxe => &table::BIOS_PXE,
            Firmware::Uefi => &table::UEFI,
            Firmware::UefiHttp => &table::UEFI_HTTP,
            Firmware::Ipxe if arch == Arch::BIOS => &table::IPXE_BIOS,
            Firmware::Ipxe => &table::IPXE_EFI,
            Firmware::Bootp => return table::BOOTP,
        };
        let arch = if firmware == Firmware::UefiHttp { http_boot(arch) } else { arch };
        Profile { arch: Some(arch), ..*row }
    }
}

/// Returns the HTTP boot number of an architecture: that of its registered `-http` twin.
fn http_boot(arch: Arch) -> Arch {
    let twin = arch.name().and_then(|name| format!("{name}-http").parse().ok());
    twin.unwrap_or(arch)
}

#[cfg(test)]
mod tests;
