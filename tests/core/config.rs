//! The configuration: every example in the repository is valid, and every broken example gives exactly its expected
//! messages.
//!
//! A broken example is `tests/data/config/broken/NAME.yaml`. `NAME.txt` next to it has its problems, one per line. Set
//! `UPDATE_EXPECTED=1` to have the tests rewrite the `.txt` files, and read the difference before you commit it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lanboot::boot::loader::target::{BootAction, SCRIPT, Targets, Var};
use lanboot::boot::machine_boot::MachineBoot;
use lanboot::boot::menu::{Item, ItemAction, WAIT_FOREVER};
use lanboot::boot::plan::Mode;
use lanboot::config::{self, Http, Interfaces, Log, LogFormat, LogLevel, Problem, Uploads};
use lanboot::dhcp::classes::{Class, Condition};
use lanboot::dhcp::level::{DEFAULT_LEASE, LeaseTime};
use lanboot::dhcp::mode::Modes;
use lanboot::dhcp::options::OptionSet;
use lanboot::dhcp::pattern::Pattern;
use lanboot::dhcp::settings::{Authoritative, BootpMode, Ports, Settings};
use lanboot::tftp::{Engine, Limits, Ports as TransferPorts};
use lanboot::types::{Arch, FileKind, Processor};
use lanboot::wire::option::{Kind, TABLE};
use proptest::prelude::*;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `.yaml` files below `folder`, except in `target`, hidden folders and the broken examples.
/// Files and folders with YAML that is no configuration of lanboot, and configurations that are wrong on purpose.
const OTHER_YAML: [&str; 3] = ["tests/data/config/broken", "src/api/openapi.yaml", "docs/monitoring"];

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_other = OTHER_YAML.iter().any(|other| path.ends_with(other));
        if name == "target" || name.starts_with('.') || is_other {
            continue;
        }
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

fn problems(text: &str) -> Vec<Problem> {
    config::load(text).err().unwrap_or_default()
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn every_example_in_the_readme_and_the_docs_works_as_pasted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut examples = 0;
    for page in pages.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        let page = page.display();
        for block in text.split("```yaml\n").skip(1) {
            let yaml = block.split("```").next().unwrap();
            assert!(config::load(yaml).is_ok(), "{page}: {:?}\n{yaml}", config::load(yaml));
            examples += 1;
        }
    }
    assert!(examples >= 8, "the examples were found");
}

/// docs/options.md lists the keys of `options`, the form of each value, and the names that other servers use for it.
#[test]
fn the_page_of_options_has_every_name_that_is_taken_and_other_names_lead_to_it() {
    let page = include_str!("../../docs/options.md");
    let first =
        |name: &str| problems(&format!("dhcp: {{mode: off, options: {{{name}: {{}}}}}}")).remove(0).message;
    let rows = TABLE.iter().filter(|row| !first(row.name).contains("is not set here")).map(|row| {
        let value = match row.kind {
            Kind::Ip => "an address",
            Kind::Ips => "addresses",
            Kind::IpsOrNone => "addresses, or `[]`",
            Kind::IpPairs => "pairs of addresses: `\"10.0.0.1 192.168.77.254\"`",
            Kind::Bool => "`true` or `false`",
            Kind::U8 => "a number up to 255",
            Kind::U16 => "a number up to 65535",
            Kind::U8s => "numbers up to 255",
            Kind::U16s => "numbers up to 65535",
            Kind::U32 => "a number, or a time like `1h`",
            Kind::I32 => "a number, which may be negative",
            Kind::Text => "text",
            Kind::Names | Kind::SearchList => "domain names",
            Kind::Routes => "routes: `{to: 10.0.0.0/8, via: 192.168.77.254}`",
            Kind::Bytes => "`hex:…` or `text:…`",
            Kind::Empty => "`true`",
        };
        (row.name, format!("| {} | `{}` | {value} |", row.code, row.name))
    });
    let mut listed = page.lines().skip_while(|line| *line != "|---|---|---|---|").skip(1);
    for (name, expected) in rows {
        let line = listed.next().unwrap_or_default();
        let others = line.strip_prefix(&expected).unwrap_or_else(|| panic!("{line:?} is not {expected:?}"));
        for other in others.split('`').skip(1).step_by(2) {
            assert_eq!(first(other), format!("unknown option `{other}`; did you mean `{name}`?"));
        }
    }
    assert_eq!(listed.next(), Some(""), "nothing else is listed");
}

#[test]
fn every_yaml_file_of_the_repository_is_right() {
    let mut files = Vec::new();
    yaml_files(repository(), &mut files);
    assert!(files.iter().any(|file| file.ends_with("config.yaml")), "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(lines(&problems(&text)), "", "{}", file.display());
        assert_eq!(config::missing_files(&config::load(&text).unwrap(), |_| true), [], "{}", file.display());
    }
}

