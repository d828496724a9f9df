//! Conversations across a changed configuration: leases, offers and quarantines stay, pools and machines change.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use lanboot::event::DropReason;
use lanboot::lease::State;
use lanboot::types::Timestamp;
use lanboot::wire::dhcp::{Message, MessageType};
use lanboot::wire::option::code;
use proptest::prelude::*;
use support::world::{Answer, SERVER, World, discover, extend, init_reboot, message, select};

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

/// A configuration of the random test: the order of the subnets, their last pool address, reserved machines.
#[derive(Clone, Debug)]
struct Layout {
    order: Vec<u8>,
    last: u8,
    reserved: Vec<(u8, u8)>,
    match_client_id: bool,
}

impl Layout {
    fn yaml(&self) -> String {
        let subnets = self.order.iter().map(|network| {
            let pool = format!("192.168.{network}.50-192.168.{network}.{}", self.last);
            format!("{{network: 192.168.{network}.0/24, pool: {pool}, lease: 1h}}")
        });
        let subnets: Vec<String> = subnets.collect();
        let is_there = |(client, _): &&(u8, u8)| self.order.contains(&network_of(*client));
        let machines = self.reserved.iter().filter(is_there).map(|(client, last)| {
            let address = format!("192.168.{}.{last}", network_of(*client));
            format!("{{name: m{client}, mac: '02:00:00:00:00:{client:02x}', address: {address}}}")
        });
        let machines: Vec<String> = machines.collect();
        format!(
            "dhcp: {{mode: server, conflict_check: off, match_client_id: {}, subnets: [{}]}}\nmachines: [{}]\n",
            self.match_client_id,
            subnets.join(", "),
            machines.join(", ")
        )
    }
}

/// Each client stays on one wire: behind the relay agent of subnet 78 or 79, or on our own, which is 77.
fn network_of(client: u8) -> u8 {
    77 + client % 3
}

#[derive(Clone, Debug)]
enum Move {
    /// DISCOVER, and REQUEST if there is an offer.
    Lease(u8),
    /// Only the DISCOVER.
    Discover(u8),
    Renew(u8),
    Release(u8),
    Decline(u8),
    Pass(u64),
    /// The next changes cannot be stored, or can be again.
    Disk(bool),
    Reload(Layout),
}

/// The clients of the random test, by what they know.
struct Clients {
    world: World,
    /// The address of each client, and the end of its lease.
    has: BTreeMap<u8, (Ipv4Addr, Timestamp)>,
    /// Whether an address became free while the disk did not work: only the running server knows that.
    freed_in_memory: bool,
}

impl Clients {
    fn message(client: u8, kind: MessageType, options: &[(u8, &[u8])]) -> Message {
        let mut message = message(client, kind, options);
        if network_of(client) != 77 {
            message.giaddr = Ipv4Addr::new(192, 168, network_of(client), 1);
        }
        // Every other client sends an identifier that is not its MAC.
        if client.is_multiple_of(2) {
            assert!(message.options.push(code::CLIENT_IDENTIFIER, &[0, 9, client]));
        }
        message
    }

    fn renewal(&self, client: u8) -> Option<Message> {
        let (address, _) = self.has.get(&client)?;
        Some(Message { ciaddr: *address, ..Clients::message(client, MessageType::Request, &[]) })
    }

    fn of_address(&self, client: u8, kind: MessageType) -> Option<Message> {
        let (address, _) = self.has.get(&client)?;
        let options =
            [(code::SERVER_IDENTIFIER, SERVER.octets()), (code::REQUESTED_ADDRESS, address.octets())];
        let mut message =
            Clients::message(client, kind, &options.each_ref().map(|(code, value)| (*code, &value[..])));
        if kind == MessageType::Release {
            message = Clients::message(client, kind, &[(code::SERVER_IDENTIFIER, &SERVER.octets())]);
            message.ciaddr = *address;
        }
        Some(message)
    }

    /// Takes in the answer to a REQUEST. No other client may have the address.
    fn answered(&mut self, client: u8, answer: Result<Option<Answer>, DropReason>) {
        let Ok(Some(answer)) = answer else { return };
        match answer.kind() {
            Some(MessageType::Ack) => {
                let address = answer.message.yiaddr;
                let time = answer.message.options.u32(code::LEASE_TIME).expect("a lease time");
                let until = self.world.now.after(Duration::from_secs(time.into()));
                for (other, (theirs, end)) in &self.has {
                    let is_free = *other == client || *theirs != address || *end <= self.world.now;
                    assert!(is_free, "{address} of client {other} is given to client {client}");
                }
                self.has.insert(client, (address, until));
            }
            Some(MessageType::Nak) => drop(self.has.remove(&client)),
            _ => {}
        }
    }

