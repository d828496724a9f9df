//! The committer: one thread that owns the lease store. It writes everything that is waiting in one transaction with
//! one fsync, and only then sends the replies that promise it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::dhcp::engine;
use crate::event::{DropReason, Event};
use crate::lease::Lease;
use crate::net::udp::{DhcpSocket, Outgoing};
use crate::record::Recorder;
use crate::server::dhcp::deliver::{Delivery, deliver};
use crate::server::dhcp::effects::outgoing;
use crate::server::dhcp::renewals::Otherwise;
use crate::store::clock::Clock;
use crate::store::{LeaseStore, StoreError};

pub use crate::dhcp::engine::Outcome;

/// How often the clock is looked at, and how old its mark beside stored leases may be.
const CLOCK_CHECK: Duration = Duration::from_secs(10);

/// How often the store looks after its files, at least: whether they are still there.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// Time between two lines about a store that does not work. Each batch that fails, and each look at its files, has one
/// to say.
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// The same while no lease is asked for, and between two lines about a slow disk.
const IDLE_FAULT_PAUSE: Duration = Duration::from_secs(60);

/// A commit that takes longer is logged. Clients repeat a request after 4 s (RFC 2131 section 4.1).
const SLOW: Duration = Duration::from_secs(2);

/// A lease to be stored, and what then happens.
#[derive(Debug)]
pub struct Promise {
    /// The lease.
    pub lease: Lease,
    /// Leases of the same client that end when this one is stored: with it, or not at all.
    pub ended: Vec<Lease>,
    /// The reply that may leave once it is stored; none for a RELEASE or DECLINE.
    pub reply: Option<Outgoing>,
    /// The reply that leaves if it cannot be stored, or not in time; none if that is silence.
    pub otherwise: Option<Arc<Otherwise>>,
    /// What then has happened.
    pub event: Event,
    /// Where.
    pub interface: Arc<str>,
}

impl Promise {
    /// What the engine promises to a client on the interface of this number and name.
    pub(super) fn of(promise: engine::Promise, index: u32, interface: Arc<str>) -> Promise {
        let engine::Promise { lease, ended, reply, otherwise, event } = promise;
        let reply = reply.map(|reply| outgoing(&reply, index));
        let otherwise = otherwise
            .map(|otherwise| Arc::new(Otherwise::new(outgoing(&otherwise.reply, index), otherwise.event)));
        Promise { lease, ended, reply, otherwise, event, interface }
    }

    /// All leases that it has stored, the one that is promised last.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.ended.iter().chain([&self.lease])
    }
}

