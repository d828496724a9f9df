//! Creates the state folder with permissions that keep other users out.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::store::files::FOLDER_MODE;

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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
