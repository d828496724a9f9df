//! The real binary: its output and its exit codes.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use lanboot::probe::Kind;
use support::lab::{self, Lab, lanboot, printed};

#[test]
fn check_says_ok_in_one_line() {
    let lab = Lab::new();
    let (out, err, code) = printed(&lab.run(&["check"]));
    assert_eq!((err.as_str(), code), ("", 0));
    let file = lab.config_file();
    let expected = format!(
        "{}: ok: dhcp server, 1 subnet, 65330 pool addresses, 0 machines, 2 boot architectures, tftp on port {}, \
         http on port {}\n",
        file.display(),
        lab.ports.tftp,
        lab.http
    );
    assert_eq!(out, expected);
}

#[test]
fn check_survives_a_closed_pipe() {
    let lab = Lab::new();
    let check = |out: Stdio, err: Stdio| {
        let mut command = lanboot(&["check", "--file-only", "--config"]);
        command.arg(lab.config_file()).stdout(out).stderr(err).spawn().unwrap().wait_with_output().unwrap()
    };
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    let (_, err, code) = printed(&check(full(), Stdio::piped()));
    assert!(err.starts_with("lanboot: cannot write the output: No space left") && code == 1, "{code} {err}");
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let (_, err, code) = printed(&check(closed.into(), Stdio::piped()));
    assert_eq!((err.as_str(), code), ("", 0));
    fs::remove_file(lab.path().join("boot-images/snponly.efi")).unwrap();
    assert_eq!(check(Stdio::piped(), full()).status.code(), Some(1));
}

#[test]
fn check_lists_every_problem_with_its_place() {
    let lab = Lab::new();
    let text =
        lab.config().replace("pool: 127.77.0.50-", "pol: 127.77.0.50-").replace("lease: 10m", "lease: 10x");
    lab.write_config(&text);
    let (out, err, code) = printed(&lab.run(&["check"]));
    assert_eq!((out.as_str(), code), ("", 1));
    let file = lab.config_file().display().to_string();
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(lines[..2].iter().all(|line| line.starts_with(&format!("{file}:7:"))), "{err}");
    assert!(lines[0].contains("pol") && lines[0].contains("did you mean `pool`"), "{err}");
    assert!(lines[1].contains("lease") && lines[1].contains("10x"), "{err}");
    assert_eq!(lines[2], format!("{file}: 2 problems"));
}

#[test]
fn check_and_serve_tell_of_options_that_are_too_long_for_some_clients() {
    let lab = Lab::new();
    let text = |len| format!("'text:{}'", "x".repeat(len));
    let options = format!("options: {{224: {}, 225: {}, 226: {}}}", text(270), text(271), text(1300));
    lab.write_config(&lab.config().replace("lease: 10m", &format!("lease: 10m, {options}")));
    let (out, err, code) = printed(&lab.run(&["check"]));
    assert!(out.contains(": ok: ") && code == 0, "{out}{err}");
    let notes: Vec<(String, &str)> = err
        .lines()
        .map(|line| line.strip_prefix(&format!("note: {}:7:", lab.config_file().display())).unwrap())
        .map(|line| line.split_once(": ").unwrap().1.split_once(": ").unwrap())
        .map(|(key, note)| (key.to_owned(), note))
        .collect();
    let expected = [
        (
            "dhcp.subnets[0].options.225".to_owned(),
            "a value of 271 bytes reaches programs that boot from the network only if they take messages of 577 bytes \
             (option 57): it must be shorter by 1 for the others",
        ),
        (
            "dhcp.subnets[0].options.226".to_owned(),
            "a value of 1300 bytes reaches no client: it must be shorter by 114",
        ),
    ];
    assert_eq!(notes, expected);
    let server = lab.serve(&["serve"]);
    server.wait_for("options.225: a value of 271 bytes");
    server.wait_for("options.226: a value of 1300 bytes reaches no client");
}

