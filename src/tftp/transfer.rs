//! One download, from the first answer to its end: what to send when, as a function of packets and time.
//!
//! Blocks are counted from 1 without wrapping; on the wire only the low 16 bits of a number are seen (RFC 1350 has no
//! more, and all who serve large files let it wrap to 0). Time is counted from whatever moment the caller likes.

use std::time::Duration;

use super::MAX_SILENCE;
use super::negotiate::Granted;
use super::rtt::RoundTrip;
use super::step::{Input, Send, Step};
use crate::event::{End, Stop};
use crate::wire::tftp::Packet;

/// How often the same is sent again to a client that is silent. Then it is waited for, until [`MAX_SILENCE`] is over.
pub const RESENDS: u32 = 5;
/// How often the first answer is sent again. Nothing shows yet that the request was not forged, so a victim gets at most
/// three packets for one.
pub const RESENDS_UNPROVEN: u32 = 2;
/// A client without a window that acknowledges the same once more so long after its last block was sent has lost that
/// block: its answers to copies come sooner.
pub const LOST_FOR_SURE: Duration = Duration::from_secs(1);
/// After so many waits in vain for block 1 the client is likely to choke on its size.
pub const FIRST_BLOCK_LOST: u32 = 3;

/// The state of a download.
#[derive(Clone, Debug)]
pub struct Transfer {
    granted: Granted,
    /// The number of the last block, once it is known.
    last: Option<u64>,
    /// The options were sent and not yet accepted.
    offering: bool,
    /// The client acknowledged something, so that its address is no forgery.
    proven: bool,
    /// When the client was heard last; the beginning, if it was not.
    heard_at: Duration,
    /// When it last acknowledged what it had not before; the beginning, if it acknowledged nothing.
    progress_at: Duration,
    /// Blocks that the client has: all up to this number.
    acknowledged: u64,
    /// The number of the highest block sent.
    sent: u64,
    /// When the flight that is under way was sent, the last time if it was more than once.
    sent_at: Duration,
    /// When its last block was sent for the first time.
    first_sent_at: Duration,
    /// Some of that flight had been sent before.
    sent_again: bool,
    /// Its last block was sent more than once: which of them an ACK of it answers, nobody knows.
    ambiguous: bool,
    /// How often it was sent anew because the client acknowledged again what came before it.
    repeats: u32,
    /// The deadline is that of a probe.
    probing: bool,
    /// A probe was sent since the client was last heard.
    probed: bool,
    /// Waits in vain since the client was last heard, but for the probe.
    silences: u32,
    /// How often the client did not get block 1, although it took the options.
    first_block_lost: u32,
    /// Packets sent more than once, in all.
    resent: u64,
    deadline: Duration,
    round_trip: RoundTrip,
}

impl Transfer {
    /// Begins the transfer of a file of `size` bytes; `None` if that shows only when it is read (netascii), and then
    /// [`Transfer::ends_with`] must be told.
    pub fn start(granted: Granted, size: Option<u64>, now: Duration) -> (Transfer, Step) {
        let block_size = u64::from(granted.block_size.max(1));
        let mut transfer = Transfer {
            granted,
            // The last block is the first that is not full, so whole blocks are followed by an empty one.
            last: size.map(|size| (size / block_size).saturating_add(1)),
            offering: granted.oack.is_some(),
            proven: false,
            heard_at: now,
            progress_at: now,
            acknowledged: 0,
            sent: 0,
            sent_at: now,
            first_sent_at: now,
            sent_again: false,
            ambiguous: false,
            repeats: 0,
            probing: false,
            probed: false,
            silences: 0,
            first_block_lost: 0,
            resent: 0,
            deadline: now,
            round_trip: RoundTrip::default(),
        };
        let send = transfer.flight(now);
        (transfer, Step::Send(send))
    }

