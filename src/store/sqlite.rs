//! The embedded store: one SQLite database, `leases.db` in the state folder.
//!
//! Write-ahead log with `synchronous=FULL`: a commit returns after its fsync, so kill -9 and a power cut lose nothing
//! that was committed. The view `lease_list` shows the leases as a person reads them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::lease::{Holder, Lease, State};
use crate::store::{LeaseStore, StoreError};
use crate::types::{ClientId, MacAddr, Timestamp};

/// The version of the schema below, kept in `user_version`.
const SCHEMA_VERSION: i64 = 1;

/// `boots`: 1 if firmware or a loader had it. `state`: 0 leased, 1 released, 2 declined. `until`: seconds since 1970. `address`: the address as a number.
const SCHEMA: &str = "
    CREATE TABLE leases (
        address INTEGER PRIMARY KEY,
        client BLOB NOT NULL,
        hardware BLOB NOT NULL,
        boots INTEGER NOT NULL,
        state INTEGER NOT NULL,
        until INTEGER NOT NULL
    ) STRICT;
    CREATE VIEW lease_list AS SELECT
        (address >> 24) || '.' || (address >> 16 & 255) || '.' || (address >> 8 & 255) || '.' || (address & 255) AS address,
        lower(hex(hardware)) AS hardware,
        lower(hex(client)) AS client,
        CASE state WHEN 0 THEN 'leased' WHEN 1 THEN 'released' ELSE 'declined' END AS state,
        datetime(until, 'unixepoch') AS until
    FROM leases ORDER BY leases.address;
    PRAGMA user_version = 1;
";

const UPSERT: &str = "
    INSERT INTO leases (address, client, hardware, boots, state, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (address) DO UPDATE SET
        client = excluded.client, hardware = excluded.hardware, boots = excluded.boots, state = excluded.state, until = excluded.until
";

/// An open lease database.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the database at `path`, or makes it. A newer lanboot's database is refused rather than misread.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let fail = |what: &str, error: &dyn std::fmt::Display| {
            StoreError(format!("{what} {}: {error}", path.display()))
        };
        let connection =
            Connection::open(path).map_err(|error| fail("cannot open the lease database", &error))?;
        let set_up = |connection: &Connection| -> rusqlite::Result<i64> {
            connection.busy_timeout(std::time::Duration::from_secs(2))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version == 0 {
                connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?;
                return Ok(SCHEMA_VERSION);
            }
            Ok(version)
        };
        let version =
            set_up(&connection).map_err(|error| fail("cannot set up the lease database", &error))?;
        if version != SCHEMA_VERSION {
            let why = format!(
                "it has schema version {version}, this lanboot knows {SCHEMA_VERSION}: use a newer lanboot"
            );
            return Err(fail("cannot use the lease database", &why));
        }
        Ok(SqliteStore { connection, path: path.to_owned() })
    }

    fn error(&self, what: &str, error: &rusqlite::Error) -> StoreError {
        StoreError(format!("cannot {what} the lease database {}: {error}", self.path.display()))
    }

    fn read(&self) -> rusqlite::Result<(Vec<Lease>, usize)> {
        let mut statement =
            self.connection.prepare("SELECT address, client, hardware, boots, state, until FROM leases")?;
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

    fn write(&mut self, leases: &[Lease]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut upsert = transaction.prepare_cached(UPSERT)?;
            for lease in leases {
                upsert.execute(params![
                    u32::from(lease.address),
                    lease.holder.client.as_bytes(),
                    lease.hardware,
                    lease.holder.boots,
                    state_number(lease.state),
                    i64::try_from(lease.until.seconds()).unwrap_or(i64::MAX),
                ])?;
            }
        }
        transaction.commit()
    }
}

impl LeaseStore for SqliteStore {
    fn load(&mut self) -> Result<(Vec<Lease>, usize), StoreError> {
        self.read().map_err(|error| self.error("read", &error))
    }

    fn commit(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        if leases.is_empty() {
            return Ok(());
        }
        self.write(leases).map_err(|error| self.error("write to", &error))
    }
}

/// A row as a lease; `None` if somebody wrote something there that is none.
fn lease_of(row: &rusqlite::Row<'_>) -> Option<Lease> {
    let client: Vec<u8> = row.get(1).ok()?;
    let hardware: Vec<u8> = row.get(2).ok().filter(|hardware: &Vec<u8>| hardware.len() <= 16)?;
    let mac = hardware.as_slice().try_into().ok().map(MacAddr);
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
