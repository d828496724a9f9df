//! The target that each machine starts, and which machines are done with their `once`. `lookup` and `generated` ask it.
//! The state is kept in `once.json` in the state folder.
//!
//! `once` ends when the machine has received the last file of the target that lanboot serves (of kernel and RAM disks,
//! the last in the list), or when the machine reports it with `POST /<mac>/done`, whichever is first. Without the first
//! rule, a machine whose installer never reports its end would be installed forever. A change is on disk before the
//! answer to a POST is sent.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::boot::fetch::Served;
use crate::boot::loader::facts::Facts;
use crate::boot::loader::target::{BootAction, Machine, NextBoot, Targets, is_url, local_path};
use crate::boot::name::BootName;
use crate::config::Config;
use crate::content::changes::ChangeStore;
use crate::content::checked_file::Checked;
use crate::content::machines::{KnownMachine, own_names};
use crate::content::once_file::read;
use crate::event::{Event, Record, ServerFact};
use crate::http;
use crate::record::Recorder;
use crate::store::replace_file;
use crate::types::{MacAddr, MachineId};

/// The name of the file in the state folder.
pub const FILE: &str = "once.json";

/// The configured targets, and the `once` state of the machines. Cheap to clone; clones share the state, and so does
/// the value for another configuration ([`BootState::with_config`]).
#[derive(Clone, Debug, Default)]
pub struct BootState {
    /// `None` without any targets and machines.
    config: Option<Arc<Config>>,
    shared: Arc<Shared>,
    /// Records each end of a `once`; `None` outside of the server.
    recorder: Option<Recorder>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The targets of a value without configuration: none.
    no_targets: Targets,
    /// The finished `once` of each machine.
    finished: Mutex<FinishedOnce>,
    file: Option<PathBuf>,
    /// The changes that people have made to the running server.
    changes: ChangeStore,
    /// Progress of each machine through the file that ends its `once`.
    progress: Mutex<BTreeMap<String, Progress>>,
    /// The content of the file on disk. It is locked while the file is written, so that the last writer has the latest
    /// state.
    on_disk: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug, Default)]
struct FinishedOnce {
    by_machine: BTreeMap<String, String>,
    /// The file could not be read. Every `once` then counts as finished, so that no machine is installed again by
    /// mistake.
    is_unknown: bool,
}

/// The contiguous part of a file, from its first byte, that a machine has received.
#[derive(Debug)]
struct Progress {
    name: BootName,
    size: u64,
    reached: u64,
}

/// A file, or a part of it, that was sent to a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentPart<'a> {
    /// Name of the file relative to boot-images/.
    pub name: &'a BootName,
    /// The bytes that were sent.
    pub part: Range<u64>,
    /// Size of the file in bytes.
    pub size: u64,
    /// Whether the file is a generated script that boots the machine.
    pub is_script: bool,
}

/// The result of a machine's report that it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DoneReport {
    /// Its `once` has ended now.
    Ended,
    /// The machine has no `once`, or it had ended before.
    Nothing,
    /// No entry in `machines:` has that MAC.
    Unknown,
    /// The report came from another machine, or from an unknown one.
    WrongMachine,
}

impl BootState {
    /// The state for `config` without a file: nothing is loaded or saved.
    pub fn in_memory(config: &Config) -> BootState {
        BootState::with(config, FinishedOnce::default(), None)
    }

    /// The same state for another configuration. A `once` that `config` no longer has is ignored.
    #[must_use]
    pub fn with_config(&self, config: &Arc<Config>) -> BootState {
        BootState { config: Some(Arc::clone(config)), ..self.clone() }
    }

    /// The same state without a configuration, so that it keeps none in memory that a reload has replaced.
    #[must_use]
    pub fn without_config(self) -> BootState {
        BootState { config: None, ..self }
    }

    /// The same state, which records each end of a `once` with `recorder`.
    #[must_use]
    pub fn with_recorder(self, recorder: Recorder) -> BootState {
        BootState { recorder: Some(recorder), ..self }
    }

