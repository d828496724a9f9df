//! How connections learn that the server stops: first that they are to end when they have nothing to answer, then at
//! once.

use std::sync::Arc;

use tokio::sync::watch;

/// Shared by all connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Stopping(Arc<watch::Sender<Phase>>);

/// How far the end has come; what is later is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Serving,
    /// What is being answered is answered, and nothing else.
    Closing,
    /// Nothing is.
    Ended,
}

impl Stopping {
    /// A server that does not stop yet.
    pub(super) fn not_yet() -> Stopping {
        Stopping(Arc::new(watch::Sender::new(Phase::Serving)))
    }

    /// Ends what is idle.
    pub(super) fn close(&self) {
        self.reach(Phase::Closing);
    }

    /// Ends everything.
    pub(super) fn end(&self) {
        self.reach(Phase::Ended);
    }

    /// Whether no further request is to be answered.
    pub(super) fn is_closing(&self) -> bool {
        *self.0.borrow() >= Phase::Closing
    }

    /// Completes when no further request is to be answered.
    pub(super) async fn closing(&self) {
        self.wait(Phase::Closing).await;
    }

    /// Completes when nothing more is to be sent.
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
        // It fails only when the sender is gone, and that is here.
        let _ = self.0.subscribe().wait_for(|now| *now >= phase).await;
    }
}
