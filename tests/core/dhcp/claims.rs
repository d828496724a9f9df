//! Ownership of addresses: one lease for each client and wire, machines that share a client identifier, addresses of
//! other machines, and our own address in each network of a wire. In memory.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lanboot::dhcp::settings::Authoritative;
use lanboot::event::{DropReason, Event};
use lanboot::lease::{Holder, Lease, LeaseChange, MAX_CLIENTS_PER_MAC, State};
use lanboot::types::{ClientId, MacAddr};
use lanboot::wire::dhcp::{Message, MessageType};
use proptest::prelude::*;
use proptest::test_runner::{FailurePersistence, FileFailurePersistence};
use support::world::*;

const ACK: Option<MessageType> = Some(MessageType::Ack);
const NAK: Option<MessageType> = Some(MessageType::Nak);
/// One client identifier, shared by all copies of a system.
const ID: &[u8] = b"\xff\x00\x00\x00\x01 one machine-id";

const fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// An address of the second subnet on the wire.
const fn second(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 78, n)
}

fn lab(more: &str, machines: &str) -> World {
    World::new(&format!(
        "dhcp: {{mode: server, {more} subnets: [{{network: 192.168.77.0/24, \
         pool: 192.168.77.50-192.168.77.99, lease: 1h}}]}}\nmachines: [{machines}]"
    ))
}

/// Two subnets on one wire, where the first has a single address to lease, and boot files of each kind.
fn two_subnets(machines: &str) -> World {
    let mut world = World::new(&format!(
        "dhcp:
  mode: server
  bootp: dynamic
  subnets:
    - {{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.50, shared_network: lab}}
    - {{network: 192.168.78.0/24, pool: 192.168.78.50-192.168.78.59, shared_network: lab}}
boot:
  arch: {{bios: undionly.kpxe, uefi-x64: snponly.efi, uefi-x64-http: 'http://{{server}}/a.efi'}}
machines: [{machines}]"
    ));
    world.arrival.addresses = [SERVER, second(1)].into();
    world
}

fn with_id(mut message: Message, id: &[u8]) -> Message {
    assert!(message.options.push(61, id));
    message
}

fn pxe(mut message: Message) -> Message {
    assert!(
        message.options.push(60, b"PXEClient:Arch:00007:UNDI:003000") && message.options.push(93, &[0, 7])
    );
    message
}

/// The leased addresses in the lease book.
fn leased(world: &World) -> Vec<Ipv4Addr> {
    let all = (1..=100).flat_map(|n| [ip(n), second(n)]);
    let live = |address: &Ipv4Addr| {
        let binding = world.book.binding(*address);
        binding.is_some_and(|b| b.state == State::Leased && b.until > world.now)
    };
    all.filter(live).collect()
}

/// The leased addresses on disk.
fn stored(world: &World) -> Vec<Ipv4Addr> {
    let live = |lease: &&Lease| lease.state == State::Leased && lease.until > world.now;
    world.disk.values().filter(live).map(|lease| lease.address).collect()
}

/// DISCOVER, OFFER, REQUEST, ACK with a client identifier.
fn lease_with_id(world: &mut World, n: u8, id: &[u8]) -> Ipv4Addr {
    let address = world.ask(&with_id(discover(n), id)).message.yiaddr;
    let ack = world.ask(&with_id(select(n, SERVER, address), id));
    assert_eq!((ack.kind(), ack.message.yiaddr), (ACK, address));
    address
}

//

