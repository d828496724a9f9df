//! `lanboot probe`, the real binary: against `lanboot serve` on loopback, then in network namespaces against `lanboot
//! serve` and against dnsmasq, as the only server and as a proxy beside another one.
//!
//! Those in namespaces need root; those with dnsmasq need Debian's dnsmasq-base.

#[path = "common/lab.rs"]
mod common_lab;
mod lab;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common_lab::{FILES, Lab, content, lanboot};
use lab::{LANBOOT, SERVER, Site, ready, ready_without_root, until};
use lanboot::cli::demo::network::{NETWORK, Namespace, Need, Network, Running, run};
use sha2::{Digest, Sha256};

const DNSMASQ: &[Need] = &[Need { what: "dnsmasq", package: "dnsmasq-base" }];
const SETPRIV: &[Need] = &[Need { what: "setpriv", package: "util-linux" }];

/// What a probe printed, its errors behind, and its exit code.
fn told(output: &Output) -> (String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout) + &text(&output.stderr), output.status.code().expect("it ended by itself"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Probes the lab's server on loopback, with these arguments more.
fn on_loopback(lab: &Lab, arguments: &[&str]) -> (String, i32) {
    let (dhcp, tftp) = (lab.ports.dhcp.to_string(), lab.ports.tftp.to_string());
    let mut all = vec!["probe", "--server", "127.0.0.1", "--collect", "0"];
    // Later arguments win nothing with clap: leave out what the test sets itself.
    for (name, port) in [("--dhcp-port", &dhcp), ("--tftp-port", &tftp)] {
        if !arguments.contains(&name) {
            all.extend([name, port]);
        }
    }
    all.extend(arguments);
    told(&lanboot(&all).output().unwrap())
}

#[test]
fn on_loopback_every_kind_boots_without_root_and_gives_its_address_back() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let mut leases = 0;
    for (arguments, file) in [
        (&["--arch", "bios"][..], "undionly.kpxe"),
        (&["--arch", "uefi-x64"], "snponly.efi"),
        (&["--arch", "0x0007", "--uuid", "00112233-4455-6677-8899-aabbccddeeff"], "snponly.efi"),
        (&["--firmware", "ipxe", "--arch", "bios"], "boot.ipxe"),
        (&["--firmware", "ipxe"], "boot.ipxe"),
    ] {
        leases += 1;
        let mac = format!("02:00:00:00:00:{leases:02x}");
        let (out, code) = on_loopback(&lab, &[arguments, &["--mac", &mac]].concat());
        assert_eq!(code, 0, "{arguments:?}:\n{out}");
        let size = FILES.iter().find(|(name, _)| *name == file).unwrap().1;
        for part in [
            "DISCOVER\n",
            ", file ",
            "REQUEST 127.77.",
            "ACK 127.77.",
            &format!("booted: {file} from 127.0.0.1, {size} bytes in "),
            &format!("SHA-256 {}\n", sha256(&content(file))),
        ] {
            assert!(out.contains(part), "{part:?} is not in:\n{out}");
        }
    }
    until(|| lab.leases().iter().filter(|(_, _, state)| state == "released").count() == leases, "released");
    assert_eq!(serving.terminate().0.code(), Some(0));
}

#[test]
fn several_architectures_are_tried_and_one_that_fails_is_enough_to_fail() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let (out, code) = on_loopback(&lab, &["--arch", "bios,uefi-arm64", "--timeout", "1"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("BIOS PXE ROM (bios), ") && out.contains("booted: undionly.kpxe"), "{out}");
    let failed = "failed at discover: no usable DHCP offer; 127.0.0.1 answered, but it names no boot file\n\
                  on the machine's screen: PXE-E16: No valid offer received.\n";
    assert!(out.contains("UEFI PXE (uefi-arm64), ") && out.ends_with(failed), "{out}");

    let (out, code) = on_loopback(&lab, &["--arch", "bios,uefi-arm64", "--timeout", "1", "--json"]);
    let results: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1);
    let [bios, arm64] = &results.as_array().unwrap()[..] else { panic!("{out}") };
    assert_eq!((&bios["booted"], &bios["file"]), (&true.into(), &"undionly.kpxe".into()));
    assert_eq!(bios["sha256"], sha256(&content("undionly.kpxe")));
    assert_eq!(bios["offers"][0]["server"], "127.0.0.1");
    assert_eq!((&arm64["booted"], &arm64["failed_step"]), (&false.into(), &"discover".into()));
    assert_eq!(arm64["on_screen"], "PXE-E16: No valid offer received.");
    drop(serving);
}

