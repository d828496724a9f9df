//! The HTTP server, with one task per connection.
//!
//! `serve_connection` shows the path of a request from top to bottom: read a head, decide what it asks for (`http/`),
//! open the file (`content/`), send head and file. The kernel sends a file from the page cache without a copy
//! (`send.rs`). General HTTP libraries take bytes instead of files, so this loop is our own. Every request that is not
//! a plain GET or HEAD is passed to such a library together with its connection (`routes.rs`).

mod admission;
mod connections;
mod facts;
mod head;
mod refuse;
mod routes;
mod send;
mod service;
mod shutdown;
pub mod threads;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::content::file_work::HTTP;
use crate::content::requester::Requester;
use crate::event::{Event, HttpRefusal, ServerFact};
use crate::http::{
    Answer, Method, Request, Resource, Status, Validators, answer, as_known_version, media, refusal, target,
};
use crate::images::{Content, OpenFile};

use connections::Slot;
use head::{HEAD_ROOM, read_head};
use refuse::{linger, refuse_and_close, refuse_busy, status_and_text, unless_evicted};
use send::Stopped;
use service::{Endpoints, now};

pub use admission::Admission;
pub use connections::Limits;
pub use service::{Service, Timeouts, bind};

/// Pause after `accept` failed, for example because no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

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
            Ok((stream, peer)) => {
                let service = service.clone();
                match service.connections.admit(peer.ip()) {
                    Some(slot) => {
                        tasks.spawn(async move { serve_connection(stream, peer, &service, &slot).await });
                    }
                    None => refuse_busy(stream, peer, service, &mut tasks),
                }
            }
            Err(error) => {
                // There may be no descriptor left.
                service.connections.make_room();
                let text = format!("cannot accept HTTP connections: {error}; trying again");
                service.recorder.server(ServerFact::CannotReceive, text);
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
async fn serve_connection(mut stream: TcpStream, peer: SocketAddr, service: &Service, slot: &Slot) {
    // Responses are written in whole pieces, so waiting for more data would only delay boots.
    let _ = stream.set_nodelay(true);
    send::keep_short(&stream);
    // A connection without an address has already ended.
    let Ok(server) = stream.local_addr() else { return };
    let endpoints = Endpoints { peer, server: server.ip() };
    let mut buffer = Vec::with_capacity(HEAD_ROOM);
    let mut is_first = true;
    loop {
        let length = match read_head(&mut stream, &mut buffer, is_first, service, Some(slot)).await {
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(HttpRefusal::GaveWay) => return service.refused("", peer, HttpRefusal::GaveWay),
            Err(reason) => return refuse_and_close(stream, (peer, ""), reason, service, slot).await,
        };
        is_first = false;
        as_known_version(&mut buffer[..length]);
        let mut request = match Request::parse(&buffer[..length]) {
            Ok(request) => request,
            Err(bad) => return refuse_and_close(stream, (peer, ""), bad.into(), service, slot).await,
        };
        if !service.admission.admits(peer.ip()) {
            return refuse_and_close(stream, (peer, request.target), HttpRefusal::NotAllowed, service, slot)
                .await;
        }
        if request.body_length().is_some_and(|length| length > routes::BODY_LIMIT) {
            return refuse_and_close(
                stream,
                (peer, request.target),
                HttpRefusal::BodyTooLarge,
                service,
                slot,
            )
            .await;
        }
        if !request.is_plain() {
            drop(request);
            if !unless_evicted(slot, routes::serve_connection(stream, buffer, endpoints, service)).await {
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

/// An answer of more bytes than this may take a while, so its start is recorded too.
const LARGE: u64 = 64 << 10;

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
    // One reload may come between the start and the end of a response, which then has the settings of its start.
    let requester = service.files.requester(peer.ip(), endpoints.server);
    let refused = |reason| {
        let name = request.target.to_owned();
        service.record_of(&requester, Event::HttpRefused { name, peer, reason });
        let (status, why) = status_and_text(reason);
        refusal(status, why, Some(request), now())
    };
    if let Some(report) = facts::report(request, &requester) {
        let bytes = match report {
            Ok(hardware) => {
                service.record_of(&requester, Event::Facts { peer, hardware: Box::new(hardware) });
                // iPXE keeps the answer as a file, which an old one hands to the kernel: it must be empty.
                answer(request, &Resource { size: 0, media: media::of_text(""), validators: None }, now())
                    .head
            }
            Err(reason) => refused(reason),
        };
        return send::bytes(stream, &bytes, pace).await.is_ok();
    }
    let (content, resource) = match open(request, &requester, service).await {
        Ok(open) => open,
        Err(reason) => return send::bytes(stream, &refused(reason), pace).await.is_ok(),
    };
    let Answer { status, head, body } = answer(request, &resource, now());
    let (begin, wanted, to_end) = (body.start, body.end - body.start, body.end == resource.size);
    let is_file = request.method == Method::Get && matches!(status, Status::OK | Status::PARTIAL);
    if is_file && wanted > LARGE {
        service.record(Event::HttpStarted { file: content.name().to_owned(), peer, wanted });
    }
    let sent = send::head_and_content(stream, &head, &content, body, pace).await;
    let file = content.name().to_owned();
    if is_file {
        let count = sent.map_or_else(|stopped| stopped.bytes, |()| wanted);
        service.files.sent(&file, begin..begin + count, resource.size, &requester);
    }
    service.record_of(
        &requester,
        match sent {
            Ok(()) if is_file => {
                let took = began.elapsed();
                Event::HttpSent { file, peer, bytes: wanted, to_end, took }
            }
            Ok(()) => Event::HttpAnswered { file, peer, status: status.code() },
            Err(Stopped { bytes, reason }) => Event::HttpStopped { file, peer, bytes, wanted, reason },
        },
    );
    sent.is_ok()
}

/// Opens the content that the client gets for the name in `request`.
async fn open(
    request: &Request<'_>,
    requester: &Requester,
    service: &Service,
) -> Result<(Content, Resource), HttpRefusal> {
    service.admission.check_host(request)?;
    let name = target::name(request.target).map_err(|_| HttpRefusal::BadRequest)?;
    if name.iter().all(|byte| *byte == b'/') {
        return Err(HttpRefusal::NotFound);
    }
    let found = {
        let _busy = service.files.work().begin(HTTP);
        service.files.find(&name, requester)
    };
    let content = found?.content().await?;
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

#[cfg(test)]
mod tests;
