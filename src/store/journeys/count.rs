//! `journeys.count`: the number of stored boots, kept outside the database. A start that finds the number and no database
//! knows that boots were lost. The number may be a minute old.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::store::folder::replace_file;

/// File name in the state folder.
pub const COUNT: &str = "journeys.count";
/// Maximum number of bytes that are read.
const MAX_BYTES: u64 = 32;

/// The number of boots that were stored in the folder `state`; `None` if none ever were. It is 0 if it cannot be read.
pub(super) fn read(state: &Path) -> Option<u64> {
    let file = match File::open(state.join(COUNT)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(_) => return Some(0),
    };
    let mut text = String::new();
    let read = file.take(MAX_BYTES).read_to_string(&mut text);
    Some(read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0))
}

/// Records that `boots` boots are stored in the folder `state`.
///
/// # Errors
/// The error of the system call.
pub fn write(state: &Path, boots: u64) -> io::Result<()> {
    if boots > 0 {
        return replace_file(&state.join(COUNT), &format!("{boots}\n"));
    }
    match fs::remove_file(state.join(COUNT)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_as_it_is_written() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()), None);
        write(state.path(), 1234).unwrap();
        assert_eq!(read(state.path()), Some(1234));
        fs::write(state.path().join(COUNT), [0xff; 100]).unwrap();
        assert_eq!(read(state.path()), Some(0), "damaged");
        write(state.path(), 0).unwrap();
        write(state.path(), 0).unwrap();
        assert_eq!(read(state.path()), None);
    }
}