/// A missing file, and a file for another processor, behind a URL of this server.
#[test]
fn check_looks_behind_urls_of_this_server() {
    let lab = Lab::new();
    let urls = format!(
        "arch: {{uefi-x64-http: 'http://{{server}}:{0}/snponli.efi', uefi-arm64-http: 'http://{{server}}:{0}/snponly.efi', ",
        lab.http
    );
    lab.write_config(&lab.config().replace("arch: {", &urls));
    let (_, err, code) = printed(&lab.run(&["check"]));
    let file = lab.config_file().display().to_string();
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!((lines.len(), code), (3, 1), "{err}");
    assert!(
        lines[0].starts_with(&format!("{file}:9:25: boot.arch.uefi-x64-http: no file \"snponli.efi\"")),
        "{err}"
    );
    assert!(lines[0].ends_with("; did you mean `snponly.efi`?"), "{err}");
    assert!(
        lines[1].starts_with(&format!("{file}:9:")) && lines[1].contains("boot.arch.uefi-arm64-http"),
        "{err}"
    );
    assert!(lines[1].contains("is an EFI program for x64, but it is mapped to uefi-arm64-http"), "{err}");
}

#[test]
fn check_names_boot_files_that_are_not_there() {
    let lab = Lab::new();
    fs::remove_file(lab.path().join("boot-images/snponly.efi")).unwrap();
    let (_, err, code) = printed(&lab.run(&["check"]));
    assert_eq!(code, 1);
    assert!(err.contains("boot.arch.uefi-x64") && err.contains("snponly.efi"), "{err}");
    assert!(err.ends_with(": 1 problem\n"), "{err}");
}

#[test]
fn check_compares_boot_files_with_the_architectures_they_are_mapped_to() {
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    fs::copy(images.join("undionly.kpxe"), images.join("snponly.efi")).unwrap();
    fs::write(images.join("boot.ipxe"), "<!DOCTYPE html>").unwrap();
    let (_, err, code) = printed(&lab.run(&["check"]));
    let (file, folder) = (lab.config_file().display().to_string(), images.display().to_string());
    assert_eq!(code, 1);
    assert_eq!(
        err,
        format!(
            "{file}:9:41: boot.arch.uefi-x64: \"snponly.efi\" in {folder} is a BIOS boot program (iPXE), but it is \
             mapped to uefi-x64, which starts EFI programs for x64\n\
             {file}:10:9: boot.ipxe: \"boot.ipxe\" in {folder} is a text file, but it is what iPXE gets, which must be \
             an iPXE script: one that begins #!ipxe\n\
             {file}: 2 problems\n"
        )
    );
    // A server still serves the machines whose files are right, and logs the same problems.
    let serving = lab.serve(&["serve"]);
    serving.wait_for(&format!(
        "ERROR {file}:9:41: boot.arch.uefi-x64: \"snponly.efi\" in {folder} is a BIOS boot program"
    ));
    serving.wait_for(&format!("ERROR {file}:10:9: boot.ipxe: "));
    assert_eq!(serving.terminate().0.code(), Some(0));
    fs::write(images.join("snponly.efi"), lab::efi_head(0xaa64)).unwrap();
    let (_, err, _) = printed(&lab.run(&["check"]));
    assert!(err.contains("\"snponly.efi\" in ") && err.contains("is an EFI program for arm64, but"), "{err}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_wrong_usage() {
    let lab = Lab::new();
    fs::remove_file(lab.config_file()).unwrap();
    for command in ["check", "serve"] {
        let (out, err, code) = printed(&lab.run(&[command]));
        assert_eq!((out.as_str(), code), ("", 2), "{command}: {err}");
        assert!(err.contains("cannot read the configuration") && err.contains("No such file"), "{err}");
        assert!(err.contains("README.md has one to begin with"), "{err}");
    }
}

#[test]
fn without_any_configuration_it_says_where_it_looked() {
    if fs::exists("/etc/lanboot/config.yaml").unwrap() {
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let (_, err, code) = printed(&lanboot(&["check"]).current_dir(&empty).output().unwrap());
    assert_eq!(code, 2);
    assert!(err.contains("./config.yaml") && err.contains("/etc/lanboot/config.yaml"), "{err}");
    assert!(err.contains("--config FILE"), "{err}");
}

#[test]
fn serve_refuses_a_configuration_with_problems() {
    let lab = Lab::new();
    lab.write_config(&lab.config().replace("mode: server", "mode: sever"));
    let (out, err, code) = printed(&lab.run(&["serve"]));
    assert_eq!((out.as_str(), code), ("", 2));
    assert!(err.contains(":4:") && err.contains("sever") && err.contains("`server`"), "{err}");
    assert!(err.ends_with(": 1 problem\n"), "{err}");
}

#[test]
fn a_port_in_use_is_said_with_the_process_that_has_it() {
    let lab = Lab::new();
    for (port, key) in [(lab.ports.dhcp, "dhcp.ports.server"), (lab.ports.tftp, "tftp.port")] {
        let held = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        let (out, err, code) = printed(&lab.run(&["serve"]));
        drop(held);
        // The lease database is opened before TFTP is bound, and a first start logs that there are no leases.
        let said: Vec<_> =
            out.lines().filter(|line| !line.contains(" WARN starting with 0 leases in ")).collect();
        assert_eq!((said, code), (vec![], 3), "{err}");
        assert!(err.contains(&format!(":{port} is in use by ")), "{err}");
        assert!(err.contains(&format!("(process {})", std::process::id())), "{err}");
        assert!(err.contains(&format!("or set another port in `{key}`")), "{err}");
    }
}

#[test]
fn a_second_lanboot_names_the_first() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let (_, err, code) = printed(&lab.run(&["serve"]));
    assert_eq!(code, 3);
    assert!(err.contains(&format!("in use by lanboot (process {})", serving.pid())), "{err}");
    assert!(err.contains("another lanboot is running"), "{err}");
}

/// `lanboot` as an unprivileged user.
fn as_unprivileged_user(lab: &Lab, command: &str) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return lanboot(&[command]);
    }
    let binary = lab.path().join("lanboot");
    support::copy_program(&binary);
    fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut nobody = Command::new(binary);
    nobody.arg(command).uid(65534).gid(65534).current_dir("/");
    nobody
}

