//! The DHCP half of a boot: DISCOVER, OFFER, REQUEST, ACK (or BOOTP's request and reply), then the download.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::download::Download;
use super::offer::{self, Offer, Unusable};
use super::profile::{Ask, Kind, Profile, Sending};
use super::step::{Failure, Input, Ports, Progress, Step, Transmit, printable};
use crate::types::{MacAddr, Timestamp};
use crate::wire::dhcp::{BOOTREPLY, Message, MessageType};
use crate::wire::option::code;

/// How long a DISCOVER, and then a REQUEST, waits for its answer each time (EDK2's four tries, PXE 2.1 section 2.2.1).
///
/// Real EDK2 collects offers for the whole first wait even if it has one; this one takes the first that it can use.
pub(super) const DHCP_WAITS: [Duration; 4] =
    [Duration::from_secs(4), Duration::from_secs(8), Duration::from_secs(16), Duration::from_secs(32)];

/// One network boot of one machine.
#[derive(Debug)]
pub struct Machine {
    profile: &'static Profile,
    mac: MacAddr,
    ports: Ports,
    xid: u32,
    state: State,
    started: Timestamp,
    /// DHCP messages sent so far.
    sent: u16,
    /// Tries of the present question, the first is 1.
    attempt: u32,
    /// When that question was first asked.
    asked: Timestamp,
    /// The last answer that could not be used.
    ignored: Option<(Ipv4Addr, Unusable)>,
    deadline: Option<Timestamp>,
}

#[derive(Debug)]
enum State {
    Off,
    Selecting,
    Requesting(Offer),
    Loading(Download),
    Failed,
}

impl Machine {
    /// A machine that is switched off. `seed` makes its transaction id; give each boot another one.
    pub fn new(profile: &'static Profile, mac: MacAddr, ports: Ports, seed: u64) -> Machine {
        Machine {
            profile,
            mac,
            ports,
            xid: transaction_id(mac, seed),
            state: State::Off,
            started: Timestamp(0),
            sent: 0,
            attempt: 1,
            asked: Timestamp(0),
            ignored: None,
            deadline: None,
        }
    }

