//! The HTTP part of a boot: counts the received bytes and detects the end. The caller makes the requests.

use std::time::Duration;

use super::step::{Failure, Progress, Step, Transmit};
use crate::types::Timestamp;

/// The wait for the web server per request.
const HTTP_WAIT: Duration = Duration::from_secs(20);

/// One running HTTP download.
#[derive(Debug)]
pub(super) struct Fetch {
    url: String,
    size: Option<u64>,
    received: u64,
    wait: Duration,
    deadline: Option<Timestamp>,
}

impl Fetch {
    /// Requests `url`, with a HEAD request first if `head` is set. `timeout` limits the wait.
    pub(super) fn start(
        url: String,
        head: bool,
        timeout: Option<Duration>,
        now: Timestamp,
        step: &mut Step<'_>,
    ) -> Fetch {
        let wait = timeout.map_or(HTTP_WAIT, |timeout| timeout.min(HTTP_WAIT));
        step.progress.push(Progress::Fetching { url: url.clone() });
        step.send.push(Transmit::Http { url: url.clone(), head });
        Fetch { url, size: None, received: 0, wait, deadline: Some(now.after(wait)) }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    pub(super) fn begun(&mut self, size: Option<u64>, now: Timestamp, step: &mut Step<'_>) {
        self.size = size;
        self.deadline = Some(now.after(self.wait));
        step.progress.push(Progress::SizeKnown { bytes: size });
    }

    pub(super) fn data<'a>(&mut self, data: &'a [u8], now: Timestamp, step: &mut Step<'a>) {
        self.received = self.received.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.deadline = Some(now.after(self.wait));
        step.received = Some(data);
    }

    pub(super) fn ended(&mut self, step: &mut Step<'_>) {
        self.deadline = None;
        let progress = match self.size.filter(|size| *size != self.received) {
            Some(promised) => Progress::Failed(Failure::Http {
                url: self.url.clone(),
                why: format!("the server said {promised} bytes and sent {}", self.received),
            }),
            None => Progress::Finished { bytes: self.received },
        };
        step.progress.push(progress);
    }

    pub(super) fn failed(&mut self, why: &str, step: &mut Step<'_>) {
        self.deadline = None;
        step.progress.push(Progress::Failed(Failure::Http { url: self.url.clone(), why: why.to_owned() }));
    }

    pub(super) fn timeout(&mut self, now: Timestamp, step: &mut Step<'_>) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.failed(&format!("nothing came for {} s", self.wait.as_secs()), step);
    }
}
