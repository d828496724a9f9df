//! Another DHCP server and lanboot with the configuration imported from it, each on its own private network. Both
//! get the same messages, and their answers are compared.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanboot::cli::demo::network::{BRIDGE, Namespace, Network, Running};
use lanboot::wire::dhcp::{BOOTREPLY, BOOTREQUEST, FLAG_BROADCAST, Message, MessageType, until_nul};
use lanboot::wire::frame::udp_datagram;
use lanboot::wire::option::{Printed, code};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

use crate::LANBOOT;

/// The longest wait for an answer. dhcpd pings an address for a second before it offers it.
const ANSWER_WAIT: Duration = Duration::from_secs(4);
/// The address of the relay agent that forwards messages of other networks.
const RELAY: &str = "192.168.77.254";

/// One server on its network, and a client's and relay agent's end of the wire.
pub struct Side {
    pub server: Running,
    client: UdpSocket,
    relay: UdpSocket,
    frames: Socket,
    _host: Namespace,
    pub network: Network,
}

impl Side {
    /// Makes the network, whose server has the address .1 in each of `networks`, then starts the server there.
    pub fn new(networks: &[&str], start: impl FnOnce(&Network) -> Running) -> Side {
        let network = Network::new("192.168.77.1/24").unwrap();
        for other in networks {
            network.namespace().ip(&format!("addr add {other} dev {BRIDGE}")).unwrap();
        }
        let host = network.host("52:54:00:77:00:fd").unwrap();
        host.ip(&format!("addr add {RELAY}/24 dev eth0")).unwrap();
        network.namespace().ip(&format!("route add 10.0.0.0/8 via {RELAY}")).unwrap();
        for giaddr in ["10.20.0.1", "10.9.0.1", "10.77.12.254"] {
            host.ip(&format!("addr add {giaddr}/32 dev lo")).unwrap();
        }
        let server = start(&network);
        let (client, relay, frames) = inside(&host, || {
            let socket = |address: SocketAddrV4| {
                let udp = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
                udp.set_broadcast(true).unwrap();
                udp.set_reuse_address(true).unwrap();
                udp.bind(&address.into()).unwrap();
                udp
            };
            let client = socket(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68));
            client.bind_device(Some(b"eth0")).unwrap();
            let relay = socket(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67));
            let ip = Protocol::from(i32::from(0x0800u16.to_be()));
            let frames = Socket::new(Domain::PACKET, Type::RAW, Some(ip)).unwrap();
            frames.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            (client.into(), relay.into(), frames)
        });
        Side { server, client, relay, frames, _host: host, network }
    }

    /// Sends a message and returns the answer to it.
    pub fn ask(&self, message: &Message) -> Option<Message> {
        // Frames from before are no answers.
        let mut buffer = [0; 2048];
        self.frames.set_nonblocking(true).unwrap();
        while (&self.frames).read(&mut buffer).is_ok() {}
        self.frames.set_nonblocking(false).unwrap();
        let bytes = message.encode();
        if message.giaddr.is_unspecified() {
            self.client.send_to(&bytes, (Ipv4Addr::BROADCAST, 67)).unwrap();
        } else {
            self.relay.send_to(&bytes, ("192.168.77.1", 67)).unwrap();
        }
        let end = Instant::now() + ANSWER_WAIT;
        while Instant::now() < end {
            let Ok(len) = (&self.frames).read(&mut buffer) else { continue };
            let Some(datagram) = udp_datagram(&buffer[..len]) else { continue };
            let Ok(answer) = Message::decode(datagram.payload) else { continue };
            // Kea answers a broadcast once for each address of its interface, so a second offer may come later. A
            // client that has sent a REQUEST ignores it.
            let requests = message.message_type() == Some(Ok(MessageType::Request));
            let is_late = requests && answer.message_type() == Some(Ok(MessageType::Offer));
            if answer.op == BOOTREPLY && answer.xid == message.xid && !is_late {
                return Some(answer);
            }
        }
        None
    }

    /// Gets an address as a client does: the offer, then the answer to a REQUEST for it.
    pub fn boot(&self, discover: &Message) -> Option<Message> {
        let offer = self.ask(discover)?;
        if discover.message_type().is_none() {
            return Some(offer);
        }
        let mut request = discover.clone();
        request.options = lanboot::wire::dhcp::Options::default();
        for (number, value) in discover.options.iter() {
            let value = if number == code::MESSAGE_TYPE { &[MessageType::Request.number()] } else { value };
            request.options.push(number, value);
        }
        request.options.push(code::REQUESTED_ADDRESS, &offer.yiaddr.octets());
        request.options.push(code::SERVER_IDENTIFIER, offer.options.get(code::SERVER_IDENTIFIER)?);
        self.ask(&request)
    }
}

