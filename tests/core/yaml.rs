//! Errors of the YAML syntax: their place, the likely mistake, and the source line with a caret.

use lanboot::config::{self, Problem};

fn problem(text: &str) -> Problem {
    let mut problems = config::load(text).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

/// The mistake is named where a person made it, which is often before the place where the parser gives up.
#[test]
fn r_41_syntax_errors_say_what_is_likely_meant() {
    for (text, line, column, message) in [
        ("dhcp:\n\tmode: server\n", 2, 1, "tabs are not allowed here"),
        ("dhcp:\n  mode: server\n\tsubnets: []\n", 3, 1, "tabs are not allowed here"),
        ("machines:\n  -\tname: a\n", 2, 4, "tabs are not allowed here"),
        ("dhcp\n  mode: server\n", 1, 5, "`:` missing after `dhcp` on line 1?"),
        ("dhcp:\n  mode server\n  bootp: true\n", 2, 7, "`:` missing after `mode` on line 2?"),
        (
            "machines:\n  - name: a\n    mac 52:54\n    address: x\n",
            3,
            8,
            "`:` missing after `mac` on line 3?",
        ),
        ("http: off\nlog\n", 2, 4, "`:` missing after `log` on line 2?"),
        ("dhcp:\n  mode:server\n  bootp: true\n", 2, 8, "a space is missing after `:` on line 2"),
        ("boot:\n  ipxe: a: c\n", 2, 10, "a value with `: ` in it must be in quotes"),
        ("state: \"/var\nhttp: off\n", 1, 8, "the quote that opens here is never closed"),
        ("state: \"/a\nlog: \"b\"\n", 1, 8, "is the quote on line 1 never closed?"),
        ("m: [{name: 'o'brien'}]\n", 1, 15, "the value goes on after its closing '"),
        ("interfaces: [a, b\nhttp: off\n", 1, 13, "`]` missing?"),
        ("a:\n  - {b: c\nhttp: off\n", 2, 5, "`}` missing?"),
        ("interfaces: [a]]\n", 1, 16, "this ] closes nothing"),
        ("m: [{name: a mac: b}]\n", 1, 14, "`,` or `}` missing before `mac`?"),
        ("boot: {ipxe: http://{server}/x}\n", 1, 21, "must be in quotes here"),
        ("dhcp:\n  mode: server\n    bootp: true\n", 3, 5, "is indented more than line 2"),
        ("dhcp:\n    mode: server\n  bootp: true\n", 3, 3, "indented by 2 spaces, and line 2 by 4 spaces"),
        ("m:\n  - name: a\n   mac: b\n", 3, 4, "indented by 3 spaces, and line 2 by 4 spaces"),
        ("m:\n  - name: a\n    mac: b\n  name: b\n", 4, 3, "`-` missing?"),
        ("dhcp:\n  mode: server\n  - a\n", 3, 3, "this item of a list stands among keys"),
        ("dhcp:\n  subnets: - a\n", 2, 12, "a list begins on the line after its key"),
        ("state: @a\n", 1, 8, "a value cannot begin with the character @"),
        ("match: {hostname: *pc}\n", 1, 19, "put it in quotes"),
        ("state: & a\n", 1, 9, "put it in quotes"),
        ("%a: 1\n", 1, 3, "a line cannot begin with `%`"),
        ("state: \"C:\\dir\"\n", 1, 11, "write `\\\\`, or use single quotes"),
        ("state: |a\n", 1, 9, "the text begins on the next line"),
        ("dhcp:\n\u{a0}\u{a0}mode: server\n", 2, 1, "U+00A0 is no space"),
    ] {
        let found = problem(text);
        assert_eq!((found.line, found.column), (line, column), "{text:?}: {found}");
        assert!(found.message.contains(message), "{text:?}: {found}");
        let excerpt = found.excerpt.as_deref().unwrap_or_else(|| panic!("{text:?}: {found}"));
        let (source, caret) = excerpt.split_once('\n').unwrap();
        let shown = text.lines().nth(line - 1).unwrap().replace('\t', "→");
        assert_eq!(source, format!("  {line} | {shown}"), "{text:?}");
        assert_eq!(caret.chars().count(), 6 + column, "{text:?}: the caret is under the column");
    }
}

#[test]
fn r_41_text_in_place_of_a_mapping_gets_advice() {
    let hint = |text| problem(text).message;
    assert!(hint("hello\n").ends_with("`:` missing after `hello`?"));
    assert!(hint("boot:\n  ipxe:a.ipxe\n").contains("a space is missing after the `:` of `ipxe`"));
}

fn large(machines: usize, last: &str) -> String {
    let machine = |i: usize| {
        let [_, a, b, c] = u32::try_from(i).unwrap().to_be_bytes();
        format!("  - {{name: n{i}, mac: '02:00:00:{a:02x}:{b:02x}:{c:02x}', address: 10.{a}.{b}.{c}}}\n")
    };
    let machines: String = (1..=machines).map(machine).collect();
    format!("dhcp: {{mode: server, subnets: [{{network: 10.0.0.0/8}}]}}\nmachines:\n{machines}{last}")
}

#[test]
fn r_45_a_file_of_60_000_machines_is_read_and_has_places() {
    let text = large(60_000, "");
    assert!(text.len() > 3 << 20);
    assert_eq!(config::load(&text).unwrap().dhcp.unwrap().machines.iter().count(), 60_000);
    let found = problem(&large(60_000, "  - {mac: '02:00:00:00:00:01'}\n"));
    assert_eq!((found.line, found.column, found.path.as_str()), (60_003, 11, "machines[60000].mac"));
    assert!(found.message.ends_with("(line 3)"), "{found}");
}

#[test]
fn r_52_messages_give_the_bounds_and_the_reason() {
    for (text, expected) in [
        ("http: {port: 70000}", "expected a number from 1 to 65535, found 70000"),
        ("http: {max_per_client: 0}", "expected a number from 1 to 8192, found 0"),
        ("tftp: {listen: 'fe80::1'}", "IPv4 only here"),
        ("http: {allow: ['2001:db8::/32']}", "IPv4 only here"),
        ("boot: {arch: {uefi-x46: a.efi}}", "did you mean `uefi-x64`?"),
        ("boot: {arch: {vax: a.efi}}", "or a number from 0 to 65535; the names are bios, "),
    ] {
        let found = problem(text);
        assert!(found.message.contains(expected), "{text}: {found}");
    }
}
