//! The committer: one thread that owns the lease store. The DHCP loop submits promises to it. It writes all that wait
//! in one transaction with one fsync, and only then sends the replies. It never sends a reply that promises more than
//! is on stable storage.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::dhcp::engine;
use crate::event::{DropReason, Event, Record, ServerFact};
use crate::lease::Lease;
use crate::net::datagram::Outgoing;
use crate::net::udp::DhcpSocket;
use crate::record::Recorder;
use crate::server::dhcp::deliver::{Delivery, deliver, on, outgoing};
use crate::server::dhcp::renewals::FallbackReply;
use crate::store::clock::Clock;
use crate::store::open::KEPT;
use crate::store::{LeaseStore, StoreError};
use crate::types::InterfaceName;

pub use crate::dhcp::engine::Outcome;

/// Time between two checks of the system's clock, and the maximum age of the clock mark in the store.
const CLOCK_CHECK: Duration = Duration::from_secs(10);

/// Maximum time between two checks that the store's files are still in place.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// Minimum time between two log lines about a store that fails. Each failed batch and each failed check of the files
/// would log one.
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// The same while no client asks for a lease. Also the minimum time between two log lines about a slow disk.
const IDLE_FAULT_PAUSE: Duration = Duration::from_secs(60);

/// A commit that takes longer is logged. Clients repeat a request after 4 s (RFC 2131 section 4.1).
const SLOW: Duration = Duration::from_secs(2);

/// A lease to store, and the reply to send after that.
#[derive(Debug)]
pub struct Promise {
    pub lease: Lease,
    /// Leases of the same client that end in the same transaction.
    pub ended: Vec<Lease>,
    /// The reply to send once the lease is stored; none for a RELEASE or DECLINE.
    pub reply: Option<Outgoing>,
    /// The reply to send if the lease cannot be stored, or not in time; without one, the client gets no answer.
    pub fallback: Option<Arc<FallbackReply>>,
    /// The record that the reply was sent, or that the lease was stored if there is no reply.
    pub record: Record,
}

impl Promise {
    /// Converts a promise of the engine to a client on the interface with this number and name, whose message was
    /// received at `received`.
    pub(super) fn of(
        promise: engine::Promise,
        (index, interface): (u32, InterfaceName),
        received: Instant,
    ) -> Promise {
        let engine::Promise { lease, ended, reply, fallback, record } = promise;
        let reply = reply.map(|reply| outgoing(&reply, index, received));
        let fallback = fallback.map(|fallback| {
            let reply = outgoing(&fallback.reply, index, received);
            Arc::new(FallbackReply::new(reply, fallback.record))
        });
        Promise { lease, ended, reply, fallback, record: on(interface, record) }
    }

    /// All leases to store, the promised one last.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.ended.iter().chain([&self.lease])
    }
}

/// The DHCP loop's end of the committer.
#[derive(Debug)]
pub struct Committer {
    // The channels need no bound, because the engine lets at most `MAX_WAITING` leases wait.
    queue: Option<Sender<Vec<Promise>>>,
    outcomes: UnboundedReceiver<Outcome>,
    thread: Option<JoinHandle<()>>,
    recorder: Recorder,
}

impl Committer {
    /// Starts the thread.
    pub fn start(
        mut store: Box<dyn LeaseStore>,
        clock: Clock,
        socket: Arc<DhcpSocket>,
        recorder: Recorder,
    ) -> std::io::Result<Committer> {
        let (queue, promises) = channel();
        let (report, outcomes) = unbounded_channel();
        store.report_to(recorder.reporter());
        let own = recorder.clone();
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || work(store, clock, &promises, &report, &socket, &own))?;
        Ok(Committer { queue: Some(queue), outcomes, thread: Some(thread), recorder })
    }

    /// Queues a batch. Queued batches are stored and answered in order; several may share one transaction.
    pub fn submit(&mut self, batch: Vec<Promise>) {
        if let Some(queue) = &self.queue
            && queue.send(batch).is_err()
        {
            let text = "the lease store stopped working: no lease is given until lanboot is restarted";
            self.recorder.server(ServerFact::StoreStopped, text);
        }
    }

    /// Waits for the next outcome; `None` if the thread has ended.
    pub async fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }

    /// Lets the thread store and answer the queued batches, waits for its end, and returns the outcomes.
    pub fn finish(&mut self) -> Vec<Outcome> {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.recorder.server(ServerFact::StoreStopped, "the lease store's thread failed");
        }
        std::iter::from_fn(|| self.outcomes.try_recv().ok()).collect()
    }
}

