//! Tests the models of firmware that cannot run here against the rules in their comments. `tests/network/firmware/models.rs`
//! tests those of iPXE, EDK2, GRUB, PXELINUX and shim against real firmware.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::*;
use crate::types::Escaped;
use crate::wire::dhcp::{BOOTREPLY, Message, MessageType, padded};
use crate::wire::option::code;
use crate::wire::pxe::{BOOT_FILE_AT_ONCE, RASPBERRY_PI_MENU};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

/// Returns a reply of [`SERVER`] that assigns an address and names the file `a/x` in the header and in option 67.
fn reply(kind: MessageType, options: &[(u8, &[u8])]) -> Message {
    let mut message = Message::new(BOOTREPLY);
    message.yiaddr = ADDRESS;
    message.siaddr = SERVER;
    message.file = padded(b"a/x").unwrap();
    message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
    for (code, value) in options {
        message.options.push(*code, value);
    }
    message.options.push(code::SERVER_IDENTIFIER, &SERVER.octets());
    message.options.push(code::SUBNET_MASK, &[255, 255, 255, 0]);
    message
}

/// Returns the reaction of a machine to an OFFER and, if it requests the address, the same as an ACK, changed by
/// `edit`.
fn after(firmware: Firmware, options: &[(u8, &[u8])], edit: fn(&mut Message)) -> Verdict {
    let make = |kind| {
        let mut message = reply(kind, options);
        edit(&mut message);
        message.encode()
    };
    let (offer, ack) = (make(MessageType::Offer), make(MessageType::Ack));
    let source = SocketAddrV4::new(SERVER, 67);
    let mut replies = vec![ReceivedReply { payload: &offer, source, request: RequestKind::Discover }];
    if let Verdict::Requests { server, address, .. } = run(firmware, &replies) {
        assert!(server == SERVER || server.is_unspecified());
        assert_eq!(address, ADDRESS);
        replies.push(ReceivedReply { payload: &ack, source, request: RequestKind::Request });
    }
    run(firmware, &replies)
}

/// Returns `server file` of the loaded file, or the code on the screen.
fn outcome(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Boots(boot) => format!("{} {}", boot.server, Escaped(&boot.file)),
        Verdict::Fails(failure) => failure.code.to_string(),
        Verdict::AsksBootServer { to, unanswered, .. } => format!("asks {to} or {}", outcome(unanswered)),
        other => format!("{other:?}"),
    }
}

const CLASS: (u8, &[u8]) = (code::VENDOR_CLASS, b"PXEClient");

fn nothing(_: &mut Message) {}

fn no_header(message: &mut Message) {
    message.file = [0; 128];
}

fn no_siaddr(message: &mut Message) {
    message.siaddr = Ipv4Addr::UNSPECIFIED;
}

#[test]
fn without_any_reply_each_shows_its_code() {
    let code = |firmware| outcome(&run(firmware, &[]));
    assert_eq!(code(Firmware::BootAgent), "PXE-E51");
    assert_eq!(code(Firmware::Edk2Pxe), "PXE-E18");
    assert_eq!(code(Firmware::Edk2Http), "HTTP boot error");
    assert_eq!(code(Firmware::Ipxe), "No configuration methods succeeded");
    for firmware in Firmware::ALL {
        assert!(matches!(run(firmware, &[]), Verdict::Fails(_)), "{firmware}");
    }
}

#[test]
fn boot_agent_reads_past_option_67_without_nul() {
    let at_once = (code::VENDOR_SPECIFIC, &BOOT_FILE_AT_ONCE[..]);
    let outcome = |options: &[(u8, &[u8])], edit| outcome(&after(Firmware::BootAgent, options, edit));
    assert_eq!(outcome(&[], nothing), "10.0.0.1 a/x", "the conventional way");
    assert_eq!(outcome(&[CLASS, at_once], nothing), "10.0.0.1 a/x");
    assert_eq!(outcome(&[CLASS], nothing), "asks 10.0.0.1:4011 or PXE-E55");
    assert_eq!(outcome(&[(67, b"b\0")], nothing), "10.0.0.1 a/x", "the header goes before option 67");
    assert_eq!(outcome(&[(67, b"b\0")], no_header), "10.0.0.1 b");
    // netbootxyz/netboot.xyz#1198: the next option's code, here 54 (`6`), and its length follow the name.
    assert_eq!(outcome(&[(67, b"b")], no_header), "10.0.0.1 b6\\x04\\x0a");
    assert_eq!(outcome(&[], no_header), "PXE-E53");
    assert_eq!(outcome(&[(66, b"10.0.0.2\0")], no_siaddr), "10.0.0.2 a/x");
}