/// The DHCP loop's end of the committer.
#[derive(Debug)]
pub struct Committer {
    // Neither channel has a bound of its own: the engine lets at most `MAX_WAITING` leases wait.
    queue: Option<Sender<Vec<Promise>>>,
    outcomes: UnboundedReceiver<Outcome>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(
        store: Box<dyn LeaseStore>,
        clock: Clock,
        socket: Arc<DhcpSocket>,
        recorder: Recorder,
    ) -> std::io::Result<Committer> {
        let (queue, promises) = channel();
        let (report, outcomes) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || work(store, clock, &promises, &report, &socket, &recorder))?;
        Ok(Committer { queue: Some(queue), outcomes, thread: Some(thread) })
    }

    /// Hands over a batch. It is stored, answered and reported as a whole or in parts, in order.
    pub fn submit(&mut self, batch: Vec<Promise>) {
        if let Some(queue) = &self.queue
            && queue.send(batch).is_err()
        {
            tracing::error!("the lease store stopped working: no lease is given until lanboot is restarted");
        }
    }

    /// The next outcome.
    pub async fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }

    /// Lets the thread store and answer what it has, waits for it, and returns what became of that.
    pub fn finish(&mut self) -> Vec<Outcome> {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the lease store's thread failed");
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
                // The loop is gone only when the whole server is.
                let _ = report.send(store_and_answer(&mut *store, batch, socket, recorder, &mut faults));
                unmarked = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if looked.elapsed() >= LOOK_AFTER {
            looked = Instant::now();
            if let Err(error) = store.look_after() {
                faults.log(&error, 0);
            }
        }
        if marked.elapsed() < CLOCK_CHECK {
            continue;
        }
        marked = Instant::now();
        if look_at_clock(&mut clock) || unmarked {
            unmarked = !mark(&mut *store, clock);
        }
    }
    let _ = mark(&mut *store, clock);
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
    match &stored {
        Ok(()) => faults.log_slow(began.elapsed(), batch.len()),
        Err(error) => faults.log(error, batch.len()),
    }
    let mut replies = Vec::with_capacity(batch.len());
    for promise in batch {
        let interface = promise.interface;
        if stored.is_ok()
            && let Some(client) = promise.event.client()
        {
            for Lease { address, .. } in promise.ended {
                recorder.record(&interface, &Event::Released { address, client: client.clone() });
            }
        }
        if promise.otherwise.as_ref().is_some_and(|otherwise| !otherwise.take()) {
            // It had an answer already, while the disk was slow.
            continue;
        }
        match (&stored, promise.reply, promise.otherwise) {
            (Ok(()), Some(reply), _) => replies.push(Delivery { reply, interface, event: promise.event }),
            (Ok(()), None, _) => recorder.record(&interface, &promise.event),
            (Err(_), _, Some(otherwise)) => replies.push(otherwise.delivery(&interface)),
            (Err(_), _, None) => {
                let client = promise.event.client().cloned();
                let dropped = Event::Dropped { reason: DropReason::StoreFailed, client };
                recorder.record(&interface, &dropped);
            }
        }
    }
    deliver(socket, recorder, &replies);
    Outcome { leases, stored: stored.is_ok() }
}

/// Logs faults of the store, within a line per second.
#[derive(Default)]
struct Faults {
    logged: Option<Instant>,
    /// Leases that were not given since then, without a line.
    unsaid: usize,
    /// When it was last logged that the disk is slow.
    slow: Option<Instant>,
}

impl Faults {
    fn log(&mut self, error: &StoreError, leases: usize) {
        self.unsaid += leases;
        let pause = if self.unsaid > 0 { FAULT_PAUSE } else { IDLE_FAULT_PAUSE };
        if self.logged.is_some_and(|logged| logged.elapsed() < pause) {
            return;
        }
        self.logged = Some(Instant::now());
        match std::mem::take(&mut self.unsaid) {
            0 => tracing::error!("{error}: no lease is given until this works"),
            unsaid => tracing::error!("{error}: {unsaid} leases are not given until this works"),
        }
    }

    fn log_slow(&mut self, took: Duration, leases: usize) {
        if took < SLOW || self.slow.is_some_and(|logged| logged.elapsed() < IDLE_FAULT_PAUSE) {
            return;
        }
        self.slow = Some(Instant::now());
        tracing::warn!(
            "the disk took {:.1} s to store {leases} leases: new clients wait for it; move `state` to a faster disk, or \
             find what keeps this one busy",
            took.as_secs_f64()
        );
    }
}

/// Says so if the system's clock was set.
fn look_at_clock(clock: &mut Clock) -> bool {
    let step = clock.step();
    if let Some(seconds) = step {
        let way = if seconds > 0 { "forward" } else { "back" };
        tracing::warn!(
            "the system's clock was set {way} by {} seconds: leases keep the time that they have left",
            seconds.unsigned_abs()
        );
    }
    step.is_some()
}

/// Keeps beside the leases what the clocks show, for the next start.
/// Whether that worked.
fn mark(store: &mut dyn LeaseStore, clock: Clock) -> bool {
    let marked = store.set_clock(clock.mark(), 0);
    if let Err(error) = &marked {
        tracing::warn!("cannot note the time beside the leases: {error}");
    }
    marked.is_ok()
}
