//! The log as entries of the systemd journal, which a socket of the test receives.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use lanboot::probe::Kind;
use support::lab::{Lab, PATIENCE, boot, lanboot};

type Entry = BTreeMap<String, String>;

/// A server whose log goes to a journal. Killed on drop.
struct Server {
    child: Child,
    journal: UnixDatagram,
    path: PathBuf,
    stdout: BufReader<PipeReader>,
}

impl Server {
    /// Starts the server. `stream` changes the variable that names the stream of the journal.
    fn start(lab: &Lab, stream: impl FnOnce(String) -> String) -> Server {
        let path = lab.path().join("journal.sock");
        let journal = listen(&path);
        let (reader, writer) = std::io::pipe().unwrap();
        let metadata = File::from(OwnedFd::from(writer.try_clone().unwrap())).metadata().unwrap();
        let mut command = lanboot(&[]);
        command.arg("--config").arg(lab.config_file()).arg("serve");
        command.env("JOURNAL_STREAM", stream(format!("{}:{}", metadata.dev(), metadata.ino())));
        command.env("LANBOOT_JOURNAL_SOCKET", &path);
        command.stdout(writer.try_clone().unwrap()).stderr(Stdio::from(writer));
        let child = command.spawn().unwrap();
        Server { child, journal, path, stdout: BufReader::new(reader) }
    }

    /// The first entry that `is_wanted` accepts.
    fn wait_for(&self, is_wanted: impl Fn(&Entry) -> bool) -> Entry {
        let (mut seen, begin) = (Vec::new(), Instant::now());
        let mut datagram = vec![0; 1 << 18];
        while begin.elapsed() < PATIENCE {
            let Ok(length) = self.journal.recv(&mut datagram) else { continue };
            let entry = parse(&datagram[..length]);
            if is_wanted(&entry) {
                return entry;
            }
            seen.push(entry);
        }
        panic!("no such entry in {seen:#?}");
    }

    fn wait_for_event(&self, event: &str) -> Entry {
        self.wait_for(|entry| entry.get("LANBOOT_EVENT").is_some_and(|found| found == event))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The first line on standard output that contains `text`.
    fn line(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "no {text:?} on standard output");
        }
        line
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// Parses an entry of the native protocol: `NAME=value`, or `NAME`, the length in 8 bytes, and the value.
fn parse(mut rest: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("every field ends with a line break");
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        let (name, value, after) = match line.split_once('=') {
            Some((name, value)) => (name, value.to_owned(), &rest[end + 1..]),
            None => {
                let (length, inside) = rest[end + 1..].split_first_chunk::<8>().expect("a length of 8 bytes");
                let (value, after) = inside.split_at(u64::from_le_bytes(*length).try_into().unwrap());
                (line, String::from_utf8(value.to_vec()).unwrap(), after.strip_prefix(b"\n").unwrap())
            }
        };
        assert!(entry.insert(name.to_owned(), value).is_none(), "{name} is there twice");
        rest = after;
    }
    entry
}

#[test]
fn the_journal_gets_the_fields_of_each_record() {
    let lab = Lab::new();
    let mut server = Server::start(&lab, |stream| stream);
    server.wait_for(|entry| entry["MESSAGE"].starts_with("TFTP on "));
    boot(lab.ports, Kind::UefiX64, 1);
    let discover = server.wait_for_event("DHCPDISCOVER");
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "lanboot"),
        ("LANBOOT_MAC", "02:00:00:00:00:01"),
        ("LANBOOT_INTERFACE", "lo"),
        ("LANBOOT_ARCH", "uefi-x64"),
    ] {
        assert_eq!(discover.get(name).map(String::as_str), Some(value), "{name} in {discover:#?}");
    }
    let offer = server.wait_for_event("DHCPOFFER");
    assert_eq!(
        (offer["LANBOOT_FILE"].as_str(), offer["LANBOOT_RULE"].as_str()),
        ("snponly.efi", "boot.arch.uefi-x64")
    );
    let sent = server.wait_for_event("sent");
    assert_eq!(
        (sent["LANBOOT_IP"].clone(), sent["LANBOOT_BYTES"].as_str()),
        (offer["LANBOOT_IP"].clone(), "1048576")
    );

    lab.write_config(&lab.config().replace("state: state", "state: [state"));
    server.signal(Signal::SIGHUP);
    let error = server.wait_for(|entry| entry["MESSAGE"].starts_with("the configuration is not reloaded"));
    assert_eq!(error["PRIORITY"], "3");

    // Without the journal, lines go to standard output; a restarted journal is found again.
    std::fs::remove_file(&server.path).unwrap();
    server.journal = UnixDatagram::unbound().unwrap();
    server.signal(Signal::SIGUSR1);
    server.line("statistics: received ");
    server.journal = listen(&server.path);
    server.signal(Signal::SIGUSR1);
    server.wait_for(|entry| entry["MESSAGE"].starts_with("statistics: received "));
}

#[test]
fn a_reload_changes_the_format_for_the_journal() {
    let lab = Lab::new();
    let mut server = Server::start(&lab, |stream| stream);
    server.wait_for(|entry| entry["MESSAGE"].starts_with("TFTP on "));
    let reload = |text: &str| {
        lab.write_config(text);
        let output = lab.run(&["reload"]);
        assert!(output.status.success(), "{output:?}");
    };
    reload(&(lab.config() + "log: {format: json}\n"));
    server.signal(Signal::SIGUSR1);
    let line = server.line("statistics: received ");
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(json["message"].is_string(), "{json}");
    while server.journal.recv(&mut vec![0; 1 << 18]).is_ok() {}
    server.signal(Signal::SIGUSR1);
    server.line("statistics: received ");
    assert!(server.journal.recv(&mut [0; 16]).is_err(), "JSON lines are no entries");
    reload(&(lab.config() + "log: {format: text}\n"));
    server.signal(Signal::SIGUSR1);
    server.wait_for(|entry| entry["MESSAGE"].starts_with("statistics: received "));
}

#[test]
fn a_stream_that_the_journal_does_not_read_gets_lines() {
    let lab = Lab::new();
    let mut server = Server::start(&lab, |_| "1:2".to_owned());
    server.line("TFTP on ");
    assert!(server.journal.recv(&mut [0; 16]).is_err(), "nothing goes to the journal");
}