#[test]
fn boot_agent_needs_an_address() {
    let mut proxy = reply(MessageType::Offer, &[CLASS]);
    proxy.yiaddr = Ipv4Addr::UNSPECIFIED;
    let payload = proxy.encode();
    let replies = [ReceivedReply {
        payload: &payload,
        source: SocketAddrV4::new(SERVER, 67),
        request: RequestKind::Discover,
    }];
    assert_eq!(outcome(&run(Firmware::BootAgent, &replies)), "PXE-E52");
}

#[test]
fn u_boot_prefers_the_header_and_ignores_66() {
    let outcome = |options: &[(u8, &[u8])], edit| outcome(&after(Firmware::UBoot, options, edit));
    assert_eq!(outcome(&[(67, b"b")], nothing), "10.0.0.1 a/x");
    assert_eq!(outcome(&[(67, b"b")], no_header), "10.0.0.1 b");
    assert_eq!(outcome(&[], no_header), "10.0.0.1 0A000009.img", "the address in hex");
    assert_eq!(outcome(&[(66, b"10.0.0.2")], no_siaddr), "no address");
}

#[test]
fn a_raspberry_pi_needs_its_menu() {
    let menu = (code::VENDOR_SPECIFIC, RASPBERRY_PI_MENU);
    let named = (code::TFTP_SERVER_NAME, &b"10.0.0.2\0"[..]);
    let other_siaddr: fn(&mut Message) = |message| message.siaddr = OTHER;
    for (firmware, edit, expected) in [
        (Firmware::RaspberryPi3, other_siaddr, "10.0.0.1 bootcode.bin"),
        (Firmware::RaspberryPi3Plus, other_siaddr, "10.0.0.2 bootcode.bin"),
        (Firmware::RaspberryPi4, other_siaddr, "10.0.0.2 config.txt"),
        (Firmware::RaspberryPi4, no_siaddr, "10.0.0.1 config.txt"),
    ] {
        assert_eq!(outcome(&after(firmware, &[CLASS, menu], edit)), expected, "{firmware}");
        assert_eq!(outcome(&after(firmware, &[CLASS], edit)), "no address", "{firmware} without its menu");
    }
    assert_eq!(
        outcome(&after(Firmware::RaspberryPi3, &[CLASS, menu, named], nothing)),
        "10.0.0.2 bootcode.bin"
    );
    let relayed = |firmware| outcome(&after(firmware, &[CLASS, menu], |message| message.hops = 1));
    assert_eq!(relayed(Firmware::RaspberryPi3), "no address");
    assert_eq!(relayed(Firmware::RaspberryPi4), "10.0.0.1 config.txt");
}

#[test]
fn rfc951_3_bootp_reads_the_header_alone() {
    let outcome = |edit| outcome(&after(Firmware::Bootp, &[(67, b"b\0"), (66, b"10.0.0.2\0")], edit));
    assert_eq!(outcome(nothing), "10.0.0.1 a/x");
    assert_eq!((outcome(no_header), outcome(no_siaddr)), ("no address".to_owned(), "no address".to_owned()));
}

#[test]
fn http_boot_needs_dns_and_an_http_url() {
    let class = (code::VENDOR_CLASS, &b"HTTPClient"[..]);
    let outcome = |url: &'static [u8], dns: bool| {
        let dns: &[(u8, &[u8])] = if dns { &[(code::DNS, &[10, 0, 0, 1])] } else { &[] };
        let options = [&[class, (code::BOOT_FILE_NAME, url)], dns].concat();
        outcome(&after(Firmware::Edk2Http, &options, no_header))
    };
    assert_eq!(outcome(b"http://10.0.0.2:8080/a/x.efi", false), "10.0.0.2:8080 /a/x.efi");
    assert_eq!(outcome(b"HTTP://10.0.0.2/x", false), "10.0.0.2 /x");
    assert_eq!(outcome(b"http://boot.lab/x.efi", false), "HTTP boot error");
    assert_eq!(outcome(b"http://boot.lab/x.efi", true), "boot.lab /x.efi");
    assert_eq!(outcome(b"ftp://10.0.0.2/x", true), "HTTP boot error");
}