    /// Goes on. `now` never goes back.
    pub fn handle(&mut self, input: Input<'_>, now: Duration) -> Step {
        match input {
            Input::Packet(Packet::Ack(block)) => self.acknowledge(*block, now),
            Input::Packet(Packet::Error { code, message }) => Step::End(self.refused(code.0, message)),
            // Nothing else is part of a download; the stray packet is not answered.
            Input::Packet(_) => Step::Wait,
            Input::Timeout if now < self.deadline => Step::Wait,
            Input::Timeout if now >= self.gives_up_at() => Step::End(End::Stopped(Stop::Silent)),
            Input::Timeout if self.probing => self.probe(now),
            Input::Timeout => self.silence(now),
            Input::Unreachable => Step::End(End::Stopped(Stop::Unreachable)),
        }
    }

    /// Told by the reader: block `last` is not full, so it is the last one, and blocks after it were not sent.
    pub fn ends_with(&mut self, last: u64) {
        self.last = Some(last);
        self.sent = self.sent.min(last);
    }

    /// When to call [`Transfer::handle`] with [`Input::Timeout`], unless a packet changes it before.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether the client acknowledged anything.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// When the client last acknowledged what it had not before; the beginning, if it acknowledged nothing.
    pub fn progress_at(&self) -> Duration {
        self.progress_at
    }

    /// From when on the client is later than it usually is, if it acknowledges nothing more, and at most
    /// `longest` after it did.
    pub fn late_at(&self, longest: Duration) -> Duration {
        self.progress_at.saturating_add(self.round_trip.timeout().min(longest))
    }

    /// Whether an answer has come within `time` at least once.
    pub fn answers_within(&self, time: Duration) -> bool {
        self.round_trip.probe().is_some() && self.round_trip.shortest() < time
    }

    /// Whole blocks that the client has.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Packets that were sent more than once.
    pub fn resent(&self) -> u64 {
        self.resent
    }

    /// The block size that the client may be choking on: it took the options, and then never block 1, although it was
    /// sent over and over. Firmware that cannot put fragments together does so, and a path with a smaller MTU.
    pub fn choking_on(&self) -> Option<u16> {
        let lost = self.acknowledged == 0 && self.first_block_lost >= FIRST_BLOCK_LOST;
        lost.then_some(self.granted.block_size)
    }

    /// What the transfer goes by.
    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    fn acknowledge(&mut self, block: u16, now: Duration) -> Step {
        // How far it is ahead of what the client had, on the wire's circle of 65536 numbers.
        let ahead = u64::from(block.wrapping_sub(self.acknowledged as u16));
        if self.offering {
            return if block == 0 { self.accepted(now) } else { Step::Wait };
        }
        if ahead > self.sent.saturating_sub(self.acknowledged) {
            // Late: the client has had this for long.
            return Step::Wait;
        }
        if ahead == 0 && !self.proven {
            // It acknowledges nothing that was sent: anyone can write it without having got block 1, and each one would
            // buy more copies of that block for the address it claims to come from.
            return Step::Wait;
        }
        self.heard(now);
        if ahead == 0 {
            return self.repeated(now);
        }
        self.proven = true;
        self.progress_at = now;
        self.acknowledged = self.acknowledged.saturating_add(ahead);
        self.round_trip.no_copy_comes();
        if self.acknowledged < self.sent {
            return self.gap(now);
        }
        self.measure(now);
        if Some(self.acknowledged) == self.last {
            return Step::End(End::Sent);
        }
        Step::Send(self.flight(now))
    }

    fn heard(&mut self, now: Duration) {
        let only_waits = self.deadline >= self.gives_up_at();
        self.silences = 0;
        self.probed = false;
        self.heard_at = now;
        if only_waits {
            // It is there again: what it lacks is sent again in time.
            self.deadline = now.saturating_add(self.wait()).min(self.gives_up_at());
        }
    }

    fn gives_up_at(&self) -> Duration {
        self.heard_at.saturating_add(MAX_SILENCE)
    }

