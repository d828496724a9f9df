//! TFTP over loopback: real clients, and our own packets where a client would not do what is to be shown.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lanboot::event::{Event, Refusal};
use lanboot::images::Catalog;
use lanboot::server::files::Files;
use lanboot::server::known::Known;
use lanboot::server::tftp_async::{GIVE_UP, Service, serve};
use lanboot::tftp::Limits;
use lanboot::wire::tftp::{ErrorCode, Mode, Options, Packet, Request};
use sha2::{Digest, Sha256};

use common::need;

mod common;

const SIZES: [(&str, usize); 4] = [("empty", 0), ("short", 511), ("exact", 512), ("long", 513)];
/// 81920 blocks of 512 bytes: the block number passes 65535.
const WRAPS: (&str, usize) = ("wraps", 40 << 20);
const LOOPBACK_MTU: u32 = 65536;

/// A server on a free port of loopback, with files, recording its events.
struct Server {
    port: u16,
    base: tempfile::TempDir,
    events: Arc<Mutex<Vec<Event>>>,
    under_way: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start() -> Server {
        Server::with(limits(), &["127.0.0.0/8"], 1500)
    }

    fn with(limits: Limits, served: &[&str], mtu: u32) -> Server {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("root/sub")).unwrap();
        for (name, size) in SIZES {
            fs::write(base.path().join("root").join(name), content(size)).unwrap();
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (events, under_way) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let seen = events.clone();
        let service = Service {
            files: Files::new(Catalog::open(&base.path().join("root")).unwrap(), Known::default()),
            limits,
            served: served.iter().map(|network| network.parse().unwrap()).collect(),
            under_way: under_way.clone(),
            record: move |event| seen.lock().unwrap().push(event),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.spawn(serve(socket, mtu, service));
        Server { port, base, events, under_way, _runtime: runtime }
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    /// A folder for what clients fetch.
    fn got(&self, name: &str) -> PathBuf {
        let folder = self.base.path().join("got");
        fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + GIVE_UP + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "waited for: {what}; seen {:?}", self.events.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for an event that `wanted` picks.
    fn event(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let find = || self.events.lock().unwrap().iter().find(|event| wanted(event)).cloned();
        self.wait("an event", || find().is_some());
        find().unwrap()
    }

    fn refusal(&self) -> (String, Refusal) {
        match self.event(|event| matches!(event, Event::TftpRefused { .. })) {
            Event::TftpRefused { name, reason, .. } => (name, reason),
            other => panic!("{other:?}"),
        }
    }

    /// Sends `packet` from a new port; returns the socket, connected to the port that answered, and the answer.
    fn ask(&self, packet: Packet<'_>) -> (UdpSocket, Vec<u8>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.send_to(&packet.encode(), (Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut buf = vec![0; 70_000];
        let (len, from) = socket.recv_from(&mut buf).expect("an answer");
        assert_ne!(from.port(), self.port, "RFC 1350 section 4: the server answers from a port of its own");
        socket.connect(from).unwrap();
        buf.truncate(len);
        (socket, buf)
    }

    /// The error that asking for `name` is answered with.
    fn error(&self, name: &str) -> (ErrorCode, String) {
        error_of(&self.ask(rrq(name, Options::default())).1)
    }

    /// The options granted of those asked for.
    fn oack(&self, name: &str, options: Options) -> Options {
        match Packet::decode(&self.ask(rrq(name, options)).1) {
            Ok(Packet::OAck(options)) => options,
            other => panic!("{other:?}"),
        }
    }
}

fn limits() -> Limits {
    Limits {
        max_block_size: None,
        max_window: 64,
        max_transfers: 100,
        max_per_client: 100,
        allow: Vec::new(),
    }
}

fn rrq(name: &str, options: Options) -> Packet<'_> {
    Packet::Rrq(Request { name: name.as_bytes(), mode: Mode::Octet, options })
}

fn error_of(datagram: &[u8]) -> (ErrorCode, String) {
    match Packet::decode(datagram) {
        Ok(Packet::Error { code, message }) => {
            assert!(message.len() <= 64, "{message:?}");
            (code, String::from_utf8(message.to_vec()).unwrap())
        }
        other => panic!("not an error: {other:?}"),
    }
}

/// Bytes that do not repeat with the block size, so that a lost or doubled block shows.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn assert_same(expected: &Path, got: &Path) {
    let hash = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (bytes.len(), Sha256::digest(bytes))
    };
    assert_eq!(hash(expected), hash(got), "{}", got.display());
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Fetches all files with the commands that `client` makes from a name, a path to write to and the port.
fn fetch_all(client: impl Fn(&str, &Path, u16) -> Command) {
    let server = Server::start();
    fs::write(server.root().join(WRAPS.0), content(WRAPS.1)).unwrap();
    for (name, size) in SIZES.into_iter().chain([WRAPS]) {
        let got = server.got(name);
        run(&mut client(name, &got, server.port));
        assert_same(&server.root().join(name), &got);
        let sent = server.event(|event| matches!(event, Event::TftpSent { file, .. } if file == name));
        assert!(matches!(sent, Event::TftpSent { bytes, .. } if bytes == size as u64), "{sent:?}");
    }
    server.wait("all transfers are over", || server.under_way.load(Ordering::Acquire) == 0);
}

fn curl(options: &[&str], name: &str, got: &Path, port: u16) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "120"]).args(options).arg("-o").arg(got);
    command.arg(format!("tftp://127.0.0.1:{port}/{name}"));
    command
}

