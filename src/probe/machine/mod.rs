//! The DHCP part of a boot: DISCOVER, offers, choice, REQUEST, ACK (or the request and reply of BOOTP), boot servers if
//! necessary, then the download.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::boot_server::BootServers;
use super::choice::{self, Choice, Plan};
use super::download::Download;
use super::fetch::Fetch;
use super::offer::{self, Offer, Unusable};
use super::profile::{Ask, Firmware, Profile, Sending};
use super::step::{Failure, Input, Ports, Progress, Step, Timing, Transmit};
use super::text::printable;
use crate::types::{MacAddr, Timestamp};
use crate::wire::dhcp::{BOOTREPLY, Message, MessageType};
use crate::wire::option::code;

mod load;

/// The wait of each try of a DISCOVER, and then of a REQUEST (EDK2's four tries, PXE 2.1 section 2.2.1).
pub(super) const DHCP_WAITS: [Duration; 4] =
    [Duration::from_secs(4), Duration::from_secs(8), Duration::from_secs(16), Duration::from_secs(32)];

/// The maximum number of offers kept (EDK2's `PXEBC_OFFER_MAX_NUM`).
const MAX_OFFERS: usize = 16;

/// One network boot of one machine.
#[derive(Debug)]
pub struct Machine {
    profile: Profile,
    mac: MacAddr,
    ports: Ports,
    timing: Timing,
    seed: u64,
    xid: u32,
    state: State,
    started: Timestamp,
    /// The number of DHCP messages sent.
    sent: u16,
    /// The number of the current try, from 1.
    attempt: u32,
    /// The time of the first try.
    asked: Timestamp,
    /// The last unusable answer.
    ignored: Option<(Ipv4Addr, Unusable)>,
    /// The end of the current try.
    try_ends: Timestamp,
    deadline: Option<Timestamp>,
    /// The address that this client has, and the server that assigned it.
    lease: Option<(Ipv4Addr, Ipv4Addr)>,
}

#[derive(Debug)]
enum State {
    Off,
    /// Collecting offers, in order of arrival.
    Selecting(Vec<Offer>),
    Requesting(Choice),
    Asking(BootServers),
    Loading(Download),
    Fetching(Fetch),
    Failed,
}

impl Machine {
    /// Makes a machine that is switched off. `seed` determines its transaction id and must differ per boot.
    ///
    /// The machine takes the first offer that it can boot with, unless [`timing`](Machine::timing) says otherwise.
    pub fn new(profile: &Profile, mac: MacAddr, ports: Ports, seed: u64) -> Machine {
        Machine {
            profile: *profile,
            mac,
            ports,
            timing: Timing::default(),
            seed,
            xid: transaction_id(mac, seed),
            state: State::Off,
            started: Timestamp(0),
            sent: 0,
            attempt: 1,
            asked: Timestamp(0),
            ignored: None,
            try_ends: Timestamp(0),
            deadline: None,
            lease: None,
        }
    }

    /// Sets the waiting times.
    #[must_use]
    pub fn timing(self, timing: Timing) -> Machine {
        Machine { timing, ..self }
    }