fn targets_arrive(targets: &Targets) {
    assert_eq!(
        (&targets.default, targets.ipxe.as_deref()),
        (&Some(BootAction::Menu), Some("scripts/boot.ipxe"))
    );
    let [debian, live] = &targets.list[..] else { panic!("{:?}", targets.list) };
    assert_eq!((&*debian.name, &*debian.title), ("debian", "Debian's installer"));
    assert_eq!(&*debian.kernel, "debian/{arch}/linux");
    let initrd: Vec<&str> = debian.initrd.iter().map(|name| &**name).collect();
    assert_eq!(initrd, ["debian/{arch}/initrd.gz", "http://{server}/more.img"]);
    let cmdline = "auto=true priority=critical url=http://{server}/{mac}/preseed.cfg role={role} ---";
    assert_eq!(&*debian.cmdline, cmdline);
    assert_eq!((&*live.title, &*live.initrd[0], &*live.cmdline), ("live", "live.img", ""));
    let machine = |mac: &str| targets.machine(mac.parse().ok(), None).unwrap();
    let first = machine("52:54:00:00:00:01");
    assert_eq!(
        (&first.boot, &first.once),
        (&Some(BootAction::Local), &Some(BootAction::Target("debian".into())))
    );
    assert_eq!(first.vars["role"], Var::Text("web".into()));
    assert_eq!(first.vars["disks"], Var::List(vec![Var::Text("sda".into()), Var::Text("sdb".into())]));
    assert_eq!(first.vars["net"], Var::Map([("vlan".to_owned(), Var::Int(7))].into()));
    assert_eq!(machine("52:54:00:00:00:02").script.as_deref(), Some("http://10.0.0.9/node2.ipxe?a=1"));
    assert_eq!(machine("52:54:00:12:34:56").host_name.as_deref(), Some("node1"));
}

#[test]
fn every_broken_example_gives_exactly_its_messages() {
    let folder = repository().join("tests/data/config/broken");
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut examples = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        examples += 1;
        let found = lines(&problems(&fs::read_to_string(&file).unwrap()));
        assert_ne!(found, "", "{} has no problem", file.display());
        let expected = file.with_extension("txt");
        if update {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap_or_default(), "{}", file.display());
    }
    assert!(examples >= 30, "only {examples} broken examples");
}

#[test]
fn the_default_configuration_says_what_its_comments_say() {
    let text = fs::read_to_string(repository().join("config.yaml")).unwrap();
    let config = config::load(&text).unwrap();
    assert_eq!(config.interfaces, Interfaces::Auto);
    let dhcp = config.dhcp.as_ref().unwrap();
    assert_eq!(dhcp.subnets[0].pools[0].range.size(), 151);
    assert_eq!(dhcp.subnets[0].level.lease.unwrap_or(DEFAULT_LEASE).default, Duration::from_secs(3600));
    assert_eq!(dhcp.subnets[0].level.lease.unwrap_or(DEFAULT_LEASE).min, Duration::from_secs(120));
    assert_eq!(dhcp.boot.arch[&Arch::UEFI_X64], "snponly.efi".into());
    // A file that writes out the defaults gives the same settings as a file without them.
    let short =
        "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.200}]}";
    let short = config::load(short).unwrap();
    assert_eq!(short.tftp, config.tftp);
    assert_eq!(short.log, config.log);
    assert_eq!((short.state, short.images), (config.state.clone(), config.images.clone()));
    let defaults = short.dhcp.unwrap();
    assert_eq!(
        (defaults.authoritative, defaults.always_broadcast, defaults.bootp, defaults.ports),
        (dhcp.authoritative, dhcp.always_broadcast, dhcp.bootp, dhcp.ports)
    );
    assert_eq!((defaults.match_client_id, dhcp.match_client_id), (true, true));
    let lease_of = |settings: &Settings| settings.subnets[0].level.lease.unwrap_or(DEFAULT_LEASE);
    assert_eq!(lease_of(&defaults), lease_of(dhcp));
}

#[test]
fn r_07_authoritative_is_true_false_or_strict() {
    let all = [
        ("true", Authoritative::Yes),
        ("yes", Authoritative::Yes),
        ("false", Authoritative::No),
        ("off", Authoritative::No),
        ("strict", Authoritative::Strict),
    ];
    let file = |word: &str| {
        format!("dhcp:\n  mode: server\n  authoritative: {word}\n  subnets: [{{network: 10.0.0.0/24}}]\n")
    };
    for (word, expected) in all {
        assert_eq!(config::load(&file(word)).unwrap().dhcp.unwrap().authoritative, expected, "{word}");
    }
    let problems = config::load(&file("strickt")).unwrap_err();
    let why = format!("{problems:?}");
    assert!(
        why.contains("expected true, false or strict") && why.contains("did you mean `strict`?"),
        "{why}"
    );
}

