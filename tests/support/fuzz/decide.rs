//! Decisions about one message when other clients hold leases in the book.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lanboot::boot::plan::Mode;
use lanboot::boot::policy::{Choice, Content};
use lanboot::config;
use lanboot::dhcp::arrival::Arrival;
use lanboot::dhcp::classify::{classify, recognize};
use lanboot::dhcp::conflict::DECLINED_SHARE;
use lanboot::dhcp::engine::{
    AddressInUse, DeclineProbe, Effect, Effects, Engine, FileFacts, MissingFile, OutgoingReply, Outside,
    Promise,
};
use lanboot::dhcp::proxy;
use lanboot::dhcp::request::{Ask, Probed, Request};
use lanboot::dhcp::settings::{Authoritative, Settings};
use lanboot::event::{DropReason, Event, Record};
use lanboot::lease::{Binding, FOREVER, Holder, Lease, LeaseBook, LeaseChange, OFFER_HOLD, State};
use lanboot::types::{ClientId, HardwareAddr, Ipv4Network, MacAddr, Timestamp};
use lanboot::wire::dhcp::{COOKIE, Message, MessageType};

use super::bytes::Bytes;
use super::reply;

const CONFIG: &str = "
dhcp:
  mode: server
  bootp: dynamic
  subnet_selection: true
  fqdn_suffix: lab.example
  subnets:
    - network: 192.168.77.0/24
      pool: [192.168.77.50-192.168.77.57, 192.168.77.10]
      lease: {default: 1h, min: 2m, max: 12h}
      boot_lease: 5m
      shared_network: lab
      options:
        router: 192.168.77.1
        dns: [192.168.77.1, 1.1.1.1]
        domain: lab.example
        ntp: 192.168.77.1
        domain-search: [lab.example, example.org]
        classless_routes: [{to: 0.0.0.0/0, via: 192.168.77.254}]
        108: 1800
        224: 'text:LONG'
    - {network: 192.168.78.0/28, pool: 192.168.78.1-192.168.78.14, lease: 1h, shared_network: lab}
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.55, lease: 10m, relays: [10.9.9.1]}
  options: {interface_mtu: 1400, 209: 'text:x.cfg'}
  classes:
    - match: {vendor_class: acme}
      options: {domain: acme.example, 226: 'text:acme'}
      boot: acme.efi
boot:
  arch: {bios: undionly.kpxe, uefi-x64: snponly.efi, uefi-x64-http: 'http://{server}/a.efi'}
  ipxe: boot.ipxe
machines:
  - {name: node1, mac: '02:00:00:00:00:c8', address: 192.168.77.10, options: {hostname: node1}}
  - {name: node2, mac: '02:00:00:00:00:c9', address: 10.1.0.9, boot: own.efi}
  - {name: node3, uuid: 01020304-0506-0708-090a-0b0c0d0e0f10, address: 192.168.77.11}
";

/// More addresses than a wire has. Each is checked at most once for a message.
const MOST_CHECKS: usize = 40;
/// The current time in every run.
const NOW: Timestamp = Timestamp(1_000_000_000);

/// Boot files without any known facts.
pub struct NoFiles;

impl FileFacts for NoFiles {
    fn content_of(&self, _: &Choice, _: &Message, _: Ipv4Addr) -> Content {
        Content::Unknown
    }

    fn size(&self, _: &Choice, _: &Message) -> Option<u64> {
        None
    }

    fn missing(&self, _: &Choice, _: &Message, _: Ipv4Addr) -> Option<MissingFile> {
        None
    }
}

/// No boot file is known, and no machine is looked up.
const OUTSIDE: Outside<'_> = Outside { files: &NoFiles, machines: &() };

fn settings() -> &'static Arc<Settings> {
    static SETTINGS: OnceLock<Arc<Settings>> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let yaml = CONFIG.replace("LONG", &"long".repeat(70));
        let config = config::load(&yaml).unwrap_or_else(|problems| panic!("{problems:?}"));
        config.dhcp.expect("a DHCP server")
    })
}

pub fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

