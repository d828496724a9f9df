//! Beside another DHCP server: which clients get a boot file, which get no answer, and the replies of port 4011 (PXE
//! 2.1 section 2.2).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lanboot::boot::plan::Mode;
use lanboot::dhcp::route::Route;
use lanboot::event::{DropReason, Event, Message as Kind};
use lanboot::wire::dhcp::{FLAG_BROADCAST, Message, MessageType, until_nul};
use lanboot::wire::option::code;
use support::world::*;

const LAB: &str = "
dhcp:
  mode: proxy
  options: {pxelinux_path_prefix: conf/, dns: 192.168.77.9}
  classes:
    - {match: {vendor_class: HW-Client}, boot: class.efi}
boot:
  arch:
    bios: lpxelinux.0
    uefi-x64: snponly.efi
    uefi-x64-http: http://{server}/snponly.efi
machines:
  - {name: node1, mac: '02:00:00:00:00:c8', boot: own.efi, options: {pxelinux_config_file: node1.cfg}}
";

/// The DHCP server that gives addresses.
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 254);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 150);

const BIOS: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (97, &[0; 17])];
const UEFI: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7]), (97, &[0; 17])];
const IPXE: &[(u8, &[u8])] =
    &[(60, b"PXEClient:Arch:00007:UNDI:003010"), (93, &[0, 7]), (77, b"iPXE"), (175, &[1, 1, 1])];
const HTTP: &[(u8, &[u8])] = &[(60, b"HTTPClient:Arch:00016:UNDI:003000"), (93, &[0, 16])];

fn lab() -> World {
    World::new(LAB)
}

/// Has a client with an address from the other server ask port 4011 from this port.
fn to_boot_service(world: &mut World, from_port: u16) {
    world.arrival.boot_service = true;
    world.arrival.destination = SERVER;
    world.arrival.source = SocketAddrV4::new(CLIENT, from_port);
}

fn boot_request(kind: MessageType, options: &[(u8, &[u8])]) -> Message {
    Message { ciaddr: CLIENT, xid: 0, ..message(1, kind, options) }
}

#[test]
fn pxe_2_2_3_every_booting_client_is_offered_its_file_and_no_address() {
    for (options, class, file) in [
        (BIOS, &b"PXEClient"[..], "lpxelinux.0"),
        (UEFI, b"PXEClient", "snponly.efi"),
        (IPXE, b"PXEClient", "boot.ipxe"),
        (HTTP, b"HTTPClient", "http://192.168.77.1/snponly.efi"),
    ] {
        let mut world = lab();
        let offer = world.ask(&message(1, MessageType::Discover, options));
        assert_eq!((offer.kind(), offer.message.yiaddr), (Some(MessageType::Offer), Ipv4Addr::UNSPECIFIED));
        assert_eq!((offer.message.siaddr, offer.option(54)), (SERVER, Some(&SERVER.octets()[..])));
        assert_eq!(until_nul(&offer.message.file), file.as_bytes());
        assert_eq!(offer.option(67).map(until_nul), Some(file.as_bytes()));
        assert_eq!(offer.option(60), Some(class));
        assert_eq!(offer.option(97), message(1, MessageType::Discover, options).options.get(97));
        assert_eq!(offer.route, Route::Broadcast { port: 68 });
        assert!(offer.message.flags & FLAG_BROADCAST != 0 && (300..=548).contains(&offer.bytes.len()));
        for of_addresses in [1, 3, 6, 51, 58, 59, 175] {
            assert_eq!(offer.option(of_addresses), None, "option {of_addresses}");
        }
        assert!(matches!(&world.events[..], [Event::Answered { message: Kind::Proxy, .. }]));
    }
}

#[test]
fn pxe_2_2_3_uefi_is_sent_to_port_4011_and_bios_loads_at_once() {
    let mut world = lab();
    let mut vendor = |options| {
        let offer = world.ask(&message(1, MessageType::Discover, options));
        offer.option(43).map(<[u8]>::to_vec)
    };
    assert_eq!(vendor(BIOS), Some(vec![6, 1, 8, 255]));
    assert_eq!((vendor(UEFI), vendor(IPXE), vendor(HTTP)), (None, None, None));
}

