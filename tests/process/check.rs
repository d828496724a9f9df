//! `lanboot check`: the files of a configuration, and this computer.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::lab::{Lab, lanboot};

/// Checks the file and this computer.
fn check(file: &Path, arguments: &[&str]) -> Output {
    lanboot(&["check"]).args(arguments).arg("--config").arg(file).output().unwrap()
}

fn problems(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The messages of one list of the JSON output about `about`.
fn messages(output: &Output, list: &str, about: &str) -> Vec<String> {
    let json: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let lines = json[list].as_array().unwrap().iter().filter(|line| line["about"] == about);
    lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn r_41_all_problems_are_reported_in_one_run() {
    let lab = Lab::new();
    fs::remove_file(lab.path().join("boot-images/snponly.efi")).unwrap();
    let holder = UdpSocket::bind(("127.0.0.1", lab.ports.tftp)).unwrap();
    let text = lab.config().replace("lease: 10m", "lease: 10x").replace("[lo]", "[lo, nosuch0]");
    lab.write_config(&text);
    let output = check(&lab.config_file(), &[]);
    let said = problems(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let file = lab.config_file().display().to_string();
    assert!(said.contains(&format!("{file}:7:")) && said.contains("10x"), "{said}");
    assert!(said.contains("no file \"snponly.efi\""), "{said}");
    assert!(said.contains("this computer: interface nosuch0 of `interfaces` does not exist"), "{said}");
    let port = format!("127.0.0.1:{} is in use by ", lab.ports.tftp);
    let own = format!("(process {})", std::process::id());
    assert!(said.contains(&port) && said.contains(&own), "{said}");
    let alone = problems(&check(&lab.config_file(), &["--file-only"]));
    assert!(!alone.contains("this computer") && alone.contains("10x"), "{alone}");
    drop(holder);
}

#[test]
fn r_41_ports_of_the_running_server_are_no_problem() {
    let lab = Lab::new();
    let _serving = lab.serve(&["serve"]);
    let output = check(&lab.config_file(), &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(messages(&output, "problems", "ports"), [""; 0]);
    let other = Lab::new();
    let text = other.config().replace(
        &format!("tftp: {{port: {}}}", other.ports.tftp),
        &format!("tftp: {{port: {}}}", lab.ports.tftp),
    );
    other.write_config(&text);
    let output = check(&other.config_file(), &["--json"]);
    let [taken] = &messages(&output, "problems", "ports")[..] else { panic!("{output:?}") };
    assert!(taken.contains("is in use by lanboot (process ") && output.status.code() == Some(1), "{taken}");
}

#[test]
fn r_41_folders_and_addresses_of_this_computer_are_checked() {
    let lab = Lab::new();
    fs::write(lab.path().join("file"), "").unwrap();
    let text = lab.config().replace("state: state", "state: file/state");
    lab.write_config(&text.replace("tftp: {", "tftp: {listen: [192.0.2.9], "));
    let output = check(&lab.config_file(), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let folders = messages(&output, "problems", "folders");
    assert!(
        folders.len() == 1 && folders[0].contains("`state`") && folders[0].contains("is no folder"),
        "{folders:?}"
    );
    let addresses = messages(&output, "problems", "addresses");
    assert!(
        addresses.len() == 1 && addresses[0].starts_with("192.0.2.9 of `tftp.listen` is on no interface"),
        "{addresses:?}"
    );
}

#[test]
fn r_41_a_lease_database_that_cannot_be_read_is_a_problem() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path().join("state")).unwrap();
    fs::write(lab.path().join("state/leases.db"), "this is no database, and longer than one line of text")
        .unwrap();
    let output = check(&lab.config_file(), &["--json"]);
    let found = messages(&output, "problems", "database");
    assert!(found.len() == 1 && found[0].contains("lease database"), "{output:?}");
}

#[test]
fn r_41_an_unreadable_file_is_exit_code_2() {
    let lab = Lab::new();
    let output = check(&lab.path().join("none.yaml"), &["--json"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]));
}

#[test]
fn r_42_state_inside_images_is_an_error() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path().join("boot-images/state")).unwrap();
    fs::copy(lab.config_file(), lab.path().join("boot-images/config.yaml")).unwrap();
    lab.write_config(&lab.config().replace("state: state", "state: boot-images/state"));
    let said = problems(&lab.run(&["check"]));
    assert!(said.contains("boot-images/state is in ") && said.contains("images: "), "{said}");
    let serving = lab.serve(&["serve"]);
    for name in ["state/leases.db", "state/leases.lock", "state/../state/leases.db"] {
        let answer = get(lab.http, name);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
    }
    drop(serving);
}

