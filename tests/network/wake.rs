//! Wake-on-LAN over real links: magic packets arrive as broadcasts on the network of the machine.
//!
//! Needs root. One test needs udhcpc, which `tests/run` installs on Debian.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Running, run};
use lanboot::types::MacAddr;
use lanboot::wire::frame::udp_datagram;
use lanboot::wire::magic_packet::magic_packet;
use support::LANBOOT;
use support::site::{Site, ready};

use super::one_frame::{Wire, inside};

const UDHCPC: &[Need] = &[Need { what: "udhcpc", package: "udhcpc" }];
/// The two network cards of the machine `twin`, and a machine without an entry.
const FIRST: &str = "52:54:00:77:00:31";
const SECOND: &str = "52:54:00:77:00:32";
const STRANGER: &str = "52:54:00:77:00:33";
/// The port of magic packets.
const DISCARD: u16 = 9;
/// Time in which a packet that must not come would have come.
const QUIET: Duration = Duration::from_millis(500);

/// A server of two networks, with a host on each.
struct Lan {
    near: Namespace,
    far: Namespace,
    config: PathBuf,
    _server: Running,
    site: Site,
}

impl Lan {
    fn new() -> Lan {
        let site = Site::new(&[]);
        let near = site.network.host(FIRST).unwrap();
        let (here, far) = (site.network.namespace(), Namespace::new().unwrap());
        here.ip(&format!("link add lan1 type veth peer name eth0 netns {}", far.name())).unwrap();
        here.ip("addr add 192.168.78.1/24 dev lan1").unwrap();
        here.ip("link set lan1 up").unwrap();
        far.ip("link set eth0 up").unwrap();
        // A route that leads elsewhere: the interface decides, not the routing table.
        here.ip("route add default via 192.168.78.2").unwrap();
        let subnet = |n| format!("{{network: 192.168.{n}.0/24, pool: 192.168.{n}.50-192.168.{n}.60}}");
        let config = site.configure(&format!(
            "dhcp: {{mode: server, conflict_check: off, subnets: [{}, {}]}}\n\
             machines: [{{name: twin, mac: ['{FIRST}', '{SECOND}']}}]",
            subnet(77),
            subnet(78)
        ));
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("interfaces: [br0]", "interfaces: [br0, lan1]")).unwrap();
        let server = site.serve(&config);
        Lan { near, far, config, _server: server, site }
    }

    /// Runs `wake`, and returns the MACs that the packets on each of the two networks name.
    fn heard(&self, expected: [&[&str]; 2], wake: impl FnOnce()) {
        let wires = [inside(&self.near, Wire::open), inside(&self.far, Wire::open)];
        wake();
        let expected = expected.map(|macs| macs.iter().map(|mac| mac.parse().unwrap()).collect());
        for (wire, expected) in wires.iter().zip::<[BTreeSet<MacAddr>; 2]>(expected) {
            let mut frames = wire.receive(&[DISCARD], |frames| expected.is_subset(&macs(frames)));
            let end = Instant::now() + QUIET;
            frames.extend(wire.receive(&[DISCARD], |_| Instant::now() > end));
            assert_eq!(macs(&frames), expected);
        }
    }

    fn command(&self, machine: &str) {
        let mut command = self.site.network.namespace().command(&*LANBOOT);
        run(command.args(["wake", machine, "--config"]).arg(&self.config)).unwrap();
    }

    fn api(&self, machine: &str) -> String {
        let mut stream = UnixStream::connect(self.site.folder.path().join("state/control.sock")).unwrap();
        let request = format!(
            "POST /api/v1/machines/{machine}/wake HTTP/1.1\r\nHost: lanboot\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}

/// The MACs that the magic packets in `frames` name. Every frame must be a whole magic packet, broadcast.
fn macs(frames: &[Vec<u8>]) -> BTreeSet<MacAddr> {
    let mac = |frame: &Vec<u8>| {
        assert_eq!(frame[..6], [0xff; 6], "a broadcast");
        let payload = udp_datagram(frame).expect("a whole UDP datagram").payload;
        let mac = MacAddr(payload[6..12].try_into().unwrap());
        assert_eq!(payload[..magic_packet(mac).len()], magic_packet(mac));
        mac
    };
    frames.iter().map(mac).collect()
}

#[test]
fn wake_is_heard_on_every_network_of_a_machine_without_an_address() {
    if !ready("wake wake_is_heard_on_every_network_of_a_machine_without_an_address", &[NETWORK]) {
        return;
    }
    let lan = Lan::new();
    let both: &[&str] = &[FIRST, SECOND];
    lan.heard([both, both], || lan.command("twin"));
    lan.heard([both, both], || _ = lan.api("twin"));
    lan.heard([&[SECOND], &[SECOND]], || lan.command(SECOND));
    lan.heard([&[STRANGER], &[STRANGER]], || _ = lan.api("52-54-00-77-00-33"));
}

#[test]
fn wake_is_heard_where_the_machine_has_its_address() {
    if !ready("wake wake_is_heard_where_the_machine_has_its_address", &[NETWORK, UDHCPC]) {
        return;
    }
    let lan = Lan::new();
    let mut client = lan.near.command("udhcpc");
    client.args(["-f", "-q", "-n", "-i", "eth0", "-t", "10", "-T", "1", "-s", "/bin/true"]);
    let mut client = Running::spawn(client).unwrap();
    assert!(client.wait_for("lease of 192.168.77.", Duration::from_secs(20)), "{}", client.drain());
    lan.heard([&[FIRST], &[]], || lan.command(FIRST));
    // The other card may be on any network.
    lan.heard([&[FIRST, SECOND], &[SECOND]], || _ = lan.api("twin"));
}
