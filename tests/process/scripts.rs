//! Scripts and configuration rendered for each machine, fetched from the real binary: templates, targets, and `once`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lanboot::probe::{Kind, Progress};

use lanboot::types::Uuid;
use lanboot::wire::dhcp::MessageType;

use support::client::Client;
use support::lab::{self, Lab, boot, lease};
use support::need;

/// The lab's machine 1.
const OWN: &str = "02-00-00-00-00-01";

/// A lab with these files and with `more` at the end of its configuration.
fn lab(more: &str, files: &[(&str, &str)]) -> Lab {
    let lab = Lab::new();
    lab.write_config(&format!("{}{more}", lab.config()));
    for (name, text) in files {
        write(&lab, name, text);
    }
    lab
}

fn write(lab: &Lab, name: &str, text: &str) {
    let path = lab.path().join("boot-images").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The result of a TFTP download of `name` with curl, or its error.
fn fetch(lab: &Lab, name: &str) -> Result<String, String> {
    // Two slashes, because curl removes the first one.
    let url = format!("tftp://127.0.0.1:{}//{name}", lab.ports.tftp);
    let output = Command::new("curl").args(["-sS", "--max-time", "20", &url]).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

const TARGETS: &str = "
targets:
  debian: {title: Debian's installer, kernel: debian/linux, initrd: debian/initrd.gz, cmdline: 'auto=true who={mac} role={role} ---'}
  live: {kernel: live/vmlinuz}
machines:
  - {name: node1, mac: '02:00:00:00:00:01', boot: local, once: debian, vars: {role: web}}
  - {name: node2, mac: '02:00:00:00:00:02', boot: debian, vars: {role: db}}
  - {name: node3, mac: '02:00:00:00:00:03', boot: menu}
";
const FILES: [(&str, &str); 3] =
    [("debian/linux", "kernel"), ("debian/initrd.gz", "disk"), ("live/vmlinuz", "k")];

#[test]
fn a_template_is_rendered_for_the_machine_that_is_named_or_asks() {
    if !need("curl", "curl") {
        return;
    }
    let text = "{{ server }} {{ mac }} {{ mac_hyphen }} {{ name | default('stranger') }} {{ vars.role | default('none') }}\n";
    let names = [
        "boot.ipxe",
        "pxelinux.cfg/default",
        "grub/grub.cfg",
        "user-data",
        "ks.cfg",
        "autoexec.ipxe",
        "grub/grub.cfg-01-02-00-00-00-00-02",
    ];
    let lab = lab(
        "machines: [{name: node1, mac: '02:00:00:00:00:01', vars: {role: web}}, {name: node2, mac: '02:00:00:00:00:02', vars: {role: db}}]\n",
        &names
            .map(|name| (format!("{name}.j2"), text))
            .iter()
            .map(|(name, text)| (name.as_str(), *text))
            .collect::<Vec<_>>(),
    );
    write(&lab, "02-00-00-00-00-02/own.j2", text);
    fs::remove_file(lab.path().join("boot-images/boot.ipxe")).unwrap();
    let serving = lab.serve(&["serve"]);
    let node =
        |n: u8, role: &str| format!("127.0.0.1 02:00:00:00:00:0{n} 02-00-00-00-00-0{n} node{n} {role}\n");
    for name in [
        format!("{OWN}/user-data"),
        "02:00:00:00:00:01/ks.cfg".into(),
        format!("{OWN}/boot.ipxe"),
        format!("{OWN}/pxelinux.cfg/default"),
    ] {
        assert_eq!(fetch(&lab, &name).unwrap(), node(1, "web"), "{name}");
    }
    assert_eq!(fetch(&lab, "grub/grub.cfg-01-02-00-00-00-00-02").unwrap(), node(2, "db"));
    assert_eq!(
        fetch(&lab, "02:00:00:00:00:02/own").unwrap(),
        node(2, "db"),
        "its folder is written another way"
    );
    assert_eq!(
        fetch(&lab, "02-00-00-00-00-09/user-data").unwrap(),
        "127.0.0.1 02:00:00:00:00:09 02-00-00-00-00-09 stranger none\n"
    );
    for name in ["ks.cfg.j2", "KS.CFG.J2", "none"] {
        assert!(fetch(&lab, name).is_err(), "{name}");
    }
    // A plain file of that name takes precedence over the template, which was rendered so far.
    write(&lab, "user-data", "plain {{ mac }}");
    assert_eq!(fetch(&lab, "user-data").unwrap(), "plain {{ mac }}");
    // A client with its own address is identified through DHCP.
    let script = boot(lab.ports, Kind::Ipxe, 1);
    assert_eq!(String::from_utf8(script.content).unwrap(), node(1, "web"));
    drop(serving);
}

#[test]
fn w_02_values_of_machines_are_data() {
    if !need("curl", "curl") {
        return;
    }
    let hostile = "'{{ 7*7 }}{% include \"/etc/shadow\" %}'";
    let lab = lab(
        &format!("machines: [{{name: node1, mac: '02:00:00:00:00:01', vars: {{role: {hostile}}}}}]\n"),
        &[
            ("x.txt.j2", "<{{ role }}>"),
            ("y.yaml.j2", "a: {{ role }}\n"),
            ("out.j2", "{% include '../config.yaml' %}"),
        ],
    );
    let serving = lab.serve(&["serve"]);
    assert_eq!(fetch(&lab, &format!("{OWN}/x.txt")).unwrap(), "<{{ 7*7 }}{% include \"/etc/shadow\" %}>");
    let yaml: serde_yaml::Value =
        serde_yaml::from_str(&fetch(&lab, &format!("{OWN}/y.yaml")).unwrap()).unwrap();
    assert_eq!(yaml["a"], "{{ 7*7 }}{% include \"/etc/shadow\" %}");
    assert!(fetch(&lab, "out").is_err());
    serving.wait_for("cannot render out.j2:1: template not found");
    for name in ["{{7*7}}", "{% include '/etc/shadow' %}", "x.txt%0a.j2"] {
        assert!(fetch(&lab, name).is_err(), "{name}");
    }
    let (_, lines) = serving.terminate();
    assert!(!lines.iter().any(|line| line.contains("49") && line.contains("refused {{")), "{lines:#?}");
}

#[test]
fn r_48_a_template_error_names_file_line_variable_and_machine() {
    if !need("curl", "curl") {
        return;
    }
    let lab = lab(
        "machines: [{name: node1, mac: '02:00:00:00:00:01'}]\n",
        &[("ks.cfg.j2", "one\ntwo {{ disk }}\n")],
    );
    let checked = lab.run(&["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    let line = said.lines().find(|line| line.contains("(for node1)")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("boot-images/ks.cfg.j2:2: undefined value"), "{line}");

    let serving = lab.serve(&["serve"]);
    for _ in 0..3 {
        assert!(fetch(&lab, &format!("{OWN}/ks.cfg")).is_err());
    }
    let line = serving.wait_for("cannot render ks.cfg.j2:2: undefined value");
    assert!(line.contains("`disk` is undefined") && line.contains("(for node1)"), "{line}");
    write(&lab, "ks.cfg.j2", "one\n");
    assert_eq!(fetch(&lab, &format!("{OWN}/ks.cfg")).unwrap(), "one\n", "mended without a restart");
    let (_, lines) = serving.terminate();
    let logged = lines.iter().filter(|line| line.contains("cannot render")).count();
    assert_eq!(logged, 1, "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("reason=template")), "{lines:#?}");
}

#[test]
fn one_target_becomes_a_script_for_every_loader() {
    if !need("curl", "curl") {
        return;
    }
    let lab = lab(TARGETS, &FILES);
    let checked = lab.run(&["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    let _serving = lab.serve(&["serve"]);
    let ipxe = fetch(&lab, "02-00-00-00-00-02/boot.ipxe").unwrap();
    let port = lab.http;
    let kernel = format!(
        "kernel http://127.0.0.1:{port}/debian/linux initrd=initrd0 auto=true who=02:00:00:00:00:02 role=db ---"
    );
    assert!(ipxe.starts_with("#!ipxe\n") && ipxe.contains(&kernel), "{ipxe}");
    for name in [
        "grub/grub.cfg-01-02-00-00-00-00-02",
        "grub.cfg-01-02-00-00-00-00-02",
        "02-00-00-00-00-02/grub/grub.cfg",
    ] {
        let grub = fetch(&lab, name).unwrap();
        assert!(grub.contains("\nlinux /debian/linux auto=true who=02:00:00:00:00:02 role=db ---\ninitrd /debian/initrd.gz\nboot\n"), "{grub}");
    }
    let pxelinux = fetch(&lab, "pxelinux.cfg/01-02-00-00-00-00-02").unwrap();
    assert!(
        pxelinux.starts_with("DEFAULT debian\nPROMPT 0\n") && pxelinux.contains("  LINUX ::debian/linux\n"),
        "{pxelinux}"
    );
    // A machine without an entry gets a menu, unless a file of that name exists. The menu leaves out targets that this
    // loader cannot start.
    let menu = fetch(&lab, "pxelinux.cfg/default").unwrap();
    assert!(
        menu.contains("LABEL live\n") && menu.contains("LABEL local\n") && !menu.contains("LABEL debian"),
        "{menu}"
    );
    assert!(fetch(&lab, "grub/grub.cfg").unwrap().contains("menuentry 'live' {"));
    assert!(fetch(&lab, "02-00-00-00-00-03/boot.ipxe").unwrap().contains("item local "));
    assert!(fetch(&lab, "pxelinux.cfg/01-02-00-00-00-00-09").is_err(), "so that it goes on to default");
    // A machine's own file takes precedence over the generated one. A file for all machines comes after that.
    write(&lab, "pxelinux.cfg/01-02-00-00-00-00-02", "own");
    write(&lab, "pxelinux.cfg/01-02-00-00-00-00-09", "other");
    write(&lab, "pxelinux.cfg/default", "all");
    assert_eq!(fetch(&lab, "pxelinux.cfg/01-02-00-00-00-00-02").unwrap(), "own");
    assert_eq!(fetch(&lab, "pxelinux.cfg/01-02-00-00-00-00-09").unwrap(), "other");
    assert_eq!(fetch(&lab, "pxelinux.cfg/default").unwrap(), "all");
    assert!(fetch(&lab, "02-00-00-00-00-02/pxelinux.cfg/default").unwrap().starts_with("DEFAULT debian\n"));
}

/// PXELINUX requests the name with its UUID, then with its MAC, then with its address in hexadecimal, and then with
/// shorter and shorter prefixes of the address.
#[test]
fn pxelinux_finds_its_configuration_by_uuid_and_by_address() {
    if !need("curl", "curl") {
        return;
    }
    const UUID: &str = "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab";
    let more = format!("{TARGETS}  - {{name: node4, uuid: {UUID}, boot: local, once: live}}\n");
    let lab = lab(&more, &FILES);
    let _serving = lab.serve(&["serve"]);
    let mut client = Client::new(&lab, 4);
    let identifier = [&[0], &UUID.parse::<Uuid>().unwrap().to_smbios()[..]].concat();
    let says: [(u8, &[u8]); 3] =
        [(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (97, &identifier)];
    let address = client.ask(MessageType::Discover, &says).expect("an offer").yiaddr;
    let wanted = address.octets();
    let takes = [&says[..], &[(50, &wanted), (54, &[127, 0, 0, 1])]].concat();
    client.ask(MessageType::Request, &takes).expect("an ACK");
    let from = address.to_string();
    let get = |name: &str| {
        let by = |url: String| {
            let output =
                Command::new("curl").args(["-sSf", "--max-time", "20", "--interface", &from, &url]).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        let by_tftp = by(format!("tftp://127.0.0.1:{}//{name}", lab.ports.tftp));
        assert_eq!(by(format!("http://127.0.0.1:{}/{name}", lab.http)), by_tftp, "{name}");
        by_tftp
    };
    let made = get(&format!("pxelinux.cfg/{UUID}"));
    assert!(made.starts_with("DEFAULT live\n") && made.contains("  LINUX "), "{made}");
    assert_eq!(get("pxelinux.cfg/7c0fa7e0-1d2b-4c5d-8e6f-000000000000"), "", "another machine's");
    let done = |from: &[&str]| {
        let url = format!("http://127.0.0.1:{}/02:00:00:00:00:04/done", lab.http);
        let output =
            Command::new("curl").args(["-sf", "--max-time", "20", "-X", "POST", &url]).args(from).output();
        output.unwrap().status.success()
    };
    assert!(!done(&[]), "whose that MAC is, only the machine itself can tell");
    assert!(done(&["--interface", &from]));
    assert!(get(&format!("pxelinux.cfg/{UUID}")).contains("LOCALBOOT"), "it has had that");
    let hex = format!("pxelinux.cfg/{:08X}", u32::from(address));
    assert_eq!(get(&hex), "", "so that it goes on");
    write(&lab, &format!("{hex}.j2"), "SAY {{ name }} {{ uuid }} {{ ip }}\n");
    assert_eq!(get(&hex), format!("SAY node4 {UUID} {from}\n"));
}

#[test]
fn firmware_gets_its_loader_and_the_loader_gets_what_its_machine_starts() {
    let lab = lab(TARGETS, &FILES);
    let serving = lab.serve(&["serve"]);
    let firmware = boot(lab.ports, Kind::UefiX64, 2);
    assert!(matches!(firmware.last, Some(Progress::Finished { .. })), "{:?}", firmware.last);
    serving.wait_for("02:00:00:00:00:02 node2 file=snponly.efi");
    let script = boot(lab.ports, Kind::Ipxe, 2);
    serving.wait_for("02:00:00:00:00:02 node2 file=lanboot/boot.ipxe");
    let text = String::from_utf8(script.content).unwrap();
    assert!(
        text.contains("/debian/linux initrd=initrd0 auto=true who=02:00:00:00:00:02 role=db ---"),
        "{text}"
    );
    // Nothing changes for a machine without an entry.
    assert_eq!(boot(lab.ports, Kind::Ipxe, 7).content, lab::content("boot.ipxe"));
}

/// The target that the script for machine 1 starts now: `kernel` or `local`.
fn started(lab: &Lab) -> &'static str {
    let script = fetch(lab, &format!("{OWN}/boot.ipxe")).unwrap();
    if script.contains("\nkernel ") { "kernel" } else { "local" }
}

#[test]
fn once_is_over_when_the_machine_has_the_last_file_and_stays_so_after_kill_9() {
    if !need("curl", "curl") {
        return;
    }
    let lab = lab(TARGETS, &FILES);
    let serving = lab.serve(&["serve"]);
    assert_eq!(started(&lab), "kernel");
    // Other clients may fetch any file: this computer's own address is not the machine's.
    fetch(&lab, "debian/initrd.gz").unwrap();
    assert_eq!(started(&lab), "kernel");
    let address = lease(lab.ports, 1);
    let fetch_as_machine = |name: &str| {
        let url = format!("tftp://127.0.0.1:{}//{name}", lab.ports.tftp);
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "20", "--interface", &address.to_string(), &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    fetch_as_machine("debian/linux");
    assert_eq!(started(&lab), "kernel", "a kernel without its disk starts nothing");
    fetch_as_machine("debian/initrd.gz");
    serving.wait_for("once debian of node1 is over: it was sent debian/initrd.gz and starts local next");
    assert_eq!(started(&lab), "local");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !lab.path().join("state/once.json").exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    serving.kill_9();
    let _serving = lab.serve(&["serve"]);
    assert_eq!(started(&lab), "local");
}

#[test]
fn r_47_every_example_of_the_documentation_renders_and_its_reader_can_read_it() {
    if !need("curl", "curl") {
        return;
    }
    let lab = Lab::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let mut names = Vec::new();
    for entry in fs::read_dir(&examples).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".j2") {
            fs::copy(examples.join(&name), lab.path().join("boot-images").join(&name)).unwrap();
            names.push(name);
        }
    }
    assert_eq!(names.len(), 5, "{names:?}");
    let yaml = fs::read_to_string(examples.join("config.yaml")).unwrap();
    for folder in [
        "debian-installer/amd64/linux",
        "debian-installer/amd64/initrd.gz",
        "alma/vmlinuz",
        "alma/initrd.img",
        "ubuntu/vmlinuz",
        "ubuntu/initrd",
        "coreos/kernel",
        "coreos/initramfs.img",
        "coreos/rootfs.img",
    ] {
        write(&lab, folder, "x");
    }
    lab.write_config(&format!(
        "{yaml}\ninterfaces: [lo]\nstate: state\ntftp: {{port: {}}}\nhttp: {{port: {}}}\n",
        lab.ports.tftp, lab.http
    ));
    let checked = lab.run(&["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    let _serving = lab.serve(&["serve"]);
    let get = |name: &str| {
        let name = format!("52-54-00-12-34-56/{name}");
        let by_tftp = fetch(&lab, &name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let url = format!("http://127.0.0.1:{}/{name}", lab.http);
        let by_http = Command::new("curl").args(["-sSf", "--max-time", "20", &url]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&by_http.stdout), by_tftp, "{name}: {by_http:?}");
        by_tftp
    };

    let user: serde_yaml::Value = serde_yaml::from_str(&get("user-data")).unwrap();
    assert_eq!((&user["hostname"], &user["users"][0]["name"]), (&"node1".into(), &"admin".into()));
    assert!(user["users"][0]["ssh_authorized_keys"][0].as_str().unwrap().starts_with("ssh-ed25519 "));
    assert!(user["users"][0]["passwd"].as_str().unwrap().starts_with("$6$saltsalt$"));
    assert_eq!(user["write_files"][0]["content"], "node1 was set up from 127.0.0.1\n");
    let meta: serde_yaml::Value = serde_yaml::from_str(&get("meta-data")).unwrap();
    assert_eq!(
        (&meta["instance-id"], &meta["local-hostname"]),
        (&"52-54-00-12-34-56".into(), &"node1".into())
    );
    let ignition: serde_json::Value = serde_json::from_str(&get("config.ign")).unwrap();
    assert_eq!(ignition["storage"]["files"][0]["contents"]["source"], "data:,node1");
    assert!(
        ignition["systemd"]["units"][0]["contents"]
            .as_str()
            .unwrap()
            .contains("POST http://127.0.0.1/52:54:00:12:34:56/done\n")
    );

    let with_targets = yaml
        .replace("dhcp: {mode: off}", "dhcp: {mode: proxy}")
        .replace("boot:\n  default: local", "boot:\n  arch: {uefi-x64: snponly.efi}\n  default: local");
    for target in ["debian", "alma", "ubuntu", "coreos"] {
        let file = lab.path().join("booted.yaml");
        let text = with_targets.replace("once: debian", &format!("once: {target}"));
        assert!(text.contains(&format!("once: {target}")) && text.contains("snponly.efi"));
        fs::write(&file, format!("{text}\nstate: booted-{target}\n")).unwrap();
        let output = lab::lanboot(&["rehearse", "node1", "--config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("boots"), "{target}: {output:?}");
    }

    let kickstart = get("ks.cfg");
    for line in [
        "network --bootproto=dhcp --device=52:54:00:12:34:56 --hostname=node1",
        "openssh-server",
        "echo 'installed by lanboot as node1' > /etc/motd",
    ] {
        assert!(kickstart.lines().any(|found| found == line), "{line:?} is not in\n{kickstart}");
    }
    // Kickstart splits words as a shell does, and the hash contains $.
    let command = kickstart.lines().find(|line| line.starts_with("user ")).unwrap();
    let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {command}")]).output().unwrap();
    assert!(String::from_utf8(words.stdout).unwrap().contains("\n--password=$6$saltsalt$0123"), "{command}");
    let sections = kickstart.lines().filter(|line| line.starts_with('%')).collect::<Vec<_>>();
    assert_eq!(sections, ["%packages", "%end", "%post", "%end"]);

    let preseed = get("preseed.cfg");
    for line in preseed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let types = ["string", "select", "multiselect", "boolean", "password", "note"];
        assert!(words.len() >= 3 && words[1].contains('/') && types.contains(&words[2]), "{line}");
    }
    // Debian's own parser of such files.
    if need("debconf-set-selections", "debconf") {
        let file = lab.path().join("preseed.cfg");
        fs::write(&file, &preseed).unwrap();
        let read = Command::new("debconf-set-selections").arg("--checkonly").arg(&file).output().unwrap();
        assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
    }
    assert!(preseed.contains("\nd-i pkgsel/include string openssh-server curl\n"), "{preseed}");
    assert!(!preseed.contains("{{") && !kickstart.contains("{{"));
}
