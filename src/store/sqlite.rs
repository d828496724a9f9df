//! The embedded store: one SQLite database, `leases.db` in the state folder.
//!
//! Write-ahead log with `synchronous=FULL`: a commit returns after its fsync, so kill -9 and a power cut lose nothing
//! that was committed. The view `lease_list` shows the leases as a person reads them.
//!
//! One process writes, the one that holds the lock on `leases.lock`, because its book in memory must agree with the
//! database. Any other may read at the same time.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::lease::{FOREVER, Holder, Lease, State};
use crate::store::lock::{give_to_owner, lock};
use crate::store::reserve::{Ballast, fill_log};
use crate::store::{ClockMark, DATABASE, FILE_MODE, LeaseStore, StoreError, Uptime, schema};
use crate::types::{ClientId, HardwareAddr, Timestamp, Uuid};

const UPSERT: &str = "
    INSERT INTO leases (address, client, hardware, boots, state, until)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (address) DO UPDATE SET
        client = excluded.client, hardware = excluded.hardware, boots = excluded.boots,
        state = excluded.state, until = excluded.until
";

/// Renewals come in any order, so each of a batch touches another page, and whole pages are written to the log: small
/// ones make random renewals twice as fast as SQLite's usual 4096. Only a new database takes this.
const PAGE_SIZE: u32 = 1024;
/// Pages in the log before they are moved to the database: 4 MiB. The commit that does it takes some 10 ms longer.
const LOG_PAGES: u32 = 4 * 1024;
/// Bytes of the log with that many pages and those of the commit that is the last one: each has a header of 24 bytes.
const LOG_BYTES: u64 = (LOG_PAGES as u64 + 1024) * (PAGE_SIZE as u64 + 24);
/// Memory for pages, in KiB: the database is read once and then only written.
const CACHE_KIB: i32 = 2048;
/// How long a commit waits for a reader that is in its way, such as `sqlite3` in exclusive mode.
const WAIT: Duration = Duration::from_secs(2);

/// The lease database, open for writing. No other process can have it so at the same time.
#[derive(Debug)]
pub struct SqliteStore {
    reader: LeaseReader,
    ballast: Ballast,
    /// The disk failed, so what the log's file is said to hold may not be on it.
    is_suspect: bool,
    // The lock ends with this handle, also when the process is killed.
    _lock: File,
}

/// The lease database, open for reading, also while a server writes it.
#[derive(Debug)]
pub struct LeaseReader {
    connection: Connection,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the database in the folder `state`, or makes it. Refused with advice: one that another process has, one
    /// of a newer lanboot, and one that is damaged.
    pub fn open(state: &Path) -> Result<SqliteStore, StoreError> {
        let path = state.join(DATABASE);
        let lock = lock(state)?;
        if let Ok(new) = File::options().append(true).create_new(true).mode(FILE_MODE).open(&path) {
            // SQLite gives what it makes beside the database to the same owner, with the same permissions.
            give_to_owner(&new, state);
        }
        let connection = Connection::open(&path).map_err(|error| explain("open", &path, &error))?;
        let version = set_up(&connection).map_err(|error| explain("set up", &path, &error))?;
        let reader = LeaseReader { connection, path };
        reader.check_version(version)?;
        let store = SqliteStore { reader, ballast: Ballast::make(state), is_suspect: false, _lock: lock };
        store.fill_log();
        Ok(store)
    }

    /// Commits are slower without, as on a full disk.
    fn fill_log(&self) {
        if let Err(error) = fill_log(&self.reader.path, LOG_BYTES) {
            let path = self.reader.path.display();
            tracing::warn!("cannot reserve {LOG_BYTES} bytes for the log of {path}: {error}");
        }
    }

    /// The lease of `address`, if one is stored.
    pub fn lease(&self, address: Ipv4Addr) -> Result<Option<Lease>, StoreError> {
        self.reader.lease(address)
    }

    /// Does `write`, once more if it fails for a reason that can be mended.
    fn durably(&mut self, write: impl Fn(&mut Connection) -> rusqlite::Result<()>) -> Result<(), StoreError> {
        self.ballast.restore();
        let mut written = self.trusted().and_then(&write);
        if written.as_ref().is_err_and(is_full) && self.ballast.throw_off() {
            tracing::warn!("the disk is full: threw off the ballast beside {}", self.reader.path.display());
            written = write(&mut self.reader.connection);
        } else if written.as_ref().is_err_and(has_failed) {
            self.is_suspect = true;
            written = self.trusted().and_then(&write);
        }
        written.map_err(|error| explain("write to", &self.reader.path, &error))
    }

