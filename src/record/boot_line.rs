//! Formats the summary lines of boots. `log_line.rs` calls it.

use crate::event::{Event, Record};
use crate::types::{Arch, Escaped};

/// Formats the summary of a boot. Its texts have no untrusted bytes: journeys escape names where they write them.
pub(super) fn line(record: &Record) -> String {
    // The name comes first here, because people look for it.
    let machine = record.machine.as_ref();
    let mac = machine.and_then(|machine| machine.mac).map(|mac| mac.to_string()).unwrap_or_default();
    let name = machine.and_then(|machine| machine.name.as_deref()).filter(|name| *name != mac);
    let name = name.map(|name| format!("{} ", Escaped(name.as_bytes()))).unwrap_or_default();
    let with_arch = |arch: &Option<Arch>| arch.map(|arch| format!(" {arch}")).unwrap_or_default();
    match &record.event {
        Event::Booted { arch, chain, took } => {
            format!(
                "booted {name}{mac}{} {chain} in {}",
                with_arch(arch),
                format_args!("{:.1} s", took.as_secs_f64())
            )
        }
        Event::Stuck { stage, cause, advice, .. } => {
            format!("stuck {name}{mac} at {stage}: {cause}; {advice}")
        }
        Event::GoesOn { arch } => {
            format!("goes_on {name}{mac}{}: its last verdict is withdrawn", with_arch(arch))
        }
        _ => String::new(),
    }
}
