//! Hands the state folder over from root to the user that the server becomes.
//!
//! The folder may already belong to that user, who can change its content at any moment. Root therefore follows no link
//! in it, changes no file with a second name elsewhere, and accepts an existing folder only if it clearly belongs to
//! lanboot.

use std::ffi::CStr;
use std::fs::{self, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::account::{Account, lanboot_group, name_of};
use crate::net::StartError;
use crate::store::{DATABASE, FILE_MODE, TOKEN_FILE, create_state_folder};

/// Mode bits that are removed: the group may only read, and others have no access.
const TOO_MUCH: u32 = 0o027;
/// Maximum number of checked entries. A state folder has a dozen; a folder with more is not one.
const MAX_ENTRIES: usize = 10_000;

/// The state folder before the server wrote anything into it. It is held open, so that a replacement is never handed
/// over.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    purpose: Purpose,
    /// `None` if there is no such folder.
    folder: Option<OwnedFd>,
    /// Whether the path is a symbolic link that root did not create.
    is_foreign_link: bool,
}

/// The apparent purpose of the folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// It did not exist, or it was empty.
    New,
    /// It contains leases.
    Leases,
    /// It contains other files.
    OtherFiles,
    /// It contains other folders, as `/var/lib` does.
    OtherFolders,
}

impl StateFolder {
    /// Inspects the folder `path`, after creating it if it is missing and `needed`.
    ///
    /// # Errors
    /// If it is needed and cannot be created.
    pub(super) fn inspect(path: &Path, needed: bool) -> Result<StateFolder, StartError> {
        let is_new = !path.exists();
        if needed {
            create_state_folder(path).map_err(|error| {
                let folder = path.display();
                StartError(format!(
                    "cannot make the state folder {folder}: {error}; set `state` to a folder that can be written"
                ))
            })?;
        }
        let is_foreign_link =
            path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_symlink() && meta.uid() != 0);
        let folder = open_folder(path).ok();
        let purpose = match &folder {
            Some(folder) if !is_new => look_into(folder),
            _ => Purpose::New,
        };
        Ok(StateFolder { path: path.to_owned(), purpose, folder, is_foreign_link })
    }

    /// Gives the folder and lanboot's files in it to `account`, if there is one, and removes the access of all others.
    /// An account that is not `trusted` gets no folder with other files.
    ///
    /// # Errors
    /// If the folder seems to belong to another program, or the kernel refuses.
    pub(super) fn hand_over(&self, account: Option<&Account>, trusted: bool) -> Result<(), StartError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let fail = |errno: nix::errno::Errno| {
            StartError(format!("cannot give the state folder {} to its user: {errno}", self.path.display()))
        };
        let stat = fstat(folder).map_err(fail)?;
        let is_shared =
            self.purpose == Purpose::OtherFolders || (self.purpose == Purpose::OtherFiles && !trusted);
        if let Some(account) = account
            && stat.st_uid != account.uid.as_raw()
        {
            if is_shared {
                return Err(StartError(format!(
                    "the state folder {0} has other things in it and belongs to {1}, so it is not given to the user {2} \
                     that the server runs as: set `state` to a folder that is for lanboot alone, or `chown {2} {0}`",
                    self.path.display(),
                    name_of(Uid::from_raw(stat.st_uid)),
                    name_of(account.uid)
                )));
            }
            if self.is_foreign_link {
                return Err(StartError(format!(
                    "the state folder {} is a symbolic link that is not root's, so the folder that it leads to is not given \
                     to the user {}: set `state` to the folder itself",
                    self.path.display(),
                    name_of(account.uid)
                )));
            }
        }
        let mut dir = entries(folder).map_err(fail)?;
        for entry in dir.iter().take(MAX_ENTRIES).flatten() {
            if !is_shared || is_ours(entry.file_name()) {
                hand_over_file(folder, entry.file_name(), account).map_err(fail)?;
            }
        }
        if let Some(account) = account
            && (stat.st_uid, stat.st_gid) != (account.uid.as_raw(), account.gid.as_raw())
        {
            fchown(folder, Some(account.uid), Some(account.gid)).map_err(fail)?;
        }
        if stat.st_mode & TOO_MUCH != 0 && !is_shared {
            // This fails if the folder belongs to another user, whose choice the mode is.
            let _ = fchmod(folder, Mode::from_bits_truncate(stat.st_mode & 0o7777 & !TOO_MUCH));
        }
        Ok(())
    }
}

/// Allows the members of the group `lanboot` to use the socket `control`. Returns whether that succeeded.
pub fn give_to_group(control: &Path) -> bool {
    let has = |group: Gid| control.symlink_metadata().is_ok_and(|meta| meta.gid() == group.as_raw());
    lanboot_group().is_some_and(|group| has(group) || lchown(control, None, Some(group.as_raw())).is_ok())
}

/// Gives the control socket to `account`, with the group `lanboot` or root.
pub(super) fn give_control(control: &Path, account: Option<&Account>) {
    let is_socket = control.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket());
    if let Some(account) = account.filter(|_| is_socket) {
        let group = lanboot_group().map_or(0, Gid::as_raw);
        // If this fails the socket stays root's, and root may use it.
        let _ = lchown(control, Some(account.uid.as_raw()), Some(group));
    }
}

