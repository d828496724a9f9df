//! Space in a reply: adds options in the order of need, and never exceeds the size that the client accepts. Called by
//! the modules that build replies.

use std::net::Ipv4Addr;

use crate::dhcp::level::LeaseTimes;
use crate::dhcp::overload::Overload;
use crate::wire::dhcp::{COOKIE, HEADER_LEN, MIN_LEN, Message, MessageType, Options, encoded_len};
use crate::wire::option::code;

/// The largest datagram that a client accepts if it does not send option 57, and the smallest valid value of that
/// option (RFC 2131 section 2).
pub const DEFAULT_DATAGRAM: u32 = 576;
/// The largest datagram that is sent, which fits an Ethernet frame. EDK2 sends 65280 in option 57 but ignores replies
/// over 1472 bytes.
pub const MAX_DATAGRAM: u32 = 1500;
/// Bytes of the IPv4 and UDP headers.
const IP_UDP_HEADERS: u32 = 28;
/// Bytes of the options that every reply needs: message type, server identifier, and the three times of a lease.
const ESSENTIAL: usize = 3 + 4 * 6;
/// Bytes of the subnet mask, which precedes all configured options.
const MASK: usize = 6;
/// Initial capacity: few replies have more options, or more bytes in them.
const USUAL_OPTIONS: usize = 16;
const USUAL_BYTES: usize = 256;

/// The options of a reply under construction, and the number of bytes left.
pub struct Room<'a> {
    options: Options,
    left: usize,
    /// Options copied from the request to the end of the reply, in reverse order. Their space is already subtracted.
    echoed: Vec<(u8, &'a [u8])>,
    /// `file` and `sname` as further space.
    overload: Option<Overload>,
    /// Whether an option was left out because it did not fit.
    is_short: bool,
}

impl<'a> Room<'a> {
    /// The space in a reply to `asked`. It is limited by the client (option 57, at least 576) and by the interface,
    /// whose largest datagram has `mtu` bytes.
    pub fn new(asked: &'a Message, mtu: u32) -> Room<'a> {
        let takes = asked.options.u16(code::MAX_MESSAGE_SIZE);
        let takes = takes.map_or(DEFAULT_DATAGRAM, u32::from).max(DEFAULT_DATAGRAM);
        let carries = mtu.clamp(DEFAULT_DATAGRAM, MAX_DATAGRAM);
        let mut room = Room::of(in_datagram(takes.min(carries)));
        room.echo(asked, code::RELAY_AGENT_INFORMATION, ESSENTIAL);
        room.echo(asked, code::CLIENT_IDENTIFIER, ESSENTIAL);
        room
    }

    /// The same space without the client identifier of the request.
    #[must_use]
    pub fn without_client_id(mut self) -> Room<'a> {
        if let Some(place) = self.echoed.iter().position(|(code, _)| *code == code::CLIENT_IDENTIFIER) {
            let (code, value) = self.echoed.remove(place);
            self.left = self.left.saturating_add(encoded_len(code, value));
        }
        self
    }

