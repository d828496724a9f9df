//! Keeps the journeys over restarts: its own thread stores the boots that changed, some of them each second, so that
//! no packet waits for the disk. If the disk fails or is full, journeys go on in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use rustix::process::nice;
use tokio::sync::oneshot;

use crate::api::handles::Api;
use crate::api::shared_journeys::SharedJourneys;
use crate::event::ServerFact;
use crate::journey::unsaved::ChangedRows;
use crate::record::Recorder;
use crate::store::journeys::{JOURNEYS, JourneyFile, KeptMachine, count, open};
use crate::types::MacAddr;

/// By how much the thread is nicer than the threads that answer machines.
const NICE: i32 = 10;
/// Pause between two batches.
const PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of machines whose rows are written in one batch, which bounds the processor time in a storm of boots.
const MAX_MACHINES: usize = 500;
/// Maximum number of machines that are taken while the journeys are locked.
const MAX_LOCKED: usize = 50;
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(10);
/// Pause between two searches for machines that are no longer followed.
const SWEEP: Duration = Duration::from_secs(60);
/// Maximum time to store what is left when the server stops.
const LAST: Duration = Duration::from_secs(3);

/// The machines of earlier runs.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) machines: Vec<KeptMachine>,
    /// Whether the file is new, because the one that they are from was damaged.
    pub(super) is_new: bool,
}

/// The running thread.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread. The receiver gets the machines of earlier runs, once. `None` if the server has no state folder.
    pub(super) fn start(api: &Api) -> Option<(Keeper, oneshot::Receiver<Kept>)> {
        if !api.state.is_dir() {
            return None;
        }
        let (stop, stopped) = channel();
        let (loaded, machines) = oneshot::channel();
        let store = Store {
            state: Arc::clone(&api.state),
            journeys: api.journeys.clone(),
            recorder: api.recorder.clone(),
            file: None,
            retry: None,
            swept: Instant::now(),
            is_failing: false,
            counted: None,
        };
        let started =
            thread::Builder::new().name("journeys".to_owned()).spawn(move || store.run(&stopped, loaded));
        match started {
            Ok(thread) => Some((Keeper { stop, thread }, machines)),
            Err(error) => {
                let text = format!("boots are not kept over a restart: cannot start a thread: {error}");
                api.recorder.server(ServerFact::JourneysNotStored, text);
                None
            }
        }
    }

    /// Stores what is left and ends the thread. Blocks for [`LAST`] and one transaction at most.
    pub(super) fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// The state of the thread.
struct Store {
    state: Arc<Path>,
    journeys: SharedJourneys,
    recorder: Recorder,
    /// The open file; `None` after a failure.
    file: Option<JourneyFile>,
    /// Nothing is tried before this.
    retry: Option<Instant>,
    swept: Instant,
    /// Whether the last attempt failed, which was reported.
    is_failing: bool,
    /// The number of boots that was recorded last outside the database.
    counted: Option<u64>,
}

impl Store {
    fn run(mut self, stopped: &Receiver<()>, loaded: oneshot::Sender<Kept>) {
        let machines = self.open(false);
        // Only now, because a busy computer would keep it from reading the boots. On Linux this is about the calling thread. A
        // sandbox may forbid it, and then all threads are equal.
        let _ = nice(NICE);
        // Nobody waits for them if the server stops already.
        let _ = loaded.send(machines);
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PAUSE) {
            self.step();
        }
        let began = Instant::now();
        self.retry = None;
        while self.journeys.lock().unsaved() > 0 && began.elapsed() < LAST && !self.is_failing {
            self.step();
        }
        if let Some(file) = self.file.take() {
            let _ = self.count(&file);
        }
    }

    /// Opens the file. Returns its machines. `is_known` says that the loss of the one before was reported.
    fn open(&mut self, is_known: bool) -> Kept {
        match open(&self.state) {
            Ok(opened) => {
                if let Some(problem) = opened.problem.filter(|_| !is_known) {
                    self.recorder.server(ServerFact::JourneysDamaged, problem);
                }
                if opened.is_new {
                    self.journeys.lock().nothing_stored();
                }
                self.file = Some(opened.file);
                Kept { machines: opened.machines, is_new: opened.is_new }
            }
            Err(error) => {
                self.failed(&error);
                Kept::default()
            }
        }
    }

    /// Stores the rows of some machines.
    fn step(&mut self) {
        if self.retry.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let is_gone = self.file.as_ref().is_some_and(|file| !file.is_in_place());
        if is_gone {
            let text = format!(
                "{} was moved or deleted while lanboot runs: the boots in memory are written to a new file",
                self.state.join(JOURNEYS).display()
            );
            self.recorder.server(ServerFact::JourneysDamaged, text);
            self.file = None;
        }
        if self.file.is_none() {
            // Boots of an earlier run stay in the file, but the journeys have begun without them.
            drop(self.open(is_gone));
        }
        let Some(mut file) = self.file.take() else { return };
        let changed = self.take();
        let mut result = file.write(&changed);
        let mut is_counted = changed.is_empty() || self.counted.is_some_and(|boots| boots > 0);
        if result.is_ok() && self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            is_counted = false;
            result = self.sweep(&mut file);
        }
        if result.is_ok() && !is_counted {
            result = self.count(&file);
        }
        match result {
            Ok(()) => {
                self.file = Some(file);
                self.retry = None;
                if std::mem::take(&mut self.is_failing) {
                    self.recorder.server(ServerFact::JourneysStored, "boots are stored again");
                }
            }
            Err(error) => {
                self.journeys.lock().not_stored(changed.iter().map(|machine| machine.mac));
                // A file that is opened again is read and checked whole.
                if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                    self.file = Some(file);
                }
                self.failed(&error.to_string());
            }
        }
    }

    /// Records the number of boots outside the database. If that fails, it is tried again with the next ones.
    fn count(&mut self, file: &JourneyFile) -> rusqlite::Result<()> {
        let boots = file.boots()?;
        if self.counted != Some(boots) && count::write(&self.state, boots).is_ok() {
            self.counted = Some(boots);
        }
        Ok(())
    }

    fn take(&self) -> Vec<ChangedRows> {
        let mut changed = Vec::new();
        while changed.len() < MAX_MACHINES {
            // Other threads get the lock in between.
            let some = self.journeys.lock().take_unsaved(MAX_LOCKED);
            if some.is_empty() {
                break;
            }
            changed.extend(some);
        }
        changed
    }

    /// Deletes the rows of machines that the journeys have forgotten.
    fn sweep(&self, file: &mut JourneyFile) -> rusqlite::Result<()> {
        let stored = file.machines()?;
        let forgotten: Vec<MacAddr> = {
            let journeys = self.journeys.lock();
            stored.into_iter().filter(|mac| journeys.machine(*mac).is_none()).take(MAX_MACHINES).collect()
        };
        if forgotten.is_empty() { Ok(()) } else { file.forget(&forgotten) }
    }

    /// Reports a failure once, and tries again after a while.
    fn failed(&mut self, error: &str) {
        self.retry = Some(Instant::now() + RETRY);
        if std::mem::replace(&mut self.is_failing, true) {
            return;
        }
        let text = format!(
            "boots are followed in memory but not stored in {}: {error}; make room on its disk, or give it to lanboot's \
             user; lanboot tries again every {} s",
            self.state.join(JOURNEYS).display(),
            RETRY.as_secs()
        );
        self.recorder.server(ServerFact::JourneysNotStored, text);
    }
}
