//! Checks of addresses: before an address is given to a client, and before a DECLINE takes effect. This module keeps
//! the checks under way and the messages that wait for them. The DHCP loop starts checks and takes the outcomes.
//! Nothing here decides on a message; the engine does that again after the check.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use crate::net::datagram::Envelope;
use crate::net::ping::{ProbeAnswer, Prober};
use crate::net::snapshot::Now;
use crate::types::MacAddr;

/// Maximum number of addresses under check before an offer. A DISCOVER beyond that is dropped; its client asks again.
pub const MAX_CHECKS: usize = 1024;
/// Maximum number of DECLINEs under check. They are counted apart, so that a flood of them keeps no client from an
/// address. More than this at one moment would be an attack.
pub const MAX_DECLINES: usize = 64;
/// Maximum number of RELEASEs whose frame has not been received yet. A RELEASE beyond that is dropped, and the lease
/// goes on until its end. So many at one moment would be an attack.
pub const MAX_RELEASES: usize = 1024;
/// Duration of the check of a DECLINE. In this time a machine answers ARP. The packet socket also receives the frame
/// that brought the DECLINE, possibly later than the UDP socket.
pub const DECLINE_CHECK: Duration = Duration::from_millis(500);

/// A message that waits for the check of an address, and is decided on again after it.
#[derive(Debug)]
pub struct WaitingMessage {
    pub bytes: Vec<u8>,
    pub envelope: Envelope,
}

/// A DECLINE or RELEASE that is being checked.
#[derive(Debug)]
pub struct Declining {
    /// The DECLINE or RELEASE itself.
    pub waiting: WaitingMessage,
    /// Whether the client itself answers at the address.
    pub client_answers: bool,
    /// The first answer of another machine. The check goes on after it, because the frame of the DECLINE may not have
    /// been received yet.
    pub other: Option<ProbeAnswer>,
    /// The next message of the client, if one came during the check. Its answer depends on the check.
    pub next: Option<WaitingMessage>,
}

impl Declining {
    fn new(waiting: WaitingMessage) -> Declining {
        Declining { waiting, client_answers: false, other: None, next: None }
    }
}

/// Finds out whether a machine uses an address. The DHCP loop owns it. The default one sends nothing.
#[derive(Debug)]
pub struct Checker {
    prober: Option<(Prober, Receiver<ProbeAnswer>)>,
    /// `None` if addresses are not checked before they are given.
    offers: Option<Checks<WaitingMessage>>,
    declines: Checks<Declining>,
    /// RELEASEs that wait for the frame that brought them.
    releases: Checks<Declining>,
    /// Machines whose ARP requests are reported even if the address that they send from is not being checked.
    watched: HashSet<MacAddr>,
}

/// The result of starting a check.
#[derive(Debug)]
pub enum CheckStart {
    /// The probe was sent. An [`Outcome`] follows.
    ProbeSent,
    /// Too many checks are under way.
    TooMany,
    /// The network cannot be asked, or too many checks are under way for a client that the configuration names. The
    /// address counts as free.
    CannotProbe,
}

/// A result that the DHCP loop must handle.
#[derive(Debug)]
pub enum Outcome {
    /// No machine was found at the address in time.
    Free(Ipv4Addr, WaitingMessage),
    /// The time for checking a DECLINE or RELEASE of this address is over.
    Declined(Ipv4Addr, Declining),
    /// A machine uses an address that is being checked, or a watched machine sends from an address.
    ProbeAnswer(ProbeAnswer),
}

impl Default for Checker {
    fn default() -> Checker {
        let declines = Checks::new(DECLINE_CHECK, MAX_DECLINES);
        let releases = Checks::new(DECLINE_CHECK, MAX_RELEASES);
        Checker { prober: None, offers: None, declines, releases, watched: HashSet::new() }
    }
}

impl Checker {
    /// Starts a checker for the served interfaces. It waits `time` for an answer before an address is given; `None`
    /// means that addresses are given unchecked. DECLINEs are checked in any case. The text is a warning about probes
    /// that cannot be sent.
    pub fn start(time: Option<Duration>, now: Now) -> (Checker, Option<String>) {
        let (prober, heard, refused) = Prober::start(now);
        let offers = time.map(|time| Checks::new(time, MAX_CHECKS));
        (
            Checker { prober: Some((prober, heard)), offers, ..Checker::default() },
            refused.filter(|_| time.is_some()),
        )
    }

    /// Changes the time that a check waits for an answer. The engine requests no checks if that is `None`; those that
    /// are under way go on.
    pub fn set_time(&mut self, time: Option<Duration>) {
        if let Some(time) = time {
            self.offers.get_or_insert_with(|| Checks::new(time, MAX_CHECKS)).time = time;
        }
    }

