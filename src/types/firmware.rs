//! The programs that ask for an address or a boot file.

use std::fmt;

/// What kind of program sent a message. Closed: what is none of these is [`Firmware::Other`].
///
/// `Display` is what log lines show: one word, which for the common kinds is that of their [`Stage`](super::Stage).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Firmware {
    /// Plain BOOTP (RFC 951): a terminal, a switch, an old boot ROM.
    Bootp,
    /// PXE of a BIOS (PXE 2.1): Intel Boot Agent and its like.
    BiosPxe,
    /// PXE of UEFI, of any architecture (EDK2 `UefiPxeBcDxe` and what vendors made of it).
    UefiPxe,
    /// HTTP boot of UEFI, or of anything else that has an HTTP architecture.
    HttpBoot,
    /// PXE of an architecture that is neither: PowerPC, s390, one that nobody registered, or one that cannot be read.
    OtherPxe,
    /// iPXE that came with the machine: BIOS, on a network card that only emulators and hypervisors have, whose ROM is
    /// iPXE. One that undionly.kpxe loaded there looks the same; both want the script.
    IpxeRom,
    /// Any other iPXE (or gPXE): loaded, or in the ROM of a real card.
    Ipxe,
    /// A reader of PXELINUX's own options (208 to 211) that asks for them: petitboot, or a build of PXELINUX that does.
    Pxelinux,
    /// GRUB's own `net_dhcp`.
    Grub,
    /// U-Boot.
    UBoot,
    /// The boot ROM of a Raspberry Pi 2B 1.2, 3B or CM3: the one with the bugs.
    RaspberryPi3,
    /// The boot ROM of a Raspberry Pi 3B+.
    RaspberryPi3Plus,
    /// The EEPROM of a Raspberry Pi 4, 400 or CM4.
    RaspberryPi4,
    /// The EEPROM of a Raspberry Pi 5, 500 or CM5.
    RaspberryPi5,
    /// Apple's NetBoot of Intel Macs (BSDP).
    AppleBsdp,
    /// Linux finding its root over the network: the kernel's `ip=dhcp`, or klibc's `ipconfig` in an initramfs.
    LinuxIpDhcp,
    /// An operating system, or anything else that only wants an address.
    Other,
}

impl Firmware {
    /// Whether it is iPXE in any form.
    pub fn is_ipxe(self) -> bool {
        matches!(self, Firmware::Ipxe | Firmware::IpxeRom)
    }

    /// Whether it is the boot ROM or EEPROM of a Raspberry Pi, which boots by files of fixed names.
    pub fn is_raspberry_pi(self) -> bool {
        use Firmware::{RaspberryPi3, RaspberryPi3Plus, RaspberryPi4, RaspberryPi5};
        matches!(self, RaspberryPi3 | RaspberryPi3Plus | RaspberryPi4 | RaspberryPi5)
    }

    /// Whether it starts a BIOS's boot program (NBP). U-Boot on x86 and Raspberry Pis say that they are a BIOS too.
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
