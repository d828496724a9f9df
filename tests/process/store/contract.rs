//! One contract for every lease store, and the promises of the durable store.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lanboot::lease::{Holder, Lease, State};
use lanboot::store::{ClockMark, LeaseReader, LeaseStore, MemoryStore, SqliteStore, Uptime};
use lanboot::types::{ClientId, MacAddr, Timestamp, Uuid};
use support::{one_at_a_time, one_busy_at_a_time};

fn lease(n: u8, until: u64) -> Lease {
    Lease {
        address: Ipv4Addr::new(192, 168, 77, n),
        holder: Holder {
            client: ClientId::of_mac(MacAddr([2, 0, 0, 0, 0, n])),
            mac: Some(MacAddr([2, 0, 0, 0, 0, n])),
            is_boot_stage: n == 2,
        },
        hardware: MacAddr([2, 0, 0, 0, 0, n]).into(),
        state: State::Leased,
        until: Timestamp::from_seconds(until),
    }
}

fn keeps_what_was_committed(store: &mut dyn LeaseStore) {
    assert_eq!(store.load().unwrap(), (vec![], 0));
    store.commit(&[lease(1, 100), lease(2, 100)]).unwrap();
    store.commit(&[]).unwrap();
    let released = Lease { state: State::Released, ..lease(2, 50) };
    let declined = Lease { state: State::Declined, ..lease(3, 700) };
    store.commit(&[lease(1, 200), released.clone(), declined.clone()]).unwrap();
    let (mut leases, skipped) = store.load().unwrap();
    leases.sort_by_key(|lease| lease.address);
    assert_eq!((leases, skipped), (vec![lease(1, 200), released.clone(), declined.clone()], 0));

    assert_eq!(store.clock().unwrap(), None);
    let forever = lease(4, Timestamp(u64::MAX).seconds());
    store.commit(std::slice::from_ref(&forever)).unwrap();
    let boot = Some(Uptime { boot_id: Uuid::from_network([0xb0; 16]), up: Duration::from_millis(3_000_003) });
    let mark = ClockMark { steady: Timestamp(1_000_001), wall: Timestamp(1_000_002), boot };
    store.set_clock(mark, 1000).unwrap();
    assert_eq!(store.clock().unwrap(), Some(mark));
    let untils = |store: &mut dyn LeaseStore| -> Vec<u64> {
        store.load().unwrap().0.iter().map(|lease| lease.until.seconds()).collect()
    };
    let never = forever.until.seconds();
    assert_eq!(untils(store), [1200, 1050, 1700, never]);
    store.set_clock(mark, -1100).unwrap();
    assert_eq!(untils(store), [100, 0, 600, never], "no time before 1970");
    store.set_clock(mark, 0).unwrap();
    assert_eq!(untils(store), [100, 0, 600, never]);
    let mark = ClockMark { boot: None, ..mark };
    store.set_clock(mark, 0).unwrap();
    assert_eq!(store.clock().unwrap(), Some(mark), "a machine that does not say which boot it is");
}

#[test]
fn every_store_keeps_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    keeps_what_was_committed(&mut MemoryStore::default());
    keeps_what_was_committed(&mut SqliteStore::open(folder.path()).unwrap());
}

fn purges_what_ended_before(store: &mut dyn LeaseStore) {
    let released = Lease { state: State::Released, ..lease(2, 50) };
    let declined = Lease { state: State::Declined, ..lease(3, 60) };
    let forever = lease(5, Timestamp(u64::MAX).seconds());
    let kept = [lease(4, 100), forever];
    store.commit(&[lease(1, 99), released, declined, kept[0].clone(), kept[1].clone()]).unwrap();
    assert_eq!(store.purge(Timestamp::from_seconds(40)).unwrap(), 0);
    assert_eq!(store.load().unwrap().0.len(), 5);
    assert_eq!(store.purge(Timestamp::from_seconds(100)).unwrap(), 3);
    assert_eq!(store.purge(Timestamp::from_seconds(100)).unwrap(), 0);
    assert_eq!(store.load().unwrap().0, kept);
    store.commit(&[lease(1, 200)]).unwrap();
    assert_eq!(store.load().unwrap().0, [lease(1, 200), kept[0].clone(), kept[1].clone()]);
}

