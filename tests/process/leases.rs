//! `lanboot leases` as a user runs it: the real binary, beside a real server on loopback and without one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lanboot::lease::{Holder, Lease, State};
use lanboot::store::clock::{self, Clock};
use lanboot::store::{ClockMark, LeaseReader, LeaseStore, SqliteStore, Uptime};
use lanboot::types::{ClientId, MacAddr, Timestamp, Uuid};
use lanboot::wire::dhcp::Message;

use support::lab::Lab;
use support::world::{discover, select};

const FIRST: &str = "127.77.0.50";

/// A folder with a configuration whose pool has `pool` addresses, and a port for its server.
struct Site {
    folder: tempfile::TempDir,
    port: u16,
}

/// A server that is killed on drop.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Site {
    fn new(pool: u8) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let free = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        let last = 49 + pool;
        let yaml = format!(
            "interfaces: [lo]\nstate: state\ntftp: off\nhttp: off\ndhcp:\n  mode: server\n  conflict_check: off\n  \
             ports: {{server: {port}, client: 68}}\n  subnets:\n    - network: 127.0.0.0/8\n      \
             pool: {FIRST}-127.77.0.{last}\n      lease: 1h\n\
             machines:\n  - {{name: node1, mac: 02:00:00:00:00:01}}\n"
        );
        std::fs::write(folder.path().join("config.yaml"), yaml).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        Site { folder, port }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn lanboot(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanboot"));
        command.arg("--config").arg(self.folder.path().join("config.yaml"));
        command
    }

    /// Starts a server and waits until it is ready. Returns its output so far.
    fn serve(&self) -> (Server, String) {
        let mut child = self.lanboot().arg("serve").stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let server = Server(child);
        let mut said = String::new();
        // The last line of the summary. Any warnings follow it at once.
        while let Ok(line) = lines.recv_timeout(Duration::from_secs(20)) {
            said.push_str(&line);
            if line.contains(" leases in ") {
                break;
            }
        }
        assert!(said.contains(" leases in "), "the server did not start: {said}");
        (server, said)
    }

    fn leases(&self, arguments: &[&str]) -> Output {
        self.lanboot().arg("leases").args(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let output = self.leases(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Sends a message to the server. Returns the answer, if one arrives in time.
    fn ask(&self, message: &Message, wait: Duration) -> Option<Message> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(wait)).unwrap();
        socket.send_to(&message.encode(), (Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut bytes = [0; 1500];
        let (len, _) = socket.recv_from(&mut bytes).ok()?;
        Message::decode(&bytes[..len]).ok()
    }

    /// The address that client `n` gets.
    fn lease(&self, n: u8) -> String {
        let offer = self.ask(&discover(n), Duration::from_secs(5)).expect("an offer");
        let request = select(n, Ipv4Addr::LOCALHOST, offer.yiaddr);
        let ack = self.ask(&request, Duration::from_secs(5)).expect("an answer");
        assert_eq!(ack.yiaddr, offer.yiaddr);
        ack.yiaddr.to_string()
    }

    fn is_refused(&self, n: u8) -> bool {
        self.ask(&discover(n), Duration::from_millis(300)).is_none()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lease(n: u32, until: Timestamp) -> Lease {
    let [a, b, c, d] = n.to_be_bytes();
    let mac = MacAddr([2, 0, a, b, c, d]);
    Lease {
        address: Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 77, 0, 0)) + n),
        holder: Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false },
        hardware: mac.into(),
        state: State::Leased,
        until,
    }
}

fn in_seconds(seconds: u64) -> Timestamp {
    clock::wall().after(Duration::from_secs(seconds)).rounded_up()
}

