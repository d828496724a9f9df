//! Models of firmware: what each program that boots over the network reads from DHCP replies, and what it does next.
//!
//! A model is given the bytes of all replies that one machine heard, in their order, and says what the machine does
//! then ([`judge`]): ask for an address, ask a boot server, load a file, or give up with the code a person sees on its
//! screen. What was loaded reads the same replies once more in its own way ([`next`]).
//!
//! Each rule has its source in a comment: a file of EDK2, iPXE, syslinux, GRUB, shim or U-Boot, or for firmware without
//! sources a document or an issue. `tests/network/firmware/models.rs` holds the models to real firmware. They
//! read bytes as that firmware does and not by `wire::dhcp`, whose tolerance would hide what makes a machine fail.
//!
//! Replies with another transaction id or hardware address are ignored by all of them and are not to be handed in.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::types::Escaped;

pub use asks::Asker;
pub use loader::{Loader, next};
pub use next::Next;

mod asks;
mod boot_agent;
mod bootp;
mod edk2;
mod edk2_http;
mod edk2_pxe;
mod grub;
mod ipxe;
mod loader;
mod menu;
mod next;
mod packet;
mod pxelinux;
mod raspberry_pi;
mod shim;
mod uboot;

/// A program that asks for an address and something to boot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Firmware {
    /// A BIOS option ROM with PXE 2.1, as Intel Boot Agent.
    BootAgent,
    /// UEFI PXE: EDK2 `UefiPxeBcDxe`, and most vendors' firmware, which comes from it.
    Edk2Pxe,
    /// UEFI HTTP boot: EDK2 `HttpBootDxe`.
    Edk2Http,
    /// iPXE, in a ROM or loaded.
    Ipxe,
    /// GRUB's own `net_dhcp` (`net_bootp`).
    GrubDhcp,
    /// U-Boot's `dhcp`.
    UBoot,
    /// The boot ROM of a Raspberry Pi 2B 1.2 or 3B.
    RaspberryPi3,
    /// The boot ROM of a Raspberry Pi 3B+.
    RaspberryPi3Plus,
    /// The EEPROM of a Raspberry Pi 4 or 5.
    RaspberryPi4,
    /// A client older than DHCP (RFC 951).
    Bootp,
}

impl Firmware {
    /// All of them.
    pub const ALL: [Firmware; 10] = [
        Firmware::BootAgent,
        Firmware::Edk2Pxe,
        Firmware::Edk2Http,
        Firmware::Ipxe,
        Firmware::GrubDhcp,
        Firmware::UBoot,
        Firmware::RaspberryPi3,
        Firmware::RaspberryPi3Plus,
        Firmware::RaspberryPi4,
        Firmware::Bootp,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Firmware::BootAgent => "BIOS PXE",
            Firmware::Edk2Pxe => "UEFI PXE",
            Firmware::Edk2Http => "UEFI HTTP boot",
            Firmware::Ipxe => "iPXE",
            Firmware::GrubDhcp => "GRUB net_dhcp",
            Firmware::UBoot => "U-Boot",
            Firmware::RaspberryPi3 => "Raspberry Pi 3",
            Firmware::RaspberryPi3Plus => "Raspberry Pi 3B+",
            Firmware::RaspberryPi4 => "Raspberry Pi 4/5",
            Firmware::Bootp => "BOOTP",
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reply that the machine heard.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// The UDP payload.
    pub payload: &'a [u8],
    /// Who sent it, and from which port.
    pub source: SocketAddrV4,
    /// Which question of the machine's it answers.
    pub question: Question,
}

/// What a machine asks, told apart by transaction id and port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Question {
    /// DISCOVER, or a BOOTREQUEST.
    Discover,
    /// REQUEST of an offered address.
    Request,
    /// REQUEST to a boot server: to port 4011, or broadcast with the number of a menu item.
    BootServer,
}

/// What a machine does after the replies it heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It asks for an address that was offered to it; go on with the answer.
    Requests {
        /// The server it chooses: option 54 of its REQUEST.
        server: Ipv4Addr,
        /// The address.
        address: Ipv4Addr,
        /// What happens if nobody answers.
        unanswered: Failure,
    },
    /// It has an address and asks a boot server what to load; go on with the answer.
    AsksBootServer {
        /// Where its question goes; the broadcast address included.
        to: SocketAddrV4,
        /// The menu item that it names (option 43 suboption 71): type, then layer.
        item: Option<u16>,
        /// What it does if nobody answers.
        unanswered: Box<Verdict>,
    },
    /// It loads a file.
    Boots(Box<Boot>),
    /// It shows a menu and waits for somebody to choose.
    WaitsForPerson,
    /// It boots its own disk, because the menu says so.
    BootsLocally,
    /// It gives up.
    Fails(Failure),
}

