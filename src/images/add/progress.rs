//! Shows the progress of long operations in a terminal. Without a terminal nothing is shown.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Length of the bar for percentages: hundredths of a percent.
const WHOLE: u64 = 10_000;

/// A progress bar at the bottom of the terminal. It disappears when dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Progress of an operation with a known number of bytes.
    pub fn of_bytes(what: &str, bytes: u64) -> Progress {
        let template = "{msg}  [{bar:30}] {bytes}/{total_bytes} {eta}";
        Progress::new(what, Some(bytes), template)
    }

    /// Progress of an operation with an unknown number of bytes.
    pub fn of_unknown(what: &str) -> Progress {
        Progress::new(what, None, "{msg}  {spinner} {bytes} {bytes_per_sec}")
    }

    /// Progress of an operation that reports percentages.
    pub fn of_percent(what: &str) -> Progress {
        Progress::new(what, Some(WHOLE), "{msg}  [{bar:30}] {percent} % {elapsed}")
    }

    fn new(what: &str, len: Option<u64>, template: &str) -> Progress {
        let target = ProgressDrawTarget::stderr();
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(len, target).with_message(what.to_owned());
        bar.set_style(style.progress_chars("=> "));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Progress(bar)
    }

    /// Adds `bytes` to the progress.
    pub fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    pub fn set_percent(&self, percent: f64) {
        // apt writes no negative percentages and no NaN, and the cast saturates anyway.
        self.0.set_position((percent * 100.0) as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
