//! `lanboot import` for Kea and ISC dhcpd: every configuration in `tests/data/import/kea` and `dhcpd` against its
//! snapshot, hostile files, and large ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanboot::import::{Failed, Found, Imported, Sources, dhcpd, kea};

type Import = fn(&[String], Sources<'_>) -> Result<Imported, Failed>;

fn folder(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(server)
}

/// Imports a file of a folder, with the files that it includes. Names in the result are relative to the folder.
fn import(import: Import, folder: &Path, file: &str) -> Result<Imported, Failed> {
    let mut read = |path: &str, from: Option<&str>| {
        let beside = from.and_then(|from| Path::new(from).parent()).unwrap_or(Path::new(""));
        // An included file may also stand beside the first one, as for a server that changed its folder.
        let places = [beside.join(path), Path::new(file).parent().unwrap().join(path), PathBuf::from(path)];
        let place = places.iter().find(|place| folder.join(place).is_file());
        let place = place.ok_or_else(|| format!("cannot read {path}: no such file"))?;
        let bytes = fs::read(folder.join(place)).map_err(|error| error.to_string())?;
        Ok(Found { name: place.display().to_string(), bytes })
    };
    let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
    import(&[file.to_owned()], Sources::new(&mut read, &mut list))
}

/// Imports a text.
fn import_text(import: Import, text: &[u8]) -> Result<Imported, Failed> {
    let mut read = |path: &str, _: Option<&str>| match path {
        "file" => Ok(Found { name: path.to_owned(), bytes: text.to_vec() }),
        _ => Err(format!("cannot read {path}")),
    };
    let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
    import(&["file".to_owned()], Sources::new(&mut read, &mut list))
}

/// The configurations of a server: files, and the first file of folders.
fn configurations(server: &str, first: &str) -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(folder(server))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != "snapshots")
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() { format!("{name}/{first}") } else { name }
        })
        .collect();
    all.sort();
    all
}

fn shown(imported: &Imported) -> String {
    let problems: Vec<String> = imported.problems.iter().map(|problem| format!("{problem}\n")).collect();
    format!("{}\n# not taken\n{}", imported.yaml, problems.concat())
}

fn against_snapshots(server: &str, first: &str, translate: Import) {
    let all = configurations(server, first);
    assert!(all.len() >= 12, "{all:?}");
    for name in all {
        let imported =
            import(translate, &folder(server), &name).unwrap_or_else(|why| panic!("{name}: {why}"));
        let short = name.split('/').next().unwrap().split('.').next().unwrap();
        let path = folder(server).join("snapshots");
        insta::with_settings!({
            snapshot_path => path, prepend_module_to_snapshot => false, omit_expression => true
        }, {
            insta::assert_snapshot!(short, shown(&imported));
        });
    }
}

#[test]
fn kea_configurations_are_translated_as_in_their_snapshots() {
    against_snapshots("kea", "kea-dhcp4.json", kea::import);
}

#[test]
fn dhcpd_configurations_are_translated_as_in_their_snapshots() {
    against_snapshots("dhcpd", "dhcpd.conf", dhcpd::import);
}

#[test]
fn a_broken_file_is_refused_with_its_place() {
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let long = vec![b'x'; 5 << 20];
    let kea_cases: [(&[u8], &str); 6] = [
        (b"", "file:1:1: "),
        (b"{\"Dhcp4\": {\n  \"subnet4\": [ }", "file:2:16: "),
        (b"{\"Dhcp4\": {", "file:1:12: "),
        (b"not json", "file:1:1: "),
        (&binary, "file:1:1: "),
        (&long, "file:1:"),
    ];
    let dhcpd_cases: [(&[u8], &str); 5] = [
        (b"subnet 10.0.0.0 netmask 255.0.0.0 {\n  range 10.0.0.1 10.0.0.9;\n", "file:1:35: "),
        (b"option domain-name \"lab;\n", "file:1:20: "),
        (b"a;\n}\n", "file:2:1: "),
        (&binary, "file:1:1: "),
        (&long, "file:1:"),
    ];
    for (cases, translate) in [(&kea_cases[..], kea::import as Import), (&dhcpd_cases[..], dhcpd::import)] {
        for (text, place) in cases {
            let begin = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
            match import_text(translate, text) {
                Err(failed) => {
                    let shown = failed.to_string();
                    assert!(shown.starts_with(place) && shown.len() < 400, "{begin}: {shown}");
                }
                Ok(imported) => panic!("{begin}: {}", imported.yaml),
            }
        }
    }
}

