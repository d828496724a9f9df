//! TFTP through the crate async-tftp. The crate implements the protocol; this file provides files and safe limits.
//!
//! The crate (0.4.2) has these visible limitations, which lanboot cannot change:
//!
//! - It ignores a client's ERROR and retransmits until the retries run out. UEFI firmware asks for a file's size,
//!   aborts with ERROR 8, and asks again. The first request then occupies a transfer for [`GIVE_UP`]. A second request
//!   *from the same port* within that time gets no answer, but firmware takes a new port.
//! - It serves `netascii` like `octet`, without converting line ends.
//! - It drops requests whose name is not UTF-8, for example with the 0xFF that some ROMs append.
//! - After a gap in a window it waits for its timeout instead of retransmitting immediately (RFC 7440 section 4).
//! - If an option is repeated, the last one counts.
//! - Transfers are never evicted, and all transfers of an address may be silent. Clients that fill `max_transfers` or
//!   `max_per_client` block others until [`GIVE_UP`] after their last acknowledgement. A client that pauses for longer
//!   is aborted as well.
//! - The rate of error packets is not limited. An error is as long as the request that it answers.
//! - It calls one handler at a time. A handler waits for a template for at most `RENDER_WAIT`; if rendering takes
//!   longer, the client is not sent the file size.
//! - A block fits the MTU of the interface; the path MTU to the client is ignored.

mod progress;

