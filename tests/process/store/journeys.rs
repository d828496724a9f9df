//! Boots are kept over restarts: kill -9, damaged files of each kind, a full disk, a file that is taken away.

use std::fs;
use std::path::{Path, PathBuf};

use lanboot::journey::Journeys;
use lanboot::journey::boot::BootId;
use lanboot::journey::stored::{Key, encode_boot, encode_machine, read_boot};
use lanboot::journey::unsaved::{ChangedRow, ChangedRows};
use lanboot::probe::Kind;
use lanboot::store::journeys::{open, read_events};
use lanboot::types::Timestamp;
use serde_json::Value;
use support::lab::{self, Lab, Serving};
use support::site::until;

const MAC: &str = "02:00:00:00:00:07";

fn why(lab: &Lab) -> Value {
    let output = lab.run(&["why", MAC, "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn boots(lab: &Lab) -> Vec<Value> {
    why(lab)["boots"].as_array().cloned().unwrap_or_default()
}

fn database(lab: &Lab) -> PathBuf {
    lab.path().join("state/journeys.db")
}

/// The number of boots in the database.
fn stored(lab: &Lab) -> u64 {
    let connection = rusqlite::Connection::open(database(lab)).unwrap();
    let count = "SELECT count(*) FROM boots WHERE started > 0";
    u64::try_from(connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap_or(0)).unwrap()
}

/// A lab whose database has one boot, after kill -9.
fn lab_with_a_boot() -> (Lab, Value) {
    let lab = Lab::new();
    let server = lab.serve(&["serve"]);
    lab::boot(lab.ports, Kind::UefiX64, 7);
    until(|| stored(&lab) == 1, "the boot is stored");
    // Its events may be stored one batch later.
    let has_events =
        || fs::read(database(&lab)).is_ok_and(|b| b.windows(12).any(|some| some == b"DHCPDISCOVER"));
    until(has_events, "the events are stored");
    let before = boots(&lab);
    server.kill_9();
    assert_eq!(before.len(), 1);
    (lab, before[0].clone())
}

/// Starts the server again, and waits until it has loaded the boots.
fn serve(lab: &Lab) -> Serving {
    lab.serve(&["serve"])
}

#[test]
fn a_boot_survives_kill_9_and_ids_stay_unique() {
    let (lab, before) = lab_with_a_boot();
    let server = serve(&lab);
    until(|| !boots(&lab).is_empty(), "the boot is loaded");
    let after = boots(&lab);
    assert_eq!((after.len(), &after[0]["id"]), (1, &before["id"]));
    let events = |boot: &Value| boot["events"].as_array().unwrap().clone();
    assert!(events(&after[0]).len() > 5, "{:#?}", after[0]);
    assert_eq!(events(&after[0])[0], events(&before)[0]);
    let last = events(&after[0]).last().unwrap().clone();
    assert_eq!(last["event"], "restarted", "{last}");
    assert!(after[0]["verdict"].is_null(), "silence that nobody listened to");
    let output = lab.run(&["why", MAC]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("lanboot did not run"), "{output:?}");
    lab::boot(lab.ports, Kind::UefiX64, 7);
    until(|| boots(&lab).len() == 2, "the second boot is there");
    let after = boots(&lab);
    assert_ne!(after[0]["id"], after[1]["id"]);
    // A reload changes nothing.
    assert!(lab.run(&["reload"]).status.success());
    assert_eq!(boots(&lab).len(), 2);
    let (status, log) = server.terminate();
    assert!(status.success() && !log.iter().any(|line| line.contains("journeys.db")), "{log:#?}");
    assert_eq!(stored(&lab), 2, "the last boot is stored when the server stops");
}

#[test]
fn a_damaged_file_is_reported_and_kept_aside() {
    let (lab, _) = lab_with_a_boot();
    let whole = fs::read(database(&lab)).unwrap();
    type Damage = (&'static str, fn(&mut Vec<u8>));
    let kinds: [Damage; 6] = [
        ("empty", Vec::clear),
        ("cut off", |bytes| bytes.truncate(5000)),
        ("no database", |bytes| bytes[..16].fill(b'x')),
        ("other version", |bytes| bytes[63] = 99),
        ("zeros", |bytes| bytes[4096..].fill(0)),
        ("a bit of a boot", |bytes| {
            let place = bytes.windows(12).position(|some| some == b"DHCPDISCOVER").unwrap();
            bytes[place] ^= 1;
        }),
    ];
    for (kind, damage) in kinds {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(database(&lab), &bytes).unwrap();
        let server = serve(&lab);
        let line = server.wait_for("journeys.db is damaged or of another version");
        assert!(line.contains("WARN") && line.contains("journeys.db.aside"), "{kind}: {line}");
        assert_eq!(fs::read(lab.path().join("state/journeys.db.aside")).unwrap(), bytes, "{kind}");
        // It serves, and keeps boots again.
        lab::boot(lab.ports, Kind::UefiX64, 7);
        until(|| stored(&lab) > 0, "a boot is stored again");
        server.kill_9();
    }
}

#[test]
fn a_file_that_is_taken_away_is_written_again() {
    let lab = Lab::new();
    let server = lab.serve(&["serve"]);
    lab::boot(lab.ports, Kind::UefiX64, 7);
    until(|| stored(&lab) == 1, "the boot is stored");
    fs::remove_file(database(&lab)).unwrap();
    server.wait_for("was moved or deleted while lanboot runs");
    until(|| database(&lab).exists() && stored(&lab) == 1, "the boot is in a new file");
}

#[test]
fn a_file_that_was_deleted_while_the_server_was_stopped_is_reported_once() {
    let lab = Lab::new();
    let count = lab.path().join("state/journeys.count");
    let server = lab.serve(&["serve"]);
    lab::boot(lab.ports, Kind::UefiX64, 7);
    until(|| count.exists(), "the number of boots is recorded");
    let (_, log) = server.terminate();
    assert!(!log.iter().any(|line| line.contains("journeys.db")), "the first start: {log:#?}");
    fs::remove_file(database(&lab)).unwrap();
    let server = serve(&lab);
    let line = server.wait_for("lost 1 boot of earlier runs");
    assert!(line.contains("WARN") && line.contains("journeys.db") && line.contains("backup"), "{line}");
    server.kill_9();
    let server = serve(&lab);
    until(|| boots(&lab).is_empty(), "it answers");
    let (_, log) = server.terminate();
    assert!(!log.iter().any(|line| line.contains("journeys.db")), "it is known already: {log:#?}");
    // As after an update from a version that stored no boots.
    fs::remove_file(database(&lab)).unwrap();
    // There is none while no boot is stored.
    _ = fs::remove_file(&count);
    let server = serve(&lab);
    lab::boot(lab.ports, Kind::UefiX64, 7);
    until(|| count.exists(), "a boot is stored");
    let (_, log) = server.terminate();
    assert!(!log.iter().any(|line| line.contains("journeys.db")), "nothing was stored: {log:#?}");
}

#[test]
fn what_cannot_be_opened_never_prevents_a_start() {
    let (lab, _) = lab_with_a_boot();
    fs::remove_file(database(&lab)).unwrap();
    fs::create_dir(database(&lab)).unwrap();
    let server = lab.serve(&["serve"]);
    let line = server.wait_for("boots are followed in memory but not stored");
    assert!(line.contains("WARN") && line.contains("journeys.db"), "{line}");
    lab::boot(lab.ports, Kind::UefiX64, 7);
    until(|| boots(&lab).len() == 1, "journeys go on in memory");
    fs::remove_dir(database(&lab)).unwrap();
    server.wait_for("boots are stored again");
    until(|| stored(&lab) == 1, "it is stored later");
}

/// Every byte of a database with one boot is changed. Either a start reports it, or nothing is lost.
#[test]
fn a_flipped_bit_anywhere_is_reported_or_harmless() {
    let (lab, before) = lab_with_a_boot();
    let whole = fs::read(database(&lab)).unwrap();
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join("journeys.db");
    let id = before["id"].as_str().unwrap().to_owned();
    let has_boot = |state: &Path| {
        let opened = open(state).expect("it can be replaced at least");
        let found =
            opened.machines.iter().flat_map(|machine| &machine.boots).any(|boot| boot.id.to_string() == id);
        (found, opened.problem)
    };
    let mut reported = 0;
    // A prime step meets every part of the pages without writing each of 40,000 files.
    for place in (0..whole.len()).step_by(37) {
        for bit in [0, 7] {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            fs::write(&path, &bytes).unwrap();
            let (found, problem) = has_boot(folder.path());
            assert!(found || problem.is_some(), "byte {place} bit {bit}: a quiet loss");
            reported += usize::from(problem.is_some());
        }
    }
    assert!(reported > 0);
}

/// 10,000 machines with 20 boots each, three with all events: a boot as a UEFI machine makes it.
#[test]
fn ten_thousand_machines_stay_under_200_mib_on_disk() {
    let (_lab, rows) = typical_rows();
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut file = open(folder.path()).unwrap().file;
    for block in 0..100_u32 {
        let changed: Vec<ChangedRows> = (0..100).map(|n| of_machine(block * 100 + n, &rows)).collect();
        file.write(&changed).unwrap();
    }
    let size = fs::metadata(folder.path().join("journeys.db")).unwrap().len();
    assert!(size < 200 << 20, "{size} bytes");
    drop(file);
    let opened = open(folder.path()).unwrap();
    assert!(opened.problem.is_none(), "{:?}", opened.problem);
    let boots: usize = opened.machines.iter().map(|machine| machine.boots.len()).sum();
    eprintln!("{size} bytes, {boots} boots of {} machines", opened.machines.len());
    assert!(opened.machines.len() > 9000);
    let mut journeys = Journeys::default();
    for machine in opened.machines {
        journeys.restore(machine.mac, machine.machine, machine.boots, Timestamp(1));
    }
    assert!(journeys.bytes() < 100 << 20, "{} bytes in memory", journeys.bytes());
}

/// 9000 machines with three boots each have more events than memory may take.
#[test]
fn events_without_room_in_memory_are_read_from_the_database() {
    const MACHINES: u32 = 9000;
    let (lab, rows) = typical_rows();
    let mut file = open(&lab.path().join("state")).unwrap().file;
    for block in 0..MACHINES / 100 {
        let mut changed: Vec<ChangedRows> = (0..100).map(|n| of_machine(block * 100 + n, &rows)).collect();
        changed.iter_mut().for_each(|machine| machine.rows.truncate(4));
        file.write(&changed).unwrap();
    }
    drop(file);
    let opened = open(&lab.path().join("state")).unwrap();
    let boots: Vec<_> = opened.machines.iter().flat_map(|machine| &machine.boots).collect();
    let wanted = boots.iter().map(|boot| boot.events.len() + boot.events_on_disk).max().unwrap();
    let on_disk = boots.iter().filter(|boot| boot.events_on_disk > 0).count();
    assert!(on_disk > 100 && wanted > 5, "{on_disk} boots, {wanted} events");
    let server = serve(&lab);
    for n in [0, MACHINES - 1] {
        let mac = of_machine(n, &rows).mac.to_string();
        let boots = || {
            let output = lab.run(&["why", &mac, "--json"]);
            let why: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            why["boots"].as_array().cloned().unwrap_or_default()
        };
        until(|| boots().len() == 3, "the boots are loaded");
        for boot in boots() {
            let events = boot["events"].as_array().unwrap();
            assert_eq!((events.len(), &boot["omitted"]), (wanted, &Value::from(0)), "{boot:#}");
            assert_eq!(events[0]["event"], "DHCPDISCOVER", "{boot:#}");
        }
    }
    let (status, _) = server.terminate();
    assert!(status.success());
}

/// The row of a boot whose events are in the database alone keeps them when the boot changes.
#[test]
fn events_in_the_database_alone_stay_there() {
    let (_lab, rows) = typical_rows();
    let folder = tempfile::tempdir().unwrap();
    let mut file = open(folder.path()).unwrap().file;
    let mut machine = of_machine(1, &rows);
    machine.rows.truncate(2);
    file.write(std::slice::from_ref(&machine)).unwrap();
    let id = BootId { mac: machine.mac, started: Timestamp(machine.rows[1].key.started) };
    let whole = read_boot(id, &machine.rows[1].data).unwrap().events;
    // Two events stay on the disk, and another one follows them.
    let mut later = read_boot(id, &machine.rows[1].data).unwrap();
    later.events.drain(..whole.len() - 1);
    machine.rows[1] = ChangedRow { data: encode_boot(&later), earlier: 2, ..machine.rows[1].clone() };
    file.write(std::slice::from_ref(&machine)).unwrap();
    let expected = [&whole[..2], &whole[whole.len() - 1..]].concat();
    assert_eq!(read_events(folder.path(), &[(id, 100)]).unwrap(), [expected]);
    assert_eq!(read_events(folder.path(), &[(id, 2)]).unwrap(), [whole[..2].to_vec()]);
    let other = BootId { started: Timestamp(7), ..id };
    assert_eq!(read_events(folder.path(), &[(other, 2)]).unwrap(), [Vec::new()]);
    assert!(open(folder.path()).unwrap().problem.is_none(), "the totals are right");
}

/// The rows of a real boot: of the machine, of a boot with events, and of one without.
type Rows = (Vec<u8>, Vec<u8>, Vec<u8>);

fn typical_rows() -> (Lab, Rows) {
    let (lab, _) = lab_with_a_boot();
    let opened = open(&lab.path().join("state")).unwrap();
    let kept = &opened.machines[0];
    let mut journeys = Journeys::default();
    journeys.restore(kept.mac, kept.machine.clone(), kept.boots.clone(), Timestamp(1));
    let machine = encode_machine(journeys.machine(kept.mac).unwrap());
    // Most boots have ended.
    let mut boot = kept.boots[0].clone();
    boot.end(None, boot.id.started);
    let with_events = encode_boot(&boot);
    assert!(read_boot(boot.id, &with_events).is_ok());
    let mut shrunk = boot;
    shrunk.shrink();
    (lab, (machine, with_events, encode_boot(&shrunk)))
}

fn of_machine(n: u32, (machine, with_events, shrunk): &Rows) -> ChangedRows {
    let [a, b, c, d] = n.to_be_bytes();
    let mac = lanboot::types::MacAddr([2, 0, a, b, c, d]);
    let row = |key, data| ChangedRow { key, data, earlier: 0 };
    let mut rows = vec![row(Key::of_machine(mac), machine.clone())];
    rows.extend((0..20).map(|boot| {
        let data = if boot < 3 { with_events.clone() } else { shrunk.clone() };
        row(Key { mac, started: 1_700_000_000_000 - boot * 86_400_000 - u64::from(n) }, data)
    }));
    ChangedRows { mac, rows, oldest: Timestamp(0) }
}
