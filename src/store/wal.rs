//! Searches the write-ahead log for commits that SQLite will not recover.
//!
//! SQLite reads the log from its beginning and silently stops at the first frame with a wrong checksum. Every log
//! ends like that, and so does one whose last commit was torn by a power cut. But a commit only starts after the one
//! before it is on stable storage, so only the last commit can be torn. If another commit follows a bad frame, the
//! frame was damaged later.
//!
//! Format: <https://www.sqlite.org/fileformat2.html#walformat>. This file opens only the log itself: closing a second
//! handle of the database would release the locks that SQLite holds on it.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use std::os::unix::fs::OpenOptionsExt;

/// Length of the log's header and of each frame header, in bytes.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Page sizes that SQLite supports. A log with another one is damaged.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=65536;

/// Result of the search.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Log {
    pub(super) has_frames: bool,
    /// Number of complete commits after the point where recovery stops.
    pub(super) lost: u64,
}

/// The path of the log of `database`.
pub(super) fn path_of(database: &Path) -> PathBuf {
    with_suffix(database, "-wal")
}

/// The path of a file that SQLite keeps next to `database`.
pub(super) fn with_suffix(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Reads the log of `database`. No process may be writing it. `page_size` is the page size of the database, for a log
/// with a damaged header.
pub(super) fn examine(database: &Path, page_size: u32) -> io::Result<Log> {
    let mut open = File::options();
    let opened = open.read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path_of(database));
    match opened {
        Ok(file) => walk(&mut BufReader::new(file), page_size),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Log::default()),
        Err(error) => Err(error),
    }
}

type Sums = (u32, u32);

/// The last frame that was read.
struct Last {
    salts: [u8; 8],
    sums: Sums,
    /// Whether this frame ends a commit that will not be recovered.
    ends_lost_commit: bool,
}

fn walk(log: &mut impl Read, page_size: u32) -> io::Result<Log> {
    let mut header = [0; HEADER];
    let mut found = Log::default();
    if !fill(log, &mut header)? {
        return Ok(found);
    }
    let header_is_big_endian = header[3] & 1 == 1;
    let is_whole = sums(&header[..24], (0, 0), header_is_big_endian) == two(&header[24..])
        && header[..3] == [0x37, 0x7f, 0x06];
    // SQLite writes the checksums in the byte order of the computer.
    let is_big = if is_whole { header_is_big_endian } else { cfg!(target_endian = "big") };
    let header_page_size = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    let page_size = if is_whole { header_page_size } else { page_size };
    if !PAGE_SIZES.contains(&page_size) || !page_size.is_power_of_two() {
        return Ok(Log { has_frames: true, ..found });
    }
    let salts = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).unwrap_or_default();
    let mut last = Last { salts: salts(&header[16..24]), sums: two(&header[24..]), ends_lost_commit: false };
    let mut is_recovered = is_whole;
    let mut frame = vec![0; FRAME_HEADER + page_size as usize];
    while fill(log, &mut frame)? {
        let (head, page) = frame.split_at(FRAME_HEADER);
        let (own_salts, own_sums) = (salts(&head[8..16]), two(&head[16..24]));
        let is_of_this_turn = own_salts == last.salts;
        let follows = is_of_this_turn
            && own_salts != [0; 8]
            && sums(page, sums(&head[..8], last.sums, is_big), is_big) == own_sums;
        is_recovered &= follows && head[..4] != [0; 4];
        found.has_frames |= follows;
        if !is_recovered {
            found.lost += u64::from(follows && last.ends_lost_commit);
        }
        // After a damaged frame the salts of the current turn are still known. If the header is damaged, each frame's
        // own salts are used.
        let salts = if is_whole { last.salts } else { own_salts };
        let is_commit = own_salts == salts && head[4..8] != [0; 4];
        last = Last { salts, sums: own_sums, ends_lost_commit: !is_recovered && is_commit };
    }
    Ok(found)
}

/// Fills `buffer`. Returns false if the log ends before.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn two(bytes: &[u8]) -> Sums {
    let number =
        |at: usize| bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
    (number(0), number(4))
}

/// SQLite's checksum of `bytes`, whose length is a multiple of 8, continued from `before`.
fn sums(bytes: &[u8], before: Sums, is_big: bool) -> Sums {
    let number = |four: &[u8]| {
        let four = <[u8; 4]>::try_from(four).unwrap_or_default();
        if is_big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    bytes.chunks_exact(8).fold(before, |(a, b), eight| {
        let a = a.wrapping_add(number(&eight[..4])).wrapping_add(b);
        (a, b.wrapping_add(number(&eight[4..])).wrapping_add(a))
    })
}
