//! Detection of other DHCP servers on the wire (`dhcp/other_servers.rs`), in virtual time.

use std::net::Ipv4Addr;

use lanboot::boot::guard::LOOP_COUNT;
use lanboot::boot::plan::Mode;
use lanboot::dhcp::other_servers::{self, BESIDE_TIME, MAX_ROGUE_SERVERS, QUIET_TIME};
use lanboot::event::{DropReason, Event, Message as Kind};
use lanboot::types::MacAddr;
use lanboot::wire::dhcp::{BOOTREPLY, Message, MessageType, until_nul};
use support::world::*;

const SERVES: &str = "
dhcp:
  mode: server
  conflict_check: off
  subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]
boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}}
";
const PROXIES: &str = "
dhcp: {mode: proxy}
boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}}
machines: [{name: node1, mac: '02:00:00:00:00:c8'}]
";

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 254);
const OTHERS_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 0xfe]);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 150);

type Options<'a> = &'a [(u8, &'a [u8])];
const BIOS: Options<'static> = &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0])];
const UEFI: Options<'static> = &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7])];
/// An undionly.kpxe after a relay agent took out its options 77 and 175.
const HIDDEN_IPXE: Options<'static> =
    &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (55, &[1, 3, 43, 175, 203])];

/// A message of `server` to client 1 about `address`.
fn said(kind: Option<MessageType>, server: Ipv4Addr, address: Ipv4Addr) -> Message {
    let mut message = Message { op: BOOTREPLY, yiaddr: address, ..bootp(1) };
    if let Some(kind) = kind {
        message.options.push(53, &[kind.number()]);
        message.options.push(54, &server.octets());
    }
    message
}

fn strangers(world: &World) -> Vec<(Kind, Ipv4Addr, Ipv4Addr, Option<MacAddr>)> {
    let found = world.events.iter().filter_map(|event| match event {
        Event::RogueServer { message, address, server, from, .. } => {
            Some((*message, *address, *server, *from))
        }
        _ => None,
    });
    found.collect()
}

fn loops(world: &World) -> usize {
    world.events.iter().filter(|event| matches!(event, Event::BootLoop { .. })).count()
}

#[test]
fn f_16_another_server_on_our_wire_is_logged_every_ten_minutes() {
    let mut world = World::new(SERVES);
    let offer = said(Some(MessageType::Offer), OTHER, CLIENT);
    for _ in 0..5 {
        world.hear(&offer, OTHER, OTHERS_MAC);
        world.hear(&said(Some(MessageType::Ack), OTHER, CLIENT), OTHER, OTHERS_MAC);
        world.pass(60);
    }
    assert_eq!(strangers(&world), [(Kind::Offer, CLIENT, OTHER, Some(OTHERS_MAC))]);
    world.pass(QUIET_TIME.as_secs());
    world.hear(&said(Some(MessageType::Nak), OTHER, Ipv4Addr::UNSPECIFIED), OTHER, OTHERS_MAC);
    assert_eq!(strangers(&world)[1..], [(Kind::Nak, Ipv4Addr::UNSPECIFIED, OTHER, Some(OTHERS_MAC))]);
    let third = Ipv4Addr::new(192, 168, 77, 253);
    world.hear(&said(None, third, CLIENT), third, OTHERS_MAC);
    assert_eq!(strangers(&world)[2..], [(Kind::BootpReply, CLIENT, third, Some(OTHERS_MAC))]);
}

#[test]
fn f_16_beside_another_server_no_new_address_is_given_unless_authoritative() {
    let config = SERVES.replace("mode: server", "mode: server\n  authoritative: false\n  bootp: dynamic")
        + "machines: [{name: node9, mac: '02:00:00:00:00:09', address: 192.168.77.9}]";
    let offer = said(Some(MessageType::Offer), OTHER, CLIENT);
    let mut world = World::new(&config);
    let had = world.lease(1);
    world.hear(&said(Some(MessageType::Nak), OTHER, Ipv4Addr::UNSPECIFIED), OTHER, OTHERS_MAC);
    world.hear(&said(Some(MessageType::Offer), OTHER, Ipv4Addr::UNSPECIFIED), OTHER, OTHERS_MAC);
    let held = world.ask(&discover(2)).message.yiaddr;
    world.hear(&offer, OTHER, OTHERS_MAC);
    // New clients get no address from the pool, neither by DHCP nor by BOOTP.
    assert_eq!(world.send(&discover(3)).unwrap_err(), DropReason::AnotherServerLeases);
    assert_eq!(world.send(&bootp(4)).unwrap_err(), DropReason::AnotherServerLeases);
    assert_eq!(world.send(&discover(2)).unwrap_err(), DropReason::AnotherServerLeases);
    // Existing leases and reserved addresses still work.
    assert_eq!(world.ask(&select(2, SERVER, held)).message.yiaddr, held);
    assert_eq!(world.ask(&discover(1)).message.yiaddr, had);
    assert_eq!(world.ask(&extend(1, had)).message.yiaddr, had);
    assert_eq!(world.ask(&discover(9)).message.yiaddr, Ipv4Addr::new(192, 168, 77, 9));
    // A client that takes another server's offer also proves that there is such a server.
    world.pass(BESIDE_TIME.as_secs() - 1);
    assert_eq!(world.send(&select(5, OTHER, CLIENT)).unwrap_err(), DropReason::OtherServer);
    world.pass(BESIDE_TIME.as_secs() - 1);
    assert_eq!(world.send(&discover(3)).unwrap_err(), DropReason::AnotherServerLeases);
    world.pass(1);
    world.ask(&discover(3));

    let mut world = World::new(SERVES);
    world.hear(&offer, OTHER, OTHERS_MAC);
    world.ask(&discover(3));
}

#[test]
fn f_16_another_server_on_one_wire_makes_no_way_on_another_nor_for_relay_agents() {
    let config = SERVES.replace("mode: server", "mode: server\n  authoritative: false");
    let mut world = World::new(&config);
    world.hear(&said(Some(MessageType::Offer), OTHER, CLIENT), OTHER, OTHERS_MAC);
    assert_eq!(world.send(&discover(3)).unwrap_err(), DropReason::AnotherServerLeases);
    world.ask(&Message { giaddr: Ipv4Addr::new(192, 168, 77, 7), ..discover(3) });
    world.arrival.addresses = [Ipv4Addr::new(192, 168, 77, 2)].into();
    world.ask(&discover(4));
}

#[test]
fn a_request_for_an_unheard_offer_reveals_its_server() {
    let mut world = World::new(SERVES);
    world.ask(&discover(1));
    assert_eq!(world.send(&select(1, OTHER, CLIENT)).unwrap_err(), DropReason::OtherServer);
    assert_eq!(strangers(&world), [(Kind::Request, Ipv4Addr::UNSPECIFIED, OTHER, None)]);
    assert_eq!(world.send(&select(2, OTHER, CLIENT)).unwrap_err(), DropReason::OtherServer);
    world.hear(&said(Some(MessageType::Offer), OTHER, CLIENT), OTHER, OTHERS_MAC);
    assert_eq!(strangers(&world).len(), 1, "one server, reported once");
}

#[test]
fn our_own_messages_and_those_of_clients_are_no_rogue_server() {
    let mut world = World::new(SERVES);
    let relay = Ipv4Addr::new(10, 1, 0, 1);
    let relayed = Message { giaddr: relay, ..said(Some(MessageType::Offer), relay, CLIENT) };
    let by_our_relay =
        Message { giaddr: relay, siaddr: SERVER, ..said(Some(MessageType::Ack), OTHER, CLIENT) };
    for (message, source) in [
        (said(Some(MessageType::Offer), SERVER, CLIENT), SERVER),
        (said(Some(MessageType::Offer), SERVER, CLIENT), relay),
        (relayed, relay),
        (by_our_relay, relay),
        (discover(1), OTHER),
        (said(Some(MessageType::Discover), OTHER, CLIENT), OTHER),
        (said(None, OTHER, CLIENT), Ipv4Addr::UNSPECIFIED),
    ] {
        assert_eq!(world.hear(&message, source, OTHERS_MAC), None, "{message:?}");
    }
    assert_eq!(strangers(&world), []);
    world.arrival.mode = Mode::Proxy;
    assert!(world.hear(&said(Some(MessageType::Offer), OTHER, CLIENT), OTHER, OTHERS_MAC).is_some());
    let same_computer = said(Some(MessageType::Offer), SERVER, CLIENT);
    assert_eq!(world.hear(&same_computer, SERVER, OTHERS_MAC).map(|given| given.address), Some(CLIENT));
    let our_own = said(Some(MessageType::Offer), SERVER, Ipv4Addr::UNSPECIFIED);
    assert_eq!(world.hear(&our_own, SERVER, OTHERS_MAC), None);
    assert_eq!(strangers(&world), [], "beside a proxy there is another server");
}

#[test]
fn invented_servers_do_not_fill_the_log() {
    let mut world = World::new(SERVES);
    for n in 0..1000u16 {
        let [high, low] = n.to_be_bytes();
        let server = Ipv4Addr::new(10, 9, high, low);
        world.hear(&said(Some(MessageType::Offer), server, CLIENT), server, OTHERS_MAC);
    }
    assert_eq!(strangers(&world).len(), MAX_ROGUE_SERVERS);
    world.pass(QUIET_TIME.as_secs());
    world.hear(&said(Some(MessageType::Offer), OTHER, CLIENT), OTHER, OTHERS_MAC);
    assert_eq!(strangers(&world).len(), MAX_ROGUE_SERVERS + 1, "later there is room again");
}

#[test]
fn beside_another_server_a_request_shows_server_and_address() {
    let world = World::new(PROXIES);
    let taken = |message: &Message| {
        other_servers::read_client_choice(message, &world.arrival, &world.settings)
            .map(|taken| (taken.address, taken.machine.map(|machine| machine.name.to_string())))
    };
    assert_eq!(taken(&select(0xc8, OTHER, CLIENT)), Some((CLIENT, Some("node1".to_owned()))));
    assert_eq!(taken(&extend(1, CLIENT)), Some((CLIENT, None)));
    assert_eq!(taken(&init_reboot(1, CLIENT)), None, "it only hopes so");
    assert_eq!(taken(&discover(1)), None);
    let given = said(Some(MessageType::Ack), OTHER, CLIENT);
    let given = other_servers::read_server_message(&given, OTHER, OTHERS_MAC, &world.arrival).unwrap();
    assert_eq!((given.address, given.server, given.client), (CLIENT, OTHER, bootp(1).mac()));
    let mut serves = World::new(SERVES);
    serves.ask(&discover(1));
    assert!(
        other_servers::read_client_choice(&select(1, OTHER, CLIENT), &serves.arrival, &serves.settings)
            .is_none()
    );
}

/// One boot beside another server. Returns the file that we offer. We also receive the REQUEST to the other server.
fn boot(world: &mut World, xid: u32, options: Options<'_>) -> String {
    let with_xid = |message: Message| Message { xid, ..message };
    let offer = world.ask(&with_xid(message(1, MessageType::Discover, options)));
    let (server, address) = (OTHER.octets(), CLIENT.octets());
    let chosen = [options, &[(54, &server[..]), (50, &address[..])]].concat();
    let request = with_xid(message(1, MessageType::Request, &chosen));
    assert_eq!(world.send(&request).unwrap_err(), DropReason::ProxyOnly);
    String::from_utf8_lossy(until_nul(&offer.message.file)).into_owned()
}

/// Firmware asks port 4011 with the address that it has.
fn ask_boot_service(world: &mut World, xid: u32, options: Options<'_>) {
    world.arrival.boot_service = true;
    world.ask(&Message { xid, ciaddr: CLIENT, ..message(1, MessageType::Request, options) });
    world.arrival.boot_service = false;
}

#[test]
fn boots_that_end_at_the_proxys_offer_are_counted_once_each() {
    let mut world = World::new(PROXIES);
    for xid in 1..=LOOP_COUNT as u32 {
        assert_eq!(loops(&world), 0, "round {xid}");
        assert_eq!(boot(&mut world, xid, BIOS), "undionly.kpxe");
        world.pass(20);
    }
    assert_eq!(loops(&world), 1);
}

#[test]
fn boots_by_port_4011_are_counted_there_and_once_each() {
    let mut world = World::new(PROXIES);
    for xid in 1..=LOOP_COUNT as u32 {
        assert_eq!(loops(&world), 0, "round {xid}");
        boot(&mut world, 2 * xid, UEFI);
        ask_boot_service(&mut world, 2 * xid + 1, UEFI);
        world.pass(20);
    }
    assert_eq!(loops(&world), 1);
}

#[test]
fn beside_another_server_too_an_ipxe_that_hides_gets_the_script() {
    let mut world = World::new(PROXIES);
    for xid in 1..=LOOP_COUNT as u32 {
        assert_eq!(boot(&mut world, xid, HIDDEN_IPXE), "undionly.kpxe");
        world.pass(15);
    }
    assert_eq!(boot(&mut world, 9, HIDDEN_IPXE), "boot.ipxe");
    assert_eq!(boot(&mut world, 10, BIOS), "undionly.kpxe", "its firmware needs the loader");
}

#[test]
fn beside_another_server_too_a_system_that_starts_ends_the_count() {
    let mut world = World::new(PROXIES);
    for xid in 0..10 {
        boot(&mut world, xid, BIOS);
        assert_eq!(world.send(&select(1, OTHER, CLIENT)).unwrap_err(), DropReason::ProxyOnly);
        world.pass(20);
    }
    assert_eq!(loops(&world), 0);
}

#[test]
fn a_menu_is_no_boot_and_what_is_chosen_of_it_is() {
    let menu = "arch: {bios: a}, menu: [{text: a, file: x}, {text: b, file: y}]";
    for mode in ["mode: proxy", "mode: server"] {
        let text = SERVES
            .replace("mode: server", mode)
            .replace("arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}", menu);
        let mut world = World::new(&text);
        for xid in 1..=LOOP_COUNT as u32 {
            assert_eq!(loops(&world), 0, "{mode}, round {xid}");
            if mode == "mode: proxy" {
                boot(&mut world, 2 * xid, BIOS);
            } else {
                let address = world.ask(&message(1, MessageType::Discover, BIOS)).message.yiaddr.octets();
                let server = SERVER.octets();
                let chosen = [BIOS, &[(54, &server[..]), (50, &address)]].concat();
                world.ask(&Message { xid: 2 * xid, ..message(1, MessageType::Request, &chosen) });
            }
            let item: Options<'_> = &[(43, &[71, 4, 0x80, 0, 0, 0, 255])];
            ask_boot_service(&mut world, 2 * xid + 1, &[BIOS, item].concat());
            world.pass(20);
        }
        assert_eq!(loops(&world), 1, "{mode}");
    }
}
