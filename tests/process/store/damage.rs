//! Damage to the files of the lease database, each kind at each place. An acknowledged lease is still there at the next
//! start, or that start reports lost leases. The files after a crash are never reported as damaged.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lanboot::lease::{Holder, Lease, State};
use lanboot::store::{ClockMark, LeaseReader, LeaseStore, SqliteStore};
use lanboot::types::{ClientId, MacAddr, Timestamp};
use support::one_busy_at_a_time;

/// Bytes of a page, of the log's header and of a frame's header.
const PAGE: usize = 1024;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + PAGE;
/// The log and the ballast have the length that the store gives them, so that it need not write them for each case.
const LOG_LENGTH: u64 = 5120 * FRAME as u64;
const BALLAST_LENGTH: u64 = 1 << 20;

fn lease(n: u32, until: u64) -> Lease {
    let [a, b, c, d] = n.to_be_bytes();
    let mac = MacAddr([2, 0, a, b, c, d]);
    Lease {
        address: Ipv4Addr::from(0x0a00_0000 + n),
        holder: Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: n.is_multiple_of(3) },
        hardware: mac.into(),
        state: State::Leased,
        until: Timestamp::from_seconds(until),
    }
}

/// A folder in memory, if there is one, because every case syncs.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The files of a state folder, as kill -9 leaves them, and the acknowledged leases.
#[derive(Clone)]
struct Site {
    files: BTreeMap<&'static str, Vec<u8>>,
    acknowledged: Vec<Lease>,
}

const FILES: [&str; 6] =
    ["leases.db", "leases.db-wal", "leases.db-shm", "leases.commits", "leases.lock", "leases.ballast"];

impl Site {
    fn copy(state: &Path, acknowledged: Vec<Lease>) -> Site {
        let mut files = BTreeMap::new();
        for name in FILES {
            let Ok(mut bytes) = fs::read(state.join(name)) else { continue };
            if name == "leases.db-wal" || name == "leases.ballast" {
                // Without the zeros at the end.
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes.truncate(used);
            }
            files.insert(name, bytes);
        }
        Site { files, acknowledged }
    }

    fn write(&self, state: &Path) {
        for (name, bytes) in &self.files {
            fs::write(state.join(name), bytes).unwrap();
        }
        self.stretch(state, "leases.db-wal", LOG_LENGTH);
        self.stretch(state, "leases.ballast", BALLAST_LENGTH);
    }

    fn stretch(&self, state: &Path, name: &str, length: u64) {
        if self.files.contains_key(name) {
            fs::File::options().write(true).open(state.join(name)).unwrap().set_len(length).unwrap();
        }
    }
}

/// A database at four stages of its life: cleanly stopped; killed after more leases; killed after all of the log was
/// moved to the database; and cleanly stopped again.
struct History {
    old: Site,
    killed: Site,
    moved: Site,
    stopped: Site,
}

fn history() -> History {
    let folder = folder();
    let state = folder.path();
    let mark = ClockMark { steady: Timestamp(5_000_000), wall: Timestamp(5_000_001), boot: None };
    let mut store = SqliteStore::open(state).unwrap();
    store.set_clock(mark, 0).unwrap();
    for n in 0..12 {
        store.commit(&[lease(n, 100), lease(n + 20, 100)]).unwrap();
    }
    drop(store);
    let old = Site::copy(state, SqliteStore::open(state).unwrap().load().unwrap().0);

    let mut store = SqliteStore::open(state).unwrap();
    for n in 0..8 {
        store.commit(&[lease(n * 5, 200), lease(n + 50, 200)]).unwrap();
    }
    let killed = Site::copy(state, store.load().unwrap().0);
    let other = rusqlite::Connection::open(state.join("leases.db")).unwrap();
    other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    drop(other);
    let moved = Site::copy(state, store.load().unwrap().0);
    drop(store);
    let stopped = Site::copy(state, moved.acknowledged.clone());
    assert!(old.acknowledged != killed.acknowledged && killed.files["leases.db-wal"].len() > 8 * FRAME);
    History { old, killed, moved, stopped }
}

/// A change to one file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Zero(usize, usize),
    Delete,
    Old,
}

