//! TFTP packets: RFC 1350 with the options of RFC 2347 (format), 2348 (block size), 2349 (timeout, transfer size) and
//! 7440 (window size).
//!
//! Decoding is lenient where clients are sloppy: unknown options, repeated options, names in any case, padding. It is
//! strict where a guess could serve the wrong file: a string without its NUL, an unknown opcode or mode.

use std::fmt;

/// One TFTP packet. Strings and data are borrowed from the datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// Read request, opcode 1.
    Rrq(Request<'a>),
    /// Write request, opcode 2.
    Wrq(Request<'a>),
    /// One block, opcode 3.
    Data {
        /// The block number: the first is 1, and 0 follows 65535. RFC 1350 does not define the wrap, but all clients
        /// that load more than 65535 blocks count this way.
        block: u16,
        /// 0 to 65464 bytes. Fewer bytes than the block size mark the end of the file.
        data: &'a [u8],
    },
    /// Acknowledgement of a block and all blocks before it, opcode 4; 0 acknowledges an OACK.
    Ack(u16),
    /// Error, opcode 5. It ends the transfer and is never answered.
    Error {
        code: ErrorCode,
        /// Text for people; any bytes but NUL.
        message: &'a [u8],
    },
    /// The options that the server grants, opcode 6 (RFC 2347).
    OAck(Options),
}

/// Returns the reply to a datagram from a port without a transfer (RFC 1350 section 4). Datagrams that are not TFTP
/// packets, and ERRORs, get no reply.
pub fn reply_to_unknown_tid(datagram: &[u8]) -> Option<Packet<'static>> {
    match Packet::decode(datagram) {
        Err(_) | Ok(Packet::Error { .. }) => None,
        Ok(_) => Some(Packet::Error { code: ErrorCode::UNKNOWN_TRANSFER, message: b"Unknown transfer ID" }),
    }
}

/// The content of a read or write request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The file name as the client sent it: any bytes but NUL.
    pub name: &'a [u8],
    pub mode: Mode,
    /// The options, as far as they are known.
    pub options: Options,
}

/// The transfer mode (RFC 1350 section 1). The obsolete `mail` is refused like any unknown mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Unchanged bytes.
    Octet,
    /// Text with CR LF line ends.
    Netascii,
}

/// The options of a request or an OACK. A missing option and an invalid value are both `None`. A server leaves out
/// options that it does not grant, and never refuses a request because of an option (RFC 2347).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// `blksize`: bytes of data in a block, 8 to 65464 (RFC 2348).
    pub block_size: Option<u16>,
    /// `timeout`: seconds before the server retransmits, 1 to 255 (RFC 2349).
    pub timeout: Option<u8>,
    /// `tsize`: 0 in a read request, the size of the file in bytes in the OACK (RFC 2349).
    pub transfer_size: Option<u64>,
    /// `windowsize`: blocks per acknowledgement, 1 to 65535 (RFC 7440).
    pub window_size: Option<u16>,
}

/// Error codes of RFC 1350 section 5, and 8 of RFC 2347.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// Not defined, see the message.
    pub const UNDEFINED: ErrorCode = ErrorCode(0);
    /// File not found.
    pub const NOT_FOUND: ErrorCode = ErrorCode(1);
    /// Access violation.
    pub const ACCESS_VIOLATION: ErrorCode = ErrorCode(2);
    /// Disk full.
    pub const DISK_FULL: ErrorCode = ErrorCode(3);
    /// Illegal TFTP operation.
    pub const ILLEGAL: ErrorCode = ErrorCode(4);
    /// Unknown transfer ID: the packet came from a port outside this transfer.
    pub const UNKNOWN_TRANSFER: ErrorCode = ErrorCode(5);
    /// File already exists.
    pub const EXISTS: ErrorCode = ErrorCode(6);
    /// No such user.
    pub const NO_USER: ErrorCode = ErrorCode(7);
    /// The client rejects the options. EDK2 also ends its size probe with this code.
    pub const OPTIONS: ErrorCode = ErrorCode(8);
}

