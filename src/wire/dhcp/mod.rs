//! DHCP and BOOTP messages (RFC 2131 section 2, RFC 951 section 3) and their options (RFC 2132, RFC 3396).

use std::net::Ipv4Addr;

use crate::types::MacAddr;
use crate::wire::option::code;

use options::END;

pub use options::{Options, encoded_len};

mod options;

/// Bytes of the fixed header, from `op` to `file`.
pub const HEADER_LEN: usize = 236;
/// The first four bytes of the options field (RFC 2131 section 3).
pub const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The least that is sent: a BOOTP message with a 64-byte vendor field. Linux's `ip=dhcp` drops less (RFC 1542 2.1).
pub const MIN_LEN: usize = 300;
/// `op` of what clients send.
pub const BOOTREQUEST: u8 = 1;
/// `op` of what servers send.
pub const BOOTREPLY: u8 = 2;
/// The flag of a client that cannot receive unicast before it has an address (RFC 2131 section 2).
pub const FLAG_BROADCAST: u16 = 0x8000;

/// What is wrong with bytes that are not a message at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// Fewer bytes than the fixed header.
    TooShort,
    /// `hlen` says more than the 16 bytes that `chaddr` has.
    BadHlen,
}

/// A DHCP or BOOTP message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// [`BOOTREQUEST`] or [`BOOTREPLY`].
    pub op: u8,
    /// Hardware type; 1 is Ethernet.
    pub htype: u8,
    /// Bytes of `chaddr` that count, 0 to 16.
    pub hlen: u8,
    /// Relay agents passed.
    pub hops: u8,
    /// Transaction id.
    pub xid: u32,
    /// Seconds since the client began, except that iPXE puts other things there.
    pub secs: u16,
    /// [`FLAG_BROADCAST`] and reserved bits.
    pub flags: u16,
    /// The address the client has and answers ARP for.
    pub ciaddr: Ipv4Addr,
    /// The address the client gets.
    pub yiaddr: Ipv4Addr,
    /// The next server of the boot.
    pub siaddr: Ipv4Addr,
    /// The relay agent; unspecified if none.
    pub giaddr: Ipv4Addr,
    /// Hardware address, padded with zeros.
    pub chaddr: [u8; 16],
    /// Server name, padded with zeros. Option bytes if the sender overloaded it (see `overloaded`).
    pub sname: [u8; 64],
    /// Boot file name, padded with zeros. Option bytes if the sender overloaded it.
    pub file: [u8; 128],
    /// The options; empty if there is no cookie.
    pub options: Options,
    /// Whether the options field begins with the cookie. Without it the message is BOOTP.
    pub has_cookie: bool,
    /// Whether an options field ended in the middle of an option. What came before it stands in `options`.
    pub truncated: bool,
}

/// Message types (option 53, RFC 2132 section 9.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MessageType {
    /// 1
    Discover,
    /// 2
    Offer,
    /// 3
    Request,
    /// 4
    Decline,
    /// 5
    Ack,
    /// 6
    Nak,
    /// 7
    Release,
    /// 8
    Inform,
}

impl MessageType {
    const ALL: [MessageType; 8] = [
        MessageType::Discover,
        MessageType::Offer,
        MessageType::Request,
        MessageType::Decline,
        MessageType::Ack,
        MessageType::Nak,
        MessageType::Release,
        MessageType::Inform,
    ];

    /// The type with this number on the wire.
    pub fn from_number(number: u8) -> Option<MessageType> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Its number on the wire.
    pub fn number(self) -> u8 {
        match self {
            MessageType::Discover => 1,
            MessageType::Offer => 2,
            MessageType::Request => 3,
            MessageType::Decline => 4,
            MessageType::Ack => 5,
            MessageType::Nak => 6,
            MessageType::Release => 7,
            MessageType::Inform => 8,
        }
    }
}

impl Message {
    /// An empty message with the given `op`, Ethernet, all else zero.
    pub fn new(op: u8) -> Message {
        Message {
            op,
            htype: 1,
            hlen: 6,
            hops: 0,
            xid: 0,
            secs: 0,
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: [0; 16],
            sname: [0; 64],
            file: [0; 128],
            options: Options::default(),
            has_cookie: true,
            truncated: false,
        }
    }

