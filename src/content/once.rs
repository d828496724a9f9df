//! Which machine starts what, and who has had its `once`: remembered in the state folder, in `once.json`.
//!
//! `once` is over when the machine has all of the last file of the target that lanboot serves (of kernel and RAM disks, the
//! last), or when it says so itself (`POST /<mac>/done`), whichever comes first: a machine whose installer never comes to
//! its end must not be installed for ever. What was changed is on disk before a POST is answered.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::boot::loader::facts::Facts;
use crate::boot::loader::script::Served;
use crate::boot::loader::target::{Machine, Now, Start, Targets, is_url, own_path};
use crate::boot::name::BootName;
use crate::config::Config;
use crate::content::machines::{KnownMachine, own_names};
use crate::http;
use crate::store::FILE_MODE;
use crate::store::make_folder;
use crate::types::{Escaped, MacAddr};

/// The file in the state folder.
pub const FILE: &str = "once.json";
/// Bytes of it that are read at most: a line for each of 100,000 machines.
const MAX_FILE: u64 = 16 << 20;

/// Who starts what. Cheap to clone; clones share what is remembered.
#[derive(Clone, Debug, Default)]
pub struct Starts(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    targets: Targets,
    served: Served,
    /// By machine, the `once` that it has had.
    had: Mutex<Had>,
    file: Option<PathBuf>,
    /// By machine, what it has of the last that it needs.
    begun: Mutex<BTreeMap<String, Begun>>,
    /// What is known to be on the disk. Held while the file is written, so that the last one to write has the latest.
    on_disk: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug, Default)]
struct Had {
    by_machine: BTreeMap<String, String>,
    /// The file could not be read: who has had what is not known, and nobody is installed anew for that.
    unknown: bool,
}

/// What a machine has of a file, from its first byte on.
#[derive(Debug)]
struct Begun {
    name: BootName,
    size: u64,
    reached: u64,
}

/// What a machine was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent<'a> {
    /// Its name beneath boot-images/.
    pub name: &'a BootName,
    /// Which bytes of it.
    pub part: Range<u64>,
    /// How many it has.
    pub size: u64,
    /// It is a text made to start what the machine is to start.
    pub is_script: bool,
}

/// What became of a machine's word that it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// Its `once` is over now.
    Ended,
    /// It had nothing to do once, or has had it.
    Nothing,
    /// No machine of that MAC has an entry.
    Unknown,
    /// Another machine says it, or one that is not known to be this one.
    NotIts,
}

impl Starts {
    /// What `config` says, with nothing remembered and nothing kept.
    pub fn forgetful(config: &Config) -> Starts {
        Starts::with(config, Had::default(), None)
    }

    /// What `config` says, and what its state folder remembers. The text says what is wrong with that.
    pub fn open(config: &Config) -> (Starts, Option<String>) {
        let file = config.state.join(FILE);
        let (had, warning) = match read(&file) {
            Ok(by_machine) => (Had { by_machine, unknown: false }, None),
            Err(error) => {
                let warning = format!(
                    "cannot read {}: {error}; every `once` counts as over until the file is removed or right",
                    file.display()
                );
                (Had { by_machine: BTreeMap::new(), unknown: true }, Some(warning))
            }
        };
        let before = had.by_machine.len();
        let starts = Starts::with(config, had, Some(file));
        let targets = &starts.0.targets;
        let is_had = |key: &str, name: &str| {
            let machine = targets.machines().iter().find(|machine| key_of(machine).as_deref() == Some(key));
            machine.and_then(|machine| machine.once.as_ref()).is_some_and(|once| once.name() == name)
        };
        // Who takes `once` out of the file and puts it in again means it again.
        starts.had().by_machine.retain(|key, name| is_had(key, name));
        let forgotten = starts.had().by_machine.len() < before;
        if forgotten && let Err(error) = starts.write() {
            tracing::warn!("cannot write {FILE} in the state folder: {error}");
        }
        (starts, warning)
    }

    fn with(config: &Config, had: Had, file: Option<PathBuf>) -> Starts {
        let served = config.served();
        let on_disk = Mutex::new(had.by_machine.clone());
        let (had, begun) = (Mutex::new(had), Mutex::default());
        Starts(Arc::new(Inner { targets: config.targets.clone(), served, had, file, begun, on_disk }))
    }

    /// All targets and machines.
    pub fn targets(&self) -> &Targets {
        &self.0.targets
    }

    /// How files are fetched from us.
    pub fn served(&self) -> Served {
        self.0.served
    }

    /// The entry of a machine.
    pub fn machine(&self, known: &KnownMachine) -> Option<&Machine> {
        self.0.targets.machine(known.mac, known.believed_uuid())
    }

    /// What a machine starts now.
    pub fn now(&self, machine: Option<&Machine>) -> Now {
        self.now_for(machine, true)
    }

