//! Commands that need no server: the token, completions, manual pages and help.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use support::lab::{Lab, lanboot};

/// The standard output of a run that must succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.is_empty(), "{command:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every command, as its words: `leases import`.
fn commands() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(words) = open.pop() {
        let help = output(lanboot(&[]).args(words.split_whitespace()).arg("--help"));
        let list = help.split("Commands:\n").nth(1).unwrap_or_default();
        let names = list.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("    "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            open.push(format!("{words} {name}").trim().to_owned());
        }
        found.insert(words);
    }
    found
}

#[test]
fn the_token_is_printed_and_replaced() {
    let lab = Lab::new();
    // A file with problems does not matter.
    lab.write_config("dhcp: {mode: nonsense}\nstate: state\n");
    let token = |arguments: &[&str]| output(lanboot(arguments).arg("--config").arg(lab.config_file()));
    let first = token(&["token"]);
    assert!(first.len() == 65 && first.trim_end().bytes().all(|digit| digit.is_ascii_hexdigit()), "{first}");
    assert_eq!(token(&["token"]), first);
    let second = token(&["token", "--rotate"]);
    assert_ne!(second, first);
    assert_eq!(token(&["token"]), second);
    let file = lab.path().join("state/token");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let other = lab.path().join("other");
    assert_ne!(token(&["token", "--state", other.to_str().unwrap()]), second);
    assert!(other.join("token").is_file());
    let nowhere = lanboot(&["token", "--config", "/nowhere/config.yaml"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    fs::write(&file, "not a token").unwrap();
    let damaged = lanboot(&["token", "--config"]).arg(lab.config_file()).output().unwrap();
    let err = String::from_utf8(damaged.stderr).unwrap();
    assert!(damaged.status.code() == Some(1) && err.contains("--rotate"), "{err}");
}

#[test]
fn leases_are_filtered_by_the_new_and_the_old_option() {
    let lab = Lab::new();
    let list = |arguments: &[&str]| output(lanboot(arguments).arg("--config").arg(lab.config_file()));
    fs::create_dir(lab.path().join("state")).unwrap();
    for arguments in [["leases", "--only", "leased"], ["leases", "--state", "leased"]] {
        let out = list(&arguments);
        assert!(out.contains("no leases") && out.contains("state"), "{out}");
    }
    let other = lab.path().join("other");
    let out = list(&["leases", "--state", other.to_str().unwrap()]);
    assert!(out.contains(other.to_str().unwrap()), "{out}");
}

#[test]
fn shells_accept_their_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = output(&mut lanboot(&["completions", shell]));
        for word in ["lanboot", "serve", "rotate", "completions"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        if shell == "bash" {
            let mut bash = Command::new("bash").args(["-n", "-s"]).stdin(Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut bash.stdin.take().unwrap(), script.as_bytes()).unwrap();
            assert!(bash.wait().unwrap().success());
        }
    }
    let wrong = lanboot(&["completions", "tcsh"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let page = output(&mut lanboot(&["man"]));
    assert!(page.contains(".TH lanboot 8") && page.contains("SUBCOMMANDS"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("new/man");
    output(lanboot(&["man"]).arg(&pages));
    let there: BTreeSet<String> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".8", ""))
        .collect();
    let expected: BTreeSet<String> =
        commands().iter().map(|words| format!("lanboot {words}").trim().replace(' ', "-")).collect();
    assert_eq!(there, expected);
    assert_eq!(fs::read_to_string(pages.join("lanboot.8")).unwrap(), page);
    let full = lanboot(&["man", "/dev/full/x"]).output().unwrap();
    let err = String::from_utf8(full.stderr).unwrap();
    assert!(full.status.code() == Some(1) && err.contains("cannot write the pages"), "{err}");
}

#[test]
fn help_fits_80_columns() {
    let commands = commands();
    for words in ["serve", "reload", "token", "completions", "man", "schema", "leases import"] {
        assert!(commands.contains(words), "{words}: {commands:?}");
    }
    for words in &commands {
        for option in ["-h", "--help"] {
            let help = output(lanboot(&[]).args(words.split_whitespace()).arg(option));
            let long = help.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "lanboot {words} {option}");
        }
    }
}

#[test]
fn a_capture_is_not_written_to_a_terminal() {
    let lab = Lab::new();
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = lanboot(&["capture", "52:54:00:12:34:56"]);
    command.arg("--config").arg(lab.config_file()).stderr(Stdio::piped());
    let child = command.stdout(terminal.slave).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("write to a file with `-o FILE.pcap`"), "{err}");
    // Without a server.
    let output = lab.run(&["capture", "52:54:00:12:34:56"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("no server runs"), "{err}");
}
