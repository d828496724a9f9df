//! The log of `lanboot serve`: on standard output, or in the systemd journal with the fields of each record (`journal.rs`).
//!
//! Writing a line never blocks, because a stopped journal or a full disk must not keep machines from booting. Lines
//! are queued in memory for a separate thread. If the queue is full, new lines are dropped and counted.

use std::convert::Infallible;
use std::io::{self, Stdout, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::cli::journal::{self, Entries, Journal};
use crate::cli::log_format::{Chosen, Json, Only, Switch, Text};
use crate::cli::output;
use crate::config::{self as settings, LogFormat, LogLevel};
use crate::record::rate_limit::{Budget, Kind};

/// Maximum number of queued lines. A line has about a hundred bytes.
const MAX_WAITING: usize = 8192;
/// Interval for logging the number of suppressed lines.
const SUPPRESSED_INTERVAL: Duration = Duration::from_secs(1);

/// The log of the process. Lines are queued until [`Log::start_writer`], because the writer thread must not start
/// before the process has dropped root privileges. Queued lines are written when this value is dropped.
pub(super) struct Log {
    lines: Arc<Lines>,
    /// Writes the queue when it is dropped, within a second.
    guard: Option<WorkerGuard>,
    /// The journal, until the writer thread has it.
    journal: Option<Journal>,
    level: Level,
}

/// Changes the level and the format of the log. Cheap to clone.
#[derive(Clone)]
pub(super) struct Level {
    level: reload::Handle<LevelFilter, Registry>,
    format: Chosen,
}

impl Level {
    pub(super) fn set(&self, level: LogLevel, format: LogFormat) {
        // This fails only after the log has ended.
        let _ = self.level.reload(filter(level));
        self.format.set(format);
    }
}

/// The queue of log lines.
#[derive(Default)]
struct Lines {
    /// The queue of the writer thread, once it runs.
    writer: OnceLock<NonBlocking>,
    /// Lines from before that, at most [`MAX_WAITING`].
    pending: Mutex<Vec<Vec<u8>>>,
    /// Rate limit per source location, for lines that do not come from events.
    budget: Budget,
}

/// Creates a [`Line`] for each log line within the rate limit.
#[derive(Clone)]
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

/// Modules that are exempt from the rate limit: events are limited by kind, and commands log each line once.
const UNBOUNDED: [&str; 2] = ["lanboot::record", "lanboot::cli"];

/// Receives one log line. `None` discards it.
struct Line(Option<Arc<Lines>>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(lines) = &self.0 else { return Ok(line.len()) };
        if let Some(writer) = lines.writer.get() {
            return writer.clone().write(line);
        }
        let mut pending = lines.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() < MAX_WAITING {
            pending.push(line.to_vec());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Starts the writer thread and hands it the queued lines.
    pub(super) fn start_writer(&mut self) {
        let lost = Arc::default();
        let journal = self.journal.take();
        let output = Output { journal, out: io::stdout(), lost: Arc::clone(&lost), reported: 0, seen: 0 };
        let (mut writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MAX_WAITING)
            .thread_name("log")
            .finish(output);
        let _ = lost.set(writer.error_counter());
        let mut pending = self.lines.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for line in pending.drain(..) {
            let _ = writer.write(&line);
        }
        let _ = self.lines.writer.set(writer);
        self.guard = Some(guard);
    }

    /// A handle to change the level.
    pub(super) fn level(&self) -> Level {
        self.level.clone()
    }

    /// Logs the number of suppressed lines once per second, forever.
    pub(super) fn log_suppressed_lines(&self) -> impl Future<Output = Infallible> + use<> {
        let lines = Arc::clone(&self.lines);
        async move {
            loop {
                tokio::time::sleep(SUPPRESSED_INTERVAL).await;
                lines.budget.log_left_out();
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.budget.log_left_out();
        let mut pending = self.lines.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for line in pending.drain(..) {
            let _ = write_line(&mut self.journal, &mut io::stdout(), &line);
        }
    }
}

/// Writes a line, or sends it if it is an entry for the journal. The message of an entry that cannot be sent is written.
fn write_line(journal: &mut Option<Journal>, out: &mut Stdout, line: &[u8]) -> io::Result<usize> {
    let journal = journal.as_mut().filter(|_| journal::is_entry(line));
    match journal.map(|journal| journal.send(line)) {
        None => out.write(line),
        Some(Ok(())) => Ok(line.len()),
        Some(Err(_)) => {
            out.write_all(&[journal::message_of(line), b"\n"].concat())?;
            Ok(line.len())
        }
    }
}

/// Initialises logging. Lines are queued until the writer thread starts.
pub(super) fn start(log: settings::Log) -> Log {
    let (level, handle) = reload::Layer::new(filter(log.level));
    let journal = Journal::connect();
    // The journal adds its own time stamps.
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let colour = output::is_coloured(&io::stdout());
    let waiting = Arc::new(Lines::default());
    let writer = Writer(Arc::clone(&waiting));
    let registry = tracing_subscriber::registry().with(level);
    let format = Chosen::default();
    format.set(log.format);
    let level = Level { level: handle, format: format.clone() };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer.clone()).fmt_fields(Text);
    if journal.is_some() {
        // Text lines are entries, whose fields the journal stores. JSON lines are what a person asked for as they are.
        let entries = Only { format: LogFormat::Text, chosen: format.clone(), layer: Entries(writer) };
        let json = lines.with_ansi(false).event_format(Json);
        registry.with(Only { format: LogFormat::Json, chosen: format, layer: json }).with(entries).init();
        return finish(waiting, journal, level);
    }
    let (lines, text) = (lines.with_ansi(colour), tracing_subscriber::fmt::format());
    if in_journal {
        registry.with(lines.event_format(Switch::new(text.without_time(), format))).init();
    } else {
        registry.with(lines.event_format(Switch::new(text, format))).init();
    }
    finish(waiting, journal, level)
}

/// Logs panics too. They normally go to standard error, which may have the same stalled reader.
fn finish(lines: Arc<Lines>, journal: Option<Journal>, level: Level) -> Log {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("{}", panic.to_string().replace('\n', " "));
    }));
    Log { lines, guard: None, journal, level }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The journal or standard output, and the number of lines that were lost before it.
struct Output {
    journal: Option<Journal>,
    out: Stdout,
    lost: Arc<OnceLock<ErrorCounter>>,
    /// Number of lost lines that the log has reported.
    reported: usize,
    /// Number of lost lines when the last line was written.
    seen: usize,
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = write_line(&mut self.journal, &mut self.out, line)?;
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        // Report only after no more lines are lost, because this line would be lost too.
        if lost > self.reported && lost == self.seen {
            tracing::warn!(
                "{} lines of this log are missing here or before, because they were read too slowly",
                lost - self.reported
            );
            self.reported = lost;
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
    fn s_07_lines_without_an_event_are_bounded() {
        let lines = Arc::new(Lines::default());
        let subscriber = tracing_subscriber::fmt().with_writer(Writer(Arc::clone(&lines))).finish();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..5000 {
                tracing::warn!(target: "lanboot::content::lookup", "a template is wrong for {number}");
                tracing::warn!(target: "lanboot::record", "bounded by its kind");
            }
            lines.budget.log_left_out();
        });
        let written = lines.pending.lock().unwrap();
        let count =
            |text: &str| written.iter().filter(|line| String::from_utf8_lossy(line).contains(text)).count();
        // The limit refills slightly if the loop is slow.
        assert!((1000..1500).contains(&count("a template")), "{}", count("a template"));
        assert_eq!((count("bounded by its kind"), count("left out ")), (5000, 1));
    }
}
