//! lanboot as a proxy beside a real DHCP server, dnsmasq, on the same computer and on another one. Machines that boot
//! get their file from lanboot and their address from dnsmasq. Other clients do not notice lanboot.
//!
//! Needs root, dnsmasq and udhcpc, which `tests/run` installs on Debian. Without them the tests are skipped by name, or
//! fail with CI=true.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Running};
use lanboot::types::MacAddr;
use lanboot::wire::dhcp::{BOOTREQUEST, FLAG_BROADCAST, Message, MessageType, until_nul};
use lanboot::wire::frame::udp_datagram;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use socket2::{Domain, Protocol, Socket, Type};
use support::site::{DNSMASQ, Site, dnsmasq, ready};

const UDHCPC: &[Need] = &[Need { what: "udhcpc", package: "udhcpc" }];

const LANBOOT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 254);
const MAC: &str = "52:54:00:77:00:02";
const LIMIT: Duration = Duration::from_secs(20);

const BOOT: &str = "boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}}";

#[test]
fn a_proxy_beside_dnsmasq_on_another_computer() {
    if !ready("beside a_proxy_beside_dnsmasq_on_another_computer", &[NETWORK, DNSMASQ, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(BOOT);
    let other = site.network.host("52:54:00:77:00:fe").unwrap();
    other.ip(&format!("addr add {OTHER}/24 dev eth0")).unwrap();
    let _dnsmasq = dnsmasq(&other, &[]);
    let mut server = site.serve(&config);
    boots_beside(&site, OTHER, &mut server);
}

#[test]
fn a_proxy_beside_dnsmasq_on_the_same_computer_whichever_starts_first() {
    let name = "beside a_proxy_beside_dnsmasq_on_the_same_computer_whichever_starts_first";
    if !ready(name, &[NETWORK, DNSMASQ, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(BOOT);
    for dnsmasq_first in [true, false] {
        let early = dnsmasq_first.then(|| dnsmasq(site.network.namespace(), &[]));
        let mut server = site.serve(&config);
        let _dnsmasq = early.unwrap_or_else(|| dnsmasq(site.network.namespace(), &[]));
        boots_beside(&site, LANBOOT, &mut server);
    }
}

#[test]
fn a_dhcp_server_beside_ours_is_logged_with_address_and_mac() {
    let name = "beside a_dhcp_server_beside_ours_is_logged_with_address_and_mac";
    if !ready(name, &[NETWORK, DNSMASQ, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let subnets = "subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}]";
    let config = site.configure(&format!("dhcp: {{mode: server, conflict_check: off, {subnets}}}\n{BOOT}"));
    let mut server = site.serve(&config);
    let host = site.network.host(MAC).unwrap();
    let wire = Wire::new(&host);
    wire.broadcast(&discover(UEFI));
    assert_eq!(wire.hear(1, 68).len(), 1, "alone");
    assert!(!server.drain().contains("rogue_server"), "{}", server.drain());
    let other = site.network.host("52:54:00:77:00:fe").unwrap();
    other.ip(&format!("addr add {OTHER}/24 dev eth0")).unwrap();
    let _dnsmasq = dnsmasq(&other, &[]);
    for _ in 0..3 {
        wire.broadcast(&discover(UEFI));
        assert_eq!(wire.hear(2, 68).len(), 2);
    }
    let said = "rogue_server(br0) 192.168.77.254 at 52:54:00:77:00:fe sent DHCPOFFER of 192.168.77.1";
    assert!(server.wait_for(said, LIMIT), "{}", server.drain());
    assert_eq!(server.drain().matches("rogue_server(").count(), 1, "{}", server.drain());
}

#[test]
fn without_cap_net_raw_the_port_is_shared_where_allowed() {
    let name = "beside without_cap_net_raw_the_port_is_shared_where_allowed";
    if !ready(name, &[NETWORK, DNSMASQ, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(BOOT);
    let server = || {
        let mut command = site.network.namespace().command("setpriv");
        command.args([
            "--inh-caps=-net_raw",
            "--bounding-set=-net_raw",
            &*support::LANBOOT,
            "serve",
            "--config",
        ]);
        command.arg(&config);
        Running::spawn(command).unwrap()
    };
    {
        let _dnsmasq = dnsmasq(site.network.namespace(), &["--bind-interfaces", "--interface=br0"]);
        let mut server = server();
        assert!(server.wait_for("cannot listen beside port 67", LIMIT), "{}", server.drain());
        assert!(server.wait_for("TFTP on", LIMIT), "{}", server.drain());
        let host = site.network.host(MAC).unwrap();
        let wire = Wire::new(&host);
        wire.broadcast(&discover(UEFI));
        let offers = wire.hear(2, 68);
        assert!(offers.iter().any(|heard| heard.message.yiaddr.is_unspecified()), "{offers:?}");
        assert!(offers.iter().any(|heard| !heard.message.yiaddr.is_unspecified()), "{offers:?}");
    }
    // This server does not share its port.
    let _dnsmasq = dnsmasq(site.network.namespace(), &[]);
    let mut server = server();
    let said = "0.0.0.0:67 is in use by dnsmasq";
    assert!(server.wait_for(said, LIMIT), "{}", server.drain());
    assert!(server.wait_for("CAP_NET_RAW", LIMIT), "{}", server.drain());
}

#[test]
fn a_server_on_the_proxys_own_computer_is_heard() {
    if !ready("beside a_server_on_the_proxys_own_computer_is_heard", &[NETWORK, DNSMASQ]) {
        return;
    }
    let probe = |host: &Namespace, arguments: &str| {
        let mut command = host.command(&*support::LANBOOT);
        let output = command.arg("probe").args(arguments.split(' ')).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let site = Site::new(&[("undionly.kpxe", b"MZ"), ("snponly.efi", b"MZ")]);
    let config = site.configure(BOOT);
    let other = site.network.host("52:54:00:77:00:fe").unwrap();
    other.ip(&format!("addr add {OTHER}/24 dev eth0")).unwrap();
    let mut server = site.serve(&config);
    for (computer, address) in [(&other, OTHER), (site.network.namespace(), LANBOOT)] {
        let mut dnsmasq = dnsmasq(computer, &[]);
        for arch in ["bios", "uefi-x64"] {
            let arguments = format!("--interface br0 --arch {arch} --collect 1");
            let out = probe(site.network.namespace(), &arguments);
            assert!(out.contains("booted: "), "{out}\n{}\n{}", server.drain(), dnsmasq.drain());
            assert!(out.contains(&format!(" from {address}, no file")), "{out}");
        }
    }
}

const BIOS: (&[u8], u8) = (b"PXEClient:Arch:00000:UNDI:002001", 0);
const UEFI: (&[u8], u8) = (b"PXEClient:Arch:00007:UNDI:003000", 7);

/// A system gets and renews its address without any packet from lanboot. Firmware gets both offers, one ACK, and its
/// file.
fn boots_beside(site: &Site, dhcp_server: Ipv4Addr, server: &mut Running) {
    let host = site.network.host(MAC).unwrap();
    let address = system_gets_and_renews_its_address(site, &host);
    assert!(!server.drain().contains("PROXYDHCP"), "a system boots nothing: {}", server.drain());
    let wire = Wire::new(&host);
    for (client, file) in [(BIOS, "undionly.kpxe"), (UEFI, "snponly.efi")] {
        wire.broadcast(&discover(client));
        let offers = wire.hear(2, 68);
        let (ours, theirs): (Vec<_>, Vec<_>) =
            offers.iter().partition(|heard| heard.message.yiaddr.is_unspecified());
        let ([ours], [theirs]) = (&ours[..], &theirs[..]) else { panic!("two offers: {offers:?}") };
        assert_eq!(
            (ours.from, theirs.from),
            (SocketAddrV4::new(LANBOOT, 67), SocketAddrV4::new(dhcp_server, 67))
        );
        assert_eq!(until_nul(&ours.message.file), file.as_bytes());
        assert_eq!(until_nul(&theirs.message.file), b"");

        let (offered, identifier) = (theirs.message.yiaddr, theirs.message.options.ip(54).unwrap());
        let mut request = message(MessageType::Request, client);
        request.options.push(50, &offered.octets());
        request.options.push(54, &identifier.octets());
        wire.broadcast(&request);
        let acks = wire.hear(1, 68);
        assert!(matches!(&acks[..], [ack] if ack.message.yiaddr == offered), "one ACK, dnsmasq's: {acks:?}");
    }
    let mut request = message(MessageType::Request, UEFI);
    request.ciaddr = address;
    let from = inside(&host, move || UdpSocket::bind((address, 4011)).unwrap());
    from.send_to(&request.encode(), (LANBOOT, 4011)).unwrap();
    let acks = wire.hear(1, 4011);
    let [ack] = &acks[..] else { panic!("{acks:?}\n{}", server.drain()) };
    assert_eq!(
        (ack.from, ack.message.message_type()),
        (SocketAddrV4::new(LANBOOT, 4011), Some(Ok(MessageType::Ack)))
    );
    assert_eq!(until_nul(&ack.message.file), b"snponly.efi");
    assert!(server.wait_for("PROXYDHCP(br0) 192.168.77.", LIMIT), "{}", server.drain());
}

/// udhcpc gets an address from dnsmasq and renews it with dnsmasq alone.
fn system_gets_and_renews_its_address(site: &Site, host: &Namespace) -> Ipv4Addr {
    const SCRIPT: &str = "#!/bin/sh\ncase $1 in bound) ip addr add $ip/$mask dev $interface ;; esac\n\
                          echo \"EVENT $1 $ip.\"\n";
    let script = site.folder.path().join("udhcpc.sh");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = host.command("udhcpc");
    command.args(["-f", "-i", "eth0", "-t", "10", "-T", "1", "-s"]).arg(&script);
    let mut client = Running::spawn(command).unwrap();
    assert!(client.wait_for("EVENT bound 192.168.77.1", LIMIT), "{}", client.drain());
    assert!(client.wait_for(".\n", LIMIT));
    let said = client.drain().to_owned();
    let bound = said.split("EVENT bound ").nth(1).unwrap().lines().next().unwrap();
    kill(client.pid(), Signal::SIGUSR1).unwrap();
    assert!(client.wait_for("EVENT renew 192.168.77.1", LIMIT), "{}", client.drain());
    bound.trim_end_matches('.').parse().unwrap()
}

fn message(kind: MessageType, (class, arch): (&[u8], u8)) -> Message {
    let mut message = Message::new(BOOTREQUEST);
    (message.xid, message.flags) = (0x1122_3344, FLAG_BROADCAST);
    message.chaddr[..6].copy_from_slice(&MAC.parse::<MacAddr>().unwrap().0);
    message.options.push(53, &[kind.number()]);
    message.options.push(60, class);
    message.options.push(93, &[0, arch]);
    message.options.push(97, &[0; 17]);
    message
}

fn discover(client: (&[u8], u8)) -> Message {
    message(MessageType::Discover, client)
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

/// The firmware's end of the wire: it sends from port 68 and sees every frame that arrives.
struct Wire {
    udp: UdpSocket,
    frames: Socket,
}

#[derive(Debug)]
struct Heard {
    from: SocketAddrV4,
    message: Message,
}

impl Wire {
    fn new(host: &Namespace) -> Wire {
        inside(host, || {
            let udp = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
            udp.set_broadcast(true).unwrap();
            udp.bind_device(Some(b"eth0")).unwrap();
            udp.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into()).unwrap();
            let ip = Protocol::from(i32::from(0x0800u16.to_be()));
            let frames = Socket::new(Domain::PACKET, Type::RAW, Some(ip)).unwrap();
            frames.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            Wire { udp: udp.into(), frames }
        })
    }

    fn broadcast(&self, message: &Message) {
        self.udp.send_to(&message.encode(), (Ipv4Addr::BROADCAST, 67)).unwrap();
    }

    /// The replies to `port`: at least `wanted`, and any others within half a second. No reply is a fragment or has the
    /// don't-fragment flag set, because both confuse boot ROMs.
    fn hear(&self, wanted: usize, port: u16) -> Vec<Heard> {
        let mut heard: Vec<Heard> = Vec::new();
        let (end, mut quiet) = (Instant::now() + LIMIT, None);
        while Instant::now() < end && quiet.is_none_or(|until| Instant::now() < until) {
            let mut buffer = [0; 2048];
            if let Ok(len) = (&self.frames).read(&mut buffer)
                && let Some(datagram) = udp_datagram(&buffer[..len])
                && datagram.destination.port() == port
            {
                if *datagram.source.ip() == LANBOOT {
                    assert_eq!(buffer[20] & 0x40, 0, "don't-fragment is off");
                }
                heard.push(Heard {
                    from: datagram.source,
                    message: Message::decode(datagram.payload).unwrap(),
                });
            }
            if heard.len() >= wanted {
                quiet = quiet.or(Some(Instant::now() + Duration::from_millis(500)));
            }
        }
        heard
    }
}
