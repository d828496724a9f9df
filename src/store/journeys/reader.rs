//! Reads events of boots that are in the database alone, because the journeys in memory had no room for them. It uses its own
//! connection, so the thread that stores boots does not wait for it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::event::Record;
use crate::journey::boot::BootId;
use crate::store::journeys::create::JOURNEYS;
use crate::store::journeys::file::read;

/// Maximum time to wait for the thread that stores boots, while it writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads the first events of each of these boots, as many as its number says. An event that is not there is left out.
/// Blocks for a second at most if the disk responds.
///
/// # Errors
/// The reason why the database cannot be read.
pub fn read_events(state: &Path, boots: &[(BootId, usize)]) -> rusqlite::Result<Vec<Vec<Record>>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(state.join(JOURNEYS), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let events = |(id, count): &(BootId, usize)| {
        let mut events = read(&connection, *id)?.map(|boot| boot.events).unwrap_or_default();
        events.truncate(*count);
        Ok(events)
    };
    boots.iter().map(events).collect()
}
