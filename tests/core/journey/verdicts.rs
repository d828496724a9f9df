//! One or more conversations for each verdict, which end in exactly that id within its limit.

use std::net::Ipv4Addr;

use lanboot::event::{Client, Details, Event};
use lanboot::journey::boot::BootResult;
use lanboot::journey::site::Program;
use lanboot::types::{Arch, FileKind, Firmware, MacAddr, Processor};
use lanboot::wire::dhcp::MessageType;
use support::world::SERVER;

use super::lab::*;

/// DISCOVERs with the pauses of EDK2. Returns after the last one.
fn edk2_discovers(lab: &mut Lab, options: &[(u8, &[u8])], mut heard: impl FnMut(&mut Lab)) {
    for (pause, secs) in [(0, 0), (4, 4), (8, 12), (16, 28)] {
        lab.pass(pause * 1000);
        lab.discover(options, secs);
        heard(lab);
    }
}

#[test]
fn no_file_for_architecture() {
    let mut lab = Lab::server();
    lab.discover(ARM, 0);
    lab.assert_stuck(5000, "no_file_for_architecture");
    let boots = lab.boots();
    assert!(boots[0].verdict.as_ref().unwrap().advice.contains("uefi-arm64"), "{:?}", boots[0].verdict);
    lab.pass(4000);
    lab.discover(ARM, 4);
    assert_eq!((lab.boots().len(), lab.verdict(0)), (1, Some("no_file_for_architecture")), "a retry");
}

#[test]
fn no_file_for_architecture_as_proxy() {
    let mut lab = Lab::proxy();
    lab.discover(ARM, 0);
    lab.other(MessageType::Offer, None);
    lab.assert_stuck(5000, "no_file_for_architecture");
}

#[test]
fn other_server_chosen() {
    let mut lab = Lab::server();
    lab.discover(UEFI, 0);
    lab.pass(4000);
    lab.request(UEFI, OTHER, Ipv4Addr::new(192, 168, 77, 200));
    lab.assert_stuck(5000, "other_server_chosen");
}

#[test]
fn other_server_chosen_by_its_heard_ack() {
    let mut lab = Lab::server();
    lab.discover(BIOS, 0);
    lab.pass(1000);
    lab.other(MessageType::Ack, Some("other.0"));
    lab.assert_stuck(5000, "other_server_chosen");
}

#[test]
fn other_server_chosen_beside_a_server_with_its_own_file() {
    let mut lab = Lab::proxy();
    lab.lease_from_other(UEFI, 4000, Some("theirs.efi"));
    lab.assert_stuck(5000, "other_server_chosen");
}

#[test]
fn offers_not_selected() {
    let mut lab = Lab::proxy();
    edk2_discovers(&mut lab, UEFI, |lab| lab.other(MessageType::Offer, None));
    lab.assert_stuck(5000, "offers_not_selected");
}

#[test]
fn offers_not_selected_beside_a_second_server() {
    let mut lab = Lab::server();
    edk2_discovers(&mut lab, UEFI, |lab| lab.other(MessageType::Offer, None));
    lab.assert_stuck(5000, "offers_not_selected");
}

#[test]
fn replies_lost() {
    let mut lab = Lab::server();
    edk2_discovers(&mut lab, UEFI, |_| ());
    lab.assert_stuck(5000, "replies_lost");
    lab.pass(27_000);
    lab.discover(UEFI, 60);
    assert_eq!(lab.boots().len(), 1, "a retry of the same attempt");
    lab.pass(60_000);
    lab.again();
    lab.discover(UEFI, 0);
    assert_eq!((lab.boots().len(), lab.verdict(0), lab.verdict(1)), (2, None, Some("replies_lost")));
    assert_eq!(lab.result(), BootResult::Booting);
}

#[test]
fn replies_lost_after_two_discovers_and_silence() {
    let mut lab = Lab::server();
    lab.discover(BIOS, 0);
    lab.pass(4000);
    lab.discover(BIOS, 4);
    lab.pass(12_900);
    lab.assert_stuck(200, "replies_lost");
}

