//! The folder in which a build is made, and its publication under the final name. The folder lies in the images folder,
//! so that publishing is one rename. Its name begins with a dot, so that clients cannot request its files.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::interrupt::Cleanup;
use crate::boot::loader::root::BUILD_SEPARATOR;
use crate::images::add::staging::sha256;
use crate::images::temporary::{BUILD_PREFIX, is_temporary};

/// Maximum number of entries of the images folder that are checked for folders of killed builds.
const MAX_ENTRIES: usize = 100_000;
/// Number of attempts to make a folder that another build takes for one of a killed build.
const TRIES: u32 = 100;

/// A folder for an unfinished build, locked by this process. It is removed on drop.
#[derive(Debug)]
pub(super) struct WorkFolder {
    images: PathBuf,
    path: PathBuf,
    cleanup: Cleanup,
    /// The lock shows other builds that this folder is in use, also after this process was killed.
    lock: Flock<File>,
}

impl WorkFolder {
    /// Creates the folder in `images`, which is created too, and removes the folders of killed builds.
    ///
    /// # Errors
    /// The images folder cannot be created or written.
    pub(super) fn create(images: &Path, cleanup: &Cleanup) -> Result<WorkFolder, String> {
        let cannot = |error: io::Error| cannot_write(images, &error);
        match fs::create_dir(images) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(cannot(error)),
            _ => {}
        }
        // `images` may be a relative path, and mksquashfs gets this one.
        let images = images.canonicalize().map_err(cannot)?;
        remove_leftovers(&images);
        for number in 0..TRIES {
            let path = images.join(format!("{BUILD_PREFIX}{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.map_err(cannot)?,
            }
            // Another build may have found the folder before it was locked, and be removing it.
            let Ok(folder) = File::open(&path) else { continue };
            let Ok(lock) = Flock::lock(folder, FlockArg::LockExclusiveNonblock) else { continue };
            if !is_at(&lock, &path) {
                continue;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(cannot)?;
            cleanup.set_folder(Some(path.clone()));
            return Ok(WorkFolder { images, path, cleanup: cleanup.clone(), lock });
        }
        Err(format!("cannot make a folder in {}: other builds remove it again", images.display()))
    }

    /// The path of a file in this folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Creates a file that does not exist yet. Everybody can read it, because the server runs as another user.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn create_file(&self, name: &str) -> Result<File, String> {
        let path = self.file(name);
        let file = File::options().write(true).read(true).create_new(true).open(&path);
        let file = file.map_err(|error| cannot_write(&path, &error))?;
        file.set_permissions(fs::Permissions::from_mode(0o644))
            .map_err(|error| cannot_write(&path, &error))?;
        Ok(file)
    }

    /// Gives a file another name in this folder.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), String> {
        fs::rename(self.file(from), self.file(to)).map_err(|error| cannot_write(&self.file(to), &error))
    }

    /// Syncs a file and returns its SHA-256 in hexadecimal.
    pub(super) fn seal(&self, name: &str) -> Result<String, String> {
        let path = self.file(name);
        let sum = || {
            let file = File::open(&path)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()?;
            sha256(file)
        };
        sum().map_err(|error| cannot_write(&path, &error))
    }

    /// Publishes this folder as a build of `image`, and makes the name of the image lead to it. `time` is part of the
    /// name. Returns the name of the build.
    ///
    /// # Errors
    /// The disk fails, or something that is no build has the name of the image.
    pub(super) fn publish(mut self, image: &str, time: &str) -> Result<String, String> {
        let cannot = |error: io::Error| cannot_write(&self.images.join(image), &error);
        self.lock.sync_all().map_err(cannot)?;
        // From here on nothing is removed on an interruption: the build is complete.
        self.cleanup.set_folder(None);
        let mut published = None;
        for number in 1..TRIES {
            let suffix = if number == 1 { String::new() } else { format!("-{number:02}") };
            let build = format!("{image}{BUILD_SEPARATOR}{time}{suffix}");
            match fs::rename(&self.path, self.images.join(&build)) {
                Ok(()) => {
                    published = Some(build);
                    break;
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(cannot(error)),
            }
        }
        let build = published.ok_or_else(|| format!("there are {TRIES} builds of {image} of this second"))?;
        self.path = PathBuf::new();
        sync_folder(&self.images).map_err(cannot)?;
        point_to(&self.images, image, &build)?;
        Ok(build)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // A folder that cannot be removed is left for the next build.
            let _ = fs::remove_dir_all(&self.path);
            self.cleanup.set_folder(None);
        }
    }
}

/// Makes the name `image` in the images folder lead to `build`, at once for all clients. The link is relative, because
/// others are not followed.
pub(crate) fn point_to(images: &Path, image: &str, build: &str) -> Result<(), String> {
    let cannot = |error: io::Error| cannot_write(&images.join(image), &error);
    for number in 0..TRIES {
        let link = images.join(format!("{BUILD_PREFIX}{}-link{number}", std::process::id()));
        match symlink(build, &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            made => made.map_err(cannot)?,
        }
        match fs::rename(&link, images.join(image)) {
            // Another build has taken the link for one of a killed build.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                let _ = fs::remove_file(&link);
                return Err(cannot(error));
            }
            Ok(()) => return sync_folder(images).map_err(cannot),
        }
    }
    Err(format!("cannot make the link {image} in {}: other builds remove it again", images.display()))
}

/// Moves the folder of a build to a name that clients cannot request, and removes it. If this process is killed
/// meanwhile, the next build removes the rest.
pub(crate) fn remove_build(images: &Path, build: &str) -> Result<(), String> {
    let hidden = images.join(format!("{BUILD_PREFIX}{}-{build}", std::process::id()));
    let removed = fs::rename(images.join(build), &hidden).and_then(|()| fs::remove_dir_all(&hidden));
    removed.map_err(|error| cannot_write(&images.join(build), &error))
}

/// Removes what killed builds have left in `images`. Folders that are locked belong to running builds.
pub(crate) fn remove_leftovers(images: &Path) {
    let Ok(entries) = fs::read_dir(images) else { return };
    for entry in entries.take(MAX_ENTRIES).flatten() {
        if !is_temporary(entry.file_name().as_encoded_bytes(), BUILD_PREFIX) {
            continue;
        }
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
            let _ = fs::remove_file(&path);
            continue;
        }
        let Ok(folder) = File::open(&path) else { continue };
        if let Ok(lock) = Flock::lock(folder, FlockArg::LockExclusiveNonblock)
            && is_at(&lock, &path)
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Whether the open folder is the one at `path`.
fn is_at(folder: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    folder.metadata().is_ok_and(|open| path.symlink_metadata().is_ok_and(|there| same(open, there)))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => "; give the folder of boot files to this user, or use sudo",
        ErrorKind::StorageFull => "; free some space, or remove old builds: `lanboot images remove`",
        ErrorKind::NotFound => "; make the folder that it is to be in, or correct `images` in config.yaml",
        _ => "",
    };
    format!("cannot write {}: {error}{hint}", path.display())
}
