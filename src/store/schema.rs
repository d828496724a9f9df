//! The tables of the lease database.

use rusqlite::Connection;

use crate::store::integrity;

/// The version of the tables, kept in `user_version`. A column that older versions of lanboot need not know changes
/// nothing about it.
pub(super) const VERSION: i64 = 2;

/// `boots`: 1 if firmware or a loader had it. `state`: 0 leased, 1 released, 2 declined. `until`: seconds since 1970.
/// `address`: the address as a number. `clock`: one row, both clocks in milliseconds since 1970.
const TABLES: &str = "
    CREATE TABLE leases (
        address INTEGER PRIMARY KEY,
        client BLOB NOT NULL,
        hardware BLOB NOT NULL,
        boots INTEGER NOT NULL,
        state INTEGER NOT NULL,
        until INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE clock (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        steady INTEGER NOT NULL,
        wall INTEGER NOT NULL
    ) STRICT;
    CREATE VIEW lease_list AS SELECT
        (address >> 24) || '.' || (address >> 16 & 255) || '.' || (address >> 8 & 255) || '.' || (address & 255) AS address,
        lower(hex(hardware)) AS hardware,
        lower(hex(client)) AS client,
        CASE state WHEN 0 THEN 'leased' WHEN 1 THEN 'released' ELSE 'declined' END AS state,
        datetime(until, 'unixepoch') AS until
    FROM leases ORDER BY leases.address;
    PRAGMA user_version = 2;
";

/// Of the row in `clock`, the boot's id and the milliseconds since that boot; both NULL where they are not known, or where
/// an older version wrote the row. It knows neither column.
const UPTIME: &str = "
    ALTER TABLE clock ADD COLUMN boot_id BLOB;
    ALTER TABLE clock ADD COLUMN up INTEGER;
";

/// Makes the tables of a new database, in a transaction of the caller's.
pub(super) fn create(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute_batch(&format!("{TABLES} {UPTIME} {}", integrity::TABLE))
}

/// Adds to a database of this version what it did not have from the beginning.
pub(super) fn complete(connection: &Connection) -> rusqlite::Result<()> {
    let columns = "SELECT count(*) FROM pragma_table_info('clock') WHERE name = 'up'";
    if connection.query_row(columns, [], |row| row.get::<_, i64>(0))? == 0 {
        connection.execute_batch(&format!("BEGIN; {UPTIME} COMMIT;"))?;
    }
    let table = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'integrity'";
    if connection.query_row(table, [], |row| row.get::<_, i64>(0))? == 0 {
        connection.execute_batch(&format!("BEGIN; {} COMMIT;", integrity::TABLE))?;
    }
    Ok(())
}