    /// Switches it on: the first DISCOVER.
    pub fn start(&mut self, now: Timestamp) -> Step<'static> {
        let mut step = Step::default();
        self.started = now;
        self.asked = now;
        self.state = State::Selecting;
        self.ask(now, &mut step);
        step.wait_until = self.deadline;
        step
    }

    /// Goes on with what happened. Packets that are not for this machine change nothing.
    pub fn handle<'a>(&mut self, input: Input<'a>, now: Timestamp) -> Step<'a> {
        let mut step = Step::default();
        match input {
            Input::Dhcp(payload, source) => self.reply(payload, source, now, &mut step),
            Input::Tftp(payload, source) => {
                if let State::Loading(download) = &mut self.state {
                    download.packet(payload, source, now, &mut step);
                }
            }
            Input::Timeout => self.timeout(now, &mut step),
        }
        step.wait_until = match &self.state {
            State::Loading(download) => download.deadline(),
            _ => self.deadline,
        };
        step
    }

    /// Sends the present question, for the `attempt`th time.
    fn ask(&mut self, now: Timestamp, step: &mut Step<'_>) {
        let attempt = self.attempt;
        let (ask, progress) = match &self.state {
            State::Requesting(offer) => (
                Ask::Request { address: offer.address, server: offer.server },
                Progress::Requesting { address: offer.address, attempt },
            ),
            _ => {
                let bootp = self.profile.kind == Kind::Bootp;
                (Ask::Discover, Progress::Discovering { bootp, attempt })
            }
        };
        self.sent = self.sent.saturating_add(1);
        let sending = Sending { ask, xid: self.xid, elapsed: now.since(self.started), count: self.sent };
        step.send.push(Transmit::Dhcp(self.profile.message(self.mac, &sending)));
        step.progress.push(progress);
        let wait = DHCP_WAITS.iter().take(usize::try_from(attempt).unwrap_or(usize::MAX)).next_back();
        self.deadline = wait.map(|wait| now.after(*wait));
    }

    fn timeout(&mut self, now: Timestamp, step: &mut Step<'_>) {
        if let State::Loading(download) = &mut self.state {
            return download.timeout(now, step);
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        if usize::try_from(self.attempt).is_ok_and(|attempt| attempt < DHCP_WAITS.len()) {
            self.attempt = self.attempt.saturating_add(1);
            return self.ask(now, step);
        }
        let waited = now.since(self.asked);
        let failure = match &self.state {
            State::Requesting(offer) => {
                let ignored = self.ignored.map(|(_, reason)| reason);
                Failure::NoAck { server: offer.server, waited, ignored }
            }
            _ => Failure::NoOffer { waited, ignored: self.ignored },
        };
        self.fail(failure, step);
    }

    /// Takes a payload that came to the DHCP port: anybody's, as replies are broadcast.
    fn reply(&mut self, payload: &[u8], source: SocketAddrV4, now: Timestamp, step: &mut Step<'_>) {
        let Ok(message) = Message::decode(payload) else { return };
        if message.op != BOOTREPLY || message.xid != self.xid || message.mac() != Some(self.mac) {
            return;
        }
        let kind = self.profile.kind;
        let read = || offer::read(kind, &message, payload.len(), source, self.ports.dhcp);
        let message_type = match offer::message_type(kind, &message) {
            Ok(message_type) => message_type,
            Err(reason) => return self.ignore(*source.ip(), reason, step),
        };
        match (&self.state, message_type) {
            (State::Selecting, Some(MessageType::Offer)) => match read() {
                Ok(offer) => self.request(offer, now, step),
                Err(reason) => self.ignore(*source.ip(), reason, step),
            },
            (State::Selecting, None) => match read() {
                Ok(offer) => {
                    step.progress.push(Progress::BootpReplied(offer.clone()));
                    self.load(offer, now, step);
                }
                Err(reason) => self.ignore(*source.ip(), reason, step),
            },
            (State::Requesting(offer), Some(MessageType::Ack)) => match read() {
                // Another server's ACK is not the answer to our REQUEST.
                Ok(ack) if ack.server != offer.server => {}
                Ok(ack) => {
                    step.progress.push(Progress::Acknowledged(ack.clone()));
                    self.load(ack, now, step);
                }
                // Asking again will not bring a file.
                Err(Unusable::NoFile) => self.fail(Failure::NoFile { server: offer.server }, step),
                Err(reason) => self.ignore(*source.ip(), reason, step),
            },
            (State::Requesting(offer), Some(MessageType::Nak)) => {
                let server = offer.server;
                if message.options.ip(code::SERVER_IDENTIFIER) == Some(server) {
                    let text = message.options.get(code::MESSAGE).unwrap_or_default();
                    self.fail(Failure::Nak { server, message: printable(text) }, step);
                }
            }
            _ => {}
        }
    }

    fn ignore(&mut self, from: Ipv4Addr, reason: Unusable, step: &mut Step<'_>) {
        if matches!(self.state, State::Selecting | State::Requesting(_)) {
            self.ignored = Some((from, reason));
            step.progress.push(Progress::Ignored { from, reason });
        }
    }

    fn request(&mut self, offer: Offer, now: Timestamp, step: &mut Step<'_>) {
        step.progress.push(Progress::Offered(offer.clone()));
        self.state = State::Requesting(offer);
        self.attempt = 1;
        self.asked = now;
        self.ignored = None;
        self.ask(now, step);
    }

    /// The address is ours: loads the file, if the reply says which and from where.
    fn load(&mut self, offer: Offer, now: Timestamp, step: &mut Step<'_>) {
        self.deadline = None;
        if offer.file.is_empty() {
            return self.fail(Failure::NoFile { server: offer.server }, step);
        }
        if offer.file.windows(3).any(|window| window == b"://") {
            return self.fail(Failure::NotTftp { url: printable(&offer.file) }, step);
        }
        if offer.next_server.is_unspecified() {
            let file = printable(&offer.file);
            return self.fail(Failure::NoNextServer { server: offer.server, file }, step);
        }
        let server = SocketAddrV4::new(offer.next_server, self.ports.tftp);
        self.state = State::Loading(Download::start(self.profile, server, offer.file, now, step));
    }

    fn fail(&mut self, failure: Failure, step: &mut Step<'_>) {
        self.state = State::Failed;
        self.deadline = None;
        step.progress.push(Progress::Failed(failure));
    }
}

/// A transaction id from the seed and the hardware address, never 0 (splitmix64's last step, for spread).
fn transaction_id(mac: MacAddr, seed: u64) -> u32 {
    let mac = mac.0.iter().fold(0u64, |number, octet| number << 8 | u64::from(*octet));
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mac;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from(mixed >> 32).unwrap_or(1).max(1)
}
