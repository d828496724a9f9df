//! The HTTP server: one task a connection, from its first byte to its last.
//!
//! `converse` is the way of a request from top to bottom: read a head, say what it asks for (`http/`), open the file
//! (`images/`), send head and file. A file goes from the page cache to the socket inside the kernel (`send.rs`), which
//! is why this loop is ours: a general HTTP library takes bytes, not files. Whatever is not a plain GET or HEAD goes to
//! such a library (`other.rs`), with its connection.

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
use crate::event::{Event, HttpRefusal};
use crate::http::{
    Answer, BadHead, HEAD_LIMIT, Method, Request, Resource, Status, Validators, answer, as_known_version,
    date, head_length, media, refusal, target,
};
use crate::images::{Content, OpenFile};
use crate::net::quota::Quota;
use crate::net::{StartError, bind_error};
use crate::record::Recorder;

use connections::{Connections, Seat};
use refuse::{linger, refuse_and_close, told, turn_away, until_it_gives_way};
use send::{Pace, Stopped};
use shutdown::Stopping;

pub use admission::Admission;
pub use connections::Limits;
pub use threads::{Bound, Threads};

/// What the connections of all listeners share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    files: Files,
    recorder: Recorder,
    patience: Patience,
    admission: Arc<Admission>,
    connections: Connections,
    /// Connections beyond those, whose request is only read.
    turned_away: Quota,
    stopping: Stopping,
}

/// How long clients may take, each step of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a head, from its first byte (of the first: from the connection) to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For each `PACE_BYTES` bytes of an answer.
    pub pace: Duration,
}

impl Patience {
    /// What the server uses: 5 s for a head, 30 s between requests, 1 KiB/s for answers, so that a slow management
    /// controller still boots.
    pub const DEFAULT: Patience = Patience {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        pace: Duration::from_secs(send::PACE_BYTES / 1024),
    };
}

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;
/// Bytes that most heads fit in.
const HEAD_ROOM: usize = 1024;
/// Pause before connections are accepted again after that failed, as it does when no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

impl Service {
    /// A service of `files` to the clients that `admission` admits.
    pub fn new(files: Files, recorder: Recorder, patience: Patience, admission: Admission) -> Service {
        let (connections, turned_away) = (Connections::new(Limits::DEFAULT), Quota::default());
        let (admission, stopping) = (Arc::new(admission), Stopping::not_yet());
        Service { files, recorder, patience, admission, connections, turned_away, stopping }
    }

    /// This service, for so many connections.
    pub fn limited(self, limits: Limits) -> Service {
        Service { connections: Connections::new(limits), ..self }
    }

    fn pace<'a>(&'a self, seat: Option<&'a Seat>) -> Pace<'a> {
        Pace { time: self.patience.pace, seat, stopping: &self.stopping, recorder: &self.recorder }
    }

    fn record(&self, event: &Event) {
        self.recorder.record("http", event);
    }

    fn refused(&self, name: &str, peer: SocketAddrV4, reason: HttpRefusal) {
        self.record(&Event::HttpRefused { name: name.to_owned(), peer, reason });
    }
}

/// Binds the TCP port of `address`.
///
/// # Errors
/// Why it cannot be bound, for a person.
pub fn bind(address: SocketAddrV4) -> Result<std::net::TcpListener, StartError> {
    let listen = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        // Connections of the server that ran before may still be closing.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        leave_bbr(&socket);
        Ok(socket.into())
    };
    listen().map_err(|error| bind_error::explain_http(address, &error))
}

/// Has its connections use Reno where this computer's congestion control is BBR, which is made for long and lossy ways.
/// In a LAN its pacing takes three times the processor's time and a third of the rate.
fn leave_bbr(listener: &Socket) {
    if listener.tcp_congestion().is_ok_and(|name| name.starts_with(b"bbr")) {
        // Every kernel has it, and lets anybody choose it.
        let _ = listener.set_tcp_congestion(b"reno");
    }
}

