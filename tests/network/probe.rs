//! `lanboot probe` in network namespaces, against `lanboot serve` and against dnsmasq, as the only server and as a
//! proxy beside another server.
//!
//! All tests need root. The tests with dnsmasq need Debian's dnsmasq-base.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Output;
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Network, Running, run};
use sha2::{Digest, Sha256};
use support::LANBOOT;
use support::lab::{FILES, content};
use support::site::{SERVER, Site, machine_behind, ready, until};

use crate::one_frame::inside;

const DNSMASQ: &[Need] = &[Need { what: "dnsmasq", package: "dnsmasq-base" }];
const SETPRIV: &[Need] = &[Need { what: "setpriv", package: "util-linux" }];

/// The probe's output with its errors at the end, and its exit code.
fn printed(output: &Output) -> (String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout) + &text(&output.stderr), output.status.code().expect("it ended by itself"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A host on the site's network, with or without an address there.
fn host(site: &Site, mac: &str, address: Option<&str>) -> Namespace {
    let host = site.network.host(mac).unwrap();
    if let Some(address) = address {
        host.ip(&format!("addr add {address} dev eth0")).unwrap();
    }
    host
}

/// Runs a probe in a namespace until it exits.
fn probe(host: &Namespace, arguments: &str) -> (String, i32) {
    let mut command = host.command(&*LANBOOT);
    command.arg("probe").args(arguments.split_whitespace());
    printed(&command.output().unwrap())
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    FILES.iter().map(|(name, _)| (*name, content(name))).collect()
}

fn site() -> Site {
    let files = files();
    Site::new(&files.iter().map(|(name, content)| (*name, &content[..])).collect::<Vec<_>>())
}

const OURS: &str = "dhcp: {mode: server, subnets: [\
     {network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.200, lease: 10m}, \
     {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}]}\n\
     boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}, ipxe: boot.ipxe}";

#[test]
fn against_ourselves_from_a_machine_with_and_without_an_address_and_from_the_server() {
    if !ready("probe against_ourselves", &[NETWORK]) {
        return;
    }
    let site = site();
    let config = site.configure(OURS);
    let mut server = site.serve(&config);
    let bare = host(&site, "52:54:00:00:00:01", None);
    let addressed = host(&site, "52:54:00:00:00:02", Some("192.168.77.9/24"));
    for (name, from, arguments) in [
        ("bare", &bare, "--collect 0"),
        ("bare, iPXE", &bare, "--firmware ipxe --mac 02:00:00:00:00:07"),
        ("bare, own MAC", &bare, "--firmware ipxe --mac 52:54:00:00:00:01"),
        ("addressed", &addressed, "--interface eth0 --arch bios,uefi-x64 --collect 0"),
        ("the server itself", site.network.namespace(), "--interface br0 --collect 0"),
        ("as a relay agent", &addressed, "--server 192.168.77.1 --collect 0"),
    ] {
        let (out, code) = probe(from, arguments);
        assert_eq!(code, 0, "{name}:\n{out}\nserver:\n{}", server.drain());
        assert!(out.contains("booted: ") && out.contains(" from 192.168.77.1, "), "{name}: {out}");
    }
    let (out, _) =
        printed(&bare.command("ip").args(["-4", "address", "show", "dev", "eth0"]).output().unwrap());
    assert!(!out.contains("inet "), "the address that was lent is taken back: {out}");
    until(
        || !server.drain().is_empty() && server.drain().matches(" released(br0) ").count() == 7,
        "all released",
    );

    let (out, code) = probe(&addressed, "--interface eth0 --count 40");
    assert_eq!(code, 0, "{out}");
    let (out, code) = probe(&bare, "--count 2");
    assert!(code == 1 && out.contains("eth0 needs an address"), "{out}");
}

#[test]
fn the_relay_agents_path_from_another_subnet() {
    if !ready("probe the_relay_agents_path_from_another_subnet", &[NETWORK]) {
        return;
    }
    let site = site();
    let config = site.configure(OURS);
    let mut server = site.serve(&config);
    // A router between the server's network and 10.1.0.0/24.
    let router = host(&site, "52:54:00:00:00:fe", Some("192.168.77.254/24"));
    let far = machine_behind(&router);
    site.network.namespace().ip("route add 10.1.0.0/24 via 192.168.77.254").unwrap();

    let (out, code) = probe(&far, &format!("--server {SERVER} --arch bios,uefi-x64 --collect 0"));
    assert_eq!(code, 0, "{out}\nserver:\n{}", server.drain());
    assert!(
        out.contains("ACK 10.1.0.50") && out.contains("booted: undionly.kpxe from 192.168.77.1"),
        "{out}"
    );
    until(|| server.drain().matches(" released(").count() == 2, "both released");
}

#[test]
fn without_the_right_to_listen_for_frames_it_says_how_to_get_it() {
    if !ready("probe without_the_right", &[NETWORK, SETPRIV]) {
        return;
    }
    let site = site();
    let bare = host(&site, "52:54:00:00:00:01", None);
    let program = site.folder.path().join("lanboot");
    fs::copy(&*LANBOOT, &program).unwrap();
    fs::set_permissions(site.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = bare.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    command.args(["probe", "--interface", "eth0"]);
    let (out, code) = printed(&command.output().unwrap());
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("cannot listen for frames on eth0") && out.contains("CAP_NET_RAW"), "{out}");
}

/// Starts dnsmasq in a namespace and waits until it is ready.
fn dnsmasq(place: &Namespace, interface: &str, arguments: &[&str]) -> Running {
    let mut command = place.command("dnsmasq");
    command.args(["-d", "-p0", "--conf-file=/dev/null", "--bind-interfaces", "--user=root", "--no-ping"]);
    command.args(["--dhcp-leasefile=/dev/null", "--leasefile-ro", "--log-dhcp"]);
    command.arg(format!("--interface={interface}")).args(arguments);
    let mut running = Running::spawn(command).unwrap();
    let started = running.wait_for("sockets bound exclusively", Duration::from_secs(10));
    assert!(started, "dnsmasq did not start:\n{}", running.drain());
    running
}

/// A dnsmasq on the bridge that gives addresses, and no boot files.
fn addresses_only(site: &Site) -> Running {
    dnsmasq(site.network.namespace(), "br0", &["--dhcp-range=192.168.77.50,192.168.77.99,10m"])
}

fn tftp_root(site: &Site) -> String {
    format!("--tftp-root={}", site.folder.path().join("boot-images").display())
}

#[test]
fn against_dnsmasq_as_the_only_server() {
    if !ready("probe against_dnsmasq_as_the_only_server", &[NETWORK, DNSMASQ]) {
        return;
    }
    let site = site();
    let mut server = dnsmasq(
        site.network.namespace(),
        "br0",
        &[
            "--dhcp-range=192.168.77.50,192.168.77.99,10m",
            "--dhcp-match=set:efi,option:client-arch,7",
            "--dhcp-match=set:ipxe,175",
            "--dhcp-boot=tag:ipxe,boot.ipxe",
            "--dhcp-boot=tag:efi,tag:!ipxe,snponly.efi",
            "--dhcp-boot=tag:!efi,tag:!ipxe,undionly.kpxe",
            "--bootp-dynamic",
            "--enable-tftp",
            &tftp_root(&site),
        ],
    );
    let bare = host(&site, "52:54:00:00:00:01", None);
    let addressed = host(&site, "52:54:00:00:00:02", Some("192.168.77.9/24"));
    for (from, arguments, file) in [
        (&bare, "--arch bios", "undionly.kpxe"),
        (&bare, "--arch uefi-x64", "snponly.efi"),
        (&bare, "--firmware ipxe", "boot.ipxe"),
        (&bare, "--firmware bootp --mac 02:00:00:00:00:09", "undionly.kpxe"),
        (&addressed, "--interface eth0 --arch uefi-x64", "snponly.efi"),
        (&addressed, "--server 192.168.77.1 --arch uefi-x64", "snponly.efi"),
        (site.network.namespace(), "--interface br0 --arch uefi-x64", "snponly.efi"),
    ] {
        let (out, code) = probe(from, &format!("{arguments} --collect 0"));
        assert_eq!(code, 0, "{arguments}:\n{out}\ndnsmasq:\n{}", server.drain());
        assert!(out.contains(&format!("booted: {file} from 192.168.77.1")), "{out}");
        assert!(out.contains(&format!("SHA-256 {}\n", sha256(&content(file)))), "{out}");
    }
    // dnsmasq may offer one address to two clients at the same moment, because it does not reserve offered addresses.
    let (out, code) = probe(&addressed, "--interface eth0 --count 10 --rate 5");
    assert_eq!(code, 0, "{out}");
    // All clients except the one without DHCP.
    until(|| server.drain().matches("DHCPRELEASE(br0)").count() == 16, "each lease is given back");
    assert!(!server.drain().contains("unknown lease"), "{}", server.drain());

    fs::remove_file(site.folder.path().join("boot-images/snponly.efi")).unwrap();
    let (out, code) = probe(&bare, "--collect 0");
    assert_eq!(code, 1);
    assert!(out.contains("failed at tftp: the TFTP server refused snponly.efi: error 1, "), "{out}");
}

#[test]
fn against_dnsmasq_as_a_proxy_beside_one_that_gives_addresses() {
    if !ready("probe against_dnsmasq_as_a_proxy", &[NETWORK, DNSMASQ]) {
        return;
    }
    let site = site();
    let mut addresses = addresses_only(&site);
    let proxy_host = host(&site, "52:54:00:00:00:03", Some("192.168.77.2/24"));
    let mut proxy = dnsmasq(
        &proxy_host,
        "eth0",
        &[
            "--dhcp-range=192.168.77.0,proxy",
            "--pxe-service=x86PC,BIOS loader,undionly.kpxe",
            "--pxe-service=X86-64_EFI,UEFI loader,snponly.efi",
            "--enable-tftp",
            &tftp_root(&site),
        ],
    );
    let bare = host(&site, "52:54:00:00:00:01", None);
    let addressed = host(&site, "52:54:00:00:00:02", Some("192.168.77.9/24"));
    for (arguments, asked, file) in [
        ("--arch bios", "for item 32768 of the menu, \"BIOS loader\"", "undionly.kpxe"),
        ("--arch uefi-x64", "REQUEST to boot server 192.168.77.2:4011\n", "snponly.efi"),
        ("--firmware ipxe --arch bios", "for item 32768 of the menu, \"BIOS loader\"", "undionly.kpxe"),
        ("--firmware ipxe --arch uefi-x64", "REQUEST to boot server 192.168.77.2:4011\n", "snponly.efi"),
    ] {
        for (from, interface) in [(&bare, "--collect 1"), (&addressed, "--collect 1 --interface eth0")] {
            let (out, code) = probe(from, &format!("{arguments} {interface}"));
            assert_eq!(code, 0, "{arguments}:\n{out}\n{}\n{}", addresses.drain(), proxy.drain());
            assert!(
                out.contains("takes the address from 192.168.77.1 and the boot file from 192.168.77.2"),
                "{out}"
            );
            assert!(out.contains(asked), "{asked} is not in\n{out}");
            assert!(out.contains(&format!("booted: {file} from 192.168.77.2")), "{out}");
            assert!(!out.contains("warning"), "a proxy is no second DHCP server: {out}");
        }
    }
    // An architecture for which the proxy has no file.
    let (out, code) = probe(&bare, "--arch uefi-arm64 --collect 1");
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("failed at boot file: 192.168.77.2 names no boot file"), "{out}");
    drop(addresses);
    let (out, code) = probe(&bare, "--arch bios --collect 1 --timeout 2");
    assert_eq!(code, 1);
    let said =
        "failed at discover: 192.168.77.2 says what to boot (proxyDHCP), but no DHCP server gave an address";
    assert!(out.contains(said) && out.contains("PXE-E52"), "{out}");
}