    /// The client took the options.
    fn accepted(&mut self, now: Duration) -> Step {
        self.offering = false;
        self.proven = true;
        self.progress_at = now;
        self.heard(now);
        self.measure(now);
        Step::Send(self.flight(now))
    }

    /// The client acknowledged a block in the middle of the window: the one after it is missing, so the window begins
    /// anew there, at once (RFC 7440 section 4). But where that was done less than a round trip ago this tells of the flight
    /// before, and what is missing is on its way. The client counts its window from here all the same, and says nothing
    /// before it is full: so it gets the rest of that.
    fn gap(&mut self, now: Duration) -> Step {
        if self.sent_again && now.saturating_sub(self.sent_at) < self.round_trip.shortest() * 3 / 4 {
            return self.extend(now);
        }
        if !self.sent_again {
            // On a lossy path this may be all that is ever heard of a flight: whole ones are seldom.
            self.round_trip.heard();
        }
        Step::Send(self.flight(now))
    }

    /// Sends what the window after what the client has holds beyond the flight that is under way.
    fn extend(&mut self, now: Duration) -> Step {
        let first = self.sent.saturating_add(1);
        let last = self.window_end();
        self.set_deadline(now);
        if last < first {
            return Step::Wait;
        }
        self.first_sent_at = now;
        self.ambiguous = false;
        self.sent = last;
        Step::Send(Send::Blocks { first, last })
    }

    /// The client acknowledged once more what it had acknowledged.
    ///
    /// In lock-step that is not answered: each ACK would then double all blocks after it (the Sorcerer's Apprentice bug,
    /// RFC 1123 section 4.2.3.1). Only a client that says so long after everything was sent, because it was busy
    /// meanwhile, gets its block once more. With a window it says that the first block of it is missing (RFC 7440
    /// section 4), unless it comes too early to be about it, or answers a copy of what the client has.
    fn repeated(&mut self, now: Duration) -> Step {
        let since = now.saturating_sub(self.sent_at);
        let is_answer = match self.granted.window {
            1 => since < self.round_trip.probe().unwrap_or_default().max(LOST_FOR_SURE),
            _ => self.round_trip.is_of_a_copy(since) || self.is_too_early(since),
        };
        if is_answer {
            return Step::Wait;
        }
        if self.acknowledged == 0 {
            self.first_block_lost = self.first_block_lost.saturating_add(1);
        }
        let repeats = self.repeats.saturating_add(u32::from(self.sent_again));
        let send = self.flight(now);
        self.repeats = repeats;
        Step::Send(send)
    }

    /// Whether what comes so long after the flight is no answer to it. Of a window that was sent once the first block may be
    /// missed as soon as the second is there. After it was sent anew many more ACKs may come that are about the one before,
    /// from clients that tell of each block that they get instead: so it is repeated once in the time that a whole window
    /// usually takes, and ever more seldom.
    fn is_too_early(&self, since: Duration) -> bool {
        let least = match self.round_trip.smoothed() {
            None => self.round_trip.timeout(),
            Some(_) if !self.sent_again => self.round_trip.shortest() * 3 / 4,
            Some(usual) => usual * (1 << self.repeats.min(10)) * 3 / 4,
        };
        since < least
    }

    /// A window was not answered as soon as usual: its last block may be lost, or the answer. The last block is sent once
    /// more: it completes the window, or has the client say what it has (as RFC 8985 section 7 does it for TCP). Without
    /// that, each such loss would cost the whole of [`RoundTrip::MIN_TIMEOUT`].
    fn probe(&mut self, now: Duration) -> Step {
        self.probing = false;
        self.probed = true;
        self.sent_again = true;
        self.ambiguous = true;
        self.resent = self.resent.saturating_add(1);
        self.deadline = now.saturating_add(self.wait()).min(self.gives_up_at());
        Step::Send(Send::Blocks { first: self.sent, last: self.sent })
    }