/// Damage at every significant place, and at intervals elsewhere.
fn damages(name: &str, length: usize) -> Vec<Damage> {
    let is_telling = |at: usize| match name {
        "leases.db" => at < 100 || at % PAGE < 12,
        "leases.db-wal" => {
            at < LOG_HEADER || (at - LOG_HEADER) % FRAME < FRAME_HEADER && at.is_multiple_of(2)
        }
        "leases.commits" => at % 256 < 160 && at.is_multiple_of(7),
        _ => at < 8,
    };
    let stride = if name == "leases.db-shm" { 2999 } else { 71 };
    let mut damages: Vec<Damage> = (0..length)
        .filter(|at| is_telling(*at) || at % stride == 0)
        .map(|at| Damage::Flip(at, 1 << (at % 8)))
        .collect();
    let (begin, unit) = if name == "leases.db-wal" { (LOG_HEADER, FRAME) } else { (0, PAGE) };
    for boundary in (begin..=length).step_by(unit) {
        damages.extend([-1, 0, 1].map(|by| Damage::Cut(boundary.saturating_add_signed(by).min(length))));
        damages.push(Damage::Zero(boundary, unit));
    }
    damages.extend([
        Damage::Cut(0),
        Damage::Cut(length / 2),
        Damage::Zero(0, length),
        Damage::Zero(0, LOG_HEADER),
    ]);
    damages.extend([Damage::Delete, Damage::Old]);
    damages
}

fn damaged(site: &Site, old: &Site, name: &'static str, damage: &Damage) -> Site {
    let mut site = site.clone();
    let bytes = site.files.get_mut(name).unwrap();
    match damage {
        Damage::Flip(at, bit) => bytes[*at] ^= bit,
        Damage::Cut(at) => bytes.truncate(*at),
        Damage::Zero(at, count) => {
            let end = (at + count).min(bytes.len());
            bytes[*at..end].fill(0);
        }
        Damage::Delete => drop(site.files.remove(name)),
        Damage::Old => match old.files.get(name) {
            Some(older) => bytes.clone_from(older),
            None => drop(site.files.remove(name)),
        },
    }
    site
}

/// Starts the store. Returns `Err` with the leases found, if an acknowledged lease is lost and the start does not
/// report it.
fn start(site: &Site) -> Result<Option<String>, String> {
    start_and_commit(site, true)
}

