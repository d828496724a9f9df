//! The table of profiles, one row per recorded firmware.

use crate::probe::profile::firmware::{Firmware, Profile, SizeProbe};
use crate::types::Arch;
use crate::wire::tftp;

const NO_TFTP_OPTIONS: tftp::Options =
    tftp::Options { block_size: None, timeout: None, transfer_size: None, window_size: None };

pub(super) const BIOS_PXE: Profile = Profile {
    firmware: Firmware::BiosPxe,
    name: "BIOS PXE ROM",
    arch: Some(Arch::BIOS),
    vendor_class: "PXEClient",
    request_list: &[
        1, 2, 3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66,
        67, 128, 129, 130, 131, 132, 133, 134, 135,
    ],
    max_message_size: [1260, 1260],
    interface: [1, 2, 1],
    card: VIRTIO,
    features: &[],
    uuid: [0; 16],
    broadcast: true,
    padded_to: 548,
    size_probe: Some(SizeProbe {
        options: tftp::Options { transfer_size: Some(0), ..NO_TFTP_OPTIONS },
        abort: tftp::ErrorCode::UNDEFINED,
        message: b"TFTP Aborted",
    }),
    tftp: tftp::Options { block_size: Some(1456), ..NO_TFTP_OPTIONS },
};

const EDK2_TFTP: tftp::Options =
    tftp::Options { block_size: Some(1468), window_size: Some(4), ..NO_TFTP_OPTIONS };

/// EDK2 PXE, recorded from OVMF and AAVMF.
pub(super) const UEFI: Profile = Profile {
    firmware: Firmware::Uefi,
    name: "UEFI PXE",
    arch: Some(Arch::UEFI_X64),
    vendor_class: "PXEClient",
    request_list: &[
        1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97,
        128, 129, 130, 131, 132, 133, 134, 135,
    ],
    // EDK2 sends 0xff00 in the REQUEST, but still drops replies longer than 1472 bytes.
    max_message_size: [1472, 0xff00],
    interface: [1, 3, 0],
    card: VIRTIO,
    features: &[],
    uuid: [0; 16],
    broadcast: true,
    padded_to: 0,
    size_probe: Some(SizeProbe {
        options: tftp::Options { transfer_size: Some(0), ..EDK2_TFTP },
        abort: tftp::ErrorCode::OPTIONS,
        message: b"User aborted the transfer",
    }),
    tftp: EDK2_TFTP,
};

pub(super) const UEFI_X64: Profile = Profile { name: "UEFI x64 PXE", ..UEFI };

pub(super) const UEFI_ARM64: Profile =
    Profile { name: "UEFI arm64 PXE", arch: Some(Arch::UEFI_ARM64), ..UEFI };

/// EDK2 HTTP boot, recorded from OVMF.
pub(super) const UEFI_HTTP: Profile = Profile {
    firmware: Firmware::UefiHttp,
    name: "UEFI HTTP boot",
    vendor_class: "HTTPClient",
    request_list: &[
        1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 243, 67, 97,
    ],
    max_message_size: [1472, 1472],
    size_probe: None,
    tftp: NO_TFTP_OPTIONS,
    ..UEFI
};

/// iPXE on a BIOS, recorded from QEMU's ROM.
pub(super) const IPXE_BIOS: Profile = Profile {
    firmware: Firmware::Ipxe,
    name: "iPXE",
    arch: Some(Arch::BIOS),
    vendor_class: "PXEClient",
    request_list: &[
        1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203,
    ],
    max_message_size: [1472, 1472],
    interface: [1, 2, 1],
    card: VIRTIO,
    features: IPXE_BIOS_FEATURES,
    uuid: [0; 16],
    broadcast: false,
    padded_to: 0,
    size_probe: None,
    tftp: tftp::Options { block_size: Some(1432), transfer_size: Some(0), ..NO_TFTP_OPTIONS },
};

/// iPXE on UEFI, recorded from snponly.efi.
pub(super) const IPXE_EFI: Profile =
    Profile { arch: Some(Arch::UEFI_X64), interface: [1, 3, 10], features: IPXE_EFI_FEATURES, ..IPXE_BIOS };

pub(super) const BOOTP: Profile = Profile {
    firmware: Firmware::Bootp,
    name: "plain BOOTP",
    arch: None,
    vendor_class: "",
    request_list: &[],
    max_message_size: [0, 0],
    interface: [0, 0, 0],
    card: VIRTIO,
    features: &[],
    uuid: [0; 16],
    broadcast: true,
    padded_to: 0,
    size_probe: None,
    tftp: NO_TFTP_OPTIONS,
};

/// The network card of the recorded machines.
const VIRTIO: [u8; 4] = [0x1a, 0xf4, 0x10, 0];

/// iPXE's features (option 175) as recorded, after the card: its version, and the compiled-in features.
const IPXE_BIOS_FEATURES: &[u8] = &[
    0xeb, 3, 1, 0, 0, 0x17, 1, 1, 0x22, 1, 1, 0x13, 1, 1, 0x11, 1, 1, 0x27, 1, 1, 0x19, 1, 1, 0x29, 1, 1,
    0x10, 1, 2, 0x21, 1, 1, 0x15, 1, 1, 0x18, 1, 1, 0x12, 1, 1,
];

/// The same for iPXE on UEFI.
const IPXE_EFI_FEATURES: &[u8] = &[
    0xeb, 3, 1, 0, 0, 0x17, 1, 1, 0x24, 1, 1, 0x13, 1, 1, 0x11, 1, 1, 0x27, 1, 1, 0x29, 1, 1, 0x15, 1, 1,
    0x1b, 1, 1, 0x12, 1, 1,
];
