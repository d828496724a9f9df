//! The kinds of firmware, and the properties of one client. `table.rs` has a row for each recorded client.

use std::time::Duration;

use crate::types::{Arch, Uuid};
use crate::wire::tftp;

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
    pub(in crate::probe) fn is_edk2(self) -> bool {
        matches!(self, Firmware::Uefi | Firmware::UefiHttp)
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
    pub(super) vendor_class: &'static str,
    /// Option 55 as sent.
    pub(super) request_list: &'static [u8],
    /// Option 57 in the DISCOVER and in the REQUEST.
    pub(super) max_message_size: [u16; 2],
    /// Option 94 as sent: UNDI and its version.
    pub(super) interface: [u8; 3],
    /// The network card that iPXE sends first in option 175: PCI vendor and device.
    pub(super) card: [u8; 4],
    /// The rest of option 175 as sent.
    pub(super) features: &'static [u8],
    /// The UUID in option 97, in SMBIOS order.
    pub(super) uuid: [u8; 16],
    /// Whether the client asks for broadcast replies.
    pub(super) broadcast: bool,
    /// The length to which its DHCP messages are padded.
    pub(super) padded_to: usize,
    /// The size probe before the transfer, if the client makes one.
    pub(in crate::probe) size_probe: Option<SizeProbe>,
    /// The options of the transfer itself.
    pub(in crate::probe) tftp: tftp::Options,
}

/// A read request for the size only, and the ERROR that ends it once the size is known.
#[derive(Clone, Copy, Debug)]
pub(in crate::probe) struct SizeProbe {
    /// The options of the request.
    pub(in crate::probe) options: tftp::Options,
    /// The code of the ERROR.
    pub(in crate::probe) abort: tftp::ErrorCode,
    /// The message of the ERROR.
    pub(in crate::probe) message: &'static [u8],
}

impl Profile {
    /// Sets the UUID. Without it, option 97 is all zeros, as in QEMU without `-uuid`.
    #[must_use]
    pub fn with_uuid(self, uuid: Uuid) -> Profile {
        Profile { uuid: uuid.to_smbios(), ..self }
    }

    /// Sets the network card.
    #[must_use]
    pub(in crate::probe) fn with_card(self, card: [u8; 4]) -> Profile {
        Profile { card, ..self }
    }

    /// Makes the client ask for broadcast replies, for a hardware address that its network card does not have.
    #[must_use]
    pub fn asking_for_broadcast(self) -> Profile {
        Profile { broadcast: true, ..self }
    }
}