use std::io::{self, BufReader, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_tftp::packet::Error as Reply;
use async_tftp::server::{Handler, TftpServerBuilder};
use futures_io::AsyncRead;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::content::lookup::{Files, Found};
use crate::event::{Event, Refusal, ServerFact, TransferStop};
use crate::images::Content;
use crate::net::quota::{Quota, Share};
use crate::net::snapshot::Now;
use crate::server::tftp::native::{Listener, Listeners};
use crate::tftp::Limits;

use progress::{End, Progress};

pub use progress::GIVE_UP;

/// Time without an acknowledgement before the server retransmits.
///
/// A client's own `timeout` option is not granted: with up to 255 s, a single spoofed request would occupy a transfer
/// for 25 minutes. RFC 2347 allows a server to omit an option, and a client that waits longer only receives a
/// duplicate.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// Number of retransmissions before a transfer is aborted. The crate uses one number for all packets, so it is that of
/// the first answer: a forged request must not cause more than three packets to the address that it names. Therefore
/// three consecutive losses end a transfer.
pub const RETRIES: u32 = 2;
/// Bytes read ahead for each transfer: several blocks in one system call.
const READ_AHEAD: usize = 16 << 10;
/// Maximum time that a request waits for a template. Ordinary templates take a millisecond, and other requests to the
/// same address wait meanwhile.
const RENDER_WAIT: Duration = Duration::from_millis(20);
/// Pause before a failed socket is read again.
const PAUSE: Duration = Duration::from_secs(1);

/// Everything that transfers need. `record` is called for each event and must not block.
#[derive(Clone, Debug)]
pub struct Service<F> {
    pub files: Files,
    /// The limits, the allowed clients and the served networks.
    pub now: Now,
    /// Counts the running transfers of all sockets.
    pub active: Quota,
    /// Set when the server stops: no more transfers may start.
    pub closing: Arc<AtomicBool>,
    /// Records events.
    pub record: F,
}

/// Serves the requests that arrive at the current `listeners`. Dropping the future ends all transfers; the end of a
/// listener ends its own transfers.
pub async fn serve_all<F>(mut listeners: watch::Receiver<Listeners>, service: Service<F>)
where
    F: Fn(Event) + Clone + Send + Sync + 'static,
{
    let mut tasks = JoinSet::new();
    let mut served: Vec<(Arc<Listener>, AbortHandle)> = Vec::new();
    loop {
        let now = Arc::clone(&listeners.borrow_and_update());
        let is = |one: &Arc<Listener>| now.iter().any(|other| Arc::ptr_eq(one, other));
        for (_, task) in served.extract_if(.., |(listener, _)| !is(listener)) {
            task.abort();
        }
        for listener in &*now {
            if served.iter().any(|(other, _)| Arc::ptr_eq(other, listener)) {
                continue;
            }
            match listener.socket.try_clone() {
                Ok(socket) => {
                    let task = tasks.spawn(serve(socket, listener.mtu, service.clone()));
                    served.push((Arc::clone(listener), task));
                }
                Err(error) => {
                    let text = format!("cannot serve TFTP at all addresses: {error}");
                    (service.record)(Event::Server { fact: ServerFact::CannotListen, text });
                }
            }
        }
        if listeners.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Serves the requests that arrive on `socket`. Dropping the future ends all its transfers.
///
/// `socket` should be bound to a specific address: the crate answers from a new port of that address, and otherwise
/// from any address that the kernel chooses. `mtu` is the MTU of its interface in bytes. Files are read in the calling
/// task, so they should be on a local disk.
///
/// # Errors
/// If the socket cannot be used at all.
pub async fn serve<F>(socket: UdpSocket, mtu: u32, service: Service<F>) -> io::Result<()>
where
    F: Fn(Event) + Clone + Send + Sync + 'static,
{
    let limits = service.limits();
    let block = limits.block_size_for(mtu);
    // The crate reads a whole window into memory for each transfer.
    let window = limits.window_for(block);
    let server = socket.local_addr()?.ip();
    loop {
        let server = TftpServerBuilder::with_handler(FileHandler { service: service.clone(), server })
            .std_socket(socket.try_clone()?)
            .map_err(into_io)?
            .timeout(TIMEOUT)
            .max_send_retries(RETRIES)
            .ignore_client_timeout()
            .block_size_limit(block)
            .window_size_limit(window)
            .build()
            .await
            .map_err(into_io)?;
        // This returns only if receiving fails, and ends all transfers. The clients repeat their requests.
        let Err(error) = server.serve().await else { return Ok(()) };
        let text = format!("cannot receive TFTP requests: {error}; trying again");
        (service.record)(Event::Server { fact: ServerFact::CannotReceive, text });
        tokio::time::sleep(PAUSE).await;
    }
}

fn into_io(error: async_tftp::Error) -> io::Error {
    match error {
        async_tftp::Error::Io(error) | async_tftp::Error::Bind(error) => error,
        other => io::Error::other(other),
    }
}

/// Implements the crate's handler trait.
struct FileHandler<F> {
    service: Service<F>,
    /// The address of the socket.
    server: IpAddr,
}

impl<F: Fn(Event) + Clone + Send + Sync + 'static> Handler for FileHandler<F> {
    type Reader = Transfer<F>;
    /// Never constructed, because every upload is refused.
    type Writer = Vec<u8>;

    async fn read_req_open(
        &mut self,
        client: &SocketAddr,
        path: &Path,
    ) -> Result<(Transfer<F>, Option<u64>), Reply> {
        let asked = path.as_os_str().as_bytes();
        let peer = *client;
        let service = &self.service;
        let admitted = service.admit(peer, self.server, asked);
        let (found, share) = admitted.map_err(|reason| service.refuse(peer, asked, reason))?;
        let record = service.record.clone();
        let content = match found {
            Found::Content(content) => content,
            Found::Rendering(rendering) => {
                let (sender, mut made) = oneshot::channel();
                rendering.start(move |content| _ = sender.send(content));
                let Ok(made) = tokio::time::timeout(RENDER_WAIT, &mut made).await else {
                    let name = String::from_utf8_lossy(asked).into_owned();
                    let mut transfer = Transfer::new(Content::text(name, Vec::new()), peer, share, record);
                    transfer.pending = Some(made);
                    return Ok((transfer, None));
                };
                let made = made.unwrap_or(Err(Refusal::Template));
                made.map_err(|reason| service.refuse(peer, asked, reason))?
            }
        };
        let size = content.size();
        let transfer = Transfer::new(content, peer, share, record);
        // curl treats a size of 0 in the answer as an error, so the size of an empty file is omitted.
        Ok((transfer, (size > 0).then_some(size)))
    }

    async fn write_req_open(
        &mut self,
        client: &SocketAddr,
        path: &Path,
        _size: Option<u64>,
    ) -> Result<Vec<u8>, Reply> {
        Err(self.service.refuse(*client, path.as_os_str().as_bytes(), Refusal::Upload))
    }
}

impl<F> Service<F> {
    /// The limits of new transfers.
    fn limits(&self) -> Limits {
        let now = self.now.borrow();
        now.config.tftp.as_ref().map_or_else(Limits::smallest, |tftp| tftp.limits.clone())
    }
}

impl<F: Fn(Event)> Service<F> {
    fn admit(&self, peer: SocketAddr, server: IpAddr, asked: &[u8]) -> Result<(Found, Share), Refusal> {
        let limits = self.limits();
        if !limits.admits(peer.ip(), &self.now.borrow().interfaces.networks) {
            return Err(Refusal::NotAllowed);
        }
        let limit = if self.closing.load(Ordering::Acquire) { 0 } else { limits.max_transfers };
        let of_one = limits.max_per_client;
        let share = self.active.take(peer.ip(), limit, of_one).ok_or(Refusal::Busy)?;
        Ok((self.files.find(asked, &self.files.requester(peer.ip(), server))?, share))
    }

    fn refuse(&self, peer: SocketAddr, asked: &[u8], reason: Refusal) -> Reply {
        let name = String::from_utf8_lossy(asked).into_owned();
        (self.record)(Event::TftpRefused { name, peer, reason });
        reply(reason)
    }
}

/// The answer to a refused request. The text is fixed, and never contains a path of this machine.
fn reply(reason: Refusal) -> Reply {
    match reason {
        Refusal::NotFound => Reply::FileNotFound,
        // The crate's text of error 2 is "Permission denied"; RFC 1350 calls it "Access violation".
        Refusal::BadName
        | Refusal::AccessDenied
        | Refusal::Upload
        | Refusal::NotAllowed
        | Refusal::OtherMachine => Reply::PermissionDenied,
        // These four never occur, because uploads are refused earlier.
        Refusal::Exists => Reply::FileAlreadyExists,
        Refusal::TooLarge | Refusal::UploadsFull | Refusal::DiskFull => Reply::DiskFull,
        Refusal::Busy | Refusal::RenderQueue => Reply::Msg("Server is busy, try again".to_owned()),
        Refusal::Template => Reply::Msg("The script has an error: see the server's log".to_owned()),
        Refusal::Io => Reply::Msg("Cannot read the file".to_owned()),
    }
}

/// A file that is being sent. The crate drops it when the transfer ends for any reason, and only then the result can be
/// recorded.
struct Transfer<F: Fn(Event)> {
    content: BufReader<ContentReader>,
    /// The content, while it is being rendered.
    pending: Option<oneshot::Receiver<Result<Content, Refusal>>>,
    /// Whether rendering failed and this was recorded.
    is_refused: bool,
    peer: SocketAddr,
    progress: Progress,
    /// The number of reads so far, as far as it matters to [`Transfer::report`].
    reads: u8,
    began: Instant,
    record: F,
    _share: Share,
}

impl<F: Fn(Event)> Transfer<F> {
    fn new(content: Content, peer: SocketAddr, share: Share, record: F) -> Transfer<F> {
        let now = Instant::now();
        Transfer {
            content: BufReader::with_capacity(READ_AHEAD, ContentReader { content, at: 0 }),
            pending: None,
            is_refused: false,
            peer,
            progress: Progress::new(now),
            reads: 0,
            began: now,
            record,
            _share: share,
        }
    }
}

impl<F: Fn(Event)> Transfer<F> {
    /// Records the start with the first read of the crate, and the first acknowledgement with the second one.
    fn report(&mut self, asked: usize) {
        let content = &self.content.get_ref().content;
        let (file, peer, size) = (content.name().to_owned(), self.peer, content.size());
        self.reads = self.reads.saturating_add(1);
        let blksize = u16::try_from(asked).unwrap_or(u16::MAX);
        match self.reads {
            1 => (self.record)(Event::TftpStarted { file, peer, size, blksize, options: true }),
            2 => (self.record)(Event::TftpAcknowledged { file, peer, block: true }),
            _ => {}
        }
    }
}

/// Reads content from its beginning to its end.
struct ContentReader {
    content: Content,
    at: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read_at(buf, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

// No field is pinned, so it may move whatever `record` is.
impl<F: Fn(Event)> Unpin for Transfer<F> {}

impl<F: Fn(Event)> AsyncRead for Transfer<F> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(pending) = &mut this.pending {
            let made = ready!(Pin::new(pending).poll(cx)).unwrap_or(Err(Refusal::Template));
            this.pending = None;
            match made {
                Ok(content) => {
                    this.content = BufReader::with_capacity(READ_AHEAD, ContentReader { content, at: 0 });
                }
                Err(reason) => {
                    this.is_refused = true;
                    let name = this.content.get_ref().content.name().to_owned();
                    (this.record)(Event::TftpRefused { name, peer: this.peer, reason });
                    return Poll::Ready(Err(io::Error::other(
                        "The script has an error: see the server's log",
                    )));
                }
            }
        }
        this.report(buf.len());
        let outcome = this.content.read(buf);
        if let Ok(count) = outcome {
            this.progress.advance(count, buf.len(), Instant::now());
        }
        Poll::Ready(outcome)
    }
}

impl<F: Fn(Event)> Drop for Transfer<F> {
    fn drop(&mut self) {
        if self.is_refused {
            return;
        }
        let content = &self.content.get_ref().content;
        let (file, peer, size) = (content.name().to_owned(), self.peer, content.size());
        // The crate does not report retransmissions.
        let (took, resent) = (self.began.elapsed(), 0);
        (self.record)(match self.progress.end(Instant::now()) {
            End::Sent => Event::TftpSent { file, peer, bytes: size, took, resent },
            End::SizeProbe => Event::TftpSizeProbe { file, peer },
            End::Stopped => Event::TftpStopped {
                file,
                peer,
                bytes: self.progress.read,
                size,
                took,
                resent,
                stop: TransferStop::Silent,
                rejected_blksize: None,
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_transfer_returns_its_share_and_reports_progress() {
        let events = Arc::new(Mutex::new(Vec::new()));
        let active = Quota::default();
        let seen = events.clone();
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        let share = active.take(peer.ip(), 1, 1).unwrap();
        let record = move |event| seen.lock().unwrap().push(event);
        let mut transfer = Transfer::new(Content::text("x", vec![7; 600]), peer, share, record);
        assert!(active.take(peer.ip(), 1, 1).is_none(), "the only share is in use");
        let mut buf = [0; 512];
        for expected in [512, 88] {
            let count = transfer.content.read(&mut buf).unwrap();
            assert_eq!(count, expected);
            transfer.progress.advance(count, 512, Instant::now());
        }
        drop(transfer);
        assert_eq!(active.count(), 0);
        let last = events.lock().unwrap().pop();
        assert!(matches!(last, Some(Event::TftpStopped { bytes: 600, size: 600, .. })), "{last:?}");
    }
}