#[test]
fn replies_lost_of_ipxe_that_states_that_it_heard_nothing() {
    let mut lab = Lab::proxy();
    for (count, pause) in [(0, 0), (1, 1000), (2, 2000), (3, 4000)] {
        lab.pass(pause);
        lab.discover(IPXE, count << 2);
        lab.other(MessageType::Offer, None);
    }
    lab.assert_stuck(5000, "replies_lost");
}

#[test]
fn replies_lost_if_the_request_is_repeated_after_the_ack() {
    let mut lab = Lab::server();
    let offer = lab.discover(UEFI, 0).unwrap();
    for pause in [4, 4, 8, 16] {
        lab.pass(pause * 1000);
        assert!(lab.request(UEFI, SERVER, offer.message.yiaddr).is_some(), "an ACK");
    }
    lab.assert_stuck(37_000, "replies_lost");
    assert_eq!(lab.causes.len(), 1, "{:?}", lab.causes);
    lab.pass(1000);
    lab.tftp_starts("snponly.efi", 300_000, 1468);
    assert_eq!((lab.verdict(0), lab.result()), (None, BootResult::Booting), "one ACK arrived after all");
}

#[test]
fn an_ack_that_is_lost_once_is_no_verdict() {
    let mut lab = Lab::server();
    let offer = lab.discover(UEFI, 0).unwrap();
    lab.request(UEFI, SERVER, offer.message.yiaddr);
    lab.pass(4000);
    lab.request(UEFI, SERVER, offer.message.yiaddr);
    lab.tftp("snponly.efi", 300_000, 500);
    assert!(lab.causes.is_empty(), "{:?}", lab.causes);
}

/// DISCOVERs through a relay agent with the pauses of EDK2, each of which gets an OFFER. `after` runs after each.
fn relayed_discovers(after: impl Fn(&mut Lab)) -> Lab {
    const RELAYED: &str = "
dhcp:
  mode: server
  subnets: [{network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99, relays: [10.1.0.1]}]
boot: {arch: {uefi-x64: snponly.efi}}
";
    let mut lab = Lab::new(RELAYED);
    for (pause, secs) in [(0, 0), (4, 4), (8, 12), (16, 28)] {
        lab.pass(pause * 1000);
        let mut message = support::world::message(1, MessageType::Discover, UEFI);
        (message.giaddr, message.secs, message.hops) = (Ipv4Addr::new(10, 1, 0, 1), secs, 1);
        assert!(lab.send(&message).is_some(), "an OFFER");
        after(&mut lab);
    }
    lab
}

#[test]
fn relay_drops_replies() {
    relayed_discovers(|_| {}).assert_stuck(5000, "relay_drops_replies");
}

#[test]
fn port_4011_silent_by_our_own_firewall() {
    let mut lab = Lab::server();
    lab.lease(BIOS, 4000);
    let client = Client { firmware: Firmware::BiosPxe, arch: Some(Arch::BIOS) };
    for pause in [500, 1000, 2000] {
        lab.pass(pause);
        let details = Details { boot_service: true, ..Details::default() };
        lab.event(Event::QuestionBlocked { client, details, port: 4011 });
    }
    lab.assert_stuck(5000, "port_4011_silent");
    let cause = &lab.boots()[0].verdict.as_ref().unwrap().cause;
    assert!(cause.contains("firewall of this computer"), "{cause}");
}

#[test]
fn port_4011_silent() {
    // The question is heard, and no answer is sent: the file is missing in the configuration of that architecture.
    let mut lab = Lab::new("{dhcp: {mode: proxy}, boot: {arch: {bios: x.0}}}");
    lab.lease_from_other(BIOS, 4000, None);
    for pause in [0, 1000, 2000] {
        lab.pass(pause);
        lab.ask_4011(BIOS);
    }
    lab.assert_stuck(6000, "port_4011_silent");
}