/// The reason why a datagram is not a TFTP packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BadPacket {
    /// The datagram ends before the fields that every packet of this type has.
    TooShort,
    /// A request of more than [`MAX_REQUEST`] bytes, or a block of more than [`MAX_BLOCK`].
    TooLong,
    /// The opcode is not 1 to 6.
    Opcode,
    /// A string has no final NUL, or an option has no value.
    Unterminated,
    /// The mode is neither `octet` nor `netascii`.
    Mode,
}

impl fmt::Display for BadPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadPacket::TooShort => "the packet is too short",
            BadPacket::TooLong => "the packet is too long",
            BadPacket::Opcode => "unknown opcode",
            BadPacket::Unterminated => "a string without its final NUL",
            BadPacket::Mode => "a mode other than octet and netascii",
        })
    }
}

impl std::error::Error for BadPacket {}

/// The maximum length of a request or OACK in bytes. RFC 2347 allows 512; the rest leaves room for long names.
pub const MAX_REQUEST: usize = 2048;
/// The maximum bytes of data in a block (RFC 2348).
pub const MAX_BLOCK: usize = 65464;
/// The bytes before the data of a block: opcode and number.
pub const DATA_HEADER: usize = 4;

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

impl<'a> Packet<'a> {
    /// Decodes one datagram.
    pub fn decode(datagram: &'a [u8]) -> Result<Packet<'a>, BadPacket> {
        let (opcode, rest) = take_u16(datagram)?;
        match opcode {
            RRQ => Ok(Packet::Rrq(Request::decode(rest)?)),
            WRQ => Ok(Packet::Wrq(Request::decode(rest)?)),
            DATA => {
                let (block, data) = take_u16(rest)?;
                if data.len() > MAX_BLOCK {
                    return Err(BadPacket::TooLong);
                }
                Ok(Packet::Data { block, data })
            }
            // Bytes after the block number are padding.
            ACK => Ok(Packet::Ack(take_u16(rest)?.0)),
            ERROR => {
                let (code, text) = take_u16(rest)?;
                // An ERROR ends the transfer whatever its text is, so a missing NUL must not hide it.
                let message = take_string(text).map_or(text, |(message, _)| message);
                Ok(Packet::Error { code: ErrorCode(code), message })
            }
            OACK => Ok(Packet::OAck(Options::decode(rest)?)),
            _ => Err(BadPacket::Opcode),
        }
    }

    /// Encodes the packet. A NUL inside a name or message ends it there, because the format cannot contain one.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Packet::Rrq(request) => request.encode(RRQ),
            Packet::Wrq(request) => request.encode(WRQ),
            Packet::Data { block, data } => {
                let mut out = header(DATA, data.len());
                out.extend_from_slice(&block.to_be_bytes());
                out.extend_from_slice(data);
                out
            }
            Packet::Ack(block) => {
                let mut out = header(ACK, 0);
                out.extend_from_slice(&block.to_be_bytes());
                out
            }
            Packet::Error { code, message } => {
                let mut out = header(ERROR, message.len());
                out.extend_from_slice(&code.0.to_be_bytes());
                put_string(&mut out, message);
                out
            }
            Packet::OAck(options) => {
                let mut out = header(OACK, 64);
                options.encode(&mut out);
                out
            }
        }
    }
}