#[test]
fn the_server_on_one_interface_is_a_proxy_on_another() {
    if !ready("probe the_server_on_one_interface_is_a_proxy_on_another", &[NETWORK, DNSMASQ]) {
        return;
    }
    let site = site();
    // A second network, where dnsmasq on the switch gives the addresses, and lanboot's second interface in it.
    let other = Network::new("192.168.88.254/24").unwrap();
    let (here, there) = (site.network.namespace(), other.namespace());
    here.ip(&format!("link add eth9 type veth peer name up9 netns {}", there.name())).unwrap();
    run(here.command("ethtool").args(["-K", "eth9", "tx", "off"])).unwrap();
    run(there.command("ethtool").args(["-K", "up9", "tx", "off"])).unwrap();
    there.ip("link set up9 master br0 up").unwrap();
    here.ip("addr add 192.168.88.1/24 dev eth9").unwrap();
    here.ip("link set eth9 up").unwrap();
    let config = site.configure(
        "dhcp:\n  mode: {br0: server, eth9: proxy}\n  subnets: [{network: 192.168.77.0/24, pool: \
         192.168.77.50-192.168.77.60}]\nboot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}}",
    );
    let text = fs::read_to_string(&config).unwrap().replace("interfaces: [br0]", "interfaces: [br0, eth9]");
    fs::write(&config, text).unwrap();
    let mut ours = site.serve(&config);
    let mut addresses = dnsmasq(there, "br0", &["--dhcp-range=192.168.88.50,192.168.88.99,10m"]);
    let near = host(&site, "52:54:00:00:00:01", None);
    let far = other.host("52:54:00:00:00:02").unwrap();
    for arch in ["bios", "uefi-x64"] {
        let (out, code) = probe(&near, &format!("--arch {arch} --collect 1"));
        assert_eq!(code, 0, "{out}\n{}", ours.drain());
        assert!(out.contains("OFFER 192.168.77.") && out.contains(" from 192.168.77.1, "), "{out}");
        assert!(!out.contains("192.168.88."), "each network has its own address of ours: {out}");

        let (out, code) = probe(&far, &format!("--arch {arch} --collect 1"));
        assert_eq!(code, 0, "{out}\nours:\n{}\n{}", ours.drain(), addresses.drain());
        let took = "takes the address from 192.168.88.254 and the boot file from 192.168.88.1";
        assert!(out.contains(took) && !out.contains("192.168.77."), "{out}");
    }
    // A client that does not boot from the network gets no answer from us there.
    let log = ours.drain().to_owned();
    assert!(!log.contains("offer(eth9) 192.168.88"), "{log}");
}

