//! Options, shared networks, link selection and classes, one statement at a time. Each test is named after the RFC
//! section that makes the statement.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::boot::policy::Content;
use lanboot::dhcp::classes::Class;
use lanboot::dhcp::option_space::smallest_datagram;
use lanboot::dhcp::options::{OptionSet, OptionValue};
use lanboot::dhcp::route::Route;
use lanboot::dhcp::settings::BootpMode;
use lanboot::event::DropReason;
use lanboot::types::{FileKind, MacAddr, Processor};
use lanboot::wire::dhcp::{FLAG_BROADCAST, Message, MessageType, Options};
use lanboot::wire::names;
use lanboot::wire::option::{Kind, TABLE, by_code};
use proptest::prelude::*;
use support::world::*;

const LAB: &str = "
dhcp:
  mode: server
  subnets:
    - network: 192.168.77.0/24
      pool: 192.168.77.50-192.168.77.99
      options:
        router: 192.168.77.1
        dns: [192.168.77.1, 1.1.1.1]
        domain: lab.example
        domain_search: [lab.example, example]
        classless_routes: [{to: 0.0.0.0/0, via: 192.168.77.254}]
        ipv6_only_preferred: 300
        224: 'text:LONG'
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99, relays: [10.9.9.1]}
boot:
  arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}
";

fn lab() -> World {
    World::new(LAB)
}

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// Sends a DISCOVER of client 1 with these options and returns the answer.
fn offer(world: &mut World, options: &[(u8, &[u8])]) -> Answer {
    world.ask(&message(1, MessageType::Discover, options))
}

fn codes(answer: &Answer) -> Vec<u8> {
    answer.message.options.iter().map(|(code, _)| code).collect()
}

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

#[test]
fn rfc2131_4_3_1_table_3_fields_and_options_of_servers() {
    let mut world = lab();
    let request = |message: Message| Message {
        xid: 0x1234_5678,
        hops: 1,
        secs: 9,
        flags: FLAG_BROADCAST,
        giaddr: Ipv4Addr::new(192, 168, 77, 2),
        ..message
    };
    let with_id = |message: &Message| {
        let mut message = message.clone();
        message.options.push(61, b"\0id");
        message.options.push(55, &[1, 3, 15, 50, 51, 52, 55, 56, 57, 58, 59, 61, 54, 53, 93, 118, 224]);
        message.options.push(57, &1500u16.to_be_bytes());
        request(message)
    };
    let offer = world.ask(&with_id(&discover(1)));
    let ack = world.ask(&with_id(&select(1, SERVER, ip(50))));
    let renewed = world.ask(&with_id(&extend(1, ip(50))));
    let inform = world.ask(&with_id(&Message { ciaddr: ip(50), ..message(1, MessageType::Inform, &[]) }));
    let nak = world.ask(&with_id(&init_reboot(1, Ipv4Addr::new(172, 16, 0, 1))));
    use MessageType::{Ack, Nak, Offer};
    let none = Ipv4Addr::UNSPECIFIED;
    for (answer, kind, ciaddr, yiaddr, siaddr) in [
        (&offer, Offer, none, ip(50), SERVER),
        (&ack, Ack, none, ip(50), SERVER),
        (&renewed, Ack, ip(50), ip(50), SERVER),
        (&inform, Ack, ip(50), none, SERVER),
        (&nak, Nak, none, none, none),
    ] {
        let reply = &answer.message;
        assert_eq!(answer.kind(), Some(kind));
        assert_eq!((reply.op, reply.htype, reply.hlen, reply.hops), (2, 1, 6, 0), "{kind:?}");
        assert_eq!((reply.xid, reply.secs, reply.flags), (0x1234_5678, 0, FLAG_BROADCAST), "{kind:?}");
        assert_eq!((reply.ciaddr, reply.yiaddr, reply.siaddr), (ciaddr, yiaddr, siaddr), "{kind:?}");
        assert_eq!(reply.giaddr, Ipv4Addr::new(192, 168, 77, 2));
        assert_eq!(reply.chaddr[..6], [2, 0, 0, 0, 0, 1]);
        assert_eq!((reply.chaddr[6..].to_vec(), reply.sname, reply.file), (vec![0; 10], [0; 64], [0; 128]));
        let given = matches!(kind, Offer) || kind == Ack && yiaddr != none;
        for (code, there) in [(51, given), (58, given), (59, given), (56, kind == Nak)] {
            assert_eq!(answer.option(code).is_some(), there, "{kind:?} option {code}");
        }
        for code in [53, 54, 61] {
            assert!(answer.option(code).is_some(), "{kind:?} option {code}");
        }
        for code in [50, 52, 55, 57, 93, 118] {
            assert_eq!(answer.option(code), None, "{kind:?} option {code}");
        }
        for code in [1, 3, 15] {
            assert_eq!(answer.option(code).is_some(), kind != Nak, "{kind:?} option {code}");
        }
    }
    assert_eq!(codes(&nak), [53, 54, 56, 61], "nothing else in a NAK");
}

