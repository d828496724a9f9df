//! Requests that are not a plain GET or HEAD. They are passed to axum together with their connection, which is closed
//! after the response, because a general library handles bodies, their encodings and limits well.

use std::io::Cursor;
use std::net::SocketAddrV4;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, join};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::content::once::DoneReport;
use crate::event::HttpRefusal;
use crate::http::HEAD_LIMIT;
use crate::server::http::refuse::{linger, status_and_text};
use crate::server::http::service::Service;
use crate::types::MacAddr;

/// Maximum size of a request body in bytes.
pub(super) const BODY_LIMIT: u64 = 64 << 10;

/// The client that sent a request, and the service that received it.
#[derive(Clone)]
struct Client {
    peer: SocketAddrV4,
    service: Service,
}

/// Answers the request that starts with `head_bytes`, which contains at least its head, and closes the connection.
pub(super) async fn serve_connection(
    stream: TcpStream,
    head_bytes: Vec<u8>,
    peer: SocketAddrV4,
    service: &Service,
) {
    let router = router().layer(Extension(Client { peer, service: service.clone() }));
    let (read, write) = stream.into_split();
    let stream = TokioIo::new(join(Cursor::new(head_bytes).chain(read), write));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(service.timeouts.head)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(stream, TowerToHyperService::new(router))
        .without_shutdown();
    // A client that is too slow or does not speak HTTP gets no response.
    if let Ok(Ok(parts)) = timeout(service.timeouts.idle, connection).await {
        linger(&mut parts.io.into_inner()).await;
    }
}

fn router() -> Router {
    let not_allowed = |allowed: &'static str| {
        move |Extension(client): Extension<Client>, uri: Uri, body: Result<Bytes, BytesRejection>| async move {
            refuse_method(&client, &uri, body, allowed)
        }
    };
    // A GET of this path is a plain GET, which finds no file.
    let done = post(done).fallback(not_allowed("GET, HEAD, POST"));
    let limit = DefaultBodyLimit::max(usize::try_from(BODY_LIMIT).unwrap_or(usize::MAX));
    let routes = Router::new().route("/{mac}/done", done).fallback(not_allowed("GET, HEAD")).layer(limit);
    // A layer sees requests before routing only if it wraps the routes.
    Router::new().fallback_service(routes).layer(map_request(collapse))
}

/// Replaces `//` by `/`, as for files.
async fn collapse(mut request: Request) -> Request {
    let uri = request.uri();
    if uri.path().contains("//") {
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut whole = uri.clone().into_parts();
        whole.path_and_query = format!("/{}{query}", parts.join("/")).parse().ok();
        if let Ok(collapsed) = Uri::from_parts(whole) {
            *request.uri_mut() = collapsed;
        }
    }
    request
}

/// Handles a machine's report that it is done with its `once`. The report may be repeated.
///
/// This is the only request that changes anything. Requests of browsers are refused: otherwise any web page
/// opened on this network could end the `once` of machines, whatever name the page uses for this server.
/// Installers do not send the headers that browsers do.
///
/// Responds 204; 403 to a browser or to another machine; 404 if no machine in the configuration has that MAC; 500 if
/// the change cannot be written to disk.
async fn done(
    Extension(client): Extension<Client>,
    uri: Uri,
    headers: HeaderMap,
    Path(mac): Path<String>,
) -> Response {
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return refuse(&client, &uri, HttpRefusal::Browser);
    }
    let (files, address) = (client.service.files.clone(), *client.peer.ip());
    let Ok(mac) = mac.parse::<MacAddr>() else { return refuse(&client, &uri, HttpRefusal::NotFound) };
    // This blocks until the change is on disk.
    match spawn_blocking(move || files.done(mac, address)).await {
        Ok(Ok(DoneReport::Ended | DoneReport::Nothing)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(DoneReport::Unknown)) => refuse(&client, &uri, HttpRefusal::NotFound),
        Ok(Ok(DoneReport::WrongMachine)) => refuse(&client, &uri, HttpRefusal::OtherMachine),
        Ok(Err(_)) | Err(_) => refuse(&client, &uri, HttpRefusal::Io),
    }
}

/// Refuses methods other than those `allowed`. Boot files can only be read. A GET with a body is refused in the same
/// way (RFC 9110 section 9.3.1).
fn refuse_method(
    client: &Client,
    uri: &Uri,
    body: Result<Bytes, BytesRejection>,
    allowed: &'static str,
) -> Response {
    let reason = match body {
        Err(rejected) if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE => HttpRefusal::BodyTooLarge,
        Err(_) => HttpRefusal::BadRequest,
        Ok(_) => HttpRefusal::Method,
    };
    let mut response = refuse(client, uri, reason);
    if reason == HttpRefusal::Method {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

fn refuse(client: &Client, uri: &Uri, reason: HttpRefusal) -> Response {
    client.service.refused(&uri.to_string(), client.peer, reason);
    let (status, why) = status_and_text(reason);
    let status = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, format!("{why}\n")).into_response()
}
