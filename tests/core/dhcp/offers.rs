//! Offered addresses that no client takes, declined addresses, and addresses found in use. A client that only asks
//! keeps no address from another client, and a forged message takes no address from a client.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lanboot::dhcp::engine::MAX_WAIT;
use lanboot::event::{DropReason, Event};
use lanboot::lease::{OFFER_HOLD, State};
use lanboot::types::{MacAddr, Timestamp};
use lanboot::wire::dhcp::{Message, MessageType};
use support::world::*;

const fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// A server that leases 192.168.77.50 to `last`, with these machines.
fn lab(last: u8, machines: &str) -> World {
    World::new(&format!(
        "dhcp: {{mode: server, subnets: [{{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.{last}}}, \
         {{network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.199}}]}}\nmachines: [{machines}]"
    ))
}

fn decline(n: u8, address: Ipv4Addr) -> Message {
    message(n, MessageType::Decline, &[(50, &address.octets()), (54, &SERVER.octets())])
}

/// The same message from a forged client: each number is another client.
fn from_made_up(n: u32, mut message: Message) -> Message {
    message.chaddr[..6].copy_from_slice(&[[6, 0].as_slice(), &n.to_be_bytes()].concat());
    message.xid = n;
    message
}

fn is_offered(world: &mut World, n: u8) -> bool {
    match world.send(&discover(n)) {
        Ok(offer) => offer.is_some(),
        Err(reason) => {
            assert_eq!(reason, DropReason::PoolExhausted);
            false
        }
    }
}

#[test]
fn r_06_a_small_pool_obeys_a_decline() {
    for size in 1..=4 {
        let mut world = lab(49 + size, "");
        let address = world.lease(1);
        assert!(world.send(&decline(1, address)).unwrap().is_none(), "a pool of {size}");
        for seconds in [0, 1, 300, 298] {
            world.pass(seconds);
            for n in 1..=20 {
                let offer = world.send(&discover(n)).ok().flatten();
                assert!(offer.is_none_or(|offer| offer.message.yiaddr != address), "a pool of {size}");
            }
        }
        world.pass(40);
        let again = (30..=50).any(|n| {
            let offer = world.send(&discover(n)).ok().flatten();
            offer.is_some_and(|offer| offer.message.yiaddr == address)
        });
        assert!(again, "a pool of {size}: it comes back after ten minutes");
    }
}

#[test]
fn r_06_the_only_address_is_quarantined_when_our_check_finds_a_machine() {
    let mut world = lab(50, "");
    world.used = vec![ip(50)];
    assert!(!is_offered(&mut world, 1));
    world.used.clear();
    world.pass(599);
    assert!(!is_offered(&mut world, 1));
    world.pass(2);
    assert!(is_offered(&mut world, 1));
}

#[test]
fn r_06_a_fifth_of_a_pool_and_one_at_least_can_be_declined() {
    for size in 1..=40u8 {
        let mut world = lab(49 + size, "");
        let taken = (1..=size).filter(|n| {
            let Ok(Some(offer)) = world.send(&discover(*n)) else { return false };
            world.send(&decline(*n, offer.message.yiaddr)).is_ok()
        });
        assert_eq!(taken.count(), usize::from(size / 5).max(1), "a pool of {size}");
    }
}

#[test]
fn s_02_a_decline_from_another_hardware_address_is_dropped() {
    let mut world = lab(60, "{mac: '02:00:00:00:00:c8', address: 192.168.77.10}");
    for (n, address) in [(0xc8, ip(10)), (1, ip(50))] {
        assert_eq!(world.lease(n), address);
        world.from_client = Some(false);
        world.used = vec![address];
        assert_eq!(world.send(&decline(n, address)).unwrap_err(), DropReason::ForgedDecline);
        assert_eq!(world.lease(n), address);
        assert_eq!(world.book.binding(address).unwrap().conflicts, 0);
        world.from_client = Some(true);
        assert!(world.send(&decline(n, address)).unwrap().is_none(), "the client itself says it");
    }
}

