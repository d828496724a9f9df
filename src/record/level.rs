//! The level at which an event is logged.

use tracing::Level;

use crate::event::{DropReason, Event, HttpRefusal, Refusal};

/// How much a person wants to see an event.
pub fn level(event: &Event) -> Level {
    match event {
        Event::Dropped { reason, .. } => match reason {
            DropReason::StoreFailed | DropReason::Overload => Level::WARN,
            DropReason::NotServed | DropReason::Checking | DropReason::PoolExhausted => Level::DEBUG,
            // What every client beside another DHCP server says.
            DropReason::NotNetboot | DropReason::ProxyOnly => Level::DEBUG,
            _ => Level::INFO,
        },
        Event::Declined { .. }
        | Event::Conflict { .. }
        | Event::ProxyArp { .. }
        | Event::Looping { .. }
        | Event::Exhausted { .. }
        | Event::Clones { .. }
        | Event::Contested { .. }
        | Event::Stranger { .. } => Level::WARN,
        // Loaders try many names (PXELINUX its configuration files); a miss is normal.
        Event::TftpSizeProbe { .. } | Event::TftpRefused { reason: Refusal::NotFound, .. } => Level::DEBUG,
        // What anybody may send at any rate must not fill the log; it is counted.
        Event::TftpUnanswered { .. } => Level::DEBUG,
        Event::TftpRefused { .. } | Event::TftpStopped { .. } | Event::TftpUploadStopped { .. } => {
            Level::WARN
        }
        // As TFTP's: what any network may send at any rate is counted.
        Event::HttpAnswered { .. }
        | Event::HttpRefused { reason: HttpRefusal::NotFound | HttpRefusal::NotAllowed, .. } => Level::DEBUG,
        // A part that is not the end: iPXE reads a disk image so (sanboot), one block at a time.
        Event::HttpSent { to_end: false, .. } => Level::DEBUG,
        Event::HttpRefused { .. } | Event::HttpStopped { .. } => Level::WARN,
        _ => Level::INFO,
    }
}