#[test]
fn deep_nesting_ends_with_a_fault() {
    for piece in ["[", "{\"a\":", "[{\"a\":["] {
        let text = format!("{{\"Dhcp4\": {}", piece.repeat(200_000));
        assert!(matches!(import_text(kea::import, text.as_bytes()), Err(Failed::Broken(_))));
    }
    for piece in ["group {", "if known {", "if (", "subnet 1.1.1.1 netmask 0.0.0.0 { pool {"] {
        assert!(matches!(
            import_text(dhcpd::import, piece.repeat(200_000).as_bytes()),
            Err(Failed::Broken(_))
        ));
    }
    let test = format!(
        "{{\"Dhcp4\": {{\"subnet4\": [{{\"subnet\": \"10.0.0.0/24\"}}], \"client-classes\": [{{\"name\": \"a\", \"test\": \"{}\"}}]}}}}",
        "(".repeat(100_000)
    );
    assert_eq!(import_text(kea::import, test.as_bytes()).unwrap().problems.len(), 1);
    let test = format!(
        "subnet 10.0.0.0 netmask 255.255.255.0 {{ }} class \"a\" {{ match if {} known; }}",
        "(".repeat(100_000)
    );
    assert_eq!(import_text(dhcpd::import, test.as_bytes()).unwrap().problems.len(), 1);
}

/// The processor time of this thread. Other tests run at the same time.
pub(crate) fn time_on_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn twenty_thousand_hosts_are_imported_in_five_seconds() {
    let mac = |n: u32| format!("02:00:00:{:02x}:{:02x}:{:02x}", n >> 16, n >> 8 & 255, n & 255);
    let address = |n: u32| std::net::Ipv4Addr::from(0x0a00_0100 + n);
    let mut kea_text =
        "{\"Dhcp4\": {\"subnet4\": [{\"subnet\": \"10.0.0.0/8\", \"reservations\": [".to_owned();
    let mut dhcpd_text =
        "subnet 10.0.0.0 netmask 255.0.0.0 { }\nclass \"macs\" { match hardware; }\n".to_owned();
    for n in 0..20_000 {
        kea_text.push_str(&format!(
            "{{\"hw-address\": \"{}\", \"ip-address\": \"{}\", \"hostname\": \"host{n}\"}},\n",
            mac(n),
            address(n)
        ));
        dhcpd_text.push_str(&format!(
            "host host{n} {{ hardware ethernet {}; fixed-address {}; option host-name \"host{n}\"; }}\n",
            mac(n),
            address(n)
        ));
        dhcpd_text.push_str(&format!("subclass \"macs\" 1:{};\n", mac(n)));
    }
    kea_text.push_str("]}]}}");
    for (translate, text) in [(kea::import as Import, kea_text), (dhcpd::import, dhcpd_text)] {
        let began = time_on_cpu();
        let imported = import_text(translate, text.as_bytes()).unwrap();
        assert!(imported.yaml.matches("hostname: host").count() == 20_000);
        let took = time_on_cpu() - began;
        assert!(took < Duration::from_secs(20), "{took:?} without optimization");
    }
}

