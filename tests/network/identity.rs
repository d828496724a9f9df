//! The identity of the machine at an address, over real networks: an attacker with a raw socket among honest machines.
//!
//! Needs root, udhcpc, curl, and for some tests dnsmasq and dhcrelay. Without them the tests are skipped by name, or
//! fail with CI=true.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Running};
use lanboot::types::MacAddr;
use lanboot::wire::dhcp::{BOOTREPLY, BOOTREQUEST, Message};
use lanboot::wire::frame::udp_frame;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use support::site::{DNSMASQ, RELAY, Site, dnsmasq, ready};

const CLIENT: &[Need] = &[Need { what: "udhcpc", package: "udhcpc" }, Need { what: "curl", package: "curl" }];
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 254);
/// The machine to install once, and one that must start its disk.
const NAMED: &str = "52:54:00:77:00:10";
const LIMIT: Duration = Duration::from_secs(30);

fn victim(n: usize) -> String {
    format!("52:54:00:77:00:2{n}")
}

fn site(dhcp: &str, http: &str) -> (Site, std::path::PathBuf) {
    let site = Site::new(&[("user-data.j2", b"name={{ name }}\n")]);
    let mut machines = format!("  - {{name: named, mac: '{NAMED}', boot: local, once: installer}}\n");
    for n in 0..4 {
        machines += &format!("  - {{name: victim{n}, mac: '{}', boot: local}}\n", victim(n));
    }
    let config = site.configure(&format!(
        "dhcp: {dhcp}\nboot: {{arch: {{bios: undionly.kpxe}}, default: local}}\nhttp: {http}\ntftp: {{port: 69}}\n\
         targets: {{installer: {{kernel: installer/linux}}}}\nmachines:\n{machines}log: {{level: debug}}"
    ));
    (site, config)
}

const SERVES: &str = "{mode: server, conflict_check: off, subnets: [{network: 192.168.77.0/24, pool: \
                      192.168.77.50-192.168.77.99}, {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}]}";

/// Gets an address as a PXE client does, and configures it on the host.
fn boots(site: &Site, host: &Namespace, gateway: Option<&str>) -> Ipv4Addr {
    const SCRIPT: &str = "#!/bin/sh\ncase $1 in bound) ip addr flush dev $interface; ip addr add $ip/$mask dev $interface; \
                          echo \"EVENT bound $ip.\" ;; esac\n";
    let script = site.folder.path().join(format!("udhcpc-{}.sh", host.name));
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = host.command("udhcpc");
    command.args(["-f", "-n", "-q", "-i", "eth0", "-t", "10", "-T", "1"]);
    // Otherwise the client would take a proxy's offer for an offer of an address.
    let is_proxy =
        fs::read_to_string(site.folder.path().join("config.yaml")).unwrap().contains("mode: proxy");
    if !is_proxy {
        command.args(["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"]);
    }
    command.arg("-s").arg(&script);
    let mut client = Running::spawn(command).unwrap();
    assert!(client.wait_for("EVENT bound ", LIMIT) && client.wait_for(".\n", LIMIT), "{}", client.drain());
    let said = client.drain().to_owned();
    let bound = said.split("EVENT bound ").nth(1).unwrap().lines().next().unwrap();
    if let Some(gateway) = gateway {
        host.ip(&format!("route add default via {gateway}")).unwrap();
    }
    bound.trim_end_matches('.').parse().unwrap()
}

/// curl's output, with the status at the end.
fn curl(host: &Namespace, arguments: &[&str]) -> String {
    let mut command = host.command("curl");
    command.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}"]).args(arguments);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn http(host: &Namespace, name: &str) -> String {
    curl(host, &[&format!("http://{SERVER}/{name}")])
}

fn says_done(host: &Namespace, mac: &str) -> String {
    curl(host, &["-X", "POST", &format!("http://{SERVER}/{mac}/done")])
}

/// Sends frames on the wire of `eth0` in a namespace.
struct Attacker {
    socket: std::os::fd::OwnedFd,
    link: LinkAddr,
    mac: MacAddr,
}

