//! Bytes and files into a connection, at the client's pace.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::thread::yield_now;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::MSG_NOSIGNAL;
use nix::sys::sendfile::sendfile64;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::connections::Seat;
use super::shutdown::Stopping;
use crate::event::HttpStop;
use crate::images::{Content, ShortFile, Text};
use crate::record::Recorder;

/// The pace that a client has to keep, when nobody waits for it any more, and what else is done.
#[derive(Clone, Copy)]
pub(super) struct Pace<'a> {
    /// The time that it has for each [`PACE_BYTES`].
    pub(super) time: Duration,
    /// The connection's place, which it may lose to another one when it takes nothing.
    pub(super) seat: Option<&'a Seat>,
    /// The end of the server.
    pub(super) stopping: &'a Stopping,
    /// Who knows whether DHCP has something to do.
    pub(super) recorder: &'a Recorder,
}

/// Bytes that a client must take in each stretch of the time that it is given. Twice what may wait unsent, or a client
/// that reads steadily could be given up because the kernel asks for more so seldom.
pub(super) const PACE_BYTES: u64 = 128 << 10;

/// How much is given to the kernel at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Portion {
    /// Bytes in one system call. A kernel without preemption runs nothing else on that processor meanwhile.
    call: u64,
    /// Bytes that may wait in the connection's buffer before the kernel asks for more.
    unsent: u32,
    /// How often the client gets the time for [`PACE_BYTES`], for all that may wait.
    stretches: u32,
}

/// For whoever takes it slowly, and for all while DHCP has something to do: it waited for pieces of 1 MiB.
const SMALL: Portion = Portion { call: 64 << 10, unsent: 128 << 10, stretches: 1 };
/// For who takes it as fast as it comes: a window or more, and as much waiting as the kernel keeps (4 MiB, unless
/// net.ipv4.tcp_wmem says otherwise). Sleeping and waking up cost as much as sending does.
const LARGE: Portion = Portion { call: 4 << 20, unsent: u32::MAX, stretches: 32 };
/// Who has taken as much, and in each second since the beginning, is fast. With 1 MiB, 64 clients got a fifth less
/// (under BBR): their connections then hold more in flight from the start.
const FAST: u64 = 8 << 20;

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
    set_unsent(stream, SMALL);
}

fn set_unsent(stream: &TcpStream, portion: Portion) {
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(portion.unsent);
}

/// Bytes of a body that is copied behind its head and sent with it in one system call. For more, corking the connection
/// and `sendfile` cost less than the copy.
const SHORT_BODY: u64 = 16 << 10;

/// Sends `head`, and after it the bytes `part` of `content`. They share segments.
pub(super) async fn head_and_content(
    stream: &TcpStream,
    head: &[u8],
    content: &Content,
    part: Range<u64>,
    pace: Pace<'_>,
) -> Result<(), Stopped> {
    if part.end.saturating_sub(part.start) <= SHORT_BODY {
        return together(stream, head, content, part, pace).await;
    }
    // While corked, only full segments leave. Each call hands the kernel a file in pieces of 64 KiB, and if the rest of
    // each went out as a segment of its own, sending would take twice the time.
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_cork(true);
    let sent = match bytes(stream, head, pace).await {
        Ok(()) => match content {
            Content::File(open) => file(stream, &open.file, part, pace).await,
            Content::Short(ShortFile { bytes: all, .. }) | Content::Text(Text { bytes: all, .. }) => {
                bytes(stream, in_memory(all, part), pace).await
            }
        },
        Err(stopped) => Err(Stopped { bytes: 0, ..stopped }),
    };
    let _ = socket.set_tcp_cork(false);
    sent
}

/// Sends `head` and a short body as one: a script or a configuration then costs one system call instead of four.
async fn together(
    stream: &TcpStream,
    head: &[u8],
    content: &Content,
    part: Range<u64>,
    pace: Pace<'_>,
) -> Result<(), Stopped> {
    let body_length = usize::try_from(part.end.saturating_sub(part.start)).unwrap_or_default();
    let mut whole = Vec::with_capacity(head.len() + body_length);
    whole.extend_from_slice(head);
    whole.resize(head.len() + body_length, 0);
    let unreadable = |reason| Err(Stopped { bytes: 0, reason });
    match content.read_at(&mut whole[head.len()..], part.start) {
        Ok(read) if read == body_length => {}
        Ok(_) => return unreadable(HttpStop::FileShrank),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return unreadable(HttpStop::FileShrank);
        }
        Err(error) => return unreadable(why(&error)),
    }
    bytes(stream, &whole, pace)
        .await
        .map_err(|stopped| Stopped { bytes: stopped.bytes.saturating_sub(head.len() as u64), ..stopped })
}

