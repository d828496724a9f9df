//! The server's clock: the wall-clock time at the start of the process plus the time that has passed since. Setting
//! the system clock does not affect it, so no lease ends early or lives longer because of that.
//!
//! Lease times count elapsed time, not the time of day. Stored leases must outlive the process, so they end at a time
//! of this clock, and a [`ClockMark`] stored with them records both this clock and the system's. At the next start
//! the leases move by the difference. The mark also contains the uptime of the machine: until the next boot it shows
//! exactly how much time has passed, even if the system clock was set in between.
//!
//! The server reads the clock; `store::open` applies [`shift`]. This file never stores anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::store::lease_store::{ClockMark, Uptime};
use crate::types::{Timestamp, Uuid};

/// Smaller differences between two clocks are ignored, because reading two clocks takes time and leases are stored in
/// seconds.
const TOLERANCE_MS: u64 = 2000;

/// File with the id of the current boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Environment variable with the id of the current boot, for a service that cannot read [`BOOT_ID`]
/// (`ProcSubset=pid`).
const BOOT_ID_VARIABLE: &str = "LANBOOT_BOOT_ID";

/// A clock that cannot be set. All copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Reading,
    /// Milliseconds by which the system clock was ahead at the last call of `step`.
    ahead: i64,
    boot_id: Option<Uuid>,
}

/// The system's clocks, read at the same moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Time of day, which can be set.
    wall: Timestamp,
    /// Uptime of the machine, including time in suspend.
    up: Duration,
}

impl Clock {
    /// Starts a clock at the system's time of day.
    pub fn start() -> Clock {
        let boot_id = std::fs::read_to_string(BOOT_ID).or_else(|_| std::env::var(BOOT_ID_VARIABLE));
        let boot_id = boot_id.ok().and_then(|id| id.trim().parse().ok());
        Clock { start: read(), ahead: 0, boot_id }
    }

    pub fn now(&self) -> Timestamp {
        self.at(read())
    }

    /// The current time of this clock and of the system clocks.
    pub fn mark(&self) -> ClockMark {
        self.mark_at(read())
    }

    /// Seconds by which the system clock was set since the last call; `None` if it was not set.
    pub fn step(&mut self) -> Option<i64> {
        self.step_at(read())
    }

    fn at(&self, now: Reading) -> Timestamp {
        self.start.wall.after(now.up.saturating_sub(self.start.up))
    }

    fn mark_at(&self, now: Reading) -> ClockMark {
        let boot = self.boot_id.map(|boot_id| Uptime { boot_id, up: now.up });
        ClockMark { steady: self.at(now), wall: now.wall, boot }
    }

    fn step_at(&mut self, now: Reading) -> Option<i64> {
        let ahead = difference(now.wall, self.at(now));
        let step = ahead.saturating_sub(self.ahead);
        if step.unsigned_abs() < TOLERANCE_MS {
            return None;
        }
        self.ahead = ahead;
        Some(step / 1000)
    }
}

/// Seconds by which stored leases must move so that their remaining time is right. `last` is the mark stored with
/// them, `now` the current one.
pub fn shift(last: Option<ClockMark>, now: ClockMark) -> i64 {
    let Some(last) = last else { return 0 };
    let steady = last.steady.after(passed(last, now));
    let shift = difference(now.wall, steady);
    // Round up, because a lease may end late but never early.
    if shift.unsigned_abs() < TOLERANCE_MS {
        0
    } else {
        shift.div_euclid(1000) + i64::from(shift % 1000 != 0)
    }
}

/// The time since the mark `last`. Within the same boot, it is the difference of the uptimes.
///
/// After a reboot only the system clock can tell. If it is earlier than the mark, it was set back (a machine without
/// a clock battery starts in 1970). Then no time counts as passed, so that no lease ends and no ended lease revives.
fn passed(last: ClockMark, now: ClockMark) -> Duration {
    let up = match (last.boot, now.boot) {
        (Some(last), Some(now)) if last.boot_id == now.boot_id => now.up.checked_sub(last.up),
        _ => None,
    };
    up.unwrap_or_else(|| now.wall.since(last.wall))
}

pub fn wall() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

fn read() -> Reading {
    // Linux has CLOCK_BOOTTIME since 2.6.39. Without it, this clock would stand still.
    let up = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Reading { wall: wall(), up }
}

