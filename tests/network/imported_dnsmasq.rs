//! dnsmasq with its own configurations, and lanboot with the configurations imported from them: the same messages get the
//! same answers. The accepted differences are in docs/import.md.
//!
//! Needs root, and dnsmasq from Debian, which `tests/run` installs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lanboot::cli::demo::network::{self, BRIDGE, NETWORK, Network, Running};
use lanboot::wire::dhcp::{Message, Options, padded, until_nul};
use support::LANBOOT;
use support::side_by_side::{Allowed, Client, Side, differences};
use support::site::{DNSMASQ, ready};

/// The longest wait for the start of dnsmasq.
const START: Duration = Duration::from_secs(30);

/// A sample, the network of the server, the clients to compare, and the options that may differ.
struct Case {
    file: &'static str,
    network: &'static str,
    clients: Vec<Client>,
    options: &'static [u8],
}

/// The pools of the samples.
const RANGES: &[(&str, &str)] = &[
    ("10.77.1.50", "10.77.1.150"),
    ("10.77.2.100", "10.77.2.200"),
    ("10.77.3.100", "10.77.3.200"),
    ("10.77.4.100", "10.77.4.200"),
    ("10.77.6.50", "10.77.6.99"),
    ("10.77.7.20", "10.77.7.120"),
    ("10.77.8.200", "10.77.8.220"),
    ("10.77.9.20", "10.77.9.120"),
    ("10.77.10.100", "10.77.10.249"),
    // Addresses of machines within the pool.
    ("10.77.11.21", "10.77.11.21"),
    ("10.77.11.22", "10.77.11.22"),
    ("10.77.11.2", "10.77.11.254"),
    ("10.77.12.10", "10.77.12.99"),
    ("10.77.15.50", "10.77.15.99"),
    ("10.77.17.20", "10.77.17.99"),
    ("10.77.18.20", "10.77.18.99"),
    ("10.77.16.50", "10.77.16.99"),
    ("10.77.16.100", "10.77.16.149"),
];

/// Statements that stop the original server here: Debian's dnsmasq is built without ubus, and the test's computer lacks the
/// accounts, files and folders of a router. lanboot takes none of them.
const UNUSABLE: &[&str] = &["enable-ubus", "user=", "group=", "pid-file=", "dhcp-leasefile=", "resolv-file="];

/// Copies the samples, with the interface and the folders of the test in them.
fn copy(folder: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import/dnsmasq");
    let images = folder.join("boot-images");
    fs::create_dir_all(&images).unwrap();
    let write = |from: &Path, to: &Path| {
        let text = fs::read_to_string(from).unwrap();
        let text = text.replace("eth0", BRIDGE).replace("/srv/tftp", images.to_str().unwrap());
        let lines = text.lines().filter(|line| !UNUSABLE.iter().any(|start| line.starts_with(start)));
        fs::write(to, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    };
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = folder.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&to).unwrap();
            for inner in fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
                write(&inner.path(), &to.join(inner.file_name()));
            }
        } else {
            write(&entry.path(), &to);
        }
    }
}

fn start_dnsmasq(network: &Network, folder: &Path, file: &str) -> Running {
    let mut command = network.namespace().command("env");
    // Without --no-daemon, dnsmasq changes to the root folder and does not find the files that the samples name.
    command.arg("-C").arg(folder).args(["dnsmasq", "--no-daemon"]);
    command.args(["--pid-file=", "--no-resolv", "--no-hosts", "--no-ping"]);
    command.arg(format!("--dhcp-leasefile={}", folder.join("dnsmasq.leases").display()));
    command.arg("-C").arg(folder.join(file));
    let mut dnsmasq = Running::spawn(command).unwrap();
    assert!(dnsmasq.wait_for("started, version", START), "{}", dnsmasq.drain());
    dnsmasq
}

fn start_imported(network: &Network, folder: &Path, file: &str) -> Running {
    let mut command = network.namespace().command("env");
    command.arg("-C").arg(folder).arg(&*LANBOOT).args(["import", "dnsmasq", file]);
    let output = command.output().unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
    let imported = String::from_utf8(output.stdout).unwrap();
    let mut text = format!("state: {}\nmetrics: off\n", folder.join("state").display());
    if !imported.lines().any(|line| line.starts_with("images:")) {
        text.push_str(&format!("images: {}\n", folder.join("boot-images").display()));
    }
    text.push_str(&imported);
    let config = folder.join("config.yaml");
    fs::write(&config, &text).unwrap();
    network::serve(network, &[std::ffi::OsStr::new(&*LANBOOT)], &config)
        .unwrap_or_else(|error| panic!("{file}: {error}\n{text}"))
}