#[test]
fn every_key_arrives_where_it_is_used() {
    let config = config::load(include_str!("../data/config/full.yaml")).unwrap();
    assert_eq!(config.interfaces, Interfaces::Named(vec!["eth1".into(), "eth2.10".into()]));
    assert_eq!((config.state.to_str(), config.images.to_str()), (Some("state"), Some("files")));
    assert_eq!(config.log, Log { format: LogFormat::Json, level: LogLevel::Debug });

    let tftp = config.tftp.unwrap();
    assert_eq!((tftp.port, tftp.listen), (6969, vec![Ipv4Addr::LOCALHOST]));
    let allow = vec!["10.0.0.0/8".parse().unwrap()];
    let limits =
        Limits { max_block_size: Some(1024), max_window: 16, max_transfers: 100, max_per_client: 8, allow };
    assert_eq!(tftp.limits, limits);
    assert_eq!(
        (tftp.engine, tftp.ports),
        (Engine::Native, TransferPorts::Range { first: 30000, last: 30999 })
    );
    assert_eq!(
        tftp.uploads,
        Some(Uploads { dir: "uploads".into(), max_size: 1 << 20, max_total: 1 << 30, max_files: 10_000 })
    );

    targets_arrive(&config.targets);
    let dhcp = config.dhcp.unwrap();
    let boots: Vec<_> = dhcp.machines.iter().skip(3).map(|machine| machine.boot.clone()).collect();
    assert_eq!(boots, [Some(MachineBoot::File(SCRIPT.into())), Some(MachineBoot::File(SCRIPT.into()))]);
    assert_eq!((dhcp.authoritative, dhcp.match_client_id), (Authoritative::No, false));
    assert!(dhcp.always_broadcast);
    assert_eq!(
        (dhcp.bootp, dhcp.ports),
        (BootpMode::Dynamic, Ports { server: 6767, client: 6868, proxy: 6411 })
    );
    assert_eq!((dhcp.fqdn_suffix.as_deref(), dhcp.subnet_selection), (Some("clients.lab.example"), true));
    assert_eq!(dhcp.level.options, OptionSet::from([(26, vec![0x05, 0x78])]));
    let globs = |patterns: &[&str]| patterns.iter().map(|pattern| Pattern::text(pattern)).collect();
    let classes: Vec<&Class> = dhcp.classes.iter().collect();
    let [acme, machines, port] = &classes[..] else { panic!("{:?}", dhcp.classes) };
    assert_eq!(
        acme.alternatives[0],
        [
            Condition::VendorClass(globs(&["acme*"])),
            Condition::UserClass(globs(&["lab", "test?"])),
            Condition::Hostname(globs(&["pc*"])),
            Condition::Arch(vec![Arch::BIOS, Arch::UEFI_X64]),
            Condition::Option(224, vec![Pattern::hex("0aff").unwrap()]),
        ]
    );
    assert_eq!(acme.level.options, OptionSet::from([(15, b"acme.example".to_vec())]));
    assert_eq!(acme.boot, Some(MachineBoot::File("acme.efi".into())));
    let uuid = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
    let macs = Condition::Mac(globs(&["525400*", "525400*", "525400*"]));
    assert_eq!(machines.alternatives[0], [macs, Condition::Uuid(vec![uuid])]);
    let text = |pattern: &str| vec![Pattern::text(pattern)];
    assert_eq!(
        port.alternatives[0],
        [
            Condition::RelayOption(1, text("ge-0/0/*")),
            Condition::RelayOption(2, text("7")),
            Condition::Option(60, text("*x"))
        ]
    );
    let [first, second, third] = &dhcp.subnets[..] else { panic!("{:?}", dhcp.subnets) };
    let pools: Vec<String> = first.pools.iter().map(|pool| pool.range.to_string()).collect();
    assert_eq!(
        pools,
        ["192.168.77.50-192.168.77.99", "192.168.77.150-192.168.77.200", "192.168.77.7-192.168.77.7"]
    );
    let seconds = |lease: LeaseTime| [lease.min, lease.default, lease.max].map(|time| time.as_secs());
    assert_eq!(dhcp.conflict_check, Some(Duration::from_millis(250)));
    assert_eq!([first.boot_lease, second.boot_lease], [Some(Duration::from_secs(180)), None]);
    assert_eq!(seconds(first.level.lease.unwrap()), [300, 3600, 5400]);
    assert_eq!(seconds(second.level.lease.unwrap()), [60, 60, 60]);
    assert_eq!(seconds(third.level.lease.unwrap_or(DEFAULT_LEASE)), [120, 3600, 3600]);
    assert_eq!(first.relays, ["10.1.0.1/32".parse().unwrap()]);
    let wires = [first, second, third].map(|subnet| subnet.shared_network.as_deref());
    assert_eq!(wires, [Some("lab"), Some("lab"), None]);
    assert_eq!(first.level.options.codes().collect::<Vec<_>>(), [3, 6, 119, 121, 224]);
    assert_eq!(second.level.options, first.level.options, "an alias stands for what its anchor says");

    let name = |arch: &str| dhcp.boot.arch.get(&arch.parse::<Arch>().unwrap()).map(ToString::to_string);
    assert_eq!(name("bios").as_deref(), Some("undionly.kpxe"));
    assert_eq!(name("uefi-x64").as_deref(), Some("snponly.efi"));
    assert_eq!(name("uefi-x64-http").as_deref(), Some("http://{server}/snponly.efi"));
    assert_eq!(dhcp.boot.ipxe.as_deref(), Some(SCRIPT), "with a default, a script is made for each machine");
    assert_eq!(dhcp.boot.bootp.as_deref(), Some("pxelinux.0"));
    let machines: Vec<_> = dhcp.machines.iter().collect();
    assert_eq!(
        (&*machines[0].name, machines[0].macs.first().copied(), machines[0].uuid),
        ("node1", "52:54:00:12:34:56".parse().ok(), None)
    );
    assert_eq!(machines[0].addresses, [Ipv4Addr::new(192, 168, 78, 10)]);
    assert_eq!(machines[0].boot, Some(MachineBoot::File("debian.ipxe".into())));
    assert_eq!(machines[0].level.options, OptionSet::from([(12, b"node1".to_vec())]));
    assert_eq!(&*machines[1].name, "52:54:00:12:34:57", "a machine without a name is called by its MAC");
    let Some(MachineBoot::ByArch(files)) = &machines[1].boot else { panic!("{:?}", machines[1]) };
    assert_eq!(files[&Arch::BIOS], "lpxelinux.0".into());
    assert_eq!(machines[1].uuid, "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab".parse().ok());
    assert_eq!((&*machines[2].name, machines[2].macs.len()), ("01020304-0506-0708-090a-0b0c0d0e0f10", 0));
    let listen = vec![Ipv4Addr::new(192, 168, 77, 1), Ipv4Addr::new(192, 168, 78, 1)];
    let allow = vec!["10.9.0.0/16".parse().unwrap()];
    assert_eq!(config.http, Some(Http { port: 8080, listen, max_per_client: 1024, allow }));
}

