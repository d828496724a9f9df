//! The DHCP server, one statement at a time. Each test is named after the RFC section that makes the statement, or
//! after its row in docs/robustness.md.

use std::net::{Ipv4Addr, SocketAddrV4};

use lanboot::dhcp::route::Route;
use lanboot::dhcp::settings::Authoritative;
use lanboot::event::DropReason;
use lanboot::lease::{Holder, Lease, LeaseChange, State};
use lanboot::types::{ClientId, MacAddr};
use lanboot::wire::dhcp::{FLAG_BROADCAST, Message, MessageType};
use lanboot::wire::option::code;
use support::world::*;

const LAB: &str = "
dhcp:
  mode: server
  subnets:
    - network: 192.168.77.0/24
      pool: 192.168.77.50-192.168.77.54
      lease: {default: 1h, min: 2m, max: 12h}
      options: {router: 192.168.77.1, dns: [192.168.77.1, 1.1.1.1], domain: lab.example}
    - network: 10.1.0.0/24
      pool: 10.1.0.50-10.1.0.99
      relays: [10.9.9.1]
boot:
  arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}
machines:
  - {name: node1, mac: '02:00:00:00:00:c8', address: 192.168.77.10, options: {hostname: node1}}
";

fn lab() -> World {
    World::new(LAB)
}

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// A Raspberry Pi 3's DISCOVER.
fn raspberry_pi(n: u8) -> Message {
    let options: &[(u8, &[u8])] =
        &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (97, &[0x44; 17])];
    let mut ask = message(n, MessageType::Discover, options);
    ask.chaddr[..3].copy_from_slice(&[0xb8, 0x27, 0xeb]);
    ask
}

#[test]
fn a_raspberry_pi_3_that_sends_no_request_keeps_the_address_that_it_was_offered() {
    for (boot_lease, kept, free) in [("", 590, 20), (", boot_lease: 2m", 110, 20)] {
        let mut world = World::new(&format!(
            "dhcp: {{mode: server, conflict_check: 100ms, subnets: [{{network: 192.168.77.0/24, \
             pool: 192.168.77.50-192.168.77.50{boot_lease}}}]}}"
        ));
        let address = world.ask(&raspberry_pi(1)).message.yiaddr;
        world.pass(kept);
        assert_eq!(world.send(&discover(2)).unwrap_err(), DropReason::PoolExhausted, "{boot_lease}");
        assert_eq!(world.ask(&raspberry_pi(1)).message.yiaddr, address, "it boots anew");
        world.pass(kept);
        assert_eq!(world.send(&discover(2)).unwrap_err(), DropReason::PoolExhausted, "{boot_lease}");
        world.pass(free);
        assert_eq!(world.ask(&discover(2)).message.yiaddr, address, "{boot_lease}");
    }
}

#[test]
fn rfc2131_3_1_a_client_gets_an_address_in_four_messages() {
    let mut world = lab();
    let offer = world.ask(&discover(1));
    assert_eq!(offer.kind(), Some(MessageType::Offer));
    assert_eq!(offer.message.yiaddr, ip(50));
    assert_eq!(offer.message.siaddr, SERVER);
    assert_eq!(offer.option(54), Some(&SERVER.octets()[..]));
    assert_eq!(offer.message.options.u32(51), Some(3600));
    assert_eq!(offer.message.options.u32(58), Some(1800));
    assert_eq!(offer.message.options.u32(59), Some(3150));
    assert_eq!(offer.message.options.ip(1), Some(Ipv4Addr::new(255, 255, 255, 0)));
    assert_eq!(offer.message.options.ip(3), Some(SERVER));
    assert_eq!(offer.option(6), Some(&[192, 168, 77, 1, 1, 1, 1, 1][..]));
    assert_eq!(offer.message.xid, discover(1).xid);
    assert_eq!(world.lease(1), ip(50));
    assert_eq!(world.lease(2), ip(51));
}