fn open_folder(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Lists the folder from its first entry.
fn entries(folder: &OwnedFd) -> nix::Result<Dir> {
    Dir::openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Classifies the content of the folder by names and types only.
fn look_into(folder: &OwnedFd) -> Purpose {
    let Ok(mut entries) = entries(folder) else { return Purpose::OtherFolders };
    let (mut purpose, mut leases) = (Purpose::New, false);
    for entry in entries.iter().take(MAX_ENTRIES).flatten() {
        let name = entry.file_name().to_bytes();
        let Ok(stat) = fstatat(folder, entry.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
        let (is_file, is_folder) = (is_kind(&stat, SFlag::S_IFREG), is_kind(&stat, SFlag::S_IFDIR));
        leases |= is_file && name == DATABASE.as_bytes();
        // Each ext4 file system has lost+found in its root. Uploaded images are in `images`.
        if is_folder && ![b".".as_slice(), b"..", b"lost+found", b"images"].contains(&name) {
            purpose = Purpose::OtherFolders;
        } else if is_file && !is_ours(entry.file_name()) && purpose == Purpose::New {
            purpose = Purpose::OtherFiles;
        }
    }
    if leases { Purpose::Leases } else { purpose }
}

/// Whether lanboot uses this file name.
fn is_ours(name: &CStr) -> bool {
    let name = name.to_bytes();
    let others = ["once.json", "changes.json", TOKEN_FILE];
    name.starts_with(b"leases.") || others.iter().any(|other| other.as_bytes() == name)
}

/// Hands over one file of the folder. Skips everything that is not a regular file, or that has a second name elsewhere.
///
/// It opens the file with `O_PATH`. Closing any other descriptor of a database file would release SQLite's locks on it.
fn hand_over_file(folder: &OwnedFd, name: &CStr, account: Option<&Account>) -> nix::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // The file may have been deleted since.
    let Ok(file) = openat(folder, name, flags, Mode::empty()) else { return Ok(()) };
    let stat = fstat(&file)?;
    if !is_plain(&stat) {
        return Ok(());
    }
    if let Some(account) = account
        && (stat.st_uid, stat.st_gid) != (account.uid.as_raw(), account.gid.as_raw())
    {
        fchownat(&file, "", Some(account.uid), Some(account.gid), AtFlags::AT_EMPTY_PATH)?;
    }
    let mode = stat.st_mode & 0o777;
    if mode & !FILE_MODE != 0 {
        // An O_PATH descriptor has no fchmod, so use the kernel's name for it. Files of other users keep their mode.
        let _ = fs::set_permissions(
            format!("/proc/self/fd/{}", file.as_raw_fd()),
            Permissions::from_mode(mode & FILE_MODE),
        );
    }
    Ok(())
}

fn is_plain(stat: &FileStat) -> bool {
    is_kind(stat, SFlag::S_IFREG) && stat.st_nlink == 1
}

fn is_kind(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn s_15_the_state_folder_is_private_and_follows_no_link() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("state");
        let outside = base.path().join("outside");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
        fs::write(&outside, "other").unwrap();
        for name in ["leases.db", "leases.db-wal", "once.json", "changes.json"] {
            fs::write(state.join(name), "").unwrap();
            fs::set_permissions(state.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        fs::set_permissions(&outside, Permissions::from_mode(0o666)).unwrap();
        symlink(&outside, state.join("leases.lock")).unwrap();
        fs::hard_link(&outside, state.join("leases.ballast")).unwrap();
        StateFolder::inspect(&state, true).unwrap().hand_over(None, true).unwrap();
        assert_eq!(mode(&state), 0o750);
        for name in ["leases.db", "leases.db-wal", "once.json", "changes.json"] {
            assert_eq!(mode(&state.join(name)), 0o640, "{name}");
        }
        assert_eq!(mode(&outside), 0o666, "through a link");
    }

    #[test]
    fn s_15_another_programs_folder_is_not_handed_over() {
        let base = tempfile::tempdir().unwrap();
        let own = base.path().metadata().unwrap().uid();
        let other = Account { uid: Uid::from_raw(own + 1), gid: Gid::from_raw(own + 1), groups: vec![] };
        let hand_over = |state: &Path, trusted| {
            let folder = StateFolder::inspect(state, false).unwrap();
            let refused = folder.hand_over(Some(&other), trusted).err().map(|error| error.to_string());
            refused.filter(|why| why.contains("for lanboot alone"))
        };
        let lib = base.path().join("lib");
        fs::create_dir_all(lib.join("dpkg")).unwrap();
        assert!(hand_over(&lib, true).is_some(), "it contains folders");
        let cron = base.path().join("cron.d");
        fs::create_dir(&cron).unwrap();
        fs::write(cron.join("job"), "").unwrap();
        assert!(hand_over(&cron, false).is_some(), "the new owner wrote its name into config.yaml");
        assert!(hand_over(&cron, true).is_none());
    }
}
