//! A download as a script of events of the network and the clock, between the sender (`tftp::Transfer`) and a reference
//! client that takes blocks in order (RFC 1350, RFC 7440).

use std::collections::VecDeque;
use std::time::Duration;

use lanboot::event::{TransferEnd, TransferStop};
use lanboot::tftp::rtt::RoundTrip;
use lanboot::tftp::transfer::{RESENDS, RESENDS_UNPROVEN};
use lanboot::tftp::{Granted, Input, Limits, Send, Step, Transfer, negotiate};
use lanboot::wire::tftp::{ErrorCode, Options, Packet};

use super::bytes::Bytes;

/// Maximum number of steps. It keeps the number of late blocks under 65536, so that a client cannot mistake one block
/// for another.
const MAX_STEPS: usize = 700;
/// Maximum number of datagrams in transit in one direction.
const MAX_UNDER_WAY: usize = 256;

/// A datagram to the client. `Block` has the block's number counted from the start of the file. The client sees 16 bits
/// of it.
#[derive(Clone, Copy, Debug)]
enum Down {
    Options,
    Block(u64),
}

/// A client that takes blocks in order.
#[derive(Debug, Default)]
struct Client {
    accepted: bool,
    /// Number of blocks received, all in order.
    have: u64,
    /// Blocks received since the last ACK.
    unacknowledged: u64,
    /// Whether it has reported the gap. If `noisy`, it reports the gap again for each unexpected block.
    reported: bool,
    noisy: bool,
}

/// Both ends and the network.
struct Talk {
    transfer: Transfer,
    granted: Granted,
    /// The file's last block.
    last: u64,
    /// Only the end of the transfer shows the size (netascii).
    unknown_size: bool,
    now: Duration,
    down: VecDeque<Down>,
    up: VecDeque<u16>,
    client: Client,
    end: Option<TransferEnd>,
    /// The client acknowledged a block that it never got, or gave up, so the file need not arrive.
    lied: bool,
    /// Datagrams sent since the last packet that made progress.
    sent_in_silence: u32,
    first_answers: u32,
}

/// Plays the script in `data`.
pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut talk = Talk::new(&mut bytes);
    for _ in 0..MAX_STEPS {
        if bytes.is_empty() || talk.end.is_some() {
            break;
        }
        talk.play(&mut bytes);
    }
    talk.conclude(data.len().is_multiple_of(4));
}

impl Talk {
    fn new(bytes: &mut Bytes<'_>) -> Talk {
        let flags = bytes.u8();
        let some = |bit: u8| flags & bit > 0;
        let asked = Options {
            block_size: some(1).then(|| bytes.pick(&[8, 16, 512, 1468, 65464])),
            window_size: some(2).then(|| bytes.pick(&[1, 2, 3, 8, 16, 64, 65535])),
            timeout: some(4).then(|| bytes.pick(&[1, 5, 255])),
            transfer_size: some(8).then_some(0),
        };
        let size = u64::from(bytes.u32() % 1_100_000);
        let unknown_size = some(16);
        let size_told = (!unknown_size).then_some(size);
        let limits = Limits {
            max_block_size: None,
            max_window: 64,
            max_transfers: 1,
            max_per_client: 1,
            allow: Vec::new(),
        };
        let granted = negotiate(&asked, size_told, &limits, 1500);
        let (transfer, step) = Transfer::start(granted, size_told, Duration::ZERO);
        let client = Client { accepted: granted.oack.is_none(), noisy: some(32), ..Client::default() };
        let mut talk = Talk {
            transfer,
            granted,
            last: size / u64::from(granted.block_size) + 1,
            unknown_size,
            now: Duration::ZERO,
            down: VecDeque::new(),
            up: VecDeque::new(),
            client,
            end: None,
            lied: false,
            sent_in_silence: 0,
            first_answers: 0,
        };
        talk.obey(step);
        talk
    }

    /// Performs one event.
    fn play(&mut self, bytes: &mut Bytes<'_>) {
        let (what, which) = (bytes.u8(), usize::from(bytes.u8()));
        match what % 16 {
            0..=2 => self.deliver_down(0, false),
            3 => self.deliver_down(which, false),
            4 => self.deliver_down(which, true),
            5 => _ = remove(&mut self.down, which),
            6..=7 => self.deliver_up(0, false),
            8 => self.deliver_up(which, true),
            9 => _ = remove(&mut self.up, which),
            10 => self.pass(Duration::from_millis(which as u64)),
            11 => self.pass(self.transfer.deadline().saturating_sub(self.now)),
            12 => self.client_waits_in_vain(),
            13 => self.run(which),
            14 => {
                let step = self.transfer.handle(Input::Timeout, self.now);
                assert!(
                    self.now >= self.transfer.deadline() || step == Step::Wait,
                    "a timer that comes early"
                );
                self.after(step);
            }
            _ => self.stray(bytes, which),
        }
    }