#[test]
fn address_conflict_after_a_decline() {
    let mut lab = Lab::server();
    let ack = lab.lease(UEFI, 4000);
    let address = ack.message.yiaddr;
    lab.world.used.push(address);
    let mut decline = support::world::message(1, MessageType::Decline, UEFI);
    decline.options.push(54, &SERVER.octets());
    decline.options.push(50, &address.octets());
    lab.send(&decline);
    lab.assert_stuck(5000, "address_conflict");
}

#[test]
fn address_conflict_by_proxy_arp_names_the_router() {
    let mut lab = Lab::server();
    let by = MacAddr([2, 9, 9, 9, 9, 7]);
    lab.event_of_nobody(Event::ProxyArp { by, addresses: vec![] });
    let address = lab.lease(UEFI, 4000).message.yiaddr;
    let mut decline = support::world::message(1, MessageType::Decline, UEFI);
    decline.options.push(54, &SERVER.octets());
    decline.options.push(50, &address.octets());
    lab.send(&decline);
    lab.assert_stuck(5000, "address_conflict");
    assert!(lab.causes[0].contains("02:09:09:09:09:07 answers ARP for every address"), "{:?}", lab.causes);
}

#[test]
fn address_conflict_if_every_address_is_in_use() {
    let mut lab = Lab::new(
        "{dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.51}]}, \
         boot: {arch: {uefi-x64: snponly.efi}}}",
    );
    lab.world.used = vec![Ipv4Addr::new(192, 168, 77, 50), Ipv4Addr::new(192, 168, 77, 51)];
    lab.discover(UEFI, 0);
    lab.assert_stuck(5000, "address_conflict");
}

/// Several addresses are checked at the same time.
#[test]
fn address_conflict_if_the_last_one_is_found_after_the_pool_was_empty() {
    let mut lab = Lab::server();
    let client = Client { firmware: Firmware::UefiPxe, arch: None };
    lab.discover(UEFI, 0);
    let subnet = "192.168.77.0/24".parse().unwrap();
    lab.event(Event::PoolExhausted { subnet, size: 2, client });
    for last in [50, 51] {
        let by = Some(MacAddr([2, 9, 9, 9, 9, 8]));
        lab.event_of_nobody(Event::Conflict { address: Ipv4Addr::new(192, 168, 77, last), by });
    }
    lab.assert_stuck(5000, "address_conflict");
}

#[test]
fn pool_exhausted() {
    let mut lab = Lab::new(
        "{dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.50}]}, \
         boot: {arch: {uefi-x64: snponly.efi}}}",
    );
    lab.world.lease(9);
    lab.discover(UEFI, 0);
    lab.assert_stuck(5000, "pool_exhausted");
}

#[test]
fn tftp_not_started() {
    let mut lab = Lab::server();
    lab.lease(UEFI, 4000);
    lab.pass(4900);
    lab.assert_stuck(100, "tftp_not_started");
    lab.pass(1000);
    lab.tftp("snponly.efi", 300_000, 100);
    assert_eq!((lab.verdict(0), lab.result()), (None, BootResult::Booting), "it goes on after all");
}

#[test]
fn tftp_not_started_beside_another_server() {
    let mut lab = Lab::proxy();
    lab.lease_from_other(BIOS, 4000, None);
    lab.assert_stuck(5000, "tftp_not_started");
}

#[test]
fn tftp_blocked() {
    let mut lab = Lab::server();
    lab.lease(UEFI, 4000);
    lab.tftp_starts("snponly.efi", 300_000, 1468);
    lab.pass(4000);
    lab.tftp_starts("snponly.efi", 300_000, 1468);
    lab.assert_stuck(1000, "tftp_blocked");
}

#[test]
fn block_size_too_large() {
    let mut lab = Lab::server();
    lab.lease(UEFI, 4000);
    lab.tftp_starts("snponly.efi", 300_000, 1468);
    lab.tftp_acknowledges("snponly.efi", false);
    lab.assert_stuck(5000, "block_size_too_large");
}

