//! More conversations of the kinds in `suite.rs`: several levels at once, unusual messages, relay agents, and values at
//! the edges of their formats.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::config;
use lanboot::dhcp::route::Route;
use lanboot::event::DropReason;
use lanboot::lease::State;
use lanboot::wire::dhcp::{Message, MessageType};
use support::world::*;

use super::suite::{Sent, ip, lease, offer, with, world};

const TEN: &str = "      pool: 192.168.77.50-192.168.77.59";
const PXE: Sent<'static> =
    &[(60, b"PXEClient:Arch:00007:UNDI:003016"), (93, &[0, 7]), (55, &[1, 3, 43, 66, 67])];

fn relayed(message: Message, giaddr: Ipv4Addr) -> Message {
    Message { giaddr, hops: 1, ..message }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `siaddr`, `sname` and `file`.
fn boot_fields(answer: &Answer) -> (u8, String, String) {
    let Message { siaddr, .. } = answer.message;
    (siaddr.octets()[3], text(answer.message.server_name()), text(answer.message.file_name()))
}

#[test]
fn boot_fields_of_a_pool_come_between_class_and_subnet() {
    let dhcp = "  next_server: 10.0.0.1
  server_name: all
  boot_file: all.0
  classes:
    - {name: a, match: {vendor_class: a}, boot_file: class.0}
    - {name: p, match: {user_class: p}}";
    let subnet = "      server_name: subnet
      pools:
        - {range: 192.168.77.60-192.168.77.69, class: p, next_server: 10.0.0.2, boot_file: pool.0}
      pool: 192.168.77.50-192.168.77.59";
    let mut world = world(dhcp, subnet, "");
    let all = |siaddr, file: &str| (siaddr, "subnet".to_owned(), file.to_owned());
    assert_eq!(boot_fields(&offer(&mut world, 1, &[])), all(1, "all.0"));
    assert_eq!(boot_fields(&offer(&mut world, 2, &[(77, b"p")])), all(2, "pool.0"));
    assert_eq!(boot_fields(&offer(&mut world, 3, &[(77, b"p"), (60, b"a")])), all(2, "class.0"));
    assert_eq!(
        boot_fields(&lease(&mut world, 3, &[(77, b"p"), (60, b"a")])),
        all(2, "class.0"),
        "in the ACK too"
    );
}

#[test]
fn an_inform_gets_the_boot_fields_and_options_of_its_subnet() {
    let mut world = world(
        "  next_server: 10.0.0.7\n  boot_file: f.cfg",
        &format!("{TEN}\n      options: {{domain: a.b}}"),
        "",
    );
    let inform = Message { ciaddr: ip(200), ..message(1, MessageType::Inform, &[(55, &[15, 51, 58])]) };
    let ack = world.ask(&inform);
    assert_eq!((ack.option(15), ack.option(51), ack.option(58)), (Some(&b"a.b"[..]), None, None));
    assert_eq!(
        (ack.message.yiaddr, boot_fields(&ack)),
        (Ipv4Addr::UNSPECIFIED, (7, String::new(), "f.cfg".to_owned()))
    );
}

#[test]
fn a_value_of_255_bytes_is_one_option_and_one_of_256_two() {
    for len in [255, 256, 600] {
        let options = format!("      options: {{224: 'text:{}'}}", "y".repeat(len));
        let mut world = world("", &format!("{TEN}\n{options}"), "");
        let answer = offer(&mut world, 1, &[(55, &[224]), (57, &1500u16.to_be_bytes())]);
        assert_eq!(answer.option(224).map(<[u8]>::len), Some(len));
        let parts = answer
            .bytes
            .windows(2)
            .filter(|pair| pair[0] == 224 && usize::from(pair[1]) == len.min(255))
            .count();
        assert_eq!(parts, len / 255, "{len}");
    }
}

#[test]
fn a_split_option_of_a_client_is_compared_as_a_whole() {
    let dhcp = "  classes: [{match: {vendor_class: {is: abcdef}}, options: {domain: joined}}]";
    let mut world = world(dhcp, TEN, "");
    let joined = base(1, &[53, 1, 1, 60, 3, b'a', b'b', b'c', 55, 1, 15, 60, 3, b'd', b'e', b'f', 255]);
    let answer = world.send_bytes(&joined).unwrap().unwrap();
    assert_eq!(answer.option(15), Some(&b"joined"[..]), "RFC 3396 section 7");
}

#[test]
fn empty_options_of_a_client_count_as_absent() {
    let dhcp = "  classes:
    - {match: {vendor_class: '*'}, options: {domain: vendor}}
    - {match: {client_id: 'hex:*'}, options: {domain: id}}";
    for code in [12, 50, 51, 55, 57, 60, 61, 77, 81, 82, 93, 97, 116, 118, 124, 125, 175] {
        let mut world = world(dhcp, TEN, "");
        let bytes = base(1, &[53, 1, 1, code, 0, 255]);
        let answer = world.send_bytes(&bytes).unwrap_or_else(|reason| panic!("{code}: {reason:?}")).unwrap();
        assert_eq!(
            (answer.kind(), answer.message.yiaddr),
            (Some(MessageType::Offer), ip(50)),
            "option {code}"
        );
    }
}

#[test]
fn a_request_list_may_have_repeated_and_impossible_codes() {
    let mut world = world("", &format!("{TEN}\n      options: {{domain: a.b, router: 192.168.77.1}}"), "");
    let answer = offer(&mut world, 1, &[(55, &[15, 0, 255, 15, 3, 3, 53, 50, 55, 57, 61, 82, 254])]);
    let count = |code| answer.bytes[240..].windows(2).filter(|pair| pair[0] == code && pair[1] == 3).count();
    assert_eq!((answer.option(15), count(15)), (Some(&b"a.b"[..]), 1));
    for code in [50, 55, 57, 254] {
        assert_eq!(answer.option(code), None, "option {code} is only for clients, or not configured");
    }
}

#[test]
fn option_82_comes_back_in_every_reply_to_a_relay_agent() {
    let mut world = world("  authoritative: strict", TEN, "");
    let agent: Sent<'_> = &[(82, &[1, 2, 7, 8, 2, 1, 9, 151, 0])];
    let giaddr = ip(2);
    world.arrival.source = SocketAddrV4::new(giaddr, 67);
    let asked = relayed(with(discover(1), agent), giaddr);
    let offered = world.ask(&asked);
    let taken = world.ask(&relayed(with(select(1, SERVER, offered.message.yiaddr), agent), giaddr));
    let nak = world.ask(&relayed(with(init_reboot(1, ip(99)), agent), giaddr));
    let inform = Message { ciaddr: ip(50), ..with(message(1, MessageType::Inform, &[]), agent) };
    let informed = world.ask(&relayed(inform, giaddr));
    for (answer, kind) in [
        (offered, MessageType::Offer),
        (taken, MessageType::Ack),
        (nak, MessageType::Nak),
        (informed, MessageType::Ack),
    ] {
        assert_eq!((answer.kind(), answer.option(82)), (Some(kind), Some(agent[0].1)));
        // RFC 3046 section 2.1: it is the last option.
        let end = answer.bytes.iter().rposition(|byte| *byte == 255).unwrap();
        assert_eq!(answer.bytes[end - agent[0].1.len() - 2], 82, "{kind:?}");
    }
}

#[test]
fn option_82_without_a_relay_agent_is_no_reason_to_be_silent() {
    let mut world = world("", TEN, "");
    let answer = offer(&mut world, 1, &[(82, &[1, 2, 7, 8])]);
    assert_eq!(answer.message.yiaddr, ip(50));
}

#[test]
fn clients_differ_by_type_and_length_of_their_address() {
    let mut world = world("", TEN, "");
    let mut other = discover(1);
    (other.htype, other.hlen) = (6, 6);
    let first = world.ask(&discover(1)).message.yiaddr;
    assert_ne!(world.ask(&other).message.yiaddr, first, "another type");
    let mut long = discover(1);
    long.hlen = 16;
    assert_ne!(world.ask(&long).message.yiaddr, first, "another length");
}

#[test]
fn a_refusal_has_no_address_and_no_times() {
    let mut world = world("  authoritative: strict", &format!("{TEN}\n      options: {{domain: a.b}}"), "");
    let nak = world.ask(&with(init_reboot(1, ip(99)), &[(55, &[15, 51])]));
    let Message { yiaddr, siaddr, ciaddr, .. } = nak.message;
    assert_eq!([yiaddr, siaddr, ciaddr], [Ipv4Addr::UNSPECIFIED; 3]);
    for code in [1, 3, 15, 51, 58, 59] {
        assert_eq!(nak.option(code), None, "RFC 2131 table 3: option {code}");
    }
    assert_eq!(nak.option(54), Some(&SERVER.octets()[..]));
}

#[test]
fn the_broadcast_flag_decides_how_a_reply_goes_out() {
    let mut world = world("", TEN, "");
    let broadcast = world.ask(&Message { flags: 0x8000, ..discover(1) });
    let unicast = world.ask(&discover(2));
    assert_eq!(broadcast.route, Route::Broadcast { port: 68 });
    assert!(matches!(unicast.route, Route::Frame { has_address: false, .. }), "{:?}", unicast.route);
    assert_eq!((broadcast.message.flags, unicast.message.flags), (0x8000, 0));
}

#[test]
fn rapid_commit_is_answered_by_an_offer() {
    let mut world = world("", TEN, "");
    let mut asked = discover(1);
    assert!(asked.options.push(80, &[]));
    let answer = world.ask(&asked);
    assert_eq!(
        (answer.kind(), answer.option(80)),
        (Some(MessageType::Offer), None),
        "RFC 4039: the client goes on"
    );
}

#[test]
fn a_wanted_address_is_given_if_it_is_free_and_of_the_pool() {
    let machines = "machines: [{mac: '02:00:00:00:00:c8', address: 192.168.77.55}]";
    let mut world = world("", TEN, machines);
    assert_eq!(lease_wanted(&mut world, 9, ip(54)), ip(54));
    for (n, wanted, given) in [(1, 57, 57), (2, 54, 50), (3, 55, 51), (4, 99, 52), (5, 0, 53)] {
        let answer = lease_wanted(&mut world, n, ip(wanted));
        assert_eq!(answer, ip(given), "wanted {wanted}");
    }
}

/// The address that client `n` gets if its DISCOVER has option 50.
fn lease_wanted(world: &mut World, n: u8, wanted: Ipv4Addr) -> Ipv4Addr {
    let offered = offer(world, n, &[(50, &wanted.octets())]).message.yiaddr;
    assert_eq!(world.ask(&select(n, SERVER, offered)).kind(), Some(MessageType::Ack));
    offered
}

#[test]
fn a_reservation_outside_the_pools_and_one_inside_are_kept() {
    let machines = "machines: [{mac: '02:00:00:00:00:01', address: 192.168.77.10}, {mac: '02:00:00:00:00:02', address: 192.168.77.50}]";
    let mut world = world("", "      pool: 192.168.77.50-192.168.77.51", machines);
    assert_eq!((world.lease(1), world.lease(3), world.lease(2)), (ip(10), ip(51), ip(50)));
    assert!(world.send(&discover(4)).is_err(), "the reserved address is not for others");
}

#[test]
fn a_reservation_in_the_second_subnet_of_a_shared_network_comes_first() {
    let yaml = "dhcp:
  mode: server
  conflict_check: off
  subnets:
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.59, shared_network: w, options: {domain: one}}
    - {network: 10.1.0.0/24, shared_network: w, options: {domain: two, router: 10.1.0.1}, lease: 5m}
machines: [{mac: '02:00:00:00:00:01', address: 10.1.0.10}]
";
    let mut world = World::new(yaml);
    let ack = lease(&mut world, 1, &[(55, &[1, 3, 15])]);
    assert_eq!(ack.message.yiaddr, Ipv4Addr::new(10, 1, 0, 10));
    assert_eq!((ack.option(15), ack.option(51)), (Some(&b"two"[..]), Some(&[0, 0, 1, 44][..])));
    assert_eq!((ack.option(1), ack.option(3)), (Some(&[255, 255, 255, 0][..]), Some(&[10, 1, 0, 1][..])));
    assert_eq!(offer(&mut world, 2, &[]).message.yiaddr, ip(50));
}

