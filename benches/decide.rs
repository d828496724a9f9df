//! Measures the CPU time of a DHCP exchange, without network and disk: `cargo bench --bench decide`.
//!
//! The benchmark sends the engine a DISCOVER and a REQUEST from each of 250,000 clients behind a relay agent, and
//! encodes the replies. It prints the nanoseconds per exchange, five times: for one subnet, for a configuration of
//! 50 classes, 20 subnets and 5,000 machines, and again for one subnet with the records of each exchange counted, and
//! with a reader of the records as the API has one.
//!
//! `cargo bench --bench decide -- WORD` runs only those with that word. The cost of counting in instructions:
//!
//! ```text
//! perf stat -e instructions:u target/release/deps/decide-… discarded
//! perf stat -e instructions:u target/release/deps/decide-… counted
//! ```

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanboot::boot::plan::Mode;
use lanboot::boot::policy::{Choice, Content};
use lanboot::config;
use lanboot::dhcp::arrival::Arrival;
use lanboot::dhcp::engine::{Effect, Effects, Engine, FileFacts, MissingFile, Outcome, Outside};
use lanboot::event::Record;
use lanboot::lease::LeaseBook;
use lanboot::record::{MAX_QUEUED, Recorder};
use lanboot::types::Timestamp;
use lanboot::wire::dhcp::{BOOTREQUEST, Message, MessageType};
use lanboot::wire::option::code;

const CLIENTS: u32 = 250_000;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
const CONFIG: &str = "dhcp: {mode: server, conflict_check: off, subnets: [{network: 10.64.0.0/13, \
    pool: 10.65.0.0-10.69.255.255, lease: 1d, options: {router: 10.64.0.1, dns: 10.64.0.1}}]}";

/// A configuration with the same pool for the same clients, and with many classes, subnets and machines.
fn rich_in_classes() -> String {
    let conditions = |n: usize| match n % 5 {
        0 => format!("vendor_class: vendor{n}"),
        1 => format!("user_class: '*class{n}'"),
        2 => format!("option.224: 'hex:{n:02x}?0', not: {{class: class{}}}", n - 1),
        3 => format!("circuit_id: 'ge-{n}/*'"),
        _ => format!("class: [class{}, pxe], mac: '06:{n:02x}'", n - 1),
    };
    let classes: String =
        (0..50).map(|n| format!("    - {{name: class{n}, match: {{{}}}}}\n", conditions(n))).collect();
    let subnet = |n: usize| {
        format!(
            "    - {{network: 10.{n}.0.0/16, pool: 10.{n}.1.0-10.{n}.1.99, pools: [{{range: 10.{n}.2.0-10.{n}.2.99, \
             class: class{n}}}]}}\n"
        )
    };
    let subnets: String = (1..20).map(subnet).collect();
    let machines: String = (0..5000)
        .map(|n| {
            format!("  - {{mac: '06:00:00:00:{:02x}:{:02x}', class: class{}}}\n", n / 256, n % 256, n % 50)
        })
        .collect();
    format!(
        "dhcp:\n  mode: server\n  conflict_check: off\n  subnets:\n{subnets}    - {{network: 10.64.0.0/13, lease: 1d, \
         pool: 10.65.0.0-10.69.255.255, options: {{router: 10.64.0.1, dns: 10.64.0.1}}}}\n  classes:\n{classes}machines:\n\
         {machines}"
    )
}

/// Facts for a server without boot files.
struct NoFiles;

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

/// The engine under test, and the arrival that all messages have.
struct Server {
    engine: Engine,
    effects: Effects,
    arrival: Arrival,
    /// Counts the records; `None` discards them.
    recorder: Option<Recorder>,
}

/// Reads the records every 50 ms, forever, as the API does.
fn follow(recorder: &Recorder) {
    let records = recorder.subscribe(MAX_QUEUED);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        loop {
            black_box(runtime.block_on(records.next()));
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

fn main() {
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
        waited: Duration::ZERO,
    };
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let (counting, followed) = (Recorder::default(), Recorder::default());
    let rich = rich_in_classes();
    for (name, text, recorder) in [
        ("one subnet, records discarded", CONFIG, None),
        ("50 classes, records discarded", rich.as_str(), None),
        ("one subnet, records counted", CONFIG, Some(counting)),
        ("one subnet, records followed", CONFIG, Some(followed.clone())),
    ] {
        if !name.contains(wanted.as_str()) {
            continue;
        }
        if name.contains("followed") {
            follow(&followed);
        }
        let settings = config::load(text).expect("it is right").dhcp.expect("it has a DHCP server");
        let settings = Arc::new(settings);
        for _ in 0..5 {
            let engine = Engine::new(Arc::clone(&settings), LeaseBook::new(settings.pools()));
            let (effects, arrival, recorder) = (Effects::new(), arrival.clone(), recorder.clone());
            let mut server = Server { engine, effects, arrival, recorder };
            let took: Duration = (0..CLIENTS).map(|n| exchange(n, &mut server)).sum();
            println!("{} ns an exchange, {name}", took.as_nanos() / u128::from(CLIENTS));
        }
    }
}

/// Runs a DISCOVER and a REQUEST of client `n`, and returns the time that the engine needed.
fn exchange(n: u32, server: &mut Server) -> Duration {
    let discover = message(n, MessageType::Discover, &[]);
    let began = Instant::now();
    let offer = server.answer(&discover);
    let took = began.elapsed();
    let address = Message::decode(&offer).expect("an offer").yiaddr;
    let taken: [(u8, &[u8]); 2] =
        [(code::REQUESTED_ADDRESS, &address.octets()), (code::SERVER_IDENTIFIER, &SERVER.octets())];
    let request = message(n, MessageType::Request, &taken);
    let began = Instant::now();
    black_box(server.answer(&request));
    took + began.elapsed()
}

impl Server {
    /// Handles a message, carries out its effects in memory, and returns the encoded reply.
    fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let now = Timestamp::from_seconds(1_800_000_000);
        let outside = Outside { files: &NoFiles, machines: &() };
        self.engine.handle(bytes, &self.arrival, outside, now, &mut self.effects);
        let mut answer = None;
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Record(record) => self.record(record),
                Effect::Send { reply, record, .. } => {
                    answer = Some(reply.message.encode());
                    self.record(record);
                }
                Effect::Store(promise) => {
                    self.record(promise.record);
                    answer = promise.reply.map(|reply| reply.message.encode());
                    let mut leases = promise.ended;
                    leases.push(promise.lease);
                    self.engine.stored(&Outcome { leases, stored: true }, now);
                }
                other => panic!("{other:?}"),
            }
        }
        answer.expect("it is answered")
    }

    fn record(&self, record: Record) {
        if let Some(recorder) = &self.recorder {
            recorder.record(record);
        }
    }
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