#[test]
fn block_size_too_large_after_the_transfer_ended() {
    let mut lab = Lab::server();
    lab.lease(UEFI, 4000);
    lab.tftp_starts("snponly.efi", 300_000, 1468);
    lab.tftp_acknowledges("snponly.efi", false);
    lab.pass(3000);
    lab.tftp_stops("snponly.efi", 0, 300_000, Some(1468));
    lab.assert_stuck(5000, "block_size_too_large");
}

#[test]
fn file_missing() {
    let mut lab = Lab::server();
    lab.lease(UEFI, 4000);
    lab.tftp_refused("snponly.efi");
    lab.assert_stuck(5000, "file_missing");
}

#[test]
fn file_missing_by_http_and_a_new_attempt_at_once() {
    let mut lab = Lab::server();
    lab.lease(HTTP, 4000);
    lab.http_refused("/snponly.efi");
    lab.pass(100);
    lab.again();
    lab.discover(HTTP, 0);
    assert_eq!((lab.verdict(0), lab.verdict(1)), (None, Some("file_missing")));
}

#[test]
fn file_missing_of_a_loader_that_stops() {
    let mut lab = Lab::server();
    lab.loader("snponly.efi", FileKind::EfiProgram(Processor::X64), Program::Shim, &["Microsoft UEFI CA"]);
    lab.lease(UEFI, 4000);
    lab.tftp("snponly.efi", 900_000, 500);
    lab.tftp_refused("revocations.efi");
    lab.tftp_refused("grubx64.efi");
    lab.assert_stuck(5000, "file_missing");
}

#[test]
fn wrong_architecture() {
    let mut lab = Lab::server();
    lab.loader("snponly.efi", FileKind::EfiProgram(Processor::Arm64), Program::Ipxe, &[]);
    lab.lease(UEFI, 4000);
    lab.tftp("snponly.efi", 300_000, 500);
    lab.pass(1000);
    lab.again();
    lab.discover(UEFI, 0);
    assert_eq!((lab.verdict(0), lab.verdict(1)), (None, Some("wrong_architecture")));
}

#[test]
fn wrong_architecture_of_a_bios_that_hangs() {
    let mut lab = Lab::server();
    lab.loader("undionly.kpxe", FileKind::EfiProgram(Processor::X64), Program::Ipxe, &[]);
    lab.lease(BIOS, 4000);
    lab.tftp("undionly.kpxe", 70_000, 500);
    lab.assert_stuck(5000, "wrong_architecture");
}

#[test]
fn secure_boot_refused_if_the_firmware_speaks_again_at_once() {
    let mut lab = Lab::server();
    lab.ipxe_efi(&[]);
    lab.lease(UEFI, 4000);
    lab.tftp("snponly.efi", 300_000, 500);
    lab.pass(20);
    lab.again();
    lab.discover(HTTP, 0);
    assert_eq!((lab.verdict(0), lab.verdict(1)), (None, Some("secure_boot_refused")));
}

#[test]
fn secure_boot_refused_of_an_unsigned_loader_that_is_silent() {
    let mut lab = Lab::server();
    lab.loader("snponly.efi", FileKind::EfiProgram(Processor::X64), Program::Other, &[]);
    lab.lease(UEFI, 4000);
    lab.tftp("snponly.efi", 300_000, 500);
    lab.assert_stuck(5000, "secure_boot_refused");
}

/// An iPXE is loaded, and sends nothing by DHCP. Returns the verdict of its boot.
fn after_loading_ipxe(signed_by: &[&str], act: impl FnOnce(&mut Lab)) -> Option<&'static str> {
    let mut lab = Lab::server();
    lab.ipxe_efi(signed_by);
    lab.lease(UEFI, 4000);
    lab.tftp("snponly.efi", 300_000, 500);
    act(&mut lab);
    assert_eq!(lab.verdict(0), None, "too early");
    lab.pass(5000);
    lab.verdict(0)
}