#[test]
fn boot_files_that_may_not_be_read_are_neither_right_nor_missing() {
    let lab = Lab::new();
    let images = lab.path().join("boot-images");
    fs::set_permissions(images.join("snponly.efi"), fs::Permissions::from_mode(0o000)).unwrap();
    let check = || {
        printed(
            &as_unprivileged_user(&lab, "check")
                .args(["--file-only", "--config"])
                .arg(lab.config_file())
                .output()
                .unwrap(),
        )
    };
    let (_, err, code) = check();
    let file = lab.config_file().display().to_string();
    let advice =
        format!("in {} cannot be read by this user: chmod a+r it, and a+x its folders", images.display());
    assert_eq!(
        err,
        format!("{file}:9:41: boot.arch.uefi-x64: \"snponly.efi\" {advice}\n{file}: 1 problem\n")
    );
    assert_eq!(code, 1);
    fs::set_permissions(&images, fs::Permissions::from_mode(0o600)).unwrap();
    let (_, err, _) = check();
    assert!(err.contains("cannot be read by this user") && !err.contains("no file"), "{err}");
    fs::set_permissions(&images, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_low_port_without_the_right_to_it_says_how_to_grant_it() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse().is_ok_and(|first: u16| first <= 67) {
        eprintln!("SKIPPED: this machine lets everybody bind port 67");
        return;
    }
    let lab = Lab::new();
    lab.write_config(&lab.config().replace(&format!("server: {}", lab.ports.dhcp), "server: 67"));
    let mut command = as_unprivileged_user(&lab, "serve");
    command.arg("--config").arg(lab.config_file());
    let (out, err, code) = printed(&command.output().unwrap());
    assert_eq!((out.as_str(), code), ("", 3), "{err}");
    assert!(err.starts_with("lanboot: permission denied binding 0.0.0.0:67"), "{err}");
    assert!(
        err.contains("CAP_NET_BIND_SERVICE") && err.contains("`dhcp.ports.server` are for tests"),
        "{err}"
    );
}

#[test]
fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
    let lab = Lab::new();
    lab.write_config(&lab.config().replace("[lo]", "[nosuch0]"));
    let (out, err, code) = printed(&lab.run(&["serve"]));
    assert_eq!((out.as_str(), code), ("", 3));
    assert!(err.contains("nosuch0") && err.contains("this machine has lo"), "{err}");
}

#[test]
fn a_missing_folder_of_boot_files_and_a_state_that_cannot_be_made_are_named() {
    let lab = Lab::new();
    lab.write_config(&lab.config().replace("state: state", "state: config.yaml/state"));
    let (_, err, code) = printed(&lab.run(&["serve"]));
    assert_eq!(code, 3);
    assert!(err.contains("cannot make the state folder") && err.contains("set `state`"), "{err}");
    lab.write_config(&lab.config().replace("state: state", "state: state\nimages: nowhere"));
    let (_, err, code) = printed(&lab.run(&["serve"]));
    assert_eq!(code, 3);
    assert!(err.contains("nowhere: No such file") && err.contains("set `images` to another folder"), "{err}");
    let (_, err, code) = printed(&lab.run(&["images"]));
    assert_eq!(code, 1);
    assert!(err.contains("nowhere: `lanboot images add ipxe` makes it"), "{err}");
}