#[test]
fn rfc2131_4_3_2_table_4_each_form_of_request_is_known_by_its_fields() {
    let mut world = lab();
    let none = Ipv4Addr::UNSPECIFIED;
    world.ask(&discover(1));
    // State, destination, option 54, option 50, ciaddr: the rows of the table.
    for (state, to, server, requested, ciaddr) in [
        ("SELECTING", Ipv4Addr::BROADCAST, Some(SERVER), Some(ip(50)), none),
        ("INIT-REBOOT", Ipv4Addr::BROADCAST, None, Some(ip(50)), none),
        ("RENEWING", SERVER, None, None, ip(50)),
        ("REBINDING", Ipv4Addr::BROADCAST, None, None, ip(50)),
    ] {
        let mut request = Message { ciaddr, ..message(1, MessageType::Request, &[]) };
        server.iter().for_each(|server| assert!(request.options.push(54, &server.octets())));
        requested.iter().for_each(|address| assert!(request.options.push(50, &address.octets())));
        world.arrival.destination = to;
        let ack = world.ask(&request);
        assert_eq!((ack.kind(), ack.message.yiaddr), (Some(MessageType::Ack), ip(50)), "{state}");
        let (to, mac) = (SocketAddrV4::new(ip(50), 68), MacAddr([2, 0, 0, 0, 0, 1]));
        let expected = Route::Frame { to, mac, has_address: ciaddr != none };
        assert_eq!(ack.route, expected, "{state}");
    }
    let neither = message(1, MessageType::Request, &[(54, &SERVER.octets())]);
    assert_eq!(world.send(&neither).unwrap_err(), DropReason::BadRequest, "no state sends this");
}

#[test]
fn rfc2131_4_4_1_table_5_fields_and_options_of_clients() {
    let mut world = lab();
    let offer = offer(&mut world, &[(50, &ip(60).octets()), (51, &600u32.to_be_bytes())]);
    assert_eq!((offer.message.yiaddr, offer.message.options.u32(51)), (ip(60), Some(600)), "both MAY");
    let no_address = message(1, MessageType::Decline, &[(54, &SERVER.octets())]);
    assert_eq!(world.send(&no_address).unwrap_err(), DropReason::BadRequest, "DECLINE: option 50 MUST");
    world.ask(&select(1, SERVER, ip(60)));
    let for_other = message(1, MessageType::Decline, &[(54, &[10, 0, 0, 1]), (50, &ip(60).octets())]);
    assert_eq!(world.send(&for_other).unwrap_err(), DropReason::OtherServer);
    let no_ciaddr = message(1, MessageType::Release, &[(54, &SERVER.octets())]);
    assert_eq!(world.send(&no_ciaddr).unwrap_err(), DropReason::NotOwner, "RELEASE: ciaddr MUST");
    let reply = Message { op: 2, ..discover(1) };
    assert_eq!(world.send(&reply).unwrap_err(), DropReason::NotRequest, "op is BOOTREQUEST");
    // An INFORM must not have options 50 and 51. The server ignores them.
    let inform = message(1, MessageType::Inform, &[(50, &ip(61).octets()), (51, &600u32.to_be_bytes())]);
    let ack = world.ask(&Message { ciaddr: ip(60), ..inform });
    assert_eq!((ack.message.yiaddr, ack.option(51)), (Ipv4Addr::UNSPECIFIED, None));
}

#[test]
fn rfc2132_3_3_the_mask_stands_before_the_router_and_the_list_decides_the_rest() {
    let mut world = lab();
    let offer = offer(&mut world, &[(55, &[15, 3, 28, 1, 6, 0, 255, 200, 15])]);
    assert_eq!(codes(&offer), [53, 54, 51, 58, 59, 1, 3, 6, 15, 28]);
}