    /// Loads the state for `config` from its state folder. The text is a warning if that fails.
    pub fn open(config: &Config) -> (BootState, Option<String>) {
        let file = config.state.join(FILE);
        let (finished, warning) = match read(&file) {
            Ok(by_machine) => (FinishedOnce { by_machine, is_unknown: false }, None),
            Err(error) => {
                let warning = format!(
                    "cannot read {}: {error}; every `once` counts as over until the file is repaired or removed",
                    file.display()
                );
                (FinishedOnce { by_machine: BTreeMap::new(), is_unknown: true }, Some(warning))
            }
        };
        let boot_state = BootState::with(config, finished, Some(file));
        boot_state.forget_removed();
        (boot_state, warning)
    }

    /// Forgets each finished `once` that is no longer in the configuration. Removing a `once` from the configuration and
    /// adding it again asks for another run.
    pub fn forget_removed(&self) {
        let is_current = |key: &str, name: &str| {
            let machines = self.targets().machines();
            let machine = machines.iter().find(|machine| key_of(machine).as_deref() == Some(key));
            machine.and_then(|machine| machine.once.as_ref()).is_some_and(|once| once.name() == name)
        };
        let is_forgotten = {
            let mut finished = self.finished();
            let before = finished.by_machine.len();
            finished.by_machine.retain(|key, name| is_current(key, name));
            finished.by_machine.len() < before
        };
        if is_forgotten && let Err(error) = self.write() {
            self.report(format!("cannot write {FILE} in the state folder: {error}"));
        }
    }

    /// Records that the state could not be written.
    fn report(&self, text: String) {
        self.recorder.iter().for_each(|recorder| recorder.server(ServerFact::OnceNotStored, text.as_str()));
    }

    fn with(config: &Config, finished: FinishedOnce, file: Option<PathBuf>) -> BootState {
        let on_disk = Mutex::new(finished.by_machine.clone());
        let (finished, progress) = (Mutex::new(finished), Mutex::default());
        let shared = Shared { finished, file, progress, on_disk, ..Shared::default() };
        BootState { config: Some(Arc::new(config.clone())), shared: Arc::new(shared), recorder: None }
    }

    /// Takes into account the targets that people choose while the server runs. Call it before the state is shared.
    #[must_use]
    pub fn with_changes(self, changes: ChangeStore) -> BootState {
        let BootState { config, shared, recorder } = self;
        let shared = match Arc::try_unwrap(shared) {
            Ok(shared) => Arc::new(Shared { changes, ..shared }),
            Err(shared) => shared,
        };
        BootState { config, shared, recorder }
    }

    pub fn targets(&self) -> &Targets {
        self.config.as_ref().map_or(&self.shared.no_targets, |config| &config.targets)
    }

    /// The ports and addresses under which clients fetch files from this server.
    pub fn served(&self) -> Served {
        self.config.as_ref().map_or_else(Served::default, |config| config.file_server_ports())
    }

    /// The machine's entry in `machines:`.
    pub fn machine(&self, known: &KnownMachine) -> Option<&Machine> {
        self.targets().machine_of(known.mac, known.believed_uuid(), known.name.as_deref())
    }

    /// The target that the machine starts now.
    pub fn now(&self, machine: Option<&Machine>) -> NextBoot {
        self.next_boot(machine, true)
    }

    /// Like [`Self::now`]; `may_once` is false if another machine might be asking.
    pub fn next_boot(&self, machine: Option<&Machine>, may_once: bool) -> NextBoot {
        let once = machine.filter(|_| may_once).and_then(|machine| self.pending_once(machine));
        self.targets().next_boot(machine, once)
    }