#[test]
fn r_49_every_store_deletes_leases_that_ended() {
    purges_what_ended_before(&mut MemoryStore::default());
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    purges_what_ended_before(&mut store);
    let leases = store.load().unwrap();
    drop(store);
    let mut store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(store.findings().losses, [""; 0], "deleted rows are not lost");
    assert_eq!(store.load().unwrap(), leases);
}

/// One purge makes one commit with a bounded number of rows. All of them together reach every row, also if the rows to
/// keep come first.
#[test]
fn r_49_old_leases_are_deleted_in_bounded_batches() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    let old_from = 25_000;
    let all: Vec<Lease> = (0..27_000).map(|n| numbered(n, if n < old_from { 200 } else { 50 })).collect();
    store.commit(&all).unwrap();
    let mut deleted = Vec::new();
    while deleted.iter().sum::<usize>() < 2000 {
        deleted.push(store.purge(Timestamp::from_seconds(100)).unwrap());
        assert!(deleted.len() < 20, "{deleted:?}");
    }
    assert!(deleted.iter().all(|deleted| *deleted <= 256), "{deleted:?}");
    assert_eq!(store.load().unwrap().0, all[..old_from as usize]);
    drop(store);
    assert_eq!(SqliteStore::open(folder.path()).unwrap().load().unwrap().0.len(), old_from as usize);
}

#[test]
fn a_failed_commit_changes_nothing() {
    let mut store = MemoryStore::default();
    let broken = store.failure_switch();
    store.commit(&[lease(1, 100)]).unwrap();
    broken.store(true, Ordering::Relaxed);
    assert!(store.commit(&[lease(1, 200), lease(2, 100)]).is_err());
    assert_eq!(store.load().unwrap().0, [lease(1, 100)]);
}

#[test]
fn sqlite_reads_back_after_reopening_and_skips_rows_that_are_no_leases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.db");
    SqliteStore::open(folder.path()).unwrap().commit(&[lease(1, 100)]).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute(
        "INSERT INTO leases VALUES (-5, x'0102', x'', 0, 0, 10), (7, x'', x'', 0, 0, 10), \
         (8, x'0102', x'', 0, 9, 10)",
        [],
    )
    .unwrap();
    assert_eq!(SqliteStore::open(folder.path()).unwrap().load().unwrap(), (vec![lease(1, 100)], 3));
    let shown: String =
        raw.query_row("SELECT address FROM lease_list WHERE hardware <> ''", [], |row| row.get(0)).unwrap();
    assert_eq!(shown, "192.168.77.1");
}

#[test]
fn only_ethernet_hardware_has_a_mac_again() {
    let folder = tempfile::tempdir().unwrap();
    let mac = [2, 0, 0, 0, 0, 1];
    let id = |id: &[u8]| ClientId::new(6, &mac, Some(id)).unwrap();
    let ring = Holder { client: ClientId::new(6, &mac, None).unwrap(), mac: None, is_boot_stage: false };
    let system = Holder { client: id(b"\xff\0\0\0\x01"), ..lease(1, 0).holder };
    let bare = Holder { client: id(&[0, 2, 0, 0, 0, 0, 1]), ..lease(1, 0).holder };
    for holder in [ring, system, bare] {
        let lease = Lease { holder, ..lease(1, 100) };
        SqliteStore::open(folder.path()).unwrap().commit(std::slice::from_ref(&lease)).unwrap();
        assert_eq!(SqliteStore::open(folder.path()).unwrap().load().unwrap().0, [lease]);
    }
}

#[test]
fn a_newer_or_broken_database_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.db");
    drop(SqliteStore::open(folder.path()).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("leases.db") && error.contains("schema version 99"), "{error}");
    std::fs::write(&path, "this is not a database, whatever its name says it is").unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("leases.db"), "{error}");
}

