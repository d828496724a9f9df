//! Our TFTP server on loopback, with files, and clients' requests to it.
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lanboot::content::lookup::Files;
use lanboot::content::machines::MachineTable;
use lanboot::event::{Event, Refusal};
use lanboot::images::Catalog;
use lanboot::net::quota::Quota;
use lanboot::net::served::Served;
use lanboot::net::snapshot::{Now, Snapshot};
use lanboot::server::tftp::upload::{CurrentUploads, Uploads};
use lanboot::server::tftp::{async_tftp, native};
use lanboot::tftp::{Limits, Ports};
use lanboot::wire::tftp::{ErrorCode, Mode, Options, Packet, Request};
use sha2::{Digest, Sha256};

pub const SIZES: [(&str, usize); 4] = [("empty", 0), ("short", 511), ("exact", 512), ("long", 513)];
/// 81920 blocks of 512 bytes: the block number passes 65535.
pub const WRAPS: (&str, usize) = ("wraps", 40 << 20);
pub const LOOPBACK_MTU: u32 = 65536;

/// A server with files on a free port of loopback. It records its events.
pub struct Server {
    pub port: u16,
    pub base: tempfile::TempDir,
    /// The events, except those about the start of a transfer.
    pub events: Arc<Mutex<Vec<Event>>>,
    engine: Engine,
}

enum Engine {
    Native(native::Engine),
    AsyncTftp { active: Quota, _runtime: tokio::runtime::Runtime },
}

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct Setup {
    pub limits: Limits,
    pub ports: Ports,
    pub served: &'static str,
    pub mtu: u32,
    pub address: Ipv4Addr,
    pub uploads: bool,
    /// Size of the kernel's send queue for the port of requests, in bytes, if not the size that the server requests.
    pub send_queue: Option<usize>,
}

impl Default for Setup {
    fn default() -> Setup {
        let (served, ports) = ("127.0.0.0/8", Ports::Ephemeral);
        let address = Ipv4Addr::LOCALHOST;
        Setup { limits: limits(), ports, served, mtu: 1500, address, uploads: false, send_queue: None }
    }
}

impl Setup {
    fn may_ask(&self) -> Now {
        let served = Served::new(Vec::new(), [self.served.parse().unwrap()]);
        let mut config = lanboot::config::load("dhcp: {mode: off}").unwrap();
        config.tftp.as_mut().unwrap().limits = self.limits.clone();
        Snapshot::new(config, served).fixed()
    }
}

/// Keeps an event, unless it is about the start of a transfer.
fn push_end(seen: &Mutex<Vec<Event>>, event: Event) {
    if !matches!(event, Event::TftpStarted { .. } | Event::TftpAcknowledged { .. }) {
        seen.lock().unwrap().push(event);
    }
}

impl Server {
    /// lanboot's own engine.
    pub fn native(setup: Setup) -> Server {
        let (base, events) = Server::files();
        let socket = native::listen((setup.address, 0).into()).unwrap();
        if let Some(bytes) = setup.send_queue {
            socket2::SockRef::from(&socket).set_send_buffer_size(bytes).unwrap();
        }
        let port = socket.local_addr().unwrap().port();
        let seen = events.clone();
        fs::create_dir(base.path().join("uploads")).unwrap();
        let dir = base.path().join("uploads");
        let folder = lanboot::config::Uploads { dir, max_size: 1 << 20, max_total: 16 << 20, max_files: 100 };
        let service = native::Service {
            uploads: CurrentUploads::new(setup.uploads.then(|| Uploads::open(&folder).unwrap())),
            files: Files::new(Catalog::open(&base.path().join("root")).unwrap(), MachineTable::default()),
            now: setup.may_ask(),
            ports: setup.ports,
            record: move |event| push_end(&seen, event),
        };
        let listener = native::Listener { socket: Arc::new(socket), mtu: setup.mtu };
        let engine = Engine::Native(native::start(Arc::new([Arc::new(listener)]), service).unwrap());
        Server { port, base, events, engine }
    }

