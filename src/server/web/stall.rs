//! Ends connections whose client takes nothing for a while, so that an answer does not stay in memory forever. Ends all
//! others so that the client can read the last answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Maximum time in which a client must take a part of what is sent.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// Maximum time and number of bytes for which a connection is read after the last answer. A connection that is closed
/// with unread data is reset, and a client that still sends its body could not read why it was refused (RFC 9112
/// section 9.6). The bytes are more than what the socket buffers of both sides hold.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 16 << 20;

/// A connection that fails when its client takes nothing for [`WRITE_STALL`], and that reads for [`LINGER`] when it is
/// shut down.
pub(super) struct Stalling<S> {
    stream: S,
    limit: Duration,
    /// Set while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Set when the sending side is closed.
    lingering: Option<Lingering>,
}

/// The limits of reading after the last answer.
struct Lingering {
    end: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S> Stalling<S> {
    pub(super) fn new(stream: S) -> Stalling<S> {
        Stalling { stream, limit: WRITE_STALL, stalled: None, lingering: None }
    }

    /// The result of a write, or an error if there was none for too long.
    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let shut = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.judge(context, shut))?;
            self.lingering = Some(Lingering { end: Box::pin(sleep(LINGER)), bytes_left: LINGER_BYTES });
        }
        let Stalling { stream, lingering: Some(lingering), .. } = &mut *self else {
            return Poll::Ready(Ok(()));
        };
        let mut unread = [0; 4096];
        while lingering.end.as_mut().poll(context).is_pending() && lingering.bytes_left > 0 {
            let mut buffer = ReadBuf::new(&mut unread);
            match ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    lingering.bytes_left = lingering.bytes_left.saturating_sub(buffer.filled().len());
                }
                // The client has closed its side, or the connection.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (ours, mut theirs) = duplex(8);
        let mut stream = Stalling::new(ours);
        stream.write_all(b"12345678").await.unwrap();
        let reader = async {
            for _ in 0..4 {
                sleep(WRITE_STALL - Duration::from_secs(1)).await;
                theirs.read_exact(&mut [0; 2]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(b"abcdefgh"), reader);
        assert!(written.is_ok(), "a slow client is served");
        assert_eq!(stream.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
    #[tokio::test(start_paused = true)]
    async fn the_last_answer_is_read_by_a_client_that_still_sends() {
        let (ours, mut theirs) = duplex(8);
        let mut stream = Stalling::new(ours);
        stream.write_all(b"refused").await.unwrap();
        let client = async {
            theirs.write_all(&[0; 1000]).await.unwrap();
            let mut answer = [0; 7];
            theirs.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"refused");
            theirs
        };
        let began = tokio::time::Instant::now();
        let (ended, theirs) = tokio::join!(stream.shutdown(), client);
        ended.unwrap();
        assert_eq!(began.elapsed(), LINGER, "a client that keeps its side open");
        drop(theirs);
        let began = tokio::time::Instant::now();
        let (ours, theirs) = duplex(8);
        drop(theirs);
        Stalling::new(ours).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "a client that has closed its side");
    }
}