#[test]
fn a_database_of_an_older_version_is_read_and_takes_the_whole_mark_and_the_older_version_reads_it_again() {
    let folder = tempfile::tempdir().unwrap();
    SqliteStore::open(folder.path()).unwrap().commit(&[lease(1, 100)]).unwrap();
    let raw = rusqlite::Connection::open(folder.path().join("leases.db")).unwrap();
    raw.execute_batch("ALTER TABLE clock DROP COLUMN boot_id; ALTER TABLE clock DROP COLUMN up").unwrap();
    let mark_it = "INSERT OR REPLACE INTO clock (id, steady, wall) VALUES (0, 1001, 1002)";
    raw.execute(mark_it, []).unwrap();
    let old = ClockMark { steady: Timestamp(1001), wall: Timestamp(1002), boot: None };
    let reader = LeaseReader::open(folder.path()).unwrap().unwrap();
    assert_eq!(reader.clock().unwrap(), Some(old), "before a server opens it");
    let mut store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!((store.load().unwrap(), store.clock().unwrap()), ((vec![lease(1, 100)], 0), Some(old)));
    let boot = Some(Uptime { boot_id: Uuid::from_network([7; 16]), up: Duration::from_millis(3003) });
    store.set_clock(ClockMark { boot, ..old }, 0).unwrap();
    assert_eq!(reader.clock().unwrap(), Some(ClockMark { boot, ..old }));
    drop(store);
    raw.execute(mark_it, []).unwrap();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(store.clock().unwrap(), Some(old), "what the older version wrote says nothing of a boot");
}

#[test]
fn only_one_process_writes_and_others_may_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(LeaseReader::open(folder.path()).unwrap().is_none());
    let mut store = SqliteStore::open(folder.path()).unwrap();
    store.commit(&[lease(1, 100), lease(2, 100)]).unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("another lanboot (process {})", std::process::id())), "{error}");
    let reader = LeaseReader::open(folder.path()).unwrap().unwrap();
    assert_eq!(reader.load().unwrap().0.len(), 2);
    assert_eq!(reader.lease(lease(2, 0).address).unwrap(), Some(lease(2, 100)));
    assert_eq!(reader.lease(lease(3, 0).address).unwrap(), None);
    store.commit(&[lease(2, 300)]).unwrap();
    assert_eq!(reader.lease(lease(2, 0).address).unwrap(), Some(lease(2, 300)));
    drop(store);
    SqliteStore::open(folder.path()).unwrap();
}

/// Set by [`child`]: the folder that a child of this test binary works on instead of testing.
const ROLE: &str = "LANBOOT_TEST_STORE";

/// A command that runs test `name` of this binary again, in the role of a child that uses `state`.
fn child(name: &str, state: &Path) -> Vec<std::ffi::OsString> {
    let exe = env::current_exe().unwrap();
    let name = support::test_name(module_path!(), name);
    let mut role = std::ffi::OsString::from(format!("{ROLE}="));
    role.push(state);
    ["env".into(), role, exe.into(), "--exact".into(), name.into(), "--nocapture".into()].into()
}

fn role() -> Option<PathBuf> {
    env::var_os(ROLE).map(PathBuf::from)
}

/// Leases per commit. All of them end at the number of the commit.
const BATCH: u8 = 32;

/// Commits until the process is killed, and reports each commit that returned.
fn commit_without_end(state: &Path) -> ! {
    let mut store = SqliteStore::open(state).unwrap();
    let first = store.load().unwrap().0.first().map_or(1, |lease| lease.until.seconds() + 1);
    let mut out = std::io::stdout();
    for number in first.. {
        let batch: Vec<Lease> = (0..BATCH).map(|n| lease(n, number)).collect();
        store.commit(&batch).unwrap();
        writeln!(out, "stored {number}").unwrap();
    }
    unreachable!()
}

