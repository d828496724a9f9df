//! Bad bytes, attacks and faults. Each test is named after its row in docs/robustness.md.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use lanboot::event::DropReason;
use lanboot::lease::{Lease, LeaseBook, LeaseChange, State};
use lanboot::store::{LeaseStore, SqliteStore};
use lanboot::types::HardwareAddr;
use lanboot::wire::dhcp::{Message, MessageType};
use lanboot::wire::{arp, icmp};

use support::world::{Answer, SERVER, World, base, bootp, discover, extend, init_reboot, message, select};

const LAB: &str = "
dhcp:
  mode: server
  fqdn_suffix: lab.example
  subnets:
    - network: 192.168.77.0/24
      pool: 192.168.77.50-192.168.77.59
      options: {router: 192.168.77.1, dns: [192.168.77.1], domain: lab.example}
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99, relays: [10.9.9.1]}
boot:
  arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}
  ipxe: boot.ipxe
machines:
  - {name: node1, mac: '02:00:00:00:00:c8', address: 192.168.77.10}
";

fn lab() -> World {
    World::new(LAB)
}

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// Asserts that the next well-formed exchange of another client works, which the rows of docs/robustness.md call alive.
fn alive(world: &mut World) {
    let address = world.lease(0xa1);
    world.arrival.source = SocketAddrV4::new(address, 68);
    let release = message(0xa1, MessageType::Release, &[(54, &SERVER.octets())]);
    world.send(&Message { ciaddr: address, ..release }).unwrap();
    world.arrival.source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
}

fn offered(world: &mut World, bytes: &[u8]) -> Answer {
    let answer = world.send_bytes(bytes).expect("not dropped").expect("answered");
    assert_eq!(answer.kind(), Some(MessageType::Offer));
    answer
}

#[test]
fn d_02_a_fuzzers_packet_of_bogus_options_is_no_request() {
    let mut world = lab();
    let mut bogus =
        base(1, &[0xde, 0x02, 0xff, 0xfe, 0x34, 0x00, 0x39, 0x01, 0x01, 0x5d, 0x00, 0x52, 0x01, 0x05]);
    bogus[1] = 0x2c;
    bogus.extend((0..900u32).flat_map(|i| [(i * 7) as u8 | 1, (i % 5) as u8, 0x2c, 0x77]));
    assert!(world.send_bytes(&bogus).is_err());
    assert!(world.book.is_empty());
    alive(&mut world);
}

#[test]
fn d_03_a_client_identifier_of_254_bytes_is_served_and_stored_as_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = lab();
    let id = [&[0][..], &[0x12; 253]].concat();
    let address = world.ask(&message(1, MessageType::Discover, &[(61, &id)])).message.yiaddr;
    let taken =
        message(1, MessageType::Request, &[(61, &id), (50, &address.octets()), (54, &SERVER.octets())]);
    assert_eq!(world.ask(&taken).kind(), Some(MessageType::Ack));
    let binding = world.book.binding(address).unwrap().clone();
    assert_eq!(binding.holder.client.as_bytes(), id);
    let until = binding.until;
    let lease = Lease {
        address,
        holder: binding.holder,
        hardware: HardwareAddr::default(),
        state: State::Leased,
        until,
    };
    SqliteStore::open(folder.path()).unwrap().commit(std::slice::from_ref(&lease)).unwrap();
    let (stored, skipped) = SqliteStore::open(folder.path()).unwrap().load().unwrap();
    assert_eq!((stored.len(), skipped), (1, 0));
    world.book = LeaseBook::new(world.settings.pools());
    assert!(world.book.load(stored[0].clone()));
    assert_eq!(world.ask(&taken).message.yiaddr, address, "after a restart too");
}

#[test]
fn d_04_a_client_identifier_shorter_than_two_bytes_is_none() {
    let mut world = lab();
    let plain = world.ask(&discover(1)).message.yiaddr;
    for id in [&[61, 0][..], &[61, 1, 0], &[61, 0, 61, 0, 61, 0]] {
        let answer = offered(&mut world, &base(1, &[&[53, 1, 1], id, &[255]].concat()));
        assert_eq!(answer.message.yiaddr, plain, "the client is known by its MAC");
        assert_eq!(answer.option(61), None, "nothing to echo");
    }
    alive(&mut world);
}

