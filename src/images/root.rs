//! The folder of boot files, found by its path. When another folder comes to stand at that path, by `mv`, `cp`, a mount
//! or a symlink that is switched, that one is served, without a restart. Used by the catalog.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat, stat};
use nix::unistd::{AccessFlags, access};

use crate::images::catalog::plain;
use crate::images::folder::Folder;
use crate::images::placement::{Secret, images_problem, inside, path_within};
use crate::images::version::{Version, is_local};
use crate::types::Escaped;

/// How long a folder that was found in its place is taken to be there, unless a file is missing in it.
const FRESH: Duration = Duration::from_secs(1);
/// The folder in messages.
const WHAT: &str = "the folder of boot files";

/// Device and inode: they tell one folder from another, also after one was deleted, because an open folder keeps its
/// inode.
type Identity = (u64, u64);

/// The folder that stands at a path now. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Root(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Absolute, so that it is the same one after the process changes its working directory. Symlinks in it stay.
    path: PathBuf,
    /// Files and folders that no client may read, should they be in the folder.
    secrets: Vec<Secret>,
    /// Counts the folders that were opened, and the times that there was none.
    generation: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` while there is none.
    open: Option<(Folder, Identity)>,
    /// Names in it that are for no client.
    hidden: Vec<Hidden>,
    looked_at: Instant,
    /// Whether the folder has an entry of one of the lengths that were asked for, and the version of it that was read.
    lengths: Option<(Version, bool)>,
    /// What was logged last, until it is over.
    problem: Option<String>,
}

impl Root {
    /// Opens the folder at `path`, which may be a symlink to one.
    ///
    /// Fails as [`Folder::open`] does, and where the folder must not be served: [`images_problem`].
    pub(super) fn open(path: &Path, secrets: Vec<Secret>) -> io::Result<Root> {
        let path = std::path::absolute(path)?;
        let open = open_at(&path, &secrets)?;
        let hidden = hidden_in(&path, &secrets);
        let state =
            State { open: Some(open), hidden, looked_at: Instant::now(), lengths: None, problem: None };
        Ok(Root(Arc::new(Inner { path, secrets, generation: AtomicU64::new(0), state: Mutex::new(state) })))
    }

    /// The folder, looked for again if that was not done for [`FRESH`]; `None` while there is none.
    pub(super) fn folder(&self) -> Option<Folder> {
        let mut state = self.state();
        if state.looked_at.elapsed() >= FRESH {
            self.look(&mut state);
        }
        state.open.as_ref().map(|(folder, _)| folder.clone())
    }

    /// Looks again at once, because something was not found. Whether it is another folder now.
    pub(super) fn look_again(&self) -> bool {
        let before = self.generation();
        self.look(&mut self.state());
        self.generation() != before
    }

    /// Forgets the folder, which the file system says is not the one that it was (ESTALE). Whether there is one now.
    pub(super) fn open_again(&self) -> bool {
        let mut state = self.state();
        state.open = None;
        self.look(&mut state);
        state.open.is_some()
    }

    /// A number that is another one when it is another folder.
    pub(super) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Whether the file of that name, which has no symlink in it, is for no client: config.yaml or a copy of it that an
    /// editor left (`config.yaml~`), or one in the folder for state or uploads. The case does not count, and neither do dots
    /// and spaces at the ends of components: on FAT, NTFS and SMB such a name leads to the same file.
    pub(super) fn hides(&self, real_name: &[u8]) -> bool {
        let state = self.state();
        if state.hidden.is_empty() {
            return false;
        }
        let name = components(real_name);
        state.hidden.iter().any(|hidden| hidden.has(&name))
    }

    /// Whether an entry of the folder has a name of one of `lengths`, which are always the same. True also where there are
    /// more than `most` entries, or they cannot be read.
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
        // The root of a FAT volume never shows a change, and what other computers say of a folder may be old.
        let is_sure = version.has_settled() && is_local(&folder);
        self.state().lengths = is_sure.then_some((version, has));
        has
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, state: &mut State) {
        state.looked_at = Instant::now();
        let shown = Escaped(self.0.path.as_os_str().as_bytes());
        let is_same = |found: &FileStat| state.open.as_ref().is_some_and(|(_, was)| *was == identity(found));
        match stat(&self.0.path) {
            Ok(found) if is_same(&found) => {
                if state.problem.take().is_some() {
                    tracing::info!("{WHAT} {shown} can be reached again");
                }
            }
            Err(errno) if !is_gone(errno) && state.open.is_some() => {
                // No permission, or a file server that does not answer: the folder may still be there.
                report(state, format!("cannot look for {WHAT} {shown}: {}", io::Error::from(errno)));
            }
            _ => match open_at(&self.0.path, &self.0.secrets) {
                Ok(open) => {
                    let was_missing = state.open.is_none();
                    state.open = Some(open);
                    state.hidden = hidden_in(&self.0.path, &self.0.secrets);
                    state.problem = None;
                    self.0.generation.fetch_add(1, Ordering::AcqRel);
                    for problem in inside(&self.0.path, &self.0.secrets) {
                        tracing::error!("images: {problem}");
                    }
                    if was_missing {
                        tracing::info!("{WHAT} {shown} is back: its files are served again");
                    } else {
                        tracing::info!("another folder stands at {shown}: its files are served now");
                    }
                    if let Err(errno) = access(&self.0.path, AccessFlags::R_OK | AccessFlags::X_OK) {
                        tracing::warn!(
                            "cannot read {WHAT} {shown}: {}; chmod a+rx it",
                            io::Error::from(errno)
                        );
                    }
                }
                Err(error) => {
                    if state.open.take().is_some() {
                        self.0.generation.fetch_add(1, Ordering::AcqRel);
                    }
                    report(state, format!("{error}; no boot file is served until it can be opened again"));
                }
            },
        }
    }
}

fn open_at(path: &Path, secrets: &[Secret]) -> io::Result<(Folder, Identity)> {
    let folder = Folder::open(path, WHAT)?;
    // A folder that is switched while lanboot runs is held to the same rules as at the start.
    if let Some(problem) = images_problem(path, secrets) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let identity = identity(&fstat(&folder)?);
    Ok((folder, identity))
}

/// A name that is for no client.
#[derive(Debug)]
struct Hidden {
    components: Vec<Vec<u8>>,
    /// It is a file, and names that begin with its name are hidden too; else a folder, and all in it is.
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

/// The components of a name in lower case, without dots and spaces at their ends.
fn components(name: &[u8]) -> Vec<Vec<u8>> {
    name.split(|byte| *byte == b'/').map(plain).collect()
}

/// The places of `secrets` in the folder at `path`.
fn hidden_in(path: &Path, secrets: &[Secret]) -> Vec<Hidden> {
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

/// Whether there is nothing, or no folder, at the path.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ESTALE)
}

fn report(state: &mut State, problem: String) {
    if state.problem.as_ref() != Some(&problem) {
        tracing::warn!("{problem}");
        state.problem = Some(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn r_09_another_folder_at_the_path_is_served_after_a_second_at_most() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("images");
        fs::create_dir(&path).unwrap();
        let root = Root::open(&path, Vec::new()).unwrap();
        let has = |name: &str| root.folder().is_some_and(|folder| folder.has(name));
        fs::rename(&path, base.path().join("old")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("new"), "").unwrap();
        root.state().looked_at -= FRESH;
        assert!(has("new") && root.generation() == 1);
        fs::rename(&path, base.path().join("other")).unwrap();
        symlink("old", &path).unwrap();
        assert!(root.look_again() && !has("new"), "a symlink");
        fs::write(base.path().join("old/x"), "").unwrap();
        assert!(!root.look_again() && has("x"), "a file in it makes it no other folder");
    }

    #[test]
    fn r_09_nothing_is_served_while_the_folder_is_missing_or_a_file() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("images");
        fs::create_dir(&path).unwrap();
        let root = Root::open(&path, Vec::new()).unwrap();
        fs::remove_dir(&path).unwrap();
        assert!(root.look_again() && root.folder().is_none());
        assert!(!root.look_again(), "it is missing as before");
        assert!(root.state().problem.as_ref().unwrap().contains("no boot file is served"));
        fs::write(&path, "a file").unwrap();
        root.look_again();
        assert!(root.folder().is_none());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(root.look_again() && root.folder().is_some() && root.state().problem.is_none());
        assert!(root.open_again(), "an NFS server that forgot it");
    }

    #[test]
    fn r_09_what_is_for_no_client_is_hidden_in_a_folder_that_is_switched_to() {
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
        assert!(root.look_again() && root.folder().is_some());
        let hidden = ["state", "state/leases.db", "state/a/b"];
        assert!(hidden.iter().all(|name| root.hides(name.as_bytes())) && !root.hides(b"states"));
        assert!(
            ["State/x", "STATE./x"].iter().all(|name| root.hides(name.as_bytes())),
            "as FAT and SMB read it"
        );
        fs::remove_file(&path).unwrap();
        symlink("bad/state", &path).unwrap();
        assert!(root.look_again() && root.folder().is_none(), "the state folder itself");
        assert!(root.state().problem.as_ref().unwrap().contains("`state`"));
    }
}
