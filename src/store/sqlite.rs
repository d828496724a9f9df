//! The embedded store: one SQLite database, `leases.db` in the state folder.
//!
//! Write-ahead log with `synchronous=FULL`: a commit returns after its fsync, so kill -9 and a power cut lose nothing
//! that was committed. The view `lease_list` shows the leases as a person reads them.
//!
//! One process writes, the one that holds the lock on `leases.lock`, because its book in memory must agree with the
//! database. Any other may read at the same time.
//!
//! Every statement that changes a row of `leases` or `clock` belongs into this file, and writes the row in `integrity`
//! in the same transaction: the next start refuses a database where the two do not agree.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::lease::{FOREVER, Lease};
use crate::store::count::CountFile;
use crate::store::create::{Draft, PAGE_SIZE, UPSERT, set_aside};
use crate::store::findings::Findings;
use crate::store::integrity::{Content, Integrity};
use crate::store::lock::{Lock, lock};
use crate::store::opening::{self, configure};
use crate::store::place::{Moment, Place};
use crate::store::reader::{explain, is_full};
use crate::store::reserve::{Ballast, fill_log};
use crate::store::rows::{ClockRow, Row, Rows, signed};
use crate::store::{ClockMark, DATABASE, FOLDER_MODE, LeaseStore, StoreError};

/// Pages in the log before they are moved to the database: 4 MiB. The commit that does it takes some 10 ms longer.
pub(super) const LOG_PAGES: u32 = 4 * 1024;
/// Bytes of the log with that many pages and those of the commit that is the last one: each has a header of 24 bytes.
const LOG_BYTES: u64 = (LOG_PAGES as u64 + 1024) * (PAGE_SIZE as u64 + 24);
/// Time after which the log is moved to the database while commits are rare. A damaged log then costs little.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// Time between two attempts to write the database again after its files were deleted.
const RECREATE_PAUSE: Duration = Duration::from_secs(1);
/// How often a commit is made again because the files were changed meanwhile.
const ATTEMPTS: u32 = 3;

/// The lease database, open for writing. No other process can have it so at the same time.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    state: PathBuf,
    /// All that is stored, in memory.
    rows: Rows,
    clock: Option<ClockRow>,
    integrity: Integrity,
    findings: Findings,
    count: CountFile,
    place: Place,
    ballast: Ballast,
    /// The disk failed, so what the log's file is said to hold may not be on it.
    is_suspect: bool,
    /// Why there is no database to write to, and when it was last tried to write it again.
    missing: Option<(String, Option<Instant>)>,
    /// When the log was last moved to the database, and how many commits that one has had then.
    checkpoint: (Instant, i64),
    /// Whether the log is to begin again at once, because another program wrote to it.
    restarts_log: bool,
    // The lock ends with this handle, also when the process is killed.
    lock: Lock,
}

/// Leases to store, the last one of each address.
type Batch<'a> = BTreeMap<Ipv4Addr, &'a Lease>;

impl SqliteStore {
    /// Opens the database in the folder `state`, or makes it. Refused with advice: one that another process has, one
    /// of a newer lanboot, and one that is damaged. What is lost without damage to the rest is in [`Self::findings`].
    pub fn open(state: &Path) -> Result<SqliteStore, StoreError> {
        let lock = lock(state)?;
        let opened = opening::open(state)?;
        let path = state.join(DATABASE);
        let mut store = SqliteStore {
            checkpoint: (Instant::now(), opened.integrity.commits),
            connection: opened.connection,
            rows: opened.rows,
            clock: opened.clock,
            integrity: opened.integrity,
            findings: opened.findings,
            count: CountFile::new(state),
            place: Place::new(state, &path),
            ballast: Ballast::make(state),
            is_suspect: false,
            missing: None,
            restarts_log: false,
            state: state.to_owned(),
            path,
            lock,
        };
        store.fill_log();
        store.place.learn();
        Ok(store)
    }

    /// Whether the database is new, and what of an older one is lost. Say so before the first commit.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The lease of `address`, if one is stored.
    pub fn lease(&self, address: Ipv4Addr) -> Result<Option<Lease>, StoreError> {
        Ok(self.rows.lease(address))
    }

    /// Commits are slower without, as on a full disk.
    fn fill_log(&self) {
        if let Err(error) = fill_log(&self.path, LOG_BYTES) {
            let path = self.path.display();
            tracing::warn!("cannot reserve {LOG_BYTES} bytes for the log of {path}: {error}");
        }
    }

    /// Does `write` in files that are in their place before and after.
    fn in_place<T>(
        &mut self,
        write: impl Fn(&mut Connection, &Rows) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        for _ in 0..ATTEMPTS {
            self.look_after_files()?;
            let written = self.durably(&write);
            if !self.files_are_gone(Moment::AfterWrite) {
                return written.map_err(|error| explain("write to", &self.path, &error));
            }
        }
        Err(self.missing_error("its files are changed again and again"))
    }

