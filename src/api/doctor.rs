//! `GET /api/v1/doctor`: everything that would keep machines from booting here, as `lanboot doctor --json` prints it. The
//! server is confined, so checks that need more rights are listed with the command to run.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::api::error::Answer;
use crate::api::handles::Api;

pub(super) async fn doctor(State(api): State<Api>) -> Answer<Value> {
    api.doctor.report().await.map(Json)
}