#[test]
fn rfc3011_2_a_client_names_its_subnet_only_where_that_is_enabled() {
    let select = (118, &[10, 1, 0, 0][..]);
    let mut world = lab();
    let plain = offer(&mut world, &[select]);
    assert_eq!((plain.message.yiaddr, plain.option(118)), (ip(50), None));
    let mut world = World::new(&LAB.replace("mode: server", "mode: server\n  subnet_selection: true"));
    let selected = offer(&mut world, &[select]);
    assert_eq!(selected.message.yiaddr, Ipv4Addr::new(10, 1, 0, 50));
    assert_eq!(selected.option(118), Some(select.1), "the copy that the client waits for");
    let mut choice = support::world::select(1, SERVER, selected.message.yiaddr);
    choice.options.push(118, select.1);
    assert_eq!(world.ask(&choice).message.yiaddr, selected.message.yiaddr);
    let relayed = Message { giaddr: ip(2), ..message(2, MessageType::Discover, &[select]) };
    let answer = world.ask(&relayed);
    assert_eq!(answer.message.yiaddr, Ipv4Addr::new(10, 1, 0, 51));
    assert_eq!(answer.route, Route::Unicast(SocketAddrV4::new(ip(2), 67)));
    let strange = message(3, MessageType::Discover, &[(118, &[10, 8, 0, 0])]);
    assert_eq!(world.send(&strange).unwrap_err(), DropReason::NoSubnet);
    for no_address in [&[10, 1, 0][..], &[0, 0, 0, 0], &[]] {
        let none = message(3, MessageType::Discover, &[(118, no_address)]);
        assert_eq!(world.ask(&none).message.yiaddr, ip(50), "{no_address:?}");
    }
}

#[test]
fn rfc3527_3_the_relay_agent_names_the_subnet_and_still_gets_the_reply() {
    let mut world = lab();
    let link = [1, 1, 7, 5, 4, 10, 1, 0, 99];
    let relayed = |giaddr: Ipv4Addr| Message { giaddr, ..message(1, MessageType::Discover, &[(82, &link)]) };
    let offer = world.ask(&relayed(ip(2)));
    assert_eq!(offer.message.yiaddr, Ipv4Addr::new(10, 1, 0, 50));
    assert_eq!(
        offer.route,
        Route::Unicast(SocketAddrV4::new(ip(2), 67)),
        "giaddr is where the relay agent is"
    );
    assert_eq!((offer.option(82), offer.message.giaddr), (Some(&link[..]), ip(2)));
    let stranger = relayed(Ipv4Addr::new(172, 16, 0, 1));
    assert_eq!(world.send(&stranger).unwrap_err(), DropReason::UnknownRelay);
    let nowhere = message(1, MessageType::Discover, &[(82, &[5, 4, 172, 16, 0, 0])]);
    let nowhere = Message { giaddr: ip(2), ..nowhere };
    assert_eq!(world.send(&nowhere).unwrap_err(), DropReason::NoSubnet);
    let unrelayed = message(2, MessageType::Discover, &[(82, &link)]);
    assert_eq!(world.ask(&unrelayed).message.yiaddr, ip(50), "without giaddr nobody vouches for it");
    let mut both = World::new(&LAB.replace("mode: server", "mode: server\n  subnet_selection: true"));
    let mut message = relayed(ip(2));
    message.options.push(118, &[192, 168, 77, 0]);
    assert_eq!(
        both.ask(&message).message.yiaddr,
        Ipv4Addr::new(10, 1, 0, 50),
        "the relay agent knows better"
    );
}

#[test]
fn rfc5107_4_the_relay_agent_stands_in_for_the_server() {
    let mut world = lab();
    let stand_in = Ipv4Addr::new(10, 1, 0, 1);
    let information = [11, 4, 10, 1, 0, 1];
    let relayed = |message: Message| {
        let mut message = Message { giaddr: stand_in, ..message };
        message.options.push(82, &information);
        message
    };
    let offer = world.ask(&relayed(discover(1)));
    let address = offer.message.yiaddr;
    assert_eq!(offer.message.options.ip(54), Some(stand_in));
    assert_eq!(offer.message.siaddr, SERVER, "files still come from us");
    let ack = world.ask(&relayed(select(1, stand_in, address)));
    assert_eq!((ack.kind(), ack.message.options.ip(54)), (Some(MessageType::Ack), Some(stand_in)));
    let unasked = Message { giaddr: stand_in, ..select(1, stand_in, address) };
    assert_eq!(
        world.send(&unasked).unwrap_err(),
        DropReason::OtherServer,
        "without the suboption it is not us"
    );
    let mut release = message(1, MessageType::Release, &[(54, &stand_in.octets())]);
    release.ciaddr = address;
    world.arrival.source = SocketAddrV4::new(stand_in, 67);
    assert!(world.send(&relayed(release)).unwrap().is_none());
}

#[test]
fn rfc2131_2_an_option_needs_the_datagram_that_the_check_of_the_configuration_says() {
    // No option goes into `file` and `sname` for a client that boots.
    let pxe = (60, &b"PXEClient"[..]);
    for (len, datagram) in [(1, 305), (270, 576), (271, 577), (600, 908), (1000, 1310)] {
        let long = "x".repeat(len);
        assert_eq!(smallest_datagram(224, long.as_bytes()), datagram, "{len} bytes");
        let mut world = World::new(&format!(
            "dhcp: {{mode: server, subnets: [{{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99, \
             options: {{224: 'text:{long}'}}}}]}}"
        ));
        let mut gets = |takes: u32| {
            let takes = u16::try_from(takes).unwrap().to_be_bytes();
            offer(&mut world, &[pxe, (57, &takes), (55, &[224])]).option(224).is_some()
        };
        assert!(gets(datagram), "{len} bytes");
        assert_eq!(gets(datagram - 1), datagram <= 576, "{len} bytes");
        let without_57 = offer(&mut world, &[pxe, (55, &[224])]);
        assert_eq!(without_57.option(224).is_some(), datagram <= 576, "{len} bytes");
    }
}