    /// Does `write`, once more if it fails for a reason that can be removed.
    fn durably<T>(
        &mut self,
        write: impl Fn(&mut Connection, &Rows) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.ballast.restore();
        let mut written = self.trusted().and_then(|()| write(&mut self.connection, &self.rows));
        if written.as_ref().is_err_and(is_full) && self.ballast.throw_off() {
            tracing::warn!("the disk is full: threw off the ballast beside {}", self.path.display());
            written = write(&mut self.connection, &self.rows);
        } else if written.as_ref().is_err_and(has_failed) && !self.files_are_gone(Moment::AfterWrite) {
            self.is_suspect = true;
            written = self.trusted().and_then(|()| write(&mut self.connection, &self.rows));
        }
        written
    }

    /// Opens the connection again after the disk failed.
    ///
    /// A sync that failed is not to be tried again: Linux reports lost writes once and then takes them for done. So all
    /// that the log holds is written once more, into the database, and the log's file begins again.
    fn trusted(&mut self) -> rusqlite::Result<()> {
        if self.is_suspect {
            let connection = Connection::open(&self.path)?;
            // The old one is closed only now that this one has the log open, or it would sync that once more.
            configure(&connection)?;
            self.connection = connection;
            let is_busy: bool =
                self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if is_busy {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                let why = "the disk failed, and somebody reads what must be written once more";
                return Err(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())));
            }
            self.fill_log();
            self.place.learn();
            self.is_suspect = false;
            let path = self.path.display();
            tracing::warn!("the disk failed: opened {path} again and wrote all that its log held once more");
        }
        Ok(())
    }

    /// Makes the state that `next` says the stored one.
    fn stored(&mut self, next: Integrity) {
        self.integrity = next;
        self.count.note(&next);
    }

    /// Looks whether the files are still in their place. From when they are not, no connection to them is open: closing
    /// one later would delete the log of the database that takes their place.
    fn files_are_gone(&mut self, moment: Moment) -> bool {
        if self.missing.is_some() {
            return true;
        }
        let mut change = self.place.change(moment).or_else(|| self.lock.change());
        if change.as_ref().is_some_and(|change| change.may_be_harmless) && self.is_whole() {
            // Another program, such as sqlite3, has moved the log to the database, packed that or changed a lease.
            self.place.learn();
            change = None;
        }
        let Some(change) = change else { return false };
        tracing::error!(
            "{}: no lease is given until all {} leases are written again",
            change.what,
            self.rows.totals().rows
        );
        // Closed without a last checkpoint, which would delete whatever has the name of its log then.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        match Connection::open_in_memory() {
            Ok(nothing) => self.connection = nothing,
            Err(error) => tracing::error!("cannot close the lease database: {error}"),
        }
        self.is_suspect = false;
        self.missing = Some((change.what, None));
        true
    }

    /// Whether the files still have all that was stored. If so, it is moved out of the log, which may be damaged where no
    /// page is read from.
    fn is_whole(&mut self) -> bool {
        // The connection in use may remember pages of the files, so another one reads them.
        let read =
            || Content::read(&Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
        let is_whole = read().is_ok_and(|content| content.integrity == Some(self.integrity));
        self.restarts_log = is_whole;
        let counts = |row: &rusqlite::Row<'_>| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]);
        let moved = || self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], counts);
        // Whether it was blocked, the pages in the log, and those that were moved.
        is_whole && moved().is_ok_and(|[blocked, all, moved]| blocked == 0 && all == moved)
    }

    /// Writes the database again from memory if its files are gone.
    fn look_after_files(&mut self) -> Result<(), StoreError> {
        if !self.files_are_gone(Moment::Idle) {
            return Ok(());
        }
        if let Some((_, tried)) = &mut self.missing {
            if tried.is_some_and(|tried| tried.elapsed() < RECREATE_PAUSE) {
                return Err(self.missing_error("it is tried again in a second"));
            }
            *tried = Some(Instant::now());
        }
        let recreated = self.recreate();
        if recreated.is_err() && self.ballast.throw_off() {
            tracing::warn!("threw off the ballast beside {}", self.path.display());
        }
        recreated.map_err(|error| self.missing_error(&error.0))?;
        self.missing = None;
        self.fill_log();
        self.place.learn();
        self.ballast = Ballast::make(&self.state);
        self.count.forget();
        self.count.note(&self.integrity);
        let (path, rows) = (self.path.display(), self.rows.totals().rows);
        tracing::info!("wrote {path} again with all its {rows} leases: leases are given again");
        Ok(())
    }

    fn recreate(&mut self) -> Result<(), StoreError> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(FOLDER_MODE);
        folder
            .create(&self.state)
            .map_err(|error| StoreError(format!("cannot make {}: {error}", self.state.display())))?;
        self.lock.renew(&self.state)?;
        self.rows.without_others();
        self.integrity = self.integrity.with(self.rows.totals(), self.clock);
        let fail = |error: std::io::Error| {
            StoreError(format!("cannot write {} again: {error}", self.path.display()))
        };
        let draft = Draft::write(&self.state, &self.rows, self.clock, Some(self.integrity))
            .map_err(|error| error.explain(&self.state))?;
        if self.place.has_other_database() {
            set_aside(&self.path).map_err(fail)?;
        }
        draft.publish().map_err(fail)?;
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&self.path)?;
            configure(&connection)?;
            Ok(connection)
        };
        self.connection = open().map_err(|error| explain("open", &self.path, &error))?;
        Ok(())
    }

    fn missing_error(&self, why: &str) -> StoreError {
        let what = self.missing.as_ref().map_or("", |(what, _)| what);
        StoreError(format!("cannot write to the lease database {}: {what}; {why}", self.path.display()))
    }

    /// Moves what is in the log to the database. The commit after it begins the log again, so that little can be lost by
    /// damage to it.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        let (at, commits) = self.checkpoint;
        let is_due = at.elapsed() >= CHECKPOINT_EVERY && commits != self.integrity.commits;
        if !is_due && !std::mem::take(&mut self.restarts_log) {
            return Ok(());
        }
        let (integrity, clock) = (self.integrity, self.clock);
        let next = self.in_place(|connection, rows| {
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            let next = integrity.next(rows.totals(), clock);
            next.update(connection).map(|()| next)
        })?;
        self.stored(next);
        self.count.sync();
        self.checkpoint = (Instant::now(), next.commits);
        Ok(())
    }
}

