//! Kea and ISC dhcpd with their own configurations, and lanboot with the configurations imported from them: the same
//! messages get the same answers. The accepted differences are in docs/import.md.
//!
//! Needs root, and kea-dhcp4 and dhcpd from Debian, which `tests/run` installs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanboot::cli::demo::network::{BRIDGE, NETWORK, Need, Network, Running};
use lanboot::wire::option::code;
use support::side_by_side::{Allowed, Client, Side, differences, start_imported};
use support::site::ready;

const KEA: &[Need] = &[Need { what: "kea-dhcp4", package: "kea-dhcp4-server" }];
const DHCPD: &[Need] = &[Need { what: "dhcpd", package: "isc-dhcp-server" }];
const START: Duration = Duration::from_secs(60);

/// A configuration, the clients to compare, and the accepted differences.
struct Case {
    file: &'static str,
    clients: Vec<Client>,
    /// Boot files that lanboot serves itself.
    files: &'static [&'static str],
    /// The names of clients that get no answer.
    silent: &'static [&'static str],
    allowed: Allowed,
}

fn data(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(server)
}

/// Copies the configuration, with the interface of the test's network in it.
fn copy(server: &str, file: &str, folder: &Path) -> PathBuf {
    let from = data(server).join(file);
    copy_folder(from.parent().unwrap(), folder);
    folder.join(from.file_name().unwrap())
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let copied = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &copied);
        } else {
            let text = fs::read_to_string(entry.path()).unwrap();
            fs::write(copied, text.replace("eth0", BRIDGE)).unwrap();
        }
    }
}

/// Starts Kea. Its leases stay in memory.
fn start_kea(network: &Network, folder: &Path, config: &Path) -> Running {
    let text = fs::read_to_string(config).unwrap();
    let text = match text.contains("\"lease-database\"") {
        true => text.replace("\"persist\": true", "\"persist\": false"),
        false => {
            let memory = "\"lease-database\": {\"type\": \"memfile\", \"persist\": false},";
            let at = text.find("\"Dhcp4\"").unwrap();
            let at = at + text[at..].find('{').unwrap() + 1;
            format!("{}{memory}{}", &text[..at], &text[at..])
        }
    };
    let own = folder.join("original.json");
    fs::write(&own, text).unwrap();
    // Kea takes included files from its working folder.
    let mut command = network.namespace().command("env");
    command.arg("-C").arg(folder);
    command.arg(format!("KEA_PIDFILE_DIR={}", folder.display()));
    command.arg(format!("KEA_LOCKFILE_DIR={}", folder.display()));
    command.arg("kea-dhcp4").arg("-c").arg(own);
    let mut kea = Running::spawn(command).unwrap();
    assert!(kea.wait_for("DHCP4_STARTED", START), "{}", kea.drain());
    kea
}

fn start_dhcpd(network: &Network, folder: &Path, config: &Path) -> Running {
    let leases = folder.join("dhcpd.leases");
    fs::write(&leases, "").unwrap();
    let mut command = network.namespace().command("env");
    command.arg("-C").arg(folder).args(["dhcpd", "-4", "-f", "-d", "--no-pid"]);
    command.arg("-cf").arg(config).arg("-lf").arg(leases).arg(BRIDGE);
    let mut dhcpd = Running::spawn(command).unwrap();
    assert!(dhcpd.wait_for("Server starting service", START), "{}", dhcpd.drain());
    dhcpd
}

/// Runs both servers with one configuration and returns the differences.
fn compare(server: &str, case: &Case) -> Vec<String> {
    let make = || tempfile::Builder::new().prefix("lanboot-test-").tempdir().unwrap();
    let (theirs, ours) = (make(), make());
    let networks = ["192.168.78.1/24"];
    let original = Side::new(&networks, |network| {
        let config = copy(server, case.file, theirs.path());
        match server {
            "kea" => start_kea(network, theirs.path(), &config),
            _ => start_dhcpd(network, theirs.path(), &config),
        }
    });
    let imported = Side::new(&networks, |network| {
        let config = copy(server, case.file, ours.path());
        start_imported(network, ours.path(), server, &config, case.files)
    });
    let mut found = Vec::new();
    for client in &case.clients {
        let answers = (original.boot(&client.message), imported.boot(&client.message));
        // Two servers without any answer would be equal.
        if answers.0.is_none() != case.silent.contains(&client.name) {
            found.push(format!("{}: {}: theirs {:?}", case.file, client.name, answers.0));
        }
        let lines = differences(client, answers.0.as_ref(), answers.1.as_ref(), case.allowed);
        found.extend(lines.into_iter().map(|line| format!("{}: {line}", case.file)));
    }
    if !found.is_empty() {
        let mut imported = imported;
        found.push(imported.server.drain().to_owned());
    }
    found
}

