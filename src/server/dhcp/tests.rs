//! Tests that call the DHCP loop step by step on loopback.

use super::*;
use crate::config;
use crate::content::machines::{KnownMachine, Standing};
use crate::dhcp::engine::MAX_WAITING;
use crate::dhcp::level::{DEFAULT_LEASE, LeaseTime};
use crate::dhcp::route::Route;
use crate::event::{Client, Event};
use crate::lease::{Holder, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
use crate::net::datagram::{Envelope, Outgoing};
use crate::net::interface;
use crate::net::ping::ProbeAnswer;
use crate::net::snapshot::Snapshot;
use crate::net::udp::Sharing;
use crate::server::dhcp::boot_questions::BootQuestions;
use crate::server::dhcp::commands::released_by_hand;
use crate::server::dhcp::conflict_checks::WaitingMessage;
use crate::server::dhcp::delayed::DelayedSender;
use crate::server::dhcp::proxy::boot_engine;
use crate::store::{ClockMark, LeaseStore, MemoryStore, StoreError};
use crate::types::{Arch, ClientId, Firmware, HardwareAddr, MacAddr};
use crate::wire::dhcp::{BOOTREQUEST, Message, MessageType};
use crate::wire::option::code;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const CONFIG: &str = "dhcp: {mode: server, subnets: [{network: 127.0.0.0/8, pool: 127.77.0.50-127.77.0.99}]}";

/// A server on loopback without its loop, and a client's socket.
struct Bench {
    server: DhcpServer,
    client: std::net::UdpSocket,
}

impl Bench {
    fn new(store: Box<dyn LeaseStore>) -> Bench {
        let lo = interface::list().unwrap().into_iter().find(|interface| interface.loopback).unwrap();
        let config = config::load(CONFIG).unwrap();
        let settings = config.dhcp.clone().unwrap();
        let socket = DhcpSocket::bind(0, "dhcp.ports.server", Sharing::Alone).unwrap();
        let (socket, recorder) = (Arc::new(socket), Recorder::default());
        let clock = Clock::start();
        let changes = Snapshot::new(config, Served::new(vec![lo], [])).fixed();
        let served = Arc::clone(&changes.borrow().interfaces);
        let proxy = Proxy {
            engine: boot_engine(&settings),
            now: changes.clone(),
            files: ServedFiles::default(),
            known: MachineTable::default(),
            questions: BootQuestions::default(),
            senders: Default::default(),
            clock: Clock::start(),
            delayed: DelayedSender::start(recorder.clone()).unwrap(),
            recorder: recorder.clone(),
        };
        let server = DhcpServer {
            engine: Engine::new(Arc::clone(&settings), LeaseBook::new(settings.pools())),
            effects: Effects::new(),
            served,
            changes,
            proxy: Arc::new(proxy),
            committer: Committer::start(store, clock, Arc::clone(&socket), recorder.clone()).unwrap(),
            renewals: Renewals::default(),
            socket,
            checker: Checker::default(),
            clock,
            commands: Commands::default(),
            files: ServedFiles::default(),
            known: MachineTable::default(),
            recorder,
        };
        let client = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Bench { server, client }
    }

    /// Sends a message, lets the server handle it, and returns the drops so far.
    fn send(&mut self, message: &Message) -> Vec<(&'static str, u64)> {
        let port = self.server.socket.udp().local_addr().unwrap().port();
        self.client.send_to(&message.encode(), (Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut inbox = Inbox::default();
        while let Err(error) = inbox.receive(self.server.socket.udp()) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            std::thread::yield_now();
        }
        self.server.handle_batch(&inbox);
        self.server.recorder.drops()
    }

    fn receive(&self) -> Message {
        let mut bytes = [0; 1500];
        let len = self.client.recv(&mut bytes).expect("an answer");
        Message::decode(&bytes[..len]).unwrap()
    }

    /// Gives the committer leases that no message asked for.
    fn submit(&mut self, promises: Vec<Promise>) {
        for promise in &promises {
            assert!(self.server.engine.release(&promise.lease, &()), "there is room");
        }
        self.server.committer.submit(promises);
    }

    /// Waits for the next batch to be stored, and handles its outcome.
    fn wait_for_the_store(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(self.server.committer.outcome()).unwrap();
        self.server.committed(&outcome);
    }
}

/// A store whose commits wait until the sender is dropped.
struct Blocked(Receiver<()>);

impl LeaseStore for Blocked {
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError> {
        Ok((Vec::new(), 0))
    }

    fn commit(&mut self, _: &[Lease]) -> Result<(), StoreError> {
        let _ = self.0.recv();
        Ok(())
    }

    fn clock(&mut self) -> Result<Option<ClockMark>, StoreError> {
        Ok(None)
    }

    fn set_clock(&mut self, _: ClockMark, _: i64) -> Result<(), StoreError> {
        Ok(())
    }

    fn purge(&mut self, _: Timestamp) -> Result<usize, StoreError> {
        Ok(0)
    }
}

fn message(kind: MessageType, options: &[(u8, &[u8])]) -> Message {
    let mut message = Message::new(BOOTREQUEST);
    message.chaddr[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
    options.iter().for_each(|(code, value)| assert!(message.options.push(*code, value)));
    message
}

fn discover() -> Message {
    message(MessageType::Discover, &[])
}

fn select(address: Ipv4Addr) -> Message {
    let (address, server) = (address.octets(), Ipv4Addr::LOCALHOST.octets());
    message(MessageType::Request, &[(code::REQUESTED_ADDRESS, &address), (code::SERVER_IDENTIFIER, &server)])
}

fn only(reason: DropReason) -> Vec<(&'static str, u64)> {
    vec![(reason.name(), 1)]
}

#[test]
fn messages_on_interfaces_not_served_are_dropped() {
    let mut bench = Bench::new(Box::new(MemoryStore::default()));
    bench.server.served = Arc::default();
    assert_eq!(bench.send(&discover()), only(DropReason::NotServed));
    assert!(bench.server.engine.book.is_empty());
}

#[test]
fn where_the_mode_is_off_nothing_is_answered() {
    let mut bench = Bench::new(Box::new(MemoryStore::default()));
    let modes = &mut Arc::make_mut(&mut bench.server.engine.settings).modes;
    modes.by_interface.insert("lo".to_owned(), None);
    assert_eq!(bench.send(&discover()), only(DropReason::NotServed));
}

#[test]
fn without_the_store_there_is_no_ack_and_with_it_again_there_is() {
    let store = MemoryStore::default();
    let broken = store.failure_switch();
    let mut bench = Bench::new(Box::new(store));
    assert!(bench.send(&discover()).is_empty());
    let address = bench.receive().yiaddr;
    broken.store(true, Ordering::Relaxed);
    bench.send(&select(address));
    bench.wait_for_the_store();
    assert_eq!(bench.server.recorder.drops(), only(DropReason::StoreFailed));
    broken.store(false, Ordering::Relaxed);
    bench.send(&select(address));
    bench.wait_for_the_store();
    let ack = bench.receive();
    assert_eq!((ack.message_type(), ack.yiaddr), (Some(Ok(MessageType::Ack)), address));
    assert_eq!(bench.server.recorder.drops(), only(DropReason::StoreFailed));
}

#[test]
fn file_services_know_the_machine_at_a_leased_address() {
    let mut bench = Bench::new(Box::new(MemoryStore::default()));
    let known = bench.server.known.clone();
    bench.send(&discover());
    let address = bench.receive().yiaddr;
    let boots = |mut message: Message| {
        message.options.push(code::VENDOR_CLASS, b"PXEClient:Arch:00007:UNDI:003000");
        message.options.push(code::HOSTNAME, b"pc1");
        message
    };
    bench.send(&boots(select(address)));
    let machine = known.at(address.into()).machine;
    assert_eq!((machine.mac, machine.arch), (Some(MacAddr([2, 0, 0, 0, 0, 1])), Some(Arch::UEFI_X64)));
    assert_eq!(machine.host_name.as_deref(), Some("pc1"));
    // The machine's system renews, and then another machine's system gets the address.
    let mut renewal = message(MessageType::Request, &[]);
    renewal.ciaddr = address;
    bench.send(&renewal);
    assert_eq!(known.at(address.into()).machine, machine);
    bench.server.engine.book = LeaseBook::new(bench.server.engine.settings.pools());
    let mut other = select(address);
    other.chaddr[5] = 2;
    bench.send(&other);
    let found = known.at(address.into());
    assert_eq!(
        (found.machine, found.standing),
        (KnownMachine::default(), Standing::Contested),
        "off our wires"
    );
}

#[test]
fn f_11_a_lease_that_cannot_wait_for_the_disk_is_not_promised() {
    let (release, blocked) = channel();
    let mut bench = Bench::new(Box::new(Blocked(blocked)));
    bench.send(&discover());
    let address = bench.receive().yiaddr;
    let waiting = |n: usize| Promise {
        lease: Lease {
            address: Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + n as u32),
            holder: Holder {
                client: ClientId::of_mac(MacAddr([2, 1, 0, 0, 0, 0])),
                mac: None,
                is_boot_stage: false,
            },
            hardware: HardwareAddr::default(),
            state: State::Leased,
            until: Timestamp(0),
        },
        ended: vec![],
        reply: None,
        fallback: None,
        record: Context::unknown(Timestamp(0), "lo".into())
            .record(Event::Released { address, client: Client { firmware: Firmware::Other, arch: None } }),
    };
    bench.submit((0..MAX_WAITING).map(waiting).collect());
    assert_eq!(bench.send(&select(address)), only(DropReason::Overload));
    assert!(bench.send(&discover()) == only(DropReason::Overload), "an offer needs no disk");
    assert_eq!(bench.receive().yiaddr, address, "and the hold is as it was");
    drop(release);
    bench.wait_for_the_store();
    bench.send(&select(address));
    assert_eq!(bench.receive().message_type(), Some(Ok(MessageType::Ack)));
}

#[test]
fn s_16_a_renewal_is_answered_while_the_disk_stands_still() {
    let (release, blocked) = channel();
    let mut bench = Bench::new(Box::new(Blocked(blocked)));
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let address = Ipv4Addr::new(127, 77, 0, 60);
    let stored = |seconds| Lease {
        address,
        holder: Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false },
        hardware: mac.into(),
        state: State::Leased,
        until: Clock::start().now().after(Duration::from_secs(seconds)),
    };
    bench.server.engine.book.load(stored(300));
    let mut renewal = message(MessageType::Request, &[]);
    renewal.ciaddr = address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // The second request repeats the first, as if its answer was lost.
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(bench.send(&renewal), [], "nothing is dropped");
        let due = runtime.block_on(bench.server.renewals.overdue());
        assert!(due.len() == 1 && began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        deliver(&bench.server.socket, &bench.server.recorder, due);
        let ack = bench.receive();
        let time = ack.options.u32(code::LEASE_TIME).unwrap();
        assert_eq!((ack.message_type(), ack.yiaddr), (Some(Ok(MessageType::Ack)), address));
        assert!((290..=300).contains(&time), "no more than is stored: {time}");
    }
    // If no more leases may wait, the answer is sent at once.
    let room = bench.server.engine.room();
    let waiting =
        |_| released_by_hand(Lease { address: Ipv4Addr::new(127, 1, 0, 1), ..stored(0) }, None, Timestamp(0));
    bench.submit((0..room).map(waiting).collect());
    assert_eq!(bench.send(&renewal), []);
    assert_eq!(bench.receive().message_type(), Some(Ok(MessageType::Ack)));
    drop(release);
    bench.wait_for_the_store();
    let mut silent = [0; 600];
    bench.client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(bench.client.recv(&mut silent).is_err(), "each request has one answer");
}

#[test]
fn d_26_a_fault_stops_no_other_message() {
    let mut bench = Bench::new(Box::new(MemoryStore::default()));
    // No configuration allows this: the minimum lease time exceeds the maximum.
    let settings = Arc::make_mut(&mut bench.server.engine.settings);
    let lease = DEFAULT_LEASE;
    settings.subnets[0].level.lease = Some(LeaseTime { min: lease.max + Duration::from_secs(1), ..lease });
    let asks_for_a_time = message(MessageType::Discover, &[(code::LEASE_TIME, &60u32.to_be_bytes())]);
    assert_eq!(bench.send(&asks_for_a_time), only(DropReason::Fault));
    assert_eq!(bench.send(&discover()), only(DropReason::Fault));
    assert_eq!(bench.receive().message_type(), Some(Ok(MessageType::Offer)));
}

#[test]
fn a_reply_that_the_kernel_does_not_take_counts_as_dropped() {
    let bench = Bench::new(Box::new(MemoryStore::default()));
    let nowhere = Outgoing {
        payload: vec![0; 300],
        route: Route::Unicast(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1), 0)),
        interface: 0,
        server: Ipv4Addr::LOCALHOST,
        received: Instant::now(),
    };
    let client = Client { firmware: Firmware::Other, arch: None };
    let offer = Event::Answered {
        message: crate::event::Message::Offer,
        address: Ipv4Addr::new(127, 77, 0, 50),
        client,
        file: None,
        note: None,
    };
    let offer =
        Delivery { reply: nowhere, record: Context::unknown(Timestamp(0), "lo".into()).record(offer) };
    deliver(&bench.server.socket, &bench.server.recorder, vec![offer]);
    assert_eq!(bench.server.recorder.drops(), only(DropReason::SendFailed));
}

