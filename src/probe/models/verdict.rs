//! The firmware that is modelled, the replies that it receives, and its reaction to them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::types::Escaped;

/// A program that requests an address and a boot file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Firmware {
    /// A BIOS option ROM with PXE 2.1, such as Intel Boot Agent.
    BootAgent,
    /// UEFI PXE: EDK2 `UefiPxeBcDxe`, and most vendors' firmware, which derives from it.
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
    RaspberryPi3Plus,
    /// The EEPROM of a Raspberry Pi 4 or 5.
    RaspberryPi4,
    /// A client older than DHCP (RFC 951).
    Bootp,
}

impl Firmware {
    /// All models.
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

    /// Returns the usual name.
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

/// A reply that the machine received.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedReply<'a> {
    /// The UDP payload.
    pub payload: &'a [u8],
    /// The source address and port.
    pub source: SocketAddrV4,
    /// The request that it answers.
    pub request: RequestKind,
}

/// The requests of a machine, which differ by transaction id and port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RequestKind {
    /// A DISCOVER or a BOOTREQUEST.
    Discover,
    /// A REQUEST for an offered address.
    Request,
    /// A REQUEST to a boot server: to port 4011, or a broadcast with the number of a menu item.
    BootServer,
}

/// The reaction of a machine to the replies that it received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It requests an offered address. Continue with the answer.
    Requests {
        /// The chosen server: option 54 of the REQUEST.
        server: Ipv4Addr,
        address: Ipv4Addr,
        /// The failure if no server answers.
        unanswered: Failure,
    },
    /// It has an address and asks a boot server for a file. Continue with the answer.
    AsksBootServer {
        /// The destination of the request; may be the broadcast address.
        to: SocketAddrV4,
        /// The menu item in the request (option 43 suboption 71): type, then layer.
        item: Option<u16>,
        /// The reaction if no server answers.
        unanswered: Box<Verdict>,
    },
    /// It loads a file.
    Boots(Box<Boot>),
    /// It shows a menu and waits for the user.
    WaitsForUser,
    /// It boots its local disk because the menu says so.
    BootsLocally,
    /// It gives up.
    Fails(Failure),
}

/// A file that a machine loads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boot {
    pub by: Protocol,
    /// The server: an address or, for HTTP, the host of the URL with its port.
    pub server: String,
    /// The name as requested. For HTTP, the path from its slash on.
    pub file: Vec<u8>,
    /// The size in bytes that the reply announced (option 13), if the machine uses it.
    pub announced: Option<u64>,
    /// The replies that the loaded program can read.
    pub kept: KeptReplies,
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.file.starts_with(b"/") { "" } else { "/" };
        write!(f, "{}://{}{slash}{}", self.by, self.server, Escaped(&self.file))
    }
}

/// The replies that firmware keeps and passes to the program that it loads. Firmware may have changed their bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct KeptReplies {
    /// The ACK; without an ACK, the OFFER or BOOTP reply.
    pub ack: Vec<u8>,
    /// The proxy's offer, or the boot server's answer in its place.
    pub proxy: Option<Vec<u8>>,
    /// The boot server's answer to the choice of a menu item.
    pub reply: Option<Vec<u8>>,
}

/// The protocol that loads a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    Tftp,
    Http,
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

/// The reason why a machine does not boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub code: Code,
    /// An explanation.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.why)
    }
}

/// The code that a machine shows on its screen when it gives up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// UEFI PXE: the announced size is too small for the file.
    E05,
    /// UEFI PXE: "Network device error". Also for a NAK, and for an answer that contradicts the one before.
    E07,
    /// UEFI PXE: "No valid offer received". There were offers, but none leads to a file.
    E16,
    /// UEFI PXE: "Server response timeout". No offer was kept, or a boot server or TFTP server is silent.
    E18,
    /// UEFI PXE: "Remote boot cancelled".
    E21,
    /// UEFI PXE: the TFTP server sent an error, such as a missing file.
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
    /// A program without codes: it shows a text, or continues to ask.
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

/// Makes the verdict that the machine loads this file.
pub(super) fn boots(boot: Boot) -> Verdict {
    Verdict::Boots(Box::new(boot))
}

/// Makes the verdict that the machine fails.
pub(super) fn fails(code: Code, why: impl Into<String>) -> Verdict {
    Verdict::Fails(failure(code, why))
}

pub(super) fn failure(code: Code, why: impl Into<String>) -> Failure {
    Failure { code, why: why.into() }
}

/// Returns the replies to `request`.
pub(super) fn answers<'h, 'a>(
    replies: &'h [ReceivedReply<'a>],
    request: RequestKind,
) -> impl Iterator<Item = &'h ReceivedReply<'a>> {
    replies.iter().filter(move |received| received.request == request)
}