#[test]
fn r_03_each_reply_names_our_address_in_the_clients_network() {
    let mut world = two_subnets("{mac: '02:00:00:00:00:c8', address: 192.168.78.10}");
    let http: [(u8, &[u8]); 2] = [(60, b"HTTPClient:Arch:00016:UNDI:003001"), (93, &[0, 16])];
    for (n, address, server) in
        [(1, ip(50), SERVER), (2, second(50), second(1)), (0xc8, second(10), second(1))]
    {
        let offer = world.ask(&pxe(discover(n)));
        assert_eq!(offer.message.yiaddr, address);
        let ack = world.ask(&pxe(select(n, server, address)));
        for reply in [offer, ack] {
            let message = &reply.message;
            assert_eq!((message.siaddr, message.options.ip(54)), (server, Some(server)));
            assert_eq!(
                reply.option(66),
                Some(server.to_string().as_bytes()).map(|name| [name, b"\0"].concat()).as_deref()
            );
            assert!(message.sname.starts_with(server.to_string().as_bytes()));
        }
        let offer = world.ask(&message(n, MessageType::Discover, &http));
        let url = offer.option(67).map(|url| String::from_utf8_lossy(url).into_owned()).unwrap_or_default();
        assert!(url.starts_with(&format!("http://{server}/a.efi")), "{url}");
        let renewal = world.ask(&extend(n, address));
        assert_eq!(renewal.message.options.ip(54), Some(server));
        let inform = Message { ciaddr: address, ..message(n, MessageType::Inform, &[]) };
        let informed = world.ask(&inform).message;
        assert_eq!((informed.siaddr, informed.options.ip(54)), (server, Some(server)));
    }
    // An INFORM whose source address is in the IP header only.
    world.arrival.source = SocketAddrV4::new(second(77), 68);
    let informed = world.ask(&message(9, MessageType::Inform, &[])).message;
    assert_eq!((informed.siaddr, informed.options.ip(54)), (second(1), Some(second(1))));
}

#[test]
fn r_03_bootp_and_the_boot_service_name_it_too() {
    let mut world = two_subnets("");
    world.lease(1);
    let reply = world.ask(&bootp(2)).message;
    assert_eq!((reply.yiaddr, reply.siaddr), (second(50), second(1)));
    world.arrival.boot_service = true;
    world.arrival.source = SocketAddrV4::new(second(50), 68);
    for (ciaddr, server) in [(second(50), second(1)), (ip(50), SERVER)] {
        let ask = Message { ciaddr, ..pxe(message(3, MessageType::Request, &[])) };
        let reply = world.ask(&ask).message;
        assert_eq!((reply.siaddr, reply.options.ip(54)), (server, Some(server)), "{ciaddr}");
    }
}

#[test]
fn r_03_either_of_our_addresses_is_recognised_and_a_nak_names_it() {
    let mut world = two_subnets("");
    world.lease(1);
    let address = world.ask(&discover(2)).message.yiaddr;
    // A client that chose the server by its first address, which older versions of lanboot sent as their server
    // identifier.
    assert_eq!(world.ask(&select(2, SERVER, address)).message.options.ip(54), Some(second(1)));
    let refused = world.ask(&select(3, second(1), address));
    assert_eq!((refused.kind(), refused.message.options.ip(54)), (NAK, Some(second(1))));
    world.arrival.source = SocketAddrV4::new(address, 68);
    let release = message(2, MessageType::Release, &[(54, &second(1).octets())]);
    assert!(world.send(&Message { ciaddr: address, ..release }).unwrap().is_none());
    // RFC 2131 section 4.1: any of the server's addresses identifies it, even the address of another interface.
    let elsewhere = Ipv4Addr::new(10, 0, 0, 1);
    assert_eq!(world.send(&select(2, elsewhere, address)).unwrap_err(), DropReason::OtherServer);
    world.book.set_own_addresses(&[SERVER, second(1), elsewhere]);
    assert_eq!(world.ask(&select(2, elsewhere, address)).kind(), ACK);
}

#[test]
fn r_03_the_identifier_of_a_relay_agent_comes_before_ours() {
    let mut world = two_subnets("");
    let relay = second(254);
    let options = [[11, 4].as_slice(), &relay.octets()].concat();
    let mut ask = Message { giaddr: relay, ..discover(1) };
    assert!(ask.options.push(82, &options));
    let offer = world.ask(&ask).message;
    assert_eq!((offer.yiaddr, offer.options.ip(54), offer.siaddr), (second(50), Some(relay), second(1)));
}

//

