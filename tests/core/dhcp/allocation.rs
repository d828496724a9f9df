//! Address allocation: other servers on the wire, addresses that another host uses, machines known by their UUID, and
//! clients that try to exhaust the pool.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::dhcp::route::Route;
use lanboot::event::DropReason;
use lanboot::wire::dhcp::{Message, MessageType};
use support::world::*;

/// The UUID 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab, encoded as in option 97.
const UUID: &[u8] = b"\0\x7c\x0f\xa7\xe0\x1d\x2b\x4c\x5d\x8e\x6f\x01\x23\x45\x67\x89\xab";
/// Another DHCP server on the same wire.
const OTHER: Ipv4Addr = ip(2);

const fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// A server that leases 192.168.77.50 to `last`, with `more` DHCP settings and these machines.
fn lab(last: u8, more: &str, machines: &str) -> World {
    World::new(&format!(
        "dhcp: {{mode: server, {more} subnets: [{{network: 192.168.77.0/24, \
         pool: 192.168.77.50-192.168.77.{last}, boot_lease: 2m}}]}}\nmachines: [{machines}]"
    ))
}

fn decline(n: u8, address: Ipv4Addr) -> Message {
    message(n, MessageType::Decline, &[(50, &address.octets()), (54, &SERVER.octets())])
}

#[test]
fn rfc2131_4_3_2_an_offer_alone_is_no_reason_for_a_nak() {
    let mut world = lab(99, "", "");
    world.ask(&discover(1));
    assert_eq!(world.send(&select(1, OTHER, ip(150))).unwrap_err(), DropReason::OtherServer);
    for keeps in [init_reboot(1, ip(150)), extend(1, ip(150))] {
        assert_eq!(world.send(&keeps).unwrap_err(), DropReason::UnknownLease);
    }
    world.ask(&discover(2));
    world.pass(3000);
    assert_eq!(world.send(&init_reboot(2, ip(150))).unwrap_err(), DropReason::UnknownLease, "over long ago");
    // A client that had a lease here gets a NAK for an address that is not ours.
    world.lease(3);
    assert_eq!(world.ask(&init_reboot(3, ip(150))).kind(), Some(MessageType::Nak));
}

#[test]
fn rfc2131_4_3_2_a_machine_takes_its_reserved_address_and_no_other() {
    let mut world = lab(99, "", "{mac: '02:00:00:00:00:c8', address: 192.168.77.10}");
    assert_eq!(world.ask(&select(0xc8, SERVER, ip(50))).kind(), Some(MessageType::Nak));
    assert_eq!(world.ask(&select(0xc8, SERVER, ip(10))).kind(), Some(MessageType::Ack));
}

#[test]
fn a_reserved_own_address_is_never_given() {
    let mut world = lab(99, "", "{mac: '02:00:00:00:00:c8', address: 192.168.77.1}");
    assert_eq!(world.lease(0xc8), ip(50));
    assert_eq!(world.send(&bootp(0xc8)).unwrap_err(), DropReason::BootpRefused);
}

#[test]
fn rfc2131_2_2_no_address_is_given_before_it_was_checked_however_it_is_asked_for() {
    let mut world = lab(59, "bootp: dynamic,", "");
    world.used = vec![ip(50), ip(55)];
    // The address was offered before a restart, or never.
    assert_eq!(world.ask(&select(1, SERVER, ip(55))).kind(), Some(MessageType::Nak));
    assert_eq!(world.checked, [ip(55)]);
    assert_eq!(world.ask(&select(1, SERVER, ip(56))).kind(), Some(MessageType::Ack));
    assert_eq!(world.checked, [ip(55), ip(56)]);
    // A plain BOOTP client cannot decline an address, and keeps it forever.
    assert_eq!(world.ask(&bootp(2)).message.yiaddr, ip(51));
    assert_eq!(world.checked, [ip(55), ip(56), ip(50), ip(51)]);
    assert_eq!(world.ask(&bootp(2)).message.yiaddr, ip(51));
    assert_eq!(world.checked.len(), 4, "its own address is not asked for again");
}