    /// Sends a packet that no correct client sends.
    fn stray(&mut self, bytes: &mut Bytes<'_>, which: usize) {
        match which % 16 {
            0 => {
                let error = Packet::Error { code: ErrorCode(bytes.u16()), message: b"\xff" };
                let step = self.transfer.handle(Input::Packet(&error), self.now);
                assert!(matches!(step, Step::End(_)), "an ERROR ends it: {step:?}");
                self.lied = true;
                self.after(step);
            }
            1 => {
                let step = self.transfer.handle(Input::Unreachable, self.now);
                assert_eq!(step, Step::End(TransferEnd::Stopped(TransferStop::Unreachable)));
                self.lied = true;
                self.after(step);
            }
            2..=4 => {
                // Any number. It acknowledges no block that was not sent.
                let number = bytes.u16();
                self.lied = true;
                self.acknowledge(number);
            }
            5 => {
                // An ACK of the options, which has no meaning if no options are being negotiated.
                self.acknowledge(0);
            }
            _ => {
                let data = Packet::Data { block: bytes.u16(), data: b"" };
                assert_eq!(self.transfer.handle(Input::Packet(&data), self.now), Step::Wait);
                let options = Packet::OAck(Options::default());
                assert_eq!(self.transfer.handle(Input::Packet(&options), self.now), Step::Wait);
            }
        }
    }