    /// The connection, opened anew after the disk failed.
    ///
    /// A sync that failed is not to be tried again: Linux reports lost writes once and then takes them for done. So all
    /// that the log holds is written once more, into the database, and the log's file begins anew.
    fn trusted(&mut self) -> rusqlite::Result<&mut Connection> {
        if self.is_suspect {
            let connection = Connection::open(&self.reader.path)?;
            // The old one is closed only now that this one has the log open, or it would sync that once more.
            configure(&connection)?;
            self.reader.connection = connection;
            let is_busy: bool =
                self.reader.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if is_busy {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                let why = "the disk failed, and somebody reads what must be written once more";
                return Err(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())));
            }
            self.fill_log();
            self.is_suspect = false;
            let path = self.reader.path.display();
            tracing::warn!("the disk failed: opened {path} anew and wrote all that its log held once more");
        }
        Ok(&mut self.reader.connection)
    }
}

fn write(connection: &mut Connection, leases: &[Lease]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut upsert = transaction.prepare_cached(UPSERT)?;
        // In the order of the table: what is new then fills its pages. Of one address, the last one stays.
        let mut leases: Vec<&Lease> = leases.iter().collect();
        leases.sort_by_key(|lease| lease.address);
        for lease in leases {
            upsert.execute(params![
                u32::from(lease.address),
                lease.holder.client.as_bytes(),
                lease.hardware.as_bytes(),
                lease.holder.boots,
                state_number(lease.state),
                signed(lease.until.seconds()),
            ])?;
        }
    }
    transaction.commit()
}

fn write_clock(connection: &mut Connection, mark: ClockMark, shift: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    if shift != 0 {
        let shift_all = "UPDATE leases SET until = max(0, until + ?1) WHERE until < ?2";
        transaction.execute(shift_all, params![shift, signed(FOREVER.seconds())])?;
    }
    let replace = "INSERT OR REPLACE INTO clock (id, steady, wall, boot_id, up) VALUES (0, ?1, ?2, ?3, ?4)";
    let boot_id = mark.boot.map(|boot| boot.boot_id.to_network());
    let up = mark.boot.map(|boot| i64::try_from(boot.up.as_millis()).unwrap_or(i64::MAX));
    transaction.execute(replace, params![signed(mark.steady.0), signed(mark.wall.0), boot_id, up])?;
    transaction.commit()
}

impl LeaseStore for SqliteStore {
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError> {
        self.reader.load()
    }

    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        if leases.is_empty() {
            return Ok(());
        }
        self.durably(|connection| write(connection, leases))
    }

    fn clock(&mut self) -> Result<Option<ClockMark>, StoreError> {
        self.reader.clock()
    }

    fn set_clock(&mut self, mark: ClockMark, shift: i64) -> Result<(), StoreError> {
        self.durably(|connection| write_clock(connection, mark, shift))
    }
}

impl LeaseReader {
    /// Opens the database in the folder `state`; `None` if there is none yet.
    pub fn open(state: &Path) -> Result<Option<LeaseReader>, StoreError> {
        let path = state.join(DATABASE);
        if matches!(path.try_exists(), Ok(false)) {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<(Connection, i64)> {
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(WAIT)?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, version))
        };
        let (connection, version) = open().map_err(|error| explain("open", &path, &error))?;
        let reader = LeaseReader { connection, path };
        reader.check_version(version)?;
        Ok(Some(reader))
    }

    /// All leases, in the order of their addresses, and how many rows are none.
    pub fn load(&self) -> Result<(Vec<Lease>, usize), StoreError> {
        self.read().map_err(|error| explain("read", &self.path, &error))
    }

    /// The lease of `address`, if one is stored.
    pub fn lease(&self, address: Ipv4Addr) -> Result<Option<Lease>, StoreError> {
        let query = "SELECT address, client, hardware, boots, state, until FROM leases WHERE address = ?1";
        self.connection
            .query_row(query, [u32::from(address)], |row| Ok(lease_of(row)))
            .optional()
            .map(Option::flatten)
            .map_err(|error| explain("read", &self.path, &error))
    }

    /// The last mark of the clocks.
    pub fn clock(&self) -> Result<Option<ClockMark>, StoreError> {
        let millis = |row: &rusqlite::Row<'_>, column| {
            row.get(column).map(|millis: i64| u64::try_from(millis).unwrap_or(0))
        };
        // A database that only older versions wrote lacks the last two columns.
        let boot = |row: &rusqlite::Row<'_>| -> Option<Uptime> {
            let boot_id = Uuid::from_network(row.get("boot_id").ok()?);
            Some(Uptime { boot_id, up: Duration::from_millis(millis(row, "up").ok()?) })
        };
        self.connection
            .query_row("SELECT * FROM clock", [], |row| {
                let (steady, wall) = (Timestamp(millis(row, "steady")?), Timestamp(millis(row, "wall")?));
                Ok(ClockMark { steady, wall, boot: boot(row) })
            })
            .optional()
            .map_err(|error| explain("read", &self.path, &error))
    }

    fn read(&self) -> rusqlite::Result<(Vec<Lease>, usize)> {
        let query = "SELECT address, client, hardware, boots, state, until FROM leases ORDER BY address";
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query([])?;
        let mut leases = Vec::new();
        let mut skipped = 0;
        while let Some(row) = rows.next()? {
            match lease_of(row) {
                Some(lease) => leases.push(lease),
                None => skipped += 1,
            }
        }
        Ok((leases, skipped))
    }

    fn check_version(&self, version: i64) -> Result<(), StoreError> {
        if version == schema::VERSION {
            return Ok(());
        }
        let advice = if version > schema::VERSION {
            "use a newer lanboot"
        } else {
            "move it away to start without leases"
        };
        Err(StoreError(format!(
            "cannot use the lease database {}: it has schema version {version}, this lanboot knows {}: {advice}",
            self.path.display(),
            schema::VERSION
        )))
    }
}