#[test]
fn r_04_copies_of_one_system_keep_their_own_addresses() {
    let mut world = lab("", "");
    // Each machine has a lease from its firmware stage. Then the same system starts on all three at the same moment.
    let own: Vec<Ipv4Addr> = (1..=3)
        .map(|n| {
            let address = world.ask(&pxe(discover(n))).message.yiaddr;
            assert_eq!(world.ask(&pxe(select(n, SERVER, address))).kind(), ACK);
            address
        })
        .collect();
    let offers: Vec<_> = (1..=3).map(|n| world.ask(&with_id(discover(n), ID)).message.yiaddr).collect();
    assert_eq!(offers, own);
    for (n, address) in (1..).zip(&own) {
        assert_eq!(world.ask(&with_id(select(n, SERVER, *address), ID)).kind(), ACK);
    }
    assert_eq!((leased(&world), stored(&world)), (own.clone(), own.clone()));
    for round in 0..3 {
        if round == 1 {
            world.restart();
        }
        for (n, address) in (1..).zip(&own) {
            assert_eq!(world.ask(&with_id(extend(n, *address), ID)).message.yiaddr, *address);
            assert_eq!(world.ask(&with_id(discover(n), ID)).message.yiaddr, *address);
            assert_eq!(world.ask(&with_id(init_reboot(n, *address), ID)).kind(), ACK);
        }
    }
    assert_eq!(leased(&world), own);
    assert!(world.asked.is_empty(), "no machine has to be asked for that");
}

#[test]
fn r_04_a_copy_without_a_lease_gets_another_address_while_the_other_answers() {
    let mut world = lab("", "");
    let first = lease_with_id(&mut world, 1, ID);
    world.answering = vec![first];
    for ask in [init_reboot(2, first), extend(2, first), select(2, SERVER, first)] {
        assert_eq!(world.ask(&with_id(ask, ID)).kind(), NAK);
    }
    let other = lease_with_id(&mut world, 2, ID);
    assert_ne!(other, first);
    assert_eq!(world.asked, [first; 4]);
    assert_eq!((leased(&world), stored(&world)), (vec![first, other], vec![first, other]));
    assert_eq!(world.ask(&with_id(extend(1, first), ID)).kind(), ACK, "the first one lost nothing");
    // A RELEASE or DECLINE of one machine does not end the lease of the other.
    world.arrival.source = SocketAddrV4::new(first, 68);
    let release = Message { ciaddr: first, ..message(2, MessageType::Release, &[]) };
    assert_eq!(world.send(&with_id(release, ID)).unwrap_err(), DropReason::NotOwner);
    let decline = message(2, MessageType::Decline, &[(50, &first.octets()), (54, &SERVER.octets())]);
    assert_eq!(world.send(&with_id(decline, ID)).unwrap_err(), DropReason::NotOwner);
}

#[test]
fn r_04_a_machine_with_a_new_network_card_keeps_its_address() {
    for how in 0..4 {
        let mut world = lab("", "");
        let address = lease_with_id(&mut world, 1, ID);
        if how == 3 {
            world.restart();
        }
        let ack = match how {
            1 => world.ask(&with_id(init_reboot(2, address), ID)),
            2 => world.ask(&with_id(extend(2, address), ID)),
            _ => {
                assert_eq!(world.ask(&with_id(discover(2), ID)).message.yiaddr, address);
                // The lease stays with the old card until the new one takes it, because any machine can send a
                // DISCOVER.
                assert_eq!(
                    world.book.binding(address).and_then(|b| b.holder.mac),
                    Some(MacAddr([2, 0, 0, 0, 0, 1]))
                );
                world.ask(&with_id(select(2, SERVER, address), ID))
            }
        };
        assert_eq!((ack.kind(), ack.message.yiaddr, leased(&world)), (ACK, address, vec![address]));
        assert!(!world.asked.is_empty(), "it was asked for before");
        world.restart();
        assert_eq!(world.ask(&with_id(extend(2, address), ID)).kind(), ACK);
        assert_eq!(leased(&world), [address]);
    }
    // The same after the lease has ended.
    let mut world = lab("", "");
    let address = lease_with_id(&mut world, 1, ID);
    world.pass(7200);
    assert_eq!(world.ask(&with_id(init_reboot(2, address), ID)).kind(), ACK);
    assert_eq!(world.checked, [address; 2], "it is checked like an address that was never its own");
}

