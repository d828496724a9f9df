//! `lanboot probe --count`: boots many machines at once and writes a summary.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::boot::{Client, Outcome, boot};
use super::plan::{Plan, Storm};
use super::report;
use super::wire::Wire;
use crate::types::MacAddr;

/// Maximum number of machines that boot at the same time, because each has a socket and two buffers. The others wait.
const MAX_AT_ONCE: usize = 4096;
/// Number of open files of this process besides those of the machines.
const OTHER_FILES: u64 = 64;

/// Boots all machines and writes the summary. Returns whether every one booted.
pub(super) async fn run(plan: &Plan, storm: Storm, wire: &Arc<Wire>) -> io::Result<bool> {
    let interface = wire.interface();
    if let Some(interface) = interface.filter(|interface| interface.addresses.is_empty()) {
        return Err(io::Error::other(format!(
            "{} needs an address for many machines to load from: give it one with `ip address add`",
            interface.name
        )));
    }
    let permits = Arc::new(Semaphore::new(max_parallel()));
    let mut machines = JoinSet::new();
    let mut summary = Summary::new(storm.count);
    let mut shown = ProgressLine::new(storm.count);
    let began = Instant::now();
    for number in 0..storm.count {
        if let Some(rate) = storm.rate {
            let due = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
            tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        }
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let Some(client) = client(plan, number) else { break };
        let wire = Arc::clone(wire);
        machines.spawn(async move {
            let outcome = boot(&client, &wire, &mut |_, _| {}).await;
            drop(permit);
            outcome
        });
        while let Some(ended) = machines.try_join_next() {
            summary.add(ended.map_err(io::Error::other)??);
            shown.update(&summary);
        }
    }
    while let Some(ended) = machines.join_next().await {
        summary.add(ended.map_err(io::Error::other)??);
        shown.update(&summary);
    }
    shown.clear();
    summary.seconds = began.elapsed().as_secs_f64();
    let all_booted = summary.booted == storm.count;
    if plan.json {
        report::json(&summary.as_json(), &mut io::stdout())?;
    } else {
        summary.write(&mut io::stdout())?;
    }
    Ok(all_booted)
}

/// The machine with this number. Architectures alternate, and hardware addresses count up.
fn client(plan: &Plan, number: u32) -> Option<Client> {
    let index = usize::try_from(number).ok()?.checked_rem(plan.clients.len())?;
    let client = plan.clients.get(index)?;
    let mut octets = [0; 8];
    octets[2..].copy_from_slice(&client.mac.0);
    let mac = u64::from_be_bytes(octets).wrapping_add(number.into()).to_be_bytes();
    let mac = MacAddr(mac[2..].try_into().ok()?);
    Some(Client { mac, seed: client.seed.wrapping_add(number.into()), ..*client })
}

/// Number of machines that the file limit of this process allows at once, after raising the limit.
fn max_parallel() -> usize {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 512 };
    let wanted = hard.min(MAX_AT_ONCE as u64 * 2 + OTHER_FILES);
    let allowed = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(_) => getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft),
    };
    // A machine that sends to a boot server has two sockets.
    let machines = allowed.saturating_sub(OTHER_FILES) / 2;
    usize::try_from(machines).unwrap_or(MAX_AT_ONCE).clamp(1, MAX_AT_ONCE)
}

/// The results of all boots.
#[derive(Debug)]
struct Summary {
    machines: u32,
    booted: u32,
    bytes: u64,
    seconds: f64,
    /// Milliseconds from power-on to the ACK, and from power-on to the end, for the machines that got there.
    addresses: Vec<u32>,
    boots: Vec<u32>,
    /// For each step, the number of failures and the reason of the first one.
    failures: BTreeMap<&'static str, (u32, String)>,
}

impl Summary {
    fn new(machines: u32) -> Summary {
        Summary {
            machines,
            booted: 0,
            bytes: 0,
            seconds: 0.0,
            addresses: Vec::new(),
            boots: Vec::new(),
            failures: BTreeMap::new(),
        }
    }

