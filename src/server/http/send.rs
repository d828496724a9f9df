//! Sends bytes and files on a connection, within a minimum pace of the client. Connections of `http` call it; it never
//! decides what is sent.

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

use super::connections::Slot;
use super::shutdown::Shutdown;
use crate::content::file_work::{FileWork, HTTP};
use crate::event::HttpStop;
use crate::images::{CachedFile, Content, Text};
use crate::record::Recorder;

/// The conditions under which a response is sent.
#[derive(Clone, Copy)]
pub(super) struct Pace<'a> {
    /// The maximum time for each [`PACE_BYTES`].
    pub(super) time: Duration,
    /// The connection's slot, which another connection may take if the client is too slow.
    pub(super) slot: Option<&'a Slot>,
    /// Signals the stop of the server.
    pub(super) stopping: &'a Shutdown,
    /// Knows whether DHCP is busy.
    pub(super) recorder: &'a Recorder,
    pub(super) work: &'a FileWork,
}

/// Number of bytes that a client must take in each period. It is twice the amount that may wait unsent: the kernel asks
/// for more so rarely that even a client that reads steadily would miss a smaller amount.
pub(super) const PACE_BYTES: u64 = 128 << 10;

/// The amount of data that is passed to the kernel at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Portion {
    /// Maximum bytes of one system call. A kernel without preemption runs nothing else on that processor meanwhile.
    call: u64,
    /// Maximum bytes that wait in the connection's buffer before the kernel asks for more.
    unsent: u32,
    /// Number of [`PACE_BYTES`] periods that the client gets, because more data may wait unsent.
    stretches: u32,
}

/// For slow clients, and for all clients while DHCP is busy: with pieces of 1 MiB, DHCP had to wait.
const SMALL: Portion = Portion { call: 64 << 10, unsent: 128 << 10, stretches: 1 };
/// For fast clients: at least a window, and as much unsent data as the kernel allows (4 MiB, unless net.ipv4.tcp_wmem
/// says otherwise). Sleeping and waking up costs as much as sending.
const LARGE: Portion = Portion { call: 4 << 20, unsent: u32::MAX, stretches: 32 };
/// A client is fast if it took this many bytes, and as many in each second since the start. With 1 MiB here, 64 clients
/// got a fifth less (under BBR), because their connections then had more data in flight from the start.
const FAST: u64 = 8 << 20;

/// An incomplete response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stopped {
    /// Number of bytes of the file that were sent.
    pub(super) bytes: u64,
    pub(super) reason: HttpStop,
}

/// Makes the kernel ask for more when little is unsent, not when little is unacknowledged. The client's pace is
/// measured by these requests. If this fails, slow clients are only detected later.
pub(super) fn keep_short(stream: &TcpStream) {
    set_unsent(stream, SMALL);
}

fn set_unsent(stream: &TcpStream, portion: Portion) {
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(portion.unsent);
}

/// Maximum size of a body that is copied behind its head, and sent with it in one system call. For a larger body,
/// corking the connection and `sendfile` cost less than the copy.
const SHORT_BODY: u64 = 16 << 10;

/// Sends `head` and then the bytes `part` of `content`, in common segments.
pub(super) async fn head_and_content(
    stream: &TcpStream,
    head: &[u8],
    content: &Content,
    part: Range<u64>,
    pace: Pace<'_>,
) -> Result<(), Stopped> {
    if part.end.saturating_sub(part.start) <= SHORT_BODY {
        return send_in_one_call(stream, head, content, part, pace).await;
    }
    // While corked, only full segments are sent. `sendfile` passes a file in pieces of 64 KiB. Without the cork, the
    // rest of each piece would be sent as a separate segment, which doubles the time.
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_cork(true);
    let sent = match bytes(stream, head, pace).await {
        Ok(()) => match content {
            Content::File(open) => file(stream, &open.file, part, pace).await,
            Content::Short(CachedFile { bytes: all, .. }) | Content::Text(Text { bytes: all, .. }) => {
                bytes(stream, in_memory(all, part), pace).await
            }
        },
        Err(stopped) => Err(Stopped { bytes: 0, ..stopped }),
    };
    let _ = socket.set_tcp_cork(false);
    sent
}

