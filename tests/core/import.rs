//! Imports of other servers' configurations: `tests/data/import/dnsmasq/NAME.conf` gives `NAME.yaml`, and the list of
//! what was not taken, `NAME.txt`. With `UPDATE=1` in the environment, a test writes these files instead.

use std::fs;
use std::path::{Path, PathBuf};

use lanboot::config;
use lanboot::import::{Failed, Found, Imported, Sources, dnsmasq};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import/dnsmasq")
}

/// Imports a file of the folder as `lanboot import dnsmasq NAME` does.
fn import(name: &str) -> Result<Imported, Failed> {
    let mut read = |path: &str, _: Option<&str>| {
        let bytes = fs::read(folder().join(path)).map_err(|error| format!("cannot read {path}: {error}"))?;
        Ok(Found { name: path.to_owned(), bytes })
    };
    let mut list = |path: &str, _: Option<&str>| {
        let entries = fs::read_dir(folder().join(path)).map_err(|error| error.to_string())?;
        Ok(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
    };
    dnsmasq::import(&[name.to_owned()], Sources::new(&mut read, &mut list), &[])
}

/// Imports the text of one file.
fn import_text(text: &str) -> Result<Imported, Failed> {
    let mut read = |path: &str, from: Option<&str>| match from {
        None => Ok(Found { name: path.to_owned(), bytes: text.into() }),
        Some(_) => Err(format!("cannot read {path}: there is no such file")),
    };
    let mut list = |_: &str, _: Option<&str>| Err("cannot read the folder".to_owned());
    dnsmasq::import(&["a.conf".to_owned()], Sources::new(&mut read, &mut list), &[])
}

/// The samples: configurations after public examples.
fn samples() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".conf").map(str::to_owned)
        })
        .filter(|name| !name.contains('.'))
        .collect();
    names.sort();
    names
}

#[test]
fn samples_become_the_configurations_beside_them() {
    let names = samples();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let imported = import(&format!("{name}.conf")).unwrap();
        let problems: String = imported.problems.iter().map(|problem| format!("{problem}\n")).collect();
        for (ending, text) in [("yaml", &imported.yaml), ("txt", &problems)] {
            let file = folder().join(format!("{name}.{ending}"));
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&file, text).unwrap();
            }
            let expected = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(*text, expected, "{name}.{ending}");
        }
    }
}

#[test]
fn config_accepts_every_imported_sample() {
    for name in samples() {
        let yaml = import(&format!("{name}.conf")).unwrap().yaml;
        let problems = config::load(&yaml).err().unwrap_or_default();
        assert!(problems.is_empty(), "{name}: {problems:?}\n{yaml}");
    }
}

#[test]
fn lines_that_dnsmasq_refuses_are_reported_with_their_place() {
    for (text, place) in [
        ("\ndhcp-opti", "a.conf:2:1: bad option \"dhcp-opti\""),
        ("dhcp-range=10.0.0.5,10.0.0.", "a.conf:1:12: bad dhcp-range"),
        ("  dhcp-range", "a.conf:1:3: missing parameter of dhcp-range"),
        ("dhcp-authoritative=yes", "a.conf:1:20: extraneous parameter"),
        ("dhcp-option=3,\"x", "a.conf:1:15: missing \""),
        ("a\0", "a.conf:1:2: a control character"),
        ("dhcp-host=52:54:zz,10.0.0.1", "a.conf:1:11: bad hex constant"),
        ("lease 10.0.0.1 {", "a.conf:1:1: bad option"),
    ] {
        let shown = import_text(text).unwrap_err().to_string();
        assert!(shown.starts_with(place), "{text:?}: {shown}");
    }
    let long = import_text(&"x".repeat(5_000_000)).unwrap_err().to_string();
    assert!(long.starts_with("a.conf:1:1048577: the line is longer than 1 MiB"), "{long}");
}

#[test]
fn files_that_are_missing_are_listed() {
    let imported =
        import_text("conf-file=/etc/more.conf\nconf-dir=/etc/d\ndhcp-range=10.0.0.5,10.0.0.9,1h\n").unwrap();
    let shown: Vec<String> = imported.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "a.conf:1: not taken: cannot read /etc/more.conf: there is no such file",
            "a.conf:2: not taken: cannot read the folder"
        ]
    );
}

/// A range, for configurations that are about something else.
const RANGE: &str = "dhcp-range=10.0.0.50,10.0.0.99,255.255.255.0,1h\ndhcp-option=3,10.0.0.1\nport=0\n";

/// The lines of the classes and machines of a configuration with [`RANGE`].
fn classes_of(text: &str) -> Vec<String> {
    let yaml = import_text(&format!("{RANGE}{text}")).unwrap().yaml;
    let is_entry = |line: &&str| line.trim_start().starts_with("- {") || line.starts_with("  classes: [");
    yaml.lines().filter(is_entry).map(|line| line.trim().to_owned()).collect()
}

/// The reasons why statements were not taken, with their lines.
fn not_taken(text: &str) -> Vec<(u32, String)> {
    let problems = import_text(text).unwrap().problems;
    problems.into_iter().map(|problem| (problem.line, problem.reason)).collect()
}

