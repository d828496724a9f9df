//! The log level of each event. The [`Recorder`](super::Recorder) asks for it before it formats a line.

use tracing::Level;

use crate::event::{DropReason, Event, HttpRefusal, Refusal, ServerFact};
use crate::types::Severity;

/// The level at which `event` is logged.
pub fn level(event: &Event) -> Level {
    match event {
        Event::Dropped { reason, .. } => match reason {
            DropReason::StoreFailed | DropReason::Overload => Level::WARN,
            DropReason::NotServed | DropReason::Checking | DropReason::PoolExhausted => Level::DEBUG,
            // Sent by every client of another DHCP server.
            DropReason::NotNetboot | DropReason::ProxyOnly | DropReason::Ignored => Level::DEBUG,
            _ => Level::INFO,
        },
        Event::Server { fact, .. } => level_of_fact(*fact),
        Event::Declined { .. }
        | Event::Conflict { .. }
        | Event::ProxyArp { .. }
        | Event::BootLoop { .. }
        | Event::NoFileForArchitecture { .. }
        | Event::FileMissing { .. }
        | Event::TextFailed { .. }
        | Event::PoolExhausted { .. }
        | Event::NotKept { .. }
        | Event::DuplicateClientId { .. }
        | Event::AmbiguousAddress { .. }
        | Event::Stuck { .. }
        | Event::QuestionBlocked { .. }
        | Event::RogueServer { .. } => Level::WARN,
        // Loaders try many names (PXELINUX its configuration files); a miss is normal.
        Event::TftpSizeProbe { .. } | Event::TftpRefused { reason: Refusal::NotFound, .. } => Level::DEBUG,
        // The end of a transfer is logged, and other servers' messages are theirs.
        Event::TftpStarted { .. }
        | Event::TftpAcknowledged { .. }
        | Event::HttpStarted { .. }
        | Event::Heard { .. }
        | Event::AsksByIpv6 => Level::DEBUG,
        // Any host may send these at any rate, so they are counted and must not fill the log.
        Event::TftpUnanswered { .. } => Level::DEBUG,
        Event::TftpRefused { .. } | Event::TftpStopped { .. } | Event::TftpUploadStopped { .. } => {
            Level::WARN
        }
        // Nobody has to act on these: the boot goes on without them.
        Event::HttpRefused { reason: HttpRefusal::BadFacts | HttpRefusal::FactsOfOther, .. } => Level::DEBUG,
        // Any network may send these at any rate, so they are counted, as for TFTP.
        Event::HttpAnswered { .. }
        | Event::HttpRefused { reason: HttpRefusal::NotFound | HttpRefusal::NotAllowed, .. } => Level::DEBUG,
        // A part of a file before its end: iPXE reads a disk image in this way (sanboot), one block at a time.
        Event::HttpSent { to_end: false, .. } => Level::DEBUG,
        Event::HttpRefused { .. } | Event::HttpStopped { .. } => Level::WARN,
        // An installer logs thousands of lines. Its failures are worth a line.
        Event::Syslog { severity, .. } if *severity > Severity::ERROR => Level::DEBUG,
        // Any host may send these at any rate.
        Event::SyslogDropped { .. } | Event::CaptureDropped { .. } => Level::DEBUG,
        _ => Level::INFO,
    }
}

fn level_of_fact(fact: ServerFact) -> Level {
    match fact {
        ServerFact::StoreFailed
        | ServerFact::StoreStopped
        | ServerFact::StoreGone
        | ServerFact::NotReloaded
        | ServerFact::ThreadFailed
        | ServerFact::ImagesUnsafe
        | ServerFact::OnceNotStored => Level::ERROR,
        ServerFact::StoreWrittenAgain
        | ServerFact::ReserveBack
        | ServerFact::InterfaceChanged
        | ServerFact::ServiceChanged
        | ServerFact::Reloaded
        | ServerFact::ChangeMade
        | ServerFact::ImagesBack
        | ServerFact::Restarted
        | ServerFact::JourneysStored => Level::INFO,
        ServerFact::StoreSlow
        | ServerFact::StoreReopened
        | ServerFact::ReserveUsed
        | ServerFact::StoreLogNotReserved
        | ServerFact::StoreLogDamaged
        | ServerFact::CommitNotRecorded
        | ServerFact::ClockSet
        | ServerFact::ClockNotStored
        | ServerFact::OwnAddressInPool
        | ServerFact::NotServed
        | ServerFact::CannotListen
        | ServerFact::CannotReceive
        | ServerFact::NoTransferSocket
        | ServerFact::ImagesUnreachable
        | ServerFact::FilesSlow
        | ServerFact::UploadsFull
        | ServerFact::RecordsLost
        | ServerFact::JourneysNotStored
        | ServerFact::JourneysDamaged => Level::WARN,
    }
}
