//! Decides about every request before its route runs: whether it comes from an allowed client, whether it is meant for
//! this server, and whether its body is short enough. It also adds the header fields that all answers have.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::api::client::Client;
use crate::api::endpoints::{Access, access_of};
use crate::api::error::ApiError;
use crate::api::handles::Api;

/// Maximum size of a request's body in bytes, except for uploads.
const MAX_BODY: usize = 64 * 1024;
/// Maximum time to receive a body of that size.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Fields of every answer. No page of another origin may read, embed or run an answer.
const FIELDS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Passes a request on if it may be answered.
pub(super) async fn guard(State(_api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let access = access_of(request.method(), path.map(MatchedPath::as_str));
    let client = request.extensions().get::<Client>().copied();
    let admitted = match admit(client, &request) {
        Ok(()) if access == Access::Upload => Ok(request),
        Ok(()) => with_whole_body(request).await,
        Err(error) => Err(error),
    };
    let mut response = match admitted {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let fields = response.headers_mut();
    for (name, value) in FIELDS {
        fields.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn admit(client: Option<Client>, request: &Request) -> Result<(), ApiError> {
    match client {
        Some(Client::Control { is_allowed }) => {
            check_control_host(request)?;
            let only = "only root, the user that the server runs as and the group lanboot are allowed";
            if is_allowed { Ok(()) } else { Err(ApiError::new(StatusCode::FORBIDDEN, only)) }
        }
        Some(Client::Web { .. }) | None => Err(ApiError::new(StatusCode::FORBIDDEN, "not allowed")),
    }
}

/// Checks that the request is meant for the control socket. The commands send the name `lanboot`. A browser's request
/// that a proxy passes on has another name; a request without a name does not come from a browser.
fn check_control_host(request: &Request) -> Result<(), ApiError> {
    let Some(host) = host(request) else { return Ok(()) };
    let name = host.split(':').next().unwrap_or_default();
    if name.eq_ignore_ascii_case("lanboot") || name.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "`Host` must be localhost or lanboot"))
}

/// The name that the client uses for this server. The authority of an absolute target precedes Host (RFC 9112 section
/// 3.2.2).
fn host(request: &Request) -> Option<&str> {
    let by_target = request.uri().authority().map(axum::http::uri::Authority::as_str);
    by_target.or_else(|| Some(request.headers().get(header::HOST)?.to_str().unwrap_or("?")))
}

/// The request with its body received.
async fn with_whole_body(request: Request) -> Result<Request, ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {MAX_BODY} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > MAX_BODY)) {
        return Err(too_large());
    }
    let (parts, body) = request.into_parts();
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(error)) => return Err(ApiError::bad_request(format!("cannot read the body: {error}"))),
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
        }
    };
    Ok(Request::from_parts(parts, Body::from(body)))
}
