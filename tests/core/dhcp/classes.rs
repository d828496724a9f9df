//! Classes that decide which addresses a client gets: pools and subnets for classes, clients that are ignored, and
//! addresses that are never given. Each test is named after its row in docs/robustness.md.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::event::{DropReason, Event};
use lanboot::wire::dhcp::{Message, MessageType};
use support::world::*;

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

fn with(n: u8, kind: MessageType, options: &[(u8, &[u8])]) -> Message {
    message(n, kind, options)
}

/// The address that client `n` is offered when it sends these options, or the reason why it is not.
fn offered(world: &mut World, n: u8, options: &[(u8, &[u8])]) -> Result<Ipv4Addr, DropReason> {
    let answer = world.send(&with(n, MessageType::Discover, options))?;
    Ok(answer.unwrap().message.yiaddr)
}

/// DISCOVER and REQUEST of client `n`, both with these options.
fn lease_with(world: &mut World, n: u8, options: &[(u8, &[u8])]) -> Ipv4Addr {
    let address = offered(world, n, options).unwrap();
    let mut request = select(n, SERVER, address);
    options.iter().for_each(|(code, value)| assert!(request.options.push(*code, value)));
    assert_eq!(world.ask(&request).kind(), Some(MessageType::Ack));
    address
}

const PHONE: &[(u8, &[u8])] = &[(60, b"snom870")];
const POOLS: &str = "
dhcp:
  mode: server
  conflict_check: off
  subnets:
    - network: 192.168.77.0/24
      pools:
        - {range: 192.168.77.10-192.168.77.11, class: phones, options: {domain: phones.example}}
        - {range: 192.168.77.20-192.168.77.21, class: [known, ipxe]}
        - {range: 192.168.77.30-192.168.77.31, class: others}
      options: {domain: lab.example}
  classes:
    - {name: phones, match: {vendor_class: snom, not: {mac: '02:00:00:00:00:09'}}}
    - {name: others, match: {not: {class: [phones, known]}}}
machines:
  - {name: node1, mac: '02:00:00:00:00:c8'}
";

#[test]
fn r_22_each_class_gets_addresses_from_its_pool() {
    let mut world = World::new(POOLS);
    let phone = world.ask(&with(1, MessageType::Discover, PHONE));
    assert_eq!((phone.message.yiaddr, phone.option(15)), (ip(10), Some(&b"phones.example"[..])));
    let pc = world.ask(&discover(2));
    assert_eq!((pc.message.yiaddr, pc.option(15)), (ip(30), Some(&b"lab.example"[..])));
    assert_eq!(offered(&mut world, 0xc8, &[]), Ok(ip(20)), "a machine with an entry");
    assert_eq!(offered(&mut world, 3, &[(77, b"iPXE")]), Ok(ip(21)), "the earlier pool of two");
    assert_eq!(offered(&mut world, 9, PHONE), Ok(ip(31)), "the MAC is excluded from the class");
}

#[test]
fn r_22_a_full_pool_takes_no_address_of_another_class() {
    let mut world = World::new(POOLS);
    let phones = [lease_with(&mut world, 1, PHONE), lease_with(&mut world, 2, PHONE)];
    assert_eq!(phones, [ip(10), ip(11)]);
    assert_eq!(offered(&mut world, 3, PHONE), Err(DropReason::PoolExhausted));
    let asks_for_free = with(4, MessageType::Discover, &[(60, b"snom"), (50, &ip(30).octets())]);
    assert_eq!(world.send(&asks_for_free).unwrap_err(), DropReason::PoolExhausted);
    assert_eq!(offered(&mut world, 5, &[]), Ok(ip(30)));
}

#[test]
fn r_22_without_a_pool_for_its_class_a_client_gets_no_answer() {
    let mut world = World::new(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pools: [{range: 192.168.77.50-192.168.77.60, \
         class: known}]}]}",
    );
    assert_eq!(offered(&mut world, 1, &[]), Err(DropReason::NotAdmitted));
    assert_eq!(world.send(&bootp(1)).unwrap_err(), DropReason::BootpRefused);
    assert_eq!(world.send(&init_reboot(1, ip(50))).unwrap().unwrap().kind(), Some(MessageType::Nak));
}

