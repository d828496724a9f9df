//! Everything that can happen to a machine. Log lines, counters and boot journeys are all made from these, in
//! `record/mod.rs` alone.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crate::types::{Arch, ClientId, Firmware, Ipv4Network, MacAddr, Rule};

pub use http::{HttpRefusal, HttpStop};
pub use reason::{DropReason, Message, Refusal, Unanswered, UploadStop};

#[macro_use]
mod reason;
mod http;

/// One thing that happened. Closed: what is not here cannot be logged or counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A DHCP or BOOTP message that we understood arrived.
    Received {
        /// Its kind.
        message: Message,
        /// From whom.
        client: Client,
    },
    /// We answered it.
    Answered {
        /// The answer's kind.
        message: Message,
        /// The address it gives or confirms; unspecified in a NAK.
        address: Ipv4Addr,
        /// To whom.
        client: Client,
        /// The boot file it names, if any, and why this one.
        file: Option<(Arc<str>, Rule)>,
        /// Why, where the answer alone does not say it: the reason of a NAK.
        note: Option<&'static str>,
    },
    /// A client gave its address back.
    Released {
        /// The address, free from now on.
        address: Ipv4Addr,
        /// Who held it.
        client: Client,
    },
    /// A client found its address in use by another machine.
    Declined {
        /// The address, not offered again for a while.
        address: Ipv4Addr,
        /// The client.
        client: Client,
        /// The machine that answered there, if one did.
        by: Option<MacAddr>,
    },
    /// One machine answers for addresses that no client has (proxy ARP): what it says is ignored from now on.
    ProxyArp {
        /// Its hardware address.
        by: MacAddr,
        /// The addresses.
        addresses: Vec<Ipv4Addr>,
    },
    /// Before its first offer another machine was found to use an address.
    Conflict {
        /// The address, not offered for a while.
        address: Ipv4Addr,
        /// Who answered there, if it was on this wire.
        by: Option<MacAddr>,
    },
    /// A machine is given the same boot file again and again.
    Looping {
        /// Which.
        client: Client,
        /// The file.
        file: Arc<str>,
        /// How often it was given.
        times: usize,
        /// From the first time to the last.
        within: Duration,
        /// Whether it is an iPXE that loads itself, or seems to be one, and gets the script from now on.
        gets_script: bool,
    },
    /// A client was turned away because its subnet has no free address.
    Exhausted {
        /// The subnet.
        subnet: Ipv4Network,
        /// How many addresses its pool has.
        size: u64,
        /// Who was turned away.
        client: Client,
    },
    /// Several machines send one client identifier.
    Clones {
        /// The identifier.
        id: ClientId,
        /// The machines, as many as a line names.
        machines: Vec<MacAddr>,
        /// How many more were found.
        more: usize,
    },
    /// Another DHCP server answers clients on a wire where lanboot is the server.
    Stranger {
        /// What it said to a client; a REQUEST is what a client said to it.
        message: Message,
        /// The address that it gives; unspecified if none.
        address: Ipv4Addr,
        /// The client.
        client: Option<MacAddr>,
        /// The other server's address.
        server: Ipv4Addr,
        /// The hardware address that its message came from, if it was heard itself.
        from: Option<MacAddr>,
    },
    /// A machine that asks for files cannot be told from another one that may have its address.
    Contested {
        /// The address.
        address: Ipv4Addr,
        /// The machine that DHCP named last, if it has a MAC.
        by_dhcp: Option<MacAddr>,
        /// The other one.
        other: Option<MacAddr>,
        /// Whether the other one is that of the kernel's neighbour table.
        on_wire: bool,
    },
    /// A message was not answered.
    Dropped {
        /// Why.
        reason: DropReason,
        /// From whom, if that could be read.
        client: Option<Client>,
    },
    /// A TFTP transfer ended with the whole file sent.
    TftpSent {
        /// The file's name beneath boot-images/.
        file: String,
        /// To whom.
        peer: SocketAddrV4,
        /// Bytes of the file.
        bytes: u64,
        /// From request to end.
        took: Duration,
        /// Packets that were sent more than once.
        resent: u64,
    },
    /// A TFTP client asked for a file's size and went away, as firmware does before the real transfer.
    TftpSizeProbe {
        /// The file's name beneath boot-images/.
        file: String,
        /// To whom.
        peer: SocketAddrV4,
    },
    /// A TFTP transfer ended before the end of the file.
    TftpStopped {
        /// The file's name beneath boot-images/.
        file: String,
        /// To whom.
        peer: SocketAddrV4,
        /// Bytes of it that the client has, as far as is known.
        bytes: u64,
        /// Bytes it has.
        size: u64,
        /// From request to end.
        took: Duration,
        /// Packets that were sent more than once.
        resent: u64,
        /// Why it ended.
        stop: Stop,
        /// The block size that the client may be choking on: it accepted it, and never took block 1.
        choking_on: Option<u16>,
    },
    /// A datagram to the TFTP server was not answered.
    TftpUnanswered {
        /// From whom.
        peer: SocketAddrV4,
        /// Why.
        reason: Unanswered,
    },
    /// A TFTP client put a new file here: it is on stable storage.
    TftpReceived {
        /// The file's name beneath the folder for uploads.
        file: String,
        /// From whom.
        peer: SocketAddrV4,
        /// Bytes of the file.
        bytes: u64,
        /// From request to the last acknowledgement.
        took: Duration,
    },
    /// A TFTP upload ended before the end of the file; nothing is kept of it.
    TftpUploadStopped {
        /// The file's name beneath the folder for uploads.
        file: String,
        /// From whom.
        peer: SocketAddrV4,
        /// Bytes of it that had come.
        bytes: u64,
        /// Why.
        why: UploadStop,
    },
    /// A TFTP request was refused.
    TftpRefused {
        /// The name as asked for.
        name: String,
        /// By whom.
        peer: SocketAddrV4,
        /// Why.
        reason: Refusal,
    },
    /// What an HTTP client asked for of a file was sent.
    HttpSent {
        /// The file's name beneath boot-images/.
        file: String,
        /// To whom.
        peer: SocketAddrV4,
        /// Bytes of it that were asked for and sent.
        bytes: u64,
        /// They reach to its end, so that the client now has it.
        to_end: bool,
        /// From request to end.
        took: Duration,
    },
    /// An HTTP request for a file was answered without any of it: its size (HEAD), or that the client has it.
    HttpAnswered {
        /// The file's name beneath boot-images/.
        file: String,
        /// To whom.
        peer: SocketAddrV4,
        /// The answer's status code.
        status: u16,
    },
    /// An HTTP answer ended before its end.
    HttpStopped {
        /// The file's name beneath boot-images/.
        file: String,
        /// To whom.
        peer: SocketAddrV4,
        /// Bytes of it that were sent.
        bytes: u64,
        /// Bytes that should have been.
        wanted: u64,
        /// Why.
        reason: HttpStop,
    },
    /// An HTTP request was refused.
    HttpRefused {
        /// What was asked for, as it was sent; nothing when that could not be read.
        name: String,
        /// By whom.
        peer: SocketAddrV4,
        /// Why.
        reason: HttpRefusal,
    },
}