#[test]
fn import_writes_a_configuration_that_lanboot_accepts() {
    let servers: [(&str, &str, Import); 2] =
        [("kea", "kea-dhcp4.json", kea::import), ("dhcpd", "dhcpd.conf", dhcpd::import)];
    let mut wrong = Vec::new();
    for (server, first, translate) in servers {
        for name in configurations(server, first) {
            let imported = import(translate, &folder(server), &name).unwrap();
            if let Err(problems) = lanboot::config::load(&imported.yaml) {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                wrong.push(format!("{server}/{name}:\n{}\n{}", problems.join("\n"), imported.yaml));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn options_inside_others_are_named_with_their_own_line() {
    let text = b"option space gpxe;
option gpxe.no-pxedhcp code 176 = unsigned integer 8;
option gpxe.bus-id code 177 = string;
option gpxe-encap-opts code 175 = encapsulate gpxe;
option space wide;
option wide.x code 300 = text;
subnet 10.0.0.0 netmask 255.255.255.0 {
  range 10.0.0.10 10.0.0.20;
  option domain-name \"lab\";
  option gpxe.no-pxedhcp 1;
  option gpxe.bus-id \"x\";
  option wide.x \"y\";
  vendor-option-space wide;
}
host a {
  hardware ethernet 02:00:00:00:00:01;
  option gpxe.bus-id \"y\";
}
";
    let imported = import_text(dhcpd::import, text).unwrap();
    let lines: Vec<u32> = imported.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [10, 11, 12, 17], "{}", shown(&imported));
    assert!(imported.problems[0].to_string().contains("option 175 is not taken: lanboot writes it for iPXE"));
    assert!(!imported.yaml.contains("175"), "{}", imported.yaml);
}

#[test]
fn hosts_with_one_address_become_one_machine() {
    let host = |name: &str, mac: u8, address: u8, more: &str| {
        format!(
            "host {name} {{ hardware ethernet 2:0:0:0:0:{mac}; fixed-address 10.0.0.{address}; {more} }}\n"
        )
    };
    let text = [
        "subnet 10.0.0.0 netmask 255.255.255.0 { }\n".to_owned(),
        host("wired", 1, 30, ""),
        host("wireless", 2, 30, ""),
        host("a", 3, 31, "option domain-name \"a\";"),
        host("b", 4, 31, "option domain-name \"b\";"),
    ];
    let imported = import_text(dhcpd::import, text.concat().as_bytes()).unwrap();
    let machines = imported.yaml.split("machines:").nth(1).unwrap();
    for expected in [
        "# also wireless",
        "{name: wired, mac: ['02:00:00:00:00:01', '02:00:00:00:00:02'], address: 10.0.0.30}",
        "{name: a, mac: '02:00:00:00:00:03', address: 10.0.0.31, options: {domain: a}}",
        "{name: b, mac: '02:00:00:00:00:04', options: {domain: b}}",
    ] {
        assert!(machines.contains(expected), "{expected}: {machines}");
    }
    let problems: Vec<String> = imported.problems.iter().map(ToString::to_string).collect();
    let why = "another host has it, and lanboot gives an address to one machine";
    assert_eq!(problems, [format!("file:5: the address 10.0.0.31 is not taken: {why}")]);
    lanboot::config::load(&imported.yaml).unwrap();
}

/// A name with a space is kept, because a person finds the machine by it, and `check` notes that it is no host name.
#[test]
fn a_machine_name_with_a_space_is_kept_and_noted() {
    let kea = br#"{"Dhcp4": {"subnet4": [{"id": 1, "subnet": "10.0.0.0/24", "reservations":
        [{"hw-address": "02:00:00:00:00:01", "hostname": "my pc", "ip-address": "10.0.0.30"}]}]}}"#;
    let isc = b"subnet 10.0.0.0 netmask 255.255.255.0 { }
host \"my pc\" { hardware ethernet 02:00:00:00:00:01; fixed-address 10.0.0.30; option host-name \"my pc\"; }\n";
    let servers: [(&[u8], Import); 2] = [(kea, kea::import), (isc, dhcpd::import)];
    for (text, translate) in servers {
        let imported = import_text(translate, text).unwrap();
        let [problem] = &imported.problems[..] else { panic!("{}", shown(&imported)) };
        assert_eq!((problem.line, problem.reason.contains("found \"my pc\"")), (2, true), "{problem}");
        let config = lanboot::config::load(&imported.yaml).unwrap();
        assert_eq!(config.targets.machines()[0].name, "my pc");
        let notes: Vec<String> = config.notes.iter().map(ToString::to_string).collect();
        assert!(notes.iter().any(|note| note.contains("a name with a space is no host name")), "{notes:?}");
    }
}