/// The answer with its boot file and server in `file` and `sname`, wherever they are, and without what only firmware reads.
fn normalized(client: &Client, answer: Option<Message>) -> Option<Message> {
    let mut answer = answer?;
    let name =
        |answer: &Message, number: u8| until_nul(answer.options.get(number).unwrap_or_default()).to_vec();
    if answer.file[0] == 0 {
        answer.file = padded(&name(&answer, 67)).unwrap();
    }
    if answer.sname[0] == 0 {
        answer.sname = padded(&name(&answer, 66)).unwrap();
    }
    // iPXE gets a file of another server as URL, where dnsmasq names the server in siaddr.
    let file = String::from_utf8_lossy(until_nul(&answer.file)).into_owned();
    if let Some((server, path)) = file.strip_prefix("tftp://").and_then(|rest| rest.split_once('/')) {
        answer.siaddr = server.parse().unwrap();
        answer.file = padded(path.as_bytes()).unwrap();
    }
    let mut options = Options::default();
    for (number, value) in answer.options.iter() {
        let value = match number {
            // dnsmasq returns the vendor class of a client that gets options of its vendor.
            60 => continue,
            // dnsmasq returns the name that the client sent.
            12 if client.message.options.get(12) == Some(value) => continue,
            // lanboot leaves out the routers that the client must ignore (RFC 3442).
            3 | 33 if answer.options.get(121).is_some() => continue,
            // dnsmasq ends both with NUL.
            66 | 67 => until_nul(value).to_vec(),
            59 => rounded_down(value, answer.options.get(51)),
            _ => value.to_vec(),
        };
        options.push(number, &value);
    }
    Some(Message { options, ..answer })
}

/// Seven eighths of the lease time, which lanboot rounds up to the second and dnsmasq down.
fn rounded_down(rebind: &[u8], lease: Option<&[u8]>) -> Vec<u8> {
    let seconds = |bytes: &[u8]| bytes.try_into().map(u32::from_be_bytes).unwrap();
    let lease = lease.map_or(0, seconds);
    match seconds(rebind) == lease - lease / 8 {
        true => (u64::from(lease) * 7 / 8).to_be_bytes()[4..].to_vec(),
        false => rebind.to_vec(),
    }
}

/// Runs both servers with one configuration and returns the differences.
fn compare(case: &Case) -> Vec<String> {
    let make = || tempfile::Builder::new().prefix("lanboot-test-").tempdir().unwrap();
    let (theirs, ours) = (make(), make());
    copy(theirs.path());
    copy(ours.path());
    let networks = [case.network];
    let mut original = Side::new(&networks, |network| start_dnsmasq(network, theirs.path(), case.file));
    let mut imported = Side::new(&networks, |network| start_imported(network, ours.path(), case.file));
    let allowed = Allowed { options: case.options, ranges: RANGES };
    let mut found = Vec::new();
    for client in &case.clients {
        let answers = [&original, &imported].map(|side| normalized(client, side.boot(&client.message)));
        if answers.iter().all(Option::is_none) != client.name.starts_with("ignored") {
            found.push(format!("{}: {}: are there answers?", case.file, client.name));
        }
        let lines = differences(client, answers[0].as_ref(), answers[1].as_ref(), allowed);
        found.extend(lines.into_iter().map(|line| format!("{}: {line}", case.file)));
    }
    if !found.is_empty() {
        found.push(original.server.drain().to_owned());
        found.push(imported.server.drain().to_owned());
    }
    found
}

fn plain() -> Client {
    Client::new("a client of the pool", [0x7f, 1])
}

fn host(name: &'static str, low: [u8; 2]) -> Client {
    Client::with_mac(name, [0x52, 0x54, 0, 0, low[0], low[1]])
}