#[test]
fn leases_are_listed_while_the_server_runs_and_after() {
    let site = Site::new(5);
    assert_eq!(stdout(&site.leases(&[])), format!("no leases in {}\n", site.state().display()));
    assert!(site.json(&["list"]).is_empty());
    let (server, _) = site.serve();
    assert_eq!((site.lease(1), site.lease(2)), (FIRST.to_owned(), "127.77.0.51".to_owned()));
    let listed = stdout(&site.leases(&[]));
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("ADDRESS") && lines.len() == 4, "{listed}");
    assert!(lines[1].starts_with("127.77.0.50  leased  node1  02:00:00:00:00:01"), "{listed}");
    assert!(lines[1].contains("  in 59m ") || lines[1].ends_with("  in 1h"), "{listed}");
    assert_eq!(lines[3], "2 leases: 2 leased");
    assert!(!listed.contains('\x1b'), "colour only on a terminal");

    let expected = |lease: &serde_json::Value| {
        assert_eq!(lease["address"], "127.77.0.51");
        assert_eq!(lease["state"], "leased");
        assert_eq!(lease["mac"], "02:00:00:00:00:02");
        assert_eq!(lease["client_id"], "01:02:00:00:00:00:02");
        assert!(lease["expires"].as_str().unwrap().ends_with('Z'));
        assert!((3500..=3601).contains(&lease["seconds_left"].as_u64().unwrap()), "{lease}");
    };
    expected(&site.json(&[])[1]);
    server.stop();
    assert_eq!(site.json(&["list"]).len(), 2);
    expected(&site.json(&["show", "02-00-00-00-00-02"])[0]);
    let shown = stdout(&site.leases(&["show", FIRST]));
    assert!(shown.contains("hardware   02:00:00:00:00:01\n") && shown.contains("state      leased\n"));

    let none = site.leases(&["show", "127.77.0.99"]);
    assert_eq!((none.status.code(), stderr(&none).contains("no lease of 127.77.0.99")), (Some(1), true));
    assert_eq!(site.leases(&["show", "node1"]).status.code(), Some(2), "neither address nor MAC");
}

#[test]
fn a_release_goes_through_the_running_server_and_is_durable() {
    let site = Site::new(1);
    let (server, _) = site.serve();
    assert_eq!(site.lease(1), FIRST);
    assert!(site.is_refused(2));
    let done = site.leases(&["release", FIRST]);
    assert_eq!(stdout(&done), "released 127.77.0.50 (02:00:00:00:00:01)\n", "{}", stderr(&done));
    assert_eq!(site.json(&[])[0]["state"], "released");
    let again = site.leases(&["release", FIRST]);
    assert_eq!((again.status.code(), stderr(&again).contains("is free already")), (Some(1), true));
    assert_eq!(site.lease(2), FIRST, "the server's book agrees");
    let by_mac = site.json(&["release", "020000000002"]);
    assert_eq!(
        (by_mac[0]["state"].as_str(), by_mac[0]["seconds_left"].as_u64()),
        (Some("released"), Some(0))
    );
    drop(server); // kill -9
    let (_server, _) = site.serve();
    assert_eq!(site.json(&[])[0]["state"], "released");
    assert_eq!(site.lease(3), FIRST);
}

#[test]
fn a_release_without_a_server_is_seen_by_the_next_one() {
    let site = Site::new(1);
    let (server, _) = site.serve();
    assert_eq!(site.lease(1), FIRST);
    server.stop();
    assert!(site.leases(&["release", "02:00:00:00:00:01"]).status.success());
    let (_server, _) = site.serve();
    assert_eq!(site.lease(2), FIRST);
}

#[test]
fn no_command_writes_leases_while_the_server_does_not_answer() {
    let site = Site::new(1);
    let (server, _) = site.serve();
    assert_eq!(site.lease(1), FIRST);
    std::fs::remove_file(site.state().join("control.sock")).unwrap();
    let refused = site.leases(&["release", FIRST]);
    let why = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1));
    let pid = format!("another lanboot (process {}) is using the leases", server.0.id());
    assert!(why.contains(&pid) && why.contains("no server answers at"), "{why}");
    let second = site.lanboot().arg("serve").output().unwrap();
    assert_eq!(second.status.code(), Some(3), "nor is there a second server: {}", stderr(&second));
    assert_eq!(site.json(&[])[0]["state"], "leased");
}

#[test]
fn other_users_may_not_release() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs the tests as root");
        let _ = writeln!(std::io::stderr(), "SKIPPED other_users_may_not_release: run the tests as root");
        return;
    }
    let site = Site::new(1);
    let (_server, _) = site.serve();
    assert_eq!(site.lease(1), FIRST);
    // Removes the file permissions that would block other users, so that only the socket's own check remains.
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(site.folder.path(), 0o777);
    open(&site.state(), 0o777);
    open(&site.state().join("control.sock"), 0o666);
    for file in ["leases.db", "leases.db-wal", "leases.db-shm"] {
        open(&site.state().join(file), 0o666);
    }
    let binary = site.folder.path().join("lanboot");
    support::copy_program(&binary);
    let refused = Command::new(&binary)
        .arg("--config")
        .arg(site.folder.path().join("config.yaml"))
        .args(["leases", "release", FIRST])
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    assert!(
        stderr(&refused).contains("only root, the user that the server runs as and the group lanboot"),
        "{refused:?}"
    );
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(site.json(&[])[0]["state"], "leased");
}