    /// The action for the machine's next boot alone: the one that a person requested, or else `once` of its entry.
    fn pending_once<'m>(&self, machine: &'m Machine) -> Option<&'m BootAction> {
        let requested = machine.requested.as_ref().filter(|boot| self.shared.changes.has_once(boot.number));
        let of_entry = || machine.once.as_ref().filter(|_| !self.is_once_over(machine));
        requested.map(|boot| &boot.action).or_else(of_entry)
    }

    /// Ends the `once` of the machine with this MAC. `known` is the reporting machine, which must be the same one
    /// unless a person reports it. Blocks until the change is on disk.
    ///
    /// # Errors
    /// If the file cannot be written. The `once` is over anyway until the next restart.
    pub fn done(&self, mac: MacAddr, known: &KnownMachine, by_person: bool) -> io::Result<DoneReport> {
        let own = self.machine(known);
        let is_its_mac = known.mac == Some(mac);
        // Of other machines only the MAC is known.
        let named = self.targets().machine(Some(mac), known.believed_uuid().filter(|_| is_its_mac));
        let Some(machine) = named else { return Ok(DoneReport::Unknown) };
        if !by_person && !own.is_some_and(|own| std::ptr::eq(own, machine)) {
            return Ok(DoneReport::WrongMachine);
        }
        if machine.once.is_none() && machine.requested.is_none() {
            return Ok(DoneReport::Nothing);
        }
        let ended = self.end_once(machine, "the machine said that it is done");
        // Write even if it was over before: that may not be on disk yet.
        self.write()?;
        Ok(if ended { DoneReport::Ended } else { DoneReport::Nothing })
    }

    /// Records what was sent to the machine `known`, and ends its `once` if it now has all of the last file that it
    /// needs.
    pub fn sent(&self, sent: &SentPart<'_>, known: &KnownMachine) {
        let file = sent.name;
        let Some(machine) = self.machine(known) else { return };
        let Some(once) = self.pending_once(machine) else { return };
        let needed = match once {
            BootAction::Target(name) => {
                self.targets().get(name).and_then(|target| target.last_file(self.served()))
            }
            BootAction::Local | BootAction::Menu => None,
        };
        let is_last = match needed {
            None => sent.is_script,
            Some(written) => needed_name(written, self.served(), machine, known).is_some_and(|name| {
                // The file may also be in the machine's own folder.
                name == *file || own_names(known).iter().any(|folder| name.in_folder(folder) == *file)
            }),
        };
        if !is_last || !self.has_all(machine, sent) || !self.end_once(machine, &format!("it was sent {file}"))
        {
            return;
        }
        let boot_state = self.clone();
        // Threads that send files must not wait for the disk.
        let write = move || {
            if let Err(error) = boot_state.write() {
                boot_state.report(format!(
                    "cannot write the ended `once` to the state folder: {error}; after a restart, it counts again"
                ));
            }
        };
        if let Err(error) = std::thread::Builder::new().name("once".to_owned()).spawn(write) {
            self.report(format!(
                "cannot start a thread to write {FILE}: {error}; after a restart, `once` counts again"
            ));
        }
    }

    /// Whether the machine has now received the whole file. A part counts if it starts within or directly after the
    /// previous parts, as when a client resumes a transfer.
    fn has_all(&self, machine: &Machine, sent: &SentPart<'_>) -> bool {
        let Some(key) = key_of(machine) else { return false };
        let mut progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            progress.get(&key).filter(|progress| progress.name == *sent.name && progress.size == sent.size);
        let reached = before.map_or(0, |progress| progress.reached);
        if sent.part.start > reached {
            return false;
        }
        let reached = reached.max(sent.part.end);
        if reached >= sent.size {
            progress.remove(&key);
            return true;
        }
        progress.insert(key, Progress { name: sent.name.clone(), size: sent.size, reached });
        false
    }

    fn is_once_over(&self, machine: &Machine) -> bool {
        let finished = self.finished();
        let name = machine.once.as_ref().map(BootAction::name);
        finished.is_unknown
            || key_of(machine).is_some_and(|key| finished.by_machine.get(&key).map(String::as_str) == name)
    }

    /// Ends the [`Self::pending_once`] of the machine. Returns whether there was one.
    fn end_once(&self, machine: &Machine, why: &str) -> bool {
        let Some(once) = self.pending_once(machine) else { return false };
        let requested = machine.requested.as_ref();
        if !requested.is_some_and(|boot| self.shared.changes.end_once(boot.number)) {
            let Some(key) = key_of(machine) else { return false };
            self.finished().by_machine.insert(key, once.name().to_owned());
        }
        if let Some(recorder) = &self.recorder {
            let next = machine.boot.as_ref().map(|start| start.name().to_owned());
            let event = Event::OnceEnded { target: once.name().to_owned(), why: why.to_owned(), next };
            let (mac, uuid, name) =
                (machine.macs.first().copied(), machine.uuid, Some(machine.name.as_str().into()));
            let machine = Some(MachineId { mac, uuid, client: None, name });
            recorder.record(Record { at: recorder.now(), interface: None, machine, event });
        }
        true
    }

    fn finished(&self) -> MutexGuard<'_, FinishedOnce> {
        self.shared.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends `once` of the machine's entry, because a person wants the machine to boot as usual. Blocks until the change
    /// is on disk. Returns whether there was one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn end_once_of_entry(&self, machine: &Machine) -> io::Result<bool> {
        let pending = machine.once.as_ref().filter(|_| !self.is_once_over(machine));
        let (Some(once), Some(key)) = (pending, key_of(machine)) else { return Ok(false) };
        self.finished().by_machine.insert(key, once.name().to_owned());
        self.write()?;
        Ok(true)
    }

    /// Blocks until the current state is on disk; rewrites the files that differ.
    fn write(&self) -> io::Result<()> {
        self.shared.changes.write()?;
        let Some(file) = &self.shared.file else { return Ok(()) };
        let mut on_disk = self.shared.on_disk.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = {
            let finished = self.finished();
            if finished.is_unknown {
                return Err(io::Error::other("it could not be read at start, and is not replaced"));
            }
            finished.by_machine.clone()
        };
        if finished == *on_disk {
            return Ok(());
        }
        replace_file(file, &Checked::text(&finished)?)?;
        *on_disk = finished;
        Ok(())
    }
}