#[test]
fn a_client_that_moves_to_another_relay_agent_gets_an_address_there() {
    let yaml = "dhcp:
  mode: server
  conflict_check: off
  subnets:
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.59}
    - {network: 10.2.0.0/24, pool: 10.2.0.50-10.2.0.59}
";
    let mut world = World::new(yaml);
    let ten = |net, n| Ipv4Addr::new(10, net, 0, n);
    let take = |world: &mut World, net| {
        world.arrival.source = SocketAddrV4::new(ten(net, 1), 67);
        let offered = world.ask(&relayed(discover(1), ten(net, 1))).message.yiaddr;
        let ack = world.ask(&relayed(select(1, SERVER, offered), ten(net, 1)));
        (ack.kind(), offered)
    };
    assert_eq!(take(&mut world, 1), (Some(MessageType::Ack), ten(1, 50)));
    assert_eq!(take(&mut world, 2), (Some(MessageType::Ack), ten(2, 50)));
    let rebooted = world.ask(&relayed(init_reboot(1, ten(1, 50)), ten(2, 1)));
    assert_eq!(rebooted.kind(), Some(MessageType::Nak), "RFC 2131 4.3.2: it is on the wrong network");
    assert_eq!(take(&mut world, 1), (Some(MessageType::Ack), ten(1, 50)), "its last address there");
}

