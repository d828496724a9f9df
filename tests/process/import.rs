//! `lanboot leases import` with hostile files.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::resource::{UsageWho, getrusage};

const CONFIG: &str = "interfaces: [lo]\nstate: state\ntftp: off\nhttp: off\ndhcp:\n  mode: server\n  subnets:\n    \
                      - {network: 10.0.0.0/24, pool: 10.0.0.1-10.0.0.99}\n";
const SOUND: &str = "\nlease 10.0.0.9 {\n  ends never;\n  hardware ethernet 02:00:00:00:00:09;\n}\n";
const MIB: usize = 1 << 20;
/// Additional KiB that an import of a huge file may use, compared with an import of a small file.
const MOST: i64 = 4096;

/// Imports a file made of `before`, then `repeated` `times` times, then `after`.
fn import(folder: &Path, before: &str, (repeated, times): (&str, usize), after: &str) -> Output {
    let file = folder.join("file");
    // Written in pieces, because a child's peak memory use starts at its parent's.
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    out.write_all(before.as_bytes()).unwrap();
    (0..times).for_each(|_| out.write_all(repeated.as_bytes()).unwrap());
    out.write_all(after.as_bytes()).unwrap();
    drop(out);
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanboot"));
    command.arg("--config").arg(folder.join("config.yaml")).args(["leases", "import"]).arg(&file);
    command.output().unwrap()
}

/// The peak memory use of all children so far, in KiB.
fn peak() -> i64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss()
}

/// The only test of this file, so that no other test has children.
#[test]
fn d_16_a_hostile_lease_file_is_refused_with_its_place_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), CONFIG).unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    let first = import(folder.path(), "", ("", 0), SOUND);
    assert!(first.status.success(), "{first:?}");
    let usual = peak();
    let line = "lease 10.0.0.1 { ends soon; }\n";
    for (before, repeated, expected) in [
        (
            "lease 10.0.0.1 {\n  ends never;\n  uid ",
            ("ab:", 4 * MIB),
            ":3:7: expected a client identifier of at most 255",
        ),
        (
            "lease 10.0.0.1 {\n  uid \"",
            ("\\253", 4 * MIB),
            ":2:7: expected a `\"` that ends this text on its line",
        ),
        ("lease 10.0.0.1 {\n  on commit ", ("{", 10 * MIB), ":2:44: expected no more than 32 blocks"),
        (
            "lease 10.0.0.1 {\n  set a = \"}",
            ("", 0),
            ":2:11: expected a `\"` that ends this text on its line",
        ),
        ("", (line, MIB), ":1:23: expected `never`, `epoch SECONDS`"),
        (
            "1700000000 02:00:00:00:00:01 10.0.0.1 * ",
            ("ab:", 4 * MIB),
            ":1:2049: expected a line of at most 2048",
        ),
    ] {
        let after = match before {
            _ if before.starts_with('1') => "\n0 02:00:00:00:00:09 10.0.0.9 * *\n".to_owned(),
            _ if repeated.0 == "ab:" => format!("ab;\n}}{SOUND}"),
            _ => SOUND.to_owned(),
        };
        let refused = import(folder.path(), before, repeated, &after);
        let (said, why) =
            (String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
        assert_eq!(refused.status.code(), Some(1), "{said} {why}");
        assert!(why.contains(expected), "{before}: {why}");
        assert!(why.len() < 40_000, "not a line for each of a million problems");
        // The valid entry was read. It is in the store since the first import.
        assert!(said.contains("not taken: 1 of addresses that lanboot has leased"), "{before}: {said} {why}");
        assert!(peak() - usual < MOST, "{before} took {} KiB more than {usual}", peak() - usual);
    }
}