#[test]
fn curl_fetches_every_size() {
    if need("curl", "curl") {
        fetch_all(|name, got, port| curl(&[], name, got, port));
    }
}

#[test]
fn curl_fetches_every_size_with_a_larger_block() {
    if need("curl", "curl") {
        fetch_all(|name, got, port| curl(&["--tftp-blksize", "1468"], name, got, port));
    }
}

#[test]
fn curl_fetches_every_size_without_options() {
    if need("curl", "curl") {
        fetch_all(|name, got, port| curl(&["--tftp-no-options"], name, got, port));
    }
}

#[test]
fn atftp_fetches_every_size() {
    if need("atftp", "atftp") {
        fetch_all(|name, got, port| {
            let mut command = Command::new("atftp");
            command.args(["--option", "blksize 512", "-g", "-r", name, "-l"]).arg(got);
            command.arg("127.0.0.1").arg(port.to_string());
            command
        });
    }
}

#[test]
fn atftp_fetches_every_size_with_a_window() {
    if need("atftp", "atftp") {
        fetch_all(|name, got, port| {
            let mut command = Command::new("atftp");
            command
                .args(["--option", "blksize 512", "--option", "windowsize 8", "-g", "-r", name, "-l"])
                .arg(got);
            command.arg("127.0.0.1").arg(port.to_string());
            command
        });
    }
}

#[test]
fn tftp_hpa_fetches_every_size() {
    if need("tftp", "tftp-hpa") {
        fetch_all(|name, got, port| {
            let mut command = Command::new("tftp");
            command.args(["-m", "binary", "127.0.0.1", &port.to_string(), "-c", "get", name]).arg(got);
            command
        });
    }
}

#[test]
fn rfc1350_4_a_file_of_whole_blocks_ends_with_an_empty_one() {
    let server = Server::start();
    let (socket, first) = server.ask(rrq("exact", Options::default()));
    let expected = content(512);
    assert_eq!(Packet::decode(&first), Ok(Packet::Data { block: 1, data: &expected }));
    socket.send(&Packet::Ack(1).encode()).unwrap();
    let mut buf = [0; 600];
    let len = socket.recv(&mut buf).unwrap();
    assert_eq!(Packet::decode(&buf[..len]), Ok(Packet::Data { block: 2, data: b"" }));
}

#[test]
fn rfc2348_a_block_is_never_larger_than_the_interface_carries() {
    let server = Server::start();
    let asked = |block_size| Options { block_size: Some(block_size), ..Options::default() };
    assert_eq!(server.oack("long", asked(65464)), asked(1468));
    assert_eq!(server.oack("long", asked(1024)), asked(1024));
    assert_eq!(server.oack("long", asked(8)), asked(8));
    let configured = Server::with(Limits { max_block_size: Some(1024), ..limits() }, &["127.0.0.0/8"], 1500);
    assert_eq!(configured.oack("long", asked(1468)), asked(1024));
}

#[test]
fn rfc2349_the_size_is_told_and_a_timeout_not_granted() {
    let server = Server::start();
    let asked = Options { transfer_size: Some(0), timeout: Some(255), ..Options::default() };
    assert_eq!(server.oack("long", asked), Options { transfer_size: Some(513), ..Options::default() });
}

