//! A DHCP, TFTP and HTTP server for real firmware. It sends exactly the answers of a test, broken replies included, and
//! records requests and answers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{BRIDGE, Namespace};
use lanboot::probe::models::{ReceivedReply, RequestKind};
use lanboot::types::MacAddr;
use lanboot::wire::dhcp::{Message, MessageType};
use lanboot::wire::option::code;
use nix::sched::{CloneFlags, setns};

/// A request from a machine.
#[derive(Clone, Debug)]
pub struct Asked {
    pub mac: MacAddr,
    pub question: RequestKind,
    /// Number of DHCP exchanges that this machine began before this one. Each has its own transaction id.
    pub session: usize,
    /// Number of times that the machine sent this request in this exchange, this time included.
    pub count: usize,
    pub message: Message,
}

/// An answer: its bytes, and our address and port that send it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub from: SocketAddrV4,
}

/// An event on the network. Events are in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request, our address that it was sent to (unspecified for a broadcast), and its options 54 and 50.
    Asked {
        who: Who,
        question: RequestKind,
        to: SocketAddrV4,
        server: Option<Ipv4Addr>,
        address: Option<Ipv4Addr>,
    },
    /// Our answer.
    Answered { who: Who, question: RequestKind, bytes: Vec<u8>, from: SocketAddrV4 },
    /// A request for a file, sent to our address `server`.
    Wanted { client: Ipv4Addr, by: &'static str, server: Ipv4Addr, file: String },
}

/// A machine, and the number of DHCP exchanges that it began before.
pub type Who = (MacAddr, usize);

/// Returns the answers to a request.
pub type Script = Box<dyn FnMut(&Asked) -> Vec<Answer> + Send>;

/// Files by name, for TFTP.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The server. It stops on drop.
pub struct Mangler {
    events: Arc<Mutex<Vec<(Duration, Event)>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    events: Arc<Mutex<Vec<(Duration, Event)>>>,
    stop: Arc<AtomicBool>,
    began: Instant,
}

impl Shared {
    fn record(&self, event: Event) {
        self.events.lock().unwrap().push((self.began.elapsed(), event));
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Interval at which a socket checks whether the server must stop.
const TICK: Duration = Duration::from_millis(50);

impl Mangler {
    /// Serves in `namespace`, which has `addresses` on its bridge.
    pub fn new(namespace: &Namespace, addresses: &[Ipv4Addr], files: Files, script: Script) -> Mangler {
        let sockets = sockets(namespace, addresses);
        let events = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared { events: events.clone(), stop: stop.clone(), began: Instant::now() });
        let mut threads = Vec::new();
        let dhcp = Dhcp {
            sockets: sockets.dhcp,
            script,
            sessions: BTreeMap::new(),
            counts: BTreeMap::new(),
            shared: shared.clone(),
        };
        threads.push(thread::spawn(move || dhcp.serve()));
        let (router, over) = (sockets.router, shared.clone());
        threads.push(thread::spawn(move || advertise(&router, &over)));
        let files = Arc::new(files);
        for (address, socket, listener) in sockets.files {
            let (one, two) = (shared.clone(), shared.clone());
            let (files, folder) = (files.clone(), entrance(namespace));
            threads.push(thread::spawn(move || {
                setns(File::open(folder).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                serve_tftp(address, &socket, &files, &one);
            }));
            threads.push(thread::spawn(move || serve_http(address, &listener, &two)));
        }
        Mangler { events, stop, threads }
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().iter().map(|(_, event)| event.clone()).collect()
    }

    /// The same with times, for failure messages.
    pub fn story(&self) -> String {
        let line = |(at, event): &(Duration, Event)| format!("{:7.2} {}\n", at.as_secs_f64(), text_of(event));
        self.events.lock().unwrap().iter().map(line).collect()
    }

    /// Waits until `is_so` is true for the events, at most for `limit`. Returns whether it became true.
    pub fn wait(&self, limit: Duration, mut is_so: impl FnMut(&[Event]) -> bool) -> bool {
        let until = Instant::now() + limit;
        loop {
            if is_so(&self.events()) {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            sleep(TICK);
        }
    }
}

impl Drop for Mangler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

fn text_of(event: &Event) -> String {
    match event {
        Event::Asked { who: (mac, session), question, to, server, address } => {
            format!("{mac} {session} asks {to} {question:?}, server {server:?}, address {address:?}")
        }
        Event::Answered { who: (mac, session), question, bytes, from } => {
            format!("{mac} {session} is answered to {question:?} from {from}, {} bytes", bytes.len())
        }
        Event::Wanted { client, by, server, file } => format!("{client} wants {by} {server} {file}"),
    }
}

/// The file by which a namespace is entered (setns(2)).
fn entrance(namespace: &Namespace) -> PathBuf {
    Path::new("/run/netns").join(namespace.name())
}

/// The replies that a machine received in one exchange, for the models.
pub fn heard_by(events: &[Event], machine: Who) -> Vec<ReceivedReply<'_>> {
    let heard = events.iter().filter_map(|event| match event {
        Event::Answered { who, question, bytes, from } if *who == machine => {
            Some(ReceivedReply { payload: bytes, source: *from, request: *question })
        }
        _ => None,
    });
    heard.collect()
}

struct Sockets {
    dhcp: Vec<(SocketAddrV4, UdpSocket)>,
    files: Vec<(Ipv4Addr, UdpSocket, TcpListener)>,
    router: socket2::Socket,
}

/// Creates the sockets in the namespace. They stay in it, whichever thread uses them.
fn sockets(namespace: &Namespace, addresses: &[Ipv4Addr]) -> Sockets {
    let namespace = File::open(entrance(namespace)).unwrap();
    let addresses = addresses.to_vec();
    let make = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let mut dhcp = Vec::new();
        // The first socket receives broadcasts. There is one more for each address, so that answers have the right
        // source.
        for (ip, port) in [(Ipv4Addr::UNSPECIFIED, 67), (Ipv4Addr::UNSPECIFIED, 4011)]
            .into_iter()
            .chain(addresses.iter().flat_map(|ip| [(*ip, 67), (*ip, 4011)]))
        {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.bind_device(Some(BRIDGE.as_bytes())).unwrap();
            socket.bind(&SocketAddrV4::new(ip, port).into()).unwrap();
            let socket = UdpSocket::from(socket);
            socket.set_nonblocking(true).unwrap();
            dhcp.push((SocketAddrV4::new(ip, port), socket));
        }
        let files = addresses.iter().map(|ip| {
            let socket = UdpSocket::bind((*ip, 69)).unwrap();
            socket.set_read_timeout(Some(TICK)).unwrap();
            let listener = TcpListener::bind((*ip, 80)).unwrap();
            listener.set_nonblocking(true).unwrap();
            (*ip, socket, listener)
        });
        let icmp = Some(socket2::Protocol::ICMPV6);
        let router = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::RAW, icmp).unwrap();
        router.set_multicast_hops_v6(255).unwrap();
        let bridge = nix::net::if_::if_nametoindex(BRIDGE).unwrap();
        router.set_multicast_if_v6(bridge).unwrap();
        Sockets { dhcp, files: files.collect(), router }
    };
    thread::spawn(make).join().unwrap()
}