#[test]
fn rfc3396_4_long_options_are_split_on_output_and_joined_on_input() {
    let long = "x".repeat(600);
    let mut world = World::new(&LAB.replace("LONG", &long));
    let large = (57, &1500u16.to_be_bytes()[..]);
    let answer = offer(&mut world, &[large, (55, &[224])]);
    assert_eq!(answer.option(224), Some(long.as_bytes()));
    let lengths: Vec<usize> =
        raw_options(&answer.bytes).filter(|(c, _)| *c == 224).map(|(_, v)| v.len()).collect();
    assert_eq!(lengths, [255, 255, 90]);
    assert_eq!(offer(&mut world, &[(55, &[224, 15])]).option(224), None, "whole or not at all");
    let list = [&[15; 300][..], &[119]].concat();
    assert!(
        offer(&mut world, &[(55, &list)]).option(119).is_some(),
        "a list of 301 bytes came in two pieces"
    );
}

#[test]
fn rfc3397_2_the_search_list_goes_out_compressed() {
    let answer = offer(&mut lab(), &[(55, &[119])]);
    assert_eq!(answer.option(119), Some(&b"\x03lab\x07example\0\xc0\x04"[..]));
}

#[test]
fn rfc3442_a_client_that_knows_classless_routes_gets_no_router() {
    let mut world = lab();
    let both = offer(&mut world, &[(55, &[1, 3, 121, 6])]);
    assert_eq!(codes(&both), [53, 54, 51, 58, 59, 1, 121, 6]);
    assert_eq!(both.option(121), Some(&[0, 192, 168, 77, 254][..]));
    let old = offer(&mut world, &[(55, &[1, 3, 6])]);
    assert_eq!((old.option(3).is_some(), old.option(121)), (true, None));
    let silent = offer(&mut world, &[]);
    assert!(silent.option(3).is_some() && silent.option(121).is_some(), "it does not say what it knows");
    world.settings.subnets[0].level.options.insert(121, OptionValue::Removed);
    assert!(offer(&mut world, &[(55, &[1, 3, 121])]).option(3).is_some(), "there are no such routes");
}

#[test]
fn rfc4361_6_1_a_duid_names_the_client_whatever_its_hardware_address() {
    let mut world = lab();
    let id = [&[255, 0, 0, 0, 1, 0, 2][..], &[7; 16]].concat();
    let first = world.ask(&message(1, MessageType::Discover, &[(61, &id)])).message.yiaddr;
    let options = [(50, &first.octets()[..]), (54, &SERVER.octets()), (61, &id)];
    world.ask(&message(1, MessageType::Request, &options));
    // The first card is gone and no longer answers. If both answer, they are two machines (r_04 in claims.rs).
    let other_card = world.ask(&message(2, MessageType::Discover, &[(61, &id)]));
    assert_eq!(other_card.message.yiaddr, first);
    assert_eq!(other_card.option(61), Some(&id[..]), "RFC 6842 section 3");
}

#[test]
fn rfc4702_4_option_81_is_answered_when_it_is_sent() {
    let mut world = lab();
    assert_eq!(offer(&mut world, &[(55, &[81])]).option(81), None, "not unless the client sent it");
    let asked = |world: &mut World, value: &[u8]| offer(world, &[(81, value)]).option(81).map(<[u8]>::to_vec);
    let completed = Some(b"\x0e\xff\xff\x02pc\x03lab\x07example\0".to_vec());
    assert_eq!(asked(&mut world, b"\x05\0\0\x02pc"), completed, "by the domain option");
    assert_eq!(asked(&mut world, b"\0\0\0pc"), Some(b"\x08\xff\xffpc.lab.example".to_vec()));
    let ack = {
        let mut request = select(1, SERVER, ip(50));
        request.options.push(81, b"\x05\0\0\x02pc");
        world.ask(&request)
    };
    assert_eq!(ack.option(81).map(<[u8]>::to_vec), completed);
    let mut suffixed = World::new(&LAB.replace("mode: server", "mode: server\n  fqdn_suffix: pcs.example"));
    assert_eq!(asked(&mut suffixed, b"\0\0\0pc"), Some(b"\x08\xff\xffpc.pcs.example".to_vec()));
}

