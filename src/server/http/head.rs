//! Receives the head of a request within its time limit. `serve_connection` calls it for each request.

use std::pin::pin;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::event::HttpRefusal;
use crate::http::{BadHead, HEAD_LIMIT, head_length};
use crate::server::http::connections::Slot;
use crate::server::http::service::Service;

/// Initial buffer size in bytes, enough for most heads.
pub(super) const HEAD_ROOM: usize = 1024;

/// Reads until `buffer` starts with a complete head, and returns the length of the head. `None` if the client left or
/// the idle time is over, or if the server stops.
///
/// # Errors
/// If the head is too long or takes too long; [`HttpRefusal::GaveWay`] if the connection was evicted.
pub(super) async fn read_head(
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

impl From<BadHead> for HttpRefusal {
    fn from(bad: BadHead) -> HttpRefusal {
        match bad {
            BadHead::TooLarge => HttpRefusal::HeadTooLarge,
            BadHead::Malformed | BadHead::Host => HttpRefusal::BadRequest,
        }
    }
}
