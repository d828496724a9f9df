//! The statistics that SIGUSR1 logs, as in dnsmasq: the use of the pools and all counters.

use std::convert::Infallible;

use tokio::sync::Notify;

use crate::dhcp::settings::Settings;
use crate::lease::{LeaseBook, PoolUsage};
use crate::record::Recorder;
use crate::server::dhcp::commands::{Command, ToLoop};
use crate::types::Timestamp;

/// Logs how many addresses of each subnet are in use at `now`.
pub fn log_subnets(book: &LeaseBook, settings: &Settings, now: Timestamp) {
    for (number, subnet) in settings.subnets.iter().enumerate() {
        let PoolUsage { leased, offered, quarantined } = book.pool_usage(number, now);
        tracing::info!(
            "statistics: subnet {}: {leased} leased, {offered} offered, {quarantined} quarantined, of a pool of {}",
            subnet.network,
            book.pool_size(number)
        );
    }
}

/// Logs the statistics whenever `asked` is notified.
pub async fn follow(asked: &Notify, recorder: &Recorder, commands: &ToLoop) -> Infallible {
    loop {
        asked.notified().await;
        recorder.log_counts();
        if let Some(commands) = commands.sender() {
            // If the DHCP loop is too busy, omit its part instead of delaying signals.
            let _ = commands.try_send(Command::Statistics);
        }
    }
}