#[test]
fn without_a_mode_lanboot_is_a_proxy_and_interfaces_may_differ() {
    let modes = |text: &str| config::load(text).unwrap().dhcp.unwrap().modes.clone();
    for text in ["interfaces: [eth1]", "dhcp: {}", "dhcp: {mode: proxy}", "dhcp:", ""] {
        assert_eq!(modes(text), Modes::all(Some(Mode::Proxy)), "{text:?}");
    }
    let subnets = "subnets: [{network: 10.0.0.0/24}]";
    assert_eq!(modes(&format!("dhcp: {{mode: server, {subnets}}}")), Modes::all(Some(Mode::Server)));
    let each = modes(&format!("dhcp: {{mode: {{eth1: server, eth2: off}}, {subnets}}}"));
    let on = |name| each.on(name);
    assert_eq!([on("eth0"), on("eth1"), on("eth2")], [Some(Mode::Proxy), Some(Mode::Server), None]);
    let off = modes(&format!("dhcp: {{mode: {{default: off, eth1: server}}, {subnets}}}"));
    assert_eq!([off.on("eth0"), off.on("eth1")], [None, Some(Mode::Server)]);
    assert_eq!(config::load("dhcp: {mode: {default: off, eth1: off}}").unwrap().dhcp, None);
}

#[test]
fn dhcp_off_leaves_tftp() {
    let config = config::load(include_str!("../data/config/tftp-only.yaml")).unwrap();
    assert_eq!((config.dhcp, config.interfaces), (None, Interfaces::Auto));
    assert_eq!(config.tftp.unwrap().listen, [Ipv4Addr::new(192, 168, 77, 1)]);
    for off in ["off", "false", "\"off\""] {
        let text = format!("dhcp: {{mode: server, subnets: [{{network: 10.0.0.0/24}}]}}\ntftp: {off}\n");
        assert_eq!(config::load(&text).unwrap().tftp, None, "{off}");
    }
}

