//! The open database: writes changed rows, and keeps to its size.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};

use crate::journey::boot::{Boot, BootId};
use crate::journey::stored::{Key, checksum, encode_boot, read_boot};
use crate::journey::unsaved::{ChangedRow, ChangedRows};
use crate::types::{MacAddr, Timestamp};

/// Maximum size of the database in bytes. The oldest boots are deleted before it is reached.
pub const MAX_BYTES: i64 = 180 << 20;
/// Maximum time that a batch waits for another process with a lock, such as `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// SQLite's page cache in KiB.
const CACHE_KIB: i32 = 4096;
/// Number of boots that are deleted at once when the database is full.
const TRIM: u32 = 500;
/// Maximum number of such deletions after one batch, which adds fewer boots than that.
const MAX_TRIMS: u32 = 100;

/// The open database.
#[derive(Debug)]
pub struct JourneyFile {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Device and number of the file, by which a file that was moved or replaced is noticed.
    inode: Option<(u64, u64)>,
}

/// The change of the totals by one transaction.
#[derive(Default)]
struct Change {
    rows: i64,
    sum: u64,
}

impl JourneyFile {
    /// Opens the database at `path`, which exists.
    pub(super) fn open(path: &Path) -> rusqlite::Result<JourneyFile> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "TRUNCATE")?;
        // A power cut may lose the last batch. The totals show a loss.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(JourneyFile { connection, path: path.to_owned(), inode: inode(path) })
    }

    /// The version of its tables.
    pub(super) fn version(&self) -> rusqlite::Result<i64> {
        self.connection.pragma_query_value(None, "user_version", |row| row.get(0))
    }

    /// Whether the file is still at its path.
    pub fn is_in_place(&self) -> bool {
        self.inode.is_some() && inode(&self.path) == self.inode
    }

    /// Stores the rows in one transaction, and deletes the boots of their machines that are no longer kept.
    pub fn write(&mut self, changed: &[ChangedRows]) -> rusqlite::Result<()> {
        self.change(|transaction, change| {
            changed.iter().try_for_each(|machine| {
                machine.rows.iter().try_for_each(|row| store(transaction, row, change))?;
                let old = "DELETE FROM boots WHERE mac = ?1 AND started > 0 AND started < ?2 RETURNING sum";
                delete(transaction, old, params![number(machine.mac), signed(machine.oldest)], change)
            })
        })?;
        for _ in 0..MAX_TRIMS {
            if !self.is_full()? {
                break;
            }
            self.trim()?;
        }
        Ok(())
    }

    /// Deletes all rows of these machines.
    pub fn forget(&mut self, macs: &[MacAddr]) -> rusqlite::Result<()> {
        let statement = "DELETE FROM boots WHERE mac = ?1 RETURNING sum";
        self.change(|transaction, change| {
            macs.iter().try_for_each(|mac| delete(transaction, statement, params![number(*mac)], change))
        })
    }

    /// The number of boots.
    pub fn boots(&self) -> rusqlite::Result<u64> {
        let count = "SELECT count(*) FROM boots WHERE started > 0";
        self.connection.query_row(count, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }

    /// The machines that have rows.
    pub fn machines(&self) -> rusqlite::Result<Vec<MacAddr>> {
        let mut select = self.connection.prepare_cached("SELECT DISTINCT mac FROM boots")?;
        let macs = select.query_map([], |row| row.get(0).map(mac_of))?;
        macs.filter_map(Result::transpose).collect()
    }

    /// Whether the database has nearly its maximum size.
    fn is_full(&self) -> rusqlite::Result<bool> {
        let get = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let used = get("page_count")?.saturating_sub(get("freelist_count")?);
        Ok(used.saturating_mul(get("page_size")?) > MAX_BYTES / 10 * 9)
    }

    /// Deletes the oldest boots.
    fn trim(&mut self) -> rusqlite::Result<()> {
        let oldest = "DELETE FROM boots WHERE id IN (SELECT id FROM boots WHERE started > 0 ORDER BY started LIMIT ?1) \
                      RETURNING sum";
        self.change(|transaction, change| delete(transaction, oldest, params![TRIM], change))
    }

    /// Runs a transaction, and changes the totals with it.
    fn change(
        &mut self,
        run: impl FnOnce(&Transaction<'_>, &mut Change) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut change = Change::default();
        run(&transaction, &mut change)?;
        let sum: i64 = transaction.query_row("SELECT sum FROM totals", [], |row| row.get(0))?;
        let sum = sum.cast_unsigned().wrapping_add(change.sum).cast_signed();
        transaction.execute("UPDATE totals SET rows = rows + ?1, sum = ?2", params![change.rows, sum])?;
        transaction.commit()
    }
}

fn store(transaction: &Transaction<'_>, row: &ChangedRow, change: &mut Change) -> rusqlite::Result<()> {
    let key = row.key;
    let (mac, started) = (number(key.mac), signed(Timestamp(key.started)));
    let whole = if row.earlier > 0 { with_earlier(transaction, row)? } else { None };
    let data = whole.as_deref().unwrap_or(&row.data);
    let mut select = transaction.prepare_cached("SELECT sum FROM boots WHERE mac = ?1 AND started = ?2")?;
    let old = select.query_row(params![mac, started], sum_of).optional()?;
    let sum = checksum(key, data);
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO boots (mac, started, sum, data) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (mac, started) DO UPDATE SET sum = excluded.sum, data = excluded.data",
    )?;
    upsert.execute(params![mac, started, sum.cast_signed(), data])?;
    change.rows = change.rows.saturating_add(i64::from(old.is_none()));
    change.sum = change.sum.wrapping_add(sum).wrapping_sub(old.unwrap_or(0));
    Ok(())
}

