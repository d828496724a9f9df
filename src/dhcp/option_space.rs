//! How much fits into a reply: its options, the most needed first, and no byte more than the client can take.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::wire::dhcp::{COOKIE, HEADER_LEN, MIN_LEN, Message, MessageType, Options, encoded_len};
use crate::wire::option::code;

/// The largest datagram a client takes that says nothing (RFC 2131 section 2), and the least that option 57 can say.
pub const DEFAULT_DATAGRAM: u32 = 576;
/// The largest datagram sent: an Ethernet frame's. EDK2 says 65280 in option 57 and ignores replies over 1472 bytes.
pub const MAX_DATAGRAM: u32 = 1500;
/// Bytes of an IPv4 and a UDP header.
const IP_UDP_HEADERS: u32 = 28;
/// Bytes of the options that a reply cannot do without: message type, server, and the three times of a lease.
const ESSENTIAL: usize = 3 + 4 * 6;
/// Bytes of the subnet mask, which comes before all that is configured.
const MASK: usize = 6;
/// How many options a reply seldom has more of, and bytes in them: room for these is made at once.
const USUAL_OPTIONS: usize = 16;
const USUAL_BYTES: usize = 256;

/// The options of a reply, and how many bytes are left for more.
pub struct Room<'a> {
    options: Options,
    left: usize,
    /// What goes back as it came, at the end, the last first. Its room is taken already.
    echoed: Vec<(u8, &'a [u8])>,
}

impl<'a> Room<'a> {
    /// Room in a reply to `asked`: what the client can take (option 57, at least 576) and the interface carries, whose
    /// largest datagram has `mtu` bytes.
    pub fn new(asked: &'a Message, mtu: u32) -> Room<'a> {
        let takes = asked.options.u16(code::MAX_MESSAGE_SIZE);
        let takes = takes.map_or(DEFAULT_DATAGRAM, u32::from).max(DEFAULT_DATAGRAM);
        let carries = mtu.clamp(DEFAULT_DATAGRAM, MAX_DATAGRAM);
        let mut room = Room::of(in_datagram(takes.min(carries)));
        room.echo(asked, code::RELAY_AGENT_INFORMATION, ESSENTIAL);
        room.echo(asked, code::CLIENT_IDENTIFIER, ESSENTIAL);
        room
    }

    /// Room in the answer to plain BOOTP: the 64 bytes of its vendor field. Only what the relay agent added may go
    /// beyond them, for the agent takes it out before the client sees the reply (RFC 3046 section 2.1).
    pub fn for_bootp(asked: &'a Message) -> Room<'a> {
        let field = in_payload(MIN_LEN);
        let is_relayed = !asked.giaddr.is_unspecified();
        let mut room = Room::of(if is_relayed { in_datagram(DEFAULT_DATAGRAM) } else { field });
        room.echo(asked, code::RELAY_AGENT_INFORMATION, 0);
        room.left = room.left.min(field);
        room.echo(asked, code::CLIENT_IDENTIFIER, 0);
        room
    }

    fn of(left: usize) -> Room<'a> {
        let options = Options::with_capacity(USUAL_OPTIONS, USUAL_BYTES);
        Room { options, left, echoed: Vec::with_capacity(2) }
    }

    /// The client identifier (RFC 6842) and, last, what the relay agent added (RFC 3046 section 2.2) go back as they
    /// came: unless they are so long that the `essential` bytes would have no room.
    fn echo(&mut self, asked: &'a Message, code: u8, essential: usize) {
        // A client identifier shorter than two bytes is none (RFC 2132 section 9.14).
        let least = if code == code::CLIENT_IDENTIFIER { 2 } else { 0 };
        let Some(value) = asked.options.get(code).filter(|value| value.len() >= least) else { return };
        let len = encoded_len(code, value);
        if len.saturating_add(essential) <= self.left {
            self.left -= len;
            self.echoed.push((code, value));
        }
    }

    /// Adds an option if there is room for all of it; says whether it is in the reply.
    pub fn push(&mut self, code: u8, value: &[u8]) -> bool {
        let len = encoded_len(code, value);
        let fits = len <= self.left && self.options.push(code, value);
        if fits {
            self.left -= len;
        }
        fits
    }

    /// Message type and server.
    pub fn kind(&mut self, kind: MessageType, server: Ipv4Addr) {
        self.push(code::MESSAGE_TYPE, &[kind.number()]);
        self.push(code::SERVER_IDENTIFIER, &server.octets());
    }

    /// Message type, server and the times of a lease: renewal at a half, rebinding at seven eighths (RFC 2131 4.4.5).
    pub fn lease(&mut self, kind: MessageType, server: Ipv4Addr, lease: Duration) {
        let seconds = u32::try_from(lease.as_secs()).unwrap_or(u32::MAX);
        self.kind(kind, server);
        self.push(code::LEASE_TIME, &seconds.to_be_bytes());
        self.push(code::RENEWAL_TIME, &(seconds / 2).to_be_bytes());
        self.push(code::REBINDING_TIME, &(seconds - seconds / 8).to_be_bytes());
    }

    /// The options, what is echoed last.
    pub fn into_options(mut self) -> Options {
        for (code, value) in self.echoed.into_iter().rev() {
            self.options.push(code, value);
        }
        self.options
    }
}

/// Bytes of the smallest datagram whose reply has room for this option.
pub fn smallest_datagram(code: u8, value: &[u8]) -> u32 {
    let options = ESSENTIAL.saturating_add(MASK).saturating_add(encoded_len(code, value));
    let payload = options.saturating_add(HEADER_LEN + COOKIE.len() + 1);
    u32::try_from(payload).unwrap_or(u32::MAX).saturating_add(IP_UDP_HEADERS)
}

/// Bytes of options that a datagram of this size has room for.
fn in_datagram(size: u32) -> usize {
    in_payload(size.saturating_sub(IP_UDP_HEADERS) as usize)
}

/// Bytes of options that a message of this length has room for, END not counted.
fn in_payload(len: usize) -> usize {
    len.saturating_sub(HEADER_LEN + COOKIE.len() + 1)
}