    fn add(&mut self, outcome: Outcome) {
        let milliseconds = |took: Duration| u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        self.bytes += outcome.bytes;
        self.addresses.extend(outcome.got_address.map(milliseconds));
        match &outcome.failure {
            Some(failure) => {
                let (count, _) = self.failures.entry(failure.step()).or_insert_with(|| (0, failure.why()));
                *count += 1;
            }
            None => {
                self.booted += 1;
                self.boots.push(milliseconds(outcome.took));
            }
        }
    }

    fn ended(&self) -> u32 {
        self.booted + self.failures.values().map(|(count, _)| count).sum::<u32>()
    }

    fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        let (booted, machines, seconds) = (self.booted, self.machines, self.seconds);
        let rate = f64::from(booted) / seconds.max(0.001);
        writeln!(out, "{booted} of {machines} machines booted in {seconds:.3} s, {rate:.0} per second")?;
        writeln!(out, "{} bytes of boot files", self.bytes)?;
        for (what, times) in [("to the ACK", &mut self.addresses), ("to the end", &mut self.boots)] {
            if let Some(times) = Times::of(times) {
                writeln!(
                    out,
                    "{what}: median {:.3} s, 95 % within {:.3} s, 99 % within {:.3} s, longest {:.3} s",
                    times.median, times.p95, times.p99, times.longest
                )?;
            }
        }
        for (step, (count, why)) in &self.failures {
            writeln!(out, "{count} failed at {step}, the first because {why}")?;
        }
        Ok(())
    }

    fn as_json(&mut self) -> SummaryView<'_> {
        let failures = self.failures.iter();
        SummaryView {
            machines: self.machines,
            booted: self.booted,
            bytes: self.bytes,
            seconds: self.seconds,
            boots_per_second: f64::from(self.booted) / self.seconds.max(0.001),
            seconds_to_ack: Times::of(&mut self.addresses),
            seconds_to_end: Times::of(&mut self.boots),
            failures: failures
                .map(|(step, (count, first))| FailureView { step, count: *count, first })
                .collect(),
        }
    }
}

/// The summary, for JSON.
#[derive(Serialize)]
struct SummaryView<'a> {
    machines: u32,
    booted: u32,
    bytes: u64,
    seconds: f64,
    boots_per_second: f64,
    seconds_to_ack: Option<Times>,
    seconds_to_end: Option<Times>,
    failures: Vec<FailureView<'a>>,
}

/// The failures of one step, for JSON.
#[derive(Serialize)]
struct FailureView<'a> {
    step: &'a str,
    count: u32,
    first: &'a str,
}

/// Statistics of durations, in seconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Times {
    median: f64,
    p95: f64,
    p99: f64,
    longest: f64,
}

impl Times {
    /// Sorts the milliseconds and computes their statistics; `None` without any.
    fn of(milliseconds: &mut [u32]) -> Option<Times> {
        milliseconds.sort_unstable();
        // The smallest value that this percentage of the values does not exceed (nearest rank).
        let at = |percent: usize| {
            let rank = (milliseconds.len() * percent).div_ceil(100).max(1);
            milliseconds.get(rank - 1).map(|time| f64::from(*time) / 1000.0)
        };
        Some(Times { median: at(50)?, p95: at(95)?, p99: at(99)?, longest: at(100)? })
    }
}

/// A progress line on the terminal.
struct ProgressLine {
    machines: u32,
    last: Option<Instant>,
}

impl ProgressLine {
    fn new(machines: u32) -> ProgressLine {
        ProgressLine { machines, last: io::stderr().is_terminal().then(Instant::now) }
    }

    fn update(&mut self, summary: &Summary) {
        if let Some(last) = self.last.filter(|last| last.elapsed() > Duration::from_millis(200)) {
            let _ = last;
            let (ended, booted) = (summary.ended(), summary.booted);
            eprint!("\r{ended} of {} machines, {booted} booted ", self.machines);
            self.last = Some(Instant::now());
        }
    }

    fn clear(&self) {
        if self.last.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let mut times: Vec<u32> = (1..=200).rev().map(|n| n * 10).collect();
        let expected = Times { median: 1.0, p95: 1.9, p99: 1.98, longest: 2.0 };
        assert_eq!(Times::of(&mut times), Some(expected));
        assert_eq!(Times::of(&mut [7]).map(|times| (times.median, times.longest)), Some((0.007, 0.007)));
        assert_eq!(Times::of(&mut []), None);
    }
}