#[test]
fn every_way_to_write_ports_and_uploads_is_read() {
    let tftp =
        |text: &str| config::load(&format!("dhcp: {{mode: off}}\ntftp: {{{text}}}\n")).unwrap().tftp.unwrap();
    assert_eq!((tftp("").ports, tftp("").uploads), (TransferPorts::Ephemeral, None));
    for (text, ports) in [
        ("0", TransferPorts::Ephemeral),
        ("single", TransferPorts::Single),
        ("30000-30999", TransferPorts::Range { first: 30000, last: 30999 }),
        ("' 30000 - 30999 '", TransferPorts::Range { first: 30000, last: 30999 }),
        ("70-70", TransferPorts::Range { first: 70, last: 70 }),
    ] {
        assert_eq!(tftp(&format!("ports: {text}")).ports, ports, "{text}");
    }
    assert_eq!((tftp("").engine, tftp("engine: async-tftp").engine), (Engine::Native, Engine::AsyncTftp));
    let default = Uploads { dir: "up".into(), max_size: 256 << 20, max_total: 1 << 30, max_files: 10_000 };
    for (text, uploads) in [
        ("off", None),
        ("up", Some(default.clone())),
        ("{dir: up}", Some(default.clone())),
        ("{dir: up, max_size: 2MiB}", Some(Uploads { max_size: 2 << 20, ..default.clone() })),
        (
            "{dir: up, max_size: 1GiB}",
            Some(Uploads { max_size: 1 << 30, max_total: 4 << 30, ..default.clone() }),
        ),
        (
            "{dir: up, max_total: 512MiB, max_files: 7}",
            Some(Uploads { max_total: 512 << 20, max_files: 7, ..default }),
        ),
    ] {
        assert_eq!(tftp(&format!("uploads: {text}")).uploads, uploads, "{text}");
    }
}

#[test]
fn a_menu_says_what_it_shows_and_for_how_long() {
    let menu =
        |text: &str| config::load(&format!("boot: {{{text}}}")).unwrap().dhcp.unwrap().boot.menu.clone();
    let items = |action| vec![Item { text: "a".into(), action }];
    let written = menu("menu: [{text: a, local: true}]").unwrap();
    assert_eq!(written.items, items(ItemAction::Local));
    assert_eq!((&*written.prompt, written.timeout), ("Press F8 for the boot menu", 10));
    let written = menu("menu: [{text: a, server: 10.0.0.9}], prompt: Choose!, timeout: 1m").unwrap();
    assert_eq!(written.items, items(ItemAction::Server(Ipv4Addr::new(10, 0, 0, 9))));
    assert_eq!((&*written.prompt, written.timeout), ("Choose!", 60));
    let written = menu("menu: [{text: a, file: a.efi}], timeout: off").unwrap();
    assert_eq!(written.items, items(ItemAction::File(MachineBoot::File("a.efi".into()))));
    assert_eq!(written.timeout, WAIT_FOREVER);
    assert_eq!(menu("menu: []"), None);
}

#[test]
fn missing_boot_files_are_reported_with_key_and_clients() {
    let text = "\
dhcp: {mode: server, subnets: [{network: 10.0.0.0/24}], classes: [{match: {arch: 7}, boot: class.efi}]}
boot:
  arch:
    9: x64.efi
    bios: there.kpxe
    uefi-x64-http: http://{server}/x64.efi
    uefi-arm64: 'http/{server}.efi'
  menu: [{text: Disk, local: true}, {text: Install, file: menu.efi}]
machines:
  - {mac: 525400123456, boot: {7: other.efi}}
  - {mac: 52-54-00-12-34-57, name: node2, boot: debian.ipxe}
  - {mac: 52-54-00-12-34-58, name: node3, boot: node3.ipxe, once: local}
";
    let config = config::load(text).unwrap();
    let exists = |name: &str| name == "there.kpxe";
    let missing = config::missing_files(&config, exists);
    assert_eq!(config::missing_script(&config, exists, |_| false), None, "no iPXE is loaded");
    let script = config::missing_script(&config, exists, |name| name == "there.kpxe").unwrap();
    assert_eq!((&*script.name, script.wanted_by.as_str()), ("boot.ipxe", "boot.ipxe"));
    let problems = config::missing_file_problems(&text.into(), "boot-images", &[], &missing);
    assert_eq!(
        lines(&problems),
        "\
1:92: dhcp.classes[0].boot: no file \"class.efi\" in boot-images, which a client of the class would ask for
4:8: boot.arch.uefi-x64: no file \"x64.efi\" in boot-images, which uefi-x64 clients would ask for
6:20: boot.arch.uefi-x64-http: no file \"x64.efi\" in boot-images, which uefi-x64-http clients would ask for
8:59: boot.menu[1].file: no file \"menu.efi\" in boot-images, which a client whose user chooses it would ask for
10:35: machines[0].boot.uefi-x64: no file \"other.efi\" in boot-images, which 52:54:00:12:34:56 as a uefi-x64 client would ask for
11:49: machines[1].boot: no file \"debian.ipxe\" in boot-images, which node2 would ask for
12:49: machines[2].boot: no file \"node3.ipxe\" in boot-images, which node3 would ask for
"
    );
}

