//! Stores the changes that people make to the running server ([`Changes`]) in `changes.json` in the state folder.
//! `api/changes.rs` makes changes, `once.rs` ends those that a machine has used up, and `server/watch.rs` applies
//! them to the settings.
//!
//! A damaged file is never replaced: the server starts without changes, reports the damage, and refuses new changes
//! until a person repairs or removes the file. The file has a checksum, because a flipped bit in a MAC address would
//! otherwise install a system on another machine.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::config::changes::{Changes, MachineKey, Pin, Refused};
use crate::content::checked_file::{self, Checked, damaged};
use crate::store::replace_file;
use crate::types::MacAddr;

/// The name of the file in the state folder.
pub const FILE: &str = "changes.json";

/// The stored changes. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ChangeStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// `None` if nothing is stored on disk.
    file: Option<PathBuf>,
    /// Why the file could not be read. Then it is not written either.
    damage: Option<String>,
    now: Mutex<Arc<Changes>>,
    /// The content of the file. It is locked while the file is written, so that the last writer has the latest changes.
    on_disk: Mutex<Arc<Changes>>,
    /// Notified when the changes have changed without a request to the watch task.
    ended: Notify,
}

/// The reason why a change was not made.
#[derive(Debug)]
pub enum NotChanged {
    Refused(Refused),
    /// The file was damaged at the start; the text says what to do.
    Damaged(String),
    /// The file could not be written.
    Io(io::Error),
}

impl ChangeStore {
    /// Loads the changes from the state folder. The text is a warning if that fails.
    pub fn open(state: &Path) -> (ChangeStore, Option<String>) {
        let file = state.join(FILE);
        let (changes, damage) = match read(&file) {
            Ok(changes) => (changes, None),
            Err(why) => {
                let advice = format!(
                    "cannot read {}: {why}; the changes made by `lanboot once` and `pin` have no effect, and no new \
                     ones are possible, until the file is repaired or removed and lanboot is restarted",
                    file.display()
                );
                (Changes::default(), Some(advice))
            }
        };
        let changes = Arc::new(changes);
        let shared = Shared {
            file: Some(file),
            damage: damage.clone(),
            now: Mutex::new(Arc::clone(&changes)),
            on_disk: Mutex::new(changes),
            ended: Notify::new(),
        };
        (ChangeStore { shared: Arc::new(shared) }, damage)
    }

    /// The changes that are in effect.
    pub fn now(&self) -> Arc<Changes> {
        Arc::clone(&lock(&self.shared.now))
    }

    /// Changes the changes. Blocks until the result is on stable storage; without that nothing changes. `edit` must not
    /// block.
    ///
    /// # Errors
    /// Those of `edit`, or the reason why the file cannot be written.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut Changes) -> Result<T, Refused>) -> Result<T, NotChanged> {
        if let Some(damage) = &self.shared.damage {
            return Err(NotChanged::Damaged(damage.clone()));
        }
        let mut on_disk = lock(&self.shared.on_disk);
        let before = self.now();
        let mut changes = (*before).clone();
        let result = edit(&mut changes).map_err(NotChanged::Refused)?;
        self.replace(&changes, &mut on_disk).map_err(NotChanged::Io)?;
        let mut now = lock(&self.shared.now);
        // Machines may have used up their `once` during the write.
        let ended = before.once.iter().filter(|once| !has(&now, once.number));
        ended.for_each(|once| _ = changes.end_once(once.number));
        *now = Arc::new(changes);
        Ok(result)
    }

    /// Whether the target with this number is still to be booted.
    pub fn has_once(&self, number: u64) -> bool {
        has(&self.now(), number)
    }

    /// Ends the target with this number, in memory; [`ChangeStore::write`] must follow. Returns whether there was one.
    pub fn end_once(&self, number: u64) -> bool {
        let mut now = lock(&self.shared.now);
        if !has(&now, number) {
            return false;
        }
        let mut changes = (**now).clone();
        let ended = changes.end_once(number);
        *now = Arc::new(changes);
        drop(now);
        self.shared.ended.notify_one();
        ended
    }

    /// Blocks until the changes are on stable storage.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self) -> io::Result<()> {
        let mut on_disk = lock(&self.shared.on_disk);
        let now = self.now();
        self.replace(&now, &mut on_disk)
    }

    /// Waits until a machine has used up its `once`.
    pub async fn ended(&self) {
        self.shared.ended.notified().await;
    }

    fn replace(&self, changes: &Changes, on_disk: &mut Arc<Changes>) -> io::Result<()> {
        if *changes == **on_disk {
            return Ok(());
        }
        if let Some(file) = &self.shared.file {
            replace_file(file, &text_of(changes)?)?;
        }
        *on_disk = Arc::new(changes.clone());
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn has(changes: &Changes, number: u64) -> bool {
    changes.once.iter().any(|once| once.number == number)
}

/// The content of the file.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct StoredChanges {
    once: Vec<StoredOnce>,
    pins: Vec<StoredPin>,
}