    /// Starts the check of `address`: on the interface `on_wire`, or behind a router if that is `None`. With
    /// `is_expected` the configuration names the client, so it is not refused when too many checks are under way.
    pub fn begin(
        &mut self,
        address: Ipv4Addr,
        on_wire: Option<u32>,
        waiting: WaitingMessage,
        is_expected: bool,
    ) -> CheckStart {
        let (Some(checks), Some((prober, _))) = (&mut self.offers, &self.prober) else {
            return CheckStart::CannotProbe;
        };
        if !checks.has_room() {
            return if is_expected { CheckStart::CannotProbe } else { CheckStart::TooMany };
        }
        if !prober.send_probe(address, on_wire) {
            return CheckStart::CannotProbe;
        }
        checks.begin(address, waiting);
        CheckStart::ProbeSent
    }

    /// Starts the check of a DECLINE of `address` that came in on interface `on_wire`. Returns false if that address is
    /// being checked already, or too many others are.
    pub fn begin_decline(&mut self, address: Ipv4Addr, on_wire: u32, waiting: WaitingMessage) -> bool {
        if self.declines.has(address) || !self.declines.has_room() {
            return false;
        }
        if let Some((prober, _)) = &self.prober {
            prober.ask_wire(address, on_wire);
        }
        self.declines.begin(address, Declining::new(waiting));
        true
    }

    /// Starts the check of a RELEASE of `address`, which sends no probe. Returns false if that address is being checked
    /// already, or too many others are.
    pub fn begin_release(&mut self, address: Ipv4Addr, waiting: WaitingMessage) -> bool {
        if self.declines.has(address) || self.releases.has(address) || !self.releases.has_room() {
            return false;
        }
        self.releases.begin(address, Declining::new(waiting));
        true
    }

    /// Keeps the client's `next` message until its DECLINE or RELEASE of `address` is decided on. Only the last of
    /// several is kept. Returns the message that it replaces, or `next` itself if neither is being checked.
    pub fn after_decline(&mut self, address: Ipv4Addr, next: WaitingMessage) -> Option<WaitingMessage> {
        match self.declines.get_mut(address).or_else(|| self.releases.get_mut(address)) {
            Some(declining) => declining.next.replace(next),
            None => Some(next),
        }
    }

    /// Records that a machine answers at the address of `heard`: the client itself (`is_client`) or another one. Does
    /// nothing if no DECLINE of that address is being checked.
    pub fn note_answer(&mut self, heard: ProbeAnswer, is_client: bool) {
        if let Some(declining) = self.declines.get_mut(heard.address) {
            if is_client {
                declining.client_answers = true;
            } else {
                declining.other = declining.other.or(Some(heard));
            }
        }
    }

    /// The message that waits for the check of `address` before its offer.
    pub fn waiting(&self, address: Ipv4Addr) -> Option<&WaitingMessage> {
        self.offers.as_ref()?.waiting.get(&address).map(|(_, waiting)| waiting)
    }

    /// Ends the check of `address` before its offer, and returns the message that waits for it.
    pub fn take(&mut self, address: Ipv4Addr) -> Option<WaitingMessage> {
        self.offers.as_mut()?.take(address)
    }

    /// Ends the check of the DECLINE or RELEASE of `address`, and returns what is known so far.
    pub fn take_decline(&mut self, address: Ipv4Addr) -> Option<Declining> {
        self.declines.take(address).or_else(|| self.releases.take(address))
    }

    /// Whether machines that use `address` are being looked for.
    pub fn is_checked(&self, address: Ipv4Addr) -> bool {
        self.declines.has(address) || self.offers.as_ref().is_some_and(|offers| offers.has(address))
    }

    /// Adds `mac` to the watched machines, after removing those for which `keep` is false.
    pub fn watch(&mut self, mac: MacAddr, keep: impl Fn(MacAddr) -> bool) {
        self.watched.retain(|mac| keep(*mac));
        self.watched.insert(mac);
    }

    /// Waits for the next outcome.
    pub async fn outcome(&mut self) -> Outcome {
        loop {
            let offers = self.offers.as_mut();
            tokio::select! {
                (address, waiting) = ended(offers) => return Outcome::Free(address, waiting),
                (address, declining) = self.declines.ended() => return Outcome::Declined(address, declining),
                (address, declining) = self.releases.ended() => return Outcome::Declined(address, declining),
                Some(heard) = next(self.prober.as_mut()) => {
                    let is_watched = heard.asks && heard.from.is_some_and(|mac| self.watched.contains(&mac));
                    if is_watched || self.is_checked(heard.address) {
                        return Outcome::ProbeAnswer(heard);
                    }
                }
            }
        }
    }
}

async fn ended(checks: Option<&mut Checks<WaitingMessage>>) -> (Ipv4Addr, WaitingMessage) {
    match checks {
        Some(checks) => checks.ended().await,
        None => std::future::pending().await,
    }
}

async fn next(prober: Option<&mut (Prober, Receiver<ProbeAnswer>)>) -> Option<ProbeAnswer> {
    match prober {
        Some((_, heard)) => heard.recv().await,
        None => std::future::pending().await,
    }
}

/// Checks under way, at most one per address. All take the same time, so they end in the order in which they began.
#[derive(Debug)]
struct Checks<T> {
    time: Duration,
    limit: usize,
    waiting: HashMap<Ipv4Addr, (Instant, T)>,
    /// The end of each check in order. A check that was taken early keeps its entry until its time is over.
    ends: VecDeque<(Instant, Ipv4Addr)>,
}

