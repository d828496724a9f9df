//! TFTP through the crate async-tftp: it speaks the protocol, this file gives it files and safe limits.
//!
//! What the crate (0.4.2) does that an operator may notice, all of it outside our reach:
//! - It passes over a client's ERROR and sends again until the retries run out. UEFI firmware asks for a file's size,
//!   aborts with ERROR 8, and asks again: the first request takes up a transfer for [`GIVE_UP`], and a second request
//!   *from the same port* within that time is not answered (firmware takes a new port).
//! - It serves a `netascii` request as it does `octet`: no line end is converted.
//! - It drops requests whose name is not UTF-8, so the 0xFF that some ROMs append is never seen here.
//! - After a gap in a window it waits for its timeout instead of sending again at once (RFC 7440 section 4).
//! - Where an option is repeated, the last counts.
//! - No transfer gives way, and an address may have as many silent ones as transfers: clients that fill `max_transfers`
//!   or `max_per_client` keep others out until they are given up, [`GIVE_UP`] after their last acknowledgement. So is a
//!   client that is busy for longer.
//! - Errors are not bounded in number. One is as long as the request that it answers.
//! - It calls one handler at a time. A file that is made from a template within `SOON` is waited for; of one that takes
//!   longer, the client is not sent the size.
//! - A block fits the MTU of the interface; a route to the client that carries less is not looked at.

use std::io::{self, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
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
use crate::event::{Event, Refusal, Stop};
use crate::images::Content;
use crate::net::quota::{Quota, Share};
use crate::net::served::Now;
use crate::server::tftp::native::{Listener, Listeners};
use crate::tftp::Limits;

/// How long the server waits for an acknowledgement before it sends again.
///
/// A client's own `timeout` option is not granted: at up to 255 s a single spoofed request would hold a transfer for 25
/// minutes. RFC 2347 lets a server leave an option out, and a client that waits longer than this only sees a repeated
/// packet.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// How often it sends again before it gives a client up. The crate has one number for all packets, so it is that of the
/// first answer: a forged request must not have us send more than three to whom it names. The price is that three
/// losses in a row end a transfer.
pub const RETRIES: u32 = 2;
/// How long after its last acknowledgement a silent client is given up.
pub const GIVE_UP: Duration = Duration::from_secs(3);
/// Bytes read ahead for each transfer: several blocks in one system call.
const READ_AHEAD: usize = 16 << 10;
/// Time that a request waits for a file that is being made: ordinary templates take a millisecond, and other requests
/// to that address wait meanwhile.
const SOON: Duration = Duration::from_millis(20);
/// Pause before the socket is read again after it failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the transfers of one socket need. `record` is called for each thing that happens; it must not wait.
#[derive(Clone, Debug)]
pub struct Service<F> {
    /// The files.
    pub files: Files,
    /// What is granted, and to whom.
    pub limits: Limits,
    /// Who may ask.
    pub served: Now,
    /// Transfers under way, shared by all sockets that `limits` are meant for.
    pub under_way: Quota,
    /// No transfer is to begin any more: the server stops.
    pub closing: Arc<AtomicBool>,
    /// Takes the events.
    pub record: F,
}

/// Serves the requests that arrive at `listeners`, whichever those are now, until the future is dropped; that ends all
/// transfers, and the end of a listener those that it began.
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
                Err(error) => tracing::error!("cannot serve TFTP at all addresses: {error}"),
            }
        }
        if listeners.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Serves the requests that arrive on `socket`, until the future is dropped; that ends all its transfers.
