//! Machines that are known by more than one hardware address, and reservations that cannot be kept. Each test is named
//! after its row in docs/robustness.md.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::event::{DropReason, Event, NotKept};
use lanboot::wire::dhcp::{Message, MessageType};
use support::world::*;

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

const MACHINES: &str = "
dhcp:
  mode: server
  subnets:
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99, relays: [10.9.0.1]}
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}
machines:
  - {name: laptop, mac: ['02:00:00:00:00:01', '02:00:00:00:00:02'], address: [192.168.77.10, 10.1.0.10]}
  - {name: ib, id: 'hex:20aabbcc', address: 192.168.77.11}
  - {name: text, id: printer, address: 192.168.77.12}
  - {name: port, circuit_id: ge-0/1, address: 192.168.77.13}
  - {name: switch, circuit_id: ge-0/1, remote_id: 'hex:0aff', address: 192.168.77.14}
  - {name: here, mac: '02:00:00:00:00:07', address: 192.168.77.15, options: {domain: here}}
  - {name: away, mac: '02:00:00:00:00:07', address: 10.1.0.15, options: {domain: away}}
  - {name: board, uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab, address: 192.168.77.16}
";

fn relayed(message: Message, giaddr: [u8; 4]) -> Message {
    Message { giaddr: giaddr.into(), ..message }
}

fn discover_with(n: u8, options: &[(u8, &[u8])]) -> Message {
    message(n, MessageType::Discover, options)
}

fn select_with(n: u8, address: Ipv4Addr, options: &[(u8, &[u8])]) -> Message {
    let mut request = select(n, SERVER, address);
    options.iter().for_each(|(code, value)| assert!(request.options.push(*code, value)));
    request
}

/// As dnsmasq: of several MACs in one entry, the one that asks last has the address.
#[test]
fn r_24_one_machine_has_one_address_with_either_card() {
    let mut world = World::new(MACHINES);
    assert_eq!(world.lease(1), ip(10));
    let offer = world.ask(&discover(2));
    assert_eq!(offer.message.yiaddr, ip(10), "the other card");
    assert_eq!(world.book.binding(ip(10)).unwrap().holder.mac.unwrap().0[5], 1, "until it takes the offer");
    assert_eq!(world.lease(2), ip(10));
    assert_eq!(world.book.binding(ip(10)).unwrap().holder.mac.unwrap().0[5], 2);
    assert_eq!(world.disk[&ip(10)].holder.mac.unwrap().0[5], 2);
    assert_eq!(world.ask(&extend(1, ip(10))).kind(), Some(MessageType::Ack), "back to the first");
    assert!(world.checked.is_empty() && world.asked.is_empty());
    assert!(world.events.iter().all(|event| !matches!(event, Event::NotKept { .. })));
    world.restart();
    assert_eq!(world.lease(2), ip(10), "after a restart too");
    let moved = relayed(discover(2), [10, 1, 0, 1]);
    assert_eq!(world.ask(&moved).message.yiaddr, Ipv4Addr::new(10, 1, 0, 10), "in the other subnet");
}

#[test]
fn r_24_a_card_keeps_the_lease_that_the_other_could_not_store() {
    let mut world = World::new(MACHINES);
    assert_eq!(world.lease(1), ip(10));
    world.disk_works = false;
    assert_eq!(world.send(&select(2, SERVER, ip(10))).unwrap_err(), DropReason::StoreFailed);
    let binding = world.book.binding(ip(10)).unwrap();
    assert_eq!((binding.holder.mac.unwrap().0[5], binding.stored.is_some()), (1, true));
}

#[test]
fn r_24_machines_are_known_by_their_client_identifier() {
    let mut world = World::new(MACHINES);
    let infiniband = Message { htype: 32, hlen: 0, ..discover_with(0, &[(61, &[0x20, 0xaa, 0xbb, 0xcc])]) };
    assert_eq!(world.ask(&infiniband).message.yiaddr, ip(11));
    assert_eq!(world.ask(&discover_with(5, &[(61, b"printer")])).message.yiaddr, ip(12));
    assert_eq!(world.ask(&discover_with(5, &[(61, b"\0printer")])).message.yiaddr, ip(12));
    assert_eq!(world.ask(&discover_with(6, &[(61, b"printers")])).message.yiaddr, ip(50));
}

#[test]
fn r_24_machines_are_known_by_the_port_of_their_switch() {
    let mut world = World::new(MACHINES);
    let port: &[(u8, &[u8])] = &[(82, b"\x01\x06ge-0/1")];
    let giaddr = [10, 9, 0, 1];
    let address = world.ask(&relayed(discover_with(5, port), giaddr)).message.yiaddr;
    assert_eq!(address, ip(13));
    let ack = world.ask(&relayed(select_with(5, address, port), giaddr));
    assert_eq!(ack.kind(), Some(MessageType::Ack));
    let switch: &[(u8, &[u8])] = &[(82, b"\x01\x06ge-0/1\x02\x02\x0a\xff")];
    assert_eq!(world.ask(&relayed(discover_with(6, switch), giaddr)).message.yiaddr, ip(14));
    // A renewal is sent to us directly, without option 82.
    world.arrival.source = SocketAddrV4::new(address, 68);
    assert_eq!(world.ask(&extend(5, address)).kind(), Some(MessageType::Ack));
    world.arrival.source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    // The device moves to another port, and does not take its address with it.
    let moved = relayed(discover_with(5, &[(82, b"\x01\x06ge-0/2")]), giaddr);
    assert_eq!(world.ask(&moved).message.yiaddr, ip(50));
    assert_eq!(world.ask(&discover_with(8, port)).message.yiaddr, ip(51), "option 82 without a relay agent");
}