impl Attacker {
    fn new(host: &Namespace) -> Attacker {
        let namespace = File::open(format!("/run/netns/{}", host.name)).unwrap();
        let opened = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let mut all = nix::ifaddrs::getifaddrs().unwrap();
            let link = all.find_map(|interface| {
                let link = *interface.address.as_ref()?.as_link_addr()?;
                (interface.interface_name == "eth0").then_some(link)
            });
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).unwrap();
            (socket, link.unwrap())
        });
        let (socket, link) = opened.join().unwrap();
        let mac = MacAddr(link.addr().unwrap());
        Attacker { socket, link, mac }
    }

    fn send(&self, source: SocketAddrV4, destination: SocketAddrV4, message: &Message) {
        let to = MacAddr([0xff; 6]);
        let frame = udp_frame(self.mac, to, source, destination, &message.encode()).unwrap();
        let _ = sendto(self.socket.as_raw_fd(), &frame, &self.link, MsgFlags::empty());
    }

    /// Claims in every possible way that `address` belongs to `mac`.
    fn claims(&self, address: Ipv4Addr, mac: &str) {
        let mac: MacAddr = mac.parse().unwrap();
        let message = |op: u8, kind: u8, options: &[(u8, &[u8])]| {
            let mut message = Message::new(op);
            message.chaddr[..6].copy_from_slice(&mac.0);
            (message.xid, message.ciaddr) = (0x6666_0000 + u32::from(kind), address);
            message.options.push(53, &[kind]);
            message.options.push(60, b"PXEClient:Arch:00000:UNDI:002001");
            message.options.push(93, &[0, 0]);
            options.iter().for_each(|(code, value)| assert!(message.options.push(*code, value)));
            message
        };
        let (from, all) = (SocketAddrV4::new(address, 68), Ipv4Addr::BROADCAST);
        let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        // An INFORM, a renewal, and a request to the boot service, each by broadcast and to the server.
        self.send(from, SocketAddrV4::new(all, 67), &message(BOOTREQUEST, 8, &[]));
        self.send(from, SocketAddrV4::new(all, 67), &message(BOOTREQUEST, 3, &[]));
        self.send(from, SocketAddrV4::new(SERVER, 4011), &message(BOOTREQUEST, 3, &[]));
        self.send(from, SocketAddrV4::new(SERVER, 4011), &message(BOOTREQUEST, 8, &[]));
        // A REQUEST for another server's offer, and that server's ACK and OFFER.
        let other = OTHER_SERVER.octets();
        let mut takes = message(BOOTREQUEST, 3, &[(54, &other), (50, &address.octets())]);
        takes.ciaddr = Ipv4Addr::UNSPECIFIED;
        self.send(none, SocketAddrV4::new(all, 67), &takes);
        for kind in [2, 5] {
            let mut given = message(BOOTREPLY, kind, &[(54, &other), (51, &[0, 0, 14, 16])]);
            given.yiaddr = address;
            self.send(SocketAddrV4::new(OTHER_SERVER, 67), SocketAddrV4::new(all, 68), &given);
        }
        // A BOOTP request with ciaddr set.
        let mut bootp = Message::new(BOOTREQUEST);
        bootp.chaddr[..6].copy_from_slice(&mac.0);
        bootp.ciaddr = address;
        self.send(from, SocketAddrV4::new(all, 67), &bootp);
    }
}

/// Four victims and the machine to install boot at the same time, twenty times in all. Meanwhile another host claims
/// each address for another machine.
fn attacked(site: &Site, server: &mut Running) {
    let attacker = site.network.host("52:54:00:77:00:66").unwrap();
    let attack = Attacker::new(&attacker);
    let hosts: Vec<Namespace> = (0..4).map(|n| site.network.host(&victim(n)).unwrap()).collect();
    let named = site.network.host(NAMED).unwrap();
    let victims: Vec<Ipv4Addr> = hosts.iter().map(|host| boots(site, host, None)).collect();
    let own = boots(site, &named, None);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                victims.iter().for_each(|address| attack.claims(*address, NAMED));
                attack.claims(own, &victim(0));
                thread::sleep(Duration::from_millis(5));
            }
        });
        thread::sleep(Duration::from_millis(300));
        let loads = hosts.iter().map(|host| {
            scope.spawn(move || {
                for _ in 0..5 {
                    for name in ["boot.ipxe", "lanboot/boot.ipxe", "pxelinux.cfg/default"] {
                        let got = http(host, name);
                        assert!(!got.contains("installer"), "{name}: {got}");
                        let by_tftp = curl(host, &[&format!("tftp://{SERVER}//{name}")]);
                        assert!(!by_tftp.contains("installer"), "{name}: {by_tftp}");
                    }
                    assert!(!http(host, "user-data").contains("named"));
                    let done = says_done(host, NAMED);
                    assert!(done.ends_with("403"), "{done}");
                }
            })
        });
        let loads: Vec<_> = loads.collect();
        for load in loads {
            load.join().unwrap();
        }
        for _ in 0..5 {
            let got = http(&named, "boot.ipxe");
            assert!(got.contains("installer/linux"), "it is its own: {got}\n{}", server.drain());
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(http(&hosts[0], "user-data").contains("name=victim0"));
    assert!(says_done(&named, NAMED).ends_with("204"));
    assert!(!http(&named, "boot.ipxe").contains("installer"));
}