    /// Switches the machine on and returns the first DISCOVER.
    pub fn start(&mut self, now: Timestamp) -> Step<'static> {
        let mut step = Step::default();
        self.started = now;
        self.asked = now;
        self.state = State::Selecting(Vec::new());
        self.ask(now, &mut step);
        step.wait_until = self.deadline;
        step
    }

    /// Processes an event. Packets for other machines have no effect.
    pub fn handle<'a>(&mut self, input: Input<'a>, now: Timestamp) -> Step<'a> {
        let mut step = Step::default();
        match (&mut self.state, input) {
            (State::Loading(download), Input::Tftp(payload, source)) => {
                download.packet(payload, source, now, &mut step);
            }
            (State::Loading(download), Input::TftpClosed) => download.closed(&mut step),
            (State::Loading(download), Input::Timeout) => download.timeout(now, &mut step),
            (State::Fetching(fetch), Input::HttpStarted(size)) => fetch.begun(size, now, &mut step),
            (State::Fetching(fetch), Input::HttpData(data)) => fetch.data(data, now, &mut step),
            (State::Fetching(fetch), Input::HttpEnded) => fetch.ended(&mut step),
            (State::Fetching(fetch), Input::HttpFailed(why)) => fetch.failed(why, &mut step),
            (State::Fetching(fetch), Input::Timeout) => fetch.timeout(now, &mut step),
            (_, Input::Dhcp(payload, source)) => self.reply(payload, source, now, &mut step),
            (_, Input::Timeout) => self.timeout(now, &mut step),
            _ => {}
        }
        step.wait_until = match &self.state {
            State::Loading(download) => download.deadline(),
            State::Fetching(fetch) => fetch.deadline(),
            State::Asking(servers) => Some(servers.deadline()),
            _ => self.deadline,
        };
        step
    }

    /// Returns the RELEASE of the address and its destination; `None` without a lease from a DHCP server.
    ///
    /// Firmware never sends one. The probe does, so that tests of a server do not each leave a lease behind.
    pub fn release(&self) -> Option<(SocketAddrV4, Vec<u8>)> {
        let (address, server) = self.lease?;
        let ask = Ask::Release { address, server };
        let sending = Sending { ask, xid: self.xid, elapsed: Duration::ZERO, count: 1, proxy: false };
        Some((SocketAddrV4::new(server, self.ports.dhcp), self.profile.message(self.mac, &sending)))
    }

    /// Sends the current request, as try number `attempt`.
    fn ask(&mut self, now: Timestamp, step: &mut Step<'_>) {
        let attempt = self.attempt;
        let (ask, proxy, progress) = match &self.state {
            State::Requesting(Choice { address: offer, plan }) => (
                Ask::Request { address: offer.address, server: offer.server },
                *plan != Plan::Ack,
                Progress::Requesting { address: offer.address, attempt },
            ),
            _ => {
                let bootp = self.profile.firmware == Firmware::Bootp;
                (Ask::Discover, false, Progress::Discovering { bootp, attempt })
            }
        };
        self.sent = self.sent.saturating_add(1);
        let sending =
            Sending { ask, xid: self.xid, elapsed: now.since(self.started), count: self.sent, proxy };
        step.send.push(Transmit::Dhcp(self.profile.message(self.mac, &sending)));
        step.progress.push(progress);
        let tries = usize::try_from(attempt).unwrap_or(usize::MAX);
        let wait = DHCP_WAITS.iter().take(tries).next_back().copied().unwrap_or_default();
        let limit = self.timing.timeout.map(|timeout| self.asked.after(timeout));
        self.try_ends = limit.map_or(now.after(wait), |limit| limit.min(now.after(wait)));
        let collecting = matches!(&self.state, State::Selecting(_)) && now < self.collected();
        self.deadline = Some(if collecting { self.try_ends.min(self.collected()) } else { self.try_ends });
    }

    /// Returns the end of the time for collecting offers.
    fn collected(&self) -> Timestamp {
        self.started.after(self.timing.collect)
    }

    fn timeout(&mut self, now: Timestamp, step: &mut Step<'_>) {
        if let State::Asking(servers) = &mut self.state {
            if now >= servers.deadline() {
                let again = servers.may_retry(self.profile.firmware, self.timing, now);
                self.ask_boot_server(again, None, now, step);
            }
            return;
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        let may_wait = self.timing.timeout.is_none_or(|timeout| now < self.asked.after(timeout));
        // If the timeout ends before the time for collecting, the offers at hand must do.
        if now >= self.collected() || !may_wait {
            self.choose(true, now, step);
        }
        if now < self.try_ends {
            // Offers are no longer collected, or a REQUEST was just sent.
            self.deadline = Some(self.try_ends);
            return;
        }
        if may_wait && usize::try_from(self.attempt).is_ok_and(|attempt| attempt < DHCP_WAITS.len()) {
            self.attempt = self.attempt.saturating_add(1);
            return self.ask(now, step);
        }
        let waited = now.since(self.asked);
        let failure = match &self.state {
            State::Requesting(Choice { address: offer, .. }) => {
                let ignored = self.ignored.map(|(_, reason)| reason);
                Failure::NoAck { server: offer.server, waited, ignored }
            }
            State::Selecting(offers) => choice::shortfall(self.profile.firmware, offers, waited)
                .unwrap_or(Failure::NoOffer { waited, ignored: self.ignored }),
            _ => Failure::NoOffer { waited, ignored: self.ignored },
        };
        self.fail(failure, step);
    }

    /// Processes a payload at the DHCP port. It may be for another client, because replies are broadcast.
    fn reply(&mut self, payload: &[u8], source: SocketAddrV4, now: Timestamp, step: &mut Step<'_>) {
        let Ok(message) = Message::decode(payload) else { return };
        let (xid, port) = match &self.state {
            State::Asking(servers) => (servers.xid, servers.port()),
            _ => (self.xid, self.ports.dhcp),
        };
        if message.op != BOOTREPLY || message.xid != xid || message.mac() != Some(self.mac) {
            return;
        }
        let firmware = self.profile.firmware;
        let read = || offer::read(firmware, &message, payload.len(), source, port);
        let read_address = || read().and_then(|offer| offer::check_address(firmware, offer));
        let message_type = match offer::message_type(firmware, &message) {
            Ok(message_type) => message_type,
            Err(reason) => return self.ignore(*source.ip(), reason, step),
        };
        match (&self.state, message_type) {
            (State::Selecting(_), Some(MessageType::Offer)) => match read_address() {
                Ok(offer) => self.collect(offer, now, step),
                Err(reason) => self.ignore(*source.ip(), reason, step),
            },
            (State::Selecting(_), None) => match read_address() {
                Ok(offer) => {
                    step.progress.push(Progress::BootpReplied(offer.clone()));
                    self.boot(offer, true, now, step);
                }
                Err(reason) => self.ignore(*source.ip(), reason, step),
            },
            (State::Requesting(choice), Some(MessageType::Ack)) => match read_address() {
                // The ACK of another server does not answer our REQUEST.
                Ok(ack) if ack.server != choice.address.server => {}
                Ok(ack) => {
                    let plan = choice.plan.clone();
                    self.acknowledged(ack, plan, now, step);
                }
                Err(reason) => self.ignore(*source.ip(), reason, step),
            },
            (State::Requesting(choice), Some(MessageType::Nak)) => {
                let server = choice.address.server;
                if message.options.ip(code::SERVER_IDENTIFIER) == Some(server) {
                    let text = message.options.get(code::MESSAGE).unwrap_or_default();
                    self.fail(Failure::Nak { server, message: printable(text) }, step);
                }
            }
            (State::Asking(_), Some(MessageType::Ack | MessageType::Offer)) => match read() {
                Ok(answer) => self.boot_server_answered(answer, now, step),
                Err(reason) => self.ignore(*source.ip(), reason, step),
            },
            _ => {}
        }
    }

    fn ignore(&mut self, from: Ipv4Addr, reason: Unusable, step: &mut Step<'_>) {
        if matches!(self.state, State::Selecting(_) | State::Requesting(_) | State::Asking(_)) {
            self.ignored = Some((from, reason));
            step.progress.push(Progress::Ignored { from, reason });
        }
    }

    /// Keeps the last offer of each server, and chooses if the offers are sufficient.
    fn collect(&mut self, offer: Offer, now: Timestamp, step: &mut Step<'_>) {
        let State::Selecting(offers) = &mut self.state else { return };
        let same = |other: &Offer| (other.server, other.is_proxy()) == (offer.server, offer.is_proxy());
        if !offers.iter().any(same) && offers.len() >= MAX_OFFERS {
            return self.ignore(offer.server, Unusable::TooMany, step);
        }
        step.progress.push(Progress::Offered(offer.clone()));
        match offers.iter_mut().find(|other| same(other)) {
            Some(earlier) => *earlier = offer,
            None => offers.push(offer),
        }
        let complete = choice::is_complete(self.profile.firmware, offers);
        if now >= self.collected() || complete {
            self.choose(false, now, step);
        }
    }

    /// Chooses among the offers and requests the address, if they are sufficient. `over` says that no more are
    /// expected.
    fn choose(&mut self, over: bool, now: Timestamp, step: &mut Step<'_>) {
        let State::Selecting(offers) = &self.state else { return };
        // A client that does not collect needs only an offer that names a file.
        let over = over || offers.iter().any(|offer| !offer.is_proxy() && !offer.file.is_empty());
        let Some(choice) = choice::choose(self.profile.firmware, offers, over) else { return };
        if offers.len() > 1 {
            let address = choice.address.server;
            let boot = match &choice.plan {
                Plan::Ack => address,
                Plan::Offer(offer) => offer.server,
                Plan::BootServers(offers) => offers.first().map_or(address, |offer| offer.server),
            };
            step.progress.push(Progress::Chose { address, boot });
        }
        self.state = State::Requesting(choice);
        self.attempt = 1;
        self.asked = now;
        self.ignored = None;
        self.ask(now, step);
    }

    fn next_xid(&self) -> u32 {
        transaction_id(self.mac, self.seed ^ u64::from(self.xid))
    }

    fn fail(&mut self, failure: Failure, step: &mut Step<'_>) {
        self.state = State::Failed;
        self.deadline = None;
        step.progress.push(Progress::Failed(failure));
    }
}

/// Returns a transaction id from the seed and the hardware address, never 0. The last step of splitmix64 spreads the
/// bits.
fn transaction_id(mac: MacAddr, seed: u64) -> u32 {
    let mac = mac.0.iter().fold(0u64, |number, octet| number << 8 | u64::from(*octet));
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mac;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from(mixed >> 32).unwrap_or(1).max(1)
}