#[test]
fn pxe_2_2_5_port_4011_answers_with_the_file_to_where_the_request_came_from() {
    for mode in [Mode::Proxy, Mode::Server] {
        for (kind, port) in
            [(MessageType::Request, 4011), (MessageType::Request, 68), (MessageType::Inform, 68)]
        {
            let mut world = lab();
            world.arrival.mode = mode;
            to_boot_service(&mut world, port);
            let ack = world.ask(&boot_request(kind, UEFI));
            assert_eq!((ack.kind(), ack.message.xid), (Some(MessageType::Ack), 0));
            assert_eq!((ack.message.ciaddr, ack.message.yiaddr), (CLIENT, Ipv4Addr::UNSPECIFIED));
            assert_eq!(ack.route, Route::Unicast(SocketAddrV4::new(CLIENT, port)));
            assert_eq!(until_nul(&ack.message.file), b"snponly.efi");
            assert_eq!((ack.option(43), ack.option(60)), (None, Some(&b"PXEClient"[..])));
            assert_eq!(ack.option(97), Some(&[0; 17][..]));
            assert_eq!((ack.message.siaddr, ack.option(54)), (SERVER, Some(&SERVER.octets()[..])));
        }
    }
}

#[test]
fn a_boot_request_without_an_address_is_answered_where_it_can_be_heard() {
    let mut world = lab();
    to_boot_service(&mut world, 4011);
    world.arrival.source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    let ack = world.ask(&boot_request(MessageType::Request, UEFI));
    assert_eq!(ack.route, Route::Unicast(SocketAddrV4::new(CLIENT, 68)));
    let ack = world.ask(&message(1, MessageType::Request, UEFI));
    assert_eq!(ack.route, Route::Broadcast { port: 68 });
}

#[test]
fn a_proxy_ignores_clients_that_do_not_boot() {
    let mut world = lab();
    assert_eq!(world.send(&discover(1)).unwrap_err(), DropReason::NotNetboot);
    let phone = message(1, MessageType::Discover, &[(60, b"android-dhcp-14")]);
    assert_eq!(world.send(&phone).unwrap_err(), DropReason::NotNetboot);
    assert_eq!(world.send(&bootp(1)).unwrap_err(), DropReason::BootpRefused);
    to_boot_service(&mut world, 68);
    assert_eq!(world.send(&boot_request(MessageType::Request, &[])).unwrap_err(), DropReason::NotNetboot);
    assert_eq!(world.send(&bootp(1)).unwrap_err(), DropReason::BootpRefused);
    assert!(world.events.is_empty());
}

#[test]
fn a_proxy_says_nothing_about_addresses_to_anybody() {
    let mut world = lab();
    let booting = |kind| message(1, kind, UEFI);
    for kind in [MessageType::Request, MessageType::Decline, MessageType::Release, MessageType::Inform] {
        assert_eq!(world.send(&booting(kind)).unwrap_err(), DropReason::ProxyOnly, "{kind:?}");
    }
    for server in [OTHER, SERVER] {
        assert_eq!(world.send(&select(1, server, CLIENT)).unwrap_err(), DropReason::ProxyOnly);
    }
    assert_eq!(world.send(&extend(1, CLIENT)).unwrap_err(), DropReason::ProxyOnly);
    assert_eq!(world.send(&booting(MessageType::Offer)).unwrap_err(), DropReason::BadMessageType);
    assert_eq!(
        world.send(&Message { op: 2, ..booting(MessageType::Offer) }).unwrap_err(),
        DropReason::NotRequest
    );
    assert!(world.book.is_empty());
}