    /// The deadline has come.
    fn silence(&mut self, now: Duration) -> Step {
        if self.proven && self.acknowledged == 0 {
            self.first_block_lost = self.first_block_lost.saturating_add(1);
        }
        let most = if self.proven { RESENDS } else { RESENDS_UNPROVEN };
        let sent_again = |transfer: &Transfer| transfer.silences.saturating_add(u32::from(transfer.probed));
        if sent_again(self) >= most {
            return Step::End(End::Stopped(Stop::Silent));
        }
        self.silences = self.silences.saturating_add(1);
        self.round_trip.back_off();
        let send = self.flight(now);
        if self.proven && sent_again(self) >= most {
            // It may be busy: some machines hear nothing while they erase their flash.
            self.deadline = self.gives_up_at();
        }
        Step::Send(send)
    }

    /// The client gave up, or got what it wanted: EDK2 ends its question for the size with ERROR 8, iPXE and others
    /// with another one.
    fn refused(&self, code: u16, message: &[u8]) -> End {
        if self.offering && self.granted.asked_size {
            return End::SizeProbe;
        }
        End::Stopped(Stop::Refused { code, message: String::from_utf8_lossy(message).into_owned() })
    }

    /// What is to be under way now: the options until they are accepted, then the window after what the client has.
    fn flight(&mut self, now: Duration) -> Send {
        let send = if self.offering {
            self.sent_again = self.silences > 0;
            self.ambiguous = self.sent_again;
            self.resent = self.resent.saturating_add(u64::from(self.sent_again));
            Send::Options
        } else {
            let first = self.acknowledged.saturating_add(1);
            let last = self.window_end();
            self.sent_again = first <= self.sent;
            self.ambiguous = last <= self.sent;
            self.resent = self.resent.saturating_add(self.sent.saturating_sub(self.acknowledged));
            self.sent = last;
            Send::Blocks { first, last }
        };
        self.sent_at = now;
        if !self.ambiguous {
            self.first_sent_at = now;
        }
        self.repeats = 0;
        self.set_deadline(now);
        send
    }

    fn set_deadline(&mut self, now: Duration) {
        let wait = self.wait();
        let probe = self.round_trip.probe().filter(|probe| *probe < wait);
        // In lock-step a copy of the only block under way is no less than sending it again.
        let may = self.granted.window > 1 && self.granted.timeout.is_none() && self.silences == 0;
        let probe = probe.filter(|_| may && !self.offering);
        self.probing = probe.is_some();
        self.deadline = now.saturating_add(probe.unwrap_or(wait)).min(self.gives_up_at());
    }

    /// The number of the last block that may be under way.
    fn window_end(&self) -> u64 {
        let end = self.acknowledged.saturating_add(u64::from(self.granted.window.max(1)));
        end.min(self.last.unwrap_or(u64::MAX))
    }

    fn wait(&self) -> Duration {
        match self.granted.timeout {
            // A forged request is not worth holding a place for minutes.
            Some(asked) if !self.proven => asked.min(RoundTrip::MAX_TIMEOUT),
            Some(asked) => asked,
            None => self.round_trip.timeout(),
        }
    }

    /// The whole flight is acknowledged.
    fn measure(&mut self, now: Duration) {
        let took = now.saturating_sub(self.first_sent_at);
        // Whatever was answered, the round trip is not shorter than the time since the flight was sent anew.
        let least = now.saturating_sub(self.sent_at);
        let only_probed = self.sent_at <= self.first_sent_at;
        if !self.ambiguous {
            self.round_trip.measured(took);
        } else if only_probed || least < self.round_trip.shortest() * 3 / 4 {
            self.round_trip.measured_if_a_copy_comes(took, Duration::MAX);
        } else if self.acknowledged > 0 {
            self.round_trip.measured_if_a_copy_comes(took, least * 3 / 4);
        }
    }
}