#[test]
fn r_04_a_move_to_a_new_card_that_cannot_be_stored_leaves_the_old_lease() {
    let mut world = lab("", "");
    let address = lease_with_id(&mut world, 1, ID);
    world.ask(&with_id(discover(2), ID));
    world.disk_works = false;
    let failed = world.send(&with_id(select(2, SERVER, address), ID)).unwrap_err();
    assert_eq!(failed, DropReason::StoreFailed);
    world.disk_works = true;
    assert_eq!(world.ask(&with_id(extend(1, address), ID)).kind(), ACK);
    world.disk_works = false;
    assert_eq!(world.ask(&with_id(extend(1, address), ID)).kind(), ACK, "for the time that is stored");
}

#[test]
fn r_04_one_warning_names_the_machines_that_share_an_identifier() {
    let mut world = lab("", "");
    for n in 1..=3 {
        let address = world.ask(&pxe(discover(n))).message.yiaddr;
        world.ask(&pxe(select(n, SERVER, address)));
    }
    for _ in 0..5 {
        for n in 1..=3 {
            let address = world.ask(&with_id(discover(n), ID)).message.yiaddr;
            world.ask(&with_id(select(n, SERVER, address), ID));
        }
    }
    assert!(world.clones.due(world.now).is_empty(), "others may start at the same moment");
    world.pass(1);
    let due = world.clones.due(world.now);
    let [(interface, Event::DuplicateClientId { id, machines, more })] = due.as_slice() else {
        panic!("{due:?}")
    };
    assert_eq!((&**interface, id.as_bytes(), *more), ("eth1", ID, 0));
    let mut machines = machines.clone();
    machines.sort_unstable();
    assert_eq!(machines, [1, 2, 3].map(|n| MacAddr([2, 0, 0, 0, 0, n])));
    for n in 1..=3 {
        world.ask(&with_id(discover(n), ID));
    }
    world.pass(10);
    assert!(world.clones.due(world.now).is_empty() && world.clones.next().is_none(), "once");
}

#[test]
fn r_04_a_machine_alone_and_a_replaced_card_are_no_copies() {
    let mut world = lab("", "");
    lease_with_id(&mut world, 1, ID);
    lease_with_id(&mut world, 1, ID);
    lease_with_id(&mut world, 2, ID);
    assert_eq!(world.clones.next(), None);
    // The number of groups with forged identifiers is limited.
    for n in 0..100 {
        let id = [0xff, 9, n];
        world.answering = vec![lease_with_id(&mut world, 3, &id)];
        world.ask(&with_id(discover(4), &id));
        world.book = lanboot::lease::LeaseBook::new(world.settings.pools());
    }
    world.pass(2);
    assert_eq!(world.clones.due(world.now).len(), lanboot::dhcp::clones::MAX_IDS);
}

#[test]
fn r_04_without_match_client_id_a_machine_is_its_hardware_address() {
    let mut world = lab("match_client_id: false,", "");
    let first = lease_with_id(&mut world, 1, ID);
    let other = lease_with_id(&mut world, 2, ID);
    assert_ne!(first, other);
    assert_eq!(lease_with_id(&mut world, 1, b"\xffanother id"), first, "whatever identifier it sends");
    assert_eq!(world.ask(&with_id(discover(1), ID)).option(61), Some(ID), "RFC 6842");
    assert_eq!(leased(&world), [first, other]);
    assert!(world.asked.is_empty() && world.clones.next().is_none());
    // InfiniBand clients send no hardware address (RFC 4390), so nothing else identifies them.
    let infiniband = |id| Message { htype: 32, hlen: 0, ..with_id(discover(9), id) };
    let one = world.ask(&infiniband(b"\xffone")).message.yiaddr;
    assert_ne!(world.ask(&infiniband(b"\xfftwo")).message.yiaddr, one);
}

//

#[test]
fn r_05_one_client_one_lease() {
    let mut world = lab("", "");
    assert_eq!(world.ask(&select(1, SERVER, ip(60))).kind(), ACK, "as after a restart of ours");
    for n in 61..=69 {
        assert_eq!(world.ask(&select(1, SERVER, ip(n))).kind(), NAK, "it was not offered that one");
        assert_eq!((leased(&world), stored(&world)), (vec![ip(60)], vec![ip(60)]));
    }
    assert_eq!(world.ask(&extend(1, ip(60))).kind(), ACK);
    for (n, address) in [(2, ip(60)), (2, ip(10)), (2, Ipv4Addr::new(10, 0, 0, 1))] {
        assert_eq!(world.ask(&select(n, SERVER, address)).kind(), NAK, "neither free nor of its pool");
    }
}

