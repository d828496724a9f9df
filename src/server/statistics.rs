//! What SIGUSR1 asks for, as users of dnsmasq expect it: how full the pools are, and how often everything happened.

use std::convert::Infallible;

use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;

use crate::dhcp::settings::Settings;
use crate::lease::{LeaseBook, Tally};
use crate::record::Recorder;
use crate::server::control::Ask;
use crate::types::Timestamp;

/// Logs how many addresses of each subnet are taken at `now`.
pub fn log_subnets(book: &LeaseBook, settings: &Settings, now: Timestamp) {
    for (number, subnet) in settings.subnets.iter().enumerate() {
        let Tally { leased, offered, quarantined } = book.tally(number, now);
        tracing::info!(
            "statistics: subnet {}: {leased} leased, {offered} offered, {quarantined} quarantined, of a pool of {}",
            subnet.network,
            book.pool_size(number)
        );
    }
}

/// Logs the statistics whenever `asked` is notified.
pub async fn follow(asked: &Notify, recorder: &Recorder, asks: Option<Sender<Ask>>) -> Infallible {
    loop {
        asked.notified().await;
        recorder.log_counts();
        if let Some(asks) = &asks {
            // A loop that is too busy for it says nothing, rather than keeping signals waiting.
            let _ = asks.try_send(Ask::Statistics);
        }
    }
}