pub fn holder(n: u8) -> Holder {
    Holder { client: ClientId::of_mac(mac(n)), mac: Some(mac(n)), is_boot_stage: n.is_multiple_of(2) }
}

/// Clients 1 to 10 in every state, and machines with their own addresses.
fn book(settings: &Settings) -> LeaseBook {
    let mut book = LeaseBook::new(settings.pools());
    let at = |seconds: i64| Timestamp(NOW.0.saturating_add_signed(seconds * 1000));
    let rows = [
        (1, [192, 168, 77, 50], State::Leased, at(1800)),
        (2, [192, 168, 77, 51], State::Leased, at(-60)),
        (3, [192, 168, 77, 52], State::Declined, at(300)),
        (4, [192, 168, 77, 53], State::Released, at(-5)),
        (5, [192, 168, 78, 1], State::Leased, at(3000)),
        (6, [10, 1, 0, 50], State::Leased, at(500)),
        (7, [10, 1, 0, 51], State::Leased, FOREVER),
        (0xc8, [192, 168, 77, 10], State::Leased, at(100)),
    ];
    for (n, address, state, until) in rows {
        let lease = Lease {
            address: address.into(),
            holder: holder(n),
            hardware: HardwareAddr::default(),
            state,
            until,
        };
        assert!(book.load(lease));
    }
    let holds = [
        (8, [192, 168, 77, 54], State::Offered, at(20)),
        (9, [192, 168, 77, 55], State::Checking, at(20)),
        (10, [192, 168, 77, 56], State::Offered, at(-20)),
    ];
    for (n, address, state, until) in holds {
        book.apply(&LeaseChange::Hold { address: address.into(), holder: holder(n), state, until });
    }
    book
}

/// The bytes select the arrival of the message and whether addresses are checked. The message follows, raw or built
/// from choices.
pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let how = bytes.u8();
    let arrival = arrival(&mut bytes);
    let packet = if how & 1 == 0 { bytes.0.to_vec() } else { structured(&mut bytes) };
    let mut settings = Arc::clone(settings());
    if how & 6 != 0 {
        let own = Arc::make_mut(&mut settings);
        own.conflict_check = (how & 2 != 0).then_some(Duration::from_millis(500));
        own.authoritative = if how & 4 == 0 { Authoritative::Yes } else { Authoritative::No };
        own.always_broadcast = how & 4 != 0;
    }
    proxied(&packet, &arrival, &settings);
    let book = book(&settings);
    let Ok(message) = Message::decode(&packet) else { return refused(&packet, &arrival, &settings, book) };
    if proxy::is_for_us(&message, &arrival) {
        return;
    }
    let Ok(mut request) = classify(&message, &arrival, &settings) else {
        return refused(&packet, &arrival, &settings, book);
    };
    recognize(&mut request, &book, &settings, NOW);
    one(&packet, &mut request, Engine::new(Arc::clone(&settings), book), how & 8 != 0);
}

/// A message that is not for us has no effect except its log record.
fn refused(packet: &[u8], arrival: &Arrival, settings: &Arc<Settings>, book: LeaseBook) {
    let mut engine = Engine::new(Arc::clone(settings), book);
    let (before, mut effects) = (Bindings::of(&engine.book), Effects::new());
    engine.handle(packet, arrival, OUTSIDE, NOW, &mut effects);
    assert!(
        matches!(effects.make_contiguous(), [Effect::Record(Record { event: Event::Dropped { .. }, .. })]),
        "{effects:?}"
    );
    assert_eq!(Bindings::of(&engine.book), before);
}

