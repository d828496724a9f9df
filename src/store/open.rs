//! Opens stored leases so that they agree with the clock, for the server and for the commands that work without it.

use std::net::Ipv4Addr;
use std::path::Path;

use crate::dhcp::settings::Settings;
use crate::lease::{Holder, Lease, LeaseBook, State};
use crate::store::clock::{self, Clock};
use crate::store::make_folder;
use crate::store::{Findings, LeaseReader, LeaseStore, MemoryStore, SqliteStore, StoreError, moved};
use crate::types::ClientId;

/// The lease database open for writing, and what is in it.
pub struct Opened {
    /// The database; no other process can write it now.
    pub store: Box<dyn LeaseStore>,
    /// All leases.
    pub leases: Vec<Lease>,
    /// Rows that are no leases.
    pub skipped: usize,
    /// The clock by which the leases end.
    pub clock: Clock,
    /// By how many seconds they moved because the system's clock was set.
    pub shift: i64,
}

/// Opens the database in the folder `state`, or makes both, and moves its leases if the system's clock was set. From now on
/// the mark is one of this boot, whatever is set next; without it leases are as good as with an older one.
///
/// `report` is called before anything is written: after the first commit, what was lost is not known any more.
pub fn open(state: &Path, report: impl FnOnce(&Findings)) -> Result<Opened, StoreError> {
    make_folder(state).map_err(|error| {
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
    let (leases, skipped) = store.load()?;
    Ok(Opened { store: Box::new(store), leases, skipped, clock, shift })
}

/// No leases, and a store that forgets them when the server stops.
pub fn in_memory() -> Opened {
    Opened {
        store: Box::new(MemoryStore::default()),
        leases: Vec::new(),
        skipped: 0,
        clock: Clock::start(),
        shift: 0,
    }
}

/// A book with stored leases in it.
#[derive(Debug)]
pub struct Filled {
    /// The book.
    pub book: LeaseBook,
    /// This computer's own addresses that are in a pool: they are given to nobody.
    pub own: Vec<Ipv4Addr>,
    /// How many of the leases are in it: those outside every subnet are left alone, for the subnet may come back.
    pub known: usize,
}

/// The stored leases in a new book, on a computer with these `own` addresses.
pub fn book(settings: &Settings, mut leases: Vec<Lease>, own: &[Ipv4Addr]) -> Filled {
    let mut book = LeaseBook::new(settings.pools());
    // They never answer its own questions who uses them.
    let own = book.keep_own(own);
    if !settings.match_client_id {
        leases.iter_mut().for_each(|lease| know_by_hardware(&mut lease.holder));
    }
    // What a client has must come after what it had or declined, for the last one loaded is where it is looked for.
    leases.sort_by_key(|lease| (lease.state == State::Leased, lease.until));
    let known = leases.into_iter().map(|lease| book.load(lease)).filter(|taken| *taken).count();
    Filled { book, own, known }
}

/// Forgets the identifier that a client sent when `match_client_id` was on: it would not be found by that.
fn know_by_hardware(holder: &mut Holder) {
    if let Some(mac) = holder.mac {
        holder.client = ClientId::of_mac(mac);
    }
}

/// What is to be said of an address of this computer that a pool has.
pub fn own_in_pool(address: Ipv4Addr) -> String {
    format!("{address} is this computer's own and in a pool: it is given to nobody")
}

/// What is to be said of a machine for which an address of this computer is reserved.
pub fn own_and_reserved(machine: &str, address: Ipv4Addr) -> String {
    format!(
        "the `address` of machine {machine} in `machines`, {address}, is this computer's own: give it another"
    )
}

/// The stored leases in the order of their addresses, each with its end by the system's clock, whether a server runs or
/// not, and what is known to be lost of them. None if there is no database yet.
pub fn read(state: &Path) -> Result<(Vec<Lease>, Vec<String>), StoreError> {
    let Some(reader) = LeaseReader::open(state)? else {
        return Ok((Vec::new(), LeaseReader::lost_with_database(state)));
    };
    // A running server marks the clock when it is set, so this is right for its leases too.
    let shift = clock::shift(reader.clock()?, Clock::start().mark());
    let (mut leases, _, losses) = reader.load()?;
    leases.iter_mut().for_each(|lease| lease.until = moved(lease.until, shift));
    Ok((leases, losses))
}
