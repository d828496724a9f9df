//! Hosts on the wire that send forged packets: forged DECLINEs, and ARP answers for every address. Real clients on a
//! private network must get and keep their addresses.
//!
//! Needs root and udhcpc. Without them the tests are skipped by name, or fail with CI=true.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Running};
use lanboot::net::interface;
use lanboot::types::MacAddr;
use lanboot::wire::dhcp::{Message, MessageType};
use lanboot::wire::frame::udp_frame;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use support::LANBOOT;
use support::one_at_a_time;
use support::site::{Site, ready, until};

const UDHCPC: &[Need] = &[Need { what: "udhcpc", package: "udhcpc" }];
const LIMIT: Duration = Duration::from_secs(30);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const ATTACKER: MacAddr = MacAddr([0x52, 0x54, 0, 0x77, 0, 0x66]);

fn mac(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x77, 0, n])
}

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// Runs `work` inside the namespace. Sockets that it opens stay there.
fn inside<T: Send + 'static>(host: &Namespace, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = File::open(format!("/run/netns/{}", host.name())).unwrap();
    let work = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    };
    thread::spawn(work).join().unwrap()
}

/// A packet socket on a host's `eth0`.
struct Raw {
    socket: Socket,
    link: LinkAddr,
}

impl Raw {
    fn new(host: &Namespace) -> Raw {
        inside(host, || {
            let eth0 = interface::list().unwrap().into_iter().find(|i| &*i.name == "eth0").unwrap();
            let protocol = Protocol::from(i32::from(0x0003_u16.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
            Raw { socket, link: eth0.link.unwrap() }
        })
    }

    /// Broadcasts a client's message, in a frame from `from`.
    fn send(&self, from: MacAddr, message: &Message) {
        let (source, to) =
            (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
        let frame = udp_frame(from, MacAddr([0xff; 6]), source, to, &message.encode()).unwrap();
        sendto(self.socket.as_raw_fd(), &frame, &self.link, MsgFlags::empty()).unwrap();
    }

    /// Answers every ARP probe (RFC 5227) from one hardware address, with a different address in each message.
    fn answer_all_probes(&self, stop: &AtomicBool) {
        self.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut frame = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            let Ok(len) = (&self.socket).read(&mut frame) else { continue };
            let is_probe = len >= 42 && frame[12..14] == [8, 6] && frame[28..32] == [0; 4];
            if !is_probe || frame[6..12] == ATTACKER.0 {
                continue;
            }
            let address: [u8; 4] = frame[38..42].try_into().unwrap();
            let made_up = [6, 6, 6, 6, 6, address[3]];
            let head = [&frame[6..12], &ATTACKER.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
            let answer = [&head[..], &made_up, &address, &frame[6..12], &[0; 4]].concat();
            sendto(self.socket.as_raw_fd(), &answer, &self.link, MsgFlags::empty()).unwrap();
        }
    }
}

fn decline(xid: u32, client: MacAddr, address: Ipv4Addr) -> Message {
    let mut message = Message::new(1);
    message.xid = xid;
    message.chaddr[..6].copy_from_slice(&client.0);
    message.options.push(53, &[MessageType::Decline.number()]);
    message.options.push(50, &address.octets());
    message.options.push(54, &SERVER.octets());
    message
}

fn udhcpc(host: &Namespace) -> Running {
    let mut command = host.command("udhcpc");
    command.args(["-f", "-q", "-n", "-i", "eth0", "-t", "10", "-T", "2", "-s", "/bin/true"]);
    Running::spawn(command).unwrap()
}

/// Asserts that a client gets a lease of `address`.
fn gets(host: &Namespace, server: &mut Running, address: Ipv4Addr) {
    let mut client = udhcpc(host);
    let got = client.wait_for(&format!("lease of {address} obtained"), LIMIT);
    assert!(got, "no {address}: {}\n{}", client.drain(), server.drain());
}

/// Waits until the server has dropped that many messages for `reason`.
fn drops(server: &mut Running, reason: &str, count: usize) {
    let text = format!("reason={reason}");
    let end = Instant::now() + LIMIT;
    while server.drain().matches(&text).count() < count {
        assert!(Instant::now() < end, "no {count} times {text}:\n{}", server.drain());
        thread::sleep(Duration::from_millis(50));
    }
}

const LAB: &str = "dhcp: {mode: server, conflict_check: CHECK, \
    subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.69}]}\n\
    machines: [{mac: '52:54:00:77:00:02', address: 192.168.77.10}]";

#[test]
fn s_02_a_forged_decline_moves_no_client() {
    if !ready("attackers s_02_a_forged_decline_moves_no_client", &[NETWORK, UDHCPC]) {
        return;
    }
    for check in ["500ms", "off"] {
        let site = Site::new(&[]);
        let config = site.configure(&LAB.replace("CHECK", check));
        let mut server = site.serve(&config);
        let reserved = site.network.host(&mac(2).to_string()).unwrap();
        let dynamic = site.network.host(&mac(3).to_string()).unwrap();
        let attacker = site.network.host(&ATTACKER.to_string()).unwrap();
        gets(&reserved, &mut server, ip(10));
        gets(&dynamic, &mut server, ip(50));

        // The source address of the frame betrays the attacker: in a plain message, after another option, and by a
        // relay agent.
        let raw = Raw::new(&attacker);
        let mut count = 0;
        for (client, address) in [(mac(2), ip(10)), (mac(3), ip(50))] {
            let plain = decline(1, client, address);
            let mut other_first = Message { xid: 2, ..Message::new(1) };
            other_first.chaddr = plain.chaddr;
            other_first.options.push(12, b"x");
            for (code, value) in [(50, &address.octets()[..]), (54, &SERVER.octets()), (53, &[4])] {
                other_first.options.push(code, value);
            }
            let relayed = Message { giaddr: ip(66), xid: 3, ..plain.clone() };
            for forged in [plain, other_first, relayed] {
                raw.send(ATTACKER, &forged);
                count += 1;
                drops(&mut server, "forged_decline", count);
            }
        }
        // Without privileges, in fragments. Packet sockets see no complete datagram of them.
        attacker.ip("addr add 192.168.77.66/24 dev eth0").unwrap();
        let udp = inside(&attacker, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)).unwrap());
        udp.set_broadcast(true).unwrap();
        let mut long = decline(4, mac(3), ip(50)).encode();
        long.resize(3000, 0);
        udp.send_to(&long, (Ipv4Addr::new(192, 168, 77, 255), 67)).unwrap();
        drops(&mut server, "forged_decline", count + 1);
        // The frame is forged too. The reserved address stays, and the client itself answers at its address.
        raw.send(mac(2), &decline(5, mac(2), ip(10)));
        drops(&mut server, "decline_unfounded", 1);
        dynamic.ip("addr add 192.168.77.50/24 dev eth0").unwrap();
        raw.send(mac(3), &decline(6, mac(3), ip(50)));
        drops(&mut server, "decline_unfounded", 2);

        gets(&reserved, &mut server, ip(10));
        gets(&dynamic, &mut server, ip(50));
        assert!(!server.drain().contains("declined("), "{}", server.drain());
    }
}

#[test]
fn s_02_a_forged_release_ends_no_lease() {
    if !ready("attackers s_02_a_forged_release_ends_no_lease", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(&LAB.replace("CHECK", "500ms"));
    let mut server = site.serve(&config);
    let victim = site.network.host(&mac(3).to_string()).unwrap();
    let attacker = site.network.host(&ATTACKER.to_string()).unwrap();
    gets(&victim, &mut server, ip(50));
    let raw = Raw::new(&attacker);
    let release = |xid, giaddr| {
        let mut release = Message { xid, giaddr, ciaddr: ip(50), ..Message::new(1) };
        release.chaddr[..6].copy_from_slice(&mac(3).0);
        release.options.push(53, &[7]);
        release.options.push(54, &SERVER.octets());
        release
    };
    raw.send(ATTACKER, &release(1, Ipv4Addr::UNSPECIFIED));
    drops(&mut server, "forged_release", 1);
    assert!(!server.drain().contains("released("), "{}", server.drain());
    // The client's own, while the forged one is being checked.
    raw.send(ATTACKER, &release(2, Ipv4Addr::UNSPECIFIED));
    Raw::new(&victim).send(mac(3), &release(3, Ipv4Addr::UNSPECIFIED));
    assert!(server.wait_for("released(br0) 192.168.77.50", LIMIT), "{}", server.drain());
}

#[test]
fn s_02_a_true_decline_takes_effect_and_the_client_gets_another_address() {
    if !ready("attackers s_02_a_true_decline_takes_effect", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(&LAB.replace("CHECK", "off"));
    let mut server = site.serve(&config);
    let reserved = site.network.host(&mac(2).to_string()).unwrap();
    let dynamic = site.network.host(&mac(3).to_string()).unwrap();
    gets(&reserved, &mut server, ip(10));
    gets(&dynamic, &mut server, ip(50));
    let squatter = site.network.host("52:54:00:77:00:99").unwrap();
    squatter.ip("addr add 192.168.77.10/24 dev eth0").unwrap();
    // The client's DISCOVER follows at once and waits for the check.
    Raw::new(&reserved).send(mac(2), &decline(1, mac(2), ip(10)));
    gets(&reserved, &mut server, ip(51));
    let by = "declined(br0) 192.168.77.10 52:54:00:77:00:02: 52:54:00:77:00:99 uses that address";
    assert!(server.wait_for(by, LIMIT), "{}", server.drain());
    // Another machine that only the client can reach.
    Raw::new(&dynamic).send(mac(3), &decline(2, mac(3), ip(50)));
    gets(&dynamic, &mut server, ip(52));
    assert!(server.wait_for("declined(br0) 192.168.77.50 52:54:00:77:00:03: it found", LIMIT));
}

#[test]
fn s_02_many_declines_at_once_keep_no_other_client_waiting() {
    let _alone = one_at_a_time();
    if !ready("attackers s_02_many_declines_at_once", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(&LAB.replace("CHECK", "500ms"));
    let mut server = site.serve(&config);
    let reserved = site.network.host(&mac(2).to_string()).unwrap();
    let attacker = site.network.host(&ATTACKER.to_string()).unwrap();
    gets(&reserved, &mut server, ip(10));
    let raw = Raw::new(&attacker);
    for xid in 0..2000 {
        raw.send(ATTACKER, &decline(xid, mac(2), ip(10)));
    }
    let new = site.network.host(&mac(4).to_string()).unwrap();
    let began = Instant::now();
    gets(&new, &mut server, ip(50));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    gets(&reserved, &mut server, ip(10));
}

/// Configures a host to answer ARP for 192.168.77.48 to 192.168.77.79, as a router with proxy ARP does.
fn answer_for_all(host: &Namespace) {
    host.ip("link set lo up").unwrap();
    host.ip("addr add 192.168.77.250/24 dev eth0").unwrap();
    host.ip("route add local 192.168.77.48/28 dev lo").unwrap();
    host.ip("route add local 192.168.77.64/28 dev lo").unwrap();
}

#[test]
fn s_04_a_machine_that_answers_for_every_address_keeps_no_client_out() {
    if !ready("attackers s_04_a_machine_that_answers_for_every_address", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(&LAB.replace("CHECK", "500ms"));
    let mut server = site.serve(&config);
    let router = site.network.host("52:54:00:77:00:fe").unwrap();
    answer_for_all(&router);
    let squatter = site.network.host("52:54:00:77:00:99").unwrap();
    squatter.ip("addr add 192.168.77.54/24 dev eth0").unwrap();
    let hosts: Vec<Namespace> = (20..26).map(|n| site.network.host(&mac(n).to_string()).unwrap()).collect();
    let mut clients: Vec<Running> = hosts.iter().map(udhcpc).collect();
    for client in &mut clients {
        let got = client.wait_for(" obtained", LIMIT);
        assert!(got, "{}\n{}", client.drain(), server.drain());
        assert!(!client.drain().contains("lease of 192.168.77.54 obtained"), "the squatter's address");
    }
    let line = "proxy_arp(br0) 52:54:00:77:00:fe answers for ";
    assert!(server.wait_for(line, LIMIT), "{}", server.drain());
    assert_eq!(server.drain().matches(line).count(), 1, "logged once: {}", server.drain());
    // Only the squatter's address is in quarantine.
    let quarantined = || {
        let log = server_leases(&site);
        log.lines()
            .filter(|line| line.starts_with("192.168.77.") && line.contains("declined"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    until(|| quarantined().iter().all(|line| line.contains("192.168.77.54")), "the addresses are free again");
}

#[test]
fn s_04_an_attacker_that_answers_with_another_mac_each_time_is_found_too() {
    if !ready("attackers s_04_an_attacker_that_answers_with_another_mac", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(&LAB.replace("CHECK", "500ms"));
    let mut server = site.serve(&config);
    let attacker = site.network.host(&ATTACKER.to_string()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (raw, stopped) = (Raw::new(&attacker), Arc::clone(&stop));
    let liar = thread::spawn(move || raw.answer_all_probes(&stopped));
    let hosts: Vec<Namespace> = (20..24).map(|n| site.network.host(&mac(n).to_string()).unwrap()).collect();
    let mut clients: Vec<Running> = hosts.iter().map(udhcpc).collect();
    for client in &mut clients {
        assert!(client.wait_for(" obtained", LIMIT), "{}\n{}", client.drain(), server.drain());
    }
    stop.store(true, Ordering::Relaxed);
    liar.join().unwrap();
    assert!(server.wait_for("proxy_arp(br0) 52:54:00:77:00:66 answers for ", LIMIT), "{}", server.drain());
}

#[test]
fn s_14_a_flood_of_made_up_macs_keeps_no_new_client_out() {
    let _alone = one_at_a_time();
    if !ready("attackers s_14_a_flood_of_made_up_macs", &[NETWORK, UDHCPC]) {
        return;
    }
    let site = Site::new(&[]);
    let config = site.configure(
        "log: {level: warn}\ndhcp: {mode: server, subnets: [{network: 192.168.77.0/24, \
         pool: 192.168.77.50-192.168.77.199}]}",
    );
    let mut server = site.serve(&config);
    let attacker = site.network.host(&ATTACKER.to_string()).unwrap();
    let hosts: Vec<Namespace> = (20..24).map(|n| site.network.host(&mac(n).to_string()).unwrap()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let (raw, stopped) = (Raw::new(&attacker), Arc::clone(&stop));
    let flood = thread::spawn(move || {
        for n in 0u32.. {
            let mut discover = Message::new(1);
            discover.xid = n;
            discover.chaddr[..6].copy_from_slice(&[[6, 0].as_slice(), &n.to_be_bytes()].concat());
            discover.options.push(53, &[1]);
            raw.send(ATTACKER, &discover);
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    // The pool is full of offers by then.
    thread::sleep(Duration::from_secs(7));
    let mut clients: Vec<Running> = hosts.iter().map(udhcpc).collect();
    let began = Instant::now();
    for client in &mut clients {
        assert!(client.wait_for(" obtained", LIMIT), "{}\n{}", client.drain(), server.drain());
    }
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

/// The output of `lanboot leases`.
fn server_leases(site: &Site) -> String {
    let mut command = site.network.namespace().command(&*LANBOOT);
    let output = command.args(["leases", "--config"]).arg(site.folder.path().join("config.yaml")).output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}