/// The next boot entry of OVMF is that for IPv6, 20 ms after the refusal.
#[test]
fn secure_boot_refused_of_ipxe_whose_firmware_goes_on_by_ipv6() {
    let goes_on = |lab: &mut Lab| {
        lab.pass(20);
        lab.event(Event::AsksByIpv6);
        lab.pass(1000);
        lab.event(Event::AsksByIpv6);
    };
    assert_eq!(after_loading_ipxe(&[], goes_on), Some("secure_boot_refused"));
    assert_eq!(after_loading_ipxe(&["Our own CA"], goes_on), Some("secure_boot_refused"));
    assert_eq!(after_loading_ipxe(&["Microsoft Corporation UEFI CA 2011"], goes_on), Some("ipxe_no_network"));
}

#[test]
fn ipxe_no_network_if_the_firmware_goes_on_after_the_banner() {
    let goes_on = |lab: &mut Lab| {
        lab.pass(2500);
        lab.event(Event::AsksByIpv6);
    };
    assert_eq!(after_loading_ipxe(&[], goes_on), Some("ipxe_no_network"));
}

#[test]
fn questions_by_ipv6_from_before_the_loader_do_not_count() {
    let mut lab = Lab::server();
    lab.ipxe_efi(&[]);
    lab.lease(UEFI, 4000);
    lab.event(Event::AsksByIpv6);
    lab.tftp("snponly.efi", 300_000, 500);
    lab.assert_stuck(5000, "ipxe_no_network");
}

/// iPXE asks for a router and for an address at the same time.
#[test]
fn ipxe_that_asks_by_ipv6_and_by_dhcp_runs() {
    let mut lab = Lab::server();
    lab.ipxe_efi(&[]);
    lab.lease(UEFI, 4000);
    lab.tftp("snponly.efi", 300_000, 500);
    for _ in 0..3 {
        lab.pass(1000);
        lab.event(Event::AsksByIpv6);
    }
    lab.lease(IPXE, 300);
    lab.event(Event::AsksByIpv6);
    lab.pass(15_000);
    lab.http("boot.ipxe", 500, 0);
    lab.http("debian/linux", 10 << 20, 900);
    lab.http("debian/initrd.gz", 40 << 20, 3000);
    lab.pass(10_000);
    lab.lease(SYSTEM, 300);
    assert!(lab.causes.is_empty() && lab.result() == BootResult::Booted, "{:?}", lab.causes);
}

#[test]
fn server_slow_if_boot_files_are_read_slowly() {
    // The request waits unread, or the first block cannot be read.
    let waits: [fn(&mut Lab); 2] = [
        |_| {},
        |lab| {
            lab.tftp_starts("snponly.efi", 300_000, 1468);
            lab.tftp_acknowledges("snponly.efi", false);
        },
    ];
    for act in waits {
        let mut lab = Lab::server();
        lab.lease(UEFI, 4000);
        act(&mut lab);
        lab.pass(2500);
        let now = lab.world.now;
        lab.journeys.site.learn_slow_files(now);
        lab.assert_stuck(2500, "server_slow");
        lab.pass(4000);
        lab.tftp("snponly.efi", 300_000, 500);
        assert_eq!(lab.verdict(0), None, "it goes on");
    }
    let mut lab = Lab::server();
    let now = lab.world.now;
    lab.journeys.site.learn_slow_files(now);
    lab.pass(60_000);
    lab.lease(UEFI, 4000);
    lab.assert_stuck(5000, "tftp_not_started");
}

#[test]
fn ipxe_loop() {
    let mut lab = Lab::server();
    for _ in 0..3 {
        assert_eq!(lab.verdict(0), None);
        lab.lease(UEFI, 4000);
        lab.tftp("snponly.efi", 300_000, 500);
        lab.pass(3000);
    }
    lab.assert_stuck(5000, "ipxe_loop");
    assert_eq!(lab.boots().len(), 1, "three rounds are one boot");
}