#[test]
fn rfc2131_3_1_an_offered_address_is_held_and_offered_to_no_other() {
    let mut world = lab();
    let given: Vec<Ipv4Addr> = (1..=5).map(|n| world.ask(&discover(n)).message.yiaddr).collect();
    assert_eq!(given, [ip(50), ip(51), ip(52), ip(53), ip(54)]);
    assert_eq!(world.send(&discover(6)).unwrap_err(), DropReason::PoolExhausted);
    world.pass(1);
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(50), "its own again");
    world.pass(60);
    assert_eq!(world.ask(&discover(6)).message.yiaddr, ip(51), "the hold of client 2 is gone first");
}

#[test]
fn rfc2131_3_5_the_request_list_decides_and_the_asked_lease_time_is_bounded() {
    let mut world = lab();
    let asked = message(1, MessageType::Discover, &[(55, &[15, 28, 42, 15]), (51, &7200u32.to_be_bytes())]);
    let offer = world.ask(&asked);
    assert_eq!(offer.option(15), Some(&b"lab.example"[..]));
    assert_eq!(offer.message.options.ip(28), Some(ip(255)));
    assert_eq!(offer.message.options.u32(51), Some(7200));
    for (asked, granted) in [(1u32, 120), (u32::MAX, 43200)] {
        let offer = world.ask(&message(1, MessageType::Discover, &[(51, &asked.to_be_bytes())]));
        assert_eq!(offer.message.options.u32(51), Some(granted));
    }
    let listed = world.ask(&message(1, MessageType::Discover, &[(55, &[1])]));
    assert_eq!(listed.option(15), None, "not asked for");
    let unlisted = world.ask(&discover(1));
    assert_eq!(unlisted.option(15), Some(&b"lab.example"[..]), "without a list, all");
}

#[test]
fn r_08_the_ack_of_a_renewal_waits_for_no_arp() {
    let mut world = lab();
    let address = world.lease(1);
    let to = SocketAddrV4::new(address, 68);
    let frame = Route::Frame { to, mac: MacAddr([2, 0, 0, 0, 0, 1]), has_address: true };
    for destination in [SERVER, Ipv4Addr::BROADCAST] {
        world.arrival.destination = destination;
        let renew = Message { flags: FLAG_BROADCAST, ..extend(1, address) };
        assert_eq!(world.ask(&renew).route, frame, "RFC 2131 section 4.1: ciaddr comes before the flag");
    }
    let inform = Message { ciaddr: ip(200), ..message(2, MessageType::Inform, &[]) };
    assert!(matches!(world.ask(&inform).route, Route::Frame { has_address: true, .. }));
    world.settings.always_broadcast = true;
    for ask in [extend(1, address), inform] {
        assert_eq!(world.ask(&ask).route, Route::Broadcast { port: 68 }, "to all clients on our wire");
    }
    // A client behind a router renews by unicast, without a relay agent. The kernel has a route to it.
    world.arrival.networks = [].into();
    assert_eq!(world.ask(&extend(1, address)).route, Route::Unicast(to));
}

#[test]
fn rfc2131_4_1_replies_go_where_the_client_can_hear_them() {
    let mut world = lab();
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let to = |address, port| SocketAddrV4::new(address, port);
    assert_eq!(world.ask(&discover(1)).route, Route::Frame { to: to(ip(50), 68), mac, has_address: false });
    let deaf = Message { flags: FLAG_BROADCAST, ..discover(1) };
    assert_eq!(world.ask(&deaf).route, Route::Broadcast { port: 68 });
    world.settings.always_broadcast = true;
    assert_eq!(world.ask(&discover(1)).route, Route::Broadcast { port: 68 });
    world.settings.always_broadcast = false;
    let infiniband =
        Message { htype: 32, hlen: 0, ..message(1, MessageType::Discover, &[(61, b"\0some id")]) };
    assert_eq!(
        world.ask(&infiniband).route,
        Route::Broadcast { port: 68 },
        "no Ethernet address to write to"
    );

    let address = world.lease(1);
    let in_use = Route::Frame { to: to(address, 68), mac, has_address: true };
    assert_eq!(world.ask(&extend(1, address)).route, in_use);
    let relayed = Message { giaddr: Ipv4Addr::new(10, 1, 0, 1), ..discover(7) };
    assert_eq!(world.ask(&relayed).route, Route::Unicast(to(Ipv4Addr::new(10, 1, 0, 1), 67)));
    let nak = world.ask(&init_reboot(1, Ipv4Addr::new(10, 1, 0, 50)));
    assert_eq!(nak.route, Route::Broadcast { port: 68 });
    world.arrival.loopback = true;
    world.arrival.source = to(Ipv4Addr::LOCALHOST, 40000);
    assert_eq!(world.ask(&discover(1)).route, Route::Unicast(to(Ipv4Addr::LOCALHOST, 40000)));
}