#[test]
fn r_24_a_new_device_at_a_port_gets_its_address_if_the_old_one_is_gone() {
    let port: &[(u8, &[u8])] = &[(82, b"\x01\x06ge-0/1")];
    for answers in [false, true] {
        let mut world = World::new(MACHINES);
        let giaddr = [10, 9, 0, 1];
        world.ask(&relayed(select_with(5, ip(13), port), giaddr));
        if answers {
            world.answering.push(ip(13));
        }
        let offer = world.ask(&relayed(discover_with(6, port), giaddr)).message.yiaddr;
        assert_eq!((offer, &world.asked[..]), (if answers { ip(50) } else { ip(13) }, &[ip(13)][..]));
        let ack = world.ask(&relayed(select_with(6, offer, port), giaddr));
        assert_eq!((ack.kind(), ack.message.yiaddr), (Some(MessageType::Ack), offer));
        let warned = world.events.iter().any(|event| matches!(event, Event::NotKept { .. }));
        assert_eq!(warned, answers);
    }
}

#[test]
fn r_24_a_board_known_by_its_uuid_boots_through_another_card() {
    let mut world = World::new(MACHINES);
    let fields = [0, 0xe0, 0xa7, 0x0f, 0x7c, 0x2b, 0x1d, 0x5d, 0x4c];
    let uuid = [&fields[..], &[0x8e, 0x6f, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab]].concat();
    let uuid: &[(u8, &[u8])] = &[(97, &uuid)];
    for n in [5, 6] {
        assert_eq!(world.ask(&discover_with(n, uuid)).message.yiaddr, ip(16));
        assert_eq!(world.ask(&select_with(n, ip(16), uuid)).kind(), Some(MessageType::Ack));
    }
    assert_eq!(world.asked, [ip(16), ip(16)], "the former card is probed for the OFFER and for the ACK");
}

#[test]
fn r_24_one_mac_has_an_entry_in_each_subnet() {
    let mut world = World::new(MACHINES);
    let here = world.ask(&discover(7));
    assert_eq!((here.message.yiaddr, here.option(15)), (ip(15), Some(&b"here"[..])));
    let away = world.ask(&relayed(discover(7), [10, 1, 0, 1]));
    assert_eq!(away.message.yiaddr, Ipv4Addr::new(10, 1, 0, 15));
    assert_eq!(away.option(15), Some(&b"away"[..]));
}

const RESERVED: &str = "
dhcp:
  mode: server
  conflict_check: off
  subnets:
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.59}
    - {network: 192.168.78.0/24, pool: 192.168.78.50-192.168.78.59}
machines:
  - {name: first, mac: '02:00:00:00:00:01', address: 192.168.77.60}
  - {name: second, mac: '02:00:00:00:00:02', address: 192.168.78.60}
";

fn not_kept(world: &World) -> Vec<(&str, Ipv4Addr, Option<Ipv4Addr>, &NotKept)> {
    let event = |event| match event {
        &Event::NotKept { ref machine, address, given, ref why, .. } => {
            Some((&**machine, address, given, why))
        }
        _ => None,
    };
    world.events.iter().filter_map(event).collect()
}

#[test]
fn r_33_an_address_in_the_second_subnet_of_the_interface_is_warned_about_once() {
    let mut world = World::new(RESERVED);
    world.arrival.addresses = [SERVER, Ipv4Addr::new(192, 168, 78, 1)].into();
    assert_eq!(world.lease(1), ip(60));
    assert!(not_kept(&world).is_empty());
    assert_eq!(world.lease(2), ip(50));
    assert_eq!(world.lease(2), ip(50));
    let (subnet, of_client) = ("192.168.78.0/24".parse().unwrap(), "192.168.77.0/24".parse().unwrap());
    let why = NotKept::OtherSubnet { subnet, of_client };
    let reserved = Ipv4Addr::new(192, 168, 78, 60);
    assert_eq!(not_kept(&world), [("second", reserved, Some(ip(50)), &why)], "once");
    let mut elsewhere = World::new(RESERVED);
    assert_eq!(elsewhere.lease(2), ip(50));
    assert!(not_kept(&elsewhere).is_empty(), "a machine may visit another network");
}

#[test]
fn r_33_an_address_that_another_client_has_is_warned_about() {
    let mut world = World::new(RESERVED);
    assert_eq!(world.lease(9), ip(50));
    world.settings = World::new(&RESERVED.replace("192.168.77.60", "192.168.77.50")).settings;
    world.restart();
    assert_eq!(world.lease(1), ip(51));
    let warnings = not_kept(&world);
    let [(machine, address, given, NotKept::Leased { holder, .. })] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert_eq!((*machine, *address, *given), ("first", ip(50), Some(ip(51))));
    assert_eq!(holder.unwrap().0[5], 9);
}
