//! Imports of configurations with odd text in every place that takes text, and of configurations without subnets.
//! The configuration that is written has the same text, or the list names the statement. The reader of `config.yaml`
//! accepts all that is written.

use lanboot::import::{Failed, Found, Imported, Sources, dhcpd, dnsmasq, kea};
use proptest::prelude::*;

fn import(server: &str, text: &str) -> Result<Imported, Failed> {
    let mut read = |path: &str, from: Option<&str>| match from {
        None => Ok(Found { name: path.to_owned(), bytes: text.into() }),
        Some(_) => Err(format!("cannot read {path}: there is no such file")),
    };
    let mut list = |_: &str, _: Option<&str>| Err("cannot read the folder".to_owned());
    let files = ["a.conf".to_owned()];
    let sources = Sources::new(&mut read, &mut list);
    match server {
        "dnsmasq" => dnsmasq::import(&files, sources, &[]),
        "kea" => kea::import(&files, sources),
        _ => dhcpd::import(&files, sources),
    }
}

/// A configuration with `text` in one place: the server, and a name of the place.
type Template = (&'static str, &'static str, fn(&str) -> String);

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn kea_of(global: &str, subnet: &str) -> String {
    format!("{{\"Dhcp4\": {{{global}\n\"subnet4\": [{{\"id\": 1, \"subnet\": \"10.0.0.0/24\"{subnet}}}]}}}}")
}

fn dhcpd_of(global: &str, subnet: &str) -> String {
    format!("{global}\nsubnet 10.0.0.0 netmask 255.255.255.0 {{ {subnet} }}\n")
}

/// Text in quotes as dhcpd reads it.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            byte => format!("\\{byte:03o}"),
        })
        .collect();
    format!("\"{escaped}\"")
}

const RANGE: &str = "dhcp-range=10.0.0.50,10.0.0.99,255.255.255.0,1h\nport=0\n";

const TEMPLATES: &[Template] = &[
    ("dnsmasq", "boot file", |text| format!("{RANGE}dhcp-boot=\"{text}\",srv,10.0.0.9\n")),
    ("dnsmasq", "local boot file", |text| format!("{RANGE}dhcp-boot=\"{text}\"\n")),
    ("dnsmasq", "server name", |text| format!("{RANGE}dhcp-boot=x,\"{text}\",10.0.0.9\n")),
    ("dnsmasq", "option", |text| format!("{RANGE}dhcp-option=17,\"{text}\"\n")),
    ("dnsmasq", "private option", |text| format!("{RANGE}dhcp-option=224,\"{text}\"\n")),
    ("dnsmasq", "domain", |text| format!("{RANGE}domain={text}\n")),
    ("dnsmasq", "host name", |text| format!("{RANGE}dhcp-host=02:00:00:00:00:01,10.0.0.5,{text}\n")),
    ("dnsmasq", "client id", |text| format!("{RANGE}dhcp-host=id:{text},10.0.0.5\n")),
    ("dnsmasq", "tag", |text| {
        format!("{RANGE}dhcp-vendorclass=set:{text},x\ndhcp-option=tag:{text},26,1400\n")
    }),
    ("dnsmasq", "vendor class", |text| {
        format!("{RANGE}dhcp-vendorclass=set:a,\"{text}\"\ndhcp-ignore=tag:a\n")
    }),
    ("dnsmasq", "menu", |text| format!("{RANGE}pxe-prompt=\"{text}\",5\npxe-service=x86PC,\"{text}\",x\n")),
    ("dnsmasq", "folder", |text| format!("{RANGE}enable-tftp\ntftp-root={text}\n")),
    ("dnsmasq", "interface", |text| format!("{RANGE}interface={text}\n")),
    ("dnsmasq", "comment", |text| format!("# {text}\n{RANGE}")),
    ("kea", "boot file", |text| {
        kea_of("", &format!(", \"next-server\": \"10.0.0.9\", \"boot-file-name\": {}", json(text)))
    }),
    ("kea", "global boot file", |text| kea_of(&format!("\"boot-file-name\": {},", json(text)), "")),
    ("kea", "server name", |text| kea_of(&format!("\"server-hostname\": {},", json(text)), "")),
    ("kea", "option", |text| {
        kea_of(&format!("\"option-data\": [{{\"name\": \"root-path\", \"data\": {}}}],", json(text)), "")
    }),
    ("kea", "domain", |text| {
        kea_of("", &format!(", \"option-data\": [{{\"name\": \"domain-name\", \"data\": {}}}]", json(text)))
    }),
    ("kea", "host name", |text| {
        let entry = format!(
            "\"hw-address\": \"02:00:00:00:00:01\", \"ip-address\": \"10.0.0.5\", \"hostname\": {}",
            json(text)
        );
        kea_of("", &format!(", \"reservations\": [{{{entry}}}]"))
    }),
    ("kea", "class", |text| {
        let class = format!(
            "{{\"name\": {}, \"test\": \"option[60].hex == 'x'\", \"boot-file-name\": \"x\"}}",
            json(text)
        );
        kea_of(
            &format!("\"client-classes\": [{class}],"),
            &format!(
                ", \"pools\": [{{\"pool\": \"10.0.0.10-10.0.0.20\", \"client-class\": {}}}]",
                json(text)
            ),
        )
    }),
    ("kea", "interface", |text| {
        kea_of(&format!("\"interfaces-config\": {{\"interfaces\": [{}]}},", json(text)), "")
    }),
    ("kea", "shared network", |text| {
        format!(
            "{{\"Dhcp4\": {{\"shared-networks\": [{{\"name\": {}, \"subnet4\": [{{\"subnet\": \"10.0.0.0/24\"}}, {{\"subnet\": \"10.0.1.0/24\"}}]}}]}}}}",
            json(text)
        )
    }),
    ("kea", "comment", |text| format!("// {text}\n{}", kea_of("", ""))),
    ("dhcpd", "boot file", |text| dhcpd_of(&format!("filename {}; next-server 10.0.0.9;", quoted(text)), "")),
    ("dhcpd", "local boot file", |text| dhcpd_of("", &format!("filename {};", quoted(text)))),
    ("dhcpd", "server name", |text| dhcpd_of("", &format!("server-name {};", quoted(text)))),
    ("dhcpd", "option", |text| dhcpd_of("", &format!("option root-path {};", quoted(text)))),
    ("dhcpd", "domain", |text| dhcpd_of(&format!("option domain-name {};", quoted(text)), "")),
    ("dhcpd", "host", |text| {
        dhcpd_of(
            &format!(
                "host {} {{ hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5; option host-name {}; }}",
                quoted(text),
                quoted(text)
            ),
            "",
        )
    }),
    ("dhcpd", "class", |text| {
        dhcpd_of(
            &format!(
                "class {} {{ match if option vendor-class-identifier = {}; filename {}; }}",
                quoted(text),
                quoted(text),
                quoted(text)
            ),
            &format!("pool {{ range 10.0.0.10 10.0.0.20; allow members of {}; }}", quoted(text)),
        )
    }),
    ("dhcpd", "shared network", |text| {
        format!(
            "shared-network {} {{ subnet 10.0.0.0 netmask 255.255.255.0 {{ }} subnet 10.0.1.0 netmask 255.255.255.0 {{ }} }}",
            quoted(text)
        )
    }),
    ("dhcpd", "comment", |text| dhcpd_of(&format!("# {text}"), "")),
];