impl<T> Checks<T> {
    /// Checks that take `time` each, at most `limit` at once.
    fn new(time: Duration, limit: usize) -> Checks<T> {
        Checks { time, limit, waiting: HashMap::new(), ends: VecDeque::new() }
    }

    fn has_room(&self) -> bool {
        self.ends.len() < self.limit
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        self.waiting.contains_key(&address)
    }

    fn get_mut(&mut self, address: Ipv4Addr) -> Option<&mut T> {
        self.waiting.get_mut(&address).map(|(_, waiting)| waiting)
    }

    /// Starts the check of `address`, for which `waiting` waits.
    fn begin(&mut self, address: Ipv4Addr, waiting: T) {
        let end = Instant::now() + self.time;
        self.waiting.insert(address, (end, waiting));
        self.ends.push_back((end, address));
    }

    /// Ends the check of `address` now.
    fn take(&mut self, address: Ipv4Addr) -> Option<T> {
        self.waiting.remove(&address).map(|(_, waiting)| waiting)
    }

    /// Waits until the time of the next check is over, and ends it.
    async fn ended(&mut self) -> (Ipv4Addr, T) {
        loop {
            let Some((end, address)) = self.ends.front().copied() else {
                return std::future::pending().await;
            };
            tokio::time::sleep_until(end).await;
            self.ends.pop_front();
            // A newer check of the same address may be under way, with a later end.
            if self.waiting.get(&address).is_some_and(|(its_end, _)| *its_end == end)
                && let Some(waiting) = self.take(address)
            {
                return (address, waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddrV4;

    fn waiting(n: u8) -> WaitingMessage {
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let (destination, local) = (Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST);
        let envelope = Envelope { len: 1, source, interface: 1, destination, local, waited: Duration::ZERO };
        WaitingMessage { bytes: vec![n], envelope }
    }

    #[tokio::test(start_paused = true)]
    async fn checks_end_in_order_and_those_that_heard_a_machine_do_not() {
        let mut checks = Checks::new(Duration::from_millis(500), MAX_CHECKS);
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        let began = Instant::now();
        for n in 1..=3 {
            checks.begin(ip(n), waiting(n));
        }
        assert_eq!(checks.take(ip(2)).map(|waiting| waiting.bytes), Some(vec![2]));
        assert!(checks.take(ip(2)).is_none() && checks.take(ip(9)).is_none());
        assert_eq!(checks.ended().await.0, ip(1));
        assert_eq!(checks.ended().await.0, ip(3));
        assert_eq!(began.elapsed(), Duration::from_millis(500));
        assert!(tokio::time::timeout(Duration::from_secs(60), checks.ended()).await.is_err(), "none is left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_begins_again_takes_its_whole_time() {
        let mut checks = Checks::new(Duration::from_millis(500), MAX_CHECKS);
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let began = Instant::now();
        checks.begin(address, 1);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(checks.take(address), Some(1));
        checks.begin(address, 2);
        assert_eq!(checks.ended().await, (address, 2));
        assert_eq!(began.elapsed(), Duration::from_millis(800));
    }

    #[test]
    fn s_02_declines_are_bounded_and_take_no_place_of_other_checks() {
        let mut checker =
            Checker { offers: Some(Checks::new(DECLINE_CHECK, MAX_CHECKS)), ..Checker::default() };
        let ip = |n: u32| Ipv4Addr::from(0x0a00_0000 + n);
        let begun = (0..1000).filter(|n| checker.begin_decline(ip(*n), 1, waiting(1))).count();
        assert_eq!(begun, MAX_DECLINES);
        assert!(!checker.begin_decline(ip(0), 1, waiting(1)), "it is being checked");
        assert!(
            checker.offers.as_ref().unwrap().has_room() && checker.offers.as_ref().unwrap().ends.is_empty()
        );
        assert!(checker.after_decline(ip(0), waiting(2)).is_none());
        assert_eq!(checker.after_decline(ip(0), waiting(3)).map(|old| old.bytes), Some(vec![2]));
        assert!(checker.after_decline(ip(2000), waiting(3)).is_some());
    }

    #[test]
    fn s_02_releases_are_bounded_and_take_no_place_of_declines() {
        let mut checker = Checker::default();
        let ip = |n: u32| Ipv4Addr::from(0x0a00_0000 + n);
        let begun = (0..2000).filter(|n| checker.begin_release(ip(*n), waiting(1))).count();
        assert_eq!(begun, MAX_RELEASES);
        assert!(checker.begin_decline(ip(3000), 1, waiting(1)));
        assert!(!checker.begin_release(ip(3000), waiting(1)), "it is being checked");
        assert!(checker.after_decline(ip(0), waiting(2)).is_none());
        assert!(checker.take_decline(ip(0)).is_some_and(|release| release.next.is_some()));
        assert!(checker.take_decline(ip(0)).is_none());
    }
}
