//! A simulated machine: firmware, loader and system as far as a server sees them. It runs in its own namespace, with its
//! own network card, and sends and receives real packets.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::Namespace;
use lanboot::types::MacAddr;
use lanboot::wire::dhcp::{BOOTREQUEST, FLAG_BROADCAST, Message, MessageType, until_nul};
use lanboot::wire::option::code;
use lanboot::wire::tftp::{self, Mode, Options, Packet, Request};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::bind;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// DHCP options that identify a program.
pub type Program = &'static [(u8, &'static [u8])];

pub const BIOS: Program = &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (94, &[1, 2, 1])];
pub const UEFI: Program = &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7]), (94, &[1, 3, 0])];
pub const ARM: Program = &[(60, b"PXEClient:Arch:00011:UNDI:003000"), (93, &[0, 11]), (94, &[1, 3, 0])];
pub const RISCV: Program = &[(60, b"PXEClient:Arch:00027:UNDI:003000"), (93, &[0, 27]), (94, &[1, 3, 0])];
pub const HTTP: Program = &[(60, b"HTTPClient:Arch:00016:UNDI:003000"), (93, &[0, 16]), (94, &[1, 3, 0])];
pub const IPXE: Program =
    &[(60, b"PXEClient:Arch:00007:UNDI:003010"), (93, &[0, 7]), (77, b"iPXE"), (175, &[19, 1, 1, 33, 1, 1])];
pub const SYSTEM: Program = &[(55, &[1, 3, 6, 12, 15, 28, 42])];

/// The pauses before the DISCOVERs of EDK2 (`Dhcp4Io.c`), in seconds.
pub const EDK2: [u64; 4] = [0, 4, 8, 16];
/// The block size of EDK2, whose packets fill an MTU of 1500 bytes.
pub const LARGE_BLOCKS: Option<u16> = Some(1468);
/// The longest wait for a reply that must come.
const PATIENCE: Duration = Duration::from_secs(3);
/// The number of times that a message is sent whose reply must come.
const TRIES: u32 = 5;

/// Moves this thread into a namespace. Its sockets and the programs that it starts are there.
pub fn enter(host: &Namespace) {
    let namespace = File::open(format!("/run/netns/{}", host.name)).unwrap();
    setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
}

pub fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds));
}

/// A packet socket on the network card of this thread's namespace, which receives frames of this EtherType.
pub fn packet_socket(ether_type: u16) -> Socket {
    let protocol = Protocol::from(i32::from(ether_type.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
    let mut links = getifaddrs().unwrap().filter(|entry| entry.interface_name == "eth0");
    let link = links.find_map(|entry| Some(*entry.address.as_ref()?.as_link_addr()?)).unwrap();
    bind(socket.as_raw_fd(), &link).unwrap();
    socket
}

/// Why a file did not arrive.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed {
    /// ERROR, with its code.
    Refused(u16),
    Silent,
}

/// A machine that runs a program in its namespace. The thread must have entered it.
pub struct Client<'h> {
    pub mac: MacAddr,
    pub host: &'h Namespace,
    /// The address of the server under test.
    pub server: Ipv4Addr,
    udp: UdpSocket,
    xid: u32,
    /// The last ACK.
    pub lease: Option<Message>,
    /// The UUID of the machine (option 97).
    pub uuid: [u8; 17],
    /// The longest time that it needed for its own work between two packets, because this computer was busy.
    pub worked: Duration,
}

impl<'h> Client<'h> {
    pub fn new(mac: MacAddr, host: &'h Namespace, server: Ipv4Addr) -> Client<'h> {
        let udp = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        udp.set_broadcast(true).unwrap();
        udp.bind_device(Some(b"eth0")).unwrap();
        udp.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into()).unwrap();
        let mut uuid = [0x42; 17];
        uuid[0] = 0;
        uuid[11..].copy_from_slice(&mac.0);
        Client { mac, host, server, udp: udp.into(), xid: 0x100, lease: None, uuid, worked: Duration::ZERO }
    }

    /// A new DHCP exchange, with another transaction id.
    pub fn again(&mut self) {
        self.xid += 1;
    }

