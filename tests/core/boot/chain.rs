//! Whole boots in memory and in virtual time: the probe against the real DHCP core and a TFTP server, from the first
//! DISCOVER to the last block.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lanboot::boot::policy::Content;
use lanboot::dhcp::route::Route;
use lanboot::event::{DropReason, Event};
use lanboot::probe::{Failure, Input, Kind, Machine, Ports, Progress, Step, Transmit, Unusable};
use lanboot::types::{FileKind, MacAddr, Processor, Timestamp};
use lanboot::wire::dhcp::{Message, Options};
use lanboot::wire::option::code;

use support::tftp_server::{Reply, TftpServer};
use support::world::{SERVER, World};

const LAB: &str = "
dhcp:
  mode: server
  subnets:
    - {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.59, lease: 1h}
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}
boot:
  arch: {bios: undionly.kpxe, uefi-x64: snponly.efi, uefi-arm64: grubnetaa64.efi}
  ipxe: boot.ipxe
machines:
  - {name: old-terminal, mac: '02:00:00:00:00:05', address: 192.168.77.10}
  - {name: own-loader, mac: '02:00:00:00:00:20', boot: special.efi}
  - {name: own-script, mac: '02:00:00:00:00:21', address: 192.168.77.12, boot: debian.ipxe}
";

const FILES: [(&str, usize); 6] = [
    ("undionly.kpxe", 70_000),
    ("snponly.efi", 1468 * 40),
    ("grubnetaa64.efi", 100_001),
    ("boot.ipxe", 66),
    ("special.efi", 20_000),
    ("debian.ipxe", 1432),
];

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

fn content(name: &str) -> Vec<u8> {
    let (_, size) = FILES.iter().find(|(file, _)| *file == name).expect("a file of the lab");
    (0..*size).map(|i| (i * 31 + i / 251 + name.len()) as u8).collect()
}

/// Time after which the TFTP server sends again.
const RESEND_AFTER: Duration = Duration::from_secs(1);
const RESENDS: u32 = 5;

/// The boot file that a client of this kind must get.
fn file_of(kind: Kind) -> &'static str {
    match kind {
        Kind::BiosPxe | Kind::Bootp => "undionly.kpxe",
        Kind::UefiX64 => "snponly.efi",
        Kind::UefiArm64 => "grubnetaa64.efi",
        Kind::Ipxe => "boot.ipxe",
    }
}

/// A machine that boots, the results so far, and the datagrams that wait at its sockets.
struct Client {
    machine: Machine,
    mac: MacAddr,
    /// The local port of its present TFTP transfer.
    port: u16,
    inbox: VecDeque<(SocketAddrV4, Vec<u8>)>,
    /// The last datagrams of the TFTP server, the time when it sends them again, and the number of resends left.
    sent: Vec<Reply>,
    resend: Option<Timestamp>,
    resends: u32,
    wait_until: Option<Timestamp>,
    boot: Boot,
}

/// The result of a boot.
#[derive(Default)]
struct Boot {
    address: Option<Ipv4Addr>,
    file: String,
    content: Vec<u8>,
    last: Option<Progress>,
}

impl Boot {
    fn failure(&self) -> Option<&Failure> {
        match &self.last {
            Some(Progress::Failed(failure)) => Some(failure),
            _ => None,
        }
    }

    /// Asserts that the boot ended with this file, complete, at this address.
    fn is(&self, address: Ipv4Addr, file: &str) {
        assert!(matches!(self.last, Some(Progress::Finished { .. })), "{file}: {:?}", self.last);
        assert_eq!((self.address, self.file.as_str()), (Some(address), file));
        assert!(self.content == content(file), "{file} came as it is");
    }
}

/// A relay agent between the clients and the server: its address and the option 82 that it adds.
struct Relay {
    address: Ipv4Addr,
    information: &'static [u8],
    /// Number of replies that it forwarded.
    passed: usize,
}

/// Servers, clients, and the wire between them.
struct Lan {
    world: World,
    tftp: TftpServer,
    relay: Option<Relay>,
    /// Percentage of datagrams that are lost.
    loss: u64,
    random: u64,
    boots: u64,
    /// Reasons for which the DHCP server did not answer, in order.
    drops: Vec<DropReason>,
}

impl Lan {
    fn new(yaml: &str) -> Lan {
        let mut world = World::new(yaml);
        world.sizes = FILES.iter().map(|(name, size)| (*name, *size as u64)).collect();
        Lan {
            world,
            tftp: TftpServer::new(69, FILES.map(|(name, _)| (name, content(name)))),
            relay: None,
            loss: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            boots: 0,
            drops: Vec::new(),
        }
    }

    fn boot(&mut self, kind: Kind, n: u8) -> Boot {
        self.boot_together(&[(kind, n)]).remove(0)
    }