#[test]
fn each_step_that_fails_is_named_with_its_reason() {
    let lab = Lab::new();
    let [closed, ..] = common_lab::free_ports();
    let closed = closed.to_string();
    let (out, code) = on_loopback(&lab, &["--timeout", "1.5"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("failed at discover: no DHCP server answered within 1 s: check that one runs"),
        "{out}"
    );
    assert!(out.ends_with("on the machine's screen: PXE-E18: Server response timeout.\n"), "{out}");

    let serving = lab.serve(&["serve"]);
    let (out, code) = on_loopback(&lab, &["--dhcp-port", &closed, "--timeout", "1"]);
    assert!(code == 1 && out.contains("no DHCP server answered within 1 s"), "{out}");

    let (out, code) = on_loopback(&lab, &["--tftp-port", &closed]);
    assert_eq!(code, 1);
    assert!(out.contains(&format!("failed at tftp: no program listens on 127.0.0.1:{closed}")), "{out}");
    assert!(out.contains("PXE-E22"), "{out}");

    fs::remove_file(lab.path().join("boot-images/snponly.efi")).unwrap();
    let (out, code) = on_loopback(&lab, &[]);
    assert_eq!(code, 1);
    assert!(out.contains("failed at tftp: the TFTP server refused snponly.efi: error 1, "), "{out}");
    assert!(out.ends_with("PXE-E23: Client received TFTP error from server.\n"), "{out}");
    let (out, _) = on_loopback(&lab, &["--json"]);
    assert!(out.contains("\"failed_step\": \"tftp\""), "{out}");
    until(|| lab.leases().iter().all(|(_, _, state)| state == "released"), "all are released");
    drop(serving);
}

/// A web server on loopback with one file, `/loader.efi`; `/old.efi` redirects to it. It keeps connections open, and
/// remembers what it was asked.
struct Web {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start(content: Vec<u8>) -> Web {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let web = Web { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let asked = Arc::clone(&web.asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (content, asked) = (content.clone(), Arc::clone(&asked));
                std::thread::spawn(move || Web::serve(stream, &content, &asked));
            }
        });
        web
    }

    fn serve(mut stream: TcpStream, content: &[u8], asked: &Mutex<Vec<String>>) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        while let Some(request) = lines.next() {
            let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let agent = headers.iter().find_map(|line| line.strip_prefix("user-agent: ")).unwrap_or_default();
            asked.lock().unwrap().push(format!("{request} by {agent}"));
            let (method, path) = request.split_once(' ').unwrap();
            let (head, body) = match path.split(' ').next().unwrap() {
                "/loader.efi" => (format!("200 OK\r\nContent-Length: {}", content.len()), content),
                "/old.efi" => {
                    ("302 Found\r\nLocation: /loader.efi\r\nContent-Length: 0".to_owned(), &b""[..])
                }
                _ => ("404 Not Found\r\nContent-Length: 0".to_owned(), &b""[..]),
            };
            stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).unwrap();
            stream.write_all(if method == "HEAD" { &[] } else { body }).unwrap();
        }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[test]
