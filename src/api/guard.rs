//! Decides about every request before its route runs: whether it comes from an allowed client, whether it is meant for
//! this server, and whether its body is short enough. It also adds the header fields that all answers have.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::api::admission::{Refused, check};
use crate::api::client::Client;
use crate::api::endpoints::{Access, access_of};
use crate::api::handles::Api;
use crate::api::refusals::Reason;

/// Maximum size of a request's body in bytes, except for uploads.
const MAX_BODY: usize = 64 * 1024;
/// Maximum time to receive a body of that size.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Fields of every answer that does not set its own. No page of another origin may read, embed or run an answer.
const FIELDS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Passes a request on if it may be answered.
pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let access = access_of(request.method(), path.map(MatchedPath::as_str));
    let client = request.extensions().get::<Client>().copied();
    let (parts, body) = request.into_parts();
    let admitted = match check(&api, client, &parts, access).await {
        Ok(()) if access == Access::Upload => Ok(Request::from_parts(parts, body)),
        Ok(()) => with_whole_body(parts, body).await,
        Err(refused) => Err(refused),
    };
    let mut response = match admitted {
        Ok(request) => next.run(request).await,
        Err(refused) => {
            api.refusals.count(refused.reason);
            refused.error.into_response()
        }
    };
    let advice = match response.status() {
        StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
        StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, "1")),
        _ => None,
    };
    let fields = response.headers_mut();
    for (name, value) in FIELDS.into_iter().chain(advice) {
        fields.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The request with its body received.
async fn with_whole_body(parts: Parts, body: Body) -> Result<Request, Refused> {
    let too_large = || {
        let message = format!("the body is larger than {MAX_BODY} bytes");
        Refused::new(Reason::BodyTooLarge, StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let unreadable = |status, message| Refused::new(Reason::BodyUnreadable, status, message);
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > MAX_BODY)) {
        return Err(too_large());
    }
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(error)) => {
            return Err(unreadable(StatusCode::BAD_REQUEST, format!("cannot read the body: {error}")));
        }
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            return Err(unreadable(StatusCode::REQUEST_TIMEOUT, message));
        }
    };
    Ok(Request::from_parts(parts, Body::from(body)))
}
