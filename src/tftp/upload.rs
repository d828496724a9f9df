//! One upload from the answer to the write request to its end, as a function of packets and time. Blocks are
//! acknowledged one at a time (RFC 1350). Windows are not granted, because uploads are small and rare.
//!
//! Blocks are counted from 1 without wrapping; packets contain only the low 16 bits. The caller chooses the zero point
//! of time.

use std::time::Duration;

use super::netascii::Decoder;
use super::refusal;
use crate::event::{Refusal, UploadStop};
use crate::tftp::settings::MAX_SILENCE;
use crate::wire::tftp::{ErrorCode, Mode, Options, Packet, Request};

/// The maximum number of retransmissions to a silent client before the upload ends.
pub const RESENDS: u32 = 5;
/// The maximum number of retransmissions of the first answer, because the source of the request may be forged.
pub const RESENDS_UNPROVEN: u32 = 2;
/// The first retransmission timeout. It doubles each time, up to [`MAX_TIMEOUT`].
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum timeout, unless the client asked for more and its address is verified.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(5);
/// The time after the last acknowledgement in which it can be retransmitted, in case it was lost (RFC 1350 section 6).
pub const DALLY: Duration = Duration::from_secs(3);
/// The default block size in bytes of data (RFC 1350).
const BLOCK_SIZE: u16 = 512;

/// The limits for one upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The largest block that fits the path, in bytes of data.
    pub block_size: u16,
    /// The maximum file size in bytes.
    pub max_size: u64,
}

/// An input of an upload.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The client sent this packet to the transfer's port.
    Packet(&'a Packet<'a>),
    /// [`Upload::deadline`] has passed.
    Timeout,
    /// ICMP reported the client's port as unreachable.
    Unreachable,
    /// The result of the last [`Step::Store`].
    Stored(Result<(), Refusal>),
    /// The client sent another request from the same port.
    Replaced,
    /// The upload was evicted for another one.
    GivesWay,
    /// lanboot is shutting down.
    ServerStops,
}

/// The action that the owner of the socket and the file must take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send this datagram, then wait until [`Upload::deadline`].
    Send(Vec<u8>),
    /// Append the data to the file; after the last block, make the file durable under its name. Then pass
    /// [`Input::Stored`]: a block is acknowledged only once it is stored.
    Store {
        /// The content as it must be in the file.
        data: Vec<u8>,
        /// Whether this is the last block.
        last: bool,
    },
    /// Continue to wait until [`Upload::deadline`].
    Wait,
    /// End the upload.
    End {
        end: End,
        /// The ERROR to send; `None` if the file is stored.
        reply: Option<Vec<u8>>,
    },
}

/// The outcome of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The whole file is stored.
    Received,
    /// The server refused it: the file is too large, or could not be stored.
    Refused(Refusal),
    /// The client ended it, or stopped sending.
    Stopped(UploadStop),
}

/// The state of an upload.
#[derive(Clone, Debug)]
pub struct Upload {
    terms: Terms,
    block_size: usize,
    /// The client's retransmission timeout, if it sent one.
    timeout: Option<Duration>,
    /// The decoder of a netascii upload.
    text: Option<Decoder>,
    /// The bytes of the file that are stored or being stored.
    bytes: u64,
    /// The number of the last block accepted.
    block: u64,
    /// Whether the whole file is stored.
    stored: bool,
    /// The last packet sent: OACK or ACK.
    answer: Vec<u8>,
    /// The number of timeouts since the last packet from the client.
    timeouts: u32,
    /// The time of the last new block; initially the start.
    heard_at: Duration,
    deadline: Duration,
}

