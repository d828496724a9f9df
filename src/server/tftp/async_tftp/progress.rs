//! Infers the result of a transfer from the reads of the crate async-tftp, which does not report one.

use std::time::{Duration, Instant};

/// Time after the last acknowledgement when a silent client's transfer is aborted.
pub const GIVE_UP: Duration = Duration::from_secs(3);

/// The progress of a transfer, as far as it shows in the crate's reads: it reads a window only after the previous one
/// was acknowledged.
pub(super) struct Progress {
    /// Number of bytes read so far.
    pub(super) read: u64,
    /// Maximum size of the first block: the size of the crate's first read.
    first_block: u64,
    /// Whether the crate has read to the end of the file.
    ended: bool,
    /// The time of the last read.
    last_read: Instant,
}

/// The result of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Sent,
    SizeProbe,
    Stopped,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Progress {
        Progress { read: 0, first_block: 0, ended: false, last_read: now }
    }

    /// Records that the crate asked for `asked` bytes and got `count`.
    pub(super) fn advance(&mut self, count: usize, asked: usize, now: Instant) {
        if self.first_block == 0 {
            self.first_block = asked as u64;
        }
        self.read += count as u64;
        self.ended |= count == 0 && asked > 0;
        self.last_read = now;
    }

    /// The result of a transfer that the crate dropped at `now`.
    ///
    /// The crate does not report a result, so it is inferred from the reads and their time. The crate drops a transfer
    /// when the last block is acknowledged, or when the client was silent for [`GIVE_UP`] after a window was read. It
    /// reads the first block before it sends the options (OACK), so a client that went silent after at most that block
    /// wanted only the size.
    ///
    /// Two cases are misjudged. A client that went silent before it acknowledged block 1 counts as a size probe. A
    /// client that acknowledged its last block later than [`GIVE_UP`] after it was read, which takes several lost
    /// packets, counts as stopped although it has the file.
    pub(super) fn end(&self, now: Instant) -> End {
        let went_silent = now.duration_since(self.last_read) >= GIVE_UP;
        match (self.ended, went_silent) {
            (true, false) => End::Sent,
            (_, true) if self.read <= self.first_block => End::SizeProbe,
            _ => End::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_inferred_from_reads() {
        let start = Instant::now();
        let after = |reads: &[usize], silence: Duration| {
            let mut progress = Progress::new(start);
            for count in reads {
                progress.advance(*count, 512, start);
            }
            progress.end(start + silence)
        };
        let (quick, silent) = (Duration::from_millis(5), GIVE_UP);
        assert_eq!(after(&[512, 512, 100, 0], quick), End::Sent);
        assert_eq!(after(&[100, 0], quick), End::Sent);
        assert_eq!(after(&[0], quick), End::Sent, "an empty file");
        assert_eq!(after(&[512], silent), End::SizeProbe);
        assert_eq!(after(&[100, 0], silent), End::SizeProbe, "a file of one block");
        assert_eq!(after(&[512, 512], silent), End::Stopped);
        assert_eq!(after(&[512, 512, 0], silent), End::Stopped, "the last block was never acknowledged");
        assert_eq!(after(&[512], quick), End::Stopped, "the server stops");
        assert_eq!(after(&[], quick), End::Stopped, "no socket for the transfer");
    }
}
