//! Decoding DHCP messages: nothing panics, and encoding and decoding again changes nothing. A well-formed message
//! decodes as in dhcproto, which shares no code with us.

use dhcproto::v4;
use dhcproto::{Decodable, Encodable};
use lanboot::boot::identity::Identity;
use lanboot::wire::dhcp::{COOKIE, HEADER_LEN, MIN_LEN, Message, MessageType};
use lanboot::wire::option::{self, Printed};
use lanboot::wire::pxe;

use super::bytes::Bytes;

/// Checks any bytes, and then a well-formed message built from the same bytes.
pub fn check(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        any_message(data, &message);
    }
    reads_as_dhcproto_reads(&well_formed(&mut Bytes(data)));
}

fn any_message(data: &[u8], message: &Message) {
    assert!(data.len() >= HEADER_LEN && message.hlen <= 16);
    assert!(message.hardware().len() == usize::from(message.hlen));
    assert_eq!(message.has_cookie, data[HEADER_LEN..].starts_with(&COOKIE));
    assert!(message.has_cookie || message.options.iter().next().is_none());
    let mut total = 0;
    let mut seen = [false; 256];
    for (code, value) in message.options.iter() {
        assert!(code != 0 && code != 255, "PAD and END are no options");
        assert!(!std::mem::replace(&mut seen[usize::from(code)], true), "option {code} is joined");
        assert_eq!(message.options.get(code), Some(value));
        assert_eq!(message.options.u8(code).is_some(), value.len() == 1);
        assert_eq!(message.options.u16(code).is_some(), value.len() == 2);
        assert_eq!(message.options.u32(code).is_some(), value.len() == 4);
        assert_eq!(message.options.ip(code).is_some(), value.len() == 4);
        let printed = Printed(code, value).to_string();
        assert!(printed.bytes().all(|byte| !byte.is_ascii_control()), "{printed:?}");
        total += value.len();
    }
    assert!(total <= data.len(), "no byte is there twice");
    let _ = (message.mac(), message.message_type(), message.file_name(), Identity::of(message).arch());
    let _ = (pxe::architectures(&message.options).count(), pxe::machine_identifier(&message.options));

    let written = message.encode();
    assert!(written.len() >= MIN_LEN);
    let mut again = Message::decode(&written).expect("what we write can be read");
    // If option 52 says so, the fields are decoded again. A message without a cookie may differ too. All others must be
    // equal.
    if message.options.get(option::code::OVERLOAD).is_none() && message.has_cookie && !message.truncated {
        assert_eq!(&again, message);
    }
    again.options = message.options.clone();
    (again.has_cookie, again.truncated) = (message.has_cookie, message.truncated);
    assert_eq!(&again, message);
}

/// The form of the value of an option in [`WELL_FORMED`].
#[derive(Clone, Copy)]
enum Value {
    /// This many bytes.
    Fixed(usize),
    /// A multiple of this many bytes, at least one of them.
    Times(usize),
    /// Any bytes, at least this many, split if there are more than 255.
    Bytes(usize),
    /// Printable ASCII, at least one character.
    Text,
    /// 0 or 1.
    Bool,
    /// 1 to 8.
    MessageType,
    /// Sub-options 1 and 2.
    Relay,
}

/// Options that dhcproto keeps byte for byte. The list avoids its known faults: it panics on options 94 and 80 with
/// other lengths, keeps only the first entry of 93 and 150, and takes 37 for 23.
const WELL_FORMED: [(u8, Value); 42] = [
    (1, Value::Fixed(4)),
    (2, Value::Fixed(4)),
    (3, Value::Times(4)),
    (4, Value::Times(4)),
    (6, Value::Times(4)),
    (7, Value::Times(4)),
    (12, Value::Text),
    (13, Value::Fixed(2)),
    (15, Value::Text),
    (17, Value::Text),
    (19, Value::Bool),
    (23, Value::Fixed(1)),
    (26, Value::Fixed(2)),
    (28, Value::Fixed(4)),
    (33, Value::Times(8)),
    (40, Value::Text),
    (42, Value::Times(4)),
    (43, Value::Bytes(1)),
    (44, Value::Times(4)),
    (50, Value::Fixed(4)),
    (51, Value::Fixed(4)),
    (53, Value::MessageType),
    (54, Value::Fixed(4)),
    (55, Value::Bytes(1)),
    (56, Value::Text),
    (57, Value::Fixed(2)),
    (58, Value::Fixed(4)),
    (59, Value::Fixed(4)),
    (60, Value::Bytes(1)),
    (61, Value::Bytes(2)),
    (66, Value::Bytes(1)),
    (67, Value::Bytes(1)),
    (77, Value::Bytes(1)),
    (80, Value::Fixed(0)),
    (82, Value::Relay),
    (93, Value::Fixed(2)),
    (94, Value::Fixed(3)),
    (97, Value::Fixed(17)),
    (118, Value::Fixed(4)),
    (150, Value::Fixed(4)),
    (224, Value::Bytes(1)),
    (250, Value::Bytes(1)),
];

