//! Why a boot failed: in words, as the step that failed, and as the code on the machine's screen.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::offer::Unusable;
use super::profile::Firmware;

/// Why a boot failed. `Display` says it for a person, with what to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No usable answer to any DISCOVER (or BOOTP request).
    NoOffer {
        /// How long we asked.
        waited: Duration,
        /// The last answer that could not be used, if there was one.
        ignored: Option<(Ipv4Addr, Unusable)>,
    },
    /// Answers from proxies, and none from a server that gives addresses.
    OnlyProxy {
        /// One of them.
        proxy: Ipv4Addr,
        /// How long we asked.
        waited: Duration,
    },
    /// An OFFER, but no usable answer to the REQUESTs.
    NoAck {
        /// Who offered.
        server: Ipv4Addr,
        /// How long we asked.
        waited: Duration,
        /// Why the last answer could not be used, if there was one.
        ignored: Option<Unusable>,
    },
    /// The server took its offer back.
    Nak {
        /// The server.
        server: Ipv4Addr,
        /// Its text (option 56), escaped; may be empty.
        message: String,
    },
    /// An address, and no boot file with it.
    NoFile {
        /// The server.
        server: Ipv4Addr,
    },
    /// No answer from a boot server.
    BootServerSilent {
        /// The last that was asked; everybody if it is the broadcast address.
        server: SocketAddrV4,
        /// Whether it was for an item of a menu.
        menu: bool,
        /// How long we asked it.
        waited: Duration,
    },
    /// A boot server answered without saying what to boot.
    BootServerUseless {
        /// It.
        server: Ipv4Addr,
    },
    /// The first item of the boot menu is the local disk.
    LocalBoot {
        /// Its text.
        text: String,
    },
    /// A boot file, and nothing that says which server has it.
    NoNextServer {
        /// The DHCP server.
        server: Ipv4Addr,
        /// The file.
        file: String,
    },
    /// The boot file is a URL, which this client cannot load.
    NotTftp {
        /// It.
        url: String,
    },
    /// The boot file is a URL of a kind that we cannot load, though the firmware perhaps could.
    BadUrl {
        /// It.
        url: String,
    },
    /// Nobody listens on the TFTP server's port.
    TftpClosed {
        /// Where the request went.
        server: SocketAddrV4,
        /// The file.
        file: String,
    },
    /// The file cannot be had over HTTP.
    Http {
        /// The URL.
        url: String,
        /// Why, in words.
        why: String,
    },
    /// TFTP packets were sent and nothing came back.
    TftpSilent {
        /// Where they went.
        server: SocketAddrV4,
        /// The file.
        file: String,
        /// Bytes received before the silence.
        received: u64,
    },
    /// The TFTP server answered with an ERROR.
    TftpError {
        /// The file.
        file: String,
        /// Its number (RFC 1350 section 5).
        code: u16,
        /// Its text, escaped.
        message: String,
    },
    /// The TFTP server granted what was not asked for.
    BadOptions {
        /// What is wrong.
        what: &'static str,
    },
    /// The file ended at another size than the server had said.
    WrongSize {
        /// What the server said, bytes.
        promised: u64,
        /// What came, bytes.
        received: u64,
    },
}

impl Failure {
    /// The step that failed.
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

    /// What a person would read on the machine's screen, where that is known.
    pub fn on_screen(&self, firmware: Firmware) -> Option<&'static str> {
        match firmware {
            Firmware::Uefi => self.on_uefi_screen(),
            Firmware::BiosPxe => self.on_bios_screen(),
            Firmware::Ipxe => self.on_ipxe_screen(),
            Firmware::UefiHttp | Firmware::Bootp => None,
        }
    }

    /// EDK2's texts (end of `PxeBcBoot.c`, and `PxeBcDhcp4Dora` for when each is used).
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

    /// Intel's texts (PXE 2.1 ROMs; Broadcom KB 152549).
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

    /// iPXE's texts; it also prints the address of a page about each.
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
    /// The text of what failed once there was an address.
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
                    "nobody listens on {server} (port unreachable), where {file} should be: is TFTP running?"
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
            // What `fmt` says itself.
            Failure::NoOffer { .. }
            | Failure::OnlyProxy { .. }
            | Failure::NoAck { .. }
            | Failure::Nak { .. } => Ok(()),
        }
    }
}
