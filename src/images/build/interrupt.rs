//! Ends a build on Ctrl-C or SIGTERM: stops the program that packs, removes the unfinished files, then ends this
//! process with the signal. After SIGKILL, the next build removes the files.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::unistd::Pid;

/// The programs and files that an interrupted build leaves. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Cleanup(Arc<Mutex<Leftovers>>);

#[derive(Debug, Default)]
struct Leftovers {
    children: Vec<u32>,
    folder: Option<PathBuf>,
}

impl Cleanup {
    /// Starts to wait for signals. Call it before any other thread starts, because threads inherit the blocked
    /// signals.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn listen() -> std::io::Result<Cleanup> {
        let cleanup = Cleanup::default();
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block()?;
        let leftovers = cleanup.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if let Ok(signal) = signals.wait() {
                leftovers.run();
                let _ = signals.thread_unblock();
                // The default action ends the process, so that a shell sees the signal.
                let _ = raise(signal);
            }
        })?;
        Ok(cleanup)
    }

    pub(super) fn add_child(&self, id: u32) {
        self.leftovers().children.push(id);
    }

    pub(super) fn remove_child(&self, id: u32) {
        self.leftovers().children.retain(|child| *child != id);
    }

    pub(super) fn set_folder(&self, folder: Option<PathBuf>) {
        self.leftovers().folder = folder;
    }

    fn run(&self) {
        // The lock is kept, so that the build cannot publish what is being removed.
        let leftovers = self.leftovers();
        for child in &leftovers.children {
            if let Ok(id) = i32::try_from(*child) {
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
        }
        if let Some(folder) = &leftovers.folder {
            // The build may be adding a file at this moment.
            while fs::remove_dir_all(folder)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::DirectoryNotEmpty)
            {}
        }
        std::mem::forget(leftovers);
    }

    fn leftovers(&self) -> MutexGuard<'_, Leftovers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