#[test]
fn d_05_an_odd_host_name_does_not_make_it_bootp() {
    let mut world = World::new(&LAB.replace("mode: server", "mode: server\n  bootp: dynamic"));
    let odd: [&[u8]; 5] = [
        b"\x0c\x02a\xe9",
        b"\x0c\x00",
        b"\x0c\x05\xff\xff\x7f\x80\x00",
        b"\x51\x04\x00\x00\x00\xe9",
        b"\x51\x00",
    ];
    for name in odd {
        let answer = offered(&mut world, &base(1, &[name, b"\x35\x01\x01\x37\x02\x01\x03\xff"].concat()));
        assert_eq!(answer.option(81), None);
    }
    // The option is longer than the rest of the message. The message type comes before it.
    let long = offered(&mut world, &base(1, b"\x35\x01\x01\x0c\xff\xff\xff\x7f"));
    assert_eq!(long.message.options.u32(51), Some(3600), "an offer for an hour, no lease for good");
    assert_eq!(world.book.len(), 1);
    alive(&mut world);
}

#[test]
fn d_06_a_host_name_of_which_nothing_is_left_is_ignored() {
    let mut world = lab();
    for option in [&[12, 3, b'!', b'@', b'#'][..], &[81, 6, 0, 0, 0, b'!', b'@', b'#'], &[81, 4, 4, 0, 0, 1]]
    {
        let answer =
            offered(&mut world, &base(1, &[&[53, 1, 1], option, &[55, 3, 12, 15, 81, 255]].concat()));
        assert_eq!((answer.option(81), answer.option(12)), (None, None), "no empty name, no .lab.example");
    }
    alive(&mut world);
}

#[test]
fn d_07_a_unicast_request_from_elsewhere_with_every_option_is_dropped() {
    let mut world = lab();
    world.arrival.destination = Ipv4Addr::new(172, 16, 0, 1);
    world.arrival.addresses = [world.arrival.destination].into();
    for kind in [1, 3, 4, 7, 8] {
        let options = [50, 54, 82, 118].map(|code| [code, 4, 10, 9, 9, 9]).concat();
        let mut bytes =
            base(1, &[&[53, 1, kind][..], &options, &[55, 2, 1, 3, 61, 3, 0, 1, 2, 255]].concat());
        bytes[12..16].copy_from_slice(&[10, 9, 9, 9]);
        assert_eq!(world.send_bytes(&bytes).unwrap_err(), DropReason::NoSubnet, "type {kind}");
    }
    assert!(world.book.is_empty());
}

#[test]
fn d_10_no_bytes_off_a_raw_socket_are_read_past_their_end() {
    // Raw sockets receive ARP replies and ICMP echo replies. DHCP arrives by a UDP socket, where the kernel has already
    // checked the lengths.
    let mut bytes: Vec<u8> = (0..128u8).map(|i| i.wrapping_mul(37)).collect();
    for first in 0..=255 {
        bytes[0] = first;
        for len in 0..bytes.len() {
            let _ = (arp::sender_address(&bytes[..len]), icmp::echo_reply_from(&bytes[..len], 7));
        }
    }
}

#[test]
fn d_11_four_byte_options_of_other_lengths_are_absent_and_leak_nothing() {
    let mut world = lab();
    for len in [0u8, 1, 3, 5, 255] {
        let value = vec![0xaa; usize::from(len)];
        for code in [50u8, 54, 51, 1, 58, 59, 57] {
            let option = [&[code, len][..], &value].concat();
            let answer = offered(&mut world, &base(1, &[&[53, 1, 1], &option[..], &[255]].concat()));
            assert_eq!(answer.message.options.u32(51), Some(3600));
            assert!(!answer.bytes[240..].windows(3).any(|three| three == [0xaa; 3]), "option {code}");
        }
        for code in [50u8, 54] {
            let good = if code == 50 { [54, 4, 192, 168, 77, 1] } else { [50, 4, 192, 168, 77, 50] };
            let option = [&[code, len][..], &value, &good].concat();
            let request = base(1, &[&[53, 1, 3], &option[..], &[255]].concat());
            assert_eq!(world.send_bytes(&request).unwrap_err(), DropReason::BadRequest, "{code} of {len}");
        }
    }
    alive(&mut world);
}

