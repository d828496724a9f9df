//! Decides which repeated warnings are logged. Some faults occur with each message of a client, and a warning about
//! each would hide the others. The [`Recorder`](super::Recorder) asks before it formats a line; counters and subscribers
//! get every record.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::{Event, Record};
use crate::types::{ClientId, Ipv4Network, MacAddr};

/// Minimum time between two warnings about the same contested address. Its machine requests many files.
pub(super) const CONTESTED_PAUSE: Duration = Duration::from_secs(600);
/// Maximum number of remembered contested addresses. When it is reached, no other address is logged until one is
/// [`CONTESTED_PAUSE`] old: an attacker can invent any number of addresses, and must not fill the log.
const MAX_CONTESTED: usize = 64;

/// Minimum time between two warnings about the same exhausted subnet. Each rejected client repeats its request.
pub(super) const EXHAUSTED_PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of remembered subnets. Configurations have fewer.
const MAX_EXHAUSTED: usize = 65_536;

/// Minimum time between two warnings about the same machine's boot file.
const NO_FILE_PAUSE: Duration = Duration::from_secs(86_400);
/// Maximum number of remembered machines. When it is reached, no other machine is logged until one is
/// [`NO_FILE_PAUSE`] old, because an attacker can invent any number of machines.
const MAX_NO_FILE: usize = 4096;

/// A machine, and the file that it lacks; `None` if no file is configured.
type Lacking = (Option<MacAddr>, Option<ClientId>, Option<Arc<str>>);

/// The time of the last line about each subject.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    exhausted: Mutex<HashMap<Ipv4Network, Instant>>,
    contested: Mutex<HashMap<IpAddr, Instant>>,
    lacking: Mutex<HashMap<Lacking, Instant>>,
}

impl Repeats {
    /// Whether the line of `record` is to be logged at `now`.
    pub(super) fn is_news(&self, record: &Record, now: Instant) -> bool {
        match &record.event {
            Event::PoolExhausted { subnet, .. } => {
                is_due(&self.exhausted, *subnet, (EXHAUSTED_PAUSE, MAX_EXHAUSTED), now)
            }
            Event::AmbiguousAddress { address, .. } => {
                is_due(&self.contested, *address, (CONTESTED_PAUSE, MAX_CONTESTED), now)
            }
            Event::NoFileForArchitecture { .. } => {
                is_due(&self.lacking, lacking(record, None), (NO_FILE_PAUSE, MAX_NO_FILE), now)
            }
            Event::FileMissing { file, .. } => {
                is_due(&self.lacking, lacking(record, Some(file)), (NO_FILE_PAUSE, MAX_NO_FILE), now)
            }
            _ => true,
        }
    }
}

fn lacking(record: &Record, file: Option<&Arc<str>>) -> Lacking {
    let machine = record.machine.as_ref();
    let client = machine.and_then(|machine| machine.client.clone());
    (machine.and_then(|machine| machine.mac), client, file.cloned())
}

/// Whether no line about `subject` was logged within the pause, and fewer than the limit of subjects are remembered.
fn is_due<K: Eq + Hash>(
    logged: &Mutex<HashMap<K, Instant>>,
    subject: K,
    (pause, limit): (Duration, usize),
    now: Instant,
) -> bool {
    let mut logged = logged.lock().unwrap_or_else(PoisonError::into_inner);
    let is_recent = |at: &Instant| now.saturating_duration_since(*at) < pause;
    if logged.get(&subject).is_some_and(is_recent) {
        return false;
    }
    if logged.len() >= limit {
        logged.retain(|_, at| is_recent(at));
    }
    let is_room = logged.len() < limit;
    if is_room {
        logged.insert(subject, now);
    }
    is_room
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Client;
    use crate::types::{Firmware, Timestamp};

    fn record(event: Event) -> Record {
        Record { at: Timestamp(0), interface: None, machine: None, event }
    }

    #[test]
    fn f_15_an_exhausted_subnet_is_logged_once_per_minute() {
        let client = Client { firmware: Firmware::Other, arch: None };
        let exhausted = |network: &str| {
            record(Event::PoolExhausted { subnet: network.parse().unwrap(), size: 1, client })
        };
        let [one, other] = ["10.0.0.0/24", "10.0.1.0/24"].map(exhausted);
        let (repeats, start) = (Repeats::default(), Instant::now());
        assert!(repeats.is_news(&one, start) && !repeats.is_news(&one, start));
        assert!(repeats.is_news(&other, start + Duration::from_secs(1)));
        let later = start + EXHAUSTED_PAUSE;
        assert!(repeats.is_news(&one, later) && !repeats.is_news(&one, later));
        assert!(!repeats.is_news(&other, later));
    }

    #[test]
    fn r_40_a_machine_without_a_file_is_logged_once() {
        let client = Client { firmware: Firmware::UefiPxe, arch: None };
        let missing = |n: u8, file: &str| {
            let (file, rule) = (file.into(), crate::types::Rule::Ipxe);
            let machine = Some(MacAddr([2, 0, 0, 0, 0, n]).into());
            Record { machine, ..record(Event::FileMissing { client, file, rule, set: None }) }
        };
        let none = |n: u8| Record { event: Event::NoFileForArchitecture { client }, ..missing(n, "") };
        let (repeats, now) = (Repeats::default(), Instant::now());
        for n in [1, 2] {
            for record in [missing(n, "a"), missing(n, "b"), none(n)] {
                assert!(repeats.is_news(&record, now) && !repeats.is_news(&record, now), "{record:?}");
            }
        }
    }

    #[test]
    fn s_01_a_contested_address_is_logged_once_in_ten_minutes() {
        let at = |n: u8| {
            let (address, by_dhcp, other) = ([10, 0, 0, n].into(), None, None);
            record(Event::AmbiguousAddress { address, by_dhcp, other, on_wire: true })
        };
        let (repeats, start) = (Repeats::default(), Instant::now());
        assert!(repeats.is_news(&at(1), start) && !repeats.is_news(&at(1), start));
        for n in 2..=64 {
            assert!(repeats.is_news(&at(n), start), "{n}");
        }
        assert!(!repeats.is_news(&at(65), start), "an attacker can invent any number");
        assert!(repeats.is_news(&at(65), start + CONTESTED_PAUSE));
    }
}
