//! One transfer with all it holds: its state, its file, its way to the client. Does what the core says.

use std::net::UdpSocket;
use std::time::Duration;

use super::door::Door;
use super::link::Link;
use super::send::{How, Sender, Sent, prepare};
use super::source::{Blocks, Scratch, Source};
use super::table::Place;
use crate::event::{End, Event, Refusal, Stop};
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
        self.transfer.deadline()
    }

    /// Whether the client acknowledged anything.
    pub fn is_proven(&self) -> bool {
        self.transfer.is_proven()
    }

    /// Whether the client acknowledges every block.
    pub fn is_lock_step(&self) -> bool {
        self.transfer.granted().window <= 1
    }

    /// Whether the client is known to answer a window within `time`. In lock-step it is not: there both ends take turns, often
    /// on one core, and each wakes the other as it goes to sleep.
    pub fn answers_within(&self, time: Duration) -> bool {
        !self.is_lock_step() && self.transfer.answers_within(time)
    }

    /// Whether the socket had no room for all that is to be sent.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// What is to be done about `input`.
    pub fn decide(&mut self, input: Input<'_>, now: Duration) -> Step {
        self.transfer.handle(input, now)
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
