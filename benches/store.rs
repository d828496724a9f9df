//! Measures how fast leases are stored and loaded: `cargo bench --bench store [-- FOLDER]`. `FOLDER` (default: the
//! target folder) must be on the disk to measure, because every commit is one fsync there.
//!
//! For each batch size the benchmark prints the leases per second, and the median and 99th percentile of the commit
//! time. It does so for renewals of 250,000 stored leases in the order of their addresses, and for renewals in random
//! order. Then it prints how long it takes to open the database (with its check) and to load it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanboot::lease::{Holder, Lease, State};
use lanboot::store::{LeaseStore, SqliteStore};
use lanboot::types::{ClientId, MacAddr, Timestamp};

/// Leases in the database.
const LEASES: u32 = 250_000;
/// Duration of each case.
const CASE: Duration = Duration::from_secs(2);

fn main() {
    // `cargo bench` adds the argument `--bench`.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = folder.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("the folder can be written");

    let mut store = SqliteStore::open(folder.path()).expect("a new database");
    let began = Instant::now();
    for first in (0..LEASES).step_by(1000) {
        let batch: Vec<Lease> = (first..first + 1000).map(|n| lease(n, 1)).collect();
        store.commit(&batch).expect("stored");
    }
    println!("{LEASES} new leases, 1000 to a commit: {:.2} s", began.elapsed().as_secs_f64());

    println!("{:>6}  {:>22}  {:>22}", "", "in order of addresses", "in any order");
    println!("{:>6}{}", "batch", "  leases/s  median    p99".repeat(2));
    for batch in [1, 8, 64, 256, 1000] {
        // Multiplying by an odd number visits the addresses in an order without neighbours.
        let in_order = run(&mut store, batch, |n| n % LEASES);
        let any_order = run(&mut store, batch, |n| n.wrapping_mul(2_654_435_761) % LEASES);
        println!("{batch:>6}{in_order}{any_order}");
    }
    drop(store);

    let began = Instant::now();
    let mut store = SqliteStore::open(folder.path()).expect("the database");
    let opened = began.elapsed();
    let (leases, _) = store.load().expect("its leases");
    println!(
        "{} leases: opened and checked in {:.0} ms, loaded in {:.0} ms; leases.db has {:.1} MB",
        leases.len(),
        opened.as_secs_f64() * 1e3,
        (began.elapsed() - opened).as_secs_f64() * 1e3,
        folder.path().join("leases.db").metadata().map_or(0, |meta| meta.len()) as f64 / 1e6
    );
}

/// Commits renewals in batches of `size` for the duration of one case; `which` maps the `n`th renewal to its client.
/// Returns the rate, median and 99th percentile as text.
fn run(store: &mut SqliteStore, size: u32, which: impl Fn(u32) -> u32) -> String {
    let began = Instant::now();
    let mut times = Vec::new();
    let mut next = 0_u32;
    while began.elapsed() < CASE {
        let batch: Vec<Lease> = (next..next + size).map(|n| lease(which(n), u64::from(n))).collect();
        next += size;
        let start = Instant::now();
        store.commit(&batch).expect("stored");
        times.push(start.elapsed());
    }
    let rate = f64::from(next) / times.iter().sum::<Duration>().as_secs_f64();
    times.sort();
    let millis = |of_hundred: usize| times[times.len() * of_hundred / 100].as_secs_f64() * 1e3;
    format!("  {rate:>8.0}  {:>6.2}  {:>5.2}", millis(50), millis(99))
}

fn lease(n: u32, until: u64) -> Lease {
    let [a, b, c, d] = n.to_be_bytes();
    let mac = MacAddr([2, 0, a, b, c, d]);
    Lease {
        address: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + n),
        holder: Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false },
        hardware: mac.into(),
        state: State::Leased,
        until: Timestamp::from_seconds(until),
    }
}