impl<'a> Request<'a> {
    fn decode(body: &'a [u8]) -> Result<Request<'a>, BadPacket> {
        let (name, rest) = take_string(body)?;
        let (mode, rest) = take_string(rest)?;
        let mode = if mode.eq_ignore_ascii_case(b"octet") {
            Mode::Octet
        } else if mode.eq_ignore_ascii_case(b"netascii") {
            Mode::Netascii
        } else {
            return Err(BadPacket::Mode);
        };
        if body.len() > MAX_REQUEST {
            return Err(BadPacket::TooLong);
        }
        Ok(Request { name, mode, options: Options::decode(rest)? })
    }

    fn encode(&self, opcode: u16) -> Vec<u8> {
        let mut out = header(opcode, self.name.len().saturating_add(64));
        put_string(&mut out, self.name);
        put_string(&mut out, if self.mode == Mode::Octet { b"octet" } else { b"netascii" });
        self.options.encode(&mut out);
        out
    }
}

impl Options {
    /// Decodes the pairs of name and value at the end of a request or OACK.
    fn decode(mut rest: &[u8]) -> Result<Options, BadPacket> {
        if rest.len() > MAX_REQUEST {
            return Err(BadPacket::TooLong);
        }
        let (mut block_size, mut timeout, mut transfer_size, mut window_size) = (None, None, None, None);
        while !rest.is_empty() {
            let (name, after) = take_string(rest)?;
            if name.is_empty() {
                // Padding: some clients fill up their request with NULs.
                break;
            }
            let (value, after) = take_string(after)?;
            rest = after;
            let slot = match name.to_ascii_lowercase().as_slice() {
                b"blksize" => &mut block_size,
                b"timeout" => &mut timeout,
                b"tsize" => &mut transfer_size,
                b"windowsize" => &mut window_size,
                _ => continue,
            };
            // RFC 2347 allows each option once. The first one counts, even if only a later one has a valid value.
            slot.get_or_insert(value);
        }
        Ok(Options {
            block_size: number(block_size, 8, 65464),
            timeout: number(timeout, 1, 255),
            transfer_size: number(transfer_size, 0, u64::MAX),
            window_size: number(window_size, 1, 65535),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let pairs = [
            ("blksize", self.block_size.map(u64::from)),
            ("timeout", self.timeout.map(u64::from)),
            ("tsize", self.transfer_size),
            ("windowsize", self.window_size.map(u64::from)),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                put_string(out, name.as_bytes());
                put_string(out, value.to_string().as_bytes());
            }
        }
    }
}

/// Parses the value of an option: decimal digits (RFC 2348, 2349, 7440) between `least` and `most`, both included.
fn number<T: TryFrom<u64>>(text: Option<&[u8]>, least: u64, most: u64) -> Option<T> {
    let digits = text?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    if (least..=most).contains(&value) { T::try_from(value).ok() } else { None }
}

fn take_u16(bytes: &[u8]) -> Result<(u16, &[u8]), BadPacket> {
    let (number, rest) = bytes.split_first_chunk::<2>().ok_or(BadPacket::TooShort)?;
    Ok((u16::from_be_bytes(*number), rest))
}

/// Splits off the bytes before the next NUL, and drops the NUL.
fn take_string(bytes: &[u8]) -> Result<(&[u8], &[u8]), BadPacket> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(BadPacket::Unterminated)?;
    let (string, rest) = bytes.split_at_checked(end).ok_or(BadPacket::Unterminated)?;
    Ok((string, rest.split_first().map_or(&[], |(_, rest)| rest)))
}

/// Appends the bytes before the first NUL, then a NUL.
fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().take_while(|byte| **byte != 0));
    out.push(0);
}

