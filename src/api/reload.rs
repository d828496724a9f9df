//! `POST /api/v1/reload`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::error::{Answer, ApiError, Done};
use crate::api::handles::Api;

/// Reloads the configuration. Responds 422 with the problems of the file, one a line; the server keeps the
/// configuration that it has.
pub(super) async fn reload(State(api): State<Api>) -> Answer<Done> {
    let reloaded = api.reloader.reload().await;
    reloaded
        .map(|()| Json(Done {}))
        .map_err(|problems| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, problems.join("\n")))
}