#[test]
fn port_4011_answers_requests_and_informs_for_us_alone() {
    let mut world = lab();
    to_boot_service(&mut world, 4011);
    for kind in [MessageType::Discover, MessageType::Decline, MessageType::Release] {
        assert_eq!(world.send(&boot_request(kind, UEFI)).unwrap_err(), DropReason::BadRequest, "{kind:?}");
    }
    let naming = |server: Ipv4Addr| {
        let mut message = boot_request(MessageType::Request, UEFI);
        assert!(message.options.push(code::SERVER_IDENTIFIER, &server.octets()));
        message
    };
    assert_eq!(world.send(&naming(OTHER)).unwrap_err(), DropReason::OtherServer);
    assert_eq!(world.ask(&naming(SERVER)).kind(), Some(MessageType::Ack), "iPXE names the server");
}

#[test]
fn an_architecture_without_a_file_gets_none_and_never_another_ones() {
    let mut world = lab();
    let arm: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00011"), (93, &[0, 11])];
    assert_eq!(world.send(&message(1, MessageType::Discover, arm)).unwrap_err(), DropReason::NoBootFile);
    to_boot_service(&mut world, 4011);
    assert_eq!(world.send(&boot_request(MessageType::Request, arm)).unwrap_err(), DropReason::NoBootFile);
}

#[test]
fn machines_and_classes_count_and_pxelinux_gets_its_options() {
    let mut world = lab();
    let offer = world.ask(&message(0xc8, MessageType::Discover, UEFI));
    assert_eq!(until_nul(&offer.message.file), b"own.efi");
    assert_eq!((offer.option(209), offer.option(210)), (Some(&b"node1.cfg"[..]), Some(&b"conf/"[..])));
    let hardware: &[(u8, &[u8])] = &[(60, b"HW-Client:Arch:00007"), (93, &[0, 7])];
    let offer = world.ask(&message(1, MessageType::Discover, hardware));
    assert_eq!(until_nul(&offer.message.file), b"class.efi");
    assert_eq!((offer.option(60), offer.option(209)), (Some(&b"HW-Client"[..]), None));
}

#[test]
fn a_relay_agent_gets_the_offer_with_the_broadcast_flag() {
    let relay = Ipv4Addr::new(10, 1, 0, 1);
    let relayed = Message { giaddr: relay, ..message(1, MessageType::Discover, BIOS) };
    let mut relayed_82 = relayed.clone();
    assert!(relayed_82.options.push(82, &[1, 1, 9]));
    let mut world = lab();
    world.arrival.destination = SERVER;
    world.arrival.source = SocketAddrV4::new(relay, 67);
    let offer = world.ask(&relayed_82);
    assert_eq!(offer.route, Route::Unicast(SocketAddrV4::new(relay, 67)));
    assert_eq!((offer.message.giaddr, offer.option(82)), (relay, Some(&[1, 1, 9][..])));
    assert!(offer.message.flags & FLAG_BROADCAST != 0, "there is no address to send it to");

    // If the configuration lists subnets, it lists their relay agents too.
    let subnets = "  subnets: [{network: 192.168.77.0/24, relays: [10.2.0.1]}]\nboot:\n";
    let mut known = World::new(&LAB.replace("boot:\n", subnets));
    assert_eq!(known.send(&relayed).unwrap_err(), DropReason::UnknownRelay);
    let known_relay = Message { giaddr: Ipv4Addr::new(10, 2, 0, 1), ..relayed };
    assert_eq!(known.ask(&known_relay).kind(), Some(MessageType::Offer));
}

/// An INFORM of an Intel Mac that has an address, with `vendor` as its option 43.
fn mac(n: u8, vendor: &[u8]) -> Message {
    let mut ask = message(n, MessageType::Inform, &[(60, b"AAPLBSDPC/i386/iMac14,3"), (43, vendor)]);
    ask.ciaddr = CLIENT;
    ask
}

