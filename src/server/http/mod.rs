//! The HTTP server, with one task per connection.
//!
//! `serve_connection` shows the path of a request from top to bottom: read a head, decide what it asks for (`http/`),
//! open the file (`content/`), send head and file. The kernel sends a file from the page cache without a copy
//! (`send.rs`). General HTTP libraries take bytes instead of files, so this loop is our own. Every request that is not
//! a plain GET or HEAD is passed to such a library together with its connection (`routes.rs`).

mod admission;
mod connections;
mod refuse;
mod routes;
mod send;
mod shutdown;
mod threads;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::MetadataExt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::content::lookup::Files;
use crate::event::{Event, HttpRefusal, Record};
use crate::http::{
    Answer, BadHead, HEAD_LIMIT, Method, Request, Resource, Status, Validators, answer, as_known_version,
    date, head_length, media, refusal, target,
};
use crate::images::{Content, OpenFile};
use crate::net::quota::Quota;
use crate::net::{StartError, bind_error};
use crate::record::Recorder;

use connections::{Connections, Slot};
use refuse::{linger, refuse_and_close, refuse_busy, status_and_text, unless_evicted};
use send::{Pace, Stopped};
use shutdown::Shutdown;

pub use admission::Admission;
pub use connections::Limits;
pub use threads::{Bound, Threads};

/// The state that the connections of all listeners share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    files: Files,
    recorder: Recorder,
    timeouts: Timeouts,
    admission: Arc<Admission>,
    connections: Connections,
    /// The connections beyond the limit, which are answered with 503.
    refused: Quota,
    stopping: Shutdown,
}

/// Time limits for clients.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a request head: from the connection for the first one, from its first byte for later ones.
    pub head: Duration,
    /// For the pause between two requests.
    pub idle: Duration,
    /// For each `PACE_BYTES` bytes of a response.
    pub pace: Duration,
}

impl Timeouts {
    /// The limits of the server: 5 s for a head, 30 s between requests, and 1 KiB/s for responses, so that a slow
    /// management controller still boots.
    pub const DEFAULT: Timeouts = Timeouts {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        pace: Duration::from_secs(send::PACE_BYTES / 1024),
    };
}

/// Number of connections that may wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;
/// Initial buffer size in bytes, enough for most heads.
const HEAD_ROOM: usize = 1024;
/// Pause after `accept` failed, for example because no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

impl Service {
    pub fn new(files: Files, recorder: Recorder, timeouts: Timeouts, admission: Admission) -> Service {
        let (connections, refused) = (Connections::new(Limits::DEFAULT), Quota::default());
        let (admission, stopping) = (Arc::new(admission), Shutdown::pending());
        Service { files, recorder, timeouts, admission, connections, refused, stopping }
    }

    /// Replaces the limits on connections.
    pub fn limited(self, limits: Limits) -> Service {
        Service { connections: Connections::new(limits), ..self }
    }

    fn pace<'a>(&'a self, slot: Option<&'a Slot>) -> Pace<'a> {
        Pace { time: self.timeouts.pace, slot, stopping: &self.stopping, recorder: &self.recorder }
    }

    fn record(&self, event: Event) {
        let machine = event.peer().and_then(|peer| self.files.machine_at(*peer.ip()));
        self.recorder.record(Record { at: self.recorder.now(), interface: None, machine, event });
    }

    fn refused(&self, name: &str, peer: SocketAddrV4, reason: HttpRefusal) {
        self.record(Event::HttpRefused { name: name.to_owned(), peer, reason });
    }
}

/// Binds the TCP port of `address`.
///
/// # Errors
/// An explanation why it cannot be bound.
pub fn bind(address: SocketAddrV4) -> Result<std::net::TcpListener, StartError> {
    let listen = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        // Connections of a previous server process may still be closing.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        leave_bbr(&socket);
        Ok(socket.into())
    };
    listen().map_err(|error| bind_error::explain_http(address, &error))
}

/// Switches from BBR to Reno if BBR is this computer's congestion control. BBR is made for long and lossy paths: in a
/// LAN its pacing takes three times the processor time and reaches a third of the rate.
fn leave_bbr(listener: &Socket) {
    if listener.tcp_congestion().is_ok_and(|name| name.starts_with(b"bbr")) {
        // Every kernel has Reno and allows every process to choose it.
        let _ = listener.set_tcp_congestion(b"reno");
    }
}