    /// Switches all machines on at once and runs until each has booted or failed.
    fn boot_together(&mut self, machines: &[(Kind, u8)]) -> Vec<Boot> {
        let mut clients: Vec<Client> = machines.iter().map(|(kind, n)| self.client(*kind, *n)).collect();
        for i in 0..clients.len() {
            let step = clients[i].machine.start(self.world.now);
            self.perform(step, i, &mut clients);
        }
        while let Some(next) = clients.iter().filter_map(|client| client.wait_until).min() {
            let busy = clients.iter().position(|c| c.wait_until.is_some() && !c.inbox.is_empty());
            if busy.is_none() && self.resend_before(next, &mut clients) {
                continue;
            }
            let i = match busy {
                Some(i) => i,
                None => {
                    self.world.now = next;
                    clients.iter().position(|client| client.wait_until == Some(next)).unwrap()
                }
            };
            let arrived = clients[i].inbox.pop_front();
            let now = self.world.now;
            let step = match &arrived {
                Some((from, payload)) if from.port() == 67 => {
                    clients[i].machine.handle(Input::Dhcp(payload, *from), now)
                }
                Some((from, payload)) => clients[i].machine.handle(Input::Tftp(payload, *from), now),
                None => clients[i].machine.handle(Input::Timeout, now),
            };
            self.perform(step, i, &mut clients);
        }
        clients.into_iter().map(|client| client.boot).collect()
    }

    fn client(&mut self, kind: Kind, n: u8) -> Client {
        self.boots += 1;
        Client {
            machine: Machine::new(kind.profile(), mac(n), Ports::default(), self.boots),
            mac: mac(n),
            port: 1024,
            inbox: VecDeque::new(),
            sent: Vec::new(),
            resend: None,
            resends: 0,
            wait_until: None,
            boot: Boot::default(),
        }
    }

    fn perform(&mut self, step: Step<'_>, i: usize, clients: &mut [Client]) {
        let boot = &mut clients[i].boot;
        boot.content.extend_from_slice(step.received.unwrap_or_default());
        for progress in step.progress {
            if let Progress::Acknowledged(offer) | Progress::BootpReplied(offer) = &progress {
                boot.address = Some(offer.address);
                boot.file = String::from_utf8(offer.file.clone()).unwrap();
            }
            boot.last = Some(progress);
        }
        clients[i].wait_until = step.wait_until;
        for transmit in step.send {
            let lost = self.lost();
            match transmit {
                Transmit::Dhcp(payload) if !lost => self.ask(&payload, clients),
                Transmit::TftpOpen { to, payload } => {
                    clients[i].port += 1;
                    clients[i].inbox.retain(|(from, _)| from.port() == 67);
                    clients[i].resend = None;
                    if !lost {
                        self.read(&payload, to, &mut clients[i]);
                    }
                }
                Transmit::Tftp { to, payload } if !lost => self.read(&payload, to, &mut clients[i]),
                Transmit::Dhcp(_) | Transmit::Tftp { .. } => {}
                other @ (Transmit::BootServer { .. } | Transmit::Http { .. }) => panic!("{other:?}"),
            }
        }
    }

    /// Sends a broadcast to the DHCP server, through the relay agent if there is one. Delivers the reply to every
    /// client that receives it.
    fn ask(&mut self, payload: &[u8], clients: &mut [Client]) {
        let payload = match &self.relay {
            Some(relay) => {
                self.world.arrival.source = SocketAddrV4::new(relay.address, 67);
                self.world.arrival.destination = SERVER;
                relay.forward(payload)
            }
            None => payload.to_vec(),
        };
        let answer = match self.world.send_bytes(&payload) {
            Ok(answer) => answer.expect("what a booting client sends needs an answer"),
            Err(reason) => return self.drops.push(reason),
        };
        let (bytes, from) = match (&mut self.relay, answer.route) {
            (Some(relay), Route::Unicast(to)) => {
                assert_eq!(to, SocketAddrV4::new(relay.address, 67), "back to the relay agent");
                (relay.back(&answer.bytes), relay.address)
            }
            (None, Route::Broadcast { port: 68 } | Route::Frame { .. }) => (answer.bytes, SERVER),
            (_, route) => panic!("a booting client cannot hear a reply sent by {route:?}"),
        };
        for client in clients {
            let hears = match answer.route {
                Route::Frame { mac, to, .. } => client.mac == mac && to.port() == 68,
                _ => true,
            };
            if hears && !self.lost() {
                client.inbox.push_back((SocketAddrV4::new(from, 67), bytes.clone()));
            }
        }
    }

