//! The messages of each modelled firmware. Firmware that the probe can imitate sends the probe's messages (`profile/`).
//! Other firmware sends just enough for a server to recognize it and to answer as it would answer the real one.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::probe::models::verdict::Firmware;
use crate::probe::profile::{self, Ask, Profile, Sending};
use crate::types::{Arch, MacAddr, Uuid};
use crate::wire::dhcp::{BOOTREQUEST, Message, MessageType};
use crate::wire::option::code;

/// A machine that sends requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModelClient {
    pub firmware: Firmware,
    /// The architecture, for firmware of several architectures.
    pub arch: Arch,
    pub mac: MacAddr,
    /// The UUID; `None` sends zeros.
    pub uuid: Option<Uuid>,
}

/// A network card of Intel. An emulator's card would mean that its ROM is iPXE.
const CARD: [u8; 4] = [0x80, 0x86, 0x15, 0x33];
/// The parameter list that GRUB sends, in its REQUEST only (`send_dhcp_packet`).
const GRUB_LIST: &[u8] = &[1, 3, 6, 15, 12, 17, 18, 60];
/// The parameter list of U-Boot in its default configuration with `BOOTP_PXE` (`dhcp_extended`).
const U_BOOT_LIST: &[u8] = &[1, 3, 6, 12, 17, 209];
const RASPBERRY_PI_LIST: &[u8] = &[43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66, 1, 3];

/// The transaction id of every request of a Raspberry Pi 3 (raspberrypi/firmware#801).
const RASPBERRY_PI_XID: u32 = 0x26f3_0339;
const XID: u32 = 0x6c61_6e62;

impl ModelClient {
    /// Returns the DISCOVER, or the BOOTREQUEST of a client without DHCP.
    pub fn discover(&self) -> Message {
        if let Some(profile) = self.profile() {
            return profile.compose(self.mac, &sending(Ask::Discover));
        }
        let mut message = self.message(MessageType::Discover);
        self.put_identity(&mut message);
        message
    }

    /// Returns the REQUEST for an offered address.
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

    /// Returns the REQUEST to a boot server: for the boot file, or for the menu item with this type.
    pub fn boot_server(&self, own: Ipv4Addr, server: Ipv4Addr, item: Option<u16>) -> Message {
        if let Some(profile) = self.profile() {
            let server = (!server.is_broadcast()).then_some(server);
            return profile.compose(self.mac, &sending(Ask::BootServer { address: own, server, item }));
        }
        // No other firmware sends one.
        let mut message = self.message(MessageType::Request);
        message.ciaddr = own;
        self.put_identity(&mut message);
        message
    }

    /// Returns the probe's profile of this firmware, if it has one.
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
            // GRUB sends the time in seconds as xid, and its lower half as `secs`.
            message.secs = u16::try_from(XID & 0xffff).unwrap_or(u16::MAX);
        } else if matches!(self.firmware, Firmware::RaspberryPi3 | Firmware::RaspberryPi3Plus) {
            message.xid = RASPBERRY_PI_XID;
        }
        message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
        message
    }

    /// Adds the options that identify the firmware and its requests.
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
            // The ROM claims to be a BIOS.
            options.push(code::CLIENT_ARCHITECTURE, &[0, 0]);
            options.push(code::CLIENT_NETWORK_INTERFACE, &[1, 2, 1]);
            options.push(code::MACHINE_IDENTIFIER, &self.machine_identifier());
            options.push(code::VENDOR_CLASS, b"PXEClient:Arch:00000:UNDI:002001");
        }
    }

    /// Returns U-Boot's class with its processor, which depends on the configuration (`CONFIG_BOOTP_VCI_STRING`).
    fn u_boot_class(&self) -> &'static [u8] {
        match self.arch.number() {
            21 | 23 => b"U-Boot.armv7",
            22 | 24 => b"U-Boot.armv8",
            _ => b"U-Boot",
        }
    }

    /// Whether this is a Raspberry Pi's ROM, which loads files of fixed names.
    pub fn is_raspberry_pi(&self) -> bool {
        use Firmware::{RaspberryPi3, RaspberryPi3Plus, RaspberryPi4};
        matches!(self.firmware, RaspberryPi3 | RaspberryPi3Plus | RaspberryPi4)
    }

    /// Returns option 97. The ROM of the Pi 3 sends 0x44 in all bytes, the 3B+ its serial number, the 4 and 5 their
    /// model first.
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

/// Returns the parameters of a first message, sent immediately.
fn sending(ask: Ask) -> Sending {
    Sending { ask, xid: XID, elapsed: Duration::ZERO, count: 1, proxy: false }
}
