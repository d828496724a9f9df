//! Profiles: the messages of each kind of network-boot client, byte for byte as recorded in `tests/data/packets`.

use std::time::Duration;

use crate::types::{Arch, Uuid};
use crate::wire::tftp;

pub(super) use message::{Ask, Sending};

mod message;
mod table;

/// The programs in a machine that boot it from the network. They send different messages and accept different replies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Firmware {
    /// A BIOS option ROM with PXE 2.1, such as Intel Boot Agent.
    BiosPxe,
    /// UEFI PXE: EDK2 and most vendors' firmware, which derives from it.
    Uefi,
    /// UEFI HTTP boot: EDK2.
    UefiHttp,
    /// iPXE, in a ROM or just loaded.
    Ipxe,
    /// A client older than DHCP (RFC 951).
    Bootp,
}

impl Firmware {
    /// Returns the firmware of a machine with this architecture. The registered numbers distinguish PXE from HTTP boot.
    pub fn of(arch: Arch) -> Firmware {
        match arch {
            Arch::BIOS => Firmware::BiosPxe,
            _ if arch.name().is_some_and(|name| name.ends_with("-http")) => Firmware::UefiHttp,
            _ => Firmware::Uefi,
        }
    }

    /// Returns the time for which it collects offers. EDK2 waits for the whole first timeout (`PxeBcDhcp4.c` answers
    /// each offer with `EFI_NOT_READY`), as PXE 2.1 ROMs may (section 2.2.1). iPXE waits 2 s for a proxy (`dhcp.c`).
    pub fn collects_for(self) -> Duration {
        Duration::from_secs(match self {
            Firmware::BiosPxe | Firmware::Uefi | Firmware::UefiHttp => 4,
            Firmware::Ipxe => 2,
            Firmware::Bootp => 0,
        })
    }

    /// Whether this is EDK2's network stack.
    pub(super) fn is_edk2(self) -> bool {
        matches!(self, Firmware::Uefi | Firmware::UefiHttp)
    }
}

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

/// The properties that distinguish a client's packets.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub firmware: Firmware,
    /// The usual name of the client.
    pub name: &'static str,
    /// The architecture (option 93); `None` if the client sends none.
    pub arch: Option<Arch>,
    /// The beginning of option 60, before `:Arch:` and `:UNDI:`.
    vendor_class: &'static str,
    /// Option 55 as sent.
    request_list: &'static [u8],
    /// Option 57 in the DISCOVER and in the REQUEST.
    max_message_size: [u16; 2],
    /// Option 94 as sent: UNDI and its version.
    interface: [u8; 3],
    /// The network card that iPXE sends first in option 175: PCI vendor and device.
    card: [u8; 4],
    /// The rest of option 175 as sent.
    features: &'static [u8],
    /// The UUID in option 97, in SMBIOS order.
    uuid: [u8; 16],
    /// Whether the client asks for broadcast replies.
    broadcast: bool,
    /// The length to which its DHCP messages are padded.
    padded_to: usize,
    /// The size probe before the transfer, if the client makes one.
    pub(super) size_probe: Option<SizeProbe>,
    /// The options of the transfer itself.
    pub(super) tftp: tftp::Options,
}

/// A read request for the size only, and the ERROR that ends it once the size is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeProbe {
    /// The options of the request.
    pub(super) options: tftp::Options,
    /// The code of the ERROR.
    pub(super) abort: tftp::ErrorCode,
    /// The message of the ERROR.
    pub(super) message: &'static [u8],
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

    /// Sets the UUID. Without it, option 97 is all zeros, as in QEMU without `-uuid`.
    #[must_use]
    pub fn with_uuid(self, uuid: Uuid) -> Profile {
        Profile { uuid: uuid.to_smbios(), ..self }
    }

    /// Sets the network card.
    #[must_use]
    pub(super) fn with_card(self, card: [u8; 4]) -> Profile {
        Profile { card, ..self }
    }

    /// Makes the client ask for broadcast replies, for a hardware address that its network card does not have.
    #[must_use]
    pub fn asking_for_broadcast(self) -> Profile {
        Profile { broadcast: true, ..self }
    }
}

/// Returns the HTTP boot number of an architecture: that of its registered `-http` twin.
fn http_boot(arch: Arch) -> Arch {
    let twin = arch.name().and_then(|name| format!("{name}-http").parse().ok());
    twin.unwrap_or(arch)
}

#[cfg(test)]
mod tests;