impl LeaseStore for SqliteStore {
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError> {
        Ok((self.rows.leases(), self.rows.skipped()))
    }

    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        if leases.is_empty() {
            return Ok(());
        }
        let batch: Batch<'_> = leases.iter().map(|lease| (lease.address, lease)).collect();
        let (integrity, clock) = (self.integrity, self.clock);
        let (next, totals) = self.in_place(|connection, rows| {
            let totals = rows.totals_with(&batch);
            let next = integrity.next(totals, clock);
            write(connection, &batch, &next).map(|()| (next, totals))
        })?;
        self.rows.store(&batch, totals);
        self.stored(next);
        Ok(())
    }

    fn clock(&mut self) -> Result<Option<ClockMark>, StoreError> {
        Ok(self.clock.map(|clock| clock.mark()))
    }

    fn set_clock(&mut self, mark: ClockMark, shift: i64) -> Result<(), StoreError> {
        let (integrity, clock) = (self.integrity, ClockRow::of(mark));
        let (next, moved) =
            self.in_place(|connection, rows| write_clock(connection, (clock, shift), (&integrity, rows)))?;
        self.rows = moved.unwrap_or(std::mem::take(&mut self.rows));
        self.clock = Some(clock);
        self.stored(next);
        Ok(())
    }

    fn look_after(&mut self) -> Result<(), StoreError> {
        self.look_after_files()?;
        if !self.count.is_in_place() {
            self.count.forget();
            self.count.note(&self.integrity);
        }
        self.checkpoint()
    }
}

fn write(connection: &mut Connection, batch: &Batch<'_>, next: &Integrity) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        // In the order of the table: what is new then fills its pages.
        let mut upsert = transaction.prepare_cached(UPSERT)?;
        batch.values().try_for_each(|lease| Row::of(lease).write(&mut upsert))?;
    }
    next.update(&transaction)?;
    transaction.commit()
}

/// Returns the rows too if their ends moved.
fn write_clock(
    connection: &mut Connection,
    (clock, shift): (ClockRow, i64),
    (integrity, rows): (&Integrity, &Rows),
) -> rusqlite::Result<(Integrity, Option<Rows>)> {
    let transaction = connection.transaction()?;
    let mut moved = None;
    if shift != 0 {
        let shift_all = "UPDATE leases SET until = max(0, until + ?1) WHERE until < ?2";
        transaction.execute(shift_all, rusqlite::params![shift, signed(FOREVER.seconds())])?;
        moved = Some(Rows::read(&transaction)?);
    }
    clock.write(&transaction)?;
    let next = integrity.next(moved.as_ref().unwrap_or(rows).totals(), Some(clock));
    next.update(&transaction)?;
    transaction.commit()?;
    Ok((next, moved))
}

/// Whether the disk did not do what it should.
fn has_failed(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) && !is_full(error)
}
