//! Tests of log lines, levels and counters.

use super::*;

use crate::event::{
    Client, Details, DropReason, HttpRefusal, HttpStop, Message, Refusal, TransferStop, Unanswered,
};
use crate::types::{Arch, Firmware, MacAddr, MachineId, Rule};
use std::net::Ipv4Addr;

fn client() -> Client {
    Client { firmware: Firmware::UefiPxe, arch: Some(Arch::UEFI_X64) }
}

fn machine() -> MachineId {
    MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]).into()
}

fn of(interface: &str, machine: Option<MachineId>, event: &Event) -> Record {
    Record { at: Timestamp(0), interface: Some(interface.into()), machine, event: event.clone() }
}

/// The line of `event`. The machine is known for events of DHCP clients, and has no name.
fn line(interface: &str, event: &Event) -> String {
    let is_of_machine = event.client().is_some() || matches!(event, Event::RogueServer { .. });
    log_line::line(&of(interface, is_of_machine.then(machine), event))
}

/// The line of `event` on eth1 for the machine `node1`.
fn named(event: &Event) -> String {
    let machine = MachineId { name: Some("node1".into()), ..machine() };
    log_line::line(&of("eth1", Some(machine), event))
}

impl Recorder {
    fn note(&self, event: Event) {
        self.record_now(of("eth1", None, &event));
    }
}

#[test]
fn r_43_lines_start_with_stable_verbs_and_name_the_machine() {
    let received =
        Event::Received { message: Message::Discover, client: client(), details: Details::default() };
    assert_eq!(line("eth1", &received), "DHCPDISCOVER(eth1) 52:54:00:12:34:56 PXE uefi-x64");
    let address = Ipv4Addr::new(192, 168, 77, 50);
    let file = Some(("snponly.efi".into(), Rule::Arch(Arch::UEFI_X64)));
    let offer = Event::Answered { message: Message::Offer, address, client: client(), file, note: None };
    assert_eq!(
        line("eth1", &offer),
        "DHCPOFFER(eth1) 192.168.77.50 52:54:00:12:34:56 file=snponly.efi rule=boot.arch.uefi-x64"
    );
    let peer = "192.168.77.50:2070".parse().unwrap();
    let sent = Event::TftpSent {
        file: "snponly.efi".into(),
        peer,
        bytes: 1 << 20,
        took: Duration::from_millis(150),
        resent: 2,
    };
    assert_eq!(line("eth1", &sent), "sent snponly.efi to 192.168.77.50 1.0 MiB 0.1 s 6.7 MiB/s resent=2");
    let stopped = Event::TftpStopped {
        file: "snponly.efi".into(),
        peer,
        bytes: 0,
        size: 1 << 20,
        took: Duration::from_secs(6),
        resent: 5,
        stop: TransferStop::Silent,
        rejected_blksize: Some(1468),
    };
    assert_eq!(
        line("eth1", &stopped),
        "stopped sending snponly.efi to 192.168.77.50 after 0 B of 1.0 MiB 6.0 s resent=5: the client went silent; \
         it accepted the options but never acknowledged block 1, so blocks of 1468 bytes may be too large for it: set \
         `tftp.max_block_size` lower"
    );
    assert_eq!(named(&received), "DHCPDISCOVER(eth1) 52:54:00:12:34:56 node1 PXE uefi-x64");
    assert_eq!(
        named(&offer),
        "DHCPOFFER(eth1) 192.168.77.50 52:54:00:12:34:56 node1 file=snponly.efi rule=boot.arch.uefi-x64"
    );
    assert!(named(&sent).starts_with("sent snponly.efi to 192.168.77.50 node1 1.0 MiB"), "{}", named(&sent));
    let drop = Event::Dropped { reason: DropReason::UnknownRelay, client: Some(client()) };
    let expected = "dropped(eth1) 52:54:00:12:34:56 node1 PXE uefi-x64 reason=unknown_relay";
    assert_eq!(named(&drop), expected);
    let drop = Event::Dropped { reason: DropReason::UnknownRelay, client: None };
    assert_eq!(line("eth1", &drop), "dropped(eth1) reason=unknown_relay");
}

#[test]
fn a_loop_is_explained() {
    let line_of = |gets_script| {
        let (file, within) = ("snponly.efi".into(), Duration::from_secs(31));
        line("eth1", &Event::BootLoop { client: client(), file, times: 3, within, gets_script })
    };
    let begin = "loop(eth1) 52:54:00:12:34:56 PXE uefi-x64 was given snponly.efi 3 times in 31 s: ";
    for (gets_script, why) in [(true, "it seems to be an iPXE"), (false, "that file does not come")] {
        assert!(line_of(gets_script).starts_with(&format!("{begin}{why}")), "{}", line_of(gets_script));
    }
    assert_eq!(
        level(&Event::BootLoop {
            client: client(),
            file: "x".into(),
            times: 3,
            within: Duration::ZERO,
            gets_script: false
        }),
        Level::WARN
    );
}

#[test]
fn another_dhcp_server_is_logged_with_both_addresses() {
    let line_of = |message, address: [u8; 4], from| {
        let server = Ipv4Addr::new(192, 168, 77, 254);
        let event = Event::RogueServer { message, address: address.into(), server, from };
        assert_eq!(level(&event), Level::WARN);
        line("eth1", &event)
    };
    let from = Some(MacAddr([2, 0, 0, 0, 0, 9]));
    let offer = line_of(Message::Offer, [192, 168, 77, 120], from);
    let begin = "rogue_server(eth1) 192.168.77.254 at 02:00:00:00:00:09 sent DHCPOFFER of 192.168.77.120 to 52:54:00:12:34:56: ";
    assert!(offer.starts_with(begin), "{offer}");
    let taken = line_of(Message::Request, [0; 4], None);
    let begin = "rogue_server(eth1) 192.168.77.254 was chosen as DHCP server by 52:54:00:12:34:56: ";
    assert!(taken.starts_with(begin), "{taken}");
}