    /// The same, where it may be that it is not this machine that asks: then `may_once` is false.
    pub fn now_for(&self, machine: Option<&Machine>, may_once: bool) -> Now {
        let had_once = !may_once || machine.is_some_and(|machine| self.has_had(machine));
        self.0.targets.now(machine, had_once)
    }

    /// The machine with this MAC is done with what it was to start once, as the machine `known` says, which must be the
    /// same one, or a person. This waits for the disk.
    ///
    /// # Errors
    /// It could not be written down. Until the next restart it counts all the same.
    pub fn done(&self, mac: MacAddr, known: &KnownMachine, by_person: bool) -> io::Result<Done> {
        let own = self.machine(known);
        let is_its_mac = known.mac == Some(mac);
        // Of other machines only the MAC is known.
        let named = self.0.targets.machine(Some(mac), known.believed_uuid().filter(|_| is_its_mac));
        let Some(machine) = named else { return Ok(Done::Unknown) };
        if !by_person && !own.is_some_and(|own| std::ptr::eq(own, machine)) {
            return Ok(Done::NotIts);
        }
        if machine.once.is_none() {
            return Ok(Done::Nothing);
        }
        let ended = self.end_once(machine, "the machine said that it is done");
        // Also where it was over before: that may not be on the disk yet.
        self.write()?;
        Ok(if ended { Done::Ended } else { Done::Nothing })
    }

    /// `known` was sent this. Its `once` is over if it has all now of the last that it needs.
    pub fn sent(&self, sent: &Sent<'_>, known: &KnownMachine) {
        let file = sent.name;
        let Some(machine) = self.machine(known) else { return };
        let Some(once) = machine.once.as_ref().filter(|_| !self.has_had(machine)) else { return };
        let needed = match once {
            Start::Target(name) => {
                self.0.targets.get(name).and_then(|target| target.last_file(self.0.served))
            }
            Start::Local | Start::Menu => None,
        };
        let is_last = match needed {
            None => sent.is_script,
            Some(written) => needed_name(written, self.0.served, machine, known).is_some_and(|name| {
                // In the machine's own folder too.
                name == *file || own_names(known).iter().any(|folder| name.within(folder) == *file)
            }),
        };
        if !is_last || !self.has_all(machine, sent) || !self.end_once(machine, &format!("it was sent {file}"))
        {
            return;
        }
        let starts = self.clone();
        // Nobody who sends files waits for the disk.
        let write = move || {
            if let Err(error) = starts.write() {
                tracing::error!(
                    "cannot write {FILE} in the state folder: {error}; after a restart, `once` counts again"
                );
            }
        };
        if let Err(error) = std::thread::Builder::new().name("once".to_owned()).spawn(write) {
            tracing::error!(
                "cannot start a thread to write {FILE}: {error}; after a restart, `once` counts again"
            );
        }
    }

    /// Whether the machine has this from its first byte to its last: parts count where each begins within those before
    /// it, as when a client goes on with what was broken off.
    fn has_all(&self, machine: &Machine, sent: &Sent<'_>) -> bool {
        let Some(key) = key_of(machine) else { return false };
        let mut begun = self.0.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let before = begun.get(&key).filter(|begun| begun.name == *sent.name && begun.size == sent.size);
        let reached = before.map_or(0, |begun| begun.reached);
        if sent.part.start > reached {
            return false;
        }
        let reached = reached.max(sent.part.end);
        if reached >= sent.size {
            begun.remove(&key);
            return true;
        }
        begun.insert(key, Begun { name: sent.name.clone(), size: sent.size, reached });
        false
    }

    fn has_had(&self, machine: &Machine) -> bool {
        let had = self.had();
        let name = machine.once.as_ref().map(Start::name);
        had.unknown || key_of(machine).is_some_and(|key| had.by_machine.get(&key).map(String::as_str) == name)
    }

    /// Whether it was not over before.
    fn end_once(&self, machine: &Machine, why: &str) -> bool {
        let (Some(once), Some(key)) = (&machine.once, key_of(machine)) else { return false };
        if self.has_had(machine) {
            return false;
        }
        self.had().by_machine.insert(key, once.name().to_owned());
        let then = machine.boot.as_ref().map(|start| format!(" and starts {} next", start.name()));
        let (name, why) = (Escaped(machine.name.as_bytes()), Escaped(why.as_bytes()));
        tracing::info!("once {} of {name} is over: {why}{}", once.name(), then.unwrap_or_default());
        true
    }