#[test]
fn a_renewal_by_unicast_from_behind_a_relay_agent_is_answered_directly() {
    let yaml = "dhcp:\n  mode: server\n  conflict_check: off\n  subnets: [{network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.59, options: {domain: far}}]\n";
    let mut world = World::new(yaml);
    let (giaddr, address) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 50));
    world.arrival.source = SocketAddrV4::new(giaddr, 67);
    assert_eq!(world.ask(&relayed(discover(1), giaddr)).message.yiaddr, address);
    assert_eq!(world.ask(&relayed(select(1, SERVER, address), giaddr)).kind(), Some(MessageType::Ack));
    world.arrival.source = SocketAddrV4::new(address, 68);
    world.arrival.destination = SERVER;
    let ack = world.ask(&with(extend(1, address), &[(55, &[15])]));
    assert_eq!((ack.kind(), ack.option(15)), (Some(MessageType::Ack), Some(&b"far"[..])));
    assert_eq!(ack.route, Route::Unicast(SocketAddrV4::new(address, 68)));
}

#[test]
fn link_selection_comes_before_subnet_selection_and_both_before_giaddr() {
    let yaml = "dhcp:
  mode: server
  conflict_check: off
  subnet_selection: true
  subnets:
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.59}
    - {network: 10.2.0.0/24, pool: 10.2.0.50-10.2.0.59}
    - {network: 10.3.0.0/24, pool: 10.3.0.50-10.3.0.59}
