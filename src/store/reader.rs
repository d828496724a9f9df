//! Reading the lease database, also while a server writes it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::lease::Lease;
use crate::store::count::{self, Noted};
use crate::store::create::PAGE_SIZE;
use crate::store::findings::Findings;
use crate::store::integrity::Content;
use crate::store::lock::while_stopped;
use crate::store::rows::{COLUMNS, ClockRow, Row};
use crate::store::{ClockMark, DATABASE, StoreError, schema, wal};

/// How long a commit waits for a reader that is in its way, such as `sqlite3` in exclusive mode.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// The lease database, open for reading, also while a server writes it.
#[derive(Debug)]
pub struct LeaseReader {
    connection: Connection,
    path: PathBuf,
    /// What `leases.commits` said before the database was opened.
    noted: Noted,
    /// Commits in the log that cannot be recovered.
    lost_in_log: u64,
}

impl LeaseReader {
    /// Opens the database in the folder `state`; `None` if there is none yet.
    pub fn open(state: &Path) -> Result<Option<LeaseReader>, StoreError> {
        let path = state.join(DATABASE);
        if path.metadata().is_ok_and(|found| found.len() == 0) || matches!(path.try_exists(), Ok(false)) {
            return Ok(None);
        }
        // Before the database is read: a server that writes it notes each commit after it.
        let noted = count::read(state);
        // What a server writes meanwhile would look like damage.
        let log = while_stopped(state, || wal::examine(&path, PAGE_SIZE).unwrap_or_default());
        let lost_in_log = log.unwrap_or_default().lost;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<(Connection, i64)> {
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(WAIT)?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, version))
        };
        let (connection, version) = open().map_err(|error| explain("open", &path, &error))?;
        check_version(&path, version)?;
        Ok(Some(LeaseReader { connection, path, noted, lost_in_log }))
    }

    /// What is known to be lost from a database in the folder `state` that cannot be opened because it is not there.
    pub fn lost_with_database(state: &Path) -> Vec<String> {
        Findings::without_database(state, &count::read(state)).losses
    }

    /// All leases, in the order of their addresses, how many rows are none, and what is known to be lost.
    pub fn load(&self) -> Result<(Vec<Lease>, usize, Vec<String>), StoreError> {
        let read = Content::read(&self.connection);
        let content = read.map_err(|error| explain("read", &self.path, &error))?;
        let losses = Findings::compare(&self.path, &self.noted, &content, self.lost_in_log).losses;
        Ok((content.rows.leases(), content.rows.skipped(), losses))
    }

    /// The lease of `address`, if one is stored.
    pub fn lease(&self, address: Ipv4Addr) -> Result<Option<Lease>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM leases WHERE address = ?1");
        self.connection
            .query_row(&query, [u32::from(address)], |row| Ok(Row::read(row)?.lease()))
            .optional()
            .map(Option::flatten)
            .map_err(|error| explain("read", &self.path, &error))
    }

    /// The last mark of the clocks.
    pub fn clock(&self) -> Result<Option<ClockMark>, StoreError> {
        let row = ClockRow::read(&self.connection).map_err(|error| explain("read", &self.path, &error))?;
        Ok(row.map(|row| row.mark()))
    }
}

/// Refuses a database whose tables this version does not know.
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

/// Whether there was no room, for the database and its log or for the index of that.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    let for_index = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == for_index)
}

/// What failed on which file, and what to do about it.
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