#[test]
fn rfc2131_4_3_1_the_clients_own_address_comes_first_then_its_last_then_the_one_it_asks_for() {
    let mut world = lab();
    let wish = |n, address: Ipv4Addr| message(n, MessageType::Discover, &[(50, &address.octets())]);
    assert_eq!(world.ask(&wish(1, ip(53))).message.yiaddr, ip(53));
    world.ask(&select(1, SERVER, ip(53)));
    assert_eq!(world.ask(&wish(1, ip(54))).message.yiaddr, ip(53), "it has a lease");
    assert_eq!(world.ask(&wish(2, ip(53))).message.yiaddr, ip(50), "somebody else has it");
    assert_eq!(world.ask(&wish(3, ip(99))).message.yiaddr, ip(51), "not in the pool");
    world.pass(7200);
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(53), "its last address, though its lease is over");
}

#[test]
fn rfc2131_4_3_2_selecting_our_offer_or_anothers() {
    let mut world = lab();
    let other = Ipv4Addr::new(192, 168, 77, 2);
    world.ask(&discover(1));
    assert_eq!(world.send(&select(1, other, ip(50))).unwrap_err(), DropReason::OtherServer);
    assert!(world.book.is_free_for(ip(50), &holder(9), world.now), "our offer is free again");
    world.ask(&discover(1));
    let nak = world.ask(&select(2, SERVER, ip(50)));
    assert_eq!(nak.kind(), Some(MessageType::Nak));
    assert_eq!(nak.message.yiaddr, Ipv4Addr::UNSPECIFIED);
    assert_eq!(nak.message.file, [0; 128]);
    assert_eq!(world.ask(&select(1, SERVER, ip(50))).kind(), Some(MessageType::Ack));
    assert_eq!(
        world.ask(&select(1, SERVER, ip(99))).kind(),
        Some(MessageType::Nak),
        "not an address of the pool"
    );
}

#[test]
fn rfc2131_4_3_2_init_reboot() {
    let mut world = lab();
    let address = world.lease(1);
    assert_eq!(world.ask(&init_reboot(1, address)).kind(), Some(MessageType::Ack));
    assert_eq!(world.ask(&init_reboot(1, ip(54))).kind(), Some(MessageType::Nak), "it has another address");
    assert_eq!(world.send(&init_reboot(2, ip(54))).unwrap_err(), DropReason::UnknownLease);
    let elsewhere = Ipv4Addr::new(172, 16, 0, 9);
    assert_eq!(
        world.ask(&init_reboot(2, elsewhere)).kind(),
        Some(MessageType::Nak),
        "wrong for this network"
    );
    world.settings.authoritative = Authoritative::No;
    assert_eq!(world.send(&init_reboot(2, elsewhere)).unwrap_err(), DropReason::UnknownLease);
    world.pass(7200);
    assert_eq!(
        world.ask(&init_reboot(1, address)).kind(),
        Some(MessageType::Ack),
        "over, but nobody took it"
    );
    world.pass(7200);
    for n in 10..=14 {
        world.lease(n);
    }
    assert_eq!(
        world.send(&init_reboot(1, address)).unwrap_err(),
        DropReason::UnknownLease,
        "taken and forgotten"
    );
}