impl Upload {
    /// Starts an upload and returns the first answer. `window` and unknown options are not granted (RFC 2347).
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] if the client announces a larger file (`tsize`).
    pub fn start(request: &Request<'_>, terms: Terms, now: Duration) -> Result<(Upload, Step), Refusal> {
        let asked = request.options;
        if asked.transfer_size.is_some_and(|size| size > terms.max_size) {
            return Err(Refusal::TooLarge);
        }
        let granted = Options {
            block_size: asked.block_size.map(|wanted| wanted.min(terms.block_size)),
            timeout: asked.timeout,
            transfer_size: asked.transfer_size,
            window_size: None,
        };
        let answer = if granted == Options::default() {
            Packet::Ack(0).encode()
        } else {
            Packet::OAck(granted).encode()
        };
        let mut upload = Upload {
            terms,
            block_size: granted.block_size.unwrap_or(BLOCK_SIZE).into(),
            timeout: granted.timeout.map(|seconds| Duration::from_secs(seconds.into())),
            text: (request.mode == Mode::Netascii).then(Decoder::default),
            bytes: 0,
            block: 0,
            stored: false,
            answer,
            timeouts: 0,
            heard_at: now,
            deadline: now,
        };
        let step = upload.answer(now);
        Ok((upload, step))
    }

    /// Processes one input. `now` never decreases.
    pub fn handle(&mut self, input: Input<'_>, now: Duration) -> Step {
        match input {
            Input::Packet(Packet::Data { block, data }) => self.data(*block, data, now),
            Input::Packet(Packet::Error { .. }) => self.stop(UploadStop::Client, None),
            // No other packet belongs to an upload, and it is not answered.
            Input::Packet(_) => Step::Wait,
            Input::Timeout if now < self.deadline => Step::Wait,
            Input::Timeout => self.timed_out(now),
            Input::Unreachable => self.stop(UploadStop::Unreachable, None),
            Input::Stored(Ok(())) => {
                self.answer = Packet::Ack(on_wire(self.block)).encode();
                self.timeouts = 0;
                self.heard_at = now;
                self.answer(now)
            }
            Input::Stored(Err(reason)) => refused(reason),
            Input::Replaced => self.stop(UploadStop::Replaced, None),
            Input::GivesWay => self.stop(UploadStop::Evicted, None),
            Input::ServerStops => {
                let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"The server stops" };
                self.stop(UploadStop::ServerStops, Some(error.encode()))
            }
        }
    }

    /// Returns the time at which to call [`Upload::handle`] with [`Input::Timeout`], unless a packet arrives earlier.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Returns the bytes of the file accepted so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn data(&mut self, block: u16, data: &[u8], now: Duration) -> Step {
        if block == on_wire(self.block) && self.block > 0 {
            // The acknowledgement was lost, so it is sent again. A client must not answer a second copy of it with a
            // second copy of its next block (RFC 1123 section 4.2.3.1).
            return self.answer(now);
        }
        let next = self.block.saturating_add(1);
        if self.stored || block != on_wire(next) {
            return Step::Wait;
        }
        if data.len() > self.block_size {
            let error =
                Packet::Error { code: ErrorCode::ILLEGAL, message: b"The block is larger than agreed" };
            return self.stop(UploadStop::Illegal, Some(error.encode()));
        }
        let last = data.len() < self.block_size;
        let data = self.decode(data, last);
        let bytes = self.bytes.saturating_add(data.len() as u64);
        if bytes > self.terms.max_size {
            return refused(Refusal::TooLarge);
        }
        self.bytes = bytes;
        self.block = next;
        self.stored = last;
        Step::Store { data, last }
    }

    fn decode(&mut self, data: &[u8], last: bool) -> Vec<u8> {
        let Some(decoder) = &mut self.text else { return data.to_vec() };
        let mut out = Vec::with_capacity(data.len());
        decoder.decode(data, &mut out);
        if last {
            decoder.finish(&mut out);
        }
        out
    }

    /// Handles a timeout.
    fn timed_out(&mut self, now: Duration) -> Step {
        if self.stored {
            return Step::End { end: End::Received, reply: None };
        }
        let most = if self.block > 0 { RESENDS } else { RESENDS_UNPROVEN };
        if self.timeouts >= most || now >= self.heard_at.saturating_add(MAX_SILENCE) {
            return self.stop(UploadStop::Silent, None);
        }
        self.timeouts = self.timeouts.saturating_add(1);
        self.answer(now)
    }

    /// Sends the last answer again.
    fn answer(&mut self, now: Duration) -> Step {
        self.deadline = now.saturating_add(self.wait());
        if !self.stored {
            // This limits the wait, whatever timeout the client asked for and however often it repeats old blocks.
            self.deadline = self.deadline.min(self.heard_at.saturating_add(MAX_SILENCE));
        }
        Step::Send(self.answer.clone())
    }

    fn wait(&self) -> Duration {
        let doubled = TIMEOUT.saturating_mul(1 << self.timeouts.min(8)).min(MAX_TIMEOUT);
        match self.timeout {
            _ if self.stored => DALLY,
            // The source may be forged, so the upload must not stay for minutes.
            Some(asked) if self.block == 0 => asked.min(MAX_TIMEOUT),
            Some(asked) => asked,
            None => doubled,
        }
    }

    /// Ends the upload for the client or the network. A stored file stays stored.
    fn stop(&self, why: UploadStop, reply: Option<Vec<u8>>) -> Step {
        if self.stored {
            return Step::End { end: End::Received, reply: None };
        }
        Step::End { end: End::Stopped(why), reply }
    }
}

