//! Creates the state folder with permissions that keep other users out, and replaces files in it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::store::files::{FILE_MODE, FOLDER_MODE};

/// Creates the state folder if it does not exist, accessible to its owner and group only.
///
/// # Errors
/// The error of the system call.
pub fn create_state_folder(state: &Path) -> io::Result<()> {
    if state.is_dir() {
        return Ok(());
    }
    if let Some(parent) = state.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(state) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && state.is_dir() => Ok(()),
        made => made,
    }
}

/// Replaces the content of a file in the state folder. After a crash the file has the old content or the new one.
/// Blocks until the new content is on stable storage. Creates the folder if it is missing.
///
/// # Errors
/// The error of the system call. The file then has the old content, or the new one if only the last step failed.
pub fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_state_folder(folder)?;
    let permissions = Permissions::from_mode(FILE_MODE);
    let mut new = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_state_folder_is_private() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("var/state");
        create_state_folder(&state).unwrap();
        create_state_folder(&state).unwrap();
        let mode = fs::metadata(&state).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !FOLDER_MODE, 0);
    }
}