    fn read(&mut self, payload: &[u8], to: SocketAddrV4, client: &mut Client) {
        assert_eq!(*to.ip(), SERVER, "the file is where the DHCP server says");
        let address = client.boot.address.expect("TFTP needs an address");
        let from = SocketAddrV4::new(address, client.port);
        client.sent = self.tftp.handle(from, to.port(), payload);
        client.resends = RESENDS;
        self.deliver(client);
    }

    /// Performs the TFTP server's next resend if it is due before `next`, the time when a client gives up waiting.
    /// Returns whether there was one.
    fn resend_before(&mut self, next: Timestamp, clients: &mut [Client]) -> bool {
        let due = clients.iter_mut().filter(|client| client.wait_until.is_some() && client.resend.is_some());
        let Some(client) = due.min_by_key(|client| client.resend).filter(|client| client.resend < Some(next))
        else {
            return false;
        };
        self.world.now = self.world.now.max(client.resend.unwrap());
        client.resends -= 1;
        self.deliver(client);
        true
    }

    /// Delivers the TFTP server's datagrams to a client, and schedules a resend in case the client does not answer.
    fn deliver(&mut self, client: &mut Client) {
        let again = !client.sent.is_empty() && client.resends > 0;
        client.resend = again.then(|| self.world.now.after(RESEND_AFTER));
        for (port, payload) in client.sent.clone() {
            if !self.lost() {
                client.inbox.push_back((SocketAddrV4::new(SERVER, port), payload));
            }
        }
    }

    fn lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % 100 < self.loss
    }
}

impl Relay {
    /// Forwards a request as RFC 1542 section 4.1.1 and RFC 3046 section 2.1 require of a relay agent.
    fn forward(&self, payload: &[u8]) -> Vec<u8> {
        let mut message = Message::decode(payload).unwrap();
        message.hops += 1;
        message.giaddr = self.address;
        message.options.push(code::RELAY_AGENT_INFORMATION, self.information);
        message.encode()
    }

    /// Takes out option 82, which must come back exactly as the relay agent sent it.
    fn back(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut message = Message::decode(payload).unwrap();
        assert_eq!(message.giaddr, self.address);
        assert_eq!(message.options.get(code::RELAY_AGENT_INFORMATION), Some(self.information));
        let mut options = Options::default();
        for (code, value) in message.options.iter().filter(|(code, _)| *code != code::RELAY_AGENT_INFORMATION)
        {
            options.push(code, value);
        }
        message.options = options;
        self.passed += 1;
        message.encode()
    }
}

#[test]
fn every_kind_boots_from_the_first_message_to_the_last_block() {
    let mut lan = Lan::new(LAB);
    for (kind, n) in Kind::ALL.into_iter().zip(1..) {
        let address = if kind == Kind::Bootp { ip(10) } else { ip(49 + n) };
        lan.boot(kind, n).is(address, file_of(kind));
    }
    assert_eq!(lan.drops, []);
}

#[test]
fn with_a_fifth_of_the_packets_lost_every_machine_boots_by_its_third_try() {
    let mut failed = 0;
    for (kind, n) in Kind::ALL.into_iter().zip(1..) {
        for seed in 1..=10 {
            let mut lan = Lan::new(LAB);
            lan.loss = 20;
            lan.random = lan.random.wrapping_mul(2 * seed + 1);
            let mut boot = lan.boot(kind, n);
            for _ in 1..3 {
                match boot.failure() {
                    None => break,
                    // Loss may cause no other failure, such as a wrong size.
                    Some(Failure::NoOffer { ignored: None, .. } | Failure::NoAck { ignored: None, .. }) => {}
                    Some(Failure::TftpSilent { .. } | Failure::TftpError { code: 5, .. }) => {}
                    Some(other) => panic!("{kind:?}, seed {seed}: {other}"),
                }
                failed += 1;
                boot = lan.boot(kind, n);
            }
            let address = if kind == Kind::Bootp { ip(10) } else { ip(50) };
            boot.is(address, file_of(kind));
        }
    }
    assert!(failed <= 10, "{failed} boots of 50 machines failed");
}

#[test]
fn machines_that_boot_at_once_get_addresses_and_files_of_their_own() {
    let mut lan = Lan::new(LAB);
    let machines =
        [(Kind::BiosPxe, 1), (Kind::BiosPxe, 2), (Kind::UefiX64, 3), (Kind::Ipxe, 4), (Kind::Bootp, 5)];
    let boots = lan.boot_together(&machines);
    for ((kind, _), (boot, address)) in machines.iter().zip(boots.iter().zip([50, 51, 52, 53, 10])) {
        boot.is(ip(address), file_of(*kind));
    }
}