#[test]
fn rfc2131_4_3_2_renewing_and_rebinding_extend_the_lease() {
    let mut world = lab();
    let address = world.lease(1);
    for _ in 0..4 {
        world.pass(1800);
        let ack = world.ask(&extend(1, address));
        assert_eq!(
            (ack.kind(), ack.message.yiaddr, ack.message.ciaddr),
            (Some(MessageType::Ack), address, address)
        );
        assert_eq!(ack.message.options.u32(51), Some(3600));
    }
    let until = world.book.binding(address).unwrap().until;
    assert_eq!(until, world.now.after(std::time::Duration::from_secs(3600)));
    assert_eq!(world.send(&extend(2, ip(54))).unwrap_err(), DropReason::UnknownLease);
    let mut to_other = extend(1, address);
    to_other.options.push(code::SERVER_IDENTIFIER, &[192, 168, 77, 2]);
    assert_eq!(world.send(&to_other).unwrap_err(), DropReason::OtherServer);
}

#[test]
fn rfc2131_4_3_3_decline_takes_the_address_out_of_use() {
    let mut world = lab();
    let address = world.lease(1);
    let decline = |n, address: Ipv4Addr| {
        message(n, MessageType::Decline, &[(50, &address.octets()), (54, &SERVER.octets())])
    };
    assert_eq!(world.send(&decline(2, address)).unwrap_err(), DropReason::NotOwner);
    assert_eq!(world.send(&message(1, MessageType::Decline, &[])).unwrap_err(), DropReason::BadRequest);
    assert!(world.send(&decline(1, address)).unwrap().is_none());
    let next = world.lease(1);
    assert_ne!(next, address);
    // A pool of five can lose one address this way, and no more.
    assert_eq!(world.send(&decline(1, next)).unwrap_err(), DropReason::TooManyDeclined);
    let third = world.lease(1);
    assert!(![address, next].contains(&third), "nor is the client offered the second one again at once");
    world.pass(700);
    assert!(world.send(&decline(1, third)).unwrap().is_none(), "the first one is back");
}

#[test]
fn rfc2131_4_3_4_release_frees_the_owners_address_only() {
    let mut world = lab();
    let address = world.lease(1);
    let release = |n, address: Ipv4Addr| {
        let release = message(n, MessageType::Release, &[(54, &SERVER.octets())]);
        Message { ciaddr: address, ..release }
    };
    world.arrival.source = SocketAddrV4::new(address, 68);
    assert_eq!(world.send(&release(2, address)).unwrap_err(), DropReason::NotOwner);
    world.arrival.source = SocketAddrV4::new(ip(53), 68);
    assert_eq!(
        world.send(&release(1, address)).unwrap_err(),
        DropReason::NotOwner,
        "sent from another address"
    );
    world.arrival.source = SocketAddrV4::new(address, 68);
    assert!(world.send(&release(1, address)).unwrap().is_none());
    assert!(world.book.is_free_for(address, &holder(2), world.now));
    assert_eq!(world.send(&release(1, address)).unwrap_err(), DropReason::NotOwner, "it has none now");
    assert_eq!(world.lease(1), address, "its last address is kept for it");
}

#[test]
fn rfc2131_4_3_5_inform_is_answered_without_address_and_lease() {
    let mut world = lab();
    let inform = Message { ciaddr: ip(200), ..message(1, MessageType::Inform, &[]) };
    let ack = world.ask(&inform);
    assert_eq!(ack.kind(), Some(MessageType::Ack));
    assert_eq!(ack.message.yiaddr, Ipv4Addr::UNSPECIFIED);
    assert_eq!((ack.option(51), ack.option(58), ack.option(59)), (None, None, None));
    assert_eq!(ack.message.options.ip(3), Some(SERVER));
    let to = SocketAddrV4::new(ip(200), 68);
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    assert_eq!(ack.route, Route::Frame { to, mac, has_address: true });
    assert_eq!(world.book.len(), 0);
}

#[test]
fn rfc951_plain_bootp_is_answered_from_reservations() {
    let mut world = lab();
    let reply = world.ask(&bootp(0xc8));
    assert_eq!(reply.message.yiaddr, ip(10));
    assert_eq!(reply.message.file_name(), b"undionly.kpxe");
    assert_eq!(reply.bytes.len(), 300);
    assert_eq!(reply.kind(), None);
    assert_eq!(world.send(&bootp(1)).unwrap_err(), DropReason::BootpRefused);
    let no_vend = &bootp(0xc8).encode()[..236];
    assert_eq!(world.send_bytes(no_vend).unwrap().unwrap().message.yiaddr, ip(10), "klibc sends 236 bytes");
}