    fn had(&self) -> MutexGuard<'_, Had> {
        self.0.had.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what is remembered now is on the disk, and replaces the file if it is not.
    fn write(&self) -> io::Result<()> {
        let Some(file) = &self.0.file else { return Ok(()) };
        let mut on_disk = self.0.on_disk.lock().unwrap_or_else(PoisonError::into_inner);
        let had = {
            let had = self.had();
            if had.unknown {
                return Err(io::Error::other("it could not be read at start, and is not replaced"));
            }
            had.by_machine.clone()
        };
        if had == *on_disk {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&had)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        make_folder(folder)?;
        let permissions = Permissions::from_mode(FILE_MODE);
        let mut new = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
        writeln!(new, "{text}")?;
        new.as_file().sync_all()?;
        new.persist(file)?;
        File::open(folder)?.sync_all()?;
        *on_disk = had;
        Ok(())
    }
}

/// The name of a target's file, written so, for this machine.
fn needed_name(written: &str, served: Served, machine: &Machine, known: &KnownMachine) -> Option<BootName> {
    let facts = Facts {
        server: Ipv4Addr::UNSPECIFIED,
        ip: None,
        mac: known.mac,
        uuid: known.uuid,
        arch: known.arch,
        serial: known.serial.clone(),
        host_name: known.host_name.clone(),
        machine: Some(machine),
    };
    let name = facts.fill(own_path(written, served)?).ok()?;
    if is_url(written) {
        return BootName::parse(&http::target::name(&format!("/{name}")).ok()?).ok();
    }
    BootName::parse(name.as_bytes()).ok()
}

fn read(file: &Path) -> io::Result<BTreeMap<String, String>> {
    let text = match File::open(file) {
        Ok(file) => io::read_to_string(io::Read::take(file, MAX_FILE))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_str(&text)?)
}