#[test]
fn files_behind_urls_of_this_server_are_looked_for_like_names() {
    let text = "\
dhcp: {mode: proxy, classes: [{match: {arch: 16}, boot: 'http://{server}/clas.efi'}]}
boot:
  arch:
    uefi-x64-http: http://{server}/snponli.efi
    uefi-arm64-http: http://{server}:8080/elsewhere.efi
    uefi-x86-http: http://{server}//there.efi?x
  ipxe: http://{server}/boot.ipxe
targets:
  debian: {kernel: 'http://{server}/linux', initrd: [initrd.gz, 'http://10.0.0.9/more.gz', 'tftp://{server}/x']}
machines:
  - {mac: 525400123456, boot: {uefi-x64-http: 'http://{server}/a/node1.efi'}}
";
    let config = config::load(text).unwrap();
    let missing = config::missing_files(&config, |name| name == "there.efi");
    let there = ["there.efi", "debian/linux", "snponly.efi", "node1.efi"].map(str::to_owned);
    assert_eq!(
        lines(&config::missing_file_problems(&text.into(), "files", &there, &missing)),
        "\
1:57: dhcp.classes[0].boot: no file \"clas.efi\" in files, which a client of the class would ask for
4:20: boot.arch.uefi-x64-http: no file \"snponli.efi\" in files, which uefi-x64-http clients would ask for; did you mean `snponly.efi`?
9:20: targets.debian.kernel: no file \"linux\" in files, which a machine that starts debian would ask for; did you mean `debian/linux`?
9:54: targets.debian.initrd[0]: no file \"initrd.gz\" in files, which a machine that starts debian would ask for
9:92: targets.debian.initrd[2]: no file \"x\" in files, which a machine that starts debian would ask for
11:47: machines[0].boot.uefi-x64-http: no file \"a/node1.efi\" in files, which 52:54:00:12:34:56 as a uefi-x64-http client would ask for; did you mean `node1.efi`?
"
    );
}

#[test]
fn unstartable_files_are_reported_with_file_and_client() {
    let text = "\
dhcp: {mode: server, subnets: [{network: 10.0.0.0/24}], classes: [{match: {arch: 7}, boot: script}]}
boot:
  arch:
    bios: x64.efi
    9: undionly.kpxe
    uefi-arm64: x64.efi
    uefi-x86: script
    uefi-riscv64: page.html
    uefi-loongarch64: ebc.efi
    uefi-x64-http: http://{server}/arm64.efi?x
    uefi-arm64-http: http://{server}:8080/arm64.efi
    uefi-x86-http: http://{server}/unknown.iso
    uboot-arm64: script
  ipxe: x64.efi
  bootp: script
machines:
  - {mac: 525400123456, boot: {bios: driver.efi, 7: gone.efi}}
  - {mac: 52-54-00-12-34-57, boot: page.ipxe}
  - {mac: 52-54-00-12-34-58, boot: x64.efi}
  - {mac: 52-54-00-12-34-59, boot: {bios: own.ipxe, uefi-x64: kernel}}
";
    let kind = |name: &str| {
        Some(match name {
            "x64.efi" => FileKind::EfiProgram(Processor::X64),
            "arm64.efi" => FileKind::EfiProgram(Processor::Arm64),
            "ebc.efi" => FileKind::EfiProgram(Processor::Ebc),
            "driver.efi" => FileKind::OtherPe(Processor::Other(0x1234)),
            "undionly.kpxe" => FileKind::BiosIpxe,
            "kernel" => FileKind::LinuxKernel,
            "script" | "own.ipxe" => FileKind::IpxeScript,
            "page.html" | "page.ipxe" => FileKind::Text,
            "unknown.iso" => FileKind::Unknown,
            _ => return None,
        })
    };
    let problems = config::wrong_file_problems(&config::load(text).unwrap(), &text.into(), "files", kind);
    assert_eq!(
        lines(&problems),
        "\
1:92: dhcp.classes[0].boot: \"script\" in files is an iPXE script, but its name does not end in .ipxe, so it is taken for a loader and firmware gets it: rename it
4:11: boot.arch.bios: \"x64.efi\" in files is an EFI program for x64, but it is mapped to bios, which starts BIOS boot programs, such as undionly.kpxe and pxelinux.0
5:8: boot.arch.uefi-x64: \"undionly.kpxe\" in files is a BIOS boot program (iPXE), but it is mapped to uefi-x64, which starts EFI programs for x64
6:17: boot.arch.uefi-arm64: \"x64.efi\" in files is an EFI program for x64, but it is mapped to uefi-arm64, which starts EFI programs for arm64
7:15: boot.arch.uefi-x86: \"script\" in files is an iPXE script, but it is mapped to uefi-x86, which starts EFI programs for x86
8:19: boot.arch.uefi-riscv64: \"page.html\" in files is a text file, but it is mapped to uefi-riscv64, which starts EFI programs for riscv64
10:20: boot.arch.uefi-x64-http: \"arm64.efi\" in files is an EFI program for arm64, but it is mapped to uefi-x64-http, which starts EFI programs for x64
13:18: boot.arch.uboot-arm64: \"script\" in files is an iPXE script, but it is mapped to uboot-arm64, which starts programs, and no scripts of iPXE
14:9: boot.ipxe: \"x64.efi\" in files is an EFI program for x64, but it is what iPXE gets, which must be an iPXE script: one that begins #!ipxe
15:10: boot.bootp: \"script\" in files is an iPXE script, but plain BOOTP clients run no scripts
17:38: machines[0].boot.bios: \"driver.efi\" in files is a PE file for machine type 0x1234 that is no EFI application (a driver, or of Windows), but it is mapped to bios, which starts BIOS boot programs, such as undionly.kpxe and pxelinux.0
18:36: machines[1].boot: \"page.ipxe\" in files is a text file, but it is what iPXE gets, which must be an iPXE script: one that begins #!ipxe
20:63: machines[3].boot.uefi-x64: \"kernel\" in files is a Linux kernel (bzImage), but it is mapped to uefi-x64, which starts EFI programs for x64
"
    );
}

