//! Conversations in virtual time with a scripted server.

#![allow(clippy::panic)] // a test that panics has failed
use std::net::{Ipv4Addr, SocketAddrV4};

use super::*;
use crate::types::{MacAddr, Timestamp};
use crate::wire::dhcp::{BOOTREPLY, Message, MessageType, padded};
use crate::wire::option::code;
use crate::wire::tftp::{ErrorCode, Options, Packet};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const DHCP: SocketAddrV4 = SocketAddrV4::new(SERVER, 67);
const TFTP: SocketAddrV4 = SocketAddrV4::new(SERVER, 69);
const TID: SocketAddrV4 = SocketAddrV4::new(SERVER, 40000);
const NO_OPTIONS: Options =
    Options { block_size: None, timeout: None, transfer_size: None, window_size: None };

/// A machine during its boot, and the time.
struct Boot {
    machine: Machine,
    now: u64,
}

impl Boot {
    /// Switches the machine on. Also returns its DISCOVER or BOOTREQUEST.
    fn start(kind: Kind) -> (Boot, Message) {
        let mut machine = Machine::new(kind.profile(), MAC, Ports::default(), 1);
        let step = machine.start(Timestamp(0));
        assert_eq!(step.wait_until, Some(Timestamp(4000)));
        (Boot { machine, now: 0 }, sent_dhcp(&step))
    }

    /// Returns a machine that has requested the file "boot", after the size probe if it makes one.
    fn loading(kind: Kind) -> Boot {
        let (mut boot, discover) = Boot::start(kind);
        let step = if kind == Kind::Bootp {
            boot.dhcp(&reply(&discover, None))
        } else {
            boot.dhcp(&reply(&discover, Some(MessageType::Offer)));
            boot.dhcp(&reply(&discover, Some(MessageType::Ack)))
        };
        let Some(Transmit::TftpOpen { to: TFTP, payload }) = step.send.first() else { panic!("{step:?}") };
        if let Packet::Rrq(request) = Packet::decode(payload).unwrap()
            && request.options.transfer_size.is_some()
            && kind != Kind::Ipxe
        {
            let (sizes, _) = boot.tftp(&Packet::OAck(Options { transfer_size: Some(3000), ..NO_OPTIONS }));
            assert!(matches!(sizes[..], [Transmit::Tftp { .. }, Transmit::TftpOpen { .. }]), "{sizes:?}");
        }
        boot
    }

    fn dhcp(&mut self, message: &Message) -> Step<'static> {
        self.raw_dhcp(message.encode(), DHCP)
    }

    fn raw_dhcp(&mut self, payload: Vec<u8>, from: SocketAddrV4) -> Step<'static> {
        let step = self.machine.handle(Input::Dhcp(&payload, from), Timestamp(self.now));
        Step { send: step.send, progress: step.progress, received: None, wait_until: step.wait_until }
    }

    /// Passes in a TFTP packet from the transfer's port. Returns the datagrams and reports.
    fn tftp(&mut self, packet: &Packet<'_>) -> (Vec<Transmit>, Vec<Progress>) {
        self.tftp_from(packet, TID)
    }

    fn tftp_from(&mut self, packet: &Packet<'_>, from: SocketAddrV4) -> (Vec<Transmit>, Vec<Progress>) {
        let payload = packet.encode();
        let step = self.machine.handle(Input::Tftp(&payload, from), Timestamp(self.now));
        (step.send, step.progress)
    }

    /// Passes in a block of `len` bytes. Returns whether it was accepted, and the ACK.
    fn block(&mut self, block: u16, len: usize) -> (bool, Option<u16>) {
        let payload = Packet::Data { block, data: &vec![7; len] }.encode();
        let step = self.machine.handle(Input::Tftp(&payload, TID), Timestamp(self.now));
        (step.received.is_some_and(|data| data.len() == len), step.send.first().map(acked))
    }

    /// Advances the time to `seconds` and passes in a timeout.
    fn timeout_at(&mut self, seconds: u64) -> Step<'static> {
        self.now = seconds * 1000;
        self.machine.handle(Input::Timeout, Timestamp(self.now))
    }
}