/// Sends `bytes`.
pub(super) async fn bytes(stream: &TcpStream, bytes: &[u8], pace: Pace<'_>) -> Result<(), Stopped> {
    at_pace(stream, bytes.len() as u64, pace, |sent, _| {
        let rest = usize::try_from(sent).ok().and_then(|sent| bytes.get(sent..)).unwrap_or_default();
        SockRef::from(stream).send_with_flags(rest, MSG_NOSIGNAL)
    })
    .await
}

/// Sends the bytes `part` of `file`, from the page cache, without a copy.
async fn file(stream: &TcpStream, file: &File, part: Range<u64>, pace: Pace<'_>) -> Result<(), Stopped> {
    at_pace(stream, part.end - part.start, pace, |sent, most| {
        let at = part.start + sent;
        // Files end before the largest offset there is.
        let mut offset = i64::try_from(at).map_err(io::Error::other)?;
        let count = usize::try_from((part.end - at).min(most)).unwrap_or(usize::MAX);
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

/// Calls `write` with how many bytes it has written so far and how many it may write at most, until they are `all`.
///
/// A client that does not keep `pace` is given up: it holds memory and a place.
async fn at_pace(
    stream: &TcpStream,
    all: u64,
    pace: Pace<'_>,
    write: impl Fn(u64, u64) -> io::Result<usize>,
) -> Result<(), Stopped> {
    let (mut sent, mut mark, mut portion) = (0, 0, SMALL);
    let began = Instant::now();
    let mut give_up = began + pace.time;
    let mut ended = pin!(pace.stopping.ended());
    let mut gives_way = pin!(async {
        match pace.seat {
            Some(seat) => seat.gives_way().await,
            None => std::future::pending().await,
        }
    });
    while sent < all {
        let stopped = |reason| Err(Stopped { bytes: sent, reason });
        let write = || write(sent, portion.call);
        let written = tokio::select! {
            biased;
            written = timeout_at(give_up, stream.async_io(Interest::WRITABLE, write)) => written,
            () = &mut ended => return stopped(HttpStop::ServerStops),
            () = &mut gives_way => return stopped(HttpStop::GaveWay),
        };
        match written {
            Ok(Ok(0)) => return stopped(HttpStop::FileShrank),
            Ok(Ok(count)) => sent += count as u64,
            Ok(Err(error)) => return stopped(why(&error)),
            Err(_) => return stopped(HttpStop::TooSlow),
        }
        let now = Instant::now();
        pace.seat.iter().for_each(|seat| seat.has_progress());
        if sent - mark >= PACE_BYTES {
            mark = sent;
            // What waits unsent is taken at that pace too.
            give_up = now + pace.time * portion.stretches;
        }
        let dhcp_is_busy = pace.recorder.dhcp_is_busy(now.into_std());
        if dhcp_is_busy {
            // Else the kernel lets a thread that never sleeps go on for milliseconds while DHCP's waits for its
            // processor.
            yield_now();
        }
        let next = portion_for(dhcp_is_busy, sent, now - began);
        if next != portion {
            set_unsent(stream, next);
            portion = next;
        }
    }
    if portion != SMALL {
        set_unsent(stream, SMALL);
    }
    Ok(())
}

/// What a client gets next that has taken `sent` bytes in that time, while DHCP is busy or not.
fn portion_for(dhcp_is_busy: bool, sent: u64, time: Duration) -> Portion {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let is_fast = sent >= FAST && sent.saturating_mul(1000) >= FAST.saturating_mul(millis);
    if is_fast && !dhcp_is_busy { LARGE } else { SMALL }
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

    #[test]
    fn large_portions_are_for_who_is_fast_while_dhcp_has_nothing_to_do() {
        let (second, fast) = (Duration::from_secs(1), 10 * FAST);
        assert_eq!(portion_for(false, fast, 10 * second), LARGE);
        assert_eq!(portion_for(true, fast, second), SMALL, "DHCP would wait");
        assert_eq!(portion_for(false, fast, 11 * second), SMALL, "it is slower than that");
        assert_eq!(portion_for(false, FAST - 1, Duration::ZERO), SMALL, "it is not known yet");
    }
}