/// The content of the row with the earlier events, which only the stored row has. `None` if that row cannot be read.
fn with_earlier(connection: &Connection, row: &ChangedRow) -> rusqlite::Result<Option<Vec<u8>>> {
    let id = BootId { mac: row.key.mac, started: Timestamp(row.key.started) };
    let (stored, boot) = (read(connection, id)?, read_boot(id, &row.data).ok());
    Ok(stored.zip(boot).map(|(mut stored, mut boot)| {
        stored.events.truncate(row.earlier);
        stored.events.append(&mut boot.events);
        encode_boot(&Boot { events: stored.events, ..boot })
    }))
}

/// Reads a boot. `None` if its row is missing or damaged.
pub(super) fn read(connection: &Connection, id: BootId) -> rusqlite::Result<Option<Boot>> {
    let mut select =
        connection.prepare_cached("SELECT sum, data FROM boots WHERE mac = ?1 AND started = ?2")?;
    let boot = select.query_row(params![number(id.mac), signed(id.started)], |row| {
        let (sum, data) = (sum_of(row)?, row.get_ref(1)?.as_blob()?);
        Ok(if checksum(Key::of_boot(id), data) == sum { read_boot(id, data).ok() } else { None })
    });
    boot.optional().map(Option::flatten)
}

/// Runs a statement that deletes rows and returns their checksums.
fn delete(
    transaction: &Transaction<'_>,
    statement: &str,
    parameters: &[&dyn rusqlite::ToSql],
    change: &mut Change,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(statement)?;
    for sum in statement.query_map(parameters, sum_of)? {
        change.rows = change.rows.saturating_sub(1);
        change.sum = change.sum.wrapping_sub(sum?);
    }
    Ok(())
}

fn sum_of(row: &Row<'_>) -> rusqlite::Result<u64> {
    row.get::<_, i64>(0).map(i64::cast_unsigned)
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// A MAC as a number of 48 bits.
fn number(mac: MacAddr) -> i64 {
    mac.0.iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// The MAC of a number; `None` if it has more than 48 bits.
pub(super) fn mac_of(number: i64) -> Option<MacAddr> {
    match number.to_be_bytes() {
        [0, 0, mac @ ..] => Some(MacAddr(mac)),
        _ => None,
    }
}

fn signed(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}
