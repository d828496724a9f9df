//! Turns records into log lines and counters, and passes them to subscribers: the only place that does. DHCP, TFTP and
//! HTTP call it for every event. It never decides anything about a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::Level;

use crate::event::{Event, Record, Reporter, ServerFact};
use crate::store::clock::Clock;
use crate::types::Timestamp;

use activity::LastMessage;
use counters::Counts;
use gauges::Gauges;
use level::level;
use log_line::line;
use rate_limit::{Budget, Kind};
use repeats::Repeats;
use subscriber::Subscribers;

pub use gauges::{Reader, STAGES};
pub use in_order::InOrder;
pub use log_line::how_to_add;
pub use subscriber::{Batch, MAX_QUEUED, SharedRecord, Subscriber};

mod activity;
mod boot_line;
mod counters;
pub mod fields;
mod file_line;
mod gauges;
mod histogram;
mod in_order;
mod level;
mod log_line;
pub mod metrics;
pub mod rate_limit;
mod repeats;
mod subscriber;

/// Counts records, logs them as far as the budget of their kind allows, and passes them to the subscribers. Cheap to
/// clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The clock of the DHCP server, so that all records of a boot have times of one clock.
    clock: Clock,
    dhcp: LastMessage,
    counts: Counts,
    gauges: Gauges,
    budget: Budget,
    repeats: Repeats,
    subscribers: Subscribers,
}

/// Interval at which the numbers of omitted lines are logged.
const LEFT_OUT_PAUSE: Duration = Duration::from_secs(1);

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new(Clock::start())
    }
}

impl Recorder {
    /// A recorder whose records get the time of `clock`.
    pub fn new(clock: Clock) -> Recorder {
        Recorder {
            inner: Arc::new(Inner {
                clock,
                dhcp: LastMessage::default(),
                counts: Counts::default(),
                gauges: Gauges::default(),
                budget: Budget::default(),
                repeats: Repeats::default(),
                subscribers: Subscribers::default(),
            }),
        }
    }

    /// The clock of all records. The DHCP server uses it too, so that all times of a boot are of one clock.
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// The current time, for [`Record::at`].
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Records what has just happened: like [`Recorder::record`], but at the current time.
    pub fn record_now(&self, record: Record) {
        self.record(Record { at: self.now(), ..record });
    }

    /// Records a fact about the server itself. `text` is the line for the log.
    pub fn server(&self, fact: ServerFact, text: impl Into<String>) {
        let event = Event::Server { fact, text: text.into() };
        self.record(Record { at: self.now(), interface: None, machine: None, event });
    }

    /// Records the facts of a part of the server that does not know this recorder.
    pub fn reporter(&self) -> Reporter {
        let recorder = self.clone();
        Box::new(move |fact, text| recorder.server(fact, text))
    }

    pub fn record(&self, record: Record) {
        let Inner { dhcp, counts, repeats, subscribers, .. } = &*self.inner;
        counts.count(&record.event);
        if let Event::Received { .. } = record.event {
            dhcp.record_message(record.at);
        }
        let level = level(&record.event);
        if is_enabled(level) {
            let (now, kind) = (Instant::now(), Kind::of(&record.event));
            // Formatting a line costs more than finding out that it is not wanted.
            if repeats.is_news(&record, now) && self.inner.budget.admit(kind, level, now) {
                fields::write(level, &record, &line(&record));
            }
        }
        subscribers.publish(record);
    }

    /// Subscribes to all records from now on. The queue holds up to `capacity` records, at most [`MAX_QUEUED`].
    pub fn subscribe(&self, capacity: usize) -> Subscriber {
        self.inner.subscribers.add(capacity)
    }

    /// Logs a failure that may occur for each of many messages. Every line starts with `what`.
    pub fn log_failure(&self, level: Level, what: &'static str, text: impl FnOnce() -> String) {
        if !is_enabled(level) || !self.inner.budget.admit(Kind::new(what), level, Instant::now()) {
            return;
        }
        match level {
            Level::ERROR => tracing::error!("{what} {}", text()),
            Level::WARN => tracing::warn!("{what} {}", text()),
            Level::INFO => tracing::info!("{what} {}", text()),
            _ => tracing::debug!("{what} {}", text()),
        }
    }

    /// Whether DHCP is busy: a message arrived within the last second.
    pub fn dhcp_is_busy(&self) -> bool {
        self.inner.dhcp.is_recent(self.now())
    }

    /// The number of dropped messages by reason, and of requests that were refused because of the client. Only reasons
    /// that occurred are included.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        self.inner.counts.drops()
    }

    /// The counter of every reason, by the kind of event that has it and by the name of the reason. Only reasons that
    /// occurred are included.
    pub fn reasons(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.inner.counts.reasons()
    }

    /// Counts a DHCP reply that was sent `took` after its message was received, or after the check of its address.
    pub fn reply_took(&self, took: Duration) {
        self.inner.gauges.reply.observe(took);
    }

    /// Counts a transaction of the lease database.
    pub fn commit_took(&self, took: Duration) {
        self.inner.gauges.commit.observe(took);
    }

    /// Notes whether the last access to the lease database worked.
    pub fn store_is_up(&self, is_up: bool) {
        self.inner.gauges.store_up.store(is_up, Ordering::Relaxed);
    }

    /// Counts a reload of the configuration, which succeeded or not.
    pub fn reloaded(&self, is_done: bool) {
        let Gauges { reloads, failed_reloads, .. } = &self.inner.gauges;
        let counter = if is_done { reloads } else { failed_reloads };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    fn gauges(&self) -> &Gauges {
        &self.inner.gauges
    }

    /// Counts the time that a boot took for the stage with this number in [`STAGES`].
    pub fn stage_took(&self, stage: usize, took: Duration) {
        self.inner.gauges.stages.get(stage).into_iter().for_each(|histogram| histogram.observe(took));
    }

    /// Sets the numbers of machines by the stage of their newest boot, for [`Recorder::metrics`].
    pub fn set_machines(&self, machines: [u64; STAGES.len()]) {
        let gauges = self.inner.gauges.machines.iter().zip(machines);
        gauges.for_each(|(gauge, count)| gauge.store(count, Ordering::Relaxed));
    }

    /// Counts records that `reader` lost because its queue was full.
    pub fn records_lost(&self, reader: Reader, count: u64) {
        self.inner.gauges.lost[reader as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Logs all counters.
    pub fn log_counts(&self) {
        self.inner.counts.lines().iter().for_each(|line| tracing::info!("statistics: {line}"));
    }

    /// Logs how many lines of each kind were omitted since the last call.
    pub fn log_left_out(&self) {
        self.inner.budget.log_left_out();
    }

    /// Calls [`Self::log_left_out`] once per second, forever.
    pub async fn follow_left_out(&self) -> Infallible {
        loop {
            tokio::time::sleep(LEFT_OUT_PAUSE).await;
            self.log_left_out();
        }
    }
}

fn is_enabled(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(Level::ERROR),
        Level::WARN => tracing::enabled!(Level::WARN),
        Level::INFO => tracing::enabled!(Level::INFO),
        _ => tracing::enabled!(Level::DEBUG),
    }
}

#[cfg(test)]
mod tests;