#[test]
fn r_05_a_new_reservation_ends_the_old_lease_on_disk_too() {
    let mut world = lab("", "");
    let old = world.lease(0xc8);
    let with_entry = lab("", "{mac: '02:00:00:00:00:c8', address: 192.168.77.10}");
    world.settings = with_entry.settings;
    world.restart();
    assert_eq!(world.ask(&extend(0xc8, old)).kind(), NAK);
    assert_eq!(leased(&world), [old], "it may use it until it has another one");
    world.disk_works = false;
    world.ask(&discover(0xc8));
    assert_eq!(world.send(&select(0xc8, SERVER, ip(10))).unwrap_err(), DropReason::StoreFailed);
    assert_eq!((leased(&world), stored(&world)), (vec![old], vec![old]), "nothing was promised");
    let wish = message(2, MessageType::Discover, &[(50, &old.octets())]);
    assert_ne!(world.ask(&wish).message.yiaddr, old, "no other client gets it meanwhile");
    world.disk_works = true;
    assert_eq!(world.lease(0xc8), ip(10));
    assert_eq!((leased(&world), stored(&world)), (vec![ip(10)], vec![ip(10)]));
    world.restart();
    assert_eq!(leased(&world), [ip(10)]);
    assert_eq!(world.ask(&wish).message.yiaddr, old, "it is free now");
}

#[test]
fn r_05_one_lease_on_a_wire_of_two_subnets() {
    let mut world = two_subnets("");
    let taken = world.lease(9);
    let old = world.lease(1);
    assert_eq!((taken, old), (ip(50), second(50)));
    let with_entry = two_subnets("{mac: '02:00:00:00:00:01', address: 192.168.77.10}");
    world.settings = with_entry.settings;
    world.restart();
    assert_eq!(world.lease(1), ip(10));
    assert_eq!((leased(&world), stored(&world)), (vec![ip(10), ip(50)], vec![ip(10), ip(50)]));
    // If an older version stored two leases for one client, only the one that ends last is kept.
    let newer = Lease {
        address: second(55),
        until: world.now.after(Duration::from_secs(9000)),
        ..world.disk[&ip(10)].clone()
    };
    world.disk.insert(newer.address, newer);
    world.restart();
    assert_eq!(leased(&world), [ip(50), second(55)]);
}

/// A RELEASE or DECLINE that could not be stored, and a restart, can leave two leases of one client in the store. The
/// client may use either address.
#[test]
fn r_05_no_other_client_gets_a_second_stored_lease() {
    let mut world = World::new(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, \
         pool: 192.168.77.50-192.168.77.52, lease: 1h}]}",
    );
    let in_use = world.lease(1);
    let later = Lease {
        address: ip(51),
        until: world.now.after(Duration::from_secs(9000)),
        ..world.disk[&in_use].clone()
    };
    assert_ne!(in_use, later.address);
    world.disk.insert(later.address, later.clone());
    world.restart();
    assert_eq!(leased(&world), [later.address]);
    assert_eq!(world.lease(2), ip(52), "the only free address");
    assert_eq!(world.send(&discover(3)).unwrap_err(), DropReason::PoolExhausted);

    // The client may not have the one and takes the other. Then the first is free, in the store too.
    assert_eq!(world.ask(&extend(1, in_use)).kind(), NAK);
    assert_eq!(world.lease(1), later.address);
    assert_eq!(stored(&world), [later.address, ip(52)]);
    assert_eq!(world.lease(3), in_use);
}

