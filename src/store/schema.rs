//! The tables of the lease database, and the additions to tables that older versions created.

use rusqlite::Connection;

use crate::store::integrity;

/// Version of the tables, stored in `user_version`. Adding a column that older versions can ignore does not change
/// it.
pub(super) const VERSION: i64 = 2;

/// `boots`: 1 if firmware or a boot loader got the lease. `state`: 0 leased, 1 released, 2 declined. `until`: seconds
/// since 1970. `address`: the address as a number. `clock`: one row with both clocks in milliseconds since 1970.
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

/// Columns of `clock` with the boot id and the milliseconds since that boot. Both are NULL if unknown, or if an older
/// version wrote the row, which knows neither column.
const UPTIME: &str = "
    ALTER TABLE clock ADD COLUMN boot_id BLOB;
    ALTER TABLE clock ADD COLUMN up INTEGER;
";

/// Creates the tables of a new database. The caller begins and commits the transaction.
pub(super) fn create(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute_batch(&format!("{TABLES} {UPTIME} {}", integrity::TABLE))
}

/// Adds tables and columns that a database of this version may lack.
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
