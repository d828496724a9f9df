//! Limits the number of log lines per second. The [`Recorder`](super::Recorder) and `cli/log.rs` use it.
//!
//! Any machine on the network can cause an event with each packet. A log line costs far more than a packet: it fills
//! the disk and hides important lines. Each kind of line has its own budget, so that a flood of one kind hides no
//! other. Omitted lines are counted, and one line per second reports their number.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

use crate::event::Event;

/// The maximum rate of lines of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Lines at once after a quiet time.
    burst: u64,
    /// Sustained lines per second.
    per_second: u64,
}

/// A thousand machines that are switched on together are logged completely. In a flood each kind writes about 25 KB/s.
/// All kinds that one packet can cause stay below 0.2 MB/s together, and all kinds below 2 MB/s.
const LINES: Limit = Limit { burst: 1000, per_second: 200 };

/// Warnings about refused or aborted HTTP requests: a faulty client repeats its fault at each request (Stork,
/// CVE-2025-8696).
const HTTP_WARNINGS: Limit = Limit { burst: 20, per_second: 20 };

/// The first word of warnings about machines without a boot file. Any host can invent machines, so these lines have the
/// limit of [`HTTP_WARNINGS`].
const NO_FILE: &str = "no_file_for_architecture";

/// A kind of log line: the first word, and the reason if there is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kind {
    verb: &'static str,
    reason: &'static str,
}

/// The number of omitted lines of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeftOut {
    kind: Kind,
    level: Level,
    lines: u64,
}

/// The budgets of all kinds of lines. There are as many kinds as events and their reasons.
#[derive(Debug, Default)]
pub struct Budget(Mutex<BTreeMap<Kind, Account>>);

/// The remaining budget of one kind.
#[derive(Debug)]
struct Account {
    /// In thousandths of a line.
    left: u64,
    at: Instant,
    left_out: u64,
    level: Level,
}

impl Kind {
    /// Lines that start with `verb`, or that are logged in the source module of that name.
    pub const fn new(verb: &'static str) -> Kind {
        Kind { verb, reason: "" }
    }

    const fn because(verb: &'static str, reason: &'static str) -> Kind {
        Kind { verb, reason }
    }

    pub fn of(event: &Event) -> Kind {
        match event {
            Event::Received { message, .. } | Event::Answered { message, .. } => Kind::new(message.name()),
            Event::Released { .. } => Kind::new("released"),
            Event::Declined { .. } => Kind::new("declined"),
            Event::Conflict { .. } => Kind::new("conflict"),
            Event::ProxyArp { .. } => Kind::new("proxy_arp"),
            Event::DuplicateClientId { .. } => Kind::new("duplicate_client_id"),
            Event::AmbiguousAddress { .. } => Kind::new("contested"),
            Event::BootLoop { .. } => Kind::new("loop"),
            Event::NoFileForArchitecture { .. } => Kind::new(NO_FILE),
            Event::FileMissing { .. } => Kind::new("file_missing"),
            Event::TextFailed { .. } => Kind::new("cannot"),
            Event::OnceEnded { .. } => Kind::new("once"),
            Event::PoolExhausted { .. } => Kind::new("exhausted"),
            Event::NotKept { .. } => Kind::new("reservation"),
            Event::RogueServer { .. } => Kind::new("rogue_server"),
            Event::Heard { .. } => Kind::new("heard"),
            Event::Booted { .. } => Kind::new("booted"),
            Event::Stuck { .. } => Kind::new("stuck"),
            Event::GoesOn { .. } => Kind::new("goes_on"),
            Event::TftpStarted { .. } => Kind::new("started sending"),
            Event::TftpAcknowledged { .. } => Kind::new("acknowledged"),
            Event::HttpStarted { .. } => Kind::new("started sending by HTTP"),
            Event::Server { fact, .. } => Kind::new(fact.name()),
            Event::Dropped { reason, .. } => Kind::because("dropped", reason.name()),
            Event::TftpSent { .. } => Kind::new("sent"),
            Event::TftpSizeProbe { .. } => Kind::new("size_probe"),
            Event::TftpStopped { .. } => Kind::new("stopped sending"),
            Event::TftpUnanswered { reason, .. } => Kind::because("dropped", reason.name()),
            Event::TftpReceived { .. } => Kind::new("received"),
            Event::TftpUploadStopped { .. } => Kind::new("stopped receiving"),
            Event::TftpRefused { reason, .. } => Kind::because("refused", reason.name()),
            Event::HttpSent { .. } => Kind::new("sent by HTTP"),
            Event::HttpAnswered { .. } => Kind::new("answered"),
            Event::Facts { .. } => Kind::new("facts"),
            Event::HttpStopped { .. } => Kind::new("stopped sending by HTTP"),
            Event::HttpRefused { reason, .. } => Kind::because("refused by HTTP", reason.name()),
            Event::Syslog { .. } => Kind::new("syslog"),
            Event::SyslogDropped { reason, .. } => Kind::because("dropped", reason.name()),
            Event::QuestionBlocked { .. } => Kind::new("blocked"),
            Event::ReplyTooLarge { .. } => Kind::new("too_large"),
            Event::AsksByIpv6 => Kind::new("ipv6"),
            Event::CaptureDropped { reason, .. } => Kind::because("dropped", reason.name()),
        }
    }

