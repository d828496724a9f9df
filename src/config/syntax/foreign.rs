//! Recognises files that are no `config.yaml` at all: configurations of other programs, scripts, web pages, text for
//! people. `tree.rs` asks for files that are no YAML mapping, because a message about the first wrong character would
//! not help there.

use crate::config::problem::Problem;
use crate::config::syntax::key::Section;
use crate::config::syntax::lines::Lines;

/// Maximum number of lines that are looked at.
const MAX_LINES: usize = 200;
/// First words of statements in configurations of dnsmasq.
const DNSMASQ: [&str; 20] = [
    "dhcp-",
    "tftp-",
    "pxe-",
    "enable-tftp",
    "interface",
    "except-interface",
    "listen-address",
    "bind-",
    "port",
    "server",
    "address",
    "domain",
    "local",
    "no-",
    "expand-hosts",
    "conf-",
    "log-",
    "cache-size",
    "bogus-priv",
    "domain-needed",
];
/// First words of statements in configurations of ISC dhcpd.
const DHCPD: [&str; 14] = [
    "subnet",
    "option",
    "host",
    "group",
    "class",
    "subclass",
    "shared-network",
    "authoritative",
    "not",
    "default-lease-time",
    "max-lease-time",
    "min-lease-time",
    "ddns-update-style",
    "include",
];

/// Names the kind of a file that is not `config.yaml`, at the first line that shows it. Returns `None` if the file has
/// a section of `config.yaml`, or is nothing known.
pub(in crate::config) fn recognise(text: &str) -> Option<Problem> {
    let lines = Lines::of(text);
    let all: Vec<(usize, &str)> = (1..=MAX_LINES)
        .map(|number| (number, lines.line(number)))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    let is_section = |line: &str| {
        let key = line.split_once(':').map(|(key, _)| key.trim_matches(['"', '\'', '{', ' ']));
        key.is_some_and(|key| Section::Top.keys().iter().any(|top| top.name == key))
    };
    if all.iter().any(|(_, line)| is_section(line)) {
        return None;
    }
    let (first, begin) = *all.first()?;
    let script = begin.starts_with("#!").then_some((first, script(begin)));
    let statements: Vec<(usize, &str)> = all
        .iter()
        .map(|(number, line)| (*number, line.trim()))
        .filter(|(_, line)| !line.starts_with(['#', ';']))
        .collect();
    let (line, message) =
        script.or_else(|| statements.first().and_then(|(at, _)| Some((*at, kind(&statements)?))))?;
    let excerpt = Some(lines.excerpt(line, 1));
    Some(Problem { line, column: 1, message: message.to_owned(), excerpt, ..Problem::default() })
}

fn script(begin: &str) -> &'static str {
    match begin.starts_with("#!ipxe") {
        true => "this is a script for iPXE, not config.yaml: put it into the folder `images`",
        false => "this is a script, not config.yaml",
    }
}

