//! What SIGUSR1 asks for, as users of dnsmasq expect it: how full the pools are, and how often everything happened.

use crate::dhcp::subnet::Settings;
use crate::lease::{LeaseBook, Tally};
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