/// Runs `work` in a namespace. Sockets that it opens stay there.
fn inside<T: Send + 'static>(host: &Namespace, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = File::open(format!("/run/netns/{}", host.name)).unwrap();
    let entered = std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    });
    entered.join().unwrap()
}

/// A client of a comparison.
#[derive(Clone)]
pub struct Client {
    pub name: &'static str,
    pub message: Message,
}

/// The options that clients ask for, besides those that a client of a case adds.
const ASKED: &[u8] = &[
    1, 2, 3, 4, 6, 7, 12, 15, 17, 23, 28, 33, 40, 42, 43, 46, 51, 54, 58, 59, 66, 67, 119, 121, 125, 175,
    222, 223, 224, 225, 226, 227, 240, 241, 249, 252,
];

impl Client {
    /// A client with the hardware address 02:00:00:00 and the two bytes.
    pub fn new(name: &'static str, mac: [u8; 2]) -> Client {
        Client::with_mac(name, [2, 0, 0, 0, mac[0], mac[1]])
    }

    pub fn with_mac(name: &'static str, mac: [u8; 6]) -> Client {
        let mut message = Message::new(BOOTREQUEST);
        (message.htype, message.hlen) = (1, 6);
        message.chaddr[..6].copy_from_slice(&mac);
        message.flags = FLAG_BROADCAST;
        message.xid = u32::from_be_bytes([mac[2] ^ mac[0], mac[3], mac[4], mac[5]]) ^ 0x5a00_0000;
        message.options.push(code::MESSAGE_TYPE, &[MessageType::Discover.number()]);
        message.options.push(code::PARAMETER_REQUEST_LIST, ASKED);
        Client { name, message }
    }

    #[must_use]
    pub fn option(mut self, number: u8, value: &[u8]) -> Client {
        self.message.options.push(number, value);
        self
    }

    /// Firmware that boots by PXE.
    #[must_use]
    pub fn pxe(self, arch: u16) -> Client {
        let class = format!("PXEClient:Arch:{arch:05}:UNDI:002001");
        let id: Vec<u8> = [&[0u8; 11][..], &self.message.chaddr[..6]].concat();
        self.option(60, class.as_bytes())
            .option(93, &arch.to_be_bytes())
            .option(94, &[1, 2, 1])
            .option(97, &id)
    }

    /// iPXE, which firmware of this architecture loaded.
    #[must_use]
    pub fn ipxe(self, arch: u16) -> Client {
        self.pxe(arch).option(77, b"iPXE").option(175, b"\xb1\x05\x01\x80\x86\x10\x0e\x13\x01\x01")
    }

    /// Behind the relay agent.
    #[must_use]
    pub fn behind(mut self, giaddr: &str, option82: &[u8]) -> Client {
        self.message.giaddr = giaddr.parse().unwrap();
        self.message.hops = 1;
        if !option82.is_empty() {
            self.message.options.push(82, option82);
        }
        self
    }
}

/// The differences that a comparison leaves out, with the reason in docs/import.md.
#[derive(Clone, Copy, Default)]
pub struct Allowed {
    /// Options that may differ.
    pub options: &'static [u8],
    /// Networks or ranges, as the first and last address: two addresses in one of them are equal.
    pub ranges: &'static [(&'static str, &'static str)],
}

/// Compares the two answers to `client`. Returns one line for each difference.
pub fn differences(
    client: &Client,
    theirs: Option<&Message>,
    ours: Option<&Message>,
    allowed: Allowed,
) -> Vec<String> {
    let mut found = Vec::new();
    let name = client.name;
    let (theirs, ours) = match (theirs, ours) {
        (None, None) => return found,
        (Some(theirs), None) => return vec![format!("{name}: they answer {}, we do not", short(theirs))],
        (None, Some(ours)) => return vec![format!("{name}: they do not answer, we answer {}", short(ours))],
        (Some(theirs), Some(ours)) => (theirs, ours),
    };
    let mut compare = |what: &str, theirs: String, ours: String| {
        if theirs != ours {
            found.push(format!("{name}: {what}: theirs {theirs}, ours {ours}"));
        }
    };
    compare("yiaddr", place(theirs.yiaddr, allowed), place(ours.yiaddr, allowed));
    let text = |bytes: &[u8]| String::from_utf8_lossy(until_nul(bytes)).into_owned();
    let boots = client.message.options.get(60).is_some_and(|class| class.starts_with(b"PXEClient"));
    let file = text(&theirs.file);
    compare("file", file.clone(), text(&ours.file));
    let has_own_server = theirs.siaddr.is_unspecified() || boots && (file.is_empty() || file.contains("://"));
    if !(has_own_server && OWN.contains(&ours.siaddr)) {
        compare("siaddr", theirs.siaddr.to_string(), ours.siaddr.to_string());
    }
    if !boots {
        compare("sname", text(&theirs.sname), text(&ours.sname));
    }
    // lanboot writes these for network boot itself, and the boot server's name and file stand in the fixed fields.
    let own: &[u8] = if boots { &[13, 43, 60, 66, 67, 93, 94, 97, 175] } else { &[] };
    for number in 1..255 {
        if own.contains(&number)
            || allowed.options.contains(&number)
            || matches!(number, 61 | 82)
            || is_accepted(number, client, theirs, ours)
        {
            continue;
        }
        let value = |message: &Message| {
            let value = message.options.get(number).map(|bytes| Printed(number, bytes).to_string());
            value.unwrap_or_else(|| "nothing".to_owned())
        };
        compare(&format!("option {number}"), value(theirs), value(ours));
    }
    found
}

