//! Finds the images folder by its path. If another folder takes its place, by `mv`, `cp`, a mount or a changed
//! symlink, that one is served without a restart. The catalog uses it.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat, stat};
use nix::unistd::{AccessFlags, access};

use crate::event::{Reports, ServerFact};
use crate::images::folder::Folder;
use crate::images::open_file::fold_name;
use crate::images::placement::{Secret, images_problem, path_within, secrets_inside};
use crate::images::version::{Version, is_local};
use crate::types::Escaped;

/// Time for which an open folder is assumed to be in place, unless a file is missing in it.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Description of the folder in messages.
const DESCRIPTION: &str = "the folder of boot files";

/// Device and inode of a folder. They stay unique after the folder is deleted, because an open folder keeps its
/// inode.
type Identity = (u64, u64);

/// The folder that is currently at a path. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Root(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Number of times that a folder was opened or disappeared.
    generation: AtomicU64,
    state: Mutex<State>,
    reports: Reports,
}

#[derive(Debug)]
struct State {
    /// An absolute path, which stays valid if the process changes its working directory. Symlinks in it are kept.
    path: PathBuf,
    /// Files and folders that no client may read, wherever they are.
    secrets: Vec<Secret>,
    /// `None` while there is no folder.
    open: Option<(Folder, Identity)>,
    /// Names in the folder that no client may read.
    hidden: Vec<Hidden>,
    checked_at: Instant,
    /// Whether the folder has an entry of one of the lengths asked for, and the version of the folder that was read.
    lengths: Option<(Version, bool)>,
    /// The problem that was logged last. `None` once it is over.
    problem: Option<String>,
}

impl Root {
    /// Opens the folder at `path`, which may be a symlink.
    ///
    /// # Errors
    /// Those of [`Folder::open`], and a folder that must not be served: [`images_problem`].
    pub(super) fn open(path: &Path, secrets: Vec<Secret>) -> io::Result<Root> {
        let path = std::path::absolute(path)?;
        let open = open_at(&path, &secrets)?;
        let hidden = hidden_names_in(&path, &secrets);
        let checked_at = Instant::now();
        let state =
            State { path, secrets, open: Some(open), hidden, checked_at, lengths: None, problem: None };
        Ok(Root(Arc::new(Inner {
            generation: AtomicU64::new(0),
            state: Mutex::new(state),
            reports: Reports::default(),
        })))
    }

    /// Uses the folder at `path` from now on.
    ///
    /// # Errors
    /// Those of [`Root::open`]. Nothing changes then.
    pub(super) fn move_to(&self, path: &Path, secrets: Vec<Secret>) -> io::Result<()> {
        let path = std::path::absolute(path)?;
        let is_same = {
            let state = self.state();
            (&state.path, &state.secrets) == (&path, &secrets)
        };
        if is_same {
            return Ok(());
        }
        let open = open_at(&path, &secrets)?;
        // Opening the folder needs no right to read what is in it. After Landlock, that right is missing elsewhere.
        std::fs::read_dir(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
        })?;
        let hidden = hidden_names_in(&path, &secrets);
        let checked_at = Instant::now();
        *self.state() =
            State { path, secrets, open: Some(open), hidden, checked_at, lengths: None, problem: None };
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// The folder, or `None` while there is none. Checks the path again if the last check is older than [`CHECK_INTERVAL`].
    pub(super) fn folder(&self) -> Option<Folder> {
        let mut state = self.state();
        if state.checked_at.elapsed() >= CHECK_INTERVAL {
            self.check_path(&mut state);
        }
        state.open.as_ref().map(|(folder, _)| folder.clone())
    }

    /// Checks the path immediately, because a file was not found. Returns whether the folder has changed.
    pub(super) fn recheck(&self) -> bool {
        let before = self.generation();
        self.check_path(&mut self.state());
        self.generation() != before
    }

    /// Discards the open folder after an ESTALE error and opens the path again. Returns whether there is a folder.
    pub(super) fn reopen(&self) -> bool {
        let mut state = self.state();
        state.open = None;
        self.check_path(&mut state);
        state.open.is_some()
    }

    /// The facts about the folder.
    pub(super) fn reports(&self) -> &Reports {
        &self.0.reports
    }

