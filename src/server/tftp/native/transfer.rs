//! One transfer with all it holds: its state, its file, its way to the client. Does what the core says.

use std::net::UdpSocket;
use std::time::Duration;

use super::blocks::{Blocks, Scratch, Source};
use super::send::{How, Sender, Sent, prepare};
use super::socket::Link;
use super::unknown_tid::Door;
use crate::event::{End, Event, Refusal, Stop};
use crate::tftp::admission::Place;
use crate::tftp::{Granted, Input, Send, Step, Transfer, refusal};
use crate::wire::tftp::{ErrorCode, Packet};

/// What all transfers of a thread use in turn.
pub struct Tools {
    pub sender: Sender,
    /// Where a window is read to before it is sent: as large as the largest so far.
    pub scratch: Scratch,
    /// Nothing else is to be done in this turn.
    pub idle: bool,
}

/// The longest time until a client counts as late, however slow its path is.
const LATE: Duration = Duration::from_secs(3);
/// How long a client acknowledges nothing until it counts as silent. Active ones are heard sooner: 400 of them with
/// full windows on 100 Mbit/s have to wait so long for each other.
const SILENT: Duration = Duration::from_secs(3);

/// How long a transfer has made no progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Silence {
    /// No longer than usual.
    None,
    /// Longer than usual.
    Late,
    /// For [`SILENT`].
    Long,
}

/// A transfer.
pub struct Session {
    place: Place,
    transfer: Transfer,
    source: Source,
    link: Link,
    how: How,
    began: Duration,
    /// Blocks that the socket had no room for: the first, and how many.
    waiting: Option<(u64, usize)>,
    /// The moment that the timer is set to.
    pub armed: Duration,
    /// The silence that was last recorded in the table.
    silence: Silence,
    /// Where strangers are told, once it has lasted a while.
    pub door: Option<Door>,
}

impl Session {
    /// A transfer at its beginning, and its first step.
    pub fn start(
        place: Place,
        granted: Granted,
        source: Source,
        (link, best): (Link, How),
        now: Duration,
    ) -> (Session, Step) {
        let (transfer, step) = Transfer::start(granted, source.known_size(), now);
        let how = if granted.window > 1 { prepare(&link, best, source.datagram_size()) } else { How::Single };
        let session = Session {
            place,
            transfer,
            source,
            link,
            how,
            began: now,
            waiting: None,
            armed: Duration::MAX,
            silence: Silence::None,
            door: None,
        };
        (session, step)
    }

    /// Whose transfer it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The way to the client, for another transfer, if it is a socket as a new one would be.
    pub fn into_spare(self) -> Option<UdpSocket> {
        match self.link {
            Link::Own(socket) if self.how == How::Single => Some(socket),
            _ => None,
        }
    }

