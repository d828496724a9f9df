//! The words between a [`Machine`](super::Machine) and whoever drives it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::offer::{Offer, Unusable};
use crate::types::{Escaped, Timestamp};

/// The server's UDP ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Where DHCP and BOOTP requests go.
    pub dhcp: u16,
    /// Where TFTP read requests go.
    pub tftp: u16,
}

impl Default for Ports {
    /// The registered ones: 67 and 69.
    fn default() -> Ports {
        Ports { dhcp: 67, tftp: 69 }
    }
}

/// What happened to the machine from outside.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A UDP payload arrived on its DHCP port, from this source.
    Dhcp(&'a [u8], SocketAddrV4),
    /// A UDP payload arrived on the port of its present TFTP transfer, from this source.
    Tftp(&'a [u8], SocketAddrV4),
    /// The last step's `wait_until` has passed. Too early, it changes nothing.
    Timeout,
}

/// What the machine wants done now, in this order: keep the content, report, send, wait.
#[derive(Debug, Default)]
pub struct Step<'a> {
    /// The next bytes of the boot file.
    pub received: Option<&'a [u8]>,
    /// What just happened, for a person to read.
    pub progress: Vec<Progress>,
    /// Datagrams to send, in order.
    pub send: Vec<Transmit>,
    /// When to call again with [`Input::Timeout`] if nothing arrives before; `None` once the boot is over.
    pub wait_until: Option<Timestamp>,
}

/// One datagram to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transmit {
    /// From the client's DHCP port to the server's: broadcast, as the machine has no address yet.
    Dhcp(Vec<u8>),
    /// A read request: from a new local port, which the transfer keeps (RFC 1350 section 4). Forget the last one.
    TftpOpen {
        /// The server's TFTP port.
        to: SocketAddrV4,
        /// The UDP payload.
        payload: Vec<u8>,
    },
    /// From the transfer's local port.
    Tftp {
        /// Where to: the server's port of this transfer, or a stranger.
        to: SocketAddrV4,
        /// The UDP payload.
        payload: Vec<u8>,
    },
}

/// What just happened. `Display` makes a line of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Asked for an address: the first time is attempt 1.
    Discovering {
        /// Whether it was plain BOOTP.
        bootp: bool,
        /// Which try this was.
        attempt: u32,
    },
    /// An answer to us that this client cannot use.
    Ignored {
        /// The server.
        from: Ipv4Addr,
        /// Why.
        reason: Unusable,
    },
    /// An OFFER this client takes.
    Offered(Offer),
    /// Asked for the offered address.
    Requesting {
        /// That address.
        address: Ipv4Addr,
        /// Which try this was.
        attempt: u32,
    },
    /// The address is ours.
    Acknowledged(Offer),
    /// A BOOTP reply: the address is ours for good.
    BootpReplied(Offer),
    /// Asked a server for a file by TFTP.
    Opening {
        /// The server's address.
        server: Ipv4Addr,
        /// The file's name.
        file: String,
        /// Whether only its size is wanted for now.
        size_only: bool,
    },
    /// The size probe was answered.
    SizeKnown {
        /// Bytes of the file; `None` when the server does not say.
        bytes: Option<u64>,
    },
    /// The transfer begins.
    Transferring {
        /// Bytes in a block.
        block_size: u16,
        /// Blocks in a window.
        window: u16,
        /// Bytes of the file, if the server said so.
        size: Option<u64>,
    },
    /// Nothing came for a while, so the last TFTP packet was sent again.
    Retrying {
        /// Which try this is.
        attempt: u32,
    },
    /// A TFTP packet from a port that has no part in the transfer; it was answered with ERROR 5.
    Stranger(SocketAddrV4),
    /// The whole file is here: the machine would start it now.
    Finished {
        /// Its size in bytes.
        bytes: u64,
    },
    /// The boot ended without a file.
    Failed(Failure),
}

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
    /// The address came without a boot file.
    NoFile {
        /// The server.
        server: Ipv4Addr,
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

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::Discovering { bootp, attempt } => {
                f.write_str(if *bootp { "BOOTREQUEST" } else { "DISCOVER" })?;
                write_attempt(f, *attempt)
            }
            Progress::Ignored { from, reason } => write!(f, "ignored a reply from {from}: {reason}"),
            Progress::Offered(offer) => write!(f, "OFFER {offer}"),
            Progress::Requesting { address, attempt } => {
                write!(f, "REQUEST {address}")?;
                write_attempt(f, *attempt)
            }
            Progress::Acknowledged(offer) => match offer.lease {
                Some(lease) => write!(f, "ACK {}, lease {} s", offer.address, lease.as_secs()),
                None => write!(f, "ACK {}", offer.address),
            },
            Progress::BootpReplied(offer) => write!(f, "BOOTREPLY {offer}"),
            Progress::Opening { server, file, size_only: true } => {
                write!(f, "TFTP {server}: how big is {file}?")
            }
            Progress::Opening { server, file, size_only: false } => write!(f, "TFTP {server}: read {file}"),
            Progress::SizeKnown { bytes: Some(bytes) } => write!(f, "{bytes} bytes"),
            Progress::SizeKnown { bytes: None } => f.write_str("the server does not say its size"),
            Progress::Transferring { block_size, window, size } => {
                write!(f, "receiving, blocks of {block_size} bytes")?;
                if *window > 1 {
                    write!(f, ", {window} at a time")?;
                }
                size.map_or(Ok(()), |size| write!(f, ", {size} bytes in all"))
            }
            Progress::Retrying { attempt } => write!(f, "no answer, sent again (try {attempt})"),
            Progress::Stranger(from) => {
                write!(f, "a packet from {from}, which is not our server's port: ERROR 5")
            }
            Progress::Finished { bytes } => write!(f, "got all {bytes} bytes"),
            Progress::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}

fn write_attempt(f: &mut fmt::Formatter<'_>, attempt: u32) -> fmt::Result {
    if attempt > 1 { write!(f, " (try {attempt})") } else { Ok(()) }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoOffer { waited, ignored: None } => write!(
                f,
                "no DHCP server answered in {} s: check that one runs, serves this network, and is not behind a \
                 firewall",
                waited.as_secs()
            ),
            Failure::NoOffer { ignored: Some((from, reason)), .. } => {
                write!(f, "no usable DHCP offer; {from} answered, but {reason}")
            }
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
            Failure::NoFile { server } => write!(
                f,
                "{server} gave an address but no boot file: name one for this architecture in its configuration"
            ),
            Failure::NoNextServer { server, file } => {
                write!(f, "{server} names the file {file} but no server to load it from (siaddr is 0.0.0.0)")
            }
            Failure::NotTftp { url } => {
                write!(
                    f,
                    "the boot file is {url}, and this client loads by TFTP only: give it a plain file name"
                )
            }
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
        }
    }
}

/// Bytes off the wire as text that cannot drive a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    Escaped(bytes).to_string()
}
