//! The TFTP part of a boot: size probe, read request, windows of blocks (RFC 1350, 2347, 2348, 2349, 7440).

use std::net::SocketAddrV4;
use std::time::Duration;

use super::profile::Profile;
use super::step::{Failure, Progress, Step, Transmit};
use super::text::printable;
use crate::types::Timestamp;
use crate::wire::tftp::{ErrorCode, Mode, Options, Packet, Request, reply_to_unknown_tid};

/// The number of times that a packet is sent before the server counts as silent.
pub(super) const TFTP_TRIES: u32 = 5;
/// The wait for the server per try.
pub(super) const TFTP_WAIT: Duration = Duration::from_secs(4);
/// The default block size in bytes (RFC 1350).
const DEFAULT_BLOCK_SIZE: u16 = 512;

/// One running download.
#[derive(Debug)]
pub(super) struct Download {
    profile: Profile,
    /// The maximum silence, if it is less than all tries take.
    timeout: Option<Duration>,
    /// The time of the last new packet.
    silent_since: Timestamp,
    /// The destination of read requests.
    server: SocketAddrV4,
    /// The server's port of this transfer, once known.
    peer: Option<SocketAddrV4>,
    file: Vec<u8>,
    phase: Phase,
    block_size: u16,
    window: u16,
    /// The size of the file that the server announced.
    size: Option<u64>,
    /// The last block received in order: 0 before the first, and again after 65535.
    last: u16,
    /// The number of blocks since the last ACK.
    unacknowledged: u16,
    /// Whether a gap in the current window was reported already.
    gap_answered: bool,
    received: u64,
    tries: u32,
    deadline: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The size was requested.
    Sizing,
    /// The file was requested.
    Opening,
    /// An OACK or a block has arrived.
    Receiving,
    /// The last block has arrived. If it arrives again, our ACK was lost.
    Done,
    Failed,
}

impl Download {
    /// Sends the first read request for `file`.
    pub(super) fn start(
        profile: &Profile,
        server: SocketAddrV4,
        file: Vec<u8>,
        timeout: Option<Duration>,
        now: Timestamp,
        step: &mut Step<'_>,
    ) -> Download {
        let mut download = Download {
            profile: *profile,
            timeout,
            silent_since: now,
            server,
            peer: None,
            file,
            phase: if profile.size_probe.is_some() { Phase::Sizing } else { Phase::Opening },
            block_size: DEFAULT_BLOCK_SIZE,
            window: 1,
            size: None,
            last: 0,
            unacknowledged: 0,
            gap_answered: false,
            received: 0,
            tries: 1,
            deadline: None,
        };
        download.open(now, step);
        download
    }

