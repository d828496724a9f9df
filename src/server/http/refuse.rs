//! Connections that are turned away, answers that end one, and how it ends: so that the client reads why.

use std::future::Future;
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::connections::{Limits, Seat};
use super::{HEAD_ROOM, Service, now, read_head, send};
use crate::event::HttpRefusal;
use crate::http::{Request, Status, refusal};

/// How long, and how many bytes, a client is listened to after the last answer, so that it reads that: closing a
/// connection on which something is unread resets it (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// Refuses a connection that there is no place for, after its request was read: what a client has not yet asked it does
/// not take as the answer, and a connection that is closed on a request that was not read is reset.
pub(super) fn turn_away(
    mut stream: TcpStream,
    peer: SocketAddrV4,
    service: Service,
    tasks: &mut JoinSet<()>,
) {
    service.refused("", peer, HttpRefusal::Busy);
    let Limits { turned_away, turned_away_of_one, .. } = *service.connections.limits();
    let (status, why) = told(HttpRefusal::Busy);
    let Some(share) = service.turned_away.take(*peer.ip(), turned_away, turned_away_of_one) else {
        // There is room in a new connection's send buffer, and no client is waited for.
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

/// Does `work` on an idle connection, and returns whether all of it was done before another connection needs its place.
pub(super) async fn until_it_gives_way(seat: &Seat, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = work => true,
        () = seat.gives_way() => false,
    }
}

/// Answers with an error and ends the connection, which cannot go on: where the next request begins is not known.
pub(super) async fn refuse_and_close(
    mut stream: TcpStream,
    peer: SocketAddrV4,
    reason: HttpRefusal,
    service: &Service,
    seat: &Seat,
) {
    service.refused("", peer, reason);
    let (status, why) = told(reason);
    seat.is_idle();
    if send::bytes(&stream, &refusal(status, why, None, now()), service.pace(Some(seat))).await.is_ok() {
        until_it_gives_way(seat, linger(&mut stream)).await;
    }
}

/// Says that nothing more comes, and reads what the client still sends for a moment.
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

/// What a client is told: fixed text, which never tells a path of this machine.
pub(super) fn told(reason: HttpRefusal) -> (Status, &'static str) {
    match reason {
        HttpRefusal::BadRequest => (Status::BAD_REQUEST, "This is not a request for a boot file."),
        HttpRefusal::HeadTooLarge => (Status::FIELDS_TOO_LARGE, "The request's head is too long."),
        HttpRefusal::BodyTooLarge => (Status::CONTENT_TOO_LARGE, "The request's body is too long."),
        HttpRefusal::SlowHead => (Status::TIMEOUT, "The request took too long."),
        HttpRefusal::Method => (Status::METHOD_NOT_ALLOWED, "Boot files can only be read."),
        HttpRefusal::NotFound | HttpRefusal::BadName => (Status::NOT_FOUND, "There is no such boot file."),
        HttpRefusal::AccessDenied => (Status::FORBIDDEN, "This file may not be read."),
        HttpRefusal::Browser | HttpRefusal::ForeignHost => (Status::FORBIDDEN, "This is not for web pages."),
        HttpRefusal::NotAllowed => (Status::FORBIDDEN, "This network is not served."),
        HttpRefusal::OtherMachine => (Status::FORBIDDEN, "This is for another machine."),
        HttpRefusal::Busy | HttpRefusal::GaveWay | HttpRefusal::RenderQueue => {
            (Status::UNAVAILABLE, "The server is busy, try again.")
        }
        HttpRefusal::Template => (Status::INTERNAL_ERROR, "The text for this machine cannot be made."),
        HttpRefusal::Io => (Status::INTERNAL_ERROR, "The file cannot be read."),
    }
}
