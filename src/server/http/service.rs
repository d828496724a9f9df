//! The state that all connections of the HTTP server share, and the listening sockets. `threads.rs` makes it once for all
//! listeners.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;
use socket2::{Domain, Protocol, Socket, Type};

use crate::content::lookup::Files;
use crate::content::requester::Requester;
use crate::event::{Event, HttpRefusal, Record};
use crate::http::date;
use crate::net::quota::Quota;
use crate::net::{StartError, bind_error};
use crate::record::Recorder;
use crate::server::http::admission::Admission;
use crate::server::http::connections::{Connections, Limits, Slot};
use crate::server::http::send::{PACE_BYTES, Pace};
use crate::server::http::shutdown::Shutdown;

/// Number of connections that may wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

/// The state that the connections of all listeners share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) files: Files,
    pub(super) recorder: Recorder,
    pub(super) timeouts: Timeouts,
    pub(super) admission: Arc<Admission>,
    pub(super) connections: Connections,
    /// The connections beyond the limit, which are answered with 503.
    pub(super) refused: Quota,
    pub(super) stopping: Shutdown,
}

/// The addresses of both ends of a connection.
#[derive(Clone, Copy)]
pub(super) struct Endpoints {
    pub(super) peer: SocketAddr,
    /// The server's address that the client connected to.
    pub(super) server: IpAddr,
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
        pace: Duration::from_secs(PACE_BYTES / 1024),
    };
}

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

    pub(super) fn pace<'a>(&'a self, slot: Option<&'a Slot>) -> Pace<'a> {
        Pace {
            time: self.timeouts.pace,
            slot,
            stopping: &self.stopping,
            recorder: &self.recorder,
            work: self.files.work(),
        }
    }

    pub(super) fn record(&self, event: Event) {
        let machine = event.peer().and_then(|peer| self.files.machine_at(peer.ip()));
        self.recorder.record(Record { at: self.recorder.now(), interface: None, machine, event });
    }

    /// Records an event of a request of `requester`.
    pub(super) fn record_of(&self, requester: &Requester, event: Event) {
        let machine = requester.machine_id();
        self.recorder.record(Record { at: self.recorder.now(), interface: None, machine, event });
    }

    pub(super) fn refused(&self, name: &str, peer: SocketAddr, reason: HttpRefusal) {
        self.record(Event::HttpRefused { name: name.to_owned(), peer, reason });
    }
}

/// Binds the TCP port of `address`.
///
/// # Errors
/// An explanation why it cannot be bound.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let listen = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
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

/// The time of responses.
pub(super) fn now() -> HttpDate {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}