#[test]
fn against_our_own_proxy_beside_dnsmasq_that_gives_addresses() {
    if !ready("probe against_our_own_proxy", &[NETWORK, DNSMASQ]) {
        return;
    }
    let site = site();
    let config = site.configure(
        "dhcp: {mode: proxy}\n\
         boot: {arch: {bios: undionly.kpxe, uefi-x64: snponly.efi}, ipxe: boot.ipxe}",
    );
    let mut ours = site.serve(&config);
    let addresses_host = host(&site, "52:54:00:00:00:03", Some("192.168.77.3/24"));
    let range = "--dhcp-range=192.168.77.50,192.168.77.99,10m";
    let mut addresses = dnsmasq(&addresses_host, "eth0", &[range]);
    let bare = host(&site, "52:54:00:00:00:01", None);
    let addressed = host(&site, "52:54:00:00:00:02", Some("192.168.77.9/24"));
    for (arguments, file) in [
        ("--arch bios", "undionly.kpxe"),
        ("--arch uefi-x64", "snponly.efi"),
        ("--firmware ipxe --arch bios", "boot.ipxe"),
        ("--firmware ipxe --arch uefi-x64", "boot.ipxe"),
    ] {
        for (from, interface) in [(&bare, ""), (&addressed, "--interface eth0")] {
            let (out, code) = probe(from, &format!("{arguments} {interface} --collect 1"));
            assert_eq!(code, 0, "{arguments}:\n{out}\nours:\n{}\n{}", ours.drain(), addresses.drain());
            assert!(
                out.contains("takes the address from 192.168.77.3 and the boot file from 192.168.77.1"),
                "{out}"
            );
            assert!(out.contains(&format!("booted: {file} from 192.168.77.1")), "{out}");
        }
    }
    // clients.md: without option 43, a UEFI machine asks on port 4011.
    let (out, _) = probe(&bare, "--arch uefi-x64 --collect 1");
    assert!(out.contains("REQUEST to boot server 192.168.77.1:4011\n"), "{out}");
    until(|| addresses.drain().matches("DHCPRELEASE").count() == 9, "all are given back");
}