    /// Advances the time, and runs the server's timer when it is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.end.is_none() && self.transfer.deadline() <= until {
            self.now = self.now.max(self.transfer.deadline());
            let step = self.transfer.handle(Input::Timeout, self.now);
            if matches!(step, Step::Send(_)) {
                self.sent_in_silence += 1;
            }
            // In addition, the last block of a window may be sent once more.
            let probe = u32::from(self.granted.window > 1);
            let most = if self.transfer.is_address_verified() { RESENDS + probe } else { RESENDS_UNPROVEN };
            assert!(self.sent_in_silence <= most, "sent {} times to the silent", self.sent_in_silence);
            assert_ne!(step, Step::Wait, "the deadline has come");
            self.after(step);
        }
        self.now = self.now.max(until);
    }

    fn after(&mut self, step: Step) {
        if self.end.is_none() {
            self.obey(step);
        }
    }

    /// Performs a step as the server's shell does, and checks that it is allowed.
    fn obey(&mut self, step: Step) {
        match step {
            Step::Wait => return,
            Step::Send(Send::Options) => {
                assert!(self.granted.oack.is_some(), "no options were granted");
                self.down.push_back(Down::Options);
            }
            Step::Send(Send::Blocks { first, last }) => {
                let has = self.transfer.acknowledged();
                assert!(has < first && first <= last, "{first}-{last} after {has}");
                assert!(last - has <= u64::from(self.granted.window), "{first}-{last} after {has}");
                assert!(self.unknown_size || last <= self.last, "beyond the file");
                let last = last.min(self.last);
                if self.unknown_size && last == self.last {
                    self.transfer.ends_with(last);
                }
                self.down.extend((first..=last).map(Down::Block));
            }
            Step::End(end) => {
                let complete = self.client.have == self.last;
                assert!(
                    end != TransferEnd::Sent || complete || self.lied,
                    "{} of {}",
                    self.client.have,
                    self.last
                );
                self.end = Some(end);
                return;
            }
        }
        if !self.transfer.is_address_verified() {
            self.first_answers += 1;
            assert!(self.first_answers <= RESENDS_UNPROVEN + 1, "copies of the first answer");
        }
        let wait = self.transfer.deadline().saturating_sub(self.now);
        let least = if self.granted.window > 1 { RoundTrip::MIN_PROBE } else { RoundTrip::MIN_TIMEOUT };
        assert!(wait >= least && wait <= Duration::from_secs(255), "{wait:?}");
        while self.down.len() > MAX_UNDER_WAY {
            self.down.pop_front();
        }
    }

    fn deliver_down(&mut self, which: usize, keep: bool) {
        let Some(datagram) = take(&mut self.down, which, keep) else { return };
        let answers = self.client.receive(datagram, u64::from(self.granted.window), self.last);
        self.up.extend(answers);
        while self.up.len() > MAX_UNDER_WAY {
            self.up.pop_front();
        }
    }

    fn deliver_up(&mut self, which: usize, keep: bool) {
        if let Some(number) = take(&mut self.up, which, keep) {
            self.acknowledge(number);
        }
    }

    fn acknowledge(&mut self, number: u16) {
        if self.end.is_some() {
            return;
        }
        let (before, proven) = (self.transfer.acknowledged(), self.transfer.is_address_verified());
        let step = self.transfer.handle(Input::Packet(&Packet::Ack(number)), self.now);
        let after = self.transfer.acknowledged();
        assert!(after >= before && after - before <= u64::from(self.granted.window), "{before} to {after}");
        assert!(self.lied || after <= self.client.have, "the client has {}, not {after}", self.client.have);
        // An ACK counts if it makes progress, or repeats the last one.
        if self.transfer.is_address_verified() && (after > before || !proven || number == before as u16) {
            self.sent_in_silence = 0;
        }
        self.after(step);
    }

    /// The client receives nothing and repeats its last ACK.
    fn client_waits_in_vain(&mut self) {
        if self.client.accepted && (self.client.have > 0 || self.granted.oack.is_some()) {
            self.client.unacknowledged = 0;
            self.client.reported = false;
            self.up.push_back(self.client.have as u16);
        }
    }

    /// Runs `rounds` round trips without loss. Late datagrams are lost.
    fn run(&mut self, rounds: usize) {
        for _ in 0..=rounds {
            for _ in 0..self.down.len() {
                self.deliver_down(0, false);
            }
            self.pass(Duration::from_millis(2));
            for _ in 0..self.up.len() {
                self.deliver_up(0, false);
            }
        }
    }

    /// Asserts that the transfer ends: after the last resend if the client is silent, and with the complete file if the
    /// path loses nothing.
    fn conclude(mut self, silent: bool) {
        self.down.truncate(MAX_UNDER_WAY);
        let mut rounds = 0;
        while self.end.is_none() {
            if silent || self.lied {
                self.pass(self.transfer.deadline().saturating_sub(self.now));
            } else {
                let before = (self.client.have, self.client.accepted);
                self.run(200);
                if self.end.is_none() && before == (self.client.have, self.client.accepted) {
                    self.client_waits_in_vain();
                    self.run(0);
                    self.pass(self.transfer.deadline().saturating_sub(self.now));
                }
            }
            rounds += 1;
            assert!(rounds < 2000, "it never ends: {:?}", self.transfer);
        }
        assert!(!matches!(self.end, Some(TransferEnd::Sent)) || self.lied || self.client.have == self.last);
        if silent && !self.lied && self.client.have < self.last {
            assert_eq!(self.end, Some(TransferEnd::Stopped(TransferStop::Silent)));
        }
    }
}

impl Client {
    /// Takes a datagram, and returns the number that it acknowledges. The client recognises the next block by the 16
    /// bits of its number. The check knows the complete number.
    fn receive(&mut self, datagram: Down, window: u64, last: u64) -> Option<u16> {
        let Down::Block(number) = datagram else {
            self.accepted = true;
            return (self.have == 0).then_some(0);
        };
        if !self.accepted {
            // The OACK has not arrived yet. A client drops datagrams that it does not expect yet.
            return None;
        }
        if number as u16 != (self.have + 1) as u16 || self.have == last {
            let again = self.noisy || !self.reported || self.have == last;
            self.reported = true;
            self.unacknowledged = 0;
            return again.then_some(self.have as u16);
        }
        assert_eq!(number, self.have + 1, "the file is what it was");
        self.have = number;
        self.reported = false;
        self.unacknowledged += 1;
        if self.unacknowledged < window && self.have < last {
            return None;
        }
        self.unacknowledged = 0;
        Some(self.have as u16)
    }
}

fn remove<T>(queue: &mut VecDeque<T>, which: usize) -> Option<T> {
    let at = which % queue.len().max(1);
    queue.remove(at)
}

/// Takes one datagram out of the queue. If `keep`, a copy stays in the queue.
fn take<T: Copy>(queue: &mut VecDeque<T>, which: usize, keep: bool) -> Option<T> {
    if keep { queue.get(which % queue.len().max(1)).copied() } else { remove(queue, which) }
}
