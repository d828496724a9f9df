//! Errors of the API: a status code, and a JSON object with the reason.

use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The answer of a route: a view as JSON, or an error.
pub(crate) type Answer<T> = Result<Json<T>, ApiError>;

/// The reason why a request is not answered as it should be. Clients get `{"error": message}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// One or more lines for a person: what was wrong, and what to do.
    pub(crate) message: String,
}

/// The body of every error.
#[derive(Serialize)]
struct ErrorView {
    error: String,
}

/// The body of an answer that says nothing but success.
#[derive(Serialize)]
pub(crate) struct Done {}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into() }
    }

    /// 400: the request itself is wrong.
    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// 503: the server cannot do that now.
    pub(crate) fn unavailable(message: impl ToString) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorView { error: self.message })).into_response()
    }
}

pub(super) async fn not_found(uri: Uri) -> ApiError {
    let path = uri.path();
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no {path}; /openapi.yaml lists the routes"))
}

pub(super) async fn method_not_allowed(uri: Uri) -> ApiError {
    let path = uri.path();
    let message = format!("{path} has another method; /openapi.yaml lists the routes");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// The segments of the path that a route names, in their order. A wrong one is answered with 400.
pub(crate) struct Segment<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment<T>, ApiError> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Segment(path.0)).map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// The body of a request as a JSON object, whatever its content type. A wrong one is answered with 400.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<JsonBody<T>, ApiError> {
        let body = axum::body::Bytes::from_request(request, state).await;
        let body = body.map_err(|error: BytesRejection| ApiError::new(error.status(), error.body_text()))?;
        // Serde would also take the values of the members as an array, which is no part of the API.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(ApiError::bad_request("the body is not as expected: it is no JSON object"));
        }
        let value = serde_json::from_slice(&body);
        value
            .map(JsonBody)
            .map_err(|error| ApiError::bad_request(format!("the body is not as expected: {error}")))
    }
}