    /// A number that changes whenever the folder changes.
    pub(super) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Whether no client may read the file with this name, which contains no symlinks. It applies to config.yaml and
    /// copies that an editor left (`config.yaml~`), and to everything in the folders for state and uploads. Case, and
    /// trailing dots and spaces of components, are ignored, because FAT, NTFS and SMB ignore them too.
    pub(super) fn hides(&self, real_name: &[u8]) -> bool {
        let state = self.state();
        if state.hidden.is_empty() {
            return false;
        }
        let name = components(real_name);
        state.hidden.iter().any(|hidden| hidden.has(&name))
    }

    /// Whether an entry of the folder has a name with one of `lengths`. Every call must pass the same lengths. Also
    /// true if there are more than `most` entries or they cannot be read.
    pub(super) fn may_have_entry_of_length(&self, lengths: &[usize], most: usize) -> bool {
        let Some(folder) = self.folder() else { return false };
        let Ok(found) = fstat(&folder) else { return true };
        let version = Version::of_stat(&found);
        if let Some((read, has)) = self.state().lengths
            && read == version
        {
            return has;
        }
        let entries = folder.entries(".", &mut { most }, |name| lengths.contains(&name.len()));
        let has = entries.map_or(true, |entries| !entries.is_empty());
        // The root of a FAT volume has no modification time, and a network file system may return old data.
        let is_sure = version.has_settled() && is_local(&folder);
        self.state().lengths = is_sure.then_some((version, has));
        has
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a problem, unless it was the last one reported.
    fn report(&self, state: &mut State, problem: String) {
        if state.problem.as_ref() != Some(&problem) {
            self.0.reports.report(ServerFact::ImagesUnreachable, problem.as_str());
            state.problem = Some(problem);
        }
    }

    fn check_path(&self, state: &mut State) {
        state.checked_at = Instant::now();
        let (path, secrets) = (state.path.clone(), state.secrets.clone());
        let shown = Escaped(path.as_os_str().as_bytes());
        let is_same = |found: &FileStat| state.open.as_ref().is_some_and(|(_, was)| *was == identity(found));
        match stat(&path) {
            Ok(found) if is_same(&found) => {
                if state.problem.take().is_some() {
                    let text = format!("{DESCRIPTION} {shown} can be reached again");
                    self.0.reports.report(ServerFact::ImagesBack, text);
                }
            }
            Err(errno) if !is_gone(errno) && state.open.is_some() => {
                // The folder may still be there: permission is missing, or a file server does not answer.
                self.report(
                    state,
                    format!("cannot look for {DESCRIPTION} {shown}: {}", io::Error::from(errno)),
                );
            }
            _ => match open_at(&path, &secrets) {
                Ok(open) => {
                    let was_missing = state.open.is_none();
                    state.open = Some(open);
                    state.hidden = hidden_names_in(&path, &secrets);
                    state.problem = None;
                    self.0.generation.fetch_add(1, Ordering::AcqRel);
                    for problem in secrets_inside(&path, &secrets) {
                        self.0.reports.report(ServerFact::ImagesUnsafe, format!("images: {problem}"));
                    }
                    let text = match was_missing {
                        true => format!("{DESCRIPTION} {shown} is back: its files are served again"),
                        false => format!("another folder is now at {shown}: its files are served"),
                    };
                    self.0.reports.report(ServerFact::ImagesBack, text);
                    if let Err(errno) = access(&path, AccessFlags::R_OK | AccessFlags::X_OK) {
                        let error = io::Error::from(errno);
                        let text = format!("cannot read {DESCRIPTION} {shown}: {error}; chmod a+rx it");
                        self.0.reports.report(ServerFact::ImagesUnreachable, text);
                    }
                }
                Err(error) => {
                    if state.open.take().is_some() {
                        self.0.generation.fetch_add(1, Ordering::AcqRel);
                    }
                    self.report(
                        state,
                        format!("{error}; no boot file is served until it can be opened again"),
                    );
                }
            },
        }
    }
}

fn open_at(path: &Path, secrets: &[Secret]) -> io::Result<(Folder, Identity)> {
    let folder = Folder::open(path, DESCRIPTION)?;
    // A folder that appears while lanboot runs must follow the same rules as at the start.
    if let Some(problem) = images_problem(path, secrets) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let identity = identity(&fstat(&folder)?);
    Ok((folder, identity))
}

/// A name that no client may read.
#[derive(Debug)]
struct Hidden {
    components: Vec<Vec<u8>>,
    /// Whether it is a file. Names that begin with the name of a hidden file are hidden too. In a hidden folder
    /// everything is hidden.
    is_file: bool,
}

impl Hidden {
    fn has(&self, name: &[Vec<u8>]) -> bool {
        match (self.components.split_last(), name.split_last()) {
            (Some((hidden, folders)), Some((last, of))) if self.is_file => {
                folders == of && last.starts_with(hidden)
            }
            _ => name.starts_with(&self.components),
        }
    }
}

/// The components of a name in lower case, without trailing dots and spaces.
fn components(name: &[u8]) -> Vec<Vec<u8>> {
    name.split(|byte| *byte == b'/').map(fold_name).collect()
}

/// The names of `secrets` that lie in the folder at `path`.
fn hidden_names_in(path: &Path, secrets: &[Secret]) -> Vec<Hidden> {
    let within = secrets.iter().filter_map(|secret| {
        let place = path_within(&secret.path, path)?;
        let components = components(place.as_os_str().as_bytes());
        Some(Hidden { components, is_file: secret.key == "--config" })
    });
    within.collect()
}

fn identity(found: &FileStat) -> Identity {
    (found.st_dev, found.st_ino)
}

/// Whether the error means that there is no folder at the path.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ESTALE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn r_09_a_replaced_folder_is_served_within_a_second() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("images");
        fs::create_dir(&path).unwrap();
        let root = Root::open(&path, Vec::new()).unwrap();
        let has = |name: &str| root.folder().is_some_and(|folder| folder.has(name));
        fs::rename(&path, base.path().join("old")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("new"), "").unwrap();
        root.state().checked_at -= CHECK_INTERVAL;
        assert!(has("new") && root.generation() == 1);
        fs::rename(&path, base.path().join("other")).unwrap();
        symlink("old", &path).unwrap();
        assert!(root.recheck() && !has("new"), "a symlink");
        fs::write(base.path().join("old/x"), "").unwrap();
        assert!(!root.recheck() && has("x"), "a file in it makes it no other folder");
    }

    #[test]
    fn r_09_nothing_is_served_without_a_folder() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("images");
        fs::create_dir(&path).unwrap();
        let root = Root::open(&path, Vec::new()).unwrap();
        fs::remove_dir(&path).unwrap();
        assert!(root.recheck() && root.folder().is_none());
        assert!(!root.recheck(), "it is missing as before");
        assert!(root.state().problem.as_ref().unwrap().contains("no boot file is served"));
        fs::write(&path, "a file").unwrap();
        root.recheck();
        assert!(root.folder().is_none());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(root.recheck() && root.folder().is_some() && root.state().problem.is_none());
        assert!(root.reopen(), "an NFS server that forgot it");
    }

    #[test]
    fn r_09_secrets_stay_hidden_in_a_replaced_folder() {
        let base = tempfile::tempdir().unwrap();
        let (path, good) = (base.path().join("images"), base.path().join("good"));
        fs::create_dir_all(base.path().join("bad/state")).unwrap();
        fs::create_dir(&good).unwrap();
        symlink("good", &path).unwrap();
        let secrets = vec![Secret { key: "state", path: base.path().join("bad/state") }];
        let root = Root::open(&path, secrets).unwrap();
        fs::remove_file(&path).unwrap();
        symlink("bad", &path).unwrap();
        assert!(!root.hides(b"state/leases.db"));
        assert!(root.recheck() && root.folder().is_some());
        let hidden = ["state", "state/leases.db", "state/a/b"];
        assert!(hidden.iter().all(|name| root.hides(name.as_bytes())) && !root.hides(b"states"));
        assert!(
            ["State/x", "STATE./x"].iter().all(|name| root.hides(name.as_bytes())),
            "as FAT and SMB read it"
        );
        fs::remove_file(&path).unwrap();
        symlink("bad/state", &path).unwrap();
        assert!(root.recheck() && root.folder().is_none(), "the state folder itself");
        assert!(root.state().problem.as_ref().unwrap().contains("`state`"));
    }
}