/// `a` − `b` in milliseconds.
fn difference(a: Timestamp, b: Timestamp) -> i64 {
    i64::try_from(i128::from(a.0) - i128::from(b.0)).unwrap_or(if a > b { i64::MAX } else { i64::MIN })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    /// A simulated machine with clocks that tests can set.
    struct Machine {
        wall: i64,
        up: u64,
        boot_id: Uuid,
    }

    impl Machine {
        fn pass(&mut self, seconds: u64) -> Reading {
            self.wall += seconds as i64;
            self.up += seconds;
            self.read()
        }

        fn set(&mut self, by: i64) -> Reading {
            self.wall += by;
            self.read()
        }

        fn read(&self) -> Reading {
            Reading { wall: self.wall_clock(), up: Duration::from_secs(self.up) }
        }

        fn wall_clock(&self) -> Timestamp {
            Timestamp::from_seconds(self.wall as u64)
        }

        /// Reboots after `off` seconds without power.
        fn boot(&mut self, off: u64) {
            self.wall += off as i64;
            self.up = 0;
            self.boot_id = Uuid::from_network([2; 16]);
        }

        /// Starts a server's clock now.
        fn start(&self) -> Clock {
            Clock { start: self.read(), ahead: 0, boot_id: Some(self.boot_id) }
        }

        /// The shift that a server started now applies to leases with this mark.
        fn shift(&self, mark: ClockMark) -> i64 {
            shift(Some(mark), self.start().mark_at(self.read()))
        }
    }

    const START: i64 = 1_700_000_000;

    fn machine() -> (Machine, Clock) {
        let machine = Machine { wall: START, up: 500, boot_id: Uuid::from_network([1; 16]) };
        let clock = machine.start();
        (machine, clock)
    }

    fn after_start(seconds: i64) -> Timestamp {
        Timestamp::from_seconds((START + seconds) as u64)
    }

    #[test]
    fn only_passing_time_moves_the_clock() {
        for step in [DAY, -DAY, 20_000 * DAY, -19_000 * DAY] {
            let (mut machine, mut clock) = machine();
            assert_eq!(clock.at(machine.pass(100)), after_start(100));
            assert_eq!(clock.step_at(machine.read()), None);
            assert_eq!(clock.at(machine.set(step)), after_start(100), "set by {step}");
            assert_eq!(clock.step_at(machine.read()), Some(step));
            assert_eq!(clock.step_at(machine.pass(10)), None, "reported once");
            assert_eq!(clock.at(machine.read()), after_start(110));
            assert_eq!(clock.step_at(machine.set(-step)), Some(-step), "and back");
            assert_eq!(clock.mark_at(machine.read()).wall, clock.at(machine.read()));
        }
    }

    #[test]
    fn small_corrections_of_ntp_are_no_step() {
        let (mut machine, mut clock) = machine();
        assert_eq!(clock.step_at(machine.set(1)), None);
        assert_eq!(clock.step_at(machine.set(-2)), None);
        assert_eq!(clock.step_at(machine.set(4)), Some(3), "together they are");
    }

    #[test]
    fn leases_follow_a_clock_step_while_serving() {
        for step in [DAY, -DAY, 20_000 * DAY, -19_000 * DAY] {
            let (mut machine, clock) = machine();
            let until = after_start(3600);
            machine.pass(100);
            let mark = clock.mark_at(machine.set(step));
            machine.pass(500); // the server is down
            let moved = crate::store::shift_end(until, machine.shift(mark));
            assert_eq!(moved.since(machine.wall_clock()), Duration::from_secs(3000), "set by {step}");
        }
    }

    #[test]
    fn time_passes_for_leases_while_the_server_is_down() {
        let (mut machine, clock) = machine();
        let mark = clock.mark_at(machine.pass(100));
        machine.pass(7 * DAY as u64);
        assert_eq!(machine.shift(mark), 0);
        machine.boot(DAY as u64);
        machine.pass(600);
        assert_eq!(machine.shift(mark), 0, "off for a day");
        assert_eq!(shift(None, machine.start().mark()), 0, "a new store");
    }

    #[test]
    fn only_passing_time_counts_while_the_server_is_down() {
        for step in [DAY, -DAY, 20_000 * DAY, -19_000 * DAY] {
            let (mut machine, clock) = machine();
            let mark = clock.mark_at(machine.pass(100));
            let (valid, ended) = (after_start(3600), after_start(200));
            machine.pass(300);
            machine.set(step);
            machine.pass(200);
            let by = machine.shift(mark);
            let now = machine.wall_clock();
            assert_eq!(
                crate::store::shift_end(valid, by).since(now),
                Duration::from_secs(3000),
                "set by {step}"
            );
            assert!(crate::store::shift_end(ended, by) <= now, "set by {step}");
        }
    }

    #[test]
    fn an_uptime_that_cannot_be_counts_for_nothing() {
        let (mut machine, clock) = machine();
        let mark = clock.mark_at(machine.pass(100));
        machine.pass(200);
        machine.up = 10; // in a container with its own time namespace
        assert_eq!(machine.shift(mark), 0);
    }

    #[test]
    fn a_clock_set_back_ends_and_revives_no_lease() {
        for back in [3600, DAY, START] {
            let (mut machine, clock) = machine();
            let mark = clock.mark_at(machine.pass(1000));
            let (valid, ended) = (after_start(3600), after_start(900));
            machine.boot(0);
            machine.set(-back);
            let by = machine.shift(mark);
            let now = machine.wall_clock();
            assert_eq!(
                crate::store::shift_end(valid, by).since(now),
                Duration::from_secs(2600),
                "back {back}"
            );
            assert!(crate::store::shift_end(ended, by) <= now, "back {back}");
        }
    }

    #[test]
    fn fractions_of_a_second_favour_the_client() {
        let mark = |steady, wall| ClockMark { steady: Timestamp(steady), wall: Timestamp(wall), boot: None };
        assert_eq!(shift(Some(mark(10_000, 20_000)), mark(20_400, 20_400)), 10);
        assert_eq!(shift(Some(mark(20_000, 10_400)), mark(10_400, 10_400)), -9);
        assert_eq!(shift(Some(mark(20_000, 29_600)), mark(29_600, 29_600)), 10);
    }

    #[test]
    fn the_systems_clocks_go_forward() {
        let clock = Clock::start();
        assert_eq!(clock.mark().boot.map(|boot| boot.boot_id), Clock::start().boot_id);
        assert!(clock.boot_id.is_some());
        let first = clock.now();
        while clock.now() == first {
            std::thread::yield_now();
        }
        assert!(clock.now() > first && clock.now().since(wall()) < Duration::from_secs(2));
    }
}