    fn message(&self, kind: MessageType, program: Program) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        let random = u32::from_be_bytes([self.mac.0[2], self.mac.0[3], self.mac.0[4], self.mac.0[5]]);
        (message.xid, message.flags) = (random << 8 ^ self.xid, FLAG_BROADCAST);
        message.chaddr[..6].copy_from_slice(&self.mac.0);
        message.options.push(code::MESSAGE_TYPE, &[kind.number()]);
        program.iter().for_each(|(code, value)| _ = message.options.push(*code, value));
        if program != SYSTEM {
            message.options.push(code::MACHINE_IDENTIFIER, &self.uuid);
        }
        message
    }

    fn broadcast(&self, message: &Message) {
        let sent = self.udp.send_to(&message.encode(), (Ipv4Addr::BROADCAST, 67));
        // A switch that is off is no fault of the client.
        _ = sent;
    }

    /// The replies to the current transaction, until `wait` is over or `enough` says so.
    fn replies(&self, wait: Duration, enough: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (end, mut replies) = (Instant::now() + wait, Vec::new());
        let mut bytes = [0; 2048];
        let xid = self.message(MessageType::Discover, SYSTEM).xid;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.udp.set_read_timeout(Some(left)).unwrap();
            let Ok(len) = self.udp.recv(&mut bytes) else { continue };
            let Ok(reply) = Message::decode(&bytes[..len]) else { continue };
            if reply.xid == xid && reply.chaddr[..6] == self.mac.0 {
                let is_last = enough(&reply);
                replies.push(reply);
                if is_last {
                    break;
                }
            }
        }
        replies
    }

    /// Sends a DISCOVER with `secs`, and returns the offers of `wait`.
    pub fn offers(&mut self, program: Program, secs: u16, wait: Duration) -> Vec<Message> {
        let message = Message { secs, ..self.message(MessageType::Discover, program) };
        self.broadcast(&message);
        self.replies(wait, |_| false)
    }

    /// A DISCOVER whose replies the machine does not take.
    pub fn discover(&mut self, program: Program, secs: u16) {
        let message = Message { secs, ..self.message(MessageType::Discover, program) };
        self.broadcast(&message);
    }

    /// DISCOVERs of one exchange with the pauses of EDK2, whose replies the machine does not take.
    pub fn discovers(&mut self, program: Program, count: usize) {
        self.again();
        let mut secs = 0;
        for pause in EDK2.iter().take(count) {
            seconds(*pause);
            secs += *pause;
            self.discover(program, u16::try_from(secs).unwrap());
        }
    }

    /// A REQUEST for this offer, without waiting for its ACK.
    pub fn request(&mut self, program: Program, offer: &Message, secs: u16) {
        let mut message = Message { secs, ..self.message(MessageType::Request, program) };
        message.options.push(code::REQUESTED_ADDRESS, &offer.yiaddr.octets());
        let server = offer.options.ip(code::SERVER_IDENTIFIER).expect("an offer names its server");
        message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        self.broadcast(&message);
    }

    /// An offer with an address. Asks again as clients do.
    pub fn offer(&mut self, program: Program) -> Message {
        self.again();
        let has_address = |reply: &Message| !reply.yiaddr.is_unspecified();
        for tried in 0..TRIES {
            self.discover(program, u16::try_from(tried * 3).unwrap());
            let replies = self.replies(PATIENCE, has_address);
            if let Some(offer) = replies.into_iter().find(has_address) {
                return offer;
            }
        }
        panic!("{} got no offer", self.mac)
    }

    /// DISCOVER, OFFER, REQUEST, ACK, and the address on the network card.
    pub fn lease(&mut self, program: Program) -> Message {
        let offer = self.offer(program);
        self.take(program, &offer)
    }

    /// REQUEST, ACK, and the address on the network card.
    pub fn take(&mut self, program: Program, offer: &Message) -> Message {
        let is_ack = |reply: &Message| reply.message_type() == Some(Ok(MessageType::Ack));
        for _ in 0..TRIES {
            self.request(program, offer, 0);
            let replies = self.replies(PATIENCE, is_ack);
            if let Some(ack) = replies.into_iter().find(is_ack) {
                self.configure(&ack);
                return ack;
            }
        }
        panic!("{} got no ACK", self.mac)
    }

    fn configure(&mut self, ack: &Message) {
        let mask = ack.options.ip(code::SUBNET_MASK).map_or(24, |mask| u32::from(mask).count_ones());
        let began = Instant::now();
        let mut commands = format!("addr flush dev eth0\naddr add {}/{mask} dev eth0\n", ack.yiaddr);
        if let Some(router) = ack.options.ip(code::ROUTER) {
            commands += &format!("route replace default via {router}\n");
        }
        // One process, because all machines do this at the same time.
        let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        ip.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        assert!(ip.wait().unwrap().success(), "{commands}");
        self.worked = self.worked.max(began.elapsed());
        self.lease = Some(ack.clone());
    }

    /// A SOLICIT of DHCPv6, as firmware sends it with its boot entry for IPv6.
    pub fn solicit_by_ipv6(&self) {
        let all_servers: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
        let solicit: [u8; 4] = [1, 0, 0, 7];
        let ethernet = [&[0x33, 0x33, 0, 1, 0, 2][..], &self.mac.0, &[0x86, 0xdd]].concat();
        let ip = [&[0x60, 0, 0, 0, 0, 12, 17, 1][..], &[0xfe, 0x80], &[0; 13], &[9], &all_servers].concat();
        let udp = [0x02, 0x22, 0x02, 0x23, 0, 12, 0, 0];
        (&packet_socket(0x86dd)).write_all(&[&ethernet[..], &ip, &udp, &solicit].concat()).unwrap();
    }

    /// A DECLINE of the address of the last ACK.
    pub fn decline(&mut self, program: Program) {
        let ack = self.lease.take().expect("a lease to decline");
        self.host.ip("addr flush dev eth0").unwrap();
        let mut message = self.message(MessageType::Decline, program);
        message.options.push(code::REQUESTED_ADDRESS, &ack.yiaddr.octets());
        let server = ack.options.ip(code::SERVER_IDENTIFIER).expect("an ACK names its server");
        message.options.push(code::SERVER_IDENTIFIER, &server.octets());
        self.broadcast(&message);
    }

    /// A question to the boot service on port 4011, from the address of the last ACK. Returns the answer within `wait`.
    pub fn ask_4011(&mut self, program: Program, wait: Duration) -> Option<Message> {
        let own = self.lease.as_ref().expect("an address").yiaddr;
        let message = Message { ciaddr: own, ..self.message(MessageType::Request, program) };
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        // A program that another thread starts may still have the socket of the last question.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddrV4::new(own, 4011).into()).unwrap();
        let socket = UdpSocket::from(socket);
        socket.send_to(&message.encode(), (self.server, 4011)).unwrap();
        socket.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = [0; 2048];
        let len = socket.recv(&mut bytes).ok()?;
        Message::decode(&bytes[..len]).ok()
    }

    /// The boot file that the last ACK names.
    pub fn named(&self) -> String {
        let ack = self.lease.as_ref().expect("a lease");
        let file = ack.options.get(code::BOOT_FILE_NAME).unwrap_or(&ack.file);
        String::from_utf8(until_nul(file).to_vec()).unwrap()
    }

    /// Loads `file` by TFTP, with the time-outs of EDK2. Returns the number of bytes.
    pub fn load(&self, file: &str, block_size: Option<u16>) -> Result<usize, Failed> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        let transfer_size = block_size.map(|_| 0);
        let options = Options { block_size, transfer_size, ..Options::default() };
        let request = Packet::Rrq(Request { name: file.as_bytes(), mode: Mode::Octet, options }).encode();
        let (mut sent, mut to) = (request, SocketAddr::from((self.server, 69)));
        let (mut size, mut got, mut wanted) = (512, 0, 1_u16);
        let (mut bytes, mut silent) = (vec![0; 2048], 0);
        // A switch on the way may drop a packet, and the kernel reports it for our own rules.
        _ = socket.send_to(&sent, to);
        loop {
            let Ok((len, from)) = socket.recv_from(&mut bytes) else {
                silent += 1;
                if silent == 4 {
                    return Err(Failed::Silent);
                }
                _ = socket.send_to(&sent, to);
                continue;
            };
            let is_end = match Packet::decode(&bytes[..len]) {
                Ok(Packet::OAck(options)) => {
                    size = usize::from(options.block_size.unwrap_or(512));
                    sent = Packet::Ack(0).encode();
                    false
                }
                Ok(Packet::Data { block, data }) if block == wanted => {
                    (got, wanted) = (got + data.len(), wanted.wrapping_add(1));
                    sent = Packet::Ack(block).encode();
                    data.len() < size
                }
                Ok(Packet::Error { code: tftp::ErrorCode(code), .. }) => return Err(Failed::Refused(code)),
                _ => continue,
            };
            (to, silent) = (from, 0);
            _ = socket.send_to(&sent, to);
            if is_end {
                return Ok(got);
            }
        }
    }

    /// The answer to `GET path`: its status, and the number of bytes of its content.
    pub fn get(&self, path: &str) -> (u16, usize) {
        let mut stream = self.connect(path);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.len() - head - 4)
    }

    /// Reports its memory in MiB, as the first line of generated scripts does.
    pub fn report_memory(&self, mib: u64) {
        let path = format!("/lanboot/facts?mac={}&memsize={mib}&platform=efi&buildarch=x86_64", self.mac);
        let (status, _) = self.get(&path);
        assert!((200..300).contains(&status), "{status}");
    }

    /// Reads the beginning of the answer to `GET path`, and resets the connection.
    pub fn get_beginning(&self, path: &str) {
        let mut stream = self.connect(path);
        stream.read_exact(&mut [0; 4096]).unwrap();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn connect(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect((self.server, 80)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.server);
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// Loads the file that the last ACK names: by HTTP if it is a URL. Beside another server it asks for the name.
    pub fn load_named(&mut self, program: Program) {
        let mut named = self.named();
        if named.is_empty() {
            let asked = (0..TRIES).find_map(|_| self.ask_4011(program, PATIENCE)).expect("an answer on 4011");
            named = String::from_utf8(asked.file_name().to_vec()).unwrap();
        }
        match named.split_once("://").map(|(_, rest)| rest.split_once('/').expect("a path").1) {
            Some(path) => assert_eq!(self.get(&format!("/{path}")).0, 200, "{named}"),
            None => assert!(self.load(&named, LARGE_BLOCKS).is_ok(), "{named}"),
        }
    }

    /// Firmware loads its loader, and iPXE its script.
    pub fn boot_to_script(&mut self) {
        self.lease(UEFI);
        self.load_named(UEFI);
        seconds(1);
        self.lease(IPXE);
        self.load_named(IPXE);
    }

    /// The same, and then the kernel and the RAM disk.
    pub fn boot_to_initrd(&mut self) {
        self.boot_to_script();
        assert_eq!(self.get("/debian/linux").0, 200);
        assert_eq!(self.get("/debian/initrd.gz").0, 200);
    }
}