/// Makes the connection durable.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(WAIT)?;
    connection.pragma_update(None, "page_size", PAGE_SIZE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)
}

/// Makes the connection durable and the database complete and sound; returns its schema version.
fn set_up(connection: &Connection) -> rusqlite::Result<i64> {
    configure(connection)?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        schema::create(connection)?;
        return Ok(schema::VERSION);
    }
    // A page that is read wrongly is a lease given twice: look at all of them before the first answer.
    let found: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if found == "ok" {
        if version == schema::VERSION {
            schema::complete(connection)?;
        }
        return Ok(version);
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    let found = found.lines().filter(|line| !line.starts_with("***")).collect::<Vec<_>>().join("; ");
    Err(rusqlite::Error::SqliteFailure(code, Some(found)))
}

/// Whether there was no room, for the database and its log or for the index of that.
fn is_full(error: &rusqlite::Error) -> bool {
    let for_index = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == for_index)
}

/// Whether the disk did not do what it was told.
fn has_failed(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) && !is_full(error)
}

/// What failed on which file, and what to do about it.
fn explain(what: &str, path: &Path, error: &rusqlite::Error) -> StoreError {
    let advice = match error.sqlite_error_code() {
        _ if is_full(error) => ": make room on its filesystem",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ": it is damaged; restore it from a backup, or move the file away (with its -wal and -shm files) to start \
             without leases"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ": lanboot must be able to write it and its folder"
        }
        Some(ErrorCode::SystemIoFailure) => ": the disk failed; see dmesg",
        _ => "",
    };
    StoreError(format!("cannot {what} the lease database {}: {error}{advice}", path.display()))
}

/// A row as a lease; `None` if somebody wrote something there that is none.
fn lease_of(row: &rusqlite::Row<'_>) -> Option<Lease> {
    let client: Vec<u8> = row.get(1).ok()?;
    let hardware = HardwareAddr::new(row.get_ref(2).ok()?.as_blob().ok()?)?;
    // The type of the hardware is stored only in the identity of a client that sends no identifier.
    let is_other_hardware = matches!(&client[..], [2..=255, address @ ..] if address == hardware.as_bytes());
    let mac = hardware.mac().filter(|_| !is_other_hardware);
    let holder = Holder { client: ClientId::from_stored(&client)?, mac, boots: row.get(3).ok()? };
    Some(Lease {
        address: Ipv4Addr::from(row.get::<_, u32>(0).ok()?),
        holder,
        hardware,
        state: state_of(row.get(4).ok()?)?,
        until: Timestamp::from_seconds(u64::try_from(row.get::<_, i64>(5).ok()?).ok()?),
    })
}

fn state_number(state: State) -> i64 {
    match state {
        State::Leased | State::Offered | State::Checking => 0,
        State::Released => 1,
        State::Declined => 2,
    }
}

fn state_of(number: i64) -> Option<State> {
    match number {
        0 => Some(State::Leased),
        1 => Some(State::Released),
        2 => Some(State::Declined),
        _ => None,
    }
}

/// A number as SQLite has them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