/// The same message beside another DHCP server, and at the boot service. No answer gives or confirms an address.
fn proxied(packet: &[u8], arrival: &Arrival, settings: &Arc<Settings>) {
    for boot_service in [false, true] {
        let arrival = Arrival { mode: Mode::Proxy, boot_service, ..arrival.clone() };
        let mut engine = Engine::new(Arc::clone(settings), LeaseBook::new(vec![]));
        let mut effects = Effects::new();
        engine.handle(packet, &arrival, OUTSIDE, NOW, &mut effects);
        for effect in effects {
            let reply = match effect {
                Effect::Record(_) => continue,
                Effect::Send { reply: OutgoingReply { message, .. }, .. } => message,
                other => panic!("a proxy decides on no lease: {other:?}"),
            };
            let message = Message::decode(packet).expect("it is answered");
            reply::check(&message, &arrival, &reply);
            assert!(reply.yiaddr.is_unspecified() && reply.options.u32(51).is_none());
            let kind = if boot_service { MessageType::Ack } else { MessageType::Offer };
            assert_eq!(reply.message_type(), Some(Ok(kind)));
            assert!(boot_service || message.message_type() == Some(Ok(MessageType::Discover)));
        }
    }
}

/// The addresses of the configuration, as the book has them.
#[derive(Clone, PartialEq, Debug)]
struct Bindings(BTreeMap<Ipv4Addr, Binding>);

impl Bindings {
    fn of(book: &LeaseBook) -> Bindings {
        let host = |a, b, c| move |d| Ipv4Addr::new(a, b, c, d);
        let pools = (50..=57).chain([10, 11]).map(host(192, 168, 77)).chain((1..=14).map(host(192, 168, 78)));
        let all = pools.chain((50..=55).chain([9]).map(host(10, 1, 0)));
        Bindings(all.filter_map(|address| Some((address, book.binding(address)?.clone()))).collect())
    }

    fn binding(&self, address: Ipv4Addr) -> Option<&Binding> {
        self.0.get(&address)
    }
}

fn arrival(bytes: &mut Bytes<'_>) -> Arrival {
    let server = Ipv4Addr::new(192, 168, 77, 1);
    let relayed = Ipv4Addr::new(10, 9, 9, 254);
    let how = bytes.u8();
    let addresses: &[Ipv4Addr] = match how & 3 {
        0 => &[server],
        1 => &[relayed, server],
        2 => &[Ipv4Addr::new(10, 1, 0, 1)],
        _ => &[Ipv4Addr::new(172, 16, 0, 1)],
    };
    let source = match how >> 2 & 3 {
        0 => Ipv4Addr::UNSPECIFIED,
        1 => Ipv4Addr::new(192, 168, 77, 50),
        2 => Ipv4Addr::new(10, 9, 9, 1),
        _ => Ipv4Addr::new(192, 168, 77, 50 + (how >> 4 & 7)),
    };
    Arrival {
        interface: "eth1".into(),
        addresses: addresses.into(),
        networks: addresses.iter().filter_map(|address| Ipv4Network::new(*address, 24)).collect(),
        destination: if how & 64 == 0 { Ipv4Addr::BROADCAST } else { addresses[0] },
        source: SocketAddrV4::new(source, 68),
        mtu: [1500, 576, 296, 9000][usize::from(how >> 5 & 3)],
        loopback: how >= 0xf0,
        mode: Mode::Server,
        boot_service: false,
        waited: Duration::ZERO,
    }
}