#[test]
fn rfc2131_table_5_a_decline_names_the_server_and_the_address() {
    let mut world = lab(99, "", "");
    let address = world.lease(1);
    let nameless = message(1, MessageType::Decline, &[(50, &address.octets())]);
    assert_eq!(world.send(&nameless).unwrap_err(), DropReason::BadRequest);
    let to_other = message(1, MessageType::Decline, &[(50, &address.octets()), (54, &OTHER.octets())]);
    assert_eq!(world.send(&to_other).unwrap_err(), DropReason::OtherServer);
    assert!(world.send(&decline(1, address)).unwrap().is_none());
}

#[test]
fn attack_declines_take_no_more_than_a_fifth_of_a_pool_out_of_use() {
    let mut world = lab(69, "", "");
    let mut refused = 0;
    for n in 1..=40 {
        let address = world.ask(&discover(n)).message.yiaddr;
        let declined = world.send(&decline(n, address));
        refused += u8::from(declined.is_err_and(|reason| reason == DropReason::TooManyDeclined));
    }
    assert_eq!(refused, 36, "a fifth of 20 were taken on their word");
    world.lease(41);
    // Reserved addresses do not count as part of the pool. A small pool can lose one address.
    let machines: String =
        (50..58).map(|n| format!("{{mac: '02:00:00:00:01:{n}', address: {}}},", ip(n))).collect();
    let mut world = lab(59, "", &machines);
    let address = world.ask(&discover(1)).message.yiaddr;
    assert!(world.send(&decline(1, address)).unwrap().is_none());
    let next = world.ask(&discover(1)).message.yiaddr;
    assert_ne!(next, address, "it is not offered to it again");
    assert_eq!(world.send(&decline(1, next)).unwrap_err(), DropReason::TooManyDeclined);
    assert_eq!(world.lease(2), next, "but to others, for nobody uses it");
}

#[test]
fn attack_random_macs_that_only_ask_hold_nine_tenths_at_most_however_long_they_go_on() {
    let mut world = lab(149, "", "");
    world.lease(200);
    world.pass(4000);
    for _ in 0..5 {
        let offered = (1..=120).filter(|n| world.send(&discover(*n)).is_ok()).count();
        assert_eq!(offered, 90);
        world.ask(&discover(200));
        world.pass(31);
    }
}

#[test]
fn attack_random_macs_that_take_leases_leave_room_for_the_machines_of_the_configuration() {
    let machines = "{name: node1, mac: '02:00:00:00:00:c8'}, \
                    {name: node2, uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab}";
    let take = |world: &mut World, macs: std::ops::RangeInclusive<u8>| {
        let mut taken = 0;
        for n in macs {
            let Ok(Some(offer)) = world.send(&discover(n)) else { continue };
            taken += u32::from(
                world.ask(&select(n, SERVER, offer.message.yiaddr)).kind() == Some(MessageType::Ack),
            );
        }
        taken
    };
    let mut world = lab(149, "", machines);
    assert_eq!(take(&mut world, 1..=120), 98, "one for each machine is kept");
    assert_eq!(world.ask(&select(121, SERVER, ip(149))).kind(), Some(MessageType::Nak), "nor by a short cut");
    world.lease(0xc8);
    assert_eq!(take(&mut world, 121..=130), 0, "nobody needs that one any more, but there is one less");
    world.ask(&message(201, MessageType::Discover, &[(97, UUID)]));
    // The reserve is at most a tenth of the pool, however many machines there are.
    let many: String = (0..30).map(|n| format!("{{mac: '02:00:00:00:01:{n:02x}'}},")).collect();
    assert_eq!(take(&mut lab(149, "", &many), 1..=120), 90);
    // Without such machines every client can use the whole pool.
    assert_eq!(take(&mut lab(149, "", ""), 1..=120), 100);
    // Reserved addresses are not free for other clients.
    let reserved: String =
        (0..50).map(|n| format!("{{mac: '02:00:00:00:01:{n:02x}', address: {}}},", ip(50 + n))).collect();
    let mut world = lab(149, "", &format!("{reserved}{machines}"));
    assert_eq!(take(&mut world, 1..=120), 48);
    world.lease(0xc8);
}