/// A message that obeys every rule, written without lanboot's encoder.
fn well_formed(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut out = vec![1 + bytes.u8() % 2, bytes.pick(&[1, 1, 6, 32]), bytes.u8() % 17, bytes.u8()];
    out.extend_from_slice(&bytes.u32().to_be_bytes());
    out.extend_from_slice(&bytes.u16().to_be_bytes());
    out.extend_from_slice(&bytes.pick(&[0u16, 0x8000]).to_be_bytes());
    (0..4).for_each(|_| out.extend_from_slice(&bytes.ip().octets()));
    let hlen = usize::from(out[2]);
    let mut padded = |len: usize, value: &[u8]| {
        let begin = out.len();
        out.extend_from_slice(value);
        out.resize(begin + len, 0);
    };
    padded(16, bytes.take(hlen));
    padded(64, &text(bytes, 63));
    padded(128, &text(bytes, 127));
    out.extend_from_slice(&COOKIE);
    let mut codes = Vec::new();
    for _ in 0..bytes.u8() % 24 {
        let (code, value) = bytes.pick(&WELL_FORMED);
        if !codes.contains(&code) {
            codes.push(code);
            write_option(&mut out, code, &value_of(value, bytes));
            out.resize(out.len() + usize::from(bytes.u8() % 3), 0);
        }
    }
    out.push(255);
    out.resize(out.len().max(MIN_LEN), 0);
    out
}

fn write_option(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    if value.is_empty() {
        out.extend_from_slice(&[code, 0]);
    }
    for piece in value.chunks(255) {
        out.extend_from_slice(&[code, piece.len() as u8]);
        out.extend_from_slice(piece);
    }
}

fn value_of(value: Value, bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut exactly = |len: usize| {
        let mut value = bytes.take(len).to_vec();
        value.resize(len, 7);
        value
    };
    match value {
        Value::Fixed(len) => exactly(len),
        Value::Times(unit) => {
            let times = usize::from(bytes.u8() % 8) + 1;
            value_of(Value::Fixed(unit * times), bytes)
        }
        Value::Bytes(least) => {
            let len = usize::from(bytes.u16() % 600).max(least);
            value_of(Value::Fixed(len.min(bytes.0.len().max(least))), bytes)
        }
        Value::Text => {
            let mut value = text(bytes, 80);
            value.push(b'x');
            value
        }
        Value::Bool => vec![bytes.u8() % 2],
        Value::MessageType => vec![1 + bytes.u8() % 8],
        Value::Relay => {
            let mut value = Vec::new();
            for code in [1, 2] {
                let len = usize::from(bytes.u8() % 60) + 1;
                write_option(&mut value, code, &value_of(Value::Fixed(len), bytes));
            }
            value
        }
    }
}

fn text(bytes: &mut Bytes<'_>, most: usize) -> Vec<u8> {
    let len = usize::from(bytes.u8()) % (most + 1);
    bytes.take(len).iter().map(|byte| b' ' + byte % 95).collect()
}

fn reads_as_dhcproto_reads(bytes: &[u8]) {
    let ours = Message::decode(bytes).expect("a well-formed message");
    let theirs = v4::Message::decode(&mut v4::Decoder::new(bytes)).expect("a well-formed message");
    assert!(!ours.truncated && ours.has_cookie);
    assert_eq!(ours.op, u8::from(theirs.opcode()));
    assert_eq!(ours.htype, u8::from(theirs.htype()));
    assert_eq!((ours.hlen, ours.hops), (theirs.hlen(), theirs.hops()));
    assert_eq!((ours.xid, ours.secs), (theirs.xid(), theirs.secs()));
    assert_eq!(ours.flags, u16::from(theirs.flags()));
    assert_eq!((ours.ciaddr, ours.yiaddr), (theirs.ciaddr(), theirs.yiaddr()));
    assert_eq!((ours.siaddr, ours.giaddr), (theirs.siaddr(), theirs.giaddr()));
    assert_eq!(ours.hardware(), theirs.chaddr());
    assert_eq!(without_zeros(&ours.sname), without_zeros(theirs.sname().unwrap_or_default()));
    assert_eq!(without_zeros(&ours.file), without_zeros(theirs.fname().unwrap_or_default()));
    let mut count = 0;
    for (code, option) in theirs.opts().iter() {
        let mut value = Vec::new();
        let mut pieces = &option.to_vec().expect("dhcproto writes what it read")[..];
        while let [_, len, rest @ ..] = pieces {
            let (piece, rest) = rest.split_at(usize::from(*len));
            value.extend_from_slice(piece);
            pieces = rest;
        }
        assert_eq!(ours.options.get(u8::from(*code)), Some(&value[..]), "option {code:?}");
        count += 1;
    }
    assert_eq!(ours.options.iter().count(), count);
    let kind = theirs.opts().msg_type().map(u8::from);
    assert_eq!(ours.message_type().and_then(Result::ok).map(MessageType::number), kind);
}

fn without_zeros(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