/// The scalars of a YAML file.
fn texts(value: &serde_yaml::Value, found: &mut Vec<String>) {
    match value {
        serde_yaml::Value::String(text) => found.push(text.clone()),
        serde_yaml::Value::Sequence(items) => items.iter().for_each(|item| texts(item, found)),
        serde_yaml::Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            texts(key, found);
            texts(value, found);
        }),
        _ => {}
    }
}

/// Whether the server itself reads `text` as something other than this text there.
fn has_meaning(server: &str, place: &str, text: &str) -> bool {
    let is_trimmed = text.trim_matches(' ') != text;
    match (server, place) {
        // Tags are no part of the result. An interface may have an alias or an address after its name.
        (_, "comment") | ("dnsmasq", "tag") => true,
        ("kea", "interface") => text.contains('/') || text == "*",
        ("kea", "option" | "domain") => is_trimmed || text.contains(','),
        ("kea" | "dhcpd", _) => false,
        (_, "host name") => is_trimmed || text.contains(['.', ',', ' ', '\t', '\r']) || text == "007",
        (_, "local boot file") => text.starts_with('/') || text.contains('\\'),
        _ => is_trimmed || text.contains([',', ':', ' ', '\t', '\r', '\\']),
    }
}

/// Imports the text in every place, and returns the faults.
fn faults(text: &str, must_be_kept: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (server, place, template) in TEMPLATES {
        let source = template(text);
        let imported = match import(server, &source) {
            Ok(imported) => imported,
            Err(Failed::Broken(broken)) if broken.line > 0 && broken.column > 0 => continue,
            Err(Failed::NothingToServe { message, .. }) if message.contains("nothing to serve: ") => continue,
            Err(other) => {
                faults.push(format!("{server}, {place}: {other}"));
                continue;
            }
        };
        let yaml = &imported.yaml;
        if let Err(problems) = lanboot::config::load(yaml) {
            faults.push(format!("{server}, {place}: {problems:?}\n{yaml}"));
            continue;
        }
        let mut all = Vec::new();
        texts(&serde_yaml::from_str(yaml).unwrap(), &mut all);
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let has = all.iter().any(|it| it.contains(text) || it.to_lowercase().replace(':', "").contains(&hex));
        if must_be_kept && !has_meaning(server, place, text) && !has && imported.problems.is_empty() {
            faults.push(format!("{server}, {place}: the text {text:?} is lost in silence\n{source}\n{yaml}"));
        }
    }
    faults
}

