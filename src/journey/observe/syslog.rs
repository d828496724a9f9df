//! Lines that systems log, as facts of a boot: a line proves that the system runs, and some lines that it cannot go on.

use std::time::Duration;

use crate::event::Record;
use crate::journey::boot::{Boot, BootResult};
use crate::journey::evidence::{Obstacle, Step};
use crate::types::{Timestamp, cut};

/// Maximum number of bytes of a line that are compared and kept.
const MAX_LINE: usize = 1024;
/// Time after the beginning of a boot in which lines are of its installer. Later ones are of an installed system, which
/// may boot its disk and log to this server too.
const INSTALLATION: Duration = Duration::from_secs(12 * 3600);

/// The fact that a line proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    /// The installer or the initrd cannot go on.
    Stopped,
    /// The initrd has no network.
    NoNetwork,
}

/// A form of lines.
struct Pattern {
    /// The beginning of the program's name; the kernel's log has it at the beginning of the text.
    program: &'static str,
    /// Texts in the line, in order.
    parts: &'static [&'static str],
    failure: Failure,
}

const fn stopped(program: &'static str, parts: &'static [&'static str]) -> Pattern {
    Pattern { program, parts, failure: Failure::Stopped }
}

const fn no_network(program: &'static str, parts: &'static [&'static str]) -> Pattern {
    Pattern { program, parts, failure: Failure::NoNetwork }
}

/// The lines that prove a failure, with the source of each. A program's last word counts, not one of several tries: the
/// initqueue of dracut warns of a timeout and goes on, and curtin reports each part that fails.
const PATTERNS: &[Pattern] = &[
    // Debian installer: main-menu.c, which then asks a person. A step that a person left ends with another line.
    stopped("main-menu", &["Menu item '", "' failed."]),
    stopped("main-menu", &["Configuring '", "' failed with error code "]),
    // Anaconda: pykickstart errors.py, and the list of failures in the kickstart tests of its authors.
    stopped("", &["The following problem occurred on line ", " of the kickstart file"]),
    stopped("", &["Some packages, groups or modules are broken, the installation will be aborted"]),
    stopped("", &["Not enough space in file systems for the current software selection"]),
    stopped("anaconda", &["Payload setup error:"]),
    stopped("anaconda", &["storage configuration failed:"]),
    // Anaconda kickstart.py: scripts for failures run. The log has both `%`.
    stopped("anaconda", &["Running kickstart %", "onerror script"]),
    // Anaconda's dracut module, fetch-kickstart-net.sh.
    stopped("", &["anaconda: failed to fetch kickstart from "]),
    // Subiquity: the whole installation, and commands of the user, whose failure ends it.
    stopped("", &["finish: subiquity/Install/install: FAIL"]),
    stopped("", &["finish: subiquity/Early/run", ": FAIL"]),
    stopped("", &["finish: subiquity/Late/run", ": FAIL"]),
    // AutoYaST: autoinstall clients/inst_autoinit.
    stopped("", &["Error while parsing the control file"]),
    // YaST: yast-ruby-bindings yast/y2start_helpers and libycp.
    stopped("", &["YaST got signal "]),
    // dracut: dracut-lib.sh `die`, dracut-initqueue.sh before its emergency shell, livenetroot.sh after its last try.
    stopped("dracut", &["FATAL: "]),
    stopped("dracut", &["Warning: Could not boot."]),
    stopped("dracut", &["failed to download live image after "]),
    // live-boot and casper.
    no_network("", &["Unable to find a live file system on the network"]),
    no_network("", &["Unable to find a medium containing a live file system"]),
    // Linux net/ipv4/ipconfig.c, which has tried all devices by then.
    no_network("", &["IP-Config: Auto-configuration of network failed"]),
    no_network("", &["IP-Config: No network devices available"]),
];

/// Takes a line into the facts of `boot`. Returns whether it shows that the boot goes on.
pub(super) fn observe(boot: &mut Boot, record: &Record, program: &str, text: &str) -> bool {
    let at = record.at;
    let e = &boot.evidence;
    let is_system = matches!(e.step, Step::Kernel | Step::Initrd | Step::System)
        || (e.step == Step::Unseen && e.script.is_some());
    if !is_system || at.since(boot.id.started) > INSTALLATION {
        return false;
    }
    let text = cut(text, MAX_LINE);
    let is_logged = matches!(e.obstacle, Some((Obstacle::Installer { .. } | Obstacle::NoNetwork { .. }, _)));
    match failure(program, text) {
        // The first line has the cause. An installer that failed logs more, and does not go on thereby.
        _ if is_logged => false,
        Some(failure) => fail(boot, failure, program, text, at),
        // The kernel's own lines come before its system runs.
        None if program.is_empty() || program == "kernel" || e.step == Step::System => false,
        None => {
            boot.evidence.obstacle = None;
            boot.reach(Step::System, at);
            true
        }
    }
}

/// The system cannot go on. Returns whether another verdict about the boot is wrong.
fn fail(boot: &mut Boot, failure: Failure, program: &str, text: &str, at: Timestamp) -> bool {
    let is_stuck = boot.result == BootResult::Stuck;
    if boot.result == BootResult::Booted {
        // The system runs, and its installer does not.
        boot.withdraw();
    }
    let text = if program.is_empty() { text.into() } else { format!("{program}: {text}").into() };
    // A system that asked for an address has a network, whatever it looks for.
    let has_network = boot.evidence.step == Step::System;
    let obstacle = match failure {
        Failure::NoNetwork if !has_network => Obstacle::NoNetwork { text },
        _ => Obstacle::Installer { text },
    };
    boot.evidence.obstacle = Some((obstacle, at));
    is_stuck
}

/// Returns the failure that the line `text` of `program` proves.
fn failure(program: &str, text: &str) -> Option<Failure> {
    let is_of = |pattern: &Pattern| {
        pattern.program.is_empty() || program.starts_with(pattern.program) || is_named(text, pattern.program)
    };
    let has_parts = |pattern: &Pattern| {
        let mut rest = text;
        pattern.parts.iter().all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    };
    PATTERNS.iter().find(|pattern| is_of(pattern) && has_parts(pattern)).map(|pattern| pattern.failure)
}

/// Whether a line of the kernel's log, such as `[   5.1] dracut-initqueue[273]: text`, is of `program`.
fn is_named(text: &str, program: &str) -> bool {
    let text = match text.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, rest)) => rest,
        None => text,
    };
    text.strip_prefix(program).is_some_and(|rest| rest.split([':', ' ']).next() != Some(rest))
}
