//! The control socket: HTTP/1.1 over a unix socket, by which commands reach the running server.
//!
//! `POST /leases/ADDRESS/release` frees an address; the answer comes once that is on stable storage: 200 `{}`, or an
//! error with `{"error": why}`: 403 for other users than root, the server's own and the group `lanboot`, 404 where no lease
//! is stored, 409 where there is nothing to free, 421 under a foreign name in `Host`, 503 where it could not be stored.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::event::{Client, Event};
use crate::lease::{Lease, LeaseBook, State};
use crate::server::dhcp::DhcpServer;
use crate::server::dhcp::commit::{Outcome, Promise};
use crate::server::privileges;
use crate::server::statistics::log_subnets;
use crate::store::LeaseReader;
use crate::store::make_folder;
use crate::types::{Firmware, Timestamp};

/// Connections at a time. Beyond that one that asks nothing gives way; while all ask, more wait in the kernel.
const MAX_CONNECTIONS: usize = 16;
/// How long to wait for one of them to end.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// Questions that may wait for the DHCP loop.
const MAX_ASKED: usize = 16;
/// Bytes of a request's head. Bodies are not read.
const MAX_HEAD: usize = 8 * 1024;
/// How long a client may take to send the head: a command sends it at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last in all.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The control socket of the installed service.
const INSTALLED: &str = "/run/lanboot/control.sock";

/// Where the control socket of the server with this `state` folder is: the installed service's at
/// `/run/lanboot/control.sock`, any other's in its own state folder, so that servers do not meet.
pub fn control_path(state: &Path) -> PathBuf {
    if state == Path::new("/var/lib/lanboot") { PathBuf::from(INSTALLED) } else { state.join("control.sock") }
}

/// The bound socket.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    state: Arc<Path>,
    asks: mpsc::Sender<Ask>,
    /// The socket has the group `lanboot`, so every user that can open it may ask.
    group_may_ask: bool,
}

/// The DHCP loop's end: what is asked, and who waits for the disk.
#[derive(Debug)]
pub struct Asks {
    incoming: mpsc::Receiver<Ask>,
    sender: mpsc::Sender<Ask>,
    waiting: Vec<(Release, Lease)>,
}

/// What people ask of the DHCP loop.
#[derive(Debug)]
pub enum Ask {
    /// An address is to be freed.
    Release(Release),
    /// The use of the pools is to be logged.
    Statistics,
}

/// A person wants an address freed.
#[derive(Debug)]
pub struct Release {
    /// The lease to end, as it is stored.
    pub lease: Lease,
    reply: oneshot::Sender<Result<(), Refusal>>,
}

