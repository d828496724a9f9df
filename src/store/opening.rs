//! How a start opens the database, finds out whether it is whole, and makes one where there is none.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::store::count::{self, Noted};
use crate::store::create::{Draft, PAGE_SIZE, set_aside};
use crate::store::findings::Findings;
use crate::store::integrity::{Content, Integrity, corrupt, is_damage};
use crate::store::reader::{WAIT, check_version, explain};
use crate::store::rows::{ClockRow, Rows};
use crate::store::sqlite::LOG_PAGES;
use crate::store::wal::{self, path_of};
use crate::store::{DATABASE, StoreError, schema};

/// Memory for pages, in KiB: the database is read once and then only written.
const CACHE_KIB: i32 = 2048;

/// A database that is open and whole.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) rows: Rows,
    pub(super) clock: Option<ClockRow>,
    pub(super) integrity: Integrity,
    pub(super) findings: Findings,
}

/// Opens the database in the folder `state`, or makes it. The caller has the lock.
pub(super) fn open(state: &Path) -> Result<Opened, StoreError> {
    let path = state.join(DATABASE);
    let noted = count::read(state);
    let log = wal::examine(&path, PAGE_SIZE).map_err(|error| {
        StoreError(format!("cannot read the log of the lease database {}: {error}", path.display()))
    })?;
    let new = is_new(&path)
        .map_err(|error| StoreError(format!("cannot open the lease database {}: {error}", path.display())))?;
    if new {
        if log.has_frames {
            // Worth a look by an expert; SQLite would delete it.
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
        Ok((_, content)) => !has_all(content, &noted),
        Err(Refused(_, is_damaged)) => *is_damaged,
    };
    if lacks_commits && log.has_frames {
        // What a damaged log hides may be in the database: all of it was moved there, before or after the damage.
        drop(opened);
        opened = match without_log(&path, &noted)? {
            Some(opened) => Ok(opened),
            None => open_whole(&path),
        };
    }
    let (connection, content) = opened.map_err(|Refused(error, _)| error)?;
    let findings = match new {
        true => Findings::without_database(state, &noted),
        false => Findings::compare(&path, &noted, &content, log.lost),
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

/// Why a database is not used, and whether that is because it is damaged.
struct Refused(StoreError, bool);

/// Opens a database and reads all of it. It is not changed if it is not whole: nothing of its log is lost.
fn open_whole(path: &Path) -> Result<(Connection, Content), Refused> {
    let refuse = |what: &str, error: &rusqlite::Error| Refused(explain(what, path, error), is_damage(error));
    let connection = Connection::open(path).map_err(|error| refuse("open", &error))?;
    let version = set_up(&connection).map_err(|error| refuse("set up", &error))?;
    check_version(path, version).map_err(|error| Refused(error, true))?;
    let content = Content::read(&connection).map_err(|error| refuse("read", &error))?;
    Ok((connection, content))
}

/// Whether no commit is missing that was noted.
fn has_all(content: &Content, noted: &Noted) -> bool {
    match (noted, content.integrity) {
        (Noted::Commit(noted), Some(found)) => {
            found.database == noted.database && found.commits >= noted.commits
        }
        _ => true,
    }
}

/// Opens a database without its log, which is kept under another name, if nothing is missing then.
fn without_log(path: &Path, noted: &Noted) -> Result<Option<(Connection, Content)>, StoreError> {
    if !matches!(noted, Noted::Commit(_)) {
        return Ok(None);
    }
    let (log, aside) = (path_of(path), wal::with_suffix(path, "-wal.aside"));
    let fail = |error: std::io::Error| {
        StoreError(format!("cannot rename the damaged log {}: {error}", log.display()))
    };
    fs::rename(&log, &aside).map_err(fail)?;
    if let Ok((connection, content)) = open_whole(path) {
        if content.integrity.is_some() && has_all(&content, noted) {
            tracing::warn!(
                "the log of {} was damaged, and is kept as {}: all leases were in the database already",
                path.display(),
                aside.display()
            );
            return Ok(Some((connection, content)));
        }
        // Closed before its log comes back.
        drop(connection);
    }
    fs::rename(&aside, &log).map_err(fail)?;
    Ok(None)
}

/// Makes the connection durable.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(WAIT)?;
    connection.pragma_update(None, "page_size", PAGE_SIZE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // They are there to notice other programs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).map(drop)
}

/// Makes the connection durable, and says what is wrong with the pages of the database; returns its schema version.
fn set_up(connection: &Connection) -> rusqlite::Result<i64> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    configure(connection)?;
    // A page that is read wrongly is a lease given twice: look at all of them before the first answer.
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

/// Adds to a whole database what older versions did not have, and takes what other programs changed for right.
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
