//! The SQLite store: one database, `leases.db` in the state folder.
//!
//! It uses a write-ahead log with `synchronous=FULL`. A commit returns after its fsync, so kill -9 and a power cut
//! lose nothing that was committed. The view `lease_list` shows the leases in readable form.
//!
//! Only the process that holds the lock on `leases.lock` writes, because its lease book in memory must agree with the
//! database. Any other process may read at the same time.
//!
//! Every statement that changes a row is in transactions.rs.

use std::fs::DirBuilder;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::event::{Reporter, Reports, ServerFact};
use crate::lease::Lease;
use crate::store::count::CommitRecord;
use crate::store::create::{Draft, set_aside};
use crate::store::files::{DATABASE, FOLDER_MODE};
use crate::store::files::{LOG_PAGES, PAGE_SIZE};
use crate::store::findings::Findings;
use crate::store::integrity::{Content, Integrity};
use crate::store::lease_store::{ClockMark, LeaseStore, StoreError};
use crate::store::lock::{Lock, lock};
use crate::store::opening::{self, configure};
use crate::store::place::{DatabaseFiles, Moment};
use crate::store::reader::{explain, has_failed, is_full};
use crate::store::reserve::{Ballast, fill_log};
use crate::store::rows::{ClockRow, EndedRows, PurgeLimits, Rows};
use crate::store::transactions::{Batch, delete, write, write_clock};
use crate::types::Timestamp;

/// Maximum size of the log in bytes: that number of pages plus the pages of the last commit, each with a frame header
/// of 24 bytes.
const LOG_BYTES: u64 = (LOG_PAGES as u64 + 1024) * (PAGE_SIZE as u64 + 24);
/// Time after which a checkpoint is made even if commits are rare. It limits the loss if the log is damaged.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// Time between two attempts to write the database again after its files were deleted.
const RECREATE_PAUSE: Duration = Duration::from_secs(1);
/// Bounds of one purge: it takes less time than the sync of its commit, so a commit that arrives meanwhile waits no
/// longer than behind any other one.
const PURGE: PurgeLimits = PurgeLimits { examined: 10_000, found: 256 };
/// Maximum number of attempts for one commit if the files change meanwhile.
const ATTEMPTS: u32 = 3;

/// The [`LeaseStore`] of the server: the lease database, open for writing. Only one process can have it open.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    state: PathBuf,
    /// A copy of all stored rows.
    rows: Rows,
    clock: Option<ClockRow>,
    integrity: Integrity,
    findings: Findings,
    count: CommitRecord,
    place: DatabaseFiles,
    ballast: Ballast,
    /// Whether the disk reported an error. Data that the log seems to contain may then be missing on the disk.
    disk_failed: bool,
    /// The reason why the database files are missing, and the time of the last attempt to write them again.
    missing: Option<(String, Option<Instant>)>,
    /// The time of the last checkpoint, and the number of commits at that time.
    checkpoint: (Instant, i64),
    /// The address at which the next purge continues.
    purge_from: u32,
    /// Whether to restart the log at the next opportunity, because another program wrote to it.
    restarts_log: bool,
    reports: Reports,
    // The kernel releases the lock with this handle, even if the process is killed.
    lock: Lock,
}

impl SqliteStore {
    /// Opens or creates the database in the folder `state`. It refuses a database that another process has open, one
    /// of a newer lanboot, and one that is damaged; the error gives advice. Losses that leave the rest usable are in
    /// [`Self::findings`].
    pub fn open(state: &Path) -> Result<SqliteStore, StoreError> {
        let lock = lock(state)?;
        let reports = Reports::default();
        let opened = opening::open(state, &reports)?;
        let path = state.join(DATABASE);
        let mut store = SqliteStore {
            checkpoint: (Instant::now(), opened.integrity.commits),
            connection: opened.connection,
            rows: opened.rows,
            clock: opened.clock,
            integrity: opened.integrity,
            findings: opened.findings,
            count: CommitRecord::new(state),
            place: DatabaseFiles::new(state, &path),
            ballast: Ballast::make(state, reports.clone()),
            reports,
            disk_failed: false,
            missing: None,
            purge_from: 0,
            restarts_log: false,
            state: state.to_owned(),
            path,
            lock,
        };
        store.fill_log();
        store.place.accept_current();
        Ok(store)
    }

    /// Whether the database is new, and which leases of an older one are lost. Report them before the first commit.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The stored lease of `address`.
    pub fn lease(&self, address: Ipv4Addr) -> Result<Option<Lease>, StoreError> {
        Ok(self.rows.lease(address))
    }