/// Resolves the name `written` of a target's file for this machine.
fn needed_name(written: &str, served: Served, machine: &Machine, known: &KnownMachine) -> Option<BootName> {
    let facts = Facts {
        server: Ipv4Addr::UNSPECIFIED.into(),
        ip: None,
        mac: known.mac,
        uuid: known.uuid,
        arch: known.arch,
        serial: known.serial.clone(),
        host_name: known.host_name.clone(),
        machine: Some(machine),
    };
    let name = facts.expand(local_path(written, served)?).ok()?;
    if is_url(written) {
        return BootName::parse(&http::target::name(&format!("/{name}")).ok()?).ok();
    }
    BootName::parse(name.as_bytes()).ok()
}

/// The key of a machine in the file. A name may change, so it is the key only of a machine without MAC and UUID.
fn key_of(machine: &Machine) -> Option<String> {
    let mac = machine.macs.first().map(ToString::to_string);
    mac.or_else(|| machine.uuid.map(|uuid| uuid.to_string())).or_else(|| Some(machine.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::{Duration, Instant};

    const YAML: &str = "
dhcp: {mode: off}
targets:
  debian: {kernel: 'debian/{arch}/linux', initrd: debian/initrd.gz}
  far: {kernel: http://10.0.0.9/linux}
machines:
  - {name: a, mac: 52:54:00:00:00:01, once: debian, boot: local}
  - {name: b, mac: 52:54:00:00:00:02, once: far}
  - {name: c, mac: 52:54:00:00:00:03}
";

    fn config(yaml: &str, state: &Path) -> Config {
        Config { state: state.to_owned(), ..crate::config::load(yaml).unwrap() }
    }

    fn mac(n: u8) -> MacAddr {
        MacAddr([0x52, 0x54, 0, 0, 0, n])
    }

    fn known(n: u8) -> KnownMachine {
        KnownMachine { mac: Some(mac(n)), ..KnownMachine::default() }
    }

    fn send(boot_state: &BootState, file: &str, n: u8) {
        send_part(boot_state, file, 0..9, n);
    }

    /// A part of a file of 9 bytes.
    fn send_part(boot_state: &BootState, file: &str, part: Range<u64>, n: u8) {
        let name = BootName::parse(file.as_bytes()).unwrap();
        let is_script = file == "lanboot/boot.ipxe";
        boot_state.sent(&SentPart { name: &name, part, size: 9, is_script }, &known(n));
    }

    fn now(boot_state: &BootState, n: u8) -> NextBoot {
        boot_state.now(boot_state.machine(&known(n)))
    }

    fn start(name: &str) -> NextBoot {
        NextBoot::Start(BootAction::Target(name.into()))
    }

    /// Waits until the file has the expected content.
    fn wait_for(state: &Path, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !std::fs::read_to_string(state.join(FILE)).unwrap_or_default().contains(text) {
            assert!(Instant::now() < deadline, "{text} is not in {FILE}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_last_file_ends_once_across_restarts() {
        let state = tempfile::tempdir().unwrap();
        let (boot_state, warning) = BootState::open(&config(YAML, state.path()));
        assert_eq!((warning, now(&boot_state, 1)), (None, start("debian")));
        for (file, n) in [
            ("lanboot/boot.ipxe", 1),
            ("debian/bios/linux", 1),
            ("other/initrd.gz", 1),
            ("rescue/debian/initrd.gz", 1),
            ("52-54-00-00-00-02/debian/initrd.gz", 1),
            ("debian/initrd.gz", 2),
        ] {
            send(&boot_state, file, n);
            assert_eq!(now(&boot_state, 1), start("debian"), "{file}");
        }
        send(&boot_state, "52-54-00-00-00-01/debian/initrd.gz", 1);
        assert_eq!(now(&boot_state, 1), NextBoot::Start(BootAction::Local));
        wait_for(state.path(), "52:54:00:00:00:01");
        let (boot_state, _) = BootState::open(&config(YAML, state.path()));
        assert_eq!(now(&boot_state, 1), NextBoot::Start(BootAction::Local));
    }

    #[test]
    fn the_script_ends_once_of_a_remote_target() {
        let state = tempfile::tempdir().unwrap();
        let (boot_state, _) = BootState::open(&config(YAML, state.path()));
        assert_eq!(now(&boot_state, 2), start("far"));
        send(&boot_state, "boot.cfg", 2);
        assert_eq!(now(&boot_state, 2), start("far"));
        send(&boot_state, "lanboot/boot.ipxe", 2);
        assert_eq!(now(&boot_state, 2), NextBoot::Default);
    }

    #[test]
    fn a_url_of_this_server_counts_as_its_file() {
        let yaml = YAML.replace("http://10.0.0.9/linux", "'http://{server}:8080/{mac}%20x/linux?a'");
        let boot_state =
            BootState::in_memory(&config(&format!("{yaml}http: {{port: 8080}}\n"), Path::new("")));
        send(&boot_state, "lanboot/boot.ipxe", 2);
        assert_eq!(now(&boot_state, 2), start("far"), "the kernel was not fetched yet");
        send(&boot_state, "52:54:00:00:00:02 x/linux", 2);
        assert_eq!(now(&boot_state, 2), NextBoot::Default);
    }

    #[test]
    fn only_the_complete_last_file_ends_once() {
        let boot_state = BootState::in_memory(&config(YAML, Path::new("")));
        let is_over = |parts: &[Range<u64>]| {
            parts.iter().for_each(|part| send_part(&boot_state, "debian/initrd.gz", part.clone(), 1));
            now(&boot_state, 1) != start("debian")
        };
        assert!(!is_over(&[8..9, 0..0]), "only its end");
        assert!(!is_over(&[0..4, 5..9]), "a byte is missing");
        send_part(&boot_state, "debian/bios/linux", 4..9, 1);
        send_part(&boot_state, "debian/initrd.gz", 4..9, 2);
        assert!(!is_over(&[]), "parts of another file, or of another machine");
        assert!(is_over(&[3..7, 7..9]), "a resumed download counts");
    }

    #[test]
    fn a_machine_reports_done_once() {
        let state = tempfile::tempdir().unwrap();
        let (boot_state, _) = BootState::open(&config(YAML, state.path()));
        assert_eq!(boot_state.done(mac(1), &known(1), false).unwrap(), DoneReport::Ended);
        assert_eq!(boot_state.done(mac(1), &known(1), false).unwrap(), DoneReport::Nothing);
        assert_eq!(boot_state.done(mac(3), &known(1), false).unwrap(), DoneReport::WrongMachine);
        assert_eq!(boot_state.done(mac(3), &known(3), false).unwrap(), DoneReport::Nothing);
        assert_eq!(boot_state.done(mac(9), &known(9), false).unwrap(), DoneReport::Unknown);
        // It was on disk before the answer.
        let (boot_state, _) = BootState::open(&config(YAML, state.path()));
        assert_eq!(now(&boot_state, 1), NextBoot::Start(BootAction::Local));
    }

    #[test]
    fn a_machine_known_by_uuid_reports_done_by_mac() {
        let uuid = "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab";
        let yaml = format!("{YAML}  - {{name: d, uuid: {uuid}, once: debian, boot: local}}\n");
        let boot_state = BootState::in_memory(&config(&yaml, Path::new("")));
        let d = KnownMachine { uuid: uuid.parse().ok(), ..known(4) };
        assert_eq!(
            boot_state.done(mac(4), &known(4), false).unwrap(),
            DoneReport::Unknown,
            "its UUID is unknown"
        );
        assert_eq!(
            boot_state.done(mac(9), &d, false).unwrap(),
            DoneReport::Unknown,
            "it reports another machine"
        );
        assert_eq!(boot_state.now(boot_state.machine(&d)), start("debian"));
        assert_eq!(boot_state.done(mac(4), &d, false).unwrap(), DoneReport::Ended);
        assert_eq!(boot_state.now(boot_state.machine(&d)), NextBoot::Start(BootAction::Local));
    }

    #[test]
    fn a_once_that_is_added_again_runs_again() {
        let state = tempfile::tempdir().unwrap();
        BootState::open(&config(YAML, state.path())).0.done(mac(1), &known(1), false).unwrap();
        let without = YAML.replace("once: debian, ", "");
        drop(BootState::open(&config(&without, state.path())));
        let (boot_state, _) = BootState::open(&config(YAML, state.path()));
        assert_eq!(now(&boot_state, 1), start("debian"));
        boot_state.done(mac(1), &known(1), false).unwrap();
        let other = YAML.replace("once: debian", "once: far");
        assert_eq!(now(&BootState::open(&config(&other, state.path())).0, 1), start("far"));
    }

    #[test]
    fn an_unreadable_file_reinstalls_no_machine() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join(FILE), "{\"52:54:").unwrap();
        let (boot_state, warning) = BootState::open(&config(YAML, state.path()));
        assert!(warning.is_some_and(|warning| warning.contains("once.json")));
        assert_eq!(now(&boot_state, 1), NextBoot::Start(BootAction::Local));
        send(&boot_state, "debian/initrd.gz", 1);
        assert!(boot_state.done(mac(1), &known(1), false).is_err(), "the change is not written");
        assert_eq!(std::fs::read_to_string(state.path().join(FILE)).unwrap(), "{\"52:54:");
    }

    #[test]
    fn s_05_a_flipped_bit_is_no_once_of_another_machine() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        BootState::open(&config(YAML, state.path())).0.done(mac(1), &known(1), false).unwrap();
        let sound = std::fs::read(&path).unwrap();
        let at = String::from_utf8(sound.clone()).unwrap().find("52:54").unwrap();
        for (i, bit) in (0..sound.len()).flat_map(|i| (0..8).map(move |bit| (i, bit))) {
            let mut bytes = sound.clone();
            bytes[i] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let (boot_state, warning) = BootState::open(&config(YAML, state.path()));
            // White space may become other white space.
            let is_same = read(&path).is_ok_and(|finished| finished.contains_key(&mac(1).to_string()));
            assert!(warning.is_some() || is_same, "bit {bit} of byte {i}");
            assert!(warning.is_some() || !(at..at + 17).contains(&i), "bit {bit} of byte {i}");
            assert_eq!(now(&boot_state, 1), NextBoot::Start(BootAction::Local), "bit {bit} of byte {i}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "it is kept for a person");
        }
    }

    #[test]
    fn s_05_a_file_of_an_older_version_is_read_and_gets_a_checksum() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        std::fs::write(&path, "{\"52:54:00:00:00:01\": \"debian\"}\n").unwrap();
        let (boot_state, warning) = BootState::open(&config(YAML, state.path()));
        assert_eq!((warning, now(&boot_state, 1)), (None, NextBoot::Start(BootAction::Local)));
        boot_state.done(mac(2), &known(2), false).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("sha256"));
        let (boot_state, warning) = BootState::open(&config(YAML, state.path()));
        assert_eq!((warning, now(&boot_state, 1)), (None, NextBoot::Start(BootAction::Local)));
    }

    #[test]
    fn a_write_error_is_reported_and_once_is_over() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("state");
        let (boot_state, _) = BootState::open(&config(YAML, &folder));
        std::fs::write(&folder, "a file").unwrap();
        for _ in 0..2 {
            assert!(boot_state.done(mac(1), &known(1), false).is_err(), "the change is not on disk");
            assert_eq!(now(&boot_state, 1), NextBoot::Start(BootAction::Local));
        }
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(boot_state.done(mac(1), &known(1), false).unwrap(), DoneReport::Nothing);
        let (boot_state, _) = BootState::open(&config(YAML, &folder));
        assert_eq!(now(&boot_state, 1), NextBoot::Start(BootAction::Local), "it is now");
    }
}
