//! What each kind of network-boot client sends: one table, byte for byte as the recordings in `tests/data/packets`.

use std::time::Duration;

use crate::types::{Arch, Uuid};
use crate::wire::tftp;

pub(super) use message::{Ask, Sending};

mod message;
mod table;

/// The programs in a machine that boot it from the network. They differ in what they send and in which answers they take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Firmware {
    /// A BIOS option ROM with PXE 2.1, as Intel Boot Agent.
    BiosPxe,
    /// UEFI's PXE: EDK2, and most vendors' firmware as forks of it.
    Uefi,
    /// UEFI's HTTP boot: EDK2.
    UefiHttp,
    /// iPXE, in a ROM or loaded a moment ago.
    Ipxe,
    /// A client older than DHCP (RFC 951).
    Bootp,
}

impl Firmware {
    /// The one that a machine of this architecture has by itself: the registered numbers tell PXE from HTTP boot.
    pub fn of(arch: Arch) -> Firmware {
        match arch {
            Arch::BIOS => Firmware::BiosPxe,
            _ if arch.name().is_some_and(|name| name.ends_with("-http")) => Firmware::UefiHttp,
            _ => Firmware::Uefi,
        }
    }

    /// How long it collects offers before it chooses one. EDK2 takes the whole first wait (`PxeBcDhcp4.c` answers each
    /// offer with `EFI_NOT_READY`), and so may PXE 2.1 ROMs (section 2.2.1); iPXE waits 2 s for a proxy (`dhcp.c`).
    pub fn collects_for(self) -> Duration {
        Duration::from_secs(match self {
            Firmware::BiosPxe | Firmware::Uefi | Firmware::UefiHttp => 4,
            Firmware::Ipxe => 2,
            Firmware::Bootp => 0,
        })
    }

    /// Whether it is EDK2's network stack.
    pub(super) fn is_edk2(self) -> bool {
        matches!(self, Firmware::Uefi | Firmware::UefiHttp)
    }
}

/// Clients that were recorded, with the architectures that people have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A BIOS option ROM (recorded: VirtualBox and an ASRock board).
    BiosPxe,
    /// UEFI on x64: EDK2 (recorded: OVMF 2022.11).
    UefiX64,
    /// UEFI on 64-bit ARM: EDK2 (recorded: AAVMF 2022.11).
    UefiArm64,
    /// iPXE, in a ROM or loaded a moment ago (recorded: QEMU's ROM; `undionly.kpxe` sends the same).
    Ipxe,
    /// A client older than DHCP (recorded: bootpc).
    Bootp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::BiosPxe, Kind::UefiX64, Kind::UefiArm64, Kind::Ipxe, Kind::Bootp];

    /// What it sends.
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

/// What makes a client's packets its own.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Which rules it follows.
    pub firmware: Firmware,
    /// What people call it.
    pub name: &'static str,
    /// Its architecture (option 93); `None` for a client that says none.
    pub arch: Option<Arch>,
    /// How option 60 begins; `:Arch:` and `:UNDI:` follow.
    vendor_class: &'static str,
    /// Option 55, as sent.
    request_list: &'static [u8],
    /// Option 57 in its DISCOVER and in its REQUEST, bytes.
    max_message_size: [u16; 2],
    /// Option 94, as sent: UNDI and its version.
    interface: [u8; 3],
    /// iPXE's network card, as option 175 names it first: vendor and device of PCI.
    card: [u8; 4],
    /// What follows there, as sent.
    features: &'static [u8],
    /// The UUID in option 97, in SMBIOS order.
    uuid: [u8; 16],
    /// Whether it asks for broadcast replies.
    broadcast: bool,
    /// Bytes that its DHCP messages are filled up to.
    padded_to: usize,
    /// How it first asks for the file's size, if it does.
    pub(super) size_probe: Option<SizeProbe>,
    /// The options of the transfer itself.
    pub(super) tftp: tftp::Options,
}

/// A read request only for the file's size, and the ERROR that ends it once the size is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeProbe {
    /// The options of the request.
    pub(super) options: tftp::Options,
    /// The code of the ERROR.
    pub(super) abort: tftp::ErrorCode,
    /// Its text.
    pub(super) message: &'static [u8],
}

impl Profile {
    /// A client with this firmware on this architecture. HTTP boot has architecture numbers of its own, and plain BOOTP
    /// says none: `arch` is then what the machine is.
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

    /// The same client in a machine with this UUID; without one, option 97 is zeros, as in QEMU without `-uuid`.
    #[must_use]
    pub fn with_uuid(self, uuid: Uuid) -> Profile {
        Profile { uuid: uuid.to_smbios(), ..self }
    }

    /// The same client in a machine with this network card.
    #[must_use]
    pub(super) fn with_card(self, card: [u8; 4]) -> Profile {
        Profile { card, ..self }
    }

    /// The same client, but it asks for broadcast replies: for one whose hardware address its network card does not know.
    #[must_use]
    pub fn asking_for_broadcast(self) -> Profile {
        Profile { broadcast: true, ..self }
    }
}

/// The number under which a machine of this architecture asks for HTTP boot: that of its registered `-http` twin.
fn http_boot(arch: Arch) -> Arch {
    let twin = arch.name().and_then(|name| format!("{name}-http").parse().ok());
    twin.unwrap_or(arch)
}

#[cfg(test)]
mod tests;
