//! Commands that ask the running server through its control socket.

use std::fs::File;
use std::process::{Output, Stdio};
use std::time::Instant;

use serde_json::Value;
use support::lab::{self, Lab, lanboot};

fn texts(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("it ended by itself"))
}

/// A lab with the machine node1 and the target debian.
fn lab_with_node1() -> Lab {
    let lab = Lab::new();
    std::fs::write(lab.path().join("boot-images/linux"), "kernel").unwrap();
    lab.write_config(&format!(
        "{}machines: [{{name: node1, mac: 02:00:00:00:00:01}}]\ntargets: {{debian: {{kernel: linux}}}}\n",
        lab.config()
    ));
    lab
}

const COMMANDS: [&[&str]; 5] =
    [&["status"], &["status", "--json"], &["machines"], &["once", "node1", "debian"], &["wake", "node1"]];

#[test]
fn without_a_server_commands_say_how_to_start_it() {
    let lab = Lab::new();
    for command in COMMANDS {
        let (out, err, code) = texts(&lab.run(command));
        assert_eq!((out.as_str(), code), ("", 1), "{command:?}: {err}");
        assert!(err.contains("no server runs") && err.contains("systemctl start lanboot"), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let (_, err, code) = texts(&lanboot(&["status", "--config", "/nowhere/x.yaml"]).output().unwrap());
    assert!(code == 2 && err.contains("/nowhere/x.yaml"), "{err}");
}

#[test]
fn status_and_machines_are_tables_or_json() {
    let lab = lab_with_node1();
    let server = lab.serve(&["serve"]);
    lab::lease(lab.ports, 1);
    lab::lease(lab.ports, 2);
    server.wait_for("DHCPACK(lo) 127.77.0.51");
    let (out, err, code) = texts(&lab.run(&["status"]));
    assert_eq!((err.as_str(), code), ("", 0));
    assert!(out.starts_with(concat!("lanboot ", env!("CARGO_PKG_VERSION"), " runs for ")), "{out}");
    let http = format!("HTTP on port {}", lab.http);
    for part in [http.as_str(), "lo         server", "SUBNET", "127.0.0.0/8"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    // The API takes records in up to 50 ms after they are logged.
    let machines = || texts(&lab.run(&["machines"]));
    support::site::until(|| machines().0.ends_with("2 machines\n"), "both machines are listed");
    let (out, _, code) = machines();
    assert_eq!(code, 0);
    assert!(out.lines().any(|line| line.starts_with("node1") && line.contains("02:00:00:00:00:01")), "{out}");
    assert!(out.ends_with("2 machines\n"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    for (command, check) in [("status", "version"), ("machines", "mac")] {
        let (out, err, code) = texts(&lab.run(&[command, "--json"]));
        assert_eq!((err.as_str(), code), ("", 0));
        let json: Value = serde_json::from_str(&out).unwrap();
        let object = json.get(0).unwrap_or(&json);
        assert!(object.get(check).is_some_and(Value::is_string), "{out}");
    }
}

/// The file may have problems while the server runs: asking it must still work.
#[test]
fn a_broken_configuration_does_not_keep_commands_from_the_server() {
    let lab = Lab::new();
    let _server = lab.serve(&["serve"]);
    lab.write_config("dhcp: {mode: nonsense}\nstate: state\n");
    let (_, err, code) = texts(&lab.run(&["status"]));
    assert_eq!((err.as_str(), code), ("", 0));
    let state = lab.path().join("state");
    let by_state =
        lanboot(&["status", "--config", "/nowhere/x.yaml", "--state"]).arg(&state).output().unwrap();
    assert!(by_state.status.success(), "{by_state:?}");
}

#[test]
fn closed_pipes_end_commands_silently() {
    let lab = lab_with_node1();
    let _server = lab.serve(&["serve"]);
    for command in COMMANDS {
        let run = |out: Stdio| {
            let mut run = lanboot(command);
            run.arg("--config").arg(lab.config_file()).stdout(out).stderr(Stdio::piped());
            texts(&run.spawn().unwrap().wait_with_output().unwrap())
        };
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        let (_, err, _) = run(closed.into());
        assert_eq!(err, "", "{command:?}");
        if command[0] != "wake" {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let (_, err, code) = run(full.into());
            assert!(err.contains("cannot write the output") && code == 1, "{command:?}: {code} {err}");
        }
    }
}

#[test]
fn once_is_set_shown_and_cleared() {
    let lab = lab_with_node1();
    let _server = lab.serve(&["serve"]);
    let run = |arguments: &[&str]| texts(&lab.run(arguments));
    let (out, err, code) = run(&["once", "node1", "debian"]);
    assert_eq!((out.as_str(), err.as_str(), code), ("node1 starts debian at its next boot\n", "", 0));
    let (out, ..) = run(&["status"]);
    assert!(out.contains("node1 starts debian at its next boot"), "{out}");
    assert_eq!(run(&["once", "node1", "--clear"]).0, "node1 boots as usual\n");
    assert_eq!(run(&["once", "node1", "--clear"]).0, "node1 boots as usual; nothing was set\n");
    for (arguments, word) in [
        (["once", "node1", "nosuch"], "nosuch"),
        (["once", "node9", "debian"], "node9"),
        (["once", "../../status", "debian"], "../../status"),
    ] {
        let (out, err, code) = run(&arguments);
        assert!(out.is_empty() && code == 1 && err.contains(word), "{arguments:?}: {out}{err}");
    }
    for wrong in [&["once", "node1"][..], &["once", "node1", "debian", "--clear"], &["once"]] {
        assert_eq!(run(wrong).2, 2, "{wrong:?}");
    }
}

#[test]
fn wake_reports_each_machine() {
    let lab = lab_with_node1();
    let _server = lab.serve(&["serve"]);
    let (out, err, code) = texts(&lab.run(&["wake", "node1", "nosuch", "02:00:00:00:00:09"]));
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("nosuch") && err.lines().count() == 1, "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines.len() == 2 && lines.iter().all(|line| line.starts_with("sent a Wake-on-LAN packet")),
        "{out}"
    );
}

/// `tests/long status` sets STATUS_MACHINES=10000 and STATUS_LIMIT_MS=100, with a release build.
#[test]
fn commands_are_fast_with_many_machines() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    let (count, limit) = (number("STATUS_MACHINES", 300), number("STATUS_LIMIT_MS", 5000));
    let lab = Lab::new();
    let machines = (0..count).map(|n| {
        let (high, low) = (n / 256 % 256, n % 256);
        format!(
            "  - {{name: node{n}, mac: \"02:00:00:01:{high:02x}:{low:02x}\", address: 127.78.{high}.{low}}}\n"
        )
    });
    lab.write_config(&format!("{}machines:\n{}", lab.config(), machines.collect::<String>()));
    let _server = lab.serve(&["serve"]);
    for command in [&["status"][..], &["machines"], &["machines", "--json"], &["status", "--json"]] {
        // The first run may read the program from the disk.
        let times = [(); 5].map(|()| {
            let began = Instant::now();
            let output = lab.run(command);
            assert!(output.status.success(), "{command:?}: {output:?}");
            began.elapsed()
        });
        let best = times.into_iter().min().unwrap();
        println!("lanboot {} with {count} machines: {} ms", command.join(" "), best.as_millis());
        assert!(best.as_millis() < u128::from(limit), "{command:?} takes {best:?} with {count} machines");
    }
}