fn refused(reason: Refusal) -> Step {
    Step::End { end: End::Refused(reason), reply: Some(refusal::error(reason).encode()) }
}

/// Returns the number of a block on the wire.
fn on_wire(block: u64) -> u16 {
    (block & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { block_size: 1468, max_size: 1000 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn started(mode: Mode, options: Options) -> (Upload, Step) {
        Upload::start(&Request { name: b"x", mode, options }, TERMS, at(0)).unwrap()
    }

    /// An upload in blocks of 8 bytes whose OACK was sent.
    fn upload() -> Upload {
        started(Mode::Octet, Options { block_size: Some(8), ..Options::default() }).0
    }

    fn data(upload: &mut Upload, block: u16, data: &[u8], now: Duration) -> Step {
        upload.handle(Input::Packet(&Packet::Data { block, data }), now)
    }

    fn store(data: &[u8], last: bool) -> Step {
        Step::Store { data: data.to_vec(), last }
    }

    fn ack(block: u16) -> Step {
        Step::Send(Packet::Ack(block).encode())
    }

    const STORED: Input<'_> = Input::Stored(Ok(()));

    #[test]
    fn rfc1350_4_each_block_is_stored_and_then_acknowledged() {
        let (mut upload, first) = started(Mode::Octet, Options::default());
        assert_eq!(first, ack(0));
        assert_eq!(data(&mut upload, 1, &[1; 512], at(0)), store(&[1; 512], false));
        assert_eq!(upload.handle(STORED, at(0)), ack(1));
        assert_eq!(data(&mut upload, 2, b"end", at(0)), store(b"end", true));
        assert_eq!(upload.handle(STORED, at(0)), ack(2));
        assert_eq!(upload.bytes(), 515);
    }

    #[test]
    fn rfc2347_the_oack_has_no_window() {
        let asked = Options {
            block_size: Some(65464),
            timeout: Some(3),
            transfer_size: Some(900),
            window_size: Some(8),
        };
        let granted = Options { block_size: Some(1468), window_size: None, ..asked };
        let (upload, first) = started(Mode::Octet, asked);
        assert_eq!(first, Step::Send(Packet::OAck(granted).encode()));
        assert_eq!(upload.deadline(), at(3));
        let only_a_window = started(Mode::Octet, Options { window_size: Some(8), ..Options::default() });
        assert_eq!(only_a_window.1, ack(0));
    }

    #[test]
    fn rfc1350_6_the_last_ack_can_be_resent() {
        let mut upload = upload();
        data(&mut upload, 1, b"end", at(1));
        assert_eq!(upload.handle(STORED, at(1)), ack(1));
        assert_eq!(upload.deadline(), at(1) + DALLY);
        assert_eq!(data(&mut upload, 1, b"end", at(3)), ack(1), "and nothing is stored twice");
        assert_eq!(data(&mut upload, 2, b"more", at(4)), Step::Wait);
        assert_eq!(upload.handle(Input::Timeout, at(5)), Step::Wait);
        assert_eq!(upload.handle(Input::Timeout, at(6)), Step::End { end: End::Received, reply: None });
    }

    #[test]
    fn an_error_after_the_file_is_stored_changes_nothing() {
        let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"" };
        for last in [Input::Packet(&error), Input::Unreachable] {
            let mut upload = upload();
            data(&mut upload, 1, b"end", at(1));
            upload.handle(STORED, at(1));
            assert_eq!(upload.handle(last, at(1)), Step::End { end: End::Received, reply: None });
        }
    }

    #[test]
    fn rfc1123_4_2_3_1_only_a_repeated_block_is_acknowledged_again() {
        let mut upload = upload();
        assert_eq!(data(&mut upload, 0, b"12345678", at(0)), Step::Wait, "there is no block 0");
        data(&mut upload, 1, b"12345678", at(0));
        upload.handle(STORED, at(0));
        assert_eq!(data(&mut upload, 1, b"12345678", at(0)), ack(1));
        for stray in [0, 3, 65535] {
            assert_eq!(data(&mut upload, stray, b"12345678", at(0)), Step::Wait, "{stray}");
        }
        assert_eq!(upload.handle(Input::Packet(&Packet::Ack(1)), at(0)), Step::Wait);
        assert_eq!(data(&mut upload, 2, b"", at(0)), store(b"", true));
    }

    #[test]
    fn a_silent_client_gets_retransmissions_then_ends() {
        let mut upload = upload();
        data(&mut upload, 1, b"12345678", at(0));
        upload.handle(STORED, at(0));
        let mut waits = Vec::new();
        let mut now = at(0);
        let end = loop {
            waits.push(upload.deadline().saturating_sub(now).as_secs());
            now = upload.deadline();
            match upload.handle(Input::Timeout, now) {
                Step::Send(packet) => assert_eq!(packet, Packet::Ack(1).encode()),
                other => break other,
            }
        };
        assert_eq!(waits, [1, 2, 4, 5, 5, 5]);
        assert_eq!(end, Step::End { end: End::Stopped(UploadStop::Silent), reply: None });
    }

    #[test]
    fn t_13_a_forged_request_gets_three_answers_at_most() {
        let asked = Options { timeout: Some(255), ..Options::default() };
        for (options, last) in [(Options::default(), 1 + 2 + 4), (asked, 15)] {
            let (mut upload, _) = started(Mode::Octet, options);
            let mut sent = 1;
            while let Step::Send(_) = upload.handle(Input::Timeout, upload.deadline()) {
                sent += 1;
            }
            assert_eq!((sent, upload.deadline()), (3, at(last)), "nor does it hold a place for long");
        }
    }

    #[test]
    fn a_file_too_large_is_refused() {
        let options = Options { transfer_size: Some(1001), ..Options::default() };
        let request = Request { name: b"x", mode: Mode::Octet, options };
        assert_eq!(Upload::start(&request, TERMS, at(0)).unwrap_err(), Refusal::TooLarge);
        let (mut upload, _) = started(Mode::Octet, Options::default());
        data(&mut upload, 1, &[0; 512], at(0));
        upload.handle(STORED, at(0));
        let error = Packet::Error { code: ErrorCode::DISK_FULL, message: b"File is too large" };
        let refused = Step::End { end: End::Refused(Refusal::TooLarge), reply: Some(error.encode()) };
        assert_eq!(data(&mut upload.clone(), 2, &[0; 489], at(0)), refused);
        assert_eq!(data(&mut upload, 2, &[0; 488], at(0)), store(&[0; 488], true), "1000 bytes are allowed");
    }

    #[test]
    fn a_failed_store_ends_with_its_reason() {
        for (reason, code) in [(Refusal::DiskFull, 3), (Refusal::Exists, 6), (Refusal::Io, 0)] {
            let mut upload = upload();
            data(&mut upload, 1, b"end", at(0));
            let Step::End { end, reply } = upload.handle(Input::Stored(Err(reason)), at(0)) else { panic!() };
            assert_eq!(end, End::Refused(reason));
            let reply = reply.unwrap();
            assert!(
                matches!(Packet::decode(&reply), Ok(Packet::Error { code: ErrorCode(c), .. }) if c == code)
            );
        }
    }

    #[test]
    fn rfc2348_a_block_larger_than_agreed_ends_the_upload() {
        let mut upload = upload();
        let Step::End { end, reply } = data(&mut upload, 1, b"123456789", at(0)) else { panic!() };
        assert_eq!(end, End::Stopped(UploadStop::Illegal));
        assert_eq!(reply.unwrap()[..4], [0, 5, 0, 4]);
    }

    #[test]
    fn a_client_that_gives_up_is_not_answered() {
        let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"" };
        for (input, why) in [
            (Input::Packet(&error), UploadStop::Client),
            (Input::Unreachable, UploadStop::Unreachable),
            (Input::Replaced, UploadStop::Replaced),
        ] {
            let ended = Step::End { end: End::Stopped(why), reply: None };
            assert_eq!(upload().handle(input, at(0)), ended);
        }
    }

    #[test]
    fn rfc1350_block_numbers_wrap() {
        let mut upload = Upload::start(
            &Request {
                name: b"x",
                mode: Mode::Octet,
                options: Options { block_size: Some(8), ..Options::default() },
            },
            Terms { block_size: 8, max_size: u64::MAX },
            at(0),
        )
        .unwrap()
        .0;
        for block in 1..=70_000_u64 {
            assert_eq!(data(&mut upload, (block % 65536) as u16, &[1; 8], at(0)), store(&[1; 8], false));
            assert_eq!(upload.handle(STORED, at(0)), ack((block % 65536) as u16));
        }
        assert_eq!(upload.bytes(), 560_000);
    }

    #[test]
    fn rfc1350_1_netascii_is_stored_as_lines_of_this_side() {
        let (mut upload, _) = started(Mode::Netascii, Options { block_size: Some(8), ..Options::default() });
        assert_eq!(data(&mut upload, 1, b"one\r\n12\r", at(0)), store(b"one\n12", false));
        upload.handle(STORED, at(0));
        assert_eq!(data(&mut upload, 2, b"\nend\r", at(0)), store(b"\nend\r", true));
        assert_eq!(upload.bytes(), 11);
    }
}