#[test]
fn d_14_names_from_the_network_are_escaped() {
    let peer = "192.168.77.50:2070".parse().unwrap();
    let refused = Event::TftpRefused { name: "a\n\u{1b}[0m".into(), peer, reason: Refusal::BadName };
    let refused_by_client = TransferStop::Refused { code: 3, message: "full\n".into() };
    assert_eq!(file_line::why(&refused_by_client), "the client sent error 3 \"full\\x0a\"");
    assert_eq!(line("eth1", &refused), "refused a\\x0a\\x1b[0m to 192.168.77.50 reason=bad_name");
}

#[test]
fn http_lines_have_the_same_verbs() {
    let peer = "192.168.77.50:40000".parse().unwrap();
    let file = "snponly.efi".to_owned();
    let took = Duration::from_millis(250);
    let sent = |to_end| Event::HttpSent { file: file.clone(), peer, bytes: 1 << 20, to_end, took };
    assert_eq!(line("http", &sent(true)), "sent snponly.efi to 192.168.77.50 1.0 MiB 0.2 s by HTTP");
    assert_eq!((level(&sent(true)), level(&sent(false))), (Level::INFO, Level::DEBUG), "blocks of an image");
    let reason = HttpStop::TooSlow;
    let stopped = Event::HttpStopped { file: file.clone(), peer, bytes: 1 << 10, wanted: 1 << 20, reason };
    let expected =
        "stopped sending snponly.efi to 192.168.77.50 by HTTP after 1.0 KiB of 1.0 MiB reason=too_slow";
    assert_eq!(line("http", &stopped), expected);
    let answered = Event::HttpAnswered { file, peer, status: 304 };
    assert_eq!(line("http", &answered), "answered snponly.efi to 192.168.77.50 status=304");
    let name = "/a\n{{7*7}}".to_owned();
    let refused = Event::HttpRefused { name, peer, reason: HttpRefusal::BadRequest };
    assert_eq!(line("http", &refused), "refused /a\\x0a{{7*7}} to 192.168.77.50 by HTTP reason=bad_request");
}

#[test]
fn dhcp_is_busy_until_a_second_after_a_message() {
    let dhcp = LastMessage::default();
    let after = |millis: u64| Timestamp(1_000_000 + millis);
    assert!(!dhcp.is_recent(after(0)) && !dhcp.is_recent(after(5000)), "no message so far");
    dhcp.record_message(after(0));
    assert!(dhcp.is_recent(after(0)) && dhcp.is_recent(after(1000)) && !dhcp.is_recent(after(1001)));
    dhcp.record_message(after(5000));
    assert!(dhcp.is_recent(after(5999)));
    let recorder = Recorder::default();
    assert!(!recorder.dhcp_is_busy());
    recorder.clone().note(Event::Received {
        message: Message::Discover,
        client: client(),
        details: Details::default(),
    });
    assert!(recorder.dhcp_is_busy());
}

#[test]
fn s_01_a_contested_address_is_explained() {
    let at = |n: u8| Ipv4Addr::new(10, 0, 0, n);
    let (by_dhcp, other) = (Some(MacAddr([2, 0, 0, 0, 0, 1])), Some(MacAddr([2, 0, 0, 0, 0, 2])));
    let event = |on_wire| Event::AmbiguousAddress { address: at(1).into(), by_dhcp, other, on_wire };
    assert_eq!(level(&event(true)), Level::WARN);
    let begin = "contested 10.0.0.1 is 02:00:00:00:00:01 by DHCP and 02:00:00:00:00:02 by ARP: it gets what an unknown";
    assert!(line("identity", &event(true)).starts_with(begin), "{}", line("identity", &event(true)));
    let begin = "contested 10.0.0.1 is 02:00:00:00:00:01 and 02:00:00:00:00:02 by DHCP: ";
    assert!(line("identity", &event(false)).starts_with(begin), "{}", line("identity", &event(false)));
}

#[test]
fn requests_refused_because_of_the_client_are_counted() {
    let recorder = Recorder::default();
    let peer = "192.168.77.50:2070".parse().unwrap();
    for reason in [HttpRefusal::NotAllowed, HttpRefusal::ForeignHost, HttpRefusal::NotFound] {
        recorder.note(Event::HttpRefused { name: "x".to_owned(), peer, reason });
    }
    for reason in [Refusal::OtherMachine, Refusal::NotFound] {
        recorder.note(Event::TftpRefused { name: "x".to_owned(), peer, reason });
    }
    let expected = [("http_foreign_host", 1), ("http_not_allowed", 1), ("tftp_other_machine", 1)];
    assert_eq!(recorder.drops(), expected);
}

#[test]
fn every_drop_is_counted_by_its_reason() {
    let recorder = Recorder::default();
    for reason in [DropReason::BadHlen, DropReason::TooShort, DropReason::BadHlen] {
        recorder.clone().note(Event::Dropped { reason, client: None });
    }
    let peer = "192.168.77.50:2070".parse().unwrap();
    recorder.note(Event::TftpUnanswered { peer, reason: Unanswered::NotRequest });
    assert_eq!(recorder.drops(), [("too_short", 1), ("bad_hlen", 2), ("tftp_not_a_request", 1)]);
}