/// What a machine is remembered by: a name may change.
fn key_of(machine: &Machine) -> Option<String> {
    machine.mac.map(|mac| mac.to_string()).or_else(|| machine.uuid.map(|uuid| uuid.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn send(starts: &Starts, file: &str, n: u8) {
        send_part(starts, file, 0..9, n);
    }

    /// A part of a file of 9 bytes.
    fn send_part(starts: &Starts, file: &str, part: Range<u64>, n: u8) {
        let name = BootName::parse(file.as_bytes()).unwrap();
        let is_script = file == "lanboot/boot.ipxe";
        starts.sent(&Sent { name: &name, part, size: 9, is_script }, &known(n));
    }

    fn now(starts: &Starts, n: u8) -> Now {
        starts.now(starts.machine(&known(n)))
    }

    fn start(name: &str) -> Now {
        Now::Start(Start::Target(name.into()))
    }

    /// Waits until the file says what it is to say.
    fn wait_for(state: &Path, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !std::fs::read_to_string(state.join(FILE)).unwrap_or_default().contains(text) {
            assert!(Instant::now() < deadline, "{text} is not in {FILE}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn once_is_over_with_the_last_file_and_stays_so_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let (starts, warning) = Starts::open(&config(YAML, state.path()));
        assert_eq!((warning, now(&starts, 1)), (None, start("debian")));
        for (file, n) in [
            ("lanboot/boot.ipxe", 1),
            ("debian/bios/linux", 1),
            ("other/initrd.gz", 1),
            ("rescue/debian/initrd.gz", 1),
            ("52-54-00-00-00-02/debian/initrd.gz", 1),
            ("debian/initrd.gz", 2),
        ] {
            send(&starts, file, n);
            assert_eq!(now(&starts, 1), start("debian"), "{file}");
        }
        send(&starts, "52-54-00-00-00-01/debian/initrd.gz", 1);
        assert_eq!(now(&starts, 1), Now::Start(Start::Local));
        wait_for(state.path(), "52:54:00:00:00:01");
        let (starts, _) = Starts::open(&config(YAML, state.path()));
        assert_eq!(now(&starts, 1), Now::Start(Start::Local));
    }

    #[test]
    fn of_a_target_that_is_served_by_others_the_script_is_the_last() {
        let state = tempfile::tempdir().unwrap();
        let (starts, _) = Starts::open(&config(YAML, state.path()));
        assert_eq!(now(&starts, 2), start("far"));
        send(&starts, "boot.cfg", 2);
        assert_eq!(now(&starts, 2), start("far"));
        send(&starts, "lanboot/boot.ipxe", 2);
        assert_eq!(now(&starts, 2), Now::Usual);
    }

    #[test]
    fn a_url_of_this_server_is_a_file_that_it_serves() {
        let yaml = YAML.replace("http://10.0.0.9/linux", "'http://{server}:8080/{mac}%20x/linux?a'");
        let starts = Starts::forgetful(&config(&format!("{yaml}http: {{port: 8080}}\n"), Path::new("")));
        send(&starts, "lanboot/boot.ipxe", 2);
        assert_eq!(now(&starts, 2), start("far"), "the kernel was not fetched yet");
        send(&starts, "52:54:00:00:00:02 x/linux", 2);
        assert_eq!(now(&starts, 2), Now::Usual);
    }

    #[test]
    fn once_is_over_when_the_machine_has_the_last_file_from_its_first_byte_to_its_last() {
        let starts = Starts::forgetful(&config(YAML, Path::new("")));
        let is_over = |parts: &[Range<u64>]| {
            parts.iter().for_each(|part| send_part(&starts, "debian/initrd.gz", part.clone(), 1));
            now(&starts, 1) != start("debian")
        };
        assert!(!is_over(&[8..9, 0..0]), "its end alone");
        assert!(!is_over(&[0..4, 5..9]), "a byte is missing");
        send_part(&starts, "debian/bios/linux", 4..9, 1);
        send_part(&starts, "debian/initrd.gz", 4..9, 2);
        assert!(!is_over(&[]), "of another file, and of another machine");
        assert!(is_over(&[3..7, 7..9]), "it goes on where it was broken off");
    }

    #[test]
    fn a_machine_may_say_that_it_is_done_and_is_believed_once() {
        let state = tempfile::tempdir().unwrap();
        let (starts, _) = Starts::open(&config(YAML, state.path()));
        assert_eq!(starts.done(mac(1), &known(1), false).unwrap(), Done::Ended);
        assert_eq!(starts.done(mac(1), &known(1), false).unwrap(), Done::Nothing);
        assert_eq!(starts.done(mac(3), &known(1), false).unwrap(), Done::NotIts);
        assert_eq!(starts.done(mac(3), &known(3), false).unwrap(), Done::Nothing);
        assert_eq!(starts.done(mac(9), &known(9), false).unwrap(), Done::Unknown);
        // It was on the disk before the answer.
        let (starts, _) = Starts::open(&config(YAML, state.path()));
        assert_eq!(now(&starts, 1), Now::Start(Start::Local));
    }

    #[test]
    fn a_machine_that_is_known_by_its_uuid_says_so_with_its_mac() {
        let uuid = "7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab";
        let yaml = format!("{YAML}  - {{name: d, uuid: {uuid}, once: debian, boot: local}}\n");
        let starts = Starts::forgetful(&config(&yaml, Path::new("")));
        let d = KnownMachine { uuid: uuid.parse().ok(), ..known(4) };
        assert_eq!(starts.done(mac(4), &known(4), false).unwrap(), Done::Unknown, "nothing tells its UUID");
        assert_eq!(starts.done(mac(9), &d, false).unwrap(), Done::Unknown, "it says so of another one");
        assert_eq!(starts.now(starts.machine(&d)), start("debian"));
        assert_eq!(starts.done(mac(4), &d, false).unwrap(), Done::Ended);
        assert_eq!(starts.now(starts.machine(&d)), Now::Start(Start::Local));
    }

    #[test]
    fn who_takes_once_out_and_puts_it_in_again_means_it_again() {
        let state = tempfile::tempdir().unwrap();
        Starts::open(&config(YAML, state.path())).0.done(mac(1), &known(1), false).unwrap();
        let without = YAML.replace("once: debian, ", "");
        drop(Starts::open(&config(&without, state.path())));
        let (starts, _) = Starts::open(&config(YAML, state.path()));
        assert_eq!(now(&starts, 1), start("debian"));
        starts.done(mac(1), &known(1), false).unwrap();
        let other = YAML.replace("once: debian", "once: far");
        assert_eq!(now(&Starts::open(&config(&other, state.path())).0, 1), start("far"));
    }

    #[test]
    fn a_file_that_cannot_be_read_installs_nobody_anew() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join(FILE), "{\"52:54:").unwrap();
        let (starts, warning) = Starts::open(&config(YAML, state.path()));
        assert!(warning.is_some_and(|warning| warning.contains("once.json")));
        assert_eq!(now(&starts, 1), Now::Start(Start::Local));
        send(&starts, "debian/initrd.gz", 1);
        assert!(starts.done(mac(1), &known(1), false).is_err(), "it is not written down");
        assert_eq!(std::fs::read_to_string(state.path().join(FILE)).unwrap(), "{\"52:54:");
    }

    #[test]
    fn a_disk_that_fails_is_said_and_once_is_over_all_the_same() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("state");
        let (starts, _) = Starts::open(&config(YAML, &folder));
        std::fs::write(&folder, "a file").unwrap();
        for _ in 0..2 {
            assert!(starts.done(mac(1), &known(1), false).is_err(), "it is not on the disk");
            assert_eq!(now(&starts, 1), Now::Start(Start::Local));
        }
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(starts.done(mac(1), &known(1), false).unwrap(), Done::Nothing);
        let (starts, _) = Starts::open(&config(YAML, &folder));
        assert_eq!(now(&starts, 1), Now::Start(Start::Local), "it is now");
    }
}
