//! Error responses that end a connection, so that the client can still read the reason.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::event::HttpRefusal;
use crate::http::{Request, Status, refusal};
use crate::server::http::connections::{Limits, Slot};
use crate::server::http::head::{HEAD_ROOM, read_head};
use crate::server::http::send;
use crate::server::http::service::{Service, now};

/// Time and number of bytes for which a connection is read after the last response. Closing a connection with unread
/// data resets it, and the client could not read the response (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// Answers a connection beyond the limit with 503, after reading its request. A client ignores a response to a request
/// that it has not sent yet, and closing a connection with an unread request resets it.
pub(super) fn refuse_busy(
    mut stream: TcpStream,
    peer: SocketAddr,
    service: Service,
    tasks: &mut JoinSet<()>,
) {
    service.refused("", peer, HttpRefusal::Busy);
    let Limits { refused, refused_per_client, .. } = *service.connections.limits();
    let (status, why) = status_and_text(HttpRefusal::Busy);
    let Some(share) = service.refused.take(peer.ip(), refused, refused_per_client) else {
        // A new connection's send buffer is empty, so this write does not wait.
        let _ = stream.try_write(&refusal(status, why, None, now()));
        return;
    };
    tasks.spawn(async move {
        let _share = share;
        let mut buffer = Vec::with_capacity(HEAD_ROOM);
        let Ok(head) = read_head(&mut stream, &mut buffer, true, &service, None).await else { return };
        let mut request = head.and_then(|length| Request::parse(buffer.get(..length)?).ok());
        request.iter_mut().for_each(|request| request.keep_alive = false);
        let bytes = refusal(status, why, request.as_ref(), now());
        if head.is_some() && send::bytes(&stream, &bytes, service.pace(None)).await.is_ok() {
            linger(&mut stream).await;
        }
    });
}

/// Runs `work` on an idle connection. Returns false if the connection was evicted before the end.
pub(super) async fn unless_evicted(slot: &Slot, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = work => true,
        () = slot.evicted() => false,
    }
}

/// Sends an error and closes the connection, because the start of the next request is unknown.
pub(super) async fn refuse_and_close(
    mut stream: TcpStream,
    (peer, target): (SocketAddr, &str),
    reason: HttpRefusal,
    service: &Service,
    slot: &Slot,
) {
    service.refused(target, peer, reason);
    let (status, why) = status_and_text(reason);
    slot.mark_idle();
    if send::bytes(&stream, &refusal(status, why, None, now()), service.pace(Some(slot))).await.is_ok() {
        unless_evicted(slot, linger(&mut stream)).await;
    }
}

/// Closes the sending side, and reads for a moment what the client still sends.
pub(super) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let (mut unread, mut left) = ([0; 4096], LINGER_BYTES);
    let end = Instant::now() + LINGER;
    while let Ok(Ok(count @ 1..)) = timeout_at(end, stream.read(&mut unread)).await {
        left = left.saturating_sub(count);
        if left == 0 {
            return;
        }
    }
}

/// The status and text for the client. The text is fixed, and never contains a path of this machine.
pub(super) fn status_and_text(reason: HttpRefusal) -> (Status, &'static str) {
    match reason {
        HttpRefusal::BadRequest => (Status::BAD_REQUEST, "This is not a request for a boot file."),
        HttpRefusal::HeadTooLarge => (Status::FIELDS_TOO_LARGE, "The request's head is too long."),
        HttpRefusal::BodyTooLarge => (Status::CONTENT_TOO_LARGE, "The request's body is too long."),
        HttpRefusal::BadBody => (Status::BAD_REQUEST, "The request's body is not JSON."),
        HttpRefusal::BadFacts => (Status::BAD_REQUEST, "The query does not state the machine's MAC."),
        HttpRefusal::SlowHead => (Status::TIMEOUT, "The request took too long."),
        HttpRefusal::Method => (Status::METHOD_NOT_ALLOWED, "Boot files can only be read."),
        HttpRefusal::NotFound | HttpRefusal::BadName => (Status::NOT_FOUND, "There is no such boot file."),
        HttpRefusal::AccessDenied => (Status::FORBIDDEN, "This file may not be read."),
        HttpRefusal::Browser | HttpRefusal::ForeignHost => (Status::FORBIDDEN, "This is not for web pages."),
        HttpRefusal::NotAllowed => (Status::FORBIDDEN, "This network is not served."),
        HttpRefusal::OtherMachine | HttpRefusal::FactsOfOther => {
            (Status::FORBIDDEN, "This is for another machine.")
        }
        HttpRefusal::Busy | HttpRefusal::GaveWay | HttpRefusal::RenderQueue => {
            (Status::UNAVAILABLE, "The server is busy, try again.")
        }
        HttpRefusal::Template => (Status::INTERNAL_ERROR, "The text for this machine cannot be made."),
        HttpRefusal::Io => (Status::INTERNAL_ERROR, "The file cannot be read."),
    }
}