#[test]
fn rfc1534_2_a_bootp_client_keeps_a_pool_address_for_good() {
    let mut world = World::new(&LAB.replace("mode: server", "mode: server\n  bootp: dynamic"));
    assert_eq!(world.ask(&bootp(1)).message.yiaddr, ip(50));
    world.pass(10 * 365 * 86400);
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(51));
    assert_eq!(world.ask(&bootp(1)).message.yiaddr, ip(50));
    let mut off = World::new(&LAB.replace("mode: server", "mode: server\n  bootp: false"));
    assert_eq!(off.send(&bootp(0xc8)).unwrap_err(), DropReason::BootpRefused);
}

#[test]
fn rfc1542_5_4_a_bootp_client_is_answered_where_it_asked_from() {
    let mut world = World::new(&LAB.replace("mode: server", "mode: server\n  bootp: dynamic"));
    let relay = Ipv4Addr::new(10, 1, 0, 1);
    let relayed = Message { giaddr: relay, hops: 3, secs: 9, ..bootp(1) };
    let reply = world.ask(&relayed);
    assert_eq!(reply.message.yiaddr, Ipv4Addr::new(10, 1, 0, 50), "an address of the relay agent's network");
    assert_eq!(reply.route, Route::Unicast(SocketAddrV4::new(relay, 67)));
    assert_eq!((reply.message.giaddr, reply.message.xid), (relay, relayed.xid));
    let unknown = Message { giaddr: Ipv4Addr::new(10, 9, 9, 9), ..bootp(1) };
    assert_eq!(world.send(&unknown).unwrap_err(), DropReason::UnknownRelay);
    // Section 3.1.1: a client that cannot receive unicast sets the broadcast flag.
    let deaf = world.ask(&Message { flags: FLAG_BROADCAST, ..bootp(0xc8) });
    assert_eq!((deaf.route, deaf.message.yiaddr), (Route::Broadcast { port: 68 }, ip(10)));
    let hears = world.ask(&bootp(0xc8));
    assert_eq!(
        hears.route,
        Route::Frame {
            to: SocketAddrV4::new(ip(10), 68),
            mac: MacAddr([2, 0, 0, 0, 0, 0xc8]),
            has_address: false
        }
    );
}

#[test]
fn rfc3046_2_2_option_82_comes_back_byte_for_byte_and_last() {
    let mut world = lab();
    let relay_information = [1, 3, b'g', b'e', b'1', 2, 2, 0xff, 0x00, 151, 1, 9];
    let mut relayed = message(1, MessageType::Discover, &[(61, b"\0id"), (82, &relay_information)]);
    relayed.giaddr = Ipv4Addr::new(10, 9, 9, 1);
    let offer = world.ask(&relayed);
    assert_eq!(offer.message.yiaddr, Ipv4Addr::new(10, 1, 0, 50), "the relay is listed for that subnet");
    assert_eq!(offer.option(82), Some(&relay_information[..]));
    assert_eq!(offer.message.options.iter().last().map(|(code, _)| code), Some(82));
    assert_eq!(offer.option(61), Some(&b"\0id"[..]), "RFC 6842");
    assert_eq!(offer.message.giaddr, relayed.giaddr);
    relayed.giaddr = Ipv4Addr::new(10, 9, 9, 2);
    assert_eq!(world.send(&relayed).unwrap_err(), DropReason::UnknownRelay);
}