#[test]
fn a_read_only_lease_database_names_its_owner() {
    let lab = Lab::new();
    let state = lab.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o555)).unwrap();
    let (_, err, code) = printed(
        &as_unprivileged_user(&lab, "serve").arg("--config").arg(lab.config_file()).output().unwrap(),
    );
    let expected = format!("only root and the user that {} belongs to may", state.display());
    assert!(err.contains("cannot lock the lease database") && err.contains(&expected), "{err}");
    assert_eq!(code, 3);
}

#[test]
fn a_missing_folder_for_uploads_is_reported_with_advice() {
    let lab = Lab::new();
    lab.write_config(&lab.config().replace("tftp: {", "tftp: {uploads: uploads, "));
    let advice = format!("make it with `install -d -o lanboot {}`", lab.path().join("uploads").display());
    let (_, err, code) = printed(&lab.run(&["serve"]));
    assert_eq!(code, 3);
    assert!(err.contains("No such file") && err.contains(&advice), "{err}");
    let (_, err, code) = printed(&lab.run(&["check"]));
    assert_eq!(code, 1);
    assert!(err.contains(": tftp.uploads: there is no folder ") && err.contains(&advice), "{err}");
}

#[test]
fn a_lease_database_that_is_none_is_left_alone_and_named() {
    let lab = Lab::new();
    let database = lab.path().join("state/leases.db");
    fs::create_dir(lab.path().join("state")).unwrap();
    let text = "this is no database, but somebody may want it".repeat(100);
    fs::write(&database, &text).unwrap();
    let (_, err, code) = printed(&lab.run(&["serve"]));
    assert_eq!(code, 3);
    assert!(err.contains("leases.db") && err.contains("move the file away"), "{err}");
    assert_eq!(fs::read_to_string(&database).unwrap(), text);
}

#[test]
fn wrong_usage_is_2_and_shows_what_is_right() {
    for arguments in [&["frobnicate"][..], &["--log", "loud"], &["serve", "--nosuch"], &["--config"]] {
        let (out, err, code) = printed(&lanboot(arguments).output().unwrap());
        assert_eq!((out.as_str(), code), ("", 2), "{arguments:?}");
        assert!(err.contains("--help"), "{err}");
    }
    for (arguments, expected) in [
        (["probe", "--timeout", "0"], "expected more than 0 seconds"),
        (["probe", "--arch", "uefi-x65"], "did you mean `uefi-x64`?"),
    ] {
        let (_, err, code) = printed(&lanboot(&arguments).output().unwrap());
        assert!(err.contains(expected) && err.lines().count() < 5 && code == 2, "{code} {err}");
    }
    let (_, err, _) = printed(&lanboot(&["--log", "loud"]).output().unwrap());
    assert!(err.contains("expected error, warn, info, debug or trace"), "{err}");
}

#[test]
fn version_and_help_are_answers() {
    let (out, err, code) = printed(&lanboot(&["--version"]).output().unwrap());
    assert_eq!((out, err.as_str(), code), (format!("lanboot {}\n", env!("CARGO_PKG_VERSION")), "", 0));
    let (out, err, code) = printed(&lanboot(&["--help"]).output().unwrap());
    assert_eq!((err.as_str(), code), ("", 0));
    for word in ["serve", "check", "probe", "demo", "--config", "--log", "/etc/lanboot/config.yaml"] {
        assert!(out.contains(word), "{out}");
    }
}

#[test]
fn r_11_without_a_command_the_help_is_printed_and_nothing_starts() {
    let lab = Lab::new();
    for arguments in [&[][..], &["--log", "debug"]] {
        // In the folder of a configuration that it would find.
        let output = lanboot(arguments).current_dir(lab.path()).output().unwrap();
        let (out, err, code) = printed(&output);
        assert_eq!((out.as_str(), code), ("", 2), "{arguments:?}: {err}");
        for word in ["Usage: lanboot", "serve", "check", "probe"] {
            assert!(err.contains(word), "{arguments:?}: {err}");
        }
    }
    let (_, help, _) = printed(&lanboot(&[]).output().unwrap());
    assert!(help.contains("Run the servers") && help.contains("--config"), "{help}");
    assert_eq!(printed(&lab.run(&[])).2, 2, "nor with --config");
    assert!(!lab.path().join("state").exists(), "no server ran");
}