struct Dhcp {
    sockets: Vec<(SocketAddrV4, UdpSocket)>,
    script: Script,
    /// For each machine, the transaction id of its last exchange, and the number of exchanges before that.
    sessions: BTreeMap<MacAddr, (u32, usize)>,
    counts: BTreeMap<(Who, u8), usize>,
    shared: Arc<Shared>,
}

impl Dhcp {
    fn serve(mut self) {
        let mut buffer = [0; 2048];
        while !self.shared.is_over() {
            let mut idle = true;
            for place in 0..self.sockets.len() {
                let (here, socket) = &self.sockets[place];
                let Ok((len, SocketAddr::V4(source))) = socket.recv_from(&mut buffer) else { continue };
                let here = *here;
                idle = false;
                self.take(&buffer[..len], here, source);
            }
            if idle {
                sleep(Duration::from_millis(2));
            }
        }
    }

    fn take(&mut self, payload: &[u8], to: SocketAddrV4, source: SocketAddrV4) {
        let Ok(message) = Message::decode(payload) else { return };
        let Some(mac) = message.mac() else { return };
        let vendor = message.options.get(code::VENDOR_SPECIFIC).unwrap_or_default();
        // A REQUEST for a menu item may be broadcast to port 67.
        let question = match message.message_type() {
            _ if to.port() == 4011 || vendor.starts_with(&[71]) => RequestKind::BootServer,
            None | Some(Ok(MessageType::Discover)) => RequestKind::Discover,
            Some(Ok(MessageType::Request)) => RequestKind::Request,
            _ => return,
        };
        let session = self.sessions.entry(mac).or_insert((message.xid, 0));
        if question == RequestKind::Discover && session.0 != message.xid {
            *session = (message.xid, session.1 + 1);
        }
        let who = (mac, session.1);
        let count = self.counts.entry((who, question as u8)).or_default();
        *count += 1;
        let asked = Asked { mac, question, session: who.1, count: *count, message };
        self.shared.record(Event::Asked {
            who,
            question,
            to,
            server: asked.message.options.ip(code::SERVER_IDENTIFIER),
            address: asked.message.options.ip(code::REQUESTED_ADDRESS),
        });
        for answer in (self.script)(&asked) {
            let to = match question {
                RequestKind::BootServer => source,
                _ => SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
            };
            let (_, socket) =
                self.sockets.iter().find(|(at, _)| *at == answer.from).expect("one of our addresses");
            self.shared.record(Event::Answered {
                who,
                question,
                bytes: answer.bytes.clone(),
                from: answer.from,
            });
            socket.send_to(&answer.bytes, to).unwrap();
        }
    }
}

