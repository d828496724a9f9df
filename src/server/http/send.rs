//! Bytes and files into a connection, at the client's pace.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::MSG_NOSIGNAL;
use nix::sys::sendfile::sendfile64;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::stopping::Stopping;
use crate::event::HttpStop;
use crate::images::Content;

/// The pace that a client has to keep, and when nobody waits for it any more.
#[derive(Clone, Copy)]
pub(super) struct Pace<'a> {
    /// The time that it has for each [`PACE_BYTES`].
    pub(super) time: Duration,
    /// The end of the server.
    pub(super) stopping: &'a Stopping,
}

/// Bytes that a client must take in each stretch of the time that it is given. Twice what may wait unsent, or a client
/// that reads steadily could be given up because the kernel asks for more so seldom.
pub(super) const PACE_BYTES: u64 = 128 << 10;

/// Bytes that may wait in a connection's buffer before the kernel asks for more.
const UNSENT: u32 = 128 << 10;
/// Bytes of a file in one system call: a connection does not keep its thread for longer.
const CHUNK: u64 = 1 << 20;

/// An answer that did not get to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stopped {
    /// Bytes of the file that were sent.
    pub(super) bytes: u64,
    /// Why.
    pub(super) reason: HttpStop,
}

/// Lets the kernel ask for more when little is left unsent, not when little is left unacknowledged: a client's pace is
/// seen by that. Without it, slow clients are only given up later.
pub(super) fn keep_short(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// Sends `head`, and after it the bytes `part` of `content`. They share segments.
pub(super) async fn head_and_content(
    stream: &TcpStream,
    head: &[u8],
    content: &Content,
    part: Range<u64>,
    pace: Pace<'_>,
) -> Result<(), Stopped> {
    if part.is_empty() {
        return bytes(stream, head, pace).await;
    }
    // While corked, only full segments leave. Each call hands the kernel a file in pieces of 64 KiB, and if the rest of
    // each went out as a segment of its own, sending would take twice the time.
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_cork(true);
    let sent = match bytes(stream, head, pace).await {
        Ok(()) => match content {
            Content::File(open) => file(stream, &open.file, part, pace).await,
            Content::Text(text) => bytes(stream, in_memory(&text.bytes, part), pace).await,
        },
        Err(stopped) => Err(Stopped { bytes: 0, ..stopped }),
    };
    let _ = socket.set_tcp_cork(false);
    sent
}

/// Sends `bytes`.
pub(super) async fn bytes(stream: &TcpStream, bytes: &[u8], pace: Pace<'_>) -> Result<(), Stopped> {
    at_pace(stream, bytes.len() as u64, pace, |sent| {
        let rest = usize::try_from(sent).ok().and_then(|sent| bytes.get(sent..)).unwrap_or_default();
        SockRef::from(stream).send_with_flags(rest, MSG_NOSIGNAL)
    })
    .await
}

/// Sends the bytes `part` of `file`, from the page cache, without a copy.
async fn file(stream: &TcpStream, file: &File, part: Range<u64>, pace: Pace<'_>) -> Result<(), Stopped> {
    at_pace(stream, part.end - part.start, pace, |sent| {
        let at = part.start + sent;
        // Files end before the largest offset there is.
        let mut offset = i64::try_from(at).map_err(io::Error::other)?;
        let count = usize::try_from((part.end - at).min(CHUNK)).unwrap_or(usize::MAX);
        Ok(sendfile64(stream, file, Some(&mut offset), count)?)
    })
    .await
}

/// The bytes `part` of `all`, which they are inside of.
fn in_memory(all: &[u8], part: Range<u64>) -> &[u8] {
    let place = |at| usize::try_from(at).unwrap_or(usize::MAX);
    all.get(place(part.start)..place(part.end)).unwrap_or_default()
}

/// Whose fault an error is: all that a socket says is about the client, the rest comes from the disk.
fn why(error: &io::Error) -> HttpStop {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::EPIPE
            | Errno::ECONNRESET
            | Errno::ETIMEDOUT
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::ENETDOWN
            | Errno::ENOTCONN,
        ) => HttpStop::ClientGone,
        _ => HttpStop::Io,
    }
}

/// Calls `write` with how many bytes it has written so far, until these are `all`.
///
/// A client that does not keep `pace` is given up: it holds memory and a place.
async fn at_pace(
    stream: &TcpStream,
    all: u64,
    pace: Pace<'_>,
    write: impl Fn(u64) -> io::Result<usize>,
) -> Result<(), Stopped> {
    let (mut sent, mut mark) = (0, 0);
    let mut give_up = Instant::now() + pace.time;
    let mut ended = pin!(pace.stopping.ended());
    while sent < all {
        let stopped = |reason| Err(Stopped { bytes: sent, reason });
        let written = tokio::select! {
            biased;
            written = timeout_at(give_up, stream.async_io(Interest::WRITABLE, || write(sent))) => written,
            () = &mut ended => return stopped(HttpStop::ServerStops),
        };
        match written {
            Ok(Ok(0)) => return stopped(HttpStop::FileShrank),
            Ok(Ok(count)) => sent += count as u64,
            Ok(Err(error)) => return stopped(why(&error)),
            Err(_) => return stopped(HttpStop::TooSlow),
        }
        if sent - mark >= PACE_BYTES {
            mark = sent;
            give_up = Instant::now() + pace.time;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_socket_says_is_about_the_client_and_the_rest_about_the_disk() {
        for gone in [Errno::EPIPE, Errno::ECONNRESET, Errno::ETIMEDOUT, Errno::EHOSTUNREACH] {
            assert_eq!(why(&gone.into()), HttpStop::ClientGone, "{gone}");
        }
        assert_eq!(why(&Errno::EIO.into()), HttpStop::Io);
        assert_eq!(why(&io::Error::other("an offset")), HttpStop::Io);
    }

    #[test]
    fn a_part_of_a_text_is_that_part() {
        assert_eq!(in_memory(b"abcdef", 2..4), b"cd");
        assert_eq!(in_memory(b"abc", 0..9), b"", "never beyond");
    }
}
