//! What each modelled firmware asks: enough of its packets for a server to tell it apart and to answer it as it would
//! the real one. Held to the recordings in `tests/data/packets` where there are any.

use std::net::Ipv4Addr;

use super::Firmware;
use crate::types::{Arch, MacAddr, Uuid};
use crate::wire::dhcp::{BOOTREQUEST, FLAG_BROADCAST, Message, MessageType};
use crate::wire::option::code;

/// A machine that asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// What asks.
    pub firmware: Firmware,
    /// Its architecture, where it has several.
    pub arch: Arch,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its UUID; zeros if it has none.
    pub uuid: Option<Uuid>,
}

/// What EDK2's PXE asks for (`PxeBcBuildDhcp4Options`).
const EDK2_LIST: &[u8] = &[
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97,
    128, 129, 130, 131, 132, 133, 134, 135,
];
/// What EDK2's HTTP boot asks for; 243 is what stood in memory there (`HttpBootBuildDhcp4Options` leaves it out).
const EDK2_HTTP_LIST: &[u8] =
    &[1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 243, 67, 97];
const BOOT_AGENT_LIST: &[u8] = &[
    1, 2, 3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67,
    128, 129, 130, 131, 132, 133, 134, 135,
];
const IPXE_LIST: &[u8] =
    &[1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203];
/// iPXE's option 175: a card that is not one of an emulator's, and what is compiled in.
const IPXE_FEATURES: &[u8] = &[
    0xb1, 5, 1, 0x80, 0x86, 0x15, 0x33, 0xeb, 3, 1, 0, 0, 0x17, 1, 1, 0x22, 1, 1, 0x13, 1, 1, 0x11, 1, 1,
    0x27, 1, 1, 0x19, 1, 1, 0x29, 1, 1, 0x10, 1, 2, 0x21, 1, 1, 0x15, 1, 1, 0x18, 1, 1, 0x12, 1, 1,
];
/// GRUB sends this in its REQUEST alone (`send_dhcp_packet`).
const GRUB_LIST: &[u8] = &[1, 3, 6, 15, 12, 17, 18, 60];
/// U-Boot's as configured by default, with `BOOTP_PXE` (`dhcp_extended`).
const U_BOOT_LIST: &[u8] = &[1, 3, 6, 12, 17, 209];
const RASPBERRY_PI_LIST: &[u8] = &[43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66, 1, 3];

/// All of a Raspberry Pi 3's transaction ids (raspberrypi/firmware#801).
const RASPBERRY_PI_XID: u32 = 0x26f3_0339;
const XID: u32 = 0x6c61_6e62;

impl Asker {
    /// DISCOVER, or the BOOTREQUEST of a client that knows no DHCP.
    pub fn discover(&self) -> Message {
        let mut message = self.message(MessageType::Discover);
        self.put_identity(&mut message);
        message
    }

    /// REQUEST of an offered address.
    pub fn request(&self, server: Ipv4Addr, address: Ipv4Addr) -> Message {
        let mut message = self.message(MessageType::Request);
        message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        message.options.push(code::REQUESTED_ADDRESS, &address.octets());
        self.put_identity(&mut message);
        if self.firmware == Firmware::GrubDhcp {
            message.options.push(code::PARAMETER_REQUEST_LIST, GRUB_LIST);
        }
        message
    }

    /// REQUEST to a boot server: for the boot file, or for the menu item with this type. EDK2 names no server in it.
    pub fn boot_server(&self, own: Ipv4Addr, server: Ipv4Addr, item: Option<u16>) -> Message {
        let mut message = self.message(MessageType::Request);
        message.ciaddr = own;
        message.flags = 0;
        if self.firmware == Firmware::Ipxe && item.is_none() {
            message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        }
        self.put_identity(&mut message);
        if let Some([high, low]) = item.map(u16::to_be_bytes) {
            message.options.push(code::VENDOR_SPECIFIC, &[71, 4, high, low, 0, 0, 255]);
        }
        message
    }