const BSDP: &str = "
dhcp:
  MODE
  classes: [{match: {vendor_class: AAPLBSDPC}, boot: mac/booter.efi, options: {root_path: http://lab/mac.dmg}}]
machines: [{mac: '02:00:00:00:00:c8', boot: own.efi}]
";

/// A site that boots Macs, as a proxy and as the server.
fn mac_sites() -> [World; 2] {
    let server = "mode: server\n  subnets: [{network: 192.168.77.0/24}]";
    ["mode: proxy", server].map(|mode| World::new(&BSDP.replace("MODE", mode)))
}

#[test]
fn bsdp_1_1_a_mac_gets_its_image_and_then_the_file() {
    const IMAGE: &[u8] = &[0x81, 0, 0, 1];
    for mut world in mac_sites() {
        for (n, file) in [(1, "mac/booter.efi"), (0xc8, "own.efi")] {
            let list = world.ask(&mac(n, &[1, 1, 1, 2, 2, 1, 1, 5, 2, 3, 0xe1]));
            assert_eq!((list.kind(), list.message.yiaddr), (Some(MessageType::Ack), Ipv4Addr::UNSPECIFIED));
            assert_eq!(list.route, Route::Unicast(SocketAddrV4::new(CLIENT, 993)));
            assert_eq!(
                (list.option(60), list.option(54)),
                (Some(&b"AAPLBSDPC"[..]), Some(&SERVER.octets()[..]))
            );
            let len = file.len() as u8;
            let begin =
                [&[1, 1, 1, 4, 2, 0x80, 0x80, 7, 4][..], IMAGE, &[9, 5 + len], IMAGE, &[len]].concat();
            assert_eq!(list.option(43), Some(&[&begin[..], file.as_bytes()].concat()[..]));
            assert_eq!(list.message.file, [0; 128]);

            let chosen = [&[1, 1, 2, 8, 4][..], IMAGE, &[3, 4, 192, 168, 77, 1]].concat();
            let select = world.ask(&mac(n, &chosen));
            assert_eq!(select.route, Route::Unicast(SocketAddrV4::new(CLIENT, 68)), "no port was named");
            assert_eq!(select.option(43), Some(&[&[1, 1, 2, 8, 4][..], IMAGE].concat()[..]));
            assert_eq!((select.message.siaddr, until_nul(&select.message.file)), (SERVER, file.as_bytes()));
            assert_eq!(select.option(17).is_some(), n == 1 || n == 0xc8);
        }
        assert!(world.book.is_empty());
    }
}

#[test]
fn a_mac_without_an_image_or_of_another_server_is_not_answered() {
    for mut world in mac_sites() {
        for (vendor, reason) in [
            (&[1, 1, 2, 8, 4, 1, 0, 0, 9][..], DropReason::NoBootFile),
            (&[1, 1, 2], DropReason::BadRequest),
            (&[1, 1, 2, 8, 2, 1, 1], DropReason::BadRequest),
            (&[1, 1, 3], DropReason::BadRequest),
            (&[], DropReason::BadRequest),
            (&[1, 1, 2, 3, 4, 192, 168, 77, 254], DropReason::OtherServer),
        ] {
            assert_eq!(world.send(&mac(1, vendor)).unwrap_err(), reason, "{vendor:?}");
        }
    }
    for mut world in menu_labs() {
        assert_eq!(world.send(&mac(1, &[1, 1, 1])).unwrap_err(), DropReason::NoBootFile, "nothing is mapped");
    }
}

#[test]
fn a_raspberry_pi_3_finds_its_menu_after_it_has_begun_to_listen() {
    let pi: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (97, &[0x44; 17])];
    let mut ask = message(1, MessageType::Discover, pi);
    ask.chaddr[..3].copy_from_slice(&[0xb8, 0x27, 0xeb]);
    for mode in
        ["proxy", "server\n  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}]"]
    {
        let mut world = World::new(&LAB.replace("proxy", mode));
        let offer = world.ask(&ask);
        assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&offer.wait), "{:?}", offer.wait);
        assert!(offer.option(43).unwrap().ends_with(b"\x09\x14\0\0\x11Raspberry Pi Boot\xff"));
        assert_eq!(offer.option(66), Some(&b"192.168.77.1\0"[..]));
        assert_eq!(world.ask(&message(1, MessageType::Discover, BIOS)).wait, Duration::ZERO);
    }
}

