//! Opens the stored leases and adjusts them to the current clock. The server and the offline commands use it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use crate::dhcp::settings::Settings;
use crate::lease::{Lease, LeaseBook, State};
use crate::store::clock::{self, Clock};
use crate::store::findings::Findings;
use crate::store::folder::create_state_folder;
use crate::store::lease_store::{LeaseStore, StoreError, shift_end};
use crate::store::memory::MemoryStore;
use crate::store::reader::LeaseReader;
use crate::store::sqlite::SqliteStore;
use crate::types::Timestamp;

/// Time for which a lease that has ended is remembered, so that its client gets the same address again.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The lease database, open for writing, and its content.
pub struct OpenedStore {
    /// The database. No other process can write to it while this is open.
    pub store: Box<dyn LeaseStore>,
    pub leases: Vec<Lease>,
    /// Number of rows that are not leases.
    pub skipped: usize,
    /// The clock by which the leases end.
    pub clock: Clock,
    /// Seconds by which the leases moved because the system clock was set.
    pub shift: i64,
}

/// Opens or creates the database in the folder `state`, and moves its leases if the system clock was set. It then
/// stores a mark of this boot, so that later changes of the system clock are noticed. A failure to store that mark is
/// only an error if leases had to move.
///
/// `report` is called before anything is written, because the first commit overwrites the evidence of losses.
pub fn open(state: &Path, report: impl FnOnce(&Findings)) -> Result<OpenedStore, StoreError> {
    create_state_folder(state).map_err(|error| {
        let folder = state.display();
        StoreError(format!(
            "cannot make the state folder {folder}: {error}; set `state` to a folder that can be written"
        ))
    })?;
    let mut store = SqliteStore::open(state)?;
    report(store.findings());
    let clock = Clock::start();
    let mark = clock.mark();
    let shift = clock::shift(store.clock()?, mark);
    let marked = store.set_clock(mark, shift);
    if shift != 0 {
        marked?;
    }
    let (mut leases, skipped) = store.load()?;
    let now = clock.now();
    leases.retain(|lease| !is_forgotten(lease, now));
    Ok(OpenedStore { store: Box::new(store), leases, skipped, clock, shift })
}

/// Whether a lease ended so long ago that its client is not expected to want the same address. The server deletes its
/// row when it has nothing else to store.
fn is_forgotten(lease: &Lease, now: Timestamp) -> bool {
    now.since(lease.until) >= KEPT
}

/// An empty store that loses its leases when the server stops.
pub fn in_memory() -> OpenedStore {
    OpenedStore {
        store: Box::new(MemoryStore::default()),
        leases: Vec::new(),
        skipped: 0,
        clock: Clock::start(),
        shift: 0,
    }
}

/// A lease book filled with stored leases.
#[derive(Debug)]
pub struct FilledBook {
    pub book: LeaseBook,
    /// Addresses of this computer that lie in a pool. They are never leased.
    pub own: Vec<Ipv4Addr>,
    /// Number of leases in the book. Leases outside every subnet stay in the store, because the subnet may be
    /// configured again.
    pub known: usize,
}

/// Fills a new book with stored leases, on a computer with these `own` addresses.
pub fn fill_book(settings: &Settings, mut leases: Vec<Lease>, own: &[Ipv4Addr]) -> FilledBook {
    let mut book = LeaseBook::new(settings.pools());
    // A conflict check cannot detect them, because the server does not answer its own probes.
    let own = book.set_own_addresses(own);
    if !settings.match_client_id {
        leases.iter_mut().for_each(|lease| book.know_by_hardware(lease));
    }
    // A client's current lease must be loaded after the ones it released or declined, because the last one loaded is
    // found first.
    leases.sort_by_key(|lease| (lease.state == State::Leased, lease.until));
    let known = leases.into_iter().map(|lease| book.load(lease)).filter(|taken| *taken).count();
    FilledBook { book, own, known }
}

/// Log message for an address of this computer that lies in a pool.
pub fn own_address_in_pool(address: Ipv4Addr) -> String {
    format!("{address} is this computer's own and in a pool: it is never leased")
}

/// Log message for a machine whose reserved address belongs to this computer.
pub fn own_address_reserved(machine: &str, address: Ipv4Addr) -> String {
    format!(
        "the `address` of machine {machine} in `machines`, {address}, is this computer's own: give it another"
    )
}

/// Reads the stored leases in the order of their addresses, and the messages about losses. The end of each lease is
/// converted to the system clock. This works while a server runs. Without a database both lists are empty, except for
/// a recorded loss.
pub fn read(state: &Path) -> Result<(Vec<Lease>, Vec<String>), StoreError> {
    let Some(reader) = LeaseReader::open(state)? else {
        return Ok((Vec::new(), LeaseReader::lost_with_database(state)));
    };
    // A running server stores a mark whenever the system clock is set, so this is right for its leases too.
    let shift = clock::shift(reader.clock()?, Clock::start().mark());
    let (mut leases, _, losses) = reader.load()?;
    leases.iter_mut().for_each(|lease| lease.until = shift_end(lease.until, shift));
    let now = clock::wall();
    leases.retain(|lease| !is_forgotten(lease, now));
    Ok((leases, losses))
}