#[test]
fn rfc3046_2_2_a_bootp_reply_carries_option_82_beyond_its_vendor_field_to_the_relay() {
    let domain = "d".repeat(30);
    let options =
        format!("options: {{router: 10.1.0.1, domain: {domain}.example, 224: 'hex:{}'}}", "ab".repeat(40));
    let lab = LAB.replace("mode: server", "mode: server\n  bootp: dynamic");
    let mut world = World::new(&lab.replace("relays: [10.9.9.1]", &options));
    let mut ask = |relay_information: &[u8], giaddr| {
        let mut bootp = Message { giaddr, ..bootp(1) };
        assert!(bootp.options.push(82, relay_information));
        let reply = world.ask(&bootp);
        let last = reply.message.options.iter().last().filter(|(code, _)| *code == 82);
        let carried = last.is_some_and(|(_, value)| value == relay_information);
        let of_client = reply.message.options.iter().filter(|(code, _)| *code != 82);
        let of_client: usize = of_client.map(|(_, value)| value.len() + 2).sum();
        assert!(of_client <= 59 && reply.message.encode().len() <= 548);
        (carried, of_client)
    };
    let relay = Ipv4Addr::new(10, 1, 0, 1);
    let alone = ask(&[1, 1, 7], relay);
    assert_eq!(alone, (true, 6 + 6 + 2 + 38), "mask, router and domain fill the 64 bytes");
    for len in [58, 200, 246] {
        assert_eq!(ask(&vec![1; len], relay), alone, "{len} bytes");
    }
    assert!(!ask(&[1; 400], relay).0, "no more than the datagram");
    assert!(!ask(&[1; 58], Ipv4Addr::UNSPECIFIED).0, "a client that added it itself reads 64 bytes");
}

#[test]
fn rfc2131_4_3_2_a_nak_through_a_relay_asks_it_to_broadcast() {
    let mut world = lab();
    let wrong = Message { giaddr: Ipv4Addr::new(10, 1, 0, 1), ..init_reboot(1, ip(50)) };
    let nak = world.ask(&wrong);
    assert_eq!(nak.kind(), Some(MessageType::Nak));
    assert_eq!(nak.message.flags & FLAG_BROADCAST, FLAG_BROADCAST);
    assert_eq!(nak.route, Route::Unicast(SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 67)));
}

#[test]
fn reservations_are_kept_for_their_machine() {
    let mut world = lab();
    let node1 = message(0xc8, MessageType::Discover, &[(55, &[12])]);
    let offer = world.ask(&node1);
    assert_eq!((offer.message.yiaddr, offer.option(12)), (ip(10), Some(&b"node1"[..])));
    assert_eq!(world.ask(&select(0xc8, SERVER, ip(10))).kind(), Some(MessageType::Ack));
    assert_eq!(world.ask(&select(1, SERVER, ip(10))).kind(), Some(MessageType::Nak), "not for others");
    assert_eq!(world.ask(&init_reboot(0xc8, ip(10))).kind(), Some(MessageType::Ack));
    assert_eq!(world.ask(&init_reboot(0xc8, ip(50))).kind(), Some(MessageType::Nak));
}

#[test]
fn an_ack_waits_for_the_disk_and_a_failed_commit_leaves_an_offer() {
    let mut world = lab();
    world.ask(&discover(1));
    world.disk_works = false;
    assert_eq!(world.send(&select(1, SERVER, ip(50))).unwrap_err(), DropReason::StoreFailed);
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(51), "still held for client 1");
    world.disk_works = true;
    assert_eq!(world.ask(&select(1, SERVER, ip(50))).kind(), Some(MessageType::Ack));
    let until = world.book.binding(ip(50)).unwrap().until;
    world.disk_works = false;
    world.pass(1800);
    let ack = world.ask(&extend(1, ip(50)));
    assert_eq!(ack.message.options.u32(51), Some(1800), "no more than what is on disk");
    assert_eq!(world.book.binding(ip(50)).unwrap().until, until);
}

#[test]
fn d_04_and_d_15_identities_that_are_none() {
    let mut world = lab();
    let short = message(1, MessageType::Discover, &[(61, &[0])]);
    assert_eq!(world.ask(&short).message.yiaddr, ip(50));
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(50), "an identifier of one byte is none");
    let nobody = Message { hlen: 0, ..discover(1) };
    assert_eq!(world.send(&nobody).unwrap_err(), DropReason::NoIdentity);
}

#[test]
fn d_07_a_unicast_request_from_no_subnet_of_ours_is_dropped() {
    let mut world = lab();
    world.arrival.addresses = [Ipv4Addr::new(172, 16, 0, 1)].into();
    world.arrival.destination = Ipv4Addr::new(172, 16, 0, 1);
    for kind in [MessageType::Discover, MessageType::Request, MessageType::Inform] {
        let mut stray = message(1, kind, &[(50, &[10, 9, 9, 9]), (61, b"\0x"), (118, &[10, 9, 9, 0])]);
        stray.ciaddr = Ipv4Addr::new(10, 9, 9, 9);
        assert_eq!(world.send(&stray).unwrap_err(), DropReason::NoSubnet);
    }
}

