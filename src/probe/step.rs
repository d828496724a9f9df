//! The inputs and outputs of a [`Machine`](super::Machine).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub use super::failure::Failure;
use super::offer::{Offer, Unusable};
use super::text::printable;
use crate::types::Timestamp;

/// The UDP ports of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// The destination of DHCP and BOOTP requests. Replies arrive at the next port.
    pub dhcp: u16,
    /// The destination of TFTP read requests.
    pub tftp: u16,
    /// The destination of requests to boot servers.
    pub proxy: u16,
}

impl Default for Ports {
    /// Returns the registered ports: 67, 69 and 4011.
    fn default() -> Ports {
        Ports { dhcp: 67, tftp: 69, proxy: 4011 }
    }
}

/// The waiting times of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Timing {
    /// The time for collecting offers before a choice. With zero, the machine takes the first offer that it can boot
    /// with. [`Firmware::collects_for`](super::Firmware::collects_for) has the real times.
    pub collect: Duration,
    /// The maximum time without an answer to one request; `None` is the firmware's own.
    pub timeout: Option<Duration>,
}

/// An event for the machine.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A UDP payload arrived from this source at the DHCP port, or at the port of a request to a boot server.
    Dhcp(&'a [u8], SocketAddrV4),
    /// A UDP payload arrived from this source at the port of the current TFTP transfer.
    Tftp(&'a [u8], SocketAddrV4),
    /// ICMP reported the destination of the last TFTP packet as unreachable.
    TftpClosed,
    /// The web server sent the size of the file; `None` if it did not.
    HttpStarted(Option<u64>),
    /// The next bytes of the file arrived over HTTP.
    HttpData(&'a [u8]),
    /// The web server has sent everything.
    HttpEnded,
    /// The HTTP download failed for this reason. The text must be printable.
    HttpFailed(&'a str),
    /// `wait_until` of the last step has passed. An early timeout has no effect.
    Timeout,
}

/// The actions that the machine requests, in this order: store the content, report, send, wait.
#[derive(Debug, Default)]
pub struct Step<'a> {
    /// The next bytes of the boot file.
    pub received: Option<&'a [u8]>,
    /// Events for the user.
    pub progress: Vec<Progress>,
    /// Datagrams to send, in order.
    pub send: Vec<Transmit>,
    /// The time for [`Input::Timeout`] if nothing arrives earlier; `None` once the boot is over.
    pub wait_until: Option<Timestamp>,
}

/// A datagram to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transmit {
    /// From the client's DHCP port to the server's, as a broadcast, because the machine has no address yet.
    Dhcp(Vec<u8>),
    /// To a boot server, or to all of them if `to` is the broadcast address.
    BootServer {
        /// The source port that the firmware uses.
        from_port: u16,
        to: SocketAddrV4,
        payload: Vec<u8>,
    },
    /// A read request from a new local port, which the transfer keeps (RFC 1350 section 4). It replaces the last
    /// transfer.
    TftpOpen {
        /// The server's TFTP port.
        to: SocketAddrV4,
        payload: Vec<u8>,
    },
    /// Load this URL over HTTP and pass in the result.
    Http {
        /// Printable.
        url: String,
        /// Whether to send a HEAD request for the size first, as UEFI does.
        head: bool,
    },
    /// From the local port of the transfer.
    Tftp {
        /// The server's port of this transfer, or an unknown sender.
        to: SocketAddrV4,
        payload: Vec<u8>,
    },
}

/// An event for the user. `Display` makes one line of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A DISCOVER or BOOTP request was sent.
    Discovering {
        /// Whether it was plain BOOTP.
        bootp: bool,
        /// The number of the try, from 1.
        attempt: u32,
    },
    /// An answer arrived that this client cannot use.
    Ignored {
        /// The server.
        from: Ipv4Addr,
        reason: Unusable,
    },
    /// A usable OFFER arrived; perhaps usable only together with another.
    Offered(Offer),
    /// The client chose among several offers.
    Chose {
        /// The server of the address.
        address: Ipv4Addr,
        /// The server of the boot file.
        boot: Ipv4Addr,
    },
    /// A REQUEST for the offered address was sent.
    Requesting {
        address: Ipv4Addr,
        /// The number of the try, from 1.
        attempt: u32,
    },
    /// The ACK arrived.
    Acknowledged(Offer),
    /// A BOOTP reply assigned an address without end.
    BootpReplied(Offer),
    /// A request to a boot server was sent.
    AskingBootServer {
        /// The destination; the broadcast address for all boot servers.
        to: SocketAddrV4,
        /// The chosen menu item and its text.
        item: Option<(u16, String)>,
        /// The number of the try, from 1.
        attempt: u32,
    },
    /// A boot server answered.
    BootServerAnswered(Offer),
    /// A file was requested over HTTP.
    Fetching { url: String },
    /// A file was requested over TFTP.
    Opening {
        server: Ipv4Addr,
        file: String,
        /// Whether this is a size probe.
        size_only: bool,
    },
    /// The size probe was answered.
    SizeKnown {
        /// The size of the file; `None` if the server did not say.
        bytes: Option<u64>,
    },
    /// The transfer starts.
    Transferring {
        /// Bytes in a block.
        block_size: u16,
        /// Blocks in a window.
        window: u16,
        /// The size of the file, if the server said it.
        size: Option<u64>,
    },
    /// The last TFTP packet was sent again after a silence.
    Retrying {
        /// The number of the try.
        attempt: u32,
    },
    /// A TFTP packet arrived from a port outside the transfer and was answered with ERROR 5.
    UnknownTid(SocketAddrV4),
    /// The whole file was received. The machine would start it now.
    Finished {
        /// The size in bytes.
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
            Progress::UnknownTid(from) => {
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