/// Who sent a message, as far as a log line says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// Hardware address; `None` when it is not Ethernet's.
    pub mac: Option<MacAddr>,
    /// What kind of program it is.
    pub firmware: Firmware,
    /// Its architecture, if it said one.
    pub arch: Option<Arch>,
}

/// How a TFTP transfer ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The client acknowledged the last block.
    Sent,
    /// The client only wanted to know the size.
    SizeProbe,
    /// Before the last block was acknowledged.
    Stopped(Stop),
}

/// Why a TFTP transfer ended before the end of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The client acknowledged nothing any more.
    Silent,
    /// The client sent an ERROR.
    Refused {
        /// Its code (RFC 1350 section 5).
        code: u16,
        /// Its text, as the client wrote it.
        message: String,
    },
    /// The network says that nobody listens at the client's port.
    Unreachable,
    /// The client asked anew from the same port.
    Replaced,
    /// Its client was silent, and another one needed its place.
    Evicted,
    /// The file could not be read on, or became shorter.
    Unreadable,
    /// lanboot stops.
    ServerStops,
}

impl Event {
    /// The DHCP client it is about, if it is about one.
    pub fn client(&self) -> Option<&Client> {
        match self {
            Event::Received { client, .. }
            | Event::Answered { client, .. }
            | Event::Looping { client, .. }
            | Event::Released { client, .. }
            | Event::Declined { client, .. }
            | Event::Exhausted { client, .. } => Some(client),
            Event::Dropped { client, .. } => client.as_ref(),
            Event::Conflict { .. }
            | Event::ProxyArp { .. }
            | Event::Clones { .. }
            | Event::Contested { .. }
            | Event::Stranger { .. }
            | Event::TftpSent { .. }
            | Event::TftpSizeProbe { .. }
            | Event::TftpStopped { .. }
            | Event::TftpReceived { .. }
            | Event::TftpUploadStopped { .. }
            | Event::TftpUnanswered { .. }
            | Event::TftpRefused { .. }
            | Event::HttpSent { .. }
            | Event::HttpAnswered { .. }
            | Event::HttpStopped { .. }
            | Event::HttpRefused { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_unique() {
        let names: Vec<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        let unique: std::collections::HashSet<&&str> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())));
    }
}