/// A message that waits for 127.77.0.50 to be checked.
fn waiting(bench: &mut Bench) -> WaitingMessage {
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let holder = Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false };
    let (address, until) = (Ipv4Addr::new(127, 77, 0, 50), bench.server.clock.now().after(OFFER_HOLD));
    bench.server.engine.book.apply(&LeaseChange::Hold { address, holder, state: State::Checking, until });
    let interface = bench.server.served.interfaces().next().unwrap().index;
    let source = bench.client.local_addr().unwrap();
    let SocketAddr::V4(source) = source else { panic!() };
    let (destination, local) = (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
    let bytes = discover().encode();
    WaitingMessage {
        envelope: Envelope {
            len: bytes.len(),
            source,
            interface,
            destination,
            local,
            waited: Duration::ZERO,
        },
        bytes,
    }
}

#[test]
fn rfc2131_3_1_no_offer_after_the_client_chose_another_server() {
    let mut bench = Bench::new(Box::new(MemoryStore::default()));
    let (waiting, address) = (waiting(&mut bench), Ipv4Addr::new(127, 77, 0, 50));
    let to_other: [(u8, &[u8]); 2] = [(code::SERVER_IDENTIFIER, &[127, 0, 0, 9]), (50, &[127, 0, 0, 7])];
    assert_eq!(bench.send(&message(MessageType::Request, &to_other)), only(DropReason::OtherServer));
    assert_eq!(bench.server.engine.book.binding(address).unwrap().state, State::Released);
    bench.server.address_checked(address, &waiting, None);
    assert_eq!(bench.server.recorder.drops(), [(DropReason::OtherServer.name(), 2)]);
    bench.client.set_nonblocking(true).unwrap();
    assert!(bench.client.recv(&mut [0; 600]).is_err(), "no late offer");
}

