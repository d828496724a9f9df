//! Faults and attacks against the real server. Each test is named after its row in docs/robustness.md.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lanboot::dhcp::engine::MAX_WAIT;
use lanboot::lease::{Holder, Lease, State};
use lanboot::probe::Kind;
use lanboot::store::{LeaseStore, SqliteStore};
use lanboot::types::{ClientId, MacAddr, Timestamp};
use lanboot::wire::dhcp::{Message, MessageType};

use nix::sys::signal::Signal;
use support::client::{Client, resident, resident_of};
use support::lab::{self, Lab, Serving};
use support::one_at_a_time;
use support::site::until;

/// A process that is killed on drop.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A small file system in memory, unmounted on drop.
struct Disk(tempfile::TempDir);

impl Disk {
    /// A file system of 1 MiB, which is too small for the log's reserve and the ballast. `None` if this process may not
    /// mount one; see `need` for the consequence.
    fn mount() -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "lanboot-test"])
            .arg(folder.path())
            .output()
            .unwrap();
        if mount.status.success() {
            return Some(Disk(folder));
        }
        let why = String::from_utf8_lossy(&mount.stderr).trim().to_owned();
        support::cannot(&format!("mount a tmpfs, which takes root ({why})"));
        None
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Fills the disk completely.
    fn fill(&self) {
        use std::io::Write;
        let mut file = fs::File::create(self.filler()).unwrap();
        for size in [65536, 4096, 512, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn f_04_a_full_disk_under_the_real_server() {
    let _alone = one_at_a_time();
    if !support::need("mount", "mount") {
        return;
    }
    let Some(disk) = Disk::mount() else { return };
    let lab = Lab::new();
    std::os::unix::fs::symlink(disk.0.path(), lab.path().join("state")).unwrap();
    let serving = lab.serve(&["serve"]);
    let mut old = Client::new(&lab, 1);
    let address = old.lease().expect("a lease while there is space");
    let mut given = vec![(address, old.hardware())];

    disk.fill();
    // Every renewal gets an answer, even the first one that cannot be stored.
    let began = Instant::now();
    while old.renew(address).expect("a stored lease is confirmed").options.u32(51) == Some(600) {
        // Only stored leases are confirmed without the disk. The wait gives the server time to learn that the last one
        // is stored.
        std::thread::sleep(Duration::from_millis(20));
        assert!(began.elapsed() < Duration::from_secs(5), "a full disk takes no renewals for 5 s");
    }
    // Free pages in the log of the database may still take some leases. These are as durable as any other.
    let mut failed = None;
    for n in 2..200 {
        let mut client = Client::new(&lab, n);
        let offered = client.ask(MessageType::Discover, &[]).expect("an offer needs no disk").yiaddr;
        match client.take(offered) {
            Some(_) => given.push((offered, client.hardware())),
            None => {
                failed = Some((client, offered));
                break;
            }
        }
    }
    let (mut refused, offered) = failed.expect("a full disk takes no 200 leases");
    serving.wait_for("reason=store_failed");
    for _ in 0..3 {
        let ack = old.renew(address).expect("a stored lease is confirmed");
        let left = ack.options.u32(51).unwrap();
        assert!(ack.yiaddr == address && (590..600).contains(&left), "what is left of 600 s: {left}");
        assert!(refused.take(offered).is_none(), "and no new one is given");
    }

    fs::remove_file(disk.filler()).unwrap();
    let freed = Instant::now();
    while refused.take(offered).is_none() {
        assert!(freed.elapsed() < Duration::from_secs(1), "there is space again");
    }
    given.push((offered, refused.hardware()));
    assert_eq!(old.renew(address).unwrap().options.u32(51), Some(600), "whole again");
    serving.kill_9();
    let stored = lab.leases();
    for (address, hardware) in given {
        assert!(
            stored.contains(&(address.to_string(), hardware, "leased".to_owned())),
            "{address}: {stored:?}"
        );
    }
    drop(disk);
}

/// The number of machines that have boots in `journeys.db`.
fn stored_machines(lab: &Lab) -> i64 {
    let connection = rusqlite::Connection::open(lab.path().join("state/journeys.db")).unwrap();
    connection.query_row("SELECT count(DISTINCT mac) FROM boots", [], |row| row.get(0)).unwrap_or(0)
}

#[test]
fn boots_are_stored_again_when_a_full_disk_has_room() {
    let _alone = one_at_a_time();
    if !support::need("mount", "mount") {
        return;
    }
    let Some(disk) = Disk::mount() else { return };
    let lab = Lab::new();
    std::os::unix::fs::symlink(disk.0.path(), lab.path().join("state")).unwrap();
    let serving = lab.serve(&["serve"]);
    lab::boot(lab.ports, Kind::UefiX64, 7);
    until(|| stored_machines(&lab) == 1, "the boot is stored");
    disk.fill();
    // DHCP goes on, and boots are followed.
    lab::boot(lab.ports, Kind::UefiX64, 7);
    lab::ask(lab.ports, Kind::UefiX64, 8);
    let line = serving.wait_for("boots are followed in memory but not stored in");
    assert!(line.contains("WARN") && line.contains("journeys.db") && line.contains("make room"), "{line}");
    lab::ask(lab.ports, Kind::UefiX64, 9);
    assert_eq!(stored_machines(&lab), 1);
    fs::remove_file(disk.filler()).unwrap();
    serving.wait_for("boots are stored again");
    until(|| stored_machines(&lab) == 3, "the boots of the other machines are stored");
    let (_, log) = serving.terminate();
    let warnings = log.iter().filter(|line| line.contains("not stored in")).count();
    assert_eq!(warnings, 1, "{log:#?}");
    drop(disk);
}

/// The library that makes syncs fail or block, built in the lab's folder.
fn build_shim(lab: &Lab) -> PathBuf {
    let shim = lab.path().join("eio.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/eio.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).args([source, "-ldl"]).status();
    assert!(built.unwrap().success());
    shim
}

#[test]
fn f_05_after_a_failed_sync_the_database_is_written_again() {
    if !support::need("cc", "gcc") {
        return;
    }
    let lab = Lab::new();
    let shim = build_shim(&lab);
    let [once, retried] = ["once", "retried"].map(|name| lab.path().join(name));
    let serving = lab.serve_with(&[("LD_PRELOAD", &shim), ("EIO_ONCE", &once), ("EIO_RETRIED", &retried)]);
    let mut clients: Vec<Client> = (1..=3).map(|n| Client::new(&lab, n)).collect();
    let mut given = vec![clients[0].lease().expect("a lease while the disk works")];
    for client in &mut clients[1..] {
        fs::write(&once, "").unwrap();
        given.push(client.lease().expect("a lease when the disk works again"));
        assert!(!once.exists(), "a sync has failed");
    }
    serving.wait_for("the disk failed: ");
    serving.kill_9();
    assert!(!retried.exists(), "the descriptor of the failed sync was trusted again");
    let stored = lab.leases();
    for (address, client) in given.into_iter().zip(&clients) {
        let lease = (address.to_string(), client.hardware(), "leased".to_owned());
        assert!(stored.contains(&lease), "{lease:?} in {stored:?}");
    }
}

#[test]
fn s_16_renewals_are_answered_while_a_sync_is_slow() {
    let _alone = one_at_a_time();
    const CLIENTS: u16 = 40;
    if !support::need("cc", "gcc") {
        return;
    }
    let lab = Lab::new();
    let (shim, slow) = (build_shim(&lab), lab.path().join("slow"));
    let serving = lab.serve_with(&[("LD_PRELOAD", &shim), ("SLOW", &slow)]);
    let mut clients: Vec<Client> = (1..=CLIENTS).map(|n| Client::new(&lab, n)).collect();
    let addresses: Vec<Ipv4Addr> = clients.iter_mut().map(|client| client.lease().unwrap()).collect();
    let mut new = Client::new(&lab, 1000);
    let offered = new.ask(MessageType::Discover, &[]).unwrap().yiaddr;

    fs::write(&slow, "").unwrap();
    // All at the same moment, and then again, because the answer to the first may have been lost.
    for round in 0..3 {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for (client, address) in clients.iter_mut().zip(&addresses) {
                client.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                scope.spawn(move || {
                    let ack = client.renew(*address).expect("an answer within a second");
                    let left = ack.options.u32(51).unwrap();
                    assert!(
                        ack.yiaddr == *address && (580..=600).contains(&left),
                        "{left} s in round {round}"
                    );
                });
            }
        });
        assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    }
    assert!(new.take(offered).is_none(), "nothing new is promised while it is not stored");
    assert!(new.ask(MessageType::Discover, &[]).is_some(), "an offer needs no disk");
    fs::remove_file(&slow).unwrap();
    let began = Instant::now();
    while new.take(offered).is_none() {
        assert!(began.elapsed() < Duration::from_secs(2), "the disk is fast again");
    }
    assert_eq!(clients[0].renew(addresses[0]).unwrap().options.u32(51), Some(600));
    serving.kill_9();
    let stored = lab.leases();
    for (address, client) in addresses.iter().zip(&clients).chain([(&offered, &new)]) {
        let lease = (address.to_string(), client.hardware(), "leased".to_owned());
        assert!(stored.contains(&lease), "{lease:?} in {stored:?}");
    }
}

#[test]
fn s_05_a_start_says_that_it_has_no_leases_or_lost_some() {
    let lab = Lab::new();
    let state = lab.path().join("state");
    let serving = lab.serve(&["serve"]);
    let new = format!("starting with 0 leases in {}", state.display());
    assert!(serving.wait_for(&new).contains("WARN"));
    let mut clients: Vec<Client> = (1..=6).map(|n| Client::new(&lab, n)).collect();
    let addresses: Vec<Ipv4Addr> = clients.iter_mut().map(|client| client.lease().unwrap()).collect();
    serving.kill_9();

    // A kill without damage is not logged.
    let serving = lab.serve(&["serve"]);
    assert_eq!(serving.count("starting with 0 leases") + serving.count("lost"), 0);
    for (client, address) in clients.iter_mut().zip(&addresses) {
        assert_eq!(client.renew(*address).map(|ack| ack.yiaddr), Some(*address));
    }
    serving.kill_9();

    // One bit in the log flips. SQLite drops the rest of the log silently.
    let log = state.join("leases.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    bytes[32 + 24 + 500] ^= 1;
    fs::write(&log, bytes).unwrap();
    let listed = lab.run(&["leases"]);
    let said = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(said.contains("lost the last ") || said.contains("damaged"), "{said}");
    let serving = lab.serve_silently(&["serve"]);
    let line = serving.wait_for(" commits ");
    assert!(line.contains("ERROR") && line.contains("lost the last "), "{line}");
    let _ = serving.terminate();

    // The folder is deleted while no server runs.
    fs::remove_dir_all(&state).unwrap();
    let serving = lab.serve(&["serve"]);
    assert!(serving.wait_for(&new).contains("WARN"));
}

#[test]
fn r_50_the_control_socket_is_made_again_with_the_state_folder() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let state = lab.path().join("state");
    let serving = lab.serve(&["serve"]);
    // The server may write a file there at the same moment.
    while let Err(error) = fs::remove_dir_all(&state) {
        assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
    }
    let line = serving.wait_for("the control socket");
    assert!(line.contains("WARN") && line.contains("is made again"), "{line}");
    std::os::unix::net::UnixStream::connect(state.join("control.sock")).expect("commands reach the server");
}

#[test]
fn s_06_and_r_50_a_deleted_state_folder_is_noticed_and_written_again() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let state = lab.path().join("state");
    let serving = lab.serve(&["serve"]);
    let mut clients: Vec<Client> = (1..=4).map(|n| Client::new(&lab, n)).collect();
    let mut given: Vec<Ipv4Addr> = clients.iter_mut().map(|client| client.lease().unwrap()).collect();

    // No client sends anything meanwhile.
    fs::remove_dir_all(&state).unwrap();
    let began = Instant::now();
    let line = serving.wait_for(" no lease is given until all 4 leases are written again");
    assert!(line.contains("ERROR") && line.contains("was deleted"), "{line}");
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(serving.wait_for("leases are given again").contains("INFO"));

    // Leases end at whole seconds. A lease keeps all of its time within the second in which it began.
    std::thread::sleep(Duration::from_secs(1));

    // The folder cannot be created again, because a file has its name. Clients with a lease keep it, and no other
    // client gets one.
    fs::remove_dir_all(&state).unwrap();
    while fs::write(&state, "").is_err() {
        // lanboot was faster, or is creating files at this moment. It tries again only a second later.
        let _ = fs::remove_dir_all(&state);
    }
    let mut new = Client::new(&lab, 5);
    let offered = new.ask(MessageType::Discover, &[]).unwrap().yiaddr;
    assert!(new.take(offered).is_none());
    let ack = clients[0].renew(given[0]).expect("a stored lease is confirmed");
    let left = ack.options.u32(51).unwrap();
    assert!((590..600).contains(&left), "what is left of 600 s: {left}");
    fs::remove_file(&state).unwrap();
    let began = Instant::now();
    while new.take(offered).is_none() {
        assert!(began.elapsed() < Duration::from_secs(4), "the folder can be made again");
    }
    given.push(offered);
    clients.push(new);

    // Only the log is deleted, and a lease follows at once.
    fs::remove_file(state.join("leases.db-wal")).unwrap();
    let mut last = Client::new(&lab, 6);
    given.push(last.lease().expect("a lease in the new log"));
    clients.push(last);
    serving.kill_9();
    let stored = lab.leases();
    assert_eq!(stored.len(), 6);
    for (address, client) in given.iter().zip(&clients) {
        let lease = (address.to_string(), client.hardware(), "leased".to_owned());
        assert!(stored.contains(&lease), "{lease:?} in {stored:?}");
    }
    let serving = lab.serve(&["serve"]);
    assert_eq!(serving.count("lost") + serving.count("starting with 0"), 0);
}

