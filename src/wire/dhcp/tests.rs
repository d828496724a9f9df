use super::*;
use proptest::prelude::*;

/// Returns a DISCOVER header, the cookie and the given options.
fn bytes(options: &[u8]) -> Vec<u8> {
    let mut message = Message::new(BOOTREQUEST);
    message.xid = 0x1234_5678;
    message.chaddr[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    let mut bytes = message.encode();
    bytes.truncate(HEADER_LEN + 4);
    bytes.extend_from_slice(options);
    bytes
}

fn decode(options: &[u8]) -> Message {
    Message::decode(&bytes(options)).unwrap()
}

#[test]
fn rfc2131_2_a_message_survives_the_wire() {
    let mut message = Message::new(BOOTREPLY);
    message.xid = 7;
    message.flags = FLAG_BROADCAST;
    message.yiaddr = Ipv4Addr::new(192, 168, 77, 50);
    message.file = padded(b"snponly.efi").unwrap();
    assert!(message.options.push(code::MESSAGE_TYPE, &[2]));
    assert!(message.options.push(code::RAPID_COMMIT, &[]));
    assert!(!message.options.push(code::MESSAGE_TYPE, &[5]), "an option stands once");
    let sent = message.encode();
    assert_eq!(sent.len(), MIN_LEN);
    assert_eq!(Message::decode(&sent), Ok(message));
}

#[test]
fn d_01_hlen_over_16_and_d_23_short_messages_are_refused() {
    let mut long = bytes(&[53, 1, 1, 255]);
    for hlen in [17, 255] {
        long[2] = hlen;
        assert_eq!(Message::decode(&long), Err(DecodeError::BadHlen));
    }
    for len in 0..HEADER_LEN {
        assert_eq!(Message::decode(&long[..len]), Err(DecodeError::TooShort), "{len}");
    }
    long[2] = 6;
    for len in HEADER_LEN..240 {
        let message = Message::decode(&long[..len]).unwrap();
        assert!(!message.has_cookie && message.message_type().is_none(), "{len}");
    }
}

#[test]
fn d_05_a_bad_option_does_not_hide_the_next() {
    let message = decode(&[12, 2, b'a', 0xe9, 53, 1, 1, 55, 2, 1, 3, 255]);
    assert_eq!(message.message_type(), Some(Ok(MessageType::Discover)));
    assert_eq!(message.options.get(code::HOSTNAME), Some(&[b'a', 0xe9][..]));
}

#[test]
fn d_11_options_of_the_wrong_length_are_absent() {
    for len in [0u8, 1, 3, 5, 255] {
        let mut options = vec![code::REQUESTED_ADDRESS, len];
        options.resize(2 + usize::from(len), 9);
        let message = decode(&options);
        assert_eq!(message.options.ip(code::REQUESTED_ADDRESS), None);
        assert_eq!(message.options.u32(code::REQUESTED_ADDRESS), None);
    }
}

#[test]
fn d_19_overloaded_fields_are_read_once_each_and_end() {
    let mut long = bytes(&[52, 1, 3, 53, 1, 1, 255]);
    long[108..116].copy_from_slice(&[60, 3, b'P', b'X', b'E', 52, 1, 3]); // file
    long[44..52].copy_from_slice(&[60, 1, b'C', 52, 1, 3, 12, 200]); // sname, whose last option is truncated
    let message = Message::decode(&long).unwrap();
    assert_eq!(message.options.get(code::VENDOR_CLASS), Some(&b"PXEC"[..]));
    assert_eq!(message.message_type(), Some(Ok(MessageType::Discover)));
    assert!(message.truncated);
    assert_eq!((message.file_name(), message.server_name()), (&[][..], &[][..]));
}

#[test]
fn rfc3396_7_pieces_are_joined_wherever_they_stand() {
    let message = decode(&[55, 1, 1, 0, 53, 1, 1, 55, 2, 3, 6, 12, 1, b'h', 55, 1, 15, 255]);
    assert_eq!(message.options.get(code::PARAMETER_REQUEST_LIST), Some(&[1, 3, 6, 15][..]));
    assert_eq!(message.options.iter().map(|(code, _)| code).collect::<Vec<_>>(), [55, 53, 12]);
}

#[test]
fn rfc3396_6_long_values_go_out_in_pieces() {
    let long: Vec<u8> = (0..510u32).map(|i| i as u8).collect();
    let mut message = Message::new(BOOTREPLY);
    message.options.push(224, &long);
    assert_eq!(message.options.encoded_len(), 514);
    let sent = message.encode();
    assert_eq!(sent.len(), HEADER_LEN + 4 + 514 + 1);
    assert_eq!(Message::decode(&sent).unwrap().options.get(224), Some(&long[..]));
}

#[test]
fn httpclient_is_padded_with_a_nul_for_grub() {
    let mut message = Message::new(BOOTREPLY);
    message.options.push(code::VENDOR_CLASS, b"HTTPClient");
    message.options.push(code::MESSAGE, b"x");
    let sent = message.encode();
    assert_eq!(sent[HEADER_LEN + 4..HEADER_LEN + 21], *b"\x3c\x0aHTTPClient\0\x38\x01x\xff");
    assert_eq!(message.options.encoded_len(), 16);
    assert_eq!(Message::decode(&sent).unwrap().options, message.options);
    let mut other = Message::new(BOOTREPLY);
    other.options.push(code::VENDOR_CLASS, b"PXEClient");
    assert_eq!((other.options.encoded_len(), other.encode()[HEADER_LEN + 15]), (11, 255));
}

#[test]
fn d_21_framing_lies_are_no_message_type() {
    assert_eq!(decode(&[53, 0, 255]).message_type(), Some(Err(())));
    assert_eq!(decode(&[53, 1, 0, 255]).message_type(), Some(Err(())));
    assert_eq!(decode(&[53, 1, 9, 255]).message_type(), Some(Err(())));
    for cut in [&[53, 255, 3][..], &[53, 8, 3], &[53]] {
        let message = decode(cut);
        assert!(message.truncated && message.message_type().is_none());
    }
    assert!(!decode(&[53, 1, 1]).truncated, "a missing END is no harm");
}

#[test]
fn d_22_without_the_cookie_there_are_no_options() {
    let mut long = bytes(&[53, 1, 1, 255]);
    long[236] = 0;
    let message = Message::decode(&long).unwrap();
    assert!(!message.has_cookie && message.message_type().is_none());
}

proptest! {
    #[test]
    fn any_bytes_decode_without_harm(input in proptest::collection::vec(any::<u8>(), 0..1500)) {
        let mut with_cookie = bytes(&input);
        with_cookie.truncate(1500);
        for bytes in [&input, &with_cookie] {
            if let Ok(message) = Message::decode(bytes) {
                let again = Message::decode(&message.encode()).unwrap();
                prop_assert_eq!(again.hardware(), message.hardware());
                if message.options.get(code::OVERLOAD).is_none() {
                    prop_assert_eq!(&again.options, &message.options);
                }
            }
        }
    }
}