const MENU: &str = "
  prompt: F8
  timeout: 5s
  menu:
    - {text: Install, file: {bios: lpxelinux.0, uefi-x64: install.efi}}
    - {text: Rescue, file: {uefi-x64: rescue.efi}}
    - {text: Lab 2, server: 192.168.77.2}
    - {text: Disk, local: true}
";

/// The lab with a menu, as a proxy and as the server.
fn menu_labs() -> [World; 2] {
    let server = "server\n  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}]";
    let yaml = LAB.replace("machines:", &format!("{}machines:", MENU.trim_start_matches('\n')));
    ["proxy", server].map(|mode| World::new(&yaml.replace("proxy", mode)))
}

/// A request to the boot service for the item of this type.
fn choose(options: &[(u8, &[u8])], [high, low]: [u8; 2]) -> Message {
    let item: &[u8] = &[71, 4, high, low, 0, 0, 255];
    boot_request(MessageType::Request, &[options, &[(43, item)]].concat())
}

#[test]
fn pxe_2_1_table_2_1_firmware_is_offered_the_menu_of_what_it_can_start() {
    let ours = [192, 168, 77, 1];
    let both = |kind: [u8; 2], server: [u8; 4]| [&kind[..], &[1], &server].concat();
    let (lab2, disk) = (&[0x80, 2, 5][..], &[0, 0, 4][..]);
    let uefi = [
        &[6, 1, 7, 8, 21][..],
        &both([0x80, 0], ours),
        &both([0x80, 1], ours),
        &both([0x80, 2], [192, 168, 77, 2]),
        &[9, 34, 0x80, 0, 7],
        b"Install",
        &[0x80, 1, 6],
        b"Rescue",
        lab2,
        b"Lab 2",
        disk,
        b"Disk",
        b"\x0a\x03\x05F8\xff",
    ];
    let bios = [
        &[6, 1, 7, 8, 14][..],
        &both([0x80, 0], ours),
        &both([0x80, 2], [192, 168, 77, 2]),
        &[9, 25, 0x80, 0, 7],
        b"Install",
        lab2,
        b"Lab 2",
        disk,
        b"Disk",
        b"\x0a\x03\x05F8\xff",
    ];
    for mut world in menu_labs() {
        for (options, menu, first) in
            [(UEFI, uefi.concat(), &b"install.efi"[..]), (BIOS, bios.concat(), b"lpxelinux.0")]
        {
            let offer = world.ask(&message(1, MessageType::Discover, options));
            assert_eq!(offer.option(43), Some(&menu[..]));
            assert_eq!((offer.message.siaddr, until_nul(&offer.message.file)), (SERVER, first));
            assert_eq!(offer.option(60), Some(&b"PXEClient"[..]));
        }
    }
}

#[test]
fn pxe_2_2_5_port_4011_answers_with_the_file_of_the_item_that_was_chosen() {
    let other = Ipv4Addr::new(192, 168, 77, 2);
    for mut world in menu_labs() {
        to_boot_service(&mut world, 4011);
        for (options, item, server, file) in [
            (UEFI, [0x80, 0], SERVER, &b"install.efi"[..]),
            (UEFI, [0x80, 1], SERVER, b"rescue.efi"),
            (BIOS, [0x80, 0], SERVER, b"lpxelinux.0"),
            // The client should ask the other server. If it asks us anyway, our answer refers it to that server.
            (UEFI, [0x80, 2], other, b"snponly.efi"),
        ] {
            let ack = world.ask(&choose(options, item));
            assert_eq!((ack.message.siaddr, until_nul(&ack.message.file)), (server, file), "{item:?}");
            assert_eq!(ack.option(43), Some(&[71, 4, item[0], item[1], 0, 0, 255][..]));
            assert_eq!(ack.option(54), Some(&SERVER.octets()[..]));
            assert_eq!(ack.option(66).map(until_nul), Some(server.to_string().as_bytes()));
        }
        for (options, item) in [(BIOS, [0x80, 1]), (UEFI, [0x80, 4]), (UEFI, [0, 0]), (UEFI, [0, 7])] {
            assert_eq!(world.send(&choose(options, item)).unwrap_err(), DropReason::NoBootFile, "{item:?}");
        }
        let rules: Vec<String> = world.events.iter().filter_map(rule).collect();
        assert_eq!(rules, ["boot.menu[0]", "boot.menu[1]", "boot.menu[0]", "boot.menu[2]"]);
    }
}