#[test]
fn d_05_d_06_d_08_and_d_14_bad_names_are_ignored_and_the_client_still_boots() {
    let mut world = World::new(&LAB.replace("mode: server", "mode: server\n  fqdn_suffix: lab.example"));
    let long = [b'a'; 300];
    for name in [&b"!@#"[..], b"a\xe9", b"", &long, b"$(touch /tmp/x)", b"../../x", b"\n\x1b\0", b"-"] {
        let dns = [&[4, 0, 0, u8::try_from(name.len().min(255)).unwrap()][..], name].concat();
        for (code, value) in [(12, name.to_vec()), (81, [&[0, 0, 0][..], name].concat()), (81, dns)] {
            let answer = offer(&mut world, &[(code, &value)]);
            assert_eq!(answer.kind(), Some(MessageType::Offer), "{name:?}");
            let Some(name) = answer.option(81) else { continue };
            let text =
                name[3..].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | 0..=63));
            assert!(text && !matches!(name[3], 0 | b'.' | b'-'), "{name:?}");
        }
    }
    for length in 0x40..=0xff_u8 {
        let label = [&[4, 0, 0, length][..], &[b'x'; 255]].concat();
        assert_eq!(offer(&mut world, &[(81, &label)]).option(81), None, "{length}");
    }
}

#[test]
fn rfc8925_3_3_option_108_is_sent_on_request_only() {
    let mut world = lab();
    assert_eq!(offer(&mut world, &[(55, &[1, 108])]).message.options.u32(108), Some(300));
    assert_eq!(offer(&mut world, &[(55, &[1])]).option(108), None);
    assert_eq!(offer(&mut world, &[]).option(108), None, "no list is no wish");
}

#[test]
fn rfc5071_4_pxelinux_gets_its_options_unasked() {
    let yaml =
        LAB.replace("domain: lab.example\n", "domain: lab.example\n        pxelinux_config_file: lab.cfg\n");
    let mut world = World::new(&yaml);
    let firmware = [(60, &b"PXEClient:Arch:00000:UNDI:002001"[..]), (93, &[0, 0]), (55, &[1, 3])];
    assert_eq!(offer(&mut world, &firmware).option(209), Some(&b"lab.cfg"[..]));
    assert_eq!(offer(&mut world, &[(55, &[1, 3])]).option(209), None);
}