/// RFC 2131 section 4.3.2: a client whose lease is no longer right gets a NAK.
#[test]
fn r_22_a_client_whose_class_changed_is_moved_to_another_pool() {
    let mut world = World::new(POOLS);
    assert_eq!(lease_with(&mut world, 1, PHONE), ip(10));
    let mut renewal = extend(1, ip(10));
    renewal.options.push(60, b"snom870");
    world.arrival.source = SocketAddrV4::new(ip(10), 68);
    assert_eq!(world.ask(&renewal).kind(), Some(MessageType::Ack));
    let refused = world.ask(&extend(1, ip(10)));
    assert_eq!(refused.kind(), Some(MessageType::Nak), "it is no phone any more");
    assert_eq!(refused.option(56), Some(&b"the pool of that address is not for clients of this class"[..]));
    world.arrival.source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    assert_eq!(world.ask(&init_reboot(1, ip(10))).kind(), Some(MessageType::Nak));
    assert_eq!(lease_with(&mut world, 1, &[]), ip(30));
    assert_eq!(
        [2, 3].map(|n| lease_with(&mut world, n, PHONE)),
        [ip(11), ip(10)],
        "its lease there has ended"
    );
}

#[test]
fn r_22_an_inform_of_a_class_member_is_answered() {
    let mut world = World::new(POOLS);
    let mut inform = with(1, MessageType::Inform, PHONE);
    inform.ciaddr = ip(10);
    world.arrival.source = SocketAddrV4::new(ip(10), 68);
    let answer = world.ask(&inform);
    assert_eq!((answer.kind(), answer.option(15)), (Some(MessageType::Ack), Some(&b"phones.example"[..])));
    let mut inform = with(2, MessageType::Inform, &[]);
    inform.ciaddr = ip(200);
    assert_eq!(world.ask(&inform).option(15), Some(&b"lab.example"[..]), "in no pool");
}

const SHARED: &str = "
dhcp:
  mode: server
  conflict_check: off
  subnets:
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.51, shared_network: lab, class: staff}
    - {network: 192.168.78.0/24, pool: 192.168.78.50-192.168.78.51, shared_network: lab}
  classes:
    - {name: staff, match: [{user_class: staff}, {option.224: 'hex:01??'}]}
machines:
  - {name: node1, mac: '02:00:00:00:00:c8', address: 192.168.77.10}
  - {name: node2, mac: '02:00:00:00:00:c9', address: 192.168.77.11, class: staff}
";

#[test]
fn r_22_a_subnet_of_a_shared_network_is_for_its_class() {
    let mut world = World::new(SHARED);
    let other = |n| Ipv4Addr::new(192, 168, 78, n);
    assert_eq!(offered(&mut world, 1, &[(77, b"staff")]), Ok(ip(50)));
    assert_eq!(offered(&mut world, 2, &[(224, &[1, 7])]), Ok(ip(51)), "the other alternative");
    assert_eq!(offered(&mut world, 3, &[(224, &[2, 7])]), Ok(other(50)));
    assert_eq!(offered(&mut world, 0xc9, &[]), Ok(ip(11)), "its entry puts it into the class");
    assert!(world.events.iter().all(|event| !matches!(event, Event::NotKept { .. })));
    assert_eq!(offered(&mut world, 0xc8, &[]), Ok(other(51)), "its reservation is in the subnet of a class");
    let warning = world.events.iter().find(|event| matches!(event, Event::NotKept { .. }));
    assert!(format!("{warning:?}").contains("Class"), "{warning:?}");
}

#[test]
fn r_22_relay_agents_and_interfaces_of_several_subnets_choose_by_class() {
    let mut world = World::new(
        "
dhcp:
  mode: server
  conflict_check: off
  subnets:
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.59, class: pxe}
    - {network: 192.168.78.0/24, pool: 192.168.78.50-192.168.78.59}
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.59, relays: [10.9.0.0/16], class: phones}
    - {network: 10.2.0.0/24, pool: 10.2.0.50-10.2.0.59, relays: [10.9.0.0/16]}
    - {network: 10.3.0.0/24, pool: 10.3.0.50-10.3.0.59, relays: [10.9.3.0/24]}
  classes: [{name: phones, match: {vendor_class: {is: snom}}}]
",
    );
    world.arrival.addresses = [SERVER, Ipv4Addr::new(192, 168, 78, 1)].into();
    let firmware: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0])];
    assert_eq!(offered(&mut world, 1, firmware), Ok(ip(50)));
    let answer = world.ask(&discover(2));
    assert_eq!(answer.message.yiaddr, Ipv4Addr::new(192, 168, 78, 50));
    assert_eq!(answer.option(54), Some(&[192, 168, 78, 1][..]), "our address in its subnet");
    let mut relayed = |n, giaddr: [u8; 4], options: &[(u8, &[u8])]| {
        let message = with(n, MessageType::Discover, options);
        let answer = world.send(&Message { giaddr: giaddr.into(), ..message });
        answer.map(|answer| answer.unwrap().message.yiaddr.octets())
    };
    assert_eq!(relayed(3, [10, 9, 1, 1], &[(60, b"snom")]), Ok([10, 1, 0, 50]));
    assert_eq!(relayed(4, [10, 9, 1, 1], PHONE), Ok([10, 2, 0, 50]), "`is` allows nothing behind the text");
    assert_eq!(relayed(5, [10, 9, 3, 1], &[]), Ok([10, 3, 0, 50]), "the longest prefix");
    assert_eq!(relayed(6, [10, 8, 0, 1], &[]), Err(DropReason::UnknownRelay));
}

