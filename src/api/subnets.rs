//! `GET /api/v1/subnets`.

use axum::Json;
use axum::extract::State;

use crate::api::error::Answer;
use crate::api::handles::Api;
use crate::api::view::SubnetView;

/// The use of each subnet's addresses, in the order of `dhcp.subnets`; empty if this server gives no addresses.
pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<SubnetView>> {
    Ok(Json(api.subnet_usage().await?.iter().map(SubnetView::of).collect()))
}