    /// Returns the time at which to call [`timeout`](Self::timeout).
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Processes a datagram that arrived at the transfer's port.
    pub(super) fn packet<'a>(
        &mut self,
        bytes: &'a [u8],
        from: SocketAddrV4,
        now: Timestamp,
        step: &mut Step<'a>,
    ) {
        let is_unknown_tid = match self.peer {
            Some(peer) => peer != from,
            None => from.ip() != self.server.ip(),
        };
        if is_unknown_tid {
            return self.refuse_unknown_tid(bytes, from, step);
        }
        let Ok(packet) = Packet::decode(bytes) else { return };
        match (self.phase, packet) {
            (Phase::Failed, _) => {}
            (Phase::Done, Packet::Data { block, .. }) if block == self.last => self.acknowledge(step),
            (Phase::Done, _) => {}
            (_, Packet::Error { code, message }) => self.fail(
                Failure::TftpError { file: printable(&self.file), code: code.0, message: printable(message) },
                step,
            ),
            (Phase::Sizing, Packet::OAck(granted)) => self.size_known(from, granted.transfer_size, now, step),
            // A server without options starts to send immediately.
            (Phase::Sizing, Packet::Data { .. }) => self.size_known(from, None, now, step),
            (Phase::Opening, Packet::OAck(granted)) => self.agree(from, granted, now, step),
            (Phase::Opening, Packet::Data { block: 1, data }) => {
                self.peer = Some(from);
                self.begin(step);
                self.block(1, data, now, step);
            }
            (Phase::Receiving, Packet::OAck(_)) if self.received == 0 => self.acknowledge(step),
            (Phase::Receiving, Packet::Data { block, data }) => self.block(block, data, now, step),
            _ => {}
        }
    }

    /// Handles a timeout: sends the last packet again, or gives up.
    pub(super) fn timeout(&mut self, now: Timestamp, step: &mut Step<'_>) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.tries >= TFTP_TRIES || self.gives_up_at().is_some_and(|limit| now >= limit) {
            let file = printable(&self.file);
            let server = self.peer.unwrap_or(self.server);
            return self.fail(Failure::TftpSilent { server, file, received: self.received }, step);
        }
        self.tries = self.tries.saturating_add(1);
        self.wait(now);
        step.progress.push(Progress::Retrying { attempt: self.tries });
        match self.phase {
            Phase::Receiving => self.acknowledge(step),
            _ => step.send.push(Transmit::Tftp { to: self.server, payload: self.request() }),
        }
    }

    /// Handles an unreachable port at the destination of the last packet.
    pub(super) fn closed(&mut self, step: &mut Step<'_>) {
        if self.phase == Phase::Done || self.phase == Phase::Failed {
            return;
        }
        let server = self.peer.unwrap_or(self.server);
        self.fail(Failure::TftpClosed { server, file: printable(&self.file) }, step);
    }

    fn gives_up_at(&self) -> Option<Timestamp> {
        self.timeout.map(|timeout| self.silent_since.after(timeout))
    }

    fn wait(&mut self, now: Timestamp) {
        let until = now.after(TFTP_WAIT);
        self.deadline = Some(self.gives_up_at().map_or(until, |limit| limit.min(until)));
    }

    fn open(&mut self, now: Timestamp, step: &mut Step<'_>) {
        self.peer = None;
        self.moved(now);
        step.progress.push(Progress::Opening {
            server: *self.server.ip(),
            file: printable(&self.file),
            size_only: self.phase == Phase::Sizing,
        });
        step.send.push(Transmit::TftpOpen { to: self.server, payload: self.request() });
    }

    fn request(&self) -> Vec<u8> {
        let options = match &self.profile.size_probe {
            Some(probe) if self.phase == Phase::Sizing => probe.options,
            _ => self.profile.tftp,
        };
        Packet::Rrq(Request { name: &self.file, mode: Mode::Octet, options }).encode()
    }

    /// Answers a packet from another port, which does not disturb the transfer.
    fn refuse_unknown_tid(&self, bytes: &[u8], from: SocketAddrV4, step: &mut Step<'_>) {
        if let Some(answer) = reply_to_unknown_tid(bytes) {
            step.send.push(Transmit::Tftp { to: from, payload: answer.encode() });
            step.progress.push(Progress::UnknownTid(from));
        }
    }

    /// Ends the size probe and starts the real transfer.
    fn size_known(&mut self, from: SocketAddrV4, size: Option<u64>, now: Timestamp, step: &mut Step<'_>) {
        self.size = size;
        step.progress.push(Progress::SizeKnown { bytes: size });
        if let Some(probe) = &self.profile.size_probe {
            let payload = Packet::Error { code: probe.abort, message: probe.message }.encode();
            step.send.push(Transmit::Tftp { to: from, payload });
        }
        self.phase = Phase::Opening;
        self.open(now, step);
    }

    /// Accepts the options that the server grants, or refuses them with ERROR 8 (RFC 2347).
    fn agree(&mut self, from: SocketAddrV4, granted: Options, now: Timestamp, step: &mut Step<'_>) {
        self.peer = Some(from);
        if let Some(what) = unrequested_option(&self.profile.tftp, &granted) {
            let payload = Packet::Error { code: ErrorCode::OPTIONS, message: what.as_bytes() }.encode();
            step.send.push(Transmit::Tftp { to: from, payload });
            return self.fail(Failure::BadOptions { what }, step);
        }
        self.block_size = granted.block_size.unwrap_or(DEFAULT_BLOCK_SIZE);
        self.window = granted.window_size.unwrap_or(1).max(1);
        self.size = granted.transfer_size.or(self.size);
        self.begin(step);
        self.moved(now);
        self.acknowledge(step);
    }

    fn begin(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Receiving;
        step.progress.push(Progress::Transferring {
            block_size: self.block_size,
            window: self.window,
            size: self.size,
        });
    }

    fn block<'a>(&mut self, block: u16, data: &'a [u8], now: Timestamp, step: &mut Step<'a>) {
        if block != self.last.wrapping_add(1) {
            return self.out_of_order(block, step);
        }
        if data.len() > usize::from(self.block_size) {
            return self.fail(Failure::BadOptions { what: "a block is larger than agreed" }, step);
        }
        self.last = block;
        self.received = self.received.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        self.gap_answered = false;
        self.moved(now);
        step.received = Some(data);
        let is_last = data.len() < usize::from(self.block_size);
        if is_last || self.unacknowledged >= self.window {
            self.acknowledge(step);
        }
        if is_last {
            self.finish(step);
        }
    }

    /// Handles a block out of order. A block ahead means that others were lost: the client reports the gap once (RFC
    /// 7440 section 4). A repetition of the last block means that its ACK was lost.
    fn out_of_order(&mut self, block: u16, step: &mut Step<'_>) {
        let ahead = block.wrapping_sub(self.last) < 0x8000 && block != self.last;
        if ahead && !self.gap_answered {
            self.gap_answered = true;
            self.acknowledge(step);
        } else if block == self.last && self.received > 0 {
            self.acknowledge(step);
        }
    }

    fn acknowledge(&mut self, step: &mut Step<'_>) {
        self.unacknowledged = 0;
        let Some(peer) = self.peer else { return };
        step.send.push(Transmit::Tftp { to: peer, payload: Packet::Ack(self.last).encode() });
    }

    fn moved(&mut self, now: Timestamp) {
        self.tries = 1;
        self.silent_since = now;
        self.wait(now);
    }

    fn finish(&mut self, step: &mut Step<'_>) {
        if let Some(promised) = self.size.filter(|size| *size != self.received) {
            return self.fail(Failure::WrongSize { promised, received: self.received }, step);
        }
        self.phase = Phase::Done;
        self.deadline = None;
        step.progress.push(Progress::Finished { bytes: self.received });
    }

    fn fail(&mut self, failure: Failure, step: &mut Step<'_>) {
        self.phase = Phase::Failed;
        self.deadline = None;
        step.progress.push(Progress::Failed(failure));
    }
}

/// Returns the option that an OACK grants without a request, or beyond the requested value.
fn unrequested_option(wanted: &Options, granted: &Options) -> Option<&'static str> {
    if granted.block_size > wanted.block_size {
        return Some("blksize that was not asked for, or larger");
    }
    if granted.window_size > wanted.window_size {
        return Some("windowsize that was not asked for, or larger");
    }
    if granted.transfer_size.is_some() && wanted.transfer_size.is_none() {
        return Some("tsize that was not asked for");
    }
    if granted.timeout.is_some() && granted.timeout != wanted.timeout {
        return Some("timeout that was not asked for");
    }
    None
}
