//! Each record belongs to the boot of the machine that it is about: behind a relay agent, beside another DHCP server, and where two
//! machines boot at the same time.

use std::net::Ipv4Addr;

use lanboot::event::{Event, Record};
use lanboot::journey::boot::BootResult;
use lanboot::types::MacAddr;

use super::lab::*;

const RELAYED: &str = "
dhcp: {mode: server, subnets: [{network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}]}
boot: {arch: {uefi-x64: snponly.efi}, ipxe: boot.ipxe}
";
const PROXY_RELAYED: &str = "
dhcp: {mode: proxy, subnets: [{network: 10.1.0.0/24}]}
boot: {arch: {uefi-x64: snponly.efi}, ipxe: boot.ipxe}
";

/// The step of one machine's boot beside or behind something.
type Lease = fn(&mut Lab, &[(u8, &[u8])]);

fn ours(lab: &mut Lab, options: &[(u8, &[u8])]) {
    lab.lease(options, 4000);
}

fn heard(lab: &mut Lab, options: &[(u8, &[u8])]) {
    lab.lease_from_other(options, 1000, None);
}

/// Behind a relay agent, nothing of the other server is heard. The REQUEST names it.
fn unheard(lab: &mut Lab, options: &[(u8, &[u8])]) {
    lab.again();
    lab.discover(options, 0);
    lab.pass(1000);
    lab.request(options, OTHER, Ipv4Addr::new(10, 1, 0, 200));
}

/// The second machine asks for a kernel that is missing while the first boots.
fn two_at_once(yaml: &str, relay: Option<Ipv4Addr>, lease: Lease) {
    let mut lab = Lab::new(yaml);
    lab.relay = relay;
    for n in [1, 2] {
        lab.n = n;
        lease(&mut lab, UEFI);
        lab.tftp("snponly.efi", 300_000, 500);
    }
    for n in [1, 2] {
        lab.n = n;
        lease(&mut lab, IPXE);
        lab.http("boot.ipxe", 500, 0);
    }
    lab.n = 2;
    lab.http_refused("/debian/linux");
    lab.n = 1;
    lab.http("debian/linux", 10 << 20, 900);
    lab.http("debian/initrd.gz", 40 << 20, 3000);
    lease(&mut lab, SYSTEM);
    lab.pass(120_000);
    assert_eq!((lab.boots().len(), lab.result(), lab.verdict(0)), (1, BootResult::Booted, None));
    lab.n = 2;
    assert_eq!((lab.boots().len(), lab.verdict(0)), (1, Some("kernel_missing")));
    let own = |record: &Record| record.machine.as_ref().and_then(|machine| machine.mac) == Some(lab.mac());
    assert!(lab.boots()[0].events.iter().all(own));
}

#[test]
fn two_machines_behind_a_relay_agent_have_their_own_boots() {
    two_at_once(RELAYED, Some(Ipv4Addr::new(10, 1, 0, 1)), ours);
}

#[test]
fn two_machines_beside_another_server_have_their_own_boots() {
    two_at_once(PROXY_YAML, None, heard);
}

#[test]
fn two_machines_relayed_beside_another_server_have_their_own_boots() {
    two_at_once(PROXY_RELAYED, Some(Ipv4Addr::new(10, 1, 0, 1)), unheard);
}

#[test]
fn verdicts_name_the_relay_agent_or_the_other_server() {
    let mut lab = Lab::new(RELAYED);
    lab.relay = Some(Ipv4Addr::new(10, 1, 0, 1));
    for (pause, secs) in [(0, 0), (4, 4), (8, 12), (16, 28)] {
        lab.pass(pause * 1000);
        lab.discover(UEFI, secs);
    }
    lab.assert_stuck(5000, "relay_drops_replies");
    assert!(lab.causes[0].contains("10.1.0.1"), "{:?}", lab.causes);
    let mut lab = Lab::proxy();
    lab.lease_from_other(UEFI, 1000, Some("theirs.efi"));
    lab.assert_stuck(5000, "other_server_chosen");
    assert!(lab.causes[0].contains(&OTHER.to_string()), "{:?}", lab.causes);
}

#[test]
fn requests_of_unknown_machines_change_no_boot() {
    let mut lab = Lab::server();
    lab.boot_to_script();
    let peer = "192.168.77.99:2000".parse().unwrap();
    let name = "/debian/linux".to_owned();
    let event = Event::HttpRefused { name, peer, reason: lanboot::event::HttpRefusal::NotFound };
    let record = Record { at: lab.world.now, interface: None, machine: None, event };
    assert!(lab.journeys.record(&record).is_empty());
    lab.pass(10_000);
    assert_eq!((lab.result(), lab.verdict(0)), (BootResult::Booting, None));
}

#[test]
fn a_machine_whose_dhcp_is_not_heard_has_a_boot_from_its_first_file() {
    let mut lab = Lab::proxy();
    lab.tftp("snponly.efi", 300_000, 500);
    assert_eq!((lab.boots().len(), lab.result()), (1, BootResult::Booting));
    assert_eq!(lab.boots()[0].id.mac, MacAddr([2, 0, 0, 0, 0, 1]));
}
