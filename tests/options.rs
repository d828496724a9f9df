//! Options, shared networks, link selection and classes, statement by statement. Each test is named after the section
//! that says so.

#[path = "common/world.rs"]
mod world;

use std::net::Ipv4Addr;

use lanboot::event::DropReason;
use lanboot::wire::dhcp::{Message, MessageType};
use world::*;

const SHARED: &str = "
dhcp:
  mode: server
  subnets:
    - {network: 10.0.9.0/24, pool: 10.0.9.50-10.0.9.51, shared_network: lab, lease: 10m, options: {domain: nine.example}}
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.51, shared_network: lab, options: {domain: lab.example}}
    - {network: 10.0.8.0/24, pool: 10.0.8.50-10.0.8.50, options: {domain: eight.example}}
    - {network: 10.0.7.0/24, pool: 10.0.7.50-10.0.7.50, shared_network: lab, options: {domain: seven.example}}
machines:
  - {mac: '02:00:00:00:00:c8', address: 10.0.7.10}
";

#[test]
fn rfc2131_4_3_1_subnets_that_share_a_wire_are_filled_one_after_the_other() {
    let mut world = World::new(SHARED);
    let given: Vec<Ipv4Addr> = (1..=5).map(|n| world.lease(n)).collect();
    let expected = [[192, 168, 77, 50], [192, 168, 77, 51], [10, 0, 9, 50], [10, 0, 9, 51], [10, 0, 7, 50]];
    assert_eq!(given, expected.map(Ipv4Addr::from), "the interface's own first, then in the order written");
    assert_eq!(
        world.send(&discover(6)).unwrap_err(),
        DropReason::PoolExhausted,
        "10.0.8.0/24 is another wire"
    );
}

#[test]
fn rfc2131_4_3_1_a_reply_has_the_options_of_the_subnet_that_its_address_is_in() {
    let mut world = World::new(SHARED);
    let seen = |answer: &Answer| {
        let domain = String::from_utf8(answer.option(15).unwrap().to_vec()).unwrap();
        (answer.message.options.u32(51), domain, answer.message.options.ip(54))
    };
    assert_eq!(seen(&world.ask(&discover(1))), (Some(3600), "lab.example".to_owned(), Some(SERVER)));
    let wish = message(1, MessageType::Discover, &[(50, &[10, 0, 9, 51])]);
    let offer = world.ask(&wish);
    assert_eq!(offer.message.yiaddr, Ipv4Addr::new(192, 168, 77, 50), "its own address first");
    let offer = world.ask(&message(2, MessageType::Discover, &[(50, &[10, 0, 9, 51])]));
    assert_eq!(offer.message.yiaddr, Ipv4Addr::new(10, 0, 9, 51), "the one it asks for, in another subnet");
    assert_eq!(seen(&offer), (Some(600), "nine.example".to_owned(), Some(SERVER)));
    let inform = Message { ciaddr: Ipv4Addr::new(10, 0, 7, 99), ..message(3, MessageType::Inform, &[]) };
    assert_eq!(seen(&world.ask(&inform)).1, "seven.example");
}

#[test]
fn rfc2131_4_3_2_a_client_keeps_its_lease_or_reservation_in_any_subnet_of_its_wire() {
    let mut world = World::new(SHARED);
    let nine = Ipv4Addr::new(10, 0, 9, 51);
    world.ask(&message(1, MessageType::Discover, &[(50, &nine.octets())]));
    world.ask(&select(1, SERVER, nine));
    assert_eq!(world.lease(1), nine, "though the interface's subnet has free ones");
    assert_eq!(world.ask(&extend(1, nine)).message.yiaddr, nine);
    assert_eq!(world.ask(&init_reboot(1, nine)).kind(), Some(MessageType::Ack));
    assert_eq!(world.lease(0xc8), Ipv4Addr::new(10, 0, 7, 10), "reserved");
    let relayed = Message { giaddr: Ipv4Addr::new(10, 0, 9, 1), ..discover(4) };
    assert_eq!(world.ask(&relayed).message.yiaddr, Ipv4Addr::new(10, 0, 9, 50), "the relay's subnet first");
    let wrong = Ipv4Addr::new(10, 0, 8, 50);
    assert_eq!(world.ask(&init_reboot(1, wrong)).kind(), Some(MessageType::Nak), "of another wire");
    let elsewhere = Message { giaddr: Ipv4Addr::new(10, 0, 8, 1), ..init_reboot(1, nine) };
    assert_eq!(world.ask(&elsewhere).kind(), Some(MessageType::Nak), "it has moved to another wire");
}