    /// The space in the answer to plain BOOTP: the 64 bytes of its vendor field. Only the relay agent's option may
    /// exceed them, because the relay agent removes it before the client sees the reply (RFC 3046 section 2.1).
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
        Room { options, left, echoed: Vec::with_capacity(2), overload: None, is_short: false }
    }

    /// Copies an option of `asked` unchanged to the end of the reply, unless it is so long that the `essential` bytes
    /// would not fit. This is done for the client identifier (RFC 6842) and, at the very end, for the relay agent's
    /// option (RFC 3046 section 2.2).
    fn echo(&mut self, asked: &'a Message, code: u8, essential: usize) {
        // A client identifier shorter than two bytes is invalid (RFC 2132 section 9.14).
        let least = if code == code::CLIENT_IDENTIFIER { 2 } else { 0 };
        let Some(value) = asked.options.get(code).filter(|value| value.len() >= least) else { return };
        let len = encoded_len(code, value);
        if len.saturating_add(essential) <= self.left {
            self.left -= len;
            self.echoed.push((code, value));
        }
    }

    /// Lets options that do not fit go into the fields of `message` that are empty (RFC 2131 section 4.1).
    pub fn overload(&mut self, message: &Message) {
        let overload = Overload::of(message);
        if let Some(left) = self.left.checked_sub(Overload::LEN).filter(|_| overload.is_some()) {
            (self.left, self.overload) = (left, overload);
        }
    }

    /// Whether an option was left out because it did not fit.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Adds an option if all of it fits. Returns whether the option was added.
    pub fn push(&mut self, code: u8, value: &[u8]) -> bool {
        if self.overload.as_ref().is_some_and(|overload| overload.has(code)) {
            return false;
        }
        let len = encoded_len(code, value);
        if len > self.left {
            return self.options.get(code).is_none() && self.push_overflow(code, value);
        }
        let is_new = self.options.push(code, value);
        if is_new {
            self.left -= len;
        }
        is_new
    }

    /// Adds an option that does not fit into the options field. Returns whether the option was added.
    fn push_overflow(&mut self, code: u8, value: &[u8]) -> bool {
        let taken = self.overload.as_mut().and_then(|overload| overload.take(code, value, self.left));
        let Some(here) = taken else {
            self.is_short = true;
            return false;
        };
        // RFC 3396 section 5: the first part is in the options field, the next in `file`, the last in `sname`.
        if let Some(part) = value.get(..here).filter(|part| !part.is_empty()) {
            self.left = self.left.saturating_sub(encoded_len(code, part));
            self.options.push(code, part);
        }
        true
    }

    /// Adds the message type and the server identifier.
    pub fn kind(&mut self, kind: MessageType, server: Ipv4Addr) {
        self.push(code::MESSAGE_TYPE, &[kind.number()]);
        self.push(code::SERVER_IDENTIFIER, &server.octets());
    }

    /// Adds the message type, the server identifier and the times of a lease.
    pub fn lease(&mut self, kind: MessageType, server: Ipv4Addr, times: LeaseTimes) {
        self.kind(kind, server);
        let LeaseTimes { lease, renew, rebind } = times;
        let times =
            [(code::LEASE_TIME, Some(lease)), (code::RENEWAL_TIME, renew), (code::REBINDING_TIME, rebind)];
        for (code, time) in times {
            if let Some(time) = time {
                self.push(code, &u32::try_from(time.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
    }

    /// Puts the options into `message`, and into its header fields if they have some.
    pub fn finish(mut self, message: &mut Message) {
        if let Some(fields) = self.overload.take().and_then(|overload| overload.write(message)) {
            self.options.push(code::OVERLOAD, &[fields]);
        }
        message.options = self.into_options();
    }

    /// Finishes the options; the copied ones are last.
    pub fn into_options(mut self) -> Options {
        for (code, value) in self.echoed.into_iter().rev() {
            self.options.push(code, value);
        }
        self.options
    }
}

/// Size in bytes of the smallest datagram that has space for this option in a reply.
pub fn smallest_datagram(code: u8, value: &[u8]) -> u32 {
    let options = ESSENTIAL.saturating_add(MASK).saturating_add(encoded_len(code, value));
    let payload = options.saturating_add(HEADER_LEN + COOKIE.len() + 1);
    u32::try_from(payload).unwrap_or(u32::MAX).saturating_add(IP_UDP_HEADERS)
}

/// Size in bytes of the smallest datagram that has space for this option in a reply whose header fields may have options
/// too.
pub fn smallest_with_overload(code: u8, value: &[u8]) -> u32 {
    let elsewhere = u32::try_from(Overload::MOST.saturating_sub(Overload::LEN)).unwrap_or(0);
    smallest_datagram(code, value).saturating_sub(elsewhere)
}

/// Bytes of options that fit into a datagram of this size.
fn in_datagram(size: u32) -> usize {
    in_payload(size.saturating_sub(IP_UDP_HEADERS) as usize)
}

/// Bytes of options that fit into a message of this length, not counting END.
fn in_payload(len: usize) -> usize {
    len.saturating_sub(HEADER_LEN + COOKIE.len() + 1)
}