/// Sends `head` and a short body together: a script then costs one system call instead of four.
async fn send_in_one_call(
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

pub(super) async fn bytes(stream: &TcpStream, bytes: &[u8], pace: Pace<'_>) -> Result<(), Stopped> {
    at_pace(stream, bytes.len() as u64, pace, |sent, _| {
        let rest = usize::try_from(sent).ok().and_then(|sent| bytes.get(sent..)).unwrap_or_default();
        SockRef::from(stream).send_with_flags(rest, MSG_NOSIGNAL)
    })
    .await
}

/// Sends the bytes `part` of `file` from the page cache, without a copy.
async fn file(stream: &TcpStream, file: &File, part: Range<u64>, pace: Pace<'_>) -> Result<(), Stopped> {
    at_pace(stream, part.end - part.start, pace, |sent, most| {
        let at = part.start + sent;
        // Files end before the largest possible offset.
        let mut offset = i64::try_from(at).map_err(io::Error::other)?;
        let count = usize::try_from((part.end - at).min(most)).unwrap_or(usize::MAX);
        let _busy = pace.work.begin(HTTP);
        Ok(sendfile64(stream, file, Some(&mut offset), count)?)
    })
    .await
}

/// The bytes `part` of `all`, or nothing if they are out of range.
fn in_memory(all: &[u8], part: Range<u64>) -> &[u8] {
    let place = |at| usize::try_from(at).unwrap_or(usize::MAX);
    all.get(place(part.start)..place(part.end)).unwrap_or_default()
}

/// Attributes an error: socket errors are caused by the client, all others by the disk.
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

/// Calls `write` with the number of bytes written so far and the maximum of the next write, until `all` bytes are
/// written.
///
/// Aborts if the client does not keep `pace`, because it occupies memory and a slot.
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
    let mut evicted = pin!(async {
        match pace.slot {
            Some(slot) => slot.evicted().await,
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
            () = &mut evicted => return stopped(HttpStop::GaveWay),
        };
        match written {
            Ok(Ok(0)) => return stopped(HttpStop::FileShrank),
            Ok(Ok(count)) => sent += count as u64,
            Ok(Err(error)) => return stopped(why(&error)),
            Err(_) => return stopped(HttpStop::TooSlow),
        }
        let now = Instant::now();
        pace.slot.iter().for_each(|slot| slot.note_progress());
        if sent - mark >= PACE_BYTES {
            mark = sent;
            // The unsent data must be taken at that pace too.
            give_up = now + pace.time * portion.stretches;
        }
        let dhcp_is_busy = pace.recorder.dhcp_is_busy();
        if dhcp_is_busy {
            // Otherwise the kernel lets a thread that never sleeps continue for milliseconds while the DHCP thread
            // waits for the processor.
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

/// The next portion for a client that took `sent` bytes in `time`.
fn portion_for(dhcp_is_busy: bool, sent: u64, time: Duration) -> Portion {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let is_fast = sent >= FAST && sent.saturating_mul(1000) >= FAST.saturating_mul(millis);
    if is_fast && !dhcp_is_busy { LARGE } else { SMALL }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_errors_are_attributed_to_the_client() {
        for gone in [Errno::EPIPE, Errno::ECONNRESET, Errno::ETIMEDOUT, Errno::EHOSTUNREACH] {
            assert_eq!(why(&gone.into()), HttpStop::ClientGone, "{gone}");
        }
        assert_eq!(why(&Errno::EIO.into()), HttpStop::Io);
        assert_eq!(why(&io::Error::other("an offset")), HttpStop::Io);
    }

    #[test]
    fn a_part_of_a_text_is_sliced() {
        assert_eq!(in_memory(b"abcdef", 2..4), b"cd");
        assert_eq!(in_memory(b"abc", 0..9), b"", "never beyond");
    }

    #[test]
    fn large_portions_need_fast_clients_and_idle_dhcp() {
        let (second, fast) = (Duration::from_secs(1), 10 * FAST);
        assert_eq!(portion_for(false, fast, 10 * second), LARGE);
        assert_eq!(portion_for(true, fast, second), SMALL, "DHCP would wait");
        assert_eq!(portion_for(false, fast, 11 * second), SMALL, "it is too slow");
        assert_eq!(portion_for(false, FAST - 1, Duration::ZERO), SMALL, "its pace is unknown");
    }
}
