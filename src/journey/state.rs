//! States of machines that have no boot to judge: they were never seen, or boot their disk before the network.

use std::time::Duration;

use crate::journey::machine::Machine;
use crate::journey::silence::USUAL;
use crate::journey::verdict::{Verdict, VerdictId};
use crate::types::Timestamp;

/// The verdict about a configured machine of which no record has come.
pub fn never_seen(name: &str) -> Verdict {
    Verdict::certain(
        VerdictId::NeverSeen,
        format!("no packet of {name} has arrived on any served interface"),
        "enable network boot in its setup, check its cable, VLAN and switch port, and compare its MAC with `mac` in `machines`",
    )
}

/// The verdict about a machine that was woken or given a `once`, and is silent. It is withdrawn as soon as it asks.
pub fn booted_from_disk(machine: &Machine, now: Timestamp) -> Option<Verdict> {
    let since = machine.expected?;
    let waited: Duration = now.since(since);
    if machine.seen.is_none() || waited < USUAL {
        return None;
    }
    Some(Verdict::likely(
        VerdictId::BootedFromDisk,
        format!(
            "the machine was seen before and has not asked for {} s since it was woken or given a `once`",
            waited.as_secs()
        ),
        "put the network before the disk in its boot order: `efibootmgr -o` or its setup",
    ))
}
