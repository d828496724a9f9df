//! One running transfer: its state, its file, and its connection to the client. It carries out the steps of the core.

use std::net::UdpSocket;
use std::time::Duration;

use super::blocks::{Blocks, Scratch, Source};
use super::send::{SendMethod, Sender, Sent, prepare};
use super::socket::Link;
use super::unknown_tid::UnknownTid;
use crate::event::{Event, Refusal, TransferEnd, TransferStop};
use crate::tftp::admission::TransferId;
use crate::tftp::{Granted, Input, Send, Step, Transfer, refusal};
use crate::wire::tftp::{ErrorCode, Packet};

/// Resources of a thread that its transfers use in turn.
pub struct SendContext {
    pub sender: Sender,
    /// The buffer for windows.
    pub scratch: Scratch,
    /// Whether there is no other work in this turn.
    pub idle: bool,
}

/// Upper limit of the time after which a client counts as late, even on a slow path.
const LATE: Duration = Duration::from_secs(3);
/// A client that acknowledged nothing for this time counts as silent. Active clients are faster: 400 of them with full
/// windows on 100 Mbit/s wait almost that long for each other.
const SILENT: Duration = Duration::from_secs(3);

/// How long a transfer has made no progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Silence {
    /// Not longer than usual.
    None,
    Late,
    /// At least [`SILENT`].
    Long,
}

/// The first packets that a client has acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Acknowledged {
    Nothing,
    Options,
    Block,
}

/// A running transfer of this thread.
pub struct Session {
    id: TransferId,
    transfer: Transfer,
    source: Source,
    link: Link,
    method: SendMethod,
    began: Duration,
    /// Blocks that are waiting for room in the socket: the first one, and their number.
    waiting: Option<(u64, usize)>,
    /// The time that the timer is set to.
    pub armed: Duration,
    /// The silence that was last reported to the table.
    silence: Silence,
    /// The acknowledgement that was last recorded.
    recorded: Acknowledged,
    /// The socket for packets of other senders, once the transfer has lasted a while.
    pub unknown_tid: Option<UnknownTid>,
}

impl Session {
    /// Starts a transfer, and returns its first step.
    pub fn start(
        id: TransferId,
        granted: Granted,
        source: Source,
        (link, best_method): (Link, SendMethod),
        now: Duration,
    ) -> (Session, Step) {
        let (transfer, step) = Transfer::start(granted, source.known_size(), now);
        let method = if granted.window > 1 {
            prepare(&link, best_method, source.datagram_size())
        } else {
            SendMethod::Single
        };
        let session = Session {
            id,
            transfer,
            source,
            link,
            method,
            began: now,
            waiting: None,
            armed: Duration::MAX,
            silence: Silence::None,
            recorded: Acknowledged::Nothing,
            unknown_tid: None,
        };
        (session, step)
    }

    /// The transfer's entry in the admission table.
    pub fn id(&self) -> TransferId {
        self.id
    }

    /// Returns the socket for another transfer, if it is like a new one.
    pub fn into_spare(self) -> Option<UdpSocket> {
        match self.link {
            Link::Own(socket) if self.method == SendMethod::Single => Some(socket),
            _ => None,
        }
    }

    /// The connection to the client.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The age of the transfer.
    pub fn has_lasted(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// The time of the next step if the client sends nothing.
    pub fn deadline(&self) -> Duration {
        let next = match self.silence {
            Silence::None => self.transfer.late_at(LATE),
            Silence::Late => self.transfer.progress_at().saturating_add(SILENT),
            Silence::Long => Duration::MAX,
        };
        self.transfer.deadline().min(next)
    }

    /// Updates the silence. If it changed at `now`, returns its start and whether it is long.
    pub fn update_silence(&mut self, now: Duration) -> Option<(Duration, bool)> {
        let since = self.transfer.progress_at();
        let silence = if now >= since.saturating_add(SILENT) {
            Silence::Long
        } else if now >= self.transfer.late_at(LATE) {
            Silence::Late
        } else {
            return None;
        };
        let is_news = self.silence != silence && self.silence != Silence::Long;
        self.silence = silence;
        is_news.then_some((since, silence == Silence::Long))
    }

    /// Records progress of the client. Returns whether it was silent before.
    fn reset_silence(&mut self) -> bool {
        std::mem::replace(&mut self.silence, Silence::None) != Silence::None
    }

    /// Whether the window is a single block.
    pub fn is_lock_step(&self) -> bool {
        self.transfer.granted().window <= 1
    }

    /// Whether the client is expected to answer a window within `time`. Never in lock-step: both ends then take turns,
    /// often on one core, and each wakes the other when it goes to sleep.
    pub fn answers_within(&self, time: Duration) -> bool {
        !self.is_lock_step() && self.transfer.answers_within(time)
    }

    /// Whether blocks wait for room in the socket.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Passes `input` to the core. Returns the next step, and whether this is the first sign of the client, or the
    /// first after a silence.
    pub fn decide(&mut self, input: Input<'_>, now: Duration) -> (Step, bool) {
        let (was_proven, progress) = (self.transfer.is_address_verified(), self.transfer.progress_at());
        let step = self.transfer.handle(input, now);
        let is_first = self.transfer.is_address_verified() && !was_proven;
        let is_heard = self.transfer.progress_at() > progress && self.reset_silence();
        (step, is_first || is_heard)
    }

    /// Carries out a step, and returns the end of the transfer if there is one.
    pub fn perform(&mut self, step: Step, context: &mut SendContext) -> Option<TransferEnd> {
        match step {
            Step::Send(Send::Blocks { first, last }) => {
                // Blocks that wait for room in the socket precede those that follow them.
                let first = match self.waiting {
                    Some((waits, count)) if waits.saturating_add(count as u64) == first => {
                        waits.max(self.transfer.acknowledged().saturating_add(1))
                    }
                    _ => first,
                };
                let count =
                    usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX).saturating_add(1);
                self.send_blocks(first, count, context)
            }
            Step::Send(Send::Options) => {
                let options = self.transfer.granted().oack.unwrap_or_default();
                self.send_packet(&Packet::OAck(options));
                None
            }
            Step::Wait => None,
            Step::End(end) => Some(end),
        }
    }

