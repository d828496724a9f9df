//! Renewals that the store already covers: long leases end at a full minute in the store, and a client that asks again
//! before that changes nothing there.

use std::net::SocketAddrV4;
use std::time::Duration;

use lanboot::wire::dhcp::MessageType;
use lanboot::wire::option::code;
use support::world::*;

/// Six hours, in seconds: the shortest lease that ends at a full minute.
const HOURS: u64 = 6 * 3600;

fn lab(lease: &str) -> World {
    World::new(&format!(
        "dhcp: {{mode: server, subnets: [{{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60, lease: {lease}}}]}}"
    ))
}

/// The lease time in a reply, in seconds.
fn time(answer: &Answer) -> u64 {
    assert_eq!(answer.kind(), Some(MessageType::Ack));
    answer.message.options.u32(code::LEASE_TIME).expect("an ACK has a lease time").into()
}

#[test]
fn a_client_that_asks_again_within_the_minute_needs_no_write() {
    let mut world = lab("6h");
    world.pass(7);
    let address = world.lease(1);
    let stored = world.disk[&address].until;
    assert_eq!((stored.seconds() % 60, stored.since(world.now)), (0, Duration::from_secs(HOURS + 53)));
    // Without a disk, an answer with the whole time is one that needs no write.
    world.disk_works = false;
    for (seconds, again) in
        [(0, select(1, SERVER, address)), (20, extend(1, address)), (33, init_reboot(1, address))]
    {
        world.pass(seconds);
        assert_eq!(time(&world.ask(&again)), HOURS);
        assert!(
            world.now.after(Duration::from_secs(HOURS)) <= world.disk[&address].until,
            "more is promised than stored"
        );
    }
    world.pass(1);
    assert_eq!(time(&world.ask(&extend(1, address))), HOURS - 1, "what is left of the stored time");
    world.disk_works = true;
    assert_eq!(time(&world.ask(&extend(1, address))), HOURS);
    assert_eq!(world.disk[&address].until.since(stored), Duration::from_secs(60));
}

#[test]
fn short_leases_end_to_the_second() {
    let mut world = lab("5h");
    world.pass(7);
    let address = world.lease(1);
    assert_eq!(world.disk[&address].until.since(world.now), Duration::from_secs(5 * 3600));
    world.pass(1);
    world.disk_works = false;
    assert_eq!(time(&world.ask(&extend(1, address))), 5 * 3600 - 1);
}

#[test]
fn a_shorter_lease_is_stored_although_the_old_one_lasts_longer() {
    let mut world = lab("12h");
    let address = world.lease(1);
    world.replace(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60, lease: 6h}]}",
    );
    assert_eq!(time(&world.ask(&extend(1, address))), HOURS);
    assert_eq!(world.disk[&address].until.since(world.now), Duration::from_secs(HOURS));
}

#[test]
fn a_released_lease_is_stored_again() {
    let mut world = lab("6h");
    let address = world.lease(1);
    let mut release = message(1, MessageType::Release, &[(54, &SERVER.octets())]);
    release.ciaddr = address;
    world.arrival.source = SocketAddrV4::new(address, 68);
    world.send(&release).unwrap();
    assert_eq!(world.lease(1), address);
    assert!(world.disk[&address].until > world.now);
}

#[test]
fn another_machine_never_shares_a_stored_end() {
    let mut world = lab("6h");
    let address = world.lease(1);
    world.disk_works = false;
    let answer = world.send(&select(2, SERVER, address));
    assert!(!matches!(answer, Ok(Some(answer)) if answer.kind() == Some(MessageType::Ack)));
}
