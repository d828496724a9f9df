//! Everything that can happen to a machine, as one closed enum.
//!
//! Every part of the server creates [`Event`]s. `record/` alone turns them into log lines, counters and boot journeys.
//! This folder never logs, counts or formats.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::types::{
    Arch, ClientId, Hardware, InterfaceName, Ipv4Network, MacAddr, MachineId, Rule, Severity, Timestamp,
};

pub use capture::CaptureDrop;
pub use client::Client;
pub use details::Details;
pub use http::{HttpRefusal, HttpStop};
pub use reason::{DropReason, Message, Refusal, Unanswered, UploadStop};
pub use reservation::NotKept;
pub use server::{Reporter, Reports, ServerFact};
pub use syslog::SyslogDrop;
pub use tftp::{TransferEnd, TransferStop};

#[macro_use]
mod reason;
mod capture;
mod client;
mod details;
mod envelope;
mod http;
mod reservation;
mod server;
mod subject;
mod syslog;
mod tftp;

/// One thing that happened. The enum is closed on purpose: nothing outside it can be logged or counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A DHCP or BOOTP message arrived and was decoded.
    Received { message: Message, client: Client, details: Details },
    /// A reply was sent.
    Answered {
        /// The type of the reply.
        message: Message,
        /// The address that the reply assigns or confirms; unspecified in a NAK.
        address: Ipv4Addr,
        client: Client,
        /// The boot file that the reply names, with the rule that chose it.
        file: Option<(Arc<str>, Rule)>,
        /// The reason of a NAK.
        note: Option<&'static str>,
    },
    /// A client released its address.
    Released {
        /// The address, which is free from now on.
        address: Ipv4Addr,
        /// The client that held the address.
        client: Client,
    },
    /// A client declined its address because another machine uses it.
    Declined {
        /// The address. It is not offered again for a while.
        address: Ipv4Addr,
        client: Client,
        /// The machine that answered at the address, if any did.
        by: Option<MacAddr>,
    },
    /// One machine answers ARP for addresses that no client has (proxy ARP). Its answers are ignored from now on.
    ProxyArp {
        by: MacAddr,
        /// The addresses that it answered for.
        addresses: Vec<Ipv4Addr>,
    },
    /// A machine was found at an address before the address was offered.
    Conflict {
        /// The address. It is not offered for a while.
        address: Ipv4Addr,
        /// The machine that answered, if it is on this link.
        by: Option<MacAddr>,
    },
    /// A machine requests the same boot file again and again.
    BootLoop {
        client: Client,
        file: Arc<str>,
        /// The number of times that the machine was given the file.
        times: usize,
        /// The time from the first request to the last.
        within: Duration,
        /// Whether the machine runs an iPXE that loads itself, or seems to, and gets the script from now on.
        gets_script: bool,
    },
    /// A machine boots from the network, and no boot file is configured for its architecture.
    NoFileForArchitecture { client: Client },
    /// The boot file that a reply has just named is missing in boot-images/.
    FileMissing {
        client: Client,
        file: Arc<str>,
        rule: Rule,
        /// The set of `lanboot images add` that has the file.
        set: Option<&'static str>,
    },
    /// A template or a generated script has a fault, so that the machine does not get it.
    TextFailed {
        /// The file's name under boot-images/.
        file: String,
        /// The line for the log: the fault, its place, and the machine.
        problem: String,
    },
    /// The machine's `once` is over.
    OnceEnded {
        /// The target of the `once`.
        target: String,
        /// The reason for its end.
        why: String,
        /// The target that the machine starts next, if it has one.
        next: Option<String>,
    },
    /// A client got no address because the pool of its subnet is full.
    PoolExhausted {
        subnet: Ipv4Network,
        /// The number of addresses in the pool.
        size: u64,
        client: Client,
    },
    /// A client does not get the address that is reserved for its machine.
    NotKept {
        /// The name of the machine.
        machine: Arc<str>,
        /// The reserved address.
        address: Ipv4Addr,
        /// The address that the client gets instead, if any.
        given: Option<Ipv4Addr>,
        client: Client,
        why: NotKept,
    },
    /// Another DHCP server sent a message to a client on a served interface.
    Heard {
        message: Message,
        /// The address that the message assigns; unspecified if it assigns none.
        address: Ipv4Addr,
        /// The address of the other server.
        server: Ipv4Addr,
        /// Whether the message names a boot file.
        names_file: bool,
    },
    /// Several machines send the same client identifier.
    DuplicateClientId {
        id: ClientId,
        /// The first of these machines, as many as fit one log line.
        machines: Vec<MacAddr>,
        /// The number of further machines.
        more: usize,
    },
    /// Another DHCP server answers clients on a link where lanboot is the server (a rogue server).
    RogueServer {
        /// The message of the other server, or the REQUEST of a client that chose it.
        message: Message,
        /// The address that the message assigns; unspecified if it assigns none.
        address: Ipv4Addr,
        /// The address of the other server.
        server: Ipv4Addr,
        /// The source hardware address of the message, if the server's own message was captured.
        from: Option<MacAddr>,
    },
    /// A machine requests files from an address that two machines may have.
    AmbiguousAddress {
        address: IpAddr,
        /// The machine that DHCP assigned the address to last, if it has a MAC.
        by_dhcp: Option<MacAddr>,
        /// The other machine.
        other: Option<MacAddr>,
        /// Whether the other machine is the one in the kernel's neighbour table.
        on_wire: bool,
    },
    /// A machine has booted: its system asks for an address, or it boots its disk as configured.
    Booted {
        arch: Option<Arch>,
        /// The files that it loaded, in order.
        chain: String,
        took: Duration,
    },
    /// A boot stopped. The line has the name of the stage, the cause and what to do.
    Stuck {
        arch: Option<Arch>,
        stage: &'static str,
        /// The id of the verdict.
        verdict: &'static str,
        cause: String,
        advice: String,
    },
    /// A boot that seemed to be stuck goes on.
    GoesOn { arch: Option<Arch> },
    /// Something happened to the server itself.
    Server {
        fact: ServerFact,
        /// The line for the log.
        text: String,
    },
    /// A DHCP or BOOTP message was dropped.
    Dropped {
        reason: DropReason,
        /// The sender, if the message could be decoded that far.
        client: Option<Client>,
    },
    /// A TFTP transfer begins: the request is accepted, and the first packet is sent.
    TftpStarted {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
        /// The size of the file in bytes.
        size: u64,
        /// The block size in bytes.
        blksize: u16,
        /// Whether the first packet is an OACK, which is smaller than a block.
        options: bool,
    },
    /// A TFTP client acknowledged a packet of a transfer for the first time: the OACK, or block 1.
    TftpAcknowledged {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
        /// Whether it acknowledged a block, and not only the OACK.
        block: bool,
    },
    /// A TFTP transfer sent the whole file.
    TftpSent {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
        /// The size of the file in bytes.
        bytes: u64,
        /// The time from the request to the end.
        took: Duration,
        /// The number of packets that were retransmitted.
        resent: u64,
    },
    /// A TFTP client asked for the size of a file and left, as firmware does before the real transfer.
    TftpSizeProbe {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
    },
    /// A TFTP transfer ended before the end of the file.
    TftpStopped {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
        /// The number of bytes that the client has acknowledged.
        bytes: u64,
        /// The size of the file in bytes.
        size: u64,
        /// The time from the request to the end.
        took: Duration,
        /// The number of packets that were retransmitted.
        resent: u64,
        stop: TransferStop,
        /// The block size that the client probably cannot handle: it accepted the size but never acknowledged block 1.
        rejected_blksize: Option<u16>,
    },
    /// A datagram to the TFTP server got no answer.
    TftpUnanswered { peer: SocketAddr, reason: Unanswered },
    /// A TFTP upload is complete and on stable storage.
    TftpReceived {
        /// The file's name under the folder for uploads.
        file: String,
        peer: SocketAddr,
        /// The size of the file in bytes.
        bytes: u64,
        /// The time from the request to the last acknowledgement.
        took: Duration,
    },
    /// A TFTP upload ended before the end of the file. The received part was deleted.
    TftpUploadStopped {
        /// The file's name under the folder for uploads.
        file: String,
        peer: SocketAddr,
        /// The number of bytes received.
        bytes: u64,
        why: UploadStop,
    },
    /// A TFTP request was refused.
    TftpRefused {
        /// The name as the client sent it.
        name: String,
        peer: SocketAddr,
        reason: Refusal,
    },
    /// An HTTP answer begins to send a large file.
    HttpStarted {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
        /// The number of bytes that the answer has.
        wanted: u64,
    },
    /// An HTTP answer sent everything that the client requested.
    HttpSent {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
        /// The number of bytes sent.
        bytes: u64,
        /// Whether the answer reached the end of the file, so that the client now has all of it.
        to_end: bool,
        /// The time from the request to the end.
        took: Duration,
    },
    /// An HTTP request was answered without content: HEAD, or the client already has the file.
    HttpAnswered {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
        /// The status code of the answer.
        status: u16,
    },
    /// An HTTP answer ended early.
    HttpStopped {
        /// The file's name under boot-images/.
        file: String,
        peer: SocketAddr,
        /// The number of bytes sent.
        bytes: u64,
        /// The number of bytes that the answer should have had.
        wanted: u64,
        reason: HttpStop,
    },
    /// A machine's iPXE reported facts about its hardware.
    Facts { peer: SocketAddr, hardware: Box<Hardware> },
    /// An HTTP request was refused.
    HttpRefused {
        /// The request target as the client sent it; empty if it could not be read.
        name: String,
        peer: SocketAddr,
        reason: HttpRefusal,
    },
    /// A machine sent a line to the syslog receiver, as installers and initrds do.
    Syslog {
        peer: SocketAddr,
        severity: Severity,
        /// The program that logged the line, as the sender names it; empty if it names none.
        program: String,
        /// The text, as it came. It may have any characters.
        text: String,
    },
    /// `count` lines that were sent to the syslog receiver, or one connection to it, were dropped.
    SyslogDropped { peer: SocketAddr, reason: SyslogDrop, count: u64 },
    /// Our own firewall dropped a client's question to the boot service at `port`: it was on the wire, not in the socket.
    QuestionBlocked { client: Client, details: Details, port: u16 },
    /// A DHCP reply of `bytes` bytes with its headers did not pass in one piece: it was cut into fragments, or ICMP says so.
    ReplyTooLarge { bytes: u32 },
    /// The machine asks for a router or an address by IPv6, which lanboot does not serve, while its loader should start.
    AsksByIpv6,
    /// `count` packets of boots were not kept for `lanboot capture`.
    CaptureDropped { reason: CaptureDrop, count: u64 },
}

/// An event in its envelope. Log lines, counters, journeys and the API are made from records alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When it happened, by the server's clock.
    pub at: Timestamp,
    /// The name of the interface; `None` if the event belongs to no interface, or if it is not known.
    pub interface: Option<InterfaceName>,
    /// The machine that the event is about, wherever it is known.
    pub machine: Option<MachineId>,
    pub event: Event,
}

/// The part of the envelope that all records of one DHCP message share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    pub at: Timestamp,
    pub interface: Option<InterfaceName>,
    pub machine: Option<MachineId>,
    /// The sender of the message, if the message could be decoded.
    pub client: Option<Client>,
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