#[test]
fn s_02_a_release_from_another_hardware_address_frees_nothing() {
    let release = |n, address: Ipv4Addr| Message {
        ciaddr: address,
        ..message(n, MessageType::Release, &[(54, &SERVER.octets())])
    };
    let mut world = lab(60, "{mac: '02:00:00:00:00:c8', address: 192.168.77.10}");
    for (n, address) in [(0xc8, ip(10)), (1, ip(50))] {
        assert_eq!(world.lease(n), address);
        world.from_client = Some(false);
        // From the address itself, from no address, and from a relay agent that is made up.
        for (source, giaddr) in [
            (address, Ipv4Addr::UNSPECIFIED),
            (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
            (ip(66), ip(66)),
        ] {
            world.arrival.source = SocketAddrV4::new(source, 68);
            let forged = Message { giaddr, ..release(n, address) };
            assert_eq!(world.send(&forged).unwrap_err(), DropReason::ForgedRelease, "{source}");
            assert_eq!(world.book.binding(address).unwrap().state, State::Leased);
        }
        world.arrival.source = SocketAddrV4::new(address, 68);
        assert_eq!(world.ask(&extend(n, address)).kind(), Some(MessageType::Ack));
        for from_client in [Some(true), None] {
            world.from_client = from_client;
            assert_eq!(world.lease(n), address);
            assert!(world.send(&release(n, address)).unwrap().is_none(), "{from_client:?}");
            assert_eq!(world.book.binding(address).unwrap().state, State::Released);
        }
    }
}

#[test]
fn s_02_a_message_without_a_hardware_address_gives_up_no_lease_of_an_ethernet_client() {
    let mut world = lab(60, "");
    let address = world.lease(1);
    world.arrival.source = SocketAddrV4::new(address, 68);
    // The identifier of a client without option 61.
    let id = [1, 2, 0, 0, 0, 0, 1];
    let options: &[(u8, &[u8])] = &[(54, &SERVER.octets()), (50, &address.octets()), (61, &id)];
    for (kind, reason) in
        [(MessageType::Release, DropReason::ForgedRelease), (MessageType::Decline, DropReason::ForgedDecline)]
    {
        for hlen in [0, 6] {
            let ciaddr = if kind == MessageType::Release { address } else { Ipv4Addr::UNSPECIFIED };
            let forged = Message { htype: 32, hlen, ciaddr, ..message(1, kind, options) };
            assert_eq!(world.send(&forged).unwrap_err(), reason, "{hlen}");
            assert_eq!(world.book.binding(address).unwrap().state, State::Leased);
        }
    }
}

#[test]
fn s_02_a_release_through_a_router_or_relay_agent_comes_from_another_hardware_address() {
    let mut world = lab(60, "");
    let relay = Ipv4Addr::new(10, 1, 0, 1);
    let relayed = |message: Message| Message { giaddr: relay, ..message };
    world.from_client = Some(false);
    for is_routed in [true, false] {
        world.arrival.source = SocketAddrV4::new(relay, 67);
        let address = world.ask(&relayed(discover(1))).message.yiaddr;
        assert_eq!(world.ask(&relayed(select(1, SERVER, address))).kind(), Some(MessageType::Ack));
        let release = message(1, MessageType::Release, &[(54, &SERVER.octets())]);
        let release = Message { ciaddr: address, ..release };
        let (release, source) = if is_routed { (release, address) } else { (relayed(release), relay) };
        world.arrival.source = SocketAddrV4::new(source, 68);
        assert!(world.send(&release).unwrap().is_none(), "{is_routed}");
        assert_eq!(world.book.binding(address).unwrap().state, State::Released);
    }
}

#[test]
fn s_02_an_address_that_its_last_holder_still_uses_goes_back_to_it() {
    for is_released in [true, false] {
        let mut world = lab(51, "");
        let address = world.lease(1);
        if is_released {
            world.arrival.source = SocketAddrV4::new(address, 68);
            let release = message(1, MessageType::Release, &[(54, &SERVER.octets())]);
            let release = Message { ciaddr: address, ..release };
            assert!(world.send(&release).unwrap().is_none());
        } else {
            world.pass(86_400);
        }
        world.alive = vec![(address, MacAddr([2, 0, 0, 0, 0, 1]))];
        assert_eq!(world.lease(2), if address == ip(50) { ip(51) } else { ip(50) });
        world.lease(2);
        // The small pool is full, so the next client finds the address of the machine that is alive.
        assert_eq!(world.send(&discover(3)).unwrap_err(), DropReason::PoolExhausted);
        assert!(world.checked.contains(&address), "{is_released}");
        assert_eq!(world.book.binding(address).unwrap().conflicts, 0);
        assert!(!world.events.iter().any(|event| matches!(event, Event::Conflict { .. })));
        assert_eq!(world.ask(&extend(1, address)).kind(), Some(MessageType::Ack), "{is_released}");
        assert_eq!(world.book.binding(address).unwrap().state, State::Leased);
        // Another machine there is a conflict, as before.
        let mut world = lab(52, "");
        let old = world.lease(1);
        world.pass(86_400);
        world.alive = vec![(old, MacAddr([2, 0, 0, 0, 0, 9]))];
        world.lease(2);
        world.lease(3);
        is_offered(&mut world, 4);
        assert!(world.events.iter().any(|event| matches!(event, Event::Conflict { .. })));
    }
}

#[test]
fn s_04_answers_from_made_up_machines_quarantine_a_fifth_of_the_pool_at_most() {
    let mut world = lab(99, "");
    world.alive = (50..100).map(|n| (ip(n), MacAddr([6, 0, 0, 0, 0, n]))).collect();
    for n in 1..=200 {
        world.send(&discover(n)).ok();
    }
    assert!(world.checked.len() >= 50, "every address was tried");
    let is_quarantined = |n: &u8| {
        let binding = world.book.binding(ip(*n)).unwrap();
        binding.state == State::Declined && binding.until > world.now.after(OFFER_HOLD)
    };
    assert_eq!((50..100).filter(is_quarantined).count(), 10);
    world.alive.clear();
    world.pass(31);
    assert_eq!((1..=30).filter(|n| is_offered(&mut world, *n)).count(), 30, "most are free again");
}

#[test]
fn s_02_a_reserved_address_stays_its_machines_unless_another_answers() {
    let mut world = lab(60, "{mac: '02:00:00:00:00:c8', address: 192.168.77.10}");
    world.lease(0xc8);
    for from_client in [None, Some(true)] {
        world.from_client = from_client;
        for kept in [vec![], vec![ip(10)]] {
            world.kept = kept;
            let refused = world.send(&decline(0xc8, ip(10))).unwrap_err();
            assert_eq!(refused, DropReason::DeclineUnfounded);
            assert_eq!(world.ask(&extend(0xc8, ip(10))).kind(), Some(MessageType::Ack));
            assert_eq!(world.lease(0xc8), ip(10));
        }
    }
    world.used = vec![ip(10)];
    assert!(world.send(&decline(0xc8, ip(10))).unwrap().is_none());
    assert_eq!(world.lease(0xc8), ip(50));
    world.used.clear();
    world.pass(601);
    assert_eq!(world.lease(0xc8), ip(10), "its own again");
}

#[test]
fn s_02_a_client_that_answers_at_its_address_did_not_decline_it() {
    let mut world = lab(60, "");
    let address = world.lease(1);
    world.kept = vec![address];
    for _ in 0..20 {
        assert_eq!(world.send(&decline(1, address)).unwrap_err(), DropReason::DeclineUnfounded);
    }
    assert_eq!(world.ask(&extend(1, address)).kind(), Some(MessageType::Ack));
}

#[test]
fn s_02_only_an_answer_makes_the_quarantine_longer() {
    for (is_used, ends) in [(false, [600; 4]), (true, [600, 1200, 2400, 4800])] {
        let mut world = lab(50, "");
        for end in ends {
            let address = world.lease(1);
            world.used = if is_used { vec![address] } else { vec![] };
            assert!(world.send(&decline(1, address)).unwrap().is_none());
            world.used.clear();
            let until = world.book.binding(address).unwrap().until;
            assert_eq!(until.since(world.now).as_secs(), end, "{is_used}");
            world.pass(end + 1);
        }
    }
}

#[test]
fn s_02_behind_a_relay_agent_a_decline_is_believed_for_the_shortest_time() {
    let mut world = lab(60, "{mac: '02:00:00:00:00:c8', address: 10.1.0.9}");
    let relayed = |message: Message| Message { giaddr: Ipv4Addr::new(10, 1, 0, 1), ..message };
    let lease = |world: &mut World, n| {
        let address = world.ask(&relayed(discover(n))).message.yiaddr;
        assert_eq!(world.ask(&relayed(select(n, SERVER, address))).kind(), Some(MessageType::Ack));
        address
    };
    let (dynamic, reserved) = (lease(&mut world, 1), lease(&mut world, 0xc8));
    assert!(world.send(&relayed(decline(1, dynamic))).unwrap().is_none());
    assert_ne!(lease(&mut world, 1), dynamic);
    assert_eq!(world.book.binding(dynamic).unwrap().conflicts, 0);
    let refused = world.send(&relayed(decline(0xc8, reserved))).unwrap_err();
    assert_eq!(refused, DropReason::DeclineUnfounded);
    assert_eq!(lease(&mut world, 0xc8), reserved);
    // A relay agent on our own wire cannot bypass the probe.
    let here = world.lease(2);
    world.from_client = Some(false);
    let forged = Message { giaddr: ip(99), ..decline(2, here) };
    assert_eq!(world.send(&forged).unwrap_err(), DropReason::ForgedDecline);
}

/// New clients arrive while an attacker sends DISCOVERs with forged MACs. Each client waits for `wait` before it takes
/// an offer, and asks again after 4 s without one. Returns the longest time that a client needed, in milliseconds.
fn under_flood(world: &mut World, per_second: u64, wait: u64, change: impl Fn(Message) -> Message) -> u64 {
    const STEP: u64 = 10;
    let (mut made_up, mut slowest, mut arrived) = (0, 0, 0u8);
    // For each client: the time when it arrived, the time when it asks or takes its offer, and its offer.
    let mut clients: HashMap<u8, (u64, u64, Option<Ipv4Addr>)> = HashMap::new();
    let mut owners: HashMap<Ipv4Addr, u8> = HashMap::new();
    for at in (0..90_000).step_by(STEP as usize) {
        world.now = Timestamp::from_seconds(5000).after(Duration::from_millis(at));
        if at >= 20_000 && at % 2_000 == 0 && arrived < 30 {
            arrived += 1;
            clients.insert(arrived, (at, at, None));
        }
        while u64::from(made_up) * 1000 < at * per_second {
            made_up += 1;
            let _ = world.send(&change(from_made_up(made_up, discover(0))));
        }
        let due: Vec<u8> = clients.iter().filter(|(_, (_, next, _))| *next <= at).map(|(n, _)| *n).collect();
        for n in due {
            let (since, next, offer) = clients.get_mut(&n).unwrap();
            match offer.take() {
                None => match world.send(&change(discover(n))) {
                    Ok(answer) => (*next, *offer) = (at + wait, answer.map(|a| a.message.yiaddr)),
                    Err(_) => *next = at + 4_000,
                },
                Some(address) => {
                    let ack = world.ask(&change(select(n, SERVER, address)));
                    if ack.kind() == Some(MessageType::Ack) {
                        assert!(owners.insert(address, n).is_none(), "two owners of {address}");
                        slowest = slowest.max(at - *since);
                        clients.remove(&n);
                    } else {
                        *next = at + 1_000;
                    }
                }
            }
        }
    }
    assert!(arrived == 30 && clients.is_empty(), "without an address: {clients:?}");
    slowest
}

#[test]
fn s_14_a_request_that_waited_too_long_is_dropped() {
    let mut world = lab(99, "");
    let address = world.lease(1);
    world.arrival.waited = MAX_WAIT - Duration::from_millis(1);
    assert_eq!(world.ask(&extend(1, address)).kind(), Some(MessageType::Ack));
    world.arrival.waited = MAX_WAIT;
    for stale in [discover(2), extend(1, address), select(2, SERVER, ip(60)), bootp(3)] {
        assert_eq!(world.send(&stale).unwrap_err(), DropReason::Stale);
    }
    assert!(world.send(&decline(1, address)).unwrap().is_none(), "a client sends it once");
    world.arrival.waited = Duration::ZERO;
    assert_eq!(world.ask(&discover(2)).kind(), Some(MessageType::Offer));
}

#[test]
fn s_14_made_up_macs_keep_no_new_client_out() {
    for (per_second, wait) in [(30, 500), (30, 4_500), (100, 500), (100, 4_500), (1000, 4_500)] {
        let slowest = under_flood(&mut lab(199, ""), per_second, wait, |message| message);
        assert!(slowest <= wait + 4_000, "{per_second} per second, taken after {wait} ms: {slowest} ms");
    }
}

#[test]
fn s_14_nor_behind_a_relay_agent() {
    let relayed = |message: Message| Message { giaddr: Ipv4Addr::new(10, 1, 0, 1), ..message };
    let slowest = under_flood(&mut lab(60, ""), 100, 4_500, relayed);
    assert!(slowest <= 8_500, "{slowest} ms");
}

#[test]
fn s_14_nor_do_those_that_take_no_offer_because_they_need_none() {
    let raspberry = |mut message: Message| {
        if message.chaddr[0] == 6 {
            message.chaddr[..3].copy_from_slice(&[0xb8, 0x27, 0xeb]);
            assert!(message.options.push(60, b"PXEClient:Arch:00000:UNDI:002001"));
            assert!(message.options.push(93, &[0, 0]));
            assert!(message.options.push(97, &[0x44; 17]));
        }
        message
    };
    let slowest = under_flood(&mut lab(199, ""), 30, 4_500, raspberry);
    assert!(slowest <= 8_500, "{slowest} ms");
}

#[test]
fn s_14_a_machine_of_the_configuration_and_a_known_client_are_served_at_once() {
    let mut world = lab(199, "{name: node1, mac: '02:00:00:00:00:c8'}");
    world.lease(7);
    world.pass(100_000);
    for n in 0..1000 {
        let _ = world.send(&from_made_up(n, discover(0)));
    }
    assert_eq!(world.lease(7), ip(50), "its last address");
    world.lease(0xc8);
}

#[test]
fn s_14_the_oldest_offer_gives_way_and_none_before_5_s() {
    let mut world = lab(50, "");
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(50));
    world.pass(4);
    assert!(!is_offered(&mut world, 2), "an honest client needs up to 4 s");
    world.pass(1);
    assert!(is_offered(&mut world, 3));
    let mut world = lab(51, "");
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(50));
    world.pass(1);
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(51));
    world.pass(10);
    assert_eq!(world.ask(&discover(3)).message.yiaddr, ip(50), "the oldest");
    assert_eq!(world.ask(&discover(4)).message.yiaddr, ip(51), "then the next");
    // A client that was refused and asks again is preferred, because forged clients ask only once.
    assert!(!is_offered(&mut world, 5));
    world.pass(1);
    assert!(!is_offered(&mut world, 6) && is_offered(&mut world, 5));
}

