//! `lanboot probe`, the real binary, against `lanboot serve` and small servers on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use support::LANBOOT;
use support::lab::{FILES, Lab, content, lanboot};
use support::site::{ready_without_root, until};

/// The probe's output with its errors at the end, and its exit code.
fn printed(output: &Output) -> (String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout) + &text(&output.stderr), output.status.code().expect("it ended by itself"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Probes the lab's server on loopback, with additional arguments.
fn on_loopback(lab: &Lab, arguments: &[&str]) -> (String, i32) {
    let (dhcp, tftp) = (lab.ports.dhcp.to_string(), lab.ports.tftp.to_string());
    let mut all = vec!["probe", "--server", "127.0.0.1", "--collect", "0"];
    // clap does not let later arguments override earlier ones, so leave out those that the test sets.
    for (name, port) in [("--dhcp-port", &dhcp), ("--tftp-port", &tftp)] {
        if !arguments.contains(&name) {
            all.extend([name, port]);
        }
    }
    all.extend(arguments);
    printed(&lanboot(&all).output().unwrap())
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
    let [closed, ..] = support::lab::free_ports();
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

/// A web server on loopback with one file, `/loader.efi`, to which `/old.efi` redirects. It keeps connections open and
/// records its requests.
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
    // The same by another option.
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
        let (out, code) = printed(&lanboot(&[&["probe"], arguments].concat()).output().unwrap());
        assert_eq!(code, expected, "{arguments:?}: {out}");
        assert!(out.contains(text), "{arguments:?}: {out}");
    }
}

#[test]
fn help_names_what_can_be_asked_and_needs_nothing() {
    if !ready_without_root("probe help", &[]) {
        return;
    }
    let (out, code) = printed(&Command::new(&*LANBOOT).args(["probe", "--help"]).output().unwrap());
    assert_eq!(code, 0);
    for word in ["--interface", "--server", "relay agent", "--arch", "--count", "--rate", "CAP_NET_RAW"] {
        assert!(out.contains(word), "{word}: {out}");
    }
}
