//! Counts the files in the upload folder and how much each client has uploaded, and enforces the limits of
//! `tftp.uploads`. `upload.rs` uses it.
//!
//! The folder is counted at the start, and again when a limit seems to be reached, because a person may have removed
//! files. In between, every upload adds to the count. The share of each client is forgotten at a restart.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::event::{Reports, ServerFact};
use crate::images::temporary::{UPLOAD_PREFIX, is_temporary};
use crate::types::limit_key;

/// Maximum number of entries that are counted. `tftp.uploads.max_files` cannot be larger.
pub const MAX_FILES: u64 = 100_000;
/// Maximum depth of nested folders that are counted.
const MAX_DEPTH: usize = 16;
/// Minimum time between two counts, because each reads the whole folder.
const RECOUNT_PAUSE: Duration = Duration::from_secs(10);
/// Minimum time between two warnings about a full folder.
const WARNING_PAUSE: Duration = Duration::from_secs(600);

/// Limits of the upload folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Maximum size of all files in bytes.
    pub bytes: u64,
    /// Maximum number of files.
    pub files: u64,
    /// Maximum size of one file in bytes. A client may use half of the limits above, and always one file of this
    /// size.
    pub bytes_of_one_file: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    bytes: u64,
    files: u64,
}

impl Amount {
    fn add(&mut self, other: Amount) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.files = self.files.saturating_add(other.files);
    }

    fn subtract(&mut self, other: Amount) {
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.files = self.files.saturating_sub(other.files);
    }

    fn fits(self, more: Amount, limit: Amount) -> bool {
        self.bytes.saturating_add(more.bytes) <= limit.bytes
            && self.files.saturating_add(more.files) <= limit.files
    }
}

/// Counters of the upload folder. Cheap to clone; clones share the counters.
#[derive(Clone, Debug)]
pub(super) struct UploadCounter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    limits: UploadLimits,
    counts: Mutex<Counts>,
    reports: Reports,
}

#[derive(Debug)]
struct Counts {
    /// Files that are complete.
    stored: Amount,
    /// Files that are being uploaded.
    in_progress: Amount,
    by_client: HashMap<IpAddr, Amount>,
    /// Complete files that clients uploaded since the start, with client and size.
    uploaded: HashMap<String, (IpAddr, u64)>,
    counted: Instant,
    warned: Option<Instant>,
}

/// The part of the limits that one upload uses. It is released when dropped, unless the file was stored.
#[derive(Debug)]
pub(super) struct Reservation {
    counter: UploadCounter,
    client: IpAddr,
    amount: Amount,
}

impl UploadCounter {
    /// Counts the files in the folder `root`.
    pub(super) fn open(root: &Path, limits: UploadLimits) -> UploadCounter {
        let mut stored = Amount::default();
        walk(root, "", 0, &mut |_, bytes| stored.add(Amount { bytes, files: 1 }));
        let counts = Counts {
            stored,
            in_progress: Amount::default(),
            by_client: HashMap::new(),
            uploaded: HashMap::new(),
            counted: Instant::now(),
            warned: None,
        };
        UploadCounter(Arc::new(Inner {
            root: root.to_owned(),
            limits,
            counts: Mutex::new(counts),
            reports: Reports::default(),
        }))
    }

    /// The facts about the folder.
    pub(super) fn reports(&self) -> &Reports {
        &self.0.reports
    }

    /// Reserves one more file for `client`. Returns `None` if the folder is full or the client has reached its share.
    pub(super) fn begin(&self, client: IpAddr) -> Option<Reservation> {
        let client = limit_key(client);
        let mut reservation = Reservation { counter: self.clone(), client, amount: Amount::default() };
        reservation.grow(Amount { bytes: 0, files: 1 }).then_some(reservation)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `more` of `client` is within the limits.
    fn fits(&self, counts: &Counts, client: IpAddr, more: Amount) -> bool {
        let UploadLimits { bytes, files, bytes_of_one_file } = self.0.limits;
        let mut all = counts.stored;
        all.add(counts.in_progress);
        let of_client = counts.by_client.get(&client).copied().unwrap_or_default();
        let share = Amount { bytes: (bytes / 2).max(bytes_of_one_file), files: (files / 2).max(1) };
        all.fits(more, Amount { bytes, files }) && of_client.fits(more, share)
    }

    fn recount(&self, counts: &mut Counts) {
        counts.counted = Instant::now();
        counts.stored = Amount::default();
        let mut uploaded = std::mem::take(&mut counts.uploaded);
        let gone = |counts: &mut Counts, client: IpAddr, bytes: u64| {
            if let Some(amount) = counts.by_client.get_mut(&client) {
                amount.subtract(Amount { bytes, files: 1 });
            }
        };
        walk(&self.0.root, "", 0, &mut |name, bytes| {
            counts.stored.add(Amount { bytes, files: 1 });
            if let Some((name, found)) = uploaded.remove_entry(name) {
                counts.uploaded.insert(name, found);
            }
        });
        uploaded.into_values().for_each(|(client, bytes)| gone(counts, client, bytes));
        counts.by_client.retain(|_, amount| *amount != Amount::default());
    }

    fn warn(&self, counts: &mut Counts, client: IpAddr) {
        if counts.warned.is_some_and(|warned| warned.elapsed() < WARNING_PAUSE) {
            return;
        }
        counts.warned = Some(Instant::now());
        let Amount { bytes, files } = counts.stored;
        let text = format!(
            "an upload of {client} was refused: {} holds {files} files of {bytes} bytes, and one client may bring half of \
             what there may be; remove files, or raise `tftp.uploads.max_total` or `max_files`",
            self.0.root.display()
        );
        self.0.reports.report(ServerFact::UploadsFull, text);
    }
}

impl Reservation {
    /// Reserves `bytes` more. Returns false if they exceed a limit.
    pub(super) fn add(&mut self, bytes: usize) -> bool {
        self.grow(Amount { bytes: bytes as u64, files: 0 })
    }

