//! What each modelled firmware asks: what the probe sends in its place (`profile/`), and of those that the probe cannot be,
//! enough for a server to tell them apart and to answer them as it would the real ones.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Firmware;
use crate::probe::profile::{self, Ask, Profile, Sending};
use crate::types::{Arch, MacAddr, Uuid};
use crate::wire::dhcp::{BOOTREQUEST, Message, MessageType};
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

/// A card of Intel's: one of an emulator's would say that iPXE came with that.
const CARD: [u8; 4] = [0x80, 0x86, 0x15, 0x33];
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
        if let Some(profile) = self.profile() {
            return profile.compose(self.mac, &sending(Ask::Discover));
        }
        let mut message = self.message(MessageType::Discover);
        self.put_identity(&mut message);
        message
    }

    /// REQUEST of an offered address.
    pub fn request(&self, server: Ipv4Addr, address: Ipv4Addr) -> Message {
        if let Some(profile) = self.profile() {
            return profile.compose(self.mac, &sending(Ask::Request { address, server }));
        }
        let mut message = self.message(MessageType::Request);
        message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        message.options.push(code::REQUESTED_ADDRESS, &address.octets());
        self.put_identity(&mut message);
        if self.firmware == Firmware::GrubDhcp {
            message.options.push(code::PARAMETER_REQUEST_LIST, GRUB_LIST);
        }
        message
    }

    /// REQUEST to a boot server: for the boot file, or for the menu item with this type.
    pub fn boot_server(&self, own: Ipv4Addr, server: Ipv4Addr, item: Option<u16>) -> Message {
        if let Some(profile) = self.profile() {
            let server = (!server.is_broadcast()).then_some(server);
            return profile.compose(self.mac, &sending(Ask::BootServer { address: own, server, item }));
        }
        // None of the others does.
        let mut message = self.message(MessageType::Request);
        message.ciaddr = own;
        self.put_identity(&mut message);
        message
    }

    /// What is sent by those that the probe can be too.
    fn profile(&self) -> Option<Profile> {
        let firmware = match self.firmware {
            Firmware::BootAgent => profile::Firmware::BiosPxe,
            Firmware::Edk2Pxe => profile::Firmware::Uefi,
            Firmware::Edk2Http => profile::Firmware::UefiHttp,
            Firmware::Ipxe => profile::Firmware::Ipxe,
            Firmware::Bootp => profile::Firmware::Bootp,
            Firmware::GrubDhcp
            | Firmware::UBoot
            | Firmware::RaspberryPi3
            | Firmware::RaspberryPi3Plus
            | Firmware::RaspberryPi4 => return None,
        };
        let profile = Profile::new(firmware, self.arch).with_card(CARD);
        Some(self.uuid.map_or(profile, |uuid| profile.with_uuid(uuid)))
    }

    fn message(&self, kind: MessageType) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        message.xid = XID;
        for (to, from) in message.chaddr.iter_mut().zip(self.mac.0) {
            *to = from;
        }
        if self.firmware == Firmware::GrubDhcp {
            // The time in seconds, and its lower half.
            message.secs = u16::try_from(XID & 0xffff).unwrap_or(u16::MAX);
        } else if matches!(self.firmware, Firmware::RaspberryPi3 | Firmware::RaspberryPi3Plus) {
            message.xid = RASPBERRY_PI_XID;
        }
        message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
        message
    }

    /// What says who it is and what it wants.
    fn put_identity(&self, message: &mut Message) {
        let options = &mut message.options;
        if self.firmware == Firmware::UBoot {
            options.push(code::MAX_MESSAGE_SIZE, &576_u16.to_be_bytes());
            options.push(code::PARAMETER_REQUEST_LIST, U_BOOT_LIST);
            options.push(code::CLIENT_ARCHITECTURE, &self.arch.number().to_be_bytes());
            options.push(code::CLIENT_NETWORK_INTERFACE, &[1, 0, 0]);
            options.push(code::VENDOR_CLASS, self.u_boot_class());
        } else if self.is_raspberry_pi() {
            options.push(code::PARAMETER_REQUEST_LIST, RASPBERRY_PI_LIST);
            // It takes itself for a BIOS.
            options.push(code::CLIENT_ARCHITECTURE, &[0, 0]);
            options.push(code::CLIENT_NETWORK_INTERFACE, &[1, 2, 1]);
            options.push(code::MACHINE_IDENTIFIER, &self.machine_identifier());
            options.push(code::VENDOR_CLASS, b"PXEClient:Arch:00000:UNDI:002001");
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
            _ => *b"RPi4\x03\x11\x03\xc0\x77\x01\x02\x03\x01\x02\x03\x04",
        };
        for (to, from) in id.iter_mut().skip(1).zip(value) {
            *to = from;
        }
        id
    }
}

/// The first message of its kind, sent at once.
fn sending(ask: Ask) -> Sending {
    Sending { ask, xid: XID, elapsed: Duration::ZERO, count: 1, proxy: false }
}
