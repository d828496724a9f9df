//! Tests of the content that each client gets for a name.

use super::*;
use crate::types::Arch;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 77, 50));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 77, 1));
const OWN: &str = "52-54-00-12-34-56";

struct Bench {
    base: tempfile::TempDir,
    files: Files,
    known: MachineTable,
}

impl Bench {
    /// A folder of files that contain their own names, and a file `secret` beside it.
    fn with(names: &[&str]) -> Bench {
        Bench::configured("dhcp: {mode: off}", names)
    }

    fn configured(yaml: &str, names: &[&str]) -> Bench {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("root")).unwrap();
        fs::write(base.path().join("secret"), "secret").unwrap();
        let catalog = Catalog::open(&base.path().join("root")).unwrap();
        let known = MachineTable::default();
        let boot_state = BootState::in_memory(&crate::config::load(yaml).unwrap());
        let bench =
            Bench { files: Files::new(catalog, known.clone()).with_boot_state(boot_state), base, known };
        names.iter().for_each(|name| bench.add(name));
        bench
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    fn add(&self, name: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }

    /// Returns the name of the file that the machine with this MAC gets, which must equal its content.
    fn get_as(&self, mac: Option<&str>, asked: &[u8]) -> Result<String, Refusal> {
        let mac = mac.map(|mac| mac.parse().unwrap());
        self.known.learn(ADDRESS, KnownMachine { mac, ..KnownMachine::default() });
        let content = self.files.find_and_wait(asked, &self.files.requester(ADDRESS, SERVER))?;
        let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
        content.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, content.name().as_bytes());
        Ok(content.name().to_owned())
    }

    fn get(&self, asked: &[u8]) -> Result<String, Refusal> {
        self.get_as(Some(OWN), asked)
    }
}

#[test]
fn t_19_every_client_spelling_finds_the_file() {
    let bench = Bench::with(&["x", "sub/y", "ends "]);
    for asked in ["x", "/x", "//x", "/./x", r"\x", "x\0", "x ", "x \0\0", "X", "X "] {
        assert_eq!(bench.get(asked.as_bytes()).as_deref(), Ok("x"), "{asked:?}");
    }
    assert_eq!(bench.get(b"x\xff\xff").as_deref(), Ok("x"));
    assert_eq!(bench.get(br"\SUB\Y").as_deref(), Ok("sub/y"));
    assert_eq!(bench.get(b"ends ").as_deref(), Ok("ends "), "the exact name comes first");
}