/// Serves the connections that arrive at `listener` until the future is dropped; that ends all of them. When `closed`
/// completes or the service is being stopped, no more are accepted, and it ends with the last of them.
///
/// # Errors
/// The socket cannot be used at all.
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
                    Some(seat) => {
                        tasks.spawn(async move { converse(stream, peer, &service, &seat).await });
                    }
                    None => turn_away(stream, peer, service, &mut tasks),
                }
            }
            Ok((_, SocketAddr::V6(_))) => {}
            Err(error) => {
                // No descriptor may be left.
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

/// Answers one request after the other, until the client or an error ends the connection.
async fn converse(mut stream: TcpStream, peer: SocketAddrV4, service: &Service, seat: &Seat) {
    // What is sent is sent in whole pieces: nothing is to wait for more. Without it, boots are only slower.
    let _ = stream.set_nodelay(true);
    send::keep_short(&stream);
    // Listeners are bound to IPv4 addresses, so a connection without one is one that has ended.
    let Ok(SocketAddr::V4(server)) = stream.local_addr() else { return };
    let ends = Ends { peer, server: *server.ip() };
    let mut buffer = Vec::with_capacity(HEAD_ROOM);
    let mut is_first = true;
    loop {
        let length = match read_head(&mut stream, &mut buffer, is_first, service, Some(seat)).await {
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(HttpRefusal::GaveWay) => return service.refused("", peer, HttpRefusal::GaveWay),
            Err(reason) => return refuse_and_close(stream, peer, reason, service, seat).await,
        };
        is_first = false;
        as_known_version(&mut buffer[..length]);
        let mut request = match Request::parse(&buffer[..length]) {
            Ok(request) => request,
            Err(bad) => return refuse_and_close(stream, peer, bad.into(), service, seat).await,
        };
        if !service.admission.admits(*peer.ip()) {
            return refuse_and_close(stream, peer, HttpRefusal::NotAllowed, service, seat).await;
        }
        if request.body_length().is_some_and(|length| length > routes::BODY_LIMIT) {
            return refuse_and_close(stream, peer, HttpRefusal::BodyTooLarge, service, seat).await;
        }
        if !request.is_plain() {
            drop(request);
            if !until_it_gives_way(seat, routes::converse(stream, buffer, peer, service)).await {
                service.refused("", peer, HttpRefusal::GaveWay);
            }
            return;
        }
        request.keep_alive &= !service.stopping.is_closing();
        let keep_alive = request.keep_alive;
        seat.is_busy();
        if !respond(&stream, &request, ends, service, seat).await {
            return;
        }
        if !keep_alive || service.stopping.is_closing() {
            seat.is_idle();
            until_it_gives_way(seat, linger(&mut stream)).await;
            return;
        }
        buffer.drain(..length);
    }
}

/// Reads on until `buffer` begins with a whole head, and says how long that is. `None` when the client said nothing
/// more and left, or was to be left, or the server stops.
///
/// # Errors
/// The head is too long or takes too long; [`HttpRefusal::GaveWay`] when another connection needs the place.
async fn read_head(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    is_first: bool,
    Service { patience, stopping, .. }: &Service,
    seat: Option<&Seat>,
) -> Result<Option<usize>, HttpRefusal> {
    // A request that came in advance is not waited for.
    if let Some(length) = head_length(buffer) {
        return Ok(Some(length));
    }
    if let Some(seat) = seat.filter(|_| !is_first) {
        seat.is_idle();
    }
    let gives_way = async {
        match seat {
            Some(seat) => seat.gives_way().await,
            None => std::future::pending().await,
        }
    };
    let mut gives_way = pin!(gives_way);
    let began = Instant::now();
    let mut deadline = began + if is_first || !buffer.is_empty() { patience.head } else { patience.idle };
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
            () = &mut gives_way => return Err(HttpRefusal::GaveWay),
        };
        match read {
            Ok(Ok(0) | Err(_)) => return Ok(None),
            Ok(Ok(_)) if was_empty && !is_first => deadline = Instant::now() + patience.head,
            Ok(Ok(_)) => {}
            Err(_) if was_empty => return Ok(None),
            Err(_) => return Err(HttpRefusal::SlowHead),
        }
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy)]
struct Ends {
    peer: SocketAddrV4,
    /// Our address, as the client knows it.
    server: Ipv4Addr,
}

/// Answers one GET or HEAD. Whether the connection can go on.
async fn respond(
    stream: &TcpStream,
    request: &Request<'_>,
    ends: Ends,
    service: &Service,
    seat: &Seat,
) -> bool {
    let peer = ends.peer;
    let began = Instant::now();
    let pace = service.pace(Some(seat));
    let (content, resource) = match open(request, ends, service).await {
        Ok(open) => open,
        Err(reason) => {
            service.refused(request.target, peer, reason);
            let (status, why) = told(reason);
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
    service.record(&match sent {
        Ok(()) if is_file => {
            let took = began.elapsed();
            Event::HttpSent { file, peer, bytes: wanted, to_end, took }
        }
        Ok(()) => Event::HttpAnswered { file, peer, status: status.code() },
        Err(Stopped { bytes, reason }) => Event::HttpStopped { file, peer, bytes, wanted, reason },
    });
    sent.is_ok()
}

/// What the client gets for the name in `request`.
async fn open(
    request: &Request<'_>,
    Ends { peer, server }: Ends,
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