    /// The way to the client.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// How long it has been under way.
    pub fn has_lasted(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// When something must be done if the client does nothing.
    pub fn deadline(&self) -> Duration {
        let next = match self.silence {
            Silence::None => self.transfer.late_at(LATE),
            Silence::Late => self.transfer.progress_at().saturating_add(SILENT),
            Silence::Long => Duration::MAX,
        };
        self.transfer.deadline().min(next)
    }

    /// Since when the client is silent, and whether that is for long, if it is news at `now`.
    pub fn becomes_silent(&mut self, now: Duration) -> Option<(Duration, bool)> {
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

    /// Takes in that the client made progress. Whether it was silent before.
    fn is_heard(&mut self) -> bool {
        std::mem::replace(&mut self.silence, Silence::None) != Silence::None
    }

    /// Whether the client acknowledges every block.
    pub fn is_lock_step(&self) -> bool {
        self.transfer.granted().window <= 1
    }

    /// Whether the client is known to answer a window within `time`. In lock-step it is not: there both ends take
    /// turns, often on one core, and each wakes the other as it goes to sleep.
    pub fn answers_within(&self, time: Duration) -> bool {
        !self.is_lock_step() && self.transfer.answers_within(time)
    }

    /// Whether the socket had no room for all that is to be sent.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// What is to be done about `input`, and whether the client was heard for the first time, or after it was silent.
    pub fn decide(&mut self, input: Input<'_>, now: Duration) -> (Step, bool) {
        let (was_proven, progress) = (self.transfer.is_proven(), self.transfer.progress_at());
        let step = self.transfer.handle(input, now);
        let is_first = self.transfer.is_proven() && !was_proven;
        let is_heard = self.transfer.progress_at() > progress && self.is_heard();
        (step, is_first || is_heard)
    }

    /// Does what the core said, and says how it ended if it did.
    pub fn carry_out(&mut self, step: Step, tools: &mut Tools) -> Option<End> {
        match step {
            Step::Send(Send::Blocks { first, last }) => {
                // What the socket had no room for comes before what follows it.
                let first = match self.waiting {
                    Some((waits, count)) if waits.saturating_add(count as u64) == first => {
                        waits.max(self.transfer.acknowledged().saturating_add(1))
                    }
                    _ => first,
                };
                let count =
                    usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX).saturating_add(1);
                self.send_blocks(first, count, tools)
            }
            Step::Send(Send::Options) => {
                let options = self.transfer.granted().oack.unwrap_or_default();
                self.say(&Packet::OAck(options));
                None
            }
            Step::Wait => None,
            Step::End(end) => Some(end),
        }
    }

    /// The socket has room again.
    pub fn send_rest(&mut self, tools: &mut Tools) -> Option<End> {
        let (first, count) = self.waiting.take()?;
        self.send_blocks(first, count, tools)
    }

    /// Tells the client that there is no more, where it is known to be one.
    pub fn say_goodbye(&self, stop: &Stop) {
        match stop {
            Stop::Unreadable => self.say(&refusal::error(Refusal::Io)),
            Stop::ServerStops => {
                self.say(&Packet::Error { code: ErrorCode::UNDEFINED, message: b"The server stops" });
            }
            _ => {}
        }
    }

    /// What is to be recorded about it.
    pub fn event(&self, end: End, now: Duration) -> Event {
        let (file, peer) = (self.source.name().to_owned(), self.place.flow.peer);
        let (took, resent, size) =
            (now.saturating_sub(self.began), self.transfer.resent(), self.source.size());
        match end {
            End::Sent => Event::TftpSent { file, peer, bytes: size, took, resent },
            End::SizeProbe => Event::TftpSizeProbe { file, peer },
            End::Stopped(stop) => Event::TftpStopped {
                file,
                peer,
                bytes: size.min(self.transfer.acknowledged().saturating_mul(self.source.block_size() as u64)),
                size,
                took,
                resent,
                stop,
                choking_on: self.transfer.choking_on(),
            },
        }
    }

    fn send_blocks(&mut self, first: u64, count: usize, tools: &mut Tools) -> Option<End> {
        let size = self.source.datagram_size();
        self.source.forget_before(self.transfer.acknowledged().saturating_add(1));
        let Ok(Blocks { datagrams, count, ends }) = self.source.blocks(first, count, &mut tools.scratch)
        else {
            return Some(End::Stopped(Stop::Unreadable));
        };
        if ends {
            self.transfer.ends_with(first.saturating_add(count as u64).saturating_sub(1));
        }
        self.waiting = None;
        match tools.sender.send(&self.link, &mut self.how, count, datagrams, size) {
            Sent::All => {
                self.read_ahead(first.saturating_add(count as u64), count, tools);
                None
            }
            Sent::Some(done) => {
                self.waiting = Some((first.saturating_add(done as u64), count.saturating_sub(done)));
                None
            }
            Sent::Unreachable => Some(End::Stopped(Stop::Unreachable)),
        }
    }

    /// Reads the window that is likely to be next while there is nothing else to do.
    fn read_ahead(&mut self, first: u64, count: usize, tools: &mut Tools) {
        if tools.idle && self.transfer.granted().window > 1 {
            self.source.read_ahead(first, count, &mut tools.scratch);
        }
    }

    /// Sends a short packet. What is lost is sent again in time.
    fn say(&self, packet: &Packet<'_>) {
        let _ = self.link.send(&packet.encode(), None);
    }
}