fn uefi_http_boot_and_ipxe_load_urls() {
    let lab = Lab::new();
    let loader = content("snponly.efi");
    let web = Web::start(loader.clone());
    let url = |path: &str| format!("http://127.0.0.1:{}/{path}", web.port);
    let configure = |path: &str| {
        let arch = format!("uefi-x64: snponly.efi, uefi-x64-http: '{}'", url(path));
        let config = lab.config().replace("uefi-x64: snponly.efi", &arch);
        let config = config.replace("ipxe: boot.ipxe", &format!("ipxe: '{}'", url(path)));
        lab.write_config(&config);
        lab.serve(&["serve"])
    };
    let serving = configure("loader.efi");
    let (out, code) = on_loopback(&lab, &["--arch", "uefi-x64-http"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(&format!("booted: {}, {} bytes in ", url("loader.efi"), loader.len())), "{out}");
    assert!(out.contains(&format!("SHA-256 {}\n", sha256(&loader))), "{out}");
    let expected = ["HEAD", "GET"].map(|it| format!("{it} /loader.efi HTTP/1.1 by UefiHttpBoot/1.0"));
    assert_eq!(web.asked(), expected);
    // The same asked for in another way.
    let (out, code) = on_loopback(&lab, &["--arch", "uefi-x64", "--firmware", "http", "--json"]);
    assert!(code == 0 && out.contains("\"arch\": \"uefi-x64-http\""), "{out}");
    web.asked();
    let (out, code) = on_loopback(&lab, &["--firmware", "ipxe"]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(web.asked(), ["GET /loader.efi HTTP/1.1 by iPXE/1.21.1"], "iPXE asks for no size first");
    drop(serving);

    let serving = configure("old.efi");
    let (out, code) = on_loopback(&lab, &["--arch", "uefi-x64-http"]);
    assert!(code == 0 && out.contains(&format!("SHA-256 {}\n", sha256(&loader))), "{out}");
    drop(serving);

    let serving = configure("missing.efi");
    let (out, code) = on_loopback(&lab, &["--arch", "uefi-x64-http"]);
    assert_eq!(code, 1);
    let why = format!(
        "failed at http: cannot load {}: the web server answered 404 Not Found to HEAD",
        url("missing.efi")
    );
    assert!(out.contains(&why), "{out}");
    drop(serving);
}

#[test]
fn a_storm_is_summed_up() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let (out, code) = on_loopback(&lab, &["--arch", "bios,uefi-x64", "--count", "60", "--rate", "200"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("60 of 60 machines booted in "), "{out}");
    assert!(out.contains(&format!("{} bytes of boot files", 30 * (70_000 + (1 << 20)))), "{out}");
    assert!(out.contains("to the ACK: median ") && out.contains("to the end: median "), "{out}");
    until(|| lab.leases().len() == 60, "each had an address of its own");

    let (out, code) =
        on_loopback(&lab, &["--arch", "bios,uefi-arm64", "--count", "8", "--timeout", "1", "--json"]);
    let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &summary["booted"], &summary["machines"]), (1, &4.into(), &8.into()));
    let failures = summary["failures"].as_array().unwrap();
    assert_eq!(
        (failures.len(), &failures[0]["step"], &failures[0]["count"]),
        (1, &"discover".into(), &4.into())
    );
    drop(serving);
}

#[test]
fn wrong_usage_is_2_and_an_interface_that_is_not_there_3() {
    for (arguments, expected, text) in [
        (&["--arch", "vax"][..], 2, "expected a number of option 93 or one of bios "),
        (&["--mac", "zz"], 2, "expected a MAC address"),
        (&["--interface", "lo", "--server", "127.0.0.1"], 2, "cannot be used with"),
        (&["--rate", "5", "--server", "127.0.0.1"], 2, "--count"),
        (&["--timeout=-1"], 2, "expected seconds, from 0 to 3600"),
        (
            &["--server", "127.0.0.1", "--firmware", "http", "--arch", "s390-basic"],
            2,
            "no HTTP boot on s390-basic",
        ),
        (&["--interface", "nosuch0"], 3, "interface nosuch0 does not exist: this machine has "),
        (&["--interface", "lo"], 3, "lo is not Ethernet: ask a server there with --server"),
    ] {
        let (out, code) = told(&lanboot(&[&["probe"], arguments].concat()).output().unwrap());
        assert_eq!(code, expected, "{arguments:?}: {out}");
        assert!(out.contains(text), "{arguments:?}: {out}");
    }
}