#[test]
fn odd_clients_of_the_control_socket_delay_no_other() {
    let site = Site::new(1);
    let (_server, _) = site.serve();
    let socket = site.state().join("control.sock");
    let say = |text: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // The server may answer and close before it has read the complete request.
        let _ = stream.write_all(text);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    let idle: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("GET /leases/127.77.0.50/release HTTP/1.1\r\n\r\n", "405"),
        ("POST /leases/127.77.0.500/release HTTP/1.1\r\n\r\n", "400"),
        ("POST /leases/127.77.0.50/release HTTP/1.1\r\n\r\n", "404"),
        ("POST /leases/127.77.0.50/release HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\nxx", "413"),
        ("hello\r\n\r\n", "400"),
        // S-16: the Host field must be a known one.
        ("POST /leases/127.77.0.50/release HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
        ("POST http://evil.example/leases/127.77.0.50/release HTTP/1.1\r\nHost: localhost\r\n\r\n", "421"),
        ("POST /leases/127.77.0.50/release HTTP/1.1\r\nHost: localhost:80\r\n\r\n", "404"),
        ("POST /leases/127.77.0.50/release HTTP/1.1\r\nHost: lanboot\r\n\r\n", "404"),
    ] {
        let answer = say(request.as_bytes());
        assert!(answer.contains(status), "{request:?}: {answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20));
    let answer = say(long.as_bytes());
    assert!(answer.is_empty() || answer.contains(" 4"), "{answer}");
    assert_eq!(site.lease(1), FIRST);
    assert!(site.leases(&["release", FIRST]).status.success());
    drop(idle);
}

/// A lease file of another server, in tests/data.
fn foreign(name: &str) -> String {
    format!("{}/tests/data/leases/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn clients_of_an_imported_file_get_their_old_addresses() {
    for name in ["dhcpd.leases", "dnsmasq.leases"] {
        let site = Site::new(5);
        let done = site.leases(&["import", &foreign(name)]);
        let said = stdout(&done);
        assert!(done.status.success() && stderr(&done).is_empty(), "{done:?}");
        assert!(said.starts_with(&format!("imported 3 leases from {}\n", foreign(name))), "{said}");
        assert!(said.contains("not taken: 1 in none of the subnets\n"), "{said}");
        let listed = site.json(&[]);
        assert_eq!(listed.len(), 3);
        assert_eq!(
            (&listed[1]["state"], &listed[1]["expires"]),
            (&"leased".into(), &serde_json::Value::Null)
        );
        assert_eq!(listed[2]["client_id"], "ff:00:00:00:03:00:01:00:01:2c:df:10:ab");
        let (_server, ready) = site.serve();
        assert!(ready.contains("3 leases in "), "{ready}");
        assert_eq!((site.lease(5), site.lease(2)), (FIRST.to_owned(), "127.77.0.51".to_owned()), "{name}");
        assert_eq!(site.lease(9), "127.77.0.53", "what an imported lease holds is nobody else's");
    }
}

#[test]
fn an_import_says_what_it_leaves_out_and_overwrites_nothing() {
    let site = Site::new(5);
    let own = lease(50, in_seconds(3600));
    SqliteStore::open(&site.state()).unwrap().commit(std::slice::from_ref(&own)).unwrap();
    let file = site.folder.path().join("leases");
    std::fs::write(
        &file,
        "lease 127.77.0.50 {\n  ends never;\n  uid \"mine\";\n}\nlease 127.77.0.51 {\n  ends soon;\n}\n\
         lease 127.77.0.52 {\n  ends never;\n  uid \"ab\";\n}\nlease 127.77.0.99 {\n  ends never;\n  uid \"cd\";\n}\n",
    )
    .unwrap();
    let name = file.to_str().unwrap();
    let output = site.leases(&["import", "--json", name]);
    assert_eq!(output.status.code(), Some(1), "an entry cannot be read");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["format"], &report["broken"]), (&"isc".into(), &1.into()));
    assert_eq!(report["imported"][0]["address"], "127.77.0.52");
    assert_eq!(report["not_taken"], serde_json::json!({"taken": 1, "not_in_pool": 1}));
    let problem = &report["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&6.into(), &8.into()));
    let why = stderr(&output);
    let expected = format!("{name}:6:8: expected `never`, `epoch SECONDS` or a moment like");
    assert!(why.starts_with(&expected) && why.contains("1 entry of "), "{why}");
    let stored = SqliteStore::open(&site.state()).unwrap().load().unwrap().0;
    assert_eq!((stored.len(), &stored[0]), (2, &own), "lanboot's own lease is as it was");

    let again = site.leases(&["import", "--from", "isc", name]);
    assert!(
        stdout(&again).contains("imported 0 leases")
            && stdout(&again).contains("2 of addresses that lanboot")
    );
    let wrong = site.leases(&["import", "--from", "dnsmasq", name]);
    assert!(stderr(&wrong).contains(":1:1: expected the end of the lease in seconds"), "{wrong:?}");
    for (content, expected) in [("", "there is no lease in"), ("address,hwaddr\n", "expected `;`")] {
        std::fs::write(&file, content).unwrap();
        let refused = site.leases(&["import", name]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(expected), "{refused:?}");
    }
}

#[test]
fn nothing_is_imported_behind_the_back_of_a_server() {
    let site = Site::new(5);
    let (server, _) = site.serve();
    let refused = site.leases(&["import", &foreign("dhcpd.leases")]);
    let pid = format!("another lanboot (process {}) is using the leases", server.0.id());
    let why = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1));
    assert!(why.contains(&pid) && why.contains("stop it first"), "{why}");
    server.stop();
    assert!(site.json(&[]).is_empty());
    let missing = site.leases(&["import", "/nowhere"]);
    assert!(stderr(&missing).contains("cannot read /nowhere: No such file"), "{missing:?}");
}