    fn play(&mut self, step: Move) {
        match step {
            Move::Lease(client) => {
                let Ok(Some(offer)) = self.world.send(&Clients::message(client, MessageType::Discover, &[]))
                else {
                    return;
                };
                let address = offer.message.yiaddr.octets();
                let options =
                    [(code::SERVER_IDENTIFIER, &SERVER.octets()[..]), (code::REQUESTED_ADDRESS, &address)];
                let request = Clients::message(client, MessageType::Request, &options);
                let answer = self.world.send(&request);
                self.answered(client, answer);
            }
            Move::Discover(client) => {
                let _ = self.world.send(&Clients::message(client, MessageType::Discover, &[]));
            }
            Move::Renew(client) => {
                if let Some(renewal) = self.renewal(client) {
                    let answer = self.world.send(&renewal);
                    self.answered(client, answer);
                }
            }
            Move::Release(client) | Move::Decline(client) => {
                let is_release = matches!(step, Move::Release(_));
                let kind = if is_release { MessageType::Release } else { MessageType::Decline };
                if let Some(message) = self.of_address(client, kind) {
                    let _ = self.world.send(&message);
                    self.has.remove(&client);
                    self.freed_in_memory |= !self.world.disk_works;
                }
            }
            Move::Pass(seconds) => self.world.pass(seconds),
            Move::Disk(works) => self.world.disk_works = works,
            Move::Reload(layout) => self.world.replace(&layout.yaml()),
        }
    }
}

fn layouts() -> impl Strategy<Value = Layout> {
    let order = Just(vec![77, 78, 79])
        .prop_shuffle()
        .prop_flat_map(|all| (1..=3usize).prop_map(move |n| all[..n].to_vec()));
    let reserved = prop::collection::btree_map(1..=9u8, 50..=54u8, 0..3);
    (order, 50..=54u8, reserved, any::<bool>()).prop_map(|(order, last, reserved, match_client_id)| {
        let mut reserved: Vec<(u8, u8)> = reserved.into_iter().collect();
        reserved.dedup_by_key(|(client, last)| (network_of(*client), *last));
        let mut seen = Vec::new();
        reserved.retain(|(client, last)| {
            let key = (network_of(*client), *last);
            !seen.contains(&key) && {
                seen.push(key);
                true
            }
        });
        Layout { order, last, reserved, match_client_id }
    })
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        5 => (1..=9u8).prop_map(Move::Lease),
        2 => (1..=9u8).prop_map(Move::Discover),
        4 => (1..=9u8).prop_map(Move::Renew),
        1 => (1..=9u8).prop_map(Move::Release),
        1 => (1..=9u8).prop_map(Move::Decline),
        2 => (1..2000u64).prop_map(Move::Pass),
        1 => any::<bool>().prop_map(Move::Disk),
        3 => layouts().prop_map(Move::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random configurations and traffic: no address has two owners, and clients with a lease are served as after a
    /// fresh start with the last file.
    #[test]
    fn a_reload_serves_like_a_fresh_start(
        first in layouts(),
        last in layouts(),
        steps in prop::collection::vec(moves(), 1..60),
    ) {
        let mut clients = Clients { world: World::new(&first.yaml()), has: BTreeMap::new(), freed_in_memory: false };
        clients.world.arrival.addresses = [SERVER].into();
        steps.into_iter().for_each(|step| clients.play(step));
        prop_assume!(!clients.freed_in_memory);
        // Offers do not survive a start, so let them end.
        clients.play(Move::Pass(31));
        clients.play(Move::Reload(last.clone()));
        let mut fresh = World::new(&last.yaml());
        fresh.disk = clients.world.disk.clone();
        fresh.now = clients.world.now;
        fresh.restart();
        let has: Vec<u8> = clients.has.iter().filter(|(_, (_, end))| *end > fresh.now).map(|(n, _)| *n).collect();
        let outcome = |answer: Result<Option<Answer>, DropReason>| match answer {
            Ok(answer) => Ok(answer.map(|answer| (answer.kind(), answer.message.yiaddr))),
            Err(reason) => Err(reason),
        };
        clients.world.disk_works = true;
        for client in has {
            let renewal = clients.renewal(client).expect("it has an address");
            let (now, then) = (clients.world.send(&renewal), fresh.send(&renewal));
            prop_assert_eq!(outcome(now), outcome(then), "the renewal of client {}", client);
        }
    }
}