/// Link selection (RFC 3527) with a network in `relays`: each switch has another loopback address.
#[test]
fn r_26_relay_agents_in_a_network_select_the_subnet() {
    let mut world = World::new(
        "dhcp: {mode: server, conflict_check: off, subnets: [{network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99, \
         relays: [10.9.0.0/16, 172.16.0.1]}, {network: 10.2.0.0/24, pool: 10.2.0.50-10.2.0.99}]}",
    );
    let mut ask = |n, giaddr: [u8; 4], link: &[u8]| {
        let message = with(n, MessageType::Discover, &[(82, link)]);
        world.ask(&Message { giaddr: giaddr.into(), ..message }).message.yiaddr.octets()
    };
    assert_eq!(ask(1, [10, 9, 200, 7], &[5, 4, 10, 2, 0, 0]), [10, 2, 0, 50]);
    assert_eq!(ask(2, [10, 9, 1, 1], &[1, 1, 1]), [10, 1, 0, 50]);
    assert_eq!(ask(3, [172, 16, 0, 1], &[1, 1, 1]), [10, 1, 0, 51]);
}

#[test]
fn r_22_ignored_classes_and_machines_get_no_answer() {
    let mut world = World::new(
        "
dhcp:
  mode: server
  conflict_check: off
  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.59}]
  classes: [{match: {vendor_class: camera}, ignore: true}]
machines:
  - {mac: '02:00:00:00:00:c8', ignore: true, address: 192.168.77.10}
  - {uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab, ignore: yes}
",
    );
    assert_eq!(offered(&mut world, 1, &[(60, b"camera 2")]), Err(DropReason::Ignored));
    assert_eq!(world.send(&discover(0xc8)).unwrap_err(), DropReason::Ignored);
    assert_eq!(world.send(&extend(0xc8, ip(10))).unwrap_err(), DropReason::Ignored);
    assert_eq!(world.send(&bootp(0xc8)).unwrap_err(), DropReason::Ignored);
    assert_eq!(offered(&mut world, 1, &[]), Ok(ip(50)));
    let mut world = World::new(
        "dhcp: {mode: proxy, classes: [{match: {arch: bios}, ignore: true}]}\nboot: {arch: {bios: a, uefi-x64: b}}",
    );
    let firmware =
        |arch: u8| with(1, MessageType::Discover, &[(60, b"PXEClient"), (93, &[0, arch]), (97, &[7; 17])]);
    assert_eq!(world.send(&firmware(0)).unwrap_err(), DropReason::Ignored);
    assert!(world.send(&firmware(7)).is_ok());
}

#[test]
fn r_25_classes_match_relay_agents_vendor_options_and_other_classes() {
    let mut world = World::new(
        r"
dhcp:
  mode: server
  conflict_check: off
  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.199, options: {domain: none}}]
  classes:
    - {match: {relay: [192.168.77.2, 10.9.0.0/16]}, options: {domain: relay}}
    - {match: {relay.9: 'hex:00*ff'}, options: {domain: relay-9}}
    - {match: {vendor.4491: docsis*}, options: {domain: vendor-124}}
    - {match: {vendor.4491.1: 'hex:0?'}, options: {domain: vendor-125}}
    - {match: {client_id: 'hex:ff*02'}, options: {domain: client-id}}
    - {match: {option.224: 'a\*b'}, options: {domain: literal}}
    - {match: {hostname: {is: PC*}}, options: {domain: exact}}
    - {match: {class: later, not: [{class: ipxe}, {user_class: old}]}, options: {domain: both}}
    - {name: later, match: {arch: uefi-arm64}}
