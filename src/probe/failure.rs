//! Failures of a boot: as a text, as the failed step, and as the code on the machine's screen.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::offer::Unusable;
use super::profile::Firmware;

/// The reason why a boot failed. `Display` explains it to a person, with advice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No usable answer to any DISCOVER or BOOTP request arrived.
    NoOffer {
        /// The total time of asking.
        waited: Duration,
        /// The last unusable answer, if there was one.
        ignored: Option<(Ipv4Addr, Unusable)>,
    },
    /// Proxies answered, but no server that assigns addresses.
    OnlyProxy {
        /// One of the proxies.
        proxy: Ipv4Addr,
        /// The total time of asking.
        waited: Duration,
    },
    /// An OFFER arrived, but no usable answer to the REQUESTs.
    NoAck {
        /// The server that made the offer.
        server: Ipv4Addr,
        /// The total time of asking.
        waited: Duration,
        /// The reason why the last answer was unusable, if there was one.
        ignored: Option<Unusable>,
    },
    /// The server withdrew its offer.
    Nak {
        server: Ipv4Addr,
        /// The text of option 56, escaped; may be empty.
        message: String,
    },
    /// The server assigned an address but named no boot file.
    NoFile { server: Ipv4Addr },
    /// No boot server answered.
    BootServerSilent {
        /// The last server that was asked; the broadcast address for all servers.
        server: SocketAddrV4,
        /// Whether the request was for a menu item.
        menu: bool,
        /// The time of asking this server.
        waited: Duration,
    },
    /// A boot server answered without a boot file.
    BootServerUseless { server: Ipv4Addr },
    /// The first item of the boot menu is the local disk.
    LocalBoot {
        /// The text of the item.
        text: String,
    },
    /// The reply has a boot file but no server for it.
    NoNextServer {
        /// The DHCP server.
        server: Ipv4Addr,
        file: String,
    },
    /// The boot file is a URL, which this client cannot load.
    NotTftp { url: String },
    /// The boot file is a URL that the probe cannot load, though the firmware may.
    BadUrl { url: String },
    /// The port of the TFTP server is unreachable.
    TftpClosed {
        /// The destination of the request.
        server: SocketAddrV4,
        file: String,
    },
    /// The download over HTTP failed.
    Http {
        url: String,
        /// An explanation.
        why: String,
    },
    /// The TFTP server did not answer.
    TftpSilent {
        /// The destination of the packets.
        server: SocketAddrV4,
        file: String,
        /// The number of bytes received before.
        received: u64,
    },
    /// The TFTP server answered with an ERROR.
    TftpError {
        file: String,
        /// The error code (RFC 1350 section 5).
        code: u16,
        /// The error message, escaped.
        message: String,
    },
    /// The TFTP server granted options that were not requested.
    BadOptions {
        /// A description of the problem.
        what: &'static str,
    },
    /// The size of the file differs from the announced size.
    WrongSize {
        /// The announced size in bytes.
        promised: u64,
        /// The received size in bytes.
        received: u64,
    },
}