    /// Reads a UDP payload of 236 bytes or more. Whatever the options hold, what can be read of them is.
    ///
    /// klibc's BOOTP request is 236 bytes with no vendor field at all, so that is enough.
    pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let (header, rest) = bytes.split_at_checked(HEADER_LEN).ok_or(DecodeError::TooShort)?;
        let mut fields = Fields(header);
        let [op, htype, hlen, hops] = fields.take();
        if hlen > 16 {
            return Err(DecodeError::BadHlen);
        }
        let mut message = Message {
            op,
            htype,
            hlen,
            hops,
            xid: u32::from_be_bytes(fields.take()),
            secs: u16::from_be_bytes(fields.take()),
            flags: u16::from_be_bytes(fields.take()),
            ciaddr: Ipv4Addr::from(fields.take::<4>()),
            yiaddr: Ipv4Addr::from(fields.take::<4>()),
            siaddr: Ipv4Addr::from(fields.take::<4>()),
            giaddr: Ipv4Addr::from(fields.take::<4>()),
            chaddr: fields.take(),
            sname: fields.take(),
            file: fields.take(),
            options: Options::default(),
            has_cookie: rest.starts_with(&COOKIE),
            truncated: false,
        };
        if let Some(area) = rest.strip_prefix(&COOKIE) {
            (message.options, message.truncated) = Options::decode(area, &message.file, &message.sname);
        }
        Ok(message)
    }

    /// Writes the message: header, cookie, options in their order, END, zeros up to [`MIN_LEN`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            MIN_LEN.max(HEADER_LEN.saturating_add(64).saturating_add(self.options.encoded_len())),
        );
        out.extend_from_slice(&[self.op, self.htype, self.hlen, self.hops]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&self.secs.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        for address in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            out.extend_from_slice(&address.octets());
        }
        out.extend_from_slice(&self.chaddr);
        out.extend_from_slice(&self.sname);
        out.extend_from_slice(&self.file);
        if self.has_cookie {
            out.extend_from_slice(&COOKIE);
            self.options.encode_into(&mut out);
            out.push(END);
        }
        if out.len() < MIN_LEN {
            out.resize(MIN_LEN, 0);
        }
        out
    }

    /// The client's hardware address: the `hlen` bytes of `chaddr` that count.
    pub fn hardware(&self) -> &[u8] {
        self.chaddr.get(..usize::from(self.hlen)).unwrap_or(&self.chaddr)
    }

    /// The hardware address if it is Ethernet's.
    pub fn mac(&self) -> Option<MacAddr> {
        if self.htype != 1 {
            return None;
        }
        self.hardware().try_into().ok().map(MacAddr)
    }

    /// Option 53 as its bytes say: absent, one of the types, or something that is not a type.
    pub fn message_type(&self) -> Option<Result<MessageType, ()>> {
        self.options.get(code::MESSAGE_TYPE).map(|value| match value {
            [number] => MessageType::from_number(*number).ok_or(()),
            _ => Err(()),
        })
    }

    /// The boot file name the sender wrote in the header, up to its NUL; empty if that field holds options.
    pub fn file_name(&self) -> &[u8] {
        if self.overload() & 1 != 0 { &[] } else { until_nul(&self.file) }
    }

    /// The server name the sender wrote in the header, up to its NUL; empty if that field holds options.
    pub fn server_name(&self) -> &[u8] {
        if self.overload() & 2 != 0 { &[] } else { until_nul(&self.sname) }
    }

    fn overload(&self) -> u8 {
        self.options.u8(code::OVERLOAD).unwrap_or(0)
    }
}

/// `bytes` up to its first NUL.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// `text` in a fixed field, padded with NULs; `None` when it does not fit with one NUL at its end.
pub fn padded<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut field = [0; N];
    if text.len() >= N {
        return None;
    }
    field.get_mut(..text.len())?.copy_from_slice(text);
    Some(field)
}

/// The fixed header, read from the front. Its length was checked, so a field is always there.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}

#[cfg(test)]
mod tests;