#[test]
fn s_01_forged_packets_teach_a_dhcp_server_nothing() {
    if !ready("identity s_01_forged_packets_teach_a_dhcp_server_nothing", &[NETWORK, CLIENT]) {
        return;
    }
    let (site, config) = site(SERVES, "{port: 80}");
    let mut server = site.serve(&config);
    attacked(&site, &mut server);
}

#[test]
fn s_01_forged_packets_teach_a_proxy_nothing() {
    if !ready("identity s_01_forged_packets_teach_a_proxy_nothing", &[NETWORK, CLIENT, DNSMASQ]) {
        return;
    }
    let (site, config) = site("{mode: proxy}", "{port: 80}");
    let other = site.other_computer();
    let _dnsmasq = dnsmasq(&other, &[]);
    let mut server = site.serve(&config);
    attacked(&site, &mut server);
}

/// A host that takes the address of a machine passes as that machine by DHCP, but not by ARP.
#[test]
fn s_01_a_host_with_anothers_address_is_contested() {
    if !ready("identity s_01_a_host_with_anothers_address_is_contested", &[NETWORK, CLIENT]) {
        return;
    }
    let (site, config) = site(SERVES, "{port: 80}");
    let mut server = site.serve(&config);
    let address = {
        let named = site.network.host(NAMED).unwrap();
        boots(&site, &named, None)
    };
    let thief = site.network.host("52:54:00:77:00:66").unwrap();
    thief.ip(&format!("addr add {address}/24 dev eth0")).unwrap();
    let got = http(&thief, "boot.ipxe");
    assert!(!got.contains("installer/linux ||") && !got.contains("52:54:00:77:00:10"), "{got}");
    assert!(http(&thief, "lanboot/whoami").contains(&format!("address: {address}\nserver: {SERVER}\n\n200")));
    assert!(!http(&thief, &format!("{NAMED}/boot.ipxe")).contains("installer/linux"), "never a `once`");
    assert!(says_done(&thief, NAMED).ends_with("403"));
    let said = format!("contested {address} is {NAMED} by DHCP and 52:54:00:77:00:66 by ARP: ");
    assert!(server.wait_for(&said, LIMIT), "{}", server.drain());
    assert_eq!(server.drain().matches("contested ").count(), 1, "it is logged once");
}

/// Behind a relay agent there is no neighbour entry. Behind an unknown address there is no lease either.
#[test]
fn s_01_machines_behind_routers_still_get_their_own() {
    let name = "identity s_01_machines_behind_routers_still_get_their_own";
    if !ready(name, &[NETWORK, CLIENT, RELAY]) {
        return;
    }
    let (site, config) = site(SERVES, "{port: 80}");
    let mut server = site.serve(&config);
    let (_relay, far) = site.behind_a_relay_agent("192.168.77.2/24", "10.1.0.1/24");
    let named = far.host(NAMED).unwrap();
    // As for machines behind NAT: the server sees an address on its own wire, and a MAC that belongs to no machine it
    // knows.
    let router = site.network.host("52:54:00:77:00:fd").unwrap();
    router.ip("addr add 192.168.77.3/24 dev eth0").unwrap();
    let hyphens = NAMED.replace(':', "-");
    for name in [format!("pxelinux.cfg/01-{hyphens}"), format!("{hyphens}/boot.ipxe")] {
        let got = http(&router, &name);
        assert!(got.contains("installer/linux"), "{name}: {got}");
    }
    assert!(http(&router, &format!("{hyphens}/user-data")).contains("name=named"));
    assert!(says_done(&router, NAMED).ends_with("403"), "only the machine itself");
    let address = boots(&site, &named, Some("10.1.0.1"));
    for name in ["boot.ipxe".to_owned(), format!("pxelinux.cfg/01-{hyphens}"), format!("{hyphens}/boot.ipxe")]
    {
        let got = http(&named, &name);
        assert!(got.contains("installer/linux"), "{address} {name}: {got}\n{}", server.drain());
    }
    let other = far.host(&victim(0)).unwrap();
    boots(&site, &other, Some("10.1.0.1"));
    for name in ["user-data", "boot.ipxe"] {
        assert!(
            http(&other, &format!("{hyphens}/{name}")).ends_with("403"),
            "it is known to be another machine"
        );
    }
    assert!(http(&other, "user-data").contains("name=victim0"));
    assert!(says_done(&other, NAMED).ends_with("403"));
    assert!(http(&named, "boot.ipxe").contains("installer/linux"));
    assert!(says_done(&named, NAMED).ends_with("204"));
    assert!(!http(&named, "boot.ipxe").contains("installer/linux"));
    assert!(server.wait_for("reason=other_machine", LIMIT), "{}", server.drain());
}