fn header(opcode: u16, body: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.saturating_add(DATA_HEADER).saturating_add(1));
    out.extend_from_slice(&opcode.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options_of(text: &[u8]) -> Options {
        let bytes = [b"\0\x01x\0octet\0", text].concat();
        let Ok(Packet::Rrq(request)) = Packet::decode(&bytes) else { unreachable!("{bytes:?} is a request") };
        request.options
    }

    #[test]
    fn rfc1350_5_each_packet_has_its_bytes() {
        let request = Request { name: b"a/b", mode: Mode::Octet, options: Options::default() };
        let packets: [(Packet<'_>, &[u8]); 6] = [
            (Packet::Rrq(request), b"\0\x01a/b\0octet\0"),
            (Packet::Wrq(Request { mode: Mode::Netascii, ..request }), b"\0\x02a/b\0netascii\0"),
            (Packet::Data { block: 258, data: b"xyz" }, b"\0\x03\x01\x02xyz"),
            (Packet::Data { block: 65535, data: b"" }, b"\0\x03\xff\xff"),
            (Packet::Ack(7), b"\0\x04\0\x07"),
            (Packet::Error { code: ErrorCode::NOT_FOUND, message: b"no" }, b"\0\x05\0\x01no\0"),
        ];
        for (packet, bytes) in packets {
            assert_eq!(packet.encode(), bytes);
            assert_eq!(Packet::decode(bytes), Ok(packet));
        }
    }

    #[test]
    fn rfc1350_5_bad_packets_have_a_named_reason() {
        let cases: [(&[u8], BadPacket); 14] = [
            (b"", BadPacket::TooShort),
            (b"\0", BadPacket::TooShort),
            (b"\0\0", BadPacket::Opcode),
            (b"\0\x63", BadPacket::Opcode),
            (b"\0\x03\0", BadPacket::TooShort),
            (b"\0\x04\0", BadPacket::TooShort),
            (b"\0\x05", BadPacket::TooShort),
            (b"\0\x05\0", BadPacket::TooShort),
            (b"\0\x01", BadPacket::Unterminated),
            (b"\0\x01x\0", BadPacket::Unterminated),
            (b"\0\x01x\0octet", BadPacket::Unterminated),
            (b"\0\x01x\0mail\0", BadPacket::Mode),
            (b"\0\x01x\0octet\0blksize\0", BadPacket::Unterminated),
            (b"\0\x01x\0octet\0blksize\x00512", BadPacket::Unterminated),
        ];
        for (bytes, reason) in cases {
            assert_eq!(Packet::decode(bytes), Err(reason), "{bytes:?}");
        }
    }

    #[test]
    fn rfc1350_1_the_mode_is_read_in_any_case() {
        assert!(matches!(Packet::decode(b"\0\x01x\0OcTeT\0"), Ok(Packet::Rrq(r)) if r.mode == Mode::Octet));
    }

    #[test]
    fn rfc1350_5_an_error_counts_even_without_its_nul() {
        for bytes in [b"\0\x05\0\x08bye".as_slice(), b"\0\x05\0\x08bye\0", b"\0\x05\0\x08bye\0pad"] {
            let error = Packet::Error { code: ErrorCode::OPTIONS, message: b"bye" };
            assert_eq!(Packet::decode(bytes), Ok(error));
        }
        let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"" };
        assert_eq!(Packet::decode(b"\0\x05\0\0"), Ok(error));
    }

    #[test]
    fn rfc2347_options_ignore_case_and_unknown_names() {
        let options =
            options_of(b"utimeout\x009999999999\0BLKSIZE\x001468\0multicast\0\0tSize\x000\0rollover\x009\0");
        assert_eq!(options, Options { block_size: Some(1468), transfer_size: Some(0), ..Options::default() });
    }

    #[test]
    fn rfc2347_the_first_of_a_repeated_option_counts() {
        assert_eq!(options_of(b"blksize\x00512\0blksize\x001024\0").block_size, Some(512));
        assert_eq!(options_of(b"blksize\0abc\0blksize\x001024\0").block_size, None);
    }

    #[test]
    fn rfc2347_padding_after_a_request_is_no_option() {
        assert_eq!(options_of(b"\0\0\0"), Options::default());
        assert_eq!(options_of(b"tsize\x000\0\0\0\0").transfer_size, Some(0));
    }

    #[test]
    fn rfc2347_an_oack_has_the_granted_options() {
        let options = Options {
            block_size: Some(1468),
            timeout: Some(2),
            transfer_size: Some(u64::MAX),
            window_size: Some(4),
        };
        let bytes = b"\0\x06blksize\x001468\0timeout\x002\0tsize\x0018446744073709551615\0windowsize\x004\0";
        assert_eq!(Packet::OAck(options).encode(), bytes);
        assert_eq!(Packet::decode(bytes), Ok(Packet::OAck(options)));
    }

    #[test]
    fn rfc2348_block_size_is_8_to_65464_or_not_there() {
        for (text, value) in [
            ("0", None),
            ("7", None),
            ("8", Some(8)),
            ("65464", Some(65464)),
            ("65465", None),
            ("-1", None),
            ("+512", None),
            ("abc", None),
            ("99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(options_of(format!("blksize\0{text}\0").as_bytes()).block_size, value, "{text}");
        }
    }

    #[test]
    fn rfc2349_timeout_and_tsize_have_bounds() {
        for (text, value) in [("0", None), ("1", Some(1)), ("255", Some(255)), ("256", None)] {
            assert_eq!(options_of(format!("timeout\0{text}\0").as_bytes()).timeout, value, "{text}");
        }
        assert_eq!(options_of(b"tsize\x005368709120\0").transfer_size, Some(5 << 30));
        assert_eq!(options_of(b"tsize\x0018446744073709551616\0").transfer_size, None);
    }

    #[test]
    fn rfc7440_window_size_is_1_to_65535() {
        for (text, value) in [("0", None), ("1", Some(1)), ("65535", Some(65535)), ("65536", None)] {
            assert_eq!(options_of(format!("windowsize\0{text}\0").as_bytes()).window_size, value, "{text}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let request = [b"\0\x01".as_slice(), &[b'x'; 5000], b"\0octet\0"].concat();
        assert_eq!(Packet::decode(&request), Err(BadPacket::TooLong));
        assert!(Packet::decode(&[b"\0\x03\0\x01".as_slice(), &[0; MAX_BLOCK]].concat()).is_ok());
        let block = [b"\0\x03\0\x01".as_slice(), &[0; MAX_BLOCK + 1]].concat();
        assert_eq!(Packet::decode(&block), Err(BadPacket::TooLong));
        let many = [b"\0\x06".as_slice(), b"a\0b\0".repeat(1000).as_slice()].concat();
        assert_eq!(Packet::decode(&many), Err(BadPacket::TooLong));
    }

    #[test]
    fn a_nul_inside_a_name_cannot_forge_a_mode() {
        let request = Request { name: b"x\0mail", mode: Mode::Octet, options: Options::default() };
        assert_eq!(Packet::Rrq(request).encode(), b"\0\x01x\0octet\0");
    }

    prop_compose! {
        fn any_options()(
            block_size in proptest::option::of(8_u16..=65464),
            timeout in proptest::option::of(1_u8..),
            transfer_size in proptest::option::of(any::<u64>()),
            window_size in proptest::option::of(1_u16..),
        ) -> Options {
            Options { block_size, timeout, transfer_size, window_size }
        }
    }

    proptest! {
        #[test]
        fn an_encoded_packet_decodes_to_itself(
            kind in 0_usize..6,
            number: u16,
            string in proptest::collection::vec(1_u8.., 0..300),
            data in proptest::collection::vec(any::<u8>(), 0..1500),
            netascii: bool,
            options in any_options(),
        ) {
            let mode = if netascii { Mode::Netascii } else { Mode::Octet };
            let request = Request { name: &string, mode, options };
            let packet = [
                Packet::Rrq(request),
                Packet::Wrq(request),
                Packet::Data { block: number, data: &data },
                Packet::Ack(number),
                Packet::Error { code: ErrorCode(number), message: &string },
                Packet::OAck(options),
            ][kind];
            let bytes = packet.encode();
            prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
        }

        #[test]
        fn no_bytes_panic(opcode in 0_u8..9, rest in proptest::collection::vec(any::<u8>(), 0..600)) {
            let bytes = [&[0, opcode], rest.as_slice()].concat();
            if let Ok(packet) = Packet::decode(&bytes) {
                let again = packet.encode();
                prop_assert_eq!(Packet::decode(&again), Ok(packet), "what was read can be written");
            }
            let _ = Packet::decode(&rest);
        }
    }
}
