//! Properties of every reply, for any request. Firmware reads options without checking their lengths (PixieFail), so
//! replies must be exactly right.

use std::net::Ipv4Addr;

use lanboot::dhcp::arrival::Arrival;
use lanboot::wire::dhcp::{BOOTREPLY, COOKIE, HEADER_LEN, MIN_LEN, Message, MessageType};
use lanboot::wire::option::by_code;
use lanboot::wire::relay;

/// The rules for the datagram and for the message itself.
pub fn check(asked: &Message, arrival: &Arrival, reply: &Message) {
    let bytes = reply.encode();
    assert_eq!(
        (reply.op, reply.xid, reply.htype, reply.hlen),
        (BOOTREPLY, asked.xid, asked.htype, asked.hlen)
    );
    assert_eq!((reply.chaddr, reply.giaddr, reply.hops), (asked.chaddr, asked.giaddr, 0));
    size(asked, arrival, reply, bytes.len());
    options(asked, &bytes);
    fields(reply);
    let kind = reply.message_type().map(|kind| kind.expect("a known message type"));
    match kind {
        None => assert!(reply.options.get(54).is_none(), "BOOTP knows no server identifier"),
        Some(kind) => {
            let by_relay = relay::address(&asked.options, 11).filter(|_| !asked.giaddr.is_unspecified());
            let server = reply.options.ip(54).expect("option 54 is in every DHCP reply");
            assert!(arrival.addresses.contains(&server) || Some(server) == by_relay, "54 is {server}");
            assert_eq!(reply.options.iter().next().map(|(code, _)| code), Some(53), "53 goes first");
            times(kind, reply);
        }
    }
    if kind == Some(MessageType::Nak) {
        assert_eq!((reply.siaddr, reply.ciaddr), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED));
        assert!(reply.file == [0; 128] && reply.sname == [0; 64]);
        let allowed = |code| matches!(code, 53 | 54 | 56 | 61 | 82);
        assert!(reply.options.iter().all(|(code, _)| allowed(code)), "RFC 2131 table 3: {reply:?}");
    }
}

fn size(asked: &Message, arrival: &Arrival, reply: &Message, len: usize) {
    let takes = asked.options.u16(57).unwrap_or(576).max(576);
    let carries = arrival.mtu.clamp(576, 1500);
    let is_bootp = reply.message_type().is_none();
    let takes = if is_bootp { 576 } else { takes };
    let most = u32::from(takes).min(carries) as usize - 28;
    assert!((MIN_LEN..=most).contains(&len), "{len} bytes, at most {most}: {reply:?}");
    if is_bootp {
        // A relay agent removes option 82 before the client sees the reply.
        let is_read = |code| code != 82 || asked.giaddr.is_unspecified();
        let read = reply.options.iter().filter(|(code, _)| is_read(*code)).map(|(_, value)| 2 + value.len());
        assert!(read.sum::<usize>() < 64 - COOKIE.len(), "more than the vendor field of RFC 951: {reply:?}");
    }
}

/// Walks the bytes without lanboot's decoder.
fn options(request: &Message, bytes: &[u8]) {
    assert_eq!(bytes[HEADER_LEN..HEADER_LEN + 4], COOKIE);
    let mut rest = &bytes[HEADER_LEN + 4..];
    let mut values: Vec<(u8, Vec<u8>)> = Vec::new();
    loop {
        match rest {
            [255, padding @ ..] => break assert!(padding.iter().all(|byte| *byte == 0), "D-12"),
            [0, tail @ ..] if values.last() == Some(&(60, b"HTTPClient".to_vec())) => rest = tail,
            [code, len, tail @ ..] if *code != 0 => {
                let (value, tail) = tail.split_at(usize::from(*len));
                match values.last_mut() {
                    Some((last, joined)) if last == code => {
                        assert!(joined.len() % 255 == 0, "only what is too long is split");
                        joined.extend_from_slice(value);
                    }
                    _ => values.push((*code, value.to_vec())),
                }
                rest = tail;
            }
            _ => panic!("the options of a reply do not end in END: {bytes:02x?}"),
        }
    }
    for (i, (code, value)) in values.iter().enumerate() {
        assert!(values[..i].iter().all(|(other, _)| other != code), "option {code} is there twice");
        let asked = request.options.get(*code);
        match code {
            // The relay agent's option 82 comes back unchanged, as the last option (RFC 3046 section 2.2).
            82 => assert!(asked == Some(value) && i + 1 == values.len()),
            61 => assert!(asked == Some(value) && value.len() >= 2, "RFC 6842, RFC 2132 section 9.14"),
            66 | 67 => assert!(value.len() > 1 && value.last() == Some(&0), "option {code} ends in NUL"),
            97 => assert!(value.len() == 17 && asked == Some(value)),
            // Apple's has no end marker.
            43 if values.contains(&(60, b"AAPLBSDPC".to_vec())) => {}
            43 => sub_options(value),
            52 => assert!(
                matches!(value[..], [1..=3])
                    && request.options.get(60).is_none_or(|class| !class.starts_with(b"PXE")),
                "option overload, and never for a client that boots (R-28)"
            ),
            _ => {
                let fits = by_code(*code).is_none_or(|row| row.kind.fits(value));
                assert!(fits, "option {code} has {} bytes: {value:02x?}", value.len());
            }
        }
    }
}

/// Vendor options of PXE: sub-options with the end marker 255.
fn sub_options(mut rest: &[u8]) {
    loop {
        match rest {
            [255] => break,
            [code, len, tail @ ..] if *code != 0 && usize::from(*len) < tail.len() => {
                rest = &tail[usize::from(*len)..];
            }
            _ => panic!("option 43 is not well formed: {rest:02x?}"),
        }
    }
}

/// `sname` and `file`: text, then NULs to the end, at least one; or options up to their END (option 52).
fn fields(reply: &Message) {
    let overload = reply.options.u8(52).unwrap_or(0);
    for (field, bit) in [(&reply.sname[..], 2), (&reply.file, 1)] {
        if overload & bit != 0 {
            assert!(field.contains(&255), "no END: {field:02x?}");
            continue;
        }
        let end = field.iter().position(|byte| *byte == 0).expect("a NUL at the end");
        assert!(field[end..].iter().all(|byte| *byte == 0), "D-12: {field:02x?}");
    }
}

/// A lease has its three times, in order. Other replies have none.
fn times(kind: MessageType, reply: &Message) {
    let all = [58, 59, 51].map(|code| reply.options.u32(code));
    let is_lease = matches!(kind, MessageType::Offer | MessageType::Ack) && !reply.yiaddr.is_unspecified();
    match all {
        [Some(renewal), Some(rebinding), Some(lease)] if is_lease => {
            assert!(renewal <= rebinding && rebinding <= lease && lease > 0, "{all:?}");
        }
        [None, None, Some(u32::MAX)] if is_lease => {}
        [None, None, None] if !is_lease => {}
        _ => panic!("{kind:?} of {} with the times {all:?}", reply.yiaddr),
    }
}