/// The migration from another server: lanboot has not run yet, so its state folder may not exist.
#[test]
fn an_import_makes_the_state_folder_without_advice_to_stop_a_server() {
    let site = Site::new(5);
    std::fs::remove_dir(site.state()).unwrap();
    let done = site.leases(&["import", &foreign("dhcpd.leases")]);
    assert!(done.status.success() && stdout(&done).starts_with("imported 3 leases"), "{done:?}");
    assert_eq!(site.json(&[]).len(), 3);
    std::fs::remove_dir_all(site.state()).unwrap();
    std::fs::write(site.state(), "a file").unwrap();
    let refused = site.leases(&["import", &foreign("dhcpd.leases")]);
    let why = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1));
    assert!(why.contains("cannot make the state folder") && why.contains("set `state`"), "{why}");
    assert!(!why.contains("stop"), "{why}");
}

#[test]
fn files_made_by_root_belong_to_the_owner_of_the_folder() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs the tests as root");
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED what_root_makes_belongs_to_the_owner: run the tests as root"
        );
        return;
    }
    let site = Site::new(5);
    chown(site.state(), Some(65534), Some(65534)).unwrap();
    assert!(site.leases(&["import", &foreign("dhcpd.leases")]).status.success());
    let files: Vec<PathBuf> =
        std::fs::read_dir(site.state()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().uid(), 65534, "{}", file.display());
    }
    // The owner of the folder must not be able to make root write outside it.
    let victim = site.folder.path().join("victim");
    std::fs::write(&victim, "as it was").unwrap();
    for name in ["leases.lock", "leases.ballast"] {
        let link = site.state().join(name);
        std::fs::remove_file(&link).unwrap();
        symlink(&victim, &link).unwrap();
        site.leases(&["import", &foreign("dnsmasq.leases")]);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "as it was", "{name}");
        assert_eq!(victim.metadata().unwrap().uid(), 0, "{name}");
        // The import has already removed a link with the ballast's name. Only a complete ballast stays.
        let _ = std::fs::remove_file(&link);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let site = Site::new(1);
    let all: Vec<Lease> = (1..20_000).map(|n| lease(n, in_seconds(60))).collect();
    SqliteStore::open(&site.state()).unwrap().commit(&all).unwrap();
    for arguments in [&["leases"][..], &["leases", "--json"]] {
        let mut command = site.lanboot();
        let mut child =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{first}");
    }
    let text = stdout(&site.leases(&[]));
    let addresses = text.lines().skip(1).filter_map(|line| line.split(' ').next()?.parse::<Ipv4Addr>().ok());
    let addresses: Vec<Ipv4Addr> = addresses.collect();
    assert!(addresses.len() == 19_999 && addresses.is_sorted(), "by number, not by text");
}