#[test]
fn d_21_messages_that_lie_about_their_type_are_never_acknowledged() {
    let mut world = lab();
    for kind in [MessageType::Offer, MessageType::Ack, MessageType::Nak] {
        assert_eq!(world.send(&message(1, kind, &[])).unwrap_err(), DropReason::BadMessageType);
    }
    let mut reply = discover(1);
    reply.op = 2;
    assert_eq!(world.send(&reply).unwrap_err(), DropReason::NotRequest);
    let mut bytes = bootp(0xc8).encode();
    bytes[240..243].copy_from_slice(&[53, 0, 255]);
    assert_eq!(world.send_bytes(&bytes).unwrap_err(), DropReason::BadMessageType);
    bytes.truncate(243);
    bytes[240..243].copy_from_slice(&[53, 9, 3]);
    assert_eq!(world.send_bytes(&bytes).unwrap_err(), DropReason::Malformed);
    assert_eq!(world.send(&message(1, MessageType::Request, &[])).unwrap_err(), DropReason::BadRequest);
    let lie = message(1, MessageType::Request, &[(50, &[192, 168, 77]), (54, &SERVER.octets())]);
    assert_eq!(world.send(&lie).unwrap_err(), DropReason::BadRequest);
}

#[test]
fn d_13_no_reply_is_longer_than_the_client_takes() {
    let options: String = (224..=230).map(|code| format!("{code}: 'text:{}', ", "x".repeat(120))).collect();
    let yaml = LAB.replace("domain: lab.example}", &format!("domain: lab.example, {options}}}"));
    let mut world = World::new(&yaml);
    let long = message(1, MessageType::Discover, &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7])]);
    let offer = world.ask(&long);
    assert!(offer.bytes.len() <= 548, "{} bytes without option 57", offer.bytes.len());
    assert_eq!(offer.option(67), Some(&b"snponly.efi\0"[..]), "what boots goes first");
    let mut large = long;
    large.options.push(57, &0xff00u16.to_be_bytes());
    let offer = world.ask(&large);
    assert!((1000..=1472).contains(&offer.bytes.len()), "{} bytes with option 57 = 65280", offer.bytes.len());
}

fn holder(n: u8) -> Holder {
    let mac = MacAddr([2, 0, 0, 0, 0, n]);
    Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false }
}

#[test]
fn rfc2131_2_2_an_address_is_checked_before_its_first_offer_and_not_again() {
    let mut world = lab();
    world.used = vec![ip(50)];
    assert_eq!(world.lease(1), ip(51), "somebody uses the first one");
    assert_eq!(world.checked, [ip(50), ip(51)]);
    world.lease(1);
    world.pass(7200);
    world.lease(1);
    assert_eq!(world.checked.len(), 2, "it had a lease there");
    assert_eq!(world.lease(0xc8), ip(10));
    assert_eq!(world.checked.len(), 2, "a reserved address is the machine's, whatever answers there");
    world.settings.conflict_check = None;
    world.lease(3);
    assert_eq!(world.checked.len(), 2);
}

#[test]
fn an_address_found_in_use_again_stays_out_of_use_twice_as_long() {
    let mut world = lab();
    world.used = vec![ip(50)];
    let mut times = Vec::new();
    for n in 1..=12 {
        let wish = message(n, MessageType::Discover, &[(50, &ip(50).octets())]);
        assert_ne!(world.ask(&wish).message.yiaddr, ip(50));
        let until = world.book.binding(ip(50)).unwrap().until;
        times.push(until.since(world.now).as_secs());
        world.now = until.after(std::time::Duration::from_secs(3600));
    }
    assert_eq!(times[..3], [600, 1200, 2400]);
    assert_eq!(times[11], 86400, "a day at most");
}

