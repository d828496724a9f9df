//! The row `integrity`, by which a start checks that the database is complete: the number of commits, the number of
//! rows, and the sum of their checksums.
//!
//! The same numbers are stored outside the database in `leases.commits` (count.rs). If they differ, commits were
//! lost.
//!
//! Only the store writes this row, with triggers disabled. Any other program that changes a lease, such as `sqlite3`
//! or an older lanboot, fires the triggers below, and the next start accepts the changed leases.

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::store::rows::{Checksum, ClockRow, Rows, Totals};

/// `database`: random number that identifies the database. `sum`: sum of the checksums of all rows in `leases` and
/// `clock`. `checksum`: checksum of the first four numbers of this row. `edited`: 1 after another program changed a
/// row.
pub(super) const TABLE: &str = "
    CREATE TABLE integrity (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        database INTEGER NOT NULL,
        commits INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        edited INTEGER NOT NULL
    ) STRICT;
    CREATE TRIGGER IF NOT EXISTS leases_inserted AFTER INSERT ON leases BEGIN UPDATE integrity SET edited = 1; END;
    CREATE TRIGGER IF NOT EXISTS leases_updated AFTER UPDATE ON leases BEGIN UPDATE integrity SET edited = 1; END;
    CREATE TRIGGER IF NOT EXISTS leases_deleted AFTER DELETE ON leases BEGIN UPDATE integrity SET edited = 1; END;
    CREATE TRIGGER IF NOT EXISTS clock_inserted AFTER INSERT ON clock BEGIN UPDATE integrity SET edited = 1; END;
    CREATE TRIGGER IF NOT EXISTS clock_updated AFTER UPDATE ON clock BEGIN UPDATE integrity SET edited = 1; END;
    CREATE TRIGGER IF NOT EXISTS clock_deleted AFTER DELETE ON clock BEGIN UPDATE integrity SET edited = 1; END;
";

/// The state of a database after one commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Integrity {
    /// Random number that identifies the database.
    pub(super) database: i64,
    /// Number of commits since the database was created.
    pub(super) commits: i64,
    /// Number of rows in `leases`.
    pub(super) rows: i64,
    /// Sum of the checksums of all rows.
    pub(super) sum: i64,
}

impl Integrity {
    /// The state of a new database.
    pub(super) fn new(connection: &Connection) -> rusqlite::Result<Integrity> {
        let database = connection.query_row("SELECT random()", [], |row| row.get(0))?;
        Ok(Integrity { database, commits: 0, rows: 0, sum: 0 }.with(Totals::default(), None))
    }

    /// The state after one more commit that leaves the tables with these totals.
    pub(super) fn next(&self, totals: Totals, clock: Option<ClockRow>) -> Integrity {
        Integrity { commits: self.commits.saturating_add(1), ..self.with(totals, clock) }
    }

    /// The state after the same commit, with these totals.
    pub(super) fn with(&self, totals: Totals, clock: Option<ClockRow>) -> Integrity {
        let sum = totals.sum.wrapping_add(clock.map_or(0, |clock| clock.checksum()));
        let rows = i64::try_from(totals.rows).unwrap_or(i64::MAX);
        Integrity { rows, sum: sum.cast_signed(), ..*self }
    }

    /// Checksum of the four numbers. A change of any byte changes it.
    pub(super) fn checksum(&self) -> i64 {
        let mut sum = Checksum::default();
        [self.database, self.commits, self.rows, self.sum].iter().for_each(|number| sum.number(*number));
        sum.finish().cast_signed()
    }

    /// Writes the row for the first time, or again after another program edited the tables.
    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Integrity { database, commits, rows, sum } = *self;
        connection
            .execute(
                "INSERT OR REPLACE INTO integrity (id, database, commits, rows, sum, checksum, edited) \
                 VALUES (0, ?1, ?2, ?3, ?4, ?5, 0)",
                params![database, commits, rows, sum, self.checksum()],
            )
            .map(drop)
    }

    /// Updates the row. Call it in the transaction that it describes.
    pub(super) fn update(&self, connection: &Connection) -> rusqlite::Result<()> {
        let update = "UPDATE integrity SET commits = ?1, rows = ?2, sum = ?3, checksum = ?4 WHERE id = 0";
        let mut update = connection.prepare_cached(update)?;
        match update.execute(params![self.commits, self.rows, self.sum, self.checksum()])? {
            1 => Ok(()),
            _ => Err(corrupt("the row in its table `integrity` is missing".to_owned())),
        }
    }
}

/// The whole content of a database.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) rows: Rows,
    pub(super) clock: Option<ClockRow>,
    /// `None` in a database that an older version created.
    pub(super) integrity: Option<Integrity>,
    /// Whether another program has changed a row.
    pub(super) is_edited: bool,
}

impl Content {
    /// Reads everything in one transaction and fails if a bit has changed.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Content> {
        let moment = connection.unchecked_transaction()?;
        let has_table: bool = moment.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'integrity'",
            [],
            |row| row.get(0),
        )?;
        let (rows, clock) = (Rows::read(&moment)?, ClockRow::read(&moment)?);
        if !has_table {
            return Ok(Content { rows, clock, integrity: None, is_edited: true });
        }
        let query = "SELECT database, commits, rows, sum, checksum, edited FROM integrity WHERE id = 0";
        let read = |row: &rusqlite::Row<'_>| {
            let integrity = Integrity {
                database: row.get(0)?,
                commits: row.get(1)?,
                rows: row.get(2)?,
                sum: row.get(3)?,
            };
            Ok((integrity, row.get::<_, i64>(4)?, row.get::<_, i64>(5)? != 0))
        };
        let found = moment.query_row(query, [], read).optional()?;
        let Some((integrity, checksum, is_edited)) = found else {
            return Err(corrupt("the row in its table `integrity` is missing".to_owned()));
        };
        let content = Content { rows, clock, integrity: Some(integrity), is_edited };
        match content.fault(&integrity, checksum).filter(|_| !is_edited) {
            Some(fault) => Err(corrupt(fault)),
            None => Ok(content),
        }
    }

    fn fault(&self, integrity: &Integrity, checksum: i64) -> Option<String> {
        let found = integrity.with(self.rows.totals(), self.clock);
        if integrity.checksum() != checksum {
            Some("the row in its table `integrity` has changed".to_owned())
        } else if found.rows != integrity.rows {
            Some(format!("it has {} leases where {} were stored", found.rows, integrity.rows))
        } else if found.sum != integrity.sum {
            Some(format!("one or more of its {} leases have changed", found.rows))
        } else {
            None
        }
    }
}

/// An error that reports the database as damaged.
pub(super) fn corrupt(what: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(what))
}

/// Whether the error means that the data is damaged, rather than that it could not be read.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => {
            matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        // A value has another type than its column.
        None => true,
    }
}