fn cases() -> Vec<Case> {
    let case = |file, network, clients| Case { file, network, clients, options: &[] };
    let circuit = |code: u8, text: &[u8]| [&[code, u8::try_from(text.len()).unwrap()], text].concat();
    vec![
        case(
            "home.conf",
            "10.77.1.1/24",
            vec![
                plain(),
                host("laptop by cable", [1, 1]),
                host("printer", [1, 3]),
                host("ignored", [1, 4]),
                Client::new("short lease", [1, 9]).option(51, &300u32.to_be_bytes()),
            ],
        ),
        case(
            "pxe-bios.conf",
            "10.77.2.1/24",
            vec![plain(), Client::new("BIOS", [2, 1]).pxe(0), Client::new("UEFI", [2, 2]).pxe(7)],
        ),
        case(
            "pxe-uefi.conf",
            "10.77.3.1/24",
            vec![
                plain(),
                Client::new("BIOS", [3, 1]).pxe(0),
                Client::new("UEFI", [3, 2]).pxe(7),
                Client::new("UEFI 9", [3, 3]).pxe(9),
                Client::new("UEFI 32", [3, 4]).pxe(6),
                Client::new("ARM", [3, 5]).pxe(11),
            ],
        ),
        case(
            "ipxe.conf",
            "10.77.4.1/24",
            vec![
                plain(),
                Client::new("BIOS", [4, 1]).pxe(0),
                Client::new("UEFI", [4, 2]).pxe(7),
                Client::new("iPXE", [4, 3]).ipxe(0),
                Client::new("iPXE by UEFI", [4, 4]).ipxe(7),
            ],
        ),
        case("vlans.conf", "10.77.6.1/24", vec![plain(), host("printer1", [6, 1]), host("printer2", [6, 2])]),
        case(
            "phones.conf",
            "10.77.7.1/24",
            vec![
                plain(),
                Client::new("snom", [7, 1]).option(60, b"snom370"),
                Client::new("Cisco", [7, 2]).option(60, b"Cisco Systems, Inc. IP Phone"),
                Client::with_mac("Yealink", [0x80, 0x5e, 0xc0, 1, 2, 3]),
                Client::with_mac("old Yealink", [0, 0x15, 0x65, 1, 2, 3]),
                Client::new("Windows", [7, 3]).option(60, b"MSFT 5.0"),
                Client::new("Polycom", [7, 4]).option(60, b"Polycom-VVX"),
            ],
        ),
        case(
            "known-only.conf",
            "10.77.8.1/24",
            vec![
                Client::new("ignored", [0x7f, 1]),
                host("ws1", [8, 1]),
                host("ws2", [8, 2]),
                host("ws3", [8, 3]),
                Client::new("by id", [8, 9]).option(61, &[1, 2, 3, 4]),
                Client::new("by text", [8, 10]).option(61, b"station-5"),
                Client::with_mac("guest", [2, 0x77, 8, 1, 2, 3]),
            ],
        ),
        case("options.conf", "10.77.9.1/24", vec![plain()]),
        case("openwrt.conf", "10.77.10.1/24", vec![plain(), host("nas", [10, 1])]),
        case("libvirt.conf", "10.77.11.1/24", vec![plain(), host("vm1", [11, 1]), host("vm2", [11, 2])]),
        case(
            "relays.conf",
            "10.77.12.2/24",
            vec![
                plain(),
                Client::new("port 1", [12, 1]).behind("10.77.12.254", &circuit(1, b"ge-0/0/1")),
                Client::new("port 2", [12, 2]).behind("10.77.12.254", &circuit(1, &[0, 4, 0, 2])),
                Client::new("switch 7", [12, 3]).behind("10.77.12.254", &circuit(2, b"switch-7")),
                Client::new("gold", [12, 4]).behind("10.77.12.254", &circuit(6, b"customer-4711")),
                Client::new("docsis", [12, 5]).option(60, b"docsis3.0:05"),
            ],
        ),
        case(
            "cobbler.conf",
            "10.77.13.1/24",
            vec![
                Client::new("ignored", [13, 9]),
                host("node1", [13, 1]).pxe(0),
                host("node2", [13, 2]),
                host("ia64", [13, 3]).pxe(2),
            ],
        ),
        case(
            "foreign-tftp.conf",
            "10.77.15.1/24",
            vec![
                plain(),
                Client::new("BIOS", [15, 1]).pxe(0),
                Client::new("UEFI", [15, 2]).pxe(7),
                Client::new("iPXE", [15, 3]).ipxe(0),
            ],
        ),
        case(
            "devices.conf",
            "10.77.17.1/24",
            vec![
                plain(),
                Client::with_mac("camera", [2, 0x77, 0x17, 1, 2, 3]),
                Client::new("BIOS", [17, 1]).pxe(0),
            ],
        ),
        case(
            "no-override.conf",
            "10.77.18.1/24",
            vec![
                plain(),
                Client::with_mac("camera", [2, 0x77, 0x18, 1, 2, 3]),
                Client::new("BIOS", [18, 1]).pxe(0),
            ],
        ),
        case(
            "wildcards.conf",
            "10.77.16.1/24",
            vec![
                plain(),
                Client::with_mac("fast", [0x52, 0x54, 0, 0x16, 1, 1]),
                Client::with_mac("ignored", [0x52, 0x54, 0, 0x17, 1, 1]),
                Client::new("named", [16, 1]).option(12, b"guest-pc"),
                Client::new("Android", [16, 2]).option(60, b"android-dhcp-13"),
                Client::with_mac("special", [0x52, 0x54, 0, 0x18, 0, 1]).option(60, b"android-dhcp-13"),
                Client::with_mac("not special", [0x52, 0x54, 0, 0x18, 0, 1]),
            ],
        ),
    ]
}

#[test]
fn lanboot_answers_as_dnsmasq_did() {
    if std::env::var_os("IMPORT_COMPARE").is_none() {
        return;
    }
    if !ready("imported_dnsmasq lanboot_answers_as_dnsmasq_did", &[NETWORK, DNSMASQ]) {
        return;
    }
    let wanted = std::env::var("IMPORT_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.file.contains(&wanted)).collect();
    let found: Vec<String> = cases.iter().flat_map(compare).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