/// A script that starts iPXE again, which gets the script again.
#[test]
fn ipxe_loop_by_its_script() {
    let mut lab = Lab::server();
    lab.ipxe_efi(&[]);
    lab.boot_to_script();
    for _ in 0..2 {
        assert_eq!(lab.verdict(0), None);
        lab.pass(500);
        lab.tftp("snponly.efi", 300_000, 500);
        lab.pass(1000);
        lab.lease(IPXE, 300);
        lab.http("boot.ipxe", 500, 0);
    }
    lab.assert_stuck(4000, "ipxe_loop");
    assert!(lab.causes[0].contains("`boot.ipxe` starts it again"), "{:?}", lab.causes);
}

/// It loads a build of iPXE with more drivers, and its script three times.
#[test]
fn a_script_that_starts_another_ipxe_is_no_loop() {
    let mut lab = Lab::server();
    lab.ipxe_efi(&[]);
    lab.loader("own/ipxe.efi", FileKind::EfiProgram(Processor::X64), Program::Ipxe, &[]);
    lab.boot_to_script();
    lab.tftp("own/ipxe.efi", 900_000, 500);
    for _ in 0..3 {
        lab.pass(2000);
        lab.lease(IPXE, 300);
        lab.http("boot.ipxe", 500, 0);
    }
    lab.http("debian/linux", 10 << 20, 900);
    lab.http("debian/initrd.gz", 40 << 20, 3000);
    lab.pass(20_000);
    lab.lease(SYSTEM, 10);
    assert_eq!((lab.result(), lab.causes.len()), (BootResult::Booted, 0), "{:?}", lab.causes);
}

/// iPXE has an IPv4 address and waits for an IPv6 router.
#[test]
fn ipxe_that_waits_for_an_ipv6_router_is_not_stuck() {
    let mut lab = Lab::server();
    lab.lease(UEFI, 4000);
    lab.tftp("snponly.efi", 300_000, 500);
    lab.pass(1500);
    lab.lease(IPXE, 300);
    lab.pass(16_000);
    lab.http("boot.ipxe", 500, 0);
    assert!(lab.causes.is_empty(), "{:?}", lab.causes);
}

#[test]
fn tftp_not_started_of_ipxe() {
    let mut lab = Lab::server();
    lab.lease(IPXE, 300);
    lab.pass(19_900);
    lab.assert_stuck(100, "tftp_not_started");
}

#[test]
fn ipxe_no_network() {
    let mut lab = Lab::server();
    lab.ipxe_efi(&[]);
    lab.lease(UEFI, 4000);
    lab.tftp("snponly.efi", 300_000, 500);
    lab.assert_stuck(5000, "ipxe_no_network");
}

