//! What an exchange costs without network and disk: `cargo bench --bench decide`.
//!
//! Decodes, classifies, decides, applies and encodes DISCOVER and REQUEST of 250,000 clients behind a relay agent, and
//! prints the nanoseconds of an exchange five times over.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use lanboot::boot::plan::Mode;
use lanboot::config;
use lanboot::dhcp::decide::{Decision, decide};
use lanboot::dhcp::request::classify;
use lanboot::dhcp::subnet::{Arrival, Settings};
use lanboot::lease::{LeaseBook, LeaseChange};
use lanboot::types::Timestamp;
use lanboot::wire::dhcp::{BOOTREQUEST, Message, MessageType};
use lanboot::wire::option::code;

const CLIENTS: u32 = 250_000;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
const CONFIG: &str = "dhcp: {mode: server, conflict_check: off, subnets: [{network: 10.64.0.0/13, \
    pool: 10.65.0.0-10.69.255.255, lease: 1d, options: {router: 10.64.0.1, dns: 10.64.0.1}}]}";

fn main() {
    let settings = config::load(CONFIG).expect("it is right").dhcp.expect("it has a DHCP server");
    for _ in 0..5 {
        let mut book = LeaseBook::new(settings.pools());
        let took: Duration = (0..CLIENTS).map(|n| exchange(n, &mut book, &settings)).sum();
        println!("{} ns an exchange", took.as_nanos() / u128::from(CLIENTS));
    }
}

/// How long the server works for client `n`.
fn exchange(n: u32, book: &mut LeaseBook, settings: &Settings) -> Duration {
    let discover = message(n, MessageType::Discover, &[]);
    let began = Instant::now();
    let offer = answer(&discover, book, settings);
    let took = began.elapsed();
    let address = Message::decode(&offer).expect("an offer").yiaddr;
    let taken: [(u8, &[u8]); 2] =
        [(code::REQUESTED_ADDRESS, &address.octets()), (code::SERVER_IDENTIFIER, &SERVER.octets())];
    let request = message(n, MessageType::Request, &taken);
    let began = Instant::now();
    black_box(answer(&request, book, settings));
    took + began.elapsed()
}

/// What the server does with a message, and the answer.
fn answer(bytes: &[u8], book: &mut LeaseBook, settings: &Settings) -> Vec<u8> {
    let arrival = Arrival {
        interface: "eth1".into(),
        addresses: [SERVER].into(),
        networks: [].into(),
        destination: SERVER,
        source: SocketAddrV4::new(Ipv4Addr::new(10, 64, 0, 2), 67),
        mtu: 1500,
        loopback: false,
        mode: Mode::Server,
        boot_service: false,
    };
    let now = Timestamp::from_seconds(1_800_000_000);
    let message = Message::decode(bytes).expect("a message");
    let request = classify(&message, &arrival, settings).expect("it is for us");
    let Decision::Answer { change, reply, .. } = decide(&request, book, settings, now) else {
        panic!("it is answered");
    };
    change.iter().for_each(|change| book.apply(change));
    if let Some(LeaseChange::Store(lease)) = change {
        book.stored(&lease, now);
    }
    reply.encode()
}

fn message(n: u32, kind: MessageType, options: &[(u8, &[u8])]) -> Vec<u8> {
    let [a, b, c, d] = n.to_be_bytes();
    let mut message = Message::new(BOOTREQUEST);
    message.giaddr = Ipv4Addr::new(10, 64, 0, 2);
    message.chaddr[..6].copy_from_slice(&[2, 0, a, b, c, d]);
    message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
    options.iter().for_each(|(code, value)| _ = message.options.push(*code, value));
    message.options.push(code::PARAMETER_REQUEST_LIST, &[1, 3, 6, 12, 15, 28, 66, 67]);
    message.options.push(code::CLIENT_IDENTIFIER, &[1, 2, 0, a, b, c, d]);
    message.encode()
}