/// Why it was not freed.
#[derive(Debug)]
pub enum Refusal {
    /// There is nothing to free, or not this.
    Conflict(&'static str),
    /// It could not be stored.
    Failed(&'static str),
}

impl Control {
    /// Binds the socket for the server whose state is in the folder `state`, and whose lock it holds. A socket that a
    /// killed server left is replaced; one on which somebody listens is not. Without one there is advice, and the loop's
    /// end is never asked anything.
    pub fn bind(state: &Path) -> (Result<Control, String>, Asks) {
        let path = control_path(state);
        let (asks, incoming) = mpsc::channel(MAX_ASKED);
        let control = listen(&path)
            .map(|listener| {
                let group_may_ask = privileges::give_to_group(&path);
                Control { listener, state: state.into(), asks: asks.clone(), group_may_ask }
            })
            .map_err(|error| {
                format!(
                    "cannot make the control socket {}: {error}; `lanboot leases release` works only while the server \
                     is stopped",
                    path.display()
                )
            });
        (control, Asks { incoming, sender: asks, waiting: Vec::new() })
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        let listener = match tokio::net::UnixListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!("cannot serve the control socket: {error}"),
        };
        let mut connections = Connections::default();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.make_room().await;
                    let (state, asks) = (Arc::clone(&self.state), self.asks.clone());
                    let is_asking = Arc::new(AtomicBool::new(false));
                    let conversation =
                        converse(stream, (state, asks), Arc::clone(&is_asking), self.group_may_ask);
                    // A client that is too slow or speaks no HTTP is its own loss.
                    let task = tokio::spawn(async { drop(timeout(CONNECTION_TIMEOUT, conversation).await) });
                    connections.0.push_back(Connection { task, is_asking });
                }
                Err(error) => {
                    tracing::warn!("cannot accept on the control socket: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// The open connections, in the order in which they came.
#[derive(Default)]
struct Connections(VecDeque<Connection>);

struct Connection {
    task: JoinHandle<()>,
    /// Its request has been read.
    is_asking: Arc<AtomicBool>,
}

impl Connections {
    /// Waits until there is room for one more. The one that has been idle for longest gives way; one that waits for an
    /// answer never does.
    async fn make_room(&mut self) {
        loop {
            self.0.retain(|connection| !connection.task.is_finished());
            if self.0.len() < MAX_CONNECTIONS {
                return;
            }
            let idle = |connection: &Connection| !connection.is_asking.load(Ordering::Acquire);
            match self.0.iter().position(idle).and_then(|place| self.0.remove(place)) {
                Some(idle) => {
                    idle.task.abort();
                    // Its memory and descriptor are free only when the task has ended.
                    let _ = idle.task.await;
                }
                None => tokio::time::sleep(FULL_PAUSE).await,
            }
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.iter().for_each(|connection| connection.task.abort());
    }
}

impl Asks {
    /// The next question.
    pub async fn next(&mut self) -> Option<Ask> {
        self.incoming.recv().await
    }

    /// What questions are put with.
    pub fn sender(&self) -> mpsc::Sender<Ask> {
        self.sender.clone()
    }

    /// `ask` is answered when `lease` is stored.
    pub fn stored_with(&mut self, ask: Release, lease: Lease) {
        self.waiting.push((ask, lease));
    }

    /// Answers those whose leases are in `outcome`.
    pub fn committed(&mut self, outcome: &Outcome) {
        for (ask, _) in self.waiting.extract_if(.., |(_, lease)| outcome.leases.contains(lease)) {
            ask.answer(match outcome.stored {
                true => Ok(()),
                false => {
                    Err(Refusal::Failed("the lease database could not be written: see the server's log"))
                }
            });
        }
    }
}

impl Ask {
    /// Has `server` do it.
    pub fn carry_out(self, server: &mut DhcpServer) {
        match self {
            Ask::Release(release) => server.release(release),
            Ask::Statistics => log_subnets(&server.engine.book, &server.engine.settings, server.clock.now()),
        }
    }
}

impl Release {
    /// The lease as it is once it is freed, if `book` still says that it is one.
    pub fn freed(&self, book: &LeaseBook, now: Timestamp) -> Result<Lease, Refusal> {
        if let Some(binding) = book.binding(self.lease.address) {
            // With `match_client_id: false` the book does not know the client by the identifier that is stored.
            let is_same_mac = binding.holder.mac.is_some() && binding.holder.mac == self.lease.holder.mac;
            if binding.holder.client != self.lease.holder.client && !is_same_mac {
                return Err(Refusal::Conflict("another client has it by now"));
            }
            if binding.until <= now || !matches!(binding.state, State::Leased | State::Declined) {
                return Err(Refusal::Conflict("it is free already"));
            }
        }
        Ok(self.lease.released(now))
    }

    /// Answers.
    pub fn answer(self, answer: Result<(), Refusal>) {
        // Who asked may have gone.
        let _ = self.reply.send(answer);
    }
}

/// What the committer is given to store and record a lease that a person ended.
pub fn released_by_hand(lease: Lease) -> Promise {
    let mac = lease.hardware.mac();
    let client = Client { mac, firmware: Firmware::Other, arch: None };
    let event = Event::Released { address: lease.address, client };
    let ended = Vec::new();
    Promise { lease, ended, reply: None, otherwise: None, event, interface: "control".into() }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match path.parent() {
        Some(folder) if path == Path::new(INSTALLED) => std::fs::create_dir_all(folder)?,
        Some(folder) => make_folder(folder)?,
        None => {}
    }
    if path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on it"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn converse(
    stream: UnixStream,
    (state, asks): (Arc<Path>, mpsc::Sender<Ask>),
    is_asking: Arc<AtomicBool>,
    group_may_ask: bool,
) -> hyper::Result<()> {
    let user = stream.peer_cred().map(|peer| peer.uid());
    let is_own = |user| user == 0 || user == nix::unistd::geteuid().as_raw();
    let allowed = group_may_ask || user.is_ok_and(is_own);
    let service = service_fn(|request| {
        is_asking.store(true, Ordering::Release);
        let (state, asks) = (Arc::clone(&state), asks.clone());
        async move {
            let answer = if !is_known_host(&request) {
                Err((StatusCode::MISDIRECTED_REQUEST, "the Host here is localhost or lanboot".to_owned()))
            } else if allowed {
                answer(&request, &state, &asks).await
            } else {
                Err((
                    StatusCode::FORBIDDEN,
                    "only root, the user that the server runs as and the group lanboot may ask".to_owned(),
                ))
            };
            Ok::<_, std::convert::Infallible>(response(answer))
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// Whether the request is meant for this socket: what a browser sends to a name of its own, which some proxy passes on
/// here, is not. `lanboot` is what the commands say; a request without a name comes from no browser.
fn is_known_host(request: &Request<Incoming>) -> bool {
    let by_field = || {
        let host = request.headers().get(hyper::header::HOST)?;
        Some(host.to_str().unwrap_or("?"))
    };
    let Some(host) = request.uri().authority().map(hyper::http::uri::Authority::as_str).or_else(by_field)
    else {
        return true;
    };
    let name = host.split(':').next().unwrap_or_default();
    name.eq_ignore_ascii_case("lanboot") || name.eq_ignore_ascii_case("localhost")
}

type Answer = Result<(), (StatusCode, String)>;

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let (status, body) = match answer {
        Ok(()) => (StatusCode::OK, serde_json::json!({})),
        Err((status, why)) => (status, serde_json::json!({ "error": why })),
    };
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

async fn answer(request: &Request<Incoming>, state: &Arc<Path>, asks: &mpsc::Sender<Ask>) -> Answer {
    let parts: Vec<&str> = request.uri().path().trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["leases", address, "release"] => {
            if request.method() != Method::POST {
                return Err((StatusCode::METHOD_NOT_ALLOWED, "use POST".to_owned()));
            }
            let address: Ipv4Addr = address
                .parse()
                .map_err(|_| (StatusCode::BAD_REQUEST, "that is no IPv4 address".to_owned()))?;
            release(address, state, asks).await
        }
        _ => Err((StatusCode::NOT_FOUND, "there is POST /leases/ADDRESS/release".to_owned())),
    }
}

/// Looks the lease up on disk, which has all of it, and has the loop end it.
async fn release(address: Ipv4Addr, state: &Arc<Path>, asks: &mpsc::Sender<Ask>) -> Answer {
    let unavailable = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
    let state = Arc::clone(state);
    let look_up = move || LeaseReader::open(&state)?.map_or(Ok(None), |reader| reader.lease(address));
    let stored = tokio::task::spawn_blocking(look_up)
        .await
        .map_err(|error| unavailable(error.to_string()))?
        .map_err(|error| unavailable(error.to_string()))?;
    let lease = stored.ok_or((StatusCode::NOT_FOUND, "no lease is stored for it".to_owned()))?;
    let (reply, answer) = oneshot::channel();
    let stopping = || unavailable("the server is stopping".to_owned());
    asks.send(Ask::Release(Release { lease, reply })).await.map_err(|_| stopping())?;
    match answer.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Refusal::Conflict(why))) => Err((StatusCode::CONFLICT, why.to_owned())),
        Ok(Err(Refusal::Failed(why))) => Err(unavailable(why.to_owned())),
        Err(_) => Err(stopping()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_service_has_the_known_path_and_others_their_own() {
        assert_eq!(control_path(Path::new("/var/lib/lanboot")), Path::new("/run/lanboot/control.sock"));
        assert_eq!(control_path(Path::new("/var/lib/lanboot/")), Path::new("/run/lanboot/control.sock"));
        assert_eq!(control_path(Path::new("/tmp/x")), Path::new("/tmp/x/control.sock"));
    }

    #[test]
    fn a_socket_left_behind_is_replaced_but_a_live_one_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = listen(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        listen(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "not a socket").unwrap();
        assert!(listen(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"not a socket");
    }
}