#[test]
fn a_silent_port_4011_is_named_as_the_firmware_would() {
    if !ready("probe a_silent_port_4011", &[NETWORK, DNSMASQ]) {
        return;
    }
    let site = site();
    let range = "--dhcp-range=192.168.77.50,192.168.77.99,10m";
    let only_60 = ["--dhcp-option-force=60,PXEClient", "--dhcp-boot=undionly.kpxe", range];
    let _server = dnsmasq(site.network.namespace(), "br0", &only_60);
    let bare = host(&site, "52:54:00:00:00:01", None);
    let began = Instant::now();
    for (arch, code) in [("bios", "PXE-E55: ProxyDHCP service did not reply"), ("uefi-x64", "PXE-E16")] {
        let (out, status) = probe(&bare, &format!("--arch {arch} --collect 0.5 --timeout 3"));
        assert_eq!(status, 1, "{out}");
        assert!(out.contains("failed at boot server: 192.168.77.1:4011 did not answer within 3 s"), "{out}");
        assert!(out.contains(&format!("on the machine's screen: {code}")), "{out}");
    }
    assert!(began.elapsed() >= Duration::from_secs(6));
}

#[test]
fn two_dhcp_servers_are_both_shown() {
    if !ready("probe two_dhcp_servers_are_both_shown", &[NETWORK, DNSMASQ]) {
        return;
    }
    let site = site();
    let config = site.configure(OURS);
    let _ours = site.serve(&config);
    let stranger_host = host(&site, "52:54:00:00:00:03", Some("192.168.77.3/24"));
    let range = "--dhcp-range=192.168.77.210,192.168.77.220,10m";
    // Text from a server cannot send control sequences to the terminal.
    let _stranger = dnsmasq(&stranger_host, "eth0", &[range, "--dhcp-option-force=15,a\x1b[31mb"]);
    let bare = host(&site, "52:54:00:00:00:01", None);
    let (out, code) = probe(&bare, "--collect 2");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(" from 192.168.77.1, file snponly.efi"), "{out}");
    assert!(out.contains(" from 192.168.77.3, no file"), "{out}");
    assert!(
        out.contains("warning: 2 DHCP servers give addresses here, 192.168.77.1 and 192.168.77.3"),
        "{out}"
    );
    assert!(!out.contains('\x1b') && out.contains("a\\x1b[31mb"), "{out}");
}