#[test]
fn d_12_only_bytes_that_we_wrote_are_in_a_reply() {
    let mut world = lab();
    let mut dirty = discover(1);
    dirty.sname = [0xaa; 64];
    dirty.file = [0xaa; 128];
    dirty.chaddr[6..].fill(0xaa);
    let mut bytes = dirty.encode();
    bytes.resize(1400, 0xaa);
    let answer = offered(&mut world, &bytes);
    let clean = offered(&mut world, &discover(1).encode());
    assert_eq!(answer.bytes[28..34], clean.bytes[28..34]);
    assert_eq!(answer.bytes[44..], clean.bytes[44..], "sname, file, options and padding");
}

#[test]
fn d_18_a_deep_configuration_is_refused_at_once_and_with_its_place() {
    for open in ["[", "{a: ", "- "] {
        let asked = Instant::now();
        let problems = lanboot::config::load(&format!("dhcp: {}", open.repeat(100_000))).unwrap_err();
        assert!(problems[0].line >= 1 && !problems[0].message.is_empty());
        assert!(asked.elapsed() < Duration::from_secs(10), "{open:?} took {:?}", asked.elapsed());
    }
}

#[test]
fn d_19_overloaded_fields_that_point_at_each_other_end() {
    let mut world = lab();
    let mut bytes = base(1, &[52, 1, 3, 255]);
    bytes[44..108].copy_from_slice(&[&[52, 1, 3, 53, 1, 3], &[0; 56][..], &[61, 200]].concat());
    bytes[108..236].copy_from_slice(&[&[52, 1, 3, 53, 1, 1], &[0; 120][..], &[12, 200]].concat());
    // `file` comes first. The second half of the joined value makes option 53 two bytes long.
    assert_eq!(world.send_bytes(&bytes).unwrap_err(), DropReason::BadMessageType);
    bytes[47] = 0;
    bytes[48..50].fill(0);
    let answer = offered(&mut world, &bytes);
    assert_eq!(answer.message.yiaddr, ip(50), "a DISCOVER whose options stand in `file`");
}

#[test]
fn d_20_an_option_in_pieces_is_one_wherever_they_stand() {
    let mut world = lab();
    let mut bytes = base(1, &[61, 2, 0, 1, 53, 1, 1, 61, 2, 2, 3, 52, 1, 1, 255]);
    bytes[108..112].copy_from_slice(&[61, 1, 4, 255]);
    let answer = offered(&mut world, &bytes);
    assert_eq!(answer.option(61), Some(&[0, 1, 2, 3, 4][..]));
    let piece = [&[60, 255][..], &[b'x'; 255]].concat();
    let message = Message::decode(&base(1, &[&piece[..], &[53, 1, 1], &piece, &[255]].concat())).unwrap();
    assert_eq!(message.options.get(60).map(<[u8]>::len), Some(510));
}

#[test]
fn d_21_framing_lies_are_never_acknowledged() {
    let mut world = lab();
    let address = world.lease(1);
    let wish = [&[50, 4][..], &address.octets(), &[54, 4], &SERVER.octets()].concat();
    let lies: [&[u8]; 5] = [&[53, 0], &[53, 255, 3], &[53, 1, 0], &[53, 9, 3], &[53, 2, 3, 3]];
    for lie in lies {
        for bytes in [[&wish, lie].concat(), [lie, &wish].concat(), [lie, &wish, &[255]].concat()] {
            assert!(world.send_bytes(&base(1, &bytes)).is_err(), "{bytes:?}");
        }
    }
    let honest = base(1, &[&[53, 1, 3], &wish[..], &[255]].concat());
    assert!(world.send_bytes(&honest).unwrap().is_some());
    for (at, byte) in [(0, 2), (0, 0), (236, 0), (239, 98)] {
        let mut bytes = honest.clone();
        bytes[at] = byte;
        assert!(world.send_bytes(&bytes).is_err(), "byte {at} = {byte}");
    }
}

#[test]
fn d_22_without_the_cookie_it_is_bootp() {
    let mut bytes = base(0xc8, &[53, 1, 3, 50, 4, 192, 168, 77, 50, 54, 4, 192, 168, 77, 1, 255]);
    bytes[236..240].fill(0);
    let answer = lab().send_bytes(&bytes).unwrap().unwrap();
    assert_eq!((answer.kind(), answer.message.yiaddr), (None, ip(10)), "its own address, the old way");
    bytes[33] = 7;
    assert_eq!(lab().send_bytes(&bytes).unwrap_err(), DropReason::BootpRefused, "no machine of ours");
}

