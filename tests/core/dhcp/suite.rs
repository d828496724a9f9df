//! The kinds of conversations that ISC's protocol tests (Forge) hold with a DHCPv4 server, with configurations of
//! lanboot. Each test has the name of a group of those tests.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::config;
use lanboot::event::DropReason;
use lanboot::lease::State;
use lanboot::wire::dhcp::{Message, MessageType};
use support::world::*;

pub(super) type Sent<'a> = &'a [(u8, &'a [u8])];

pub(super) fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// A server without conflict checks, with these keys in `dhcp`, in its subnet, and after `dhcp`.
pub(super) fn world(dhcp: &str, subnet: &str, rest: &str) -> World {
    World::new(&format!(
        "dhcp:\n  mode: server\n  conflict_check: off\n{dhcp}\n  subnets:\n    - network: 192.168.77.0/24\n{subnet}\n{rest}\n"
    ))
}

const ONE: &str = "      pool: 192.168.77.50-192.168.77.50";
const TWO: &str = "      pool: 192.168.77.50-192.168.77.51";

pub(super) fn with(mut message: Message, options: Sent<'_>) -> Message {
    options.iter().for_each(|(code, value)| assert!(message.options.push(*code, value)));
    message
}

pub(super) fn offer(world: &mut World, n: u8, options: Sent<'_>) -> Answer {
    world.ask(&with(discover(n), options))
}

fn offered(world: &mut World, n: u8, options: Sent<'_>) -> Result<Ipv4Addr, DropReason> {
    Ok(world.send(&with(discover(n), options))?.unwrap().message.yiaddr)
}

/// DISCOVER and REQUEST of client `n`, both with these options. Returns the ACK.
pub(super) fn lease(world: &mut World, n: u8, options: Sent<'_>) -> Answer {
    let address = offered(world, n, options).unwrap();
    let ack = world.ask(&with(select(n, SERVER, address), options));
    assert_eq!((ack.kind(), ack.message.yiaddr), (Some(MessageType::Ack), address));
    ack
}

fn inform(n: u8, address: Ipv4Addr, options: Sent<'_>) -> Message {
    Message { ciaddr: address, ..with(message(n, MessageType::Inform, &[]), options) }
}

fn is_accepted(yaml: &str) -> bool {
    config::load(yaml).is_ok()
}

/// Option names with values and their bytes on the wire.
const OPTIONS: &[(u8, &str, &[u8])] = &[
    (2, "time_offset: 50", &[0, 0, 0, 50]),
    (3, "router: [192.168.77.10, 192.168.77.5]", &[192, 168, 77, 10, 192, 168, 77, 5]),
    (4, "time_server: [199.199.199.1, 199.199.199.2]", &[199, 199, 199, 1, 199, 199, 199, 2]),
    (5, "name_server: 199.199.199.1", &[199, 199, 199, 1]),
    (6, "dns: [199.199.199.1, 100.100.100.1]", &[199, 199, 199, 1, 100, 100, 100, 1]),
    (7, "log_server: 199.199.199.1", &[199, 199, 199, 1]),
    (8, "cookie_server: 199.199.199.1", &[199, 199, 199, 1]),
    (9, "lpr_server: 199.199.199.1", &[199, 199, 199, 1]),
    (10, "impress_server: 199.199.199.1", &[199, 199, 199, 1]),
    (11, "resource_location_server: 199.199.199.1", &[199, 199, 199, 1]),
    (12, "hostname: isc.example.com", b"isc.example.com"),
    (13, "boot_file_size: 55", &[0, 55]),
    (14, "merit_dump_file: some-string", b"some-string"),
    (15, "domain: example.org", b"example.org"),
    (16, "swap_server: 199.199.199.1", &[199, 199, 199, 1]),
    (17, "root_path: some-string", b"some-string"),
    (18, "extensions_path: some-string", b"some-string"),
    (19, "ip_forwarding: true", &[1]),
    (20, "non_local_source_routing: true", &[1]),
    (21, "policy_filter: 199.199.199.1 50.50.50.1", &[199, 199, 199, 1, 50, 50, 50, 1]),
    (22, "max_datagram_reassembly: 600", &[2, 88]),
    (23, "default_ttl: 86", &[86]),
    (24, "path_mtu_aging_timeout: 85", &[0, 0, 0, 85]),
    (25, "path_mtu_plateau_table: [100, 300, 500]", &[0, 100, 1, 44, 1, 244]),
    (26, "interface_mtu: 321", &[1, 65]),
    (28, "broadcast_address: 255.255.255.0", &[255, 255, 255, 0]),
    (29, "perform_mask_discovery: true", &[1]),
    (30, "mask_supplier: true", &[1]),
    (31, "perform_router_discovery: true", &[1]),
    (32, "router_solicitation_address: 199.199.199.1", &[199, 199, 199, 1]),
    (
        33,
        "static_routes: [199.199.199.1 70.70.70.5, 80.80.80.80 10.10.10.5]",
        &[199, 199, 199, 1, 70, 70, 70, 5, 80, 80, 80, 80, 10, 10, 10, 5],
    ),
    (34, "trailer_encapsulation: true", &[1]),
    (35, "arp_cache_timeout: 48", &[0, 0, 0, 48]),
    (36, "ethernet_encapsulation: true", &[1]),
    (37, "default_tcp_ttl: 44", &[44]),
    (38, "tcp_keepalive_interval: 4896", &[0, 0, 19, 32]),
    (39, "tcp_keepalive_garbage: true", &[1]),
    (40, "nis_domain: nis.domain.com", b"nis.domain.com"),
    (41, "nis_servers: 199.199.199.1", &[199, 199, 199, 1]),
    (42, "ntp: 199.199.199.1", &[199, 199, 199, 1]),
    (43, "vendor_specific: 'hex:01020042'", &[1, 2, 0, 0x42]),
    (44, "netbios_name_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (45, "netbios_dd_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (46, "netbios_node_type: 8", &[8]),
    (47, "netbios_scope: global", b"global"),
    (48, "x_font_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (49, "x_display_managers: 188.188.188.2", &[188, 188, 188, 2]),
    (60, "vendor_class: answer", b"answer"),
    (62, "netware_ip_domain: some.domain", b"some.domain"),
    (63, "netware_ip_information: 'hex:0a0b'", &[10, 11]),
    (64, "nisplus_domain: nis.org", b"nis.org"),
    (65, "nisplus_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (66, "tftp_server_name: tftp.example", b"tftp.example"),
    (67, "boot_file_name: bootfile.unique", b"bootfile.unique"),
    (68, "mobile_ip_home_agents: 166.1.1.1", &[166, 1, 1, 1]),
    (69, "smtp_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (70, "pop3_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (71, "nntp_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (72, "www_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (73, "finger_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (74, "irc_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (75, "streettalk_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (76, "stda_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (78, "slp_directory_agent: 'hex:00c0a84d01'", &[0, 192, 168, 77, 1]),
    (79, "slp_service_scope: 'hex:0041'", &[0, 0x41]),
    (85, "nds_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (86, "nds_tree_name: tree", b"tree"),
    (87, "nds_context: context", b"context"),
    (88, "bcmcs_domains: very.good", b"\x04very\x04good\0"),
    (89, "bcmcs_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (91, "last_transaction_time: 3424", &[0, 0, 13, 96]),
    (92, "associated_addresses: 188.188.188.2", &[188, 188, 188, 2]),
    (95, "ldap_url: ldap://x", b"ldap://x"),
    (99, "civic_location: 'hex:0102'", &[1, 2]),
    (100, "posix_timezone: EST5EDT", b"EST5EDT"),
    (101, "tzdb_timezone: Europe/Zurich", b"Europe/Zurich"),
    (108, "ipv6_only_preferred: 1800", &[0, 0, 7, 8]),
    (112, "netinfo_servers: 188.188.188.2", &[188, 188, 188, 2]),
    (113, "netinfo_tag: tag", b"tag"),
    (114, "captive_portal: http://x/", b"http://x/"),
    (116, "auto_configure: 1", &[1]),
    (117, "name_service_search: [6, 41]", &[0, 6, 0, 41]),
    (119, "domain_search: example.com", b"\x07example\x03com\0"),
    (121, "classless_routes: {to: 0.0.0.0/0, via: 192.168.77.9}", &[0, 192, 168, 77, 9]),
    (122, "122: 'hex:0102'", &[1, 2]),
    (124, "124: 'hex:000011 5a 02 0102'", &[0, 0, 17, 90, 2, 1, 2]),
    (125, "125: 'hex:0000115a03010101'", &[0, 0, 17, 90, 3, 1, 1, 1]),
    (136, "pana_agents: 188.188.188.2", &[188, 188, 188, 2]),
    (137, "lost_server: a.b", b"\x01a\x01b\0"),
    (138, "capwap_controllers: 188.188.188.2", &[188, 188, 188, 2]),
    (141, "sip_ua_domains: a.b", b"\x01a\x01b\0"),
    (150, "150: 'hex:c0a84d01'", &[192, 168, 77, 1]),
    (162, "162: 'hex:0001'", &[0, 1]),
    (176, "176: text:custom", b"custom"),
    (224, "224: 'hex:00c8'", &[0, 200]),
    (252, "252: text:http://wpad", b"http://wpad"),
];

#[test]
fn standard_options_go_to_clients_that_ask_for_them() {
    for (code, written, bytes) in OPTIONS {
        let mut world = world("", &format!("{TWO}\n      options: {{{written}}}"), "");
        let list = [*code];
        let asks = &[(55, &list[..])][..];
        assert_eq!(offer(&mut world, 1, asks).option(*code), Some(*bytes), "OFFER: {written}");
        assert_eq!(lease(&mut world, 1, asks).option(*code), Some(*bytes), "ACK: {written}");
        let known = world.ask(&inform(2, ip(200), asks));
        assert_eq!(known.option(*code), Some(*bytes), "INFORM: {written}");
        let other = offer(&mut world, 2, &[(55, &[1])]);
        let is_unasked = matches!(code, 3 | 6);
        assert_eq!(other.option(*code).is_some(), is_unasked, "not requested: {written}");
    }
}

#[test]
fn malformed_values_of_options_are_problems() {
    for written in [
        "ip_forwarding: 2",
        "time_offset: x",
        "time_offset: 2147483648",
        "boot_file_size: 65536",
        "boot_file_size: -1",
        "policy_filter: 199.199.199.1",
        "max_datagram_reassembly: 65536",
        "default_ttl: 0",
        "default_ttl: 256",
        "path_mtu_aging_timeout: -1",
        "static_routes: 199.199.199.1 70.70.70.5 80.80.80.80",
        "static_routes: '199.199.199 70.70.70.5'",
        "arp_cache_timeout: -1",
        "default_tcp_ttl: 266",
        "dns: 199.199.199",
        "dns: 199.199.199.256",
        "dns: hex:C0A80",
        "dns: hex:xyz",
        "dns: ''",
        "netbios_node_type: 3",
        "0: hex:01",
        "255: hex:01",
        "256: hex:01",
        "1: 255.255.255.0",
        "50: 10.0.0.1",
        "51: 100",
        "52: 1",
        "53: 1",
        "54: 10.0.0.1",
        "56: text",
        "57: 576",
        "58: 10",
        "59: 10",
        "82: hex:0101",
        "125: hex:01",
        "no_such_option: 1",
        "domain_search: 'a..b'",
        "hostname: 'a b'",
    ] {
        let yaml =
            format!("dhcp: {{mode: server, subnets: [{{network: 10.0.0.0/24, options: {{{written}}}}}]}}");
        let problems = config::load(&yaml).expect_err(written);
        assert!(problems.iter().all(|problem| problem.to_string().len() > 20), "{problems:?}");
    }
}

/// The condition, a client that meets it, and one that does not.
const EXPRESSIONS: &[(&str, Sent<'static>, Sent<'static>)] = &[
    (
        "{client_id: 'hex:ff010203ff041122'}",
        &[(61, b"\xff\x01\x02\x03\xff\x04\x11\x22")],
        &[(61, b"\xff\x01\x11\x11")],
    ),
    ("{client_id: 'hex:*'}", &[(61, b"\x01\x02")], &[]),
    ("{option.12: 'hex:*'}", &[(12, b"x")], &[]),
    ("{not: {option.12: 'hex:*'}}", &[], &[(12, b"x")]),
    ("{relay.3: 'hex:*'}", &[(82, &[3, 1, 1])], &[(82, &[1, 1, 1])]),
    ("{relay.3: 'hex:01'}", &[(82, &[3, 1, 1])], &[(82, &[3, 1, 2])]),
    ("{circuit_id: port1}", &[(82, b"\x01\x05port1")], &[(82, b"\x01\x05port2")]),
    ("{remote_id: 'hex:0a0b'}", &[(82, &[2, 2, 10, 11])], &[(82, &[2, 1, 10])]),
    ("{option.125: 'hex:*'}", &[(125, &[0, 0, 17, 90, 3, 1, 1, 1])], &[]),
    (
        "{option.125: 'hex:0000115a*'}",
        &[(125, &[0, 0, 17, 90, 3, 1, 1, 1])],
        &[(125, &[0, 0, 17, 91, 3, 1, 1, 1])],
    ),
    (
        "{vendor.4442.1: 'hex:*'}",
        &[(125, &[0, 0, 17, 90, 3, 1, 1, 1])],
        &[(125, &[0, 0, 17, 90, 3, 2, 1, 1])],
    ),
    (
        "{vendor.4442.1: 'hex:01'}",
        &[(125, &[0, 0, 17, 90, 3, 1, 1, 1])],
        &[(125, &[0, 0, 17, 90, 3, 1, 1, 2])],
    ),
    ("{vendor.4442: 'hex:*'}", &[(124, &[0, 0, 17, 90, 1, 1])], &[(124, &[0, 0, 17, 91, 1, 1])]),
    ("{vendor_class: PXE}", &[(60, b"PXEx")], &[(60, b"xPXE")]),
    ("{vendor_class: {is: docsis3.0}}", &[(60, b"docsis3.0")], &[(60, b"docsis3.0:xxx")]),
    ("{vendor_class: '*docsis*'}", &[(60, b"a docsis b")], &[(60, b"docs")]),
    ("{vendor_class: ['?bc', xyz]}", &[(60, b"abc")], &[(60, b"abcd")]),
    ("{user_class: 'hex:1234??ab'}", &[(77, &[0x12, 0x34, 9, 0xab])], &[(77, &[0x12, 0x34, 0xab])]),
    ("{user_class: iPXE}", &[(77, b"iPXE")], &[(77, b"other")]),
    ("{user_class: b}", &[(77, b"\x01a\x01b")], &[(77, b"\x01a\x01c")]),
    ("{arch: 'uefi-x64'}", &[(93, &[0, 7])], &[(93, &[0, 0])]),
    ("{option.94: 'hex:010203'}", &[(94, &[1, 2, 3])], &[(94, &[1, 2, 4])]),
    (
        "{uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab}",
        &[(97, b"\0\x7c\x0f\xa7\xe0\x1d\x2b\x4c\x5d\x8e\x6f\x01\x23\x45\x67\x89\xab")],
        &[(97, &[0; 17])],
    ),
    ("[{hostname: aaa}, {option.15: b}]", &[(15, b"b")], &[(12, b"bbb")]),
    ("{hostname: aaa, option.15: b}", &[(12, b"aaa"), (15, b"b")], &[(12, b"aaa")]),
    ("{hostname: '[ab]*'}", &[(12, b"[ab]x")], &[(12, b"ax")]),
    ("{option.55: 'hex:0103*'}", &[(55, &[1, 3, 6])], &[(55, &[3, 1])]),
    ("{option.57: 'hex:0240'}", &[(57, &[2, 64])], &[(57, &[2, 65])]),
    ("{option.60: 'hex:*616263'}", &[(60, b"xabc")], &[(60, b"abcx")]),
    ("{class: pxe}", &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0])], &[]),
    ("{class: http}", &[(60, b"HTTPClient:Arch:00016:UNDI:003001"), (93, &[0, 16])], &[]),
    ("{class: ipxe}", &[(77, b"iPXE")], &[]),
    ("{mac: '02:00:00'}", &[], &[]),
];

#[test]
fn classes_compare_everything_that_a_client_sends() {
    for (written, meets, fails) in EXPRESSIONS {
        let classes = format!("  classes: [{{name: c, match: {written}}}]");
        let mut world = world(&classes, "      pools: [{range: 192.168.77.50-192.168.77.60, class: c}]", "");
        assert_eq!(offered(&mut world, 1, meets), Ok(ip(50)), "{written}");
        if meets != fails {
            assert!(offered(&mut world, 2, fails).is_err(), "{written}");
        }
    }
    let mut relayed = world(
        "  classes: [{name: c, match: {relay: 192.168.77.2}}]",
        "      pools: [{range: 192.168.77.50-192.168.77.60, class: c}]",
        "",
    );
    let from = |n: u8| Message { giaddr: ip(n), ..discover(1) };
    assert!(relayed.send(&from(3)).is_err());
    assert_eq!(relayed.ask(&from(2)).message.yiaddr, ip(50));
}

#[test]
fn known_and_unknown_clients_have_their_own_pools() {
    let pools = "      pools: [{range: 192.168.77.50-192.168.77.54, class: unknown}, {range: 192.168.77.55-192.168.77.59, class: known}]";
    let mut world = world("", pools, "machines: [{mac: '02:00:00:00:00:01', options: {hostname: known}}]");
    assert_eq!((offered(&mut world, 1, &[]), offered(&mut world, 2, &[])), (Ok(ip(55)), Ok(ip(50))));
}

#[test]
fn access_is_controlled_by_reservations_of_classes() {
    let dhcp = "  classes: [{name: blocked}, {name: gold, options: {domain: gold}}]";
    let subnet = "      pools: [{range: 192.168.77.50-192.168.77.54, class: open}, {range: 192.168.77.60-192.168.77.64, class: gold}]";
    let dhcp = format!("{dhcp}\n")
        .replace("[{name: blocked}", "[{name: blocked}, {name: open, match: {not: {class: blocked}}}");
    let machines = "machines: [{mac: '02:00:00:00:00:01', class: blocked}, {mac: '02:00:00:00:00:02', class: [gold, blocked]}, {mac: '02:00:00:00:00:03', ignore: true}]";
    let mut world = world(&dhcp, subnet, machines);
    assert!(offered(&mut world, 1, &[]).is_err());
    let gold = offer(&mut world, 2, &[]);
    assert_eq!((gold.message.yiaddr, gold.option(15)), (ip(60), Some(&b"gold"[..])));
    assert_eq!(offered(&mut world, 3, &[]), Err(DropReason::Ignored));
    assert_eq!(offered(&mut world, 4, &[]), Ok(ip(50)));
}

#[test]
fn a_reservation_is_found_by_every_identifier() {
    for (key, sent) in [
        ("mac: '02:00:00:00:00:01'", &[][..]),
        ("id: 'hex:00010203040111'", &[(61, &b"\0\x01\x02\x03\x04\x01\x11"[..])]),
        ("id: 'hex:ff000000010003000100010203'", &[(61, b"\xff\0\0\0\x01\0\x03\0\x01\0\x01\x02\x03")]),
        ("circuit_id: 'hex:060106020603'", &[(82, b"\x01\x06\x06\x01\x06\x02\x06\x03")]),
        ("remote_id: port", &[(82, b"\x02\x04port")]),
        (
            "uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab",
            &[(97, b"\0\x7c\x0f\xa7\xe0\x1d\x2b\x4c\x5d\x8e\x6f\x01\x23\x45\x67\x89\xab")],
        ),
    ] {
        for address in [50, 5, 51] {
            let machine = format!(
                "machines: [{{name: m, {key}, address: 192.168.77.{address}, options: {{hostname: reserved, domain: mine}}, boot_file: f, next_server: 10.0.0.9, server_name: s}}]"
            );
            let mut world = world("", TWO, &machine);
            let ask = [sent, &[(55, &[12, 15])]].concat();
            let is_relayed = key.contains("circuit") || key.contains("remote");
            let giaddr = if is_relayed { ip(2) } else { Ipv4Addr::UNSPECIFIED };
            let offer = world.ask(&Message { giaddr, ..with(discover(1), &ask) });
            let taken = with(select(1, SERVER, offer.message.yiaddr), &ask);
            let ack = world.ask(&Message { giaddr, ..taken });
            let Message { yiaddr, siaddr, .. } = ack.message;
            assert_eq!((yiaddr, siaddr), (ip(address), Ipv4Addr::new(10, 0, 0, 9)), "{key}");
            assert_eq!(
                (ack.option(12), ack.option(15)),
                (Some(&b"reserved"[..]), Some(&b"mine"[..])),
                "{key}"
            );
            assert_eq!((ack.message.file_name(), ack.message.server_name()), (&b"f"[..], &b"s"[..]), "{key}");
            assert_ne!(offered(&mut world, 9, &[]), Ok(ip(address)), "{key}");
        }
    }
}

#[test]
fn reservations_alone_serve_a_subnet_without_a_pool() {
    let machines = "machines: [{mac: '02:00:00:00:00:01', address: 192.168.77.10}, {mac: '02:00:00:00:00:02', address: 192.168.77.11}]";
    let mut world = world("", "", machines);
    assert_eq!((world.lease(1), world.lease(2)), (ip(10), ip(11)));
    assert!(world.send(&discover(3)).is_err());
    assert_eq!(world.ask(&inform(3, ip(200), &[])).kind(), Some(MessageType::Ack), "stateless");
}

#[test]
fn conflicting_reservations_are_problems() {
    let with = |machines: &str| {
        is_accepted(&format!(
            "dhcp: {{mode: server, subnets: [{{network: 10.1.0.0/24}}, {{network: 10.2.0.0/24}}]}}\nmachines: [{machines}]"
        ))
    };
    let one = "{name: a, mac: '02:00:00:00:00:01', address: 10.1.0.5}";
    for (other, fits) in [
        ("{name: b, mac: '02:00:00:00:00:01', address: 10.1.0.6}", false),
        ("{name: b, mac: '02:00:00:00:00:02', address: 10.1.0.5}", false),
        ("{name: b, mac: '02:00:00:00:00:01', address: 10.2.0.6}", true),
        ("{name: b, mac: '02:00:00:00:00:02', address: 10.3.0.6}", false),
        ("{name: a, mac: '02:00:00:00:00:02'}", false),
        ("{name: b, address: 10.1.0.6}", false),
    ] {
        assert_eq!(with(&format!("{one}, {other}")), fits, "{other}");
    }
}

#[test]
fn a_reservation_that_changes_moves_its_machine() {
    let yaml = |machines: &str| {
        format!(
            "dhcp: {{mode: server, conflict_check: off, subnets: [{{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}}]}}\nmachines: [{machines}]"
        )
    };
    let mut world = World::new(&yaml(""));
    assert_eq!((world.lease(1), world.lease(2)), (ip(50), ip(51)));
    world.replace(&yaml("{mac: '02:00:00:00:00:01', address: 192.168.77.55}"));
    assert_eq!(world.ask(&extend(1, ip(50))).kind(), Some(MessageType::Nak), "another address is reserved");
    assert_eq!(world.lease(1), ip(55));
    world.replace(&yaml("{mac: '02:00:00:00:00:03', address: 192.168.77.51}"));
    assert_ne!(world.ask(&discover(3)).message.yiaddr, ip(51), "still leased");
    let renewed = world.ask(&extend(2, ip(51)));
    assert_eq!(renewed.kind(), Some(MessageType::Nak), "it is reserved for another machine now");
    assert_ne!(world.lease(2), ip(51));
    assert_eq!(world.lease(3), ip(51));
}

#[test]
fn a_decline_needs_its_client_and_both_options() {
    let decline = |n: u8, options: Sent<'_>| with(message(n, MessageType::Decline, &[]), options);
    let (server, address) = (SERVER.octets(), ip(50).octets());
    let both = &[(54, &server[..]), (50, &address[..])][..];
    for (n, more, is_taken) in
        [(1, both, true), (1, &both[1..], false), (1, &both[..1], false), (2, both, false)]
    {
        let mut world = world("", TWO, "");
        lease(&mut world, 1, &[]);
        let _ = world.send(&decline(n, more));
        let state = world.book.binding(ip(50)).unwrap().state;
        assert_eq!(state != State::Leased, is_taken, "{n} {more:?}: {state:?}");
    }
}

#[test]
fn a_release_needs_its_client() {
    let id: Sent<'_> = &[(61, b"\0\0\x1f\xd0\x04\x01\x11")];
    let other: Sent<'_> = &[(61, b"\0\0\x1f\xd0\x11\x22\x33")];
    let release = |n: u8, options: Sent<'_>| {
        let message = message(n, MessageType::Release, &[(54, &SERVER.octets())]);
        Message { ciaddr: ip(50), ..with(message, options) }
    };
    for (has, n, sends, is_free) in [
        (id, 1, id, true),
        (id, 2, other, false),
        (id, 1, other, false),
        (&[][..], 1, &[][..], true),
        (&[][..], 2, &[][..], false),
    ] {
        let mut world = world("", ONE, "");
        lease(&mut world, 1, has);
        // A client that has given up its address sends from 0.0.0.0.
        for source in [Ipv4Addr::UNSPECIFIED, ip(50)] {
            world.arrival.source = SocketAddrV4::new(source, 68);
            let _ = world.send(&release(n, sends));
        }
        assert_eq!(offered(&mut world, 9, &[]).is_ok(), is_free, "{n}: {has:?} {sends:?}");
    }
}

#[test]
fn an_ended_lease_goes_to_another_client() {
    let mut world = world("", &format!("{ONE}\n      lease: 3s"), "");
    lease(&mut world, 1, &[]);
    assert!(offered(&mut world, 2, &[]).is_err());
    world.pass(4);
    assert_eq!(offered(&mut world, 2, &[]), Ok(ip(50)));
}

#[test]
fn relay_agents_choose_the_subnet_and_the_identifier() {
    let yaml = "dhcp:\n  mode: server\n  conflict_check: off\n  subnets:\n    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}\n    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.60, relays: [10.9.0.0/24]}\n";
    let mut world = World::new(yaml);
    world.arrival.source = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 67);
    let relayed = |message: Message, giaddr: [u8; 4]| Message { giaddr: giaddr.into(), ..message };
    let ten = Ipv4Addr::new(10, 1, 0, 50);
    assert_eq!(world.ask(&relayed(discover(1), [10, 1, 0, 1])).message.yiaddr, ten);
    assert_eq!(world.ask(&relayed(discover(1), [10, 9, 0, 77])).message.yiaddr, ten);
    let link: Sent<'_> = &[(82, &[5, 4, 10, 1, 0, 0])];
    assert_eq!(
        world.ask(&relayed(with(discover(1), link), [192, 168, 77, 2])).message.yiaddr,
        ten,
        "link selection"
    );
    let server: Sent<'_> = &[(82, &[11, 4, 10, 1, 0, 1])];
    let answer = world.ask(&relayed(with(discover(1), server), [10, 1, 0, 1]));
    assert_eq!(answer.option(54), Some(&[10, 1, 0, 1][..]), "server identifier override");
    assert_eq!(answer.option(82), Some(&[11, 4, 10, 1, 0, 1][..]));
    let taken = with(select(1, Ipv4Addr::new(10, 1, 0, 1), ten), server);
    assert_eq!(world.ask(&relayed(taken, [10, 1, 0, 1])).kind(), Some(MessageType::Ack));
    assert!(world.send(&relayed(discover(2), [172, 16, 0, 1])).is_err(), "unknown relay agent");
}

#[test]
fn requests_of_every_state_are_answered() {
    let mut world = world("  authoritative: strict", ONE, "");
    assert_eq!(world.lease(1), ip(50));
    assert!(offered(&mut world, 2, &[]).is_err(), "the pool is empty");
    assert_eq!(world.ask(&init_reboot(1, ip(50))).kind(), Some(MessageType::Ack));
    assert_eq!(world.ask(&init_reboot(1, ip(51))).kind(), Some(MessageType::Nak));
    assert_eq!(world.ask(&init_reboot(2, ip(50))).kind(), Some(MessageType::Nak), "strict");
    assert_eq!(world.ask(&extend(1, ip(50))).kind(), Some(MessageType::Ack), "renewing and rebinding");
    assert_eq!(world.ask(&extend(2, ip(50))).kind(), Some(MessageType::Nak));
    let selected = world.ask(&select(2, SERVER, ip(50)));
    assert_eq!(selected.kind(), Some(MessageType::Nak));
    let nothing = message(1, MessageType::Request, &[(54, &SERVER.octets())]);
    assert!(world.send(&nothing).is_err() || world.ask(&nothing).kind() == Some(MessageType::Nak));
    let other = select(1, Ipv4Addr::new(192, 168, 77, 9), ip(50));
    assert!(!matches!(world.send(&other), Ok(Some(_))), "another server was chosen");
}

#[test]
fn the_client_id_comes_back_unless_that_is_switched_off() {
    let id: Sent<'_> = &[(61, b"\xff\x01\x02\x03"), (55, &[61, 1])];
    for (key, comes) in [("", true), ("  echo_client_id: true", true), ("  echo_client_id: false", false)] {
        let mut world = world(&format!("  authoritative: strict\n{key}"), ONE, "");
        let sent = comes.then_some(&id[0].1);
        assert_eq!(offer(&mut world, 1, id).option(61), sent.copied(), "OFFER {key}");
        assert_eq!(lease(&mut world, 1, id).option(61), sent.copied(), "ACK {key}");
        let nak = world.ask(&with(init_reboot(1, ip(9)), id));
        assert_eq!((nak.kind(), nak.option(61)), (Some(MessageType::Nak), sent.copied()), "NAK {key}");
        assert_eq!(
            offer(&mut world, 1, &[(61, id[0].1)]).message.yiaddr,
            ip(50),
            "it still identifies the client"
        );
    }
}

#[test]
fn options_of_several_enterprises_are_sent_together() {
    let dhcp = "  options: {125: 'hex:000004d203 7b0101'}
  classes:
    - {match: {vendor.5678: 'hex:*'}, options: {125: 'hex:0000162e06 7b04c0000202', 124: 'hex:0000162e0141'}}
    - {match: {vendor.1234: 'hex:*'}, options: {125: 'hex:000004d206 7c0400000200', 124: 'hex:000004d20142'}}";
    let mut world = world(dhcp, TWO, "");
    let ask: (u8, &[u8]) = (55, &[124, 125]);
    let one = &[0, 0, 4, 0xd2, 3, 0x7b, 1, 1][..];
    assert_eq!(offer(&mut world, 1, &[ask]).option(125), Some(one));
    let both = offer(&mut world, 1, &[ask, (124, b"\0\0\x16\x2e\x01x\0\0\x04\xd2\x01y")]);
    let expected =
        [&[0, 0, 0x16, 0x2e, 6, 0x7b, 4, 192, 0, 2, 2, 0, 0, 4, 0xd2, 9, 0x7c, 4, 0, 0, 2, 0][..], &one[5..]]
            .concat();
    assert_eq!(both.option(125), Some(&expected[..]));
    assert_eq!(both.option(124), Some(&[0, 0, 0x16, 0x2e, 1, 0x41, 0, 0, 4, 0xd2, 1, 0x42][..]));
}

#[test]
fn options_are_sent_or_never_sent_at_every_level() {
    let dhcp = "  options: {ntp: 10.0.0.1, domain: global, root_path: global}
  always_send: domain
  classes: [{name: c, match: {vendor_class: c}, options: {domain: class}, always_send: 42}, {name: never, match: {vendor_class: n}, options: {domain: null}}]";
    let subnet = "      options: {domain: subnet}
      pools:
        - {range: 192.168.77.50-192.168.77.59, class: p, options: {domain: pool}, always_send: [17]}
        - {range: 192.168.77.60-192.168.77.69}";
    let dhcp = dhcp.replace("classes: [", "classes: [{name: p, match: {user_class: p}}, ");
    let mut world =
        world(&dhcp, subnet, "machines: [{mac: '02:00:00:00:00:c8', options: {domain: machine}}]");
    let list: (u8, &[u8]) = (55, &[1]);
    let mut see = |n: u8, more: Sent<'_>| {
        let answer = offer(&mut world, n, &[&[list], more].concat());
        let text = |code| answer.option(code).map(|value| String::from_utf8_lossy(value).into_owned());
        (text(15), answer.option(42).is_some(), text(17))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(see(1, &[]), (some("subnet"), false, None));
    assert_eq!(see(2, &[(60, b"c")]), (some("class"), true, None));
    assert_eq!(see(3, &[(77, b"p")]), (some("pool"), false, some("global")));
    assert_eq!(see(4, &[(60, b"n")]), (None, false, None), "never sent to this class");
    assert_eq!(see(0xc8, &[(60, b"c"), (77, b"p")]), (some("machine"), true, some("global")));
}

#[test]
fn lease_times_are_bounded_and_timers_configured() {
    let mut world = world(
        "  renew: 1h\n  rebind: 75%",
        &format!("{TWO}\n      lease: {{default: 2h, min: 30m, max: 3h}}"),
        "",
    );
    let mut times = |asked: Option<u32>| {
        let bytes = asked.unwrap_or(0).to_be_bytes();
        let option = [(51, &bytes[..])];
        let answer = offer(&mut world, 1, if asked.is_some() { &option } else { &[] });
        [51, 58, 59].map(|code| answer.message.options.u32(code).unwrap())
    };
    assert_eq!(times(None), [7200, 3600, 5400]);
    assert_eq!(times(Some(60)), [1800, 771, 1350], "T1 would be after the end");
    assert_eq!(times(Some(u32::MAX))[0], 10_800);
}

#[test]
fn subnets_of_a_shared_network_are_used_by_class_and_in_order() {
    let yaml = "dhcp:
  mode: server
  conflict_check: off
  options: {domain: all, dns: 1.1.1.1}
  classes: [{name: c, match: {vendor_class: c}, options: {ntp: 9.9.9.9}}]
  subnets:
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.50, shared_network: wire, options: {domain: one}}
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.50, shared_network: wire, class: c, options: {domain: two}}
    - {network: 10.2.0.0/24, pool: 10.2.0.50-10.2.0.50, shared_network: wire}
";
    let mut world = World::new(yaml);
    let mut see = |n: u8, class: &[u8]| {
        let ack = lease(&mut world, n, &[(60, class), (55, &[15, 42])]);
        let text = |code| ack.option(code).map(<[u8]>::to_vec);
        (ack.message.yiaddr, text(15), text(42).is_some())
    };
    let domain = |text: &[u8]| Some(text.to_vec());
    assert_eq!(see(1, b"x"), (ip(50), domain(b"one"), false));
    assert_eq!(see(2, b"x"), (Ipv4Addr::new(10, 2, 0, 50), domain(b"all"), false));
    assert_eq!(see(3, b"c"), (Ipv4Addr::new(10, 1, 0, 50), domain(b"two"), true));
}

#[test]
fn plain_bootp_clients_have_their_own_pool() {
    let pools = "      pools: [{range: 192.168.77.50-192.168.77.51, class: bootp}, {range: 192.168.77.60-192.168.77.61, class: dhcp}]";
    let dhcp = "  bootp: dynamic\n  classes: [{name: dhcp, match: {not: {class: bootp}}}]";
    let mut world = world(dhcp, pools, "");
    let reply = world.ask(&bootp(1));
    assert_eq!((reply.message.yiaddr, reply.option(53), reply.option(51)), (ip(50), None, None));
    assert_eq!(world.ask(&bootp(1)).message.yiaddr, ip(50));
    assert_eq!(offered(&mut world, 2, &[]), Ok(ip(60)));
}

#[test]
fn names_of_clients_are_answered() {
    let dhcp = "  fqdn_suffix: example.org";
    let mut world =
        world(dhcp, TWO, "machines: [{mac: '02:00:00:00:00:01', options: {hostname: reserved-name}}]");
    let answer = offer(&mut world, 1, &[(12, b"other"), (55, &[12])]);
    assert_eq!(answer.option(12), Some(&b"reserved-name"[..]));
    let full = offer(&mut world, 1, &[(81, b"\x01\0\0other.example.com"), (55, &[1])]);
    assert!(
        full.option(81).is_some_and(|value| value.ends_with(b"reserved-name.example.org")),
        "{:?}",
        full.option(81)
    );
    for odd in [&b""[..], &[b'x'; 250], b"a..b", b"\0", b" "] {
        assert_eq!(offered(&mut world, 2, &[(12, odd)]), Ok(ip(51)), "{odd:?}");
        assert_eq!(offered(&mut world, 2, &[(81, odd)]), Ok(ip(51)), "{odd:?}");
    }
}
