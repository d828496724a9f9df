//! The log of `lanboot serve`, on standard output.
//!
//! Who writes a line never waits for who reads it: a journal that has stopped, or a full disk behind it, must not keep
//! anybody from booting. Lines wait in memory for a thread of their own; when too many do, new ones are lost and counted.

use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::config::{self as settings, LogFormat, LogLevel};

/// Lines that wait to be written. Each has some hundred bytes.
const MAX_WAITING: usize = 8192;

/// The log of the process. Lines are kept until [`Log::write_apart`], because a thread that writes them must not start
/// before the process has given up the rights of root; what is left when this is dropped is written at once.
pub(super) struct Log {
    lines: Arc<Lines>,
    /// What waits when it is dropped is written, if it is taken within a second.
    guard: Option<WorkerGuard>,
}

/// Where lines wait.
#[derive(Default)]
struct Lines {
    /// For the thread, once it is there.
    apart: OnceLock<NonBlocking>,
    /// For want of one, at most [`MAX_WAITING`].
    early: Mutex<Vec<Vec<u8>>>,
}

/// Takes one line.
struct Line(Arc<Lines>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(apart) = self.0.apart.get() {
            return apart.clone().write(line);
        }
        let mut early = self.0.early.lock().unwrap_or_else(PoisonError::into_inner);
        if early.len() < MAX_WAITING {
            early.push(line.to_vec());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Starts the thread that writes, and hands it what waits.
    pub(super) fn write_apart(&mut self) {
        let lost = Arc::default();
        let output = Output { out: io::stdout(), lost: Arc::clone(&lost), told: 0, seen: 0 };
        let (mut writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MAX_WAITING)
            .thread_name("log")
            .finish(output);
        let _ = lost.set(writer.error_counter());
        let mut early = self.lines.early.lock().unwrap_or_else(PoisonError::into_inner);
        for line in early.drain(..) {
            let _ = writer.write(&line);
        }
        let _ = self.lines.apart.set(writer);
        self.guard = Some(guard);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut early = self.lines.early.lock().unwrap_or_else(PoisonError::into_inner);
        for line in early.drain(..) {
            let _ = io::stdout().write_all(&line);
        }
    }
}

/// Starts the log, which writes nothing yet.
pub(super) fn start(log: settings::Log) -> Log {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Under systemd the journal has its own clock, so lines carry none.
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let colour = io::stdout().is_terminal();
    let waiting = Arc::new(Lines::default());
    let writer = Arc::clone(&waiting);
    let lines = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(colour);
    let lines = lines.with_writer(move || Line(Arc::clone(&writer)));
    match log.format {
        LogFormat::Json => lines.json().init(),
        LogFormat::Text if in_journal => lines.without_time().init(),
        LogFormat::Text => lines.init(),
    }
    // Standard error, where panics go otherwise, may have the same reader.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("{}", panic.to_string().replace('\n', " "));
    }));
    Log { lines: waiting, guard: None }
}

/// Where lines go, and how many did not.
struct Output {
    out: Stdout,
    lost: Arc<OnceLock<ErrorCounter>>,
    /// How many lost lines the log has told of.
    told: usize,
    /// How many there were when the last line was written.
    seen: usize,
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.out.write(line)?;
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        // While lines are still being lost there would be no room for this one either.
        if lost > self.told && lost == self.seen {
            tracing::warn!(
                "{} lines of this log are missing here or before: nobody took them in time",
                lost - self.told
            );
            self.told = lost;
        }
        self.seen = lost;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