fn sent_dhcp(step: &Step<'_>) -> Message {
    match &step.send[..] {
        [Transmit::Dhcp(payload)] => Message::decode(payload).unwrap(),
        other => panic!("not one DHCP message: {other:?}"),
    }
}

fn acked(transmit: &Transmit) -> u16 {
    match transmit {
        Transmit::Tftp { to: TID, payload } => match Packet::decode(payload).unwrap() {
            Packet::Ack(block) => block,
            other => panic!("not an ACK: {other:?}"),
        },
        other => panic!("not an ACK to the server: {other:?}"),
    }
}

fn read_request(transmit: &Transmit) -> (Vec<u8>, Options) {
    match transmit {
        Transmit::TftpOpen { to: TFTP, payload } => match Packet::decode(payload).unwrap() {
            Packet::Rrq(request) => (request.name.to_vec(), request.options),
            other => panic!("not a read request: {other:?}"),
        },
        other => panic!("not a read request: {other:?}"),
    }
}

/// Returns a complete reply to `request`; a BOOTP reply without `message_type`.
fn reply(request: &Message, message_type: Option<MessageType>) -> Message {
    let mut reply = Message::new(BOOTREPLY);
    reply.xid = request.xid;
    reply.chaddr = request.chaddr;
    reply.yiaddr = ADDRESS;
    reply.siaddr = SERVER;
    reply.file = padded(b"boot").unwrap();
    if let Some(message_type) = message_type {
        reply.options.push(code::MESSAGE_TYPE, &[message_type.number()]);
        reply.options.push(code::SERVER_IDENTIFIER, &SERVER.octets());
        reply.options.push(code::LEASE_TIME, &3600u32.to_be_bytes());
    }
    reply
}

fn offer(request: &Message) -> Message {
    reply(request, Some(MessageType::Offer))
}

