//! The statistics that SIGUSR1 logs, as in dnsmasq: the use of the pools and all counters.

use std::convert::Infallible;

use tokio::sync::Notify;

use crate::api::commands::{Command, SubnetUsage, ToLoop};
use crate::dhcp::settings::Settings;
use crate::lease::{LeaseBook, PoolUsage};
use crate::record::Recorder;
use crate::types::Timestamp;

/// Counts the addresses of each subnet that are in use at `now`.
pub fn subnet_usage(book: &LeaseBook, settings: &Settings, now: Timestamp) -> Vec<SubnetUsage> {
    let count = |(number, network)| {
        let (size, usage) = (book.pool_size(number), book.pool_usage(number, now));
        SubnetUsage { network, size, usage }
    };
    settings.subnets.iter().map(|subnet| subnet.network).enumerate().map(count).collect()
}

/// Logs how many addresses of each subnet are in use at `now`.
pub fn log_subnets(book: &LeaseBook, settings: &Settings, now: Timestamp) {
    for SubnetUsage { network, size, usage } in subnet_usage(book, settings, now) {
        let PoolUsage { leased, offered, quarantined } = usage;
        tracing::info!(
            "statistics: subnet {network}: {leased} leased, {offered} offered, {quarantined} quarantined, of a pool of {size}"
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
