//! The programs that request an address or a boot file.

use std::fmt;

/// The kind of program that sent a message. Unrecognized programs are [`Firmware::Other`].
///
/// `Display` gives the one word that log lines show. For the common kinds it is the name of their
/// [`Stage`](super::Stage).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Firmware {
    /// A plain BOOTP client (RFC 951): a terminal, a switch, an old boot ROM.
    Bootp,
    /// PXE on a BIOS (PXE 2.1): Intel Boot Agent and similar ROMs.
    BiosPxe,
    /// PXE on UEFI, of any architecture: EDK2 `UefiPxeBcDxe` and what vendors made of it.
    UefiPxe,
    /// UEFI HTTP boot, or any other client with an HTTP architecture.
    HttpBoot,
    /// PXE on another architecture: PowerPC, s390, an unregistered number, or an unreadable option 93.
    OtherPxe,
    /// iPXE that came with the machine: on a BIOS, with a network card that only emulators and hypervisors have and
    /// whose ROM is iPXE. An undionly.kpxe loaded there looks the same; both want the script.
    IpxeRom,
    /// Any other iPXE or gPXE, loaded or in the ROM of a real card.
    Ipxe,
    /// A client that requests PXELINUX's own options (208 to 211): petitboot, or some builds of PXELINUX.
    Pxelinux,
    /// GRUB's `net_dhcp`.
    Grub,
    UBoot,
    /// The boot ROM of a Raspberry Pi 2B 1.2, 3B or CM3. This ROM has bugs that need workarounds.
    RaspberryPi3,
    RaspberryPi3Plus,
    RaspberryPi4,
    RaspberryPi5,
    /// Apple's NetBoot on Intel Macs (BSDP).
    AppleBsdp,
    /// Linux while it looks for its root file system: the kernel's `ip=dhcp`, or klibc's `ipconfig` in an initramfs.
    LinuxIpDhcp,
    /// An operating system, or any other client that only wants an address.
    Other,
}

impl Firmware {
    /// Whether this is iPXE in any form.
    pub fn is_ipxe(self) -> bool {
        matches!(self, Firmware::Ipxe | Firmware::IpxeRom)
    }

    /// Whether this is the boot ROM or EEPROM of a Raspberry Pi, which loads files of fixed names.
    pub fn is_raspberry_pi(self) -> bool {
        use Firmware::{RaspberryPi3, RaspberryPi3Plus, RaspberryPi4, RaspberryPi5};
        matches!(self, RaspberryPi3 | RaspberryPi3Plus | RaspberryPi4 | RaspberryPi5)
    }

    /// Whether it runs boot programs of a BIOS (NBPs). U-Boot on x86 and Raspberry Pis claim to be a BIOS but do not.
    pub fn starts_bios_programs(self) -> bool {
        self != Firmware::UBoot && !self.is_raspberry_pi()
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Firmware::Bootp => "BOOTP",
            Firmware::BiosPxe | Firmware::UefiPxe | Firmware::OtherPxe => "PXE",
            Firmware::HttpBoot => "HTTP",
            Firmware::IpxeRom => "iPXE-ROM",
            Firmware::Ipxe => "iPXE",
            Firmware::Pxelinux => "PXELINUX",
            Firmware::Grub => "GRUB",
            Firmware::UBoot => "U-Boot",
            Firmware::RaspberryPi3 => "Pi-3",
            Firmware::RaspberryPi3Plus => "Pi-3B+",
            Firmware::RaspberryPi4 => "Pi-4",
            Firmware::RaspberryPi5 => "Pi-5",
            Firmware::AppleBsdp => "BSDP",
            Firmware::LinuxIpDhcp => "Linux-ip=dhcp",
            Firmware::Other => "DHCP",
        })
    }
}