#[test]
fn edk2_knows_more_than_lengths_of_some_options() {
    let outcome = |options: &[(u8, &[u8])]| outcome(&after(Firmware::Edk2Pxe, options, nothing));
    assert_eq!(outcome(&[(19, &[1])]), "10.0.0.1 a/x");
    assert_eq!(outcome(&[(19, &[2])]), "PXE-E18", "a switch is 0 or 1");
    assert_eq!(outcome(&[(121, &[0, 10, 0, 0])]), "PXE-E18", "a classless route has 5 bytes or more");
    assert_eq!(outcome(&[(224, &[])]), "10.0.0.1 a/x", "224 is unknown");
    assert_eq!(outcome(&[(43, &[])]), "10.0.0.1 a/x", "an empty option is not looked at");
}

/// Returns a menu whose first item is `kind` on [`OTHER`], with this timeout.
fn menu(kind: u16, timeout: u8) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    let [a, b, c, d] = OTHER.octets();
    vec![6, 1, 3, 8, 7, high, low, 1, a, b, c, d, 9, 4, high, low, 1, b'x', 10, 2, timeout, b'?', 255]
}

#[test]
fn pxe21_2_2_each_menu_item_has_its_effect() {
    for firmware in [Firmware::BootAgent, Firmware::Edk2Pxe, Firmware::Ipxe] {
        let verdict = |menu: &[u8]| after(firmware, &[CLASS, (code::VENDOR_SPECIFIC, menu)], no_header);
        assert_eq!(verdict(&menu(7, 255)), Verdict::WaitsForUser, "{firmware}");
        assert_eq!(verdict(&menu(0, 0)), Verdict::BootsLocally, "{firmware}");
        let asked = match verdict(&menu(7, 0)) {
            Verdict::AsksBootServer { to, item, .. } => Some((to, item)),
            _ => None,
        };
        assert_eq!(asked, Some((SocketAddrV4::new(OTHER, 4011), Some(7))), "{firmware}");
    }
}

#[test]
fn loaders_are_recognized_by_their_file_names() {
    for (name, loader) in [
        ("undionly.kpxe", Some(Loader::Ipxe)),
        ("boot.ipxe", None),
        ("bios/lpxelinux.0", Some(Loader::Pxelinux)),
        ("SYSLINUX.EFI", Some(Loader::SyslinuxEfi)),
        ("deb/shimx64.efi.signed", Some(Loader::ShimX64)),
        (r"a\shimaa64.efi", Some(Loader::ShimArm64)),
        ("grubnetx64.efi", Some(Loader::Grub)),
        ("vmlinuz", None),
    ] {
        assert_eq!(Loader::of_file(name), loader, "{name}");
    }
}

proptest::proptest! {
    /// Every model must return a verdict for any bytes.
    #[test]
    fn no_reply_makes_a_model_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        options in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        request in 0..3usize,
    ) {
        let mut whole = reply(MessageType::Offer, &[CLASS]).encode();
        whole.truncate(240);
        whole.extend_from_slice(&options);
        let source = SocketAddrV4::new(SERVER, 67);
        let request = [RequestKind::Discover, RequestKind::Request, RequestKind::BootServer][request];
        let good = reply(MessageType::Offer, &[CLASS]).encode();
        for firmware in Firmware::ALL {
            let replies = [
                ReceivedReply { payload: &whole, source, request: RequestKind::Discover },
                ReceivedReply { payload: &good, source, request: RequestKind::Discover },
                ReceivedReply { payload: &whole, source, request },
                ReceivedReply { payload: &bytes, source, request },
            ];
            if let Verdict::Boots(boot) = run(firmware, &replies) {
                for loader in [Loader::Grub, Loader::ShimX64, Loader::Pxelinux] {
                    let _ = next(loader, &boot);
                }
            }
        }
    }
}