    fn grow(&mut self, more: Amount) -> bool {
        let counter = self.counter.clone();
        let mut counts = counter.counts();
        if !counter.fits(&counts, self.client, more) && counts.counted.elapsed() >= RECOUNT_PAUSE {
            counter.recount(&mut counts);
        }
        if !counter.fits(&counts, self.client, more) {
            counter.warn(&mut counts, self.client);
            return false;
        }
        counts.in_progress.add(more);
        counts.by_client.entry(self.client).or_default().add(more);
        self.amount.add(more);
        true
    }

    /// Keeps the reservation, because the file is complete.
    pub(super) fn keep(mut self, name: &str) {
        let amount = std::mem::take(&mut self.amount);
        let counter = self.counter.clone();
        let mut counts = counter.counts();
        counts.in_progress.subtract(amount);
        counts.stored.add(amount);
        counts.uploaded.insert(name.to_owned(), (self.client, amount.bytes));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut counts = self.counter.counts();
        counts.in_progress.subtract(self.amount);
        if let Some(amount) = counts.by_client.get_mut(&self.client) {
            amount.subtract(self.amount);
            if *amount == Amount::default() {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

/// Calls `found` with the name and size of every complete file under `root`.
fn walk(root: &Path, prefix: &str, depth: usize, found: &mut impl FnMut(&str, u64)) {
    let Ok(entries) = fs::read_dir(root.join(prefix)) else { return };
    for entry in entries.flatten().take(usize::try_from(MAX_FILES).unwrap_or(usize::MAX)) {
        let Ok(meta) = entry.metadata() else { continue };
        let last = entry.file_name().to_string_lossy().into_owned();
        let name = if prefix.is_empty() { last } else { format!("{prefix}/{last}") };
        if meta.is_dir() && depth < MAX_DEPTH {
            walk(root, &name, depth + 1, found);
        } else if meta.is_file() && !is_temporary(name.as_bytes(), UPLOAD_PREFIX) {
            found(&name, meta.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));

    fn counter(bytes: u64, files: u64) -> (tempfile::TempDir, UploadCounter) {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("sub")).unwrap();
        fs::write(base.path().join("sub/old"), [0; 100]).unwrap();
        fs::write(base.path().join(".lanboot-upload-1-1"), [0; 100]).unwrap();
        let limits = UploadLimits { bytes, files, bytes_of_one_file: 10 };
        let counter = UploadCounter::open(base.path(), limits);
        (base, counter)
    }

    #[test]
    fn s_11_a_client_may_use_half_of_the_files() {
        let (_base, counter) = counter(1000, 4);
        let first = counter.begin(A).unwrap();
        let second = counter.begin(A).unwrap();
        assert!(counter.begin(A).is_none(), "two of four");
        let third = counter.begin(B).unwrap();
        assert!(counter.begin(B).is_none() && counter.begin(C).is_none(), "with the old one there are four");
        drop(first);
        second.keep("x");
        assert!(counter.begin(C).is_some());
        drop(third);
        assert_eq!(counter.counts().in_progress, Amount::default());
    }

    #[test]
    fn s_11_a_client_may_use_half_of_the_bytes() {
        let (_base, counter) = counter(1000, 100);
        let mut a = counter.begin(A).unwrap();
        assert!(a.add(500) && !a.add(1), "half of it");
        let mut b = counter.begin(B).unwrap();
        assert!(b.add(400) && !b.add(1), "500, 400, and 100 that were there");
        drop(a);
        assert!(b.add(100) && !b.add(1));
        b.keep("x");
        assert!(!counter.begin(B).unwrap().add(1), "what is stored counts");
    }

    #[test]
    fn s_11_removed_files_are_no_longer_counted() {
        let (base, counter) = counter(200, 100);
        let mut a = counter.begin(A).unwrap();
        assert!(a.add(100));
        a.keep("x");
        assert!(!counter.begin(B).unwrap().add(1));
        fs::remove_file(base.path().join("sub/old")).unwrap();
        assert!(!counter.begin(B).unwrap().add(1), "it was counted a moment ago");
        counter.counts().counted -= RECOUNT_PAUSE;
        // This test never wrote the file x, so it counts as removed too.
        assert!(counter.begin(B).unwrap().add(100) && counter.begin(A).unwrap().add(100));
        assert!(counter.counts().by_client.is_empty() && counter.counts().uploaded.is_empty());
    }

    #[test]
    fn s_11_one_largest_file_may_exceed_half() {
        let base = tempfile::tempdir().unwrap();
        let limits = UploadLimits { bytes: 10, files: 1, bytes_of_one_file: 10 };
        let counter = UploadCounter::open(base.path(), limits);
        assert!(counter.begin(A).unwrap().add(10));
    }
}