/// The same, with a second start if `twice`.
fn start_and_commit(site: &Site, twice: bool) -> Result<Option<String>, String> {
    let folder = folder();
    site.write(folder.path());
    // Reads the leases as `lanboot leases` does, before the server starts.
    let read = LeaseReader::open(folder.path()).and_then(|reader| match reader {
        Some(reader) => reader.load(),
        None => Ok((Vec::new(), 0, LeaseReader::lost_with_database(folder.path()))),
    });
    if let Ok((leases, _, losses)) = read
        && losses.is_empty()
        && leases != site.acknowledged
    {
        return Err(format!("the reader finds {} leases, without a word", leases.len()));
    }
    let mut store = match SqliteStore::open(folder.path()) {
        Ok(store) => store,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let said: Vec<&str> = store.findings().lines().collect();
    let said = (!said.is_empty()).then(|| said.join("\n"));
    let (leases, _) = store.load().unwrap();
    if said.is_none() && leases != site.acknowledged {
        return Err(format!("the store finds {} leases, without a word", leases.len()));
    }
    // The store works.
    let more = lease(90, 300);
    store.commit(std::slice::from_ref(&more)).map_err(|error| format!("it takes no lease: {error}"))?;
    drop(store);
    if !twice {
        return Ok(said);
    }
    // The next start finds the stored leases and reports nothing.
    let again = SqliteStore::open(folder.path()).map_err(|error| format!("the second start: {error}"))?;
    if again.lease(more.address).unwrap() != Some(more) || again.findings().lines().next().is_some() {
        return Err(format!("the second start finds {:?}", again.findings()));
    }
    Ok(said)
}

/// Runs `case` for each of `cases` in as many threads as are useful. Returns the failures.
fn in_threads<T: Sync>(cases: &[T], case: impl Fn(&T) -> Option<String> + Sync) -> Vec<String> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(one) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Before the lock is taken, so that the threads do not wait for each other.
            let failure = case(one);
            failures.lock().unwrap().extend(failure);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn s_05_no_damage_to_any_file_loses_a_lease_silently() {
    let _busy = one_busy_at_a_time();
    let history = history();
    let sites = [("killed", &history.killed), ("moved", &history.moved), ("stopped", &history.stopped)];
    let mut cases = Vec::new();
    for (when, site) in sites {
        assert_eq!(start(site), Ok(None), "undamaged, {when}");
        for (name, bytes) in &site.files {
            let all = damages(name, bytes.len()).into_iter();
            // The other two differ little from the first.
            let some = all.enumerate().filter(|(at, damage)| {
                when == "killed" || !matches!(damage, Damage::Flip(..)) || at % 5 == 0
            });
            cases.extend(some.map(|(_, damage)| (when, site, *name, damage)));
        }
    }
    let reports = AtomicUsize::new(0);
    let failures = in_threads(&cases, |(when, site, name, damage)| {
        // The second start takes longer, because it creates another log.
        let twice = !matches!(damage, Damage::Flip(at, _) if !at.is_multiple_of(5));
        match start_and_commit(&damaged(site, &history.old, name, damage), twice) {
            Ok(said) => {
                reports.fetch_add(usize::from(said.is_some()), Ordering::Relaxed);
                None
            }
            Err(why) => Some(format!("{when}, {name}, {damage:?}: {why}")),
        }
    });
    println!("{} cases, {} of them reported", cases.len(), reports.into_inner());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn s_05_lost_commits_are_counted() {
    let history = history();
    let said = |name, damage| start(&damaged(&history.killed, &history.old, name, &damage)).unwrap().unwrap();
    let log = said("leases.db-wal", Damage::Flip(LOG_HEADER + FRAME + FRAME_HEADER + 100, 1));
    assert!(
        log.contains("lost the last 7 commits of ") || log.contains("lost the last 8 commits of "),
        "{log}"
    );
    assert!(said("leases.db-wal", Damage::Cut(0)).contains("lost the last 8 commits of "));
    assert!(said("leases.db-wal", Damage::Delete).contains("lost the last 8 commits of "));
    let cases = [(Damage::Cut(0), "leases.db"), (Damage::Delete, "leases.db")];
    for (damage, name) in cases {
        let lines = said(name, damage);
        assert!(lines.starts_with("starting with 0 leases in "), "{lines}");
        assert!(lines.contains("lost the lease database in ") && lines.contains("(21 commits)"), "{lines}");
    }
    let uncounted = said("leases.commits", Damage::Delete);
    assert!(uncounted.contains("leases.commits is missing"), "{uncounted}");
}

#[test]
fn s_05_a_damaged_log_is_found_without_the_count() {
    let history = history();
    let mut site = history.killed.clone();
    // As after a power cut: the count is far behind, so only the log itself shows the commits that follow the damage.
    site.files.insert("leases.commits", history.old.files["leases.commits"].clone());
    assert_eq!(start(&site), Ok(None), "a count that is behind is no damage");
    let log = site.files["leases.db-wal"].len();
    for at in [LOG_HEADER + 4, LOG_HEADER + FRAME + 9, LOG_HEADER + FRAME + 20, LOG_HEADER + FRAME + 500, 20]
    {
        assert!(at < log);
        let damaged = damaged(&site, &history.old, "leases.db-wal", &Damage::Flip(at, 4));
        let said = start(&damaged).unwrap().unwrap_or_default();
        assert!(said.contains("the log of ") && said.contains(" is damaged: "), "at {at}: {said:?}");
    }
}

#[test]
fn s_05_an_empty_folder_is_said_once() {
    let folder = folder();
    let store = SqliteStore::open(folder.path()).unwrap();
    let said: Vec<String> = store.findings().lines().map(str::to_owned).collect();
    assert_eq!(said.len(), 1);
    let begin = format!("starting with 0 leases in {}: ", folder.path().display());
    assert!(said[0].starts_with(&begin), "{said:?}");
    drop(store);
    // Killed before the first commit.
    let mut store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(store.findings().lines().count(), 1);
    store.commit(&[lease(1, 100)]).unwrap();
    drop(store);
    assert_eq!(SqliteStore::open(folder.path()).unwrap().findings().lines().count(), 0);
    let other = rusqlite::Connection::open(folder.path().join("leases.db")).unwrap();
    other.execute("DELETE FROM leases", []).unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let said: Vec<&str> = store.findings().lines().collect();
    assert!(said.len() == 2 && said[0].starts_with(&begin) && said[1].contains("removed leases"), "{said:?}");
}

#[test]
fn s_05_what_a_power_cut_leaves_is_no_damage() {
    let folder = folder();
    let state = folder.path();
    let mut store = SqliteStore::open(state).unwrap();
    let mut sites = vec![Site::copy(state, vec![])];
    for n in 0..6 {
        // Some commits have many frames.
        let batch: Vec<Lease> = (0..n * 20 + 1).map(|m| lease(m * 7 + n, u64::from(n) + 1)).collect();
        store.commit(&batch).unwrap();
        sites.push(Site::copy(state, store.load().unwrap().0));
    }
    drop(store);
    // The last commit is torn: each of its frames may be there or not. The count may be from any earlier commit.
    let mut cases = Vec::new();
    for (n, (before, after)) in sites.iter().zip(sites.iter().skip(1)).enumerate() {
        let (from, to) = (before.files["leases.db-wal"].len(), after.files["leases.db-wal"].len());
        let (first, last) =
            (from.saturating_sub(LOG_HEADER).div_ceil(FRAME), (to - LOG_HEADER).div_ceil(FRAME));
        for torn in first..last {
            for noted in 1..=n {
                cases.push((before, after, torn, noted));
            }
        }
    }
    let failures = in_threads(&cases, |(before, after, torn, noted)| {
        let mut site = (*after).clone();
        let log = site.files.get_mut("leases.db-wal").unwrap();
        let begin = LOG_HEADER + torn * FRAME;
        let end = (begin + FRAME).min(log.len());
        log[begin..end].fill(0);
        site.files.insert("leases.commits", sites[*noted].files["leases.commits"].clone());
        site.acknowledged.clone_from(&before.acknowledged);
        match start(&site) {
            Ok(None) => None,
            other => Some(format!("frame {torn} torn, count of commit {noted}: {other:?}")),
        }
    });
    assert!(failures.is_empty() && cases.len() > 20, "{} cases:\n{}", cases.len(), failures.join("\n"));
}

fn put_elsewhere(state: &Path) -> PathBuf {
    let elsewhere = tempfile::tempdir_in(state.parent().unwrap()).unwrap().keep();
    fs::rename(state, &elsewhere).unwrap();
    elsewhere
}

#[test]
fn s_06_a_database_that_is_gone_is_written_again() {
    type Blow = fn(&Path);
    let blows: [(&str, Blow); 14] = [
        ("the database deleted", |state| fs::remove_file(state.join("leases.db")).unwrap()),
        ("the log deleted", |state| fs::remove_file(state.join("leases.db-wal")).unwrap()),
        ("the index deleted", |state| fs::remove_file(state.join("leases.db-shm")).unwrap()),
        ("the lock deleted", |state| fs::remove_file(state.join("leases.lock")).unwrap()),
        ("the folder deleted", |state| fs::remove_dir_all(state).unwrap()),
        ("the folder renamed", |state| drop(put_elsewhere(state))),
        ("another folder in its place", |state| {
            put_elsewhere(state);
            drop(SqliteStore::open(&folder_at(state)).unwrap());
        }),
        ("the database replaced", |state| {
            let copy = state.join("copy");
            fs::copy(state.join("leases.db"), &copy).unwrap();
            fs::rename(copy, state.join("leases.db")).unwrap();
        }),
        ("the database renamed", |state| {
            fs::rename(state.join("leases.db"), state.join("leases.db.bak")).unwrap();
        }),
        ("the log overwritten with zeros", |state| {
            let length = state.join("leases.db-wal").metadata().unwrap().len();
            overwrite(&state.join("leases.db-wal"), &vec![0; length as usize]);
        }),
        ("a bit of the log flipped", |state| {
            let mut bytes = fs::read(state.join("leases.db-wal")).unwrap();
            let frames = LOG_HEADER..bytes.iter().rposition(|byte| *byte != 0).unwrap();
            for frame in frames.step_by(FRAME) {
                bytes[frame + FRAME - 10] ^= 1;
            }
            overwrite(&state.join("leases.db-wal"), &bytes);
        }),
        ("the database overwritten in place", |state| {
            let length = state.join("leases.db").metadata().unwrap().len();
            overwrite(&state.join("leases.db"), &vec![0x5a; length as usize]);
        }),
        ("the database emptied", |state| drop(fs::File::create(state.join("leases.db")).unwrap())),
        ("the log emptied", |state| drop(fs::File::create(state.join("leases.db-wal")).unwrap())),
    ];
    for (what, blow) in blows {
        let parent = folder();
        let state = folder_at(&parent.path().join("state"));
        let mut store = SqliteStore::open(&state).unwrap();
        store.commit(&[lease(1, 100), lease(2, 100)]).unwrap();
        store.commit(&[lease(3, 100)]).unwrap();
        blow(&state);
        store.commit(&[lease(2, 200), lease(4, 100)]).unwrap_or_else(|error| panic!("{what}: {error}"));
        store.maintain().unwrap();
        let expected = vec![lease(1, 100), lease(2, 200), lease(3, 100), lease(4, 100)];
        // As kill -9 leaves it.
        let killed = Site::copy(&state, expected.clone());
        assert_eq!(start(&killed), Ok(None), "{what}");
        let reader = LeaseReader::open(&state).unwrap().unwrap();
        assert_eq!(reader.load().unwrap(), (expected.clone(), 0, vec![]), "{what}");
        // Without a commit, a check of the files finds it too.
        blow(&state);
        store.maintain().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(start(&Site::copy(&state, expected)), Ok(None), "{what}, while idle");
    }
}

/// Overwrites an existing file, some time after its last change, because file systems store times in milliseconds.
fn overwrite(path: &Path, bytes: &[u8]) {
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, 0).unwrap();
}

fn folder_at(path: &Path) -> PathBuf {
    fs::create_dir_all(path).unwrap();
    path.to_owned()
}

#[test]
fn s_06_no_lease_is_given_while_the_folder_cannot_be_made_again() {
    let parent = folder();
    let state = folder_at(&parent.path().join("state"));
    let mut store = SqliteStore::open(&state).unwrap();
    store.commit(&[lease(1, 100)]).unwrap();
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "in the way").unwrap();
    for _ in 0..2 {
        let error = store.commit(&[lease(2, 100)]).unwrap_err().to_string();
        assert!(error.contains("was deleted or renamed; "), "{error}");
    }
    assert!(store.maintain().is_err());
    fs::remove_file(&state).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    store.maintain().unwrap();
    store.commit(&[lease(3, 100)]).unwrap();
    drop(store);
    let leases = SqliteStore::open(&state).unwrap().load().unwrap().0;
    assert_eq!(leases, [lease(1, 100), lease(3, 100)]);
}