#[test]
fn ipxe_no_network_if_another_card_asks() {
    let uuid = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let with = |options: &[(u8, &'static [u8])]| {
        let mut options: Vec<(u8, Vec<u8>)> = options.iter().map(|(c, v)| (*c, v.to_vec())).collect();
        options.retain(|(code, _)| *code != 97);
        options.push((97, uuid.to_vec()));
        options
    };
    let (firmware, ipxe) = (with(UEFI), with(IPXE));
    fn as_slices(options: &[(u8, Vec<u8>)]) -> Vec<(u8, &[u8])> {
        options.iter().map(|(code, value)| (*code, value.as_slice())).collect()
    }
    let mut lab = Lab::server();
    lab.ipxe_efi(&["Microsoft UEFI CA"]);
    lab.lease(&as_slices(&firmware), 4000);
    lab.tftp("snponly.efi", 300_000, 500);
    lab.pass(2000);
    lab.n = 2;
    lab.again();
    lab.discover(&as_slices(&ipxe), 0);
    lab.n = 1;
    assert_eq!(lab.verdict(0), Some("ipxe_no_network"));
    assert!(lab.boots()[0].verdict.as_ref().unwrap().cause.contains("02:00:00:00:00:02"));
}

#[test]
fn a_menu_and_the_local_disk_are_no_failure_of_the_script() {
    for again in [20_000, 3_600_000] {
        let mut lab = Lab::server();
        lab.journeys.site.generated_rests = true;
        lab.boot_to_script();
        lab.pass(again);
        assert_eq!((lab.boots().len(), lab.verdict(0)), (1, None), "nobody chose yet");
        lab.boot_to_script();
        assert_eq!((lab.verdict(0), lab.verdict(1)), (None, None));
        assert_eq!(lab.boots()[1].result, BootResult::Booted, "from its disk, as far as we know");
    }
    let mut lab = Lab::server();
    lab.journeys.site.generated_rests = true;
    lab.journeys.site.generated_differs.insert(lab.mac());
    lab.boot_to_script();
    lab.pass(29_900);
    lab.assert_stuck(100, "script_failed");
}

#[test]
fn script_failed_by_silence() {
    let mut lab = Lab::server();
    lab.boot_to_script();
    lab.pass(29_900);
    lab.assert_stuck(100, "script_failed");
}

#[test]
fn script_failed_by_a_misspelt_name() {
    let mut lab = Lab::server();
    lab.boot_to_script();
    lab.http_refused("/debain/vmlinuz");
    lab.assert_stuck(5000, "script_failed");
}

/// The threads of TFTP, HTTP and DHCP record by themselves.
#[test]
fn script_failed_if_the_end_of_the_script_is_recorded_after_the_next_request() {
    let mut lab = Lab::server();
    lab.lease(IPXE, 300);
    lab.tftp_starts("boot.ipxe", 500, 1468);
    lab.tftp_acknowledges("boot.ipxe", true);
    lab.pass(5);
    lab.http_refused("/debain/vmlinuz");
    lab.tftp_ends("boot.ipxe", 500);
    lab.assert_stuck(5000, "script_failed");
    assert!(lab.causes[0].contains("`boot.ipxe` names `debain/vmlinuz`"), "{:?}", lab.causes);
}

#[test]
fn kernel_missing() {
    let mut lab = Lab::server();
    lab.boot_to_script();
    lab.http_refused("/debian/linux");
    lab.assert_stuck(5000, "kernel_missing");
}

#[test]
fn kernel_missing_if_the_connection_is_reset() {
    let mut lab = Lab::server();
    lab.boot_to_script();
    lab.http("debian/linux", 10 << 20, 900);
    lab.http_stops("debian/initrd.gz", 1 << 20, 40 << 20);
    lab.assert_stuck(5000, "kernel_missing");
}

#[test]
fn not_enough_ram_if_the_machine_starts_again() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.pass(8000);
    lab.again();
    lab.discover(UEFI, 0);
    assert_eq!((lab.verdict(0), lab.verdict(1)), (None, Some("not_enough_ram")));
}

#[test]
fn not_enough_ram_by_its_report() {
    let mut lab = Lab::server();
    lab.boot_to_script();
    lab.journeys.machine_mut(MacAddr([2, 0, 0, 0, 0, 1])).unwrap().reported.memory = Some(512);
    lab.http("debian/linux", 10 << 20, 900);
    lab.http_stops("debian/initrd.gz", 1 << 20, 40 << 20);
    lab.assert_stuck(5000, "not_enough_ram");
}

#[test]
fn initrd_no_network() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.pass(59_900);
    lab.assert_stuck(100, "initrd_no_network");
    lab.pass(30_000);
    lab.lease(SYSTEM, 10);
    assert_eq!((lab.verdict(0), lab.result()), (None, BootResult::Booted), "it was slow");
}

#[test]
fn installer_failed() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.pass(10_000);
    lab.lease(SYSTEM, 10);
    assert_eq!(lab.result(), BootResult::Booted);
    lab.pass(2000);
    lab.http_refused("/preseed.cfg");
    lab.assert_stuck(5000, "installer_failed");
}

