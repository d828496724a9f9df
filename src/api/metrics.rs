//! `GET /metrics`.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::api::handles::Api;
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
    let text = api.recorder.metrics(pools.collect());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