    /// Reserves the space of the log. Without it, as on a full disk, commits are only slower.
    fn fill_log(&self) {
        if let Err(error) = fill_log(&self.path, LOG_BYTES) {
            let path = self.path.display();
            let text = format!("cannot reserve {LOG_BYTES} bytes for the log of {path}: {error}");
            self.reports.report(ServerFact::StoreLogNotReserved, text);
        }
    }

    /// Runs `write` and checks before and after it that the files are in place.
    fn write_checked<T>(
        &mut self,
        write: impl Fn(&mut Connection, &Rows) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        for _ in 0..ATTEMPTS {
            self.restore_files()?;
            let written = self.write_with_retry(&write);
            if !self.files_are_gone(Moment::AfterWrite) {
                return written.map_err(|error| explain("write to", &self.path, &error));
            }
        }
        Err(self.missing_error("its files are changed again and again"))
    }

    /// Runs `write`, and repeats it once if it failed for a reason that can be removed.
    fn write_with_retry<T>(
        &mut self,
        write: impl Fn(&mut Connection, &Rows) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.ballast.restore();
        let mut written = self.reopen_if_disk_failed().and_then(|()| write(&mut self.connection, &self.rows));
        if written.as_ref().is_err_and(is_full) && self.ballast.release() {
            written = write(&mut self.connection, &self.rows);
        } else if written.as_ref().is_err_and(has_failed) && !self.files_are_gone(Moment::AfterWrite) {
            self.disk_failed = true;
            written = self.reopen_if_disk_failed().and_then(|()| write(&mut self.connection, &self.rows));
        }
        written
    }

    /// Opens the connection again after the disk failed.
    ///
    /// A failed sync must not be repeated: Linux reports lost writes once and then treats them as written. Therefore
    /// everything in the log is written to the database once more, and the log restarts.
    fn reopen_if_disk_failed(&mut self) -> rusqlite::Result<()> {
        if self.disk_failed {
            let connection = Connection::open(&self.path)?;
            // The old connection is closed only after this one has the log open. Otherwise closing it would sync the
            // log again.
            configure(&connection)?;
            self.connection = connection;
            let is_busy: bool =
                self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if is_busy {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                let why = "the disk failed, and another process is reading pages that must be written again";
                return Err(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())));
            }
            self.fill_log();
            self.place.accept_current();
            self.disk_failed = false;
            let path = self.path.display();
            let text =
                format!("the disk failed: opened {path} again and wrote all that its log held once more");
            self.reports.report(ServerFact::StoreReopened, text);
        }
        Ok(())
    }

    /// Makes `next` the stored state.
    fn record_commit(&mut self, next: Integrity) {
        self.integrity = next;
        self.count.record(&next, &self.reports);
    }

    /// Checks whether the files are still in place. If not, the connection is closed at once, because closing it
    /// later would delete the log of the database that replaces them.
    fn files_are_gone(&mut self, moment: Moment) -> bool {
        if self.missing.is_some() {
            return true;
        }
        let mut change = self.place.change(moment).or_else(|| self.lock.change());
        if change.as_ref().is_some_and(|change| change.may_be_harmless) && self.is_whole() {
            // Another program, such as sqlite3, has made a checkpoint, compacted the database or changed a lease.
            self.place.accept_current();
            change = None;
        }
        let Some(change) = change else { return false };
        let (what, rows) = (&change.what, self.rows.totals().rows);
        let text = format!("{what}: no lease is given until all {rows} leases are written again");
        self.reports.report(ServerFact::StoreGone, text);
        // Without this, closing would make a last checkpoint and delete any file that has the name of its log by
        // then.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        match Connection::open_in_memory() {
            Ok(nothing) => self.connection = nothing,
            Err(error) => {
                let text = format!("cannot close the lease database: {error}");
                self.reports.report(ServerFact::StoreGone, text);
            }
        }
        self.disk_failed = false;
        self.missing = Some((change.what, None));
        true
    }

    /// Whether the files still contain everything that was stored. If so, the log is moved to the database, because
    /// parts of the log that were not read may be damaged.
    fn is_whole(&mut self) -> bool {
        // A new connection reads the files, because the current one may have cached pages.
        let read =
            || Content::read(&Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
        let is_whole = read().is_ok_and(|content| content.integrity == Some(self.integrity));
        self.restarts_log = is_whole;
        let counts = |row: &rusqlite::Row<'_>| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]);
        let moved = || self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], counts);
        // The columns are: whether it was blocked, pages in the log, pages moved.
        is_whole && moved().is_ok_and(|[blocked, all, moved]| blocked == 0 && all == moved)
    }

    /// Writes the database again from memory if its files are gone.
    fn restore_files(&mut self) -> Result<(), StoreError> {
        if !self.files_are_gone(Moment::Idle) {
            return Ok(());
        }
        if let Some((_, tried)) = &mut self.missing {
            if tried.is_some_and(|tried| tried.elapsed() < RECREATE_PAUSE) {
                return Err(self.missing_error("it is retried in a second"));
            }
            *tried = Some(Instant::now());
        }
        let recreated = self.recreate();
        if recreated.is_err() {
            self.ballast.release();
        }
        recreated.map_err(|error| self.missing_error(&error.0))?;
        self.missing = None;
        self.fill_log();
        self.place.accept_current();
        self.ballast = Ballast::make(&self.state, self.reports.clone());
        self.count.forget();
        self.count.record(&self.integrity, &self.reports);
        let (path, rows) = (self.path.display(), self.rows.totals().rows);
        let text = format!("wrote {path} again with all its {rows} leases: leases are given again");
        self.reports.report(ServerFact::StoreWrittenAgain, text);
        Ok(())
    }

    fn recreate(&mut self) -> Result<(), StoreError> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(FOLDER_MODE);
        folder
            .create(&self.state)
            .map_err(|error| StoreError(format!("cannot make {}: {error}", self.state.display())))?;
        self.lock.renew(&self.state)?;
        self.rows.drop_others();
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

    /// Makes a checkpoint if one is due. The following commit restarts the log, so that a damaged log loses little.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        let (at, commits) = self.checkpoint;
        let is_due = at.elapsed() >= CHECKPOINT_EVERY && commits != self.integrity.commits;
        if !is_due && !std::mem::take(&mut self.restarts_log) {
            return Ok(());
        }
        let (integrity, clock) = (self.integrity, self.clock);
        let next = self.write_checked(|connection, rows| {
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            let next = integrity.next(rows.totals(), clock);
            next.update(connection).map(|()| next)
        })?;
        self.record_commit(next);
        self.count.sync();
        self.checkpoint = (Instant::now(), next.commits);
        Ok(())
    }
}