#[test]
fn t_19_invalid_names_and_outside_paths_are_refused() {
    let bench = Bench::with(&["sub/y"]);
    symlink("../secret", bench.root().join("out")).unwrap();
    nix::unistd::mkfifo(&bench.root().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for asked in [
        "../secret",
        r"..\secret",
        "sub/../../secret",
        "..\0",
        "",
        "/",
        "a\0b",
        "a\nb",
        "out",
        "OUT ",
        "out\0",
    ] {
        let refused = bench.get(asked.as_bytes());
        assert!(matches!(refused, Err(Refusal::BadName | Refusal::NotFound)), "{asked:?}: {refused:?}");
    }
    assert_eq!(bench.get(b"out"), Err(Refusal::BadName));
    assert_eq!(bench.get(b"Gr\xf6\xdfe"), Err(Refusal::BadName), "Latin-1");
    assert_eq!(bench.get(&[b'x'; 5000]), Err(Refusal::BadName));
    for asked in ["%2e%2e/secret", "sub", "SUB", "fifo", "FIFO", "/etc/passwd", "none ", "none\0"] {
        assert_eq!(bench.get(asked.as_bytes()), Err(Refusal::NotFound), "{asked:?}");
    }
}

#[test]
fn the_manifest_is_not_served() {
    let bench = Bench::with(&["manifest.json", "sub/manifest.json"]);
    for asked in ["manifest.json", "//manifest.json", "MANIFEST.JSON", "manifest.json "] {
        assert_eq!(bench.get(asked.as_bytes()), Err(Refusal::NotFound), "{asked}");
    }
    assert_eq!(bench.files.size("manifest.json", None), None);
    assert_eq!(bench.get(b"sub/manifest.json").as_deref(), Ok("sub/manifest.json"), "another file");
}

fn text_of(bench: &Bench, asked: &str) -> Result<String, Refusal> {
    let content = bench.files.find_and_wait(asked.as_bytes(), &bench.files.requester(ADDRESS, SERVER))?;
    let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
    content.read_at(&mut bytes, 0).unwrap();
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn s_12_the_source_of_a_template_is_never_sent() {
    let bench = Bench::with(&["sub/y"]);
    let template = "{# secret #}hello {{ server }}";
    for name in ["t.j2", "sub/U.J2", "52-54-00-12-34-56/own.j2"] {
        bench.add(name);
        fs::write(bench.root().join(name), template).unwrap();
    }
    for (link, target) in [
        ("link", "t.j2"),
        ("chain", "link"),
        ("upper", "sub/U.J2"),
        ("folder", "sub"),
        ("52-54-00-12-34-56/linked", "own.j2"),
        ("other.j2", "link"),
        ("dotted.j2.", "t.j2"),
    ] {
        symlink(target, bench.root().join(link)).unwrap();
    }
    let mac = OWN.parse().ok();
    bench.known.learn(ADDRESS, KnownMachine { mac, ..KnownMachine::default() });
    for asked in ["t", "link", "LINK", "chain", "upper", "own", "linked", "other", "T", "dotted.j2."] {
        assert_eq!(text_of(&bench, asked).as_deref(), Ok("hello 192.168.77.1"), "{asked}");
    }
    for asked in ["t.j2", "T.J2", "sub/U.J2", "folder/U.J2", "own.j2", "other.j2", "t.j2 ", "t.j2\0"] {
        let refused = text_of(&bench, asked);
        assert!(refused == Err(Refusal::NotFound), "{asked}: {refused:?}");
    }
    assert_eq!(bench.files.size("link", None), None, "the size of the source is not reported");
}

#[test]
fn s_12_a_template_includes_no_hidden_file() {
    let bench = Bench::with(&[]);
    for (name, text) in
        [(".secret.j2", "secret"), (".git/x.j2", "secret"), ("a.j2", "{% include '.secret.j2' %}")]
    {
        bench.add(name);
        fs::write(bench.root().join(name), text).unwrap();
    }
    fs::write(bench.root().join("b.j2"), "{% include 'link.j2' %}").unwrap();
    symlink(".git/x.j2", bench.root().join("link.j2")).unwrap();
    for asked in ["a", "b"] {
        assert_eq!(text_of(&bench, asked), Err(Refusal::Template), "{asked}");
    }
}

#[test]
fn r_09_own_folders_are_found_after_the_root_is_replaced() {
    let bench = Bench::with(&["a", "52-54-00-12-34-56/b"]);
    fs::rename(bench.root(), bench.base.path().join("away")).unwrap();
    bench.add("c");
    bench.add("52-54-00-12-34-56/c");
    assert_eq!(bench.get(b"c").as_deref(), Ok("52-54-00-12-34-56/c"));
    assert_eq!(bench.get(b"a"), Err(Refusal::NotFound));
}

#[test]
fn a_machines_own_folder_comes_first() {
    let bench = Bench::with(&["a", "b", "sub/c", "52-54-00-12-34-56/a", "52-54-00-12-34-56/sub/c"]);
    assert_eq!(bench.get(b"a").as_deref(), Ok("52-54-00-12-34-56/a"));
    assert_eq!(bench.get(br"\sub\c").as_deref(), Ok("52-54-00-12-34-56/sub/c"));
    assert_eq!(bench.get(b"a\xff").as_deref(), Ok("52-54-00-12-34-56/a"));
    assert_eq!(bench.get(b"A").as_deref(), Ok("52-54-00-12-34-56/a"));
    assert_eq!(bench.get(b"b").as_deref(), Ok("b"), "missing files come from the common folder");
    for other in [Some("52:54:00:12:34:57"), None] {
        assert_eq!(bench.get_as(other, b"a").as_deref(), Ok("a"), "{other:?}");
    }
    let mac = OWN.parse().ok();
    assert_eq!(bench.files.size("a", mac), Some(19), "option 13 states the size of the own file");
    assert_eq!((bench.files.size("a", None), bench.files.size("none", mac)), (Some(1), None));
}

#[test]
fn an_own_folder_may_be_named_with_colons() {
    let bench = Bench::with(&["a", "52:54:00:12:34:56/a"]);
    assert_eq!(bench.get(b"a").as_deref(), Ok("52:54:00:12:34:56/a"));
    bench.add("52-54-00-12-34-56/a");
    assert_eq!(bench.get(b"a").as_deref(), Ok("52-54-00-12-34-56/a"));
}

#[test]
fn an_own_folder_cannot_lead_outside() {
    let bench = Bench::with(&["a"]);
    symlink("..", bench.root().join(OWN)).unwrap();
    assert_eq!(bench.get(b"secret"), Err(Refusal::BadName));
    fs::remove_file(bench.root().join(OWN)).unwrap();
    symlink("group1", bench.root().join(OWN)).unwrap();
    bench.add("group1/a");
    let found = bench.files.find_and_wait(b"a", &bench.files.requester(ADDRESS, SERVER)).unwrap();
    assert_eq!(found.name(), "52-54-00-12-34-56/a", "machines may share a folder by a symlink");
}

#[test]
fn raspberry_pi_serial_names_find_only_their_own_folder() {
    let bench = Bench::with(&["start4.elf", "100bcdef/config.txt", "config.txt"]);
    let pi = KnownMachine {
        serial: Some("100bcdef".into()),
        arch: Some(Arch::RASPBERRY_PI),
        ..Default::default()
    };
    let requester =
        Requester { machine: pi, standing: Standing::Certain, ..bench.files.requester(ADDRESS, SERVER) };
    let find = |asked: &str| {
        bench.files.find_and_wait(asked.as_bytes(), &requester).map(|found| found.name().to_owned())
    };
    assert_eq!(find("100bcdef/start4.elf"), Err(Refusal::NotFound), "the firmware then asks for start4.elf");
    assert_eq!(find("100bcdef/config.txt").as_deref(), Ok("100bcdef/config.txt"));
    assert_eq!(find("00000000/config.txt"), Err(Refusal::NotFound));
    assert_eq!(find("config.txt").as_deref(), Ok("100bcdef/config.txt"));
    assert_eq!(find("start4.elf").as_deref(), Ok("start4.elf"));
}

#[test]
fn generated_text_is_served_like_a_file() {
    let bench = Bench::with(&[]);
    let whoami = |bench: &Bench| {
        let mac = "52:54:00:12:34:56".parse().ok();
        let requester = Requester {
            machine: KnownMachine { mac, ..Default::default() },
            standing: Standing::Certain,
            ..bench.files.requester(ADDRESS, SERVER)
        };
        let content = bench.files.find_and_wait(br"\lanboot\whoami", &requester).unwrap();
        let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
        content.read_at(&mut bytes, 0).unwrap();
        (content.name().to_owned(), String::from_utf8(bytes).unwrap())
    };
    let (name, text) = whoami(&bench);
    assert_eq!(name, "lanboot/whoami");
    assert_eq!(text, "address: 192.168.77.50\nserver: 192.168.77.1\nmac: 52:54:00:12:34:56\n");
    bench.add("lanboot/whoami");
    assert_eq!(whoami(&bench).1, "lanboot/whoami", "a file comes first");
    assert_eq!(bench.files.size("lanboot/whoami2", None), None);
}

#[test]
fn s_01_text_for_another_machine_is_refused() {
    const OTHER: &str = "52-54-00-12-34-57";
    let yaml = format!(
        "{{dhcp: {{mode: off}}, targets: {{t: {{kernel: linux}}}}, machines: [{{mac: {OTHER}, boot: t, once: menu}}]}}"
    );
    let bench = Bench::configured(&yaml, &["user-data.j2", "plain"]);
    bench.add(&format!("{OTHER}/secret.j2"));
    bench.add(&format!("{OTHER}/open"));
    bench.known.learn(ADDRESS, KnownMachine { mac: OWN.parse().ok(), ..KnownMachine::default() });
    let find = |asked: &str| {
        let requester = bench.files.requester(ADDRESS, SERVER);
        bench.files.find_and_wait(asked.as_bytes(), &requester).map(|found| found.name().to_owned())
    };
    for asked in ["user-data", "boot.ipxe", "secret", "SECRET"] {
        assert_eq!(find(&format!("{OTHER}/{asked}")), Err(Refusal::OtherMachine), "{asked}");
    }
    assert_eq!(find(&format!("pxelinux.cfg/01-{OTHER}")), Err(Refusal::OtherMachine));
    assert_eq!(
        find(&format!("{OTHER}/open")).unwrap(),
        format!("{OTHER}/open"),
        "plain files are served to all"
    );
    assert_eq!(find(&format!("{OTHER}/plain")), Err(Refusal::NotFound));
    assert_eq!(find(&format!("{OWN}/user-data")).unwrap(), format!("{OWN}/user-data"));
    assert_eq!(find("user-data").as_deref(), Ok("user-data"));
    bench.known.learn(ADDRESS, KnownMachine::default());
    let unknown = Requester { standing: Standing::Unknown, ..bench.files.requester(ADDRESS, SERVER) };
    let name = format!("{OTHER}/user-data");
    assert_eq!(bench.files.find_and_wait(name.as_bytes(), &unknown).unwrap().name(), name, "behind a router");
}

#[test]
fn once_of_a_remote_target_ends_with_its_script() {
    const UUID: &str = "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab";
    let yaml = format!(
        "{{dhcp: {{mode: off}}, targets: {{far: {{kernel: 'http://10.0.0.9/linux'}}}}, machines: [{{uuid: {UUID}, boot: \
         local, once: far}}, {{mac: {OWN}, boot: local, once: far}}]}}"
    );
    let by_uuid = KnownMachine { uuid: UUID.parse().ok(), ..KnownMachine::default() };
    let by_mac = KnownMachine { mac: OWN.parse().ok(), ..KnownMachine::default() };
    for (machine, asked) in [
        (&by_uuid, format!("pxelinux.cfg/{UUID}")),
        (&by_uuid, format!("grub/grub.cfg-{UUID}")),
        (&by_mac, format!("pxelinux.cfg/01-{OWN}")),
        (&by_mac, format!("{OWN}/boot.ipxe")),
        (&by_mac, "pxelinux.cfg/default".to_owned()),
    ] {
        let bench = Bench::configured(&yaml, &["01-x", "52-54-00-12-34-57/boot.ipxe"]);
        bench.known.learn(ADDRESS, machine.clone());
        let fetch = |asked: &str| {
            let found =
                bench.files.find_and_wait(asked.as_bytes(), &bench.files.requester(ADDRESS, SERVER)).unwrap();
            let (mut bytes, size) = (vec![0; usize::try_from(found.size()).unwrap()], found.size());
            found.read_at(&mut bytes, 0).unwrap();
            let requester = bench.files.requester(ADDRESS, SERVER);
            bench.files.sent(found.name(), 0..size, size, &requester);
            String::from_utf8(bytes).unwrap()
        };
        for another in ["01-x", "52-54-00-12-34-57/boot.ipxe", "lanboot/whoami"] {
            fetch(another);
        }
        assert!(fetch(&asked).contains("10.0.0.9"), "{asked}");
        assert!(!fetch(&asked).contains("10.0.0.9"), "{asked}: it has had that");
    }
}

/// A reload in the middle of a request changes neither the text, nor the name in the log, nor the `once` that its end
/// ends.
#[test]
fn a_request_has_the_settings_of_its_start() {
    use crate::net::served::Served;
    use crate::net::snapshot::Snapshot;
    let snapshot = |name: &str, more: &str| {
        let yaml = format!(
            "{{dhcp: {{mode: off}}, targets: {{a: {{kernel: a}}, b: {{kernel: b}}}}, machines: [{{name: {name}, \
             mac: {OWN}, {more}}}]}}"
        );
        Arc::new(Snapshot::new(crate::config::load(&yaml).unwrap(), Served::default()))
    };
    let Bench { base: _base, files, known } = Bench::with(&["a", "b"]);
    let (now, receiver) = tokio::sync::watch::channel(snapshot("before", "boot: local, once: a"));
    let files = files.following(receiver);
    known.learn(ADDRESS, KnownMachine { mac: OWN.parse().ok(), ..KnownMachine::default() });
    let text = |requester: &Requester| {
        let asked = format!("pxelinux.cfg/01-{OWN}");
        let content = files.find_and_wait(asked.as_bytes(), requester).unwrap();
        let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
        content.read_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let name = |requester: &Requester| requester.machine_id().and_then(|id| id.name);
    let begun = files.requester(ADDRESS, SERVER);
    let first = text(&begun);
    now.send_replace(snapshot("after", "boot: local, once: b"));
    assert_eq!(text(&begun), first);
    assert_eq!(name(&begun).as_deref(), Some("before"));
    files.sent("a", 0..1, 1, &begun);
    let next = files.requester(ADDRESS, SERVER);
    assert_ne!(text(&next), first, "`once` is b now, and a transfer of before does not end it");
    assert_eq!(name(&next).as_deref(), Some("after"));
    now.send_replace(snapshot("after", "boot: local, once: a"));
    let again = files.requester(ADDRESS, SERVER);
    assert_eq!(text(&again), first, "the transfer ended nothing");
    files.sent("a", 0..1, 1, &again);
    assert_ne!(text(&files.requester(ADDRESS, SERVER)), first);
}

#[test]
fn s_01_a_machine_that_was_there_a_moment_ago_is_not_there_now() {
    use crate::net::neighbours::Neighbour;
    let victim: MacAddr = "52:54:00:12:34:56".parse().unwrap();
    let attacker: MacAddr = "52:54:00:00:00:66".parse().unwrap();
    let IpAddr::V4(address) = ADDRESS else { unreachable!() };
    let of = |yaml: &str, has_lease: bool| {
        let bench = Bench::configured(yaml, &[]);
        if has_lease {
            bench.known.learn(ADDRESS, KnownMachine { mac: Some(victim), ..KnownMachine::default() });
        }
        bench.known.neighbours.remember(address, Neighbour::At(vec![victim]));
        bench.known.neighbours.fix(address, Neighbour::At(vec![attacker]));
        let Requester { machine, standing, .. } = bench.files.requester(ADDRESS, SERVER);
        (machine.mac, standing)
    };
    let entry = "{dhcp: {mode: off}, machines: [{name: victim, mac: '52:54:00:12:34:56', boot: local}]}";
    let none = "dhcp: {mode: off}";
    assert_eq!(of(entry, true), (None, Standing::Contested));
    assert_eq!(of(none, true), (None, Standing::Contested), "it may have a folder or facts");
    assert_eq!(of(entry, false), (Some(attacker), Standing::Neighbour), "its address is static");
    assert_eq!(of(none, false), (Some(victim), Standing::Neighbour), "nothing is made for it");
}