    /// The crate async-tftp with our handler.
    pub fn async_tftp(setup: Setup) -> Server {
        let (base, events) = Server::files();
        let socket = UdpSocket::bind((setup.address, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let active = Quota::default();
        let seen = events.clone();
        let service = async_tftp::Service {
            files: Files::new(Catalog::open(&base.path().join("root")).unwrap(), MachineTable::default()),
            now: setup.may_ask(),
            active: active.clone(),
            closing: Arc::default(),
            record: move |event| push_end(&seen, event),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.spawn(async_tftp::serve(socket, setup.mtu, service));
        Server { port, base, events, engine: Engine::AsyncTftp { active, _runtime: runtime } }
    }

    fn files() -> (tempfile::TempDir, Arc<Mutex<Vec<Event>>>) {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("root/sub")).unwrap();
        for (name, size) in SIZES {
            fs::write(base.path().join("root").join(name), content(size)).unwrap();
        }
        (base, Arc::default())
    }

    pub fn active_transfers(&self) -> usize {
        match &self.engine {
            Engine::Native(engine) => engine.active_transfers(),
            Engine::AsyncTftp { active, .. } => active.count(),
        }
    }

    pub fn wait_until_idle(&self) {
        self.wait("all transfers are over", || self.active_transfers() == 0);
    }

    pub fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    /// A path for a file that a client fetches.
    pub fn got(&self, name: &str) -> PathBuf {
        let folder = self.base.path().join("got");
        fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    pub fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + async_tftp::GIVE_UP + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "waited for: {what}; seen {:?}", self.events.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for an event for which `wanted` is true.
    pub fn event(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let find = || self.events.lock().unwrap().iter().find(|event| wanted(event)).cloned();
        self.wait("an event", || find().is_some());
        find().unwrap()
    }

    pub fn refusal(&self) -> (String, Refusal) {
        match self.event(|event| matches!(event, Event::TftpRefused { .. })) {
            Event::TftpRefused { name, reason, .. } => (name, reason),
            other => panic!("{other:?}"),
        }
    }

    /// Sends `packet` from a new port. Returns the socket, connected to the port that answered, and the answer.
    pub fn ask(&self, packet: Packet<'_>) -> (UdpSocket, Vec<u8>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.send_to(&packet.encode(), (Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut buf = vec![0; 70_000];
        let (len, from) = socket.recv_from(&mut buf).expect("an answer");
        socket.connect(from).unwrap();
        buf.truncate(len);
        (socket, buf)
    }

    /// The error that answers a request for `name`.
    pub fn error(&self, name: &str) -> (ErrorCode, String) {
        error_of(&self.ask(rrq(name, Options::default())).1)
    }

    /// The granted options of a request with `options`.
    pub fn oack(&self, name: &str, options: Options) -> Options {
        match Packet::decode(&self.ask(rrq(name, options)).1) {
            Ok(Packet::OAck(options)) => options,
            other => panic!("{other:?}"),
        }
    }
}

pub fn limits() -> Limits {
    Limits {
        max_block_size: None,
        max_window: 64,
        max_transfers: 100,
        max_per_client: 100,
        allow: Vec::new(),
    }
}

pub fn rrq(name: &str, options: Options) -> Packet<'_> {
    Packet::Rrq(Request { name: name.as_bytes(), mode: Mode::Octet, options })
}

pub fn error_of(datagram: &[u8]) -> (ErrorCode, String) {
    match Packet::decode(datagram) {
        Ok(Packet::Error { code, message }) => {
            assert!(message.len() <= 64, "{message:?}");
            (code, String::from_utf8(message.to_vec()).unwrap())
        }
        other => panic!("not an error: {other:?}"),
    }
}

/// Bytes that do not repeat with the block size, so that a lost or duplicated block is detected.
pub fn content(size: usize) -> Vec<u8> {
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

pub fn assert_same(expected: &Path, got: &Path) {
    let hash = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (bytes.len(), Sha256::digest(bytes))
    };
    assert_eq!(hash(expected), hash(got), "{}", got.display());
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Fetches all files with the commands that `client` makes from a name, a path to write to and the port.
pub fn fetch_all(server: &Server, client: impl Fn(&str, &Path, u16) -> Command) {
    fs::write(server.root().join(WRAPS.0), content(WRAPS.1)).unwrap();
    for (name, size) in SIZES.into_iter().chain([WRAPS]) {
        let got = server.got(name);
        run(&mut client(name, &got, server.port));
        assert_same(&server.root().join(name), &got);
        let sent = server.event(|event| matches!(event, Event::TftpSent { file, .. } if file == name));
        assert!(matches!(sent, Event::TftpSent { bytes, .. } if bytes == size as u64), "{sent:?}");
    }
    server.wait_until_idle();
}

pub fn curl(options: &[&str], name: &str, got: &Path, port: u16) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "120"]).args(options).arg("-o").arg(got);
    command.arg(format!("tftp://127.0.0.1:{port}/{name}"));
    command
}

/// A client's socket.
pub fn client() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// The next datagram.
pub fn next(socket: &UdpSocket) -> Vec<u8> {
    let mut buf = vec![0; 70_000];
    let len = socket.recv(&mut buf).expect("a datagram");
    buf.truncate(len);
    buf
}

/// The number of a block.
pub fn block(datagram: &[u8]) -> u16 {
    match Packet::decode(datagram) {
        Ok(Packet::Data { block, .. }) => block,
        other => panic!("not a block: {other:?}"),
    }
}

/// Counts the datagrams that arrive until none has arrived for `quiet`.
pub fn count(socket: &UdpSocket, quiet: Duration) -> usize {
    socket.set_read_timeout(Some(quiet)).unwrap();
    let mut buf = vec![0; 70_000];
    std::iter::from_fn(|| socket.recv(&mut buf).ok()).count()
}
