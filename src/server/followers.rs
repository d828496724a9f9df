//! The thread that follows the records, for the journeys and for the API, and that captures packets. The server starts it
//! with its services and ends it last. It only reads, so whatever happens in it, machines boot.

use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::nice;
use tokio::runtime::Builder;
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::sleep;

use crate::api::feed;
use crate::api::handles::Api;
use crate::event::ServerFact;
use crate::record::{Recorder, Subscriber};
use crate::server::journey_keeper::Kept;
use crate::server::{capture, journey};

/// By how much the thread is nicer than the threads that answer machines. They go first when there is more to do than
/// processor time, and the queues of the records bridge that.
const NICE: i32 = 5;
/// Pause after a fault of lanboot in a follower.
const PAUSE: Duration = Duration::from_secs(1);

/// The running thread. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Followers {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Followers {
    /// Starts to follow the records of `api`, and to capture packets for `capture`. `kept` are the boots of earlier runs.
    /// Every record from now on is followed, so this comes before the services.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(
        api: Api,
        kept: Option<Receiver<Kept>>,
        capture: capture::Parts,
    ) -> io::Result<Followers> {
        let recorder = api.recorder.clone();
        let first = |capacity: usize| Mutex::new(Some(recorder.subscribe(capacity)));
        let (of_journeys, of_feed) = (first(journey::MAX_WAITING), first(feed::MAX_WAITING));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let work = move || {
            // On Linux this is about the calling thread. A sandbox may forbid it, and then all threads are equal.
            let _ = nice(NICE);
            // These are taken once; a follower that begins again has a new queue.
            let kept = Mutex::new(kept);
            let records = |first: &Mutex<Option<Subscriber>>, capacity| {
                take(first).unwrap_or_else(|| api.recorder.subscribe(capacity))
            };
            let journeys =
                || journeys_of(api.clone(), records(&of_journeys, journey::MAX_WAITING), take(&kept));
            let feed = || feed_of(api.clone(), records(&of_feed, feed::MAX_WAITING));
            let capture = move || capture::follow(capture.clone());
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    never = keep(&api.recorder, "journeys", journeys) => match never {},
                    never = keep(&api.recorder, "feed of the API", feed) => match never {},
                    never = keep(&api.recorder, "capture", capture) => match never {},
                }
            });
            // A read of a loader from a disk that does not respond ends with the process.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("records".to_owned()).spawn(work)?;
        Ok(Followers { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.stop = None;
        // It catches its faults, and there is nothing to do about others here.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn take<T>(first: &Mutex<Option<T>>) -> Option<T> {
    first.lock().unwrap_or_else(PoisonError::into_inner).take()
}

async fn journeys_of(api: Api, records: Subscriber, kept: Option<Receiver<Kept>>) -> Infallible {
    journey::follow(&api, &records, kept).await
}

async fn feed_of(api: Api, records: Subscriber) -> Infallible {
    api.follow(&records).await
}

/// Runs a follower forever: it begins again after a fault of lanboot.
async fn keep<F>(recorder: &Recorder, name: &str, start: impl Fn() -> F) -> Infallible
where
    F: Future<Output = Infallible> + Send + 'static,
{
    loop {
        let fault = match tokio::spawn(start()).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        let why = fault.try_into_panic().map_or_else(|error| error.to_string(), |panic| message(&*panic));
        let text = format!(
            "{name}: stopped by a fault in lanboot, and begin again; machines boot as before. Please report this with \
             the lines before it: {why}"
        );
        recorder.server(ServerFact::ThreadFailed, text);
        sleep(PAUSE).await;
    }
}

/// The text of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::event::Event;

    #[tokio::test(start_paused = true)]
    async fn a_follower_begins_again_after_a_fault() {
        let recorder = Recorder::default();
        let records = recorder.subscribe(10);
        let fails = keep(&recorder, "journeys", || async { panic!("a fault of a test") });
        assert!(tokio::time::timeout(PAUSE * 2 + PAUSE / 2, fails).await.is_err());
        let batch = records.take();
        let texts = batch.records().map(|record| match &record.event {
            Event::Server { fact: ServerFact::ThreadFailed, text } => text.ends_with(": a fault of a test"),
            _ => false,
        });
        assert_eq!(texts.collect::<Vec<_>>(), [true; 3]);
    }
}
