//! Signals the stop of the server to connections: first the idle ones must end, then all of them.

use std::sync::Arc;

use tokio::sync::watch;

/// The phase of the shutdown, shared by all connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Shutdown(Arc<watch::Sender<Phase>>);

/// The phases in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Serving,
    /// Only responses that have started are completed.
    Closing,
    /// Responses are aborted.
    Ended,
}

impl Shutdown {
    /// The state of a running server.
    pub(super) fn pending() -> Shutdown {
        Shutdown(Arc::new(watch::Sender::new(Phase::Serving)))
    }

    /// Ends idle connections.
    pub(super) fn close(&self) {
        self.reach(Phase::Closing);
    }

    /// Ends all connections.
    pub(super) fn end(&self) {
        self.reach(Phase::Ended);
    }

    /// Whether no further request may be answered.
    pub(super) fn is_closing(&self) -> bool {
        *self.0.borrow() >= Phase::Closing
    }

    /// Completes when no further request may be answered.
    pub(super) async fn closing(&self) {
        self.wait(Phase::Closing).await;
    }

    /// Completes when nothing more may be sent.
    pub(super) async fn ended(&self) {
        self.wait(Phase::Ended).await;
    }

    fn reach(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let is_later = phase > *now;
            *now = phase.max(*now);
            is_later
        });
    }

    async fn wait(&self, phase: Phase) {
        // This fails only when the sender is dropped, and `self` owns it.
        let _ = self.0.subscribe().wait_for(|now| *now >= phase).await;
    }
}