fn work(
    mut store: Box<dyn LeaseStore>,
    mut clock: Clock,
    promises: &Receiver<Vec<Promise>>,
    report: &UnboundedSender<Outcome>,
    socket: &DhcpSocket,
    recorder: &Recorder,
) {
    let mut marked = Instant::now();
    let mut looked = Instant::now();
    let mut unmarked = false;
    let mut faults = Faults::default();
    loop {
        match promises.recv_timeout(LOOK_AFTER) {
            Ok(mut batch) => {
                batch.extend(promises.try_iter().flatten());
                // The receiver is gone only when the whole server is being dropped.
                let _ = report.send(store_and_answer(&mut *store, batch, socket, recorder, &mut faults));
                unmarked = true;
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = store.purge(clock.now().before(KEPT)) {
                    faults.record(&error, 0, recorder);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if looked.elapsed() >= LOOK_AFTER {
            looked = Instant::now();
            let maintained = store.maintain();
            recorder.store_is_up(maintained.is_ok());
            if let Err(error) = maintained {
                faults.record(&error, 0, recorder);
            }
        }
        if marked.elapsed() < CLOCK_CHECK {
            continue;
        }
        marked = Instant::now();
        if check_clock(&mut clock, recorder) || unmarked {
            unmarked = !mark(&mut *store, clock, recorder);
        }
    }
    let _ = mark(&mut *store, clock, recorder);
}

fn store_and_answer(
    store: &mut dyn LeaseStore,
    batch: Vec<Promise>,
    socket: &DhcpSocket,
    recorder: &Recorder,
    faults: &mut Faults,
) -> Outcome {
    let leases: Vec<Lease> = batch.iter().flat_map(Promise::leases).cloned().collect();
    let began = Instant::now();
    let stored = store.commit(&leases);
    let took = began.elapsed();
    recorder.commit_took(took);
    recorder.store_is_up(stored.is_ok());
    match &stored {
        Ok(()) => faults.record_slow(took, batch.len(), recorder),
        Err(error) => faults.record(error, batch.len(), recorder),
    }
    let mut replies = Vec::with_capacity(batch.len());
    for promise in batch {
        if stored.is_ok()
            && let Some(client) = promise.record.event.client()
        {
            for Lease { address, .. } in promise.ended {
                let event = Event::Released { address, client: *client };
                recorder.record_now(Record { event, ..promise.record.clone() });
            }
        }
        if promise.fallback.as_ref().is_some_and(|fallback| !fallback.take()) {
            // The DHCP loop has answered it already, because the disk was slow.
            continue;
        }
        match (&stored, promise.reply, promise.fallback) {
            (Ok(()), Some(reply), _) => replies.push(Delivery { reply, record: promise.record }),
            (Ok(()), None, _) => recorder.record_now(promise.record),
            (Err(_), _, Some(fallback)) => replies.push(fallback.delivery()),
            (Err(_), _, None) => recorder.record_now(promise.record.dropped(DropReason::StoreFailed)),
        }
    }
    deliver(socket, recorder, replies);
    Outcome { leases, stored: stored.is_ok() }
}

/// Records faults of the store, at most one line per [`FAULT_PAUSE`].
#[derive(Default)]
struct Faults {
    logged: Option<Instant>,
    /// Leases that could not be given since the last line.
    unsaid: usize,
    /// The time of the last log line about a slow disk.
    slow: Option<Instant>,
}

impl Faults {
    fn record(&mut self, error: &StoreError, leases: usize, recorder: &Recorder) {
        self.unsaid += leases;
        let pause = if self.unsaid > 0 { FAULT_PAUSE } else { IDLE_FAULT_PAUSE };
        if self.logged.is_some_and(|logged| logged.elapsed() < pause) {
            return;
        }
        self.logged = Some(Instant::now());
        let text = match std::mem::take(&mut self.unsaid) {
            0 => format!("{error}: no lease is given until this works"),
            unsaid => format!("{error}: {unsaid} leases are not given until this works"),
        };
        recorder.server(ServerFact::StoreFailed, text);
    }

    fn record_slow(&mut self, took: Duration, leases: usize, recorder: &Recorder) {
        if took < SLOW || self.slow.is_some_and(|logged| logged.elapsed() < IDLE_FAULT_PAUSE) {
            return;
        }
        self.slow = Some(Instant::now());
        let text = format!(
            "the disk took {:.1} s to store {leases} leases: new clients wait for it; move `state` to a faster disk, or \
             find what keeps this one busy",
            took.as_secs_f64()
        );
        recorder.server(ServerFact::StoreSlow, text);
    }
}

/// Records it if the system's clock was set, and returns whether it was.
fn check_clock(clock: &mut Clock, recorder: &Recorder) -> bool {
    let step = clock.step();
    if let Some(seconds) = step {
        let way = if seconds > 0 { "forward" } else { "back" };
        let text = format!(
            "the system's clock was set {way} by {} seconds: leases keep the time that they have left",
            seconds.unsigned_abs()
        );
        recorder.server(ServerFact::ClockSet, text);
    }
    step.is_some()
}

/// Stores a mark of both clocks beside the leases, for the next start. Returns whether that worked.
fn mark(store: &mut dyn LeaseStore, clock: Clock, recorder: &Recorder) -> bool {
    let marked = store.set_clock(clock.mark(), 0);
    if let Err(error) = &marked {
        let text = format!("cannot note the time beside the leases: {error}");
        recorder.server(ServerFact::ClockNotStored, text);
    }
    marked.is_ok()
}