fn compare_all(server: &str, cases: &[Case]) {
    let wanted = std::env::var("IMPORT_CASE").unwrap_or_default();
    let cases = cases.iter().filter(|case| case.file.contains(&wanted));
    let found: Vec<String> = cases.flat_map(|case| compare(server, case)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Two pools, and everything else of the subnet.
const RANGES: &[(&str, &str)] = &[
    ("192.168.77.10", "192.168.77.29"),
    ("192.168.77.30", "192.168.77.39"),
    ("192.168.77.40", "192.168.77.49"),
    ("192.168.77.50", "192.168.77.99"),
    ("192.168.78.10", "192.168.78.29"),
    ("192.168.78.30", "192.168.78.39"),
    ("192.168.78.50", "192.168.78.59"),
    ("10.20.0.10", "10.20.0.19"),
    ("10.20.0.20", "10.20.0.29"),
    ("10.20.0.50", "10.20.0.59"),
    ("10.20.0.60", "10.20.0.69"),
];

/// The pools of 07-subclasses.conf.
const SUBCLASS_RANGES: &[(&str, &str)] = &[
    ("192.168.77.50", "192.168.77.59"),
    ("192.168.77.60", "192.168.77.69"),
    ("192.168.77.70", "192.168.77.79"),
];

fn case(file: &'static str, clients: Vec<Client>) -> Case {
    Case { file, clients, files: &[], silent: &[], allowed: Allowed { options: &[], ranges: RANGES } }
}

fn plain() -> Client {
    Client::new("a client of the pool", [0x7f, 1])
}

#[test]
fn lanboot_answers_as_kea_did() {
    if std::env::var_os("IMPORT_COMPARE").is_none() {
        return;
    }
    if !ready("imported_servers lanboot_answers_as_kea_did", &[NETWORK, KEA]) {
        return;
    }
    let circuit = |text: &str| [&[1, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let vendor_class = [&[0, 0, 0x0d, 0xe9, 8, 7][..], b"openwrt"].concat();
    let cases = [
        case(
            "01-office.json",
            vec![
                plain(),
                Client::with_mac("reserved by MAC", [0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 1]),
                Client::new("reserved by client id", [1, 1])
                    .option(61, &[1, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66]),
                Client::new("reserved by text", [1, 2]).option(61, b"foobar"),
                Client::with_mac("reserved without address", [0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 4]),
            ],
        ),
        Case {
            files: &["boot.ipxe"],
            ..case(
                "02-pxe.json",
                vec![
                    plain(),
                    Client::new("BIOS", [2, 1]).pxe(0),
                    Client::new("UEFI", [2, 2]).pxe(7),
                    Client::new("UEFI 9", [2, 3]).pxe(9),
                    Client::new("ARM", [2, 4]).pxe(11),
                    Client::new("iPXE", [2, 5]).ipxe(7),
                    Client::new("another architecture", [2, 6]).pxe(6),
                ],
            )
        },
        Case {
            silent: &["dropped machine", "dropped class"],
            ..case(
                "03-classes.json",
                vec![
                    Client::new("phone", [3, 1]).option(60, b"snom370"),
                    Client::with_mac("camera", [0, 0x1a, 0x2b, 1, 2, 3]),
                    Client::new("known", [0, 0x31]),
                    Client::new("dropped machine", [0, 0x32]),
                    Client::new("reserved phone", [0, 0x33]),
                    Client::new("guest", [3, 2]),
                    Client::with_mac("dropped class", [2, 0x66, 0x66, 0x66, 0x66, 0x66]),
                ],
            )
        },
        // A name with a comma is no host name, and the import says so.
        Case {
            allowed: Allowed { options: &[code::HOSTNAME], ranges: RANGES },
            ..case("04-options.json", vec![plain()])
        },
        case(
            "05-shared.json",
            vec![
                plain(),
                Client::new("another behind the relay agent", [5, 2]).behind("10.9.0.1", &[]),
                Client::new("modem", [5, 1]).option(60, b"docsis3.0:x").behind("10.9.0.1", &[]),
            ],
        ),
        Case {
            files: &["seven.bin"],
            ..case(
                "06-relays.json",
                vec![
                    plain(),
                    Client::new("port one", [6, 1]).behind("10.9.0.1", &circuit("ge-0/0/1")),
                    Client::new("port two", [6, 2]).behind("10.9.0.1", &circuit("ge-0/0/2")),
                    Client::new("port seven", [6, 3]).behind("10.9.0.1", &circuit("ge-0/0/7")),
                ],
            )
        },
        case(
            "07-global-reservations.json",
            vec![
                plain(),
                Client::new("global", [7, 1]),
                Client::new("global with options", [7, 2]),
                Client::new("in the subnet", [7, 3]),
            ],
        ),
        case(
            "09-includes/kea-dhcp4.json",
            vec![plain(), Client::new("web", [9, 1]), Client::new("db", [9, 2])],
        ),
        case(
            "10-vendor.json",
            vec![
                plain(),
                Client::new("docsis", [10, 1]).option(60, b"docsis3.0"),
                Client::new("docsis with more", [10, 2]).option(60, b"docsis3.0:x"),
                Client::new("openwrt", [10, 3]).option(124, &vendor_class),
                Client::new("enterprise 9", [10, 4]).option(125, &[0, 0, 0, 9, 3, 1, 1, 7]),
                Client::new("model", [10, 5]).option(125, &[0, 0, 0x11, 0x8b, 4, 5, 2, b'M', b'1']),
            ],
        ),
        case(
            "11-precedence.json",
            vec![
                plain(),
                Client::new("host", [0x11, 1]),
                Client::new("lab", [0x11, 2]).option(12, b"lab"),
                Client::new("PXE", [0x11, 3]).pxe(0),
                Client::new("PXE in the lab", [0x11, 4]).pxe(0).option(12, b"lab"),
                Client::new("PXE host", [0x11, 1]).pxe(0),
            ],
        ),
        case(
            "13-nested.json",
            vec![
                plain(),
                Client::new("a or b", [13, 1]).option(60, b"a").option(12, b"x"),
                Client::new("b", [13, 2]).option(60, b"b"),
                Client::new("inner", [13, 3]).option(60, b"outer-inner"),
                Client::new("last four", [13, 4]).option(12, b"pc-four"),
            ],
        ),
        // T2 is the end of the default lease, and the import says so.
        Case {
            allowed: Allowed { options: &[code::REBINDING_TIME], ranges: RANGES },
            ..case(
                "14-lease-times.json",
                vec![
                    plain(),
                    Client::new("short", [14, 1]).option(51, &60u32.to_be_bytes()),
                    Client::new("long", [14, 2]).option(51, &100_000u32.to_be_bytes()),
                    Client::new("forever", [14, 3]).option(12, b"forever"),
                ],
            )
        },
    ];
    compare_all("kea", &cases);
}

#[test]
fn lanboot_answers_as_dhcpd_did() {
    if std::env::var_os("IMPORT_COMPARE").is_none() {
        return;
    }
    if !ready("imported_servers lanboot_answers_as_dhcpd_did", &[NETWORK, DHCPD]) {
        return;
    }
    let circuit = |text: &str| [&[1, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let cases = [
        Case {
            files: &["vmunix.passacaglia"],
            ..case(
                "01-office.conf",
                vec![
                    plain(),
                    Client::with_mac("passacaglia", [2, 0, 0xc0, 0x5d, 0xbd, 0x95]),
                    Client::with_mac("fantasia", [8, 0, 7, 0x26, 0xc0, 0xa5]),
                    Client::new("by id", [1, 1]).option(61, b"special"),
                ],
            )
        },
        case(
            "02-pxe.conf",
            vec![
                plain(),
                Client::new("BIOS", [2, 1]).pxe(0),
                Client::new("UEFI", [2, 2]).pxe(7),
                Client::new("UEFI 9", [2, 3]).pxe(9),
                Client::new("ARM", [2, 4]).pxe(11),
            ],
        ),
        case(
            "03-ipxe.conf",
            vec![
                Client::new("BIOS", [3, 1]).pxe(0),
                Client::new("UEFI", [3, 2]).pxe(7),
                Client::new("another", [3, 3]).pxe(11),
                Client::new("iPXE", [3, 4]).ipxe(0),
            ],
        ),
        case(
            "04-pools.conf",
            vec![
                Client::new("foo", [4, 0x11]).option(60, b"SUNW.Ultra"),
                Client::new("phone", [4, 0x12]).option(60, b"snom370"),
                Client::new("not a phone", [4, 0x13]).option(60, b"snom3700"),
                Client::new("known", [4, 1]),
                plain(),
            ],
        ),
        Case {
            silent: &["bad"],
            ..case(
                "05-groups.conf",
                vec![
                    plain(),
                    Client::new("node1", [5, 1]),
                    Client::new("node2", [5, 2]),
                    Client::new("node3 by PXE", [5, 3]).pxe(0),
                    Client::new("bad", [5, 0x66]),
                ],
            )
        },
        Case {
            files: &["undionly.kpxe"],
            ..case(
                "06-host-condition.conf",
                vec![
                    Client::new("san by PXE", [6, 1]).pxe(0),
                    Client::new("san by gPXE", [6, 1]).pxe(0).option(77, b"gPXE"),
                    Client::new("one by UEFI", [6, 2]).pxe(7),
                    Client::new("one by BIOS", [6, 2]).pxe(0),
                    Client::new("two by UEFI", [6, 3]).pxe(7),
                    Client::new("stranger by PXE", [6, 9]).pxe(0),
                ],
            )
        },
        Case {
            silent: &["in no class"],
            allowed: Allowed { options: &[], ranges: SUBCLASS_RANGES },
            ..case(
                "07-subclasses.conf",
                vec![
                    Client::new("by MAC", [7, 1]),
                    Client::new("by MAC with options", [7, 2]),
                    Client::with_mac("by hardware", [8, 0, 0x2b, 0x4c, 0x39, 0xad]),
                    Client::new("Xerox", [7, 3]).option(60, b"Xerox printer"),
                    Client::new("in no class", [7, 4]),
                ],
            )
        },
        case("08-options.conf", vec![plain(), Client::new("snom", [8, 1]).option(60, b"snom")]),
        case("09-includes/dhcpd.conf", vec![plain(), Client::new("web", [9, 1]), Client::new("db", [9, 2])]),
        case(
            "10-relays.conf",
            vec![
                Client::new("port one", [0x10, 0x21]).behind("10.20.0.1", &circuit("ge-0/0/1")),
                Client::new("port two", [0x10, 0x22]).behind("10.20.0.1", &circuit("ge-0/0/2")),
                Client::new("port seven", [0x10, 0x23]).behind("10.20.0.1", &circuit("ge-0/0/7")),
                Client::new("here and there", [0x10, 1]).behind("10.20.0.1", &circuit("ge-0/0/2")),
                Client::new("here", [0x10, 1]),
            ],
        ),
        Case {
            silent: &["unknown"],
            ..case(
                "12-unknown-clients.conf",
                vec![
                    Client::new("known", [0x12, 1]),
                    Client::with_mac("known with options", [0x52, 0x54, 0, 0, 0x12, 2]),
                    Client::new("unknown", [0x12, 9]),
                ],
            )
        },
        case(
            "13-classes.conf",
            vec![
                plain(),
                Client::new("both", [0x13, 1]).option(60, b"both"),
                Client::new("first", [0x13, 2]).option(60, b"first"),
                Client::new("elsewhere", [0x13, 3]).option(12, b"pc-lab"),
            ],
        ),
    ];
    compare_all("dhcpd", &cases);
}