#[test]
fn log_overrides_the_configuration() {
    let lab = Lab::new();
    lab.write_config(&format!("{}log: {{level: error}}\n", lab.config()));
    let serving = lab.serve(&["serve", "--log", "debug"]);
    // A client's size probe is logged at debug level only.
    lab::boot(lab.ports, Kind::UefiX64, 1);
    serving.wait_for("DEBUG size_probe snponly.efi by 127.77.0.50");
    assert_eq!(serving.terminate().0.code(), Some(0));
}

#[test]
fn log_error_is_silent_and_json_is_one_object_a_line() {
    let lab = Lab::new();
    lab.write_config(&format!("{}log: {{format: json}}\n", lab.config()));
    let serving = lab.serve(&["serve"]);
    lab::lease(lab.ports, 1);
    serving.wait_for("DHCPACK(lo) 127.77.0.50");
    let (_, lines) = serving.terminate();
    assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("\"level\":\"")), "{lines:#?}");
}

#[test]
fn r_40_a_machine_without_its_boot_file_is_warned_about_once() {
    let lab = Lab::new();
    fs::remove_file(lab.path().join("boot-images/snponly.efi")).unwrap();
    let serving = lab.serve(&["serve"]);
    for _ in 0..2 {
        lab::boot(lab.ports, Kind::UefiX64, 1);
        // Without a boot file the firmware would try again for a minute.
        lab::ask(lab.ports, Kind::UefiArm64, 2);
    }
    serving.wait_for("WARN file_missing(lo) 02:00:00:00:00:01 ");
    serving.wait_for("WARN no_file_for_architecture(lo) 02:00:00:00:00:02 ");
    let (_, lines) = serving.terminate();
    let only = |word: &str| {
        let mut found = lines.iter().filter(|line| line.contains(word));
        let first = found.next().unwrap();
        assert!(found.next().is_none(), "{lines:#?}");
        first
    };
    let missing = only(" file_missing(");
    assert!(missing.contains("file=snponly.efi rule=boot.arch.uefi-x64"), "{missing}");
    assert!(missing.contains("`lanboot images add ipxe`"), "{missing}");
    let none = only(" no_file_for_architecture(");
    assert!(none.contains("add `uefi-arm64: grubnetaa64.efi` to `boot.arch`"), "{none}");
}

#[test]
fn r_43_json_logs_have_fields() {
    let lab = Lab::new();
    lab.write_config(&format!(
        "{}log: {{format: json}}\nmachines: [{{name: node1, mac: 02:00:00:00:00:01}}]\n",
        lab.config()
    ));
    let serving = lab.serve(&["serve"]);
    lab::lease(lab.ports, 1);
    serving.wait_for("DHCPACK(lo) 127.77.0.50");
    // A second server cannot bind the ports of the first. Its error is a line of the log too.
    let second = lab.run(&["serve"]);
    let (_, lines) = serving.terminate();
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect(line);
    let lines: Vec<_> = lines.iter().map(|line| json(line)).collect();
    let ack = lines.iter().find(|line| line["event"] == "DHCPACK").expect("an ACK");
    let fields = ["mac", "machine", "ip", "interface"].map(|name| ack[name].as_str().unwrap_or_default());
    assert_eq!(fields, ["02:00:00:00:00:01", "node1", "127.77.0.50", "lo"], "{ack}");
    assert!(lines.iter().all(|line| line["event"].is_string() && line["message"].is_string()), "{lines:#?}");
    assert_eq!(second.status.code(), Some(3), "{second:?}");
    let stdout = String::from_utf8(second.stdout).unwrap();
    let error = json(stdout.lines().last().unwrap_or_default());
    assert_eq!(
        (error["level"].as_str(), error["event"].as_str()),
        (Some("ERROR"), Some("cannot")),
        "{error}"
    );
    lab.write_config(&format!("{}log: {{format: json}}\nnonsense: 1\n", lab.config()));
    let wrong = lab.run(&["serve"]);
    let stdout = String::from_utf8(wrong.stdout).unwrap();
    let error = json(stdout.lines().last().unwrap_or_default());
    assert_eq!((wrong.status.code(), error["event"].as_str()), (Some(2), Some("cannot")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("config.yaml:"), "{error}");
}