#[test]
fn uefi_gets_a_dns_server_for_urls_with_names() {
    let text = "\
dhcp:
  mode: server
  options: {}
  subnets: [{network: 10.0.0.0/24, options: {dns: 10.0.0.1}}, {network: 10.0.1.0/24}]
  classes: [{match: {arch: 16}, boot: 'https://class.example:8080/a.efi', options: {dns: 10.0.0.1}}]
boot:
  arch:
    bios: bios.example
    uefi-x64-http: http://boot.example/a.efi
    uefi-arm64-http: http://{server}/a.efi
    uefi-x86-http: http://10.0.0.1:8080/a.efi
  ipxe: http://ipxe.example/boot.ipxe
machines:
  - {mac: 525400123456, boot: {16: 'http://me@other.example:80/b.efi'}}
  - {mac: 525400123457, boot: 'http://any.example', options: {dns: 10.0.1.9}}
";
    let found = |text: &str| lines(&config::dns_problems(&config::load(text).unwrap(), &text.into()));
    let why = "only with a DNS server from DHCP: set the option `dns` for 10.0.1.0/24, or write an address";
    assert_eq!(
        found(text),
        format!(
            "\
9:20: boot.arch.uefi-x64-http: UEFI looks up \"boot.example\" {why}
14:36: machines[0].boot.uefi-x64-http: UEFI looks up \"other.example\" {why}
"
        )
    );
    assert_eq!(found(&text.replace("options: {}", "options: {dns: 10.0.0.1}")), "");
    assert_eq!(found(&text.replace("mode: server", "mode: proxy")), "", "the other server names it");
}

#[test]
fn r_20_names_in_targets_that_no_dns_server_resolves_are_noted() {
    let text = "\
dhcp:
  mode: server
  subnets: [{network: 10.0.1.0/24, options: {}}]
targets:
  a: {kernel: 'http://boot.example/k', initrd: [i, 'http://10.0.0.9/i']}
  b: {kernel: 'http://{server}/k', initrd: 'https://me@other.example:8443/i'}
";
    let found = |text: &str| lines(&config::target_dns_notes(&config::load(text).unwrap(), &text.into()));
    let why = "only with a DNS server from DHCP: set the option `dns` for 10.0.1.0/24, or write an address";
    assert_eq!(
        found(text),
        format!(
            "5:15: targets.a.kernel: loaders look up \"boot.example\" {why}\n\
             6:44: targets.b.initrd: loaders look up \"other.example\" {why}\n"
        )
    );
    assert_eq!(found(&text.replace("options: {}", "options: {dns: 10.0.0.1}")), "");
    assert_eq!(found(&text.replace("mode: server", "mode: proxy")), "", "the other server names it");
}