///
/// `socket` should be bound to one address: the crate answers from a new port of that address, and from whatever the
/// kernel picks if it is unspecified. `mtu` is that of its interface, in bytes. Files are read in the calling task:
/// they are expected on a local disk. Fails only when the socket cannot be used at all.
pub async fn serve<F>(socket: UdpSocket, mtu: u32, service: Service<F>) -> io::Result<()>
where
    F: Fn(Event) + Clone + Send + Sync + 'static,
{
    let block = service.limits.block_size_for(mtu);
    // The crate reads a whole window into memory for each transfer.
    let window = service.limits.window_for(block);
    let server = *v4(&socket.local_addr()?).map_err(|_| io::ErrorKind::Unsupported)?.ip();
    loop {
        let server = TftpServerBuilder::with_handler(Serving { service: service.clone(), server })
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
        // It ends only when receiving fails, and takes its transfers with it; their clients ask again.
        let Err(error) = server.serve().await else { return Ok(()) };
        tracing::warn!(%error, "cannot receive TFTP requests; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

fn into_io(error: async_tftp::Error) -> io::Error {
    match error {
        async_tftp::Error::Io(error) | async_tftp::Error::Bind(error) => error,
        other => io::Error::other(other),
    }
}

/// Our side of the crate's interface.
struct Serving<F> {
    service: Service<F>,
    /// The address that is served.
    server: Ipv4Addr,
}

impl<F: Fn(Event) + Clone + Send + Sync + 'static> Handler for Serving<F> {
    type Reader = Transfer<F>;
    /// Never made: every upload is refused.
    type Writer = Vec<u8>;

    async fn read_req_open(
        &mut self,
        client: &SocketAddr,
        path: &Path,
    ) -> Result<(Transfer<F>, Option<u64>), Reply> {
        let asked = path.as_os_str().as_bytes();
        let peer = v4(client)?;
        let service = &self.service;
        let admitted = service.admit(peer, self.server, asked);
        let (found, share) = admitted.map_err(|reason| service.refuse(peer, asked, reason))?;
        let record = service.record.clone();
        let content = match found {
            Found::Content(content) => content,
            Found::Rendering(rendering) => {
                let (sender, mut made) = oneshot::channel();
                rendering.start(move |content| _ = sender.send(content));
                let Ok(made) = tokio::time::timeout(SOON, &mut made).await else {
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
        // curl takes a size of 0 in the answer for an error, so an empty file is sent without one.
        Ok((transfer, (size > 0).then_some(size)))
    }

    async fn write_req_open(
        &mut self,
        client: &SocketAddr,
        path: &Path,
        _size: Option<u64>,
    ) -> Result<Vec<u8>, Reply> {
        Err(self.service.refuse(v4(client)?, path.as_os_str().as_bytes(), Refusal::Upload))
    }
}

impl<F: Fn(Event)> Service<F> {
    fn admit(&self, peer: SocketAddrV4, server: Ipv4Addr, asked: &[u8]) -> Result<(Found, Share), Refusal> {
        if !self.limits.admits(*peer.ip(), &self.served.borrow().networks) {
            return Err(Refusal::NotAllowed);
        }
        let limit = if self.closing.load(Ordering::Acquire) { 0 } else { self.limits.max_transfers };
        let of_one = self.limits.max_per_client;
        let share = self.under_way.take(*peer.ip(), limit, of_one).ok_or(Refusal::Busy)?;
        Ok((self.files.find(asked, &self.files.asker(*peer.ip(), server))?, share))
    }

    fn refuse(&self, peer: SocketAddrV4, asked: &[u8], reason: Refusal) -> Reply {
        let name = String::from_utf8_lossy(asked).into_owned();
        (self.record)(Event::TftpRefused { name, peer, reason });
        reply(reason)
    }
}

/// The answer to a refused request: fixed text, which never tells a path of this machine.
fn reply(reason: Refusal) -> Reply {
    match reason {
        Refusal::NotFound => Reply::FileNotFound,
        // The crate says "Permission denied" with error 2, which RFC 1350 calls "Access violation".
        Refusal::BadName
        | Refusal::AccessDenied
        | Refusal::Upload
        | Refusal::NotAllowed
        | Refusal::OtherMachine => Reply::PermissionDenied,
        // The crate takes no uploads here, so these four never come.
        Refusal::Exists => Reply::FileAlreadyExists,
        Refusal::TooLarge | Refusal::UploadsFull | Refusal::DiskFull => Reply::DiskFull,
        Refusal::Busy | Refusal::RenderQueue => Reply::Msg("Server is busy, try again".to_owned()),
        Refusal::Template => Reply::Msg("The script has an error: see the server's log".to_owned()),
        Refusal::Io => Reply::Msg("Cannot read the file".to_owned()),
    }
}

/// The client's address; lanboot's sockets are IPv4, so there is no other.
fn v4(client: &SocketAddr) -> Result<SocketAddrV4, Reply> {
    match client {
        SocketAddr::V4(peer) => Ok(*peer),
        SocketAddr::V6(_) => Err(Reply::PermissionDenied),
    }
}

/// A file on its way to a client. The crate drops it when the transfer is over, however it went; only then is known
/// what to record.
struct Transfer<F: Fn(Event)> {
    content: BufReader<Reading>,
    /// The content, while it is being made.
    pending: Option<oneshot::Receiver<Result<Content, Refusal>>>,
    /// It cannot be made, and that is recorded.
    is_refused: bool,
    peer: SocketAddrV4,
    progress: Progress,
    began: Instant,
    record: F,
    _share: Share,
}

impl<F: Fn(Event)> Transfer<F> {
    fn new(content: Content, peer: SocketAddrV4, share: Share, record: F) -> Transfer<F> {
        let now = Instant::now();
        Transfer {
            content: BufReader::with_capacity(READ_AHEAD, Reading { content, at: 0 }),
            pending: None,
            is_refused: false,
            peer,
            progress: Progress { read: 0, first_block: 0, ended: false, last_read: now },
            began: now,
            record,
            _share: share,
        }
    }
}

/// Content that is read from its beginning to its end.
struct Reading {
    content: Content,
    at: u64,
}

impl Read for Reading {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read_at(buf, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

// Nothing in it is pinned: it may move whatever `record` is.
impl<F: Fn(Event)> Unpin for Transfer<F> {}

impl<F: Fn(Event)> AsyncRead for Transfer<F> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(pending) = &mut this.pending {
            let made = ready!(Pin::new(pending).poll(cx)).unwrap_or(Err(Refusal::Template));
            this.pending = None;
            match made {
                Ok(content) => {
                    this.content = BufReader::with_capacity(READ_AHEAD, Reading { content, at: 0 });
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
        // What the crate sent again it does not tell.
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
                stop: Stop::Silent,
                choking_on: None,
            },
        });
    }
}

/// What the crate's reading tells about a transfer: it reads a window only when the one before was acknowledged.
struct Progress {
    /// Bytes read so far.
    read: u64,
    /// Bytes that the first block can have: how much the crate asks for at first.
    first_block: u64,
    /// The crate has read to the end of the file.
    ended: bool,
    /// When it read last.
    last_read: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Sent,
    SizeProbe,
    Stopped,
}

impl Progress {
    fn advance(&mut self, count: usize, asked: usize, now: Instant) {
        if self.first_block == 0 {
            self.first_block = asked as u64;
        }
        self.read += count as u64;
        self.ended |= count == 0 && asked > 0;
        self.last_read = now;
    }

    /// How a transfer ended that the crate dropped at `now`.
    ///
    /// The crate does not say, so this is judged by what it read and how long ago. It drops a transfer either as soon
    /// as the last block is acknowledged, or when the client was silent for [`GIVE_UP`] after a window was read. The
    /// first block is read before the options are sent (OACK), so a client that only wanted the size is one that went
    /// silent when no more than that block had been read. What cannot be told apart from it: a client that went silent
    /// after it took the options, or that asked for no options at all, before it acknowledged block 1. And a client
    /// that acknowledged its last block later than [`GIVE_UP`] after it was read, which takes several lost packets,
    /// counts as stopped although it has the file.
    fn end(&self, now: Instant) -> End {
        let went_silent = now.duration_since(self.last_read) >= GIVE_UP;
        match (self.ended, went_silent) {
            (true, false) => End::Sent,
            (_, true) if self.read <= self.first_block => End::SizeProbe,
            _ => End::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn the_end_of_a_transfer_is_judged_by_what_was_read() {
        let start = Instant::now();
        let after = |reads: &[usize], silence: Duration| {
            let mut progress = Progress { read: 0, first_block: 0, ended: false, last_read: start };
            for count in reads {
                progress.advance(*count, 512, start);
            }
            progress.end(start + silence)
        };
        let (quick, silent) = (Duration::from_millis(5), GIVE_UP);
        assert_eq!(after(&[512, 512, 100, 0], quick), End::Sent);
        assert_eq!(after(&[100, 0], quick), End::Sent);
        assert_eq!(after(&[0], quick), End::Sent, "an empty file");
        assert_eq!(after(&[512], silent), End::SizeProbe);
        assert_eq!(after(&[100, 0], silent), End::SizeProbe, "a file of one block");
        assert_eq!(after(&[512, 512], silent), End::Stopped);
        assert_eq!(after(&[512, 512, 0], silent), End::Stopped, "the last block was never acknowledged");
        assert_eq!(after(&[512], quick), End::Stopped, "the server stops");
        assert_eq!(after(&[], quick), End::Stopped, "no socket for the transfer");
    }

    #[test]
    fn a_transfer_gives_its_place_back_and_says_how_far_it_came() {
        let events = Arc::new(Mutex::new(Vec::new()));
        let under_way = Quota::default();
        let seen = events.clone();
        let peer = SocketAddrV4::new([127, 0, 0, 1].into(), 9);
        let share = under_way.take(*peer.ip(), 1, 1).unwrap();
        let record = move |event| seen.lock().unwrap().push(event);
        let mut transfer = Transfer::new(Content::text("x", vec![7; 600]), peer, share, record);
        assert!(under_way.take(*peer.ip(), 1, 1).is_none(), "the only place is taken");
        let mut buf = [0; 512];
        for expected in [512, 88] {
            let count = transfer.content.read(&mut buf).unwrap();
            assert_eq!(count, expected);
            transfer.progress.advance(count, 512, Instant::now());
        }
        drop(transfer);
        assert_eq!(under_way.count(), 0);
        let last = events.lock().unwrap().pop();
        assert!(matches!(last, Some(Event::TftpStopped { bytes: 600, size: 600, .. })), "{last:?}");
    }
}