/// A message that passes the first checks: a known client, meaningful addresses, and options of any length.
fn structured(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let addresses = [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::new(192, 168, 77, 50),
        Ipv4Addr::new(192, 168, 77, 53),
        Ipv4Addr::new(192, 168, 77, 57),
        Ipv4Addr::new(192, 168, 77, 10),
        Ipv4Addr::new(192, 168, 77, 1),
        Ipv4Addr::new(192, 168, 77, 255),
        Ipv4Addr::new(192, 168, 78, 1),
        Ipv4Addr::new(192, 168, 78, 15),
        Ipv4Addr::new(10, 1, 0, 50),
        Ipv4Addr::new(10, 1, 0, 9),
        Ipv4Addr::new(10, 9, 9, 1),
        Ipv4Addr::new(172, 16, 0, 9),
    ];
    let mut message = Message::new(1);
    message.xid = bytes.u32();
    message.flags = bytes.pick(&[0, 0x8000]);
    let client = bytes.pick(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0xc8, 0xc9]);
    message.chaddr[..6].copy_from_slice(&mac(client).0);
    (message.htype, message.hlen) = bytes.pick(&[(1, 6), (1, 6), (1, 6), (1, 0), (32, 16), (6, 8)]);
    message.ciaddr = bytes.pick(&addresses[..]);
    let relays = [[0; 4], [0; 4], [10, 1, 0, 1], [10, 9, 9, 1], [192, 168, 78, 1], [9, 9, 9, 9]];
    message.giaddr = Ipv4Addr::from(bytes.pick(&relays));
    let mut out = message.encode();
    out.truncate(236);
    out.extend_from_slice(&COOKIE);
    let kind = bytes.u8() % 12;
    if kind > 0 {
        out.extend_from_slice(&[53, 1, kind]);
    }
    while !bytes.is_empty() {
        let (code, tagged) = (bytes.u8(), bytes.u8());
        let mut option = |code: u8, value: &[u8]| {
            out.extend_from_slice(&[code, value.len() as u8]);
            out.extend_from_slice(value);
        };
        match code {
            0..=9 => option(50, &addresses[usize::from(tagged) % addresses.len()].octets()),
            10..=15 => option(54, &addresses[usize::from(tagged) % addresses.len()].octets()),
            16..=20 => {
                option(60, [&b"PXEClient:Arch:00007"[..], b"HTTPClient", b"acme"][usize::from(tagged) % 3]);
            }
            21..=25 => option(93, &[0, tagged % 32]),
            26..=29 => option(77, [&b"iPXE"[..], b"\x04iPXE", b""][usize::from(tagged) % 3]),
            30..=32 => option(57, &[tagged, 0]),
            33..=35 => option(97, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
            36..=38 => option(82, &[5, 4, 192, 168, 77, 0, 11, 4, 10, 1, 0, tagged]),
            39..=41 => option(118, &[192, 168, 78, 0]),
            _ => option(code, bytes.take(usize::from(tagged))),
        }
    }
    out.push(255);
    out
}

/// Drives the engine until there is an answer or silence, as the shell does. Checks the result against `request`, which
/// is the same message after decoding.
fn one(packet: &[u8], request: &mut Request<'_>, mut engine: Engine, in_use: bool) {
    let settings = Arc::clone(&engine.settings);
    let from = (packet, request.arrival);
    engine.book.expire(NOW);
    let (mut before, mut effects, mut checked) = (Bindings::of(&engine.book), Effects::new(), vec![]);
    engine.handle(packet, request.arrival, OUTSIDE, NOW, &mut effects);
    while let Some(effect) = effects.pop_front() {
        match effect {
            Effect::Record(Record {
                event: Event::Dropped { reason: DropReason::TooManyDeclined, .. },
                ..
            }) if !effects.is_empty() => {
                // For an address that was checked.
            }
            Effect::Record(Record { event: Event::Dropped { .. }, .. }) => {
                silently(request, &before, &engine.book, checked.last());
            }
            Effect::Record(_) => {}
            Effect::CheckDecline { address, .. } => {
                let other = AddressInUse { address, by: Some(mac(99)), from: None };
                let probe = DeclineProbe { other: in_use.then_some(other), ..DeclineProbe::default() };
                engine.declined(probe, from, OUTSIDE, NOW, &mut effects);
            }
            Effect::CheckAddress { address, hold, .. } => {
                assert!(settings.conflict_check.is_some() && !request.arrival.loopback);
                before = Bindings::of(&engine.book);
                assert_available(request, address, &before, &settings);
                checked.push(address);
                // The holder's answer counts for one decision only, so the engine may ask again.
                request.probed = None;
                assert!(
                    checked.len() < MOST_CHECKS,
                    "one message had too many addresses checked: {request:?}"
                );
                engine.hold(&hold);
                assert_eq!(engine.book.binding(address).map(|b| b.state), Some(State::Checking));
                before = Bindings::of(&engine.book);
                let heard = in_use.then_some(AddressInUse { address, by: None, from: None });
                engine.checked((address, heard), from, OUTSIDE, NOW, &mut effects);
            }
            Effect::AskHolder { address, .. } => {
                assert!(settings.conflict_check.is_some() && !request.arrival.loopback);
                assert!(request.probed.is_none(), "{address} is asked for twice");
                let held = engine.book.binding(address).filter(|b| b.state == State::Leased && b.until > NOW);
                assert!(held.is_some_and(|b| b.holder.shares_id(&request.holder)));
                request.probed = Some(Probed { address, in_use });
                before = Bindings::of(&engine.book);
                let heard = in_use.then_some(AddressInUse { address, by: None, from: None });
                engine.checked((address, heard), from, OUTSIDE, NOW, &mut effects);
            }
            Effect::Send { reply: OutgoingReply { message, .. }, .. } => {
                reply::check(request.message, request.arrival, &message);
                given(request, &message, None, (&before, &engine.book), &settings);
            }
            Effect::Store(Promise {
                lease,
                record: Record { event: Event::Conflict { address, .. }, .. },
                ..
            }) => {
                assert!(lease.state == State::Declined && checked.last() == Some(&address));
                out_of_use(&lease, &engine.book);
            }
            Effect::Store(Promise { lease, ended, reply: Some(reply), .. }) => {
                reply::check(request.message, request.arrival, &reply.message);
                given(request, &reply.message, Some((lease, ended)), (&before, &engine.book), &settings);
            }
            Effect::Store(promise) => freed(request, &promise.lease, &before, &engine.book),
            Effect::AwaitDecline { .. } | Effect::EndDecline { .. } => {
                unreachable!("a DECLINE is decided on at once")
            }
        }
    }
}