    fn message(&self, kind: MessageType) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        message.xid = XID;
        for (to, from) in message.chaddr.iter_mut().zip(self.mac.0) {
            *to = from;
        }
        let broadcasts = matches!(
            self.firmware,
            Firmware::BootAgent | Firmware::Edk2Pxe | Firmware::Edk2Http | Firmware::Bootp
        );
        message.flags = if broadcasts { FLAG_BROADCAST } else { 0 };
        match self.firmware {
            Firmware::Bootp => return message,
            // The time in seconds, and its lower half.
            Firmware::GrubDhcp => message.secs = u16::try_from(XID & 0xffff).unwrap_or(u16::MAX),
            Firmware::RaspberryPi3 | Firmware::RaspberryPi3Plus => message.xid = RASPBERRY_PI_XID,
            _ => {}
        }
        message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
        message
    }

    /// What says who it is and what it wants.
    fn put_identity(&self, message: &mut Message) {
        let [arch_high, arch_low] = self.arch.number().to_be_bytes();
        let class =
            |of: &str, undi: &str| format!("{of}:Arch:{:05}:UNDI:{undi}", self.arch.number()).into_bytes();
        let (class, list, size, undi): (Vec<u8>, &[u8], u16, [u8; 3]) = match self.firmware {
            Firmware::Bootp | Firmware::GrubDhcp => return,
            Firmware::BootAgent => (class("PXEClient", "002001"), BOOT_AGENT_LIST, 1260, [1, 2, 1]),
            Firmware::Edk2Pxe => (class("PXEClient", "003000"), EDK2_LIST, 1472, [1, 3, 0]),
            Firmware::Edk2Http => (class("HTTPClient", "003000"), EDK2_HTTP_LIST, 1472, [1, 3, 0]),
            Firmware::Ipxe if self.arch == Arch::BIOS => {
                (class("PXEClient", "002001"), IPXE_LIST, 1472, [1, 2, 1])
            }
            Firmware::Ipxe => (class("PXEClient", "003010"), IPXE_LIST, 1472, [1, 3, 10]),
            Firmware::UBoot => (self.u_boot_class().to_vec(), U_BOOT_LIST, 576, [1, 0, 0]),
            Firmware::RaspberryPi3 | Firmware::RaspberryPi3Plus | Firmware::RaspberryPi4 => {
                (b"PXEClient:Arch:00000:UNDI:002001".to_vec(), RASPBERRY_PI_LIST, 0, [1, 2, 1])
            }
        };
        if size != 0 {
            message.options.push(code::MAX_MESSAGE_SIZE, &size.to_be_bytes());
        }
        message.options.push(code::PARAMETER_REQUEST_LIST, list);
        let is_pi = self.is_raspberry_pi();
        let arch = if is_pi { [0, 0] } else { [arch_high, arch_low] };
        message.options.push(code::CLIENT_ARCHITECTURE, &arch);
        message.options.push(code::CLIENT_NETWORK_INTERFACE, &undi);
        if self.firmware != Firmware::UBoot {
            message.options.push(code::MACHINE_IDENTIFIER, &self.machine_identifier());
        }
        message.options.push(code::VENDOR_CLASS, &class);
        if self.firmware == Firmware::Ipxe {
            message.options.push(code::USER_CLASS, b"iPXE");
            message.options.push(code::ETHERBOOT, IPXE_FEATURES);
            let [a, b, c, d, e, f] = self.mac.0;
            message.options.push(code::CLIENT_IDENTIFIER, &[1, a, b, c, d, e, f]);
        }
    }

    /// U-Boot says its processor where it is configured to (`CONFIG_BOOTP_VCI_STRING`).
    fn u_boot_class(&self) -> &'static [u8] {
        match self.arch.number() {
            21 | 23 => b"U-Boot.armv7",
            22 | 24 => b"U-Boot.armv8",
            _ => b"U-Boot",
        }
    }

    /// Whether it is a Raspberry Pi's ROM, which loads files of fixed names.
    pub fn is_raspberry_pi(&self) -> bool {
        use Firmware::{RaspberryPi3, RaspberryPi3Plus, RaspberryPi4};
        matches!(self.firmware, RaspberryPi3 | RaspberryPi3Plus | RaspberryPi4)
    }

    /// Option 97. The ROM of the Pi 3 sends 0x44 throughout, the 3B+ its serial number, the 4 and 5 their model first.
    fn machine_identifier(&self) -> [u8; 17] {
        let mut id = [0; 17];
        let value: [u8; 16] = match self.firmware {
            Firmware::RaspberryPi3 => [0x44; 16],
            Firmware::RaspberryPi3Plus => {
                *b"\x01\x02\x03\x04\x01\x02\x03\x04\x01\x02\x03\x04\x01\x02\x03\x04"
            }
            Firmware::RaspberryPi4 => *b"RPi4\x03\x11\x03\xc0\x77\x01\x02\x03\x01\x02\x03\x04",
            _ => self.uuid.map_or([0; 16], Uuid::to_smbios),
        };
        for (to, from) in id.iter_mut().skip(1).zip(value) {
            *to = from;
        }
        id
    }
}