#[test]
fn a_repeated_discover_waits_for_the_check() {
    let mut world = lab();
    let hold = LeaseChange::Hold {
        address: ip(50),
        holder: holder(1),
        state: State::Checking,
        until: world.now.after(std::time::Duration::from_secs(30)),
    };
    world.book.apply(&hold);
    assert_eq!(world.send(&discover(1)).unwrap_err(), DropReason::Checking);
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(51), "held for client 1");
    world.pass(31);
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(50));
}

#[test]
fn one_machine_keeps_its_address_from_firmware_to_system() {
    let mut world = lab();
    let pxe: [(u8, &[u8]); 2] = [(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7])];
    let address = world.ask(&message(1, MessageType::Discover, &pxe)).message.yiaddr;
    world.ask(&select(1, SERVER, address));
    let system = message(1, MessageType::Discover, &[(61, b"\xffan id of its own")]);
    assert_eq!(world.ask(&system).message.yiaddr, address);
    let installer = message(1, MessageType::Request, &[(61, b"\0an uuid"), (50, &address.octets())]);
    assert_eq!(world.ask(&installer).message.yiaddr, address, "INIT-REBOOT with yet another identifier");
    let other_machine = message(2, MessageType::Discover, &[(61, b"\xffsomething else")]);
    assert_ne!(world.ask(&other_machine).message.yiaddr, address);
}

#[test]
fn a_boot_lease_is_for_the_firmware_stage() {
    let mut world =
        World::new(&LAB.replace("lease: {default: 1h", "boot_lease: 2m\n      lease: {default: 1h"));
    let pxe = message(1, MessageType::Discover, &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7])]);
    assert_eq!(world.ask(&pxe).message.options.u32(51), Some(120));
    assert_eq!(world.ask(&discover(1)).message.options.u32(51), Some(3600));
}

#[test]
fn d_01_bytes_that_are_no_message_are_dropped() {
    let mut world = lab();
    let whole = discover(1).encode();
    for len in [0, 1, 43, 235] {
        assert_eq!(world.send_bytes(&whole[..len]).unwrap_err(), DropReason::TooShort, "{len} bytes");
    }
    for hlen in [17, 32, 255] {
        let mut bytes = whole.clone();
        bytes[2] = hlen;
        assert_eq!(world.send_bytes(&bytes).unwrap_err(), DropReason::BadHlen, "hlen {hlen}");
    }
    assert_eq!(world.book.len(), 0);
}

#[test]
fn boards_that_share_a_placeholder_for_a_uuid_are_not_one_machine() {
    let mut world = lab();
    let uuid = [0, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9];
    let board =
        |n| message(n, MessageType::Discover, &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (61, &uuid)]);
    let first = world.ask(&board(1)).message.yiaddr;
    assert_ne!(world.ask(&board(2)).message.yiaddr, first);
    assert_eq!(world.ask(&board(1)).option(61), Some(&uuid[..]), "it is echoed all the same");
}

#[test]
fn a_machine_whose_reserved_address_is_taken_keeps_the_one_it_got_instead() {
    let mut world = lab();
    let squatter = Lease {
        address: ip(10),
        holder: holder(9),
        hardware: MacAddr([2, 0, 0, 0, 0, 9]).into(),
        state: State::Leased,
        until: world.now.after(std::time::Duration::from_secs(7200)),
    };
    world.book.load(squatter);
    let address = world.lease(0xc8);
    assert_ne!(address, ip(10));
    assert_eq!(world.ask(&extend(0xc8, address)).kind(), Some(MessageType::Ack));
    world.pass(7300);
    assert_eq!(world.ask(&extend(0xc8, address)).kind(), Some(MessageType::Nak), "its own is free again");
    assert_eq!(world.lease(0xc8), ip(10));
}

#[test]
fn d_03_a_client_identifier_longer_than_an_option_is_none() {
    let mut world = lab();
    let long = message(1, MessageType::Discover, &[(61, &[7; 256])]);
    assert_eq!(world.ask(&long).message.yiaddr, world.ask(&discover(1)).message.yiaddr);
    let full = message(2, MessageType::Discover, &[(61, &[7; 255])]);
    assert_ne!(world.ask(&full).message.yiaddr, world.ask(&discover(2)).message.yiaddr);
}
