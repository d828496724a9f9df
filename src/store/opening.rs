//! Opens the database at a start: checks that it is complete, recovers it without a damaged log if possible, and
//! creates it if there is none. `SqliteStore::open` calls it while it holds the lock.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::event::{Reports, ServerFact};
use crate::store::count::{self, Recorded};
use crate::store::create::{Draft, set_aside};
use crate::store::files::DATABASE;
use crate::store::files::{LOG_PAGES, PAGE_SIZE};
use crate::store::findings::Findings;
use crate::store::integrity::{Content, Integrity, corrupt, is_damage};
use crate::store::lease_store::StoreError;
use crate::store::reader::{BUSY_TIMEOUT, check_version, explain};
use crate::store::rows::{ClockRow, Rows};
use crate::store::schema;
use crate::store::wal::{self, path_of};

/// SQLite's page cache in KiB. The database is read once and then only written, so it can be small.
const CACHE_KIB: i32 = 2048;

/// A complete database, open for writing, and its content.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) rows: Rows,
    pub(super) clock: Option<ClockRow>,
    pub(super) integrity: Integrity,
    pub(super) findings: Findings,
}

/// Opens or creates the database in the folder `state`. The caller holds the lock.
pub(super) fn open(state: &Path, reports: &Reports) -> Result<Opened, StoreError> {
    let path = state.join(DATABASE);
    let recorded = count::read(state);
    let log = wal::examine(&path, PAGE_SIZE).map_err(|error| {
        StoreError(format!("cannot read the log of the lease database {}: {error}", path.display()))
    })?;
    let new = is_new(&path)
        .map_err(|error| StoreError(format!("cannot open the lease database {}: {error}", path.display())))?;
    if new {
        if log.has_frames {
            // Keep the log for analysis; SQLite would delete it.
            let _ = set_aside(&path_of(&path));
        }
        let draft = Draft::write(state, &Rows::default(), None, None);
        let draft = draft.map_err(|error| error.explain(state))?;
        draft.publish().map_err(|error| {
            StoreError(format!("cannot make the lease database {}: {error}", path.display()))
        })?;
    }
    let mut opened = open_whole(&path);
    let lacks_commits = match &opened {
        Ok((_, content)) => !has_all(content, &recorded),
        Err(refused) => refused.is_damaged,
    };
    if lacks_commits && log.has_frames {
        // Commits behind the damage in the log may already be in the database, if a checkpoint moved them there. Then
        // the database is complete without the log.
        drop(opened);
        opened = match without_log(&path, &recorded, reports)? {
            Some(opened) => Ok(opened),
            None => open_whole(&path),
        };
    }
    let (connection, content) = opened.map_err(|refused| refused.error)?;
    let findings = match new {
        true => Findings::without_database(state, &recorded),
        false => Findings::compare(&path, &recorded, &content, log.lost),
    };
    if !findings.losses.is_empty() && log.lost > 0 {
        let _ = fs::copy(path_of(&path), wal::with_suffix(&path, "-wal.aside"));
    }
    complete(connection, content, findings).map_err(|error| explain("set up", &path, &error))
}

/// Whether there is no database: no file, or an empty one.
fn is_new(path: &Path) -> std::io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file() && found.len() == 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

struct Refused {
    error: StoreError,
    is_damaged: bool,
}

/// Opens a database and reads all of it. A damaged database is not changed, so its log stays intact.
fn open_whole(path: &Path) -> Result<(Connection, Content), Refused> {
    let refuse = |what: &str, error: &rusqlite::Error| Refused {
        error: explain(what, path, error),
        is_damaged: is_damage(error),
    };
    let connection = Connection::open(path).map_err(|error| refuse("open", &error))?;
    let version = set_up(&connection).map_err(|error| refuse("set up", &error))?;
    check_version(path, version).map_err(|error| Refused { error, is_damaged: true })?;
    let content = Content::read(&connection).map_err(|error| refuse("read", &error))?;
    Ok((connection, content))
}

/// Whether the database contains all recorded commits.
fn has_all(content: &Content, recorded: &Recorded) -> bool {
    match (recorded, content.integrity) {
        (Recorded::Commit(recorded), Some(found)) => {
            found.database == recorded.database && found.commits >= recorded.commits
        }
        _ => true,
    }
}

/// Opens the database without its log, if no recorded commit is missing then. The log is kept under another name.
fn without_log(
    path: &Path,
    recorded: &Recorded,
    reports: &Reports,
) -> Result<Option<(Connection, Content)>, StoreError> {
    if !matches!(recorded, Recorded::Commit(_)) {
        return Ok(None);
    }
    let (log, aside) = (path_of(path), wal::with_suffix(path, "-wal.aside"));
    let fail = |error: std::io::Error| {
        StoreError(format!("cannot rename the damaged log {}: {error}", log.display()))
    };
    fs::rename(&log, &aside).map_err(fail)?;
    if let Ok((connection, content)) = open_whole(path) {
        if content.integrity.is_some() && has_all(&content, recorded) {
            let text = format!(
                "the log of {} was damaged, and is kept as {}: all leases were in the database already",
                path.display(),
                aside.display()
            );
            reports.report(ServerFact::StoreLogDamaged, text);
            return Ok(Some((connection, content)));
        }
        // The connection must be closed before the log gets its name back.
        drop(connection);
    }
    fs::rename(&aside, &log).map_err(fail)?;
    Ok(None)
}

/// Configures the connection for durable commits.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "page_size", PAGE_SIZE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // The triggers only serve to detect other programs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).map(drop)
}

/// Configures the connection and checks all pages of the database. Returns the schema version.
fn set_up(connection: &Connection) -> rusqlite::Result<i64> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    configure(connection)?;
    // A damaged page could lead to an address leased twice, so all pages are checked before the first reply.
    let found: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if found != "ok" {
        let found = found.lines().filter(|line| !line.starts_with("***")).collect::<Vec<_>>().join("; ");
        return Err(corrupt(found));
    }
    if connection.is_readonly("main")? {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        let why = "it is read-only, or the header of the file is damaged";
        return Err(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())));
    }
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Adds tables and columns that older versions did not create, and accepts changes that other programs made.
fn complete(connection: Connection, content: Content, findings: Findings) -> rusqlite::Result<Opened> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    schema::complete(&connection)?;
    let Content { rows, clock, integrity, is_edited } = content;
    let integrity = match integrity {
        Some(integrity) if !is_edited => integrity,
        Some(integrity) => integrity.next(rows.totals(), clock),
        None => Integrity::new(&connection)?.with(rows.totals(), clock),
    };
    if is_edited {
        integrity.insert(&connection)?;
    }
    Ok(Opened { connection, rows, clock, integrity, findings })
}