#[test]
fn f_01_f_02_kill_9_loses_nothing_that_was_reported_and_tears_no_commit() {
    let _busy = one_busy_at_a_time();
    const ROUNDS: u32 = 20;
    if let Some(state) = role() {
        commit_without_end(&state);
    }
    let name = "f_01_f_02_kill_9_loses_nothing_that_was_reported_and_tears_no_commit";
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..ROUNDS {
        let command = child(name, folder.path());
        let mut child = Command::new(&command[0]).args(&command[1..]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut reported = 0;
        let mut note = |line: String| {
            // The test harness does not end its own line before the first one.
            let number = line.rsplit_once("stored ").and_then(|(_, number)| number.parse().ok());
            reported = number.unwrap_or(reported);
            number.is_some()
        };
        assert!(lines.by_ref().any(&mut note), "the child commits");
        // Each round kills at another moment of a commit.
        let until = Instant::now() + Duration::from_micros(u64::from(round) * 1370);
        while Instant::now() < until {
            note(lines.next().unwrap());
        }
        child.kill().unwrap();
        for line in lines {
            note(line);
        }
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let mut store = SqliteStore::open(folder.path()).unwrap();
        assert_eq!(store.findings().losses, [""; 0], "a crash is no damage");
        let (leases, skipped) = store.load().unwrap();
        drop(store);
        let stored = leases[0].until.seconds();
        assert!(reported > last, "round {round} did something");
        assert!((reported..=reported + 1).contains(&stored), "{reported} was reported, {stored} is there");
        assert_eq!(leases, (0..BATCH).map(|n| lease(n, stored)).collect::<Vec<_>>(), "whole commits only");
        assert_eq!(skipped, 0);
        last = reported;
    }
}

/// Runs test `name` again in the role of a child, with an empty filesystem of `size` KiB that disappears with the
/// process.
fn in_small_filesystem(name: &str, size: u32) {
    if !support::need("unshare", "util-linux") || !support::need("mount", "mount") {
        return;
    }
    let rights: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["--map-root-user"] };
    let unshare = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.arg("--mount").args(rights).args(arguments);
        command
    };
    if !unshare(&["true"]).output().unwrap().status.success() {
        assert!(env::var("CI").as_deref() != Ok("true"), "CI may mount filesystems");
        let _ =
            writeln!(std::io::stderr(), "SKIPPED {name}: run the tests as root, for mounting a filesystem");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = format!(r#"mount -t tmpfs -o size={size}k,mode=700 none "$0" && exec "$@""#);
    let mut command = unshare(&["sh", "-c", &mount]);
    let output = command.arg(folder.path()).args(child(name, folder.path())).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn f_04_a_full_disk_fails_commits_keeps_what_was_stored_and_heals() {
    let _alone = one_at_a_time();
    let Some(state) = role() else {
        let name = "f_04_a_full_disk_fails_commits_keeps_what_was_stored_and_heals";
        return in_small_filesystem(name, 1024);
    };
    let mut store = SqliteStore::open(&state).unwrap();
    store.commit(&[lease(1, 100)]).unwrap();
    let ballast = state.join("ballast");
    std::fs::write(&ballast, vec![0; 2 << 20]).unwrap_err();
    // The log may still have room for some leases: large commits, then the smallest.
    let mut until = 100;
    let mut error = String::new();
    for size in [255, 1, 1] {
        error = loop {
            let batch: Vec<Lease> = (1..=size).map(|n| lease(n, until + 1)).collect();
            match store.commit(&batch) {
                Ok(()) => until += 1,
                Err(error) => break error.to_string(),
            }
        };
    }
    assert!(error.contains("leases.db") && error.contains("make room on its filesystem"), "{error}");
    assert_eq!(store.load().unwrap().0[0], lease(1, until), "the last one that was stored");
    let reader = LeaseReader::open(&state).unwrap().unwrap();
    assert_eq!(reader.lease(lease(1, 0).address).unwrap(), Some(lease(1, until)));
    drop(reader);

    std::fs::remove_file(&ballast).unwrap();
    let began = Instant::now();
    store.commit(&[lease(1, 9999)]).unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(store);
    assert_eq!(SqliteStore::open(&state).unwrap().load().unwrap().0[0], lease(1, 9999));
}

#[test]
fn f_04_on_a_full_disk_the_ballast_makes_room_for_the_log_and_comes_back() {
    let _alone = one_at_a_time();
    let Some(state) = role() else {
        let name = "f_04_on_a_full_disk_the_ballast_makes_room_for_the_log_and_comes_back";
        return in_small_filesystem(name, 10 * 1024);
    };
    let mut store = SqliteStore::open(&state).unwrap();
    let ballast = state.join("leases.ballast");
    assert_eq!(ballast.metadata().unwrap().len(), 1 << 20);
    assert!(state.join("leases.db-wal").metadata().unwrap().len() > 4 << 20, "the log has its room already");
    std::fs::write(state.join("filler"), vec![0; 16 << 20]).unwrap_err();
    let (mut n, mut after) = (0, 0);
    let error = loop {
        let batch: Vec<Lease> = (n..n + 100).map(|n| numbered(n, 100)).collect();
        match store.commit(&batch) {
            Ok(()) => n += 100,
            Err(error) => break error.to_string(),
        }
        after += u32::from(!ballast.exists());
    };
    assert!(after > 10 && error.contains("make room on its filesystem"), "{after} commits without: {error}");
    assert!(!ballast.exists());
    std::fs::remove_file(state.join("filler")).unwrap();
    std::thread::sleep(Duration::from_millis(5100));
    let began = Instant::now();
    store.commit(&[numbered(n, 100)]).unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(ballast.metadata().unwrap().len(), 1 << 20, "made again");
    drop(store);
    let all: Vec<Lease> = (0..=n).map(|n| numbered(n, 100)).collect();
    assert_eq!(SqliteStore::open(&state).unwrap().load().unwrap(), (all, 0));
}

#[test]
fn f_05_a_read_only_disk_is_refused_at_start_and_works_once_it_can_be_written() {
    let Some(state) = role() else {
        let name = "f_05_a_read_only_disk_is_refused_at_start_and_works_once_it_can_be_written";
        return in_small_filesystem(name, 4096);
    };
    let mut store = SqliteStore::open(&state).unwrap();
    store.commit(&[lease(1, 100)]).unwrap();
    drop(store);
    let remount = |how: &str| {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&state).status().unwrap().success());
    };
    remount("ro");
    let error = SqliteStore::open(&state).unwrap_err().to_string();
    assert!(error.contains("leases.lock") && error.contains("Read-only file system"), "{error}");
    remount("rw");
    let mut store = SqliteStore::open(&state).unwrap();
    store.commit(&[lease(2, 100)]).unwrap();
    assert_eq!(store.load().unwrap().0.len(), 2);
}

