//! `GET /metrics`.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::api::handles::Api;
use crate::journey::Journeys;
use crate::record::STAGES;
use crate::record::metrics;
use crate::record::metrics::PoolMetric;

/// All metrics in the OpenMetrics text format. The pools are missing if the DHCP loop does not answer in time, because an
/// overloaded server needs the other metrics most.
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let usage = api.subnet_usage().await.unwrap_or_default();
    let pools = usage.into_iter().map(|subnet| {
        let (size, usage) = (subnet.size, subnet.usage);
        let used = usage.leased.saturating_add(usage.offered).saturating_add(usage.quarantined);
        PoolMetric {
            network: subnet.network,
            free: size.saturating_sub(used),
            offered: usage.offered,
            leased: usage.leased,
            quarantined: usage.quarantined,
        }
    });
    api.recorder.set_machines(machines(&api.journeys.lock()));
    let text = api.recorder.metrics(pools.collect());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// The numbers of machines by the stage of their newest boot.
fn machines(journeys: &Journeys) -> [u64; STAGES.len()] {
    let mut counts = [0_u64; STAGES.len()];
    for boot in journeys.machines().filter_map(|machine| machine.boots.front()) {
        if let Some(count) = counts.get_mut(boot.stage as usize) {
            *count = count.saturating_add(1);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journey::boot::BootStage;

    #[test]
    fn stages_have_the_names_of_journeys() {
        assert_eq!(STAGES, BootStage::ALL.map(BootStage::name));
    }
}