fn rule(event: &Event) -> Option<String> {
    match event {
        Event::Answered { file: Some((_, rule)), .. } => Some(rule.to_string()),
        _ => None,
    }
}

#[test]
fn the_menu_is_for_firmware_without_its_own_boot_file() {
    for mut world in menu_labs() {
        for (n, options, file) in [
            (0xc8, UEFI, &b"own.efi"[..]),
            (1, &[(60, &b"HW-Client:Arch:00007"[..]), (93, &[0, 7])], b"class.efi"),
            (1, IPXE, b"boot.ipxe"),
            (1, HTTP, b"http://192.168.77.1/snponly.efi"),
        ] {
            let offer = world.ask(&message(n, MessageType::Discover, options));
            assert_eq!(until_nul(&offer.message.file), file);
            assert!(offer.option(43).is_none_or(|value| value == [6, 1, 8, 255]), "{:?}", offer.option(43));
        }
        to_boot_service(&mut world, 68);
        let ack = world.ask(&choose(IPXE, [0x80, 1]));
        assert_eq!(until_nul(&ack.message.file), b"boot.ipxe", "a stale choice of its firmware's");
    }
}

#[test]
fn the_prompt_boots_the_first_item_at_once_after_a_while_or_never() {
    for (written, byte) in [("timeout: 0", 0), ("timeout: 254s", 254), ("timeout: off", 255), ("", 10)] {
        let yaml = "
dhcp: {mode: proxy}
boot:
  TIMEOUT
  menu: [{text: Disk, local: true}, {text: Install, file: a.efi}]
";
        let mut world = World::new(&yaml.replace("TIMEOUT", written));
        let offer = world.ask(&message(1, MessageType::Discover, UEFI));
        let vendor = offer.option(43).unwrap();
        assert!(vendor.windows(3).any(|window| window == [10, 27, byte]), "{written}: {vendor:?}");
        assert_eq!((offer.message.file, offer.option(67)), ([0; 128], None), "the first item loads nothing");
    }
}

#[test]
fn a_menu_of_one_item_is_none() {
    for (item, server) in
        [("file: only.efi", SERVER), ("server: 192.168.77.2", Ipv4Addr::new(192, 168, 77, 2))]
    {
        let yaml = LAB.replace("machines:", &format!("  menu: [{{text: Only, {item}}}]\nmachines:"));
        let mut world = World::new(&yaml);
        let bios = world.ask(&message(1, MessageType::Discover, BIOS));
        assert_eq!((bios.option(43), bios.message.siaddr), (Some(&[6, 1, 8, 255][..]), server));
        assert_eq!(bios.option(66).map(until_nul), Some(server.to_string().as_bytes()));
        let uefi = world.ask(&message(1, MessageType::Discover, UEFI));
        assert_eq!((uefi.option(43), uefi.message.siaddr), (None, server));
        to_boot_service(&mut world, 4011);
        let ack = world.ask(&boot_request(MessageType::Request, UEFI));
        assert_eq!((ack.option(43), ack.message.siaddr), (None, server));
    }
    let yaml = LAB.replace("machines:", "  menu: [{text: Disk, local: true}]\nmachines:");
    let mut world = World::new(&yaml);
    assert_eq!(world.send(&message(1, MessageType::Discover, UEFI)).unwrap_err(), DropReason::NoBootFile);
}
