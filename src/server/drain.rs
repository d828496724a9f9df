//! The running file services, and their end: transfers may finish for a limited time. `Server::run` owns it.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::net::StartError;
use crate::net::snapshot::Snapshot;
use crate::server::http::Threads;
use crate::server::tftp::Running;

/// Maximum time for transfers to finish after the server was asked to stop. `TimeoutStopSec` of the systemd unit is
/// longer.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Interval at which the number of transfers is checked.
const PAUSE: Duration = Duration::from_millis(10);
/// A drain that takes longer is logged. Idle connections end sooner.
const QUIET: Duration = Duration::from_millis(100);
/// Maximum time for aborted connections to record their end.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// The services whose transfers may be running when the server stops.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) http: Option<Threads>,
    pub(super) tftp: Option<Running>,
}

impl Serving {
    /// Updates the services for `snapshot`, and returns the errors of listeners that could not be opened.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Vec<StartError> {
        let mut refused = Vec::new();
        if let Some(http) = &mut self.http {
            let (changed, not) = http.follow(snapshot);
            refused.extend(not);
            if changed {
                tracing::info!("HTTP on {}", http.addresses());
            }
        }
        if let Some(tftp) = &mut self.tftp {
            let (changed, not) = tftp.follow(snapshot);
            refused.extend(not);
            if changed {
                tracing::info!("TFTP on {}", tftp.addresses());
            }
        }
        refused
    }

    /// Accepts no new transfers and waits until all are finished, at most for [`LIMIT`] or until `hurry` completes.
    /// Then aborts the rest.
    pub(super) async fn drain(self, hurry: impl Future<Output = ()>) {
        self.http.iter().for_each(Threads::close);
        self.tftp.iter().for_each(Running::close);
        let began = Instant::now();
        let mut hurry = pin!(hurry);
        let mut waited_for = None;
        while self.under_way() > 0 && began.elapsed() < LIMIT {
            if began.elapsed() >= QUIET && waited_for.is_none() {
                waited_for = Some(self.under_way());
                let (http, tftp) = (self.http(), self.tftp());
                tracing::info!(
                    "stopping: {http} HTTP and {tftp} TFTP transfers are running and have {} s to finish; \
                     a second signal aborts them",
                    LIMIT.as_secs()
                );
            }
            tokio::select! {
                biased;
                () = &mut hurry => break,
                () = sleep(PAUSE) => {}
            }
        }
        let left = self.under_way();
        if let Some(waited_for) = waited_for.or((left > 0).then_some(left)) {
            let took = began.elapsed().as_secs_f64();
            let ended = waited_for.saturating_sub(left);
            tracing::info!("waited {took:.1} s for transfers: {ended} finished, {left} aborted");
        }
        self.cut_off().await;
    }

    async fn cut_off(self) {
        if let Some(http) = self.http {
            http.end();
            let began = Instant::now();
            while http.under_way() > 0 && began.elapsed() < ABORT_TIME {
                sleep(PAUSE).await;
            }
        }
        if let Some(tftp) = self.tftp {
            tftp.stop().await;
        }
    }

    fn under_way(&self) -> usize {
        self.http() + self.tftp()
    }

    fn http(&self) -> usize {
        self.http.as_ref().map_or(0, Threads::under_way)
    }

    fn tftp(&self) -> usize {
        self.tftp.as_ref().map_or(0, Running::under_way)
    }
}
