//! DHCP and BOOTP messages (RFC 2131 section 2, RFC 951 section 3) with their options (RFC 2132, RFC 3396).

use std::net::Ipv4Addr;

use crate::types::MacAddr;
use crate::wire::option::code;

use options::END;

pub use options::{Options, encoded_len};

mod options;

/// The length of the fixed header in bytes, from `op` to `file`.
pub const HEADER_LEN: usize = 236;
/// The first four bytes of the options field (RFC 2131 section 3).
pub const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The minimum length of sent messages: BOOTP with a 64-byte vendor field. Linux's `ip=dhcp` drops shorter ones (RFC
/// 1542 2.1).
pub const MIN_LEN: usize = 300;
/// `op` of messages from clients.
pub const BOOTREQUEST: u8 = 1;
/// `op` of messages from servers.
pub const BOOTREPLY: u8 = 2;
/// The flag of clients that cannot receive unicast before they have an address (RFC 2131 section 2).
pub const FLAG_BROADCAST: u16 = 0x8000;

/// The reason why bytes are not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// There are fewer bytes than the fixed header has.
    TooShort,
    /// `hlen` is more than the 16 bytes of `chaddr`.
    BadHlen,
}

/// A DHCP or BOOTP message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// [`BOOTREQUEST`] or [`BOOTREPLY`].
    pub op: u8,
    /// The hardware type; 1 is Ethernet.
    pub htype: u8,
    /// The number of significant bytes in `chaddr`, 0 to 16.
    pub hlen: u8,
    /// The number of relay agents passed.
    pub hops: u8,
    /// The transaction id.
    pub xid: u32,
    /// Seconds since the client began. iPXE uses this field for other purposes.
    pub secs: u16,
    /// [`FLAG_BROADCAST`] and reserved bits.
    pub flags: u16,
    /// The address that the client has and answers ARP for.
    pub ciaddr: Ipv4Addr,
    /// The address assigned to the client.
    pub yiaddr: Ipv4Addr,
    /// The next server of the boot.
    pub siaddr: Ipv4Addr,
    /// The address of the relay agent; unspecified without one.
    pub giaddr: Ipv4Addr,
    /// The hardware address, padded with zeros.
    pub chaddr: [u8; 16],
    /// The server name, padded with zeros; or option bytes if the field is overloaded (option 52).
    pub sname: [u8; 64],
    /// The boot file name, padded with zeros; or option bytes if the field is overloaded.
    pub file: [u8; 128],
    /// The options; empty without the cookie.
    pub options: Options,
    /// Whether the options field begins with the cookie. Without it the message is BOOTP.
    pub has_cookie: bool,
    /// Whether a field ended in the middle of an option. `options` has the complete options before that.
    pub truncated: bool,
}

/// Message types (option 53, RFC 2132 section 9.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MessageType {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
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

    /// Returns the type with this number on the wire.
    pub fn from_number(number: u8) -> Option<MessageType> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Returns the number on the wire.
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
    /// Makes an empty message with the given `op` for Ethernet. All other fields are zero.
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

    /// Decodes a UDP payload of at least 236 bytes. Invalid options do not make it fail; the readable ones are kept.
    ///
    /// klibc's BOOTP request has exactly 236 bytes and no vendor field.
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

    /// Encodes the message: header, cookie, options in their order, END, and zeros up to [`MIN_LEN`].
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

    /// Returns the `hlen` significant bytes of `chaddr`.
    pub fn hardware(&self) -> &[u8] {
        self.chaddr.get(..usize::from(self.hlen)).unwrap_or(&self.chaddr)
    }

    /// Returns the hardware address if it is an Ethernet address.
    pub fn mac(&self) -> Option<MacAddr> {
        if self.htype != 1 {
            return None;
        }
        self.hardware().try_into().ok().map(MacAddr)
    }

    /// Returns option 53: `None` if it is absent, `Err` if it is not a valid type.
    pub fn message_type(&self) -> Option<Result<MessageType, ()>> {
        self.options.get(code::MESSAGE_TYPE).map(|value| match value {
            [number] => MessageType::from_number(*number).ok_or(()),
            _ => Err(()),
        })
    }

    /// Returns the boot file name in the header up to its NUL; empty if the field contains options.
    pub fn file_name(&self) -> &[u8] {
        if self.overload() & 1 != 0 { &[] } else { until_nul(&self.file) }
    }

    /// Returns the server name in the header up to its NUL; empty if the field contains options.
    pub fn server_name(&self) -> &[u8] {
        if self.overload() & 2 != 0 { &[] } else { until_nul(&self.sname) }
    }

    fn overload(&self) -> u8 {
        self.options.u8(code::OVERLOAD).unwrap_or(0)
    }
}

/// Returns `bytes` up to the first NUL.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Pads `text` with NULs for a fixed field. Returns `None` if it does not fit with one NUL at its end.
pub fn padded<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut field = [0; N];
    if text.len() >= N {
        return None;
    }
    field.get_mut(..text.len())?.copy_from_slice(text);
    Some(field)
}

/// A reader of the fixed header. The caller has checked the length, so every field exists.
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