/// Without an answer the book may change in two ways. An offer that the client does not take is removed, or an address
/// that the client held and declines is out of use for a while. Changes of the address that was `checked` last are
/// tested earlier.
fn silently(request: &Request<'_>, before: &Bindings, book: &LeaseBook, checked: Option<&Ipv4Addr>) {
    let after = Bindings::of(book);
    assert!(before.0.keys().all(|address| after.0.contains_key(address)), "a binding is gone");
    for (address, binding) in &after.0 {
        let held = before.binding(*address);
        if held == Some(binding) || checked == Some(address) {
            continue;
        }
        let held = held.filter(|b| b.holder.is_same_machine(&request.holder));
        let held = held.unwrap_or_else(|| panic!("{address} is not this client's"));
        match binding.state {
            State::Declined => {
                assert!(matches!(request.ask, Ask::Decline { .. }));
                assert!(binding.until <= NOW.after(OFFER_HOLD) && held.is_live(NOW));
            }
            _ => assert!(matches!(held.state, State::Checking | State::Offered)),
        }
    }
}

/// Asserts that the client may have the address: it is a host address on the client's wire, it is reserved for no other
/// machine, and no other client holds it.
fn assert_available(request: &Request<'_>, address: Ipv4Addr, book: &Bindings, settings: &Settings) {
    let subnet = settings.wire_of(request.subnet).find(|i| settings.subnets[*i].network.contains(address));
    let subnet = &settings.subnets[subnet.unwrap_or_else(|| panic!("{address} is not of the client's wire"))];
    assert!(subnet.network.has_host(address), "{address} is the network's or its broadcast address");
    let reserved = settings.machines.iter().find(|machine| machine.addresses.contains(&address));
    match reserved {
        Some(machine) => assert_eq!(Some(machine), request.machine, "{address} is reserved"),
        None => assert!(subnet.pool_of(address).is_some(), "{address} is in no pool"),
    }
    if let Some(binding) = book.binding(address).filter(|binding| binding.until > NOW) {
        let gives_way = binding.state == State::Offered && !binding.leased;
        assert!(
            gives_way
                || binding.holder.is_same_machine(&request.holder)
                || is_taken_over(request, binding, address, settings),
            "{address} is held by {binding:?}"
        );
        assert!(binding.state != State::Declined, "{address} is out of use");
    }
}

/// Whether the lease belongs to another MAC with the same client identifier, and that machine did not answer.
fn is_taken_over(request: &Request<'_>, binding: &Binding, address: Ipv4Addr, settings: &Settings) -> bool {
    let never_asks = settings.conflict_check.is_none() || request.arrival.loopback;
    let is_silent = request.probed.is_some_and(|probed| probed.address == address && !probed.in_use);
    binding.state == State::Leased && binding.holder.shares_id(&request.holder) && (never_asks || is_silent)
}