#[test]
fn r_05_the_stages_of_one_machine_have_one_lease() {
    let mut world = lab("bootp: dynamic,", "");
    // Two systems on one MAC that never booted from the network are two clients. When the machine boots, they become
    // one.
    let one = lease_with_id(&mut world, 1, b"\xffone");
    let two = lease_with_id(&mut world, 1, b"\xfftwo");
    assert_eq!(leased(&world), [one, two]);
    let address = world.ask(&pxe(discover(1))).message.yiaddr;
    assert_eq!(world.ask(&pxe(select(1, SERVER, address))).kind(), ACK);
    assert_eq!((leased(&world), stored(&world)), (vec![address], vec![address]));
    for id in [&b"\xffone"[..], b"\xfftwo", b"\xffthree"] {
        assert_eq!(lease_with_id(&mut world, 1, id), address);
        assert_eq!(world.ask(&bootp(1)).message.yiaddr, address);
    }
    assert_eq!((leased(&world), stored(&world)), (vec![address], vec![address]));
    world.restart();
    assert_eq!(world.ask(&pxe(discover(1))).message.yiaddr, address);
}

#[test]
fn r_05_attack_one_mac_with_many_identifiers_does_not_get_the_pool() {
    let mut world = lab("", "");
    let mut refused = 0;
    for n in 0..60u8 {
        match world.send(&with_id(discover(1), &[0xff, 7, n])) {
            Ok(offer) => {
                let address = offer.unwrap().message.yiaddr;
                assert_eq!(world.ask(&with_id(select(1, SERVER, address), &[0xff, 7, n])).kind(), ACK);
            }
            Err(reason) => {
                assert_eq!(reason, DropReason::TooManyIds);
                refused += 1;
            }
        }
    }
    assert_eq!((refused, leased(&world).len()), (60 - MAX_CLIENTS_PER_MAC, MAX_CLIENTS_PER_MAC));
    let directly = with_id(select(1, SERVER, ip(95)), &[0xff, 8, 0]);
    assert_eq!(world.send(&directly).unwrap_err(), DropReason::TooManyIds);
    world.lease(2);
    // The server finds each of its leases again. They become one lease when the machine boots.
    assert_eq!(world.ask(&with_id(discover(1), &[0xff, 7, 0])).message.yiaddr, ip(50));
    let address = world.ask(&pxe(discover(1))).message.yiaddr;
    world.ask(&pxe(select(1, SERVER, address)));
    assert_eq!(leased(&world).len(), 2);
    world.restart();
    assert_eq!(leased(&world).len(), 2);
}

#[test]
fn r_05_a_release_that_could_not_be_stored_is_stored_with_the_next_lease() {
    let mut world = lab("", "");
    let old = world.lease(1);
    world.arrival.source = SocketAddrV4::new(old, 68);
    world.disk_works = false;
    let release = Message { ciaddr: old, ..message(1, MessageType::Release, &[]) };
    let _ = world.send(&release);
    world.disk_works = true;
    assert_eq!((leased(&world), stored(&world)), (vec![], vec![old]));
    assert_eq!(world.ask(&select(1, SERVER, ip(77))).kind(), ACK);
    assert_eq!((leased(&world), stored(&world)), (vec![ip(77)], vec![ip(77)]));
}

/// A server whose pool of four addresses has one in quarantine, which is the most that it may have there.
fn small_pool_with_a_quarantine() -> World {
    let mut world = World::new(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.53, lease: 1h}]}",
    );
    let declined = world.lease(9);
    assert!(world.send(&decline(9, declined)).unwrap().is_none());
    assert_eq!(declined, ip(50));
    world
}

fn decline(n: u8, address: Ipv4Addr) -> Message {
    message(n, MessageType::Decline, &[(50, &address.octets()), (54, &SERVER.octets())])
}

/// A lease of `address` to client `n` with the identifier `ID`, not yet committed to disk.
fn on_its_way_to_the_disk(world: &mut World, n: u8, address: Ipv4Addr) -> Lease {
    let mac = MacAddr([2, 0, 0, 0, 0, n]);
    let lease = Lease {
        address,
        holder: Holder { client: ClientId::from_stored(ID).unwrap(), mac: Some(mac), is_boot_stage: false },
        hardware: mac.into(),
        state: State::Leased,
        until: world.now.after(Duration::from_secs(3600)),
    };
    world.book.apply(&LeaseChange::Store(lease.clone()));
    lease
}