/// Advertises repeatedly an IPv6 router without any prefix (RFC 4861 section 4.2). iPXE waits 15 s for a router in each
/// exchange, and continues when it receives an advertisement.
fn advertise(router: &socket2::Socket, shared: &Shared) {
    let everyone = std::net::SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, 0);
    let advertisement = [134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    while !shared.is_over() {
        // Sending fails until the bridge has its own address.
        let _ = router.send_to(&advertisement, &everyone.into());
        sleep(TICK * 4);
    }
}

fn serve_tftp(address: Ipv4Addr, socket: &UdpSocket, files: &Files, shared: &Arc<Shared>) {
    let mut buffer = [0; 2048];
    while !shared.is_over() {
        let Ok((len, SocketAddr::V4(source))) = socket.recv_from(&mut buffer) else { continue };
        let [0, 1, rest @ ..] = &buffer[..len] else { continue };
        let mut words = rest.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let file = words.next().unwrap_or_default();
        shared.record(Event::Wanted {
            client: *source.ip(),
            by: "tftp",
            server: address,
            file: file.clone(),
        });
        let options: Vec<String> = words.skip(1).collect();
        let transfer = UdpSocket::bind((address, 0)).unwrap();
        transfer.connect(source).unwrap();
        match files.get(file.trim_start_matches('/')) {
            Some(bytes) => {
                let (bytes, shared) = (bytes.clone(), shared.clone());
                // Not joined: the thread ends with the transfer, or when the client becomes silent.
                thread::spawn(move || send_file(&transfer, &bytes, &options, &shared));
            }
            None => _ = transfer.send(b"\0\x05\0\x01not there\0"),
        }
    }
}

/// Sends a file block by block with the options blksize and tsize (RFC 2347 to 2349).
fn send_file(transfer: &UdpSocket, bytes: &[u8], options: &[String], shared: &Shared) {
    let asked =
        |name: &str| options.chunks(2).find(|pair| pair[0].eq_ignore_ascii_case(name)).map(|pair| &pair[1]);
    let size: usize = asked("blksize").and_then(|size| size.parse().ok()).unwrap_or(512).min(1400);
    let mut oack = vec![0, 6];
    if asked("blksize").is_some() {
        oack.extend_from_slice(format!("blksize\0{size}\0").as_bytes());
    }
    if asked("tsize").is_some() {
        oack.extend_from_slice(format!("tsize\0{}\0", bytes.len()).as_bytes());
    }
    transfer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    if oack.len() > 2 && !exchange(transfer, &oack, 0, shared) {
        return;
    }
    let last = [&bytes[bytes.len() / size * size..]];
    for (number, block) in (1u16..).zip(bytes.chunks_exact(size).chain(last)) {
        let packet = [&[0, 3], &number.to_be_bytes()[..], block].concat();
        if !exchange(transfer, &packet, number, shared) {
            return;
        }
    }
}

/// Sends until block `number` is acknowledged. Returns false if it is not.
fn exchange(transfer: &UdpSocket, packet: &[u8], number: u16, shared: &Shared) -> bool {
    let mut buffer = [0; 600];
    for _ in 0..5 {
        if shared.is_over() || transfer.send(packet).is_err() {
            return false;
        }
        while let Ok(len) = transfer.recv(&mut buffer) {
            match &buffer[..len] {
                [0, 4, high, low] if u16::from_be_bytes([*high, *low]) == number => return true,
                [0, 4, ..] => {}
                _ => return false,
            }
        }
    }
    false
}

/// Records the requested paths. No file exists.
fn serve_http(address: Ipv4Addr, listener: &TcpListener, shared: &Shared) {
    while !shared.is_over() {
        let Ok((mut stream, SocketAddr::V4(source))) = listener.accept() else {
            sleep(TICK);
            continue;
        };
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let mut buffer = [0; 2048];
        let Ok(len) = stream.read(&mut buffer) else { continue };
        let head = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let file = head.split(' ').nth(1).unwrap_or_default().to_owned();
        shared.record(Event::Wanted { client: *source.ip(), by: "http", server: address, file });
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
}
