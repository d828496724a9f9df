//! Requests that are not a plain GET or HEAD: they go to axum, with their connection, which ends after the answer.
//!
//! Bodies, their encodings and their limits are a general library's trade.

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

use super::{HEAD_LIMIT, Service, linger, told};
use crate::content::once::Done;
use crate::event::HttpRefusal;
use crate::types::MacAddr;

/// Bytes of the longest body that is read.
pub(super) const BODY_LIMIT: u64 = 64 << 10;

/// Who asks, and of whom.
#[derive(Clone)]
struct Asked {
    peer: SocketAddrV4,
    service: Service,
}

/// Answers the request that begins with `begun`, which is its head at least, and closes the connection.
pub(super) async fn converse(stream: TcpStream, begun: Vec<u8>, peer: SocketAddrV4, service: &Service) {
    let router = router().layer(Extension(Asked { peer, service: service.clone() }));
    let (read, write) = stream.into_split();
    let stream = TokioIo::new(join(Cursor::new(begun).chain(read), write));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(service.patience.head)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(stream, TowerToHyperService::new(router))
        .without_shutdown();
    // A client that is too slow or speaks no HTTP is its own loss.
    if let Ok(Ok(parts)) = timeout(service.patience.idle, connection).await {
        linger(&mut parts.io.into_inner()).await;
    }
}

fn router() -> Router {
    let not_allowed = |allowed: &'static str| {
        move |Extension(asked): Extension<Asked>, uri: Uri, body: Result<Bytes, BytesRejection>| async move {
            refuse_method(&asked, &uri, body, allowed)
        }
    };
    // A GET there finds no file.
    let done = post(done).fallback(not_allowed("GET, HEAD, POST"));
    let limit = DefaultBodyLimit::max(usize::try_from(BODY_LIMIT).unwrap_or(usize::MAX));
    let routes = Router::new().route("/{mac}/done", done).fallback(not_allowed("GET, HEAD")).layer(limit);
    // A layer sees a request before the routes only from outside of them.
    Router::new().fallback_service(routes).layer(map_request(collapse))
}

/// `//` is the same as `/`, as it is for files.
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

/// A machine says that it is done with what it was to start once. It may say it again.
///
/// It is the one thing that can be done here besides reading. Browsers say so where a web page sends them, whatever
/// name the page has for this server, and no installer does: these are refused, or any page that somebody on this
/// network looks at could end what machines are to start.
///
/// 204; 403 for a web page, and from an address that is not known to be that machine's; 404 where no machine of that
/// MAC is in the configuration; 500 where it could not be written down.
async fn done(
    Extension(asked): Extension<Asked>,
    uri: Uri,
    headers: HeaderMap,
    Path(mac): Path<String>,
) -> Response {
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return refuse(&asked, &uri, HttpRefusal::Browser);
    }
    let (files, address) = (asked.service.files.clone(), *asked.peer.ip());
    let Ok(mac) = mac.parse::<MacAddr>() else { return refuse(&asked, &uri, HttpRefusal::NotFound) };
    // It waits for the disk.
    match spawn_blocking(move || files.done(mac, address)).await {
        Ok(Ok(Done::Ended | Done::Nothing)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(Done::Unknown)) => refuse(&asked, &uri, HttpRefusal::NotFound),
        Ok(Ok(Done::WrongMachine)) => refuse(&asked, &uri, HttpRefusal::OtherMachine),
        Ok(Err(_)) | Err(_) => refuse(&asked, &uri, HttpRefusal::Io),
    }
}

/// For another method than those `allowed`. Boot files are only read; and a GET with a body is answered as if it were
/// another method (RFC 9110 section 9.3.1).
fn refuse_method(
    asked: &Asked,
    uri: &Uri,
    body: Result<Bytes, BytesRejection>,
    allowed: &'static str,
) -> Response {
    let reason = match body {
        Err(rejected) if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE => HttpRefusal::BodyTooLarge,
        Err(_) => HttpRefusal::BadRequest,
        Ok(_) => HttpRefusal::Method,
    };
    let mut response = refuse(asked, uri, reason);
    if reason == HttpRefusal::Method {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

fn refuse(asked: &Asked, uri: &Uri, reason: HttpRefusal) -> Response {
    asked.service.refused(&uri.to_string(), asked.peer, reason);
    let (status, why) = told(reason);
    let status = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, format!("{why}\n")).into_response()
}
