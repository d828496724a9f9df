//! One contract for every lease store, and what only the durable one promises.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use lanboot::lease::{Holder, Lease, State};
use lanboot::store::{LeaseStore, MemoryStore, SqliteStore};
use lanboot::types::{ClientId, MacAddr, Timestamp};

fn lease(n: u8, until: u64) -> Lease {
    Lease {
        address: Ipv4Addr::new(192, 168, 77, n),
        holder: Holder {
            client: ClientId::of_mac(MacAddr([2, 0, 0, 0, 0, n])),
            mac: Some(MacAddr([2, 0, 0, 0, 0, n])),
            boots: n == 2,
        },
        hardware: vec![2, 0, 0, 0, 0, n],
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
    assert_eq!((leases, skipped), (vec![lease(1, 200), released, declined], 0));
}

#[test]
fn every_store_keeps_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    keeps_what_was_committed(&mut MemoryStore::default());
    keeps_what_was_committed(&mut SqliteStore::open(&folder.path().join("leases.db")).unwrap());
}

#[test]
fn a_failed_commit_changes_nothing() {
    let mut store = MemoryStore::default();
    let broken = store.switch();
    store.commit(&[lease(1, 100)]).unwrap();
    broken.store(true, Ordering::Relaxed);
    assert!(store.commit(&[lease(1, 200), lease(2, 100)]).is_err());
    assert_eq!(store.load().unwrap().0, [lease(1, 100)]);
}

#[test]
fn sqlite_reads_back_after_reopening_and_skips_rows_that_are_no_leases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.db");
    SqliteStore::open(&path).unwrap().commit(&[lease(1, 100)]).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute(
        "INSERT INTO leases VALUES (-5, x'0102', x'', 0, 0, 10), (7, x'', x'', 0, 0, 10), (8, x'0102', x'', 0, 9, 10)",
        [],
    )
    .unwrap();
    assert_eq!(SqliteStore::open(&path).unwrap().load().unwrap(), (vec![lease(1, 100)], 3));
    let shown: String =
        raw.query_row("SELECT address FROM lease_list WHERE hardware <> ''", [], |row| row.get(0)).unwrap();
    assert_eq!(shown, "192.168.77.1");
}

#[test]
fn a_newer_or_broken_database_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.db");
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("leases.db") && error.contains("schema version 99"), "{error}");
    std::fs::write(&path, "this is not a database, whatever its name says it is").unwrap();
    let error = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("leases.db"), "{error}");
}
