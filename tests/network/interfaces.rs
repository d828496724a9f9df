//! Interfaces that go down, come up, change addresses or appear late. The server adapts to the current state of each
//! interface without a restart (docs/robustness.md, F-07).
//!
//! Needs root. Without it the tests are skipped by name, or fail with CI=true.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lanboot::cli::demo::network::{BRIDGE, NETWORK, Namespace, Need, Running, run};
use support::LANBOOT;
use support::site::{DNSMASQ, Site, dnsmasq, ready, until};

const MAC: &str = "52:54:00:77:00:02";
const UDHCPC: &[Need] = &[Need { what: "udhcpc", package: "udhcpc" }];
const CURL: &[Need] = &[Need { what: "curl", package: "curl" }];
const BOOT: &str = "boot: {arch: {uefi-x64: snponly.efi}}";

/// Long enough to notice a change without a notification from the kernel, on a busy computer.
const LIMIT: Duration = Duration::from_secs(20);

/// A UEFI boot program for x64 with this many bytes.
fn efi(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[60..64].copy_from_slice(&64u32.to_le_bytes());
    bytes[64..70].copy_from_slice(b"PE\0\0\x64\x86");
    bytes
}

/// Boots as UEFI firmware does on that interface. Returns the probe's output.
fn boot(host: &Namespace, interface: &str) -> String {
    probe(host, interface, "20")
}

/// Asserts that no server answers on that interface.
fn assert_no_offer(host: &Namespace, interface: &str) {
    let out = probe(host, interface, "3");
    assert!(out.contains("no DHCP server answered within 3 s"), "{out}");
}

fn probe(host: &Namespace, interface: &str, timeout: &str) -> String {
    let mut command = host.command(&*LANBOOT);
    command.args(["probe", "--interface", interface, "--arch", "uefi-x64", "--collect", "1"]);
    command.args(["--timeout", timeout]);
    let output = command.output().unwrap();
    [output.stdout, output.stderr].iter().map(|bytes| String::from_utf8_lossy(bytes)).collect()
}

/// Waits until the server has logged `text` that many times.
fn says(server: &mut Running, times: usize, text: &str) {
    until(|| server.drain().matches(text).count() >= times, text);
}

/// Interfaces `br0` and `late0`, and `rest` as [`Site::configure`] takes it.
fn with_late0(site: &Site, rest: &str) -> PathBuf {
    let config = site.configure(rest);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("interfaces: [br0]", "interfaces: [br0, late0]")).unwrap();
    config
}

/// A cable from `host`, where its end is `eth5`. Its end here is `port`, which is not connected yet.
fn cable(here: &Namespace, port: &str, host: &Namespace) {
    here.ip(&format!("link add {port} type veth peer name eth5 netns {}", host.name())).unwrap();
    // Packet sockets would see UDP packets whose checksums are not computed yet.
    run(here.command("ethtool").args(["-K", port, "tx", "off"])).unwrap();
    run(host.command("ethtool").args(["-K", "eth5", "tx", "off"])).unwrap();
    here.ip(&format!("link set {port} up")).unwrap();
    host.ip("link set eth5 up").unwrap();
}

/// Creates the interface `late0` with these cables.
fn make_late0(here: &Namespace, ports: &[&str], address: &str) {
    here.ip("link add late0 type bridge forward_delay 0 stp_state 0").unwrap();
    ports.iter().for_each(|port| here.ip(&format!("link set {port} master late0")).unwrap());
    here.ip(&format!("addr add {address}/24 dev late0")).unwrap();
    here.ip("link set late0 up").unwrap();
}

#[test]
fn f_07_an_interface_that_was_down_is_served_again() {
    if !ready("interfaces f_07_an_interface_that_was_down_is_served_again", &[NETWORK, UDHCPC]) {
        return;
    }
    // In server mode, with raw sockets for the address check, for other servers and for clients without an address.
    let site = Site::new(&[]);
    let config = site.configure(
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.60}]}",
    );
    let mut server = site.serve(&config);
    let pid = server.pid();
    let host = site.network.host(MAC).unwrap();
    let mut gets_a_lease = |when: &str| {
        let mut command = host.command("udhcpc");
        command.args(["-f", "-q", "-n", "-i", "eth0", "-t", "10", "-T", "1", "-s", "/bin/true"]);
        let mut client = Running::spawn(command).unwrap();
        assert!(
            client.wait_for("lease of 192.168.77.", LIMIT),
            "{when}: {}\n{}",
            client.drain(),
            server.drain()
        );
    };
    gets_a_lease("at first");
    let here = site.network.namespace();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    here.ip(&format!("link set {BRIDGE} down")).unwrap();
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    let spent = ticks() - before;
    assert!(spent < 20, "{spent} ticks of 10 ms in a second without a network");
    here.ip(&format!("link set {BRIDGE} up")).unwrap();
    gets_a_lease("after the interface was down");
}

