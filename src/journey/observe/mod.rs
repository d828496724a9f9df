//! Turns records into the facts of a boot. It judges nothing: `rules/` do.

mod dhcp;
mod files;
mod speaker;
mod syslog;

use std::sync::Arc;

use crate::event::{Event, Message, Record};
use crate::journey::boot::Boot;
use crate::journey::evidence::{Obstacle, Step};
use crate::journey::file_role::{FileRole, role};
use crate::journey::site::Site;

pub(super) use dhcp::OVERTAKEN;
pub use speaker::{Speaker, is_of_system, speaker};

/// Takes `record` into the facts of `boot`. Returns whether it shows that the boot goes on.
pub fn observe(boot: &mut Boot, record: &Record, speaker: Option<Speaker>, site: &Site) -> bool {
    let at = record.at;
    match &record.event {
        Event::Received { .. }
        | Event::Answered { .. }
        | Event::Heard { .. }
        | Event::Dropped { .. }
        | Event::NoFileForArchitecture { .. }
        | Event::PoolExhausted { .. }
        | Event::Conflict { .. }
        | Event::Declined { .. }
        | Event::QuestionBlocked { .. } => dhcp::observe(boot, record, speaker, site),
        Event::BootLoop { file, times, gets_script: false, .. } => {
            let times = u16::try_from(*times).unwrap_or(u16::MAX);
            boot.evidence.meet(Obstacle::Loop { file: Arc::clone(file), times }, at);
            false
        }
        Event::Facts { hardware, .. } => {
            let e = &mut boot.evidence;
            e.memory = hardware.memory.or(e.memory);
            // The script runs. An earlier one may have reported before this boot's firmware was heard.
            let is_script = e.step == Step::Scripted;
            if is_script {
                e.step_at = at;
            }
            is_script
        }
        Event::Syslog { program, text, .. } => syslog::observe(boot, record, program, text),
        Event::ReplyTooLarge { bytes } => {
            boot.evidence.large_reply = Some(*bytes);
            false
        }
        Event::AsksByIpv6 => {
            boot.evidence.ask_by_ipv6(at);
            false
        }
        event if event.peer().is_some() => files::observe(boot, record, site),
        _ => false,
    }
}

/// Whether this record shows that the machine has what it was to boot: its system asks for an address, or it got the
/// script that boots its disk.
pub fn is_booted(boot: &Boot, record: &Record, speaker: Option<Speaker>, site: &Site) -> bool {
    let e = &boot.evidence;
    match &record.event {
        Event::Answered { message: Message::Ack | Message::BootpReply, .. } => {
            speaker == Some(Speaker::System) && e.step == Step::System
        }
        // A system with a fixed address never asks for one.
        Event::Syslog { .. } => e.step == Step::System && e.obstacle.is_none(),
        Event::Dropped { .. } => is_of_system(&record.event) && e.step == Step::System,
        Event::TftpSent { .. } | Event::HttpSent { .. } => {
            e.step == Step::System
                || (e.step == Step::Scripted
                    && site.local.contains(&boot.id.mac)
                    && boot.evidence.transfers.is_empty())
        }
        _ => false,
    }
}

/// Whether a boot begins with this record, if the machine has none: it requests a loader or a script.
pub fn begins_boot(event: &Event, site: &Site) -> bool {
    let (Event::TftpStarted { file, .. }
    | Event::TftpSizeProbe { file, .. }
    | Event::TftpSent { file, .. }
    | Event::HttpStarted { file, .. }
    | Event::HttpAnswered { file, .. }
    | Event::HttpSent { file, .. }) = event
    else {
        return false;
    };
    matches!(role(file, None, site), FileRole::Loader | FileRole::Script)
}

/// Whether this is a DISCOVER or BOOTREQUEST.
pub fn asks(event: &Event) -> bool {
    matches!(event, Event::Received { message: Message::Discover | Message::BootpRequest, .. })
}

/// The transaction id of a received message.
pub fn xid(record: &Record) -> Option<u32> {
    match &record.event {
        Event::Received { details, .. } => Some(details.xid),
        _ => None,
    }
}