/// The addresses of both servers.
const OWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 77, 1), Ipv4Addr::new(192, 168, 78, 1)];

/// Whether the difference in an option is one that docs/import.md names for every configuration.
fn is_accepted(number: u8, client: &Client, theirs: &Message, ours: &Message) -> bool {
    let (their, our) = (theirs.options.get(number), ours.options.get(number));
    match number {
        // Clients compute the broadcast address from the mask.
        code::BROADCAST_ADDRESS if their.is_none() => {
            let mask = ours.options.ip(code::SUBNET_MASK).map_or(0, u32::from);
            ours.options.ip(number).map(u32::from) == Some(u32::from(ours.yiaddr) | !mask)
        }
        // The name that the client sent itself comes back.
        code::HOSTNAME => our.is_none() && their.is_some() && their == client.message.options.get(number),
        // Where the other server sends no T1 and T2, clients take the values that lanboot sends. A lease without end is
        // never renewed.
        58 | 59 => {
            let lease = ours.options.get(code::LEASE_TIME).and_then(seconds);
            their.is_none() || our.is_none() && lease == Some(u32::MAX)
        }
        // Clients ignore these two beside classless routes (RFC 3442).
        code::ROUTER | code::STATIC_ROUTES => {
            our.is_none()
                && ours
                    .options
                    .get(code::CLASSLESS_ROUTES)
                    .is_some_and(|routes| theirs.options.get(code::CLASSLESS_ROUTES) == Some(routes))
        }
        // On a wire with several subnets.
        code::SERVER_IDENTIFIER => [theirs, ours]
            .iter()
            .all(|message| message.options.ip(number).is_some_and(|address| OWN.contains(&address))),
        // dhcpd sends the rest of a lease, and the seconds until 2038 for one without end.
        code::LEASE_TIME => match (their.and_then(seconds), our.and_then(seconds)) {
            (Some(their), Some(u32::MAX)) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                (u64::from(their) + now).abs_diff(i32::MAX.unsigned_abs().into()) <= SLOWNESS
            }
            (Some(their), Some(our)) => their <= our && u64::from(our - their) <= SLOWNESS,
            _ => false,
        },
        _ => false,
    }
}

/// The longest time between two answers that are compared, in seconds.
const SLOWNESS: u64 = 5;

fn seconds(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// The address, or the range that it is in.
fn place(address: Ipv4Addr, allowed: Allowed) -> String {
    let number = |text: &str| u32::from(text.parse::<Ipv4Addr>().unwrap());
    let inside = |(first, last): &&(&str, &str)| (number(first)..=number(last)).contains(&u32::from(address));
    match allowed.ranges.iter().find(inside) {
        Some((first, last)) => format!("{first}-{last}"),
        None => address.to_string(),
    }
}

fn short(message: &Message) -> String {
    let mut text = format!("{:?} with {}", message.message_type(), message.yiaddr);
    let _ = write!(text, " {:?}", String::from_utf8_lossy(message.file_name()));
    text
}

/// Imports `config` of `server` by the program, and starts lanboot with the result. Returns the messages too.
pub fn start_imported(
    network: &Network,
    folder: &Path,
    server: &str,
    config: &Path,
    files: &[&str],
) -> Running {
    let output = Command::new(&*LANBOOT).args(["import", server]).arg(config).output().unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
    let images = folder.join("boot-images");
    for file in files {
        let path = images.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let is_script = path.extension().is_some_and(|end| end == "ipxe");
        fs::write(path, if is_script { &b"#!ipxe\n"[..] } else { b"a boot file" }).unwrap();
    }
    fs::create_dir_all(&images).unwrap();
    let imported = String::from_utf8(output.stdout).unwrap();
    let (state, images) = (folder.join("state"), images);
    let text = format!(
        "state: {}\nimages: {}\nhttp: off\nmetrics: off\n{}{imported}",
        state.display(),
        images.display(),
        if imported.contains("\ninterfaces:") || imported.starts_with("interfaces:") {
            String::new()
        } else {
            format!("interfaces: [{BRIDGE}]\n")
        },
    );
    let file = folder.join("config.yaml");
    fs::write(&file, &text).unwrap();
    let program = [std::ffi::OsStr::new(&*LANBOOT)];
    lanboot::cli::demo::network::serve(network, &program, &file)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}