#[test]
fn s_06_a_server_that_took_the_folder_meanwhile_keeps_it() {
    let parent = folder();
    let state = folder_at(&parent.path().join("state"));
    let mut first = SqliteStore::open(&state).unwrap();
    first.commit(&[lease(1, 100)]).unwrap();
    put_elsewhere(&state);
    let mut second = SqliteStore::open(&folder_at(&state)).unwrap();
    second.commit(&[lease(2, 100)]).unwrap();
    let error = first.commit(&[lease(3, 100)]).unwrap_err().to_string();
    assert!(error.contains("another lanboot"), "{error}");
    second.commit(&[lease(4, 100)]).unwrap();
    drop((first, second));
    let leases = SqliteStore::open(&state).unwrap().load().unwrap().0;
    assert_eq!(leases, [lease(2, 100), lease(4, 100)]);
}

#[test]
fn changes_by_other_programs_are_taken_for_right() {
    let folder = folder();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    store.commit(&[lease(1, 100), lease(2, 100)]).unwrap();
    let other = rusqlite::Connection::open(folder.path().join("leases.db")).unwrap();
    // While the server runs. A commit of the server follows.
    other.execute("UPDATE leases SET until = 500 WHERE address = 0x0a000001", []).unwrap();
    store.commit(&[lease(3, 100)]).unwrap();
    // A backup that checkpoints the log is no damage either.
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    store.commit(&[lease(4, 100)]).unwrap();
    drop(store);
    other.execute("DELETE FROM leases WHERE address = 0x0a000002", []).unwrap();
    drop(other);
    let mut store = SqliteStore::open(folder.path()).unwrap();
    let said: Vec<&str> = store.findings().lines().collect();
    assert!(said.len() == 1 && said[0].contains("another program removed leases"), "{said:?}");
    assert_eq!(store.load().unwrap().0, [lease(1, 500), lease(3, 100), lease(4, 100)]);
    store.commit(&[lease(5, 100)]).unwrap();
    drop(store);
    assert_eq!(SqliteStore::open(folder.path()).unwrap().load().unwrap().0.len(), 4);
}

#[test]
fn r_49_the_database_is_seen_only_when_it_is_whole() {
    for _ in 0..20 {
        let folder = folder();
        let state = folder.path().to_owned();
        let opened = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop(SqliteStore::open(&state).unwrap());
                opened.store(1, Ordering::Relaxed);
            });
            while opened.load(Ordering::Relaxed) == 0 {
                if let Some(reader) = LeaseReader::open(&state).unwrap() {
                    assert_eq!(reader.load().unwrap(), (vec![], 0, vec![]));
                }
            }
        });
    }
}