";
    let mut world = World::new(yaml);
    let giaddr = Ipv4Addr::new(10, 1, 0, 1);
    world.arrival.source = SocketAddrV4::new(giaddr, 67);
    let mut net = |n, options: Sent<'_>| {
        world.ask(&relayed(with(discover(n), options), giaddr)).message.yiaddr.octets()[1]
    };
    assert_eq!(net(1, &[]), 1);
    assert_eq!(net(2, &[(118, &[10, 2, 0, 0])]), 2);
    assert_eq!(net(3, &[(118, &[10, 2, 0, 0]), (82, &[5, 4, 10, 3, 0, 0])]), 3);
}

#[test]
fn classes_compare_every_suboption_of_a_relay_agent() {
    for (key, value) in [
        ("relay.6: 'subscriber*'", &b"\x06\x0csubscriber-1"[..]),
        ("relay.12: 'hex:0001*'", b"\x0c\x03\x00\x01\x09"),
        ("relay.151: 'hex:00*'", b"\x97\x03\x00ab"),
        ("relay.9: 'hex:00001122*'", b"\x09\x07\x00\x00\x11\x22\x02\x01\x05"),
    ] {
        let dhcp = format!("  classes: [{{name: c, match: {{{key}}}}}]");
        let mut world = world(
            &dhcp,
            "      pools: [{range: 192.168.77.60-192.168.77.69, class: c}]\n      pool: 192.168.77.50-192.168.77.59",
            "",
        );
        world.arrival.source = SocketAddrV4::new(ip(2), 67);
        let mut got =
            |n, options: Sent<'_>| world.ask(&relayed(with(discover(n), options), ip(2))).message.yiaddr;
        assert_eq!((got(1, &[(82, value)]), got(2, &[(82, &[6, 1, 1])])), (ip(60), ip(50)), "{key}");
    }
}