#[test]
fn a_probe_that_is_interrupted_leaves_no_address_behind() {
    if !ready("probe a_probe_that_is_interrupted", &[NETWORK]) {
        return;
    }
    let site = site();
    let config = site.configure(&format!("{OURS}\ntftp: {{port: 6969}}"));
    let _server = site.serve(&config);
    let bare = host(&site, "52:54:00:00:00:01", None);
    // Without a listener on port 69 the kernel sends an error, so listen there and do not answer.
    let _silent = inside(site.network.namespace(), || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 69)).unwrap());
    let mut command = bare.command(&*LANBOOT);
    command.args(["probe", "--collect", "0"]);
    let mut probing = Running::spawn(command).unwrap();
    assert!(probing.wait_for("how big is", Duration::from_secs(10)), "{}", probing.drain());
    let address = |host: &Namespace| {
        let output = host.command("ip").args(["-4", "address", "show", "dev", "eth0"]).output().unwrap();
        printed(&output).0
    };
    let is_lent = address(&bare).contains("inet 192.168.77.5");
    assert!(is_lent, "lent for the download: {}\n{}", address(&bare), probing.drain());
    nix::sys::signal::kill(probing.pid(), nix::sys::signal::Signal::SIGINT).unwrap();
    until(|| probing.ended().is_some(), "it ends");
    assert_eq!(probing.ended().and_then(|status| status.code()), Some(1));
    assert!(!address(&bare).contains("inet "), "{}", address(&bare));
}