#[test]
fn a_database_that_may_not_be_written_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(folder.path()).unwrap());
    // Root may write to any file regardless of its mode, but not to a folder as if it were a file.
    let path = folder.path().join("leases.db");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("leases.db") && error.contains("must be able to write it"), "{error}");
}

#[test]
fn a_damaged_page_is_found_at_the_start_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.db");
    let all: Vec<Lease> = (0..20_000).map(|n| numbered(n, 100)).collect();
    SqliteStore::open(folder.path()).unwrap().commit(&all).unwrap();
    let sound = std::fs::read(&path).unwrap();
    for place in [1, 2, 10] {
        let mut damaged = sound.clone();
        let start = sound.len() * place / 11 / 1024 * 1024;
        damaged[start..start + 1024].fill(0x5a);
        std::fs::write(&path, &damaged).unwrap();
        let error = SqliteStore::open(folder.path()).unwrap_err().to_string();
        for part in ["leases.db", "it is damaged; restore it from a backup, or move the file away"] {
            assert!(error.contains(part), "{error}");
        }
    }
    std::fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    assert!(SqliteStore::open(folder.path()).unwrap_err().to_string().contains("it is damaged"));
    std::fs::write(&path, sound).unwrap();
    assert_eq!(SqliteStore::open(folder.path()).unwrap().load().unwrap(), (all, 0));
}

#[test]
fn a_quarter_of_a_million_leases_are_all_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<Lease> = (0..250_000).map(|n| numbered(n, u64::from(n))).collect();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    all.chunks(1000).for_each(|batch| store.commit(batch).unwrap());
    drop(store);
    let began = Instant::now();
    let (leases, skipped) = SqliteStore::open(folder.path()).unwrap().load().unwrap();
    println!("opened, checked and loaded {} leases in {:?}", leases.len(), began.elapsed());
    assert!(leases == all && skipped == 0);
}

/// The `n`th lease of 10.0.0.0/8.
fn numbered(n: u32, until: u64) -> Lease {
    let [a, b, c, d] = n.to_be_bytes();
    let mac = MacAddr([2, 0, a, b, c, d]);
    let holder = Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false };
    let address = Ipv4Addr::from(0x0a00_0000 + n);
    Lease { address, holder, hardware: mac.into(), ..lease(0, until) }
}