#[test]
fn classes_are_combined_by_and_or_and_not() {
    let dhcp = "  classes:
    - {name: a, match: {vendor_class: a}}
    - {name: b, match: {user_class: b}}
    - {name: both, match: {class: a, not: {not: {class: b}}}, options: {domain: both}}
    - {name: either, match: [{class: a}, {class: b}], options: {ntp: 10.0.0.1}}
    - {name: neither, match: {not: [{class: a}, {class: b}]}, options: {domain: neither}}";
    let mut world = world(dhcp, TEN, "");
    let mut see = |n, options: Sent<'_>| {
        let answer = offer(&mut world, n, &[options, &[(55, &[15, 42])]].concat());
        (answer.option(15).map(text), answer.option(42).is_some())
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(see(1, &[(60, b"a"), (77, b"b")]), (some("both"), true));
    assert_eq!(see(2, &[(60, b"a")]), (None, true));
    assert_eq!(see(3, &[(77, b"b")]), (None, true));
    assert_eq!(see(4, &[]), (some("neither"), false));
}

#[test]
fn lease_times_of_class_pool_and_machine_bound_the_wish_of_the_client() {
    let dhcp = "  classes:
    - {name: short, match: {vendor_class: short}, lease: {default: 5m, min: 2m, max: 10m}}
    - {name: p, match: {user_class: p}}";
    let subnet = "      lease: {default: 1h, min: 10m, max: 2h}
      pools: [{range: 192.168.77.60-192.168.77.69, class: p, lease: 3h}]
      pool: 192.168.77.50-192.168.77.59";
    let mut world = world(dhcp, subnet, "machines: [{mac: '02:00:00:00:00:c8', lease: infinite}]");
    let mut time = |n, options: Sent<'_>| offer(&mut world, n, options).message.options.u32(51).unwrap();
    let wish: (u8, &[u8]) = (51, &[0, 1, 0x51, 0x80]);
    assert_eq!((time(1, &[]), time(1, &[wish])), (3600, 7200));
    assert_eq!((time(2, &[(60, b"short")]), time(2, &[(60, b"short"), wish])), (300, 600));
    assert_eq!((time(3, &[(77, b"p")]), time(3, &[(77, b"p"), wish])), (10_800, 10_800));
    assert_eq!(time(0xc8, &[]), u32::MAX);
    assert_eq!(time(4, &[(51, &[0, 0, 0, 0])]), 600, "no time at all is the shortest");
}

#[test]
fn a_declined_reservation_comes_back_after_its_quarantine() {
    let machines = "machines: [{mac: '02:00:00:00:00:01', address: 192.168.77.55}]";
    let mut world = world("  decline_time: 2m", TEN, machines);
    world.used = vec![ip(55)];
    assert_eq!(world.lease(1), ip(55));
    let decline = message(1, MessageType::Decline, &[(54, &SERVER.octets()), (50, &ip(55).octets())]);
    let _ = world.send(&decline);
    assert_eq!(world.book.binding(ip(55)).map(|binding| binding.state), Some(State::Declined));
    assert_ne!(world.ask(&discover(1)).message.yiaddr, ip(55));
    world.used.clear();
    world.pass(121);
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(55));
}