#[test]
fn rfc7440_a_window_is_bounded_in_blocks_and_bytes() {
    let asked = Options { block_size: Some(65464), window_size: Some(65535), ..Options::default() };
    let ethernet = Server::start().oack("long", asked);
    assert_eq!((ethernet.block_size, ethernet.window_size), (Some(1468), Some(64)));
    let loopback = Server::with(limits(), &["127.0.0.0/8"], LOOPBACK_MTU).oack("long", asked);
    assert_eq!((loopback.block_size, loopback.window_size), (Some(65464), Some(16)), "1 MiB");
    let narrow = Server::with(Limits { max_window: 1, ..limits() }, &["127.0.0.0/8"], 1500);
    assert_eq!(narrow.oack("long", asked).window_size, Some(1));
}

#[test]
fn rfc7440_no_more_than_a_window_is_sent_unacknowledged() {
    let server = Server::start();
    fs::write(server.root().join("large"), content(1 << 20)).unwrap();
    let asked = Options { window_size: Some(65535), ..Options::default() };
    let (socket, _) = server.ask(rrq("large", asked));
    socket.send(&Packet::Ack(0).encode()).unwrap();
    let mut blocks = Vec::new();
    let mut buf = [0; 600];
    loop {
        let len = socket.recv(&mut buf).unwrap();
        match Packet::decode(&buf[..len]) {
            // What follows the window is the same window, sent again.
            Ok(Packet::Data { block: 1, .. }) if !blocks.is_empty() => break,
            Ok(Packet::Data { block, .. }) => blocks.push(block),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(blocks, (1..=64).collect::<Vec<u16>>());
}

#[test]
fn uploads_are_refused_and_write_nothing() {
    let server = Server::start();
    for (name, options) in
        [("new", Options::default()), ("long", Options { transfer_size: Some(1), ..Options::default() })]
    {
        let request = Packet::Wrq(Request { name: name.as_bytes(), mode: Mode::Octet, options });
        assert_eq!(error_of(&server.ask(request).1).0, ErrorCode::ACCESS_VIOLATION);
    }
    assert_eq!(server.refusal(), ("new".to_owned(), Refusal::Upload));
    assert!(!server.root().join("new").exists());
    assert_eq!(fs::read(server.root().join("long")).unwrap(), content(513));
}

#[test]
fn a_missing_file_is_said_to_be_so_without_a_path() {
    let server = Server::start();
    let long = "x".repeat(255);
    for name in ["missing", "sub", "sub/missing", "/etc/passwd", "%2e%2e/secret", &long] {
        let not_found = (ErrorCode::NOT_FOUND, "File not found".to_owned());
        assert_eq!(server.error(name), not_found, "{name}");
    }
    assert_eq!(server.refusal(), ("missing".to_owned(), Refusal::NotFound));
}

#[test]
fn no_name_leads_outside_the_folder() {
    let server = Server::start();
    fs::write(server.base.path().join("secret"), "secret").unwrap();
    symlink("../secret", server.root().join("out")).unwrap();
    symlink(server.base.path().join("secret"), server.root().join("absolute")).unwrap();
    symlink("..", server.root().join("parent")).unwrap();
    let names =
        ["../secret", r"..\secret", "sub/../../secret", "/../secret", "out", "absolute", "parent/secret", ""];
    for name in names {
        let refused = (ErrorCode::ACCESS_VIOLATION, "Permission denied".to_owned());
        assert_eq!(server.error(name), refused, "{name}");
    }
    let refused = server
        .events
        .lock()
        .unwrap()
        .iter()
        .filter(|event| matches!(event, Event::TftpRefused { reason: Refusal::BadName, .. }))
        .count();
    assert_eq!(refused, names.len());
}

#[test]
fn backslashes_leading_slashes_and_trailing_junk_find_the_file() {
    let server = Server::start();
    fs::write(server.root().join("sub/bcd"), "bcd").unwrap();
    for name in [r"\sub\bcd", "/sub/bcd", "//sub/./bcd", "sub/bcd "] {
        let (socket, first) = server.ask(rrq(name, Options::default()));
        assert_eq!(Packet::decode(&first), Ok(Packet::Data { block: 1, data: b"bcd" }), "{name}");
        socket.send(&Packet::Ack(1).encode()).unwrap();
    }
}

#[test]
fn strangers_are_refused_until_their_network_is_allowed() {
    let server = Server::with(limits(), &["192.0.2.0/24"], 1500);
    assert_eq!(server.error("long").0, ErrorCode::ACCESS_VIOLATION);
    assert_eq!(server.error("missing").0, ErrorCode::ACCESS_VIOLATION, "nor learns what is there");
    assert_eq!(server.refusal(), ("long".to_owned(), Refusal::NotAllowed));
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    let server = Server::with(Limits { allow, ..limits() }, &["192.0.2.0/24"], 1500);
    assert!(matches!(
        Packet::decode(&server.ask(rrq("long", Options::default())).1),
        Ok(Packet::Data { .. })
    ));
}

#[test]
fn transfers_are_bounded_in_number() {
    let server = Server::with(Limits { max_transfers: 1, ..limits() }, &["127.0.0.0/8"], 1500);
    let (first, _) = server.ask(rrq("short", Options::default()));
    assert_eq!(server.error("short"), (ErrorCode::UNDEFINED, "Server is busy, try again".to_owned()));
    assert_eq!(server.refusal(), ("short".to_owned(), Refusal::Busy));
    first.send(&Packet::Ack(1).encode()).unwrap();
    server.wait("the place is free", || server.under_way.load(Ordering::Acquire) == 0);
    let (second, answer) = server.ask(rrq("short", Options::default()));
    assert!(matches!(Packet::decode(&answer), Ok(Packet::Data { block: 1, .. })));
    second.send(&Packet::Ack(1).encode()).unwrap();
}

/// CVE-2024-2169: two servers that answer errors with errors never stop.
#[test]
fn what_is_no_request_gets_no_answer() {
    let server = Server::start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let packets: [&[u8]; 10] = [
        b"",
        b"\0",
        b"\0\x05",
        b"\0\x05\0",
        b"\0\x05\0\x01x\0",
        b"\0\x04\0\x01",
        b"\0\x03\0\x01x",
        b"\0\x06",
        b"\0\0",
        b"\0\x63",
    ];
    for packet in packets {
        socket.send_to(packet, (Ipv4Addr::LOCALHOST, server.port)).unwrap();
    }
    socket.send_to(&rrq("short", Options::default()).encode(), (Ipv4Addr::LOCALHOST, server.port)).unwrap();
    let mut buf = [0; 600];
    let (len, from) = socket.recv_from(&mut buf).unwrap();
    assert!(
        matches!(Packet::decode(&buf[..len]), Ok(Packet::Data { block: 1, .. })),
        "the request's answer is first"
    );
    socket.send_to(&Packet::Ack(1).encode(), from).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(socket.recv_from(&mut buf).is_err(), "and nothing follows");
}

#[test]
fn clients_that_go_away_are_told_apart_and_let_go() {
    let server = Server::start();
    fs::write(server.root().join("large"), content(1 << 20)).unwrap();
    let size = Options { transfer_size: Some(0), ..Options::default() };

    // As UEFI firmware does before the real transfer.
    let (probe, _) = server.ask(rrq("large", size));
    probe
        .send(&Packet::Error { code: ErrorCode::OPTIONS, message: b"User aborted the transfer" }.encode())
        .unwrap();
    let (stopped, _) = server.ask(rrq("large", Options::default()));
    stopped.send(&Packet::Ack(1).encode()).unwrap();
    let (silent, _) = server.ask(rrq("short", size));

    // Meanwhile others are served.
    let (other, answer) = server.ask(rrq("short", Options::default()));
    assert!(matches!(Packet::decode(&answer), Ok(Packet::Data { block: 1, .. })));
    other.send(&Packet::Ack(1).encode()).unwrap();
    let local = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    server.event(
        |event| matches!(event, Event::TftpSent { peer, bytes: 511, .. } if peer.port() == local(&other)),
    );

    server.event(|event| matches!(event, Event::TftpSizeProbe { peer, .. } if peer.port() == local(&probe)));
    server.event(|event| matches!(event, Event::TftpSizeProbe { peer, .. } if peer.port() == local(&silent)));
    let end = server
        .event(|event| matches!(event, Event::TftpStopped { peer, .. } if peer.port() == local(&stopped)));
    assert!(matches!(end, Event::TftpStopped { bytes: 1024, size: 1_048_576, .. }), "{end:?}");
    server.wait("all are let go", || server.under_way.load(Ordering::Acquire) == 0);

    // To a silent (forged) source: the answer and five repeats of it, then an error.
    silent.set_nonblocking(true).unwrap();
    let mut buf = [0; 600];
    let repeats = std::iter::from_fn(|| silent.recv(&mut buf).ok()).count();
    assert_eq!(repeats, 5 + 1);
}
