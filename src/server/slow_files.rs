//! Notices that boot files are read so slowly that machines give up. `journey.rs` asks it before it judges boots.

use std::time::{Duration, Instant};

use crate::content::file_work::FileWork;
use crate::event::ServerFact;
use crate::record::Recorder;

/// A read that takes longer than this is slow. Firmware asks again after four seconds (EDK2 `Mtftp4Io.c`).
const SLOW: Duration = Duration::from_secs(2);
/// Minimum time between two warnings.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// The reads that were slow.
#[derive(Debug, Default)]
pub(super) struct SlowFiles {
    warned: Option<Instant>,
}

impl SlowFiles {
    /// Whether a read is slow now. Warns about it, at most once per [`WARN_PAUSE`].
    pub(super) fn look(&mut self, work: &FileWork, recorder: &Recorder) -> bool {
        if work.longest() < SLOW {
            return false;
        }
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_PAUSE) {
            self.warned = Some(Instant::now());
            let text = format!(
                "reading a boot file takes more than {} s, and machines give up: put `images` on a faster disk, or look at the \
                 network file system that it is on",
                SLOW.as_secs()
            );
            recorder.server(ServerFact::FilesSlow, text);
        }
        true
    }
}