#[test]
fn d_23_bootp_messages_of_every_length() {
    let mut world = lab();
    let mut long = bootp(0xc8).encode();
    long.resize(65_507, 0);
    for len in (0..=310).chain([548, 576, 1499, 1500, 9000, 65_507]) {
        let outcome = world.send_bytes(&long[..len]);
        match len {
            0..=235 => assert_eq!(outcome.unwrap_err(), DropReason::TooShort, "{len} bytes"),
            _ => assert_eq!(outcome.unwrap().unwrap().message.yiaddr, ip(10), "{len} bytes"),
        }
    }
    alive(&mut world);
}

#[test]
fn d_24_known_firmware_errors_are_read_as_intended() {
    let mut world = lab();
    let pxe: &[u8] = b"PXEClient";
    let arches: [(u8, &[u8]); 3] = [(60, pxe), (93, &[0, 7, 0, 9]), (94, &[1, 3])];
    let file = |answer: &Answer| String::from_utf8(answer.option(67).unwrap_or_default().to_vec()).unwrap();
    let answer = world.ask(&message(1, MessageType::Discover, &arches));
    assert_eq!(file(&answer), "snponly.efi\0", "two architectures, 94 of two bytes");
    for (code, value) in
        [(94, &[1, 3, 0, 0][..]), (97, &[0; 16]), (97, &[0; 18]), (77, b"iPXE"), (77, b"\x04iPXE")]
    {
        let answer =
            world.ask(&message(1, MessageType::Discover, &[(60, pxe), (93, &[0, 7]), (code, value)]));
        assert_eq!(answer.option(97), None, "only a well-formed one goes back");
        assert_eq!(file(&answer), if code == 77 { "boot.ipxe\0" } else { "snponly.efi\0" });
    }
    let no_arch = world.ask(&message(1, MessageType::Discover, &[(60, pxe)]));
    assert_eq!(file(&no_arch), "undionly.kpxe\0", "without an architecture it is a BIOS");
}

#[test]
fn attack_spoofed_release_frees_nothing() {
    let mut world = lab();
    let address = world.lease(1);
    let relay = Ipv4Addr::new(10, 9, 9, 1);
    let spoof = |from: u8, source, giaddr, server: Ipv4Addr| {
        let release = message(from, MessageType::Release, &[(54, &server.octets())]);
        (Message { ciaddr: address, giaddr, ..release }, SocketAddrV4::new(source, 68))
    };
    let none = Ipv4Addr::UNSPECIFIED;
    let cases = [
        (spoof(2, address, none, SERVER), DropReason::NotOwner, "another MAC"),
        (spoof(1, ip(66), none, SERVER), DropReason::NotOwner, "from another address"),
        (spoof(1, ip(66), relay, SERVER), DropReason::NotOwner, "says it came by a relay agent and did not"),
        (
            spoof(1, relay, Ipv4Addr::new(9, 9, 9, 9), SERVER),
            DropReason::UnknownRelay,
            "by a foreign relay agent",
        ),
        (spoof(1, address, none, ip(2)), DropReason::OtherServer, "for another server"),
    ];
    for ((release, source), reason, what) in cases {
        world.arrival.source = source;
        assert_eq!(world.send(&release).unwrap_err(), reason, "{what}");
        assert_eq!(world.book.binding(address).unwrap().state, State::Leased, "{what}");
    }
    let (release, source) = spoof(1, relay, relay, SERVER);
    world.arrival.source = source;
    assert!(world.send(&release).unwrap().is_none(), "its own relay agent may");
    world.arrival.source = SocketAddrV4::new(none, 68);
    assert_ne!(world.ask(&discover(2)).message.yiaddr, address, "the freed address is the last to be given");
}

#[test]
fn attack_spoofed_declines_take_no_more_than_a_fifth_of_a_pool() {
    let mut world = lab();
    let decline = |n, address: Ipv4Addr, server: Ipv4Addr| {
        message(n, MessageType::Decline, &[(50, &address.octets()), (54, &server.octets())])
    };
    let address = world.lease(1);
    assert_eq!(world.send(&decline(2, address, SERVER)).unwrap_err(), DropReason::NotOwner);
    assert_eq!(
        world.send(&decline(2, ip(57), SERVER)).unwrap_err(),
        DropReason::NotOwner,
        "offered to nobody"
    );
    assert_eq!(world.send(&decline(1, address, ip(2))).unwrap_err(), DropReason::OtherServer);
    let mut taken = 0;
    for n in 10..60 {
        let Ok(Some(offer)) = world.send(&discover(n)) else { continue };
        taken += usize::from(world.send(&decline(n, offer.message.yiaddr, SERVER)).is_ok());
    }
    assert_eq!(taken, 2, "of ten addresses");
    world.pass(60);
    alive(&mut world);
    assert_eq!(world.ask(&extend(1, address)).kind(), Some(MessageType::Ack));
}