/// Serves the connections that arrive at `listener`; dropping the future ends all of them. When `closed` completes or
/// the service stops, no more connections are accepted, and the future completes with the last one.
///
/// # Errors
/// If the socket cannot be used at all.
pub async fn serve(
    listener: std::net::TcpListener,
    service: Service,
    closed: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut tasks = JoinSet::new();
    let mut closed = pin!(closed);
    loop {
        while tasks.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = service.stopping.closing() => break,
            () = &mut closed => break,
        };
        match accepted {
            Ok((stream, SocketAddr::V4(peer))) => {
                let service = service.clone();
                match service.connections.admit(*peer.ip()) {
                    Some(slot) => {
                        tasks.spawn(async move { serve_connection(stream, peer, &service, &slot).await });
                    }
                    None => refuse_busy(stream, peer, service, &mut tasks),
                }
            }
            Ok((_, SocketAddr::V6(_))) => {}
            Err(error) => {
                // There may be no descriptor left.
                service.connections.make_room();
                tracing::warn!(%error, "cannot accept HTTP connections; trying again");
                sleep(PAUSE).await;
            }
        }
    }
    // Close the listener now, so that new connections are refused instead of queued.
    drop(listener);
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Answers requests one after another, until the client or an error ends the connection.
async fn serve_connection(mut stream: TcpStream, peer: SocketAddrV4, service: &Service, slot: &Slot) {
    // Responses are written in whole pieces, so waiting for more data would only delay boots.
    let _ = stream.set_nodelay(true);
    send::keep_short(&stream);
    // Listeners are bound to IPv4 addresses, so a connection without an IPv4 address has already ended.
    let Ok(SocketAddr::V4(server)) = stream.local_addr() else { return };
    let endpoints = Endpoints { peer, server: *server.ip() };
    let mut buffer = Vec::with_capacity(HEAD_ROOM);
    let mut is_first = true;
    loop {
        let length = match read_head(&mut stream, &mut buffer, is_first, service, Some(slot)).await {
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(HttpRefusal::GaveWay) => return service.refused("", peer, HttpRefusal::GaveWay),
            Err(reason) => return refuse_and_close(stream, peer, reason, service, slot).await,
        };
        is_first = false;
        as_known_version(&mut buffer[..length]);
        let mut request = match Request::parse(&buffer[..length]) {
            Ok(request) => request,
            Err(bad) => return refuse_and_close(stream, peer, bad.into(), service, slot).await,
        };
        if !service.admission.admits(*peer.ip()) {
            return refuse_and_close(stream, peer, HttpRefusal::NotAllowed, service, slot).await;
        }
        if request.body_length().is_some_and(|length| length > routes::BODY_LIMIT) {
            return refuse_and_close(stream, peer, HttpRefusal::BodyTooLarge, service, slot).await;
        }
        if !request.is_plain() {
            drop(request);
            if !unless_evicted(slot, routes::serve_connection(stream, buffer, peer, service)).await {
                service.refused("", peer, HttpRefusal::GaveWay);
            }
            return;
        }
        request.keep_alive &= !service.stopping.is_closing();
        let keep_alive = request.keep_alive;
        slot.mark_busy();
        if !respond(&stream, &request, endpoints, service, slot).await {
            return;
        }
        if !keep_alive || service.stopping.is_closing() {
            slot.mark_idle();
            unless_evicted(slot, linger(&mut stream)).await;
            return;
        }
        buffer.drain(..length);
    }
}

/// Reads until `buffer` starts with a complete head, and returns the length of the head. `None` if the client left or
/// the idle time is over, or if the server stops.
///
/// # Errors
/// If the head is too long or takes too long; [`HttpRefusal::GaveWay`] if the connection was evicted.
async fn read_head(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    is_first: bool,
    Service { timeouts, stopping, .. }: &Service,
    slot: Option<&Slot>,
) -> Result<Option<usize>, HttpRefusal> {
    // A pipelined request is complete already.
    if let Some(length) = head_length(buffer) {
        return Ok(Some(length));
    }
    if let Some(slot) = slot.filter(|_| !is_first) {
        slot.mark_idle();
    }
    let evicted = async {
        match slot {
            Some(slot) => slot.evicted().await,
            None => std::future::pending().await,
        }
    };
    let mut evicted = pin!(evicted);
    let began = Instant::now();
    let mut deadline = began + if is_first || !buffer.is_empty() { timeouts.head } else { timeouts.idle };
    loop {
        if let Some(length) = head_length(buffer) {
            return Ok(Some(length));
        }
        if buffer.len() >= HEAD_LIMIT {
            return Err(HttpRefusal::HeadTooLarge);
        }
        let was_empty = buffer.is_empty();
        let read = tokio::select! {
            biased;
            read = timeout_at(deadline, stream.read_buf(buffer)) => read,
            () = stopping.closing() => return Ok(None),
            () = &mut evicted => return Err(HttpRefusal::GaveWay),
        };
        match read {
            Ok(Ok(0) | Err(_)) => return Ok(None),
            Ok(Ok(_)) if was_empty && !is_first => deadline = Instant::now() + timeouts.head,
            Ok(Ok(_)) => {}
            Err(_) if was_empty => return Ok(None),
            Err(_) => return Err(HttpRefusal::SlowHead),
        }
    }
}

