//! `GET /api/v1/events`: the records as server-sent events (HTML standard, section 9.2), one each.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Deserialize;
use tokio::time::timeout;

use crate::api::client::Client;
use crate::api::error::ApiError;
use crate::api::feed::Reader;
use crate::api::handles::Api;
use crate::api::refusals::Reason;
use crate::api::slots::Slot;

/// Pause after which a comment is sent, so that neither side takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Begins every stream, so that the head leaves at once. A browser connects again after that many milliseconds.
const BEGINNING: &str = "retry: 1000\n\n";

/// The header field that browsers send when they connect again.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize)]
pub(super) struct Options {
    /// Stands for the header field `Last-Event-ID`, which pages cannot set on their first connection.
    last_event_id: Option<String>,
}

/// Streams the records from now on, or those after `Last-Event-ID`. An event `lost` says how many records can be read
/// no longer; `null` after a restart of the server.
///
/// Responds 503 if there are too many streams.
pub(super) async fn events(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    options: Result<Query<Options>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(options) = options.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let slot = match client {
        Client::Control { .. } => api.control_streams.take(IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        Client::Web { peer, .. } => api.web_streams.take(peer.ip()),
    };
    let Some(slot) = slot else {
        api.refusals.count(Reason::TooManyStreams);
        let message = "too many event streams are open: close one";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    let by_field = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default());
    let reader = api.feed.reader(by_field.or(options.last_event_id.as_deref()));
    let beginning = async move { (BEGINNING.to_owned(), reader) };
    let stream = EventStream { next: Box::pin(beginning), _slot: slot };
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response())
}

/// The text that is sent next, and the reader after it.
type Next = Pin<Box<dyn Future<Output = (String, Reader)> + Send>>;

/// The body of an event stream. It is only asked for more when the client has taken what there was, so a client that
/// stops reading keeps one batch in memory.
struct EventStream {
    next: Next,
    _slot: Slot,
}

impl Stream for EventStream {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready((text, reader)) = self.next.as_mut().poll(context) else { return Poll::Pending };
        self.next = Box::pin(following(reader));
        Poll::Ready(Some(Ok(text)))
    }
}

/// The next events, or a comment if there are none for a while.
async fn following(mut reader: Reader) -> (String, Reader) {
    let text = timeout(KEEP_ALIVE, reader.next()).await.unwrap_or_else(|_| ":\n\n".to_owned());
    (text, reader)
}
