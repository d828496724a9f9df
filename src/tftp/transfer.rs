//! One download from the first answer to its end, as a function of packets and time.
//!
//! Blocks are counted from 1 without wrapping. Packets contain only the low 16 bits (RFC 1350 has no more, and all
//! implementations that serve large files wrap to 0). The caller chooses the zero point of time.

use std::time::Duration;

use super::negotiate::Granted;
use super::rtt::RoundTrip;
use super::step::{Input, Send, Step};
use crate::event::{TransferEnd, TransferStop};
use crate::tftp::settings::MAX_SILENCE;
use crate::wire::tftp::Packet;

/// The maximum number of retransmissions to a silent client. After that the server only waits, until [`MAX_SILENCE`] is
/// over.
pub const RESENDS: u32 = 5;
/// The maximum number of retransmissions of the first answer. The source of the request may be forged, so a victim gets
/// at most three packets per request.
pub const RESENDS_UNPROVEN: u32 = 2;
/// The time after which a repeated ACK of a client without a window shows that its last block was lost. ACKs of
/// unnecessary copies arrive earlier.
pub const LOST_FOR_SURE: Duration = Duration::from_secs(1);
/// The number of timeouts of block 1 after which the client probably cannot handle its size.
pub const FIRST_BLOCK_LOST: u32 = 3;

/// The state of a download.
#[derive(Clone, Debug)]
pub struct Transfer {
    granted: Granted,
    /// The number of the last block, once known.
    last: Option<u64>,
    /// Whether the OACK was sent and not yet accepted.
    is_oack_pending: bool,
    /// Whether the client acknowledged anything, which proves that its address is not forged.
    is_verified: bool,
    /// The time of the last packet from the client; initially the start.
    heard_at: Duration,
    /// The time of the last new acknowledgement; initially the start.
    progress_at: Duration,
    /// The number of the highest block such that the client has it and all blocks before it.
    acknowledged: u64,
    /// The highest block number sent.
    sent: u64,
    /// The time at which the current flight was last sent.
    sent_at: Duration,
    /// The time at which the last block of the flight was first sent.
    first_sent_at: Duration,
    /// Whether a part of the flight had been sent before.
    sent_again: bool,
    /// Whether the last block of the flight was sent more than once, so that an ACK may answer any copy.
    ambiguous: bool,
    /// The number of retransmissions of the flight that repeated ACKs caused.
    restarts: u32,
    /// Whether the deadline is that of a probe.
    probing: bool,
    /// Whether a probe was sent since the last packet from the client.
    probed: bool,
    /// The number of timeouts since the last packet from the client, without the probe.
    timeouts: u32,
    /// The number of times that block 1 was lost although the client accepted the options.
    first_block_lost: u32,
    resent: u64,
    deadline: Duration,
    round_trip: RoundTrip,
}

impl Transfer {
    /// Starts the transfer of a file of `size` bytes. With `None` the size is found while reading (netascii), and the
    /// reader must call [`Transfer::ends_with`].
    pub fn start(granted: Granted, size: Option<u64>, now: Duration) -> (Transfer, Step) {
        let block_size = u64::from(granted.block_size.max(1));
        let mut transfer = Transfer {
            granted,
            // The last block is the first one that is not full, so an empty block follows a file of full blocks.
            last: size.map(|size| (size / block_size).saturating_add(1)),
            is_oack_pending: granted.oack.is_some(),
            is_verified: false,
            heard_at: now,
            progress_at: now,
            acknowledged: 0,
            sent: 0,
            sent_at: now,
            first_sent_at: now,
            sent_again: false,
            ambiguous: false,
            restarts: 0,
            probing: false,
            probed: false,
            timeouts: 0,
            first_block_lost: 0,
            resent: 0,
            deadline: now,
            round_trip: RoundTrip::default(),
        };
        let send = transfer.flight(now);
        (transfer, Step::Send(send))
    }

    /// Processes one input. `now` never decreases.
    pub fn handle(&mut self, input: Input<'_>, now: Duration) -> Step {
        match input {
            Input::Packet(Packet::Ack(block)) => self.acknowledge(*block, now),
            Input::Packet(Packet::Error { code, message }) => Step::End(self.refused(code.0, message)),
            // No other packet belongs to a download, and it is not answered.
            Input::Packet(_) => Step::Wait,
            Input::Timeout if now < self.deadline => Step::Wait,
            Input::Timeout if now >= self.gives_up_at() => {
                Step::End(TransferEnd::Stopped(TransferStop::Silent))
            }
            Input::Timeout if self.probing => self.probe(now),
            Input::Timeout => self.timed_out(now),
            Input::Unreachable => Step::End(TransferEnd::Stopped(TransferStop::Unreachable)),
        }
    }

    /// Sets the number of the last block, which the reader found not to be full. Blocks after it were not sent.
    pub fn ends_with(&mut self, last: u64) {
        self.last = Some(last);
        self.sent = self.sent.min(last);
    }