/// The addresses of both ends of a connection.
#[derive(Clone, Copy)]
struct Endpoints {
    peer: SocketAddrV4,
    /// The server's address that the client connected to.
    server: Ipv4Addr,
}

/// Answers one GET or HEAD. Returns whether the connection can be used for another request.
async fn respond(
    stream: &TcpStream,
    request: &Request<'_>,
    endpoints: Endpoints,
    service: &Service,
    slot: &Slot,
) -> bool {
    let peer = endpoints.peer;
    let began = Instant::now();
    let pace = service.pace(Some(slot));
    let (content, resource) = match open(request, endpoints, service).await {
        Ok(open) => open,
        Err(reason) => {
            service.refused(request.target, peer, reason);
            let (status, why) = status_and_text(reason);
            let bytes = refusal(status, why, Some(request), now());
            return send::bytes(stream, &bytes, pace).await.is_ok();
        }
    };
    let Answer { status, head, body } = answer(request, &resource, now());
    let (begin, wanted, to_end) = (body.start, body.end - body.start, body.end == resource.size);
    let is_file = request.method == Method::Get && matches!(status, Status::OK | Status::PARTIAL);
    let sent = send::head_and_content(stream, &head, &content, body, pace).await;
    let file = content.name().to_owned();
    if is_file {
        let count = sent.map_or_else(|stopped| stopped.bytes, |()| wanted);
        service.files.sent(&file, begin..begin + count, resource.size, *peer.ip());
    }
    service.record(match sent {
        Ok(()) if is_file => {
            let took = began.elapsed();
            Event::HttpSent { file, peer, bytes: wanted, to_end, took }
        }
        Ok(()) => Event::HttpAnswered { file, peer, status: status.code() },
        Err(Stopped { bytes, reason }) => Event::HttpStopped { file, peer, bytes, wanted, reason },
    });
    sent.is_ok()
}

/// Opens the content that the client gets for the name in `request`.
async fn open(
    request: &Request<'_>,
    Endpoints { peer, server }: Endpoints,
    service: &Service,
) -> Result<(Content, Resource), HttpRefusal> {
    service.admission.check_host(request)?;
    let name = target::name(request.target).map_err(|_| HttpRefusal::BadRequest)?;
    if name.iter().all(|byte| *byte == b'/') {
        return Err(HttpRefusal::NotFound);
    }
    let asker = service.files.asker(*peer.ip(), server);
    let content = service.files.find(&name, &asker)?.content().await?;
    let resource = match &content {
        Content::File(OpenFile { file, size, name, .. }) => {
            let meta = file.metadata().map_err(|_| HttpRefusal::Io)?;
            let validators = Validators::of_file(*size, meta.ino(), meta.mtime(), meta.mtime_nsec(), now());
            Resource { size: *size, media: media::of(name), validators: Some(validators) }
        }
        Content::Short(short) => {
            let (size, (inode, seconds, nanoseconds)) = (content.size(), short.identity());
            let validators = Validators::of_file(size, inode, seconds, nanoseconds, now());
            Resource { size, media: media::of(&short.name), validators: Some(validators) }
        }
        Content::Text(text) => {
            Resource { size: content.size(), media: media::of_text(&text.name), validators: None }
        }
    };
    Ok((content, resource))
}

impl From<BadHead> for HttpRefusal {
    fn from(bad: BadHead) -> HttpRefusal {
        match bad {
            BadHead::TooLarge => HttpRefusal::HeadTooLarge,
            BadHead::Malformed | BadHead::Host => HttpRefusal::BadRequest,
        }
    }
}

fn now() -> HttpDate {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
