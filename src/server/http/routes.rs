//! Requests that are not a plain GET or HEAD. They are passed to axum together with their connection, which is closed
//! after the response, because a general library handles bodies, their encodings and limits well.

use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, join};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::content::lookup::Found;
use crate::content::once::DoneReport;
use crate::event::{Event, HttpRefusal, HttpStop};
use crate::http::{HEAD_LIMIT, media, target};
use crate::images::Content;
use crate::server::http::refuse::{linger, status_and_text};
use crate::server::http::service::{Endpoints, Service};
use crate::types::MacAddr;

/// Maximum size of a request body in bytes.
pub(super) const BODY_LIMIT: u64 = 64 << 10;

/// The client that sent a request, and the service that received it.
#[derive(Clone)]
struct Client {
    peer: SocketAddr,
    /// Our address that the client connected to.
    server: IpAddr,
    service: Service,
    /// The text that answers the request, until the connection has sent it.
    answer: Arc<Mutex<Option<TextAnswer>>>,
}

/// A text that answers a POST.
struct TextAnswer {
    file: String,
    bytes: u64,
    began: Instant,
}

impl Client {
    /// Records the end of the answer, if it is a text.
    fn record_answer(&self, is_sent: bool) {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(TextAnswer { file, bytes, began }) = answer else { return };
        let peer = self.peer;
        self.service.record(if is_sent {
            Event::HttpSent { file, peer, bytes, to_end: true, took: began.elapsed() }
        } else {
            Event::HttpStopped { file, peer, bytes: 0, wanted: bytes, reason: HttpStop::ClientGone }
        });
    }
}

/// Answers the request that starts with `head_bytes`, which contains at least its head, and closes the connection.
pub(super) async fn serve_connection(
    stream: TcpStream,
    head_bytes: Vec<u8>,
    Endpoints { peer, server }: Endpoints,
    service: &Service,
) {
    let client = Client { peer, server, service: service.clone(), answer: Arc::default() };
    let router = router().layer(Extension(client.clone()));
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
    let ended = timeout(service.timeouts.idle, connection).await;
    client.record_answer(matches!(ended, Ok(Ok(_))));
    if let Ok(Ok(parts)) = ended {
        linger(&mut parts.io.into_inner()).await;
    }
}

fn router() -> Router {
    let not_allowed =
        |Extension(client): Extension<Client>, uri: Uri, body: Result<Bytes, BytesRejection>| async move {
            body.map_or_else(
                |rejected| refuse_body(&client, &uri, &rejected),
                |_| refuse_method(&client, &uri, "GET, HEAD, POST"),
            )
        };
    // A GET of this path is a plain GET, which finds no file.
    let done = post(done).fallback(not_allowed);
    let limit = DefaultBodyLimit::max(usize::try_from(BODY_LIMIT).unwrap_or(usize::MAX));
    let routes = Router::new().route("/{mac}/done", done).fallback(any(render)).layer(limit);
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
    if is_of_browser(&headers) {
        return refuse(&client, &uri, HttpRefusal::Browser);
    }
    let (files, address) = (client.service.files.clone(), client.peer.ip());
    let Ok(mac) = mac.parse::<MacAddr>() else { return refuse(&client, &uri, HttpRefusal::NotFound) };
    // This blocks until the change is on disk.
    match spawn_blocking(move || files.done(mac, address)).await {
        Ok(Ok(DoneReport::Ended | DoneReport::Nothing)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(DoneReport::Unknown)) => refuse(&client, &uri, HttpRefusal::NotFound),
        Ok(Ok(DoneReport::WrongMachine)) => refuse(&client, &uri, HttpRefusal::OtherMachine),
        Ok(Err(_)) | Err(_) => refuse(&client, &uri, HttpRefusal::Io),
    }
}

/// Renders a template with the JSON of a POST, as installers send it that ask for their answer file (Proxmox VE). Other
/// methods and other files are refused: boot files can only be read.
async fn render(
    Extension(client): Extension<Client>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejected) => return refuse_body(&client, &uri, &rejected),
    };
    if method != Method::POST {
        return refuse_method(&client, &uri, "GET, HEAD");
    }
    let began = Instant::now();
    match rendered(&client, &uri, &headers, &body).await {
        Ok(content) => {
            let (file, kind) = (content.name().to_owned(), media::of_text(content.name()));
            let Content::Text(text) = content else { return refuse_method(&client, &uri, "GET, HEAD") };
            let bytes = text.bytes.len() as u64;
            let mut answer = client.answer.lock().unwrap_or_else(PoisonError::into_inner);
            *answer = Some(TextAnswer { file, bytes, began });
            ([(header::CONTENT_TYPE, kind)], text.bytes.to_vec()).into_response()
        }
        Err(HttpRefusal::Method) => refuse_method(&client, &uri, "GET, HEAD"),
        Err(reason) => refuse(&client, &uri, reason),
    }
}

/// The text of the template that `uri` names, rendered with the JSON in `body`.
async fn rendered(
    client: &Client,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Content, HttpRefusal> {
    let name = target::name(&uri.to_string()).map_err(|_| HttpRefusal::BadRequest)?;
    let files = &client.service.files;
    let Found::Rendering(rendering) = files.find(&name, &files.requester(client.peer.ip(), client.server))?
    else {
        return Err(HttpRefusal::Method);
    };
    // A web page must not get the text of a machine, as with `done`.
    if is_of_browser(headers) {
        return Err(HttpRefusal::Browser);
    }
    let request = serde_json::from_slice(body).map_err(|_| HttpRefusal::BadBody)?;
    Ok(Found::Rendering(Box::new(rendering.with_request(request))).content().await?)
}

fn is_of_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

/// Refuses methods other than those `allowed`. A GET with a body is refused in the same way (RFC 9110 section 9.3.1).
fn refuse_method(client: &Client, uri: &Uri, allowed: &'static str) -> Response {
    let mut response = refuse(client, uri, HttpRefusal::Method);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Refuses a body that is too long or could not be read.
fn refuse_body(client: &Client, uri: &Uri, rejected: &BytesRejection) -> Response {
    let reason = match rejected.status() {
        StatusCode::PAYLOAD_TOO_LARGE => HttpRefusal::BodyTooLarge,
        _ => HttpRefusal::BadRequest,
    };
    refuse(client, uri, reason)
}

fn refuse(client: &Client, uri: &Uri, reason: HttpRefusal) -> Response {
    client.service.refused(&uri.to_string(), client.peer, reason);
    let (status, why) = status_and_text(reason);
    let status = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, format!("{why}\n")).into_response()
}