#[test]
fn firmware_and_then_ipxe_on_one_machine_share_its_address() {
    for firmware in [Kind::BiosPxe, Kind::UefiX64] {
        let mut lan = Lan::new(LAB);
        lan.boot(Kind::UefiX64, 9).is(ip(50), "snponly.efi");
        lan.boot(firmware, 1).is(ip(51), file_of(firmware));
        lan.world.pass(5);
        lan.boot(Kind::Ipxe, 1).is(ip(51), "boot.ipxe");
        assert_eq!(lan.world.book.len(), 2, "one lease for each machine");
    }
}

#[test]
fn an_architecture_without_a_file_fails_with_that_reason_and_never_gets_the_bios_file() {
    let yaml = LAB.replace(", uefi-x64: snponly.efi, uefi-arm64: grubnetaa64.efi", "");
    for kind in [Kind::UefiX64, Kind::UefiArm64] {
        let mut lan = Lan::new(&yaml);
        let boot = lan.boot(kind, 1);
        let failure = boot.failure().expect("it does not boot");
        let ignored = Some((SERVER, Unusable::NoFile));
        assert!(matches!(failure, Failure::NoOffer { ignored: why, .. } if *why == ignored), "{failure}");
        assert_eq!(
            failure.to_string(),
            "no usable DHCP offer; 192.168.77.1 answered, but it names no boot file"
        );
        assert!(lan.world.events.iter().all(|event| !matches!(event, Event::Answered { file: Some(_), .. })));
    }
}

#[test]
fn a_boot_after_the_lease_ran_out_gets_the_same_address_unless_it_was_needed() {
    let mut lan = Lan::new(LAB);
    lan.boot(Kind::UefiX64, 1).is(ip(50), "snponly.efi");
    lan.world.pass(2 * 3600);
    lan.boot(Kind::BiosPxe, 2).is(ip(51), "undionly.kpxe");
    lan.boot(Kind::UefiX64, 1).is(ip(50), "snponly.efi");

    let mut small = Lan::new(&LAB.replace("192.168.77.59", "192.168.77.50"));
    small.boot(Kind::UefiX64, 1).is(ip(50), "snponly.efi");
    let refused = small.boot(Kind::BiosPxe, 2);
    assert!(matches!(refused.failure(), Some(Failure::NoOffer { ignored: None, .. })), "{:?}", refused.last);
    assert_eq!(small.drops, [DropReason::PoolExhausted; 4]);
    small.world.pass(2 * 3600);
    small.boot(Kind::BiosPxe, 2).is(ip(50), "undionly.kpxe");
    assert!(small.boot(Kind::UefiX64, 1).failure().is_some(), "its address has another owner now");
}

#[test]
fn machines_with_an_entry_boot_what_it_says() {
    let mut lan = Lan::new(LAB);
    let special = Content::Other(FileKind::EfiProgram(Processor::X64));
    lan.world.contents.push(("special.efi", special));
    lan.boot(Kind::UefiX64, 0x20).is(ip(50), "special.efi");
    // The iPXE of a BIOS. It would hang with the other loader.
    lan.boot(Kind::Ipxe, 0x20).is(ip(50), "boot.ipxe");
    lan.boot(Kind::UefiX64, 0x21).is(ip(12), "snponly.efi");
    lan.boot(Kind::Ipxe, 0x21).is(ip(12), "debian.ipxe");
}

#[test]
fn a_boot_while_the_disk_fails_ends_without_an_ack_and_works_again_afterwards() {
    let mut lan = Lan::new(LAB);
    lan.world.disk_works = false;
    let boot = lan.boot(Kind::UefiX64, 1);
    assert!(matches!(boot.failure(), Some(Failure::NoAck { server: SERVER, .. })), "{:?}", boot.last);
    assert!(boot.address.is_none() && lan.drops == [DropReason::StoreFailed; 4], "{:?}", lan.drops);
    lan.world.disk_works = true;
    lan.boot(Kind::UefiX64, 1).is(ip(50), "snponly.efi");
}

#[test]
fn every_kind_but_bootp_boots_through_a_relay_agent() {
    let mut lan = Lan::new(LAB);
    let address = Ipv4Addr::new(10, 1, 0, 1);
    lan.relay = Some(Relay { address, information: &[1, 4, b'g', b'e', 0, 7, 2, 2, 0xff, 0], passed: 0 });
    for (kind, n) in Kind::ALL.into_iter().zip(1..).filter(|(kind, _)| *kind != Kind::Bootp) {
        lan.boot(kind, n).is(Ipv4Addr::new(10, 1, 0, 49 + n), file_of(kind));
    }
    assert_eq!(lan.relay.as_ref().map(|relay| relay.passed), Some(8));
    // The client's reserved address belongs to the other network, and this network gives BOOTP clients no address.
    assert!(lan.boot(Kind::Bootp, 5).failure().is_some());
    assert_eq!(lan.drops, [DropReason::BootpRefused; 4]);
}
