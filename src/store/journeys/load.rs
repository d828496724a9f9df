//! Opens the database at a start, reads all of it and checks it. Damage is reported and never prevents a start.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rusqlite::Connection;

use crate::journey;
use crate::journey::boot::{Boot, BootId};
use crate::journey::stored::{Key, StoredMachine, Unreadable, checksum, read_boot, read_machine};
use crate::store::integrity::is_damage;
use crate::store::journeys::count;
use crate::store::journeys::create::{JOURNEYS, create, set_aside};
use crate::store::journeys::file::{JourneyFile, mac_of};
use crate::types::{MacAddr, Timestamp};

/// The database, and its content.
#[derive(Debug)]
pub struct Opened {
    pub file: JourneyFile,
    pub machines: Vec<KeptMachine>,
    /// Whether the file is new, so that it has none of the rows.
    pub is_new: bool,
    /// The damage or the loss of an older file, for the operator.
    pub problem: Option<String>,
}

/// A machine of an earlier run.
#[derive(Debug)]
pub struct KeptMachine {
    pub mac: MacAddr,
    pub machine: Option<StoredMachine>,
    /// Newest first. Events are left out once they would take more memory than journeys may.
    pub boots: Vec<Boot>,
}

/// The content of a database, and its problems.
#[derive(Debug, Default)]
struct Content {
    machines: HashMap<MacAddr, KeptMachine>,
    /// The bytes that the boots take in memory.
    bytes: usize,
    boots: usize,
    problems: Vec<String>,
}

/// One row without its data.
struct Entry {
    id: i64,
    key: Key,
    sum: u64,
}

/// Opens or creates the database in the folder `state`.
///
/// # Errors
/// The reason why it can be neither used nor replaced, with its path. Nothing was changed then.
pub fn open(state: &Path) -> Result<Opened, String> {
    let path = state.join(JOURNEYS);
    let fail = |error: &dyn std::fmt::Display| format!("cannot open {}: {error}", path.display());
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return new(state, Content::default(), lost(state, &path));
        }
        Err(error) => return Err(fail(&error)),
        Ok(found) if !found.is_file() => return Err(fail(&"it is not a regular file")),
        Ok(_) => {}
    }
    let content = match read(&path) {
        Ok((file, content)) if content.problems.is_empty() => {
            let machines = content.machines.into_values().collect();
            return Ok(Opened { file, machines, is_new: false, problem: None });
        }
        Ok((_, content)) => content,
        Err(error) if is_damage(&error) => {
            Content { problems: vec![error.to_string()], ..Content::default() }
        }
        Err(error) => return Err(fail(&error)),
    };
    let aside = set_aside(&path).map_err(|error| fail(&error))?;
    let problem = format!(
        "{} is damaged or of another version ({}): {} boots could be read and are kept; the file is now {}, which may be \
         deleted",
        path.display(),
        content.problems.join("; "),
        content.boots,
        aside.display()
    );
    new(state, content, Some(problem))
}

/// Describes the loss of a database that had boots; `None` if there never was one.
fn lost(state: &Path, path: &Path) -> Option<String> {
    let boots = match count::read(state)? {
        0 => "the boots".to_owned(),
        1 => "1 boot".to_owned(),
        count => format!("{count} boots"),
    };
    Some(format!(
        "lost {boots} of earlier runs: {} is gone; `lanboot why` shows boots from now on; to have the others back, stop lanboot, \
         restore the file from a backup and start again",
        path.display()
    ))
}

/// A new database, for this content of an older one.
fn new(state: &Path, content: Content, problem: Option<String>) -> Result<Opened, String> {
    let path = create(state)?;
    let file =
        JourneyFile::open(&path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    Ok(Opened { file, machines: content.machines.into_values().collect(), is_new: true, problem })
}

/// Reads a database, as far as it can be read.
fn read(path: &Path) -> rusqlite::Result<(JourneyFile, Content)> {
    let file = JourneyFile::open(path)?;
    let mut content = Content::default();
    let (version, ours) = (file.version()?, i64::from(journey::stored::VERSION));
    if version != ours {
        content.problems.push(format!("its version is {version}, not {ours}"));
        return Ok((file, content));
    }
    let check = "PRAGMA integrity_check(1)";
    match file.connection.query_row(check, [], |row| row.get::<_, String>(0)) {
        Ok(found) if found == "ok" => {}
        Ok(found) => content.problems.push(found.replace('\n', " ")),
        Err(error) => content.problems.push(error.to_string()),
    }
    let mut entries = Vec::new();
    let listed = list(&file.connection, &mut entries, &mut content);
    // The newest first, so that those have their events in memory.
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.key.started));
    let read = read_rows(&file.connection, &entries, &mut content);
    for error in [listed, read].into_iter().filter_map(Result::err) {
        content.problems.push(error.to_string());
    }
    Ok((file, content))
}

/// Lists the rows, and compares them with the totals.
fn list(connection: &Connection, entries: &mut Vec<Entry>, content: &mut Content) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT id, mac, started, sum FROM boots")?;
    let mut rows = select.query([])?;
    let (mut count, mut total) = (0_i64, 0_u64);
    while let Some(row) = rows.next()? {
        let (id, mac, started, sum): (i64, i64, i64, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let sum = sum.cast_unsigned();
        (count, total) = (count.saturating_add(1), total.wrapping_add(sum));
        match mac_of(mac).zip(u64::try_from(started).ok()) {
            Some((mac, started)) => entries.push(Entry { id, key: Key { mac, started }, sum }),
            None => content.problems.push(format!("row {id} has no machine")),
        }
    }
    let totals = connection.query_row("SELECT rows, sum FROM totals", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    if totals != (count, total) {
        content.problems.push(format!("it has {count} rows, and {} were written", totals.0));
    }
    Ok(())
}

fn read_rows(connection: &Connection, entries: &[Entry], content: &mut Content) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT data FROM boots WHERE id = ?1")?;
    let mut bad = 0_u64;
    for entry in entries {
        let read = select.query_row([entry.id], |row| {
            let data = row.get_ref(0)?.as_blob()?;
            Ok(content.add(entry, data))
        });
        // A page may be damaged that others do not need.
        if !matches!(read, Ok(Ok(()))) {
            bad = bad.saturating_add(1);
        }
    }
    if bad > 0 {
        content.problems.push(format!("{bad} rows cannot be read"));
    }
    Ok(())
}

impl Content {
    /// Takes in a row.
    fn add(&mut self, entry: &Entry, data: &[u8]) -> Result<(), Unreadable> {
        let Key { mac, started } = entry.key;
        if checksum(entry.key, data) != entry.sum {
            return Err(Unreadable);
        }
        let new = || KeptMachine { mac, machine: None, boots: Vec::new() };
        if entry.key.is_of_machine() {
            self.machines.entry(mac).or_insert_with(new).machine = Some(read_machine(data)?);
            return Ok(());
        }
        let mut boot = read_boot(BootId { mac, started: Timestamp(started) }, data)?;
        if self.bytes > journey::MAX_BYTES && boot.ended.is_some() {
            boot.leave_events_on_disk();
        }
        self.bytes = self.bytes.saturating_add(boot.bytes());
        self.boots = self.boots.saturating_add(1);
        self.machines.entry(mac).or_insert_with(new).boots.push(boot);
        Ok(())
    }
}