#[test]
fn a_message_whose_interface_went_while_its_address_was_checked_is_dropped_with_a_reason() {
    let mut bench = Bench::new(Box::new(MemoryStore::default()));
    let waiting = waiting(&mut bench);
    bench.server.served = Arc::default();
    let address = Ipv4Addr::new(127, 77, 0, 50);
    bench.server.address_checked(
        address,
        &waiting,
        Some(ProbeAnswer { address, by: None, from: None, asks: false }),
    );
    assert_eq!(bench.server.recorder.drops(), only(DropReason::NotServed));
}

#[test]
fn s_02_a_request_waits_for_the_check_of_its_clients_decline() {
    let mut bench = Bench::new(Box::new(MemoryStore::default()));
    bench.send(&discover());
    let address = bench.receive().yiaddr;
    let (server, ip) = (Ipv4Addr::LOCALHOST.octets(), address.octets());
    let decline =
        message(MessageType::Decline, &[(code::SERVER_IDENTIFIER, &server), (code::REQUESTED_ADDRESS, &ip)]);
    let check = |bench: &mut Bench| {
        let template = waiting(&mut Bench::new(Box::new(MemoryStore::default())));
        let SocketAddr::V4(source) = bench.client.local_addr().unwrap() else { panic!() };
        let waiting =
            WaitingMessage { envelope: Envelope { source, ..template.envelope }, bytes: decline.encode() };
        assert!(bench.server.begin_decline(address, 1, waiting));
    };
    // A client that takes the offer did not send the DECLINE.
    check(&mut bench);
    assert_eq!(bench.send(&select(address)), only(DropReason::DeclineUnfounded));
    assert_eq!(bench.receive().message_type(), Some(Ok(MessageType::Ack)));
    bench.wait_for_the_store();
    // A message after the ACK may mean that the client looks for another address.
    check(&mut bench);
    bench.send(&discover());
    bench.client.set_nonblocking(true).unwrap();
    assert!(bench.client.recv(&mut [0; 600]).is_err(), "the offer depends on the check");
    let drops = bench.send(&discover());
    assert!(drops.contains(&(DropReason::Checking.name(), 1)), "the first copy gives way: {drops:?}");
    bench.client.set_nonblocking(false).unwrap();
    let declining = bench.server.checker.take_decline(address).unwrap();
    bench.server.decline_checked(address, declining);
    let other = bench.receive();
    assert_eq!(other.message_type(), Some(Ok(MessageType::Offer)));
    assert_ne!(other.yiaddr, address);
    assert_eq!(bench.server.engine.book.binding(address).unwrap().state, State::Declined);
}