/// A file that a machine loads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boot {
    /// How.
    pub by: Protocol,
    /// From whom: an address, or for HTTP what the URL says, a port included.
    pub server: String,
    /// The name as asked for. For HTTP the path, from its slash on.
    pub file: Vec<u8>,
    /// The size in bytes that the reply announced (option 13) and that the machine believes.
    pub announced: Option<u64>,
    /// What it leaves behind for the program that it loads.
    pub left: Left,
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.file.starts_with(b"/") { "" } else { "/" };
        write!(f, "{}://{}{slash}{}", self.by, self.server, Escaped(&self.file))
    }
}

/// The replies that firmware keeps and hands to what it loads, as bytes: it may have changed them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Left {
    /// The ACK; the OFFER or BOOTP reply where there was no ACK.
    pub ack: Vec<u8>,
    /// The proxy's offer, or the boot server's answer that stands for it.
    pub proxy: Option<Vec<u8>>,
    /// The boot server's answer to the choice in a menu.
    pub reply: Option<Vec<u8>>,
}

/// How a file is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// TFTP (RFC 1350).
    Tftp,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tftp => "tftp",
            Protocol::Http => "http",
            Protocol::Https => "https",
        })
    }
}

/// Why a machine does not boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What it shows.
    pub code: Code,
    /// Why, for people.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.why)
    }
}

/// What a machine that gives up shows on its screen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// UEFI PXE: a size was announced that is too small for the file.
    E05,
    /// UEFI PXE: "Network device error", also for a NAK and an answer that contradicts the one before.
    E07,
    /// UEFI PXE: "No valid offer received": there were offers, none led to a file.
    E16,
    /// UEFI PXE: "Server response timeout": no offer was even kept, or a boot server or TFTP server is silent.
    E18,
    /// UEFI PXE: "Remote boot cancelled".
    E21,
    /// UEFI PXE: the TFTP server answered with an error, as that there is no such file.
    E23,
    /// BIOS PXE: no DHCP or proxyDHCP offers were received.
    E51,
    /// BIOS PXE: proxyDHCP offers were received, no DHCP offers were received.
    E52,
    /// BIOS and UEFI PXE: no boot file name received.
    E53,
    /// BIOS PXE: the proxyDHCP service did not reply to the request on port 4011.
    E55,
    /// UEFI PXE: "Unexpected network error".
    E99,
    /// BIOS PXE: file not found.
    T01,
    /// UEFI HTTP boot has no codes: "Could not retrieve NBP file size from HTTP server", and others.
    Http,
    /// iPXE: "Nothing to boot" (ipxe.org/2d03e13b).
    NothingToBoot,
    /// iPXE: "No configuration methods succeeded" (ipxe.org/040ee119).
    NoConfiguration,
    /// A program that shows no code of its own: it says so in words, or goes on asking.
    Silent,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::E05 => "PXE-E05",
            Code::E07 => "PXE-E07",
            Code::E16 => "PXE-E16",
            Code::E18 => "PXE-E18",
            Code::E21 => "PXE-E21",
            Code::E23 => "PXE-E23",
            Code::E51 => "PXE-E51",
            Code::E52 => "PXE-E52",
            Code::E53 => "PXE-E53",
            Code::E55 => "PXE-E55",
            Code::E99 => "PXE-E99",
            Code::T01 => "PXE-T01",
            Code::Http => "HTTP boot error",
            Code::NothingToBoot => "Nothing to boot",
            Code::NoConfiguration => "No configuration methods succeeded",
            Code::Silent => "no address",
        })
    }
}

/// What a machine with this firmware does after hearing these replies, in this order.
pub fn judge(firmware: Firmware, heard: &[Heard<'_>]) -> Verdict {
    match firmware {
        Firmware::BootAgent => boot_agent::judge(heard),
        Firmware::Edk2Pxe => edk2_pxe::judge(heard),
        Firmware::Edk2Http => edk2_http::judge(heard),
        Firmware::Ipxe => ipxe::judge(heard),
        Firmware::GrubDhcp => grub::judge(heard),
        Firmware::UBoot => uboot::judge(heard),
        Firmware::RaspberryPi3 | Firmware::RaspberryPi3Plus | Firmware::RaspberryPi4 => {
            raspberry_pi::judge(firmware, heard)
        }
        Firmware::Bootp => bootp::judge(heard),
    }
}

/// The verdict that it loads this.
fn boots(boot: Boot) -> Verdict {
    Verdict::Boots(Box::new(boot))
}

/// The verdict that it fails.
fn fails(code: Code, why: impl Into<String>) -> Verdict {
    Verdict::Fails(failure(code, why))
}

fn failure(code: Code, why: impl Into<String>) -> Failure {
    Failure { code, why: why.into() }
}

/// The payloads that answer `question`.
fn answers<'h, 'a>(heard: &'h [Heard<'a>], question: Question) -> impl Iterator<Item = &'h Heard<'a>> {
    heard.iter().filter(move |heard| heard.question == question)
}

#[cfg(test)]
mod tests;