    /// Sends the waiting blocks, because the socket has room again.
    pub fn send_rest(&mut self, context: &mut SendContext) -> Option<TransferEnd> {
        let (first, count) = self.waiting.take()?;
        self.send_blocks(first, count, context)
    }

    /// Sends a final error if the transfer ends on our side.
    pub fn send_final_error(&self, stop: &TransferStop) {
        match stop {
            TransferStop::Unreadable => self.send_packet(&refusal::error(Refusal::Io)),
            TransferStop::ServerStops => {
                self.send_packet(&Packet::Error { code: ErrorCode::UNDEFINED, message: b"The server stops" });
            }
            _ => {}
        }
    }

    /// The event that records the start of the transfer.
    pub fn start_event(&self) -> Event {
        let granted = self.transfer.granted();
        Event::TftpStarted {
            file: self.source.name().to_owned(),
            peer: self.id.flow.peer,
            size: self.source.size(),
            blksize: granted.block_size,
            options: granted.oack.is_some(),
        }
    }

    /// The event that records the first acknowledgement of the OACK or of a block; `None` if it was recorded before.
    pub fn acknowledged_event(&mut self) -> Option<Event> {
        if self.recorded == Acknowledged::Block || !self.transfer.is_address_verified() {
            return None;
        }
        let block = self.transfer.acknowledged() > 0;
        let reached = if block { Acknowledged::Block } else { Acknowledged::Options };
        let is_new = reached > self.recorded;
        self.recorded = reached;
        let (file, peer) = (self.source.name().to_owned(), self.id.flow.peer);
        is_new.then_some(Event::TftpAcknowledged { file, peer, block })
    }

    /// The event that records the end of the transfer.
    pub fn event(&self, end: TransferEnd, now: Duration) -> Event {
        let (file, peer) = (self.source.name().to_owned(), self.id.flow.peer);
        let (took, resent, size) =
            (now.saturating_sub(self.began), self.transfer.resent(), self.source.size());
        match end {
            TransferEnd::Sent => Event::TftpSent { file, peer, bytes: size, took, resent },
            TransferEnd::SizeProbe => Event::TftpSizeProbe { file, peer },
            TransferEnd::Stopped(stop) => Event::TftpStopped {
                file,
                peer,
                bytes: size.min(self.transfer.acknowledged().saturating_mul(self.source.block_size() as u64)),
                size,
                took,
                resent,
                stop,
                rejected_blksize: self.transfer.rejected_blksize(),
            },
        }
    }

    fn send_blocks(&mut self, first: u64, count: usize, context: &mut SendContext) -> Option<TransferEnd> {
        let size = self.source.datagram_size();
        self.source.forget_before(self.transfer.acknowledged().saturating_add(1));
        let Ok(Blocks { datagrams, count, ends }) = self.source.blocks(first, count, &mut context.scratch)
        else {
            return Some(TransferEnd::Stopped(TransferStop::Unreadable));
        };
        if ends {
            self.transfer.ends_with(first.saturating_add(count as u64).saturating_sub(1));
        }
        self.waiting = None;
        match context.sender.send(&self.link, &mut self.method, count, datagrams, size) {
            Sent::All => {
                self.read_ahead(first.saturating_add(count as u64), count, context);
                None
            }
            Sent::Some(done) => {
                self.waiting = Some((first.saturating_add(done as u64), count.saturating_sub(done)));
                None
            }
            Sent::Unreachable => Some(TransferEnd::Stopped(TransferStop::Unreachable)),
        }
    }

    /// Reads the next window in advance if there is no other work.
    fn read_ahead(&mut self, first: u64, count: usize, context: &mut SendContext) {
        if context.idle && self.transfer.granted().window > 1 {
            self.source.read_ahead(first, count, &mut context.scratch);
        }
    }

    /// Sends a short packet. If it is lost, a timer sends it again.
    fn send_packet(&self, packet: &Packet<'_>) {
        let _ = self.link.send(&packet.encode(), None);
    }
}
