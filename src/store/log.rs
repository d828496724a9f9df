//! The file of the write-ahead log, as long from the start as it gets.
//!
//! To sync a file that grows, the file system must also commit its own journal, which takes up to some milliseconds;
//! to sync blocks that were written before takes a tenth of one. So the log is filled with zeros once, and then only
//! overwritten from its beginning: SQLite keeps its length, and takes what is no frame of this turn for its end.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Fills the log of the database `database` with zeros up to `length` bytes. Zeros that are written: those that a file
/// system only promises would cost the same as growing. If that fails, as on a full disk, the file is as it was.
pub(super) fn fill(database: &Path, length: u64) -> io::Result<()> {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    let mut file = OpenOptions::new().append(true).open(path)?;
    let before = file.metadata()?.len();
    let filled = append_zeros(&mut file, length.saturating_sub(before)).and_then(|()| file.sync_all());
    if filled.is_err() {
        file.set_len(before)?;
    }
    filled
}

fn append_zeros(file: &mut impl Write, mut count: u64) -> io::Result<()> {
    let zeros = [0; 1 << 16];
    while count > 0 {
        let some = count.min(zeros.len() as u64);
        file.write_all(&zeros[..some as usize])?;
        count -= some;
    }
    Ok(())
}