#[test]
fn f_07_another_address_is_served_without_a_restart_and_transfers_go_on() {
    if !ready("interfaces f_07_another_address_is_served", &[NETWORK, CURL]) {
        return;
    }
    let site = Site::new(&[("snponly.efi", &efi(3 << 20))]);
    let config = site.configure(&format!(
        "http: {{port: 8080}}\ndhcp: {{mode: server, conflict_check: off, subnets: \
         [{{network: 192.168.77.0/24, pool: 192.168.77.2-192.168.77.60}}]}}\n{BOOT}"
    ));
    let mut server = site.serve(&config);
    let (here, host) = (site.network.namespace(), site.network.host(MAC).unwrap());
    host.ip("addr add 192.168.77.99/24 dev eth0").unwrap();
    let booted = |from: &str| {
        let out = boot(&host, "eth0");
        let took = format!("the boot file from {from}");
        assert!(
            out.contains(&format!("booted: snponly.efi from {from}")) && !out.contains("lost"),
            "{took}: {out}"
        );
    };
    booted("192.168.77.1");
    let mut slow = host.command("curl");
    slow.args(["-sS", "--limit-rate", "1M", "-o", "/dev/null", "-w", "got=%{size_download}."]);
    slow.arg("http://192.168.77.1:8080/snponly.efi");
    let mut slow = Running::spawn(slow).unwrap();

    // One more address.
    here.ip(&format!("addr add 192.168.77.3/24 dev {BRIDGE}")).unwrap();
    says(&mut server, 1, "interface br0 had 192.168.77.1 and is served with 192.168.77.1, 192.168.77.3 now");
    says(&mut server, 1, "192.168.77.3 is this computer's own and in a pool: it is never leased");
    says(&mut server, 1, "HTTP on 192.168.77.1:8080, 192.168.77.3:8080");
    says(&mut server, 1, "TFTP on 192.168.77.1:69, 192.168.77.3:69");
    for url in ["tftp://192.168.77.3/snponly.efi", "http://192.168.77.3:8080/snponly.efi"] {
        run(host.command("curl").args(["-sSf", "--max-time", "20", "-o", "/dev/null", url])).unwrap();
    }
    assert!(slow.wait_for("got=3145728.", LIMIT), "a transfer was cut off: {}", slow.drain());

    // Another address in place of both.
    here.ip(&format!("addr flush dev {BRIDGE}")).unwrap();
    here.ip(&format!("addr add 192.168.77.4/24 dev {BRIDGE}")).unwrap();
    says(&mut server, 1, "TFTP on 192.168.77.4:69");
    booted("192.168.77.4");

    // An address outside the subnet: no client is served, and the log has the reason.
    here.ip(&format!("addr flush dev {BRIDGE}")).unwrap();
    here.ip(&format!("addr add 10.9.9.1/24 dev {BRIDGE}")).unwrap();
    says(&mut server, 1, "TFTP on 10.9.9.1:69");
    says(&mut server, 1, "subnet 192.168.77.0/24: no served interface has an address in it");
    assert_no_offer(&host, "eth0");

    // And back.
    here.ip(&format!("addr flush dev {BRIDGE}")).unwrap();
    here.ip(&format!("addr add 192.168.77.1/24 dev {BRIDGE}")).unwrap();
    until(|| boot(&host, "eth0").contains("booted: snponly.efi from 192.168.77.1"), "it boots again");
}

#[test]
fn f_07_an_interface_that_comes_late_or_comes_again_is_served() {
    if !ready("interfaces f_07_an_interface_that_comes_late", &[NETWORK]) {
        return;
    }
    let site = Site::new(&[("snponly.efi", &efi(100_000))]);
    let subnet = |n| format!("{{network: 192.168.{n}.0/24, pool: 192.168.{n}.50-192.168.{n}.60}}");
    let subnets = format!("[{}, {}]", subnet(77), subnet(78));
    let config = with_late0(&site, &format!("dhcp: {{mode: server, subnets: {subnets}}}\n{BOOT}"));
    let mut server = site.serve(&config);
    says(&mut server, 1, "interface late0 of `interfaces` does not exist");
    let (here, host) = (site.network.namespace(), site.network.host(MAC).unwrap());
    cable(here, "port5", &host);
    for time in 1..=2 {
        // The second interface has another index in the kernel.
        make_late0(here, &["port5"], "192.168.78.1");
        says(&mut server, time, "interface late0 192.168.78.1 is served from now on");
        until(|| boot(&host, "eth5").contains("booted: snponly.efi from 192.168.78.1"), "the late one boots");
        assert!(boot(&host, "eth0").contains("booted: snponly.efi from 192.168.77.1"), "{time}");
        here.ip("link set late0 down").unwrap();
        here.ip("link set late0 name other0 up").unwrap();
        says(&mut server, time, "interface late0 is not served any more");
        assert_no_offer(&host, "eth5");
        here.ip("link del other0").unwrap();
    }
}

#[test]
fn f_07_a_proxy_hears_an_interface_that_comes_late() {
    if !ready("interfaces f_07_a_proxy_hears", &[NETWORK, DNSMASQ]) {
        return;
    }
    let site = Site::new(&[("snponly.efi", &efi(100_000))]);
    let config = with_late0(&site, &format!("dhcp: {{mode: proxy}}\n{BOOT}"));
    let here = site.network.namespace();
    here.ip(&format!("addr flush dev {BRIDGE}")).unwrap();
    here.ip(&format!("addr add 10.9.9.1/24 dev {BRIDGE}")).unwrap();
    let mut server = site.serve(&config);
    let (other, host) = (site.network.host("52:54:00:77:00:fe").unwrap(), site.network.host(MAC).unwrap());
    cable(here, "port5", &host);
    cable(here, "port6", &other);
    other.ip("addr add 192.168.77.254/24 dev eth5").unwrap();
    let _dnsmasq = dnsmasq(&other, &[]);
    make_late0(here, &["port5", "port6"], "192.168.77.1");
    says(&mut server, 1, "interface late0 192.168.77.1 is served from now on");
    until(|| boot(&host, "eth5").contains("booted: snponly.efi from 192.168.77.1"), "the late one boots");
}