#[test]
fn s_14_an_offer_that_gave_way_never_makes_two_owners() {
    // The first client is late, but the second has not taken the address.
    let mut world = lab(50, "");
    world.ask(&discover(1));
    world.pass(6);
    world.ask(&discover(2));
    assert_eq!(world.ask(&select(1, SERVER, ip(50))).kind(), Some(MessageType::Ack));
    assert_eq!(world.ask(&select(2, SERVER, ip(50))).kind(), Some(MessageType::Nak));
    // Here the second client has taken it.
    let mut world = lab(50, "");
    world.ask(&discover(1));
    world.pass(6);
    world.ask(&discover(2));
    assert_eq!(world.ask(&select(2, SERVER, ip(50))).kind(), Some(MessageType::Ack));
    assert_eq!(world.ask(&select(1, SERVER, ip(50))).kind(), Some(MessageType::Nak));
    assert_eq!(world.book.binding(ip(50)).unwrap().state, State::Leased);
    // Here the first client is too late.
    let mut world = lab(50, "");
    world.ask(&discover(1));
    world.pass(OFFER_HOLD.as_secs() - 2);
    world.ask(&discover(2));
    world.pass(3);
    assert_eq!(world.ask(&select(1, SERVER, ip(50))).kind(), Some(MessageType::Nak));
    // A client that never had the offer gets nothing if it names the address.
    assert_eq!(world.ask(&select(3, SERVER, ip(50))).kind(), Some(MessageType::Nak));
}

#[test]
fn s_14_a_lease_never_gives_way() {
    let mut world = lab(59, "");
    let leased: Vec<Ipv4Addr> = (1..=5).map(|n| world.lease(n)).collect();
    for n in 0..5000 {
        world.now = world.now.after(Duration::from_millis(100));
        if let Ok(Some(offer)) = world.send(&from_made_up(n % 700, discover(0))) {
            assert!(!leased.contains(&offer.message.yiaddr));
        }
    }
    for (n, address) in (1..=5).zip(leased) {
        assert_eq!(world.ask(&extend(n, address)).kind(), Some(MessageType::Ack));
    }
}

#[test]
fn s_14_on_a_shared_wire_a_free_address_goes_before_an_offer() {
    let mut world = World::new(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50, shared_network: lab}, \
         {network: 192.168.78.0/24, pool: 192.168.78.50, shared_network: lab}]}",
    );
    assert_eq!(world.ask(&discover(1)).message.yiaddr, ip(50));
    world.pass(10);
    assert_eq!(world.ask(&discover(2)).message.yiaddr, Ipv4Addr::new(192, 168, 78, 50));
    assert_eq!(world.ask(&discover(3)).message.yiaddr, ip(50));
}
