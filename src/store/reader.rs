//! Reads the lease database without the lock, even while a server writes to it. The `leases` commands use it. It also
//! explains errors of SQLite to the operator.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use tempfile::TempDir;

use crate::lease::Lease;
use crate::store::count::{self, Recorded};
use crate::store::files::DATABASE;
use crate::store::files::PAGE_SIZE;
use crate::store::findings::Findings;
use crate::store::integrity::Content;
use crate::store::lease_store::{ClockMark, StoreError};
use crate::store::lock::while_stopped;
use crate::store::rows::{COLUMNS, ClockRow, Row};
use crate::store::{schema, wal};

/// Maximum time that a commit waits for another process with a lock on the database, such as `sqlite3` in exclusive
/// mode.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The lease database, open for reading. A server may write to it at the same time.
#[derive(Debug)]
pub struct LeaseReader {
    connection: Connection,
    path: PathBuf,
    /// Content of `leases.commits` before the database was opened.
    recorded: Recorded,
    /// Number of commits in the log that cannot be recovered.
    lost_in_log: u64,
    /// The folder of the copy that is read, if this user cannot write beside the database. It is removed with this value.
    _copy: Option<TempDir>,
}

fn needs_write_access(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied))
}

/// Copies the database and its log from the folder `state` to a private folder.
fn copy(state: &Path) -> std::io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::copy(state.join(DATABASE), folder.path().join(DATABASE))?;
    let log = wal::path_of(Path::new(DATABASE));
    match std::fs::copy(state.join(&log), folder.path().join(&log)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(folder),
    }
}

impl LeaseReader {
    /// Opens the database in the folder `state`; `None` if there is none.
    pub fn open(state: &Path) -> Result<Option<LeaseReader>, StoreError> {
        let path = state.join(DATABASE);
        if path.metadata().is_ok_and(|found| found.len() == 0) || matches!(path.try_exists(), Ok(false)) {
            return Ok(None);
        }
        // Read the record first: a running server records each commit after storing it, so the record cannot be newer
        // than the database.
        let recorded = count::read(state);
        // Only while no server runs, because a log that is being written looks damaged.
        let log = while_stopped(state, || wal::examine(&path, PAGE_SIZE).unwrap_or_default());
        let lost_in_log = log.unwrap_or_default().lost;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = |path: &Path| -> rusqlite::Result<(Connection, i64)> {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, version))
        };
        // SQLite must write beside a database with a log, if no server has it open. This user may not be allowed to.
        let (opened, copy) = match open(&path) {
            Err(error) if needs_write_access(&error) => match copy(state) {
                Ok(copy) => (open(&copy.path().join(DATABASE)), Some(copy)),
                Err(_) => (Err(error), None),
            },
            opened => (opened, None),
        };
        let (connection, version) = opened.map_err(|error| explain("open", &path, &error))?;
        check_version(&path, version)?;
        Ok(Some(LeaseReader { connection, path, recorded, lost_in_log, _copy: copy }))
    }

    /// Messages about the losses if there is no database in the folder `state`.
    pub fn lost_with_database(state: &Path) -> Vec<String> {
        Findings::without_database(state, &count::read(state)).losses
    }

    /// Loads all leases in the order of their addresses, the number of rows that are not leases, and the messages
    /// about losses.
    pub fn load(&self) -> Result<(Vec<Lease>, usize, Vec<String>), StoreError> {
        let read = Content::read(&self.connection);
        let content = read.map_err(|error| explain("read", &self.path, &error))?;
        let losses = Findings::compare(&self.path, &self.recorded, &content, self.lost_in_log).losses;
        Ok((content.rows.leases(), content.rows.skipped(), losses))
    }

    /// The stored lease of `address`.
    pub fn lease(&self, address: Ipv4Addr) -> Result<Option<Lease>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM leases WHERE address = ?1");
        self.connection
            .query_row(&query, [u32::from(address)], |row| Ok(Row::read(row)?.lease()))
            .optional()
            .map(Option::flatten)
            .map_err(|error| explain("read", &self.path, &error))
    }

    /// The last stored mark.
    pub fn clock(&self) -> Result<Option<ClockMark>, StoreError> {
        let row = ClockRow::read(&self.connection).map_err(|error| explain("read", &self.path, &error))?;
        Ok(row.map(|row| row.mark()))
    }
}

/// Refuses a database with an unknown schema version.
pub(super) fn check_version(path: &Path, version: i64) -> Result<(), StoreError> {
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
        path.display(),
        schema::VERSION
    )))
}

/// Whether the disk failed for another reason than lack of space.
pub(super) fn has_failed(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) && !is_full(error)
}

/// Whether the disk has no room for the database, its log, or the index of the log.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    let for_index = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == for_index)
}

/// Turns an error into a message that names the operation, the file and a remedy.
pub(super) fn explain(what: &str, path: &Path, error: &rusqlite::Error) -> StoreError {
    let advice = match error.sqlite_error_code() {
        _ if is_full(error) => ": make room on its filesystem",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown) | None => {
            ": it is damaged; restore it from a backup, or move the file away (with its -wal and -shm files) to start \
             without leases; docs/leases.md says what else can be done"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ": lanboot must be able to write it and its folder"
        }
        Some(ErrorCode::SystemIoFailure) => ": the disk failed; see dmesg",
        _ => "",
    };
    StoreError(format!("cannot {what} the lease database {}: {error}{advice}", path.display()))
}
