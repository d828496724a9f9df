//! Conversations across a changed configuration: leases, offers and quarantines stay, pools and machines change.

use std::net::Ipv4Addr;

use lanboot::event::DropReason;
use lanboot::lease::State;
use lanboot::types::Timestamp;
use lanboot::wire::dhcp::MessageType;
use lanboot::wire::option::code;
use support::world::{SERVER, World, discover, extend, init_reboot, message, select};

/// `subnets` and `machines` of a server that checks no addresses.
fn config(subnets: &str, machines: &str) -> String {
    format!("dhcp: {{mode: server, conflict_check: off, subnets: [{subnets}]}}\nmachines: [{machines}]\n")
}

fn subnet(network: u8, pool: &str) -> String {
    format!("{{network: 192.168.{network}.0/24, pool: {pool}, lease: 1h}}")
}

fn small() -> String {
    subnet(77, "192.168.77.50-192.168.77.51")
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, last)
}

#[test]
fn an_offer_of_before_is_taken_after() {
    let mut world = World::new(&config(&small(), ""));
    let offer = world.ask(&discover(1));
    world.replace(&config(&subnet(77, "192.168.77.50-192.168.77.60"), ""));
    assert_ne!(world.ask(&discover(2)).message.yiaddr, offer.message.yiaddr);
    let ack = world.ask(&select(1, SERVER, offer.message.yiaddr));
    assert_eq!((ack.kind(), ack.message.yiaddr), (Some(MessageType::Ack), ip(50)));
}

#[test]
fn a_larger_pool_serves_clients_that_were_turned_away() {
    let mut world = World::new(&config(&small(), ""));
    let (first, second) = (world.lease(1), world.lease(2));
    assert_eq!(world.send(&discover(3)).unwrap_err(), DropReason::PoolExhausted);
    world.replace(&config(&subnet(77, "192.168.77.50-192.168.77.52"), ""));
    assert_eq!((first, second, world.lease(3)), (ip(50), ip(51), ip(52)));
    assert_eq!(world.ask(&extend(1, first)).kind(), Some(MessageType::Ack));
}

/// The server answers as after a start with the smaller pool.
#[test]
fn a_smaller_pool_takes_an_address_only_at_the_next_renewal() {
    let renew = |restarts: bool| {
        let mut world = World::new(&config(&small(), ""));
        let (_, second) = (world.lease(1), world.lease(2));
        world.replace(&config(&subnet(77, "192.168.77.50-192.168.77.50"), ""));
        if restarts {
            world.restart();
        }
        assert_eq!(world.send(&discover(3)).unwrap_err(), DropReason::PoolExhausted);
        assert_eq!(world.book.binding(second).map(|binding| binding.state), Some(State::Leased));
        let kind = world.ask(&extend(2, second)).kind();
        (kind, world.ask(&extend(1, ip(50))).kind())
    };
    assert_eq!(renew(false), (Some(MessageType::Nak), Some(MessageType::Ack)));
    assert_eq!(renew(false), renew(true));
}

#[test]
fn subnets_in_another_order_keep_their_leases() {
    let (first, second) = (small(), subnet(78, "192.168.78.50-192.168.78.59"));
    for by_restart in [false, true] {
        let mut world = World::new(&config(&format!("{first}, {second}"), ""));
        let mine = world.lease(1);
        let relayed = |kind, options: &[(u8, &[u8])]| {
            let mut message = message(2, kind, options);
            message.giaddr = Ipv4Addr::new(192, 168, 78, 1);
            message
        };
        let theirs = world.ask(&relayed(MessageType::Discover, &[])).message.yiaddr;
        let options =
            [(code::SERVER_IDENTIFIER, SERVER.octets()), (code::REQUESTED_ADDRESS, theirs.octets())];
        let options = options.each_ref().map(|(code, value)| (*code, &value[..]));
        assert_eq!(world.ask(&relayed(MessageType::Request, &options)).kind(), Some(MessageType::Ack));
        let third = subnet(79, "192.168.79.50-192.168.79.59");
        let turned = config(&format!("{third}, {second}, {first}"), "");
        world.replace(&turned);
        if by_restart {
            world.restart();
        }
        assert_eq!(world.ask(&discover(1)).message.yiaddr, mine);
        assert_eq!(world.ask(&extend(1, mine)).kind(), Some(MessageType::Ack));
        assert_eq!(world.ask(&relayed(MessageType::Discover, &[])).message.yiaddr, theirs);
        assert_ne!(world.ask(&discover(3)).message.yiaddr, mine);
    }
}

