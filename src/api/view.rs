//! Views that several routes share: values of the core as JSON shows them. No type of the core derives serde.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::api::commands::SubnetUsage;
use crate::types::Timestamp;

/// The use of the addresses of a subnet.
#[derive(Serialize)]
pub(super) struct SubnetView {
    /// The network, as in `192.168.77.0/24`.
    network: String,
    /// The number of addresses in its pools.
    size: u64,
    /// Addresses with a lease, including reserved ones.
    leased: u64,
    offered: u64,
    quarantined: u64,
    /// Addresses of the pools that a new client may get.
    free: u64,
}

impl SubnetView {
    pub(super) fn of(subnet: &SubnetUsage) -> SubnetView {
        let SubnetUsage { network, size, usage } = subnet;
        let used = usage.leased.saturating_add(usage.offered).saturating_add(usage.quarantined);
        SubnetView {
            network: network.to_string(),
            size: *size,
            leased: usage.leased,
            offered: usage.offered,
            quarantined: usage.quarantined,
            free: size.saturating_sub(used),
        }
    }
}

/// A time in UTC, as in RFC 3339, with milliseconds.
pub(super) fn time(at: Timestamp) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.0)).to_string()
}

/// Like [`time`], in whole seconds.
pub(super) fn seconds_of(at: Timestamp) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(at.0)).to_string()
}