#[test]
fn f_06_a_clock_that_was_set_ends_no_lease_and_revives_none() {
    const DAY: i64 = 86_400;
    for step in [DAY, -DAY, -19_000 * DAY] {
        let site = Site::new(5);
        // The files of a server whose system clock was set by `step`. Leases and mark use the server's own clock.
        let wall = clock::wall();
        let steady = Timestamp(wall.0.saturating_add_signed(-step * 1000));
        let mut store = SqliteStore::open(&site.state()).unwrap();
        let until = |seconds| steady.after(Duration::from_secs(seconds)).rounded_up();
        let ended = Timestamp(steady.0 - 60_000);
        store.commit(&[lease(50, until(3600)), lease(51, ended)]).unwrap();
        store.set_clock(ClockMark { steady, wall, boot: None }, 0).unwrap();
        drop(store);

        let left = || {
            let leases = site.json(&[]);
            assert_eq!((&leases[0]["state"], &leases[1]["state"]), (&"leased".into(), &"expired".into()));
            leases[0]["seconds_left"].as_u64().unwrap()
        };
        assert!((3500..=3602).contains(&left()), "set by {step}");
        let (server, _) = site.serve();
        assert!((3500..=3602).contains(&left()), "set by {step}");
        server.stop();
        assert!((3500..=3602).contains(&left()), "set by {step}");
        let mark = LeaseReader::open(&site.state()).unwrap().unwrap().clock().unwrap().unwrap();
        assert!(mark.steady.since(mark.wall).max(mark.wall.since(mark.steady)) < Duration::from_secs(2));
    }
}

#[test]
fn f_06_a_clock_that_was_set_while_the_server_was_down_ends_no_lease() {
    const DAY: i64 = 86_400;
    for step in [DAY, -DAY] {
        let site = Site::new(5);
        let now = Clock::start().mark();
        let boot =
            now.boot.map(|boot| Uptime { up: boot.up.saturating_sub(Duration::from_secs(10)), ..boot });
        // The mark is 10 s old, and since then the clock was set by `step`.
        let then = Timestamp(now.wall.0.saturating_add_signed((-step - 10) * 1000));
        let mut store = SqliteStore::open(&site.state()).unwrap();
        store.commit(&[lease(50, then.after(Duration::from_secs(3600)).rounded_up())]).unwrap();
        store.set_clock(ClockMark { steady: then, wall: then, boot }, 0).unwrap();
        drop(store);

        let left = || site.json(&[])[0]["seconds_left"].as_u64().unwrap();
        assert!((3500..=3592).contains(&left()), "set by {step}");
        let (server, _) = site.serve();
        assert!((3500..=3592).contains(&left()), "set by {step}");
        server.stop();
        assert!((3500..=3592).contains(&left()), "set by {step}");
    }
}

#[test]
fn f_06_a_server_marks_its_boot_before_the_first_lease() {
    let site = Site::new(5);
    let now = Clock::start().mark();
    let other_boot = Uptime { boot_id: Uuid::from_network([9; 16]), up: Duration::from_secs(1) };
    let mut store = SqliteStore::open(&site.state()).unwrap();
    store.set_clock(ClockMark { boot: Some(other_boot), ..now }, 0).unwrap();
    drop(store);
    let (server, _) = site.serve();
    let mark = LeaseReader::open(&site.state()).unwrap().unwrap().clock().unwrap().unwrap();
    assert_eq!(mark.boot.map(|boot| boot.boot_id), now.boot.map(|boot| boot.boot_id));
    server.stop();
}

/// The server deletes leases that ended more than a week ago, in each state, and keeps the others.
#[test]
fn r_49_a_server_deletes_leases_that_ended_a_week_ago() {
    const DAY: u64 = 24 * 3600;
    let lab = Lab::new();
    let state = lab.path().join("state");
    let now = clock::wall().seconds();
    let lease = |n: u8, state: State, days: u64| {
        let mac = MacAddr([2, 0, 0, 0, 7, n]);
        let holder = Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false };
        let until = Timestamp::from_seconds(now - days * DAY);
        Lease { address: Ipv4Addr::new(10, 99, 0, n), holder, hardware: mac.into(), state, until }
    };
    let states = [State::Leased, State::Released, State::Declined];
    let old = (1..4).zip(states).map(|(n, state)| lease(n, state, 8));
    let recent: Vec<Lease> = (4..7).zip(states).map(|(n, state)| lease(n, state, 6)).collect();
    let all: Vec<Lease> = old.chain(recent.clone()).collect();
    std::fs::create_dir_all(&state).unwrap();
    SqliteStore::open(&state).unwrap().commit(&all).unwrap();
    let listed = support::lab::lanboot(&["leases"]).arg("--config").arg(lab.config_file()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("3 leases") && !listed.contains("10.99.0.1 "), "{listed}");
    let serving = lab.serve(&["serve"]);
    let stored = || LeaseReader::open(&state).unwrap().unwrap().load().unwrap().0;
    support::site::until(|| stored().len() == 3, "only recent leases are stored");
    serving.terminate();
    let kept: Vec<Ipv4Addr> = stored().iter().map(|lease| lease.address).collect();
    assert_eq!(kept, recent.iter().map(|lease| lease.address).collect::<Vec<_>>());
}