#[test]
fn a_pool_that_is_wholly_declined_gives_nothing_until_the_time_is_over() {
    let mut world = world("  decline_time: 5m", "      pool: 192.168.77.50-192.168.77.50", "");
    world.used = vec![ip(50)];
    assert_eq!(world.lease(1), ip(50));
    let _ = world.send(&message(1, MessageType::Decline, &[(54, &SERVER.octets()), (50, &ip(50).octets())]));
    assert!(world.send(&discover(2)).is_err());
    world.pass(301);
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(50));
}

#[test]
fn always_sent_options_stay_out_where_a_class_removes_them() {
    let dhcp = "  options: {ntp: 10.0.0.1}
  always_send: [ntp]
  classes: [{match: {vendor_class: quiet}, options: {ntp: null}}]";
    let mut world = world(dhcp, TEN, "");
    assert!(offer(&mut world, 1, &[(55, &[1])]).option(42).is_some());
    assert_eq!(offer(&mut world, 2, &[(60, b"quiet"), (55, &[42])]).option(42), None);
}

#[test]
fn options_by_number_take_texts_addresses_and_bytes() {
    for (written, bytes) in [
        ("150: [10.0.0.1, 10.0.0.2]", &[10, 0, 0, 1, 10, 0, 0, 2][..]),
        ("150: 10.0.0.1", &[10, 0, 0, 1]),
        ("224: 'text:a,b'", b"a,b"),
        ("225: 'hex: 00 ff 0A'", &[0, 255, 10]),
        ("225: 'hex:00:ff:0a'", &[0, 255, 10]),
        ("43: 'hex:0104c0a84d09'", &[1, 4, 192, 168, 77, 9]),
        ("159: 'hex:0a01020304'", &[10, 1, 2, 3, 4]),
    ] {
        let yaml = format!(
            "dhcp: {{mode: server, conflict_check: off, subnets: [{{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.59, options: {{{written}}}}}]}}"
        );
        let code: u8 = written.split(':').next().unwrap().parse().unwrap();
        let Err(problems) = config::load(&yaml) else {
            let list = [code];
            let answer = offer(&mut World::new(&yaml), 1, &[(55, &list)]);
            assert_eq!(answer.option(code), Some(bytes), "{written}");
            continue;
        };
        panic!("{written}: {}", problems[0]);
    }
}

#[test]
fn a_client_with_classless_routes_gets_neither_router_nor_static_routes_in_any_reply() {
    let options = "      options: {router: 192.168.77.1, static_routes: 10.0.0.0 192.168.77.1, classless_routes: [{to: 0.0.0.0/0, via: 192.168.77.1}]}";
    let mut world = world("", &format!("{TEN}\n{options}"), "");
    let all: Sent<'_> = &[(55, &[3, 33, 121])];
    let inform = Message { ciaddr: ip(200), ..with(message(2, MessageType::Inform, &[]), all) };
    for answer in [offer(&mut world, 1, all), lease(&mut world, 1, all), world.ask(&inform)] {
        assert_eq!([3, 33, 121].map(|code| answer.option(code).is_some()), [false, false, true]);
    }
    assert_eq!(
        [3, 33, 121].map(|code| offer(&mut world, 3, &[(55, &[3, 33])]).option(code).is_some()),
        [true, true, false]
    );
}