",
    );
    let mut domain = |giaddr: Ipv4Addr, options: &[(u8, &[u8])]| {
        let answer = world.ask(&Message { giaddr, ..with(1, MessageType::Discover, options) });
        String::from_utf8(answer.option(15).unwrap().to_vec()).unwrap()
    };
    let none = Ipv4Addr::UNSPECIFIED;
    assert_eq!(domain(ip(2), &[]), "relay");
    assert_eq!(domain(ip(3), &[(82, &[9, 3, 0, 7, 0xff])]), "relay-9");
    assert_eq!(domain(ip(3), &[(82, &[9, 3, 1, 7, 0xff])]), "none");
    assert_eq!(domain(none, &[(124, b"\0\0\x11\x8b\x09docsis3.0")]), "vendor-124");
    assert_eq!(domain(none, &[(124, b"\0\0\x11\x8c\x09docsis3.0")]), "none", "another enterprise");
    assert_eq!(domain(none, &[(125, &[0, 0, 0x11, 0x8b, 3, 1, 1, 9])]), "vendor-125");
    assert_eq!(domain(none, &[(125, &[0, 0, 0x11, 0x8b, 3, 2, 1, 9])]), "none");
    assert_eq!(domain(none, &[(61, &[0xff, 1, 2])]), "client-id");
    assert_eq!(domain(none, &[(61, &[0xff, 1, 2, 0])]), "none", "zeros count");
    assert_eq!(domain(none, &[(224, b"a*b")]), "literal");
    assert_eq!(domain(none, &[(224, b"axb")]), "none");
    assert_eq!(domain(none, &[(12, b"pc*")]), "exact");
    assert_eq!(domain(none, &[(12, b"pc1")]), "none");
    let arm = (93, &[0u8, 11][..]);
    assert_eq!(domain(none, &[arm]), "both");
    assert_eq!(domain(none, &[arm, (77, b"old")]), "none");
    assert_eq!(domain(none, &[arm, (77, b"iPXE")]), "none");
}

const NAMED: &str = "
dhcp:
  mode: server
  conflict_check: off
  subnets:
    - network: 192.168.77.0/24
      pool: 192.168.77.50-192.168.77.56
      relays: [10.9.0.1]
      options: {router: 192.168.77.50, dns: [192.168.77.51, 192.168.77.60]}
  options: {ntp: 192.168.77.52}
machines:
  - {name: dns, mac: '02:00:00:00:00:c8', address: 192.168.77.51}
  - {mac: '02:00:00:00:00:c9', address: 192.168.77.61, options: {log_server: 192.168.77.53}}
";

#[test]
fn r_20_addresses_that_the_configuration_names_are_never_given() {
    let mut world = World::new(NAMED);
    let mut given = Vec::new();
    for n in 1..=4 {
        let asks = with(n, MessageType::Discover, &[(50, &ip(50).octets())]);
        given.extend(world.send(&asks).ok().flatten().map(|answer| answer.message.yiaddr));
    }
    assert_eq!(given, [ip(54), ip(55), ip(56)]);
    assert_eq!(world.ask(&discover(0xc8)).message.yiaddr, ip(51), "reserved for the DNS server itself");
    assert_eq!(world.ask(&select(9, SERVER, ip(50))).kind(), Some(MessageType::Nak));
    assert_eq!(world.ask(&init_reboot(9, ip(52))).kind(), Some(MessageType::Nak));
}

/// A client that had the address before the configuration named it as the router's.
#[test]
fn r_20_a_lease_of_a_named_address_is_not_renewed() {
    let mut world = World::new(NAMED);
    assert_eq!(world.lease(1), ip(54));
    let yaml = NAMED.replace("router: 192.168.77.50", "router: 192.168.77.54");
    world.settings = World::new(&yaml).settings;
    world.restart();
    assert_eq!(world.ask(&extend(1, ip(54))).kind(), Some(MessageType::Nak));
    assert_eq!(world.lease(1), ip(50));
}

#[test]
fn r_20_the_relay_agent_of_a_request_keeps_its_address() {
    let mut world = World::new(
        "dhcp: {mode: server, conflict_check: off, subnets: [{network: 10.1.0.0/24, pool: 10.1.0.1-10.1.0.4}]}",
    );
    let relayed = |message: Message| Message { giaddr: Ipv4Addr::new(10, 1, 0, 1), ..message };
    let offer = world.ask(&relayed(discover(1))).message.yiaddr;
    assert_eq!(offer, Ipv4Addr::new(10, 1, 0, 2));
    let asks = with(2, MessageType::Discover, &[(50, &[10, 1, 0, 1]), (82, &[5, 4, 10, 1, 0, 3])]);
    assert_eq!(world.ask(&relayed(asks)).message.yiaddr, Ipv4Addr::new(10, 1, 0, 4), "link selection");
    let router = Ipv4Addr::new(10, 1, 0, 1);
    assert_eq!(world.ask(&relayed(select(3, SERVER, router))).kind(), Some(MessageType::Nak));
}
