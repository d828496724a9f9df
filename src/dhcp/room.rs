//! How much fits into a reply: its options, the most needed first, and no byte more than the client can take.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::wire::dhcp::{COOKIE, HEADER_LEN, MIN_LEN, Message, MessageType, Options, encoded_len};
use crate::wire::option::code;

/// The largest datagram a client takes that says nothing (RFC 2131 section 2), and the least that option 57 can say.
const DEFAULT_DATAGRAM: u32 = 576;
/// The largest datagram sent: an Ethernet frame's. EDK2 says 65280 in option 57 and ignores replies over 1472 bytes.
const MAX_DATAGRAM: u32 = 1500;
/// Bytes of an IPv4 and a UDP header.
const IP_UDP_HEADERS: u32 = 28;
/// Bytes of the options that a reply cannot do without: message type, server, and the three times of a lease.
const ESSENTIAL: usize = 3 + 4 * 6;
/// How many options a reply seldom has more of, and bytes in them: room for these is made at once.
const USUAL_OPTIONS: usize = 16;
const USUAL_BYTES: usize = 256;

/// The options of a reply, and how many bytes are left for more.
pub struct Room<'a> {
    options: Options,
    left: usize,
    /// What goes back as it came, at the end. Its room is taken already.
    echoed: Vec<(u8, &'a [u8])>,
}

impl<'a> Room<'a> {
    /// Room in a reply to `asked`: what the client can take (option 57, at least 576) and the interface carries, whose
    /// largest datagram has `mtu` bytes.
    pub fn new(asked: &'a Message, mtu: u32) -> Room<'a> {
        let takes = asked.options.u16(code::MAX_MESSAGE_SIZE);
        let takes = takes.map_or(DEFAULT_DATAGRAM, u32::from).max(DEFAULT_DATAGRAM);
        let carries = mtu.clamp(DEFAULT_DATAGRAM, MAX_DATAGRAM);
        Room::of(asked, takes.min(carries).saturating_sub(IP_UDP_HEADERS) as usize, ESSENTIAL)
    }

    /// Room in the answer to plain BOOTP: the 64 bytes of its vendor field.
    pub fn for_bootp(asked: &'a Message) -> Room<'a> {
        Room::of(asked, MIN_LEN, 0)
    }

    /// The client identifier (RFC 6842) and, last, what the relay agent added (RFC 3046 section 2.2) go back as they
    /// came: unless they are so long that the `essential` bytes would have no room.
    fn of(asked: &'a Message, payload: usize, essential: usize) -> Room<'a> {
        let mut left = payload.saturating_sub(HEADER_LEN + COOKIE.len() + 1);
        let mut echoed = Vec::with_capacity(2);
        for code in [code::RELAY_AGENT_INFORMATION, code::CLIENT_IDENTIFIER] {
            // A client identifier shorter than two bytes is none (RFC 2132 section 9.14).
            let least = if code == code::CLIENT_IDENTIFIER { 2 } else { 0 };
            let value = asked.options.get(code).filter(|value| value.len() >= least);
            let Some(value) = value else { continue };
            let len = encoded_len(code, value);
            if len + essential <= left {
                left -= len;
                echoed.push((code, value));
            }
        }
        echoed.reverse();
        Room { options: Options::with_capacity(USUAL_OPTIONS, USUAL_BYTES), left, echoed }
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
        for (code, value) in self.echoed {
            self.options.push(code, value);
        }
        self.options
    }
}