#[test]
fn a_machine_that_boots_and_its_system_get_their_own_values() {
    let dhcp = "  boot_file: system.cfg
  options: {43: 'hex:0101'}
  classes: [{name: nic, match: {class: pxe}, boot: {uefi-x64: class.efi}, options: {domain: firmware}}]";
    let mut world = world(dhcp, TEN, "boot: {arch: {uefi-x64: arch.efi}}");
    let firmware = lease(&mut world, 1, PXE);
    assert_eq!(
        (text(firmware.message.file_name()), firmware.message.siaddr),
        ("class.efi".to_owned(), SERVER)
    );
    let system = lease(&mut world, 1, &[(55, &[43, 15])]);
    assert_eq!(firmware.message.yiaddr, system.message.yiaddr, "one machine, one address");
    assert_eq!(
        (text(system.message.file_name()), system.option(43)),
        ("system.cfg".to_owned(), Some(&[1, 1][..]))
    );
    assert_eq!(system.option(15), None);
}

#[test]
fn a_class_names_the_boot_file_and_server_of_booting_clients() {
    let dhcp = "  classes: [{match: {mac: '02:00:00:00:00:01'}, boot: {file: /srv/x.efi, server: 10.0.0.9}}]";
    let mut world = world(dhcp, TEN, "boot: {arch: {uefi-x64: arch.efi}}");
    let answer = offer(&mut world, 1, PXE);
    assert_eq!(
        (text(answer.message.file_name()), answer.message.siaddr),
        ("/srv/x.efi".to_owned(), Ipv4Addr::new(10, 0, 0, 9))
    );
    assert!(answer.option(66).is_some_and(|name| name.starts_with(b"10.0.0.9")), "{:?}", answer.option(66));
    assert_eq!(offer(&mut world, 2, PXE).message.siaddr, SERVER);
}

#[test]
fn an_unknown_message_type_and_a_reply_are_dropped() {
    let mut world = world("", TEN, "");
    for kind in [0, 2, 5, 6, 9, 14, 200] {
        assert!(!matches!(world.send_bytes(&base(1, &[53, 1, kind, 255])), Ok(Some(_))), "type {kind}");
    }
    let mut reply = discover(1).encode();
    reply[0] = 2;
    assert!(!matches!(world.send_bytes(&reply), Ok(Some(_))));
}

#[test]
fn a_message_for_another_server_is_left_to_it() {
    let mut world = world("", "      pool: 192.168.77.50-192.168.77.50", "");
    let other = Ipv4Addr::new(192, 168, 77, 9);
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(50));
    assert!(!matches!(world.send(&select(1, other, ip(50))), Ok(Some(_))));
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(50), "its offer is free again");
    let release = Message { ciaddr: ip(50), ..message(2, MessageType::Release, &[(54, &other.octets())]) };
    assert_eq!(world.lease(2), ip(50));
    world.arrival.source = SocketAddrV4::new(ip(50), 68);
    let _ = world.send(&release);
    assert_eq!(world.book.binding(ip(50)).map(|binding| binding.state), Some(State::Leased));
}

#[test]
fn known_clients_without_an_address_share_the_pool_for_known_ones() {
    let pools = "      pools: [{range: 192.168.77.60-192.168.77.60, class: known}]\n      pool: 192.168.77.50-192.168.77.50";
    let mut world = world("", pools, "machines: [{mac: '02:00:00:00:00:01'}, {mac: '02:00:00:00:00:02'}]");
    assert_eq!(
        (world.lease(1), world.lease(2), world.send(&discover(3)).err()),
        (ip(60), ip(50), Some(DropReason::PoolExhausted))
    );
}

#[test]
fn pool_options_follow_the_address_and_not_the_class() {
    let subnet = "      options: {domain: subnet}
      pools:
        - {range: 192.168.77.60-192.168.77.60, options: {domain: first}}
        - {range: 192.168.77.61-192.168.77.61, options: {domain: second}}";
    let machines = "machines: [{mac: '02:00:00:00:00:03', address: 192.168.77.70}]";
    let mut world = world("", subnet, machines);
    let mut domain = |n| lease(&mut world, n, &[(55, &[15])]).option(15).map(text).unwrap();
    assert_eq!(
        (domain(1), domain(2), domain(3)),
        ("first".to_owned(), "second".to_owned(), "subnet".to_owned())
    );
}
