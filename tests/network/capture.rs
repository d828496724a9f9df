//! `lanboot capture`, and the verdicts that only a packet socket can prove: a firewall in front of port 4011, and replies
//! that do not pass the path in one piece.
//!
//! Needs root, tcpdump and nft. Without them the tests are skipped by name, or fail with CI=true.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Running, run};
use serde_json::Value;
use support::LANBOOT;
use support::lab::{FILES, content};
use support::site::{SERVER, Site, machine_behind, ready, until};

use super::one_frame::inside;

const TCPDUMP: &[Need] = &[Need { what: "tcpdump", package: "tcpdump" }];
const NFT: &[Need] = &[Need { what: "nft", package: "nftables" }];
const SYSCTL: &[Need] = &[Need { what: "sysctl", package: "procps" }];

const MAC: &str = "52:54:00:77:00:61";

const SERVES: &str = "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99, lease: 10m}]}\n\
    boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi, uefi-x64-http: 'http://{server}/snponly.efi'}, ipxe: boot.ipxe}\n\
    http: {port: 80}\n\
    machines: [{name: node1, mac: '52:54:00:77:00:61'}]";

struct Lab {
    site: Site,
    config: PathBuf,
    server: Running,
}

impl Lab {
    fn new(rest: &str) -> Lab {
        let files: Vec<(&str, Vec<u8>)> = FILES.iter().map(|(name, _)| (*name, content(name))).collect();
        let site = Site::new(&files.iter().map(|(name, bytes)| (*name, &bytes[..])).collect::<Vec<_>>());
        let config = site.configure(rest);
        let server = site.serve(&config);
        Lab { site, config, server }
    }

    fn here(&self) -> &Namespace {
        self.site.network.namespace()
    }

    fn lanboot(&self, arguments: &[&str]) -> Output {
        let mut command = self.here().command(&*LANBOOT);
        command.args(arguments).arg("--config").arg(&self.config).output().unwrap()
    }

    /// Captures the last boot of `machine` into a file, and returns tcpdump's lines about it.
    fn captured(&mut self, machine: &str) -> Vec<String> {
        let file = self.site.folder.path().join("boot.pcap");
        let output = self.lanboot(&["capture", machine, "-o", file.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}\nserver:\n{}", self.server.drain());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("tcpdump -nr"), "{said}");
        read(&file)
    }

    /// The verdict about the newest boot of the machine, or null.
    fn verdict(&self, mac: &str) -> Value {
        let output = self.lanboot(&["why", mac, "--json"]);
        let details: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        details["boots"][0]["verdict"].clone()
    }
}

/// The lines of tcpdump about a file: one for each packet, with the details of its layers.
fn read(file: &Path) -> Vec<String> {
    let output = Command::new("tcpdump").args(["-vv", "-n", "-r"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("link-type EN10MB"), "{said}");
    let mut packets: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match packets.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(packet) => packet.push_str(line),
            None => packets.push(line.to_owned()),
        }
    }
    packets
}

fn count(packets: &[String], what: &str) -> usize {
    packets.iter().filter(|packet| packet.contains(what)).count()
}

fn probe(host: &Namespace, arguments: &str) -> Output {
    let mut command = host.command(&*LANBOOT);
    command.arg("probe").args(arguments.split_whitespace()).output().unwrap()
}