#[test]
fn many_wrong_files_are_reported_fast_and_briefly() {
    let machines: String = (0..5000)
        .map(|n| format!("  - {{mac: '02:00:00:00:{:02x}:{:02x}', boot: a.ipxe}}\n", n / 256, n % 256))
        .collect();
    let text = format!("dhcp: {{mode: server, subnets: [{{network: 10.0.0.0/24}}]}}\nmachines:\n{machines}");
    let config = config::load(&text).unwrap();
    let problems =
        config::wrong_file_problems(&config, &text.as_str().into(), "files", |_| Some(FileKind::Empty));
    let shown = problems.len() - 1;
    assert!((16..=200).contains(&shown), "{shown}");
    let last = &problems[shown].message;
    assert_eq!(*last, format!("and {} more problems that are not listed", 5001 - shown));
}

#[test]
fn a_hostile_file_is_answered_soon() {
    let mib = 1024 * 1024;
    let unknown_keys: String = (0..70_000).map(|i| format!("key{i}: 1\n")).collect();
    let machines = |count| {
        let entries: String =
            (0..count).map(|i| format!("- mac: 02:00:00:00:{:02x}:{:02x}\n", i / 256, i % 256)).collect();
        format!("dhcp: {{mode: server, subnets: [{{network: 10.0.0.0/8}}]}}\nmachines:\n{entries}")
    };
    for (what, text) in [
        ("open brackets", "[".repeat(20_000)),
        ("open brackets, 1 MiB", "[".repeat(mib)),
        ("brackets opened and closed", "[]".repeat(mib / 2)),
        ("open braces with keys", "{a: ".repeat(20_000)),
        ("nested lists", "- ".repeat(20_000)),
        ("nested keys", "? ".repeat(20_000)),
        ("many problems", format!("interfaces:\n{}", "- 1\n".repeat(200_000))),
        ("many unknown keys", unknown_keys),
        ("one long word", "x".repeat(mib)),
        ("one long key", format!("{}: 1", "x".repeat(1000))),
        ("one long quoted key", format!("? \"{}\"\n: 1", "x".repeat(mib - 20))),
        ("aliases of aliases", format!("a: &a [x,x,x,x]\n{}", "b: &a [*a,*a,*a,*a]\n".repeat(40))),
        ("too long", "#".repeat(64 * mib + 1)),
    ] {
        let start = Instant::now();
        assert_ne!(problems(&text), [], "{what}");
        let took = start.elapsed();
        println!("{what}: {took:?}");
        // Generous, for a debug build on a busy machine. The problem that this test guards against takes minutes.
        assert!(took < Duration::from_secs(20), "{what} took {took:?}");
    }
    assert_eq!(config::load(&machines(10_000)).unwrap().dhcp.unwrap().machines.iter().count(), 10_000);
}

/// Text made of pieces of configurations, so that it gets past the scanner.
fn scrambled() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("dhcp:"),
        Just("mode: server"),
        Just("mode: off"),
        Just("subnets:"),
        Just("pool:"),
        Just("network:"),
        Just("10.0.0.0/24"),
        Just("10.0.0.5-10.0.0.9"),
        Just("options:"),
        Just("dns:"),
        Just("224:"),
        Just("hex:0g"),
        Just("text:é"),
        Just("classless_routes:"),
        Just("{to: 0.0.0.0/0, via: 1.1.1.1}"),
        Just("boot:"),
        Just("arch:"),
        Just("0x10:"),
        Just("machines:"),
        Just("mac:"),
        Just("525400123456"),
        Just("tftp: off"),
        Just("lease: {min: 1h}"),
        Just("\n"),
        Just("\n  "),
        Just("\n    "),
        Just("\n  - "),
        Just("- "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(", "),
        Just(": "),
        Just("&a "),
        Just("*a "),
        Just("<<: "),
        Just("!!int "),
        Just("!x "),
        Just("? "),
        Just("| "),
        Just("'"),
        Just("\""),
        Just("#"),
        Just("null"),
        Just("~"),
        Just("-1"),
        Just("1e9"),
        Just("\t"),
        Just("---\n"),
        Just("\0"),
        Just("\u{feff}"),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        problems(&text);
    }

    #[test]
    fn no_scrambled_configuration_makes_it_panic(text in scrambled()) {
        for problem in problems(&text) {
            prop_assert!(problem.line >= 1 && problem.column >= 1);
            prop_assert!(!problem.to_string().contains(char::is_control), "{problem}");
        }
    }

    #[test]
    fn no_change_of_the_default_configuration_makes_it_panic(at in 0usize..4000, drop in 0usize..20, put in ".{0,3}") {
        let mut text = fs::read_to_string(repository().join("config.yaml")).unwrap();
        let (from, to) = (text.floor_char_boundary(at), text.floor_char_boundary(at + drop));
        text.replace_range(from..to, &put);
        problems(&text);
    }
}