const CLASSES: &str = "
dhcp:
  mode: server
  subnets:
    - network: 192.168.77.0/24
      pool: 192.168.77.50-192.168.77.99
      options: {domain: subnet.example, ntp: 192.168.77.1}
  classes:
    - {match: {vendor_class: acme}, options: {domain: acme.example}, boot: acme.efi}
    - {match: {vendor_class: [acme, '*widget']}, options: {domain: second.example, log_server: 192.168.77.9}}
    - {match: {user_class: lab}, options: {domain: user.example}}
    - {match: {hostname: pc-*}, options: {domain: pc.example}}
    - {match: {arch: uefi-arm64}, options: {domain: arm.example}}
    - {match: {mac: '02:00:00:00:00:a'}, options: {domain: none.example}}
    - {match: {mac: '02:00:00:00:00:a?'}, options: {domain: mac.example}}
    - {match: {uuid: 00112233-4455-6677-8899-aabbccddeeff}, options: {domain: uuid.example}}
    - {match: {circuit_id: ge-0/*, remote_id: 'hex:0aff'}, options: {domain: port.example}}
    - {match: {option.224: 'hex:01', option.user_class: x*}, options: {domain: option.example}}
    - {match: {option.225: '*'}, boot: {bios: class.kpxe}}
    - {match: {option.225: '*'}, boot: class.ipxe}
boot:
  arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}
  ipxe: boot.ipxe
machines:
  - {name: node1, mac: '02:00:00:00:00:c8', options: {domain: machine.example}, boot: machine.efi}
  - {name: node2, uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab, address: 192.168.77.20}
  - {name: node3, mac: '02:00:00:00:00:c9', uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ac, address: 192.168.77.21}
";

/// The domain name that client `n` gets when it sends these options.
fn domain(world: &mut World, n: u8, options: &[(u8, &[u8])]) -> String {
    let answer = world.ask(&message(n, MessageType::Discover, options));
    String::from_utf8(answer.option(15).unwrap().to_vec()).unwrap()
}

#[test]
fn classes_match_options_of_clients() {
    let mut world = World::new(CLASSES);
    let smbios = b"\0\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    let network = b"\0\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    for (expected, n, options) in [
        ("acme.example", 1, &[(60, &b"acme phone 7"[..])][..]),
        ("subnet.example", 1, &[(60, b"my acme")]),
        ("second.example", 1, &[(60, b"blue widget\0")]),
        ("user.example", 1, &[(77, b"lab")]),
        ("user.example", 1, &[(77, b"\x03foo\x03lab")]),
        ("subnet.example", 1, &[(77, b"labs")]),
        ("pc.example", 1, &[(12, b"PC-17")]),
        ("pc.example", 1, &[(81, b"\0\0\0pc-18.lab.example")]),
        ("subnet.example", 1, &[(12, b"my-pc-17")]),
        ("arm.example", 1, &[(93, &[0, 7, 0, 11])]),
        ("mac.example", 0xa7, &[]),
        ("subnet.example", 0xb7, &[]),
        ("uuid.example", 1, &[(97, smbios)]),
        ("uuid.example", 1, &[(97, network)]),
        ("subnet.example", 1, &[(97, &[0; 17])]),
        ("port.example", 1, &[(82, b"\x01\x06ge-0/1\x02\x02\x0a\xff")]),
        ("subnet.example", 1, &[(82, b"\x01\x06ge-0/1\x02\x02\x0a\xfe")]),
        ("option.example", 1, &[(224, &[1]), (77, b"xyz")]),
        ("subnet.example", 1, &[(224, &[1])]),
    ] {
        assert_eq!(domain(&mut world, n, options), expected, "client {n:x} {options:?}");
    }
}

#[test]
fn every_class_that_matches_adds_its_options_and_the_earlier_one_counts() {
    let mut world = World::new(CLASSES);
    let acme = offer(&mut world, &[(60, b"acme")]);
    assert_eq!(acme.option(15), Some(&b"acme.example"[..]));
    assert_eq!(acme.message.options.ip(7), Some(ip(9)), "of the second class");
    assert_eq!(acme.message.options.ip(42), Some(ip(1)), "of the subnet");
    assert_eq!(domain(&mut world, 0xc8, &[(60, b"acme")]), "machine.example");
}

#[test]
fn a_class_may_name_the_boot_file_by_the_rule_for_machines() {
    let mut world = World::new(CLASSES);
    let acme = Content::Other(FileKind::EfiProgram(Processor::X64));
    world.contents.extend([("acme.efi", acme), ("machine.efi", Content::IpxeBuild)]);
    let mut file = |n: u8, options: &[(u8, &[u8])]| {
        let answer = world.ask(&message(n, MessageType::Discover, options));
        String::from_utf8(answer.message.file_name().to_vec()).unwrap()
    };
    let (bios, x64, ipxe) = ((93, &[0, 0][..]), (93, &[0, 7][..]), (77, &b"iPXE"[..]));
    let marked = (225, &b"1"[..]);
    assert_eq!(file(1, &[bios]), "undionly.kpxe");
    assert_eq!(file(1, &[bios, (60, b"acme")]), "acme.efi");
    assert_eq!(file(0xc8, &[bios, (60, b"acme")]), "machine.efi", "its machine's own comes first");
    assert_eq!(file(1, &[bios, ipxe, (60, b"acme")]), "boot.ipxe", "an EFI program is not for a BIOS");
    assert_eq!(file(1, &[bios, marked]), "class.kpxe");
    assert_eq!(file(1, &[x64, marked]), "snponly.efi", "the script is not for firmware");
    assert_eq!(file(1, &[x64, ipxe, marked]), "class.ipxe");
    assert_eq!(file(0xc8, &[x64, ipxe, marked]), "class.ipxe", "the machine's own is an iPXE");
    assert_eq!(file(1, &[x64, ipxe, (60, b"acme")]), "acme.efi", "and this one it can run");
}

#[test]
fn rfc4578_2_3_a_machine_is_known_by_its_uuid() {
    let mut world = World::new(CLASSES);
    let uuid = |last: u8| {
        let fields = [0, 0xe0, 0xa7, 0x0f, 0x7c, 0x2b, 0x1d, 0x5d, 0x4c];
        [&fields[..], &[0x8e, 0x6f, 0x01, 0x23, 0x45, 0x67, 0x89, last]].concat()
    };
    let mut address =
        |n, uuid: &[u8]| world.ask(&message(n, MessageType::Discover, &[(97, uuid)])).message.yiaddr;
    assert_eq!(address(1, &uuid(0xab)), ip(20));
    assert_eq!(address(2, &uuid(0xac)), ip(21), "by UUID, though its MAC is another");
    assert_eq!(address(0xc8, &uuid(0xad)), ip(50));
    assert_eq!(address(4, &[0xff; 17]), ip(51));
    let mut world = World::new(CLASSES);
    assert_eq!(world.ask(&discover(0xc9)).message.yiaddr, ip(21), "by MAC alone");
    let swapped = world.ask(&message(0xc8, MessageType::Discover, &[(97, &uuid(0xab))]));
    assert_eq!(swapped.option(15), Some(&b"machine.example"[..]), "its MAC comes before its UUID");
}

/// The options of an encoded message in their order, up to END. END must be present, and only zeros may follow it.
fn raw_options(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = &bytes[240..];
    std::iter::from_fn(move || match rest {
        [255, padding @ ..] => {
            assert!(padding.iter().all(|byte| *byte == 0), "bytes behind END");
            None
        }
        [code, len, tail @ ..] => {
            let (value, next) = tail.split_at(usize::from(*len));
            rest = next;
            Some((*code, value))
        }
        _ => panic!("no END"),
    })
}

/// Options that no configuration can set (`NOT_CONFIGURABLE` in src/config/sections/options.rs), and those that only
/// clients get that do not boot from the network.
const DECIDED: [u8; 28] = [
    0, 1, 13, 43, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 66, 67, 77, 80, 81, 82, 93, 94, 97, 118,
    175, 255,
];

fn bytes(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

/// A value for an option of this kind that the configuration accepts.
fn value_of(kind: Kind) -> BoxedStrategy<Vec<u8>> {
    let times = |size: usize, most: usize| {
        prop::collection::vec(bytes(size), 1..most).prop_map(|parts| parts.concat()).boxed()
    };
    match kind {
        Kind::Ip | Kind::U32 | Kind::I32 => bytes(4).boxed(),
        Kind::Ips | Kind::IpsOrNone => times(4, 90),
        Kind::IpPairs => times(8, 40),
        Kind::Bool | Kind::U8 => bytes(1).boxed(),
        Kind::U16 => bytes(2).boxed(),
        Kind::U16s => times(2, 20),
        Kind::U8s | Kind::Bytes | Kind::Text => bytes(1..600).boxed(),
        Kind::Names | Kind::SearchList => prop::collection::vec("[a-z]{1,20}", 1..20)
            .prop_map(|labels| {
                let label =
                    |label: &String| [&[u8::try_from(label.len()).unwrap()], label.as_bytes(), &[0]].concat();
                labels.iter().flat_map(label).collect()
            })
            .boxed(),
        Kind::Routes => prop::collection::vec((0..=32u8, bytes(4), bytes(4)), 1..20)
            .prop_map(|routes| {
                let route = |(prefix, to, via): &(u8, Vec<u8>, Vec<u8>)| {
                    [&[*prefix], &to[..usize::from(prefix.div_ceil(8))], via].concat()
                };
                routes.iter().flat_map(route).collect()
            })
            .boxed(),
        Kind::Empty => Just(vec![]).boxed(),
    }
}

fn option_set() -> impl Strategy<Value = OptionSet> {
    let settable: Vec<u8> = (1..=254).filter(|code| !DECIDED.contains(code)).collect();
    let option = prop::sample::select(settable).prop_flat_map(|code| {
        let kind = by_code(code).map_or(Kind::Bytes, |row| row.kind);
        (Just(code), value_of(kind))
    });
    prop::collection::btree_map(any::<u8>(), option, 0..25).prop_map(|map| map.into_values().collect())
}

/// Options that a client may send in addition to the message type. `None` means that the client does not send the
/// option.
fn client_options() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let fixed = |code: u8, value: &'static [u8]| prop::option::of(Just((code, value.to_vec())));
    let random =
        |code: u8, most: usize| prop::option::of(bytes(0..most).prop_map(move |value| (code, value)));
    let size =
        prop::option::of(prop_oneof![0..2000u16, any::<u16>()].prop_map(|n| (57, n.to_be_bytes().to_vec())));
    (
        (size, random(55, 300), random(61, 400), random(82, 500), random(81, 80), random(118, 6)),
        (
            fixed(60, b"PXEClient:Arch:00007:UNDI:003000"),
            fixed(93, &[0, 7]),
            fixed(175, &[1]),
            random(97, 19),
        ),
    )
        .prop_map(|((a, b, c, d, e, f), (g, h, i, j))| {
            [a, b, c, d, e, f, g, h, i, j].into_iter().flatten().collect()
        })
}

/// Asserts row D-13 for a reply, and the size limit. Firmware parses options without checking lengths (PixieFail).
fn check_reply(request: &Message, answer: &Answer, mtu: u32) {
    let bytes = &answer.bytes;
    let takes = request.options.u16(57).map_or(576, u32::from).max(576);
    let limit = takes.min(mtu.clamp(576, 1500)) - 28;
    assert!((300..=limit as usize).contains(&bytes.len()), "{} bytes of at most {limit}", bytes.len());
    let overload = answer.message.options.u8(52).unwrap_or(0);
    let is_padded = |field: &[u8], text: &[u8]| field[text.len()..].iter().all(|byte| *byte == 0);
    assert!(overload & 2 != 0 || is_padded(&bytes[44..108], answer.message.server_name()), "D-12");
    assert!(overload & 1 != 0 || is_padded(&bytes[108..236], answer.message.file_name()), "D-12");
    assert!(overload == 0 || request.options.get(60).is_none(), "R-28: never to a booting client");
    let pieces: Vec<(u8, &[u8])> = raw_options(bytes).collect();
    for (i, (code, _)) in pieces.iter().enumerate() {
        let seen = pieces[..i].iter().any(|(other, _)| other == code);
        assert!(
            !seen || pieces[i - 1].0 == *code && pieces[i - 1].1.len() == 255,
            "option {code} stands twice"
        );
    }
    for (code, value) in answer.message.options.iter() {
        let echoed = matches!(code, 61 | 82);
        if let Some(row) = by_code(code).filter(|_| !echoed) {
            assert!(row.kind.fits(value), "option {code} {value:?}");
        }
        match code {
            43 => {
                let mut rest = value;
                while let [sub, len, tail @ ..] = rest {
                    assert!(*sub != 255 && usize::from(*len) <= tail.len(), "option 43 {value:?}");
                    rest = &tail[usize::from(*len)..];
                }
                assert!(matches!(rest, [255]), "option 43 {value:?} without END");
            }
            97 => assert_eq!(value.len(), 17),
            81 if value[0] & 4 != 0 => {
                assert!(names::read(&[&value[3..], &[0]].concat()).is_some(), "{value:?}");
            }
            61 | 82 => assert_eq!(Some(value), request.options.get(code), "byte for byte"),
            _ => {}
        }
    }
    let kind = answer.kind().expect("option 53");
    assert!(answer.message.options.ip(54).is_some());
    let times = [51, 58, 59].map(|code| answer.message.options.u32(code).is_some());
    assert_eq!(times, [kind != MessageType::Nak; 3]);
    if answer.option(82).is_some() {
        assert_eq!(pieces.last().map(|(code, _)| *code), Some(82), "the last in the options field");
    }
}

#[test]
fn rfc2132_every_option_of_the_standard_has_a_name() {
    let named = |code: u8| by_code(code).is_some();
    assert!((1..=76).all(named), "RFC 2132, and 62 and 63 of RFC 2242");
    for code in
        [77, 78, 79, 80, 81, 82, 85, 86, 87, 93, 94, 97, 98, 99, 108, 112, 113, 114, 116, 117, 118, 119, 121]
    {
        assert!(named(code), "{code}");
    }
    let sizes = [(Kind::Ip, 4), (Kind::U32, 4), (Kind::U16, 2), (Kind::U8, 1), (Kind::Bool, 1)];
    for row in TABLE {
        for (kind, size) in sizes {
            assert!(row.kind != kind || (0..9).all(|len| row.kind.fits(&vec![1; len]) == (len == size)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn d_13_no_reply_breaks_an_options_length_rule_or_the_size_limit(
        (general, subnet, class) in (option_set(), option_set(), option_set()),
        sent in client_options(),
        mtu in prop_oneof![Just(1500u32), 0..10_000u32],
        relayed in any::<bool>(),
        subnet_selection in any::<bool>(),
    ) {
        let mut world = World::new(CLASSES);
        world.settings.subnet_selection = subnet_selection;
        world.settings.level.options = general;
        world.settings.subnets[0].level.options = subnet;
        let mut classes: Vec<Class> = world.settings.classes.iter().cloned().collect();
        (classes[4].level.options, classes[4].alternatives) = (class, vec![vec![]]);
        world.settings.classes = classes.into();
        world.settings.bootp = BootpMode::Dynamic;
        world.arrival.mtu = mtu;
        let with = |message: Message| {
            let mut message = Message { giaddr: if relayed { ip(2) } else { Ipv4Addr::UNSPECIFIED }, ..message };
            sent.iter().for_each(|(code, value)| assert!(message.options.push(*code, value)));
            message
        };
        let request = with(discover(1));
        // No reply is fine too, because option 118 may name a subnet that is not ours.
        if let Ok(Some(offer)) = world.send(&request) {
            check_reply(&request, &offer, mtu);
            let server = offer.message.options.ip(54).unwrap();
            let request = with(select(1, server, offer.message.yiaddr));
            check_reply(&request, &world.ask(&request), mtu);
            let wrong = with(init_reboot(1, Ipv4Addr::new(172, 16, 0, 1)));
            check_reply(&wrong, &world.ask(&wrong), mtu);
            let bootp = world.ask(&with(bootp(2)));
            // A relay agent removes option 82.
            let mut read = bootp.message.clone();
            read.options = Options::default();
            let is_read = |code: &u8| !(relayed && *code == 82);
            let options = bootp.message.options.iter().filter(|(code, _)| is_read(code));
            options.for_each(|(code, value)| assert!(read.options.push(code, value)));
            prop_assert_eq!(read.encode().len(), 300, "RFC 951: 64 bytes of options");
            prop_assert!(bootp.bytes.len() <= 548);
            raw_options(&bootp.bytes).for_each(drop);
        } else {
            prop_assert!(subnet_selection || relayed);
        }
    }
}
