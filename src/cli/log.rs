//! The log of `lanboot serve`, on standard output.
//!
//! Who writes a line never waits for who reads it: a journal that has stopped, or a full disk behind it, must not keep
//! anybody from booting. Lines wait in memory for a thread of their own; when too many do, new ones are lost and counted.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{self as settings, LogFormat, LogLevel};
use crate::record::rate_limit::{Budget, Kind};

/// Lines that wait to be written. Each has some hundred bytes.
const MAX_WAITING: usize = 8192;
/// How often the lines that were left out are logged.
const LEFT_OUT_PAUSE: Duration = Duration::from_secs(1);

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
    /// For lines that no event makes: by the place in the sources that they come from.
    budget: Budget,
}

/// Takes lines, as far as their budget goes.
struct Writer(Arc<Lines>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Some(Arc::clone(&self.0)))
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line {
        let is_bounded = UNBOUNDED.iter().all(|target| !of.target().starts_with(target));
        let is_over = is_bounded && !self.0.budget.admit(Kind::new(of.name()), *of.level(), Instant::now());
        if is_over { Line(None) } else { self.make_writer() }
    }
}

/// Modules whose lines have another bound: events are counted by their kind, and commands log once.
const UNBOUNDED: [&str; 2] = ["lanboot::record", "lanboot::cli"];

/// Takes one line, which is left out if there is nothing to put it into.
struct Line(Option<Arc<Lines>>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(lines) = &self.0 else { return Ok(line.len()) };
        if let Some(apart) = lines.apart.get() {
            return apart.clone().write(line);
        }
        let mut early = lines.early.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Logs once a second how many lines were left out, forever.
    pub(super) fn follow_left_out(&self) -> impl Future<Output = Infallible> + use<> {
        let lines = Arc::clone(&self.lines);
        async move {
            loop {
                tokio::time::sleep(LEFT_OUT_PAUSE).await;
                lines.budget.log_left_out();
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.budget.log_left_out();
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
    let writer = Writer(Arc::clone(&waiting));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_07_lines_that_no_event_makes_are_bounded_too() {
        let lines = Arc::new(Lines::default());
        let subscriber = tracing_subscriber::fmt().with_writer(Writer(Arc::clone(&lines))).finish();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..5000 {
                tracing::warn!(target: "lanboot::content::log_once", "a template is wrong for {number}");
                tracing::warn!(target: "lanboot::record", "bounded by its kind");
            }
            lines.budget.log_left_out();
        });
        let written = lines.early.lock().unwrap();
        let count =
            |text: &str| written.iter().filter(|line| String::from_utf8_lossy(line).contains(text)).count();
        // A few more if the loop takes long.
        assert!((1000..1500).contains(&count("a template")), "{}", count("a template"));
        assert_eq!((count("bounded by its kind"), count("left out ")), (5000, 1));
    }
}
