//! Shows the progress of long operations: in a terminal a bar, elsewhere one line for each operation.

use std::cell::RefCell;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Length of the bar for percentages: hundredths of a percent.
const WHOLE: u64 = 10_000;

/// A progress bar at the bottom of the terminal. It disappears when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// The line that is still to be shown, and the time since which it is.
    line: RefCell<Option<String>>,
    start: Instant,
}

/// Time after which a local operation is worth a line.
const QUICK: Duration = Duration::from_secs(1);

impl Progress {
    /// Progress of an operation with a known number of bytes.
    pub fn of_bytes(what: &str, bytes: u64) -> Progress {
        let template = "{msg}  [{bar:30}] {bytes}/{total_bytes} {eta}";
        // Unpacking is usually over in a moment.
        Progress::new(what, Some(bytes), template)
    }

    /// Progress of an operation with an unknown number of bytes.
    pub fn of_unknown(what: &str) -> Progress {
        Progress::new(what, None, "{msg}  {spinner} {bytes} {bytes_per_sec}").with_line_now()
    }

    /// Progress of an operation that reports percentages.
    pub fn of_percent(what: &str) -> Progress {
        Progress::new(what, Some(WHOLE), "{msg}  [{bar:30}] {percent} % {elapsed}").with_line_now()
    }

    fn new(what: &str, len: Option<u64>, template: &str) -> Progress {
        let target = ProgressDrawTarget::stderr();
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(len, target).with_message(what.to_owned());
        bar.set_style(style.progress_chars("=> "));
        let is_hidden = bar.is_hidden();
        if !is_hidden {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let line = is_hidden.then(|| what.to_owned());
        Progress { bar, line: RefCell::new(line), start: Instant::now() }
    }

    /// Shows the line at once: the work may take long.
    #[must_use]
    pub fn with_line_now(self) -> Progress {
        self.show_line();
        self
    }

    fn show_line(&self) {
        if let Some(line) = self.line.borrow_mut().take() {
            let _ = writeln!(io::stderr(), "lanboot images: {line}");
        }
    }

    /// Adds `bytes` to the progress.
    pub fn add(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
        if self.start.elapsed() > QUICK {
            self.show_line();
        }
    }

    pub fn set_percent(&self, percent: f64) {
        // apt writes no negative percentages and no NaN, and the cast saturates anyway.
        self.bar.set_position((percent * 100.0) as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