    /// Returns the time at which to call [`Transfer::handle`] with [`Input::Timeout`], unless a packet arrives earlier.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    pub fn is_address_verified(&self) -> bool {
        self.is_verified
    }

    /// Returns the time of the last new acknowledgement; initially the start.
    pub fn progress_at(&self) -> Duration {
        self.progress_at
    }

    /// Returns the time from which the client is later than usual if it acknowledges nothing more, at most `longest`
    /// after the last progress.
    pub fn late_at(&self, longest: Duration) -> Duration {
        self.progress_at.saturating_add(self.round_trip.timeout().min(longest))
    }

    /// Whether an answer arrived within `time` at least once.
    pub fn answers_within(&self, time: Duration) -> bool {
        self.round_trip.probe().is_some() && self.round_trip.shortest() < time
    }

    /// Returns the number of complete blocks that the client has.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub fn resent(&self) -> u64 {
        self.resent
    }

    /// Returns the block size that the client probably cannot handle: it accepted the options but never acknowledged
    /// block 1, although that was sent repeatedly. This happens with firmware that cannot reassemble fragments, and on
    /// a path with a smaller MTU.
    pub fn rejected_blksize(&self) -> Option<u16> {
        let lost = self.acknowledged == 0 && self.first_block_lost >= FIRST_BLOCK_LOST;
        lost.then_some(self.granted.block_size)
    }

    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    fn acknowledge(&mut self, block: u16, now: Duration) -> Step {
        // The distance from the last acknowledged block, modulo the 65536 numbers on the wire.
        let ahead = u64::from(block.wrapping_sub(self.acknowledged as u16));
        if self.is_oack_pending {
            return if block == 0 { self.accepted(now) } else { Step::Wait };
        }
        if ahead > self.sent.saturating_sub(self.acknowledged) {
            // The ACK is late: the client acknowledged more since.
            return Step::Wait;
        }
        if ahead == 0 && !self.is_verified {
            // The ACK matches nothing that was sent. Anyone can send it without having received block 1, and each one
            // would cause more copies of that block to the claimed address.
            return Step::Wait;
        }
        self.heard(now);
        if ahead == 0 {
            return self.repeated(now);
        }
        self.is_verified = true;
        self.progress_at = now;
        self.acknowledged = self.acknowledged.saturating_add(ahead);
        self.round_trip.discard_pending();
        if self.acknowledged < self.sent {
            return self.gap(now);
        }
        self.measure(now);
        if Some(self.acknowledged) == self.last {
            return Step::End(TransferEnd::Sent);
        }
        Step::Send(self.flight(now))
    }

    fn heard(&mut self, now: Duration) {
        let only_waits = self.deadline >= self.gives_up_at();
        self.timeouts = 0;
        self.probed = false;
        self.heard_at = now;
        if only_waits {
            // The client is present again, so missing blocks are retransmitted without the long wait.
            self.deadline = now.saturating_add(self.wait()).min(self.gives_up_at());
        }
    }

    fn gives_up_at(&self) -> Duration {
        self.heard_at.saturating_add(MAX_SILENCE)
    }

    fn accepted(&mut self, now: Duration) -> Step {
        self.is_oack_pending = false;
        self.is_verified = true;
        self.progress_at = now;
        self.heard(now);
        self.measure(now);
        Step::Send(self.flight(now))
    }

    /// The client acknowledged a block in the middle of the window. The next block is missing, so the window restarts
    /// there at once (RFC 7440 section 4). But if the window was restarted less than a round trip ago, the ACK is about
    /// the flight before, and the missing block is already on its way. The client counts its window from this block
    /// anyway and stays silent until it is full, so it gets the rest of that window.
    fn gap(&mut self, now: Duration) -> Step {
        if self.sent_again && now.saturating_sub(self.sent_at) < self.round_trip.shortest() * 3 / 4 {
            return self.extend(now);
        }
        if !self.sent_again {
            // On a lossy path this may be the only answer to a flight, because complete flights are rare.
            self.round_trip.reset_backoff();
        }
        Step::Send(self.flight(now))
    }

    /// Sends the blocks of the window after the last acknowledged block that are not yet in flight.
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

    /// The client repeated an acknowledgement.
    ///
    /// In lock-step, repeated ACKs are ignored: otherwise each one would double all following blocks (the Sorcerer's
    /// Apprentice bug, RFC 1123 section 4.2.3.1). Only if the ACK comes long after the block was sent, because the
    /// client was busy, is the block sent again. With a window, a repeated ACK means that the first block is missing
    /// (RFC 7440 section 4), unless it arrives too early for that, or answers an unnecessary copy.
    fn repeated(&mut self, now: Duration) -> Step {
        let since = now.saturating_sub(self.sent_at);
        let is_answer = match self.granted.window {
            1 => since < self.round_trip.probe().unwrap_or_default().max(LOST_FOR_SURE),
            _ => self.round_trip.is_duplicate_answer(since) || self.is_too_early(since),
        };
        if is_answer {
            return Step::Wait;
        }
        if self.acknowledged == 0 {
            self.first_block_lost = self.first_block_lost.saturating_add(1);
        }
        let restarts = self.restarts.saturating_add(u32::from(self.sent_again));
        let send = self.flight(now);
        self.restarts = restarts;
        Step::Send(send)
    }

    /// Whether an ACK this long after the flight cannot be an answer to it. If the window was sent once, the client may
    /// miss the first block as soon as it has the second. If it was retransmitted, many more ACKs about the flight
    /// before may follow, from clients that acknowledge every block. So a retransmission happens at most once per usual
    /// window time, and then ever more rarely.
    fn is_too_early(&self, since: Duration) -> bool {
        let least = match self.round_trip.smoothed() {
            None => self.round_trip.timeout(),
            Some(_) if !self.sent_again => self.round_trip.shortest() * 3 / 4,
            Some(usual) => usual * (1 << self.restarts.min(10)) * 3 / 4,
        };
        since < least
    }

    /// Sends the last block again because the window was not acknowledged as soon as usual: that block or the ACK may
    /// be lost. The copy completes the window, or makes the client say which blocks it has (as RFC 8985 section 7 does
    /// for TCP). Without it, each such loss would cost the whole of [`RoundTrip::MIN_TIMEOUT`].
    fn probe(&mut self, now: Duration) -> Step {
        self.probing = false;
        self.probed = true;
        self.sent_again = true;
        self.ambiguous = true;
        self.resent = self.resent.saturating_add(1);
        self.deadline = now.saturating_add(self.wait()).min(self.gives_up_at());
        Step::Send(Send::Blocks { first: self.sent, last: self.sent })
    }

    fn timed_out(&mut self, now: Duration) -> Step {
        if self.is_verified && self.acknowledged == 0 {
            self.first_block_lost = self.first_block_lost.saturating_add(1);
        }
        let most = if self.is_verified { RESENDS } else { RESENDS_UNPROVEN };
        let sent_again = |transfer: &Transfer| transfer.timeouts.saturating_add(u32::from(transfer.probed));
        if sent_again(self) >= most {
            return Step::End(TransferEnd::Stopped(TransferStop::Silent));
        }
        self.timeouts = self.timeouts.saturating_add(1);
        self.round_trip.back_off();
        let send = self.flight(now);
        if self.is_verified && sent_again(self) >= most {
            // The client may be busy: some machines receive nothing while they erase their flash.
            self.deadline = self.gives_up_at();
        }
        Step::Send(send)
    }

    /// Handles an ERROR: the client gave up, or has what it wanted. EDK2 ends its size probe with ERROR 8, iPXE and
    /// others with other codes.
    fn refused(&self, code: u16, message: &[u8]) -> TransferEnd {
        if self.is_oack_pending && self.granted.asked_size {
            return TransferEnd::SizeProbe;
        }
        let message = String::from_utf8_lossy(message).into_owned();
        TransferEnd::Stopped(TransferStop::Refused { code, message })
    }

    /// Returns the packets to send now: the OACK until it is accepted, then the window after the last acknowledged
    /// block.
    fn flight(&mut self, now: Duration) -> Send {
        let send = if self.is_oack_pending {
            self.sent_again = self.timeouts > 0;
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
        self.restarts = 0;
        self.set_deadline(now);
        send
    }

    fn set_deadline(&mut self, now: Duration) {
        let wait = self.wait();
        let probe = self.round_trip.probe().filter(|probe| *probe < wait);
        // In lock-step a probe would be the same as a retransmission.
        let may = self.granted.window > 1 && self.granted.timeout.is_none() && self.timeouts == 0;
        let probe = probe.filter(|_| may && !self.is_oack_pending);
        self.probing = probe.is_some();
        self.deadline = now.saturating_add(probe.unwrap_or(wait)).min(self.gives_up_at());
    }

    /// Returns the highest block number that may be in flight.
    fn window_end(&self) -> u64 {
        let end = self.acknowledged.saturating_add(u64::from(self.granted.window.max(1)));
        end.min(self.last.unwrap_or(u64::MAX))
    }

    fn wait(&self) -> Duration {
        match self.granted.timeout {
            // The source may be forged, so the transfer must not stay for minutes.
            Some(asked) if !self.is_verified => asked.min(RoundTrip::MAX_TIMEOUT),
            Some(asked) => asked,
            None => self.round_trip.timeout(),
        }
    }

    /// Takes a measurement after the whole flight was acknowledged.
    fn measure(&mut self, now: Duration) {
        let took = now.saturating_sub(self.first_sent_at);
        // Whichever copy was answered, the round trip is at least the time since the last retransmission.
        let least = now.saturating_sub(self.sent_at);
        let only_probed = self.sent_at <= self.first_sent_at;
        if !self.ambiguous {
            self.round_trip.record(took);
        } else if only_probed || least < self.round_trip.shortest() * 3 / 4 {
            self.round_trip.measure_if_repeated(took, Duration::MAX);
        } else if self.acknowledged > 0 {
            self.round_trip.measure_if_repeated(took, least * 3 / 4);
        }
    }
}