    fn limit(self, level: Level) -> Limit {
        match level == Level::WARN && (self.verb.ends_with("by HTTP") || self.verb == NO_FILE) {
            true => HTTP_WARNINGS,
            false => LINES,
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeftOut { kind: Kind { verb, reason }, lines, .. } = self;
        let s = if *lines == 1 { "" } else { "s" };
        write!(f, "left out {lines} line{s}: {verb}")?;
        if !reason.is_empty() {
            write!(f, " reason={reason}")?;
        }
        Ok(())
    }
}

impl Budget {
    /// Whether a line of this kind may be written at `now`. If not, it is counted as omitted.
    pub fn admit(&self, kind: Kind, level: Level, now: Instant) -> bool {
        let limit = kind.limit(level);
        let full = limit.burst.saturating_mul(1000);
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = kinds.entry(kind).or_insert(Account { left: full, at: now, left_out: 0, level });
        let millis = u64::try_from(now.saturating_duration_since(account.at).as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            account.left = account.left.saturating_add(millis.saturating_mul(limit.per_second)).min(full);
            account.at += Duration::from_millis(millis);
        }
        account.level = level;
        let left = account.left.checked_sub(1000);
        match left {
            Some(left) => account.left = left,
            None => account.left_out = account.left_out.saturating_add(1),
        }
        left.is_some()
    }

    /// Logs how many lines of each kind were omitted since the last call.
    pub fn log_left_out(&self) {
        for left_out in self.left_out() {
            match left_out.level {
                Level::ERROR | Level::WARN => tracing::warn!("{left_out}"),
                Level::INFO => tracing::info!("{left_out}"),
                _ => tracing::debug!("{left_out}"),
            }
        }
    }

    /// Takes the counts of omitted lines.
    fn left_out(&self) -> Vec<LeftOut> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = kinds.iter_mut().map(|(kind, account)| LeftOut {
            kind: *kind,
            level: account.level,
            lines: std::mem::take(&mut account.left_out),
        });
        taken.filter(|left_out| left_out.lines > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::event::{DropReason, HttpRefusal};

    const DISCOVER: Kind = Kind::new("DHCPDISCOVER");

    fn admitted(budget: &Budget, kind: Kind, level: Level, count: usize, now: Instant) -> usize {
        (0..count).filter(|_| budget.admit(kind, level, now)).count()
    }

    #[test]
    fn s_07_a_flood_is_limited_to_a_rate() {
        let (budget, start) = (Budget::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(admitted(&budget, DISCOVER, Level::INFO, 100_000, at(0)), 1000, "a boot storm");
        assert_eq!(budget.left_out()[0].to_string(), "left out 99000 lines: DHCPDISCOVER");
        assert!(budget.left_out().is_empty(), "each is counted once");
        let mut lines = 0;
        for millis in (1..=10_000).step_by(7) {
            lines += admitted(&budget, DISCOVER, Level::INFO, 50, at(millis));
        }
        assert!((1995..=2000).contains(&lines), "{lines} in 10 s");
        assert_eq!(budget.left_out()[0].lines, 1429 * 50 - lines as u64);
        assert_eq!(admitted(&budget, DISCOVER, Level::INFO, 2000, at(60_000)), 1000, "after a quiet time");
    }

    #[test]
    fn s_07_a_flood_of_one_kind_hides_no_other() {
        let (budget, now) = (Budget::default(), Instant::now());
        let dropped = |reason| Kind::of(&Event::Dropped { reason, client: None });
        admitted(&budget, dropped(DropReason::BadHlen), Level::INFO, 100_000, now);
        assert!(!budget.admit(dropped(DropReason::BadHlen), Level::INFO, now));
        assert!(budget.admit(dropped(DropReason::TooShort), Level::INFO, now));
        assert!(budget.admit(DISCOVER, Level::INFO, now));
        let left_out: Vec<String> = budget.left_out().iter().map(ToString::to_string).collect();
        assert_eq!(left_out, ["left out 99001 lines: dropped reason=bad_hlen"]);
    }

    #[test]
    fn w_05_refused_requests_get_20_lines_per_second() {
        let (budget, start) = (Budget::default(), Instant::now());
        let peer = "192.168.77.50:40000".parse().unwrap();
        let reason = HttpRefusal::BadRequest;
        let refused = Kind::of(&Event::HttpRefused { name: String::new(), peer, reason });
        assert_eq!(admitted(&budget, refused, Level::WARN, 100_000, start), 20);
        let next = start + Duration::from_secs(1);
        assert_eq!(admitted(&budget, refused, Level::WARN, 100_000, next), 20);
        assert_eq!(budget.left_out()[0].lines, 199_960);
    }

    #[test]
    fn a_stopped_clock_adds_no_budget() {
        let (budget, now) = (Budget::default(), Instant::now());
        assert_eq!(admitted(&budget, DISCOVER, Level::INFO, 5000, now), 1000);
        let before = now.checked_sub(Duration::from_secs(5)).unwrap();
        assert_eq!(admitted(&budget, DISCOVER, Level::INFO, 5000, before), 0);
    }
}