#[test]
fn odd_text_is_kept_or_named() {
    let long = "x".repeat(300);
    let longer = "y/".repeat(5000);
    let cases = [
        "pxelinux.0",
        "a#b",
        "a: b",
        "*x",
        "&x",
        "!x",
        "%x",
        "@x",
        "`x",
        "a # b",
        "- a",
        "? a",
        "|",
        ">",
        "'x'",
        "it's",
        "no",
        "null",
        "~",
        "12:34",
        "0x10",
        "1e3",
        "007",
        "{a}",
        "[a]",
        "a{b}",
        "{server}",
        "${net0/mac}",
        "a\\b",
        "\u{e9}t\u{e9}",
        "\u{2028}x",
        "\u{85}x",
        "\u{feff}x",
        "x\u{7f}y",
        "x\u{1}y",
        "x\ny",
        "x\ty",
        "x\ry",
        "x\0y",
        "x y",
        " x",
        "x ",
        "..",
        "../x",
        "/x",
        "//x",
        "x/",
        "C:\\x",
        "http://h/x y",
        "http://",
        "://",
        "http://h/\u{e9}",
        "tftp://10.0.0.1/x",
        "x\u{202e}y",
        "-",
        "--x",
        ".x",
        "x.j2",
        "*",
        "?",
        "=x",
        "<x",
        "a,b",
        "a;b",
        "a=b",
        "known",
        "unknown",
        "pxe",
        "ALL",
        "KNOWN",
        &long,
        &longer,
    ];
    let mut all = Vec::new();
    for text in cases {
        all.extend(faults(text, true));
    }
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_text_is_imported_or_refused(text in prop_oneof![any::<String>(), "[ -~]{1,20}", "[a-z0-9:/.{}$*?#&!%@'\\-]{1,12}"]) {
        let faults = faults(&text, false);
        prop_assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn configurations_without_subnets_serve_something_or_are_refused() {
    for (server, text, missing) in [
        ("dnsmasq", "", "no dhcp-range"),
        ("dnsmasq", "# only a comment\n", "no dhcp-range"),
        ("dnsmasq", "server=8.8.8.8\n", "no dhcp-range"),
        ("dnsmasq", "dhcp-host=02:00:00:00:00:01,10.0.0.5,a\ndhcp-option=3,10.0.0.1\n", "no dhcp-range"),
        ("dnsmasq", "pxe-service=x86PC,\"x\",pxelinux\n", "no dhcp-range"),
        ("dnsmasq", "dhcp-range=fd00::5,fd00::9\n", "no dhcp-range"),
        ("kea", "{}", "subnet4"),
        ("kea", "{\"Dhcp4\": {}}", "subnet4"),
        ("kea", "{\"Dhcp4\": {\"subnet4\": []}}", "subnet4"),
        ("kea", "{\"Dhcp6\": {\"subnet6\": []}}", "subnet4"),
        ("kea", "{\"Dhcp4\": {\"option-data\": [{\"name\": \"domain-name\", \"data\": \"a\"}]}}", "subnet4"),
        ("dhcpd", "", "no subnet"),
        ("dhcpd", "# only a comment\n", "no subnet"),
        ("dhcpd", "option domain-name \"x\";\n", "no subnet"),
        ("dhcpd", "host a { hardware ethernet 02:00:00:00:00:01; fixed-address 10.0.0.5; }\n", "no subnet"),
        ("dhcpd", "filename \"x\";\n", "no subnet"),
    ] {
        match import(server, text) {
            Err(Failed::NothingToServe { message, .. }) => {
                assert!(
                    message.starts_with("a.conf: nothing to serve: ") && message.contains(missing),
                    "{message}"
                );
            }
            other => panic!("{server}, {text:?}: {other:?}"),
        }
    }
    for text in [
        "enable-tftp\ntftp-root=/srv/tftp\n",
        "dhcp-range=10.0.0.0,proxy\npxe-service=x86PC,\"x\",pxelinux\n",
    ] {
        let imported = import("dnsmasq", text).unwrap();
        lanboot::config::load(&imported.yaml).unwrap_or_else(|problems| panic!("{text:?}: {problems:?}"));
    }
}