impl Failure {
    /// Returns the step that failed.
    pub fn step(&self) -> &'static str {
        match self {
            Failure::NoOffer { .. } | Failure::OnlyProxy { .. } => "discover",
            Failure::NoAck { .. } | Failure::Nak { .. } => "request",
            Failure::BootServerSilent { menu: false, .. } | Failure::BootServerUseless { .. } => {
                "boot server"
            }
            Failure::BootServerSilent { menu: true, .. } | Failure::LocalBoot { .. } => "boot menu",
            Failure::NoFile { .. }
            | Failure::NoNextServer { .. }
            | Failure::NotTftp { .. }
            | Failure::BadUrl { .. } => "boot file",
            Failure::TftpSilent { .. }
            | Failure::TftpError { .. }
            | Failure::TftpClosed { .. }
            | Failure::BadOptions { .. }
            | Failure::WrongSize { .. } => "tftp",
            Failure::Http { .. } => "http",
        }
    }

    /// Returns the text that the machine shows on its screen, if known.
    pub fn on_screen(&self, firmware: Firmware) -> Option<&'static str> {
        match firmware {
            Firmware::Uefi => self.on_uefi_screen(),
            Firmware::BiosPxe => self.on_bios_screen(),
            Firmware::Ipxe => self.on_ipxe_screen(),
            Firmware::UefiHttp | Firmware::Bootp => None,
        }
    }

    /// Returns EDK2's text (end of `PxeBcBoot.c`; `PxeBcDhcp4Dora` decides which one).
    fn on_uefi_screen(&self) -> Option<&'static str> {
        Some(match self {
            Failure::NoOffer { ignored: Some((_, Unusable::NoFile)), .. }
            | Failure::NoAck { .. }
            | Failure::Nak { .. }
            | Failure::OnlyProxy { .. }
            | Failure::BootServerSilent { menu: false, .. }
            | Failure::BootServerUseless { .. } => "PXE-E16: No valid offer received.",
            Failure::NoOffer { .. }
            | Failure::BootServerSilent { menu: true, .. }
            | Failure::TftpSilent { .. } => "PXE-E18: Server response timeout.",
            Failure::LocalBoot { .. } => "PXE-E21: Remote boot cancelled.",
            Failure::TftpClosed { .. } => "PXE-E22: Client received ICMP error from server.",
            Failure::TftpError { .. } => "PXE-E23: Client received TFTP error from server.",
            Failure::NoFile { .. } => "PXE-E53: No boot filename received.",
            Failure::NoNextServer { .. }
            | Failure::NotTftp { .. }
            | Failure::BadUrl { .. }
            | Failure::Http { .. }
            | Failure::BadOptions { .. }
            | Failure::WrongSize { .. } => "PXE-E99: Unexpected network error.",
        })
    }

    /// Returns Intel's text (PXE 2.1 ROMs; Broadcom KB 152549).
    fn on_bios_screen(&self) -> Option<&'static str> {
        Some(match self {
            Failure::NoOffer { ignored: Some((_, Unusable::NoFile)), .. } | Failure::NoFile { .. } => {
                "PXE-E53: No boot filename received"
            }
            Failure::NoOffer { .. } => "PXE-E51: No DHCP or proxyDHCP offers were received",
            Failure::OnlyProxy { .. } => {
                "PXE-E52: proxyDHCP offers were received. No DHCP offers were received"
            }
            Failure::BootServerSilent { menu: false, .. } => {
                "PXE-E55: ProxyDHCP service did not reply to request on port 4011"
            }
            Failure::TftpSilent { received: 0, .. } | Failure::TftpClosed { .. } => {
                "PXE-E32: TFTP open timeout"
            }
            Failure::TftpSilent { .. } => "PXE-E35: TFTP read timeout",
            Failure::TftpError { code: 1, .. } => "PXE-T01: File not found",
            _ => return None,
        })
    }

    /// Returns iPXE's text. iPXE also shows the address of a page about each error.
    fn on_ipxe_screen(&self) -> Option<&'static str> {
        Some(match self {
            Failure::NoOffer { .. } | Failure::OnlyProxy { .. } | Failure::NoAck { .. } => {
                "No configuration methods succeeded"
            }
            Failure::NoFile { .. } | Failure::BootServerSilent { menu: false, .. } => {
                "Nothing to boot: No such file or directory"
            }
            Failure::TftpSilent { .. } => "Connection timed out",
            Failure::TftpError { code: 1, .. } => "No such file or directory",
            _ => return None,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoOffer { waited, ignored: None } => write!(
                f,
                "no DHCP server answered within {} s: check that one runs, serves this network, and is not behind a \
                 firewall",
                waited.as_secs()
            ),
            Failure::NoOffer { ignored: Some((from, reason)), .. } => {
                write!(f, "no usable DHCP offer; {from} answered, but {reason}")
            }
            Failure::OnlyProxy { proxy, waited } => write!(
                f,
                "{proxy} says what to boot (proxyDHCP), but no DHCP server gave an address within {} s",
                waited.as_secs()
            ),
            Failure::NoAck { server, waited, ignored: None } => write!(
                f,
                "{server} offered an address but did not confirm it in {} s: look for our REQUEST in its log",
                waited.as_secs()
            ),
            Failure::NoAck { server, ignored: Some(reason), .. } => {
                write!(f, "{server} confirmed the address, but {reason}")
            }
            Failure::Nak { server, message } if message.is_empty() => {
                write!(f, "{server} refused the address it had offered (NAK)")
            }
            Failure::Nak { server, message } => write!(f, "{server} refused the address (NAK): {message}"),
            _ => self.write_file_trouble(f),
        }
    }
}

impl Failure {
    /// Writes the text of a failure after the address was assigned.
    fn write_file_trouble(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoFile { server } => {
                write!(f, "{server} names no boot file: name one for this architecture in its configuration")
            }
            Failure::BootServerSilent { server, menu, waited } => {
                if server.ip().is_broadcast() {
                    f.write_str("no boot server answered")?;
                } else {
                    write!(f, "{server} did not answer")?;
                }
                let what = if *menu { "for the menu's item" } else { "although option 60 sent us there" };
                write!(
                    f,
                    " within {} s, {what}: check that a boot server runs there and no firewall \
                     stops UDP port {}",
                    waited.as_secs(),
                    server.port()
                )
            }
            Failure::BootServerUseless { server } => {
                write!(f, "boot server {server} answered without naming a boot file")
            }
            Failure::LocalBoot { text } => {
                write!(f, "the boot menu's first item, \"{text}\", is the local disk: nothing to load")
            }
            Failure::NoNextServer { server, file } => {
                write!(f, "{server} names the file {file} but no server to load it from (siaddr is 0.0.0.0)")
            }
            Failure::NotTftp { url } => {
                write!(
                    f,
                    "the boot file is {url}, and this client loads by TFTP only: give it a plain file name"
                )
            }
            Failure::BadUrl { url } => {
                write!(
                    f,
                    "the boot file is {url}, and only http:// with a name or an IPv4 address is known here"
                )
            }
            Failure::TftpClosed { server, file } => {
                write!(
                    f,
                    "no program listens on {server} (port unreachable), where {file} should be: is TFTP running?"
                )
            }
            Failure::Http { url, why } => write!(f, "cannot load {url}: {why}"),
            Failure::TftpSilent { server, file, received: 0 } => write!(
                f,
                "{server} did not answer a TFTP request for {file}: check that TFTP runs there and no firewall \
                 stops UDP"
            ),
            Failure::TftpSilent { server, file, received } => {
                write!(f, "{server} stopped sending {file} after {received} bytes")
            }
            Failure::TftpError { file, code, message } => {
                write!(f, "the TFTP server refused {file}: error {code}, {message}")
            }
            Failure::BadOptions { what } => write!(f, "the TFTP server's options cannot be used: {what}"),
            Failure::WrongSize { promised, received } => {
                write!(f, "the server said {promised} bytes and sent {received}")
            }
            // `fmt` handles the rest.
            Failure::NoOffer { .. }
            | Failure::OnlyProxy { .. }
            | Failure::NoAck { .. }
            | Failure::Nak { .. } => Ok(()),
        }
    }
}