fn failure(step: &Step<'_>) -> Failure {
    assert_eq!(step.wait_until, None, "a failed boot waits for nothing");
    match step.progress.last() {
        Some(Progress::Failed(failure)) => failure.clone(),
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn rfc2131_3_1_uefi_goes_from_discover_to_the_last_block() {
    let (mut boot, discover) = Boot::start(Kind::UefiX64);
    let step = boot.dhcp(&offer(&discover));
    let request = sent_dhcp(&step);
    assert_eq!(request.message_type(), Some(Ok(MessageType::Request)));
    assert_eq!(request.options.ip(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(request.options.ip(code::SERVER_IDENTIFIER), Some(SERVER));
    assert_eq!(step.progress[0].to_string(), "OFFER 192.168.77.50 from 192.168.77.1, file boot");

    let step = boot.dhcp(&reply(&discover, Some(MessageType::Ack)));
    assert_eq!(step.progress[0].to_string(), "ACK 192.168.77.50, lease 3600 s");
    let probe =
        Options { block_size: Some(1468), timeout: None, transfer_size: Some(0), window_size: Some(4) };
    assert_eq!(read_request(&step.send[0]), (b"boot".to_vec(), probe));

    let (send, progress) = boot.tftp(&Packet::OAck(Options { transfer_size: Some(1468 * 6 + 5), ..probe }));
    let aborted = Packet::Error { code: ErrorCode::OPTIONS, message: b"User aborted the transfer" }.encode();
    assert_eq!(send[0], Transmit::Tftp { to: TID, payload: aborted });
    let wanted = Options { transfer_size: None, ..probe };
    assert_eq!(read_request(&send[1]), (b"boot".to_vec(), wanted));
    assert_eq!(progress[0], Progress::SizeKnown { bytes: Some(1468 * 6 + 5) });

    let (send, _) = boot.tftp(&Packet::OAck(wanted));
    assert_eq!(acked(&send[0]), 0);
    for block in 1..=6 {
        assert_eq!(boot.block(block, 1468), (true, (block == 4).then_some(4)), "windows of 4");
    }
    let payload = Packet::Data { block: 7, data: b"end!!" }.encode();
    let step = boot.machine.handle(Input::Tftp(&payload, TID), Timestamp(0));
    assert_eq!(step.received, Some(&b"end!!"[..]));
    assert_eq!(acked(&step.send[0]), 7);
    assert_eq!(step.progress, [Progress::Finished { bytes: 1468 * 6 + 5 }]);
    assert_eq!(step.wait_until, None);
    assert_eq!(boot.block(7, 5), (false, Some(7)), "the last block again: our ACK was lost");
}

#[test]
fn rfc951_bootp_loads_in_lock_step_without_options() {
    let (mut boot, request) = Boot::start(Kind::Bootp);
    assert_eq!(request.options.iter().count(), 0);
    let step = boot.dhcp(&offer(&request));
    assert!(matches!(step.progress[..], [Progress::Ignored { reason: Unusable::WrongProtocol, .. }]));
    let step = boot.dhcp(&reply(&request, None));
    assert_eq!(read_request(&step.send[0]), (b"boot".to_vec(), NO_OPTIONS));
    assert_eq!(boot.block(1, 512), (true, Some(1)));
    assert_eq!(boot.block(1, 512), (false, Some(1)));
    assert_eq!(boot.block(2, 512), (true, Some(2)));
    assert_eq!(boot.block(3, 0), (true, Some(3)), "a multiple of the block size ends with an empty block");
}

#[test]
fn ipxe_detects_a_short_file() {
    let mut boot = Boot::loading(Kind::Ipxe);
    let granted = Options { block_size: Some(1432), transfer_size: Some(100), ..NO_OPTIONS };
    boot.tftp(&Packet::OAck(granted));
    let (_, progress) = boot.tftp(&Packet::Data { block: 1, data: &[0; 99] });
    assert_eq!(progress, [Progress::Failed(Failure::WrongSize { promised: 100, received: 99 })]);
}

#[test]
fn dhcp_retries_after_4_8_16_and_32_seconds() {
    let (mut boot, discover) = Boot::start(Kind::UefiArm64);
    let mut secs = vec![discover.secs];
    for (at, next) in [(4, 12), (12, 28), (28, 60)] {
        assert!(boot.timeout_at(at - 1).send.is_empty(), "not before its time");
        let step = boot.timeout_at(at);
        let again = sent_dhcp(&step);
        assert_eq!(again.xid, discover.xid);
        assert_eq!(step.wait_until, Some(Timestamp(next * 1000)));
        secs.push(again.secs);
    }
    assert_eq!(secs, [0, 4, 12, 28]);
    let failure = failure(&boot.timeout_at(60));
    assert!(failure.to_string().starts_with("no DHCP server answered within 60 s"), "{failure}");
}

#[test]
fn replies_to_others_change_nothing() {
    let (mut boot, discover) = Boot::start(Kind::BiosPxe);
    let good = offer(&discover);
    let mut other_xid = good.clone();
    other_xid.xid ^= 1;
    let mut other_mac = good.clone();
    other_mac.chaddr[5] ^= 1;
    let mut request = good.clone();
    request.op = 1;
    for message in [other_xid, other_mac, request] {
        let step = boot.dhcp(&message);
        assert!(step.send.is_empty() && step.progress.is_empty());
        assert_eq!(step.wait_until, Some(Timestamp(4000)));
    }
    assert!(boot.raw_dhcp(vec![2; 100], DHCP).send.is_empty());
    assert_eq!(sent_dhcp(&boot.dhcp(&good)).message_type(), Some(Ok(MessageType::Request)));
}

#[test]
fn the_last_unusable_offer_is_the_reported_reason() {
    let ignored = |kind: Kind, change: &dyn Fn(&mut Message)| {
        let (mut boot, discover) = Boot::start(kind);
        let mut message = reply(&discover, None);
        change(&mut message);
        message.options.push(code::MESSAGE_TYPE, &[MessageType::Offer.number()]);
        let step = boot.dhcp(&message);
        match step.progress[..] {
            [Progress::Ignored { from: SERVER, reason }] => Some(reason),
            [Progress::Offered(_), ..] => None,
            _ => panic!("{step:?}"),
        }
    };
    let id = |message: &mut Message| {
        message.options.push(code::SERVER_IDENTIFIER, &SERVER.octets());
    };
    let bare = |_: &mut Message| {};
    for kind in [Kind::BiosPxe, Kind::UefiX64] {
        assert_eq!(ignored(kind, &bare), Some(Unusable::NoServerIdentifier));
        assert_eq!(ignored(kind, &id), None, "a plain DHCP offer with a boot file will do");
        let no_file = |message: &mut Message| {
            id(message);
            message.file = [0; 128];
        };
        assert_eq!(ignored(kind, &no_file), None, "a proxy may name one");
        let pxe = |items: &'static [u8]| {
            move |message: &mut Message| {
                id(message);
                message.options.push(code::VENDOR_CLASS, b"PXEClient");
                message.options.push(code::VENDOR_SPECIFIC, items);
            }
        };
        assert_eq!(ignored(kind, &pxe(&[6, 1, 8, 255])), None);
        assert_eq!(ignored(kind, &pxe(&[255])), None, "it will be asked on port 4011");
        assert_eq!(ignored(kind, &pxe(&[1, 4, 1, 2, 3, 4, 255])), Some(Unusable::OnlyMtftp));
    }
    assert_eq!(ignored(Kind::Ipxe, &bare), None, "iPXE falls back on siaddr");
    let proxy = |message: &mut Message| {
        id(message);
        message.yiaddr = Ipv4Addr::UNSPECIFIED;
    };
    assert_eq!(ignored(Kind::UefiX64, &proxy), Some(Unusable::NoAddress));
    let bad_router = |message: &mut Message| {
        id(message);
        message.options.push(code::ROUTER, &[1, 2, 3]);
    };
    assert_eq!(ignored(Kind::UefiX64, &bad_router), Some(Unusable::BadOption(3)));
    assert_eq!(ignored(Kind::BiosPxe, &bad_router), None);

    let (mut boot, discover) = Boot::start(Kind::UefiX64);
    let mut message = offer(&discover);
    message.file = [0; 128];
    boot.dhcp(&message);
    for at in [4, 12, 28] {
        boot.timeout_at(at);
    }
    let text = failure(&boot.timeout_at(60)).to_string();
    assert_eq!(text, "no usable DHCP offer; 192.168.77.1 answered, but it names no boot file");
}

#[test]
fn ipxe_takes_no_reply_from_another_port() {
    let (mut boot, discover) = Boot::start(Kind::Ipxe);
    let elsewhere = SocketAddrV4::new(SERVER, 6767);
    let step = boot.raw_dhcp(offer(&discover).encode(), elsewhere);
    assert!(matches!(step.progress[..], [Progress::Ignored { reason: Unusable::WrongPort, .. }]));
}

/// Returns the file and the server that a client reads from an ACK with header and options filled.
fn read_both(kind: Kind, siaddr: Ipv4Addr, option_67: &[u8]) -> (Vec<u8>, Ipv4Addr) {
    let (mut boot, discover) = Boot::start(kind);
    let mut message = offer(&discover);
    message.siaddr = siaddr;
    if kind == Kind::BiosPxe {
        message.file = [0; 128];
    }
    message.options.push(code::BOOT_FILE_NAME, option_67);
    message.options.push(code::TFTP_SERVER_NAME, b"192.168.77.9\0");
    let step = boot.dhcp(&message);
    match &step.progress[0] {
        Progress::Offered(offer) => (offer.file.clone(), offer.next_server),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_reads_name_and_server_where_its_firmware_does() {
    let nine = Ipv4Addr::new(192, 168, 77, 9);
    let none = Ipv4Addr::UNSPECIFIED;
    assert_eq!(read_both(Kind::UefiX64, SERVER, b"other\0"), (b"other".to_vec(), SERVER));
    assert_eq!(read_both(Kind::UefiX64, none, b"other\0"), (b"other".to_vec(), SERVER), "option 54, not 66");
    assert_eq!(read_both(Kind::Ipxe, SERVER, b"other\0"), (b"boot".to_vec(), SERVER));
    assert_eq!(read_both(Kind::BiosPxe, none, b"other\0"), (b"other".to_vec(), nine), "option 66");
    let (name, _) = read_both(Kind::BiosPxe, SERVER, b"other");
    assert_eq!(name, b"otherB", "without its NUL it reads on into the tag of option 66, 'B'");
}

#[test]
fn rfc2131_3_1_5_a_nak_ends_the_boot() {
    let (mut boot, discover) = Boot::start(Kind::UefiX64);
    boot.dhcp(&offer(&discover));
    let mut nak = Message::new(BOOTREPLY);
    nak.xid = discover.xid;
    nak.chaddr = discover.chaddr;
    nak.options.push(code::MESSAGE_TYPE, &[MessageType::Nak.number()]);
    nak.options.push(code::MESSAGE, b"wrong\x1bnet");
    assert!(boot.dhcp(&nak).progress.is_empty(), "a NAK without a server identifier");
    nak.options.push(code::SERVER_IDENTIFIER, &SERVER.octets());
    let text = failure(&boot.dhcp(&nak)).to_string();
    assert_eq!(text, "192.168.77.1 refused the address (NAK): wrong\\x1bnet");
}

#[test]
fn an_ack_without_a_usable_file_is_a_failure() {
    for (file, expected) in [
        (&b""[..], "192.168.77.1 names no boot file: name one"),
        (
            b"http://192.168.77.1/x.efi",
            "the boot file is http://192.168.77.1/x.efi, and this client loads by TFTP",
        ),
    ] {
        let (mut boot, discover) = Boot::start(Kind::UefiX64);
        boot.dhcp(&offer(&discover));
        let mut ack = reply(&discover, Some(MessageType::Ack));
        ack.file = padded(file).unwrap();
        let text = failure(&boot.dhcp(&ack)).to_string();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn rfc7440_4_a_gap_is_reported_once() {
    let mut boot = Boot::loading(Kind::UefiX64);
    boot.tftp(&Packet::OAck(Options { block_size: Some(1000), window_size: Some(4), ..NO_OPTIONS }));
    assert_eq!(boot.block(1, 1000), (true, None));
    assert_eq!(boot.block(3, 1000), (false, Some(1)), "2 was lost");
    assert_eq!(boot.block(4, 1000), (false, None));
    assert_eq!(boot.block(2, 1000), (true, None));
    assert_eq!(boot.block(3, 1000), (true, None));
    assert_eq!(boot.block(4, 0), (true, Some(4)));
}

#[test]
fn a_retransmitted_window_is_acknowledged_again() {
    let mut boot = Boot::loading(Kind::UefiX64);
    boot.tftp(&Packet::OAck(Options { block_size: Some(10), window_size: Some(2), ..NO_OPTIONS }));
    boot.block(1, 10);
    assert_eq!(boot.block(2, 10), (true, Some(2)));
    assert_eq!(boot.block(1, 10), (false, None));
    assert_eq!(boot.block(2, 10), (false, Some(2)));
}

#[test]
fn blocks_count_on_from_0_after_65535() {
    let mut boot = Boot::loading(Kind::Bootp);
    for block in 1..=65535 {
        assert_eq!(boot.block(block, 512), (true, Some(block)));
    }
    assert_eq!(boot.block(0, 512), (true, Some(0)));
    assert_eq!(boot.block(0, 512), (false, Some(0)));
    assert_eq!(boot.block(1, 100), (true, Some(1)));
}

#[test]
fn rfc1350_4_an_unknown_tid_gets_an_error() {
    let mut boot = Boot::loading(Kind::Bootp);
    boot.block(1, 512);
    let other_port = SocketAddrV4::new(SERVER, 40001);
    let (send, progress) = boot.tftp_from(&Packet::Data { block: 2, data: &[0; 512] }, other_port);
    assert_eq!(progress, [Progress::UnknownTid(other_port)]);
    let [Transmit::Tftp { to, payload }] = &send[..] else { panic!("{send:?}") };
    assert_eq!(*to, other_port);
    assert!(matches!(Packet::decode(payload), Ok(Packet::Error { code: ErrorCode::UNKNOWN_TRANSFER, .. })));
    let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"" };
    assert_eq!(boot.tftp_from(&error, other_port), (vec![], vec![]), "an ERROR is never answered");
    assert_eq!(boot.block(2, 3), (true, Some(2)));
}

#[test]
fn tftp_gives_up_after_five_tries() {
    let mut boot = Boot::loading(Kind::Bootp);
    for attempt in 2..=5 {
        let step = boot.timeout_at(u64::from(attempt - 1) * 4);
        assert!(matches!(step.send[..], [Transmit::Tftp { to: TFTP, .. }]), "the read request again");
        assert_eq!(step.progress, [Progress::Retrying { attempt }]);
    }
    let text = failure(&boot.timeout_at(20)).to_string();
    assert!(text.starts_with("192.168.77.1:69 did not answer a TFTP request for boot"), "{text}");

    let mut boot = Boot::loading(Kind::Bootp);
    boot.block(1, 512);
    let step = boot.timeout_at(4);
    assert_eq!(acked(&step.send[0]), 1, "in the middle, the last ACK again");
    assert_eq!(boot.block(2, 512), (true, Some(2)), "and on it goes");
    for at in [8, 12, 16, 20] {
        boot.timeout_at(at);
    }
    let text = failure(&boot.timeout_at(24)).to_string();
    assert_eq!(text, "192.168.77.1:40000 stopped sending boot after 1024 bytes");
}

#[test]
fn a_tftp_error_ends_the_boot_with_its_text() {
    let mut boot = Boot::loading(Kind::BiosPxe);
    let (send, progress) = boot.tftp(&Packet::Error { code: ErrorCode::NOT_FOUND, message: b"no such file" });
    assert!(send.is_empty());
    let text = progress[0].to_string();
    assert_eq!(text, "failed: the TFTP server refused boot: error 1, no such file");
}

#[test]
fn rfc2347_an_oack_with_unrequested_options_is_refused() {
    for granted in [
        Options { block_size: Some(1469), ..NO_OPTIONS },
        Options { window_size: Some(5), ..NO_OPTIONS },
        Options { transfer_size: Some(3000), ..NO_OPTIONS },
        Options { timeout: Some(1), ..NO_OPTIONS },
    ] {
        let mut boot = Boot::loading(Kind::UefiX64);
        let (send, progress) = boot.tftp(&Packet::OAck(granted));
        let [Transmit::Tftp { to: TID, payload }] = &send[..] else { panic!("{send:?}") };
        assert!(matches!(Packet::decode(payload), Ok(Packet::Error { code: ErrorCode::OPTIONS, .. })));
        assert!(matches!(progress[..], [Progress::Failed(Failure::BadOptions { .. })]));
    }
}

#[test]
fn a_server_without_options_uses_blocks_of_512() {
    let mut boot = Boot::loading(Kind::UefiX64);
    for block in 1..=5 {
        assert_eq!(boot.block(block, 512), (true, Some(block)));
    }
    assert_eq!(boot.block(6, 440), (true, Some(6)), "3000 bytes, as the size probe said");
}
