//! The log of `lanboot serve`, on standard output.
//!
//! Who writes a line never waits for who reads it: a journal that has stopped, or a full disk behind it, must not keep
//! anybody from booting. Lines wait in memory for a thread of their own; when too many do, new ones are lost and counted.

use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::{Arc, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

use crate::config::{Log, LogFormat, LogLevel};

/// Lines that wait to be written. Each has some hundred bytes.
const MAX_WAITING: usize = 8192;

/// Starts the log. What waits when the guard is dropped is written, if somebody takes it within a second.
pub(super) fn start(log: Log) -> WorkerGuard {
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
    let lost = Arc::default();
    let output = Output { out: io::stdout(), lost: Arc::clone(&lost), told: 0, seen: 0 };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING)
        .thread_name("log")
        .finish(output);
    let _ = lost.set(writer.error_counter());
    let lines = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(colour);
    let lines = lines.with_writer(writer);
    match log.format {
        LogFormat::Json => lines.json().init(),
        LogFormat::Text if in_journal => lines.without_time().init(),
        LogFormat::Text => lines.init(),
    }
    // Standard error, where panics go otherwise, may have the same reader.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("{}", panic.to_string().replace('\n', " "));
    }));
    guard
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