#[test]
fn r_05_a_lease_declined_before_it_is_stored_ends_with_the_next() {
    let mut world = small_pool_with_a_quarantine();
    let lease = on_its_way_to_the_disk(&mut world, 1, ip(51));
    let declined = world.send(&with_id(decline(1, ip(51)), ID));
    assert_eq!(declined.unwrap_err(), DropReason::TooManyDeclined, "the address is only avoided, in memory");
    let next = with_id(select(1, SERVER, ip(52)), ID);
    assert_eq!(
        world.send(&next).unwrap_err(),
        DropReason::StoreFailed,
        "not before it is known whether the first lease is stored"
    );
    world.disk.insert(lease.address, lease.clone());
    world.book.stored(&lease, world.now);
    assert_eq!(world.ask(&next).kind(), ACK);
    assert_eq!((leased(&world), stored(&world)), (vec![ip(52)], vec![ip(52)]));
}

/// The first lease of the address belongs to another network card with the same client identifier.
#[test]
fn r_05_a_lease_that_was_never_stored_ends_no_other() {
    let mut world = small_pool_with_a_quarantine();
    assert_eq!(lease_with_id(&mut world, 1, ID), ip(51));
    let lease = on_its_way_to_the_disk(&mut world, 2, ip(51));
    let declined = world.send(&with_id(decline(2, ip(51)), ID));
    assert_eq!(declined.unwrap_err(), DropReason::TooManyDeclined);
    world.book.not_stored(&lease, world.now);
    assert_eq!(leased(&world), [ip(51)], "the first card has it again");
    world.answering = vec![ip(51)];
    assert_eq!(lease_with_id(&mut world, 2, ID), ip(52));
    assert_eq!((leased(&world), stored(&world)), (vec![ip(51), ip(52)], vec![ip(51), ip(52)]));
}

//

#[test]
fn r_07_an_address_that_is_anothers_is_refused() {
    let machines = "{mac: '02:00:00:00:00:c8', address: 192.168.77.10}";
    let mut world = lab("", machines);
    let theirs = world.lease(1);
    for address in [theirs, ip(10), SERVER] {
        for ask in [init_reboot(2, address), extend(2, address)] {
            let nak = world.ask(&ask);
            assert_eq!((nak.kind(), nak.message.options.ip(54)), (NAK, Some(SERVER)), "{address}");
        }
    }
    // The server knows nothing about these addresses. Another server may have leased them.
    world.ask(&discover(3));
    for address in [ip(99), ip(150), ip(51)] {
        for ask in [init_reboot(2, address), extend(2, address)] {
            assert_eq!(world.send(&ask).unwrap_err(), DropReason::UnknownLease, "{address}");
        }
    }
    assert_eq!(world.ask(&extend(1, theirs)).kind(), ACK);
    assert_eq!(world.ask(&init_reboot(0xc8, ip(10))).kind(), ACK, "its own reservation");
    world.pass(7200);
    assert_eq!(
        world.send(&init_reboot(2, theirs)).unwrap_err(),
        DropReason::UnknownLease,
        "that lease is over"
    );
}

#[test]
fn r_07_authoritative_false_silences_no_refusal_to_our_own_client() {
    let mut world = lab("authoritative: false,", "{mac: '02:00:00:00:00:c8', address: 192.168.77.10}");
    let (own, theirs) = (world.lease(1), world.lease(2));
    let elsewhere = Ipv4Addr::new(10, 9, 9, 9);
    for address in [theirs, ip(10), ip(99), ip(150), elsewhere] {
        assert_eq!(world.ask(&init_reboot(1, address)).kind(), NAK, "{address}");
        assert_eq!(world.send(&init_reboot(3, address)).unwrap_err(), DropReason::UnknownLease, "{address}");
        assert_eq!(world.send(&extend(3, address)).unwrap_err(), DropReason::UnknownLease, "{address}");
    }
    for address in [theirs, ip(99)] {
        assert_eq!(world.ask(&extend(1, address)).kind(), NAK, "{address}");
    }
    assert_eq!(world.ask(&extend(1, own)).kind(), ACK);
}

#[test]
fn r_07_authoritative_strict_refuses_unknown_addresses() {
    let mut world = lab("authoritative: strict,", "");
    assert_eq!(world.settings.authoritative, Authoritative::Strict);
    for address in [ip(50), ip(99), ip(150), Ipv4Addr::new(10, 9, 9, 9)] {
        assert_eq!(world.ask(&init_reboot(1, address)).kind(), NAK, "{address}");
    }
    assert_eq!(world.ask(&extend(1, ip(99))).kind(), NAK);
    let own = world.lease(1);
    world.pass(7200);
    assert_eq!(world.ask(&init_reboot(1, own)).kind(), ACK, "over, but nobody took it");
}