#[test]
fn a_machine_that_comes_gets_its_address_when_that_is_free() {
    let mut world = World::new(&config(&small(), ""));
    let taken = world.lease(1);
    let machine = "{name: node2, mac: '02:00:00:00:00:02', address: 192.168.77.50}";
    world.replace(&config(&small(), machine));
    let other = world.ask(&discover(2)).message.yiaddr;
    assert_eq!((taken, other), (ip(50), ip(51)), "another client still has it");
    assert_eq!(world.ask(&extend(1, taken)).kind(), Some(MessageType::Nak), "it is reserved now");
    world.pass(3601);
    assert_eq!(world.ask(&discover(2)).message.yiaddr, ip(50));
    world.replace(&config(&small(), ""));
    world.pass(31);
    let wish = [(code::REQUESTED_ADDRESS, &ip(50).octets()[..])];
    let offer = world.ask(&message(1, MessageType::Discover, &wish));
    assert_eq!(offer.message.yiaddr, ip(50), "the machine is gone from the file");
}

#[test]
fn a_quarantine_stays() {
    let mut world = World::new(&config(&small(), ""));
    let address = world.lease(1);
    let decline = message(
        1,
        MessageType::Decline,
        &[(code::SERVER_IDENTIFIER, &SERVER.octets()), (code::REQUESTED_ADDRESS, &address.octets())],
    );
    world.used.push(address);
    assert!(world.send(&decline).unwrap().is_none());
    world.replace(&config(&subnet(77, "192.168.77.50-192.168.77.60"), ""));
    assert_eq!(world.book.binding(address).map(|binding| binding.state), Some(State::Declined));
    assert_ne!(world.lease(2), address);
}

#[test]
fn a_subnet_that_leaves_and_comes_back_gives_no_address_twice() {
    let mut world = World::new(&config(&small(), ""));
    let address = world.lease(1);
    world.replace(&config(&subnet(78, "192.168.78.50-192.168.78.59"), ""));
    assert_eq!(world.send(&init_reboot(1, address)).unwrap_err(), DropReason::NoSubnet);
    world.replace(&config(&small(), ""));
    assert_eq!(world.lease(2), ip(51));
    assert_eq!(world.ask(&init_reboot(1, address)).kind(), Some(MessageType::Ack));
}

/// A lease that was in the database at the start, but in none of the subnets.
#[test]
fn a_new_subnet_has_the_leases_that_were_stored_for_it() {
    let mut world = World::new(&config(&small(), ""));
    let address = world.lease(1);
    world.replace(&config(&subnet(78, "192.168.78.50-192.168.78.59"), ""));
    world.restart();
    world.replace(&config(&small(), ""));
    assert_eq!(world.lease(2), ip(51));
    assert_eq!(world.ask(&extend(1, address)).kind(), Some(MessageType::Ack));
}

/// The disk is slow, so that a lease waits for it during the change.
#[test]
fn a_failed_commit_during_the_change_gives_no_lease() {
    let mut world = World::new(&config(&small(), ""));
    world.disk_works = false;
    let offer = world.ask(&discover(1)).message.yiaddr;
    assert_eq!(world.send(&select(1, SERVER, offer)).unwrap_err(), DropReason::StoreFailed);
    world.replace(&config(&subnet(77, "192.168.77.50-192.168.77.60"), ""));
    world.disk_works = true;
    assert_eq!(world.lease(1), offer);
    assert!(world.disk[&offer].until > Timestamp::from_seconds(3600));
}
