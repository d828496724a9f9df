//! Creates a database under a temporary name and renames it once all of it is on stable storage. Other processes
//! therefore see a complete database or none, even if this process is killed.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::store::files::PAGE_SIZE;
use crate::store::files::{DATABASE, FILE_MODE};
use crate::store::integrity::Integrity;
use crate::store::lease_store::StoreError;
use crate::store::lock::give_to_owner;
use crate::store::rows::{ClockRow, Rows};
use crate::store::schema;
use crate::store::wal::{path_of, with_suffix};

/// Statement that stores a row; it takes [`crate::store::rows::COLUMNS`].
pub(super) const UPSERT: &str = "
    INSERT INTO leases (address, client, hardware, boots, state, until)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (address) DO UPDATE SET
        client = excluded.client, hardware = excluded.hardware, boots = excluded.boots,
        state = excluded.state, until = excluded.until
";

/// A complete database under a temporary name. It is deleted when dropped.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    state: PathBuf,
}

impl Draft {
    /// Writes a database with these rows in the folder `state`. Without `integrity` the database gets a new identity.
    pub(super) fn write(
        state: &Path,
        rows: &Rows,
        clock: Option<ClockRow>,
        integrity: Option<Integrity>,
    ) -> Result<Draft, DraftError> {
        let draft = Draft { path: state.join("leases.db.new"), state: state.to_owned() };
        draft.remove();
        let file = File::options().write(true).create_new(true).mode(FILE_MODE).open(&draft.path)?;
        give_to_owner(&file, state);
        drop(file);
        let mut connection = Connection::open(&draft.path)?;
        connection.pragma_update(None, "page_size", PAGE_SIZE)?;
        // The file is synced once at the end and is useless before that.
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        let transaction = connection.transaction()?;
        schema::create(&transaction)?;
        {
            let mut upsert = transaction.prepare_cached(UPSERT)?;
            rows.rows().try_for_each(|row| row.write(&mut upsert))?;
        }
        clock.iter().try_for_each(|clock| clock.write(&transaction))?;
        let integrity = integrity.map_or_else(|| Integrity::new(&transaction), Ok)?;
        integrity.with(rows.totals(), clock).insert(&transaction)?;
        transaction.commit()?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.close().map_err(|(_, error)| error)?;
        File::open(&draft.path)?.sync_all()?;
        Ok(draft)
    }

    /// Renames the draft to the name of the database, replacing an existing one. No process may have that one open.
    pub(super) fn publish(self) -> io::Result<()> {
        let path = self.state.join(DATABASE);
        // SQLite would apply the log of the old database to the new one.
        remove(&path_of(&path))?;
        remove(&with_suffix(&path, "-shm"))?;
        fs::rename(&self.path, &path)?;
        File::open(&self.state)?.sync_all()
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(with_suffix(&self.path, suffix));
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The error that prevented a [`Draft`].
#[derive(Debug)]
pub(super) enum DraftError {
    Database(rusqlite::Error),
    File(io::Error),
}

impl From<rusqlite::Error> for DraftError {
    fn from(error: rusqlite::Error) -> DraftError {
        DraftError::Database(error)
    }
}

impl From<io::Error> for DraftError {
    fn from(error: io::Error) -> DraftError {
        DraftError::File(error)
    }
}

/// Renames a file to `NAME.aside` for later analysis, replacing an older one. An empty file is deleted.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() > 0 => fs::rename(path, with_suffix(path, ".aside")),
        Ok(_) => remove(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl DraftError {
    /// Error message with the folder and advice.
    pub(super) fn explain(&self, state: &Path) -> StoreError {
        let path = state.join(DATABASE);
        match self {
            DraftError::Database(error) => crate::store::reader::explain("make", &path, error),
            DraftError::File(error) => StoreError(format!(
                "cannot make the lease database {}: {error}: lanboot must be able to write it and its folder",
                path.display()
            )),
        }
    }
}