#[test]
fn a_machine_known_by_its_uuid_keeps_its_address_and_options_in_its_system() {
    let machine = "{name: node2, uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab, address: 192.168.77.20, \
                   options: {hostname: node2}}";
    let mut world = lab(99, "", machine);
    let firmware: [(u8, &[u8]); 3] = [(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7]), (97, UUID)];
    let offer = world.ask(&message(1, MessageType::Discover, &firmware));
    let mut request = select(1, SERVER, ip(20));
    firmware.iter().for_each(|(code, value)| assert!(request.options.push(*code, value)));
    assert_eq!((offer.message.yiaddr, world.ask(&request).kind()), (ip(20), Some(MessageType::Ack)));

    let duid: (u8, &[u8]) = (61, b"\xff the system's own");
    let ack = world.ask(&message(1, MessageType::Request, &[duid, (50, &ip(20).octets())]));
    assert_eq!((ack.kind(), ack.message.yiaddr), (Some(MessageType::Ack), ip(20)));
    assert_eq!(ack.option(12), Some(&b"node2"[..]));
    world.pass(7 * 86400);
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(20), "after its lease is over too");
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(50), "nobody else is taken for it");
}

#[test]
fn rfc2131_4_3_5_only_hosts_of_this_wire_are_informed() {
    let mut world = lab(99, "", "");
    for elsewhere in [[8, 8, 8, 8], [224, 0, 0, 1], [255; 4]].map(Ipv4Addr::from) {
        let inform = Message { ciaddr: elsewhere, ..message(1, MessageType::Inform, &[]) };
        assert_eq!(world.send(&inform).unwrap_err(), DropReason::NoSubnet);
        // RFC 2131 table 5 has no ciaddr in a DISCOVER, so the server ignores one.
        let route = world.ask(&Message { ciaddr: elsewhere, ..discover(1) }).route;
        assert!(matches!(route, Route::Frame { .. }), "{route:?}");
    }
    world.arrival.source = SocketAddrV4::new(Ipv4Addr::new(8, 8, 8, 8), 68);
    assert_eq!(world.send(&message(1, MessageType::Inform, &[])).unwrap_err(), DropReason::NoSubnet);
}

#[test]
fn rfc951_3_a_client_with_an_address_gets_none() {
    let mut world = lab(99, "bootp: dynamic,", "");
    let reply = world.ask(&Message { ciaddr: ip(200), ..bootp(1) });
    assert_eq!((reply.message.ciaddr, reply.message.yiaddr), (ip(200), Ipv4Addr::UNSPECIFIED));
    assert_eq!(reply.message.options.ip(1), Some(Ipv4Addr::new(255, 255, 255, 0)));
    let to = SocketAddrV4::new(ip(200), 68);
    assert!(matches!(reply.route, Route::Frame { to: way, has_address: true, .. } if way == to));
    assert_eq!(world.book.len(), 0);
    let elsewhere = Message { ciaddr: Ipv4Addr::new(8, 8, 8, 8), ..bootp(1) };
    assert_eq!(world.send(&elsewhere).unwrap_err(), DropReason::NoSubnet);
}

#[test]
fn rfc951_7_3_a_request_that_names_another_server_is_ignored() {
    let mut world = lab(99, "bootp: dynamic,", "");
    let naming = |name: &[u8]| {
        let mut ask = bootp(1);
        ask.sname[..name.len()].copy_from_slice(name);
        ask
    };
    assert_eq!(world.send(&naming(b"192.168.77.2")).unwrap_err(), DropReason::OtherServer);
    assert_eq!(world.ask(&naming(b"192.168.77.1")).message.yiaddr, ip(50));
}

#[test]
fn a_boot_lease_is_for_grub_too() {
    let mut world = lab(99, "", "");
    // The parameter request list of GRUB's own DHCP client.
    let grub = message(1, MessageType::Discover, &[(55, &[1, 3, 6, 15, 12, 17, 18])]);
    assert_eq!(world.ask(&grub).message.options.u32(51), Some(120));
    assert_eq!(world.ask(&discover(2)).message.options.u32(51), Some(3600));
}