/// A client reaches the server from a network that the server does not serve, through a router that runs on the same
/// computer.
#[test]
fn s_10_a_network_that_is_not_served_reads_nothing_and_ends_no_once() {
    let name = "identity s_10_a_network_that_is_not_served_reads_nothing_and_ends_no_once";
    if !ready(name, &[NETWORK, CLIENT]) {
        return;
    }
    let (site, config) = site(SERVES, "{port: 80}");
    let far = Namespace::new().unwrap();
    let here = site.network.namespace();
    here.ip(&format!("link add far0 type veth peer name eth0 netns {}", far.name())).unwrap();
    here.ip("addr add 10.99.0.1/24 dev far0").unwrap();
    here.ip("link set far0 up").unwrap();
    far.ip("addr add 10.99.0.2/24 dev eth0").unwrap();
    far.ip("link set eth0 up").unwrap();
    far.ip("route add default via 10.99.0.1").unwrap();
    let script = || http(here, &format!("{NAMED}/boot.ipxe"));
    {
        let mut server = site.serve(&config);
        for name in ["user-data", "boot.ipxe", "nosuch", "../x"] {
            let got = http(&far, name);
            assert!(got.ends_with("This network is not served.\n\n403"), "{name}: {got}");
        }
        assert!(says_done(&far, NAMED).ends_with("403"));
        assert!(server.wait_for("reason=not_allowed", LIMIT), "{}", server.drain());
        let named = site.network.host(NAMED).unwrap();
        boots(&site, &named, None);
        assert!(http(&named, "boot.ipxe").contains("installer/linux"), "its `once` is still there");
        assert!(script().contains("installer/linux"), "this computer itself may ask");
    }
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("{port: 80}", "{port: 80, allow: [10.99.0.0/24]}")).unwrap();
    let _server = site.serve(&config);
    assert!(http(&far, &format!("{NAMED}/user-data")).contains("name=named"));
    assert!(says_done(&far, NAMED).ends_with("403"), "it may read, and is no machine of ours");
    assert!(script().contains("installer/linux"));
    assert!(says_done(here, NAMED).ends_with("204"), "a person at this computer");
    assert!(!script().contains("installer/linux"));
}

#[test]
fn s_16_a_page_under_a_foreign_name_reads_nothing() {
    if !ready("identity s_16_a_page_under_a_foreign_name_reads_nothing", &[NETWORK, CLIENT]) {
        return;
    }
    let (site, config) = site(SERVES, "{port: 80}");
    let mut server = site.serve(&config);
    let host = site.network.host("52:54:00:77:00:30").unwrap();
    boots(&site, &host, None);
    let url = format!("http://{SERVER}/boot.ipxe");
    let get = |fields: &[&str]| {
        let fields: Vec<&str> = fields.iter().flat_map(|field| ["-H", field]).collect();
        curl(&host, &[&fields[..], &[&url]].concat())
    };
    for browser in [
        "Origin: http://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: same-origin",
        "sec-fetch-dest: empty",
    ] {
        assert!(get(&["Host: evil.example", browser]).ends_with("403"), "{browser}");
        assert!(get(&[browser]).ends_with("200"), "by our address: {browser}");
    }
    assert!(get(&["Host: evil.example"]).ends_with("200"), "firmware may have any name for us");
    let end = Instant::now() + LIMIT;
    while !server.drain().contains("reason=foreign_host") {
        assert!(Instant::now() < end, "{}", server.drain());
        thread::sleep(Duration::from_millis(50));
    }
}
