//! Machines that boot in a loop (`boot/guard.rs`), in virtual time.

use std::time::Duration;

use lanboot::boot::guard::{LOOP_COUNT, LOOP_TIME, QUIET_TIME};
use lanboot::event::{Event, Message as Kind};
use lanboot::types::Rule;
use lanboot::wire::dhcp::{Message, MessageType, until_nul};
use support::world::{SERVER, World, message};

const LAB: &str = "
dhcp:
  mode: server
  conflict_check: off
  bootp: dynamic
  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99, lease: 1h}]
boot:
  arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}
  ipxe: boot.ipxe
";

type Options<'a> = &'a [(u8, &'a [u8])];

const UEFI: Options<'static> = &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7]), (94, &[1, 3, 0])];
/// snponly.efi after a relay agent took out its options 77 and 175. Its parameter request list and its interface
/// identifier are still iPXE's.
const HIDDEN_IPXE: Options<'static> = &[
    (60, b"PXEClient:Arch:00007:UNDI:003010"),
    (93, &[0, 7]),
    (94, &[1, 3, 10]),
    (55, &[1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 175, 203]),
];
const IPXE: Options<'static> = &[(93, &[0, 7]), (77, b"iPXE"), (175, &[177, 5, 1, 0x80, 0x86, 0x15, 0x33])];
const SYSTEM: Options<'static> = &[(12, b"node1"), (55, &[1, 28, 3, 6, 12])];

/// Boots client `n` from DISCOVER to ACK with these options. Returns the file of the OFFER, which the ACK must name
/// too.
fn boot(world: &mut World, n: u8, xid: u32, options: Options<'_>) -> String {
    let file = |message: &Message| String::from_utf8_lossy(until_nul(&message.file)).into_owned();
    let mut discover = message(n, MessageType::Discover, options);
    discover.xid = xid;
    let offer = world.ask(&discover).message;
    let (server, address) = (SERVER.octets(), offer.yiaddr.octets());
    let chosen = [options, &[(54, &server[..]), (50, &address[..])]].concat();
    let mut request = message(n, MessageType::Request, &chosen);
    request.xid = xid;
    let ack = world.ask(&request).message;
    assert_eq!(ack.message_type(), Some(Ok(MessageType::Ack)));
    assert_eq!(file(&ack), file(&offer), "one boot, one file");
    file(&ack)
}

/// The recorded loop events, in order. Each value says whether the event promised the script.
fn loops(world: &World) -> Vec<bool> {
    let loops = world.events.iter().filter_map(|event| match event {
        Event::BootLoop { gets_script, .. } => Some(*gets_script),
        _ => None,
    });
    loops.collect()
}

#[test]
fn an_ipxe_that_does_not_say_so_is_handed_the_script_after_its_third_round() {
    let mut world = World::new(LAB);
    for xid in 1..=LOOP_COUNT as u32 {
        assert_eq!(boot(&mut world, 1, xid, HIDDEN_IPXE), "snponly.efi", "round {xid}");
        world.pass(15);
    }
    assert_eq!(loops(&world), [true]);
    assert_eq!(boot(&mut world, 1, 9, HIDDEN_IPXE), "boot.ipxe");
    let rule = world.events.iter().rev().find_map(|event| match event {
        Event::Answered { message: Kind::Ack, file: Some((_, rule)), .. } => Some(rule.clone()),
        _ => None,
    });
    assert_eq!(rule, Some(Rule::LoopGuard), "the log says why");
    assert_eq!(boot(&mut world, 2, 10, HIDDEN_IPXE), "snponly.efi", "another machine is another matter");
    assert_eq!(boot(&mut world, 1, 11, UEFI), "snponly.efi", "and firmware needs its loader");
}

#[test]
fn an_ipxe_that_says_so_never_gets_the_loader() {
    let mut world = World::new(LAB);
    assert_eq!(boot(&mut world, 1, 1, UEFI), "snponly.efi");
    assert_eq!(boot(&mut world, 1, 2, IPXE), "boot.ipxe");
    assert_eq!(loops(&world), [false; 0]);
}

#[test]
fn firmware_that_retries_keeps_its_loader_and_is_logged_rarely() {
    let mut world = World::new(LAB);
    let rounds = 2 * QUIET_TIME.as_secs() / 30;
    for xid in 0..rounds as u32 {
        assert_eq!(boot(&mut world, 1, xid, UEFI), "snponly.efi");
        world.pass(30);
    }
    assert_eq!(loops(&world), [false, false], "in {rounds} rounds");
    let place = world.events.iter().position(|event| matches!(event, Event::BootLoop { .. })).unwrap();
    let Event::BootLoop { file, times, within, .. } = &world.events[place] else { unreachable!() };
    assert_eq!((&**file, *times, *within), ("snponly.efi", LOOP_COUNT, Duration::from_secs(60)));
    assert_eq!(world.machines[place].as_ref().unwrap().to_string(), "02:00:00:00:00:01");
}

#[test]
fn a_script_that_chains_to_itself_is_reported() {
    let mut world = World::new(LAB);
    for xid in 0..LOOP_COUNT as u32 {
        assert_eq!(boot(&mut world, 1, xid, IPXE), "boot.ipxe");
        world.pass(20);
    }
    assert_eq!(loops(&world), [false]);
}

#[test]
fn a_machine_whose_system_starts_may_be_booted_as_often_as_anybody_likes() {
    let mut world = World::new(LAB);
    for round in 0..10 {
        assert_eq!(boot(&mut world, 1, 10 * round, UEFI), "snponly.efi");
        boot(&mut world, 1, 10 * round + 1, IPXE);
        boot(&mut world, 1, 10 * round + 2, SYSTEM);
        world.pass(20);
    }
    assert_eq!(loops(&world), [false; 0]);
}

#[test]
fn requests_sent_again_and_slow_retries_are_no_loop() {
    let mut world = World::new(LAB);
    for _ in 0..5 {
        boot(&mut world, 1, 7, UEFI);
        world.pass(4);
    }
    for xid in 0..10 {
        boot(&mut world, 2, xid, UEFI);
        world.pass(LOOP_TIME.as_secs() / 2);
    }
    assert_eq!(loops(&world), [false; 0]);
}

#[test]
fn plain_bootp_that_loops_is_reported() {
    let mut world = World::new(LAB);
    for xid in 0..LOOP_COUNT as u32 {
        let mut request = support::world::bootp(1);
        request.xid = xid;
        world.ask(&request);
        world.pass(30);
    }
    assert_eq!(loops(&world), [false]);
}