/// Checks `reply`, the lease that is stored before it is sent, and the leases that end with it. The book is given as it
/// was before and as it is now.
fn given(
    request: &Request<'_>,
    reply: &Message,
    stored: Option<(Lease, Vec<Lease>)>,
    (before, book): (&Bindings, &LeaseBook),
    settings: &Settings,
) {
    let address = reply.yiaddr;
    let kind = reply.message_type().and_then(Result::ok);
    if address.is_unspecified() {
        let knows_it = request.ask == Ask::Bootp && !request.message.ciaddr.is_unspecified();
        let no_address = kind == Some(MessageType::Nak) || request.ask == Ask::Inform || knows_it;
        return assert!(no_address && stored.is_none(), "{kind:?} without an address");
    }
    assert_available(request, address, before, settings);
    let leased =
        || book.binding(address).filter(|b| b.holder.is_same_machine(&request.holder) && b.until > NOW);
    match kind {
        Some(MessageType::Ack) => {
            let (lease, ended) = stored.expect("an ACK without a commit");
            for other in ended {
                assert!(other.address != address && other.state == State::Released);
                let held = before.binding(other.address).expect("a lease that ends");
                assert!(held.state == State::Leased && held.holder.mac == request.holder.mac);
            }
            stores(&lease, request, address);
            let seconds = reply.options.u32(51).expect("checked before");
            assert!(lease.until >= NOW.after(Duration::from_secs(seconds.into())), "stored for too short");
        }
        Some(MessageType::Offer) => {
            assert!(stored.is_none(), "an OFFER is no promise: {stored:?}");
            let Some(binding) = leased() else {
                let other = book.binding(address).expect("a lease");
                return assert!(is_taken_over(request, other, address, settings) && other.until > NOW);
            };
            assert!(matches!(binding.state, State::Offered | State::Leased), "it is held");
        }
        None => match stored {
            Some((lease, _)) => {
                stores(&lease, request, address);
                assert_eq!(lease.until, FOREVER);
            }
            None => {
                let reserved = request.machine.is_some_and(|machine| machine.addresses.contains(&address));
                let stored = leased().is_some_and(|b| b.stored == Some(FOREVER) && b.until == FOREVER);
                assert!(reserved || stored, "an address for good that is written nowhere");
            }
        },
        other => panic!("{other:?} with an address"),
    }
}

fn stores(lease: &Lease, request: &Request<'_>, address: Ipv4Addr) {
    assert_eq!((lease.address, lease.state), (address, State::Leased));
    // If a booting stage ever had the address, that information stays.
    let is_boot_stage = request.holder.is_boot_stage || lease.holder.is_boot_stage;
    assert_eq!(lease.holder, Holder { is_boot_stage, ..request.holder.clone() });
}

/// A RELEASE or DECLINE frees only an address that the client holds, and never too much of a pool.
fn freed(request: &Request<'_>, lease: &Lease, before: &Bindings, book: &LeaseBook) {
    let held =
        before.binding(lease.address).filter(|b| b.holder.is_same_machine(&request.holder) && b.until > NOW);
    let held = held.unwrap_or_else(|| panic!("{lease:?} is not this client's"));
    match lease.state {
        State::Released => {
            assert!(held.state == State::Leased && lease.until <= NOW.after(Duration::from_secs(1)));
        }
        State::Declined => {
            assert!(matches!(held.state, State::Leased | State::Offered));
            out_of_use(lease, book);
        }
        other => panic!("{other:?}"),
    }
}

/// Asserts that not too much of the pool of the declined `lease` is out of use.
fn out_of_use(lease: &Lease, book: &LeaseBook) {
    let subnet = book.pool_of(lease.address).expect("a subnet");
    let (declined, size) = (book.declined(subnet, NOW) as u64, book.pool_size(subnet));
    assert!(declined <= (size / DECLINED_SHARE).max(1), "too many declined");
}