/// The kind of a file with these lines, which are not comments. The first one is what a person sees first.
fn kind(lines: &[(usize, &str)]) -> Option<&'static str> {
    let first = lines.first()?.1;
    let any = |test: &dyn Fn(&str) -> bool| lines.iter().any(|(_, line)| test(line));
    let starts_with_any = |line: &str, words: &[&str]| {
        let word = line.split([' ', '=', ';', '{']).next().unwrap_or_default();
        words.iter().any(|known| word == *known || known.ends_with('-') && word.starts_with(known))
    };
    let is_header = |line: &str| {
        let name = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        name.is_some_and(|name| !name.contains([',', ':', '"', '\'']) && !name.trim().is_empty())
    };
    if any(&|line| line.contains("\"Dhcp4\"")) {
        return Some(
            "this is a configuration of Kea, not config.yaml: `lanboot import kea FILE` translates it",
        );
    }
    if first.starts_with("<!") || first.starts_with("<?") || first.starts_with("<html") {
        return Some("this is a web page or XML, not config.yaml: was an error page stored by a download?");
    }
    if is_header(first) && any(&|line| line.contains('=')) {
        return Some(
            "this is TOML or an INI file, but config.yaml is YAML: write `key: value`, and sections as `dhcp:`",
        );
    }
    if any(&|line| line.ends_with(';')) && any(&|line| starts_with_any(line, &DHCPD)) {
        return Some(
            "this is a configuration of ISC dhcpd, not config.yaml: `lanboot import dhcpd FILE` translates it",
        );
    }
    let is_assignment = |line: &str| !line.contains(": ") && !line.ends_with(':');
    let is_dnsmasq = |line: &str| is_assignment(line) && starts_with_any(line, &DNSMASQ);
    if any(&|line| line.contains('=')) && lines.iter().all(|(_, line)| is_dnsmasq(line)) {
        return Some(
            "this is a configuration of dnsmasq, not config.yaml: `lanboot import dnsmasq FILE` translates it",
        );
    }
    if first.split_once('=').is_some_and(|(key, _)| !key.trim().contains([' ', ':', '{', '['])) {
        return Some("`key = value` is not YAML: write `key: value`");
    }
    if any(&|line| line.ends_with('{') || line.ends_with("};")) && !any(&|line| line.contains(": ")) {
        return Some(
            "this is the configuration of another program, not config.yaml, which has lines such as `dhcp:`",
        );
    }
    let is_key =
        |line: &str| line.trim_start_matches("- ").split_once(':').is_some_and(|(key, _)| !key.contains(' '));
    let is_prose = first.split(' ').count() > 3 && !any(&is_key);
    is_prose.then_some("this is text for people, not config.yaml, which has lines such as `dhcp:`")
}

#[cfg(test)]
mod tests {
    use crate::config::load;

    #[test]
    fn files_of_other_programs_are_named() {
        for (text, line, message) in [
            ("This is a text about how to boot.\nIt has two lines.\n", 1, "text for people"),
            ("\n\nDear admin,\nhow are you today?\n", 3, "`:` missing after"),
            ("<!DOCTYPE html>\n<html><title>x</title>\n<body>a: b</body></html>\n", 1, "a web page"),
            ("<?xml version=\"1.0\"?>\n<a/>\n", 1, "a web page or XML"),
            ("{\"Dhcp4\": {\"subnet4\": []}}\n", 1, "`lanboot import kea FILE`"),
            ("// c\n{ \"Dhcp4\": {\n \"a\": {\"b\": [\"c\"] }\n}}\n", 1, "`lanboot import kea FILE`"),
            ("[dhcp]\nmode = \"server\"\n", 1, "TOML or an INI file"),
            ("# c\n\n[Unit]\nDescription=x\n[Service]\nExecStart=/bin/x\n", 3, "TOML or an INI file"),
            ("mode = \"server\"\n[dhcp]\na = 1\n", 1, "`key = value` is not YAML"),
            (
                "# c\ninterface=eth0\ndhcp-range=10.0.0.5,10.0.0.9,1h\nenable-tftp\n",
                2,
                "`lanboot import dnsmasq FILE`",
            ),
            ("port=0\n# x: y\ndhcp-match=set:a,60,x: y\n", 1, "is not YAML"),
            (
                "subnet 10.0.0.0 netmask 255.255.255.0 {\n  range 10.0.0.5 10.0.0.9;\n}\n",
                1,
                "`lanboot import dhcpd FILE`",
            ),
            ("option domain-name \"x\";\n", 1, "`lanboot import dhcpd FILE`"),
            ("set default=0\nmenuentry \"x\" {\n linux /x\n}\n", 1, "another program"),
            ("#!ipxe\nchain http://x\n", 1, "a script for iPXE"),
            ("#!/bin/sh\nset -e\nif [ -f x ]; then echo \"a: b\"; fi\n", 1, "this is a script"),
            ("dhcp\n  mode: server\n", 1, "`:` missing after `dhcp`"),
            ("network:\n  version: 2\n", 1, "unknown key `network`"),
        ] {
            let problems = load(text).unwrap_err();
            let problem = problems.first().unwrap();
            assert!(problem.message.contains(message), "{text:?}: {problem}");
            assert_eq!(problem.line, line, "{text:?}: {problem}");
        }
        assert!(load("#!/usr/bin/lanboot\ndhcp:\n  mode: proxy\n").is_ok());
    }
}