/// The answer of the HTTP server at `port` to a GET of `name`.
fn get(port: u16, name: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET /{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn included_lab() -> Lab {
    let lab = Lab::new();
    fs::create_dir_all(lab.path().join("machines.d")).unwrap();
    let text = lab.config()
        + "include: [machines.d/*.yaml, targets.yaml]\nmachines:\n  - {mac: 02:00:00:00:00:01}\n";
    lab.write_config(&text);
    fs::write(lab.path().join("targets.yaml"), "targets: {t: {kernel: snponly.efi}}\n").unwrap();
    fs::write(
        lab.path().join("machines.d/a.yaml"),
        "machines:\n  - {name: a, mac: 02:00:00:00:00:02, boot: t}\n  - {name: b, mac: 02:00:00:00:00:03, boot: none.efi}\n",
    )
    .unwrap();
    fs::write(lab.path().join("machines.d/.hidden.yaml"), "broken: [").unwrap();
    lab
}

#[test]
fn r_45_included_files_have_machines_targets_and_places() {
    let lab = included_lab();
    let said = problems(&lab.run(&["check"]));
    let file = lab.path().join("machines.d/a.yaml").display().to_string();
    assert!(said.contains(&format!("{file}:3:45: machines[1].boot: no file \"none.efi\"")), "{said}");
    fs::write(lab.path().join("boot-images/none.efi"), support::lab::efi_head(0x8664)).unwrap();
    let output = lab.run(&["check"]);
    let ok = String::from_utf8(output.stdout).unwrap();
    assert!(
        ok.contains("3 machines") && ok.contains("1 target"),
        "{ok}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::write(lab.path().join("machines.d/b.yaml"), "machines:\n  - {mac: 02:00:00:00:00:01}\ntftp: off\n")
        .unwrap();
    let said = problems(&lab.run(&["check"]));
    let other = lab.path().join("machines.d/b.yaml").display().to_string();
    assert!(said.contains(&format!("{other}:2:11: machines[0].mac: another machine has the MAC")), "{said}");
    assert!(said.contains(&format!("{other}:3:1: tftp: unknown key `tftp`")), "{said}");
}

#[test]
fn r_45_cycles_copies_and_missing_files_are_errors() {
    let lab = included_lab();
    let write = |text: &str| fs::write(lab.path().join("targets.yaml"), text).unwrap();
    for (text, expected) in [
        ("include: config.yaml\n", "config.yaml is read twice"),
        ("include: ./targets.yaml\n", "targets.yaml is read twice"),
        ("include: machines.d/../machines.d/a.yaml\n", "a.yaml is read twice"),
        ("include: none.yaml\n", "none.yaml: No such file"),
        ("include: none.d/*.yaml\n", "cannot read the folder"),
        ("targets: {t: {kernel: [}\n", "targets.yaml:1:"),
    ] {
        write(text);
        let output = lab.run(&["check"]);
        let said = problems(&output);
        assert!(output.status.code() == Some(1) && said.contains(expected), "{text}: {said}");
        assert!(
            said.contains(&format!("{}:1:", lab.path().join("targets.yaml").display())),
            "{text}: {said}"
        );
    }
    write("include: [nothing-*.yaml]\n");
    fs::write(lab.path().join("boot-images/none.efi"), support::lab::efi_head(0x8664)).unwrap();
    fs::write(lab.path().join("machines.d/a.yaml"), "").unwrap();
    let output = lab.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", problems(&output));
    assert!(problems(&output).contains("matches no file"), "{}", problems(&output));
}

#[test]
fn r_46_every_command_ends_silently_when_its_reader_is_gone() {
    let lab = Lab::new();
    let file = lab.config_file();
    for arguments in
        [&["check"][..], &["rehearse"], &["schema"], &["leases"], &["images"], &["probe", "--help"]]
    {
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let mut command: Command = lanboot(arguments);
        let child = command.arg("--config").arg(&file).stdout(closed()).stderr(closed()).spawn().unwrap();
        let status = child.wait_with_output().unwrap().status;
        assert!(status.code().is_some_and(|code| code < 2), "{arguments:?}: {status}");
    }
}

/// The user `nobody` may read the database of a stopped server, and not write beside it.
#[test]
fn r_49_leases_are_listed_without_the_right_to_write() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let address = support::lab::lease(lab.ports, 1);
    serving.terminate();
    let listed = |command: &mut Command| {
        let output = command.arg("--config").arg(lab.config_file()).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
    };
    let text = listed(&mut lanboot(&["leases"]));
    assert!(text.contains(&address.to_string()) && text.ends_with("1 lease: 1 leased\n"), "{text}");
    let released = listed(&mut lanboot(&["leases", "--state", "released"]));
    assert!(released.starts_with("no leases like that among 1 in "), "{released}");
    let other = listed(&mut lanboot(&["leases", "list", "--subnet", "10.0.0.0/8"]));
    assert!(other.starts_with("no leases like that among 1 in "), "{other}");
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let binary = lab.path().join("lanboot");
    support::copy_program(&binary);
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(lab.path(), 0o755);
    open(&lab.path().join("state"), 0o555);
    for entry in fs::read_dir(lab.path().join("state")).unwrap() {
        open(&entry.unwrap().path(), 0o444);
    }
    let text = listed(Command::new(binary).arg("leases").uid(65534).gid(65534).current_dir("/"));
    assert!(text.contains(&address.to_string()) && text.ends_with("1 lease: 1 leased\n"), "{text}");
}