/// A host on the site's network, with an address there or without.
fn host(site: &Site, mac: &str, address: Option<&str>) -> Namespace {
    let host = site.network.host(mac).unwrap();
    if let Some(address) = address {
        host.ip(&format!("addr add {address} dev eth0")).unwrap();
    }
    host
}

/// A probe in a namespace, to its end.
fn probe(host: &Namespace, arguments: &str) -> (String, i32) {
    let mut command = host.command(LANBOOT);
    command.arg("probe").args(arguments.split_whitespace());
    told(&command.output().unwrap())
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
    let (out, _) = told(&bare.command("ip").args(["-4", "address", "show", "dev", "eth0"]).output().unwrap());
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
    let far = Namespace::new().unwrap();
    router.ip(&format!("link add lan type veth peer name eth0 netns {}", far.name)).unwrap();
    router.ip("addr add 10.1.0.1/24 dev lan").unwrap();
    router.ip("link set lan up").unwrap();
    far.ip("addr add 10.1.0.2/24 dev eth0").unwrap();
    far.ip("link set eth0 up").unwrap();
    far.ip("route add default via 10.1.0.1").unwrap();
    site.network.namespace().ip("route add 10.1.0.0/24 via 192.168.77.254").unwrap();
    let forward = router.command("sysctl").args(["-qw", "net.ipv4.ip_forward=1"]).status().unwrap();
    assert!(forward.success());

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
    fs::copy(LANBOOT, &program).unwrap();
    fs::set_permissions(site.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = bare.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    command.args(["probe", "--interface", "eth0"]);
    let (out, code) = told(&command.output().unwrap());
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("cannot listen for frames on eth0") && out.contains("CAP_NET_RAW"), "{out}");
}

/// dnsmasq in a namespace, ready.
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

/// A dnsmasq that gives addresses on the bridge, and nothing to boot.
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
    // Two that ask at the same moment may be offered one address by dnsmasq, which holds none for an offer.
    let (out, code) = probe(&addressed, "--interface eth0 --count 10 --rate 5");
    assert_eq!(code, 0, "{out}");
    // All but the one that knows no DHCP.
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
    // What the proxy has no file for.
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
    // Who does not boot from the network gets nothing from us there.
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
    // clients.md: without option 43 a UEFI machine asks on port 4011.
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
    // What a server says of itself cannot drive the terminal.
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
    // Nothing answers on port 69 but the kernel, so listen there and stay silent.
    let mut silent = site.network.namespace().command("busybox");
    silent.args(["nc", "-u", "-l", "-p", "69"]);
    let _silent = Running::spawn(silent).unwrap();
    let mut command = bare.command(LANBOOT);
    command.args(["probe", "--collect", "0"]);
    let mut probing = Running::spawn(command).unwrap();
    assert!(probing.wait_for("how big is", Duration::from_secs(10)), "{}", probing.drain());
    let address = |host: &Namespace| {
        let output = host.command("ip").args(["-4", "address", "show", "dev", "eth0"]).output().unwrap();
        told(&output).0
    };
    assert!(address(&bare).contains("inet 192.168.77.5"), "lent for the download: {}", address(&bare));
    nix::sys::signal::kill(probing.pid(), nix::sys::signal::Signal::SIGINT).unwrap();
    until(|| probing.ended().is_some(), "it ends");
    assert_eq!(probing.ended().and_then(|status| status.code()), Some(1));
    assert!(!address(&bare).contains("inet "), "{}", address(&bare));
}

#[test]
fn help_names_what_can_be_asked_and_needs_nothing() {
    if !ready_without_root("probe help", &[]) {
        return;
    }
    let (out, code) = told(&Command::new(LANBOOT).args(["probe", "--help"]).output().unwrap());
    assert_eq!(code, 0);
    for word in ["--interface", "--server", "relay agent", "--arch", "--count", "--rate", "CAP_NET_RAW"] {
        assert!(out.contains(word), "{word}: {out}");
    }
}