impl LeaseStore for SqliteStore {
    fn report_to(&mut self, reporter: Reporter) {
        self.reports.connect(reporter);
    }

    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError> {
        Ok((self.rows.leases(), self.rows.skipped()))
    }

    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        if leases.is_empty() {
            return Ok(());
        }
        let batch: Batch<'_> = leases.iter().map(|lease| (lease.address, lease)).collect();
        let (integrity, clock) = (self.integrity, self.clock);
        let (next, totals) = self.write_checked(|connection, rows| {
            let totals = rows.totals_with(&batch);
            let next = integrity.next(totals, clock);
            write(connection, &batch, &next).map(|()| (next, totals))
        })?;
        self.rows.store(&batch, totals);
        self.record_commit(next);
        Ok(())
    }

    fn clock(&mut self) -> Result<Option<ClockMark>, StoreError> {
        Ok(self.clock.map(|clock| clock.mark()))
    }

    fn set_clock(&mut self, mark: ClockMark, shift: i64) -> Result<(), StoreError> {
        let (integrity, clock) = (self.integrity, ClockRow::of(mark));
        let (next, moved) =
            self.write_checked(|connection, rows| write_clock(connection, clock, shift, &integrity, rows))?;
        self.rows = moved.unwrap_or(std::mem::take(&mut self.rows));
        self.clock = Some(clock);
        self.record_commit(next);
        Ok(())
    }

    fn purge(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        let EndedRows { addresses, next: from } = self.rows.ended(before, self.purge_from, PURGE);
        if !addresses.is_empty() {
            let (integrity, clock) = (self.integrity, self.clock);
            let (next, totals) = self.write_checked(|connection, rows| {
                let totals = rows.totals_without(&addresses);
                let next = integrity.next(totals, clock);
                delete(connection, &addresses, &next).map(|()| (next, totals))
            })?;
            self.rows.delete(&addresses, totals);
            self.record_commit(next);
        }
        self.purge_from = from;
        Ok(addresses.len())
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        self.restore_files()?;
        if !self.count.is_in_place() {
            self.count.forget();
            self.count.record(&self.integrity, &self.reports);
        }
        self.checkpoint()
    }
}