#[test]
fn a_capture_has_the_exchange_and_no_data_of_files() {
    if !ready("capture a_capture_has_the_exchange_and_no_data_of_files", &[NETWORK, TCPDUMP]) {
        return;
    }
    let mut lab = Lab::new(SERVES);
    let host = lab.site.network.host(MAC).unwrap();
    let booted = probe(&host, &format!("--mac {MAC} --collect 0"));
    assert!(booted.status.success(), "{booted:?}");
    let packets = lab.captured("node1");
    let shown = packets.join("\n");
    assert_eq!(count(&packets, "bad "), 0, "checksums are complete:\n{shown}");
    for (what, at_least) in [
        ("DHCP-Message (53), length 1: Discover", 1),
        ("DHCP-Message (53), length 1: Offer", 1),
        ("DHCP-Message (53), length 1: Request", 1),
        ("DHCP-Message (53), length 1: ACK", 1),
        ("RRQ \"snponly.efi\"", 1),
        // tcpdump knows TFTP by its port, which only requests have: the ACKs of block 0 and 1.
        ("UDP, length 4", 1),
    ] {
        assert!(count(&packets, what) >= at_least, "{what}:\n{shown}");
    }
    // 1 MiB has more than 700 blocks.
    assert!(packets.len() < 40, "{} packets:\n{shown}", packets.len());
    let bytes = fs::read(lab.site.folder.path().join("boot.pcap")).unwrap();
    let has = |data: &[u8]| bytes.windows(data.len()).any(|window| window == data);
    assert!(has(b"\0\x06blksize\x001468\0"), "an OACK");
    assert!(!has(&content("snponly.efi")[..64]), "no data of files");

    // Standard output, and a machine without a boot.
    let piped = lab.lanboot(&["capture", MAC, "-o", "-"]);
    assert!(piped.status.success() && piped.stdout.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]), "{piped:?}");
    let piped = lab.lanboot(&["capture", MAC]);
    assert!(piped.status.success() && !piped.stdout.is_empty(), "{piped:?}");
    let unknown = lab.lanboot(&["capture", "52:54:00:77:00:99"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
}

#[test]
fn a_capture_has_the_heads_of_http() {
    if !ready("capture a_capture_has_the_heads_of_http", &[NETWORK, TCPDUMP]) {
        return;
    }
    let mut lab = Lab::new(SERVES);
    let host = lab.site.network.host(MAC).unwrap();
    let booted = probe(&host, &format!("--mac {MAC} --arch uefi-x64-http --collect 0"));
    assert!(booted.status.success(), "{booted:?}");
    let packets = lab.captured(MAC);
    let shown = packets.join("\n");
    assert!(count(&packets, "GET /snponly.efi HTTP/1.1") >= 1, "{shown}");
    assert!(count(&packets, "HTTP/1.1 200 OK") >= 1, "{shown}");
    assert!(count(&packets, "Flags [S]") >= 1, "{shown}");
    let bytes = fs::read(lab.site.folder.path().join("boot.pcap")).unwrap();
    let data = &content("snponly.efi")[..64];
    assert!(!bytes.windows(data.len()).any(|window| window == data), "no data of files");
    assert!(bytes.len() < 64 << 10, "{} bytes", bytes.len());
}

/// A recorded message of OVMF, from another machine: the last byte of its hardware address is `last`.
fn recorded(name: &str, last: u8) -> Vec<u8> {
    let file = format!("{}/tests/data/packets/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(file).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let mut bytes = lanboot::types::from_hex(digits.trim()).unwrap();
    bytes[28..34].copy_from_slice(&[0x52, 0x54, 0, 0x4c, 0x41, last]);
    bytes
}

/// Sends what OVMF sends when it asks the boot service.
fn ask_boot_service(host: &Namespace, last: u8) {
    let (discover, question) =
        (recorded("ovmf-x64-pxe-discover", last), recorded("ovmf-x64-pxe-request-4011", last));
    inside(host, || {
        let socket = UdpSocket::bind("0.0.0.0:68").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(&discover, "255.255.255.255:67").unwrap();
        sleep(Duration::from_millis(300));
        socket.send_to(&question, (SERVER, 4011)).unwrap();
    });
}

#[test]
fn our_own_firewall_before_port_4011_is_found() {
    if !ready("capture our_own_firewall_before_port_4011_is_found", &[NETWORK, NFT]) {
        return;
    }
    let mut lab = Lab::new(SERVES);
    let host = lab.site.network.host("52:54:00:4c:41:07").unwrap();
    host.ip("addr add 192.168.77.156/24 dev eth0").unwrap();
    host.ip("route add 255.255.255.255 dev eth0").unwrap();
    ask_boot_service(&host, 7);
    sleep(Duration::from_secs(3));
    let log = lab.server.drain();
    assert!(!log.contains("blocked("), "the question arrived:\n{log}");
    let drop_4011 = "add table inet t; add chain inet t in { type filter hook input priority 0; }; \
        add rule inet t in udp dport 4011 drop";
    run(lab.here().command("nft").arg(drop_4011)).unwrap();
    ask_boot_service(&host, 8);
    until(|| lab.verdict("52:54:00:4c:41:08").is_object(), "there is a verdict");
    let verdict = lab.verdict("52:54:00:4c:41:08");
    assert_eq!(verdict["id"], "port_4011_silent", "{verdict}\n{}", lab.server.drain());
    assert!(verdict["cause"].as_str().unwrap().contains("firewall of this computer"), "{verdict}");
}

#[test]
fn fragments_that_a_path_drops_are_a_verdict() {
    if !ready("capture fragments_that_a_path_drops_are_a_verdict", &[NETWORK, NFT, SYSCTL]) {
        return;
    }
    let long = "ab".repeat(250);
    let options = format!("options: {{224: \"hex:{long}\", 225: \"hex:{long}\"}}, always_send: [224, 225]");
    let lab = Lab::new(&format!(
        "dhcp: {{mode: server, {options}, subnets: [{{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}}, \
         {{network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}}]}}\n\
         boot: {{arch: {{uefi-x64: snponly.efi}}}}"
    ));
    // A router between the server's network and 10.1.0.0/24, whose path is narrow and loses fragments.
    let router = lab.site.network.host("52:54:00:00:00:fe").unwrap();
    router.ip("addr add 192.168.77.254/24 dev eth0").unwrap();
    let far = machine_behind(&router);
    lab.here().ip("route add 10.1.0.0/24 via 192.168.77.254 mtu lock 576").unwrap();
    let drop_fragments = "add table ip t; add chain ip t pre { type filter hook prerouting priority -500; }; \
        add rule ip t pre ip frag-off & 0x3fff != 0 drop";
    run(router.command("nft").arg(drop_fragments)).unwrap();
    let failed = probe(&far, &format!("--server {SERVER} --mac {MAC} --collect 0 --timeout 20"));
    assert!(!failed.status.success(), "{failed:?}");
    until(|| lab.verdict(MAC).is_object(), "there is a verdict");
    let verdict = lab.verdict(MAC);
    assert_eq!(verdict["id"], "reply_too_large", "{verdict}");
}