#[test]
fn booted_from_disk_and_never_seen() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.lease(SYSTEM, 10);
    let mac = lab.mac();
    lab.journeys.expect(mac, lab.world.now);
    assert_eq!(lab.journeys.verdict(mac, lab.world.now), None);
    lab.pass(5000);
    let verdict = lab.journeys.verdict(mac, lab.world.now).unwrap();
    assert_eq!(verdict.id.name(), "booted_from_disk");
    lab.again();
    lab.discover(UEFI, 0);
    assert_eq!(lab.journeys.verdict(mac, lab.world.now), None, "it asks");
    assert_eq!(lanboot::journey::state::never_seen("node1").id.name(), "never_seen");
}

#[test]
fn link_flaps() {
    let mut lab = Lab::server();
    lab.discover(UEFI, 28);
    lab.pass(8900);
    lab.assert_stuck(100, "link_flaps");
}

#[test]
fn server_slow_if_the_lease_is_not_stored() {
    let mut lab = Lab::server();
    let offer = lab.discover(UEFI, 0).unwrap();
    lab.world.disk_works = false;
    lab.pass(4000);
    lab.request(UEFI, SERVER, offer.message.yiaddr);
    lab.assert_stuck(9000, "server_slow");
}

#[test]
fn server_slow_while_the_lease_is_not_stored() {
    let mut lab = Lab::server();
    let offer = lab.discover(UEFI, 0).unwrap();
    lab.pass(4000);
    for _ in 0..2 {
        // The ACK waits for the disk.
        lab.request_without_answer(UEFI, offer.message.yiaddr);
        lab.pass(4000);
    }
    lab.assert_stuck(9000, "server_slow");
}

#[test]
fn reply_too_large() {
    let mut lab = Lab::server();
    edk2_discovers(&mut lab, UEFI, |lab| lab.event(Event::ReplyTooLarge { bytes: 1600 }));
    lab.assert_stuck(5000, "reply_too_large");
}

#[test]
fn reply_too_large_comes_before_a_relay_agent_that_drops() {
    let mut lab = relayed_discovers(|lab| lab.event(Event::ReplyTooLarge { bytes: 900 }));
    lab.assert_stuck(5000, "reply_too_large");
}

#[test]
fn a_large_reply_that_arrives_is_no_verdict() {
    let mut lab = Lab::server();
    let offer = lab.discover(UEFI, 0).unwrap();
    lab.event(Event::ReplyTooLarge { bytes: 1600 });
    lab.pass(4000);
    lab.request(UEFI, SERVER, offer.message.yiaddr).expect("an ACK");
    lab.size_probe("snponly.efi");
    lab.tftp("snponly.efi", 300_000, 500);
    assert_eq!(lab.verdict(0), None);
}

#[test]
fn optional_names_never_count() {
    let mut lab = Lab::server();
    lab.loader("undionly.kpxe", FileKind::BiosPxelinux, Program::Pxelinux, &[]);
    lab.lease(BIOS, 4000);
    lab.tftp("undionly.kpxe", 42_000, 200);
    lab.tftp("ldlinux.c32", 120_000, 200);
    for name in ["pxelinux.cfg/01-02-00-00-00-00-01", "pxelinux.cfg/C0A84D32", "pxelinux.cfg/C0A84D3"] {
        lab.tftp_refused(name);
        lab.pass(50);
    }
    lab.tftp("pxelinux.cfg/default", 300, 10);
    lab.pass(4000);
    lab.tftp("debian/linux", 10 << 20, 8000);
    lab.tftp("debian/initrd.gz", 40 << 20, 20_000);
    lab.pass(20_000);
    lab.lease(SYSTEM, 10);
    assert_eq!((lab.result(), lab.stuck_changes()), (BootResult::Booted, 0));
}

#[test]
fn a_machine_that_boots_its_disk_by_configuration_has_booted() {
    let mut lab = Lab::server();
    let mac = lab.mac();
    lab.journeys.site.local.insert(mac);
    lab.boot_to_script();
    assert_eq!((lab.result(), lab.verdict(0)), (BootResult::Booted, None));
}

#[test]
fn events_without_a_request_begin_no_boot() {
    let mut lab = Lab::server();
    lab.event(Event::OnceEnded { target: "x".into(), why: "y".into(), next: None });
    assert!(lab.boots().is_empty());
}
