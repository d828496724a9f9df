//! Creates the database under a temporary name and renames it, so that a file without tables is a damaged one.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::journey::stored::VERSION;
use crate::store::files::FILE_MODE;
use crate::store::lock::give_to_owner;
use crate::store::wal::with_suffix;

/// File name of the database in the state folder.
pub const JOURNEYS: &str = "journeys.db";

/// `started`: milliseconds since 1970; 0 for the row of the machine itself. `sum`: checksum of `mac`, `started` and `data`.
/// `totals`: number of the rows, and the sum of their checksums.
const TABLES: &str = "
    CREATE TABLE boots (
        id INTEGER PRIMARY KEY,
        mac INTEGER NOT NULL,
        started INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (mac, started)
    ) STRICT;
    CREATE TABLE totals (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        rows INTEGER NOT NULL,
        sum INTEGER NOT NULL
    ) STRICT;
    INSERT INTO totals VALUES (0, 0, 0);
";

/// Creates an empty database in the folder `state`. Returns its path.
pub(super) fn create(state: &Path) -> Result<PathBuf, String> {
    let path = state.join(JOURNEYS);
    let new = with_suffix(&path, ".new");
    let made = write(&new, state).and_then(|()| {
        fs::rename(&new, &path).map_err(|error| error.to_string())?;
        // The rename is on stable storage with the folder. If that fails, only a power cut can undo it.
        let _ = File::open(state).and_then(|folder| folder.sync_all());
        Ok(())
    });
    if made.is_err() {
        let _ = fs::remove_file(&new);
    }
    made.map(|()| path.clone()).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

fn write(new: &Path, state: &Path) -> Result<(), String> {
    for old in [new.to_owned(), with_suffix(new, "-journal")] {
        match fs::remove_file(&old) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.to_string()),
            _ => {}
        }
    }
    let file = File::options().write(true).create_new(true).mode(FILE_MODE).open(new);
    let file = file.map_err(|error| error.to_string())?;
    give_to_owner(&file, state);
    let fill = || -> rusqlite::Result<()> {
        let connection = Connection::open(new)?;
        connection.pragma_update(None, "journal_mode", "MEMORY")?;
        connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
        connection.close().map_err(|(_, error)| error)
    };
    fill().map_err(|error| error.to_string())?;
    file.sync_all().map_err(|error| error.to_string())
}

/// Keeps a database that cannot be used under another name. An older one of that name is replaced.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = with_suffix(path, ".aside");
    let journal = with_suffix(path, "-journal");
    match fs::rename(&journal, with_suffix(&aside, "-journal")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}