#[test]
fn f_01_a_server_with_a_hundred_thousand_leases_is_ready_in_half_a_second() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let text = lab.config().replace("127.77.0.50-127.77.255.99", "127.64.0.0-127.79.255.255");
    lab.write_config(&text);
    let state = lab.path().join("state");
    fs::create_dir(&state).unwrap();
    let lease = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        let mac = MacAddr([2, 1, a, b, c, d]);
        Lease {
            address: Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + n),
            holder: Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false },
            hardware: mac.into(),
            state: State::Leased,
            until: Timestamp::from_seconds(4_000_000_000),
        }
    };
    let leases: Vec<Lease> = (0..100_000).map(lease).collect();
    SqliteStore::open(&state).unwrap().commit(&leases).unwrap();
    let began = Instant::now();
    let serving = lab.serve(&["serve"]);
    let took = began.elapsed();
    serving.wait_for("100000 leases in ");
    println!("ready with 100,000 leases after {took:?}");
    // An unoptimised build takes several times as long.
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 3000 } else { 500 });
    assert!(took < bound, "{took:?}");
}

/// Whether every thread of the process is stopped by a signal (proc_pid_stat(5)).
fn is_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let states = threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
    states.into_iter().all(|state| state.contains(") T "))
}

#[test]
fn s_14_after_a_pause_old_requests_are_dropped_and_new_ones_answered() {
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    let (mut old, mut new) = (Client::new(&lab, 1), Client::new(&lab, 2));
    let address = old.lease().unwrap();
    serving.signal(Signal::SIGSTOP);
    // The signal stops the threads one after the other.
    let began = Instant::now();
    while !is_stopped(serving.pid()) {
        assert!(began.elapsed() < lab::PATIENCE, "it runs on");
    }
    for kind in [MessageType::Discover, MessageType::Release] {
        let options: &[(u8, &[u8])] = &[(54, &[127, 0, 0, 1])];
        let options = if kind == MessageType::Release { options } else { &[] };
        let message = Message { ciaddr: address, ..old.message(kind, options) };
        old.socket.send(&message.encode()).unwrap();
    }
    std::thread::sleep(MAX_WAIT + Duration::from_millis(500));
    serving.signal(Signal::SIGCONT);
    serving.wait_for("reason=stale");
    serving.wait_for(&format!("released(lo) {address}"));
    assert!(new.lease().is_some());
}