#[test]
fn the_last_option_with_fitting_tags_counts() {
    let text = "dhcp-match=set:a,60,x\ndhcp-match=set:b,60,y\n\
                dhcp-option=tag:a,26,1400\ndhcp-option=tag:b,26,1300\ndhcp-option=26,1500\ndhcp-option=tag:a,35,60\n";
    assert_eq!(
        classes_of(text),
        [
            "- {match: {option.60: '*x*'}, options: {arp_cache_timeout: 60}}",
            "- {match: {option.60: '*y*'}, options: {interface_mtu: 1300}}",
            "- {match: {option.60: '*x*'}, options: {interface_mtu: 1400}}",
        ]
    );
    assert_eq!(
        classes_of("dhcp-match=set:a,60,x\ndhcp-option=tag:!a,26,1400\ndhcp-option=tag:a,26\n"),
        ["classes: [{match: {not: {option.60: '*x*'}}, options: {interface_mtu: 1400}}]"]
    );
}

#[test]
fn tags_of_several_statements_are_alternatives() {
    assert_eq!(
        classes_of("dhcp-mac=set:a,52:54:00:*:*:*\ndhcp-vendorclass=set:a,acme\ndhcp-ignore=tag:a\n"),
        ["classes: [{match: [{mac: '52:54:00'}, {vendor_class: '*acme*'}], ignore: true}]"]
    );
    assert_eq!(
        classes_of("dhcp-userclass=set:a,x\ntag-if=set:b,tag:a,tag:!bootp\ndhcp-ignore=tag:b\n"),
        ["classes: [{match: {user_class: '*x*', not: {class: bootp}}, ignore: true}]"]
    );
}

#[test]
fn hosts_become_machines_or_classes() {
    let text = "dhcp-host=52:54:00:aa:bb:01,id:*,set:red,10.0.0.5,pc,2h\ndhcp-option=tag:red,26,1400\n";
    let yaml = import_text(&format!("{RANGE}{text}")).unwrap().yaml;
    let machine = "
  - name: pc
    mac: 52:54:00:aa:bb:01
    address: 10.0.0.5
    lease: 2h
    options: {hostname: pc, interface_mtu: 1400}
";
    assert!(yaml.contains(machine), "{yaml}");
    assert_eq!(classes_of("dhcp-host=pc,ignore\n"), ["classes: [{match: {hostname: pc}, ignore: true}]"]);
    let problems = not_taken(&format!("{RANGE}dhcp-host=pc,10.0.0.5\ndhcp-host=2:2:3:4:5:6,10.9.9.9\n"));
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].1.contains("not by host name") && problems[1].1.contains("no dhcp-range"),
        "{problems:?}"
    );
}

#[test]
fn a_tag_that_is_always_set_is_no_condition() {
    let text = "interface=eth0\ndhcp-range=set:lan,10.0.0.5,10.0.0.9,255.255.255.0\n\
                dhcp-option=tag:eth0,26,1400\ndhcp-option=tag:lan,35,60\n";
    let yaml = import_text(text).unwrap().yaml;
    assert!(!yaml.contains("classes") && yaml.contains("interface_mtu: 1400"), "{yaml}");
    assert!(yaml.contains("arp_cache_timeout: 60"), "{yaml}");
    let problems = not_taken(&format!("{RANGE}dhcp-option=tag:eth7,26,1400\n"));
    assert!(problems[0].1.contains("no line sets the tag eth7"), "{problems:?}");
}

#[test]
fn statements_without_counterpart_are_named_with_their_line() {
    let text = "dhcp-range=10.0.0.5,10.0.0.9,255.255.255.0\n\
                dhcp-lease-max=5\n\
                dhcp-relay=10.0.0.1,10.9.0.1\n\
                dhcp-option=option6:dns-server,[::1]\n\
                dhcp-option=encap:82,1,x\n\
                dhcp-option=54,10.0.0.7\n\
                dhcp-range=fd00::5,fd00::9\n\
                enable-ra\n\
                dhcp-script=/bin/x\n\
                bootp-dynamic=tag:x\n\
                dhcp-sequential-ip\n\
                tftp-unique-root\n\
                pxe-service=x86PC,\"x\",5,10.0.0.4\n\
                dhcp-host=52:54:00:00:00:01,[fd00::7],10.0.0.6\n\
                conf-script=/bin/x\n\
                address=/a/10.0.0.1\n";
    let lines: Vec<u32> = not_taken(text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, (2..=16).collect::<Vec<u32>>());
}

#[test]
fn tags_of_tags_do_not_grow_without_limit() {
    let mut text = format!("{RANGE}dhcp-match=set:t0,60,x\n");
    for n in 1..200 {
        let before = n - 1;
        text.push_str(&format!("tag-if=set:t{n},tag:t{before}\ntag-if=set:t{n},tag:!t{before},tag:!bootp\n"));
    }
    text.push_str("dhcp-ignore=tag:t199\n");
    let yaml = import_text(&text).unwrap().yaml;
    assert!(yaml.len() < 100_000, "{} bytes", yaml.len());
}

#[test]
fn twenty_thousand_hosts_of_dnsmasq_are_imported_in_five_seconds() {
    let mut text = "dhcp-range=10.0.0.1,10.0.255.254,255.255.0.0,12h\n".to_owned();
    for n in 0..20_000u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let address = std::net::Ipv4Addr::from(0x0a00_0200 + n);
        text.push_str(&format!("dhcp-host=52:54:00:00:{high:02x}:{low:02x},set:h{n},{address},host{n}\n"));
        text.push_str(&format!("dhcp-option=tag:h{n},option:root-path,/srv/{n}\n"));
    }
    let began = crate::import_servers::time_on_cpu();
    let imported = import_text(&text).unwrap();
    assert_eq!((imported.yaml.matches("root_path").count(), imported.problems.len()), (20_000, 0));
    let took = crate::import_servers::time_on_cpu() - began;
    assert!(took < std::time::Duration::from_secs(20), "{took:?} without optimization");
}
