//! The words between a [`Machine`](super::Machine) and whoever drives it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub use super::failure::Failure;
use super::offer::{Offer, Unusable};
use super::text::printable;
use crate::types::Timestamp;

/// The server's UDP ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Where DHCP and BOOTP requests go. Replies come to the next one.
    pub dhcp: u16,
    /// Where TFTP read requests go.
    pub tftp: u16,
    /// Where questions to boot servers go.
    pub proxy: u16,
}

impl Default for Ports {
    /// The registered ones: 67, 69 and 4011.
    fn default() -> Ports {
        Ports { dhcp: 67, tftp: 69, proxy: 4011 }
    }
}

/// How long a machine waits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Waiting {
    /// How long it collects offers before it chooses; at zero it takes the first that it can boot with.
    /// [`Firmware::collects_for`](super::Firmware::collects_for) says what is real.
    pub collect: Duration,
    /// How long one question may stay unanswered, at most: as long as the firmware waits if `None`.
    pub patience: Option<Duration>,
}

/// What happened to the machine from outside.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A UDP payload arrived on its DHCP port, or on the one it asked a boot server from; from this source.
    Dhcp(&'a [u8], SocketAddrV4),
    /// A UDP payload arrived on the port of its present TFTP transfer, from this source.
    Tftp(&'a [u8], SocketAddrV4),
    /// Nobody listens where the last TFTP packet went: the network said so (ICMP port unreachable).
    TftpClosed,
    /// The web server says how big the file is; `None` if it does not know.
    HttpBegun(Option<u64>),
    /// The next bytes of the file, over HTTP.
    HttpData(&'a [u8]),
    /// The web server has sent all that it wants to.
    HttpEnded,
    /// The file cannot be had over HTTP, for this reason (no bytes off the wire in it that were not made printable).
    HttpFailed(&'a str),
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
    /// To a boot server, or to all of them if `to` is the broadcast address.
    BootServer {
        /// The port the firmware sends from.
        from_port: u16,
        /// Where to.
        to: SocketAddrV4,
        /// The UDP payload.
        payload: Vec<u8>,
    },
    /// A read request: from a new local port, which the transfer keeps (RFC 1350 section 4). Forget the last one.
    TftpOpen {
        /// The server's TFTP port.
        to: SocketAddrV4,
        /// The UDP payload.
        payload: Vec<u8>,
    },
    /// Load this URL over HTTP, and hand in what comes.
    Http {
        /// It; printable.
        url: String,
        /// Whether a HEAD request for the size comes first (UEFI does that).
        head: bool,
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
    /// An OFFER this client can use, at least together with another.
    Offered(Offer),
    /// Of several offers, these were chosen.
    Chose {
        /// Whose address it asks for.
        address: Ipv4Addr,
        /// Who says what to boot.
        boot: Ipv4Addr,
    },
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
    /// Asked a boot server what to boot.
    AskingBootServer {
        /// Where to; everybody if it is the broadcast address.
        to: SocketAddrV4,
        /// The item of the menu that was chosen, and its text.
        item: Option<(u16, String)>,
        /// Which try this was.
        attempt: u32,
    },
    /// A boot server answered.
    BootServerAnswered(Offer),
    /// Asked a web server for a file.
    Fetching {
        /// The URL.
        url: String,
    },
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

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::Discovering { bootp, attempt } => {
                f.write_str(if *bootp { "BOOTREQUEST" } else { "DISCOVER" })?;
                write_attempt(f, *attempt)
            }
            Progress::Ignored { from, reason } => write!(f, "ignored a reply from {from}: {reason}"),
            Progress::Offered(offer) => write!(f, "OFFER {offer}"),
            Progress::Chose { address, boot } if address == boot => write!(f, "takes the offer of {address}"),
            Progress::Chose { address, boot } => {
                write!(f, "takes the address from {address} and the boot file from {boot}")
            }
            Progress::Requesting { address, attempt } => {
                write!(f, "REQUEST {address}")?;
                write_attempt(f, *attempt)
            }
            Progress::Acknowledged(offer) => match offer.lease {
                Some(lease) => write!(f, "ACK {}, lease {} s", offer.address, lease.as_secs()),
                None => write!(f, "ACK {}", offer.address),
            },
            Progress::BootpReplied(offer) => write!(f, "BOOTREPLY {offer}"),
            Progress::AskingBootServer { to, item, attempt } => {
                if to.ip().is_broadcast() {
                    write!(f, "REQUEST to every boot server, port {}", to.port())?;
                } else {
                    write!(f, "REQUEST to boot server {to}")?;
                }
                if let Some((number, text)) = item {
                    write!(f, " for item {number} of the menu, \"{text}\"")?;
                }
                write_attempt(f, *attempt)
            }
            Progress::BootServerAnswered(offer) => {
                write!(f, "boot server {}", offer.server)?;
                if offer.file.is_empty() {
                    return f.write_str(": no file");
                }
                write!(f, ": file {} on {}", printable(&offer.file), offer.next_server)
            }
            Progress::Fetching { url } => write!(f, "HTTP: get {url}"),
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