// All operations at once

/// One step of a client.
#[derive(Clone, Debug)]
struct Step {
    mac: u8,
    id: u8,
    what: u8,
    address: u8,
    answers: bool,
    disk: bool,
    pass: u16,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (1..5u8, 0..4u8, 0..12u8, 48..56u8, any::<bool>(), prop::bool::weighted(0.9), 0..400u16);
    let step = step.prop_map(|(mac, id, what, address, answers, disk, pass)| Step {
        mac,
        id,
        what,
        address,
        answers,
        disk,
        pass,
    });
    prop::collection::vec(step, 1..60)
}

/// Asserts that no two live leases on one wire belong to the same client.
fn one_each(world: &World, leases: &[(Ipv4Addr, Holder)]) {
    for (i, (address, holder)) in leases.iter().enumerate() {
        let other = leases[i + 1..].iter().find(|(_, other)| other.is_same_machine(holder));
        assert!(other.is_none(), "{address} {holder:?} and {other:?} at {:?}", world.now);
    }
}

/// Keeps failures in `claims.proptest-regressions`, next to this file.
fn beside() -> Box<dyn FailurePersistence> {
    Box::new(FileFailurePersistence::WithSource("proptest-regressions"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: Some(beside()), ..ProptestConfig::with_cases(200) })]
    #[test]
    fn r_05_no_sequence_of_messages_gives_a_client_two_leases(steps in steps(), checks in any::<bool>()) {
        let mut world = two_subnets("{mac: '02:00:00:00:00:01', address: 192.168.77.48}");
        world.settings.conflict_check = world.settings.conflict_check.filter(|_| checks);
        for step in steps {
            let address = if step.address % 2 == 0 { ip(step.address) } else { second(step.address) };
            let octets = address.octets();
            let ask = match step.what {
                0 | 1 => discover(step.mac),
                2 => message(step.mac, MessageType::Discover, &[(50, &octets)]),
                3 | 4 => select(step.mac, SERVER, address),
                5 => select(step.mac, ip(2), address),
                6 => init_reboot(step.mac, address),
                7 => extend(step.mac, address),
                8 => Message { ciaddr: address, ..message(step.mac, MessageType::Release, &[]) },
                9 => message(step.mac, MessageType::Decline, &[(50, &octets), (54, &second(1).octets())]),
                10 => pxe(select(step.mac, SERVER, address)),
                _ => bootp(step.mac),
            };
            let ask = match step.id {
                _ if step.what == 11 => ask,
                0 => ask,
                1 => with_id(ask, ID),
                n => with_id(ask, &[0xff, n, step.mac]),
            };
            world.arrival.source = SocketAddrV4::new(address, 68);
            world.answering = if step.answers { (48..60).flat_map(|n| [ip(n), second(n)]).collect() } else { vec![] };
            world.disk_works = step.disk;
            let _ = world.send(&ask);
            world.pass(step.pass.into());
            // The holders as they are stored. Only the book may know that a machine boots, if the lease that shows it
            // could not be stored. Two clients become one with the next lease that is stored.
            let in_book = |world: &World| -> Vec<_> {
                let holder = |a: &Ipv4Addr| match world.disk.get(a).filter(|l| l.state == State::Leased) {
                    Some(lease) => lease.holder.clone(),
                    None => world.book.binding(*a).unwrap().holder.clone(),
                };
                leased(world).into_iter().map(|a| (a, holder(&a))).collect()
            };
            one_each(&world, &in_book(&world));
            let on_disk = world.disk.values().filter(|l| l.state == State::Leased && l.until > world.now);
            let on_disk: Vec<_> = on_disk.map(|l| (l.address, l.holder.clone())).collect();
            one_each(&world, &on_disk);
            // The book that a restart would load.
            let book = std::mem::take(&mut world.book);
            world.restart();
            one_each(&world, &in_book(&world));
            if step.what != 5 {
                world.book = book;
            }
        }
    }
}
