//! Log lines are made of events. Only the files listed here call the log directly.

use crate::sources::sources;

/// Files and folders that log directly, each with its reason.
const ALLOWED: [(&str, &str); 10] = [
    ("src/cli/", "the start and the end of the process, and panics"),
    ("src/record/", "writes the events"),
    ("src/server/dhcp/start.rs", "losses of leases are logged before a start that may fail"),
    ("src/server/drain.rs", "the end of the server"),
    ("src/server/mod.rs", "the counters at the end"),
    ("src/server/statistics.rs", "the counters at a signal"),
    ("src/server/notify.rs", "the messages to systemd at the start and the end"),
    ("src/server/web/control.rs", "the control socket serves commands, no machine"),
    ("src/server/tftp/native/mod.rs", "a thread that ended by a fault is found at the end"),
    ("src/content/templates/pool.rs", "a thread that ended by a fault"),
];

const MACROS: [&str; 6] = ["error!", "warn!", "info!", "debug!", "trace!", "event!"];

#[test]
fn only_a_few_files_log_directly() {
    let mut wrong = Vec::new();
    let mut used = [false; ALLOWED.len()];
    for source in sources(&["src"]) {
        let logs = |line: &str| MACROS.iter().any(|name| line.contains(&format!("tracing::{name}")));
        let Some(line) = source.product.lines().position(logs) else { continue };
        let path = source.path.display().to_string();
        match ALLOWED.iter().position(|(allowed, _)| path.starts_with(allowed)) {
            Some(place) => used[place] = true,
            None => wrong.push(format!("{path}:{}", line + 1)),
        }
    }
    assert!(
        wrong.is_empty(),
        "record an event instead (`Recorder::server`, or `event::Reports` below the recorder):\n{}",
        wrong.join("\n")
    );
    let unused = ALLOWED.iter().zip(used).filter(|(_, used)| !used);
    let unused: Vec<&str> = unused.map(|((path, _), _)| *path).collect();
    assert!(unused.is_empty(), "these do not log any more, so remove them from the list: {unused:?}");
}