/// The target of a machine's next boot. The machine has either a MAC or a name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredOnce {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    name: Option<String>,
    target: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPin {
    mac: String,
    address: Ipv4Addr,
}

fn text_of(changes: &Changes) -> io::Result<String> {
    let once = changes.once.iter().map(|once| {
        let (mac, name) = match &once.machine {
            MachineKey::Mac(mac) => (Some(mac.to_string()), None),
            MachineKey::Name(name) => (None, Some(name.clone())),
        };
        StoredOnce { mac, name, target: once.target.clone() }
    });
    let pins = changes.pins.iter().map(|pin| StoredPin { mac: pin.mac.to_string(), address: pin.address });
    let content = StoredChanges { once: once.collect(), pins: pins.collect() };
    Checked::text(content)
}

fn read(file: &Path) -> io::Result<Changes> {
    let Some(text) = checked_file::read(file)? else { return Ok(Changes::default()) };
    let stored = serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))?;
    let StoredChanges { once, pins } = Checked::content(stored)?;
    let without_machine = || damaged("an entry names no machine");
    let once = once.into_iter().map(|once| {
        let key = match (once.mac, once.name) {
            (Some(mac), None) => MachineKey::Mac(mac.parse().ok()?),
            (None, Some(name)) => MachineKey::Name(name),
            _ => return None,
        };
        Some((key, once.target))
    });
    let pins = pins.into_iter().map(|pin| {
        let mac = pin.mac.parse::<MacAddr>().ok()?;
        Some(Pin { mac, address: pin.address })
    });
    let once: Option<Vec<(MachineKey, String)>> = once.collect();
    let pins: Option<Vec<Pin>> = pins.collect();
    Ok(Changes::stored(once.ok_or_else(without_machine)?, pins.ok_or_else(without_machine)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::loader::target::Targets;
    use crate::config::changes::NamedMachine;

    fn targets() -> Arc<Targets> {
        crate::config::load("{dhcp: {mode: off}, targets: {debian: {kernel: k}}}").unwrap().targets
    }

    fn subject(mac: &str) -> NamedMachine {
        NamedMachine::find(mac, &targets()).unwrap()
    }

    fn set(store: &ChangeStore, mac: &str) {
        store.edit(|changes| changes.set_once(&subject(mac), "debian", &targets())).unwrap();
    }

    fn pin(last: u8) -> Pin {
        Pin { mac: MacAddr([2, 0, 0, 0, 0, last]), address: Ipv4Addr::new(10, 0, 0, last) }
    }

    fn open(state: &Path) -> ChangeStore {
        let (store, warning) = ChangeStore::open(state);
        assert_eq!(warning, None);
        store
    }

    #[test]
    fn changes_survive_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let store = open(state.path());
        set(&store, "02:00:00:00:00:01");
        set(&store, "02:00:00:00:00:02");
        store.edit(|changes| changes.pin(pin(7))).unwrap();
        let number = store.now().once[0].number;
        assert!(store.end_once(number) && !store.end_once(number) && !store.has_once(number));
        store.write().unwrap();
        let again = open(state.path()).now();
        assert_eq!((again.once.len(), &again.pins[..]), (1, &[pin(7)][..]));
        assert_eq!(again.once[0].machine, MachineKey::Mac(MacAddr([2, 0, 0, 0, 0, 2])));
        let names: Vec<_> =
            std::fs::read_dir(state.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [FILE], "nothing else is left there");
    }

    /// Every bit of the file, and every shorter file.
    #[test]
    fn damage_is_reported_and_the_file_is_kept() {
        let state = tempfile::tempdir().unwrap();
        let store = open(state.path());
        set(&store, "02:00:00:00:00:01");
        store.edit(|changes| changes.pin(pin(7))).unwrap();
        let file = state.path().join(FILE);
        let whole = std::fs::read(&file).unwrap();
        let expected = open(state.path()).now();
        let is_reported = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            let (store, warning) = ChangeStore::open(state.path());
            match warning {
                None => assert_eq!(store.now(), expected, "{}", String::from_utf8_lossy(bytes)),
                Some(warning) => {
                    assert!(warning.contains(FILE) && store.now().once.is_empty(), "{warning}");
                    let refused = store.edit(|changes| changes.pin(pin(8)));
                    assert!(matches!(refused, Err(NotChanged::Damaged(_))));
                    assert_eq!(std::fs::read(&file).unwrap(), bytes);
                }
            }
        };
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            is_reported(&bytes);
        }
        (0..whole.len()).for_each(|length| is_reported(&whole[..length]));
    }

    #[test]
    fn a_change_that_cannot_be_written_is_not_made() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("state");
        let store = open(&state);
        std::fs::write(&state, "a file").unwrap();
        let refused = store.edit(|changes| changes.pin(pin(8)));
        assert!(matches!(refused, Err(NotChanged::Io(_))) && store.now().pins.is_empty());
        std::fs::remove_file(&state).unwrap();
        store.edit(|changes| changes.pin(pin(8))).unwrap();
        assert_eq!(open(&state).now().pins, [pin(8)]);
    }
}