#[test]
fn attack_foreign_server_ids_and_unknown_relays_change_nothing() {
    let mut world = lab();
    let address = world.lease(1);
    let other = ip(2);
    assert_eq!(world.send(&select(1, other, address)).unwrap_err(), DropReason::OtherServer);
    let mut renewal = extend(1, address);
    renewal.options.push(54, &other.octets());
    assert_eq!(world.send(&renewal).unwrap_err(), DropReason::OtherServer);
    assert_eq!(world.book.binding(address).unwrap().state, State::Leased, "a lease is no offer");
    for giaddr in [[9, 9, 9, 9], [255, 255, 255, 255], [127, 0, 0, 1], [10, 9, 9, 2]] {
        let spoof = Message { giaddr: giaddr.into(), ..discover(2) };
        assert_eq!(world.send(&spoof).unwrap_err(), DropReason::UnknownRelay);
    }
    assert_eq!(world.book.len(), 1);
}

#[test]
fn f_04_a_full_disk_takes_no_lease_from_anybody_and_gives_none() {
    let mut world = lab();
    let address = world.lease(1);
    world.disk_works = false;
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(51));
    assert_eq!(world.send(&select(2, SERVER, ip(51))).unwrap_err(), DropReason::StoreFailed);
    world.pass(1800);
    for renewal in [extend(1, address), init_reboot(1, address), select(1, SERVER, address)] {
        let ack = world.ask(&renewal);
        assert_eq!((ack.kind(), ack.message.yiaddr), (Some(MessageType::Ack), address));
        assert_eq!(ack.message.options.u32(51), Some(1800), "what is left of what is stored");
        assert_eq!(ack.message.options.u32(58), Some(900));
    }
    let shorter = message(1, MessageType::Request, &[(50, &address.octets()), (51, &600u32.to_be_bytes())]);
    assert_eq!(world.ask(&shorter).message.options.u32(51), Some(600), "asked for less");
    world.pass(1800);
    assert_eq!(world.send(&extend(1, address)).unwrap_err(), DropReason::StoreFailed, "nothing is left");
    world.disk_works = true;
    assert_eq!(world.ask(&extend(1, address)).message.options.u32(51), Some(3600));
}

#[test]
fn f_04_a_commit_that_fails_late_undoes_no_later_one() {
    let mut world = lab();
    let address = world.lease(1);
    let lease = |seconds| {
        let binding = world.book.binding(address).unwrap().clone();
        let until = world.now.after(Duration::from_secs(seconds));
        Lease {
            address,
            holder: binding.holder,
            hardware: HardwareAddr::default(),
            state: State::Leased,
            until,
        }
    };
    let [long, longer, short] = [7200, 9000, 60].map(lease);
    for lease in [&long, &longer] {
        world.book.apply(&LeaseChange::Store(lease.clone()));
    }
    world.book.not_stored(&long, world.now);
    assert_eq!(world.book.binding(address).unwrap().until, longer.until, "the later one may be on the wire");
    world.book.stored(&longer, world.now);
    assert_eq!(world.book.binding(address).unwrap().until, longer.until);
    world.book.apply(&LeaseChange::Store(short.clone()));
    assert_eq!(world.book.binding(address).unwrap().until, longer.until, "the client has not heard of less");
    world.book.stored(&short, world.now);
    assert_eq!(world.book.binding(address).unwrap().until, short.until);
}

#[test]
fn f_15_with_no_address_left_strangers_meet_silence_and_leases_go_on() {
    let mut world = World::new(&LAB.replace("192.168.77.59", "192.168.77.51"));
    let (one, two) = (world.lease(1), world.lease(2));
    for n in 3..20 {
        assert_eq!(world.send(&discover(n)).unwrap_err(), DropReason::PoolExhausted);
    }
    world.pass(10);
    assert_eq!(world.ask(&extend(1, one)).kind(), Some(MessageType::Ack));
    assert_eq!(world.ask(&discover(2)).message.yiaddr, two);
    assert_eq!(world.lease(0xc8), ip(10), "a machine's own address is in nobody's way");
    world.pass(4000);
    assert_eq!(world.lease(9), two, "the one whose lease ended first");
}