#[test]
fn f_15_an_exhausted_pool_is_one_line_with_advice() {
    let lab = Lab::new();
    lab.write_config(&lab.config().replace("127.77.0.50-127.77.255.99", "127.77.0.50-127.77.0.51"));
    let serving = lab.serve(&["serve"]);
    for n in 1..=2 {
        Client::new(&lab, n).lease().expect("there are two addresses");
    }
    for n in 3..13 {
        let mut client = Client::new(&lab, n);
        client.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(client.ask(MessageType::Discover, &[]).is_none());
    }
    let line = serving.wait_for("exhausted(lo) 127.0.0.0/8");
    assert!(line.contains("of a pool of 2: enlarge `pool`, shorten `lease`"), "{line}");
    let (_, lines) = serving.terminate();
    let said = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        (said("exhausted(lo)"), said("dropped in all: 10 reason=pool_exhausted")),
        (1, 1),
        "{lines:?}"
    );
}

/// Duration of the attack. `STARVATION_SECONDS=60` gives the figure of the row.
fn seconds_of_starvation() -> u64 {
    std::env::var("STARVATION_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(5)
}

/// DISCOVERs per second, each with another MAC.
const STARVATION_RATE: u64 = 10_000;

#[test]
fn attack_starvation_by_random_macs_keeps_no_configured_machine_from_booting() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let text = lab.config().replace("127.77.0.50-127.77.255.99", "127.77.0.50-127.77.3.250");
    lab.write_config(&format!(
        "{text}machines:\n  - {{name: node1, mac: '02:00:00:00:00:c8', address: 127.77.9.9}}\n"
    ));
    // Without a log line for each message, which would test the pipe instead.
    let serving = lab.serve_silently(&["serve", "--log", "warn"]);
    let started = Instant::now();
    while Client::new(&lab, 1).lease().is_none() {
        assert!(started.elapsed() < lab::PATIENCE, "it does not start");
    }
    let lasts = Duration::from_secs(seconds_of_starvation());
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        scope.spawn(|| starve(&lab, &stop, &sent));
        let began = Instant::now();
        while began.elapsed() < lasts {
            std::thread::sleep(Duration::from_millis(500));
            let start = Instant::now();
            let boot = lab::boot(lab.ports, Kind::UefiX64, 0xc8);
            slowest = slowest.max(start.elapsed());
            assert!(boot.content == lab::content("snponly.efi"), "{:?}", boot.last);
            assert_eq!(boot.address, Some(Ipv4Addr::new(127, 77, 9, 9)));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let sent = sent.into_inner();
    println!("{sent} DISCOVERs in {lasts:?}; the slowest boot took {slowest:?}; {} KiB", resident(&serving));
    assert!(sent > lasts.as_secs() * STARVATION_RATE / 2, "this machine is too slow for the attack: {sent}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(serving.count("exhausted(lo)"), 1 + usize::try_from(lasts.as_secs() / 60).unwrap());
}

/// Sends DISCOVERs with forged MACs, at [`STARVATION_RATE`] per second.
fn starve(lab: &Lab, stop: &AtomicBool, sent: &AtomicU64) {
    let mut attacker = Client::new(lab, 1);
    attacker.socket.set_nonblocking(true).unwrap();
    let (began, mut reply) = (Instant::now(), [0; 1500]);
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_millis() as u64 * STARVATION_RATE / 1000;
        while number < due {
            number += 1;
            // Visits all numbers, in an order that looks random.
            let [.., a, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
            attacker.mac = [6, 6, a, b, c, d];
            let discover = attacker.message(MessageType::Discover, &[]);
            sent.fetch_add(u64::from(attacker.socket.send(&discover.encode()).is_ok()), Ordering::Relaxed);
        }
        while attacker.socket.recv(&mut reply).is_ok() {}
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reads a child's log until a line contains `text`. Returns the lines.
fn read_until(log: &mut impl BufRead, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ends without {text:?}: {lines:#?}");
        lines.push(line);
        if lines.last().is_some_and(|line| line.contains(text)) {
            return lines;
        }
    }
}

#[test]
fn f_20_an_unread_log_delays_no_client_and_losses_are_counted() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let mut command = lab::lanboot(&["--log", "debug", "serve", "--config"]);
    command.arg(lab.config_file()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut serving = Killed(command.spawn().unwrap());
    let mut log = BufReader::new(serving.0.stdout.take().unwrap());
    read_until(&mut log, "TFTP on ");

    // From here on no process reads the log. The pipe is full after some hundred lines, and the queue in front of it
    // soon after.
    let mut client = Client::new(&lab, 1);
    let before = resident_of(serving.0.id());
    // Each kind of line has its own budget, so the test needs many kinds.
    for n in 0..1200 {
        assert!(client.ask(MessageType::Discover, &[]).is_some(), "message {n} has no answer");
        send_every_kind_that_is_dropped(&mut client);
    }
    assert!(Client::new(&lab, 2).lease().is_some());
    let grown = resident_of(serving.0.id()) - before;
    assert!(grown < 8 * 1024, "{grown} KiB wait for the log");

    // When a reader returns, the log reports the missing lines and continues.
    let asks = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while asks.load(Ordering::Relaxed) {
                client.ask(MessageType::Discover, &[]);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Ends the thread also if the next lines panic, because the scope waits for it.
        let _ending = Ending(&asks);
        let lines = read_until(&mut log, " lines of this log are missing here or before");
        assert!(lines.len() > 100, "what waited was written: {lines:?}");
    });

    // The server stops on request, even if the log is blocked again.
    for _ in 0..1200 {
        let message = client.message(MessageType::Discover, &[]);
        client.socket.send(&message.encode()).unwrap();
        send_every_kind_that_is_dropped(&mut client);
    }
    let pid = nix::unistd::Pid::from_raw(serving.0.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let began = Instant::now();
    while serving.0.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < lab::PATIENCE, "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sets the flag to false when it is dropped.
struct Ending<'f>(&'f AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Sends messages that the server drops, each for another reason and therefore with another kind of line.
fn send_every_kind_that_is_dropped(client: &mut Client) {
    let server = [127, 0, 0, 1];
    let elsewhere = [10, 9, 9, 9];
    let discover = client.message(MessageType::Discover, &[]);
    let messages = [
        Message { op: 2, ..discover.clone() },
        client.message(MessageType::Offer, &[]),
        client.message(MessageType::Request, &[(50, &[1])]),
        client.message(MessageType::Request, &[(50, &elsewhere), (54, &elsewhere)]),
        client.message(MessageType::Request, &[(50, &[127, 77, 200, 1])]),
        client.message(MessageType::Decline, &[(50, &[127, 77, 200, 2]), (54, &server)]),
        Message { giaddr: Ipv4Addr::from(elsewhere), ..discover.clone() },
    ];
    for message in messages {
        client.socket.send(&message.encode()).unwrap();
    }
    let mut bytes = discover.encode();
    client.socket.send(&bytes[..100]).unwrap();
    bytes[2] = 17;
    client.socket.send(&bytes).unwrap();
}

/// Number of machines that are switched on at once. `STORM_MACHINES=10000` gives the figure of the row.
fn machines_of_storm() -> u32 {
    std::env::var("STORM_MACHINES").ok().and_then(|machines| machines.parse().ok()).unwrap_or(400)
}

#[test]
fn f_13_a_storm_of_machines_boots_every_one_in_bounded_memory() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    // A log line for each step of each machine would test the pipe instead.
    let serving = lab.serve_silently(&["serve", "--log", "warn"]);
    let started = Instant::now();
    while Client::new(&lab, 0xffff).lease().is_none() {
        assert!(started.elapsed() < lab::PATIENCE, "it does not start");
    }
    let before = resident(&serving);
    let [dhcp, tftp] = [lab.ports.dhcp, lab.ports.tftp].map(|port| port.to_string());
    let machines = machines_of_storm();
    let mut probe =
        lab::lanboot(&["probe", "--server", "127.0.0.1", "--collect", "0", "--arch", "bios", "--json"]);
    probe.args(["--dhcp-port", &dhcp, "--tftp-port", &tftp, "--count", &machines.to_string()]);
    let output = probe.output().unwrap();
    let grown = resident(&serving) - before;
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{grown} KiB more; {summary}");
    assert_eq!(summary["booted"], machines, "{summary}");
    assert!(grown < 64 * 1024, "{grown} KiB more for {machines} machines at once");
    assert_eq!(serving.count("reason=overload"), 0);
}

#[test]
fn f_14_without_descriptors_leases_are_still_given() {
    let lab = Lab::new();
    let command = format!(
        "ulimit -n 64; exec {} serve --log error --config {}",
        env!("CARGO_BIN_EXE_lanboot"),
        lab.config_file().display()
    );
    let _serving = Killed(Command::new("sh").args(["-c", &command]).spawn().unwrap());
    let started = Instant::now();
    while Client::new(&lab, 1).lease().is_none() {
        assert!(started.elapsed() < lab::PATIENCE, "it does not start");
    }
    // More connections than there are descriptors left.
    let held: Vec<_> =
        (0..150).map_while(|_| std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).ok()).collect();
    assert!(held.len() > 64, "{}", held.len());
    for n in 2..20 {
        let mut client = Client::new(&lab, n);
        let address = client.lease().expect("a lease without a descriptor");
        assert!(client.renew(address).is_some(), "a lease is confirmed");
    }
}

/// Number of descriptors that the server has for the unix socket at `path`. Other descriptors open and close meanwhile,
/// and do not count.
fn descriptors_of_socket(serving: &Serving, path: &Path) -> usize {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let path = path.to_str().unwrap();
    // Num RefCount Protocol Flags Type St Inode Path
    let at_path = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let at_path = at_path.filter(|columns| columns.get(7) == Some(&path));
    let inodes: HashSet<String> = at_path.map(|columns| format!("socket:[{}]", columns[6])).collect();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", serving.pid())).unwrap();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| inodes.contains(target.to_str().unwrap_or_default())).count()
}

#[test]
fn d_17_connections_held_open_take_sixteen_descriptors_and_no_lease() {
    let _alone = one_at_a_time();
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    Client::new(&lab, 2).lease().expect("it serves");
    let memory = resident(&serving);
    let control = lab.path().join("state/control.sock");
    let path = socket2::SockAddr::unix(&control).unwrap();
    let connect = |_| {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        // When the kernel's queue for the server is full, a connection attempt fails.
        socket.connect(&path).ok().map(|()| socket)
    };
    let held: Vec<_> = (0..10_000).map_while(connect).collect();
    assert!(held.len() > 64, "{} connections", held.len());
    let began = Instant::now();
    while descriptors_of_socket(&serving, &control) < 1 + 16 {
        assert!(began.elapsed() < lab::PATIENCE, "it takes fewer than it may");
    }
    std::thread::sleep(Duration::from_millis(200));
    let open = descriptors_of_socket(&serving, &control);
    assert_eq!(open, 1 + 16, "the socket that listens, and its connections");
    assert!(resident(&serving) - memory < 2048, "KiB more than {memory}");
    let address = Client::new(&lab, 1).lease().expect("a lease meanwhile");
    drop(held);
    let released = lab.run(&["leases", "release", &address.to_string()]);
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
}

/// A socket at which the server's keep-alives arrive, as systemd reads them.
fn keep_alives(lab: &Lab) -> (UnixDatagram, PathBuf) {
    let path = lab.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(lab::PATIENCE)).unwrap();
    (socket, path)
}

/// Waits for the next keep-alive. False if none arrives in time.
fn is_alive(socket: &UnixDatagram) -> bool {
    let mut bytes = [0; 4096];
    while let Ok(length) = socket.recv(&mut bytes) {
        if bytes[..length].split(|byte| *byte == b'\n').any(|line| line == b"WATCHDOG=1") {
            return true;
        }
    }
    false
}

#[test]
fn f_17_a_server_that_hangs_sends_no_keep_alives() {
    if !support::need("cc", "gcc") {
        return;
    }
    let lab = Lab::new();
    let ((socket, notify), shim) = (keep_alives(&lab), build_shim(&lab));
    let [slow, hang] = ["slow", "hang"].map(|name| lab.path().join(name));
    let time = Path::new("400000");
    let variables = [("WATCHDOG_USEC", time), ("NOTIFY_SOCKET", &notify), ("LD_PRELOAD", &shim)];
    let serving = lab.serve_with(&[&variables[..], &[("SLOW", &slow), ("HANG", &hang)]].concat());
    let mut client = Client::new(&lab, 1);
    let address = client.lease().expect("a lease");
    assert!(is_alive(&socket) && is_alive(&socket));

    // A slow disk is no hang: only new leases wait for it.
    fs::write(&slow, "").unwrap();
    let mut new = Client::new(&lab, 2);
    assert!(new.lease().is_none(), "it waits for the disk");
    assert!((0..5).all(|_| is_alive(&socket)));
    fs::remove_file(&slow).unwrap();

    fs::write(&hang, "").unwrap();
    let _ = client.renew(address);
    // The keep-alives that were sent before are read first.
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let began = Instant::now();
    while is_alive(&socket) {
        assert!(began.elapsed() < lab::PATIENCE, "the loop that hangs answers");
    }
    fs::remove_file(&hang).unwrap();
    socket.set_read_timeout(Some(lab::PATIENCE)).unwrap();
    assert!(is_alive(&socket), "the loop goes on");
    drop(serving);
}
